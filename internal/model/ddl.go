package model

import (
	"fmt"
	"strings"

	"sluice/internal/batch"
)

// DDL is the SQL that creates what is missing of the model's tables in
// Postgres and alters nothing: a statement for each element.
func (m *Model) DDL() []string {
	t := m.Table
	statements := []string{createTable(t.Schema, t.Name, t.Columns, t.Key, false)}
	if t.Ledger != "" {
		statements[0] = createTable(t.Schema, t.Name, t.Columns, nil, false)
		statements = append(statements, createTable(t.Schema, t.Ledger, t.Columns, t.Key, true))
	}
	return statements
}

func createTable(schema, name string, columns []batch.Column, key []int, ledger bool) string {
	var lines []string
	width := 0
	for _, c := range columns {
		if c.Ledger == ledger {
			width = max(width, len(batch.Quote(c.Name)))
		}
	}
	for _, c := range columns {
		if c.Ledger != ledger {
			continue
		}
		line := fmt.Sprintf("    %-*s %s", width, batch.Quote(c.Name), c.Type)
		if c.NotNull {
			line += " NOT NULL"
		}
		lines = append(lines, line)
	}
	if key != nil {
		names := make([]string, len(key))
		for i, k := range key {
			names[i] = batch.Quote(columns[k].Name)
		}
		lines = append(lines, "    PRIMARY KEY ("+strings.Join(names, ", ")+")")
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s (\n%s\n)", batch.QuoteTable(schema, name), strings.Join(lines, ",\n"))
}
