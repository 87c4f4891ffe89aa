// Package pgtest gives a test a real Postgres: its own schema on a server that all tests of the
// process share, and a proxy that counts round trips and breaks connections.
//
// The server is TEST_DATABASE_URL if that is set (a superuser's URL, best of an empty database).
// Otherwise package localpg starts one: with the binaries of the machine, or with downloaded ones
// of the major version in TEST_POSTGRES_VERSION. If there is no server, the test fails.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestStore(t *testing.T) {
//		t.Parallel()
//		db := pgtest.New(t)
//		db.Exec(t, "CREATE TABLE logins (user_id text)")
//		store := open(db.URL) // search_path is the schema of this test
//		…
//		if got := db.Count(t, "SELECT count(*) FROM logins"); got != 1 { … }
//	}
//
// Tests with their own schemas may run in parallel. They share what a server has only once (roles,
// settings of the database): make roles with Role, and change nothing else. A test that must change
// more has its own database (NewDatabase), its own server (NewServer), which it may also stop, or a
// primary with a synchronous standby (NewPair).
//
// When a test ends, pgtest looks for connections that the test left in a transaction, which would
// mean a leak in the code under test, and fails the test for each. It knows them by the
// application_name in db.URL; it does not see code that sets another one.
//
// Only tests import it. It runs no migrations and knows nothing of sluice's tables.
package pgtest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/testing/localpg"
)

const (
	// helperTimeout limits each helper, so that a lock that a test forgot fails it instead of
	// hanging it.
	helperTimeout = 30 * time.Second

	// leakGrace is how long a connection may take to end its transaction after the test: the server
	// notices a closed connection a moment later.
	leakGrace = 15 * time.Second

	// helperName is the application_name of this package's own connections, which tells them from
	// the test's.
	helperName = "pgtest"
)

// DB is a schema of one test, and a user of it. Its helpers fail the test on an error. They may run
// in several goroutines, since each call has a connection to itself, and in a test's cleanup. The
// connection is like a new one: nothing that one call sets lasts until the next.
type DB struct {
	// URL connects as User, with only Schema on the search_path. It works for pgx and for psql.
	URL string

	// Schema is the name of the schema, User the name of the user. Neither needs quotes in SQL.
	Schema string
	User   string

	admin       string // the URL of the server's superuser
	application string // the application_name of URL, which no other DB has
	own         bool   // the server is the test's own, and goes with all that is in it
	grace       time.Duration
}

// New makes a schema with what the statements create in it, or skips the test with -short. It drops
// the schema when the test ends.
func New(t testing.TB, statements ...string) *DB {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Postgres takes its time: not with -short")
	}
	db := newDB(t, serverURL(t), false)
	t.Cleanup(func() {
		db.endSessions(t)
		db.Exec(t, "DROP SCHEMA "+db.Schema+" CASCADE")
	})
	for _, sql := range statements {
		db.Exec(t, sql)
	}
	return db
}

// NewDatabase is New with its own database, for what a database has only once: extensions,
// settings, statistics. The options are those of CREATE DATABASE. The schema is public.
func NewDatabase(t testing.TB, options string, statements ...string) *DB {
	t.Helper()
	if testing.Short() {
		t.Skip("a real Postgres takes its time: not with -short")
	}
	server := serverURL(t)
	name := uniqueName("t_" + identifier(t.Name()))
	execute(t, with(t, server, nil, "public", helperName), "CREATE DATABASE "+name+" "+options)
	u, err := url.Parse(server)
	if err != nil {
		t.Fatalf("pgtest: the URL of the server: %v", err)
	}
	u.Path = "/" + name
	db := &DB{URL: with(t, u.String(), nil, "public", name), Schema: "public", admin: u.String(), application: name, grace: leakGrace}
	t.Cleanup(func() {
		db.endSessions(t)
		execute(t, with(t, server, nil, "public", helperName), "DROP DATABASE "+name+" WITH (FORCE)")
	})
	db.User = db.Rows(t, "SELECT current_user")[0][0]
	for _, sql := range statements {
		db.Exec(t, sql)
	}
	return db
}

// newDB makes a schema on the server of a superuser's URL.
func newDB(t testing.TB, admin string, own bool) *DB {
	t.Helper()
	schema := uniqueName("t_" + identifier(t.Name()))
	db := &DB{URL: with(t, admin, nil, schema, schema), Schema: schema, admin: admin, application: schema, own: own, grace: leakGrace}
	db.User = db.Rows(t, "SELECT current_user")[0][0]
	db.Exec(t, "CREATE SCHEMA "+schema)
	return db
}

