// Package handler is the Lambda function without Lambda: it makes the bytes of an answer from the
// bytes of an event. The function and `sluice invoke` run the same one.
//
//	decode -> ingest.Pipeline -> rejected messages to the dead-letter queue
//	                          -> returned ones backed off -> answer
//
// It reaches SQS through the interfaces of ingest, so that it imports no AWS SDK.
package handler

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqsevent"
)

// Handler answers events. Set its fields before the first event; then it is safe for concurrent
// use.
type Handler struct {
	Pipeline *ingest.Pipeline
	Log      *slog.Logger
	// DeadLetters is nil when rejected messages are returned, and SQS itself moves them after their
	// last receive.
	DeadLetters ingest.DeadLetters
	// Backoff is nil when the queue's visibility timeout is all the delay.
	Backoff ingest.Backoff
	// Metrics, when set, writes the line of metrics of each batch, and an empty one of an event that
	// is invalid. It replaces the log's line "batch", which says no more.
	Metrics func(context.Context, *ingest.Report)
	// Observe, when set, gets the same reports. Their memory is the next event's: they end with the
	// call.
	Observe func(context.Context, *ingest.Report)
	// Invalid, when set, is why the configuration is invalid. Every event fails with it, after its
	// messages are backed off: a function that failed to start would say little, and move the whole
	// queue to the dead-letter queue.
	Invalid error

	idle atomic.Pointer[scratch]
}

// scratch is the memory of one event, kept for the next one. There is at most one: Lambda sends one event
// after another.
type scratch struct {
	events   sqsevent.Decoder
	verdicts []message.Verdict
}

// maxVerdicts bounds what is kept of them: some 1 MiB.
const maxVerdicts = 6000

func (h *Handler) release(s *scratch) {
	s.events.Release()
	if cap(s.verdicts) > maxVerdicts {
		s.verdicts = nil
	}
	h.idle.Store(s)
}

// How long before its deadline an invocation stops working: margin to have the server's work
// cancelled and to answer, reserve for the calls to SQS. Both shrink when an invocation has little
// time in all.
const (
	margin  = time.Second
	reserve = 5 * time.Second
)

// Invoke answers one event. An error fails the invocation: SQS delivers all its messages again.
// Invoke does not log such an error, since Lambda's runtime does.
func (h *Handler) Invoke(ctx context.Context, event []byte) (answer []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			answer, err = nil, fmt.Errorf("a panic of type %T", cause) // its text may quote the event
			h.Log.ErrorContext(ctx, "panic", "panic", fault.Panic(cause), "stack", string(debug.Stack()))
		}
	}()
	s := h.idle.Swap(nil)
	if s == nil {
		s = new(scratch)
	}
	answer, err = h.answer(ctx, s, event)
	h.release(s) // not after a panic: somebody may still use the memory
	return answer, err
}

func (h *Handler) answer(ctx context.Context, s *scratch, event []byte) (answer []byte, err error) {
	messages, err := s.events.Decode(event)
	if err != nil {
		h.observe(ctx, &ingest.Report{})
		return nil, err
	}
	ctx, cancel := withEarlierDeadline(ctx, margin)
	defer cancel()
	report := h.run(ctx, messages, s.verdicts)
	s.verdicts = report.Verdicts
	invocationErr := failure(&report)
	switch {
	case invocationErr != nil:
		returnAll(&report)
	case h.DeadLetters != nil:
		report.SendRejected(ctx, h.DeadLetters, h.Log)
	}
	failed := h.settle(ctx, &report)
	// Only now is it certain what became of each message.
	if h.Pipeline != nil {
		h.Pipeline.Log(ctx, &report, invocationErr != nil)
		if h.Metrics == nil {
			h.Pipeline.LogBatch(ctx, &report)
		}
	}
	h.observe(ctx, &report)
	if invocationErr != nil {
		return nil, invocationErr
	}
	return sqsevent.Answer(failed), nil
}

func (h *Handler) observe(ctx context.Context, r *ingest.Report) {
	for _, f := range []func(context.Context, *ingest.Report){h.Metrics, h.Observe} {
		if f != nil {
			f(ctx, r)
		}
	}
}

// withEarlierDeadline makes the context's deadline earlier by d, or by a third of the time that is
// left if that is less.
func withEarlierDeadline(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(d, time.Until(deadline)/3)))
}

func (h *Handler) run(ctx context.Context, messages []message.Message, verdicts []message.Verdict) ingest.Report {
	if h.DeadLetters != nil || h.Backoff != nil {
		var cancel context.CancelFunc
		ctx, cancel = withEarlierDeadline(ctx, reserve)
		defer cancel()
	}
	if h.Invalid != nil {
		return ingest.Unable(messages, h.Invalid, message.CauseConfiguration)
	}
	if len(messages) == 0 {
		return ingest.Report{}
	}
	return h.Pipeline.RunIn(ctx, messages, verdicts)
}

// failure returns the configuration error of a batch of which no message was stored: the invocation
// fails with it, so that alarms see it.
func failure(r *ingest.Report) error {
	if r.Cause != message.CauseConfiguration || r.Count(message.Stored) > 0 {
		return nil
	}
	return r.Err
}

// returnAll returns what no store has done with the others when the invocation fails: SQS delivers
// rejected and ignored messages again too, so they must be delayed like the others.
func returnAll(r *ingest.Report) {
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Outcome == message.Rejected || v.Outcome == message.Ignored {
			*v = message.Verdict{Model: v.Model, Cause: message.CauseConfiguration}
		}
	}
}

// settle delays the messages that are to come again later, and returns the ids of all that are not
// done.
func (h *Handler) settle(ctx context.Context, r *ingest.Report) (failed []string) {
	var delayed []*message.Message
	for i, settlement := range r.Settle(h.DeadLetters != nil) {
		m := &r.Messages[i]
		if settlement != ingest.Done {
			failed = append(failed, m.ID)
		}
		if settlement == ingest.Delay {
			delayed = append(delayed, m)
		}
	}
	if h.Backoff != nil && len(delayed) > 0 {
		if err := h.Backoff.Return(ctx, delayed); err != nil {
			h.Log.WarnContext(ctx, "messages are returned without back-off", "error", err.Error())
		}
	}
	return failed
}
