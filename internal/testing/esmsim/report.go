package esmsim

import (
	"fmt"
	"strings"
	"time"
)

// counts is what a queue counts.
type counts struct {
	sent, deduplicated, received, maxReceives int
	ended                                     [Expired + 1]int
	waiting, peak                             int
	drained                                   time.Duration // first time without messages after the peak
	oldest                                    time.Duration // age at which a message left, at most
}

func (c *counts) arrived() {
	if c.waiting++; c.waiting > c.peak {
		c.peak, c.drained = c.waiting, 0
	}
}

func (c *counts) left(m *message) {
	c.ended[m.state]++
	c.oldest = max(c.oldest, m.ended-m.sent)
	if c.waiting--; c.waiting == 0 && c.drained == 0 {
		c.drained = m.ended
	}
}

// tally is what a mapping counts.
type tally struct {
	invocations, failures, partial, timeouts, lost int
	throttles, dropped                             int
	lastError                                      error
}

// A Report says what became of the messages of a mapping's queue. Durations are virtual.
type Report struct {
	Queue string

	Sent, Deduplicated          int
	Receives                    int // deliveries, and receives that a throttle cost
	Deleted, DeadLettered       int // DeadLettered by the redrive policy
	Expired, Waiting            int
	InDLQ                       int // in the dead-letter queue now, by whatever way
	MaxReceives                 int
	MeanReceives                float64 // of a message that arrived
	Invocations                 int
	Failures, Partial           int // invocations whose whole batch came back, or some of it
	TimedOut, LostAnswers       int // among the failures
	Throttles, ThrottledBatches int // refused invocations, and batches that were dropped for them
	OldestAge                   time.Duration
	PeakBacklog                 int           // messages in the queue, in flight or not
	BacklogGone                 time.Duration // since the start, when the queue was first empty after its peak; 0 means not yet
	LastError                   error
}

// Report counts up to now.
func (m *Mapping) Report() Report {
	m.sim.mu.Lock()
	defer m.sim.mu.Unlock()
	q, now := m.queue, m.sim.Elapsed()
	r := Report{
		Queue: q.cfg.Name,
		Sent:  q.counts.sent, Deduplicated: q.counts.deduplicated, Receives: q.counts.received,
		Deleted: q.counts.ended[Deleted], DeadLettered: q.counts.ended[DeadLettered], Expired: q.counts.ended[Expired], Waiting: q.counts.waiting,
		MaxReceives: q.counts.maxReceives, MeanReceives: float64(q.counts.received) / float64(max(1, len(q.log))),
		Invocations: m.invocations, Failures: m.failures, Partial: m.partial, TimedOut: m.timeouts, LostAnswers: m.lost,
		Throttles: m.throttles, ThrottledBatches: m.dropped,
		OldestAge: q.counts.oldest, PeakBacklog: q.counts.peak, BacklogGone: q.counts.drained, LastError: m.lastError,
	}
	for _, msg := range q.log {
		if !msg.gone() {
			r.OldestAge = max(r.OldestAge, now-msg.sent)
		}
	}
	if q.cfg.DeadLetter != nil {
		r.InDLQ = q.cfg.DeadLetter.counts.waiting
	}
	return r
}

// String is the report as a table.
func (r Report) String() string {
	var b strings.Builder
	row := func(name string, value any, note string, args ...any) {
		line := fmt.Sprintf("%-14s%-12v", name, value) + fmt.Sprintf(note, args...)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	row("queue", r.Queue, "")
	row("sent", r.Sent, "%d deduplicated", r.Deduplicated)
	row("receives", r.Receives, "%.2f a message, %d at most", r.MeanReceives, r.MaxReceives)
	row("invocations", r.Invocations, "%d failed (%d timed out, %d answers lost), %d in part, %d throttles",
		r.Failures, r.TimedOut, r.LostAnswers, r.Partial, r.Throttles)
	row("deleted", r.Deleted, "")
	row("in the DLQ", r.InDLQ, "%d moved there by the redrive policy", r.DeadLettered)
	row("expired", r.Expired, "")
	row("waiting", r.Waiting, "%d at the peak", r.PeakBacklog)
	row("oldest", r.OldestAge, "")
	if r.BacklogGone > 0 {
		row("backlog gone", r.BacklogGone, "")
	} else {
		row("backlog gone", "never", "")
	}
	if r.LastError != nil {
		row("last error", r.LastError, "")
	}
	return b.String()
}
