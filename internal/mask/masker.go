package mask

import (
	"crypto/sha256"
	"encoding/binary"
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
	return appendHex(dst, &m.sum)
}

// appendHex appends a sum in lower-case hex, as hex.AppendEncode, which takes a tenth of the time that
// a mask does.
func appendHex(dst []byte, sum *[sha256.Size]byte) []byte {
	for i := 0; i < len(sum); i += 4 {
		// Eight digits at once: spread them over eight bytes, and add to each the distance to its
		// character, which is greater from ten on.
		x := uint64(binary.BigEndian.Uint32(sum[i:]))
		x = (x | x<<16) & 0x0000ffff0000ffff
		x = (x | x<<8) & 0x00ff00ff00ff00ff
		x = (x | x<<4) & 0x0f0f0f0f0f0f0f0f
		const each = 0x0101010101010101
		letters := (x + 6*each) >> 4 & each
		x += '0'*each + letters*('a'-10-'0')
		dst = binary.BigEndian.AppendUint64(dst, x)
	}
	return dst
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
