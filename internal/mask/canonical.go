package mask

import (
	"bytes"
	"net/netip"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// CanonicalIP appends an IP address in canonical form, so that one address is one text in all its
// spellings. It ignores ASCII white space around it, and treats an IPv4-mapped IPv6 address as its
// IPv4 address. Zones, ports, prefixes, lists and leading zeros are errors.
func CanonicalIP(dst, text []byte) ([]byte, error) {
	text = trim(text)
	if len(text) == 0 || len(text) > 45 { // the longest: an IPv4-mapped IPv6 address in full
		return dst, ErrNotIP
	}
	// ParseAddr keeps its argument only in an error, which is dropped here (it quotes the text). So
	// the copy that string(text) would make per message is not needed.
	addr, err := netip.ParseAddr(unsafe.String(&text[0], len(text))) //nolint:gosec // see above
	if err != nil || addr.Zone() != "" {
		return dst, ErrNotIP
	}
	return addr.Unmap().AppendTo(dst), nil
}

// maxEmail is the greatest length of an address in bytes, of RFC 5321.
const maxEmail = 254

// CanonicalEmail appends an e-mail address in lower case, as far as its letters are ASCII, so that
// one mailbox is one text however people spell it. It ignores ASCII white space around it. (RFC 5321
// lets the part before the @ be case-sensitive; no major provider uses that.)
func CanonicalEmail(dst, text []byte) ([]byte, error) {
	text = trim(text)
	if len(text) > maxEmail || splitEmail(text) < 0 {
		return dst, errNotEmail
	}
	return appendLower(dst, text), nil
}

// CanonicalEmailIDNA is CanonicalEmail for addresses with international domains: bücher.example,
// xn--bcher-kva.example, full-width letters, ideographic full stops and a dot at the end are one
// domain. An address in ASCII whose domain has neither a dot at its end nor a label that begins with
// xn-- is the same text as CanonicalEmail's.
//
// The domain takes the ASCII form of UTS #46, nontransitional: ß stays ß. The part before the @
// takes the form NFC, which RFC 6532 recommends; the same section advises against NFKC, which is for
// domains, and two mailboxes may differ in what NFKC makes equal.
func CanonicalEmailIDNA(dst, text []byte) ([]byte, error) {
	text = trim(text)
	at := splitEmail(text)
	if at < 0 || len(text) > utf8.UTFMax*maxEmail || !utf8.Valid(text) { // full-width letters take more bytes
		return dst, errNotEmail
	}
	start := len(dst)
	dst = appendLocal(dst, text[:at])
	dst, ok := appendDomain(append(dst, '@'), text[at+1:])
	if !ok || len(dst)-start > maxEmail {
		return dst[:start], errNotEmail
	}
	return dst, nil
}

// EmailInUnicode returns an e-mail address with its domain in Unicode letters, as it may have been
// masked by CanonicalEmail. It returns an address that has no such form as it is.
func EmailInUnicode(text []byte) []byte {
	at := bytes.LastIndexByte(text, '@')
	domain, err := lookup.ToUnicode(string(text[at+1:]))
	if err != nil { // it quotes the domain
		return text
	}
	return append(bytes.Clone(text[:at+1]), domain...)
}

// splitEmail returns the offset of the @ of an e-mail address, -1 if it is not one.
func splitEmail(text []byte) int {
	at := bytes.IndexByte(text, '@')
	if at <= 0 || at != bytes.LastIndexByte(text, '@') || at == len(text)-1 {
		return -1
	}
	if bytes.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == ',' || r == ';' }) {
		return -1
	}
	return at
}

func appendLocal(dst, local []byte) []byte {
	if isASCII(local) {
		return appendLower(dst, local)
	}
	start := len(dst)
	dst = norm.NFC.Append(dst, local...)
	lower := appendLower(dst[:start], dst[start:]) // in place
	// A letter in lower case may have a composed form that it lacks in upper case: H and U+0331.
	if !norm.NFC.IsNormal(lower[start:]) {
		lower = append(lower[:start], norm.NFC.Bytes(lower[start:])...)
	}
	return lower
}

// lookup is the profile for looking up a domain name.
var lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false), idna.VerifyDNSLength(true))

func appendDomain(dst, domain []byte) ([]byte, bool) {
	for _, dot := range []string{".", "\u3002", "\uff0e", "\uff61"} {
		if cut, found := bytes.CutSuffix(domain, []byte(dot)); found {
			domain = cut
			break
		}
	}
	start := len(dst)
	dst = appendLower(dst, domain)
	if lower := dst[start:]; !isASCII(lower) || bytes.HasPrefix(lower, []byte("xn--")) || bytes.Contains(lower, []byte(".xn--")) {
		// UTS #46 maps the capital ẞ to ss up to Unicode 15.0, and to ß since. A new release of Go must
		// not change masks.
		lower = bytes.ReplaceAll(lower, []byte("ẞ"), []byte("ß"))
		ascii, err := lookup.ToASCII(string(lower))
		if err != nil { // it quotes the domain
			return dst, false
		}
		// The library applies the Bidi rule to a name before it maps its letters: ℵ is א then.
		if again, err := lookup.ToASCII(ascii); err != nil || again != ascii {
			return dst, false
		}
		dst = append(dst[:start], ascii...)
	}
	return dst, len(dst) > start && dst[len(dst)-1] != '.'
}

func appendLower(dst, text []byte) []byte {
	for _, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func isASCII(text []byte) bool {
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// trim returns a text without the ASCII white space around it.
func trim(text []byte) []byte {
	for len(text) > 0 && asciiSpace(text[0]) {
		text = text[1:]
	}
	for len(text) > 0 && asciiSpace(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	return text
}

func asciiSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
