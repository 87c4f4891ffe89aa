package wait_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/owner/sluice/internal/wait"
)

func TestFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := wait.For(t.Context(), time.Minute); err != nil || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, want := range []time.Duration{time.Second, 0} { // the second wait begins after the end
			began = time.Now()
			if err := wait.For(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != want {
				t.Errorf("got %v after %v, want %v", err, time.Since(began), want)
			}
		}
	})
}

func TestJitter(t *testing.T) {
	t.Parallel()
	for _, d := range []time.Duration{0, 1, 2, time.Second} {
		seen := map[time.Duration]bool{}
		for range 100 {
			got := wait.Jitter(d)
			if seen[got] = true; got < d/2 || got > d {
				t.Errorf("got %v of %v", got, d)
			}
		}
		if d == time.Second && len(seen) < 50 {
			t.Errorf("only %d different times of 100", len(seen))
		}
	}
}
