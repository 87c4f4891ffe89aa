// Package handler is the Lambda function without Lambda: the bytes of an
// event become the bytes of an answer. The function and `sluice invoke` run
// the same one.
//
//	decode -> ingest.Pipeline -> rejected messages to the dead-letter queue
//	                          -> returned ones backed off -> answer
//
// Where messages go is behind small interfaces: it imports no AWS SDK.
package handler

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"sluice/internal/ingest"
	"sluice/internal/mask"
	"sluice/internal/message"
	"sluice/internal/sqsevent"
)

// DeadLetters takes rejected messages away.
type DeadLetters interface {
	// Send sends the messages with the given indexes, and the verdicts on
	// them, and returns the indexes of those that were not sent. An error
	// says why.
	Send(ctx context.Context, messages []message.Message, verdicts []message.Verdict, rejected []int) (unsent []int, err error)
}

// Backoff delays the next delivery of messages.
type Backoff interface {
	// Return delays the messages with the given indexes by their receive
	// counts. An error is harmless: they reappear when their visibility timeout
	// expires.
	Return(ctx context.Context, messages []message.Message, returned []int) error
}

// Handler answers events. Its fields are set before the first event; it is
// safe for concurrent use.
type Handler struct {
	Pipeline *ingest.Pipeline
	// Keys gives the keys that mask; it may fetch them.
	Keys func(context.Context) (*mask.Keyring, error)
	Log  *slog.Logger
	// DeadLetters is nil when rejected messages are returned, and SQS itself
	// moves them after their last receive.
	DeadLetters DeadLetters
	// Backoff is nil when the queue's visibility time-out is all the delay.
	Backoff Backoff
	// Observe, when set, is given what became of each batch, and nothing of
	// an event that is none.
	Observe func(context.Context, []message.Message, *ingest.Report)
	// Broken, when set, is why this installation can do no work. Every event
	// fails with it, after its messages are backed off: a failed init would
	// say little, and drain the queue to the dead-letter queue.
	Broken error
}

// How long before its deadline an invocation stops working: margin to have
// the server's work cancelled and to answer, reserve for the calls to SQS.
// Both shrink when an invocation has little time in all.
const (
	margin  = time.Second
	reserve = 5 * time.Second
)

// Invoke answers one event. An error fails the invocation: SQS delivers all
// its messages again. Such an error is not in the log: Lambda's runtime writes
// it there.
func (h *Handler) Invoke(ctx context.Context, event []byte) (answer []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			answer, err = nil, fmt.Errorf("a panic of type %T", cause) // its text may quote the event
			h.Log.ErrorContext(ctx, "panic", "panic", fmt.Sprintf("%T", cause), "stack", string(debug.Stack()))
		}
	}()
	messages, err := sqsevent.Decode(event)
	if err != nil {
		h.observe(ctx, nil, &ingest.Report{})
		return nil, err
	}
	ctx, cancel := before(ctx, margin)
	defer cancel()
	report := h.run(ctx, messages)
	loud := failure(&report)
	if loud == nil {
		h.reject(ctx, messages, report.Verdicts)
	} else {
		unreject(report.Verdicts)
	}
	h.backOff(ctx, messages, &report)
	// Only now is it certain what became of each message.
	if h.Pipeline != nil {
		logged := report
		if loud != nil {
			logged.Err = nil // whoever gets it shows it
		}
		h.Pipeline.Log(ctx, messages, &logged)
	}
	h.observe(ctx, messages, &report)
	if loud != nil {
		return nil, loud
	}
	return sqsevent.Answer(h.failed(messages, report.Verdicts)), nil
}

func (h *Handler) observe(ctx context.Context, messages []message.Message, r *ingest.Report) {
	if h.Observe != nil {
		h.Observe(ctx, messages, r)
	}
}

// before moves the context's deadline forward by d, or by a third of what is
// left when that is less.
func before(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(d, time.Until(deadline)/3)))
}

