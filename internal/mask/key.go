package mask

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// What a key must have. HMAC-SHA256 is as strong as its key, up to 32 bytes.
const (
	minKeyBytes = 32
	// minKeyCharacters is the least number of distinct characters. A random key of 32 hex digits
	// has fewer once in a hundred million times.
	minKeyCharacters = 8
)

// makesKey ends an error about a key that can only be replaced.
const makesKey = "`openssl rand -hex 32` makes one"

// problem describes what is wrong with the text of a key, "" if nothing is. It quotes nothing of
// the text.
//
// A stray character, such as the quotes of an env file that is read without a shell, would make it
// another key: each spelling has its own masks, and rows of one person would no longer join.
func problem(text string) string {
	first, _ := utf8.DecodeRuneInString(text)
	last, _ := utf8.DecodeLastRuneInString(text)
	switch {
	case text == "":
		return "is empty; " + makesKey
	case mark(first) != "":
		return "begins with " + mark(first) + ": remove it"
	case mark(last) != "":
		return "ends with " + mark(last) + ": remove it"
	case strings.ContainsFunc(text, unicode.IsControl):
		return "contains a control character, such as a line break: remove it"
	case reference().MatchString(text):
		return "is a reference that was not resolved; set the key itself"
	case comment().MatchString(text):
		return "contains a comment: remove it"
	case len(text) < minKeyBytes:
		return fmt.Sprintf("has %d bytes, want at least %d; %s", len(text), minKeyBytes, makesKey)
	case distinct(text) < minKeyCharacters:
		return fmt.Sprintf("has %d distinct characters, want at least %d; %s", distinct(text), minKeyCharacters, makesKey)
	case placeholder(text):
		return "is a placeholder, which anyone can guess; " + makesKey
	}
	return ""
}

// mark names a character that no key begins or ends with; it returns "" for others.
func mark(r rune) string {
	switch {
	case unicode.IsSpace(r):
		return "white space"
	case unicode.Is(unicode.Quotation_Mark, r), strings.ContainsRune("`´′″", r):
		return "a quote"
	case r == utf8.RuneError: // a quote of Windows-1252, a byte order mark of UTF-16
		return "a character that is not UTF-8"
	case !unicode.IsPrint(r): // a control character, a byte order mark, a character without width
		return "an invisible character"
	default:
		return ""
	}
}

// comment matches the sign of a comment with white space beside it. Without white space the sign may be
// a character of a random key.
var comment = sync.OnceValue(func() *regexp.Regexp {
	const sign, space = `(?:#|//|--|;|/\*|\*/|<!--|-->)`, `[\s\p{Z}]`
	return regexp.MustCompile(space + sign + `|` + sign + space)
})

// reference matches what some tool should have replaced by a key:
// CloudFormation's {{resolve:…}} and !Ref, ${NAME}, $(command), {{template}},
// %NAME%, $NAME, ((name)), #{name}, __NAME__, @Microsoft.KeyVault(…), the ARN of a secret,
// a URL such as op://…, a path such as /run/secrets/….
var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\{\{\s*resolve:|^\$?\{.*\}$|^\$\(.*\)$|^%\w+%$|^\$\w+$|^!(?:Ref|Sub|GetAtt|ImportValue)\b|^arn:[a-z-]+:|^[a-z][a-z0-9+.-]+://` +
		`|^\(\(.*\)\)$|^#\{.*\}#?$|^__\w+__$|^@Microsoft\.|^(?:vault|ssm|secretsmanager|file):|^/(?:run|var|etc|mnt|home)/`)
})

// distinct counts the distinct characters of a text.
func distinct(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}

// placeholders are what people write instead of a key, in lower case and without separators. Each is so
// long that no random key contains it.
var placeholders = []string{
	"changeme", "changethis", "changeit", "replaceme", "replacethis", "replacewith", "fillmein", "fillthisin", "insertkey", "insertyour", "putyour",
	"replaceby", "secretkey", "verysecret", "topsecret", "testkey", "testing", "password", "passphrase", "redacted", "undefined", "todotodo",
	"yourkey", "yoursecret", "yourmask", "yourown", "yourrandom", "keyhere", "secrethere", "keygoeshere", "placeholder", "dummykey", "dummysecret",
	"example", "notasecret", "donotuse", "supersecret", "loremipsum", "correcthorse", "opensslrand", "atleast32",
	"1234567890", "abcdefghij", "qwertyuiop",
	// The hashes of nothing: what sha256sum and md5sum print when their input is missing.
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "d41d8cd98f00b204e9800998ecf8427e",
}

// placeholder reports whether a text only stands for a key: by its words, in angle brackets, or padded
// with one character.
func placeholder(text string) bool {
	if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
		return true
	}
	words := strings.Map(func(r rune) rune {
		if r = unicode.ToLower(r); unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, text)
	for _, p := range placeholders {
		if strings.Contains(words, p) {
			return true
		}
	}
	const padding = 8
	run, before := 0, rune(-1)
	for _, r := range text {
		if r != before {
			run, before = 0, r
		}
		if run++; run == padding {
			return true
		}
	}
	return false
}

// published reports whether a key is the one of the documentation and the tests: the hex digits, repeated.
func published(text string) bool {
	const digits = "0123456789abcdef"
	return strings.Trim(strings.ReplaceAll(strings.ToLower(text), digits, " "), " ") == ""
}
