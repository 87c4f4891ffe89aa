package function

import (
	"context"
	"errors"
	"fmt"

	"sluice/internal/message"
	"sluice/internal/sqs"
)

// deadLetters gives what the handler rejects to the dead-letter queue.
type deadLetters struct{ queue *sqs.DeadLetter }

// Send implements handler.DeadLetters.
func (d deadLetters) Send(ctx context.Context, messages []message.Message, verdicts []message.Verdict, rejected []int) (unsent []int, err error) {
	all := make([]sqs.Rejected, len(rejected))
	for k, i := range rejected {
		all[k] = sqs.Rejected{Message: &messages[i], Rejection: verdicts[i].Rejection}
	}
	left, err := d.queue.Send(ctx, all)
	for _, k := range left {
		unsent = append(unsent, rejected[k])
	}
	return unsent, err
}

// backoff keeps what the handler returns away for a while.
type backoff struct{ client *sqs.Client }

// Return implements handler.Backoff. An event of an event source mapping is
// of one queue; one that holds several is dealt with as well.
func (b backoff) Return(ctx context.Context, messages []message.Message, returned []int) error {
	// Of several deliveries of one message, only the last handle is sure to count.
	last := map[string]int{}
	for i := range messages {
		last[messages[i].ID] = i
	}
	queues := map[string][]sqs.Returned{}
	for _, i := range returned {
		m := &messages[last[messages[i].ID]]
		if last[m.ID] != i || m.ReceiptHandle == "" {
			continue
		}
		r := sqs.Returned{ReceiptHandle: m.ReceiptHandle, ReceiveCount: m.ReceiveCount}
		if m.FIFO {
			r.Group = m.Group
		}
		queues[m.QueueARN] = append(queues[m.QueueARN], r)
	}
	var problems []error
	for arn, all := range queues {
		queue, err := b.client.Backoff(ctx, arn)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if _, failed, err := queue.Return(ctx, all); err != nil {
			problems = append(problems, fmt.Errorf("%d of %d: %w", failed, len(all), err))
		}
	}
	return errors.Join(problems...)
}
