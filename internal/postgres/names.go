package postgres

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// names are the objects that an error of the server names and that may be shown: the table's own. A
// trigger can write to tables that are named after a value, or raise an error that names what it
// likes.
type names struct {
	constraint, column, domain, table string
	// elsewhere: the error is about another table.
	elsewhere bool
}

// ownNames returns those of the names in an error that belong to the table, its ledger, its
// partitions, children or domains. The catalog has them all; as long as it is not known (nil), the
// model has the tables and the columns.
func (d *destination) ownNames(err *pgconn.PgError, c *catalog) (own names) {
	switch {
	case raised(err): // the function sets all of them
		return own
	case err.TableName == "":
	case c != nil && !c.covers(err), c == nil && !d.namesTable(err):
		return names{elsewhere: c != nil}
	default:
		own.table = err.TableName
	}
	if d.fills(err.ColumnName, false) || d.fills(err.ColumnName, true) || c != nil && slices.Contains(c.Attributes, err.ColumnName) {
		own.column = err.ColumnName
	}
	if c == nil {
		return own
	}
	if k := c.constraint(err); k != nil {
		own.constraint = k.Name
	}
	for _, k := range c.Columns {
		if !slices.ContainsFunc(k.Domains, func(d domain) bool { return d.named(err) }) {
			continue
		}
		own.domain = err.DataTypeName
		// A domain has the constraints of the domain that it is made of.
		if slices.ContainsFunc(k.Domains, func(d domain) bool { return slices.Contains(d.Constraints, err.ConstraintName) }) {
			own.constraint = err.ConstraintName
		}
	}
	return own
}

// reads returns the column whose type did not take a text, "" if the error of an insert is another.
func (d *destination) reads(err *pgconn.PgError) string {
	if n := parameterOf(err); 0 < n && n <= len(d.table.Columns) && d.table.Columns[n-1].AsText {
		return d.table.Columns[n-1].Name
	}
	return ""
}

// namesTable reports whether an error names the table or its ledger, as far as the model knows.
func (d *destination) namesTable(err *pgconn.PgError) bool {
	return (err.TableName == d.table.Name || err.TableName == d.table.Ledger) && (d.table.Schema == "" || err.SchemaName == d.table.Schema)
}

// shown returns those parts of a server's error that never quote a value.
func (d *destination) shown(err *pgconn.PgError, c *catalog) string {
	own := d.ownNames(err, c)
	parts := []string{describe(err)}
	for _, part := range [][2]string{{"constraint", own.constraint}, {"column", own.column}, {"domain", own.domain}, {"table", own.table}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	if own.elsewhere {
		parts = append(parts, "of another table")
	}
	return strings.Join(parts, ", ")
}
