package infer

import (
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxName is the length of Postgres's identifiers.
const maxName = 63

// words splits a name into lower-case words of a to z and digits: userID and "User Id" are user, id.
func words(name string) (all []string) {
	var word []rune
	end := func() {
		if len(word) > 0 {
			all = append(all, string(word))
		}
		word = word[:0]
	}
	runes := []rune(norm.NFKD.String(strings.ReplaceAll(name, "ß", "ss")))
	for i, r := range runes {
		switch {
		case unicode.Is(unicode.Mn, r): // an accent
		case r > unicode.MaxASCII, !unicode.IsLetter(r) && !unicode.IsDigit(r):
			end()
		case unicode.IsUpper(r):
			// A word begins after a lower-case letter, and at the last capital of several: userID, IPAddress.
			if i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
				end()
			}
			word = append(word, unicode.ToLower(r))
		default:
			word = append(word, r)
		}
	}
	end()
	return all
}

// systemColumns cannot be the names of columns.
var systemColumns = map[string]bool{"tableoid": true, "xmin": true, "cmin": true, "xmax": true, "cmax": true, "ctid": true}

// identifiers gives out names that are valid in SQL, each once.
type identifiers map[string]bool

// take returns an identifier for a path: the first of the candidates that is free, or the last one
// with a number.
func (ids identifiers) take(candidates ...[]string) string {
	name := ""
	for _, path := range candidates {
		name = identifier(path)
		if !ids[name] {
			ids[name] = true
			return name
		}
	}
	for n := 2; ; n++ {
		suffix := "_" + strconv.Itoa(n)
		numbered := name[:min(len(name), maxName-len(suffix))] + suffix
		if !ids[numbered] {
			ids[numbered] = true
			return numbered
		}
	}
}

// identifier returns a name in snake case, "field" if nothing of the path can be written in ASCII.
func identifier(path []string) string {
	var all []string
	for _, name := range path {
		all = append(all, words(name)...)
	}
	name := strings.Join(all, "_")
	switch {
	case name == "":
		name = "field"
	case unicode.IsDigit(rune(name[0])):
		name = "_" + name
	case systemColumns[name]:
		name += "_"
	}
	return strings.TrimRight(name[:min(len(name), maxName-len("masked_"))], "_") + strings.Repeat("_", trailing(name))
}

// trailing returns 1 for the name of a system column that was changed.
func trailing(name string) int {
	if systemColumns[strings.TrimSuffix(name, "_")] {
		return 1
	}
	return 0
}
