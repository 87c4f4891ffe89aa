package model

import "bytes"

// maxNumericDigits limits the digits before and after a number's point when it is written without
// an exponent, as Postgres prints it. Its own limits are 131,072 and 16,383 digits, which 1e131071
// reaches in eight characters.
const maxNumericDigits = 1000

// number is the size of a JSON number that is written without an exponent.
type number struct {
	negative, zero bool
	// before and after count the digits before and after the point, without leading and trailing
	// zeros. They are negative if the number ends or begins further away: 1e-3 has -2 before it.
	before, after int
	// scale counts those after the point including trailing zeros, which Postgres keeps.
	scale int
}

// bounded reports whether Postgres can read the number and prints it in a limited length.
func (n number) bounded() bool { return n.before <= maxNumericDigits && n.scale <= maxNumericDigits }

// length returns how many characters Postgres prints the number in.
func (n number) length() int {
	length := max(1, n.before)
	if n.scale > 0 {
		length += len(".") + n.scale
	}
	if n.negative && !n.zero {
		length += len("-")
	}
	return length
}

// measure returns the size of a valid JSON number.
func measure(v []byte) (n number) {
	mantissa, negative := bytes.CutPrefix(v, []byte("-"))
	exponent := 0
	if i := bytes.IndexAny(mantissa, "eE"); i >= 0 {
		mantissa, exponent = mantissa[:i], parseExponent(mantissa[i+1:])
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	n.negative, n.scale = negative, max(0, len(fraction)-exponent)
	whole, fraction = bytes.TrimLeft(whole, "0"), bytes.TrimRight(fraction, "0")
	switch {
	case len(whole) > 0:
		n.before = len(whole) + exponent
	case len(fraction) > 0:
		n.before = exponent - (len(fraction) - len(bytes.TrimLeft(fraction, "0")))
	default:
		n.zero = true
		if exponent == farExponent {
			n.before = farExponent // a zero, but Postgres cannot read it
		}
	}
	n.after = len(fraction) - exponent
	if len(fraction) == 0 {
		n.after = len(bytes.TrimRight(whole, "0")) - len(whole) - exponent
	}
	return n
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
