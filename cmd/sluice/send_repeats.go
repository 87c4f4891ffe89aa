package main

import (
	"maps"
	"time"
)

// deduplicationTime is how long a FIFO queue confirms a message under a
// deduplication id that it has taken, without keeping the message.
const deduplicationTime = 5 * time.Minute

// repeats knows which deduplication ids a FIFO queue has taken shortly before:
// its answer does not tell. The zero value knows none.
type repeats struct {
	taken map[string]time.Time
	swept time.Time
}

// take reports whether an id was taken in the last 5 minutes, and takes it if not.
func (r *repeats) take(id string, now time.Time) (again bool) {
	if r.taken == nil {
		r.taken, r.swept = map[string]time.Time{}, now
	}
	old := func(_ string, at time.Time) bool { return now.Sub(at) >= deduplicationTime }
	if old("", r.swept) { // the input may have no end, and this memory must
		maps.DeleteFunc(r.taken, old)
		r.swept = now
	}
	if at, ok := r.taken[id]; ok && !old(id, at) {
		return true
	}
	r.taken[id] = now
	return false
}
