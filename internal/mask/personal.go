package mask

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"unicode"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// redacted is what a personal value prints as.
const redacted = "[redacted]"

// Errors about a raw value. They name the problem, never the value.
var (
	errNotText  = errors.New("not a valid JSON string")
	ErrNUL      = errors.New("holds a NUL character")
	ErrNotIP    = errors.New("not one IP address")
	ErrNotEmail = errors.New("not one e-mail address")
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

// PersonalText returns a Personal with a value that somebody typed, for look-ups.
func PersonalText(text []byte) Personal {
	r := &raw{bytes.Clone(text)}
	return Personal{&r}
}

func (p Personal) text() []byte { return (*p.v).text }

// SetJSON sets the value from a JSON string with its quotes.
func (p Personal) SetJSON(quoted []byte) error {
	text, err := jsontext.AppendUnquote(p.text()[:0], quoted)
	(*p.v).text = text
	switch {
	case err != nil:
		return errNotText
	case bytes.IndexByte(text, 0) >= 0:
		return ErrNUL
	default:
		return nil
	}
}

// Blank reports whether the value is only white space.
func (p Personal) Blank() bool {
	return len(bytes.TrimFunc(p.text(), unicode.IsSpace)) == 0
}

// AppendText appends the mask of the text exactly as it is.
func (m *Masker) AppendText(dst []byte, p Personal) ([]byte, error) {
	return m.append(dst, p.text()), nil
}

// AppendIP appends the mask of an IP address in canonical form, so that one address has one mask in
// all its spellings. It ignores ASCII white space around it, and treats an IPv4-mapped IPv6 address
// as its IPv4 address. Zones, ports, prefixes, lists and leading zeros are errors.
func (m *Masker) AppendIP(dst []byte, p Personal) ([]byte, error) {
	text := bytes.TrimFunc(p.text(), asciiSpace)
	if len(text) == 0 || len(text) > 45 { // the longest: an IPv4-mapped IPv6 address in full
		return dst, ErrNotIP
	}
	// ParseAddr keeps its argument only in an error, which is dropped here (it quotes the text). So
	// the copy that string(text) would make per message is not needed.
	addr, err := netip.ParseAddr(unsafe.String(&text[0], len(text))) //nolint:gosec // see above
	if err != nil || addr.Zone() != "" {
		return dst, ErrNotIP
	}
	m.text = addr.Unmap().AppendTo(m.text[:0])
	return m.append(dst, m.text), nil
}

// AppendEmail appends the mask of an e-mail address. It ignores ASCII white space around it and
// lower-cases ASCII letters, so that one mailbox has one mask however people spell it. (RFC 5321
// lets the part before the @ be case-sensitive; no major provider uses that.)
func (m *Masker) AppendEmail(dst []byte, p Personal) ([]byte, error) {
	text := bytes.TrimFunc(p.text(), asciiSpace)
	at := bytes.IndexByte(text, '@')
	if at <= 0 || at != bytes.LastIndexByte(text, '@') || at == len(text)-1 || len(text) > 254 {
		return dst, ErrNotEmail
	}
	if bytes.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == ',' || r == ';' }) {
		return dst, ErrNotEmail
	}
	m.text = m.text[:0]
	for _, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		m.text = append(m.text, c)
	}
	return m.append(dst, m.text), nil
}

func asciiSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

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
