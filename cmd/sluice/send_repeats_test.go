package main_test

import (
	"testing"
	"time"

	main "example.com/owner/sluice/cmd/sluice"
)

// TestRepeats: after 5 minutes SQS takes an id again, and it is forgotten.
func TestRepeats(t *testing.T) {
	t.Parallel()
	var r main.Repeats
	for i, tt := range []struct {
		id    string
		after time.Duration
		again bool
		known int
	}{
		{"a", 0, false, 1},
		{"a", 4 * time.Minute, true, 1},
		{"b", 4 * time.Minute, false, 2},
		{"a", 5 * time.Minute, false, 2},
		{"a", 9 * time.Minute, true, 2},
		{"c", 10 * time.Minute, false, 1},
	} {
		if got := r.Take(tt.id, time.Unix(0, 0).Add(tt.after)); got != tt.again || r.Known() != tt.known {
			t.Errorf("step %d: got %v, and %d ids are known", i, got, r.Known())
		}
	}
}
