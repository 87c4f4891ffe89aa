package deadletters

import (
	"context"

	"sluice/internal/sqs"
)

// Seen is what a Peek found.
type Seen struct {
	// Messages are those that were looked at.
	Messages []sqs.Received
	// Unreturned counts those that SQS did not take back: they are invisible
	// until the queue's visibility ends.
	Unreturned int
}

// Peek looks at up to limit messages, all when it is 0, and gives them back.
// What it found comes beside an error too. Of a FIFO queue it sees the first
// ten of a group at most: SQS gives no more before these are deleted.
func Peek(ctx context.Context, q *sqs.Queue, limit int, progress Progress) (seen Seen, err error) {
	w := newWalk(q)
	defer func() {
		w.end(ctx)
		seen.Unreturned = w.unreturned
	}()
	there := q.Counts.Visible + q.Counts.InFlight + q.Counts.Delayed
	for limit == 0 || len(seen.Messages) < limit {
		if err := ctx.Err(); err != nil {
			return seen, err
		}
		fresh, err := w.next(ctx)
		seen.Messages = append(seen.Messages, fresh...)
		if limit > 0 && len(seen.Messages) > limit {
			seen.Messages = seen.Messages[:limit]
		}
		progress.tell(len(seen.Messages), there)
		if err != nil || len(fresh) == 0 {
			return seen, err
		}
	}
	return seen, nil
}
