package model

import (
	"bytes"
	"strconv"

	"example.com/owner/sluice/internal/message"
)

// maxJSONDepth limits the nesting of a json column. Postgres parses it recursively and fails
// somewhere above a thousand (54001).
const maxJSONDepth = 200

// These limit what a json value prints by its size: jsonb keeps 1e131071 in a few bytes and prints
// 131,072 characters, and some thousands of them make a row that can be neither read nor dumped.
// Written without exponents, a value's numbers that have one take at most maxExpanded characters
// plus maxExpandedTimes the length of the value.
const (
	maxExpanded      = 16 * 1024
	maxExpandedTimes = 4
)

// appendJSON appends a JSON value as it was sent; the decoder has checked it. A json column has the
// limits of a jsonb column, because it may become one.
func appendJSON(t *target, v []byte) message.Reason {
	depth, expanded := 0, 0
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case c == '"':
			for i++; v[i] != '"'; i++ {
				if v[i] != '\\' {
					continue
				}
				if i++; bytes.HasPrefix(v[i:], []byte("u0000")) {
					return message.ReasonNUL
				}
			}
		case c == '-' || isDigit(c):
			start, exponent := i, false
			for ; i+1 < len(v) && inNumber(v[i+1]); i++ {
				exponent = exponent || v[i+1]|0x20 == 'e'
			}
			text := v[start : i+1]
			if !exponent && len(text) <= maxNumericDigits {
				continue
			}
			n := parseDecimal(text)
			if !n.bounded() {
				t.detail = "expected numbers with at most " + strconv.Itoa(maxNumericDigits) + " digits before and after the point"
				return message.ReasonOutOfRange
			}
			if exponent {
				expanded += n.length()
			}
		case c == '{' || c == '[':
			if depth++; depth > maxJSONDepth {
				t.detail = "expected at most " + strconv.Itoa(maxJSONDepth) + " objects and arrays in each other"
				return message.ReasonTooDeep
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	if expanded > maxExpanded+maxExpandedTimes*len(v) {
		t.detail = "expected numbers that are not much longer without their exponents"
		return message.ReasonOutOfRange
	}
	t.b.Bytes(v)
	return ""
}
