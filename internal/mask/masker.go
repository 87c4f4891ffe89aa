package mask

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
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

// AppendIP appends the mask of an IP address in the form of CanonicalIP.
func (m *Masker) AppendIP(dst []byte, p Personal) ([]byte, error) {
	return m.appendCanonical(dst, p, CanonicalIP)
}

// AppendEmail appends the mask of an e-mail address in the form of CanonicalEmail.
func (m *Masker) AppendEmail(dst []byte, p Personal) ([]byte, error) {
	return m.appendCanonical(dst, p, CanonicalEmail)
}

// AppendEmailIDNA appends the mask of an e-mail address in the form of CanonicalEmailIDNA.
func (m *Masker) AppendEmailIDNA(dst []byte, p Personal) ([]byte, error) {
	return m.appendCanonical(dst, p, CanonicalEmailIDNA)
}

func (m *Masker) appendCanonical(dst []byte, p Personal, canonical func(dst, text []byte) ([]byte, error)) (_ []byte, err error) {
	if m.text, err = canonical(m.text[:0], p.text()); err != nil {
		return dst, err
	}
	return m.append(dst, m.text), nil
}
