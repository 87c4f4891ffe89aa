package model

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/jsonscan"
)

// Path is a singular query of JSONPath (RFC 9535): it finds at most one value of a document.
type Path []Segment

// Segment is one step of a path: to the member of a name, or to an element of an array.
type Segment struct {
	Name  string
	Index int // of an element, counted from the end if negative; it counts if Name is ""
	// Element is true for a step to an element: a member's name can be empty.
	Element bool
	// Any: it is any element. No path of a model has such a step.
	Any bool
}

// These bound paths: a body is walked once, and once more for each array whose end counts.
const (
	maxPathSegments = 32
	maxPathIndex    = 1_000_000
)

// String returns the path in its usual form, with names in brackets where they need quotes.
func (p Path) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, s := range p {
		switch {
		case s.Any:
			b.WriteString(elementsSuffix)
		case s.Element:
			fmt.Fprintf(&b, "[%d]", s.Index)
		case isShorthand(s.Name):
			b.WriteString("." + s.Name)
		default:
			quoted, _ := jsontext.AppendQuote(nil, s.Name)
			name := strings.ReplaceAll(string(quoted[1:len(quoted)-1]), `\"`, `"`)
			b.WriteString("['" + strings.ReplaceAll(name, "'", `\'`) + "']")
		}
	}
	return b.String()
}

// isShorthand reports whether a name can follow a point.
func isShorthand(name string) bool {
	if name == "" || isDigit(name[0]) {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool {
		return r < utf8.RuneSelf && !strings.ContainsRune(wordCharacters, r) || r == utf8.RuneError
	}) < 0
}

var errNotSingular = errors.New("only names and indexes can follow the $, since a field has one value; wildcards, slices, filters and .. find several")

// parsePath reads a path.
func parsePath(text string) (Path, error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, errors.New(`it does not begin with $, the root of the body, as in $.customer.city or "$['odd name'][0]"`)
	}
	var p Path
	for rest != "" {
		if len(p) == maxPathSegments {
			return nil, fmt.Errorf("it has more than %d steps", maxPathSegments)
		}
		var s Segment
		var err error
		switch trimmed := strings.TrimLeft(rest, " \t\r\n"); {
		case trimmed == "":
			return nil, errors.New("white space follows its last step; remove it")
		case trimmed[0] == '.':
			s, rest, err = shorthand(trimmed[1:])
		case trimmed[0] == '[':
			s, rest, err = bracketed(trimmed[1:])
		default:
			return nil, errors.New("after the $, each step is .name, ['name'] or [0]")
		}
		if err != nil {
			return nil, err
		}
		p = append(p, s)
	}
	return p, nil
}

// shorthand reads the name after a point.
func shorthand(text string) (s Segment, rest string, err error) {
	end := strings.IndexFunc(text, func(r rune) bool { return r < utf8.RuneSelf && !strings.ContainsRune(wordCharacters, r) })
	if end < 0 {
		end = len(text)
	}
	switch name := text[:end]; {
	case name == "" && (strings.HasPrefix(text, ".") || strings.HasPrefix(text, "*")):
		return s, "", errNotSingular
	case !isShorthand(name):
		return s, "", errors.New(`a name after a point has letters, digits and _ and does not begin with a digit; write others in brackets and quotes, as in "$['odd name']"`)
	default:
		return Segment{Name: name}, text[end:], nil
	}
}

// bracketed reads a name or an index after a bracket, up to the closing one.
func bracketed(text string) (s Segment, rest string, err error) {
	text = strings.TrimLeft(text, " \t\r\n")
	if text != "" && (text[0] == '\'' || text[0] == '"') {
		s.Name, text, err = quotedName(text)
	} else {
		s, text, err = index(text)
	}
	if err != nil {
		return s, "", err
	}
	rest, ok := strings.CutPrefix(strings.TrimLeft(text, " \t\r\n"), "]")
	if !ok {
		return s, "", errors.New("a bracket holds one name in quotes or one index, and is closed by ]")
	}
	return s, rest, nil
}

