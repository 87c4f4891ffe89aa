package model

import "sluice/internal/batch"

// DDL returns the SQL that creates the model's tables in Postgres if they are missing, and alters
// nothing: one statement per table.
func (m *Model) DDL() []string {
	name := func(table string) string { return batch.QuoteTable(m.Table.Schema, table) }
	column := func(c batch.Column) (sqlType, constraint string) { return c.Type, "" }
	return m.Table.DDL(name, column, "")
}
