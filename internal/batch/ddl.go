package batch

import (
	"fmt"
	"strings"
)

// Names returns the names of the table's columns, or of its ledger's, quoted.
func (t *Table) Names(ledger bool) (names []string) {
	for _, c := range t.Columns {
		if c.Ledger == ledger {
			names = append(names, Quote(c.Name))
		}
	}
	return names
}

// KeyNames returns the names of the key's columns, quoted.
func (t *Table) KeyNames() []string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = Quote(t.Columns[k].Name)
	}
	return names
}

// DDL returns the SQL that creates the table and its ledger if they are missing, and alters
// nothing: one statement per table. The caller knows the dialect: how to name a table, the type and
// the constraint of a column, and what follows the columns.
func (t *Table) DDL(table func(name string) string, column func(Column) (sqlType, constraint string), options string) []string {
	create := func(name string, ledger, key bool) string {
		width := 0
		for _, n := range t.Names(ledger) {
			width = max(width, len(n))
		}
		var lines []string
		for _, c := range t.Columns {
			if c.Ledger != ledger {
				continue
			}
			sqlType, constraint := column(c)
			line := fmt.Sprintf("    %-*s %s", width, Quote(c.Name), sqlType)
			if c.NotNull {
				line += " NOT NULL"
			}
			lines = append(lines, line+constraint)
		}
		if key {
			lines = append(lines, "    PRIMARY KEY ("+strings.Join(t.KeyNames(), ", ")+")")
		}
		return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n%s\n)%s", table(name), strings.Join(lines, ",\n"), options)
	}
	if t.Ledger == "" {
		return []string{create(t.Name, false, true)}
	}
	return []string{create(t.Name, false, false), create(t.Ledger, true, true)}
}
