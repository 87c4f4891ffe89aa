// Package localpg starts a private, temporary PostgreSQL server on loopback and removes its data
// afterwards.
//
// It has two callers: `sluice demo`, which must work on a machine where nothing is set up, and
// package pgtest, which needs a real server for every test. The Lambda function must not import it.
//
// It uses the machine's binaries if they are of a supported version (the PATH first, then the
// places where packages put them). Otherwise it fetches binaries once and caches them. Then it runs
// initdb in a new directory, and postgres as a child of this process, with an immediate shutdown at
// Stop.
//
//	             PATH, packages' places ──┐
//	Start ──►                             ├─► initdb ─► postgres on 127.0.0.1 ─► URL
//	             cache ◄── fetched once ──┘
//
// What holds:
//   - The server listens only on 127.0.0.1 (and on Config.Network), on a free port, without a Unix
//     socket. It asks every client for a random password (SCRAM), which no command line shows.
//   - It never runs as root: if this process is root, an unprivileged account of the machine runs it.
//   - It ends with this process. Stop ends it; on Linux the kernel ends it even if this process is
//     killed, and the next Start removes the directory that was left behind.
//   - Two processes may start servers and fetch binaries at the same time.
//
// Tests can crash a server and start it again, and give it a standby: see Crash, Resume and Follow.
//
// It does not reuse another process's data, upgrade, or run on Windows.
package localpg

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// superuser is the role that initdb creates; it owns the one database, which has its name.
	superuser = "postgres"

	// loopback is the address of every server.
	loopback = "127.0.0.1"

	// startTimeout limits initdb, and the wait for the first connection. A busy machine takes
	// seconds.
	startTimeout = time.Minute

	// portTries is how often another process may take the port between choosing and binding it.
	portTries = 5
)

// Config says what kind of server to start. The zero value starts a fast one with any supported
// binaries.
type Config struct {
	// Version is a major version, "14" to "18". The machine's binaries are used if they are of that
	// version, otherwise fetched ones. If it is empty, any supported version of the machine is
	// used, otherwise the newest is fetched.
	Version string

	// Parameters are server settings, name to value. They override this package's defaults, but not
	// the address, the port and the data directory.
	Parameters map[string]string

	// Durable keeps fsync and full_page_writes on, so that timings are those of a durable server.
	// Without it a crash of the machine may lose the data, which are temporary.
	Durable bool

	// Network is another address of this machine to listen on, with the network whose hosts may
	// connect to it. A test that takes a link down needs it: loopback cannot be taken down for one
	// side only.
	Network netip.Prefix

	// Log receives a line before something that takes long. nil discards it.
	Log io.Writer
}

// Server is a running server. It lasts until Stop or the end of this process.
type Server struct {
	url  string
	cfg  Config
	bin  binaries
	as   account
	dir  *workDir
	proc *process

	password string

	stop    sync.Once
	stopErr error
}

// Start starts a server and returns when it accepts connections. The context limits the start, not
// the server's life.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	as, err := serverAccount()
	if err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	bin, err := findBinaries(ctx, cfg, as)
	if err != nil {
		return nil, fmt.Errorf("localpg: %w", err)
	}
	s := &Server{cfg: cfg, bin: bin, as: as, password: rand.Text()}
	return s.start(ctx, s.initdb)
}

// start makes a server's directory, fills it with data and starts the server.
func (s *Server) start(ctx context.Context, fill func(context.Context) error) (*Server, error) {
	dir, err := newWorkDir(s.as)
	if err != nil {
		return nil, fmt.Errorf("localpg: making a directory for the server: %w", err)
	}
	s.dir = dir
	err = fill(ctx)
	if err == nil {
		err = s.serve(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("localpg: starting %s: %w", s.Origin(), err), s.Stop())
	}
	return s, nil
}

// URL is the connection URL of the superuser, for the database postgres.
func (s *Server) URL() string { return s.url }

// Origin returns the version and where the binaries came from, as in "PostgreSQL 15.18 of this
// machine".
func (s *Server) Origin() string { return s.bin.origin() }

// Log returns what the server has written to its log.
func (s *Server) Log() ([]byte, error) { return os.ReadFile(s.dir.log()) }

