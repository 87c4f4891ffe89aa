package model

import "bytes"

// member is one member of an object whose syntax has been checked, which makes walking it this
// simple.
type member struct {
	name  []byte // with its quotes; nil after the last member
	value []byte
	end   int // offset after the value
}

// firstMember returns the first member of a valid JSON object.
func firstMember(object []byte) member { return memberAt(object, 1) }

// next returns the member after m.
func (m member) next(object []byte) member { return memberAt(object, m.end) }

func memberAt(object []byte, at int) member {
	at = skipSpace(object, at)
	if object[at] == ',' {
		at = skipSpace(object, at+1)
	}
	if object[at] == '}' {
		return member{}
	}
	nameEnd := stringEnd(object, at)
	start := skipSpace(object, skipSpace(object, nameEnd)+1) // after the colon
	end := valueEnd(object, start)
	return member{object[at:nameEnd], object[start:end], end}
}

func skipSpace(text []byte, at int) int {
	for text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r' {
		at++
	}
	return at
}

// stringEnd returns the offset after the string that begins at an offset.
func stringEnd(text []byte, at int) int {
	for at++; ; at++ {
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

// valueEnd returns the offset after the value that begins at an offset.
func valueEnd(text []byte, at int) int {
	switch text[at] {
	case '"':
		return stringEnd(text, at)
	case '{', '[':
		for depth := 0; ; {
			switch text[at] {
			case '"':
				at = stringEnd(text, at)
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
		for bytes.IndexByte(valueEnds, text[at]) < 0 {
			at++
		}
		return at
	}
}

// valueEnds are the characters that end a number or a literal.
var valueEnds = []byte(",}] \t\n\r")
