package postgres

import (
	"slices"
	"sync"

	"github.com/xdg-go/stringprep"
)

// passwords are the forms of a password to try. SCRAM has it prepared by
// SASLprep (RFC 4013, section 2), as the server and libpq do: pg_saslprep() in
// src/common/saslprep.c. pgx normalizes by the newer OpaqueString profile
// (RFC 8265), which keeps what SASLprep maps: for "x²" the server expects "x2".
// MD5 and passwords in clear text go as they are written, and which of these a
// server wants is known only when it asks. What SASLprep does not allow the server
// takes as it is written; pgx still composes it, so a password with a character
// that is not allowed and with another that is not composed is refused.
func passwords(text string) []string {
	prepared, err := saslprep().Prepare(text)
	if err != nil || prepared == text {
		return []string{text}
	}
	return []string{prepared, text}
}

// saslprep is the library's profile with its two mappings in Postgres's order.
// One character, U+200B, is in both: a space first, and nothing else.
var saslprep = sync.OnceValue(func() stringprep.Profile {
	p := stringprep.SASLprep
	p.Mappings = slices.Clone(p.Mappings)
	slices.Reverse(p.Mappings)
	return p
})
