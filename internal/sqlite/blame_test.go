package sqlite_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqlite"
	"example.com/owner/sluice/internal/testing/storetest"
)

// TestBlame is the judgement on a refused row, by what SQLite says of it: when
// another row of the batch is new, and when none is.
func TestBlame(t *testing.T) {
	t.Parallel()
	const (
		tenant   = "ALTER TABLE user_logins ADD COLUMN tenant TEXT DEFAULT 'none'"
		audit    = "CREATE TABLE audit (x TEXT)"
		users    = "CREATE TABLE users (id TEXT, tenant TEXT, UNIQUE (id), UNIQUE (id, tenant))"
		good     = "INSERT INTO users VALUES ('good', 'none')"
		old      = "a row of an earlier batch"
		rejected = "rejected"
		operator = "returned operator"
		moment   = "returned moment"
	)
	check := func(text string) string { return "ALTER TABLE user_logins ADD " + text }
	logs := trigger("user_logins", "true", "INSERT INTO audit VALUES (NEW.user_id)")
	for _, tt := range []struct {
		name string
		ddl  []string
		// column and key are of the table from its beginning.
		column, key string
		// What a refused row is beside a new one, and without.
		beside, alone string
	}{
		{"CHECK, filled", []string{tenant, check("CHECK (user_id NOT LIKE 'bad%')")}, "", "", rejected, rejected},
		{"CHECK with a name, filled", []string{tenant, check(`CONSTRAINT "a ""name"", (" CHECK (user_id NOT LIKE 'bad%')`)}, "", "", rejected, rejected},
		{"CHECK in other words, filled", []string{tenant, check("CHECK\n(\t[USER_ID] NOT LIKE 'bad%' -- tenant, (\n AND `Locale` IS /* tenant */ NULL)")}, "", "", rejected, rejected},
		{"CHECK of a column, filled", []string{"ALTER TABLE user_logins ADD COLUMN more TEXT DEFAULT ('(') CONSTRAINT more CHECK (user_id NOT LIKE 'bad%') CHECK (more <> '')"}, "", "", rejected, operator},
		{"CHECK, others", []string{tenant, check("CHECK (tenant <> 'none')")}, "", "", operator, operator},
		{"CHECK with a name, others", []string{tenant, check(`CONSTRAINT "user_id" CHECK ("TENANT" <> 'none')`)}, "", "", operator, operator},
		{"CHECK of nothing", []string{check("CHECK (1 = 2)")}, "", "", operator, operator},
		{"CHECK, both", []string{tenant, check("CHECK (NOT (tenant = 'none' AND user_id LIKE 'bad%'))")}, "", "", rejected, operator},
		{"CHECK with a name, both", []string{tenant, check("CONSTRAINT mixed CHECK (user_id NOT LIKE 'bad%' OR [tenant] = '')")}, "", "", rejected, operator},
		{"CHECK of the rowid, both", []string{check("CHECK (rowid > 100 OR user_id = 'good')")}, "", "", rejected, operator},
		{"CHECK of a generated column, filled", []string{"ALTER TABLE user_logins ADD COLUMN more TEXT AS (user_id) CHECK (more NOT LIKE 'bad%')"}, "", "", rejected, rejected},
		{"CHECK of a generated column, perhaps both", []string{tenant, "ALTER TABLE user_logins ADD COLUMN more TEXT AS (user_id) CHECK (more NOT LIKE 'bad%')"}, "", "", rejected, operator},

		{"NOT NULL, others", []string{"ALTER TABLE user_logins ADD COLUMN more TEXT", "ALTER TABLE user_logins ALTER COLUMN more SET NOT NULL"}, "", "", operator, operator},
		{"NOT NULL of a generated column", []string{"ALTER TABLE user_logins ADD COLUMN more TEXT AS (nullif(substr(user_id, 1, 3), 'bad')) NOT NULL"}, "", "", rejected, rejected},

		{"UNIQUE, filled", []string{tenant, old, "CREATE UNIQUE INDEX one ON user_logins (user_id)"}, "", "", rejected, rejected},
		{"UNIQUE expression, filled", []string{tenant, old, "CREATE UNIQUE INDEX \"tenant's\" ON user_logins (substr(user_id, 1, 3))"}, "", "", rejected, rejected},
		{"UNIQUE, others", []string{tenant, old, "CREATE UNIQUE INDEX one ON user_logins (tenant)"}, "", "", operator, operator},
		{"UNIQUE expression, others", []string{tenant, old, "CREATE UNIQUE INDEX user_id ON user_logins (lower(tenant))"}, "", "", operator, operator},
		{"UNIQUE, both", []string{tenant, old, "CREATE UNIQUE INDEX one ON user_logins (tenant, create_date)"}, "", "", operator, operator},
		{"UNIQUE expression, both", []string{tenant, old, "CREATE UNIQUE INDEX one ON user_logins (tenant, substr(user_id, 1, 3))"}, "", "", rejected, operator},

		{"FOREIGN KEY, filled", []string{users, good}, "more TEXT DEFAULT 'none'", "FOREIGN KEY (user_id) REFERENCES users (id)", rejected, rejected},
		{"FOREIGN KEY, others", []string{users}, "more TEXT DEFAULT 'none' REFERENCES users (id)", "", operator, operator},
		{"FOREIGN KEY, both", []string{users, good}, "more TEXT DEFAULT 'none'", "FOREIGN KEY (user_id, more) REFERENCES users (id, tenant)", rejected, operator},
		{"FOREIGN KEYS, one filled", []string{users, good}, "more TEXT DEFAULT 'none'", "FOREIGN KEY (user_id, more) REFERENCES users (id, tenant), FOREIGN KEY (user_id) REFERENCES users (id)", rejected, rejected},
		{"FOREIGN KEY of a generated column", []string{users, good}, "more TEXT AS (user_id) REFERENCES users (id)", "", rejected, rejected},
		{"deferred FOREIGN KEY, filled", []string{users, good}, "more TEXT DEFAULT 'none'", "FOREIGN KEY (user_id) REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED", rejected, rejected},

		{"RAISE", []string{trigger("user_logins", "NEW.user_id LIKE 'bad%'", "SELECT RAISE(ABORT, 'no')")}, "", "", rejected, operator},
		{"RAISE(ROLLBACK)", []string{trigger("user_logins", "NEW.user_id LIKE 'bad%'", "SELECT RAISE(ROLLBACK, 'no')")}, "", "", rejected, operator},
		{"RAISE in the words of a CHECK", []string{trigger("user_logins", "NEW.user_id LIKE 'bad%'", "SELECT RAISE(ABORT, 'CHECK constraint failed: ' || NEW.user_id)")}, "", "", rejected, operator},
		{"RAISE in the words of a NOT NULL", []string{trigger("user_logins", "NEW.user_id LIKE 'bad%'", "SELECT RAISE(FAIL, 'NOT NULL constraint failed: user_logins.' || NEW.user_id)")}, "", "", rejected, operator},
		{"an expression fails", []string{trigger("user_logins", "NEW.user_id LIKE 'bad%'", "SELECT json(NEW.user_id)")}, "", "", rejected, moment},
		{"CHECK of a trigger's table", []string{"CREATE TABLE audit (x TEXT CONSTRAINT user_id CHECK (x NOT LIKE 'bad%'))", logs}, "", "", rejected, operator},
		{"NOT NULL of a trigger's table", []string{"CREATE TABLE audit (x TEXT, user_id TEXT AS (nullif(substr(x, 1, 3), 'bad')) NOT NULL)", logs}, "", "", rejected, operator},
		{"UNIQUE of a trigger's table", []string{audit, "CREATE UNIQUE INDEX one ON audit (substr(x, 1, 3))", "INSERT INTO audit VALUES ('bad')", logs}, "", "", rejected, operator},
		{"FOREIGN KEY of a trigger's table", []string{users, good, "CREATE TABLE audit (x TEXT REFERENCES users (id))", logs}, "", "", rejected, operator},
	} {
		for _, name := range []string{"user_logins", "user_logins_plain"} {
			for _, fifo := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, fifo=%v", tt.name, name, fifo), func(t *testing.T) {
					t.Parallel()
					m := named(t, name)
					s := open(t, "sqlite::memory:", m.Table)
					ddl := sqlite.DDL(m.Table)
					if tt.column != "" {
						ddl[0] = strings.Replace(ddl[0], " (\n", " (\n    "+tt.column+",\n", 1)
					}
					if tt.key != "" {
						ddl[0] = strings.Replace(ddl[0], "\n)", ",\n    "+tt.key+"\n)", 1)
					}
					for _, text := range append(ddl, tt.ddl...) {
						if text != old {
							if _, err := s.Migrate(t.Context(), []string{text}); err != nil {
								t.Fatalf("%s: %v", text, err)
							}
							continue
						}
						earlier := logins("bad1")
						earlier[0].ID = "10000000-0000-4000-8000-000000000000"
						if words, r := run(t.Context(), s, m, earlier); words != "stored" {
							t.Fatal(words, r.Err)
						}
					}
					want := func(want string, users ...string) {
						messages := logins(users...)
						for i := range messages {
							messages[i].FIFO, messages[i].Group = fifo, messages[i].ID
						}
						_, r := run(t.Context(), s, m, messages)
						if text := fmt.Sprint(r.Verdicts); strings.Contains(text, "bad1") {
							t.Errorf("a value got into the verdicts: %s", text)
						}
						for i, v := range r.Verdicts {
							got := strings.TrimSpace(v.Outcome.String() + " " + string(v.Cause))
							if users[i] == "good" && got != "stored" && want != operator || users[i] != "good" && got != want {
								t.Errorf("%s among %s is %s, want %s; %v", users[i], users, got, want, r.Err)
							}
						}
						if (want == rejected) != (r.Err == nil) || r.Err != nil && (fault.Cause(r.Err) != message.Cause(strings.TrimPrefix(want, "returned ")) || strings.Contains(r.Err.Error(), "bad1")) {
							t.Errorf("%s: error %v, want %s", users, r.Err, want)
						}
					}
					want(tt.alone, "bad1", "bad1")
					want(tt.beside, "good", "bad1")
				})
			}
		}
	}
}

