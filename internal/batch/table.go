package batch

import (
	"slices"
	"strings"
)

// Table describes where the rows of a batch go.
type Table struct {
	Schema  string // "" leaves it to the connection's search_path
	Name    string
	Columns []Column
	// Key lists, as indexes into Columns, what identifies a row on every delivery. Its values are
	// never NULL.
	Key []int
	// KeyOfMessage: the id of a message is in the key, so that only another delivery of the same
	// message can have it.
	KeyOfMessage bool
	// OnConflict is what becomes of a row whose key is stored.
	OnConflict OnConflict
	// Indexes are further indexes of the table, as indexes into Columns.
	Indexes [][]int
	// Several: a message may have several rows in the table.
	Several bool
	// Children are tables whose rows belong to a row of this one, of the same message.
	Children []*Table
	// Parent lists the columns of a child, as indexes, that have the key of its parent, in that order.
	Parent []int
	// Ledger is set if the table itself has no such key: the name of the table of keys that says
	// which messages are stored.
	Ledger string
}

// OnConflict is what becomes of a row whose key is stored.
type OnConflict uint8

// What can become of it.
const (
	// Keep: the stored row stays.
	Keep OnConflict = iota
	// Replace: it replaces a stored row that is older, by the column NewerBy.
	Replace
	// Reject: the stored row stays. The message is rejected if the stored row is another message's, and
	// differs in a column that is Compared.
	Reject
)

// Column is one column of a batch.
type Column struct {
	Name string
	Kind Kind
	// Type is the column's SQL type, as in "varchar(32)".
	Type string
	// List: the type is an array. A value is a list of values of the kind.
	List bool
	// AsText: the database's type reads each value from its text. The kind is Text. Type is a quoted
	// name then, without a length.
	AsText bool
	// Masked is how many characters the masks have that the column holds; 0 for any other value.
	Masked int
	// Constant: each row has the same value, which is the model's and of no message.
	Constant bool
	// NewerBy: of two rows with one key, the one with the greater value is newer. Only of tables that
	// Replace. No value is NULL.
	NewerBy bool
	// MessageID: the column has the id of the row's message.
	MessageID bool
	// Compared: two messages with one key say the same only if their rows agree here. Other columns have
	// masks and metadata, which can differ for one content.
	Compared bool
	// NotNull is true if no row of a batch has a NULL there.
	NotNull bool
	// Ledger is true for a column of the ledger, which the table lacks.
	Ledger bool
}

// FindsConflicts reports whether a stored row is compared with the row of another message that has its
// key.
func (t *Table) FindsConflicts() bool {
	return t.OnConflict != Replace && t.Ledger == "" && t.MessageID() >= 0 && len(t.Compared()) > 0
}

// MessageID returns the index of the column that has the id of the row's message, outside the key; -1
// for none.
func (t *Table) MessageID() int {
	for i := range t.Columns {
		if t.Columns[i].MessageID && !slices.Contains(t.Key, i) {
			return i
		}
	}
	return -1
}

// Compared returns the indexes of the columns that are Compared, outside the key.
func (t *Table) Compared() (all []int) {
	for i := range t.Columns {
		if t.Columns[i].Compared && !slices.Contains(t.Key, i) {
			all = append(all, i)
		}
	}
	return all
}

// Reads returns the indexes of the columns that a store reads: those of the key, and where a stored row
// can be replaced or compared, the others that this takes. A ledger has the key instead of the table.
func (t *Table) Reads() (all []int) {
	for i := range t.Columns {
		if slices.Contains(t.Key, i) || t.OnConflict == Replace || t.FindsConflicts() && (t.Columns[i].Compared || i == t.MessageID()) {
			all = append(all, i)
		}
	}
	return all
}

// Updates returns the indexes of the columns that a newer row overwrites.
func (t *Table) Updates() (all []int) {
	for i := range t.Columns {
		if t.OnConflict == Replace && !slices.Contains(t.Key, i) {
			all = append(all, i)
		}
	}
	return all
}

// Quote quotes an identifier for SQL.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// Literal quotes a text for SQL, whatever standard_conforming_strings says.
func Literal(text string) string {
	if strings.Contains(text, `\`) {
		return ` E'` + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + `'`
	}
	return `'` + strings.ReplaceAll(text, `'`, `''`) + `'`
}

// QuoteTable quotes the name of a table, with its schema if it has one.
func QuoteTable(schema, name string) string {
	if schema == "" {
		return Quote(name)
	}
	return Quote(schema) + "." + Quote(name)
}

// Migrated describes what a migration did about a table.
type Migrated struct {
	// Name is the table's, as in SQL, with its schema if there are schemas.
	Name string `json:"name"`
	// Created is false for a table that existed, which is left as it is.
	Created bool `json:"created"`
	// Other is a table of the same name that gets no rows, because another schema comes first in
	// the role's search_path; "" for none.
	Other string `json:"other,omitzero"`
}
