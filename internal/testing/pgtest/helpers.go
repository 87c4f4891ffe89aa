package pgtest

import (
	"context"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
)

// maxKept is how many idle connections are kept.
const maxKept = 16

// kept are connections of the helpers that are idle, the last one used at the end. For a server, a
// new connection costs more than most of what the helpers do.
type kept struct {
	mu    sync.Mutex
	conns []*pgx.Conn
}

var helpers kept

// take returns a connection that works: tests stop servers and end sessions.
func (k *kept) take(ctx context.Context, url string) (*pgx.Conn, error) {
	for {
		conn := k.find(url)
		if conn == nil {
			break
		}
		if conn.Ping(ctx) == nil {
			return conn, nil
		}
		_ = conn.Close(ctx)
	}
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec // prepares nothing, since tests alter tables
	return pgx.ConnectConfig(ctx, cfg)
}

// find takes a connection of a URL out, if there is one.
func (k *kept) find(url string) *pgx.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.conns, func(conn *pgx.Conn) bool { return conn.Config().ConnString() == url })
	if i < 0 {
		return nil
	}
	conn := k.conns[i]
	k.conns = slices.Delete(k.conns, i, i+1)
	return conn
}

// give makes a connection as it was, and keeps it instead of the one that was idle for longest.
func (k *kept) give(ctx context.Context, conn *pgx.Conn) {
	if _, err := conn.Exec(ctx, "DISCARD ALL"); err != nil { // it is in a transaction, or its session has ended
		_ = conn.Close(ctx)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conns = append(k.conns, conn); len(k.conns) > maxKept {
		_ = k.conns[0].Close(ctx)
		k.conns = slices.Delete(k.conns, 0, 1)
	}
}
