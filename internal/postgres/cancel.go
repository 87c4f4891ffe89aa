package postgres

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// cancelGrace is how long a flight may take to end after its context, at
	// most. In the background it limits a request to cancel, and a disconnect.
	cancelGrace = 400 * time.Millisecond
	// cancelPause is the time between two requests to cancel. It doubles up to
	// maxCancelPause as long as the server does not react: each request costs
	// it a connection and a process.
	cancelPause    = 5 * time.Millisecond
	maxCancelPause = time.Second
)

// grace limits what is still to be done when a context has ended.
type grace struct {
	length time.Duration
	until  time.Time // the end in any case; zero if the context has no deadline
}

// graceOf is a quarter of the time that a context gives, and cancelGrace at
// most: a caller that keeps time back to answer keeps little of a short time.
func graceOf(ctx context.Context) grace {
	deadline, ok := ctx.Deadline()
	if !ok {
		return grace{length: cancelGrace}
	}
	length := min(cancelGrace, max(0, time.Until(deadline)/4))
	return grace{length, deadline.Add(length)}
}

// within is the grace of a part of the time.
func (g grace) within(d time.Duration) grace {
	g.length = min(g.length, d/4)
	return g
}

// end is when a grace ends that begins now.
func (g grace) end() time.Time {
	end := time.Now().Add(g.length)
	if !g.until.IsZero() && g.until.Before(end) {
		return g.until
	}
	return end
}

// canceller ends the flight that is under way when its context ends: the
// server is told to stop, so that abandoned work does not pile up behind a
// lock, and has a moment to say so. A request stops one statement, and the
// next one of the flight may wait for the same lock: so it is repeated until
// the flight has ended, in the background when that takes longer than the
// grace, and at once again when the server has been heard since the last time.
// It is for connections that are dropped afterwards.
//
// Unlike pgconn's own it never breaks a request off when the statement has
// ended meanwhile: PgBouncer 1.18 does not survive that.
type canceller struct {
	conn  *pgconn.PgConn
	grace grace
	ended chan struct{} // closed when the flight has ended
	done  chan struct{} // closed when no request is under way any more
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceller) HandleCancel(context.Context) {
	ended, done := make(chan struct{}), make(chan struct{})
	c.ended, c.done = ended, done
	_ = c.conn.Conn().SetDeadline(c.grace.end()) // a broken connection fails by itself
	ear := earOf(c.conn.Conn())
	go func() { //nolint:gosec // not with the context of the call, which has ended
		defer close(done)
		pause, heard := cancelPause, ear.heard.Load()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
			_ = c.conn.CancelRequest(ctx) // the deadline is what counts
			cancel()
			select {
			case <-ended:
				return
			case <-time.After(pause):
			}
			if now := ear.heard.Load(); now != heard {
				pause, heard = cancelPause, now
			} else {
				pause = min(2*pause, maxCancelPause)
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
	close(ended) // the caller may have no time to wait for the last request
	_ = c.conn.Conn().SetDeadline(time.Time{})
}

// ear is the network of a connection. It counts how often the server was heard,
// also when pgconn drains the connection by itself.
type ear struct {
	net.Conn
	socket socketPath // empty for TCP
	heard  atomic.Int64
}

// Read implements net.Conn.
func (e *ear) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if n > 0 {
		e.heard.Add(1)
	}
	return n, err
}

// socketPath is the address of a Unix socket, by another name of the network.
type socketPath string

const socketNetwork = "socket"

// Network implements net.Addr.
func (socketPath) Network() string { return socketNetwork }

// String implements net.Addr.
func (p socketPath) String() string { return string(p) }

// RemoteAddr implements net.Conn. pgconn sends requests to cancel there, but
// those of a Unix socket to the first host of the URL, which may be another one,
// in clear text.
func (e *ear) RemoteAddr() net.Addr {
	if e.socket != "" {
		return e.socket
	}
	return e.Conn.RemoteAddr()
}

// listening makes connections with an ear. It is below TLS, which pgconn looks
// at by its type.
func listening(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == socketNetwork { // a request to cancel
			network = "unix"
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		e := &ear{Conn: c}
		if network == "unix" {
			e.socket = socketPath(address)
		}
		return e, nil
	}
}

// earOf is the ear of a connection that dial made.
func earOf(c net.Conn) *ear {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	if e, ok := c.(*ear); ok {
		return e
	}
	return new(ear) // of another dial: as if the server said nothing
}
