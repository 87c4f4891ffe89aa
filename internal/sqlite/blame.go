package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/owner/sluice/internal/batch"
)

// refusal is why SQLite did not accept a row.
type refusal struct {
	err   *sqlite.Error
	table *batch.Table
	row   string // its name, if its message has several
	// keys are the columns of each foreign key that the row violates, if they are known.
	keys  [][]string
	blame blame
}

// blame is what a refusal proves. It depends on who fills the columns that a constraint reads; the
// zero value is that of no columns.
type blame uint8

const (
	blameRow       blame = 1 << iota // the model: the row can never be stored
	blameSchema                      // a default, a trigger or nothing: a configuration error
	blameDiscarded                   // a trigger has given the row another key

	// blameSuspect: both fill some. It is the row's fault if another row is new in the same attempt.
	blameSuspect = blameRow | blameSchema
)

// isRefusal reports whether SQLite may have refused a single row.
func isRefusal(err *sqlite.Error) bool {
	codes := []int{sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR}
	return slices.Contains(codes, err.Code()&0xff)
}

// judge decides what each refusal proves. It reads the schema in the transaction that met the
// refusals.
func (in *insertion) judge(ctx context.Context, tx *sql.Tx) error {
	known := map[*batch.Table][]*facts{}
	for _, r := range in.refusals {
		if known[r.table] == nil {
			for _, ledger := range []bool{false, true} {
				if ledger && r.table.Ledger == "" {
					break
				}
				f, err := readFacts(ctx, tx, r.table, ledger)
				if err != nil {
					return in.store.fault(ctx, "read the schema", err)
				}
				known[r.table] = append(known[r.table], f)
			}
			if in.isChild(r.table) {
				known[r.table][0].key = nil
			}
		}
		r.blame = r.proves(known[r.table])
	}
	return nil
}

// isChild reports whether a table is a child: then nothing lets a row pass whose key is stored.
func (in *insertion) isChild(t *batch.Table) bool {
	return !slices.Contains(in.store.tables, t)
}

// proves returns what a refusal proves: it is the message's fault if the model fills all columns
// that the constraint reads. A refusal that names no constraint of the tables comes from a trigger
// or an expression.
func (r *refusal) proves(tables []*facts) blame {
	switch r.err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_DATATYPE, sqlite3.SQLITE_MISMATCH:
		return blameSchema
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return tables[0].foreignKeys(r.keys)
	}
	for _, f := range tables {
		if unique(r.err) && f.isKey(f.listed(object(r.err))) {
			return blameDiscarded // ON CONFLICT lets no unchanged row get here
		}
		if b := f.readBy(r.err); b != 0 {
			return b
		}
	}
	return blameSuspect
}

// facts describe a table that a batch is written to.
type facts struct {
	name    string
	columns map[string]blame // by name in lower case
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
	// Nobody fills a rowid, unless it is a column of the model.
	f.columns = map[string]blame{"rowid": blameSchema, "oid": blameSchema, "_rowid_": blameSchema}
	computed := blameRow
	var generated []string
	err := each(ctx, tx, "SELECT name, hidden > 1 FROM pragma_table_xinfo(?)", f.name, func(rows *sql.Rows) error {
		name, isGenerated := "", false
		err := rows.Scan(&name, &isGenerated)
		switch {
		case isGenerated:
			generated = append(generated, name)
		case slices.ContainsFunc(t.Columns, func(c batch.Column) bool { return c.Ledger == ledger && strings.EqualFold(c.Name, name) }):
			f.columns[strings.ToLower(name)] = blameRow
		default:
			f.columns[strings.ToLower(name)] = blameSchema
			computed |= blameSchema
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, name := range generated { // from any other column
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

// ofColumns returns the blame for columns.
func (f *facts) ofColumns(columns []string) (b blame) {
	for _, c := range columns {
		b |= cmp.Or(f.columns[strings.ToLower(c)], blameSchema)
	}
	return b
}

// foreignKeys returns the blame for a row that violates foreign keys. One that the model fills is
// enough. If none is known, the foreign key may be of a table that a trigger writes to.
func (f *facts) foreignKeys(keys [][]string) blame {
	if keys == nil {
		return blameSuspect
	}
	found := blameSchema
	for _, columns := range keys {
		b := f.ofColumns(columns)
		if b == blameRow {
			return b
		}
		found |= b
	}
	return found
}

// readBy returns the blame for the columns that a violated constraint reads, 0 if it is not this
// table's.
func (f *facts) readBy(err *sqlite.Error) (b blame) {
	object := object(err)
	if err.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK {
		text := tokenize(object)
		for _, c := range f.checks {
			if c.called(object, text) {
				b |= f.mentioned(c.text)
			}
		}
		return b
	}
	if name, ok := strings.CutPrefix(object, "index "); ok { // on expressions
		if text, ok := f.indexes[unquote(name)]; ok {
			return f.mentioned(text[slices.Index(text, open):])
		}
		return 0
	}
	return f.ofColumns(f.listed(object))
}

// mentioned returns the blame for the columns that SQL may read: a word that is spelt like a column
// counts as one.
func (f *facts) mentioned(text []token) (b blame) {
	for _, t := range text {
		b |= f.columns[t.text]
	}
	return b
}

// listed returns the columns in SQLite's "table.column, table.column", none for another table.
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
