package app

import (
	"context"
	"errors"
	"io"
	"reflect"
	"time"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/emf"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
)

// NewHandler makes the Lambda function, and what ends it. Metrics gets a line
// of the embedded metric format for each event. If it is nil, the log has a
// line for each batch.
//
// A configuration that is wrong makes a handler that fails every event with the
// reason, which is not logged here: whoever runs the handler shows its errors.
func NewHandler(ctx context.Context, o Options, metrics io.Writer) (h *handler.Handler, stop func()) {
	h = &handler.Handler{Log: o.Log}
	if metrics != nil {
		w := emf.NewWriter(metrics, emf.Options{Function: o.Environ["AWS_LAMBDA_FUNCTION_NAME"], RequestID: o.RequestID, Now: time.Now})
		h.Metrics = func(ctx context.Context, r *ingest.Report) {
			if err := w.Write(ctx, r); err != nil {
				o.Log.WarnContext(ctx, "no metrics", "error", err.Error())
			}
		}
	}
	a, err := Load(o, config.Database, config.Masks)
	// Even if err is not nil: the messages of a misconfigured function are backed off too.
	if queueErr := a.connectQueues(ctx, h); queueErr != nil {
		problems := &config.ConfigError{}
		if others, ok := errors.AsType[*config.ConfigError](err); ok {
			problems.Problems = others.Problems
		}
		problems.Problems = append(problems.Problems, queueErr.Error())
		err = problems
	}
	stop = func() {}
	if err == nil {
		h.Pipeline, stop, err = a.Pipeline(ctx)
	}
	h.Invalid = err
	return h, stop
}

// connectQueues gives the handler what needs SQS. The SDK's client is made only for
// an installation that has a dead-letter queue or back-off.
func (a *App) connectQueues(ctx context.Context, h *handler.Handler) error {
	if a.Config.DeadLetterQueueURL == "" && !a.Config.Backoff {
		return nil
	}
	client, err := a.SQS(ctx)
	if err != nil {
		return err
	}
	if a.Config.Backoff {
		h.Backoff = backoff{client}
	}
	if a.Config.DeadLetterQueueURL != "" {
		h.DeadLetters = client.DeadLetter(a.Config.DeadLetterQueueURL, "DEAD_LETTER_QUEUE_URL")
	}
	return nil
}

// ErrorType returns what Lambda's answer calls an error: "DatabaseError" and
// the like for a fault.Error, else the name of the error's type.
func ErrorType(err error) string {
	if e := fault.Of(err); e != nil {
		return string(e.Source) + "Error"
	}
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}
