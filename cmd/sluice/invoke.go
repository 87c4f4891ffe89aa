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
)

type invokeCmd struct {
	Event string `short:"e" required:"true" placeholder:"FILE" help:"File with the event, as in events/batch.json; - for standard input."`
}

// Help says more than one line.
func (invokeCmd) Help() string {
	return `The answer goes to standard output, byte for byte what Lambda would return; logs go to standard error.
When the handler fails, the answer is Lambda's error JSON and the exit code is 1.

  sluice invoke -e events/batch.json`
}

// Run implements the command.
func (c *invokeCmd) Run(ctx context.Context, a *app) error {
	event, err := a.read(ctx, c.Event)
	if err != nil {
		return fmt.Errorf("read the event: %w", err)
	}
	answer, err := a.invoke(ctx, event)
	if err != nil {
		answer, jsonErr := json.Marshal(lambdaError{err.Error(), errorType(err)}, json.Deterministic(true))
		if jsonErr != nil {
			return jsonErr
		}
		fmt.Fprintf(a.stdout, "%s\n", answer)
		return err
	}
	fmt.Fprintf(a.stdout, "%s\n", answer)
	return nil
}

func (a *app) invoke(ctx context.Context, event []byte) ([]byte, error) {
	h, stop := function.New(ctx, function.Options{Environ: a.environ, Log: a.log(), AWS: loadAWS, Open: openSQLite})
	defer stop()
	return h.Invoke(ctx, event)
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
