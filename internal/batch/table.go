package batch

import "strings"

// Table says where the rows of a batch go.
type Table struct {
	Schema  string // "" leaves it to the connection's search_path
	Name    string
	Columns []Column
	// Key lists, as indexes into Columns, what makes a row the same row on
	// every delivery. Its values are never NULL.
	Key []int
	// Ledger is set when the table itself has no such key: the name of the
	// table of keys that says which messages are stored.
	Ledger string
}

// Column is one column of a batch.
type Column struct {
	Name string
	Kind Kind
	// Type is the column's SQL type, as in "varchar(32)".
	Type string
	// NotNull is true when no row of ours has a NULL there.
	NotNull bool
	// Ledger is true for a column of the ledger, which the table lacks.
	Ledger bool
}

// Quote quotes an identifier for SQL.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// QuoteTable quotes the name of a table, with its schema if it has one.
func QuoteTable(schema, name string) string {
	if schema == "" {
		return Quote(name)
	}
	return Quote(schema) + "." + Quote(name)
}

// Migrated says what became of a table that was to be made.
type Migrated struct {
	// Name is the table's, as in SQL, with its schema where there are schemas.
	Name string `json:"name"`
	// Created is false for a table that was there, which is left as it is.
	Created bool `json:"created"`
	// Other is a table of the same name that no row goes to, because another
	// schema comes first in the role's search_path; "" for none.
	Other string `json:"other,omitzero"`
}
