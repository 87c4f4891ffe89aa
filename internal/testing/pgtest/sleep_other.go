//go:build !linux

package pgtest

import "time"

// sleepUntil waits until a time.
func sleepUntil(due time.Time) { time.Sleep(time.Until(due)) }
