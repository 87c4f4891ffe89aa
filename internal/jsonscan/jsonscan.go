// Package jsonscan finds the parts of a JSON text whose syntax jsontext has checked. That makes it
// small and fast: it checks nothing again. On any other text its functions may panic, but for those
// that say what they do with it.
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

// StringEnd returns the offset after the string that begins at an offset, or the length of the text if
// the string has no end.
func StringEnd(text []byte, at int) int {
	n := bytes.IndexByte(text[at+1:], '"')
	if end := at + 1 + n; n >= 0 && text[end-1] != '\\' {
		return end + 1
	}
	return escapedEnd(text, at+1)
}

// escapedEnd returns the offset after a string, given an offset in it.
func escapedEnd(text []byte, at int) int {
	for ; ; at++ {
		n := bytes.IndexByte(text[at:], '"')
		if n < 0 {
			return len(text)
		}
		at += n
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
// It also takes a text whose syntax is not known. Then ok is true only if a string of valid Unicode
// begins at the offset.
//
// It copies eight bytes at once up to the next quote or backslash. In the body of an SQS message,
// which is JSON in a JSON string, that is up to every quote.
func AppendString(dst, text []byte, at int) (out []byte, end int, ok bool) {
	start, from, n := len(dst), at, len(dst)
	if at >= len(text) || text[at] != '"' {
		return dst, at, false
	}
	dst = dst[:cap(dst)]
	var seen uint64 // all bytes, to know whether one is not ASCII
	for at++; at < len(text); {
		if len(dst)-n < 8 {
			dst = slices.Grow(dst[:n], min(len(text)-at+8, 2*n+512))
			dst = dst[:cap(dst)]
		}
		if at+8 <= len(text) {
			eight := binary.LittleEndian.Uint64(text[at:])
			binary.LittleEndian.PutUint64(dst[n:], eight)
			stops := equal(eight, '"') | equal(eight, '\\') | less(eight, ' ')
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
		case c < ' ':
			return dst[:start], at, false
		case c != '\\': // near the end of the text
			dst[n] = c
			seen |= uint64(c)
			at++
		case at+1 == len(text):
			return dst[:start], at, false
		case text[at+1] == 'u':
			// Few texts have these. Their pairs of surrogates are jsontext's work.
			end = StringEnd(text, from)
			out, err := jsontext.AppendUnquote(dst[:start], text[from:end])
			if err != nil {
				return dst[:start], end, false
			}
			return out, end, true
		case escapes[text[at+1]] == 0:
			return dst[:start], at, false
		default:
			dst[n] = escapes[text[at+1]]
			at += 2
		}
		n++
	}
	return dst[:start], at, false
}

// IsPlain reports whether a text can be the characters of a string as they are: it has no control
// character, no quote and no backslash. It may have any byte that is not ASCII.
func IsPlain(text []byte) bool {
	var stops uint64
	for ; len(text) >= 8; text = text[8:] {
		eight := binary.LittleEndian.Uint64(text)
		stops |= equal(eight, '"') | equal(eight, '\\') | less(eight, ' ')
	}
	for _, c := range text {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return stops == 0
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

// less sets the high bit of the bytes of x that are less than c, which is ASCII. Of the bytes after the
// first such one, it may set it for others too.
func less(x uint64, c byte) uint64 {
	return (x - ones*uint64(c)) &^ x & (ones * 0x80)
}
