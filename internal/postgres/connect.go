package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
)

// Connect opens a connection as Insert would, with the same login and TLS,
// for those who look at the database and store nothing. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := s.connect(ctx, nil)
	if err != nil {
		return nil, outward(err)
	}
	return c.PgConn, nil
}

// Unverified says what TLS leaves open on the way of the last connection. It is
// empty when the server is verified, or this machine.
func (s *Store) Unverified() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unverified
}

// Ping asks the database to insert no rows, as Insert asks it to insert some:
// what is wrong with login, table, grants or key shows, and so does a server
// that takes no rows. It does not wait for a fault to pass: who waits for that
// asks again.
func (s *Store) Ping(ctx context.Context) error {
	nothing := s.piece(batch.New(s.table), nil, graceOf(ctx))
	for another := false; ; another = true {
		a := nothing.attempt(ctx, another)
		if !a.reused || !a.again && !a.cut || ctx.Err() != nil {
			return outward(a.err)
		}
	}
}
