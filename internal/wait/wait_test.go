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

func TestText(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "less than a second", 400 * time.Millisecond: "less than a second", 15400 * time.Millisecond: "15 s", 90 * time.Second: "90 s",
		2 * time.Minute: "2 min", 200 * time.Second: "3 min 20 s", 12 * time.Hour: "12 h", 12*time.Hour + 5*time.Minute + time.Second: "12 h 5 min",
	} {
		if got := wait.Text(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
}
