package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// Connect opens a connection as Insert would, with the same login and TLS,
// for those who look at the database and store nothing. The caller closes it.
func (s *Store) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	c, err := s.connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	return c.PgConn, nil
}

// Ping says whether the database takes a connection, which Insert then uses.
func (s *Store) Ping(ctx context.Context) error {
	c, err := s.connect(ctx, nil)
	if err != nil {
		return err
	}
	s.release(c, true)
	return nil
}
