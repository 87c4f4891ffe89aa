package postgres

import (
	_ "embed" // for the query
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/batch"
)

//go:embed keys.sql
var keysSQL string

// keyFacts are how the live key compares. Two values can be one key to the
// server and differ in their bytes: citext, char(n), a nondeterministic
// collation, the scale of a numeric.
type keyFacts struct {
	Columns []struct {
		Cast      string `json:"cast"`
		Scale     *int   `json:"scale"`
		Equals    string `json:"equals"`
		Collation string `json:"collation"`
		Bytes     bool   `json:"bytes"` // equal values have equal bytes
	} `json:"columns"`
	// References are foreign keys of the table to itself.
	References []reference `json:"references"`
}

// reference is a foreign key: columns From refer to columns To.
type reference struct {
	From []string `json:"from"`
	To   []string `json:"to"`
}

// learnKeys notes an answer to the question how keys compare.
func (s *Store) learnKeys(a *answer) {
	var k keyFacts
	if json.Unmarshal(a.text, &k) != nil || len(k.Columns) != len(s.table.Key) {
		return // no such table, or not this key: the insert says so
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.facts.keys = &k
	s.statements = makeStatements(s.table, &k)
}

// byBytes reports whether keys are equal exactly when their bytes are.
func (k *keyFacts) byBytes() bool {
	if k == nil {
		return true
	}
	for _, c := range k.Columns {
		if !c.Bytes {
			return false
		}
	}
	return true
}

// typed is an expression as a value of a key column's own type, for
// comparisons. It never fails for a value that the column can hold.
func (k *keyFacts) typed(column int, expression, otherwise string) string {
	switch {
	case k == nil || k.Columns[column].Bytes:
		return expression + otherwise
	case k.Columns[column].Scale != nil:
		return fmt.Sprintf("round(%s::numeric, %d)", expression, *k.Columns[column].Scale)
	default:
		return expression + "::" + k.Columns[column].Cast
	}
}

// equal compares columns of the key with expressions, in the columns' own types.
func (k *keyFacts) equal(prefix string, columns, expressions []string) string {
	terms := make([]string, len(columns))
	for i := range columns {
		equals := "="
		if k != nil && !k.Columns[i].Bytes && k.Columns[i].Equals != "" {
			equals = k.Columns[i].Equals
		}
		terms[i] = prefix + columns[i] + " " + equals + " " + expressions[i]
	}
	return strings.Join(terms, " AND ")
}

// sorted is typed, for ORDER BY.
func (k *keyFacts) sorted(column int, expression, otherwise string) string {
	typed := k.typed(column, expression, otherwise)
	if k != nil && k.Columns[column].Collation != "" {
		typed += " COLLATE " + k.Columns[column].Collation
	}
	return typed
}

// classes numbers the rows' keys: rows with one number have the same key. The
// rows are in the order of their keys.
func classes(b *batch.Batch, rows []int) map[int]int {
	class := make(map[int]int, len(rows))
	n := 0
	for i, row := range rows {
		if i > 0 && !b.SameKey(rows[i-1], row) {
			n++
		}
		class[row] = n
	}
	return class
}

// link is a foreign key of the table to itself as positions of columns in the
// batch: the columns from refer to the columns to.
type link struct{ from, to []int }

// links are the foreign keys of the table to itself. One that cannot be
// followed here, because it leads to a column that the model does not fill,
// has no columns to.
func links(b *batch.Batch, k *keyFacts) (all []link) {
	if k == nil {
		return nil
	}
	for _, r := range k.References {
		if from := positions(b, r.From); from != nil {
			all = append(all, link{from, positions(b, r.To)})
		}
	}
	return all
}

// targets are the values of the columns that a link leads to.
func (l link) targets(b *batch.Batch, rows []int) map[string]int {
	all := make(map[string]int, len(rows))
	for i, row := range rows {
		if target, ok := values(b, row, l.to); ok {
			all[target] = i
		}
	}
	return all
}

// leadsAhead reports whether a row refers to one that follows it, so that it
// is refused when rows are tried one by one.
func leadsAhead(b *batch.Batch, rows []int, all []link) bool {
	return slices.ContainsFunc(all, func(l link) bool {
		targets := l.targets(b, rows)
		for i, row := range rows {
			if target, refers := values(b, row, l.from); refers && (l.to == nil || targets[target] > i) {
				return true
			}
		}
		return false
	})
}

// closed returns those of the rows that refer to rows that passed or to others
// of them, and these again, to the end: rows that may be valid together.
func closed(b *batch.Batch, rows, passed []int, all []link) []int {
	type target struct {
		link int
		key  string
	}
	have := map[target]int{}    // how many rows have what a link leads to
	refer := map[target][]int{} // the rows that refer to it
	for n, l := range all {
		if l.to == nil {
			continue
		}
		for _, row := range slices.Concat(passed, rows) {
			if key, ok := values(b, row, l.to); ok {
				have[target{n, key}]++
			}
		}
		for _, row := range rows {
			if key, ok := values(b, row, l.from); ok {
				refer[target{n, key}] = append(refer[target{n, key}], row)
			}
		}
	}
	gone := map[int]bool{}
	var last []int // rows that are gone, and not yet missed by others
	remove := func(rows []int) {
		for _, row := range rows {
			if !gone[row] {
				gone[row] = true
				last = append(last, row)
			}
		}
	}
	for t, rows := range refer {
		if have[t] == 0 {
			remove(rows)
		}
	}
	for len(last) > 0 {
		row := last[len(last)-1]
		last = last[:len(last)-1]
		for n, l := range all {
			if l.to == nil {
				continue
			}
			key, ok := values(b, row, l.to)
			if t := (target{n, key}); ok {
				if have[t]--; have[t] == 0 {
					remove(refer[t])
				}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return gone[row] })
}

// values are the values of some columns of a row as one text; ok is false if
// one is NULL.
func values(b *batch.Batch, row int, columns []int) (text string, ok bool) {
	parts := make([]string, len(columns))
	ok = true
	b.Row(row, func(c int, v []byte) {
		i := slices.Index(columns, c)
		if i < 0 {
			return
		}
		ok = ok && v != nil
		switch kind := b.Columns()[c].Kind; {
		case v == nil:
		case kind == batch.Int4, kind == batch.Int8: // an integer can refer to a bigint
			parts[i] = strconv.FormatInt(batch.Int(v), 10)
		default:
			parts[i] = strconv.Itoa(len(v)) + ":" + string(v)
		}
	})
	return strings.Join(parts, ","), ok
}

// positions are the indexes of columns of the batch; nil if one is not filled.
func positions(b *batch.Batch, names []string) []int {
	var all []int
	for _, name := range names {
		i := slices.IndexFunc(b.Columns(), func(c batch.Column) bool { return c.Name == name && !c.Ledger })
		if i < 0 {
			return nil
		}
		all = append(all, i)
	}
	return all
}

// keyTable is where the keys are: the ledger, if there is one.
func keyTable(t *batch.Table) string {
	if t.Ledger != "" {
		return ledger(t)
	}
	return table(t)
}

// keyColumns are the names of the key's columns as a parameter of type text[].
func keyColumns(t *batch.Table) []byte {
	var names []string
	for _, k := range t.Key {
		names = append(names, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(t.Columns[k].Name)+`"`)
	}
	return []byte("{" + strings.Join(names, ",") + "}")
}
