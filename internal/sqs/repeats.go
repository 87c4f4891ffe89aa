package sqs

import (
	"maps"
	"time"
)

// deduplicationTime is for how long a FIFO queue confirms what comes under a
// deduplication id that it has taken, and does not keep it.
const deduplicationTime = 5 * time.Minute

// Repeats tells what a FIFO queue has confirmed and not kept, which its answer
// does not: messages under a deduplication id that came shortly before. The
// zero value has seen none. It is not safe for concurrent use.
type Repeats struct {
	taken map[string]time.Time
	swept time.Time
}

// Again says whether an id was taken in the last 5 minutes, and takes it if not.
func (r *Repeats) Again(id string, now time.Time) bool {
	if r.taken == nil {
		r.taken, r.swept = map[string]time.Time{}, now
	}
	old := func(_ string, at time.Time) bool { return now.Sub(at) >= deduplicationTime }
	if old("", r.swept) { // a sender may have no end, and its memory must
		maps.DeleteFunc(r.taken, old)
		r.swept = now
	}
	if at, ok := r.taken[id]; ok && !old(id, at) {
		return true
	}
	r.taken[id] = now
	return false
}
