// Package wait holds the pauses between tries: one wait that ends with its
// context, one jitter, so that many processes that met the same outage do
// not come back in step, and how people read a duration. It is a leaf that every package may import.
package wait

import (
	"context"
	"fmt"
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

// Text returns a duration as people write it, as in 15 s, 3 min 20 s and 12 h.
func Text(d time.Duration) string {
	if d < time.Second {
		return "less than a second"
	}
	d = d.Round(time.Second)
	hours, minutes, seconds := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case hours == 0 && seconds == 0:
		return fmt.Sprintf("%d min", minutes)
	case hours == 0:
		return fmt.Sprintf("%d min %d s", minutes, seconds)
	case minutes == 0:
		return fmt.Sprintf("%d h", hours)
	default:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	}
}
