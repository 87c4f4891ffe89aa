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
	Table func(schema, name string) string
	// Column returns a column's type, and its constraint or "".
	Column func(Column) (sqlType, constraint string)
	// Options follow the columns of a table.
	Options string
	// Comment returns the comment of a table's column with this index. It is nil where columns have none.
	Comment func(t *Table, column int) string
}

const (
	createTable   = "CREATE TABLE IF NOT EXISTS "
	createIndex   = "CREATE INDEX IF NOT EXISTS "
	commentColumn = "COMMENT ON COLUMN "
)

// DDL returns the SQL that creates the table, its ledger and its children if they are missing: a
// statement for each, followed by those for its indexes and comments, which a migration executes only
// for a table that it has created (OfNewTable). A child refers to its parent's key, unless a ledger has
// that.
func (t *Table) DDL(d Dialect) []string { return t.ddl(d, nil) }

func (t *Table) ddl(d Dialect, parent *Table) (statements []string) {
	var constraints []string
	if t.Ledger == "" {
		constraints = append(constraints, t.primaryKey())
	}
	if parent != nil && parent.Ledger == "" {
		constraints = append(constraints, t.foreignKey(d, parent))
	}
	statements = append(statements, t.create(d, t.Name, false, constraints))
	statements = append(statements, t.createIndexes(d)...)
	statements = append(statements, t.comments(d, t.Name, false)...)
	if t.Ledger != "" {
		statements = append(statements, t.create(d, t.Ledger, true, []string{t.primaryKey()}))
		statements = append(statements, t.comments(d, t.Ledger, true)...)
	}
	for _, child := range t.Children {
		statements = append(statements, child.ddl(d, t)...)
	}
	return statements
}

func (t *Table) primaryKey() string { return "PRIMARY KEY (" + strings.Join(t.KeyNames(), ", ") + ")" }

// foreignKey returns the constraint that a row's parent is stored.
func (t *Table) foreignKey(d Dialect, parent *Table) string {
	names := make([]string, len(t.Parent))
	for i, c := range t.Parent {
		names[i] = Quote(t.Columns[c].Name)
	}
	return fmt.Sprintf("FOREIGN KEY (%s) REFERENCES %s (%s)",
		strings.Join(names, ", "), d.Table(parent.Schema, parent.Name), strings.Join(parent.KeyNames(), ", "))
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

func (t *Table) create(d Dialect, name string, ledger bool, constraints []string) string {
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
	for _, c := range constraints {
		lines = append(lines, "    "+c)
	}
	return fmt.Sprintf("%s%s (\n%s\n)%s", createTable, d.Table(t.Schema, name), strings.Join(lines, ",\n"), d.Options)
}

func (t *Table) comments(d Dialect, name string, ledger bool) (statements []string) {
	for i, c := range t.Columns {
		if d.Comment != nil && c.Ledger == ledger {
			statements = append(statements, fmt.Sprintf("%s%s.%s IS %s", commentColumn, d.Table(t.Schema, name), Quote(c.Name), strings.TrimSpace(Literal(d.Comment(t, i)))))
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
		statements = append(statements, fmt.Sprintf("%s%s ON %s (%s)", createIndex, Quote(name), d.Table(t.Schema, t.Name), strings.Join(quoted, ", ")))
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
