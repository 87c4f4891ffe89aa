// Package wait holds the pauses between tries: one wait that ends with its
// context, and one jitter, so that many processes that met the same outage do
// not come back in step. It is a leaf that every package may import.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d. It returns the context's error if that ends first, and at
// once if it has ended already.
func For(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Jitter returns a random duration from half of d to d.
func Jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(max(0, d/2)+1) //nolint:gosec // no secret
}
