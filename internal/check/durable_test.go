package check_test

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// finding is the first finding of a rule.
func finding(t *testing.T, f check.Findings, rule string) check.Finding {
	t.Helper()
	i := slices.IndexFunc(f, func(x check.Finding) bool { return x.Rule == rule })
	if i < 0 {
		t.Fatalf("nothing is said of %s: %+v", rule, f)
	}
	return f[i]
}

// setParameter sets a parameter of a URL.
func setParameter(t *testing.T, databaseURL, name, value string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// partitioned makes user_logins a table with partitions.
const partitioned = `ALTER TABLE user_logins RENAME TO plain; CREATE TABLE user_logins (LIKE plain INCLUDING DEFAULTS, PRIMARY KEY (sent_at, message_id)) PARTITION BY RANGE (sent_at);
	CREATE TABLE rest PARTITION OF user_logins DEFAULT; `

func TestUnlogged(t *testing.T) {
	const (
		halves = "CREATE TABLE early PARTITION OF user_logins FOR VALUES FROM (MINVALUE) TO ('2026-01-01') PARTITION BY HASH (message_id); "
		leaves = "DO $$ BEGIN FOR i IN 0..3 LOOP EXECUTE format('CREATE TABLE h%s PARTITION OF early FOR VALUES WITH (MODULUS 4, REMAINDER %s)', i, i); END LOOP; END $$; "
	)
	for _, tt := range []struct {
		name, model, sql string
		want             []string
		says             string
		// repair is what the remedy says; "" for none to try.
		repair string
	}{
		{"a table", "user_logins", "ALTER TABLE user_logins SET UNLOGGED", []string{"error unlogged"}, ".user_logins is UNLOGGED", "ALTER TABLE user_logins SET LOGGED"},
		{"with another table that is", "user_logins", "CREATE UNLOGGED TABLE other ()", nil, "write-ahead log", ""},
		{"a table with a ledger", "user_logins_plain", "ALTER TABLE user_logins SET UNLOGGED", []string{"error unlogged"}, ".user_logins is UNLOGGED", ""},
		{"a ledger", "user_logins_plain", "ALTER TABLE sluice_ledger SET UNLOGGED", []string{"error unlogged"}, ".sluice_ledger is UNLOGGED", "ALTER TABLE sluice_ledger SET LOGGED"},
		{"both", "user_logins_plain", "ALTER TABLE sluice_ledger SET UNLOGGED; ALTER TABLE user_logins SET UNLOGGED", []string{"error unlogged", "error unlogged"}, "", ""},
		{"no partition", "user_logins", partitioned, nil, "write-ahead log", ""},
		{"a partition", "user_logins", partitioned + "ALTER TABLE rest SET UNLOGGED", []string{"error unlogged"}, ".rest of ", "ALTER TABLE rest SET LOGGED"},
		{"partitions below", "user_logins", partitioned + halves + leaves + "ALTER TABLE h1 SET UNLOGGED; ALTER TABLE h3 SET UNLOGGED", []string{"error unlogged"}, "2 partitions of ", "ALTER TABLE h1 SET LOGGED; ALTER TABLE h3 SET LOGGED"},
		{"all partitions", "user_logins", partitioned + halves + leaves + "ALTER TABLE rest SET UNLOGGED; DO $$ BEGIN FOR i IN 0..3 LOOP EXECUTE format('ALTER TABLE h%s SET UNLOGGED', i); END LOOP; END $$", []string{"error unlogged"}, "and others", ""},
		{"a ledger's partition", "user_logins_plain", `DROP TABLE sluice_ledger; CREATE TABLE sluice_ledger (sent_at timestamptz NOT NULL, message_id uuid NOT NULL, PRIMARY KEY (sent_at, message_id)) PARTITION BY RANGE (sent_at);
			CREATE UNLOGGED TABLE rest PARTITION OF sluice_ledger DEFAULT`, []string{"error unlogged"}, ".sluice_ledger is UNLOGGED", "ALTER TABLE rest SET LOGGED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, db := table(t, tt.model, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			says(t, f, tt.says)
			if tt.repair != "" {
				db.Exec(t, tt.repair)
				want(t, look(t, m, db.URL))
			}
		})
	}
}

// A partitioned table has no rows of its own to lose.
func TestUnloggedInNameOnly(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	if db.Version(t) >= 180000 {
		t.Skip("PostgreSQL 18 refuses such a table")
	}
	db.Exec(t, strings.Replace(partitioned, "CREATE TABLE user_logins", "CREATE UNLOGGED TABLE user_logins", 1))
	want(t, look(t, m, db.URL))
}

func TestAsynchronousCommit(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	grants := func(role string) []string { return []string{"GRANT ALL ON user_logins TO " + role} }
	database := db.Rows(t, "SELECT quote_ident(current_database())")[0][0]

	role := db.Role(t, grants)
	db.Exec(t, "ALTER ROLE "+role.User+" SET synchronous_commit = off")
	f := look(t, m, role.URL)
	want(t, f, "warning synchronous_commit")
	if got := finding(t, f, "synchronous_commit"); got.Remedy != fmt.Sprintf("ALTER ROLE %q RESET synchronous_commit", role.User) || !strings.Contains(got.What, "sluice turns it on for its own transactions") {
		t.Errorf("got %+v", got)
	} else {
		db.Exec(t, got.Remedy)
		want(t, look(t, m, role.URL))
	}

	role = db.Role(t, grants)
	db.Exec(t, "ALTER ROLE "+role.User+" IN DATABASE "+database+" SET synchronous_commit = off")
	f = look(t, m, role.URL)
	want(t, f, "warning synchronous_commit")
	db.Exec(t, finding(t, f, "synchronous_commit").Remedy)
	want(t, look(t, m, role.URL))

	want(t, look(t, m, setParameter(t, db.URL, "synchronous_commit", "local")))
	f = look(t, m, setParameter(t, db.URL, "synchronous_commit", "off"))
	want(t, f, "warning synchronous_commit")
	if got := finding(t, f, "synchronous_commit"); !strings.Contains(got.Remedy, "DATABASE_URL") {
		t.Errorf("got %+v", got)
	}
}

// What belongs to the whole server or database is shadowed, so that it seems set.
func TestAsynchronousCommitOfAll(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	shadowed := setParameter(t, db.URL, "search_path", db.Schema+",pg_catalog")
	for source, remedy := range map[string]string{
		"configuration file": "postgresql.conf", "global": "ALTER ROLE ALL RESET", "database": "ALTER DATABASE ", "session": "set synchronous_commit = on",
	} {
		db.Exec(t, fmt.Sprintf(`DROP VIEW IF EXISTS %s.pg_settings; CREATE VIEW %[1]s.pg_settings AS SELECT 'synchronous_commit' AS name, 'off' AS setting, '%s' AS source`, db.Schema, source))
		f := look(t, m, shadowed)
		want(t, f, "warning synchronous_commit", "skipped server_log") // the other settings are not there
		if got := finding(t, f, "synchronous_commit"); !strings.Contains(got.Remedy, remedy) {
			t.Errorf("%s: got %+v", source, got)
		}
	}
}
