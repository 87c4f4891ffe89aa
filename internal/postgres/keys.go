package postgres

import (
	"cmp"
	_ "embed" // for the query
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
)

//go:embed keys.sql
var keysSQL string

// keyFacts are how the columns of the key compare in the table. Two values can be one key to the
// server and differ in their bytes: citext, char(n), a nondeterministic collation, the scale of a
// numeric.
type keyFacts struct {
	Columns []keyColumn `json:"columns"`
	// Policies: row-level security applies to the role. ON CONFLICT refuses rows that it may not see.
	Policies bool `json:"policies"`
	// Xmax: an insert into the table can return that column. Partitioned tables and views have none, and
	// the role may lack the grant.
	Xmax bool `json:"xmax"`
	// References are foreign keys of the table to itself.
	References []reference `json:"references"`
	// Compared are the columns in which rows of two messages are compared.
	Compared []comparedColumn `json:"compared"`
}

type comparedColumn struct {
	Type   string `json:"type"`   // in SQL, with its length
	Equals string `json:"equals"` // the operator, "" if the type has none
}

type keyColumn struct {
	Cast      string `json:"cast"`
	Scale     *int   `json:"scale"`
	Equals    string `json:"equals"`
	Collation string `json:"collation"`
	Type      string `json:"type"`  // in pg_type
	Bytes     bool   `json:"bytes"` // equal values have equal bytes
}

// reference is a foreign key: columns From refer to columns To.
type reference struct {
	Name string   `json:"name"`
	From []string `json:"from"`
	To   []string `json:"to"`
}

// learnKeys keeps the answer to the question how keys compare.
func (d *destination) learnKeys(a *answer) {
	var k keyFacts
	if json.Unmarshal(a.text, &k) != nil || len(k.Columns) != len(d.table.Key) {
		return // no such table, or not this key: the insert will fail with that
	}
	for i := range k.Columns {
		c := &k.Columns[i]
		column := d.table.Columns[d.table.Key[i]]
		c.Bytes = c.Bytes && !column.AsText && slices.Contains(natural[column.Kind], c.Type)
		if column.Kind == batch.Text && slices.Contains(natural[batch.Int8], c.Type) {
			c.Scale = new(int) // a numeric that the column rounds
		}
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.learned.keys = &k
	cmp.Or(d.parent, d).makeStatements()
}

// byBytes reports whether keys are equal exactly when their bytes are.
func (k *keyFacts) byBytes() bool {
	return k == nil || !slices.ContainsFunc(k.Columns, func(c keyColumn) bool { return !c.Bytes })
}

// natural are the types of live columns, as in pg_type, that compare with the values of a kind
// without a cast.
var natural = map[batch.Kind][]string{
	batch.Text: {"text", "varchar"},
	batch.Int4: {"int2", "int4", "int8"}, batch.Int8: {"int2", "int4", "int8"}, batch.Bool: {"bool"},
	batch.Timestamp: {"timestamptz"}, batch.Date: {"date"}, batch.UUID: {"uuid"},
	batch.TimestampNoZone: {"timestamp"}, batch.TimeOfDay: {"time"}, batch.Binary: {"bytea"},
}

// typed returns expressions as values of the key columns' own types, for comparisons. They never
// fail for a value that the column can hold.
func (k *keyFacts) typed(t *batch.Table, expressions []string) []string {
	all := make([]string, len(expressions))
	for i, expression := range expressions {
		if k == nil || k.Columns[i].Bytes {
			all[i] = expression + cast(t.Columns[t.Key[i]])
			continue
		}
		switch c := k.Columns[i]; {
		case c.Scale != nil:
			all[i] = fmt.Sprintf("round(%s::numeric, %d)", expression, *c.Scale)
		case c.Collation != "":
			all[i] = expression + "::" + c.Cast + " COLLATE " + c.Collation
		default:
			all[i] = expression + "::" + c.Cast
		}
	}
	return all
}

// equal returns the comparison of the key's columns with expressions, in the columns' own types.
func (k *keyFacts) equal(t *batch.Table, prefix string, expressions []string) string {
	names, typed := t.KeyNames(), k.typed(t, expressions)
	for i := range names {
		equals := "="
		if k != nil && !k.Columns[i].Bytes {
			equals = cmp.Or(k.Columns[i].Equals, equals)
		}
		names[i] = prefix + names[i] + " " + equals + " " + typed[i]
	}
	return strings.Join(names, " AND ")
}

// classify numbers the keys of rows that are in the order of their keys.
func (p *part) classify(rows []int) {
	n := p.index * p.in.batch.Len()
	for i, row := range rows {
		if i > 0 && !p.in.batch.SameKey(rows[i-1], row) {
			n++
		}
		p.in.class[row] = n
	}
}

// keyTable returns the table that has the keys: the ledger, if there is one.
func keyTable(t *batch.Table) string {
	if t.Ledger != "" {
		return ledger(t)
	}
	return table(t)
}

// keyColumns returns the names of the key's columns as a parameter of type text[].
func keyColumns(t *batch.Table) []byte {
	var names []string
	for _, k := range t.Key {
		names = append(names, t.Columns[k].Name)
	}
	return textArray(names)
}

// textArray returns texts as a parameter of type text[].
func textArray(texts []string) []byte {
	var quoted []string
	for _, text := range texts {
		quoted = append(quoted, `"`+strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)+`"`)
	}
	return []byte("{" + strings.Join(quoted, ",") + "}")
}
