package sqlite_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqlite"
	"example.com/owner/sluice/internal/testing/storetest"
	"example.com/owner/sluice/models"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		f := newFile(t)
		return storetest.Harness{
			Open: func(t testing.TB, tables ...*batch.Table) storetest.Store {
				t.Helper()
				return open(t, f.url(), tables...)
			},
			DDL:        sqlite.DDL,
			Exec:       func(t testing.TB, text string) { t.Helper(); f.exec(t, text) },
			Rows:       f.rows,
			Elements:   "SELECT value FROM t, json_each(v)",
			KeysAsText: true,
			Discard: func(event, table, condition string) string {
				return strings.Replace(before(event, table, condition, "SELECT RAISE(IGNORE)"), "refuse", "refuse_"+table, 1)
			},
			Raise: func(event, table, condition string) string {
				return before(event, table, condition, "SELECT RAISE(ABORT, 'not ' || NEW.user_id)")
			},
		}
	})
}

func trigger(table, condition, then string) string { return before("INSERT", table, condition, then) }

func before(event, table, condition, then string) string {
	return fmt.Sprintf("CREATE TRIGGER refuse BEFORE %s ON %s WHEN %s BEGIN %s; END", event, table, condition, then)
}

// file is a database of one test, and a way to it beside the stores under test.
type file struct {
	path  string
	other *sqlite.Store
}

func newFile(t testing.TB) *file {
	t.Helper()
	f := &file{path: filepath.Join(t.TempDir(), "100% a #1?.db")}
	f.other = f.open(t, &model.Model{Table: &batch.Table{Columns: make([]batch.Column, 1)}})
	return f
}

func (f *file) url() string { return "sqlite:" + (&url.URL{Path: f.path}).EscapedPath() }

func (f *file) open(t testing.TB, m *model.Model) *sqlite.Store {
	t.Helper()
	return open(t, f.url(), m.Table)
}

// names are what errors call settings and commands.
var names = fault.Names{URL: "DATABASE_URL", Migrate: "sluice migrate", Schema: "sluice schema"}

