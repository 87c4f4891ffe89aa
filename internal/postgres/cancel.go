package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// cancelGrace is how long a flight may take to end after its time is over.
	cancelGrace = 400 * time.Millisecond
	// cancelPause is the time between two requests to cancel.
	cancelPause = 5 * time.Millisecond
)

// canceller ends the flight that is under way when its context ends: the
// server is told to stop, so that abandoned work does not pile up behind a
// lock, and has a moment to say so. A request stops one statement, and the
// next one of the flight may wait for the same lock: so it is repeated until
// the flight has ended, in the background when that takes longer than the
// grace. It is for connections that are dropped afterwards.
//
// Unlike pgconn's own it never breaks a request off when the statement has
// ended meanwhile: PgBouncer 1.18 does not survive that.
type canceller struct {
	conn  *pgconn.PgConn
	ended chan struct{} // closed when the flight has ended
	done  chan struct{} // closed when no request is under way any more
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceller) HandleCancel(context.Context) {
	ended, done := make(chan struct{}), make(chan struct{})
	c.ended, c.done = ended, done
	_ = c.conn.Conn().SetDeadline(time.Now().Add(cancelGrace)) // a broken connection fails by itself
	go func() {                                                //nolint:gosec // not with the context of the call, which has ended
		defer close(done)
		for {
			ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
			_ = c.conn.CancelRequest(ctx) // the deadline is what counts
			cancel()
			select {
			case <-ended:
				return
			case <-time.After(cancelPause):
			}
		}
	}()
}

// HandleUnwatchAfterCancel implements ctxwatch.Handler.
func (c *canceller) HandleUnwatchAfterCancel() {
	ended := c.ended
	if c.conn.IsClosed() {
		go func() {
			<-c.conn.CleanupDone() // the server has come to the end of the flight, or 15 seconds have passed
			close(ended)
		}()
		return
	}
	close(ended)
	<-c.done
	_ = c.conn.Conn().SetDeadline(time.Time{}) // the connection is dropped
}
