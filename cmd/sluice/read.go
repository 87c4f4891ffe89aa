package main

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
)

// errStopped ends a command that a signal has ended.
var errStopped = errors.New("stopped")

// read reads a file, or standard input for "-".
func (con *console) read(ctx context.Context, path string) ([]byte, error) {
	if path == "-" || path == "" {
		return orStopped(ctx, func() ([]byte, error) { return io.ReadAll(con.stdin) })
	}
	if content := strings.TrimLeft(path, "\ufeff \t\r\n"); content != "" && strings.ContainsRune(`{["`, rune(content[0])) {
		return nil, errors.New("the argument is the name of a file, and looks like JSON; give that on standard input")
	}
	return orStopped(ctx, func() ([]byte, error) { return os.ReadFile(path) })
}

// orStopped does what may wait for ever, such as opening or reading a FIFO. A
// read cannot be cancelled: when ctx ends first, do is left to run until the
// process ends.
func orStopped[T any](ctx context.Context, do func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := do()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errStopped
	}
}
