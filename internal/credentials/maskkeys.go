package credentials

import (
	"context"
	"crypto/sha256"
	"log/slog"

	"example.com/owner/sluice/internal/mask"
)

// MaskKeys provides the keys for masks, from SLUICE_MASK_SECRET_ARN. It is safe
// for concurrent use.
type MaskKeys struct{ cache *cache[ring] } // nil without such a secret

// ring is a keyring and what it was parsed from.
type ring struct {
	keys *mask.Keyring
	sum  [sha256.Size]byte
}

func newMaskKeys(o Options, a *account, c *clock) *MaskKeys {
	if o.MaskSecretARN == "" {
		return &MaskKeys{}
	}
	m := &MaskKeys{}
	s := &secret{account: a, setting: "SLUICE_MASK_SECRET_ARN", id: o.MaskSecretARN}
	m.cache = newCache(c, func(ctx context.Context) (ring, error) { return m.read(ctx, s, o.Log) }, s.warn(o.Log))
	return m
}

// Keyring returns the keys. They are read again when they are older than 5
// minutes; if that fails, the old ones are used, with a warning. The pointer
// stays the same as long as the secret's text does.
func (m *MaskKeys) Keyring(ctx context.Context) (*mask.Keyring, error) {
	if m.cache == nil {
		return nil, misconfigured("there is no key to mask personal fields with", "set SLUICE_MASK_SECRET_ARN or SLUICE_MASK_KEYS")
	}
	r, err := m.cache.get(ctx)
	if err != nil {
		return nil, err
	}
	return r.keys, nil
}

func (m *MaskKeys) read(ctx context.Context, s *secret, log *slog.Logger) (ring, error) {
	text, err := s.read(ctx)
	if err != nil {
		return ring{}, err
	}
	sum := sha256.Sum256(text)
	if old := m.cache.load(); old.have && old.value.sum == sum {
		return old.value, nil
	}
	keys, err := mask.ParseSecret(text)
	if err != nil {
		return ring{}, s.unusable(err)
	}
	if what, remedy := keys.Warning(); what != "" {
		log.WarnContext(ctx, "the masks are weak", "problem", what, "remedy", remedy)
	}
	return ring{keys, sum}, nil
}
