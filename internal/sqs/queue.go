package sqs

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"example.com/owner/sluice/internal/message"
)

// Queue is one queue, for the command line. It is safe for concurrent use.
type Queue struct {
	URL string
	// FIFO is decided by the queue's name.
	FIFO bool
	// Settings are those of when the queue was opened.
	Settings Settings
	// Counts are those of when the queue was opened.
	Counts Counts

	target *target
}

// Settings are a queue's attributes.
type Settings struct {
	ARN        string
	Visibility time.Duration
	Retention  time.Duration
	// Delay is how long a message stays hidden after it was sent.
	Delay time.Duration
	// MaxBytes is the queue's own limit for a message.
	MaxBytes int
	// DeadLetterARN and MaxReceives are the redrive policy's; "" and 0 without one.
	DeadLetterARN string
	MaxReceives   int
	// ContentDeduplication: a FIFO queue needs no deduplication ids.
	ContentDeduplication bool
}

// Counts are how many messages a queue has, approximately.
type Counts struct{ Visible, InFlight, Delayed int }

// All is the sum of the counts.
func (c Counts) All() int { return c.Visible + c.InFlight + c.Delayed }

// Open reads a queue's settings and counts. The setting is the variable that the URL comes from,
// for errors to name.
func Open(ctx context.Context, c *Client, queueURL, setting string) (*Queue, error) {
	q := &Queue{URL: queueURL, target: c.target(queueURL, setting)}
	attributes, err := q.target.attributes(ctx, []types.QueueAttributeName{types.QueueAttributeNameAll})
	if err != nil {
		return nil, err
	}
	q.FIFO = q.target.fifo
	duration := func(name types.QueueAttributeName) time.Duration {
		return time.Duration(number(attributes, name)) * time.Second
	}
	q.Settings = Settings{
		ARN:                  attributes[string(types.QueueAttributeNameQueueArn)],
		Visibility:           duration(types.QueueAttributeNameVisibilityTimeout),
		Retention:            duration(types.QueueAttributeNameMessageRetentionPeriod),
		Delay:                duration(types.QueueAttributeNameDelaySeconds),
		MaxBytes:             number(attributes, types.QueueAttributeNameMaximumMessageSize),
		ContentDeduplication: attributes[string(types.QueueAttributeNameContentBasedDeduplication)] == "true",
	}
	q.Settings.DeadLetterARN, q.Settings.MaxReceives = redrivePolicy(attributes[string(types.QueueAttributeNameRedrivePolicy)])
	q.Counts = counts(attributes)
	return q, nil
}

// Count reads the counts again.
func (q *Queue) Count(ctx context.Context) (Counts, error) {
	attributes, err := q.target.attributes(ctx, []types.QueueAttributeName{
		types.QueueAttributeNameApproximateNumberOfMessages,
		types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
		types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
	})
	if err != nil {
		return Counts{}, err
	}
	return counts(attributes), nil
}

// Backoff returns the Backoff of the queue.
func (q *Queue) Backoff() *Backoff { return q.target.client.backoff(q.URL) }

func counts(attributes map[string]string) Counts {
	return Counts{
		Visible:  number(attributes, types.QueueAttributeNameApproximateNumberOfMessages),
		InFlight: number(attributes, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible),
		Delayed:  number(attributes, types.QueueAttributeNameApproximateNumberOfMessagesDelayed),
	}
}

func number(attributes map[string]string, name types.QueueAttributeName) int {
	n, _ := strconv.Atoi(attributes[string(name)])
	return n
}

// redrivePolicy reads the attribute RedrivePolicy. Its count is a number, or a string of one.
func redrivePolicy(text string) (deadLetterARN string, maxReceives int) {
	var policy struct {
		DeadLetterTargetArn string          `json:"deadLetterTargetArn"`
		MaxReceiveCount     json.RawMessage `json:"maxReceiveCount"`
	}
	if text == "" || json.Unmarshal([]byte(text), &policy) != nil {
		return "", 0
	}
	maxReceives, _ = strconv.Atoi(strings.Trim(string(policy.MaxReceiveCount), `"`))
	return policy.DeadLetterTargetArn, maxReceives
}

func (t *target) attributes(ctx context.Context, names []types.QueueAttributeName) (map[string]string, error) {
	if t.invalid != nil {
		return nil, t.invalid
	}
	out, err := t.client.api.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &t.url, AttributeNames: names}, t.options)
	if err != nil {
		return nil, t.fault(ctx, "GetQueueAttributes", err)
	}
	return out.Attributes, nil
}

// Received is a message that a call has received, not an event.
type Received struct {
	message.Message
	// Note says why sluice rejected the message, nil if it did not.
	Note *Note
	// SourceARN is the queue that SQS moved the message from, "" if it was sent to this one, as by
	// a DeadLetter.
	SourceARN string
	// DeduplicationID is the one with which it was sent to a FIFO queue.
	DeduplicationID string
	// System has all system attributes as they came.
	System map[string]string
}

