package ingest

import (
	"context"
	"log/slog"

	"example.com/owner/sluice/internal/message"
)

// DeadLetters takes rejected messages away.
type DeadLetters interface {
	// Send sends messages to the dead-letter queue, and returns the indexes of those that were not
	// sent. The error says why.
	Send(ctx context.Context, rejected []message.RejectedMessage) (unsent []int, err error)
}

// Backoff delays the next delivery of messages.
type Backoff interface {
	// Return delays each message for a time that grows with its receive count. An error is
	// harmless: such a message reappears when its visibility timeout expires.
	Return(ctx context.Context, messages []*message.Message) error
}

// SendRejected sends each rejected message to the dead-letter queue, once. Messages that the queue did
// not take become Returned.
func (r *Report) SendRejected(ctx context.Context, queue DeadLetters, log *slog.Logger) {
	var rejected []message.RejectedMessage
	seen := map[string]bool{}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if m := &r.Messages[i]; v.Outcome == message.Rejected && !seen[m.ID] {
			seen[m.ID] = true
			rejected = append(rejected, message.RejectedMessage{Message: m, Rejection: v.Rejection, Model: r.Model(v)})
		}
	}
	if len(rejected) == 0 {
		return
	}
	unsent, err := queue.Send(ctx, rejected)
	if err != nil {
		log.ErrorContext(ctx, "rejected messages are returned: the dead-letter queue did not take them", "count", len(unsent), "error", err.Error())
	}
	failed := map[string]bool{}
	for _, i := range unsent {
		failed[rejected[i].Message.ID] = true
	}
	for i := range r.Verdicts {
		if failed[r.Messages[i].ID] {
			r.Verdicts[i] = message.Verdict{Model: r.Verdicts[i].Model, Cause: message.CauseUnsent}
		}
	}
	r.DeadLettered = len(rejected) - len(unsent)
}

// Settlement is what becomes of a message in its queue.
type Settlement uint8

// The settlements.
const (
	// Leave does nothing: the message reappears when its visibility timeout expires.
	Leave Settlement = iota
	// Delay returns the message with a back-off.
	Delay
	// Done deletes the message.
	Done
)

// Settle decides what becomes of each message, by its verdict. deadLetters says that rejected
// messages have been sent to a dead-letter queue.
//
// On a FIFO queue, a message that waits for a delayed one of its group is delayed with it: SQS
// delivers nothing of a group while one of its messages is invisible, so all of the group would
// wait for the visibility timeout.
func (r *Report) Settle(deadLetters bool) []Settlement {
	all := make([]Settlement, len(r.Verdicts))
	delayed := map[string]bool{} // FIFO groups
	for i := range r.Verdicts {
		v, group := &r.Verdicts[i], r.Messages[i].Group
		switch {
		case v.Done(deadLetters):
			all[i] = Done
		case v.Outcome == message.Returned && (v.Cause.Delays() || v.Cause == message.CauseGroup && delayed[group]):
			all[i], delayed[group] = Delay, true
		}
	}
	return all
}
