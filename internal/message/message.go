// Package message holds the two nouns that every other package shares: the
// Message that came in and the Verdict on it. It is a leaf: it imports
// nothing of ours, and it knows neither AWS nor SQL.
package message

import (
	"errors"
	"time"
)

// Message is one SQS message, reduced to what sluice needs. Its byte slices
// belong to whoever decoded it and are valid for one invocation.
type Message struct {
	// ID is the messageId exactly as it came; never empty.
	ID string
	// ReceiptHandle names this one delivery; empty where nobody sent one.
	ReceiptHandle string
	// Body is the text of the message. It is meaningless unless HasBody.
	Body []byte
	// HasBody is false when the body was absent or no valid JSON string.
	HasBody bool
	// SentMillis is SentTimestamp: milliseconds since 1970-01-01 UTC, within
	// [0, MaxSentMillis]. It is meaningless unless HasSent.
	SentMillis int64
	// HasSent is false when SentTimestamp was absent or unreadable.
	HasSent bool
	// ReceiveCount is ApproximateReceiveCount, 0 when unknown.
	ReceiveCount int
	// FIFO is true when the message came from a FIFO queue, which the queue's
	// name decides and never the presence of a group.
	FIFO bool
	// Group is MessageGroupId. On a FIFO queue, messages without one share
	// the group "".
	Group string
	// QueueARN names the queue that it came from.
	QueueARN string
	// Attributes is the raw JSON of messageAttributes, nil when absent.
	Attributes []byte
}

// Age is how long ago the message was sent, 0 when that is unknown.
func (m *Message) Age(now time.Time) time.Duration {
	if !m.HasSent {
		return 0
	}
	return max(0, now.Sub(time.UnixMilli(m.SentMillis)))
}

// MaxSentMillis is the last millisecond of the year 9999, the end of what
// RFC 3339 can write.
const MaxSentMillis = 253402300799999

// Outcome says what became of a message.
type Outcome uint8

// The outcomes. The zero value is the safe one: nothing is proven, so the
// message goes back to the queue.
const (
	// Returned: not done, through no fault of its own; SQS delivers it again.
	Returned Outcome = iota
	// Stored: its row is committed, by this invocation or by an earlier one.
	Stored
	// Repeated: another delivery of a message of the same batch, whose
	// verdict it shares.
	Repeated
	// Rejected: it can never be stored.
	Rejected
)

// String gives the word used in logs, metrics and tables.
func (o Outcome) String() string {
	switch o {
	case Stored:
		return "stored"
	case Repeated:
		return "repeated"
	case Rejected:
		return "rejected"
	default:
		return "returned"
	}
}

// Verdict is what sluice decided on one message. The zero value returns it.
type Verdict struct {
	Outcome Outcome
	// Rejection is why, when the outcome is Rejected.
	Rejection Rejection
	// Cause is why, when the outcome is Returned.
	Cause Cause
}

// Done reports whether the message can be deleted. A rejected one can when a
// dead-letter queue has it.
func (v Verdict) Done(deadLettered bool) bool {
	switch v.Outcome {
	case Stored, Repeated:
		return true
	case Rejected:
		return deadLettered
	default:
		return false
	}
}

// Cause says why a message was returned. It is a word for logs and metrics.
type Cause string

// The causes.
const (
	// CauseNone is the zero value: no proof was reached.
	CauseNone Cause = ""
	// CauseGroup: an earlier message of its FIFO group was not stored.
	CauseGroup Cause = "group"
	// CausePanic: a bug of ours met this message.
	CausePanic Cause = "panic"
	// CauseDeadline: the invocation had no time left for it.
	CauseDeadline Cause = "deadline"
	// CauseTransient: the database or the network failed for the moment.
	CauseTransient Cause = "moment"
	// CauseConfiguration: somebody has to mend the database or the configuration.
	CauseConfiguration Cause = "operator"
	// CauseDiscarded: the database took the row and did not keep it (a trigger).
	CauseDiscarded Cause = "swallowed"
	// CauseUnsent: rejected, but the dead-letter queue did not take it.
	CauseUnsent Cause = "unsent"
)

// Delays reports whether a message that is returned for this cause comes again
// after a back-off. All do, also for a cause that is not known, since something
// failed that may pass. The exceptions are a panic, which no waiting heals, and a
// message that waits for another one of its group: that one's cause decides.
func (c Cause) Delays() bool { return c != CausePanic && c != CauseGroup }

// Result is what became of the rows of one batch in a store.
type Result struct {
	// Verdicts has one for each row: Stored, Rejected or Returned.
	Verdicts []Verdict
	// Inserted is how many rows are new; the other stored ones were there.
	Inserted int
	// RoundTrips counts how often the store waited for its server.
	RoundTrips int
}

// FaultOf returns whose fault an error says that it is, by its method Fault;
// ok is false when it does not say.
func FaultOf(err error) (cause Cause, ok bool) {
	said, ok := errors.AsType[interface {
		error
		Fault() Cause
	}](err)
	if !ok {
		return CauseNone, false
	}
	return said.Fault(), true
}
