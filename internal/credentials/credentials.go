// Package credentials gets the secrets that sluice works with from AWS: the
// login of the database, from Secrets Manager or as a token of IAM, and the
// keys that mask, from Secrets Manager.
//
//	Database.Fetch ──┐   cached for minutes,      ┌── Secrets Manager
//	Database.Refresh ┼── fetched by one caller ───┤
//	MaskKeys.Keyring ┘   at a time                └── IAM (signs locally)
//
// What must be true:
//
//   - Nothing is loaded, and AWS is not asked, before a secret is needed.
//   - If reading a secret again fails, the old value is still served, and the
//     failure is logged. When the database refuses a login, the secret is read
//     again at once, but at most every 5 seconds, however many connections are
//     refused.
//   - No call outlives its context, and none takes longer than 7 seconds.
//   - No error, log line or print of anything here holds text of a secret.
//
// Errors are fault.Error. The package does not write or rotate secrets, and does
// not know pgx: internal/postgres applies the login. internal/app, which assembles
// the mains, and the command line import it, and sqs for the form of a region and
// for what AWS answers.
package credentials

import (
	"context"
	"log/slog"
	"time"

	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/fault"
)

// Options says where secrets are. The zero value has none: the database's login
// is the one in its URL.
type Options struct {
	// DatabaseSecretARN (or a name) is DATABASE_SECRET_ARN.
	DatabaseSecretARN string
	// DatabaseIAMAuth is DATABASE_IAM_AUTH. It excludes DatabaseSecretARN.
	DatabaseIAMAuth bool
	// MaskSecretARN (or a name) is SLUICE_MASK_SECRET_ARN.
	MaskSecretARN string
	// Names are what errors call the settings; only URL is used.
	Names fault.Names
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

// New makes the sources, without any call: each secret is fetched when it is needed.
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
		return newSecretLogin(&secret{account: a, setting: "DATABASE_SECRET_ARN", id: o.DatabaseSecretARN}, c, o)
	case o.DatabaseIAMAuth:
		return &iamLogin{account: a, clock: c, url: o.Names.URL}
	default:
		return urlLogin{o.Names.URL}
	}
}

// Database provides the login of the database. It is safe for concurrent use.
type Database struct{ source source }

type source interface {
	fetch(ctx context.Context, url login.Login) (login.Login, error)
	refresh(ctx context.Context, used login.Login) (login.Login, error)
}

// Fetch returns the login for a new connection: that of the database's URL, in
// which the values of a secret replace those of the URL.
func (d *Database) Fetch(ctx context.Context, url login.Login) (login.Login, error) {
	return d.source.fetch(ctx, url)
}

// Refresh returns another login after the server refused one (SQLSTATE 28P01
// or 28000), or an error that says why there is no other.
func (d *Database) Refresh(ctx context.Context, used login.Login) (login.Login, error) {
	return d.source.refresh(ctx, used)
}

// urlLogin is the login in the database's URL. It holds the setting's name.
type urlLogin struct{ setting string }

func (urlLogin) fetch(_ context.Context, url login.Login) (login.Login, error) { return url, nil }

func (u urlLogin) refresh(context.Context, login.Login) (login.Login, error) {
	return login.Login{}, misconfigured("there is no other login", "check the user and the password in "+u.setting)
}

// clock tells the wall-clock time. Without Round a Time also holds a monotonic
// clock, which stands still while Lambda has frozen the process.
type clock struct{ now func() time.Time }

func (c *clock) time() time.Time { return c.now().Round(0) }

// since returns the time since t. It is never negative: a clock that was set
// back makes things old, not new.
func (c *clock) since(t time.Time) time.Duration {
	if d := c.time().Sub(t); d >= 0 {
		return d
	}
	return forever
}

const forever = 1<<63 - 1
