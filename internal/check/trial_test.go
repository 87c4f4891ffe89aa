package check_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// coupons is a model whose key comes from the body.
func coupons(t *testing.T, fieldType, columnType string) *model.Model {
	t.Helper()
	return parse(t, fmt.Sprintf(`
model: coupons
table: coupons
key: [code]
fields:
  code: {type: %s, required: true}
  shop: {type: text, required: true}
  note: {type: text}
columns:
  code: {type: "%s", from: code}
  shop: {type: varchar(3), from: shop}
  note: {type: text, from: note}
`, fieldType, columnType))
}

// norm is a trigger that does something before a row.
func norm(table, does string) string {
	return fmt.Sprintf("CREATE FUNCTION norm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN %s; RETURN NEW; END $$; CREATE TRIGGER norm BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION norm(); ", does, table)
}

const (
	rewritten = "error key_rewritten"
	untried   = "warning key_untried"
)

func TestTriggersThatChangeTheKey(t *testing.T) {
	for _, tt := range []struct {
		name          string
		field, column string // of the key
		sql           string // executed after the model's own
		want          []string
		says          string
	}{
		{"lower case", "text", "varchar(40)", norm("coupons", "NEW.code := lower(NEW.code)"), []string{rewritten}, "the trigger norm of "},
		{"upper case, of a short text", "text", "varchar(2)", norm("coupons", "NEW.code := upper(NEW.code)"), []string{rewritten}, ""},
		{"no blanks", "text", "text", norm("coupons", "NEW.code := btrim(NEW.code)"), []string{rewritten}, ""},
		{"no blanks at the end", "text", "varchar(6)", norm("coupons", "NEW.code := rtrim(NEW.code)"), []string{rewritten}, ""},
		{"no dashes", "text", "text", norm("coupons", "NEW.code := replace(NEW.code, '-', '')"), []string{rewritten}, ""},
		{"no leading zeros", "text", "text", norm("coupons", "NEW.code := ltrim(NEW.code, '0')"), []string{rewritten}, ""},
		{"another form of Unicode", "text", "text", norm("coupons", "NEW.code := normalize(NEW.code, NFC)"), []string{rewritten}, ""},
		{"as a UUID, and nothing else passes", "text", "text", norm("coupons", "NEW.code := NEW.code::uuid"), []string{rewritten}, ""},
		{"as a number, and nothing else passes", "text", "text", norm("coupons", "NEW.code := NEW.code::bigint"), []string{rewritten}, ""},
		{"another UUID", "uuid", "uuid", norm("coupons", "NEW.code := gen_random_uuid()"), []string{rewritten}, ""},
		{"rounded number", "numeric", "numeric(12,4)", norm("coupons", "NEW.code := round(NEW.code, 3)"), []string{rewritten}, ""},
		{"number without a sign", "integer", "smallint", norm("coupons", "NEW.code := abs(NEW.code)"), []string{rewritten}, ""},
		{"time in milliseconds", "timestamp", "timestamptz", norm("coupons", "NEW.code := date_trunc('milliseconds', NEW.code)"), []string{rewritten}, ""},
		{"another day", "date", "date", norm("coupons", "NEW.code := NEW.code + 1"), []string{rewritten}, ""},
		{"NULL", "text", "text", "ALTER TABLE coupons DROP CONSTRAINT coupons_pkey, ALTER code DROP NOT NULL, ADD UNIQUE (code); " + norm("coupons", "NEW.code := NULL"), []string{rewritten}, ""},

		{"the same number", "numeric", "numeric(12,4)", norm("coupons", "NEW.code := NEW.code::numeric(20,10)"), nil, "got the key (code) that was sent"},
		{"the same UUID", "uuid", "uuid", norm("coupons", "NEW.code := upper(NEW.code::text)::uuid"), nil, "got the key"},
		{"blanks in a type that pads", "text", "varchar(40)", "ALTER TABLE coupons ALTER code TYPE char(40); " + norm("coupons", "NEW.code := rtrim(NEW.code)"), []string{"warning column_type"}, "got the key"},
		{"lower case in a collation that does not tell", "text", "text", "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE coupons ALTER code TYPE text COLLATE ci; " + norm("coupons", "NEW.code := lower(NEW.code)"), nil, "got the key"},
		{"other blanks in that collation", "text", "text", "CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ALTER TABLE coupons ALTER code TYPE text COLLATE ci; " + norm("coupons", "NEW.code := btrim(NEW.code)"), []string{rewritten}, ""},
		{"a domain", "text", "text", "CREATE DOMAIN short AS text CHECK (VALUE <> ''); ALTER TABLE coupons ALTER code TYPE short; " + norm("coupons", "NEW.note := 'x'"), nil, "got the key"},
		{"another column", "text", "text", norm("coupons", "NEW.note := lower(NEW.code)"), nil, "got the key"},
		{"for other rows", "text", "text", "CREATE FUNCTION norm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.code := 'x'; RETURN NEW; END $$; CREATE TRIGGER norm BEFORE INSERT ON coupons FOR EACH ROW WHEN (NEW.note = 'x') EXECUTE FUNCTION norm()", nil, "got the key"},

		{"two triggers", "text", "text", norm("coupons", "NEW.code := lower(NEW.code)") + "CREATE TRIGGER again BEFORE INSERT ON coupons FOR EACH ROW EXECUTE FUNCTION norm()", []string{rewritten}, "one of the triggers again of "},
		{"a foreign key that no trial row has", "text", "text", "CREATE TABLE valid (code text PRIMARY KEY); ALTER TABLE coupons ADD FOREIGN KEY (code) REFERENCES valid; " + norm("coupons", "NEW.code := lower(NEW.code)"), []string{rewritten}, ""},
		{"a trigger after the row that refuses it", "text", "text", norm("coupons", "NEW.code := lower(NEW.code)") + onlyRaises + "CREATE TRIGGER late AFTER INSERT ON coupons FOR EACH ROW EXECUTE FUNCTION closed()", []string{rewritten}, ""},
		{"a trigger after the statement that refuses it", "text", "text", norm("coupons", "NEW.note := 'x'") + onlyRaises + "CREATE TRIGGER late AFTER INSERT ON coupons FOR EACH STATEMENT EXECUTE FUNCTION closed()", nil, "got the key"},
		{"a CHECK that some trial rows meet", "text", "text", "ALTER TABLE coupons ADD CHECK (code ~ '^[0-9]+$'); " + norm("coupons", "NEW.code := ltrim(NEW.code, '0')"), []string{rewritten}, ""},
		{"a CHECK of another column", "text", "text", "ALTER TABLE coupons ALTER shop DROP NOT NULL, ADD CHECK (shop IN ('a', 'b')); " + norm("coupons", "NEW.code := lower(NEW.code)"), []string{rewritten}, ""},
		{"a trigger that wants what each row has", "text", "text", "ALTER TABLE coupons ALTER shop DROP NOT NULL; " + norm("coupons", "IF NEW.shop IS NULL THEN RAISE 'no shop'; END IF; NEW.code := lower(NEW.code)"), []string{rewritten}, ""},

		{"a CHECK that no trial row meets", "text", "text", "ALTER TABLE coupons ADD CHECK (code ~ '^SUMMER'); " + norm("coupons", "NEW.note := 'x'"), []string{untried}, "SQLSTATE 23514"},
		{"a CHECK that no trial row meets, and no trigger", "text", "text", "ALTER TABLE coupons ADD CHECK (code ~ '^SUMMER')", nil, ""},
		{"a trigger that quotes the row", "text", "text", norm("coupons", "RAISE 'bad row: %', NEW USING ERRCODE = 'XX123', DETAIL = NEW.code"), []string{untried}, "SQLSTATE XX123"},
		{"a trigger that fails as the verdict does", "text", "text", norm("coupons", "NEW.note := 'x'::integer"), []string{untried}, "SQLSTATE 22P02"},

		{"a row that is discarded", "text", "text", norm("coupons", "NEW := NULL"), []string{"warning trigger"}, "a trial row in "},
		{"a row that is discarded, as the source shows", "text", "text", "CREATE FUNCTION norm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER norm BEFORE INSERT ON coupons FOR EACH ROW EXECUTE FUNCTION norm()", []string{"warning trigger"}, "was discarded by the trigger norm of "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := coupons(t, tt.field, tt.column)
			db := pgtest.New(t, m.DDL()...)
			db.Exec(t, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			text := fmt.Sprintf("%+v", f)
			if !strings.Contains(text, tt.says) {
				t.Errorf("the findings do not say %q: %s", tt.says, text)
			}
			if strings.Contains(text, "bad row") {
				t.Errorf("the findings quote an error: %s", text)
			}
			if n := db.Count(t, "SELECT count(*) FROM coupons"); n != 0 {
				t.Errorf("%d rows stayed", n)
			}
		})
	}
}

