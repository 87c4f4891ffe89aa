package consume

import (
	"context"
	"sync"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// run is one run of a Consumer. Everything belongs to the goroutine of loop, except what says that
// it is safe for others. Other goroutines send the loop what to do, as events.
type run struct {
	*Consumer
	events    chan func(context.Context)
	heartbeat *heartbeat
	backoff   *sqs.Backoff

	pollers   int // how many receives may run at once, for now
	gathering gathering
	underway  underway
	database  database
	queue     outage
	memory    memory
	emptiness emptiness
	ending    ending
	told      told

	summary     Summary
	busy        busy
	batchesDone int // those that ended without an error
}

// underway is what runs beside the loop.
type underway struct {
	receives  int  // receives that run
	requested int  // messages that they may bring
	batches   int  // batches that run
	messages  int  // messages in them
	returns   int  // calls that return messages
	counting  bool // a call counts the queue's messages
	pinging   bool // a ping waits for the database
}

func (u *underway) none() bool {
	return u.receives+u.batches+u.returns == 0 && !u.counting && !u.pinging
}

// told is what the observers know.
type told struct {
	held  int
	down  [2]time.Time
	waits Waits
}

// Run consumes until the mode, the context or an error ends it. The context's end is not an error.
func (c *Consumer) Run(ctx context.Context) (Summary, error) {
	began := time.Now()
	r := &run{
		Consumer: c, events: make(chan func(context.Context)), heartbeat: newHeartbeat(c.Queue, c.Log), backoff: c.Queue.Backoff(),
		pollers:   1,
		gathering: gathering{busy: map[string]bool{}},
		database:  database{outage: outage{what: "the database", first: c.FirstPause, longest: c.LongestPause}},
		queue:     outage{what: "the queue", first: c.FirstPause, longest: c.LongestPause},
		memory:    memory{undeleted: map[string]bool{}, left: map[string]leftover{}, hidden: map[string]hiddenMessage{}, queue: c.Queue},
	}
	if c.Delay != nil {
		r.backoff.Delay = c.Delay
	}
	if c.Mode == Batches {
		r.database.trust = works // a small batch to try it would be one of the N
	}
	// The caller's context ends the run, not what is under way.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() { r.heartbeat.run(own) })
	r.loop(own, ctx.Done())
	cancel()
	beside.Wait()
	r.summary.Took = time.Since(began)
	r.summary.Left, r.summary.Behind = r.memory.count()
	if r.ending.err != nil {
		r.summary.Ended = EndedFailed
	}
	return r.summary, r.ending.err
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
	r.ending.cancelPings = cancelPings
	// So that a wrong password or a missing table is noticed without a message.
	r.underway.pinging, r.database.receives = true, time.Now().Add(firstPing)
	go r.ping(pings)
	for {
		r.giveUp(all)
		if r.ending.begun && r.underway.none() {
			r.showHidden(all)
		}
		if r.ending.begun && r.underway.none() {
			return
		}
		r.begin(all, transactions, pings)
		r.tell()
		timer.Reset(time.Until(r.next()))
		select {
		case <-stop:
			stop = nil
			r.Log.InfoContext(ctx, "stopping", "in_hand", r.told.held, "grace", r.Grace.String())
			r.end(all, EndedStopped, nil)
		case event := <-r.events:
			event(all)
		case now := <-timer.C:
			if r.ending.begun && !r.ending.cancelAt.IsZero() && !now.Before(r.ending.cancelAt) {
				cancelTransactions()
				r.ending.cancelAt = r.ending.killAt
				if !now.Before(r.ending.killAt) {
					cancelAll()
					r.ending.cancelAt = time.Time{}
				}
			}
		}
	}
}

// begin starts receives, batches, pings and counts, as many as may run now.
func (r *run) begin(all, transactions, pings context.Context) {
	for limit := r.room(); limit > 0; limit = r.room() {
		r.underway.receives++
		r.underway.requested += limit
		go r.receive(all, limit, r.wait())
	}
	for b := r.takeBatch(); b != nil; b = r.takeBatch() {
		r.underway.batches++
		r.underway.messages += len(b)
		go r.work(all, transactions, b, r.database.trust < works)
	}
	if r.pingDue() {
		r.underway.pinging = true
		go r.ping(pings)
	}
	confirm := r.mayBeEmpty()
	if !r.underway.counting && (confirm || r.countDue()) {
		r.underway.counting, r.emptiness.counted = true, time.Now()
		go r.count(all, confirm)
	}
}

// pingDue reports whether to ask the database if it answers again. Where there are messages, they
// try it instead.
func (r *run) pingDue() bool {
	if !r.database.down() || r.underway.pinging || r.ending.begun {
		return false
	}
	messages := r.underway.batches+len(r.gathering.waiting) > 0
	return r.emptiness.idle && !messages && !time.Now().Before(r.database.next)
}

// countDue reports whether it is time to count the queue's messages for the observers.
func (r *run) countDue() bool {
	if r.CountEvery <= 0 || r.ending.begun || r.queue.down() {
		return false
	}
	return time.Since(r.emptiness.counted) >= r.CountEvery
}

// next is when something is due if nothing happens before.
func (r *run) next() time.Time {
	next := time.Now().Add(time.Hour)
	at := func(t time.Time, when bool) {
		if when && t.Before(next) {
			next = t
		}
	}
	at(r.ending.cancelAt, r.ending.begun && !r.ending.cancelAt.IsZero())
	if r.ending.begun {
		return next
	}
	if r.vacant() {
		c := r.gathering.choose(r.BatchSize, r.Linger)
		at(c.due, c.size > 0)
	}
	at(r.emptiness.counted.Add(r.CountEvery), r.CountEvery > 0 && !r.underway.counting && !r.queue.down())
	for _, o := range r.outages() {
		at(o.next, time.Now().Before(o.next))
	}
	at(r.database.receives, time.Now().Before(r.database.receives))
	return next
}

// outages are the two things that can be out of reach.
func (r *run) outages() [2]*outage { return [2]*outage{&r.database.outage, &r.queue} }

// tell tells the observers what has changed.
func (r *run) tell() {
	waiting, _ := r.gathering.size()
	now := told{held: r.underway.messages + waiting, waits: r.emptiness.waits}
	for i, o := range r.outages() {
		if o.down() {
			now.down[i] = o.since
		}
	}
	if now.waits != (Waits{}) && r.told.waits == (Waits{}) {
		r.Log.Info("waiting for messages that cannot be received yet", "messages", now.waits.String(), "in_flight_elsewhere", now.waits.Elsewhere,
			"returned", now.waits.Returned, "delayed", now.waits.Delayed, "at_most", now.waits.AtMost.Round(time.Second).String())
	}
	for _, o := range r.Observers {
		if now.waits != r.told.waits {
			o.Waits(now.waits)
		}
		if now.held != r.told.held {
			o.Holds(now.held)
		}
		if now.down != r.told.down {
			o.Unreachable(now.down[0], now.down[1])
		}
	}
	r.told = now
}

// count asks the queue how many messages it has. To confirm that it is empty, nothing else is under
// way meanwhile.
func (r *run) count(ctx context.Context, confirm bool) {
	began := time.Now()
	counts, err := r.Queue.Count(ctx)
	r.events <- func(ctx context.Context) {
		r.underway.counting = false
		if err != nil {
			r.queueFailed(ctx, began, err)
			return
		}
		r.queue.recovered(ctx, r.Log)
		for _, o := range r.Observers {
			o.Counted(counts)
		}
		if confirm {
			r.confirm(ctx, counts)
		}
	}
}

func handles(messages []*message.Message) []string {
	all := make([]string, len(messages))
	for i, m := range messages {
		all[i] = m.ReceiptHandle
	}
	return all
}
