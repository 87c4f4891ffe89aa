package postgres

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"sluice/internal/batch"
	"sluice/internal/credentials/login"
	"sluice/internal/message"
)

// conn is one connection and what is prepared on it.
type conn struct {
	*pgconn.PgConn
	// named: statements may be prepared under a name, which a pooler in
	// transaction mode may not allow.
	named    bool
	prepared string // the text of the insert
	asked    bool   // how keys compare
	reused   bool
	// unconfirmed: a commit is not confirmed by the synchronous standby.
	unconfirmed atomic.Bool
	arrays      batch.Arrays // memory for parameters, kept from batch to batch
}

// standbyRoutine is where the server gives up the wait for a synchronous
// standby: the transaction is committed there, and perhaps nowhere else. The
// client sees a warning and success. The warning's words depend on the
// server's language, its routine does not.
const standbyRoutine = "SyncRepWaitForLSN"

// statementName is the insert's name on a connection.
const statementName = "sluice_insert"

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
	return s.connect(ctx, nil)
}

// connecting is what connect does, for its errors.
const connecting = "connect to the database"

// connect makes a connection. A login that the server refuses is asked for
// once more: it may have been rotated.
func (s *Store) connect(ctx context.Context, onNotice pgconn.NoticeHandler) (*conn, error) {
	if err := over(ctx); err != nil {
		return nil, s.fault(ctx, connecting, err) // and nobody is said not to answer
	}
	used := s.target.login()
	var err error
	if s.logins != nil {
		if used, err = s.logins.Fetch(ctx, used); err != nil {
			return nil, err
		}
	}
	c, err := s.dial(ctx, used, onNotice)
	if server := asServer(err); s.logins != nil && server != nil && (server.Code == "28P01" || server.Code == "28000") {
		other, why := s.logins.Refresh(ctx, used)
		if why != nil {
			return nil, refused(server, why)
		}
		c, err = s.dial(ctx, other, onNotice)
	}
	if err != nil {
		return nil, s.fault(ctx, connecting, err)
	}
	return c, nil
}

// refused is a login that the server does not take, and why there is no other.
func refused(server *pgconn.PgError, why error) *DatabaseError {
	e := &DatabaseError{Cause: message.CauseOperator, SQLState: server.Code, text: connecting + ": " + describe(server) + "; " + why.Error(), err: why}
	if cause, ok := message.FaultOf(why); ok {
		e.Cause = cause
	}
	return e
}

func (s *Store) dial(ctx context.Context, l login.Login, onNotice pgconn.NoticeHandler) (*conn, error) {
	config := s.target.config(l, s.roots)
	c := &conn{named: config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement}
	config.OnNotice = func(pc *pgconn.PgConn, n *pgconn.Notice) {
		if n.Routine == standbyRoutine {
			c.unconfirmed.Store(true)
		}
		if onNotice != nil {
			onNotice(pc, n)
		}
	}
	config.DialFunc = listening(config.DialFunc)
	config.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler { return &canceller{conn: c} }
	var err error
	if c.PgConn, err = pgconn.ConnectConfig(ctx, &config.Config); err != nil {
		return nil, err
	}
	return c, nil
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

func closeConns(all []*conn) {
	for _, c := range all {
		closeConn(c)
	}
}

func closeConn(c *conn) {
	ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
	defer cancel()
	_ = c.Close(ctx) // it is gone either way
}
