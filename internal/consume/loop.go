package consume

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/sqs"
)

// run is one run of a Consumer. Everything without a lock belongs to the
// goroutine of loop; others send it what to do, through events.
type run struct {
	*Consumer
	hand    *hand
	backoff *sqs.Backoff
	events  chan func(context.Context)
	summary Summary
	since   time.Time // when the first message was asked for

	// What is under way.
	receives    int // receives,
	asked       int // and how many messages they may bring
	working     int // batches,
	worked      int // and how many messages they have
	returning   int // calls that give messages back
	counting    bool
	pinging     bool
	cancelPings context.CancelFunc

	receivers int // how many receives may run at once, for now
	gathered  []gathered
	groups    map[string]bool // the FIFO groups that are in a batch

	trust         trust // in the database
	everWorked    bool  // the database has done what was asked of it at least once
	database, sqs trouble
	transactions  int // that ended without a fault

	// What is remembered of messages that come again, by id: those that only
	// have to be deleted, and those that are left alone.
	undeleted map[string]bool
	left      map[string]leftover

	// Whether the queue is empty.
	idle      bool // the last receive brought nothing new
	confirmed int  // how often in a row it was found empty
	elsewhere bool // it has messages that others hold, or that are delayed
	counted   time.Time

	// The end.
	ending          bool
	stopping        atomic.Bool // the same, for other goroutines
	stopped, killed time.Time   // when to give up transactions, and everything
	err             error

	// What the observers know.
	held int
	down [2]time.Time
}

// trust is what the database has shown since it failed last.
type trust int

// What it can have shown.
const (
	untried trust = iota // nothing: it gets a few messages to try
	answers              // that it answers a ping
	proven               // that it does what is asked of it
)

// Run consumes until the mode, the context or an error ends it. The context's
// end is no error.
func (c *Consumer) Run(ctx context.Context) (Summary, error) {
	began := time.Now()
	backoff := c.Queue.Backoff()
	if c.Delay != nil {
		backoff.Delay = c.Delay
	}
	r := &run{
		Consumer: c, hand: newHand(c.Queue, c.Log), backoff: backoff, events: make(chan func(context.Context)),
		receivers: 1, groups: map[string]bool{},
		database:  trouble{what: "the database", first: c.FirstPause, longest: c.LongestPause},
		sqs:       trouble{what: "the queue", first: c.FirstPause, longest: c.LongestPause},
		undeleted: map[string]bool{}, left: map[string]leftover{},
	}
	if c.Mode == Batches {
		r.trust = proven // a small one to try would be one of the N
	}
	// The caller's context ends the run, not what is under way.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { r.hand.keep(own) })
	r.loop(own, ctx.Done())
	cancel()
	keeper.Wait()
	r.summary.Took = time.Since(began)
	r.leftovers()
	if r.err != nil {
		r.summary.Ended = EndedFailed
	}
	return r.summary, r.err
}

// loop begins what there is to begin, and waits for what comes first.
func (r *run) loop(ctx context.Context, stop <-chan struct{}) {
	all, cancelAll := context.WithCancel(ctx)
	defer cancelAll()
	transactions, cancelTransactions := context.WithCancel(all)
	defer cancelTransactions()
	timer := time.NewTimer(0)
	defer timer.Stop()
	pings, cancelPings := context.WithCancel(all)
	defer cancelPings()
	r.cancelPings = cancelPings
	// So that a wrong password is noticed without a message.
	r.pinging = true
	go r.ping(pings)
	for {
		r.giveUp(all)
		if r.ending && r.receives+r.working+r.returning == 0 && !r.counting && !r.pinging {
			return
		}
		r.begin(all, transactions, pings)
		r.report()
		timer.Reset(time.Until(r.next()))
		select {
		case <-stop:
			stop = nil
			r.Log.InfoContext(ctx, "stopping", "in_hand", r.held, "grace", r.Grace.String())
			r.end(all, EndedStopped, nil)
		case event := <-r.events:
			event(all)
		case now := <-timer.C:
			if r.ending && !r.stopped.IsZero() && !now.Before(r.stopped) {
				cancelTransactions()
				r.stopped = r.killed
				if !now.Before(r.killed) {
					cancelAll()
					r.stopped = time.Time{}
				}
			}
		}
	}
}

// begin starts receives, batches and counts, as many as may run now.
func (r *run) begin(all, transactions, pings context.Context) {
	for limit := r.room(); limit > 0; limit = r.room() {
		r.receives++
		r.asked += limit
		go r.receive(all, limit, r.wait())
	}
	for b := r.ready(); b != nil; b = r.ready() {
		r.working++
		r.worked += len(b)
		go r.work(all, transactions, b, r.trust < proven)
	}
	if r.database.down() && !r.pinging && !r.ending && r.idle && r.working+len(r.gathered) == 0 && !time.Now().Before(r.database.next) {
		r.pinging = true
		go r.ping(pings)
	}
	confirm := r.drained()
	if !r.counting && (confirm || r.CountEvery > 0 && !r.ending && time.Since(r.counted) >= r.CountEvery && !r.sqs.down()) {
		r.counting, r.counted = true, time.Now()
		go r.count(all, confirm)
	}
}

// next is when something is due if nothing happens before.
func (r *run) next() time.Time {
	next := time.Now().Add(time.Hour)
	at := func(t time.Time, when bool) {
		if when && t.Before(next) {
			next = t
		}
	}
	at(r.stopped, r.ending && !r.stopped.IsZero())
	if r.ending {
		return next
	}
	if r.vacant() {
		c := r.choose()
		at(c.due, c.size > 0)
	}
	at(r.counted.Add(r.CountEvery), r.CountEvery > 0 && !r.counting && !r.sqs.down())
	for _, t := range []*trouble{&r.sqs, &r.database} {
		at(t.next, time.Now().Before(t.next))
	}
	return next
}

// report tells the observers what has changed.
func (r *run) report() {
	held := r.worked
	for _, g := range r.gathered {
		held += len(g.items)
	}
	var down [2]time.Time
	for i, t := range []*trouble{&r.database, &r.sqs} {
		if t.down() {
			down[i] = t.since
		}
	}
	for _, o := range r.Observers {
		if held != r.held {
			o.Holds(held)
		}
		if down != r.down {
			o.Unreachable(down[0], down[1])
		}
	}
	r.held, r.down = held, down
}

// count asks the queue what it has. To confirm that it is empty, nothing else
// is under way meanwhile.
func (r *run) count(ctx context.Context, confirm bool) {
	began := time.Now()
	counts, err := r.Queue.Count(ctx)
	r.events <- func(ctx context.Context) {
		r.counting = false
		if err != nil {
			r.unreachable(ctx, began, err)
			return
		}
		r.sqs.over(ctx, r.Log)
		for _, o := range r.Observers {
			o.Counted(counts)
		}
		if confirm {
			r.confirm(ctx, counts)
		}
	}
}

// unreachable notes that a call to the queue failed that had begun then.
func (r *run) unreachable(ctx context.Context, began time.Time, err error) {
	if r.ending || errors.Is(err, context.Canceled) {
		return
	}
	r.sqs.met(ctx, r.Log, began, err)
	r.receivers = 1
	if r.sqs.final() {
		r.end(ctx, EndedFailed, err)
	}
}
