package postgres

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"sluice/internal/batch"
	"sluice/internal/fault"
	"sluice/internal/message"
)

// piece is the rows of a batch that one transaction stores: all of them, or a
// part of a batch that is too slow as a whole.
type piece struct {
	store *Store
	batch *batch.Batch
	rows  []int
	grace grace
	// divisible: a piece that has used half of the time left is divided.
	divisible bool
	// last: there is no time to try it as a whole again. What is transient and
	// may be about a part of the rows is found row by row.
	last bool
	// part: the piece has a share of the time, which one attempt may use up.
	part bool

	attempts int
	met      error  // what the last attempt met that its time did not end
	fresh    int    // rows that an attempt has committed, and not always proven
	result   Result // has a verdict for each row of the batch; others than rows stay zero
}

func (s *Store) piece(b *batch.Batch, rows []int, g grace) *piece {
	return &piece{store: s, batch: b, rows: rows, grace: g, result: Result{Verdicts: make([]message.Verdict, b.Len())}}
}

// persist tries the piece until it is stored, until trying again is pointless, or
// until the time for it is used up. It reports whether the piece is divisible
// and too slow.
func (p *piece) persist(ctx context.Context) (slow bool, err error) {
	defer func() { err = outOfTime(err, p.met) }()
	retries := newRetries(ctx, p.store.sleep)
	for another := false; ; {
		a := p.attempt(ctx, another)
		p.fresh += p.result.Inserted
		p.result.Inserted = min(p.fresh, countStored(p.result.Verdicts))
		switch {
		case a.err == nil || ctx.Err() != nil:
			return false, a.err
		case a.slow:
			return true, a.err
		case a.cut: // a new connection gets the rest of the time
			another, retries = true, newRetries(ctx, p.store.sleep)
			continue
		case !a.again:
			return false, a.err
		case a.reused && p.attempts == 1: // most likely it died while nobody used it
		case !retries.wait(ctx):
			if p.last || !partial(a.err) {
				return false, a.err
			}
			p.last = true
		}
		if overtime(a.err) == nil {
			p.met = a.err
		}
	}
}

func countStored(verdicts []message.Verdict) int {
	n := 0
	for i := range verdicts {
		if verdicts[i].Outcome == message.Stored {
			n++
		}
	}
	return n
}

// attempted is what came of an attempt.
type attempted struct {
	err    error
	reused bool // the connection was in use before
	silent bool // the server was not heard
	cut    bool // the attempt was ended before its context
	slow   bool // and so that the piece is divided
	again  bool // another attempt may help
}

// attempt tries the piece once, on one connection. With another it is one that
// was not in use before.
//
// A connection that was may lead nowhere by now, and the network does not say
// so. It gets half of the time left to make itself heard.
func (p *piece) attempt(ctx context.Context, another bool) attempted {
	s := p.store
	p.attempts++
	clear(p.result.Verdicts)
	p.result.Inserted = 0
	c, err := s.acquire(ctx, another)
	if err != nil {
		return attempted{err: err, again: transient(err)}
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	ear := earOf(c.Conn())
	began := ear.heard.Load()
	var cut atomic.Bool
	c.canceller.grace = p.grace
	deadline, ok := ctx.Deadline()
	left := time.Until(deadline)
	divides := ok && p.divisible && left >= leastDivided
	if divides || ok && c.reused && !p.part {
		c.canceller.grace = p.grace.within(left / 2)
		timer := time.AfterFunc(left/2, func() {
			if divides || ear.heard.Load() == began {
				cut.Store(true)
				stop()
			}
		})
		defer timer.Stop()
	}

	in := &insertion{store: s, conn: c, batch: p.batch, rows: p.rows, result: &p.result, last: p.last}
	err = in.run(limited)
	ended := limited.Err()
	a := attempted{reused: c.reused, silent: ear.heard.Load() == began}
	met := cmp.Or(fault.Of(err), &fault.Error{})
	if ended != nil && err != nil && (met.Code == "" || canceled(met.Code)) { // that was us
		err = s.fault(ctx, s.inserting, ended)
		met = fault.Of(err)
		a.cut = cut.Load() && ctx.Err() == nil
		a.slow = a.cut && divides && (!a.reused || !a.silent)
	}
	outdated := mayBeOutdated(met.Code) && p.attempts == 1 && c.replaceAt.IsZero()
	a.err, a.again = err, transient(err) && !settled(err) || outdated

	// The server refused a statement for what is in its catalog: there is no
	// doubt about the connection, and an outage of that kind must not add a
	// login to each invocation.
	configuration := met.Code != "" && met.Cause == message.CauseConfiguration && !outdated
	if configuration || discarded(p.result.Verdicts) {
		s.replaceLater(c)
	}
	asked := ended != nil || c.canceller.done != nil // a request to cancel may be under way
	s.release(c, (err == nil || configuration || settled(err)) && !asked)
	if a.reused && (a.cut && a.silent || ended == nil && stale(err)) {
		s.dropIdle()
	}
	return a
}

// discarded reports whether the server took rows and did not keep them.
func discarded(verdicts []message.Verdict) bool {
	for i := range verdicts {
		if verdicts[i].Cause == message.CauseDiscarded {
			return true
		}
	}
	return false
}

const (
	// retryBudget is how long after the first attempt another one may begin.
	retryBudget = 5 * time.Second
	// The pauses between attempts grow from firstPause to maxPause, on average.
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
	// lastAttempt is the time that a deadline leaves to the last attempt, or a
	// quarter of the time in all where that is less.
	lastAttempt = 250 * time.Millisecond
)

// retries is the time that is left for further attempts.
type retries struct {
	sleep     func(context.Context, time.Duration) bool
	began     time.Time
	budget    time.Duration
	pause     time.Duration
	simulated time.Duration // how long waits would have taken that took no time
}

func newRetries(ctx context.Context, sleep func(context.Context, time.Duration) bool) *retries {
	r := &retries{sleep: sleep, began: time.Now(), budget: retryBudget, pause: firstPause}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		r.budget = min(r.budget, left-min(lastAttempt, left/4))
	}
	return r
}

// wait pauses before the next attempt, and reports whether there is time for
// one. The last one begins when the budget ends.
func (r *retries) wait(ctx context.Context) bool {
	left := r.budget - time.Since(r.began) - r.simulated
	if left <= 0 {
		return false
	}
	pause := min(r.pause/2+rand.N(r.pause), left) //nolint:gosec // jitter
	r.pause = min(2*r.pause, maxPause)
	asleep := time.Now()
	inTime := r.sleep(ctx, pause)
	r.simulated += max(0, pause-time.Since(asleep))
	return inTime
}

// sleep waits, and reports whether the wait ended before ctx did.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
