package infer

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// maxName is the length of Postgres's identifiers.
const maxName = 63

// dataNames are the forms of data that an object may be keyed by.
var dataNames = regexp.MustCompile(`(?i)[0-9]{4}` + // ids, years, phone numbers
	`|^[^\p{L}_$@#/:-]|^-[0-9]` + // a number, and what is no word
	`|^.+@` + // an e-mail address
	`|^[0-9a-f]{2}([:-][0-9a-f]{2}){3,}$` + // a MAC address
	`|^[0-9a-f-]{16,}$` + // a hash, a UUID
	`|^[a-z]{1,12}([-:#/.][0-9]+|_[0-9]{2,})[a-z]*$` + // u-1, user_17
	`|^(https?|arn|urn|mailto|tel):` +
	`|[0-9].*[0-9].*[a-z].*[0-9].*[0-9]|[a-z][0-9]+[a-z][0-9]+[a-z0-9]*[0-9]`) // a random text

// LooksLikeData reports whether the name of a member looks like a value (an id, an address, a date,
// a number) that somebody keyed an object by, and not like a word of a program. Such a name is never
// printed. Names that look like words may be data too: see Rare.
func LooksLikeData(name string) bool {
	if name == "" || len(name) > maxName || strings.Count(name, " ") > 2 || dataNames.MatchString(name) {
		return true
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Co)
	}) {
		return true
	}
	_, notAddress := netip.ParseAddr(name)
	return notAddress == nil
}

// Rare reports whether a name that occurs in n of so many bodies occurs in too few of them to be
// told from data.
func Rare(n, bodies int) bool { return bodies >= 10 && (n < 2 || n*200 < bodies) }

// Hidden is printed instead of names that look like data.
const Hidden = "*"

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
