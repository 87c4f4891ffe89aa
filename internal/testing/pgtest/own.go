package pgtest

import (
	"context"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/localpg"
)

// awaitLimit limits each wait for a server. Whatever takes longer hangs.
const awaitLimit = time.Minute

// Server is a server for one test: the test may stop it, start it again, and change what a server
// has only once. It ends with the test and its data are deleted.
type Server struct {
	local *localpg.Server
}

// ServerConfig configures NewServer. The zero value is valid.
type ServerConfig struct {
	// Parameters are settings of the server, name to value.
	Parameters map[string]string
	// Network is one more address to listen on, and the network that may connect to it.
	Network netip.Prefix
}

// NewServer starts a server of the version in TEST_POSTGRES_VERSION. It never uses the server of
// TEST_DATABASE_URL, which others share. It skips the test with -short.
func NewServer(t testing.TB, config ServerConfig) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("a server of one's own takes its time: not with -short")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // fetching takes its time
	defer cancel()
	local, err := localpg.Start(ctx, localpg.Config{
		Version: os.Getenv("TEST_POSTGRES_VERSION"), Parameters: config.Parameters, Network: config.Network, Log: os.Stderr,
	})
	return owned(t, local, err)
}

// owned stops a server with the test.
func owned(t testing.TB, local *localpg.Server, err error) *Server {
	t.Helper()
	if err != nil {
		t.Fatalf("pgtest: a server of the test's own: %v", err)
	}
	t.Cleanup(func() {
		if err := local.Stop(); err != nil {
			t.Errorf("pgtest: stopping Postgres: %v", err)
		}
	})
	return &Server{local: local}
}

// URL returns the superuser's URL.
func (s *Server) URL() string { return s.local.URL() }

// New is pgtest.New for this server. The schema goes with the server, and nothing checks for
// transactions that were left open.
func (s *Server) New(t testing.TB, statements ...string) *DB {
	t.Helper()
	db := newDB(t, s.URL(), true)
	for _, sql := range statements {
		db.Exec(t, sql)
	}
	return db
}

// Has returns a schema of another server as this one has it: after this server was started again,
// or on its standby.
func (s *Server) Has(t testing.TB, db *DB) *DB {
	t.Helper()
	here, there := parse(t, s.URL()), parse(t, db.URL)
	there.Host = here.Host
	same := *db
	same.admin, same.URL = here.String(), there.String()
	return &same
}

func parse(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return u
}

// Log returns the server's log.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	text, err := s.local.Log()
	if err != nil {
		t.Fatalf("pgtest: the server's log: %v", err)
	}
	return string(text)
}

// Crash kills the server. Resume starts it again.
func (s *Server) Crash() { s.local.Crash() }

// Shutdown stops the server in an orderly way. Resume starts it again.
func (s *Server) Shutdown(t testing.TB) {
	t.Helper()
	if err := s.local.Shutdown(); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// Resume starts a server that was stopped. Its URL may change.
func (s *Server) Resume(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit)
	defer cancel()
	if err := s.local.Resume(ctx); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
}

// Command returns a command that runs as the server's account in its data directory: one of
// Postgres's programs if the server's binaries have it.
func (s *Server) Command(t testing.TB, program string, args ...string) *exec.Cmd {
	return s.local.Command(t.Context(), program, args...)
}

// await waits until a query of the superuser returns true. On a server that has just started or
// been promoted that takes a moment.
func (s *Server) await(t testing.TB, what, sql string) {
	t.Helper()
	url := with(t, s.URL(), nil, "public", helperName)
	for deadline := time.Now().Add(awaitLimit); rows(t, url, sql)[0][0] != "t"; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("pgtest: %v have passed, and still not: %s", awaitLimit, what)
		}
	}
}

// Pair is a primary and its synchronous standby: each COMMIT waits for the standby. Once promoted,
// the standby waits for nobody.
//
// The helpers of a schema on the primary (db.Exec and the others) do not wait for the standby.
type Pair struct {
	Primary, Standby *Server

	stopped bool // the standby is
}

// standbyName is the application_name of the standby.
const standbyName = "standby"

// NewPair starts a primary and a standby that follows it. It skips the test with -short.
func NewPair(t testing.TB) *Pair {
	t.Helper()
	primary := NewServer(t, ServerConfig{Parameters: map[string]string{"synchronous_standby_names": standbyName}})
	ctx, cancel := context.WithTimeout(context.Background(), 2*awaitLimit)
	defer cancel()
	local, err := primary.local.Follow(ctx, standbyName, localpg.Config{Parameters: map[string]string{
		"wal_retrieve_retry_interval": "100ms", // not 5 s, for the standby to find a primary again
	}})
	p := &Pair{Primary: primary, Standby: owned(t, local, err)}
	p.awaitStandby(t)
	return p
}

func (p *Pair) awaitStandby(t testing.TB) {
	t.Helper()
	p.Primary.await(t, "the standby follows", "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = 'sync'")
}

// StopStandby kills the standby. From then on it confirms no COMMIT of the primary.
func (p *Pair) StopStandby(t testing.TB) {
	t.Helper()
	p.Standby.Crash()
	p.stopped = true
	p.Primary.await(t, "the primary has noticed that the standby is gone", "SELECT count(*) = 0 FROM pg_stat_replication")
}

// ResumeStandby starts the standby again and returns when it confirms COMMITs.
func (p *Pair) ResumeStandby(t testing.TB) {
	t.Helper()
	p.Standby.Resume(t)
	p.stopped = false
	p.awaitStandby(t)
}

// FailOver kills the primary for good and promotes the standby, which may run or be stopped. What
// only the primary had is lost.
func (p *Pair) FailOver(t testing.TB) {
	t.Helper()
	p.Primary.Crash()
	if p.stopped {
		p.Standby.Resume(t)
		p.stopped = false
	}
	p.Standby.await(t, "the standby was promoted", "SELECT pg_promote(true, 60)")
	p.Standby.await(t, "the promoted server takes writes", "SELECT NOT pg_is_in_recovery()")
}
