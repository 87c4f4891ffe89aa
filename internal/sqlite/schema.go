package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// types are SQLite's types for those of a model, with a check where they are wider. A numeric is
// text: a column of a numeric type would keep a float, and lose digits.
var types = map[string]struct{ name, check string }{
	"varchar": {"TEXT", "length({column}) <= {n}"}, "char": {"TEXT", "length({column}) <= {n}"}, "text": {"TEXT", ""}, "citext": {"TEXT COLLATE NOCASE", ""},
	"smallint": {"INTEGER", ""}, "integer": {"INTEGER", ""}, "bigint": {"INTEGER", ""}, "numeric": {"TEXT", ""}, "real": {"REAL", ""}, "double precision": {"REAL", ""},
	"boolean": {"INTEGER", "{column} IN (0, 1)"}, "timestamptz": {"TEXT", ""}, "timestamp": {"TEXT", ""}, "date": {"TEXT", ""}, "time": {"TEXT", ""}, "interval": {"TEXT", ""},
	"uuid": {"TEXT", ""}, "inet": {"TEXT", ""}, "cidr": {"TEXT", ""}, "bytea": {"BLOB", ""},
	"json": {"TEXT", "json_valid({column})"}, "jsonb": {"TEXT", "json_valid({column})"},
}

// typeOf returns SQLite's type for a column. A list is an array in JSON.
func typeOf(c batch.Column) (sqlType, constraint string) {
	base, length, _ := strings.Cut(strings.TrimSuffix(c.Type, ")"), "(")
	known, ok := types[base]
	switch {
	case c.AsText:
		return "TEXT", ""
	case c.List:
		base, known.name, known.check = "list", "TEXT", "json_type({column}) = 'array'"
	case !ok:
		panic("sqlite: no type for " + base)
	}
	if check := known.check; check != "" {
		check = strings.NewReplacer("{column}", batch.Quote(c.Name), "{n}", length).Replace(check)
		constraint = fmt.Sprintf(" CONSTRAINT %s CHECK (%s)", batch.Quote(c.Name+"_"+base), check)
	}
	return known.name, constraint
}

// DDL returns the SQL that creates what is missing of a table, its ledger and its children, and alters
// nothing (batch.Table.DDL). The tables are STRICT, and a check holds each varchar and char to its
// length. SQLite has no comments.
func DDL(t *batch.Table) []string {
	return t.DDL(batch.Dialect{Table: func(_, name string) string { return batch.Quote(name) }, Column: typeOf, Options: " STRICT"})
}

// plainName matches a name that SQL takes without quotes.
var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

var createdName = regexp.MustCompile(`^CREATE (?:TABLE|INDEX) IF NOT EXISTS ("(?:[^"]|"")+")`)

// Migrate executes statements, those of DDL among them, in one transaction, and returns which of
// the tables were missing. It skips the indexes of those that were not.
func (s *Store) Migrate(ctx context.Context, statements []string) ([]batch.Migrated, error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, s.fault(ctx, "begin a transaction", err)
	}
	defer tx.Rollback()
	var tables []batch.Migrated
	created := false // the last table
	for _, text := range statements {
		index := batch.OfNewTable(text)
		if index && !created {
			continue
		}
		if name := createdName.FindStringSubmatch(text); name != nil {
			missing := false
			const query = `SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE (type IN ('table', 'view') OR ?) AND lower(name) = lower(?))`
			if err := tx.QueryRowContext(ctx, query, index, unquote(name[1])).Scan(&missing); err != nil {
				return nil, s.fault(ctx, "create the tables", err)
			}
			switch {
			case !index:
				created = missing
				shown := unquote(name[1])
				if !plainName.MatchString(shown) {
					shown = name[1]
				}
				tables = append(tables, batch.Migrated{Name: shown, Created: missing})
			case !missing:
				return nil, &fault.Error{
					Source: fault.Database, Cause: message.CauseConfiguration,
					What: "create the tables: the name of the index " + name[1] + " is taken", Remedy: "rename what has it; nothing was created",
				}
			}
		}
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return nil, s.schemaFault(ctx, "create the tables", s.tables[0], err)
		}
	}
	if err := tx.Commit(); err != nil {
		return nil, s.fault(ctx, "commit", err)
	}
	return tables, nil
}

