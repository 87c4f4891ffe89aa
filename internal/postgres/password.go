package postgres

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// passwords returns the forms of a password to try. SCRAM has it prepared by SASLprep (RFC 4013,
// section 2), as the server and libpq do: pg_saslprep() in src/common/saslprep.c. pgx normalizes by
// the newer OpaqueString profile (RFC 8265), which keeps what SASLprep maps: for "x²" the server
// expects "x2".
//
// MD5 and clear text use a password as it is written, and only the server's request shows which of
// these it wants. The server also takes a password as it is written that SASLprep does not allow;
// pgx still composes that, so a password with such a character and with another one that is not
// composed is refused.
func passwords(text string) []string {
	if prepared := norm.NFKC.String(strings.Map(saslprep, text)); prepared != text {
		return []string{prepared, text}
	}
	return []string{text}
}

// saslprep is the mapping of SASLprep, which RFC 3454 lists: table C.1.2 has what becomes a space,
// and table B.1 what becomes nothing.
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
