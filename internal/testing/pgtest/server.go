package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/localpg"
)

// shared is the server of this test process. A server takes a second to start and every test wants one, so there is
// one for all of them, and as tests have no common parent, it can only live here.
var shared struct {
	once sync.Once
	url  string // of a superuser
	stop func() error
	err  error
}

// serverURL starts the server at the first call. A test that gets none fails; none is ever skipped.
func serverURL(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.url, shared.stop, shared.err = obtain() })
	if shared.err != nil {
		t.Fatalf("pgtest: no Postgres to test with: %v", shared.err)
	}
	return shared.url
}

// Main runs the tests of a package and stops the server that they started, if they did:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// On Linux a server ends with its test process in any case; Main ends it in an orderly way, and removes its data.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.stop == nil {
		return code
	}
	if err := shared.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: stopping Postgres:", err)
		return max(code, 1)
	}
	return code
}

func obtain() (url string, stop func() error, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // fetching takes its time
	defer cancel()
	version := os.Getenv("TEST_POSTGRES_VERSION")
	if url := os.Getenv("TEST_DATABASE_URL"); url != "" {
		return url, nil, checkServer(ctx, url, version)
	}
	s, err := localpg.Start(ctx, localpg.Config{Version: version, Log: os.Stderr})
	if err != nil {
		return "", nil, err
	}
	return s.URL(), s.Stop, nil
}

// checkServer refuses a server that is not what the environment asks for, rather than test the wrong one.
func checkServer(ctx context.Context, url, version string) error {
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return errors.New("TEST_DATABASE_URL is not a URL that starts with postgres://")
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("TEST_DATABASE_URL: %w", err)
	}
	defer conn.Close(ctx)
	var number int
	if err := conn.QueryRow(ctx, versionQuery).Scan(&number); err != nil {
		return fmt.Errorf("TEST_DATABASE_URL: asking for the version: %w", err)
	}
	if major := strconv.Itoa(number / 10000); version != "" && version != major {
		return fmt.Errorf("TEST_DATABASE_URL is a PostgreSQL %s, but TEST_POSTGRES_VERSION asks for %s: unset one of them",
			major, version)
	}
	return nil
}

const versionQuery = "SELECT current_setting('server_version_num')::int"
