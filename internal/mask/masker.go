package mask

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"net/netip"
	"unicode"
	"unsafe"
)

// Masker makes the masks of one domain under one key. It keeps the hash's state between calls, so
// it is for one goroutine.
type Masker struct {
	hmac hash.Hash // nil: unkeyed
	sum  [sha256.Size]byte
	text []byte
}

// append appends the mask of a canonical text.
func (m *Masker) append(dst, canonical []byte) []byte {
	if m.hmac == nil {
		m.sum = sha256.Sum256(canonical)
	} else {
		m.hmac.Reset()
		m.hmac.Write(canonical)
		m.hmac.Sum(m.sum[:0])
	}
	return hex.AppendEncode(dst, m.sum[:])
}

// AppendText appends the mask of the text exactly as it is.
func (m *Masker) AppendText(dst []byte, p Personal) ([]byte, error) {
	return m.append(dst, p.text()), nil
}

// AppendIP appends the mask of an IP address in canonical form, so that one address has one mask in
// all its spellings. It ignores ASCII white space around it, and treats an IPv4-mapped IPv6 address
// as its IPv4 address. Zones, ports, prefixes, lists and leading zeros are errors.
func (m *Masker) AppendIP(dst []byte, p Personal) ([]byte, error) {
	text := bytes.TrimFunc(p.text(), asciiSpace)
	if len(text) == 0 || len(text) > 45 { // the longest: an IPv4-mapped IPv6 address in full
		return dst, ErrNotIP
	}
	// ParseAddr keeps its argument only in an error, which is dropped here (it quotes the text). So
	// the copy that string(text) would make per message is not needed.
	addr, err := netip.ParseAddr(unsafe.String(&text[0], len(text))) //nolint:gosec // see above
	if err != nil || addr.Zone() != "" {
		return dst, ErrNotIP
	}
	m.text = addr.Unmap().AppendTo(m.text[:0])
	return m.append(dst, m.text), nil
}

// AppendEmail appends the mask of an e-mail address. It ignores ASCII white space around it and
// lower-cases ASCII letters, so that one mailbox has one mask however people spell it. (RFC 5321
// lets the part before the @ be case-sensitive; no major provider uses that.)
func (m *Masker) AppendEmail(dst []byte, p Personal) ([]byte, error) {
	text := bytes.TrimFunc(p.text(), asciiSpace)
	at := bytes.IndexByte(text, '@')
	if at <= 0 || at != bytes.LastIndexByte(text, '@') || at == len(text)-1 || len(text) > 254 {
		return dst, ErrNotEmail
	}
	if bytes.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == ',' || r == ';' }) {
		return dst, ErrNotEmail
	}
	m.text = m.text[:0]
	for _, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		m.text = append(m.text, c)
	}
	return m.append(dst, m.text), nil
}

func asciiSpace(r rune) bool { return r == ' ' || '\t' <= r && r <= '\r' }
