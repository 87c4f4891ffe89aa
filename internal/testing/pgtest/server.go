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

	"example.com/owner/sluice/internal/testing/localpg"
)

// shared is the server of this test process. A server takes a second to start and every test needs
// one, so there is one for all. Tests have no common parent, so it can only live here.
var shared struct {
	once sync.Once
	url  string // of a superuser
	stop func() error
	err  error
}

// serverURL starts the server on the first call. A test without a server fails; none is ever
// skipped.
func serverURL(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() { shared.url, shared.stop, shared.err = obtain() })
	if shared.err != nil {
		t.Fatalf("pgtest: no Postgres to test with: %v", shared.err)
	}
	return shared.url
}

// Main runs the tests of a package and stops the server, if they started one:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
// On Linux a server ends with its test process in any case. Main stops it in an orderly way and
// deletes its data.
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

// checkServer returns an error if the server is not the one that the environment asks for.
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
