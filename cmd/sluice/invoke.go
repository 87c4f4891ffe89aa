package main

import (
	"context"
	"errors"
	"fmt"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqsevent"
)

type invokeCmd struct {
	Event string `short:"e" required:"true" completion-predictor:"file" placeholder:"FILE" help:"File with the event, as in events/batch.json; - for standard input."`
}

// Help returns the details.
func (invokeCmd) Help() string {
	return `The answer goes to standard output, byte for byte what Lambda would return. Logs go to standard error. The exit code is
1 when the handler fails (the answer is Lambda's error JSON then), and when nothing was stored because the database or
the configuration failed: the answer returns the messages, and SQS would deliver them again. It is 0 when messages were
stored, when all were rejected for their content, and when the event has no messages.

  sluice invoke -e events/batch.json`
}

// Run implements the command.
func (c *invokeCmd) Run(ctx context.Context, con *console) error {
	event, err := con.read(ctx, c.Event)
	if err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	h, stop := app.NewHandler(ctx, con.options(con.log()), nil)
	defer stop()
	failed, returned := false, 0
	h.Observe = func(_ context.Context, r *ingest.Report) { failed, returned = outage(r), r.Count(message.Returned) }
	answer, err := h.Invoke(ctx, event)
	if err != nil {
		if _, ours := errors.AsType[*sqsevent.EventError](err); ours {
			if bodies := areBodies(event, c.Event); bodies != "" {
				defer fmt.Fprintf(con.stderr, "sluice: %s\n", bodies)
			}
		}
		return con.printJSON(invokeError{err.Error(), app.ErrorType(err)}, err)
	}
	fmt.Fprintf(con.stdout, "%s\n", answer)
	if failed {
		return fmt.Errorf("nothing was stored (%s returned); the log has the reason", many(returned, "message"))
	}
	return nil
}

// invokeError is an error as Lambda answers it.
type invokeError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// outage reports whether nothing was stored, and not for what the messages carry.
func outage(r *ingest.Report) bool {
	failed := false
	for _, v := range r.Verdicts {
		switch v.Cause {
		case message.CauseTransient, message.CauseConfiguration, message.CauseDeadline, message.CauseDiscarded, message.CausePanic:
			failed = true
		case message.CauseNone, message.CauseGroup, message.CauseUnsent, message.CauseForeignKey, message.CauseMemory:
		}
		if v.Outcome == message.Stored {
			return false
		}
	}
	return failed
}
