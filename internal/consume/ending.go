package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/sqs"
)

// end begins the end: nothing is received any more, what has not begun is
// given back, and what has begun gets the time that the options grant. Only
// the first reason counts.
func (r *run) end(ctx context.Context, why Ended, err error) {
	if !r.ending {
		r.ending, r.summary.Ended, r.err = true, why, err
		r.stopping.Store(true)
		r.cancelPings()
		for _, g := range r.gathered {
			r.giveBack(ctx, g.items, r.useless())
		}
		r.gathered = nil
	}
	if (why == EndedStopped || why == EndedFailed) && r.killed.IsZero() {
		now := time.Now()
		r.stopped, r.killed = now.Add(r.Grace*3/4), now.Add(r.Grace)
	}
}

// useless says that the run ended with an error before anything was done. Who
// starts it again and again must not spend the receives of the queue.
func (r *run) useless() bool { return r.err != nil && !r.everWorked }

// giveUp ends a run that has met an outage for too long.
func (r *run) giveUp(ctx context.Context) {
	for _, t := range []*trouble{&r.sqs, &r.database} {
		if !r.ending && r.tired(t) {
			r.end(ctx, EndedFailed, fmt.Errorf("%s was out of reach for %v: %w", t.what, time.Since(t.since).Round(time.Second), t.err))
		}
	}
}

// giveBack gives messages back that were received and not tried.
func (r *run) giveBack(ctx context.Context, items []item, later bool) {
	r.summary.GivenBack += len(items)
	messages := pointers(items)
	r.returning++
	go func() {
		r.back(ctx, messages, later)
		r.events <- func(context.Context) { r.returning-- }
	}()
}

// back gives messages back: at once, or later and later with each receive. To
// fail is harmless: they come back when their visibility ends.
func (r *run) back(ctx context.Context, messages []*message.Message, later bool) {
	if len(messages) == 0 {
		return
	}
	all := handles(messages)
	r.hand.drop(all)
	if later {
		returned := make([]sqs.Returned, len(messages))
		for i, m := range messages {
			returned[i] = sqs.Returned{ReceiptHandle: m.ReceiptHandle, ReceiveCount: m.ReceiveCount}
			if r.Queue.FIFO {
				returned[i].Group = m.Group
			}
		}
		if _, failed, err := r.backoff.Return(ctx, returned); err != nil {
			r.Log.WarnContext(ctx, "messages are returned without back-off", "count", failed, "error", err.Error())
		}
		return
	}
	rest, err := persist(ctx, all, func(ctx context.Context, handles []string) ([]int, error) {
		return r.Queue.ChangeVisibility(ctx, handles, 0)
	}, always)
	if len(rest) > 0 {
		r.Log.WarnContext(ctx, "messages come back only when their visibility ends", "count", len(rest), "error", err.Error())
	}
}

// leftover is a message that this run leaves alone.
type leftover struct {
	// cause is why, when it was not rejected.
	cause    message.Cause
	group    string // on a FIFO queue
	receives int
	until    time.Time // when it is visible again, at the latest
}

// behind says that it only waits for another message of its group.
func (l leftover) behind() bool { return l.cause == message.CauseGroup }

func (r *run) leave(p *pass, m *message.Message, v message.Verdict, until time.Duration) {
	p.left[m.ID] = leftover{cause: v.Cause, group: m.Group, receives: m.ReceiveCount, until: time.Now().Add(until)}
}

// sift takes away what this run has refused before, and on a FIFO queue what
// stands behind that in its group.
func (r *run) sift(messages []sqs.Received) []item {
	fresh := make([]item, 0, len(messages))
	stopped := map[string]bool{}
	for i := range messages {
		m := &messages[i].Message
		old, known := r.left[m.ID]
		refused := known && !old.behind()
		if !refused && !stopped[m.Group] {
			delete(r.left, m.ID)
			fresh = append(fresh, item{*m, r.undeleted[m.ID]})
			continue
		}
		if !refused {
			old.cause, old.group = message.CauseGroup, m.Group
		}
		old.receives, old.until = m.ReceiveCount, time.Now().Add(r.Queue.Settings.Visibility)
		r.left[m.ID] = old
		stopped[m.Group] = r.Queue.FIFO
		r.summary.Skipped++
	}
	return fresh
}