// TestKeysAsTheColumnSeesThem has two spellings of one key in a batch, which
// are one row: both are done, and are so ever after.
func TestKeysAsTheColumnSeesThem(t *testing.T) {
	t.Parallel()
	const column, key = `"user_id"          TEXT NOT NULL`, ",\n    PRIMARY KEY (\"user_id\")\n) STRICT"
	m := storetest.ByUser(t)
	for _, tt := range []struct {
		name     string
		old, new string // in the DDL
		index    string
		users    []string
	}{
		{"NOCASE", column, column + " COLLATE NOCASE", "", []string{"Abc", "ABC", "abc"}},
		{"RTRIM", column, column + " COLLATE RTRIM", "", []string{"abc", "abc  "}},
		{"an index in NOCASE", key, "\n)", "CREATE UNIQUE INDEX one ON user_logins (user_id COLLATE NOCASE)", []string{"Abc", "ABC", "abc"}},
		{"a key in NOCASE", key, ",\n    PRIMARY KEY (user_id COLLATE NOCASE)\n)", "", []string{"Abc", "ABC", "abc"}},
		{"without rowids", key, ",\n    PRIMARY KEY (user_id COLLATE NOCASE)\n) WITHOUT ROWID", "", []string{"Abc", "ABC", "abc"}},
		{"a partial index before that of the key", column, column + " COLLATE NOCASE", "CREATE UNIQUE INDEX one ON user_logins (user_id COLLATE BINARY) WHERE locale = 'de'", []string{"Abc", "ABC", "abc"}},
	} {
		for _, fifo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fifo=%v", tt.name, fifo), func(t *testing.T) {
				t.Parallel()
				f := newFile(t)
				f.exec(t, strings.Replace(sqlite.DDL(m.Table)[0], tt.old, tt.new, 1), tt.index)
				s := f.open(t, m)
				want := func(inserted int, want string, messages []message.Message) {
					t.Helper()
					for i := range messages {
						messages[i].FIFO, messages[i].Group = fifo, messages[i].ID
					}
					words, r := run(t.Context(), s, m, messages)
					if words != want || r.Err != nil || r.Tallies.Sum().Inserted != inserted {
						t.Errorf("got %s, %d of them new, %v; want %s, %d", words, r.Tallies.Sum().Inserted, r.Err, want, inserted)
					}
				}
				stored := strings.TrimSuffix(strings.Repeat("stored ", len(tt.users)), " ")
				want(1, stored, logins(tt.users...))
				want(0, stored, logins(tt.users...))
				f.exec(t, trigger("user_logins", "true", "SELECT RAISE(ABORT, 'no')"))
				want(0, stored, logins(tt.users...))
				want(0, "stored", logins(tt.users[1]))
			})
		}
	}
}

