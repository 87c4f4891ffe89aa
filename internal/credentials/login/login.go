// Package login holds one noun: a Login, which internal/credentials finds and internal/postgres
// connects with. It is a leaf, so that the store knows nothing of AWS and credentials nothing of
// Postgres.
package login

import (
	"fmt"
	"log/slog"
)

// Login is a way into a database. Logins are compared with Equal.
type Login struct {
	Host     string
	Port     uint16
	User     string
	Password Password
	// Database is empty if the server chooses.
	Database string
	// Verified: whatever goes to the host is encrypted, and its certificate proves that it is the
	// host.
	Verified bool
	// Several: the URL names more hosts than this one.
	Several bool
}

// Equal reports whether two logins are the same, passwords included.
func (l Login) Equal(other Login) bool {
	return l.Host == other.Host && l.Port == other.Port && l.User == other.User && l.Database == other.Database &&
		l.Verified == other.Verified && l.Several == other.Several && l.Password.Reveal() == other.Password.Reveal()
}

// redacted is what a password prints as.
const redacted = "[redacted]"

// Password holds the text of a password. Everything that prints, logs, formats or marshals it shows
// "[redacted]", also as a field of another struct and under %+v and %#v. The zero value is the
// empty password.
//
// It holds a pointer to a pointer, because fmt prints what one pointer points to when an unexported
// field meets a verb that does not fit it. It is incomparable, because == would compare the
// pointers.
type Password struct {
	_    [0]func()
	text **string
}

// NewPassword hides a text.
func NewPassword(text string) Password {
	p := &text
	return Password{text: &p}
}

// Reveal returns the text, to log in with.
func (p Password) Reveal() string {
	if p.text == nil {
		return ""
	}
	return **p.text
}

// Format implements fmt.Formatter, for every verb, %#v included.
func (Password) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements slog.LogValuer.
func (Password) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, for JSON, YAML and XML.
func (Password) MarshalText() ([]byte, error) { return []byte(redacted), nil }
