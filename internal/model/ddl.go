package model

import (
	"slices"

	"example.com/owner/sluice/internal/batch"
)

// DDL returns the SQL that creates the model's tables in Postgres if they are missing, and alters
// nothing (batch.Table.DDL). Each column has its rule as a comment. A model that ignores
// its messages has none.
func (m *Model) DDL() []string {
	if m.Ignore {
		return nil
	}
	return m.Table.DDL(batch.Dialect{
		Table:  batch.QuoteTable,
		Column: func(c batch.Column) (sqlType, constraint string) { return c.Type, "" },
		Comment: func(t *batch.Table, column int) string {
			of := slices.IndexFunc(m.Tables(), func(one *Model) bool { return one.Table == t })
			return m.Tables()[of].Rule(column)
		},
	})
}
