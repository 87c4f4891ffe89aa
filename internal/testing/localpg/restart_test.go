package localpg_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/testing/localpg"
)

// execute executes a statement on a connection of its own.
func execute(t *testing.T, url, sql string) {
	t.Helper()
	if _, err := connect(t, url).Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// query returns the one value that a query answers with, as text.
func query(t *testing.T, url, sql string) (value string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func TestDataOutliveTheServer(t *testing.T) {
	t.Parallel()
	s := start(t, localpg.Config{})
	execute(t, s.URL(), "CREATE TABLE kept AS SELECT 'all of it' AS what")
	for _, end := range []func() error{
		func() error { s.Crash(); return nil },
		s.Shutdown,
	} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if conn, err := pgx.Connect(t.Context(), s.URL()); err == nil {
			_ = conn.Close(t.Context())
			t.Error("a server that has ended accepts a connection")
		}
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := query(t, s.URL(), "SELECT what FROM kept"); got != "all of it" {
			t.Errorf("the table holds %q", got)
		}
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	primary := start(t, localpg.Config{})
	execute(t, primary.URL(), "CREATE TABLE numbers AS SELECT 1 AS n")
	standby, err := primary.Follow(t.Context(), "follower", localpg.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := standby.Stop(); err != nil {
			t.Error(err)
		}
	})
	execute(t, primary.URL(), "INSERT INTO numbers VALUES (2)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for query(t, standby.URL(), "SELECT sum(n)::text FROM numbers") != "3" {
		select {
		case <-ctx.Done():
			t.Fatal("a minute has passed, and still the standby lacks what the primary wrote")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if got := query(t, primary.URL(), "SELECT application_name FROM pg_stat_replication"); got != "follower" {
		t.Errorf("the standby calls itself %q", got)
	}
	if got := query(t, standby.URL(), "SELECT pg_is_in_recovery()::text"); got != "true" {
		t.Error("the standby is none")
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	s := start(t, localpg.Config{})
	for _, tt := range []struct{ program, arg, want string }{
		{"postgres", "--version", "(PostgreSQL) "}, // beside the server's own
		{"cat", "PG_VERSION", ""},                  // of the system, on a file of the data
	} {
		out, err := s.Command(t.Context(), tt.program, tt.arg).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.program, err, out)
		}
		major := strings.TrimSpace(query(t, s.URL(), "SELECT current_setting('server_version_num')::int / 10000 || ''"))
		if !strings.Contains(string(out), tt.want+major) {
			t.Errorf("%s says %q, want the server's version, %s", tt.program, out, major)
		}
	}
}

// TestNetwork has a server on another address of loopback, which is as good as one of a network.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const other = "127.0.0.2"
	l, err := net.Listen("tcp4", other+":0")
	if err != nil {
		t.Skipf("this system has no second address of loopback: %v", err)
	}
	_ = l.Close()
	s := start(t, localpg.Config{Network: netip.MustParsePrefix(other + "/32")})
	if got := query(t, s.URL(), "SHOW listen_addresses"); got != "127.0.0.1,"+other {
		t.Errorf("the server listens on %s", got)
	}
	config, err := pgx.ParseConfig(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.Host = other
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(other)}}).DialContext
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("from the other network: %v", err)
	}
	_ = conn.Close(t.Context())
}
