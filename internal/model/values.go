package model

import (
	"bytes"
	"strconv"
	"time"

	"github.com/google/uuid"

	"sluice/internal/batch"
	"sluice/internal/message"
)

func asciiSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// version checks a version and returns the digits of its major number: ASCII
// digits, any number of .digits, and maybe a suffix that - or + begins.
// ASCII white space around does not count.
func version(text []byte) (major []byte, ok bool) {
	text = bytes.TrimFunc(text, asciiSpace)
	n := digits(text)
	major, text = text[:n], text[n:]
	for n > 0 && len(text) > 0 && text[0] == '.' {
		if n = digits(text[1:]); n > 0 {
			text = text[1+n:]
		}
	}
	if n == 0 {
		return nil, false
	}
	if len(text) == 0 {
		return major, true
	}
	if text[0] != '-' && text[0] != '+' {
		return nil, false
	}
	for _, c := range text[1:] {
		if !isDigit(c) && (c < 'A' || 'Z' < c) && (c < 'a' || 'z' < c) && c != '.' && c != '+' && c != '-' {
			return nil, false
		}
	}
	return major, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func digits(text []byte) int {
	n := 0
	for n < len(text) && isDigit(text[n]) {
		n++
	}
	return n
}

// integer appends a JSON number that is written as an integer.
func integer(b *batch.Batch, t SQLType, v []byte) message.Reason {
	switch {
	case v[0] != '-' && !isDigit(v[0]):
		return message.ReasonWrongType
	case bytes.ContainsAny(v, ".eE"):
		return message.ReasonNotInteger
	default:
		return appendInteger(b, t, v)
	}
}

// appendInteger appends digits, with a sign or not, that fit the column.
func appendInteger(b *batch.Batch, t SQLType, digits []byte) message.Reason {
	n, err := strconv.ParseInt(string(digits), 10, 64)
	limit := limits[t.Base]
	switch {
	case err != nil || n < limit[0] || n > limit[1]:
		return message.ReasonOutOfRange
	case t.Base == "bigint":
		b.Int8(n)
	default:
		b.Int4(int32(n)) //nolint:gosec // inside the limits
	}
	return ""
}

// Limits of a numeric without a precision, far inside those of Postgres.
const (
	maxNumericDigits = 1000
	maxExponent      = 10_000
)

// numeric appends a JSON number digit for digit. More digits before or behind
// the point than the column has reject; Postgres would round them.
func numeric(b *batch.Batch, t SQLType, v []byte) message.Reason {
	if v[0] != '-' && !isDigit(v[0]) {
		return message.ReasonWrongType
	}
	mantissa, exponent, far := v, 0, false
	if i := bytes.IndexAny(v, "eE"); i >= 0 {
		n, err := strconv.Atoi(string(v[i+1:]))
		mantissa, exponent, far = v[:i], n, err != nil || n > maxExponent || n < -maxExponent
	}
	zero := len(bytes.Trim(mantissa, "-0.")) == 0
	switch {
	case zero && (far || len(v) > maxNumericDigits):
		b.String("0") // Postgres refuses 0e-99999
		return ""
	case zero: // however it is written
		b.Bytes(v)
		return ""
	case far:
		return message.ReasonOutOfRange
	}
	whole, fraction, _ := bytes.Cut(bytes.TrimPrefix(mantissa, []byte("-")), []byte("."))
	fraction = bytes.TrimRight(fraction, "0")
	before := len(whole) + exponent // digits before the point
	significant := bytes.TrimLeft(whole, "0")
	if len(significant) == 0 {
		leading := len(fraction) - len(bytes.TrimLeft(fraction, "0"))
		before = exponent - leading
	}
	after := len(fraction) - exponent // and behind it
	if len(fraction) == 0 {
		after = -(len(whole) - len(bytes.TrimRight(whole, "0"))) - exponent
	}
	limitBefore, limitAfter := maxNumericDigits, maxNumericDigits
	if t.Length > 0 {
		limitBefore, limitAfter = t.Length-t.Scale, t.Scale
	}
	if before > limitBefore || after > limitAfter {
		return message.ReasonOutOfRange
	}
	b.Bytes(v)
	return ""
}

// timestamp reads an RFC 3339 time. time.Parse alone takes more than that:
// hours of one digit, a comma before the fraction, zones beyond a day.
func timestamp(text []byte) (time.Time, bool) {
	if len(text) < len("2026-01-31T12:00:00Z") || text[10] != 'T' || text[13] != ':' || text[19] == ',' {
		return time.Time{}, false
	}
	if zone := text[len(text)-6:]; text[len(text)-1] != 'Z' && (string(zone[1:3]) > "23" || string(zone[4:6]) > "59") {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, string(text))
	return at, err == nil
}

// date reads a day as RFC 3339 writes it.
func date(text []byte) (time.Time, bool) {
	if len(text) != len(time.DateOnly) {
		return time.Time{}, false
	}
	at, err := time.Parse(time.DateOnly, string(text))
	return at, err == nil
}

// parseUUID reads the form of 36 characters, in upper or lower case.
func parseUUID(text []byte) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.UUID{}, false
	}
	id, err := uuid.ParseBytes(text)
	return id, err == nil
}

// maxJSONDepth bounds the nesting of a json column. Postgres parses it by
// recursion and gives up somewhere beyond a thousand (54001).
const maxJSONDepth = 200

// rawJSON appends a JSON value as it was sent; the decoder has checked it.
func rawJSON(b *batch.Batch, v []byte) message.Reason {
	depth, quoted := 0, false
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\':
			i++
			if bytes.HasPrefix(v[i:], []byte("u0000")) {
				return message.ReasonNUL
			}
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				return message.ReasonTooDeep
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	b.Bytes(v)
	return ""
}
