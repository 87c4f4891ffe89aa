package batch

import (
	"crypto/sha256"
	"encoding/hex"
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

// KeyColumns returns the columns of the key.
func (t *Table) KeyColumns() []Column {
	columns := make([]Column, len(t.Key))
	for i, k := range t.Key {
		columns[i] = t.Columns[k]
	}
	return columns
}

// Dialect is how a store spells the SQL that creates tables.
type Dialect struct {
	// Table names a table, as in "logins".
	Table func(name string) string
	// Column returns a column's type, and its constraint or "".
	Column func(Column) (sqlType, constraint string)
	// Options follow the columns of a table.
	Options string
	// Comment returns the comment of the column with this index. It is nil where columns have none.
	Comment func(column int) string
}

const (
	createTable   = "CREATE TABLE IF NOT EXISTS "
	createIndex   = "CREATE INDEX IF NOT EXISTS "
	commentColumn = "COMMENT ON COLUMN "
)

// DDL returns the SQL that creates the table and its ledger if they are missing: a statement for
// each, followed by those for its indexes and comments, which a migration executes only for a table
// that it has created (OfNewTable).
func (t *Table) DDL(d Dialect) (statements []string) {
	statements = append(statements, t.create(d, t.Name, false, t.Ledger == ""))
	statements = append(statements, t.createIndexes(d)...)
	statements = append(statements, t.comments(d, t.Name, false)...)
	if t.Ledger != "" {
		statements = append(statements, t.create(d, t.Ledger, true, true))
		statements = append(statements, t.comments(d, t.Ledger, true)...)
	}
	return statements
}

// OfNewTable reports whether a statement of DDL belongs to the table that was created before it,
// and would change one that existed.
func OfNewTable(statement string) bool {
	return strings.HasPrefix(statement, createIndex) || strings.HasPrefix(statement, commentColumn)
}

// Script returns statements of DDL as a text.
func Script(statements []string) string {
	var text strings.Builder
	for i, s := range statements {
		if i > 0 && !OfNewTable(s) || i > 0 && OfNewTable(statements[i-1]) != OfNewTable(s) {
			text.WriteString("\n")
		}
		text.WriteString(s + ";\n")
	}
	return text.String()
}

func (t *Table) create(d Dialect, name string, ledger, key bool) string {
	width := 0
	for _, n := range t.Names(ledger) {
		width = max(width, len(n))
	}
	var lines []string
	for _, c := range t.Columns {
		if c.Ledger != ledger {
			continue
		}
		sqlType, constraint := d.Column(c)
		line := fmt.Sprintf("    %-*s %s", width, Quote(c.Name), sqlType)
		if c.NotNull {
			line += " NOT NULL"
		}
		lines = append(lines, line+constraint)
	}
	if key {
		lines = append(lines, "    PRIMARY KEY ("+strings.Join(t.KeyNames(), ", ")+")")
	}
	return fmt.Sprintf("%s%s (\n%s\n)%s", createTable, d.Table(name), strings.Join(lines, ",\n"), d.Options)
}

func (t *Table) comments(d Dialect, name string, ledger bool) (statements []string) {
	for i, c := range t.Columns {
		if d.Comment != nil && c.Ledger == ledger {
			statements = append(statements, fmt.Sprintf("%s%s.%s IS %s", commentColumn, d.Table(name), Quote(c.Name), strings.TrimSpace(Literal(d.Comment(i)))))
		}
	}
	return statements
}

func (t *Table) createIndexes(d Dialect) (statements []string) {
	taken := map[string]bool{}
	for _, index := range t.Indexes {
		names, quoted := make([]string, len(index)), make([]string, len(index))
		for i, c := range index {
			names[i], quoted[i] = t.Columns[c].Name, Quote(t.Columns[c].Name)
		}
		name := indexName(t.Name, names, taken)
		statements = append(statements, fmt.Sprintf("%s%s ON %s (%s)", createIndex, Quote(name), d.Table(t.Name), strings.Join(quoted, ", ")))
	}
	return statements
}

// maxName is how many bytes of a name Postgres keeps.
const maxName = 63

// indexName returns the name of an index, as Postgres would choose it. If that is too long, or
// taken by another index of the table, it ends in a hash of the columns.
func indexName(table string, columns []string, taken map[string]bool) string {
	const suffix = "_idx"
	name := table + "_" + strings.Join(columns, "_")
	if len(name+suffix) > maxName || taken[strings.ToLower(name)] {
		sum := sha256.Sum256([]byte(strings.Join(columns, ",")))
		hash := "_" + hex.EncodeToString(sum[:4])
		name = name[:min(len(name), maxName-len(hash+suffix))] + hash
	}
	taken[strings.ToLower(name)] = true
	return name + suffix
}
