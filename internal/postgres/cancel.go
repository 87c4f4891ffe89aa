package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// cancelGrace is how long a statement may take to end after its time is over.
const cancelGrace = 400 * time.Millisecond

// canceller ends the statement that runs when its context does: the server is
// told to stop, so that abandoned work does not pile up behind a lock, and
// has a moment to say so. It is for connections that are dropped afterwards.
//
// Unlike pgconn's own it never breaks the cancel request off when the
// statement has ended meanwhile: PgBouncer 1.18 does not survive that.
type canceller struct {
	conn *pgconn.PgConn
	sent chan struct{}
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceller) HandleCancel(context.Context) {
	c.sent = make(chan struct{})
	deadline := time.Now().Add(cancelGrace)
	_ = c.conn.Conn().SetDeadline(deadline) // a broken connection fails by itself
	go func() {
		defer close(c.sent)
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		defer cancel()
		_ = c.conn.CancelRequest(ctx) // the deadline is what counts
	}()
}

// HandleUnwatchAfterCancel implements ctxwatch.Handler.
func (c *canceller) HandleUnwatchAfterCancel() {
	<-c.sent
	_ = c.conn.Conn().SetDeadline(time.Time{}) // the connection is dropped
}