// Stop ends the server at once, whatever its clients are doing, and removes its data. Later calls
// only return what the first one returned.
func (s *Server) Stop() error {
	s.stop.Do(func() {
		if s.proc != nil {
			s.proc.end(immediateShutdown)
		}
		if err := s.dir.remove(); err != nil {
			s.stopErr = fmt.Errorf("localpg: removing the server's directory: %w", err)
		}
	})
	return s.stopErr
}

// serve starts postgres on the existing data, on a free port.
func (s *Server) serve(ctx context.Context) error {
	var err error
	for range portTries {
		var port int
		if port, err = freePort(); err != nil {
			return err
		}
		s.url = fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", superuser, s.password, net.JoinHostPort(loopback, strconv.Itoa(port)), superuser)
		if err = s.launch(ctx, port); !errors.Is(err, errPortTaken) {
			return err
		}
	}
	return err
}

// initdb creates the cluster: UTF-8, the C locale (so that sorting does not depend on the machine),
// and a password for everyone.
func (s *Server) initdb(ctx context.Context) error {
	secret, err := ScramSecret(s.password)
	if err != nil {
		return err
	}
	passwordFile, err := s.dir.writePrivate("password", secret+"\n", s.as)
	if err != nil {
		return fmt.Errorf("handing initdb the password: %w", err)
	}
	defer os.Remove(passwordFile) //nolint:errcheck // Stop removes the directory with it

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin.dir, "initdb"),
		"--pgdata="+s.dir.data(), "--username="+superuser, "--pwfile="+passwordFile, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync")
	s.dir.prepare(cmd, s.as)
	cmd.WaitDelay = time.Second // its children keep the output open for a moment after it was killed
	if out, err := cmd.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("initdb: %w\n%s", err, tail(string(out)))
	}
	if !s.cfg.Network.IsValid() {
		return nil
	}
	return s.dir.append("pg_hba.conf", fmt.Sprintf("host all all %s scram-sha-256\n", s.cfg.Network.Masked()))
}

var errPortTaken = errors.New("another process took the port")

// launch starts postgres and waits until it answers. After an error no server runs.
func (s *Server) launch(ctx context.Context, port int) error {
	log, err := os.Create(s.dir.log())
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}
	defer log.Close()

	cmd := exec.Command(filepath.Join(s.bin.dir, "postgres"), s.arguments(port)...) // it lives until Stop
	s.dir.prepare(cmd, s.as)
	cmd.Stdout, cmd.Stderr = log, log
	if s.proc, err = startProcess(cmd); err != nil {
		return err
	}
	if err := s.await(ctx); err != nil {
		s.proc.end(immediateShutdown)
		text, _ := os.ReadFile(s.dir.log())
		if strings.Contains(string(text), "Address already in use") {
			err = errPortTaken
		}
		return fmt.Errorf("%w; the end of its log:\n%s", err, tail(string(text)))
	}
	return nil
}

func (s *Server) arguments(port int) []string {
	settings := map[string]string{
		"max_connections": "200",
		"timezone":        "UTC",
	}
	if !s.cfg.Durable {
		settings["fsync"] = "off"
		settings["full_page_writes"] = "off"
	}
	maps.Copy(settings, s.cfg.Parameters)
	settings["listen_addresses"] = loopback
	if s.cfg.Network.IsValid() {
		settings["listen_addresses"] += "," + s.cfg.Network.Addr().String()
	}
	settings["port"] = strconv.Itoa(port)
	settings["unix_socket_directories"] = "" // the name of a temporary directory can be too long for a socket
	settings["logging_collector"] = "off"    // so that the log is where launch reads it

	args := []string{"-D", s.dir.data()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// await returns when the server answers, or an error when it will not.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cfg, err := pgconn.ParseConfig(s.url)
	if err != nil {
		return err
	}
	for {
		conn, err := pgconn.ConnectConfig(ctx, cfg)
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-s.proc.done:
			return fmt.Errorf("postgres ended: %w", s.proc.err())
		case <-ctx.Done():
			return fmt.Errorf("postgres accepts no connection: %w (%w)", ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// tail returns the last lines of a program's output, indented for the end of an error.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-15):]
	return "  " + strings.Join(lines, "\n  ")
}