// quotedName reads a name in single or double quotes. Its escapes are those of JSON, and \' in single
// quotes.
func quotedName(text string) (name, rest string, err error) {
	quote := text[0]
	quoted := []byte{'"'}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == quote:
			unquoted, err := jsontext.AppendUnquote(nil, append(quoted, '"'))
			if err != nil || strings.ContainsRune(string(unquoted), utf8.RuneError) {
				return "", "", errors.New("a name in it has an escape that JSON does not know, or a control character")
			}
			return string(unquoted), text[i+1:], nil
		case c == '\\' && i+1 < len(text) && text[i+1] == '\'' && quote == '\'':
			quoted = append(quoted, '\'')
			i++
		case c == '\\' && i+1 < len(text) && (text[i+1] != '"' || quote == '"'):
			quoted = append(quoted, c, text[i+1])
			i++
		case c == '"':
			quoted = append(quoted, '\\', c)
		default:
			quoted = append(quoted, c)
		}
	}
	return "", "", errors.New("a quote in it is not closed")
}

// index reads the index of an element.
func index(text string) (s Segment, rest string, err error) {
	n := 0
	for n < len(text) && (isDigit(text[n]) || n == 0 && text[n] == '-') {
		n++
	}
	digits := strings.TrimPrefix(text[:n], "-")
	s = Segment{Element: true}
	switch {
	case digits == "" && text != "" && strings.ContainsRune("*?:", rune(text[0])), n < len(text) && text[n] == ':', n < len(text) && text[n] == ',':
		return s, "", errNotSingular
	case digits == "":
		return s, "", errors.New("a bracket holds one name in quotes or one index, as in ['name'] or [0]")
	case digits[0] == '0' && text[:n] != "0":
		return s, "", errors.New("an index has no leading zero, and is not -0")
	}
	if s.Index, err = strconv.Atoi(text[:n]); err != nil || s.Index > maxPathIndex || s.Index < -maxPathIndex {
		return s, "", fmt.Errorf("an index is at most %d", maxPathIndex)
	}
	return s, text[n:], nil
}

// null reports whether a path ends early in a valid document, at a null after n of its steps.
func (p Path) null(document []byte) (n int, null bool) {
	v := document
	for ; n < len(p) && len(v) > 0 && v[0] != 'n'; n++ {
		v = p[n].of(v)
	}
	return n, len(v) > 0 && v[0] == 'n'
}

// only returns the value of a path in a valid document, nil for null. ok is false if some object on the
// way has the name twice.
func (p Path) only(document []byte) (v []byte, ok bool) {
	v = document
	for _, s := range p {
		if len(v) == 0 {
			return nil, true
		}
		if s.twice(v) {
			return nil, false
		}
		v = s.of(v)
	}
	if len(v) == 0 || v[0] == 'n' {
		return nil, true
	}
	return v, true
}

// twice reports whether an object has the name of a step twice.
func (s Segment) twice(v []byte) bool {
	n := 0
	if !s.Element && v[0] == '{' {
		for m := jsonscan.FirstMember(v); m.Name != nil; m = m.Next(v) {
			if name, _ := jsontext.AppendUnquote(nil, m.Name); string(name) == s.Name {
				n++
			}
		}
	}
	return n > 1
}

// of returns the value that a step leads to, nil if there is none.
func (s Segment) of(v []byte) []byte {
	switch {
	case s.Element && v[0] == '[':
		i := s.Index
		if i < 0 {
			i += arrayLength(v, 0)
		}
		for at := jsonscan.Space(v, 1); v[at] != ']'; i-- {
			end := jsonscan.ValueEnd(v, at)
			if i == 0 {
				return v[at:end]
			}
			if at = jsonscan.Space(v, end); v[at] == ',' {
				at = jsonscan.Space(v, at+1)
			}
		}
	case !s.Element && v[0] == '{':
		for m := jsonscan.FirstMember(v); m.Name != nil; m = m.Next(v) {
			if name, _ := jsontext.AppendUnquote(nil, m.Name); string(name) == s.Name {
				return m.Value
			}
		}
	}
	return nil
}
