// Package mask masks personal values, and has Personal, the type that holds a raw one. It is the
// only code that reads a value once it is a Personal.
//
// A mask is the keyed pseudonym of a value, 64 characters of lower-case hex:
//
//	hmac-sha256  HMAC-SHA256(subkey, canonical text), with
//	             subkey = HMAC-SHA256(key, "sluice/v1:" + domain)
//	sha256       SHA-256(canonical text); can be brute-forced
//
// The domain gives equal values of two fields different masks, so that nobody can join data that
// was not meant to be joined.
//
// It imports no other package of sluice.
package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
)

// Size is the length of a mask in characters.
const Size = 2 * sha256.Size

// UnkeyedID is the key's id on rows that were masked without a key.
const UnkeyedID = "sha256"

// maxIDLength is the length that the column mask_key can hold.
const maxIDLength = 32

// Keyring holds the mask keys. The first one masks; the others only answer look-ups, until the rows
// that they masked are gone. It is immutable and safe for concurrent use.
type Keyring struct {
	keys []key // empty: unkeyed
}

type key struct {
	id     string
	secret Personal // not personal, but must not be printed either
}

// Unkeyed returns the keyring for existing tables that hold plain SHA-256. Anyone can brute-force
// it: all IPv4 addresses take a second.
func Unkeyed() *Keyring { return &Keyring{} }

// Keyed reports whether the keyring has a key.
func (k Keyring) Keyed() bool { return len(k.keys) > 0 }

// ParseKeys reads "k2:text,k1:text". Errors name ids and lengths, never a key's text.
func ParseKeys(list string) (*Keyring, error) {
	var k Keyring
	for i, part := range strings.Split(list, ",") {
		id, text, found := strings.Cut(part, ":")
		if !found {
			return nil, fmt.Errorf("entry %d of the list has no colon; each is id:key, and a key in a list cannot contain a comma", i+1)
		}
		id = strings.TrimSpace(id)
		if validID(id) && twoKeys(text) {
			return nil, fmt.Errorf("key %s has what looks like another key after a semicolon; separate keys with a comma", id)
		}
		if err := k.add(id, text); err != nil {
			return nil, err
		}
	}
	return &k, nil
}

// twoKeys reports whether a key has a semicolon where a comma was meant: both parts could be keys.
func twoKeys(text string) bool {
	first, second, _ := strings.Cut(text, ";")
	id, rest, _ := strings.Cut(second, ":")
	return validID(strings.TrimSpace(id)) && problem(first) == "" && problem(rest) == ""
}

// ParseSecret reads the JSON of a secret, {"primary":"k2","k2":"text","k1":"text"}.
func ParseSecret(text []byte) (*Keyring, error) {
	var texts map[string]string
	if json.Unmarshal(text, &texts) != nil { // its error may quote the text
		return nil, errors.New(`it is not a JSON object of strings, each name once, and nothing else; it must look like {"primary":"k1","k1":"…"}`)
	}
	primary := texts["primary"]
	if primary == "" {
		return nil, errors.New(`it names no primary key: add "primary":"<id>"`)
	}
	delete(texts, "primary")
	if _, ok := texts[primary]; !ok {
		return nil, errors.New(`"primary" names a key that is not in it`)
	}
	ids := slices.Sorted(maps.Keys(texts))
	ids = append([]string{primary}, slices.DeleteFunc(ids, func(id string) bool { return id == primary })...)
	var k Keyring
	for _, id := range ids {
		if err := k.add(id, texts[id]); err != nil {
			return nil, err
		}
	}
	return &k, nil
}

func (k *Keyring) add(id, text string) error {
	if !validID(id) {
		return fmt.Errorf("key %d has an invalid id; use 1 to %d of the characters a-z A-Z 0-9 _ . -, and neither %q nor \"primary\"", len(k.keys)+1, maxIDLength, UnkeyedID)
	}
	for _, other := range k.keys {
		if other.id == id {
			return fmt.Errorf("key %s is given twice", id)
		}
	}
	if wrong := problem(text); wrong != "" {
		return fmt.Errorf("key %s %s", id, wrong)
	}
	for _, other := range k.keys {
		if string(other.secret.text()) == text {
			return fmt.Errorf("keys %s and %s are the same; each id needs a key of its own", other.id, id)
		}
	}
	k.keys = append(k.keys, key{id, PersonalText([]byte(text))})
	return nil
}

func validID(id string) bool {
	if id == "" || len(id) > maxIDLength || id == UnkeyedID || id == "primary" {
		return false
	}
	return strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == ""
}

// ID returns the id of the key that masks, UnkeyedID if there is none.
func (k *Keyring) ID() string { return k.IDs()[0] }

// IDs lists the ids of all keys, the one that masks first.
func (k Keyring) IDs() []string {
	if !k.Keyed() {
		return []string{UnkeyedID}
	}
	ids := make([]string, len(k.keys))
	for i := range k.keys {
		ids[i] = k.keys[i].id
	}
	return ids
}

// Warning describes what makes the masks weak, and what to do about it. Both are empty if nothing
// does.
func (k *Keyring) Warning() (what, remedy string) {
	if !k.Keyed() {
		return "masks are unkeyed SHA-256, which anyone can brute-force", "use SLUICE_MASK_KEYS instead of SLUICE_MASK=sha256, unless an existing table needs them"
	}
	for i := range k.keys {
		if published(string(k.keys[i].secret.text())) {
			return "the mask key " + k.keys[i].id + " is the one of sluice's published examples, so anyone can check a guess", "replace it, unless these are tests; " + makesKey
		}
	}
	return "", ""
}

// Masker returns the Masker of a domain for the key that masks.
func (k *Keyring) Masker(domain string) *Masker { return k.Maskers(domain)[0] }

// Maskers returns one Masker per key, in the order of IDs.
func (k *Keyring) Maskers(domain string) []*Masker {
	if !k.Keyed() {
		return []*Masker{{}}
	}
	all := make([]*Masker, len(k.keys))
	for i := range k.keys {
		derive := hmac.New(sha256.New, k.keys[i].secret.text())
		derive.Write([]byte("sluice/v1:" + domain))
		all[i] = &Masker{hmac: hmac.New(sha256.New, derive.Sum(nil))}
	}
	return all
}

// String names the ids, so that printing a Keyring shows no key.
func (k Keyring) String() string { return "mask keys " + strings.Join(k.IDs(), ", ") }

// Format is String, for every verb.
func (k Keyring) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }
