package postgres

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
)

// conn is one connection and what is prepared on it.
type conn struct {
	*pgconn.PgConn
	// named: statements may be prepared under a name, which a pooler in
	// transaction mode may not allow.
	named    bool
	prepared bool
	reused   bool
	arrays   batch.Arrays // memory for parameters, kept from batch to batch
}

// statementName is the insert's name on a connection.
const statementName = "sluice_insert"

// parseURL reads a connection URL. When it does not say, TLS is verify-full
// for every host but loopback, and the server is told who connects.
func parseURL(text string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		// Not err itself: it quotes the URL, which can hold a password.
		return nil, fmt.Errorf("DATABASE_URL is no URL of the form postgres://user:password@host:5432/database (characters such as @ : / in the password are written as %%40 %%3A %%2F)")
	}
	query := u.Query()
	if !query.Has("sslmode") && !loopback(u.Hostname()) {
		query.Set("sslmode", "verify-full")
	}
	if !query.Has("application_name") {
		query.Set("application_name", "sluice")
	}
	u.RawQuery = query.Encode()
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL: %s", parseProblem(err, u))
	}
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) pgconnHandler {
		// When the time is over the server is told to stop, so that abandoned
		// work does not pile up behind a lock, and has a moment to say so.
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: cancelGrace}
	}
	return config, nil
}

// cancelGrace is how long a statement may take to end after its time is over.
const cancelGrace = 400 * time.Millisecond

// parseProblem is pgx's complaint without what it quotes of the URL.
func parseProblem(err error, u *url.URL) string {
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+3:]
	}
	if password, ok := u.User.Password(); ok && password != "" && strings.Contains(text, password) {
		return "a parameter is not valid"
	}
	return text
}

func loopback(host string) bool {
	if host == "" || host == "localhost" || strings.HasPrefix(host, "/") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// acquire takes an idle connection or makes one. There is no ping: a
// connection that died meanwhile costs one clean retry.
func (s *Store) acquire(ctx context.Context) (*conn, error) {
	s.mu.Lock()
	if n := len(s.idle); n > 0 {
		c := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.mu.Unlock()
		c.reused = true
		return c, nil
	}
	s.mu.Unlock()
	pc, err := pgconn.ConnectConfig(ctx, &s.config.Config)
	if err != nil {
		return nil, s.fault("connect to the database", err)
	}
	mode := s.config.DefaultQueryExecMode
	return &conn{PgConn: pc, named: mode == pgx.QueryExecModeCacheStatement}, nil
}

// release gives a connection back, or drops it after any doubt about it.
func (s *Store) release(c *conn, healthy bool) {
	if healthy && !c.IsClosed() && c.TxStatus() == 'I' {
		s.mu.Lock()
		closed := s.closed
		if !closed {
			s.idle = append(s.idle, c)
		}
		s.mu.Unlock()
		if !closed {
			return
		}
	}
	closeConn(c)
}

func closeConn(c *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	_ = c.Close(ctx) // it is gone either way
}
