package localpg

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
)

// Crash ends the server at once, as if it had crashed. Resume starts it again on its data.
func (s *Server) Crash() { s.proc.end(immediateShutdown) }

// Shutdown ends the server cleanly, whatever its clients are doing. Resume starts it again on its
// data.
func (s *Server) Shutdown() error {
	if !s.proc.end(fastShutdown) {
		return errors.New("localpg: the server did not shut down, and was killed")
	}
	return nil
}

// Resume starts a server again that Crash or Shutdown has ended. It may get another port: see URL.
// The context limits the start.
func (s *Server) Resume(ctx context.Context) error {
	if err := s.serve(ctx); err != nil {
		return fmt.Errorf("localpg: starting %s again: %w", s.Origin(), err)
	}
	return nil
}

// Follow starts a standby of s: a server with the same binaries and password, on a copy of its
// data, that streams from s. It crashes s to copy the data, and resumes it. The standby's name for
// s is name, as in synchronous_standby_names.
//
// It does without pg_basebackup, which fetched binaries lack.
func (s *Server) Follow(ctx context.Context, name string, cfg Config) (*Server, error) {
	standby := &Server{cfg: cfg, bin: s.bin, as: s.as, password: s.password}
	return standby.start(ctx, func(ctx context.Context) error {
		s.Crash()
		if err := os.CopyFS(standby.dir.data(), os.DirFS(s.dir.data())); err != nil {
			return fmt.Errorf("copying the data of the primary: %w", err)
		}
		if err := s.Resume(ctx); err != nil {
			return err
		}
		u, err := url.Parse(s.url)
		if err != nil {
			return err
		}
		// In a file, since a command line would show the password.
		conninfo := fmt.Sprintf("primary_conninfo = 'host=%s port=%s user=%s password=%s application_name=%s'\n",
			u.Hostname(), u.Port(), superuser, s.password, name)
		if err := standby.dir.append("postgresql.auto.conf", conninfo); err != nil {
			return err
		}
		signal := filepath.Join(standby.dir.data(), "standby.signal")
		if err := os.WriteFile(signal, nil, 0o600); err != nil {
			return err
		}
		return standby.dir.giveTo(s.as)
	})
}

// Command returns a command that runs in the server's data directory, as the account that owns it.
// A program that is next to postgres, such as pg_resetwal, is taken from there.
func (s *Server) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	beside := filepath.Join(s.bin.dir, program)
	if _, err := os.Stat(beside); err == nil {
		program = beside
	}
	cmd := exec.CommandContext(ctx, program, args...)
	s.dir.prepare(cmd, s.as)
	return cmd
}
