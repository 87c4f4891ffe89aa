// Package handler is the Lambda function without Lambda: the bytes of an
// event become the bytes of an answer. The function and `sluice invoke` run
// the same one.
package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/ingest"
	"sluice/internal/mask"
	"sluice/internal/message"
	"sluice/internal/sqsevent"
)

// Handler answers events. It is safe for concurrent use.
type Handler struct {
	pipeline *ingest.Pipeline
	keys     *mask.Keyring
	log      *slog.Logger
	// Observe, when set, is given what became of each batch.
	Observe func([]message.Message, *ingest.Report)
}

// New makes a handler. Masks without a key are warned of.
func New(p *ingest.Pipeline, keys *mask.Keyring, log *slog.Logger) *Handler {
	if !keys.Keyed() {
		log.Warn("masks are unkeyed SHA-256, which anyone can reverse by trying all values; set SLUICE_MASK_KEYS in place of SLUICE_MASK=sha256 when no existing table needs them")
	}
	return &Handler{pipeline: p, keys: keys, log: log, Observe: func([]message.Message, *ingest.Report) {}}
}

// margin is how long before its deadline an invocation stops working, to
// have the server's work cancelled and to answer in time.
const margin = time.Second

// Invoke answers one event. An error fails the invocation: SQS delivers all
// its messages again.
func (h *Handler) Invoke(ctx context.Context, event []byte) (answer []byte, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			answer, err = nil, fmt.Errorf("a panic of type %T", cause) // its text may quote the event
		}
	}()
	messages, err := sqsevent.Decode(event)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-min(margin, time.Until(deadline)/3)))
		defer cancel()
	}
	report := h.pipeline.Run(ctx, h.keys, messages)
	h.pipeline.Log(ctx, messages, &report)
	h.Observe(messages, &report)
	if err := loud(&report); err != nil {
		return nil, err
	}
	var failed []string
	for i, v := range report.Verdicts {
		if v.Outcome != message.Stored && v.Outcome != message.Repeated {
			failed = append(failed, messages[i].ID)
		}
	}
	return sqsevent.Answer(failed), nil
}

// loud returns the operator's fault when it kept every message from being
// stored: such an invocation fails, so that alarms see it.
func loud(r *ingest.Report) error {
	if r.Fault != message.CauseOperator || r.Count(message.Stored) > 0 {
		return nil
	}
	return r.Err
}

// Failing makes a handler's function that fails each event with an error,
// for a configuration that is wrong: the invocations say so, with the event
// decoded first, in place of an init that fails without a word.
func Failing(cause error) func(context.Context, []byte) ([]byte, error) {
	if cause == nil {
		cause = errors.New("no cause")
	}
	return func(context.Context, []byte) ([]byte, error) { return nil, cause }
}
