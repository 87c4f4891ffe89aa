package localpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/testing/localpg"
)

// helperVariable turns this test program into one that starts a server and waits to be killed.
const helperVariable = "LOCALPG_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) != "" {
		startAndWait()
	}
	os.Exit(m.Run())
}

func startAndWait() {
	s, err := localpg.Start(context.Background(), localpg.Config{Version: os.Getenv("TEST_POSTGRES_VERSION")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.URL())
	select {}
}

func start(t *testing.T, cfg localpg.Config) *localpg.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("it starts servers: not with -short")
	}
	cfg.Version = os.Getenv("TEST_POSTGRES_VERSION")
	cfg.Log = t.Output()
	s, err := localpg.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
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

func show(t *testing.T, conn *pgx.Conn, setting string) string {
	t.Helper()
	var value string
	if err := conn.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  localpg.Config
		want map[string]string
	}{
		{
			name: "defaults",
			want: map[string]string{
				"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "200",
				"server_encoding": "UTF8", "TimeZone": "UTC", "lc_messages": "C",
				"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on",
			},
		},
		{
			name: "durable",
			cfg:  localpg.Config{Durable: true},
			want: map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"},
		},
		{
			name: "parameters win over the defaults but not over the address",
			cfg: localpg.Config{Parameters: map[string]string{
				"max_connections": "17", "timezone": "Asia/Kolkata", "work_mem": "1MB", "port": "1", "listen_addresses": "*",
			}},
			want: map[string]string{
				"max_connections": "17", "TimeZone": "Asia/Kolkata", "work_mem": "1MB", "listen_addresses": "127.0.0.1",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, start(t, tt.cfg).URL())
			got := map[string]string{}
			for name := range tt.want {
				got[name] = show(t, conn, name)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServerTellsItsVersion(t *testing.T) {
	t.Parallel()
	s := start(t, localpg.Config{})
	version, _, _ := strings.Cut(show(t, connect(t, s.URL()), "server_version"), " ")
	if got, want := s.Origin(), "PostgreSQL "+version; !strings.Contains(got, want) {
		t.Errorf("Origin() = %q, want it to contain %q", got, want)
	}
}

func TestWrongPasswordIsRefused(t *testing.T) {
	t.Parallel()
	cfg, err := pgconn.ParseConfig(start(t, localpg.Config{}).URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "wrong"
	_, err = pgconn.ConnectConfig(t.Context(), cfg)
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != "28P01" {
		t.Errorf("connecting with a wrong password: %v, want SQLSTATE 28P01", err)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	s := start(t, localpg.Config{})
	conn := connect(t, s.URL())
	data := show(t, conn, "data_directory")
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Stop(); err != nil {
			t.Errorf("Stop() with a transaction open: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Dir(data)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Stop, stat of the server's directory: %v, want that it does not exist", err)
	}
	if _, err := pgx.Connect(t.Context(), s.URL()); err == nil {
		t.Error("after Stop, the server accepts a connection")
	}
}

func TestStartErrors(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers: not with -short")
	}
	tests := []struct {
		name string
		cfg  localpg.Config
		want []string // parts of the error
	}{
		{
			name: "unknown version",
			cfg:  localpg.Config{Version: "9.6"},
			want: []string{`"9.6"`, "14, 15, 16, 17, 18"},
		},
		{
			name: "a setting that Postgres does not know: its log says so",
			cfg:  localpg.Config{Parameters: map[string]string{"colour": "green"}},
			want: []string{"exit status 1", `unrecognized configuration parameter "colour"`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			temp := temporaryDirectory(t)
			s, err := localpg.Start(t.Context(), tt.cfg)
			if err == nil {
				t.Fatal(errors.Join(errors.New("Start() succeeded"), s.Stop()))
			}
			for _, part := range tt.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("error %q does not contain %q", err, part)
				}
			}
			wantServersIn(t, temp, 0)
		})
	}
}

func TestCancelledStartLeavesNothing(t *testing.T) {
	temp := temporaryDirectory(t)
	start(t, localpg.Config{})                                            // the binaries are at hand from here on
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond) // somewhere in initdb
	defer cancel()
	_, err := localpg.Start(ctx, localpg.Config{Version: os.Getenv("TEST_POSTGRES_VERSION")})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Start() with a deadline too short: %v, want the deadline's error", err)
	}
	wantServersIn(t, temp, 1)
}

// A process that is killed takes its server with it, and the next Start removes what it left.
func TestKilledParent(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts servers: not with -short")
	}
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a child with its parent")
	}
	temporaryDirectory(t)
	helper := exec.CommandContext(t.Context(), os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"=1")
	helper.Stderr = t.Output()
	out, err := helper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
	data := show(t, connect(t, url), "data_directory")
	start(t, localpg.Config{}) // which must not take the living server's directory for an abandoned one
	connect(t, url)

	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = helper.Wait() // says that it was killed
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			break
		}
		_ = conn.Close(t.Context())
		if time.Now().After(deadline) {
			t.Fatal("10 s after its parent was killed, the server accepts connections")
		}
	}
	start(t, localpg.Config{})
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the next Start, stat of the data of the dead server: %v, want that it does not exist", err)
	}
}

// temporaryDirectory makes a directory the system's temporary one for this test: one that a
// server's account can enter.
func temporaryDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, path := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", dir)
	return dir
}

func wantServersIn(t *testing.T, dir string, want int) {
	t.Helper()
	got, err := filepath.Glob(filepath.Join(dir, "sluice-postgres-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != want {
		t.Errorf("directories of servers: %q, want %d", got, want)
	}
}
