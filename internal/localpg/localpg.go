// Package localpg starts a private, temporary PostgreSQL server on loopback and removes its data afterwards.
//
// It serves two callers: `sluice demo`, which must show the whole job on a machine where nothing is set up, and
// package pgtest, which must have a real server for every test. Nothing else may import it, and never the Lambda
// function.
//
// The binaries are those of the machine if it has a supported version (the PATH first, then the places where packages
// put them), and are fetched once and kept in a cache otherwise. Either way one path leads on: initdb into a fresh
// directory, postgres as a child of this process, an immediate shutdown at Stop.
//
//	             PATH, packages' places ──┐
//	Start ──►                             ├─► initdb ─► postgres on 127.0.0.1 ─► URL
//	             cache ◄── fetched once ──┘
//
// What holds:
//   - The server listens on 127.0.0.1 alone (and where Config.Network says), on a port that was free, without a Unix
//     socket, and asks every client for a password (SCRAM) that was drawn at random and that no command line shows.
//   - It never runs as root: when this process is root, an unprivileged account of the machine runs it.
//   - It ends with this process. Stop ends it in an orderly way; on Linux the kernel ends it even if this process is
//     killed, and the next Start removes the directory which that one left behind.
//   - Two processes may start servers and fetch binaries at the same time.
//
// A test of what outlives a server may end it and start it again, and give it a standby: see Crash, Resume and Follow.
//
// It refuses to reuse another process's data, to upgrade, and to run on Windows.
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

	// startTimeout bounds initdb and the wait for the first connection, each. A busy machine takes seconds.
	startTimeout = time.Minute

	// portTries is how often another process may take the port between our choosing and the server's binding it.
	portTries = 5
)

// Config says what kind of server to start. The zero value starts a fast one with whatever binaries are at hand.
type Config struct {
	// Version is a major version, "14" to "18". The machine's binaries are used if they are of that version, fetched
	// ones otherwise. Empty takes the machine's, whichever supported version they are, else the newest.
	Version string

	// Parameters are server settings, name to value. They win over this package's defaults, but not over the
	// address, the port and the data directory.
	Parameters map[string]string

	// Durable keeps fsync and full_page_writes on, so that timings are those of a server that keeps its promises.
	// Off, a crash of the machine may lose the data, which are temporary anyway.
	Durable bool

	// Network is one more address of this machine to listen on, with the network whose hosts may connect to it. A
	// test that takes a link down needs it: nothing takes loopback down for one side alone.
	Network netip.Prefix

	// Log receives a line when something takes long enough to wonder about. nil discards it.
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

// Start starts a server and returns once it accepts connections. The context bounds the start, not the server's life.
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

// Origin says which server this is and where its binaries came from, for a person: "PostgreSQL 15.18 of this machine".
func (s *Server) Origin() string { return s.bin.origin() }

// Log returns what the server has written to its log.
func (s *Server) Log() ([]byte, error) { return os.ReadFile(s.dir.log()) }

// Stop ends the server at once, whatever its clients are doing, and removes its data. Only the first call does
// anything; the others return what the first one returned.
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

// serve starts postgres on the data that are there, on a port that is free.
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

// initdb makes the cluster: UTF-8, the C locale (sorting does not depend on the machine), and a password for everyone.
func (s *Server) initdb(ctx context.Context) error {
	secret, err := ScramSecret(s.password)
	if err != nil {
		return err
	}
	passwordFile, err := s.dir.writePrivate("password", secret+"\n", s.as)
	if err != nil {
		return fmt.Errorf("handing initdb the password: %w", err)
	}
	defer os.Remove(passwordFile) //nolint:errcheck // the directory goes at Stop, with all that is in it

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin.dir, "initdb"),
		"--pgdata="+s.dir.data(), "--username="+superuser, "--pwfile="+passwordFile, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-sync")
	s.dir.prepare(cmd, s.as)
	cmd.WaitDelay = time.Second // its children hold the output open for a moment after it was killed
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

// launch starts postgres and waits for it. After an error no server runs.
func (s *Server) launch(ctx context.Context, port int) error {
	log, err := os.Create(s.dir.log())
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}
	defer log.Close()

	cmd := exec.Command(filepath.Join(s.bin.dir, "postgres"), s.arguments(port)...) //nolint:noctx // it lives until Stop
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
	settings["logging_collector"] = "off"    // so that the log is where launch looks for it

	args := []string{"-D", s.dir.data()}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		args = append(args, "-c", name+"="+settings[name])
	}
	return args
}

// await returns when the server answers, or when it will not any more.
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
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:errcheck // what a TCP listener has
}

// tail is the last few lines of a program's output, indented for the end of an error.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-15):]
	return "  " + strings.Join(lines, "\n  ")
}
