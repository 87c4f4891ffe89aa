package mask

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"unicode"
)

// redacted is what a personal value prints as.
const redacted = "[redacted]"

// Errors about a raw value. They name the problem, never the value.
var (
	ErrNotIP    = errors.New("not one IP address")
	errNotEmail = errors.New("not one e-mail address")
)

// Personal holds one raw personal value. Whatever prints, logs, formats or marshals it sees
// "[redacted]", also as a field of another struct and under %+v and %#v; a database driver gets an
// error. Only this package can read it.
//
// It is a struct because pgx would store a named string in clear. It holds a pointer to a pointer
// because fmt follows one pointer if an unexported field meets a verb that does not fit it.
type Personal struct{ v **raw }

type raw struct{ text []byte }

// NewPersonal returns an empty Personal, to be set again and again.
func NewPersonal() Personal { return PersonalText(nil) }

// PersonalText returns a Personal with a text that is not from a body: a value that somebody typed
// for a look-up, or a mask key.
func PersonalText(text []byte) Personal {
	r := &raw{bytes.Clone(text)}
	return Personal{&r}
}

func (p Personal) text() []byte { return (*p.v).text }

// SetText sets the value to a copy of a text.
func (p Personal) SetText(text []byte) { (*p.v).text = append((*p.v).text[:0], text...) }

// Blank reports whether the value is only white space.
func (p Personal) Blank() bool {
	return len(bytes.TrimFunc(p.text(), unicode.IsSpace)) == 0
}

// String implements fmt.Stringer.
func (Personal) String() string { return redacted }

// GoString implements fmt.GoStringer, for %#v.
func (Personal) GoString() string { return redacted }

// Format implements fmt.Formatter, for every verb.
func (Personal) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// LogValue implements slog.LogValuer.
func (Personal) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, for JSON, YAML and XML.
func (Personal) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Value implements driver.Valuer: a raw value is never a parameter.
func (Personal) Value() (driver.Value, error) {
	return nil, errors.New("a raw personal value cannot be stored")
}
