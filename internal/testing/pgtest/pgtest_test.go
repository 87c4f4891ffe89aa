package pgtest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestSchemasAreApart(t *testing.T) {
	t.Parallel()
	a, b := pgtest.New(t), pgtest.New(t)
	for _, db := range []*pgtest.DB{a, b} {
		db.Exec(t, "CREATE TABLE things (name text); INSERT INTO things VALUES ('of '||current_schema)")
	}
	a.Exec(t, "INSERT INTO things VALUES ($1), ($2)", "one more", nil)

	want := [][]string{{"NULL"}, {"of " + a.Schema}, {"one more"}}
	if diff := cmp.Diff(want, a.Rows(t, "SELECT name FROM things ORDER BY name NULLS FIRST")); diff != "" {
		t.Errorf("rows of the first schema (-want +got):\n%s", diff)
	}
	if got := b.Count(t, "SELECT count(*) FROM things"); got != 1 {
		t.Errorf("rows of the second schema: %d, want 1", got)
	}
}

func TestURL(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	const query = "SELECT current_schemas(false)::text || current_user || current_setting('application_name')"
	want := "{" + db.Schema + "}" + db.User + db.Schema

	t.Run("pgx", func(t *testing.T) {
		var got string
		if err := db.Conn(t).QueryRow(t.Context(), query).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("psql", func(t *testing.T) {
		psql, err := exec.LookPath("psql")
		if err != nil {
			t.Skip("this machine has no psql, which fetched servers do not bring")
		}
		out, err := exec.CommandContext(t.Context(), psql, "-XAtc", query, db.URL).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("got %q (%v), want %q", got, err, want)
		}
	})
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := pgtest.New(t).Version(t); got < 140000 {
		t.Errorf("Version() = %d, want 140000 or more", got)
	}
}

func TestRole(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	db.Exec(t, "CREATE TABLE open (n int); CREATE TABLE closed (n int); INSERT INTO open VALUES (7)")
	reader := db.Role(t, func(role string) []string {
		return []string{"GRANT SELECT ON open TO " + role}
	})
	other := db.Role(t, nil)

	if got := reader.Count(t, "SELECT n FROM open WHERE current_user = $1", reader.User); got != 7 {
		t.Errorf("what the role reads: %d, want 7", got)
	}
	tests := []struct {
		name, sql string
		db        *pgtest.DB
	}{
		{"another table", "SELECT n FROM closed", reader},
		{"another right", "DELETE FROM open", reader},
		{"another role", "SELECT n FROM open", other},
	}
	for _, tt := range tests {
		_, err := tt.db.Conn(t).Exec(t.Context(), tt.sql)
		wantCode(t, tt.name, err, "42501")
	}

	cfg, err := pgx.ParseConfig(reader.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "wrong"
	_, err = pgx.ConnectConfig(t.Context(), cfg)
	wantCode(t, "wrong password", err, "28P01")
}

func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("%s: %v, want SQLSTATE %s", what, err, code)
	}
}

func TestNothingIsLeftOnTheServer(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	var gone *pgtest.DB
	t.Run("a test", func(t *testing.T) {
		gone = pgtest.New(t)
		gone.Role(t, nil).Conn(t)
		connect(t, gone.URL) // and does not close it
	})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) { // a session that is told to end takes a moment
		left := db.Rows(t, `SELECT 'schema' FROM pg_namespace WHERE nspname = $1
			UNION ALL SELECT 'role' FROM pg_roles WHERE starts_with(rolname, $1)
			UNION ALL SELECT 'connection' FROM pg_stat_activity WHERE starts_with(application_name, $1)`, gone.Schema)
		if len(left) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left of a test that has ended: %v", left)
		}
	}
}

// recorder is a test in a test: it keeps what is reported, and the outer test runs its cleanups.
type recorder struct {
	testing.TB
	errors   []string
	cleanups []func()
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

func (r *recorder) end() {
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		f := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		f()
	}
}

func TestLeakedTransactions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		last string // the last statement on a connection that nobody closes
		want []string
	}{
		{name: "idle", last: "SELECT 1"},
		{name: "in a transaction", last: "BEGIN; SELECT 'left open'", want: []string{"idle in transaction", "SELECT 'left open'"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inner := &recorder{TB: t}
			db := pgtest.New(inner)
			if tt.want != nil {
				db.SetGrace(0) // the connections stay in their transactions
			}
			for _, user := range []*pgtest.DB{db, db.Role(inner, nil)} {
				if _, err := connect(t, user.URL).Exec(t.Context(), tt.last); err != nil {
					t.Fatal(err)
				}
			}
			inner.end()

			if tt.want == nil {
				if len(inner.errors) != 0 {
					t.Errorf("reported without reason: %q", inner.errors)
				}
				return
			}
			if len(inner.errors) != 2 {
				t.Fatalf("reported: %q, want the owner's and the role's connection", inner.errors)
			}
			for _, part := range tt.want {
				if !strings.Contains(inner.errors[0], part) {
					t.Errorf("reported %q, want it to contain %q", inner.errors[0], part)
				}
			}
		})
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
