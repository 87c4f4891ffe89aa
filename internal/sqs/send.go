package sqs

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"example.com/owner/sluice/internal/message"
)

// The limits of SendMessageBatch: "the maximum allowed individual message
// size and the maximum total payload size are both 1 MiB 1,048,576 bytes"
// (SQS API Reference), attributes included, and "a message can contain up to
// 10 metadata attributes" (Amazon SQS message quotas). A queue may have a
// lower limit of its own for one message.
const (
	maxBytes      = 1 << 20
	maxAttributes = 10
)

const sendMessage = "SendMessage"

// Outgoing is a message to send.
type Outgoing struct {
	Body []byte
	// Attributes is JSON in the form of a Lambda event's messageAttributes, as in message.Message;
	// nil for none.
	Attributes []byte
	// Group is MessageGroupId: required on a FIFO queue, allowed on others.
	Group string
	// DeduplicationID is MessageDeduplicationId; it is sent only to a FIFO queue.
	DeduplicationID string

	// notes are a note in several lengths, the longest first; the first that fits replaces an earlier
	// one. None for no note.
	notes []*types.MessageAttributeValue
}

// prepared is a message as an entry of SendMessageBatch.
type prepared struct {
	entry types.SendMessageBatchRequestEntry
	group string
	bytes int
	// err is why it cannot be sent, found without a call.
	err error
}

var (
	errBody  = errors.New("its body is empty, or not valid UTF-8")
	errRoom  = errors.New("it is too large, or has too many attributes")
	errGroup = errors.New("it has no message group, which a FIFO queue needs")
)

// prepare checks a message, and adds its note. Without room for it (10 attributes already, 1 MiB,
// or the sender's own attribute of that name) the message goes without: that it arrives matters
// more.
func prepare(m *Outgoing, fifo bool) prepared {
	p := prepared{group: m.Group}
	attributes, err := decodeAttributes(m.Attributes)
	if err != nil {
		p.err = err
		return p
	}
	if len(m.Body) == 0 || !utf8.Valid(m.Body) {
		p.err = errBody
		return p
	}
	if fifo && m.Group == "" {
		p.err = errGroup
		return p
	}
	if len(m.notes) > 0 {
		attributes = annotated(attributes, m.notes, maxBytes-len(m.Body))
	}
	if p.bytes = len(m.Body) + attributesSize(attributes); p.bytes > maxBytes || len(attributes) > maxAttributes {
		p.err = errRoom
		return p
	}
	body := string(m.Body)
	p.entry.MessageBody, p.entry.MessageAttributes = &body, attributes
	if m.Group != "" {
		p.entry.MessageGroupId = &p.group
	}
	if fifo && m.DeduplicationID != "" {
		p.entry.MessageDeduplicationId = &m.DeduplicationID
	}
	return p
}

// annotated returns the attributes with the first of the notes with which they fit into room bytes,
// without a note if none does.
func annotated(attributes map[string]types.MessageAttributeValue, notes []*types.MessageAttributeValue, room int) map[string]types.MessageAttributeValue {
	old, ok := attributes[NoteAttribute]
	if ok && decodeNote(old) == nil {
		return attributes
	}
	with := maps.Clone(attributes)
	if with == nil {
		with = make(map[string]types.MessageAttributeValue, 1)
	}
	for _, note := range notes {
		with[NoteAttribute] = *note
		if len(with) <= maxAttributes && attributesSize(with) <= room {
			return with
		}
	}
	delete(with, NoteAttribute) // an old one too, which would be wrong
	return with
}

// send sends messages, and returns the finished job.
func (t *target) send(ctx context.Context, outgoing []Outgoing) *job {
	j := t.job(sendMessage, len(outgoing))
	j.tries = 3
	messages := make([]prepared, len(outgoing))
	for i := range messages {
		messages[i] = prepare(&outgoing[i], t.fifo)
		if err := messages[i].err; err != nil {
			j.outcomes[i].err = t.failure(message.CauseUnsent, sendMessage, "a message cannot be sent: "+err.Error())
		}
	}
	j.call = func(ctx context.Context, entries []int) error {
		in := sqs.SendMessageBatchInput{QueueUrl: &t.url, Entries: make([]types.SendMessageBatchRequestEntry, len(entries))}
		for k, i := range entries {
			in.Entries[k] = messages[i].entry
			in.Entries[k].Id = new(strconv.Itoa(k))
		}
		out, err := t.client.api.SendMessageBatch(ctx, &in, t.options)
		if err != nil {
			return err
		}
		confirm(j, entries, out.Successful, func(e types.SendMessageBatchResultEntry) *string { return e.Id }, out.Failed)
		return nil
	}
	if t.fifo {
		j.parallel = 1
		j.sendInOrder(ctx, messages)
	} else {
		j.run(ctx, slices.Values(pack(messages)))
	}
	return j
}

// pack puts the messages that can be sent into batches, by number and size.
func pack(messages []prepared) (batches [][]int) {
	size := 0
	for i := range messages {
		if messages[i].err != nil {
			continue
		}
		last := len(batches) - 1
		if last < 0 || len(batches[last]) == maxEntries || size+messages[i].bytes > maxBytes {
			batches, size = append(batches, make([]int, 0, maxEntries)), 0
			last++
		}
		batches[last], size = append(batches[last], i), size+messages[i].bytes
	}
	return batches
}

// orderWindow is how far ahead sendInOrder looks for messages of other groups.
const orderWindow = 100

// sendInOrder sends to a FIFO queue, one batch after another, so that the order of a group holds,
// and stops a group at the first message that cannot be sent. A batch has at most one message of a
// group: SQS may refuse one entry of a batch and accept the next, which would then be ahead of it.
func (j *job) sendInOrder(ctx context.Context, messages []prepared) {
	waiting := upTo(len(messages))
	stopped := map[string]bool{}
	afterUnsent := j.failure(message.CauseUnsent, sendMessage, "an earlier message of the group was not sent")
	for len(waiting) > 0 {
		batch, size := make([]int, 0, maxEntries), 0
		var left []int
		seen := map[string]bool{}
		window := waiting[:min(orderWindow, len(waiting))]
		for _, i := range window {
			switch p := &messages[i]; {
			case stopped[p.group]:
				j.outcomes[i].err = afterUnsent
			case seen[p.group], p.err == nil && (len(batch) == maxEntries || size+p.bytes > maxBytes):
				left = append(left, i)
				seen[p.group] = true
			case p.err != nil:
				stopped[p.group] = true
			default:
				batch, size = append(batch, i), size+p.bytes
				seen[p.group] = true
			}
		}
		j.try(ctx, batch)
		for _, i := range batch {
			if j.outcomes[i].err != nil {
				stopped[messages[i].group] = true
			}
		}
		waiting = waiting[len(window)-len(left):]
		copy(waiting, left)
	}
}
