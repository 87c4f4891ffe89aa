package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// canary is in every body and attribute: no error may hold it.
const canary = "canary-203.0.113.7"

func server(t *testing.T) (*sqstest.Server, *sqs.Client) {
	t.Helper()
	s := sqstest.New()
	t.Cleanup(s.Close)
	return s, s.Client().WithTimeout(15 * time.Second)
}

// impatient is a client for calls that nobody answers.
func impatient(c *sqs.Client) *sqs.Client { return c.WithTimeout(time.Second) }

// always has every call meet a fault.
func always(f sqstest.Fault) func(sqstest.Call) *sqstest.Fault {
	return func(sqstest.Call) *sqstest.Fault { return &f }
}

// with has the calls meet a fault that send the message of that number.
func with(number string, f sqstest.Fault) func(sqstest.Call) *sqstest.Fault {
	return func(c sqstest.Call) *sqstest.Fault {
		if !slices.Contains(c.Entries, number+" "+canary) {
			return nil
		}
		return &f
	}
}

// first has each batch meet one fault, and then another.
func first(one, then sqstest.Fault) func(sqstest.Call) *sqstest.Fault {
	var met sync.Map // by the first entry
	return func(c sqstest.Call) *sqstest.Fault {
		if _, again := met.LoadOrStore(c.Entries[0], true); again {
			return &then
		}
		return &one
	}
}

// once has each batch meet a fault.
func once(f sqstest.Fault) func(sqstest.Call) *sqstest.Fault { return first(f, sqstest.Fault{}) }

// silent fails the test when an error holds what it must not, and returns its text.
func silent(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, format := range []string{"%v", "%+v", "%#v"} {
			if text := fmt.Sprintf(format, e); strings.Contains(text, canary) || strings.Contains(text, "203.0.113") {
				t.Errorf("the error holds a value of a message: %s", text)
			}
		}
	}
	return err.Error()
}

// causeOf is the cause of a queue's error, "none" of another one.
func causeOf(err error) message.Cause {
	if err == nil {
		return ""
	}
	if e := fault.Of(err); e != nil && e.Source == fault.Queue {
		return e.Cause
	}
	return "none"
}

func outgoing(n int) []sqs.Outgoing {
	all := make([]sqs.Outgoing, n)
	for i := range all {
		all[i] = sqs.Outgoing{Body: fmt.Appendf(nil, "%d %s", i, canary)}
	}
	return all
}

func open(t *testing.T, c *sqs.Client, q *sqstest.Queue) *sqs.Queue {
	t.Helper()
	opened, err := sqs.Open(t.Context(), c, q.URL, "SQS_URL")
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

// bodies are the bodies in a queue, without the canary.
func bodies(q *sqstest.Queue) []string {
	all := []string{}
	for _, m := range q.Messages() {
		all = append(all, strings.TrimSuffix(m.Body, " "+canary))
	}
	return all
}

// answered is a context that a call must end well before.
func answered(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
