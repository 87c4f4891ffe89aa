package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestNamesThatAreValues has triggers that name objects after a value of the row, in every way that
// an error can show: by RAISE, by objects that exist, and by objects that they create. The value is
// nowhere in verdicts and errors, which insert checks.
func TestNamesThatAreValues(t *testing.T) {
	t.Parallel()
	execute := func(statements ...string) string {
		var all []string
		for _, s := range statements {
			all = append(all, fmt.Sprintf("EXECUTE format(%s, NEW.word, NEW.word || ' two')", "$sql$"+s+"$sql$"))
		}
		return strings.Join(all, "; ")
	}
	raise := func(using string) string { return "RAISE EXCEPTION 'no %', NEW.word USING " + using }
	for _, tt := range []struct{ name, then, state string }{
		{"raised column", raise("ERRCODE = '23502', COLUMN = NEW.word"), "23502"},
		{"raised constraint", raise("ERRCODE = '23514', CONSTRAINT = NEW.word"), "23514"},
		{"raised constraint of the table", raise("ERRCODE = '23514', CONSTRAINT = NEW.word, TABLE = 'events', SCHEMA = TG_TABLE_SCHEMA"), "23514"},
		{"raised table", raise("ERRCODE = '23514', TABLE = NEW.word"), "23514"},
		{"raised schema", raise("ERRCODE = '23514', SCHEMA = NEW.word"), "23514"},
		{"raised domain", raise("ERRCODE = '23514', DATATYPE = NEW.word, CONSTRAINT = NEW.word"), "23514"},
		{"raised everything, of a code of its own", raise("ERRCODE = 'SLU01', COLUMN = NEW.word, CONSTRAINT = NEW.word, TABLE = NEW.word, SCHEMA = NEW.word, DATATYPE = NEW.word, HINT = NEW.word, DETAIL = NEW.word"), "SLU01"},
		{"raised configuration", raise("ERRCODE = '42703', COLUMN = NEW.word, TABLE = NEW.word"), "42703"},
		{"raised again", "BEGIN " + raise("ERRCODE = '23503', CONSTRAINT = NEW.word, TABLE = NEW.word") + "; EXCEPTION WHEN OTHERS THEN RAISE; END", "23503"},
		{"raised with fields of another", "DECLARE c text; BEGIN " + execute("CREATE TABLE %1$I (n integer CONSTRAINT %1$I CHECK (n < 0))", "INSERT INTO %I VALUES (1)") +
			"; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS c = CONSTRAINT_NAME; " + raise("ERRCODE = '23514', CONSTRAINT = c") + "; END", "23514"},
		{"check", execute("CREATE TABLE %1$I (n integer CONSTRAINT %1$I CHECK (n < 0))", "INSERT INTO %I VALUES (1)"), "23514"},
		{"check that is raised again", "BEGIN " + execute("CREATE TABLE %1$I (n integer CONSTRAINT %1$I CHECK (n < 0))", "INSERT INTO %I VALUES (1)") + "; EXCEPTION WHEN OTHERS THEN RAISE; END", "23514"},
		{"not null", execute("CREATE TABLE %1$I (%1$I integer NOT NULL)", "INSERT INTO %I VALUES (NULL)"), "23502"},
		{"not null of a column that the table has", execute("CREATE TABLE %1$I (word integer NOT NULL)", "INSERT INTO %I VALUES (NULL)"), "23502"},
		{"unique", execute("CREATE TABLE %1$I (n integer CONSTRAINT %2$I UNIQUE)", "INSERT INTO %I VALUES (1), (1)"), "23505"},
		{"exclusion", execute("CREATE TABLE %1$I (n integer, CONSTRAINT %2$I EXCLUDE USING btree (n WITH =))", "INSERT INTO %I VALUES (1), (1)"), "23P01"},
		{"foreign key", execute("CREATE TABLE %1$I (n integer PRIMARY KEY, m integer CONSTRAINT %1$I REFERENCES %1$I)", "INSERT INTO %I VALUES (1, 2)"), "23503"},
		{"partition", execute("CREATE TABLE %I (n integer) PARTITION BY LIST (n)", "INSERT INTO %I VALUES (1)"), "23514"},
		{"domain", execute("CREATE DOMAIN %1$I AS integer CONSTRAINT %1$I CHECK (value < 0)", "SELECT 1::%I"), "23514"},
		{"domain that is not null", execute("CREATE DOMAIN %I AS integer NOT NULL", "SELECT NULL::%I"), "23502"},
		{"index row", execute("CREATE TABLE %I (t text)", "CREATE INDEX %2$I ON %1$I (t)", "INSERT INTO %I SELECT string_agg(md5(i::text), '') FROM generate_series(1, 500) AS i"), "54000"},
		{"table that is not there", execute("INSERT INTO %I VALUES (1)"), "42P01"},
		{"column that is not there", execute("SELECT %I"), "42703"},
		{"function that is not there", execute("SELECT %I()"), "42883"},
		{"type that is not there", execute("SELECT 1::%I"), "42704"},
		{"schema that is not there", execute("CREATE TABLE %1$I.%1$I (n integer)"), "3F000"},
		{"setting that is not there", execute("SELECT current_setting(%L)"), "42704"},
		{"role that is not there", execute("SET LOCAL ROLE %I"), "22023"},
		{"sequence that is used up", execute("CREATE SEQUENCE %I MAXVALUE 2", "SELECT nextval(quote_ident(%1$L)) FROM generate_series(1, 3)"), "2200H"},
		{"function that raises", execute("CREATE FUNCTION %I() RETURNS void LANGUAGE plpgsql AS $g$ BEGIN RAISE EXCEPTION 'no'; END $g$", "SELECT %I()"), "P0001"},
		{"function of SQL that fails", execute("CREATE FUNCTION %I() RETURNS integer LANGUAGE sql AS 'SELECT 1 / 0'", "SELECT %I()"), "22012"},
		{"a savepoint's and a cursor's", execute("FETCH %I"), "34000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: createEvents + does(tt.then)})
			one := s.insert(row{id: 1, word: canary + "bad"}) // the catalog is not known yet
			beside := s.insert(good(2), row{id: 3, word: canary + "bad bad"})
			all := s.insert(row{id: 4, word: canary + "bad, too"}, row{id: 5, word: canary + "bad"})
			rows := goods(10, 70)
			rows[33].word = canary + "bad"
			for _, o := range []*outcome{one, beside, all, s.insert(rows...), s.insert(inGroups("aab", []row{good(100), {id: 101, word: canary + "bad"}, good(102)})...)} {
				if text := fmt.Sprintf("%v %+v", o.err, o.Verdicts); !strings.Contains(text, tt.state) {
					t.Errorf("the code %s is not in %s", tt.state, text)
				}
			}
		})
	}
}

