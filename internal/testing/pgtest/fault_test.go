package pgtest_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// inTransaction inserts in three round trips, each of one statement.
func inTransaction(ctx context.Context, conn *pgx.Conn) error {
	for _, sql := range []string{"BEGIN", insert, "COMMIT"} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func TestPositions(t *testing.T) {
	t.Parallel()
	const begin = len("BEGIN") + 6 // type, length, closing NUL
	tests := []struct {
		name string
		at   pgtest.Position
		want int64 // rows
	}{
		{"before the first byte", pgtest.AfterClientBytes(0), 0},
		{"within the first statement", pgtest.AfterClientBytes(begin - 1), 0},
		{"before the first answer", pgtest.AfterServerBytes(0), 0},
		{"within an answer", pgtest.AfterServerBytes(3), 0},
		{"before the second answer's end", pgtest.BeforeAnswer(2), 0},
		{"after the second answer", pgtest.AfterAnswer(2), 0},
		{"before COMMIT", pgtest.BeforeStatement("COMMIT"), 0},
		{"before COMMIT's answer", pgtest.BeforeTag("COMMIT"), 1},
		{"before the last answer's end", pgtest.BeforeAnswer(3), 1},
	}
	for _, tt := range tests {
		for name, how := range map[string]pgtest.How{"close": pgtest.Close, "abort": pgtest.Abort, "lose": pgtest.Lose} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				db, proxy, conn := throughProxy(t)
				proxy.Plan(pgtest.Fault{At: tt.at, How: how})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				result := make(chan error, 1)
				go func() { result <- inTransaction(ctx, conn) }()
				if how == pgtest.Lose { // nobody hears anything until the client gives up
					for proxy.Planned() {
						time.Sleep(time.Millisecond)
					}
					select {
					case err := <-result:
						t.Fatalf("a client that is swallowed was answered: %v", err)
					default:
					}
					cancel()
				}
				wantLost(t, <-result)
				if how == pgtest.Lose && db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", db.Schema) == 0 {
					t.Error("the server has heard of the client's end, want nothing before Restore")
				}
				proxy.Restore()
				awaitEnd(t, db)
				if got := count(t, db); got != tt.want {
					t.Errorf("rows: %d, want %d", got, tt.want)
				}
				if err := inTransaction(t.Context(), connect(t, proxy.URL)); err != nil {
					t.Errorf("on a new connection: %v", err)
				}
			})
		}
	}
}

// TestAPositionAtTheEndOfAFlow lets all of three round trips pass, so that the connection breaks
// while it is idle.
func TestAPositionAtTheEndOfAFlow(t *testing.T) {
	t.Parallel()
	db, proxy, conn := throughProxy(t)
	proxy.Plan(pgtest.Fault{At: pgtest.AfterAnswer(3), How: pgtest.Abort})
	if err := inTransaction(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	awaitEnd(t, db)
	_, err := conn.Exec(t.Context(), insert)
	wantLost(t, err)
}

func TestAbortResets(t *testing.T) {
	t.Parallel()
	_, proxy, _ := throughProxy(t)
	for how, want := range map[pgtest.How]bool{pgtest.Close: false, pgtest.Abort: true} {
		conn, err := net.Dial("tcp", listenerOf(t, proxy))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		proxy.Plan(pgtest.Fault{At: pgtest.AfterClientBytes(0), How: how})
		if _, err := conn.Write([]byte{0, 0, 0, 8, 0, 3, 0, 0}); err != nil { // a startup message
			t.Fatal(err)
		}
		_, err = conn.Read(make([]byte, 1))
		if got := errors.Is(err, syscall.ECONNRESET); got != want {
			t.Errorf("How %d: the client reads %v; a reset: %v, want %v", how, err, got, want)
		}
	}
}

func listenerOf(t *testing.T, p *pgtest.Proxy) string {
	t.Helper()
	config, err := pgx.ParseConfig(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
}

func TestAFaultThatStays(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]pgtest.How{"close": pgtest.Close, "lose": pgtest.Lose} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, proxy, conn := throughProxy(t)
			proxy.Plan(pgtest.Fault{At: pgtest.AfterClientBytes(0), How: how, Stays: true})
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := conn.Exec(ctx, insert)
			wantLost(t, err)
			if _, err := pgx.Connect(ctx, proxy.URL); err == nil {
				t.Error("a new connection is sound before Restore")
			} else if got := errors.Is(err, context.DeadlineExceeded); got != (how == pgtest.Lose) {
				t.Errorf("a new connection: %v; silence: %v", err, got)
			}
			proxy.Restore()
			if _, err := connect(t, proxy.URL).Exec(t.Context(), insert); err != nil {
				t.Errorf("after Restore: %v", err)
			}
		})
	}
}

func TestDatabaseOfItsOwn(t *testing.T) {
	t.Parallel()
	var gone string
	shared := pgtest.New(t)
	t.Run("a test", func(t *testing.T) {
		db := pgtest.NewDatabase(t, "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", "CREATE TABLE things (name text)")
		gone = db.Rows(t, "SELECT current_database()")[0][0]
		if got := db.Rows(t, "SHOW server_encoding")[0][0]; got != "LATIN1" {
			t.Errorf("the database's encoding is %s, want LATIN1", got)
		}
		writer := db.Role(t, func(role string) []string { return []string{"GRANT INSERT ON things TO " + role} })
		writer.Exec(t, insert)
		if got := count(t, db); got != 1 {
			t.Errorf("rows: %d, want 1", got)
		}
		if got := shared.Count(t, "SELECT count(*) FROM pg_database WHERE datname = $1", gone); got != 1 {
			t.Errorf("databases of the name: %d, want 1", got)
		}
	})
	if got := shared.Count(t, "SELECT count(*) FROM pg_database WHERE datname = $1", gone); got != 0 {
		t.Errorf("the database outlived its test")
	}
}
