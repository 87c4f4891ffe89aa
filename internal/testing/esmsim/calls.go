package esmsim

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// An Error is a refusal of SQS.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Op names a batch call that a test can let fail.
type Op string

// The batch calls.
const (
	SendMessageBatch             Op = "SendMessageBatch"
	ChangeMessageVisibilityBatch Op = "ChangeMessageVisibilityBatch"
	DeleteMessageBatch           Op = "DeleteMessageBatch"
)

// Faults make the batch calls of the code under test fail; what the mapping does itself, and Send, does not.
// Neither function may use the simulation but for its clock.
type Faults struct {
	Call  func(op Op) error              // the whole call fails, and nothing is done
	Entry func(op Op, body string) error // the entry for the message of this body is in the Failed list; an *Error gives the code
}

// Inject replaces the queue's faults; Inject(Faults{}) mends it.
func (q *Queue) Inject(f Faults) {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	q.faults = f
}

// A SendEntry is a message of SendMessageBatch; in every batch call, ID is the caller's name for the entry.
type SendEntry struct {
	ID string
	Message
}

// A VisibilityEntry is a message of ChangeMessageVisibilityBatch, to stay invisible for Timeout from now.
type VisibilityEntry struct {
	ID, ReceiptHandle string
	Timeout           time.Duration
}

// A DeleteEntry is a message of DeleteMessageBatch.
type DeleteEntry struct{ ID, ReceiptHandle string }

// Failed is an entry that a batch call did not do.
type Failed struct {
	ID string
	Error
}

// Send is SendMessage of a producer. It returns the message id, and panics on what SQS would refuse, as that is a
// mistake of the test. The code under test uses SendMessageBatch.
func (q *Queue) Send(msg Message) string {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	m, err := q.send(msg)
	if err != nil {
		panic("esmsim: send to " + q.cfg.Name + ": " + err.Error())
	}
	return m.id
}

// Receive is ReceiveMessage of somebody else than the mapping: it costs each message a receive.
func (q *Queue) Receive(n int) []Record {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	var taken []*message
	q.receive(min(n, maxEntries), func(m *message) bool {
		taken = append(taken, m)
		return true
	})
	records := make([]Record, len(taken))
	for i, m := range taken {
		records[i] = q.record(m)
	}
	return records
}

// SendMessageBatch sends up to 10 messages of together 1 MiB.
func (q *Queue) SendMessageBatch(ctx context.Context, entries []SendEntry) ([]Failed, error) {
	total := 0
	for _, e := range entries {
		total += e.size()
	}
	if total > maxMessageBytes {
		return nil, &Error{"BatchRequestTooLong", fmt.Sprintf("batch requests cannot be longer than %d bytes, you have sent %d", maxMessageBytes, total)}
	}
	return batchCall(ctx, q, SendMessageBatch, entries,
		func(e SendEntry) (id, body string) { return e.ID, e.Body },
		func(e SendEntry) error { _, err := q.send(e.Message); return err })
}

// ChangeMessageVisibilityBatch sets how long up to 10 messages stay invisible.
func (q *Queue) ChangeMessageVisibilityBatch(ctx context.Context, entries []VisibilityEntry) ([]Failed, error) {
	return batchCall(ctx, q, ChangeMessageVisibilityBatch, entries,
		func(e VisibilityEntry) (id, body string) { return e.ID, q.bodyOf(e.ReceiptHandle) },
		func(e VisibilityEntry) error {
			m, n, err := q.receivedAs(e.ReceiptHandle)
			if err != nil {
				return err
			}
			return q.changeVisibility(m, n, e.Timeout)
		})
}

// DeleteMessageBatch deletes up to 10 messages.
func (q *Queue) DeleteMessageBatch(ctx context.Context, entries []DeleteEntry) ([]Failed, error) {
	return batchCall(ctx, q, DeleteMessageBatch, entries,
		func(e DeleteEntry) (id, body string) { return e.ID, q.bodyOf(e.ReceiptHandle) },
		func(e DeleteEntry) error {
			m, n, err := q.receivedAs(e.ReceiptHandle)
			if err != nil {
				return err
			}
			return q.delete(m, n)
		})
}

func (q *Queue) bodyOf(receiptHandle string) string {
	if m, _, err := q.receivedAs(receiptHandle); err == nil {
		return m.Body
	}
	return ""
}

const maxEntries = 10

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// batchCall does what the batch calls have in common (API Reference, Errors of SendMessageBatch; SQS Developer Guide,
// Amazon SQS batch actions: each entry succeeds or fails for itself).
func batchCall[E any](ctx context.Context, q *Queue, op Op, entries []E, about func(E) (id, body string), do func(E) error) ([]Failed, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	switch {
	case len(entries) == 0:
		return nil, &Error{"EmptyBatchRequest", "there should be at least one entry in the request"}
	case len(entries) > maxEntries:
		return nil, &Error{"TooManyEntriesInBatchRequest", fmt.Sprintf("maximum number of entries per request are %d, you have sent %d", maxEntries, len(entries))}
	}
	seen := make(map[string]bool, len(entries))
	for _, e := range entries {
		id, _ := about(e)
		switch {
		case !entryID.MatchString(id):
			return nil, &Error{"InvalidBatchEntryId", fmt.Sprintf("id %q is no batch entry id", id)}
		case seen[id]:
			return nil, &Error{"BatchEntryIdsNotDistinct", fmt.Sprintf("id %q repeated", id)}
		}
		seen[id] = true
	}
	if q.faults.Call != nil {
		if err := q.faults.Call(op); err != nil {
			return nil, err
		}
	}
	var failed []Failed
	for _, e := range entries {
		id, body := about(e)
		var err error
		if q.faults.Entry != nil {
			err = q.faults.Entry(op, body)
		}
		if err == nil {
			err = do(e)
		}
		if err != nil {
			failed = append(failed, Failed{id, refusal(err)})
		}
	}
	return failed, nil
}

// refusal is err as an entry of the Failed list shows it.
func refusal(err error) Error {
	if refused, ok := errors.AsType[*Error](err); ok {
		return *refused
	}
	return Error{"InternalError", err.Error()}
}