// TestNamesOfTheTable wants the table's own names to be shown.
func TestNamesOfTheTable(t *testing.T) {
	t.Parallel()
	const parts = "DROP TABLE events; CREATE TABLE events (id bigint PRIMARY KEY, word text, n integer, tx xid8 DEFAULT pg_current_xact_id()) PARTITION BY RANGE (id); CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (1000); "
	bad := row{id: 3, word: canary + "bad"}
	for _, tt := range []struct {
		name, sql string
		row       row
		want      string // verdict beside a good row
		says      string // the error, if it is nobody's
	}{
		{name: "constraint", sql: "ALTER TABLE events ADD CONSTRAINT nice CHECK (word NOT LIKE '%bad%')", row: bad, want: rejected("23514 constraint nice")},
		{name: "index", sql: "CREATE UNIQUE INDEX once ON events (word); INSERT INTO events VALUES (0, 'canary-bad')", row: bad, want: rejected("23505 constraint once")},
		{name: "foreign key", sql: "CREATE TABLE others (word text PRIMARY KEY); INSERT INTO others VALUES ('canary-good-1'); ALTER TABLE events ADD CONSTRAINT other FOREIGN KEY (word) REFERENCES others", row: bad, want: rejected("23503 constraint other")},
		{name: "column", sql: "ALTER TABLE events ALTER word SET NOT NULL", row: row{id: 3}, want: rejected("23502 column word")},
		{name: "constraint of a partition", sql: parts + "ALTER TABLE events_1 ADD CONSTRAINT nice CHECK (word NOT LIKE '%bad%')", row: bad, want: rejected("23514 constraint nice")},
		{name: "domain's constraint", sql: "CREATE DOMAIN nice AS text CONSTRAINT nice_word CHECK (value NOT LIKE '%bad%'); CREATE DOMAIN nicer AS nice; ALTER TABLE events ALTER word TYPE nicer", row: bad, want: rejected("23514 constraint nice_word")},
		{name: "column that the model does not fill", sql: "ALTER TABLE events ADD tenant integer DEFAULT 1 NOT NULL; ALTER TABLE events ALTER tenant DROP DEFAULT", row: bad, want: configuration, says: `column tenant, table events; the table has a NOT NULL column "tenant"`},
		{name: "domain that the model does not fill", sql: "CREATE DOMAIN tenant AS integer NOT NULL; ALTER TABLE events ADD tenant tenant", row: bad, want: configuration, says: "domain tenant"},
		{name: "column below a view", sql: "ALTER TABLE events RENAME TO base; ALTER TABLE base ADD tenant integer NOT NULL; CREATE VIEW events AS SELECT id, word, n, tx FROM base", row: bad, want: configuration, says: "column tenant, table base"},
		{name: "raised", sql: does("RAISE EXCEPTION USING ERRCODE = '23502', COLUMN = 'word', TABLE = 'events', SCHEMA = TG_TABLE_SCHEMA"), row: bad, want: rejected("23502")}, // perhaps a lie
		{name: "another table", sql: "CREATE TABLE audit (word text CONSTRAINT audited CHECK (word NOT LIKE '%bad%')); " + does("INSERT INTO audit VALUES (NEW.word)"), row: bad, want: rejected("23514")},
		{name: "another table, for every row", sql: "CREATE TABLE audit (word text CONSTRAINT audited CHECK (word = 'none')); CREATE FUNCTION audits() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN INSERT INTO audit VALUES (NEW.word); RETURN NEW; END $f$; CREATE TRIGGER audits BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION audits()", row: bad, want: configuration, says: `SQLSTATE 23514 (check_violation), of another table; it arose in the function "audits"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: createEvents + tt.sql})
			o := s.insert(good(1), tt.row)
			if tt.says != "" {
				if o.err == nil || !strings.Contains(o.err.Error(), tt.says) || spell(o.Verdicts[1]) != tt.want {
					t.Errorf("got %v, want %s", o.err, tt.says)
				}
				return
			}
			o.want(verdicts{stored: "1", tt.want: "3"})
		})
	}
}

// TestShown has errors whose fields lie, as functions in any language can make them, before and
// after the catalog is known.
func TestShown(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{sql: createEvents + noBadWord + "CREATE DOMAIN small AS integer CONSTRAINT is_small CHECK (value < 10); ALTER TABLE events ADD tenant small"})
	schema := s.db.Rows(t, "SELECT current_schema()")[0][0]
	ours := func(e pgconn.PgError) *pgconn.PgError {
		e.Code, e.SchemaName, e.TableName = "23514", schema, "events"
		return &e
	}
	const code = "SQLSTATE 23514 (check_violation)"
	errors := []struct {
		err           *pgconn.PgError
		before, after string
	}{
		{ours(pgconn.PgError{}), ", table events", ", table events"},
		{ours(pgconn.PgError{ConstraintName: "no_bad_word"}), ", table events", ", constraint no_bad_word, table events"},
		{ours(pgconn.PgError{ConstraintName: canary}), ", table events", ", table events"},
		{ours(pgconn.PgError{ColumnName: "word"}), ", column word, table events", ", column word, table events"},
		{ours(pgconn.PgError{ColumnName: "tenant"}), ", table events", ", column tenant, table events"},
		{ours(pgconn.PgError{ColumnName: canary}), ", table events", ", table events"},
		{&pgconn.PgError{Code: "23514", ColumnName: canary, ConstraintName: canary}, "", ""},
		{&pgconn.PgError{Code: "23514", SchemaName: schema, TableName: canary, ColumnName: "word", ConstraintName: "no_bad_word"}, "", ", of another table"},
		{&pgconn.PgError{Code: "23514", SchemaName: canary, TableName: "events", ConstraintName: "no_bad_word"}, ", table events", ", of another table"},
		{&pgconn.PgError{Code: "23514", SchemaName: schema, DataTypeName: "small", ConstraintName: "is_small"}, "", ", constraint is_small, domain small"},
		{&pgconn.PgError{Code: "23514", SchemaName: schema, DataTypeName: "small", ConstraintName: canary}, "", ", domain small"},
		{&pgconn.PgError{Code: "23514", SchemaName: schema, DataTypeName: canary, ConstraintName: "is_small"}, "", ""},
		{&pgconn.PgError{Code: "23514", SchemaName: canary, DataTypeName: "small", ConstraintName: "is_small"}, "", ""},
		{&pgconn.PgError{Code: "23514", SchemaName: canary, ConstraintName: canary, Message: canary, Detail: canary, Hint: canary, Where: canary, InternalQuery: canary}, "", ""},
	}
	for i, e := range errors {
		if got := s.store.Shown(e.err); got != code+e.before {
			t.Errorf("%d before: got %q, want %q", i, got, code+e.before)
		}
	}
	s.insert(good(1), row{id: 2, word: canary + "bad"}).want(verdicts{stored: "1", rejected(byNoBadWord): "2"})
	for i, e := range errors {
		if got := s.store.Shown(e.err); got != code+e.after {
			t.Errorf("%d after: got %q, want %q", i, got, code+e.after)
		}
	}
}
