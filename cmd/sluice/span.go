package main

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// span is a duration as people write it: 90m, 36h, 2d, 1w, 1d12h. A day has 24 hours.
type span time.Duration

// UnmarshalText implements encoding.TextUnmarshaler: Go's form, and Prometheus's, which has days and
// weeks.
func (s *span) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		var days model.Duration
		days, err = model.ParseDuration(string(text))
		d = time.Duration(days)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a duration; expected numbers with units, as in 90m, 36h, 2d, 1w or 1d12h", text)
	case d < 0:
		return fmt.Errorf("%q is negative; expected how long ago, as in 36h or 2d", text)
	}
	*s = span(d)
	return nil
}