// Role makes a role that may log in and use the schema, with no rights except those that the
// statements of grants give it (nil: none). The owner of the schema executes them. Role returns the
// same schema for that role, and drops the role when the test ends.
//
//	reader := db.Role(t, func(role string) []string { return []string{"GRANT SELECT ON logins TO " + role} })
func (db *DB) Role(t testing.TB, grants func(role string) []string) *DB {
	t.Helper()
	role, password := uniqueName(db.Schema), rand.Text()
	secret, err := localpg.ScramSecret(password)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	owner := db.helperURL(t, db.admin)
	statements := []string{
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", role, secret),
		fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", db.Schema, role),
	}
	if grants != nil {
		statements = append(statements, grants(role)...)
	}
	as := &DB{
		URL:         with(t, db.admin, url.UserPassword(role, password), db.Schema, role),
		Schema:      db.Schema,
		User:        role,
		admin:       db.admin,
		application: role,
		own:         db.own,
		grace:       db.grace,
	}
	if !db.own {
		t.Cleanup(func() {
			as.endSessions(t)
			execute(t, owner, "DROP OWNED BY "+role+" CASCADE")
			execute(t, owner, "DROP ROLE "+role)
		})
	}
	for _, sql := range statements {
		execute(t, owner, sql)
	}
	return as
}

// Exec executes one statement, or several without arguments.
func (db *DB) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	execute(t, db.helperURL(t, db.URL), sql, args...)
}

// Count returns the integer that a query returns.
func (db *DB) Count(t testing.TB, sql string, args ...any) int64 {
	t.Helper()
	return count(t, db.helperURL(t, db.URL), sql, args...)
}

// Rows returns a query's rows. Each value is the text that psql would show, NULL is "NULL".
func (db *DB) Rows(t testing.TB, sql string, args ...any) [][]string {
	t.Helper()
	return rows(t, db.helperURL(t, db.URL), sql, args...)
}

// Conn opens a connection and closes it when the test ends.
func (db *DB) Conn(t testing.TB) *pgx.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, db.URL)
	if err != nil {
		t.Fatalf("pgtest: connecting: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx) // a test may have broken it
	})
	return conn
}

// Version returns the server's version as a number: 180003 for 18.3.
func (db *DB) Version(t testing.TB) int {
	t.Helper()
	return int(db.Count(t, versionQuery))
}

// helperURL returns a URL for a connection of this package. Such connections do not wait for a
// standby.
func (db *DB) helperURL(t testing.TB, base string) string {
	t.Helper()
	if db.own {
		return with(t, base, nil, db.Schema, helperName, "-csynchronous_commit=local")
	}
	return with(t, base, nil, db.Schema, helperName)
}

// endSessions ends the test's connections, and fails the test for each that stays in a transaction.
func (db *DB) endSessions(t testing.TB) {
	t.Helper()
	admin := db.helperURL(t, db.admin)
	const open = "FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL"
	for deadline := time.Now().Add(db.grace); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if count(t, admin, "SELECT count(*) "+open, db.application) == 0 {
			break
		}
	}
	for _, leak := range rows(t, admin, "SELECT state, left(query, 300) "+open, db.application) {
		t.Errorf("pgtest: the test left a connection in a transaction (%s), its last statement: %s", leak[0], leak[1])
	}
	rows(t, admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", db.application)
}

func execute(t testing.TB, url, sql string, args ...any) {
	t.Helper()
	do(t, url, sql, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
}

func count(t testing.TB, url, sql string, args ...any) (n int64) {
	t.Helper()
	do(t, url, sql, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql, args...).Scan(&n)
	})
	return n
}

func rows(t testing.TB, url, sql string, args ...any) (all [][]string) {
	t.Helper()
	do(t, url, sql, func(ctx context.Context, conn *pgx.Conn) error {
		args := append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)
		found, err := conn.Query(ctx, sql, args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(found, func(row pgx.CollectableRow) ([]string, error) {
			var texts []string
			for _, value := range row.RawValues() {
				if value == nil {
					value = []byte("NULL")
				}
				texts = append(texts, string(value))
			}
			return texts, nil
		})
		return err
	})
	return all
}

// do runs work on a connection that nothing else uses meanwhile.
func do(t testing.TB, url, sql string, work func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout) // not t.Context: cleanups come here too
	defer cancel()
	conn, err := helpers.take(ctx, url)
	if err != nil {
		t.Fatalf("pgtest: connecting: %v", err)
	}
	if err := work(ctx, conn); err != nil {
		_ = conn.Close(ctx)
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
	helpers.give(ctx, conn)
}

// with returns the URL with another user (nil: the same), schema and application_name. The
// search_path goes into the options, which both pgx and libpq understand, and so do more options.
func with(t testing.TB, base string, user *url.Userinfo, schema, application string, more ...string) string {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatalf("pgtest: the URL of the server: %v", err)
	}
	if user != nil {
		u.User = user
	}
	q := u.Query()
	q.Del("search_path")
	var options []string
	for option := range strings.FieldsSeq(q.Get("options")) {
		if !strings.HasPrefix(option, "-csearch_path=") {
			options = append(options, option)
		}
	}
	options = append(append(options, "-csearch_path="+schema), more...)
	q.Set("options", strings.Join(options, " "))
	q.Set("application_name", application)
	u.RawQuery = encodeQuery(q)
	return u.String()
}

// encodeQuery encodes for libpq too, which does not read a plus as a space.
func encodeQuery(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

// identifier turns a test's name into a name that needs no quotes in SQL, short enough to add to
// it.
func identifier(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
	return name[:min(len(name), 36)]
}

// uniqueName makes a name unique on a server that several processes share. Even applied twice to an
// identifier, it stays within Postgres's 63 bytes.
func uniqueName(prefix string) string {
	return prefix + "_" + strings.ToLower(rand.Text()[:10])
}
