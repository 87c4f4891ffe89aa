package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"sluice/internal/batch"
)

// refusal is why SQLite did not take a row.
type refusal struct {
	err *sqlite.Error
	// keys are the columns of each foreign key that the row violates, where
	// SQLite has told which.
	keys  [][]string
	blame blame
}

// blame is what a refusal proves.
type blame uint8

const (
	blameOperator  blame = iota // somebody has to fix something
	blameRow                    // the row can never be stored
	blameSuspect                // the row's, if another row is new in the same attempt
	blameDiscarded              // a trigger has given the row another key
)

// mayBeARows reports whether SQLite may have refused a single row.
func mayBeARows(err *sqlite.Error) bool {
	switch err.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR:
		return true
	default:
		return false
	}
}

// judge decides what each refusal proves. It reads the schema in the
// transaction that met the refusals.
func (in *insertion) judge(ctx context.Context, tx *sql.Tx) error {
	if len(in.refusals) == 0 {
		return nil
	}
	var tables []*facts
	for _, ledger := range []bool{false, true} {
		if ledger && in.store.table.Ledger == "" {
			break
		}
		f, err := readFacts(ctx, tx, in.store.table, ledger)
		if err != nil {
			return in.store.fault(ctx, "read the schema", err)
		}
		tables = append(tables, f)
	}
	for _, r := range in.refusals {
		r.blame = r.proves(tables)
	}
	return nil
}

// proves says whose fault a refusal is: the message's, if the model fills all
// columns that the constraint reads. A refusal that names no constraint of the
// tables comes from a trigger or an expression.
func (r *refusal) proves(tables []*facts) blame {
	switch r.err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_DATATYPE, sqlite3.SQLITE_MISMATCH:
		return blameOperator
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return tables[0].foreignKeys(r.keys)
	}
	for _, f := range tables {
		if unique(r.err) && f.isKey(f.listed(object(r.err))) {
			return blameDiscarded // ON CONFLICT lets no row itself come to this
		}
		if s := f.read(r.err); s != 0 {
			return s.blame()
		}
	}
	return blameSuspect
}

// share says who fills columns, both when they are mixed.
type share uint8

const (
	filled share = 1 << iota // the model
	others                   // a default, a trigger or nobody
)

func (s share) blame() blame {
	switch s {
	case filled:
		return blameRow
	case others:
		return blameOperator
	default:
		return blameSuspect
	}
}

// facts are what SQLite knows of a table that a batch is written to.
type facts struct {
	name    string
	columns map[string]share // by name in lower case
	key     []string         // nil when another table has it
	checks  []check
	indexes map[string][]token
}

func readFacts(ctx context.Context, tx *sql.Tx, t *batch.Table, ledger bool) (*facts, error) {
	f := &facts{name: t.Name, indexes: map[string][]token{}}
	if ledger {
		f.name = t.Ledger
	}
	if ledger == (t.Ledger != "") {
		for _, k := range t.Key {
			f.key = append(f.key, t.Columns[k].Name)
		}
	}
	// A rowid is nobody's, unless it is a column, and that is the model's.
	f.columns = map[string]share{"rowid": others, "oid": others, "_rowid_": others}
	computed := filled
	var generated []string
	err := each(ctx, tx, "SELECT name, hidden > 1 FROM pragma_table_xinfo(?)", f.name, func(rows *sql.Rows) error {
		name, isGenerated := "", false
		err := rows.Scan(&name, &isGenerated)
		switch {
		case isGenerated:
			generated = append(generated, name)
		case slices.ContainsFunc(t.Columns, func(c batch.Column) bool { return c.Ledger == ledger && strings.EqualFold(c.Name, name) }):
			f.columns[strings.ToLower(name)] = filled
		default:
			f.columns[strings.ToLower(name)] = others
			computed |= others
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range generated { // from any of the others
		f.columns[strings.ToLower(name)] = computed
	}
	const texts = "SELECT type, name, sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql IS NOT NULL AND lower(tbl_name) = lower(?)"
	return f, each(ctx, tx, texts, f.name, func(rows *sql.Rows) error {
		var kind, name, text string
		err := rows.Scan(&kind, &name, &text)
		if kind == "index" {
			f.indexes[name] = tokenize(text)
		} else {
			f.checks = readChecks(tokenize(text))
		}
		return err
	})
}

// each calls scan for each row of a query about a table.
func each(ctx context.Context, tx *sql.Tx, query, table string, scan func(*sql.Rows) error) error {
	rows, err := tx.QueryContext(ctx, query, sql.Named("table", table))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// share is who fills the columns.
func (f *facts) share(columns []string) (s share) {
	for _, c := range columns {
		part, ok := f.columns[strings.ToLower(c)]
		if !ok {
			part = others
		}
		s |= part
	}
	return s
}

// foreignKeys is the blame for a row that violates foreign keys. One that the
// message fills is enough. If SQLite does not tell any, one of a table that a
// trigger writes to may refuse it.
func (f *facts) foreignKeys(keys [][]string) blame {
	if keys == nil {
		return blameSuspect
	}
	found := blameOperator
	for _, columns := range keys {
		b := f.share(columns).blame()
		if b == blameRow {
			return b
		}
		if b == blameSuspect {
			found = b
		}
	}
	return found
}

// read is who fills the columns that a violated constraint reads, 0 when it is
// not this table's.
func (f *facts) read(err *sqlite.Error) (s share) {
	object := object(err)
	if err.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK {
		text := tokenize(object)
		for _, c := range f.checks {
			if c.called(object, text) {
				s |= f.mentioned(c.text)
			}
		}
		return s
	}
	if name, ok := strings.CutPrefix(object, "index "); ok { // on expressions
		if text, ours := f.indexes[unquote(name)]; ours {
			return f.mentioned(text[slices.Index(text, open):])
		}
		return 0
	}
	return f.share(f.listed(object))
}

// mentioned is who fills the columns that SQL may read: whatever is spelt like
// a column counts as one.
func (f *facts) mentioned(text []token) (s share) {
	for _, t := range text {
		s |= f.columns[t.text]
	}
	return s
}

// listed are the columns in SQLite's "table.column, table.column", none for
// another table.
func (f *facts) listed(object string) (columns []string) {
	for c := range strings.SplitSeq(object, ", ") {
		if n := len(f.name); len(c) > n && c[n] == '.' && strings.EqualFold(c[:n], f.name) {
			columns = append(columns, c[n+1:])
		}
	}
	return columns
}

func (f *facts) isKey(columns []string) bool {
	return len(columns) > 0 && len(columns) == len(f.key) && !slices.ContainsFunc(f.key, func(k string) bool {
		return !slices.ContainsFunc(columns, func(c string) bool { return strings.EqualFold(c, k) })
	})
}
