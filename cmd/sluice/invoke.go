package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json"

	"sluice/internal/function"
	"sluice/internal/ingest"
	"sluice/internal/message"
)

type invokeCmd struct {
	Event string `short:"e" required:"true" placeholder:"FILE" help:"File with the event, as in events/batch.json; - for standard input."`
}

// Help says more than one line.
func (invokeCmd) Help() string {
	return `The answer goes to standard output, byte for byte what Lambda would return; logs go to standard error. The exit code is
1 when the handler fails (the answer is Lambda's error JSON then), and when nothing was stored because the database or
the configuration failed: the answer returns the messages, and SQS would deliver them again. It is 0 when messages were
stored, when all were rejected for what they carry, and when the event has none.

  sluice invoke -e events/batch.json`
}

// Run implements the command.
func (c *invokeCmd) Run(ctx context.Context, a *app) error {
	event, err := a.read(ctx, c.Event)
	if err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	answer, report, err := a.invoke(ctx, event)
	if err != nil {
		answer, jsonErr := json.Marshal(lambdaError{a.named(err.Error()), errorType(err)}, json.Deterministic(true))
		if jsonErr != nil {
			return jsonErr
		}
		fmt.Fprintf(a.stdout, "%s\n", answer)
		return err
	}
	fmt.Fprintf(a.stdout, "%s\n", answer)
	if outage(report) {
		return fmt.Errorf("nothing was stored (%s returned); the log has the reason", many(report.Count(message.Returned), "message"))
	}
	return nil
}

// invoke runs the function on one event, and returns what became of its messages as well.
func (a *app) invoke(ctx context.Context, event []byte) (answer []byte, report *ingest.Report, err error) {
	h, stop := function.New(ctx, function.Options{Environ: a.environ, Log: a.log(), AWS: loadAWS, Open: openSQLite})
	defer stop()
	report = &ingest.Report{}
	h.Observe = func(_ context.Context, r *ingest.Report) { report = r }
	answer, err = h.Invoke(ctx, event)
	return answer, report, err
}

// outage reports whether nothing was stored, and not for what the messages carry.
func outage(r *ingest.Report) bool {
	failed := false
	for _, v := range r.Verdicts {
		switch v.Cause {
		case message.CauseTransient, message.CauseConfiguration, message.CauseDeadline, message.CauseDiscarded, message.CausePanic:
			failed = true
		case message.CauseNone, message.CauseGroup, message.CauseUnsent:
		}
		if v.Outcome == message.Stored {
			return false
		}
	}
	return failed
}

// lambdaError is what Lambda makes of a function's error.
type lambdaError struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// errorType is the name that aws-lambda-go gives an error: its type's.
func errorType(err error) string {
	t := reflect.TypeOf(err)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}

// read reads a file, or standard input for "-".
func (a *app) read(ctx context.Context, path string) ([]byte, error) {
	if path == "-" || path == "" {
		return orStopped(ctx, func() ([]byte, error) { return io.ReadAll(a.stdin) })
	}
	if content := strings.TrimLeft(path, "\ufeff \t\r\n"); content != "" && strings.ContainsRune(`{["`, rune(content[0])) {
		return nil, errors.New("the argument is the name of a file, and looks like JSON; give that on standard input")
	}
	return orStopped(ctx, func() ([]byte, error) { return os.ReadFile(path) })
}
