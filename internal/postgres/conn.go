package postgres

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// conn is one connection and what is prepared on it.
type conn struct {
	*pgconn.PgConn
	// named: statements may be prepared under a name, which a pooler in transaction mode may not
	// allow.
	named    bool
	prepared map[string]string // the inserts, by name
	asked    []asked           // about each destination
	reused   bool
	// unconfirmed: a commit is not confirmed by the synchronous standby.
	unconfirmed atomic.Bool
	exists      bool // CREATE TABLE IF NOT EXISTS had nothing to create
	// replaceAt is when another connection takes its place; zero for never.
	replaceAt time.Time
	canceller *canceller
	// Memory for parameters and for what is sent, kept from batch to batch.
	arrays     batch.Arrays
	sendBuffer []byte
	sent       []sent
	ends       []int
}

// standbyRoutine is where the server stops waiting for a synchronous standby: the transaction is
// committed there, and perhaps nowhere else. The client sees a warning and success. The warning's
// words depend on the server's language, its routine does not.
const standbyRoutine = "SyncRepWaitForLSN"

// acquire takes an idle connection or makes one; if another is true, it always makes one. There is
// no ping: a connection that died meanwhile costs one clean retry.
func (s *Store) acquire(ctx context.Context, another bool) (*conn, error) {
	for !another {
		c := s.popIdle()
		if c == nil {
			break
		}
		if c.replaceAt.IsZero() || s.now().Before(c.replaceAt) {
			c.reused = true
			return c, nil
		}
		s.discard(c)
	}
	return s.connect(ctx)
}

// popIdle takes the idle connection that was used last, and returns nil if there is none.
func (s *Store) popIdle() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return nil
	}
	c := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return c
}

const (
	// replaceAfter is how long a connection is used after a configuration error, or after rows that
	// were discarded. An open session may not see what fixes it: a search_path, a plan. It
	// is not replaced at once, so that such an outage does not add a login to each invocation.
	replaceAfter = 30 * time.Second
	// replaceWithin is the jitter on top: a thousand functions that have met the same error must
	// not log in together.
	replaceWithin = 15 * time.Second
)

// replaceLater has the connection replaced, some time after its first such error.
func (s *Store) replaceLater(c *conn) {
	if c.replaceAt.IsZero() {
		c.replaceAt = s.now().Add(replaceAfter + rand.N(replaceWithin)) //nolint:gosec // jitter
	}
}

// connecting is what connect does, for its errors.
const connecting = "connect to the database"

// connect makes a connection. If the server refuses the login, it asks for another one once: the
// login may have been rotated.
func (s *Store) connect(ctx context.Context) (*conn, error) {
	if err := contextErr(ctx); err != nil {
		return nil, s.whyEnded(ctx, connecting, err) // and no host is blamed for not answering
	}
	used := s.target.login()
	var err error
	if s.logins != nil {
		if used, err = s.logins.Fetch(ctx, used); err != nil {
			return nil, err
		}
	}
	c, err := s.dial(ctx, used)
	if server := asServer(err); s.logins != nil && server != nil && loginRefused(server) {
		other, why := s.logins.Refresh(ctx, used)
		if why != nil {
			return nil, noOtherLogin(server, why)
		}
		c, err = s.dial(ctx, other)
	}
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return nil, s.unconnected(ctx, connect)
	}
	return c, err
}

// noOtherLogin returns the error for a login that the server refused, and why there is no other.
func noOtherLogin(server *pgconn.PgError, why error) *fault.Error {
	e := *cmp.Or(fault.Of(why), &fault.Error{Cause: message.CauseConfiguration, What: why.Error()})
	e.What = connecting + ": " + describeSession(server) + ", and " + e.What
	e.Code = server.Code
	return databaseError(e)
}

// warn logs once what TLS leaves open, and keeps it for Unverified.
func (s *Store) warn(ctx context.Context, unverified string) {
	s.mu.Lock()
	known := s.unverified == unverified
	s.unverified = unverified
	s.mu.Unlock()
	if !known && unverified != "" {
		s.log.WarnContext(ctx, "the database is not verified", "why", unverified, "remedy", "set sslmode=verify-full ("+s.target.url.source("sslmode")+")")
	}
}

// dial tries each form of the password until the server takes one.
func (s *Store) dial(ctx context.Context, l login.Login) (c *conn, err error) {
	config, err := s.target.config(l)
	if err != nil {
		return nil, databaseError(fault.Error{Cause: message.CauseConfiguration, What: connecting + ": " + err.Error()})
	}
	s.warn(ctx, unverified(config))
	for _, config.Password = range passwords(l.Password.Reveal()) {
		c, err = s.dialOnce(ctx, config.Copy())
		if server := asServer(err); server == nil || !loginRefused(server) {
			break
		}
	}
	return c, err
}

func (s *Store) dialOnce(ctx context.Context, config *pgx.ConnConfig) (*conn, error) {
	c := &conn{prepared: map[string]string{}, asked: make([]asked, s.numbers), named: config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement}
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == standbyRoutine {
			c.unconfirmed.Store(true)
		}
		c.exists = c.exists || n.Code == tableExists
	}
	config.DialFunc = countReads(config.DialFunc)
	if s.lookup != nil {
		config.LookupFunc = s.lookup
	}
	config.BuildContextWatcherHandler = func(pc *pgconn.PgConn) ctxwatch.Handler {
		c.canceller = &canceller{conn: pc, grace: grace{length: cancelGrace}}
		return c.canceller
	}
	var err error
	if c.PgConn, err = pgconn.ConnectConfig(ctx, &config.Config); err != nil {
		return nil, err
	}
	if !c.speaksUTF8() {
		closeConn(c)
		return nil, databaseError(fault.Error{
			Cause:  message.CauseConfiguration,
			What:   connecting + ": the session's client_encoding is not UTF8, which was asked for",
			Remedy: "check the pooler in between",
		})
	}
	return c, nil
}

// speaksUTF8 reports whether the session takes text as it is sent. The server reports its encoding
// at the start, and when a trigger has changed it.
func (c *conn) speaksUTF8() bool {
	encoding := c.ParameterStatus("client_encoding")
	return encoding == "" || encoding == "UTF8"
}

// release makes a connection idle, or drops it after any doubt about it.
func (s *Store) release(c *conn, healthy bool) {
	if healthy && !c.IsClosed() && c.TxStatus() == 'I' && c.speaksUTF8() {
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
	s.discard(c)
}

// dropIdle closes the idle connections in the background.
func (s *Store) dropIdle() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		s.discard(c)
	}
}

// discard closes a connection in the background: with a silent peer that takes time, which a batch
// may not have.
func (s *Store) discard(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		go closeConn(c) // Close no longer waits for it
		return
	}
	s.closing.Go(func() { closeConn(c) })
}

// closeConn disconnects cleanly, or without that if it takes too long.
func closeConn(c *conn) {
	if c.IsClosed() {
		return
	}
	if c.canceller.done != nil {
		<-c.canceller.done // the last request to cancel
	}
	_ = c.Conn().SetDeadline(time.Now().Add(cancelGrace))
	_ = c.Close(context.Background()) // either way it is closed
}
