package sqs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"

	"sluice/internal/message"
)

// DeadLetter is the queue that rejected messages are sent to.
type DeadLetter struct {
	target *target
	model  string
}

// DeadLetter returns the queue for messages that the named model rejects. The
// setting is the variable that the URL comes from, for errors to name.
func (c *Client) DeadLetter(queueURL, setting, model string) *DeadLetter {
	return &DeadLetter{target: c.target(queueURL, setting), model: model}
}

// Rejected is a message that can never be stored, and why.
type Rejected = message.Reject

// Send sends the messages with their bodies and attributes as they came, and
// one attribute more, a Note. It returns the indexes of those that SQS has not
// confirmed (which must be returned to their queue), and the gravest error.
//
// Not sent are messages without a body, or with attributes that cannot be read.
// A message without room for the note (10 attributes already, or 1 MiB, or an
// attribute of that name which is the sender's own) is sent without, and one
// that was rejected before gets its note replaced. To a FIFO queue the
// messages go in order, group by group, and a group ends at the first that is
// not sent; one that SQS saw within the last 5 minutes is confirmed and not
// sent twice.
func (d *DeadLetter) Send(ctx context.Context, rejected []Rejected) (unsent []int, err error) {
	if len(rejected) > 0 && d.target.isQueue(rejected[0].Message.QueueARN) {
		// They would be received, rejected and sent without end, each time as
		// new messages.
		for i := range rejected {
			unsent = append(unsent, i)
		}
		return unsent, d.target.misconfigured("this is the queue that the messages come from", "name another one")
	}
	return d.target.send(ctx, len(rejected), func(i int) (Outgoing, *types.MessageAttributeValue) {
		m, why := rejected[i].Message, rejected[i].Rejection
		out := Outgoing{Attributes: m.Attributes, Group: m.Group, DeduplicationID: m.ID}
		if m.HasBody {
			out.Body = m.Body
		}
		if d.target.fifo && out.Group == "" {
			out.Group = NoteAttribute // a FIFO queue takes no message without a group
		}
		note := Note{
			Reason: why.Reason, Field: why.Field, SQLState: why.SQLState, Constraint: why.Constraint, Column: why.Column,
			Model: d.model, MessageID: m.ID,
		}
		if m.HasSent {
			note.SentTimestamp = m.SentMillis
		}
		text, err := json.Marshal(note)
		if err != nil {
			out.Attributes = []byte("!") // unsent; nothing here is ever no valid UTF-8
		}
		return out, &types.MessageAttributeValue{DataType: aws.String("String"), StringValue: aws.String(string(text))}
	})
}
