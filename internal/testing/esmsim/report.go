package esmsim

import (
	"fmt"
	"strings"
	"time"
)

// Traffic is what a queue counts. Durations are virtual.
type Traffic struct {
	Sent, Deduplicated    int
	Receives, MaxReceives int // deliveries, and receives that a throttle cost
	Deleted, DeadLettered int // DeadLettered by the redrive policy
	Expired, Waiting      int
	PeakBacklog           int // messages in the queue, in flight or not
	OldestAge             time.Duration
	BacklogGone           time.Duration // since the start, when the queue was first empty after its peak; 0 means not yet
}

func (t *Traffic) arrived() {
	if t.Waiting++; t.Waiting > t.PeakBacklog {
		t.PeakBacklog, t.BacklogGone = t.Waiting, 0
	}
}

func (t *Traffic) left(m *message) {
	switch m.state {
	case Deleted:
		t.Deleted++
	case DeadLettered:
		t.DeadLettered++
	default:
		t.Expired++
	}
	t.OldestAge = max(t.OldestAge, m.ended-m.sent)
	if t.Waiting--; t.Waiting == 0 && t.BacklogGone == 0 {
		t.BacklogGone = m.ended
	}
}

// Runs is what a mapping counts.
type Runs struct {
	Invocations                 int
	Failures, Partial           int // invocations whose whole batch came back, or some of it
	TimedOut, LostAnswers       int // among the failures
	Throttles, ThrottledBatches int // refused invocations, and batches that were dropped for them
	LastError                   error
}

// A Report says what became of the messages of a mapping's queue.
type Report struct {
	Queue string
	Traffic
	Runs
	InDLQ        int     // in the dead-letter queue now, by whatever way
	MeanReceives float64 // of a message that arrived
}

// Report counts up to now.
func (m *Mapping) Report() Report {
	m.sim.mu.Lock()
	defer m.sim.mu.Unlock()
	q, now := m.queue, m.sim.Elapsed()
	r := Report{Queue: q.cfg.Name, Traffic: q.traffic, Runs: m.runs, MeanReceives: float64(q.traffic.Receives) / float64(max(1, len(q.log)))}
	for _, msg := range q.log {
		if !msg.gone() {
			r.OldestAge = max(r.OldestAge, now-msg.sent)
		}
	}
	if q.cfg.DeadLetter != nil {
		r.InDLQ = q.cfg.DeadLetter.traffic.Waiting
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
