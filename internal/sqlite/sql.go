package sqlite

import (
	"regexp"
	"slices"
	"strings"
)

// token is a word or a symbol of SQL, in lower case, or quoted text without its quotes.
type token struct {
	text   string
	quoted bool
}

var (
	open, closing, comma = token{text: "("}, token{text: ")"}, token{text: ","}

	tokenForm = regexp.MustCompile(`--[^\n]*|(?s:/\*.*?\*/)|('(?:[^']|'')*'|"(?:[^"]|"")*"|` + "`(?:[^`]|``)*`" +
		`|\[[^\]]*\])|([A-Za-z_\x{80}-\x{10FFFF}][\w$\x{80}-\x{10FFFF}]*|\S)`)
)

// tokenize splits SQL into tokens, without comments.
func tokenize(sql string) (all []token) {
	for _, m := range tokenForm.FindAllStringSubmatch(sql, -1) {
		switch {
		case m[1] != "":
			all = append(all, token{strings.ToLower(unquote(m[1])), true})
		case m[2] != "":
			all = append(all, token{strings.ToLower(m[2]), false})
		}
	}
	return all
}

// unquote takes the quotes off a name.
func unquote(name string) string {
	quote := name[len(name)-1:]
	return strings.ReplaceAll(name[1:len(name)-1], quote+quote, quote)
}

// check is a CHECK of a table.
type check struct {
	name string
	text []token
}

// called reports whether SQLite calls the check by this name, or by its text if it has none. SQLite
// cuts a text that begins with a quoted name off after that.
func (c check) called(name string, text []token) bool {
	if c.name != "" {
		return strings.EqualFold(c.name, name)
	}
	return slices.Equal(c.text, text) || len(c.text) > 0 && c.text[0].quoted && c.text[0].text == strings.ToLower(name)
}

// readChecks finds the CHECKs in the SQL of a table. A constraint's name applies until the next
// comma.
func readChecks(table []token) (all []check) {
	name, depth, from := "", 0, 0
	for i, t := range table {
		switch {
		case t == open:
			if depth++; depth == 2 && table[i-1] == (token{text: "check"}) {
				from = i + 1
			}
		case t == closing:
			if depth--; depth == 1 && from > 0 {
				all = append(all, check{name, table[from:i]})
				from = 0
			}
		case t == comma && depth == 1:
			name = ""
		case depth == 1 && table[i-1] == (token{text: "constraint"}):
			name = t.text
		}
	}
	return all
}
