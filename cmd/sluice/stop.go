package main

import (
	"context"
	"errors"
)

// errStopped ends a command that a signal has ended.
var errStopped = errors.New("stopped")

// orStopped does what may wait for ever, such as to open or to read a FIFO.
// No read can be told to end, so when ctx ends first it is left behind, and
// goes when the process does.
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
