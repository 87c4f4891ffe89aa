package message_test

import (
	"testing"

	"example.com/owner/sluice/internal/message"
)

func TestQueueName(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{
		"arn:aws:sqs:eu-west-1:000000000000:logins.fifo":    "logins.fifo",
		"arn:aws-cn:sqs:cn-north-1:000000000000:logins_dlq": "logins_dlq",
		"logins": "logins",
		"":       "",
	} {
		if got := (&message.Message{QueueARN: arn}).QueueName(); got != want {
			t.Errorf("%q: got %q, want %q", arn, got, want)
		}
	}
}
