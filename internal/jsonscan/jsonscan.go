// Package jsonscan finds the parts of a JSON text whose syntax jsontext has checked. That makes it
// small and fast: it checks nothing again, and on any other text its functions may panic.
//
// It imports no other package of sluice.
package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Space returns the offset after the white space at an offset.
func Space(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r' {
		at++
	}
	return at
}

// Member is one member of an object.
type Member struct {
	Name  []byte // with its quotes; nil after the last member
	Value []byte
	end   int // offset after the value
}

// FirstMember returns the first member of an object.
func FirstMember(object []byte) Member { return memberAt(object, 1) }

// Next returns the member after m.
func (m Member) Next(object []byte) Member { return memberAt(object, m.end) }

func memberAt(object []byte, at int) Member {
	at = Space(object, at)
	if object[at] == ',' {
		at = Space(object, at+1)
	}
	if object[at] == '}' {
		return Member{}
	}
	nameEnd := StringEnd(object, at)
	start := Space(object, Space(object, nameEnd)+1) // after the colon
	end := ValueEnd(object, start)
	return Member{object[at:nameEnd], object[start:end], end}
}

// StringEnd returns the offset after the string that begins at an offset.
func StringEnd(text []byte, at int) int {
	end := at + 1 + bytes.IndexByte(text[at+1:], '"')
	if text[end-1] == '\\' {
		return escapedEnd(text, end)
	}
	return end + 1
}

// escapedEnd returns the offset after a string, given the offset of a quote in it or at its end.
func escapedEnd(text []byte, at int) int {
	for ; ; at++ {
		at += bytes.IndexByte(text[at:], '"')
		escapes := 0
		for text[at-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return at + 1
		}
	}
}

// ValueEnd returns the offset after the value that begins at an offset.
func ValueEnd(text []byte, at int) int {
	switch text[at] {
	case '"':
		return StringEnd(text, at)
	case '{', '[':
		for depth := 0; ; {
			switch text[at] {
			case '"':
				at = StringEnd(text, at)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			at++
			if depth == 0 {
				return at
			}
		}
	default:
		for at < len(text) && bytes.IndexByte(valueEnds, text[at]) < 0 {
			at++
		}
		return at
	}
}

// valueEnds are the characters that end a number or a literal.
var valueEnds = []byte(",}] \t\n\r")

// AppendString appends the characters of the string that begins at an offset, and returns the offset
// after it. ok is false for a string that is not valid Unicode, of which nothing is appended: it has
// bytes that are not UTF-8, or half of a surrogate pair.
//
// It copies eight bytes at once up to the next quote or backslash. In the body of an SQS message,
// which is JSON in a JSON string, that is up to every quote.
func AppendString(dst, text []byte, at int) (out []byte, end int, ok bool) {
	start, from, n := len(dst), at, len(dst)
	dst = dst[:cap(dst)]
	var seen uint64 // all bytes, to know whether one is not ASCII
	for at++; ; {
		if len(dst)-n < 8 {
			dst = slices.Grow(dst[:n], min(len(text)-at+8, 2*n+512))
			dst = dst[:cap(dst)]
		}
		if at+8 <= len(text) {
			eight := binary.LittleEndian.Uint64(text[at:])
			binary.LittleEndian.PutUint64(dst[n:], eight)
			stops := equal(eight, '"') | equal(eight, '\\')
			if stops == 0 {
				seen |= eight
				at, n = at+8, n+8
				continue
			}
			i := bits.TrailingZeros64(stops) / 8
			seen |= eight & (1<<(8*i) - 1)
			at, n = at+i, n+i
		}
		switch c := text[at]; {
		case c == '"':
			if seen&(ones*utf8.RuneSelf) != 0 && !utf8.Valid(dst[start:n]) {
				return dst[:start], at + 1, false
			}
			return dst[:n], at + 1, true
		case c != '\\': // near the end of the text
			dst[n] = c
			seen |= uint64(c)
			at++
		case text[at+1] == 'u':
			// Few texts have these. Their pairs of surrogates are jsontext's work.
			end = StringEnd(text, from)
			out, err := jsontext.AppendUnquote(dst[:start], text[from:end])
			if err != nil {
				return dst[:start], end, false
			}
			return out, end, true
		default:
			dst[n] = escapes[text[at+1]]
			at += 2
		}
		n++
	}
}

// escapes are the characters that escapes of two characters stand for.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// ones has a one in each of eight bytes.
const ones = 0x0101010101010101

// equal sets the high bit of the bytes of x that equal c, which is ASCII. Of the bytes after the first
// such one, it may set it for others too.
func equal(x uint64, c byte) uint64 {
	x ^= ones * uint64(c)
	return (x - ones) &^ x & (ones * 0x80)
}