// Receive receives up to 10 messages, and waits up to 20 seconds for the first. They stay hidden
// for the queue's visibility timeout. So can a message that is sent while a waiting call is
// cancelled.
func (q *Queue) Receive(ctx context.Context, limit int, wait time.Duration) ([]Received, error) {
	if q.target.invalid != nil {
		return nil, q.target.invalid
	}
	wait = max(0, min(wait, 20*time.Second))
	out, err := q.target.client.api.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    &q.URL,
		MaxNumberOfMessages:         int32(max(1, min(limit, maxEntries))),
		WaitTimeSeconds:             seconds(wait),
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	}, q.target.waiting(wait))
	if err != nil {
		return nil, q.target.fault(ctx, "ReceiveMessage", err)
	}
	received := make([]Received, 0, len(out.Messages))
	for i := range out.Messages {
		r, err := q.received(&out.Messages[i])
		if err != nil {
			return nil, err
		}
		received = append(received, r)
	}
	return received, nil
}

func (q *Queue) received(in *types.Message) (Received, error) {
	r := Received{System: in.Attributes}
	r.ID, r.ReceiptHandle, r.FIFO = aws.ToString(in.MessageId), aws.ToString(in.ReceiptHandle), q.FIFO
	if r.ID == "" || r.ReceiptHandle == "" {
		return r, q.target.misconfigured("a message came without its id or its receipt handle", "check that "+q.target.host+" is SQS"+q.target.endpointHint())
	}
	if in.Body != nil && utf8.ValidString(*in.Body) {
		r.Body, r.HasBody = []byte(*in.Body), true
	}
	if sent, err := strconv.ParseInt(in.Attributes["SentTimestamp"], 10, 64); err == nil && sent >= 0 && sent <= message.MaxSentMillis {
		r.SentMillis, r.HasSent = sent, true
	}
	r.QueueARN = q.Settings.ARN
	r.ReceiveCount, _ = strconv.Atoi(in.Attributes["ApproximateReceiveCount"])
	r.Group = in.Attributes["MessageGroupId"]
	r.SequenceNumber = message.ParseSequence(in.Attributes["SequenceNumber"])
	r.DeduplicationID = in.Attributes["MessageDeduplicationId"]
	r.SourceARN = in.Attributes["DeadLetterQueueSourceArn"]
	r.Note = decodeNote(in.MessageAttributes[NoteAttribute])
	r.Attributes = encodeAttributes(in.MessageAttributes)
	return r, nil
}

// Resend returns the message as its sender sent it: without sluice's note. To a FIFO queue it goes
// as a new message of its group: with its old deduplication id, SQS would drop it for 5 minutes.
func (r *Received) Resend() Outgoing {
	out := Outgoing{Attributes: r.Attributes, Group: r.Group, DeduplicationID: r.ID}
	if r.HasBody {
		out.Body = r.Body
	}
	if r.Note == nil {
		return out
	}
	if attributes, err := decodeAttributes(r.Attributes); err == nil {
		delete(attributes, NoteAttribute)
		out.Attributes = encodeAttributes(attributes)
	}
	return out
}

const deleteMessage = "DeleteMessage"

// Delete deletes messages, and returns the indexes of those for which SQS has not confirmed it,
// with the gravest error. It tries three times what SQS itself fails on.
func (q *Queue) Delete(ctx context.Context, handles []string) (undeleted []int, err error) {
	j := q.target.job(deleteMessage, len(handles))
	j.tries = 3
	j.call = func(ctx context.Context, entries []int) error {
		in := sqs.DeleteMessageBatchInput{QueueUrl: &q.URL, Entries: make([]types.DeleteMessageBatchRequestEntry, len(entries))}
		for k, i := range entries {
			in.Entries[k] = types.DeleteMessageBatchRequestEntry{Id: new(strconv.Itoa(k)), ReceiptHandle: &handles[i]}
		}
		out, err := q.target.client.api.DeleteMessageBatch(ctx, &in, q.target.options)
		if err != nil {
			return err
		}
		confirm(j, entries, out.Successful, func(e types.DeleteMessageBatchResultEntry) *string { return e.Id }, out.Failed)
		return nil
	}
	j.run(ctx, slices.Chunk(upTo(len(handles)), maxEntries))
	return j.result()
}

// ChangeVisibility makes messages visible again after a delay, 0 for at once, and returns the
// indexes of those for which SQS has not confirmed it.
func (q *Queue) ChangeVisibility(ctx context.Context, handles []string, after time.Duration) (unset []int, err error) {
	return q.target.changeVisibility(ctx, handles, func(int) time.Duration { return after })
}

// Send sends messages, and returns the indexes of those that SQS has not confirmed, with the
// gravest error. To a FIFO queue it sends them in order, and after a message that is not sent it
// sends no more of its group.
func (q *Queue) Send(ctx context.Context, messages []Outgoing) (unsent []int, err error) {
	return q.target.send(ctx, messages).result()
}