func open(t testing.TB, url string, tables ...*batch.Table) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(url, tables, names)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (f *file) exec(t testing.TB, statements ...string) {
	t.Helper()
	if _, err := f.other.Migrate(t.Context(), statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

func (f *file) rows(t testing.TB, query string) [][]string {
	t.Helper()
	return rows(t, f.other, query)
}

func rows(t testing.TB, s *sqlite.Store, query string) [][]string {
	t.Helper()
	all, err := s.Rows(t.Context(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}

func named(t testing.TB, name string) *model.Model {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// logins has a message for each user.
func logins(users ...string) []message.Message {
	messages := make([]message.Message, len(users))
	for i, user := range users {
		messages[i] = message.Message{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), HasBody: true, HasSent: true, SentMillis: 1767225600000 + int64(i),
			Body: fmt.Appendf(nil, `{"user_id": %q}`, user),
		}
	}
	return messages
}

// run is what the pipeline makes of messages, in words.
func run(ctx context.Context, s ingest.Store, m *model.Model, messages []message.Message) (words string, r ingest.Report) {
	r = ingest.New(m.Set(), s, ingest.Static(mask.Unkeyed()), slog.New(slog.DiscardHandler)).Run(ctx, messages)
	for _, v := range r.Verdicts {
		words += " " + v.Outcome.String()
		if v.Cause != "" {
			words += " " + string(v.Cause)
		}
		if v.Outcome == message.Rejected {
			words += " (" + v.Rejection.String() + ")"
		}
	}
	return strings.TrimPrefix(words, " "), r
}

func TestURLs(t *testing.T) {
	m := named(t, "user_logins")
	t.Chdir(t.TempDir())
	abs := t.TempDir()
	for _, tt := range []struct{ url, path string }{
		{"sqlite:file.db", "file.db"},
		{"sqlite:./a%20b%3f%23%25.db", "a b?#%.db"},
		{"sqlite:" + abs + "/one.db", abs + "/one.db"},
		{"sqlite://" + abs + "/two.db", abs + "/two.db"},
	} {
		if _, err := open(t, tt.url, m.Table).Migrate(t.Context(), sqlite.DDL(m.Table)); err != nil {
			t.Errorf("%s: %v", tt.url, err)
		}
		if _, err := os.Stat(tt.path); err != nil {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
	for _, url := range []string{"", "sqlite:", "sqlite://", "sqlite://host/file.db", "sqlite:file.db?mode=ro", "sqlite:a#b", "sqlite:50%.db", "postgres://u:hunter2@h/d", "file.db"} {
		if s, err := sqlite.Open(url, []*batch.Table{m.Table}, names); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: got %v, %v", url, s, err)
		}
	}
}

func TestDDL(t *testing.T) {
	t.Parallel()
	want := []string{`CREATE TABLE IF NOT EXISTS "orders" (
    "order_id"       TEXT NOT NULL,
    "masked_email"   TEXT CONSTRAINT "masked_email_varchar" CHECK (length("masked_email") <= 64),
    "total"          TEXT NOT NULL,
    "currency"       TEXT NOT NULL CONSTRAINT "currency_varchar" CHECK (length("currency") <= 3),
    "item_count"     INTEGER,
    "loyalty_points" INTEGER,
    "gift"           INTEGER CONSTRAINT "gift_boolean" CHECK ("gift" IN (0, 1)),
    "placed_at"      TEXT NOT NULL,
    "deliver_on"     TEXT,
    "session_id"     TEXT,
    "lines"          TEXT CONSTRAINT "lines_jsonb" CHECK (json_valid("lines")),
    "mask_key"       TEXT NOT NULL CONSTRAINT "mask_key_varchar" CHECK (length("mask_key") <= 32),
    "sent_at"        TEXT NOT NULL,
    PRIMARY KEY ("order_id")
) STRICT`}
	if diff := cmp.Diff(sqlite.DDL(named(t, "orders").Table), want); diff != "" {
		t.Error(diff)
	}
	m := named(t, "user_logins_plain")
	f := newFile(t)
	for _, created := range []bool{true, false} {
		got, err := f.other.Migrate(t.Context(), sqlite.DDL(m.Table))
		if diff := cmp.Diff(got, []batch.Migrated{{Name: "user_logins", Created: created}, {Name: "sluice_ledger", Created: created}}); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
}

// TestMigrateAltersNothing wants the indexes of a table that it creates, and none for one that
// exists.
func TestMigrateAltersNothing(t *testing.T) {
	t.Parallel()
	f := newFile(t)
	table := func(name string) []string {
		return sqlite.DDL(&batch.Table{Name: name, Columns: []batch.Column{{Name: "a", Type: "text"}, {Name: "b", Type: "text"}}, Key: []int{0}, Indexes: [][]int{{1, 0}}})
	}
	f.exec(t, table("old")[0])
	const indexes = "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
	for _, created := range []bool{true, false} {
		got, err := f.other.Migrate(t.Context(), slices.Concat(table("old"), table("new")))
		if diff := cmp.Diff(got, []batch.Migrated{{Name: "old"}, {Name: "new", Created: created}}); diff != "" || err != nil {
			t.Error(diff, err)
		}
		if diff := cmp.Diff(f.rows(t, indexes), [][]string{{"new_b_a_idx"}}); diff != "" {
			t.Error(diff)
		}
	}
	f.exec(t, "CREATE INDEX NEXT_B_A_IDX ON old (a)")
	if _, err := f.other.Migrate(t.Context(), table("next")); fault.Cause(err) != message.CauseConfiguration || !strings.Contains(err.Error(), `index "next_b_a_idx" is taken`) {
		t.Errorf("got %v", err)
	}
}

// TestValues stores every type, at its ends.
func TestValues(t *testing.T) {
	t.Parallel()
	m := named(t, "orders")
	f := newFile(t)
	f.exec(t, sqlite.DDL(m.Table)...)
	bodies := []string{
		`{"order_id": "0A000000-0000-4000-8000-000000000000", "total": 12345678901234.5000, "currency": "äöü", "item_count": -2147483648, "loyalty_points": 9223372036854775807,
		  "gift": true, "placed_at": "0001-01-01T00:00:00.0000001Z", "deliver_on": "0001-01-01", "session_id": "00000000-0000-0000-0000-000000000001", "lines": [1.0, {"a": "\u00e9"}]}`,
		`{"order_id": "1a000000-0000-4000-8000-000000000000", "total": 1e3, "currency": "", "gift": false, "placed_at": "1969-12-31T23:59:59.999999+00:00", "deliver_on": "1999-12-31", "lines": "x"}`,
		`{"order_id": "2a000000-0000-4000-8000-000000000000", "total": -0.0001, "currency": "x", "placed_at": "9999-12-31T23:59:59.9Z", "deliver_on": "9999-12-31"}`,
	}
	messages := logins(bodies...)
	for i := range messages {
		messages[i].Body = []byte(strings.ReplaceAll(bodies[i], `"currency": ""`, `"currency": "EUR"`))
	}
	if words, r := run(t.Context(), f.open(t, m), m, messages); words != "stored stored stored" {
		t.Fatal(words, r.Err)
	}
	got := f.rows(t, "SELECT order_id, total, typeof(total), currency, item_count, loyalty_points, typeof(loyalty_points), gift, placed_at, deliver_on, session_id, lines FROM orders ORDER BY placed_at")
	want := [][]string{
		{"0a000000-0000-4000-8000-000000000000", "12345678901234.5000", "text", "äöü", "-2147483648", "9223372036854775807", "integer", "1", "0001-01-01T00:00:00.000000Z", "0001-01-01", "00000000-0000-0000-0000-000000000001", `[1.0, {"a": "\u00e9"}]`},
		{"1a000000-0000-4000-8000-000000000000", "1e3", "text", "EUR", "NULL", "NULL", "null", "0", "1969-12-31T23:59:59.999999Z", "1999-12-31", "NULL", `"x"`},
		{"2a000000-0000-4000-8000-000000000000", "-0.0001", "text", "x", "NULL", "NULL", "null", "NULL", "9999-12-31T23:59:59.900000Z", "9999-12-31", "NULL", "NULL"},
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Error(diff)
	}
}

func TestALockedDatabase(t *testing.T) {
	t.Parallel()
	m := named(t, "user_logins")
	f := newFile(t)
	f.exec(t, sqlite.DDL(m.Table)...)
	s := f.open(t, m)
	db, err := sql.Open("sqlite", "file"+strings.TrimPrefix(f.url(), "sqlite")+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	lock, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	start := time.Now()
	words, r := run(ctx, s, m, logins("a", "b"))
	if took := time.Since(start); words != "returned deadline returned deadline" || took > 4*time.Second { // SQLite's own patience is 5 s
		t.Errorf("locked past the deadline: %s after %v: %v", words, took, r.Err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = lock.Rollback() })
	if words, r := run(t.Context(), s, m, logins("a", "b")); words != "stored stored" || r.Tallies.Sum().Inserted != 2 {
		t.Errorf("locked for a moment: %s: %v", words, r.Err)
	}
}

// TestADeadlineStopsAStatement ends a statement that would run for minutes.
func TestADeadlineStopsAStatement(t *testing.T) {
	t.Parallel()
	m := named(t, "user_logins")
	const endless = "SELECT RAISE(IGNORE) WHERE (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000000000) SELECT count(*) FROM n) = 1"
	stop := func(t *testing.T, s *sqlite.Store) {
		t.Helper()
		if _, err := s.Migrate(t.Context(), append(sqlite.DDL(m.Table), trigger("user_logins", "NEW.user_id = 'slow'", endless))); err != nil {
			t.Fatal(err)
		}
		if words, r := run(t.Context(), s, m, logins("a")); words != "stored" {
			t.Fatal(words, r.Err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		start := time.Now()
		words, r := run(ctx, s, m, logins("a", "b", "slow"))
		if took := time.Since(start); words != "returned deadline returned deadline returned deadline" || took > time.Minute {
			t.Errorf("%s after %v: %v", words, took, r.Err)
		}
		if got := fmt.Sprint(rows(t, s, "SELECT user_id FROM user_logins")); got != "[[a]]" {
			t.Errorf("in the table: %s", got)
		}
	}
	t.Run("in a file", func(t *testing.T) { t.Parallel(); stop(t, newFile(t).open(t, m)) })
	t.Run("in memory", func(t *testing.T) { t.Parallel(); stop(t, open(t, "sqlite::memory:", m.Table)) })
}

// TestFaults wants every fault told apart, and each with what to do.
func TestFaults(t *testing.T) {
	t.Parallel()
	m := named(t, "user_logins")
	plain := func(t *testing.T) (*file, *sqlite.Store) {
		t.Helper()
		f := newFile(t)
		f.exec(t, sqlite.DDL(m.Table)...)
		s := f.open(t, m)
		return f, s
	}
	for _, tt := range []struct {
		name  string
		open  func(t *testing.T) *sqlite.Store
		words string
		err   string
	}{
		{"no database", func(t *testing.T) *sqlite.Store {
			t.Helper()
			f := newFile(t)
			if err := os.WriteFile(f.path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
				t.Fatal(err)
			}
			return f.open(t, m)
		}, "returned operator returned operator", "(SQLITE_NOTADB); DATABASE_URL names"},
		{"no folder", func(t *testing.T) *sqlite.Store { t.Helper(); return open(t, "sqlite:/no/folder/file.db", m.Table) }, "returned operator returned operator", "its folder must be there"},
		{"read only", func(t *testing.T) *sqlite.Store {
			t.Helper()
			_, s := plain(t)
			rows(t, s, "PRAGMA query_only = 1")
			return s
		}, "returned operator returned operator", "let this user write"},
		{"full", func(t *testing.T) *sqlite.Store {
			t.Helper()
			f, s := plain(t)
			f.exec(t, trigger("user_logins", "true", "INSERT INTO big VALUES (randomblob(100000))"), "CREATE TABLE big (b)")
			rows(t, s, "PRAGMA max_page_count = 20")
			return s
		}, "returned moment returned moment", "(SQLITE_FULL); make room"},
		{"another type", func(t *testing.T) *sqlite.Store {
			t.Helper()
			f := newFile(t)
			f.exec(t, strings.Replace(sqlite.DDL(m.Table)[0], `"user_id"          TEXT`, `"user_id"          INTEGER`, 1))
			return f.open(t, m)
		}, "returned operator stored", "has another type than the model says"},
		{"an expression fails for every row", func(t *testing.T) *sqlite.Store {
			t.Helper()
			f, s := plain(t)
			f.exec(t, trigger("user_logins", "true", "SELECT json(NEW.user_id || '{')"))
			return s
		}, "returned moment returned moment", "(SQLITE_ERROR); a trigger or an expression"},
		{"a deferred foreign key of another table", func(t *testing.T) *sqlite.Store {
			t.Helper()
			f, s := plain(t)
			f.exec(t, "CREATE TABLE users (id TEXT PRIMARY KEY)", "CREATE TABLE audit (x REFERENCES users DEFERRABLE INITIALLY DEFERRED)",
				trigger("user_logins", "true", "INSERT INTO audit VALUES (NEW.user_id)"))
			return s
		}, "returned operator returned operator", "make it immediate"},
		{"a trigger's table is gone", func(t *testing.T) *sqlite.Store {
			t.Helper()
			f, s := plain(t)
			f.exec(t, "CREATE TABLE audit (x)", trigger("user_logins", "true", "INSERT INTO audit VALUES (1)"), "PRAGMA legacy_alter_table = 1", "DROP TABLE audit")
			return s
		}, "returned operator returned operator", "no such table: main.audit; `sluice schema`"},
		{"closed", func(t *testing.T) *sqlite.Store {
			t.Helper()
			_, s := plain(t)
			s.Close()
			return s
		}, "returned moment returned moment", "closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			words, r := run(t.Context(), tt.open(t), m, logins("canary", "7"))
			if words != tt.words || r.Err == nil || !strings.Contains(r.Err.Error(), tt.err) || strings.Contains(r.Err.Error(), "canary") {
				t.Errorf("got %s: %v", words, r.Err)
			}
		})
	}
}

// TestRefusals are those that only SQLite knows.
func TestRefusals(t *testing.T) {
	t.Parallel()
	const audit = "CREATE TABLE audit (x)"
	when := func(then string) string {
		return trigger("user_logins", "NEW.user_id LIKE 'canary%'", "INSERT INTO audit VALUES (NEW.user_id); "+then)
	}
	for _, tt := range []struct {
		name  string
		ddl   []string
		words string
	}{
		{"a constraint without a name", []string{"ALTER TABLE user_logins ADD CHECK (user_id NOT LIKE 'canary%')"}, "stored rejected (refused_by_database constraint user_id NOT LIKE 'canary%') stored rejected (refused_by_database constraint user_id NOT LIKE 'canary%')"},
		{"a varchar's length", []string{"ALTER TABLE user_logins ADD CONSTRAINT short CHECK (length(user_id) < 7)"}, "stored rejected (refused_by_database constraint short) stored rejected (refused_by_database constraint short)"},
		{"a unique index", []string{"CREATE UNIQUE INDEX one ON user_logins (substr(user_id, 1, 6))"}, "stored stored stored rejected (refused_by_database constraint UNIQUE column index 'one')"},
		{"a foreign key", []string{"CREATE TABLE users (id TEXT PRIMARY KEY)", "INSERT INTO users VALUES ('a'), ('b')", "ALTER TABLE user_logins ADD COLUMN ref TEXT GENERATED ALWAYS AS (user_id) REFERENCES users (id)"}, "stored rejected (refused_by_database constraint FOREIGN KEY column ref) stored rejected (refused_by_database constraint FOREIGN KEY column ref)"},
		{"RAISE(ROLLBACK)", []string{audit, when("SELECT RAISE(ROLLBACK, 'canary')")}, "stored rejected (refused_by_database constraint TRIGGER) stored rejected (refused_by_database constraint TRIGGER)"},
		{"RAISE(FAIL)", []string{audit, when("SELECT RAISE(FAIL, 'canary')")}, "stored rejected (refused_by_database constraint TRIGGER) stored rejected (refused_by_database constraint TRIGGER)"},
		{"RAISE(IGNORE)", []string{audit, when("SELECT RAISE(IGNORE)")}, "stored returned swallowed stored returned swallowed"},
		{"an expression that fails", []string{audit, when("SELECT json(NEW.user_id)")}, "stored rejected (refused_by_database) stored rejected (refused_by_database)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := named(t, "user_logins")
			f := newFile(t)
			f.exec(t, append(sqlite.DDL(m.Table), tt.ddl...)...)
			words, r := run(t.Context(), f.open(t, m), m, logins("a", "canary1", "b", "canary2"))
			if words != tt.words || r.Err != nil {
				t.Errorf("got  %s, %v\nwant %s", words, r.Err, tt.words)
			}
			if got := f.rows(t, "SELECT count(*) FROM sqlite_schema WHERE name = 'audit'"); got[0][0] == "1" {
				if left := f.rows(t, "SELECT count(*) FROM audit"); left[0][0] != "0" {
					t.Errorf("%s rows that refused rows left", left[0][0])
				}
			}
		})
	}
}

// TestARolledBackTransactionKeepsGroups wants order and verdicts to survive
// the refusals that end the whole transaction.
func TestARolledBackTransactionKeepsGroups(t *testing.T) {
	t.Parallel()
	m := named(t, "user_logins")
	f := newFile(t)
	f.exec(t, append(sqlite.DDL(m.Table), trigger("user_logins", "NEW.user_id = 'bad'", "SELECT RAISE(ROLLBACK, 'no')"))...)
	messages := logins("a", "bad", "after", "b", "bad", "bad")
	for i, group := range []string{"1", "1", "1", "2", "2", "3"} {
		messages[i].FIFO, messages[i].Group = true, group
	}
	const bad = "rejected (refused_by_database constraint TRIGGER)"
	if words, r := run(t.Context(), f.open(t, m), m, messages); words != "stored "+bad+" returned group stored "+bad+" "+bad || r.Tallies.Sum().Inserted != 2 {
		t.Errorf("got %s, %v", words, r.Err)
	}
	if got := fmt.Sprint(f.rows(t, "SELECT user_id FROM user_logins")); got != "[[a] [b]]" {
		t.Errorf("in the table: %s", got)
	}
	// Those that are there already cost one more round each, and no more.
	messages = logins(slices.Repeat([]string{"bad"}, 30)...)
	for i := range messages {
		messages[i].FIFO = true
	}
	f.exec(t, "DELETE FROM user_logins", "DROP TRIGGER refuse")
	s := f.open(t, m)
	all := strings.TrimSuffix(strings.Repeat("stored ", 30), " ")
	if words, r := run(t.Context(), s, m, messages); words != all || r.Tallies.Sum().Inserted != 30 {
		t.Errorf("got %s, %v", words, r.Err)
	}
	f.exec(t, trigger("user_logins", "NEW.user_id = 'bad'", "SELECT RAISE(ROLLBACK, 'no')"))
	if words, r := run(t.Context(), s, m, messages); words != all || r.Tallies.Sum().Inserted != 0 {
		t.Errorf("got %s, %v", words, r.Err)
	}
}

// TestTheFunctionDoesNotLinkSQLite holds the rule that only the command line does.
func TestTheFunctionDoesNotLinkSQLite(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "example.com/owner/sluice/functions/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(name, "modernc.org/") || name == "example.com/owner/sluice/internal/sqlite" {
			t.Errorf("a function links %s", name)
		}
	}
}

// TestListsAreJSON reads lists of all kinds of characters back as JSON.
func TestListsAreJSON(t *testing.T) {
	t.Parallel()
	table := &batch.Table{Name: "t", Key: []int{0}, Columns: []batch.Column{
		{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true},
		{Name: "texts", Kind: batch.Text, Type: "text[]", List: true},
		{Name: "numbers", Kind: batch.Float8, Type: "double precision[]", List: true},
		{Name: "flags", Kind: batch.Bool, Type: "boolean[]", List: true},
	}}
	f := newFile(t)
	for _, sql := range sqlite.DDL(table) {
		f.exec(t, sql)
	}
	b := batch.New(table)
	b.Begin(0, 0)
	b.Int8(1)
	b.BeginList()
	for _, text := range []string{`"`, `\`, "{a,b}", "NULL", "", "<ü😀>\n\x01"} {
		b.String(text)
	}
	b.Null()
	b.EndList()
	b.BeginList()
	b.Float8(0.1)
	b.Null()
	b.Float8(-1e300)
	b.EndList()
	b.BeginList()
	b.Bool(true)
	b.Bool(false)
	b.EndList()
	b.End()
	b.Begin(1, 0)
	b.Int8(2)
	b.BeginList()
	b.EndList()
	b.Null()
	b.Null()
	b.End()
	result, err := f.open(t, &model.Model{Table: table}).Insert(t.Context(), b)
	if err != nil || result.Tallies.Sum().Inserted != 2 {
		t.Fatalf("got %+v, %v", result, err)
	}
	want := [][]string{{`["\"","\\","{a,b}","NULL","","<ü😀>\n\u0001",null]`, "[0.1,null,-1e+300]", "[true,false]"}, {"[]", "NULL", "NULL"}}
	if diff := cmp.Diff(f.rows(t, "SELECT texts, numbers, flags FROM t ORDER BY id"), want); diff != "" {
		t.Errorf("rows (-got +want):\n%s", diff)
	}
}
