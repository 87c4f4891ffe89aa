package postgres

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// passwords are the forms of a password to try. SCRAM has it prepared by
// SASLprep (RFC 4013, section 2), as the server and libpq do: pg_saslprep() in
// src/common/saslprep.c. pgx normalizes by the newer OpaqueString profile
// (RFC 8265), which keeps what SASLprep maps: for "x²" the server expects "x2".
//
// MD5 and passwords in clear text go as they are written, and which of these a
// server wants is known only when it asks. What SASLprep does not allow, the
// server takes as it is written, too; pgx still composes that, so a password
// with such a character and with another that is not composed is refused.
func passwords(text string) []string {
	if prepared := norm.NFKC.String(strings.Map(saslprep, text)); prepared != text {
		return []string{prepared, text}
	}
	return []string{text}
}

// saslprep is the mapping of SASLprep, which RFC 3454 lists: spaces in table
// C.1.2, and what becomes nothing in table B.1.
func saslprep(r rune) rune {
	switch {
	case r < 0xa0:
	case r == 0xa0, r == 0x1680, 0x2000 <= r && r <= 0x200b, r == 0x202f, r == 0x205f, r == 0x3000:
		return ' '
	case r == 0xad, r == 0x34f, r == 0x1806, 0x180b <= r && r <= 0x180d, r == 0x200c, r == 0x200d, r == 0x2060, 0xfe00 <= r && r <= 0xfe0f, r == 0xfeff:
		return -1
	}
	return r
}