// TestAKeyThatATriggerRewrites is no evidence against the message that comes
// again, and whose new key is there by now.
func TestAKeyThatATriggerRewrites(t *testing.T) {
	t.Parallel()
	m := storetest.ByUser(t)
	f := newFile(t)
	f.exec(t, append(sqlite.DDL(m.Table), "CREATE TRIGGER lower AFTER INSERT ON user_logins BEGIN UPDATE user_logins SET user_id = lower(user_id) WHERE user_id = NEW.user_id; END")...)
	s := f.open(t, m)
	for _, tt := range []struct {
		users []string
		words string
	}{
		{[]string{"Abc", "x"}, "stored stored"},
		{[]string{"Abc", "x", "y"}, "returned swallowed stored stored"},
		{[]string{"Abc"}, "returned swallowed"},
	} {
		if words, r := run(t.Context(), s, m, logins(tt.users...)); words != tt.words || r.Err != nil {
			t.Errorf("%s: got %s, %v", tt.users, words, r.Err)
		}
	}
}

// TestForeignKeysThatSQLiteDoesNotTell are found row by row: those of a table
// without rowids, and of a table that a trigger writes to.
func TestForeignKeysThatSQLiteDoesNotTell(t *testing.T) {
	t.Parallel()
	m := storetest.ByUser(t)
	// The user a:b refers to the user b.
	const parent = `(
    parent TEXT AS (CASE WHEN instr(user_id, ':') THEN substr(user_id, 1 + instr(user_id, ':')) END) REFERENCES user_logins (user_id),`
	users := []string{
		"CREATE TABLE users (id TEXT PRIMARY KEY)", "INSERT INTO users VALUES ('a:b'), ('b'), ('c'), ('d:none')",
		"CREATE TABLE audit (id TEXT REFERENCES users (id))", trigger("user_logins", "true", "INSERT INTO audit VALUES (NEW.user_id)"),
	}
	for _, tt := range []struct {
		name  string
		table string
		ddl   []string
		bad   string // beside d:none
	}{
		{"a table without rowids", "STRICT, WITHOUT ROWID", nil, "d:none"},
		{"a trigger's table", "STRICT", users, "e"},
		{"both", "STRICT, WITHOUT ROWID", users, "e"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newFile(t)
			ddl := strings.Replace(sqlite.DDL(m.Table)[0], "(", parent, 1)
			f.exec(t, append([]string{strings.Replace(ddl, "STRICT", tt.table, 1)}, tt.ddl...)...)
			_, r := run(t.Context(), f.open(t, m), m, logins("a:b", "b", "c", "d:none", tt.bad))
			var got []string
			for _, v := range r.Verdicts {
				got = append(got, v.Outcome.String())
			}
			if want := "[stored stored stored rejected rejected]"; fmt.Sprint(got) != want || r.Err != nil || r.Tallies.Sum().Inserted != 3 {
				t.Errorf("got %s, %v; want %s", got, r.Err, want)
			}
			if got := fmt.Sprint(f.rows(t, "SELECT user_id FROM user_logins ORDER BY user_id")); got != "[[a:b] [b] [c]]" {
				t.Errorf("in the table: %s", got)
			}
		})
	}
}