// insertSQL returns the statements that store one row: in the table, or in the ledger and then in
// the table. The conflict target is named: without it, the violation of another unique constraint
// would look like a duplicate. A child is stored with a parent that is new, so that its key is too,
// unless the parent may replace another one.
func insertSQL(t, parent *batch.Table) []string {
	once := fmt.Sprintf(" ON CONFLICT (%s) DO %s", strings.Join(t.KeyNames(), ", "), onConflict(t, parent))
	switch {
	case t.Ledger != "":
		return []string{insertInto(t, t.Ledger, true) + once, insertInto(t, t.Name, false)}
	case parent != nil && parent.OnConflict != batch.Replace:
		return []string{insertInto(t, t.Name, false)}
	default:
		return []string{insertInto(t, t.Name, false) + once}
	}
}

func insertInto(t *batch.Table, name string, ledger bool) string {
	names := t.Names(ledger)
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES (?%s)", batch.Quote(name), strings.Join(names, ", "), strings.Repeat(", ?", len(names)-1))
}

// keyTable returns the table that has the key: the ledger if there is one.
func keyTable(t *batch.Table) string { return cmp.Or(t.Ledger, t.Name) }

// keyCollations returns the collations of the unique index that ON CONFLICT uses, by column in
// lower case: those of the first one on the columns of the key.
func keyCollations(ctx context.Context, tx *sql.Tx, t *batch.Table) (found map[string]string, err error) {
	const query = `SELECT json_group_object(lower(ifnull(x.name, '')), x.coll) FROM pragma_index_list(@table) AS l, pragma_index_xinfo(l.name) AS x
		WHERE l."unique" AND NOT l.partial AND x.key GROUP BY l.seq ORDER BY l.seq`
	err = each(ctx, tx, query, keyTable(t), func(rows *sql.Rows) error {
		var text []byte
		var collations map[string]string
		if err := errors.Join(rows.Scan(&text), json.Unmarshal(text, &collations)); err != nil {
			return err
		}
		ofKey := len(collations) == len(t.Key)
		for _, k := range t.Key {
			ofKey = ofKey && collations[strings.ToLower(t.Columns[k].Name)] != ""
		}
		if ofKey && found == nil {
			found = collations
		}
		return nil
	})
	return found, err
}

// What presentSQL says of a row.
const (
	isThere    = 1 // it is stored, or as good as that
	isOutdated = 2 // a newer one is stored
	isConflict = 3 // that of another message is stored, with other content
)

// presentSQL asks what is stored for a row: one of the above, and the id of the message that stored
// it; nothing if the key does not exist, or only for an older row.
func presentSQL(t *batch.Table, collations map[string]string) string {
	found, id, newer := fmt.Sprint(isThere), "NULL", ""
	switch {
	case t.OnConflict == batch.Replace:
		var sent []string
		for _, c := range t.Version() {
			sent = append(sent, parameter(c))
		}
		found = fmt.Sprintf("CASE WHEN %s THEN %d ELSE %d END", exceeds(version(t, table(t)+"."), sent), isOutdated, isThere)
		newer = " AND (" + isNewer(t, sent) + ") IS NOT TRUE"
	case t.FindsConflicts():
		id = batch.Quote(t.Columns[t.MessageID()].Name)
		var same []string
		for _, c := range t.Compared() {
			same = append(same, batch.Quote(t.Columns[c].Name)+" IS "+parameter(c))
		}
		found = fmt.Sprintf("CASE WHEN %s IS %s OR %s THEN %d ELSE %d END", id, parameter(t.MessageID()), strings.Join(same, " AND "), isThere, isConflict)
	}
	return fmt.Sprintf("SELECT %s, %s FROM %s WHERE %s%s", found, id, batch.Quote(keyTable(t)), hasKey(t, collations), newer)
}

// hasKey returns the condition that a row has a key. A column is on the left, so that its type and
// its collation count; collations has those of the index that ON CONFLICT uses, which may be others.
func hasKey(t *batch.Table, collations map[string]string) string {
	terms := t.KeyNames()
	for i, k := range t.Key {
		if c, ok := collations[strings.ToLower(t.Columns[k].Name)]; ok {
			terms[i] += " COLLATE " + batch.Quote(c)
		}
		terms[i] += " = " + parameter(k)
	}
	return strings.Join(terms, " AND ")
}

// parameter returns the name of the parameter for a column.
func parameter(column int) string { return fmt.Sprint("@c", column) }

func table(t *batch.Table) string { return batch.Quote(t.Name) }
