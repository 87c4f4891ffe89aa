package consume

import (
	"context"
	"time"

	"sluice/internal/sqs"
)

// mostReceived is how many messages SQS gives at once.
const mostReceived = 10

// How long a receive waits for a message. It is short enough to let it end
// when the run is stopped: a receive that is cancelled can leave a message in
// flight that nobody holds.
const (
	longPoll  = 5 * time.Second
	shortPoll = time.Second // still long enough for SQS to ask all its servers
)

func (r *run) wait() time.Duration {
	if r.Mode != Forever && !r.elsewhere {
		return shortPoll // the run waits for an answer to whether the queue is empty
	}
	return max(min(longPoll, r.Grace/2), shortPoll)
}

// room is how many messages the next receive may bring, 0 for no receive now.
func (r *run) room() int {
	now := time.Now()
	if r.ending || now.Before(r.sqs.next) || now.Before(r.database.next) {
		return 0
	}
	gathered, bytes := 0, 0
	for _, g := range r.gathered {
		gathered, bytes = gathered+len(g.items), bytes+g.bytes
	}
	receivers := r.receivers
	if r.sqs.down() {
		receivers = 1
	}
	if r.trust < proven {
		// One small batch tries the database: what it costs in receives, if
		// the database is down, it costs these messages alone.
		if gathered+r.working > 0 {
			return 0
		}
		receivers = 1
	}
	if r.receives >= receivers || bytes >= mostBytes*(r.Concurrency+1) || r.checking() {
		return 0
	}
	limit := min(mostReceived, r.BatchSize)
	if r.Mode == Batches {
		limit = min(limit, (r.Batches-r.transactions-r.working)*r.BatchSize-gathered-r.asked)
	}
	if gathered+r.asked+r.worked+limit > (r.Concurrency+1)*r.BatchSize {
		return 0
	}
	return limit
}

// receive is one receive.
func (r *run) receive(ctx context.Context, limit int, wait time.Duration) {
	began := time.Now()
	messages, err := r.Queue.Receive(ctx, limit, wait)
	r.events <- func(ctx context.Context) {
		r.receives--
		r.asked -= limit
		r.received(ctx, began, limit, messages, err)
	}
}

// received deals with what a receive brought.
func (r *run) received(ctx context.Context, began time.Time, limit int, messages []sqs.Received, err error) {
	if err == nil || !r.ending {
		for _, o := range r.Observers {
			o.Received(len(messages), err)
		}
	}
	if err != nil {
		r.unreachable(ctx, began, err)
		return
	}
	r.sqs.over(ctx, r.Log)
	r.summary.Received += len(messages)
	if len(messages) > 0 && r.since.IsZero() {
		r.since = began
	}
	full := len(messages) >= limit
	switch {
	case full:
		r.receivers = min(2*r.receivers, r.Receivers) // there is more
	case len(messages) == 0:
		r.receivers = max(r.receivers/2, 1)
	}
	fresh := r.sift(messages)
	if len(fresh) == 0 {
		r.idle = true
		return
	}
	r.idle, r.confirmed, r.elsewhere = false, 0, false
	switch {
	case r.ending:
		r.giveBack(ctx, fresh, r.useless())
	case time.Now().Before(r.database.next):
		r.giveBack(ctx, fresh, true)
	default:
		r.hand.take(handles(pointers(fresh)), began)
		r.gather(fresh, full)
	}
}
