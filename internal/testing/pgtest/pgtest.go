// Package pgtest gives a test a real Postgres: a schema of its own on a server that all tests of the process share, and
// a proxy to count what goes over the wire and to break it.
//
// The server is TEST_DATABASE_URL if that is set (it must be a superuser's, and the database is best an empty one).
// Otherwise package localpg starts one: with the binaries of the machine, or with fetched ones of the major version
// in TEST_POSTGRES_VERSION. When no server can be had, the test fails.
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
// Tests with schemas of their own may run in parallel. What a server has only once (roles, settings of the database) they
// share: make a role with Role, and change nothing else. A test that must has a database of its own (NewDatabase), or a
// server (NewServer), also to end it, or a primary and its synchronous standby (NewPair).
//
// When a test ends, pgtest looks for connections that it left in a transaction, which would mean a leak in the code
// under test, and fails the test for each. It knows them by their application_name, which db.URL sets: code
// that sets another one is not looked at.
//
// Only tests import it. It starts no migrations and knows nothing of sluice's tables.
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

	"sluice/internal/localpg"
)

const (
	// helperTimeout bounds each helper, so that a lock that a test forgot fails it instead of hanging it.
	helperTimeout = 30 * time.Second

	// leakGrace is how long a connection may take to end its transaction after the test has: the server notices a
	// closed connection a moment later.
	leakGrace = 15 * time.Second

	// helperName is the application_name of this package's own connections, to tell them from the test's.
	helperName = "pgtest"
)

// DB is a schema of one test, and a user of it. Its helpers fail the test on an error; they may be used from several
// goroutines, each call having a connection of its own, and in a test's cleanup.
type DB struct {
	// URL connects as User, with Schema as the only one on the search_path. It works for pgx and for psql.
	URL string

	// Schema is the name of the schema, User that of the user. Neither needs quotes in SQL.
	Schema string
	User   string

	admin       string // the URL of the server's superuser
	application string // the application_name of URL, which no other DB has
	own         bool   // the server is the test's own, and goes with all that is in it
}

// New makes a schema with what the statements create in it, or skips the test with -short. It is dropped, with all that
// is in it, when the test ends.
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

// NewDatabase is New with a database of its own, for what a database has only once: extensions, settings, statistics. The
// options are those of CREATE DATABASE. The schema is public.
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
	db := &DB{URL: with(t, u.String(), nil, "public", name), Schema: "public", admin: u.String(), application: name}
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
	db := &DB{URL: with(t, admin, nil, schema, schema), Schema: schema, admin: admin, application: schema, own: own}
	db.User = db.Rows(t, "SELECT current_user")[0][0]
	db.Exec(t, "CREATE SCHEMA "+schema)
	return db
}

// Role makes a role that may log in and use the schema, and nothing else but what the statements of grants give it
// (nil: nothing). They are executed by the owner of the schema. The result is the same schema, used by that role; the
// role is dropped when the test ends.
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

// Count returns the one integer that a query answers with.
func (db *DB) Count(t testing.TB, sql string, args ...any) int64 {
	t.Helper()
	return count(t, db.helperURL(t, db.URL), sql, args...)
}

// Rows returns a query's rows, each value as the text that psql would show, NULL as "NULL".
func (db *DB) Rows(t testing.TB, sql string, args ...any) [][]string {
	t.Helper()
	return rows(t, db.helperURL(t, db.URL), sql, args...)
}

// Conn opens a connection, which is closed when the test ends.
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

// Version is the server's version as a number: 180003 for 18.3.
func (db *DB) Version(t testing.TB) int {
	t.Helper()
	return int(db.Count(t, versionQuery))
}

// helperURL is a URL for a connection of this package's own. A standby that is away keeps none of them waiting.
func (db *DB) helperURL(t testing.TB, base string) string {
	t.Helper()
	if db.own {
		return with(t, base, nil, db.Schema, helperName, "-csynchronous_commit=local")
	}
	return with(t, base, nil, db.Schema, helperName)
}

// endSessions fails the test for each of its connections that is in a transaction and stays in it, and ends them all.
func (db *DB) endSessions(t testing.TB) {
	t.Helper()
	admin := db.helperURL(t, db.admin)
	const open = "FROM pg_stat_activity WHERE application_name = $1 AND xact_start IS NOT NULL"
	for deadline := time.Now().Add(leakGrace); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
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

// do runs work on a connection of its own: tests break connections, and one that was kept might be among them.
func do(t testing.TB, url, sql string, work func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), helperTimeout) // not t.Context: cleanups come here too
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("pgtest: connecting: %v", err)
	}
	defer conn.Close(ctx)
	if err := work(ctx, conn); err != nil {
		t.Fatalf("pgtest: %s: %v", sql, err)
	}
}

// with returns the URL with another user (nil: the same), schema and application_name. The search_path goes into the
// options, which both pgx and libpq understand, and so do more options.
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

// encodeQuery encodes for libpq too, which takes a plus for a plus.
func encodeQuery(q url.Values) string { return strings.ReplaceAll(q.Encode(), "+", "%20") }

// identifier turns a test's name into what SQL takes for a name without quotes, short enough to leave room.
func identifier(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
	return name[:min(len(name), 36)]
}

// uniqueName adds to a name what makes it unique on a server that several processes share. Twice added to an
// identifier, it is still within Postgres's 63 bytes.
func uniqueName(prefix string) string {
	return prefix + "_" + strings.ToLower(rand.Text()[:10])
}
