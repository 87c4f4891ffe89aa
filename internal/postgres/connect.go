package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
)

// Connect opens a connection as Insert would, with the same login and TLS, for callers that look at
// the database and store nothing. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	return c.PgConn, nil
}

// Unverified returns what TLS leaves open on the last connection. It is empty if the server is
// verified, or is this machine.
func (s *Store) Unverified() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unverified
}

// Ping asks the database to insert no rows, in the way of Insert: it finds what is wrong with
// login, table, grants or key, and servers that take no rows. It does not wait for a fault to pass:
// a caller that waits pings again.
func (s *Store) Ping(ctx context.Context) error {
	nothing := s.piece(batch.New(s.tables()...), nil, graceOf(ctx))
	for another := false; ; another = true {
		a := nothing.attempt(ctx, another)
		if !a.reused || !a.again && !a.cut || ctx.Err() != nil {
			return a.err
		}
	}
}
