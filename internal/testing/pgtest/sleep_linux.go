package pgtest

import (
	"syscall"
	"time"
)

// sleepUntil waits until a time. time.Sleep would be up to a millisecond late, which is as long as
// many networks take.
func sleepUntil(due time.Time) {
	for left := time.Until(due); left > 0; left = time.Until(due) {
		ts := syscall.NsecToTimespec(left.Nanoseconds())
		_ = syscall.Nanosleep(&ts, nil) // a signal ends it too early
	}
}
