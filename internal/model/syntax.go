package model

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/message"
)

// syntaxWords say in our words what the decoder's errors end with. The errors themselves quote the
// body, so of an error that ends otherwise only the byte is told.
var syntaxWords = []struct{ ends, means string }{
	{"after object value (expecting ',' or '}')", "a comma or } is missing"},
	{"after array element (expecting ',' or ']')", "a comma or ] is missing"},
	{"after object name (expecting ':')", "a colon is missing"},
	{`at start of string (expecting '"')`, "a name in double quotes is missing"},
	{"at start of value", wordsNoValue},
	{"in string (expecting non-control character)", "a line break or control character in a string; JSON has an escape for it"},
	{"in string", "an escape that JSON does not have"},
	{"in number (expecting digit)", "a digit is missing"},
	{"invalid UTF-8", "it is not UTF-8"},
	{"exceeded max depth", "it is nested too deep"},
}

// The words that more than one error has, or none.
const (
	wordsNoValue   = "no JSON value begins here"
	wordsUnquoted  = "a word without double quotes"
	wordsEmpty     = "it is empty"
	wordsEndsEarly = "it ends too early"
	wordsGoesOn    = "more text follows the JSON value"
)

// rejectSyntax turns a decoder's error about a text into a rejection that has where and why, and
// nothing of the text.
func rejectSyntax(text []byte, err error) message.Rejection {
	why := message.Rejection{Reason: message.ReasonNotJSON}
	found, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		why.Reason = message.ReasonDuplicateKey
	case errors.Is(err, io.EOF):
		why.Detail = wordsEmpty
		return why
	case errors.Is(err, io.ErrUnexpectedEOF):
		why.Detail, why.Byte = wordsEndsEarly, len(text)
		return why
	case ok && found.Err != nil:
		said := found.Err.Error()
		for _, known := range syntaxWords {
			if strings.HasSuffix(said, known.ends) {
				why.Detail = known.means
				break
			}
		}
		if strings.Contains(said, "in literal") || why.Detail == wordsNoValue && isLetter(text[found.ByteOffset]) {
			why.Detail = wordsUnquoted
		}
	}
	if ok {
		why.Byte = int(found.ByteOffset) + 1
	}
	return why
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// goesOn is the rejection of a text with something after its first value, which ends at an offset.
func goesOn(text []byte, end int) message.Rejection {
	end += len(text[end:]) - len(bytes.TrimLeft(text[end:], " \t\r\n"))
	return message.Rejection{Reason: message.ReasonNotJSON, Detail: wordsGoesOn, Byte: end + 1}
}

// CheckJSON reports whether a text is one JSON value, and if it is not, where it stops being one. It
// is what a message needs for any model; a name that comes twice is for the models to reject.
func CheckJSON(text []byte) message.Rejection {
	value := bytes.TrimPrefix(text, bom)
	dec := jsontext.NewDecoder(bytes.NewBuffer(value), jsontext.AllowDuplicateNames(true))
	_, err := dec.ReadValue()
	end := int(dec.InputOffset())
	var why message.Rejection
	if err != nil {
		why = rejectSyntax(value, err)
	} else if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		why = goesOn(value, end)
	}
	return *moved(why, len(text)-len(value))
}

// moved returns a rejection of a text with as many bytes before it.
func moved(why message.Rejection, before int) *message.Rejection {
	if why.Byte > 0 {
		why.Byte += before
	}
	return &why
}
