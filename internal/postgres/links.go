package postgres

import (
	"math/big"
	"slices"
	"strconv"
	"strings"

	"example.com/owner/sluice/internal/batch"
)

// link is a foreign key of the table to itself as positions of columns in the batch: the columns
// from refer to the columns to. A pair of columns that the model does not fill has the same values
// in all rows, so it is left out.
type link struct {
	part     *part
	names    []string // of the constraint, and of its copies on partitions
	from, to []int
	// blind: it cannot be followed here, because it leads to a column that the database computes, or
	// because its values can be equal to the server and differ in more than values knows.
	blind bool
}

// links returns the foreign keys of the table to itself.
func (p *part) links() (all []*link) {
	if p.keys == nil {
		return nil
	}
	for _, r := range p.keys.References {
		l := &link{part: p, names: []string{r.Name}}
		for i := range r.From {
			from, to := position(p.table, r.From[i]), position(p.table, r.To[i])
			switch {
			case from >= 0 && to >= 0 && (!byText(p.table.Columns[from]) || !byText(p.table.Columns[to])):
				l.blind = true
			case from >= 0 && to >= 0:
				l.from, l.to = append(l.from, from), append(l.to, to)
			case to < 0 && from < 0: // the same for all rows, or computed
			default:
				l.blind = true
			}
		}
		l.blind = l.blind || len(l.from) == 0 || p.several() // which are not looked at one by one
		i := slices.IndexFunc(all, func(o *link) bool {
			return o.blind == l.blind && slices.Equal(o.from, l.from) && slices.Equal(o.to, l.to)
		})
		if i < 0 {
			all = append(all, l)
		} else {
			all[i].names = append(all[i].names, r.Name)
		}
	}
	return all
}

// links returns the foreign keys of all tables to themselves.
func (in *insertion) links() (all []*link) {
	for _, p := range in.parts {
		all = append(all, p.links()...)
	}
	return all
}

// refusing returns the link whose constraint an error names, and nil if there is none.
func refusing(all []*link, err *refusal) *link {
	for _, l := range all {
		if err.Code == foreignKey && l.part == err.part() && slices.Contains(l.names, err.ConstraintName) {
			return l
		}
	}
	return nil
}

// leadsAhead reports whether a row refers to one that follows it, so that it is refused when rows
// are tried one by one.
func leadsAhead(rows []int, all []*link) bool {
	return slices.ContainsFunc(all, func(l *link) bool {
		if l.blind {
			return true
		}
		targets := make(map[string]int, len(rows))
		for i, row := range rows {
			if target, ok := l.values(row, l.to); ok {
				targets[target] = i
			}
		}
		for i, row := range rows {
			if target, refers := l.values(row, l.from); refers && targets[target] > i {
				return true
			}
		}
		return false
	})
}

// validTogether returns the rows that may be valid together: of the rows that a link refused, those
// that refer only to rows that passed, or to each other.
func validTogether(rows, passed []int, all []*link, refused map[int]*refusal) []int {
	type target struct {
		link *link
		key  string
	}
	have := map[target]int{}    // how many rows have what a link leads to
	refer := map[target][]int{} // the rows that refer to it
	removed := map[int]bool{}
	var last []int // removed rows whose removal has not yet removed others
	remove := func(rows []int) {
		for _, row := range rows {
			if !removed[row] {
				removed[row] = true
				last = append(last, row)
			}
		}
	}
	for _, l := range all {
		if l.blind {
			continue
		}
		for _, row := range slices.Concat(passed, rows) {
			if key, ok := l.values(row, l.to); ok {
				have[target{l, key}]++
			}
		}
		for _, row := range rows {
			if key, ok := l.values(row, l.from); ok {
				refer[target{l, key}] = append(refer[target{l, key}], row)
			} else if refusing(all, refused[row]) == l {
				remove([]int{row}) // refused, and refers to no row: MATCH FULL
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
		for _, l := range all {
			if l.blind {
				continue
			}
			key, ok := l.values(row, l.to)
			if t := (target{l, key}); ok {
				if have[t]--; have[t] == 0 {
					remove(refer[t])
				}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return removed[row] })
}

// byText reports whether values of a column that are equal to the server are equal to values.
func byText(c batch.Column) bool {
	return !c.AsText && !c.List && c.Type != "inet" && c.Type != "cidr" && c.Type != "interval"
}

// values returns the values of some columns of a row; ok is false for a row of another table, too.
func (l *link) values(row int, columns []int) (text string, ok bool) {
	if l.part.in.of(row) != l.part {
		return "", false
	}
	return values(l.part.in.batch, row, columns)
}

// values returns the values of some columns of a row as one text; ok is false if one is NULL.
// Values that may be equal to the server have one text: 1 and 1.0, Abc and ABC.
func values(b *batch.Batch, row int, columns []int) (text string, ok bool) {
	parts := make([]string, len(columns))
	ok = true
	b.Row(row, func(c int, v []byte) {
		i := slices.Index(columns, c)
		if i < 0 {
			return
		}
		ok = ok && v != nil
		column := b.Columns(row)[c]
		switch number, isNumber := new(big.Rat), strings.HasPrefix(column.Type, "numeric"); {
		case v == nil:
		case column.Kind == batch.Int4, column.Kind == batch.Int8:
			parts[i] = strconv.FormatInt(batch.Int(v), 10)
		case isNumber && len(v) < 100: // an exponent could make it large
			if _, fine := number.SetString(string(v)); fine {
				parts[i] = number.RatString()
			}
		default:
			folded := strings.ToLower(strings.TrimRight(string(v), " "))
			parts[i] = strconv.Itoa(len(folded)) + ":" + folded
		}
	})
	return strings.Join(parts, ","), ok
}

// position returns the index of a column of the table, and -1 if the model does not fill it.
func position(t *batch.Table, name string) int {
	return slices.IndexFunc(t.Columns, func(c batch.Column) bool { return c.Name == name && !c.Ledger })
}
