package model

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"sluice/internal/batch"
	"sluice/internal/message"
)

// appendText appends a text that its column can hold.
func appendText(b *batch.Batch, c *Column, text []byte) message.Reason {
	if n := c.Type.Length; n > 0 && len(text) > n && utf8.RuneCount(text) > n {
		return message.ReasonTooLong
	}
	b.Bytes(text)
	return ""
}

// appendVersion appends a version, or its major number.
func appendVersion(b *batch.Batch, c *Column, text []byte) message.Reason {
	major, ok := version(text)
	switch {
	case !ok:
		return message.ReasonNotVersion
	case c.Major:
		return appendDigits(b, c, major)
	default:
		return appendText(b, c, text)
	}
}

func asciiSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }

// version checks a version and returns the digits of its major number. A version is ASCII digits,
// any number of .digits, and optionally a suffix that begins with - or +. ASCII white space around
// it is ignored.
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

// appendInteger appends a JSON number without fraction or exponent.
func appendInteger(b *batch.Batch, c *Column, v []byte) message.Reason {
	switch {
	case v[0] != '-' && !isDigit(v[0]):
		return message.ReasonWrongType
	case bytes.ContainsAny(v, ".eE"):
		return message.ReasonNotInteger
	default:
		return appendDigits(b, c, v)
	}
}

// bits are the sizes of the integer types.
var bits = map[string]int{"smallint": 16, "integer": 32, "bigint": 64}

// appendDigits appends an integer, with or without a sign, if the column can hold them.
func appendDigits(b *batch.Batch, c *Column, digits []byte) message.Reason {
	n, err := strconv.ParseInt(string(digits), 10, bits[c.Type.Base])
	switch {
	case err != nil:
		return message.ReasonOutOfRange
	case c.Type.Base == "bigint":
		b.Int8(n)
	default:
		b.Int4(int32(n)) //nolint:gosec // within its bits
	}
	return ""
}

// appendNumeric appends a JSON number digit for digit. It rejects more digits before or after the point
// than the column has; Postgres would round them.
func appendNumeric(b *batch.Batch, c *Column, v []byte) message.Reason {
	if v[0] != '-' && !isDigit(v[0]) {
		return message.ReasonWrongType
	}
	n := measure(v)
	switch {
	case n.zero && !n.bounded():
		b.String("0") // Postgres refuses 0e-99999
		return ""
	case n.zero: // however it is written
	case !n.bounded(), c.Type.Length > 0 && (n.before > c.Type.Length-c.Type.Scale || n.after > c.Type.Scale):
		return message.ReasonOutOfRange
	}
	b.Bytes(v)
	return ""
}

func appendBoolean(b *batch.Batch, _ *Column, v []byte) message.Reason {
	if v[0] != 't' && v[0] != 'f' {
		return message.ReasonWrongType
	}
	b.Bool(v[0] == 't')
	return ""
}

func appendTimestamp(b *batch.Batch, _ *Column, text []byte) message.Reason {
	at, ok := timestamp(text)
	if !ok {
		return message.ReasonNotTimestamp
	}
	b.Int8(at.UnixMicro() - batch.EpochMillis*1000) // Postgres keeps microseconds
	return ""
}

// timestamp reads an RFC 3339 time: T and Z may be lower case, and a leap second, at 23:59:60 UTC,
// is the second after it. time.Parse alone accepts neither of these, but does accept hours of one
// digit, a comma before the fraction, and zones beyond a day. The year must be one that every
// client of Postgres can read.
func timestamp(text []byte) (at time.Time, ok bool) {
	const seconds = len("2026-01-31T12:00:")
	if len(text) < len("2026-01-31T12:00:00Z") || text[13] != ':' || text[19] == ',' {
		return at, false
	}
	text = append(make([]byte, 0, 64), text...) // the body stays as it is
	if text[10] == 't' {
		text[10] = 'T'
	}
	switch zone := text[len(text)-len("+00:00"):]; {
	case zone[5] == 'z':
		zone[5] = 'Z'
	case zone[5] != 'Z' && (string(zone[1:3]) > "23" || string(zone[4:6]) > "59"):
		return at, false
	}
	leap := text[seconds] == '6' && text[seconds+1] == '0'
	if leap {
		text[seconds], text[seconds+1] = '5', '9'
	}
	at, err := time.Parse(time.RFC3339, string(text))
	at = at.UTC()
	if leap {
		if at.Hour() != 23 || at.Minute() != 59 {
			return at, false
		}
		at = at.Add(time.Second)
	}
	return at, err == nil && readable(at)
}

// readable reports whether a time has a year from 1 to 9999, which all clients can read. Postgres
// accepts others.
func readable(at time.Time) bool { return 1 <= at.Year() && at.Year() <= 9999 }

// appendDate appends a day in the form of RFC 3339.
func appendDate(b *batch.Batch, _ *Column, text []byte) message.Reason {
	at, err := time.Parse(time.DateOnly, string(text))
	if err != nil || len(text) != len(time.DateOnly) || !readable(at) {
		return message.ReasonNotDate
	}
	b.Int4(days(at.UnixMilli() - batch.EpochMillis))
	return ""
}

// appendUUID appends a UUID in the form of 36 characters, in upper or lower case.
func appendUUID(b *batch.Batch, _ *Column, text []byte) message.Reason {
	id, err := uuid.ParseBytes(text)
	if err != nil || len(text) != 36 {
		return message.ReasonNotUUID
	}
	b.Bytes(id[:])
	return ""
}