func (h *Handler) run(ctx context.Context, messages []message.Message) ingest.Report {
	if h.DeadLetters != nil || h.Backoff != nil {
		var cancel context.CancelFunc
		ctx, cancel = before(ctx, reserve)
		defer cancel()
	}
	if h.Broken != nil {
		return ingest.Unable(messages, h.Broken, message.CauseConfiguration)
	}
	if len(messages) == 0 {
		return ingest.Report{}
	}
	keys, err := h.Keys(ctx)
	if err != nil {
		return ingest.Unable(messages, err, ingest.FaultOf(err))
	}
	return h.Pipeline.Run(ctx, keys, messages)
}

// failure returns the operator's fault when no message was stored for it:
// such an invocation fails, so that alarms see it.
func failure(r *ingest.Report) error {
	if r.Fault != message.CauseConfiguration || r.Count(message.Stored) > 0 {
		return nil
	}
	return r.Err
}

// unreject returns rejected messages with the others, when the invocation
// fails: they come back too, and must be delayed like them.
func unreject(verdicts []message.Verdict) {
	for i := range verdicts {
		if verdicts[i].Outcome == message.Rejected {
			verdicts[i] = message.Verdict{Cause: message.CauseConfiguration}
		}
	}
}

// reject sends the rejected messages to the dead-letter queue. What it did
// not take is returned.
func (h *Handler) reject(ctx context.Context, messages []message.Message, verdicts []message.Verdict) {
	if h.DeadLetters == nil {
		return
	}
	var rejected []int
	seen := map[string]bool{}
	for i, v := range verdicts {
		if v.Outcome == message.Rejected && !seen[messages[i].ID] {
			rejected, seen[messages[i].ID] = append(rejected, i), true
		}
	}
	if len(rejected) == 0 {
		return
	}
	unsent, err := h.DeadLetters.Send(ctx, messages, verdicts, rejected)
	if err != nil {
		h.Log.ErrorContext(ctx, "rejected messages are returned: the dead-letter queue did not take them", "count", len(unsent), "error", err.Error())
	}
	failed := map[string]bool{}
	for _, i := range unsent {
		failed[messages[i].ID] = true
	}
	for i := range verdicts {
		if failed[messages[i].ID] {
			verdicts[i] = message.Verdict{Cause: message.CauseUnsent}
		}
	}
}

// backOff delays what is returned through no fault of its own, and on a FIFO
// queue what waits behind it: SQS delivers nothing of a group while one of its
// messages is invisible, so all of it would wait for the visibility timeout.
func (h *Handler) backOff(ctx context.Context, messages []message.Message, r *ingest.Report) {
	if h.Backoff == nil {
		return
	}
	var returned []int
	delayed := map[string]bool{} // FIFO groups whose first returned message is
	for i, v := range r.Verdicts {
		if v.Outcome != message.Returned {
			continue
		}
		switch v.Cause {
		case message.CauseTransient, message.CauseConfiguration, message.CauseDeadline, message.CauseDiscarded, message.CauseUnsent:
			returned = append(returned, i)
			delayed[messages[i].Group] = true
		case message.CauseGroup:
			if delayed[messages[i].Group] {
				returned = append(returned, i)
			}
		case message.CauseNone, message.CausePanic:
		}
	}
	if len(returned) == 0 {
		return
	}
	if err := h.Backoff.Return(ctx, messages, returned); err != nil {
		h.Log.WarnContext(ctx, "messages are returned without back-off", "error", err.Error())
	}
}

// failed lists the ids that go back. A rejected message is done once the
// dead-letter queue has it.
func (h *Handler) failed(messages []message.Message, verdicts []message.Verdict) []string {
	var ids []string
	for i, v := range verdicts {
		done := v.Outcome == message.Stored || v.Outcome == message.Repeated || v.Outcome == message.Rejected && h.DeadLetters != nil
		if !done {
			ids = append(ids, messages[i].ID)
		}
	}
	return ids
}

// Static gives always the same keys.
func Static(keys *mask.Keyring) func(context.Context) (*mask.Keyring, error) {
	return func(context.Context) (*mask.Keyring, error) { return keys, nil }
}
