package main_test

import (
	"testing"
	"time"

	command "example.com/owner/sluice/cmd/sluice"
)

func TestSpan(t *testing.T) {
	t.Parallel()
	const hour, day = time.Hour, 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "36h": 36 * hour, "2d": 2 * day, "1w": 7 * day, "1d12h": 36 * hour, "1w2d3h4m5s": 9*day + 3*hour + 4*time.Minute + 5*time.Second,
		"1.5h": 90 * time.Minute, "0": 0, "0d": 0, // as before there were days
	} {
		var got command.Span
		if err := got.UnmarshalText([]byte(text)); err != nil || time.Duration(got) != want {
			t.Errorf("%s: got %v, %v", text, time.Duration(got), err)
		}
	}
	for _, text := range []string{"", "2", "d", "2 d", "2days", "12h1d", "-2d", "-3h", "9999999999w", "yesterday"} {
		var got command.Span
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is %v", text, time.Duration(got))
		}
	}
}
