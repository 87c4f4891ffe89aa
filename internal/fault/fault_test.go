package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

func TestError(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  fault.Error
		want string
	}{
		{"with a remedy", fault.Error{What: "insert into t: SQLSTATE 42P01", Remedy: "create it"}, "insert into t: SQLSTATE 42P01; create it"},
		{"without", fault.Error{What: "connect: stopped"}, "connect: stopped"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	configuration := &fault.Error{Source: fault.Queue, Cause: message.CauseConfiguration, What: "x"}
	for _, tt := range []struct {
		name string
		err  error
		of   *fault.Error
		want message.Cause
	}{
		{"an Error", configuration, configuration, message.CauseConfiguration},
		{"a wrapped one", fmt.Errorf("send: %w", configuration), configuration, message.CauseConfiguration},
		{"one of several", errors.Join(errors.New("x"), configuration), configuration, message.CauseConfiguration},
		{"another error", errors.New("x"), nil, message.CauseTransient},
		{"a deadline", fmt.Errorf("x: %w", context.DeadlineExceeded), nil, message.CauseDeadline},
		{"the end of a context", context.Canceled, nil, message.CauseTransient},
	} {
		if got := fault.Cause(tt.err); got != tt.want {
			t.Errorf("%s: the cause is %q, want %q", tt.name, got, tt.want)
		}
		if got := fault.Of(tt.err); got != tt.of {
			t.Errorf("%s: Of returns %v, want %v", tt.name, got, tt.of)
		}
	}
	ended := &fault.Error{Cause: message.CauseConfiguration, Err: context.DeadlineExceeded}
	if got := fault.Cause(ended); got != message.CauseDeadline {
		t.Errorf("an Error that a deadline ended: got %q", got)
	}
	if fault.Of(nil) != nil {
		t.Error("Of(nil) is an error")
	}
}

func TestStopped(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{context.DeadlineExceeded: "no time left", context.Canceled: "stopped"} {
		if got := fault.Stopped(err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}
