package sqs

import (
	"context"

	"example.com/owner/sluice/internal/message"
)

// DeadLetter is the queue that rejected messages are sent to.
type DeadLetter struct{ target *target }

// DeadLetter returns the queue for rejected messages. The setting is the variable
// that the URL comes from, for errors to name.
func (c *Client) DeadLetter(queueURL, setting string) *DeadLetter {
	return &DeadLetter{target: c.target(queueURL, setting)}
}

// Send sends the messages with their bodies and attributes unchanged, and adds one attribute, a Note. It
// returns the indexes of those that SQS has not confirmed (which must be returned to their queue), and
// the gravest error.
//
// It does not send messages without a body, or with attributes that cannot be read. A message without
// room for the note is sent with a brief one, without details, and if that does not fit (10 attributes
// already, or 1 MiB, or the sender's own attribute of that name) without any. One that was rejected
// before gets a new note. To a FIFO queue it sends the messages in order, and after a message that is
// not sent it sends no more of its group; SQS confirms one that it saw within the last 5 minutes, and
// does not store it twice.
func (d *DeadLetter) Send(ctx context.Context, rejected []message.RejectedMessage) (unsent []int, err error) {
	if len(rejected) > 0 && d.target.isQueue(rejected[0].Message.QueueARN) {
		// They would be received, rejected and sent forever, each time as new messages.
		return upTo(len(rejected)), d.target.misconfigured("the messages come from this queue", "name another one")
	}
	outgoing := make([]Outgoing, len(rejected))
	for i, r := range rejected {
		outgoing[i] = d.annotate(&r)
	}
	return d.target.send(ctx, outgoing).result()
}

// annotate returns a rejected message as it is sent: unchanged, with a note.
func (d *DeadLetter) annotate(r *message.RejectedMessage) Outgoing {
	m := r.Message
	out := Outgoing{Attributes: m.Attributes, Group: m.Group, DeduplicationID: m.ID}
	if m.HasBody {
		out.Body = m.Body
	}
	if d.target.fifo && out.Group == "" {
		out.Group = NoteAttribute // a FIFO queue accepts no message without a group
	}
	note := newNote(m, &r.Rejection, r.Model)
	for _, n := range []Note{note, note.brief()} {
		attribute, err := n.encode()
		if err != nil {
			out.Attributes = []byte(unsendable) // it never happens: everything here is valid UTF-8
		} else {
			out.notes = append(out.notes, attribute)
		}
	}
	return out
}
