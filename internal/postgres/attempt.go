package postgres

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/wait"
)

// piece is the rows of a batch that one transaction stores: all of them, or a part of a batch that
// is too slow as a whole.
type piece struct {
	store *Store
	batch *batch.Batch
	rows  []int
	grace grace
	// divisible: a piece that has used half of the time left is divided.
	divisible bool
	// last: there is no time to try it as a whole again. What is transient and may be about a part
	// of the rows is found row by row.
	last bool
	// rehearsal: nothing is to be stored.
	rehearsal bool
	// part: the piece has a share of the time, and one attempt may use up all of it.
	part bool

	attempts int
	lastErr  error           // the error of the last attempt that did not end because its time was up
	fresh    message.Tallies // of rows that an attempt has committed, and may not have confirmed
	result   Result          // has a verdict for each row of the batch; others than rows stay zero
}

func (s *Store) piece(b *batch.Batch, rows []int, g grace) *piece {
	n := len(s.destinations)
	tallies := make(message.Tallies, 2*n)
	return &piece{store: s, batch: b, rows: rows, grace: g, fresh: tallies[n:], result: Result{Verdicts: make([]message.Verdict, b.Len()), Tallies: tallies[:n:n]}}
}

// persist tries the piece until it is stored, until another try is pointless, or until the time for
// it is up. It reports whether the piece is divisible and too slow.
func (p *piece) persist(ctx context.Context) (slow bool, err error) {
	defer func() { err = outOfTime(err, p.lastErr) }()
	retries := newRetries(ctx, p.store.sleep)
	for another := false; ; {
		a := p.attempt(ctx, another)
		if p.rehearsal {
			clear(p.fresh) // no attempt has committed any
		}
		p.fresh.Add(p.result.Tallies)
		p.confirm()
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
			p.lastErr = a.err
		}
	}
}

// confirm counts the fresh rows that are confirmed. An attempt that was not confirmed can
// count a row that a later one counts again: then the last one is right.
func (p *piece) confirm() {
	var few [8]int
	left := few[:] // confirmed rows that are not counted
	if n := len(p.result.Tallies); n > len(few) {
		left = make([]int, n)
	}
	for row := range p.result.Verdicts {
		if v := p.result.Verdicts[row]; v.Outcome == message.Stored && !v.Outdated && v.Rejection.IsZero() {
			left[p.batch.Table(row)]++
		}
	}
	for table := range p.result.Tallies {
		n := left[table]
		take := func(want int) int {
			want = min(want, n)
			n -= want
			return want
		}
		fresh, t := p.fresh[table], p.result.Tallies[table]
		confirmed := message.Tally{Inserted: take(t.Inserted), Replaced: take(t.Replaced)}
		confirmed.Inserted += take(fresh.Inserted - t.Inserted)
		confirmed.Replaced += take(fresh.Replaced - t.Replaced)
		p.result.Tallies[table] = confirmed
	}
}

// attempted is the result of an attempt.
type attempted struct {
	err    error
	reused bool // the connection was in use before
	cut    bool // we ended the attempt before its context did
	slow   bool // cut, and the caller must divide the piece
	again  bool // another attempt may help
}

// attempt tries the piece once, on one connection; if another is true, on a new one.
//
// An idle connection may lead nowhere by now, and the network does not report that. The server has
// half of the time left to answer on it.
func (p *piece) attempt(ctx context.Context, another bool) attempted {
	s := p.store
	p.attempts++
	clear(p.result.Verdicts)
	clear(p.result.Tallies)
	c, err := s.acquire(ctx, another)
	if err != nil {
		return attempted{err: err, again: causeOf(err) == message.CauseTransient}
	}
	limited, stop := context.WithCancel(ctx)
	defer stop()
	counter := readCounterOf(c.Conn())
	began := counter.reads.Load()
	var cut atomic.Bool
	c.canceller.grace = p.grace
	deadline, ok := ctx.Deadline()
	left := time.Until(deadline)
	divides := ok && p.divisible && left >= leastDivided
	if divides || ok && c.reused && !p.part {
		c.canceller.grace = p.grace.forPart(left / 2)
		timer := time.AfterFunc(left/2, func() {
			if divides || counter.reads.Load() == began {
				cut.Store(true)
				stop()
			}
		})
		defer timer.Stop()
	}

	in := &insertion{store: s, conn: c, batch: p.batch, rows: p.rows, result: &p.result, first: p.attempts == 1, last: p.last, rehearsal: p.rehearsal}
	err = in.run(limited)
	ended := limited.Err()
	a := attempted{reused: c.reused}
	silent := counter.reads.Load() == began
	e := cmp.Or(fault.Of(err), &fault.Error{})
	if ended != nil && err != nil && (e.Code == "" || e.Code == canceled) { // we ended it
		err = s.whyEnded(ctx, s.inserting(p.batch, p.rows), ended)
		e = fault.Of(err)
		a.cut = cut.Load() && ctx.Err() == nil
		a.slow = a.cut && divides && (!a.reused || !silent)
	}
	replan := e.Code == outdated && p.attempts == 1 && c.replaceAt.IsZero()
	passes := e.Cause == message.CauseTransient
	a.err, a.again = err, passes && !verdictsHold(err) || replan

	// The server refused a statement because of its catalog: the connection is good, and an outage
	// of that kind must not add a login to each invocation.
	configuration := e.Code != "" && e.Cause == message.CauseConfiguration && !replan
	if configuration || discarded(p.result.Verdicts) {
		s.replaceLater(c)
	}
	cancelUnderway := ended != nil || c.canceller.done != nil
	s.release(c, (err == nil || configuration || verdictsHold(err)) && !cancelUnderway)
	if a.reused && (a.cut && silent || ended == nil && passes && endsOthers(e.Code)) {
		s.dropIdle()
	}
	return a
}

// discarded reports whether the server took rows and did not keep them.
func discarded(verdicts []message.Verdict) bool {
	return slices.ContainsFunc(verdicts, func(v message.Verdict) bool { return v.Cause == message.CauseDiscarded })
}

const (
	// retryBudget is how long after the first attempt another one may begin.
	retryBudget = 5 * time.Second
	// The pauses between attempts grow from firstPause to maxPause, on average.
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
	// lastAttempt is the time that a deadline leaves to the last attempt, or a quarter of the time
	// in all where that is less.
	lastAttempt = 250 * time.Millisecond
)

// retries is the time left for more attempts.
type retries struct {
	sleep     func(context.Context, time.Duration) bool
	began     time.Time
	budget    time.Duration
	pause     time.Duration
	simulated time.Duration // the length of waits that a simulation skipped
}

func newRetries(ctx context.Context, sleep func(context.Context, time.Duration) bool) *retries {
	r := &retries{sleep: sleep, began: time.Now(), budget: retryBudget, pause: firstPause}
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		r.budget = min(r.budget, left-min(lastAttempt, left/4))
	}
	return r
}

// wait pauses before the next attempt, and reports whether there is time for one. The last attempt
// begins when the budget ends.
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
func sleep(ctx context.Context, d time.Duration) bool { return wait.For(ctx, d) == nil }
