package batch

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// The version of a row is the value of the column NewerBy and, if the table has it, the id of the
// row's message. Of rows with one key, the one with the greatest version stays in a table that
// replaces.

// Version returns the indexes of the columns that make the version of a row.
func (t *Table) Version() []int {
	version := make([]int, 0, 2)
	for i := range t.Columns {
		if t.Columns[i].NewerBy {
			version = append(version, i)
		}
	}
	if id := t.MessageID(); id >= 0 {
		version = append(version, id)
	}
	return version
}

// Compare compares two values of a version, as databases do: numbers (a text is one), times, dates and
// UUIDs. NULL is older than all.
func (c *Column) Compare(x, y []byte) int {
	switch {
	case x == nil && y == nil:
		return 0
	case x == nil:
		return -1
	case y == nil:
		return 1
	}
	switch c.Kind { //nolint:exhaustive // the others compare by their bytes
	case Int4, Int8, Timestamp, TimestampNoZone, Date:
		return cmp.Compare(Int(x), Int(y))
	case Text:
		return CompareNumbers(x, y)
	}
	return bytes.Compare(x, y)
}

// CompareVersions compares the versions of two rows of a table that replaces. Those of other tables
// are all equal.
func (b *Batch) CompareVersions(i, j int) int { return b.compareVersions(b.rows[i], b.rows[j]) }

func (b *Batch) compareVersions(x, y row) int {
	t := b.tables[x.table]
	if t.OnConflict != Replace {
		return 0
	}
	for k, c := range b.versions[x.table] {
		k += len(t.Key)
		if c := t.Columns[c].Compare(b.value(b.keys[x.keys+k]), b.value(b.keys[y.keys+k])); c != 0 {
			return c
		}
	}
	return 0
}

// Newest returns, for each of some rows of one table, the newest that has its key among them: of
// several the first. It returns nil if that is always the row itself, as in a table that does not
// replace. Rows without message groups are in the order of Sort.
func (b *Batch) Newest(rows []int) (newest []int) {
	if len(rows) < 2 || b.tables[b.rows[rows[0]].table].OnConflict != Replace || !b.hasGroups && !b.anySameKey(rows) {
		return nil
	}
	order := all(len(rows))
	if b.hasGroups {
		slices.SortStableFunc(order, func(i, j int) int { return b.compareByKey(b.rows[rows[i]], b.rows[rows[j]]) })
	}
	for first, k := 0, 1; k <= len(order); k++ {
		if k < len(order) && b.SameKey(rows[order[first]], rows[order[k]]) {
			continue
		}
		if k-first > 1 {
			if newest == nil {
				newest = slices.Clone(rows)
			}
			best := rows[order[first]]
			for _, i := range order[first:k] {
				if b.CompareVersions(rows[i], best) > 0 {
					best = rows[i]
				}
			}
			for _, i := range order[first:k] {
				newest[i] = best
			}
		}
		first = k
	}
	return newest
}

// anySameKey reports whether one of some rows has the key of the one before it.
func (b *Batch) anySameKey(rows []int) bool {
	for k := 1; k < len(rows); k++ {
		if b.SameKey(rows[k-1], rows[k]) {
			return true
		}
	}
	return false
}

func all(n int) []int {
	indexes := make([]int, n)
	for i := range indexes {
		indexes[i] = i
	}
	return indexes
}

// CompareNumbers compares two numbers in text, such as -12.50 and 1.25e3, of any size.
func CompareNumbers(x, y []byte) int {
	a, b := readNumber(x), readNumber(y)
	if a.sign != b.sign || a.sign == 0 {
		return cmp.Compare(a.sign, b.sign)
	}
	c := cmp.Compare(a.magnitude, b.magnitude)
	for i := 0; c == 0 && i < max(len(a.digits), len(b.digits)); i++ {
		c = cmp.Compare(digit(a.digits, i), digit(b.digits, i))
	}
	return a.sign * c
}

// number is 0.digits × 10^magnitude. The first digit is not 0.
type number struct {
	sign      int
	digits    []byte
	magnitude int
}

// maxExponent is beyond what a database stores.
const maxExponent = 1 << 30

func readNumber(text []byte) (n number) {
	text, exponent, _ := bytes.Cut(bytes.ToLower(text), []byte("e"))
	n.sign = 1
	if bytes.HasPrefix(text, []byte("-")) {
		n.sign = -1
	}
	whole, fraction, _ := bytes.Cut(bytes.TrimLeft(text, "+-"), []byte("."))
	digits := slices.Concat(whole, fraction)
	n.digits = bytes.TrimLeft(digits, "0")
	if len(n.digits) == 0 {
		return number{}
	}
	n.magnitude, _ = strconv.Atoi(string(exponent))
	n.magnitude = max(-maxExponent, min(n.magnitude, maxExponent))
	n.magnitude += len(whole) - (len(digits) - len(n.digits))
	return n
}

// digit returns a digit of a number, whose digits go on with zeros.
func digit(digits []byte, i int) byte {
	if i < len(digits) {
		return digits[i]
	}
	return '0'
}
