package postgres

import "github.com/jackc/pgx/v5/pgconn"

// WithDialer replaces the network.
func WithDialer(dial pgconn.DialFunc) Option { return func(s *Store) { s.dialer = dial } }
