//go:build unix

package main

import (
	"context"
	"fmt"
	"net/url"

	"example.com/owner/sluice/test/localstack"
)

const (
	queueName = "logins"
	deadName  = "logins-dead"
)

// For local work, a message that fails comes back soon. As in the template it may come back often, since
// rejected messages go to the dead-letter queue at once.
const (
	visibilitySeconds = "30"
	maxReceives       = 200
)

// createQueues creates both queues, unless they exist.
func (s *state) createQueues(ctx context.Context) (err error) {
	sqs := localstack.NewClient(s.Endpoint)
	create := func(name string, attributes map[string]string) string {
		if err != nil {
			return ""
		}
		var made struct {
			QueueUrl string //nolint:revive // as SQS spells it
		}
		err = sqs.JSON(ctx, "sqs", "CreateQueue", map[string]any{"QueueName": name, "Attributes": attributes}, &made)
		if err != nil {
			return ""
		}
		// A container may answer with a host name that only it knows.
		u, parseErr := url.Parse(made.QueueUrl)
		if err = parseErr; err != nil {
			return ""
		}
		return s.Endpoint + u.Path
	}
	s.DeadURL = create(deadName, map[string]string{"MessageRetentionPeriod": "1209600"})
	policy := fmt.Sprintf(`{"deadLetterTargetArn":"arn:aws:sqs:%s:000000000000:%s","maxReceiveCount":%d}`, localstack.Region, deadName, maxReceives)
	s.QueueURL = create(queueName, map[string]string{"VisibilityTimeout": visibilitySeconds, "RedrivePolicy": policy})
	return err
}
