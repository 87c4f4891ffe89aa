package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/fault"
	"sluice/internal/message"
	"sluice/internal/sqs"
	"sluice/internal/testing/sqstest"
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
