package deadletters

import (
	"context"

	"example.com/owner/sluice/internal/sqs"
)

// Peeked is what Peek found.
type Peeked struct {
	Messages []sqs.Received
	// Unreturned counts those that could not be returned: they stay invisible
	// until the queue's visibility timeout expires.
	Unreturned int
}

// Peek reads up to limit messages, all when it is 0, and returns them to the
// queue. What it found counts beside an error too. Of a FIFO queue it sees at
// most the first ten of a group: SQS gives no more before these are deleted.
func Peek(ctx context.Context, q *sqs.Queue, limit int, progress Progress) (found Peeked, err error) {
	r := newReader(q)
	defer func() { found.Unreturned = r.returnAll(ctx) }()
	for limit == 0 || len(found.Messages) < limit {
		if err := ctx.Err(); err != nil {
			return found, err
		}
		fresh, err := r.next(ctx)
		found.Messages = append(found.Messages, fresh...)
		if limit > 0 && len(found.Messages) > limit {
			found.Messages = found.Messages[:limit]
		}
		progress.tell(len(found.Messages), q.Counts.All())
		if err != nil || len(fresh) == 0 {
			return found, err
		}
	}
	return found, nil
}
