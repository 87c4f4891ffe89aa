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
	// cancelGrace limits how long a round trip takes to end after its context. In the background it
	// limits a request to cancel, and a disconnect.
	cancelGrace = 400 * time.Millisecond
	// cancelPause is the time between two requests to cancel. It doubles up to maxCancelPause as
	// long as the server does not react: each request costs it a connection and a process.
	cancelPause    = 5 * time.Millisecond
	maxCancelPause = time.Second
)

// grace limits what is still to be done when a context has ended.
type grace struct {
	length time.Duration
	until  time.Time // the end in any case; zero if the context has no deadline
}

// graceOf returns a quarter of the time that a context gives, and cancelGrace at most: a caller
// that reserves time for its answer reserves little of a short time.
func graceOf(ctx context.Context) grace {
	deadline, ok := ctx.Deadline()
	if !ok {
		return grace{length: cancelGrace}
	}
	length := min(cancelGrace, max(0, time.Until(deadline)/4))
	return grace{length, deadline.Add(length)}
}

// forPart returns the grace of a part of the time.
func (g grace) forPart(d time.Duration) grace {
	g.length = min(g.length, d/4)
	return g
}

// end returns when a grace ends that begins now.
func (g grace) end() time.Time {
	end := time.Now().Add(g.length)
	if !g.until.IsZero() && g.until.Before(end) {
		return g.until
	}
	return end
}

// canceller ends the round trip under way when its context ends: it tells the server to stop, so
// that abandoned work does not pile up waiting for a lock, and leaves it a moment to answer. A
// request to cancel stops one statement, and the next one of the round trip may wait for the same
// lock: so the request is repeated until the round trip has ended. That goes on in the background
// if it takes longer than the grace. It is for connections that are dropped afterwards.
//
// Unlike pgconn's own, it never breaks a request off when the statement has ended meanwhile:
// PgBouncer 1.18 does not survive that.
type canceller struct {
	conn  *pgconn.PgConn
	grace grace
	ended chan struct{} // closed when the round trip has ended
	done  chan struct{} // closed when no request is under way
}

// HandleCancel implements ctxwatch.Handler.
func (c *canceller) HandleCancel(context.Context) {
	ended, done := make(chan struct{}), make(chan struct{})
	c.ended, c.done = ended, done
	_ = c.conn.Conn().SetDeadline(c.grace.end()) // a broken connection fails by itself
	counter := readCounterOf(c.conn.Conn())
	go func() { //nolint:gosec // not with the context of the call, which has ended
		defer close(done)
		pause, before := cancelPause, counter.reads.Load()
		for {
			ctx, cancel := context.WithTimeout(context.Background(), cancelGrace)
			_ = c.conn.CancelRequest(ctx) // the deadline is what counts
			cancel()
			select {
			case <-ended:
				return
			case <-time.After(pause):
			}
			if now := counter.reads.Load(); now != before {
				pause, before = cancelPause, now
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
			<-c.conn.CleanupDone() // the server has finished the round trip, or 15 seconds have passed
			close(ended)
		}()
		return
	}
	close(ended) // the caller may have no time to wait for the last request
	_ = c.conn.Conn().SetDeadline(time.Time{})
}

// readCounter is the network connection below TLS. It counts reads that returned something, also
// when pgconn drains the connection by itself.
type readCounter struct {
	net.Conn
	socket socketPath // empty for TCP
	reads  atomic.Int64
}

// Read implements net.Conn.
func (e *readCounter) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if n > 0 {
		e.reads.Add(1)
	}
	return n, err
}

// socketPath is the address of a Unix socket, under another network name.
type socketPath string

const socketNetwork = "socket"

// Network implements net.Addr.
func (socketPath) Network() string { return socketNetwork }

// String implements net.Addr.
func (p socketPath) String() string { return string(p) }

// RemoteAddr implements net.Conn. pgconn sends requests to cancel to this address, but those of a
// Unix socket to the first host of the URL, in clear text, and that may be another host.
func (e *readCounter) RemoteAddr() net.Addr {
	if e.socket != "" {
		return e.socket
	}
	return e.Conn.RemoteAddr()
}

// countReads has dial return readCounters. They are below TLS, which pgconn recognises by its type.
func countReads(dial pgconn.DialFunc) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == socketNetwork { // a request to cancel
			network = "unix"
		}
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		e := &readCounter{Conn: c}
		if network == "unix" {
			e.socket = socketPath(address)
		}
		return e, nil
	}
}

// readCounterOf returns the readCounter of a connection that dial made.
func readCounterOf(c net.Conn) *readCounter {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	if e, ok := c.(*readCounter); ok {
		return e
	}
	return new(readCounter) // of another dial: as if nothing was read
}