func TestTriggersThatChangeTheKeyElsewhere(t *testing.T) {
	const otherID = "NEW.message_id := md5(NEW.message_id::text)::uuid"
	for _, tt := range []struct {
		name, model, sql string
		want             []string
		says             string
	}{
		{"the message's id", "user_logins", norm("user_logins", otherID), []string{rewritten}, "another message_id than"},
		{"the sent time", "user_logins", norm("user_logins", "NEW.sent_at := date_trunc('second', NEW.sent_at)"), []string{rewritten}, "another sent_at than"},
		{"the sent time, in milliseconds as it is sent", "user_logins", norm("user_logins", "NEW.sent_at := date_trunc('milliseconds', NEW.sent_at)"), nil, "got the key (sent_at, message_id)"},
		{"both", "user_logins", norm("user_logins", otherID+"; NEW.sent_at := now() - interval '1 day'"), []string{rewritten}, "another sent_at, message_id than"},
		{"a key that is written the other way round", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey; ALTER TABLE user_logins ADD PRIMARY KEY (message_id, sent_at); " + norm("user_logins", otherID), []string{rewritten}, "another message_id than"},
		{"of the ledger", "user_logins_plain", norm("sluice_ledger", otherID), []string{rewritten}, "sluice_ledger changes the key"},
		{"of a table with a ledger", "user_logins_plain", norm("user_logins", "NEW.user_id := lower(NEW.user_id)"), nil, "the trigger norm of "},
		{"of a table with a ledger, discarding", "user_logins_plain", norm("user_logins", "NEW := NULL"), []string{"warning trigger"}, "a trial row in "},
		{"of a table with a ledger, refusing", "user_logins_plain", norm("user_logins", "RAISE 'closed'"), nil, "the trigger norm of "},
		{"of a partition", "user_logins", partitioned + norm("rest", otherID), []string{rewritten}, "the trigger norm of "},
		{"of a partitioned table", "user_logins", partitioned + norm("user_logins", otherID), []string{rewritten}, "user_logins changes"},
		{"of a partition for the past", "user_logins", partitioned + "CREATE TABLE past PARTITION OF user_logins FOR VALUES FROM ('2000-01-01') TO ('2020-01-01'); " + norm("past", otherID), nil, "got the key"},
		{"of a partitioned table without a partition for now", "user_logins", partitioned + "DROP TABLE rest; CREATE TABLE past PARTITION OF user_logins FOR VALUES FROM ('2000-01-01') TO ('2020-01-01'); " + norm("user_logins", otherID), []string{untried, "error partition_now"}, "SQLSTATE 23514"},
		{"with a column less", "user_logins", norm("user_logins", otherID) + "ALTER TABLE user_logins DROP locale", []string{"error column_missing"}, ""},
		{"with a rule in the table's place", "user_logins", norm("user_logins", otherID) + "CREATE RULE nowhere AS ON INSERT TO user_logins DO INSTEAD NOTHING", []string{"error rule"}, ""},
		{"of a key that is wide", "orders", norm("orders", "NEW.order_id := gen_random_uuid()"), []string{rewritten}, "another order_id than"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, db := table(t, tt.model, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			says(t, f, tt.says)
			for _, table := range []string{m.Table.Name, m.Table.Ledger} {
				if table != "" && db.Count(t, "SELECT count(*) FROM "+table) != 0 {
					t.Errorf("rows stayed in %s", table)
				}
			}
		})
	}
}

// A trial row may come out of the database by nothing but its triggers before
// the row: a foreign table's other end may keep it.
func TestNoTrialRowInAForeignTable(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins_plain")
	db := pgtest.New(t, m.DDL()...)
	wrapper := db.Schema
	db.Exec(t, fmt.Sprintf("CREATE FOREIGN DATA WRAPPER %s; CREATE SERVER %[1]s FOREIGN DATA WRAPPER %[1]s", wrapper))
	t.Cleanup(func() { db.Exec(t, "DROP FOREIGN DATA WRAPPER "+wrapper+" CASCADE") })
	db.Exec(t, `ALTER TABLE user_logins RENAME TO plain; CREATE TABLE user_logins (LIKE plain) PARTITION BY RANGE (create_date);
		CREATE FOREIGN TABLE rest PARTITION OF user_logins DEFAULT SERVER `+wrapper+`; CREATE SEQUENCE tries;
		CREATE FUNCTION counts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('tries'); RETURN NULL; END $$;
		CREATE TRIGGER counts BEFORE INSERT ON user_logins FOR EACH STATEMENT EXECUTE FUNCTION counts(); `+norm("user_logins", "NEW.locale := 'x'"))
	want(t, look(t, m, db.URL))
	if db.Rows(t, "SELECT is_called FROM tries")[0][0] != "f" {
		t.Error("a row was tried")
	}
}

// Without a trigger before the row nothing can change the key, and nothing is
// tried; what runs after a row is never run.
func TestWhatATrialRowReaches(t *testing.T) {
	t.Parallel()
	m := coupons(t, "text", "text")
	db := pgtest.New(t, m.DDL()...)
	db.Exec(t, `CREATE SEQUENCE late; ALTER TABLE coupons ADD n bigserial;
		CREATE FUNCTION afterwards() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('late'); RETURN NULL; END $$;
		CREATE TRIGGER afterwards AFTER INSERT ON coupons FOR EACH ROW EXECUTE FUNCTION afterwards();
		CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON coupons DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION afterwards();
		CREATE TRIGGER once AFTER INSERT ON coupons FOR EACH STATEMENT EXECUTE FUNCTION afterwards()`)
	called := func(sequence string) bool {
		return db.Rows(t, "SELECT is_called FROM "+sequence)[0][0] == "t"
	}
	want(t, look(t, m, db.URL))
	if called("coupons_n_seq") {
		t.Error("a row was tried, though no trigger is before it")
	}
	db.Exec(t, norm("coupons", "NEW.note := 'x'"))
	want(t, look(t, m, db.URL))
	if !called("coupons_n_seq") || called("late") {
		t.Errorf("a row was tried: %v; triggers after it ran: %v", called("coupons_n_seq"), called("late"))
	}
}

// Equality is that of the column's type, also where nothing else of that type
// is on the search_path.
func TestKeyOfCitext(t *testing.T) {
	t.Parallel()
	m := coupons(t, "text", "text")
	admin := pgtest.New(t)
	admin.Exec(t, "CREATE DATABASE "+admin.Schema)
	t.Cleanup(func() { admin.Exec(t, "DROP DATABASE "+admin.Schema+" WITH (FORCE)") })
	u, err := url.Parse(setParameter(t, admin.URL, "search_path", "public"))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + admin.Schema
	db := &pgtest.DB{URL: u.String(), Schema: "public"}
	db.Exec(t, "CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions; CREATE TABLE coupons (code extensions.citext PRIMARY KEY, shop varchar(3), note text)")
	db.Exec(t, norm("coupons", "NEW.code := lower(NEW.code::text)"))
	want(t, look(t, m, db.URL))
	db.Exec(t, "DROP FUNCTION norm CASCADE; "+norm("coupons", "NEW.code := btrim(NEW.code::text)"))
	want(t, look(t, m, db.URL), rewritten)
}

func TestTrialRowsWithoutGrantOrTime(t *testing.T) {
	t.Parallel()
	m := coupons(t, "text", "text")
	db := pgtest.New(t, m.DDL()...)
	db.Exec(t, norm("coupons", "NEW.code := lower(NEW.code)"))
	grants := func(grants ...string) func(string) []string {
		return func(role string) (all []string) {
			for _, g := range grants {
				all = append(all, "GRANT "+g+" ON coupons TO "+role)
			}
			return all
		}
	}
	t.Run("no more than sluice needs", func(t *testing.T) {
		want(t, look(t, m, db.Role(t, grants("INSERT", "SELECT (code)")).URL), rewritten)
	})
	t.Run("INSERT alone", func(t *testing.T) {
		f := look(t, m, db.Role(t, grants("INSERT")).URL)
		want(t, f, "error grant_select", untried)
		if got := finding(t, f, "key_untried"); !strings.Contains(got.What, "42501") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("a policy that refuses it", func(t *testing.T) {
		role := db.Role(t, grants("INSERT", "SELECT"))
		db.Exec(t, "ALTER TABLE coupons ENABLE ROW LEVEL SECURITY; CREATE POLICY none ON coupons USING (note = 'x')")
		defer db.Exec(t, "ALTER TABLE coupons DISABLE ROW LEVEL SECURITY")
		want(t, look(t, m, role.URL), "warning row_security", untried)
	})
	t.Run("read only", func(t *testing.T) {
		want(t, look(t, m, setParameter(t, db.URL, "default_transaction_read_only", "on")), "error read_only")
	})
	t.Run("a locked table", func(t *testing.T) {
		blocker := db.Conn(t)
		if _, err := blocker.Exec(t.Context(), "BEGIN; LOCK TABLE coupons IN SHARE MODE"); err != nil {
			t.Fatal(err)
		}
		f := look(t, m, db.URL)
		want(t, f, untried)
		if got := finding(t, f, "key_untried"); !strings.Contains(got.What, "55P03") {
			t.Errorf("got %+v", got)
		}
		if _, err := blocker.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a trigger that takes too long", func(t *testing.T) {
		db.Exec(t, "DROP FUNCTION norm CASCADE; CREATE SEQUENCE tries; "+norm("coupons", "PERFORM nextval('tries'), pg_sleep(600)"))
		f := look(t, m, db.URL)
		want(t, f, untried)
		if got := finding(t, f, "key_untried"); !strings.Contains(got.What, "57014") {
			t.Errorf("got %+v", got)
		}
		if n := db.Count(t, "SELECT last_value FROM tries"); n != 1 {
			t.Errorf("%d rows were tried, which takes that much longer", n)
		}
		if f.Count(check.OK) < 5 {
			t.Errorf("the rest was skipped: %+v", f)
		}
	})
}
