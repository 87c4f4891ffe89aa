package app

import (
	"context"
	"errors"
	"fmt"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// backoff delays the messages that the handler returns.
type backoff struct{ client *sqs.Client }

// Return implements ingest.Backoff. An event source mapping sends events of one
// queue; several queues in one event work as well.
func (b backoff) Return(ctx context.Context, messages []*message.Message) error {
	// Of several deliveries of one message, only the last handle is sure to count.
	last := map[string]*message.Message{}
	for _, m := range messages {
		last[m.ID] = m
	}
	queues := map[string][]*message.Message{}
	for _, m := range messages {
		if last[m.ID] == m && m.ReceiptHandle != "" {
			queues[m.QueueARN] = append(queues[m.QueueARN], m)
		}
	}
	var problems []error
	for arn, all := range queues {
		queue, err := b.client.Backoff(ctx, arn)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if failed, err := queue.Return(ctx, all); err != nil {
			problems = append(problems, fmt.Errorf("%d of %d: %w", failed, len(all), err))
		}
	}
	return errors.Join(problems...)
}
