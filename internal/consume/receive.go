package consume

import (
	"context"
	"time"

	"example.com/owner/sluice/internal/sqs"
)

// mostReceived is how many messages SQS gives at once.
const mostReceived = 10

// How long a receive waits for a message. It is short enough to let it end when the run is stopped:
// a receive that is cancelled can leave a message in flight that nobody holds.
const (
	longPoll  = 5 * time.Second
	shortPoll = time.Second // still long enough for SQS to ask all its servers
)

// wait is how long the next receive waits for a message.
func (r *run) wait() time.Duration {
	if r.Mode != Forever && !r.emptiness.elsewhere {
		return shortPoll // the run waits for an answer to whether the queue is empty
	}
	return max(min(longPoll, r.Grace/2), shortPoll)
}

// room is how many messages the next receive may bring, 0 for no receive now.
func (r *run) room() int {
	now := time.Now()
	if r.ending.begun || now.Before(r.database.receives) || now.Before(r.queue.next) || now.Before(r.database.next) {
		return 0
	}
	waiting, bytes := r.gathering.size()
	receivers := r.pollers
	if r.queue.down() {
		receivers = 1
	}
	if r.database.trust < works {
		// One small batch tries the database. If that is down, it costs these messages a receive,
		// and no others.
		if waiting+r.underway.batches > 0 {
			return 0
		}
		receivers = 1
	}
	if r.underway.receives >= receivers || bytes >= mostBytes*(r.Concurrency+1) || r.checking() {
		return 0
	}
	limit := min(mostReceived, r.BatchSize)
	if r.Mode == Batches {
		limit = min(limit, (r.Batches-r.batchesDone-r.underway.batches)*r.BatchSize-waiting-r.underway.requested)
	}
	if waiting+r.underway.requested+r.underway.messages+limit > (r.Concurrency+1)*r.BatchSize {
		return 0
	}
	return limit
}

// receive is one receive.
func (r *run) receive(ctx context.Context, limit int, wait time.Duration) {
	began := time.Now()
	messages, err := r.Queue.Receive(ctx, limit, wait)
	r.events <- func(ctx context.Context) {
		r.underway.receives--
		r.underway.requested -= limit
		r.received(ctx, began, limit, messages, err)
	}
}

// received gathers or returns the messages of a receive.
func (r *run) received(ctx context.Context, began time.Time, limit int, messages []sqs.Received, err error) {
	if err == nil || !r.ending.begun {
		for _, o := range r.Observers {
			o.Received(len(messages), err)
		}
	}
	if err != nil {
		r.queueFailed(ctx, began, err)
		return
	}
	r.queue.recovered(ctx, r.Log)
	r.summary.Received += len(messages)
	full := len(messages) >= limit
	switch { // as many receives as the queue has messages for
	case full:
		r.pollers = min(2*r.pollers, r.Receivers)
	case len(messages) == 0:
		r.pollers = max(r.pollers/2, 1)
	}
	items, skipped := r.memory.recall(messages)
	r.summary.Skipped += skipped
	if len(items) == 0 {
		r.emptiness.idle = true
		if r.underway.batches+len(r.gathering.waiting) == 0 {
			r.busy.pause()
		}
		return
	}
	r.busy.begin(began)
	r.emptiness.notEmpty()
	switch {
	case r.ending.begun:
		r.returnEarly(ctx, items, r.useless())
	case time.Now().Before(r.database.next):
		r.returnEarly(ctx, items, true)
	default:
		r.heartbeat.add(handles(pointers(items)), began)
		r.gathering.add(items, full)
	}
}