// checking says that nothing is in hand and nothing new comes: no receive
// begins until the queue was asked whether it is empty.
func (r *run) checking() bool {
	return r.Mode != Forever && r.idle && !r.ending && len(r.gathered)+r.working+r.returning == 0
}

// drained says that it is time to ask.
func (r *run) drained() bool {
	return r.checking() && r.receives == 0 && !time.Now().Before(r.sqs.next)
}

// confirmations is how often in a row the queue must be found empty, with a
// receive in between that brings nothing new: SQS counts approximately.
const confirmations = 2

// confirm ends the run when the queue is empty.
func (r *run) confirm(ctx context.Context, counts sqs.Counts) {
	r.idle = false
	empty, stuck := r.empty(counts)
	if !empty && !stuck {
		r.confirmed, r.elsewhere = 0, true
		return
	}
	if r.confirmed++; r.confirmed < confirmations {
		return
	}
	switch err := r.unfinished(); {
	case stuck:
		r.end(ctx, EndedFailed, errors.New("rejected messages hold up others of their groups, and nothing will ever take them away; "+
			"set DEAD_LETTER_QUEUE_URL, or give the queue a redrive policy"))
	case err != nil:
		r.end(ctx, EndedFailed, err)
	default:
		r.end(ctx, EndedEmpty, nil)
	}
}

// empty says that nothing is in the queue but what this run has refused, and
// stuck that nothing of the rest can ever be received: it waits in FIFO groups
// behind that, and no receive limit moves what holds it up.
func (r *run) empty(counts sqs.Counts) (empty, stuck bool) {
	r.forget()
	refused, held := 0, 0
	now := time.Now()
	for _, l := range r.left {
		if !l.behind() {
			refused++
		}
		if now.Before(l.until) {
			held++
		}
	}
	if counts.Visible+counts.InFlight+counts.Delayed <= refused {
		return true, false
	}
	return false, r.Queue.FIFO && r.Queue.Settings.MaxReceives == 0 && counts.Delayed == 0 && refused > 0 && counts.InFlight <= held
}

// forget lets go of messages that SQS has moved away, or will when it next
// looks at them.
func (r *run) forget() {
	limit := r.Queue.Settings.MaxReceives
	for id, l := range r.left {
		if limit > 0 && l.receives >= limit && time.Now().After(l.until) {
			delete(r.left, id)
		}
	}
}

// unfinished is about messages that are left through no fault of their own.
func (r *run) unfinished() error {
	n := 0
	causes := map[message.Cause]bool{}
	for _, l := range r.left {
		if l.cause != message.CauseNone && !l.behind() {
			n++
			causes[l.cause] = true
		}
	}
	if n == 0 {
		return nil
	}
	var words []string
	for cause := range causes {
		words = append(words, unfinishedWords[cause])
	}
	slices.Sort(words)
	return fmt.Errorf("%d messages are back in the queue, and not for what they hold: %s", n, strings.Join(words, "; "))
}

var unfinishedWords = map[message.Cause]string{
	message.CausePanic:     "a panic met some, its stack is in the log",
	message.CauseDiscarded: "the database took some rows and did not keep them, look for a trigger",
	message.CauseUnsent:    "the dead-letter queue did not take some that were rejected, the log says why",
}

// leftovers counts for the summary what is left.
func (r *run) leftovers() {
	r.forget()
	stopped := map[string]bool{}
	for _, l := range r.left {
		if !l.behind() {
			r.summary.Left++
			stopped[l.group] = true
		}
	}
	for _, l := range r.left { // the others of their group may be behind an outage
		if l.behind() && stopped[l.group] {
			r.summary.Behind++
		}
	}
}
