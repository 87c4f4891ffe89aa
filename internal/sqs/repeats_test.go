package sqs_test

import (
	"testing"
	"time"

	"sluice/internal/sqs"
)

// After 5 minutes SQS takes an id afresh, and it need not be known any more.
func TestRepeats(t *testing.T) {
	t.Parallel()
	var r sqs.Repeats
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
		if got := r.Again(tt.id, time.Unix(0, 0).Add(tt.after)); got != tt.again || r.Known() != tt.known {
			t.Errorf("step %d: got %v, and %d ids are known", i, got, r.Known())
		}
	}
}