// TestATriedAgainRowIsNotDoneByAnother has a row that a foreign key refuses,
// and another one with its key.
func TestATriedAgainRowIsNotDoneByAnother(t *testing.T) {
	t.Parallel()
	m := storetest.ByUser(t)
	f := newFile(t)
	ddl := strings.NewReplacer(" STRICT", " STRICT, WITHOUT ROWID", `"locale"           TEXT`, `"locale" TEXT REFERENCES locales (id)`)
	f.exec(t, "CREATE TABLE locales (id TEXT PRIMARY KEY)", "INSERT INTO locales VALUES ('de')", ddl.Replace(sqlite.DDL(m.Table)[0]))
	messages := logins("a", "a")
	for i, locale := range []string{"xx", "de"} {
		messages[i].Body = fmt.Appendf(nil, `{"user_id": "a", "locale": %q}`, locale)
	}
	const want = "rejected (refused_by_database constraint FOREIGN KEY) stored"
	if words, r := run(t.Context(), f.open(t, m), m, messages); words != want || r.Tallies.Sum().Inserted != 1 {
		t.Errorf("got %s, %v; want %s", words, r.Err, want)
	}
}

// TestOrphansWait for the row that they refer to, if the model says so.
func TestOrphansWait(t *testing.T) {
	t.Parallel()
	m := named(t, "user_logins")
	m.ForeignKeyReceives = 3
	f := newFile(t)
	ddl := strings.Replace(sqlite.DDL(m.Table)[0], `"locale"           TEXT`, `"locale" TEXT REFERENCES locales (id)`, 1)
	f.exec(t, "CREATE TABLE locales (id TEXT PRIMARY KEY)", ddl)
	messages := logins("a", "b")
	messages[0].Body = []byte(`{"user_id": "a", "locale": "de"}`)
	for receives, want := range []string{1: "returned foreign_key stored", 2: "returned foreign_key stored", 3: "rejected (refused_by_database constraint FOREIGN KEY column locale) stored"} {
		if messages[0].ReceiveCount = receives; receives == 0 {
			continue
		}
		if words, r := run(t.Context(), f.open(t, m), m, messages); words != want || r.Err != nil {
			t.Errorf("receive %d: got %s, %v; want %s", receives, words, r.Err, want)
		}
	}
	f.exec(t, "INSERT INTO locales VALUES ('de')")
	if words, r := run(t.Context(), f.open(t, m), m, messages); words != "stored stored" || r.Tallies.Sum().Inserted != 1 {
		t.Errorf("with the row: got %s, %v", words, r.Err)
	}
}
