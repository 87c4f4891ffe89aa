package postgres

import "github.com/jackc/pgx/v5/pgconn"

// Bundle is the certificates of AWS as PEM, and ReadRoots returns what TLS trusts.
var (
	Bundle    = bundle
	ReadRoots = readRoots
)

// SetDialer replaces the network of the hosts that the URL has.
func (s *Store) SetDialer(dial pgconn.DialFunc) { s.target.parsed.DialFunc = dial }

// Shown returns what is shown of an error of the server, by the catalog of now.
func (s *Store) Shown(err *pgconn.PgError) string {
	d := s.destinations[0]
	return d.shown(err, d.freshCatalog())
}

// WithoutParameters returns what is kept of an error's context.
func WithoutParameters(context string) string { return withoutParameters(context) }

// WithoutValue returns what is kept of an error's context, and the number of the parameter that an
// input function did not take.
func WithoutValue(context string) (string, int) {
	context = withoutValue(context)
	return context, parameterOf(&pgconn.PgError{Where: context})
}

// AtBind reports whether a context is of an error that a parameter meets.
func AtBind(context string) bool { return atBind.MatchString(context) }

var (
	PlainTypes = plain
	TypesSQL   = typesSQL
)
