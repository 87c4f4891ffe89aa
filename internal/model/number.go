package model

import (
	"bytes"
	"cmp"
	"math"
)

// maxNumericDigits limits the digits before and after a number's point when it is written without
// an exponent, as Postgres prints it. Its own limits are 131,072 and 16,383 digits, which 1e131071
// reaches in eight characters.
const maxNumericDigits = 1000

// decimal is a JSON number in parts, 0.digits × 10^before. It points into the number's text.
type decimal struct {
	negative bool
	// whole and fraction are the digits before and after the point, without zeros at the beginning of
	// the number and at its end; both are empty for zero.
	whole, fraction []byte
	// before counts the digits before the point when the number is written without an exponent. It is
	// negative if there are zeros after the point: 1e-3 has -2.
	before int
	// scale counts the digits after that point, including zeros at the end, which Postgres keeps.
	scale int
}

// parseDecimal reads a valid JSON number.
func parseDecimal(v []byte) (d decimal) {
	v, d.negative = bytes.CutPrefix(v, []byte("-"))
	exponent := 0
	if i := bytes.IndexAny(v, "eE"); i >= 0 {
		v, exponent = v[:i], parseExponent(v[i+1:])
	}
	d.whole, d.fraction, _ = bytes.Cut(v, []byte("."))
	d.scale = max(0, len(d.fraction)-exponent)
	d.whole = bytes.TrimLeft(d.whole, "0")
	d.before = len(d.whole) + exponent
	if len(d.whole) == 0 {
		zeros := len(d.fraction)
		d.fraction = bytes.TrimLeft(d.fraction, "0")
		d.before -= zeros - len(d.fraction)
	}
	if d.fraction = bytes.TrimRight(d.fraction, "0"); len(d.fraction) == 0 {
		d.whole = bytes.TrimRight(d.whole, "0")
	}
	if d.zero() && exponent < farExponent { // Postgres cannot read a zero with that
		d.before = 0
	}
	return d
}

// len counts the digits, which are 0 for zero.
func (d decimal) len() int { return len(d.whole) + len(d.fraction) }

func (d decimal) zero() bool { return d.len() == 0 }

// after counts the digits after the point when the number is written without an exponent, without
// zeros at the end. It is negative if there are zeros before the point.
func (d decimal) after() int { return d.len() - d.before }

// bounded reports whether Postgres can read the number and prints it in a limited length.
func (d decimal) bounded() bool { return d.before <= maxNumericDigits && d.scale <= maxNumericDigits }

// length returns how many characters Postgres prints the number in.
func (d decimal) length() int {
	length := max(1, d.before)
	if d.scale > 0 {
		length += len(".") + d.scale
	}
	if d.negative && !d.zero() {
		length += len("-")
	}
	return length
}

// digit returns digit i, 0 after the last.
func (d decimal) digit(i int) byte {
	switch {
	case i < len(d.whole):
		return d.whole[i] - '0'
	case i < d.len():
		return d.fraction[i-len(d.whole)] - '0'
	default:
		return 0
	}
}

// sign is -1, 0 or 1.
func (d decimal) sign() int {
	switch {
	case d.zero():
		return 0
	case d.negative:
		return -1
	default:
		return 1
	}
}

// compare returns -1, 0 or 1, as cmp.Compare. It is exact, but for exponents beyond farExponent.
func (d decimal) compare(other decimal) int {
	s := d.sign()
	if s != other.sign() || s == 0 {
		return cmp.Compare(s, other.sign())
	}
	if d.before != other.before {
		return s * cmp.Compare(d.before, other.before)
	}
	for i := range max(d.len(), other.len()) {
		if a, b := d.digit(i), other.digit(i); a != b {
			return s * cmp.Compare(a, b)
		}
	}
	return 0
}

// integer returns the number × 10^shift, rounded down, and whether that is exact. ok is false if it is
// not an int64.
func (d decimal) integer(shift int) (n int64, exact, ok bool) {
	if d.zero() {
		return 0, true, true
	}
	before := d.before + shift
	if before > 19 {
		return 0, false, false
	}
	var u uint64 // at most 10^19 - 1
	for i := range max(0, before) {
		u = 10*u + uint64(d.digit(i))
	}
	exact = d.len() <= before
	if !d.negative {
		return int64(u), exact, u <= math.MaxInt64
	}
	if !exact {
		u++
	}
	return -int64(u), exact, u <= 1<<63 // the least int64 is its own negative
}

// farExponent stands for itself and all greater exponents. Postgres reads a zero with any smaller
// one.
const farExponent = 1_000_000_000

// parseExponent reads the exponent of a JSON number, limited to -farExponent and farExponent.
func parseExponent(text []byte) int {
	negative := text[0] == '-'
	n := 0
	for _, c := range bytes.TrimLeft(text, "+-") {
		n = min(10*n+int(c-'0'), farExponent)
	}
	if negative {
		return -n
	}
	return n
}

// inNumber reports whether a byte can occur in a JSON number after its first.
func inNumber(c byte) bool { return isDigit(c) || c == '.' || c|0x20 == 'e' || c == '+' || c == '-' }

// isNumber reports whether a text is a number as JSON writes it: no sign +, no leading zeros, a digit
// on both sides of the point.
func isNumber(text []byte) bool {
	text = bytes.TrimPrefix(text, []byte("-"))
	n := digits(text)
	if n == 0 || n > 1 && text[0] == '0' {
		return false
	}
	if text = text[n:]; len(text) > 0 && text[0] == '.' {
		if n = digits(text[1:]); n == 0 {
			return false
		}
		text = text[1+n:]
	}
	if len(text) > 0 && text[0]|0x20 == 'e' {
		if text = text[1:]; len(text) > 0 && (text[0] == '+' || text[0] == '-') {
			text = text[1:]
		}
		if n = digits(text); n == 0 {
			return false
		}
		text = text[n:]
	}
	return len(text) == 0
}
