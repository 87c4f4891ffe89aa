package consume

import (
	"context"
	"sync/atomic"
	"time"

	"example.com/owner/sluice/internal/sqs"
)

// ending is the end of a run.
type ending struct {
	begun bool
	// stopping is the same, for other goroutines.
	stopping atomic.Bool
	err      error // why, if it is one
	// When to cancel transactions, and everything; zero for not yet.
	cancelAt, killAt time.Time
	cancelPings      context.CancelFunc
}

// end begins the end: nothing is received any more, what is in no batch is returned, and what has
// begun gets the time that the options grant. Only the first reason counts.
func (r *run) end(ctx context.Context, why Ended, err error) {
	if e := &r.ending; !e.begun {
		e.begun, e.err, r.summary.Ended = true, err, why
		r.emptiness.waits = Waits{}
		e.stopping.Store(true)
		e.cancelPings()
		r.returnEarly(ctx, r.gathering.takeAll(), r.useless())
	}
	if (why == EndedStopped || why == EndedFailed) && r.ending.killAt.IsZero() {
		now := time.Now()
		r.ending.cancelAt, r.ending.killAt = now.Add(r.Grace*3/4), now.Add(r.Grace)
	}
}

// useless reports whether a run forever ended with an error before it did anything. What starts it
// again and again must not spend the receives of the queue.
func (r *run) useless() bool { return r.Mode == Forever && r.ending.err != nil && !r.database.worked }

// emptiness is what the run knows of whether the queue is empty.
type emptiness struct {
	idle      bool // the last receive brought nothing new
	confirmed int  // how often in a row the queue was found empty
	elsewhere bool // it has messages that others hold, or that are delayed
	waits     Waits
	counted   time.Time
}

func (e *emptiness) notEmpty() { e.idle, e.confirmed, e.elsewhere, e.waits = false, 0, false, Waits{} }

// checking reports whether nothing is in hand and nothing new comes: no receive begins until the
// queue was asked whether it is empty.
func (r *run) checking() bool {
	return r.Mode != Forever && r.emptiness.idle && !r.ending.begun && len(r.gathering.waiting)+r.underway.batches+r.underway.returns == 0
}

// mayBeEmpty reports whether it is time to ask.
func (r *run) mayBeEmpty() bool {
	return r.checking() && r.underway.receives == 0 && !time.Now().Before(r.queue.next)
}

// confirmations is how often in a row the queue must be found empty, with a receive in between that
// brings nothing new: SQS counts approximately.
const confirmations = 2

// confirm ends the run when the queue is empty but for what the run leaves alone.
func (r *run) confirm(ctx context.Context, counts sqs.Counts) {
	e := &r.emptiness
	e.idle = false
	empty, stuck := r.memory.explains(counts)
	if !empty && !stuck {
		e.confirmed, e.elsewhere, e.waits = 0, true, r.memory.waits(counts)
		return
	}
	if e.confirmed++; e.confirmed < confirmations {
		return
	}
	switch err := r.memory.unfinished(); {
	case stuck:
		r.end(ctx, EndedFailed, errStuck)
	case err != nil:
		r.end(ctx, EndedFailed, err)
	default:
		r.end(ctx, EndedEmpty, nil)
	}
}
