// Package credentials gets the secrets that sluice works with from AWS: the
// login of the database, from Secrets Manager or as a token of IAM, and the
// keys that mask, from Secrets Manager.
//
//	Database.Fetch ──┐                             ┌── Secrets Manager
//	Database.Refresh ┼── kept for minutes, fetched ┤
//	MaskKeys.Keyring ┘   by one caller at a time   └── IAM (signs locally)
//
// What must be true:
//
//   - Nothing is loaded, and AWS is not asked, before a secret is needed.
//   - A secret that was read once is served on when reading it again fails;
//     the failure is logged. A database that refuses a login has it read
//     again at once, but not more often than every 5 seconds, however many
//     connections are refused.
//   - No call outlives its context, and none takes longer than 7 seconds.
//   - No error, log line or print of anything here holds text of a secret.
//
// Errors are of type CredentialsError: they say whose fault it is and what to
// do about it. The package refuses to write secrets, to rotate them, and to
// know pgx: internal/postgres applies the login. internal/app, which assembles
// the mains, and the command line import it.
package credentials

import (
	"context"
	"log/slog"
	"time"

	"sluice/internal/credentials/login"
)

// Options says where secrets are. Its zero value is an installation without
// any, whose database login is the one in DATABASE_URL.
type Options struct {
	// DatabaseSecretARN (or a name) is DATABASE_SECRET_ARN.
	DatabaseSecretARN string
	// DatabaseIAMAuth is DATABASE_IAM_AUTH. It excludes DatabaseSecretARN.
	DatabaseIAMAuth bool
	// MaskSecretARN (or a name) is SLUICE_MASK_SECRET_ARN.
	MaskSecretARN string
	// Log gets a warning when a secret could not be read again.
	Log *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// AWS is needed where one of the above is set.
	AWS Loader
}

// Credentials are the sources of an installation's secrets.
type Credentials struct {
	Database *Database
	MaskKeys *MaskKeys
}

// New makes the sources. It asks nobody: each is fetched when it is needed.
func New(o Options) *Credentials {
	c := &clock{now: o.Now}
	if c.now == nil {
		c.now = time.Now
	}
	if o.AWS == nil {
		o.AWS = Environment(nil)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &account{load: o.AWS}
	return &Credentials{
		Database: &Database{source: databaseSource(o, a, c)},
		MaskKeys: newMaskKeys(o, a, c),
	}
}

func databaseSource(o Options, a *account, c *clock) source {
	switch {
	case o.DatabaseSecretARN != "":
		return newSecretLogin(&secret{account: a, variable: "DATABASE_SECRET_ARN", id: o.DatabaseSecretARN}, c, o.Log)
	case o.DatabaseIAMAuth:
		return &iamLogin{account: a, clock: c}
	default:
		return urlLogin{}
	}
}

// Database says who connects to the database. It is safe for concurrent use.
type Database struct{ source source }

type source interface {
	fetch(ctx context.Context, url login.Login) (login.Login, error)
	refresh(ctx context.Context, used login.Login) (login.Login, error)
}

// Fetch returns the login for a new connection: url is what DATABASE_URL
// says, and what a secret says goes before it.
func (d *Database) Fetch(ctx context.Context, url login.Login) (login.Login, error) {
	return d.source.fetch(ctx, url)
}

// Refresh returns another login after the server refused one (SQLSTATE 28P01
// or 28000), or an error that says why there is no other.
func (d *Database) Refresh(ctx context.Context, used login.Login) (login.Login, error) {
	return d.source.refresh(ctx, used)
}

// urlLogin is what DATABASE_URL says and nothing else.
type urlLogin struct{}

func (urlLogin) fetch(_ context.Context, url login.Login) (login.Login, error) { return url, nil }

func (urlLogin) refresh(context.Context, login.Login) (login.Login, error) {
	return login.Login{}, operator("check the user and the password in DATABASE_URL")
}

// clock tells the time of day. Without Round a Time also holds a count of
// seconds that stands still while Lambda has the process frozen.
type clock struct{ now func() time.Time }

func (c *clock) time() time.Time { return c.now().Round(0) }

// since is never negative: a clock that was set back makes things old, not new.
func (c *clock) since(t time.Time) time.Duration {
	if d := c.time().Sub(t); d >= 0 {
		return d
	}
	return forever
}

const forever = 1<<63 - 1
