package postgres

import "github.com/jackc/pgx/v5/pgconn"

// Bundle is the certificates of AWS as PEM, and ReadRoots is what TLS trusts.
var (
	Bundle    = bundle
	ReadRoots = readRoots
)

// WithDialer replaces the network.
func WithDialer(dial pgconn.DialFunc) Option { return func(s *Store) { s.dialer = dial } }

// Shown is what is shown of an error of the server, by what is known of the table now.
func (s *Store) Shown(err *pgconn.PgError) string { return s.shown(err, s.fresh().catalog) }

// WithoutParameters is what is kept of an error's context.
func WithoutParameters(context string) string { return withoutParameters(context) }

// AtBind reports whether a context is of an error that a parameter meets.
func AtBind(context string) bool { return atBind.MatchString(context) }
