// Package message has the two nouns that every other package shares: the Message that came in, and
// the Verdict on it. It is a leaf: it imports no other package of sluice, and knows neither AWS nor
// SQL, but for the names of SQLSTATEs.
package message

import "time"

// Message is one SQS message, reduced to what sluice needs. Its byte slices belong to the caller
// that decoded it, and are valid for as long as it keeps them.
type Message struct {
	// ID is the messageId exactly as it came; never empty.
	ID string
	// ReceiptHandle names this one delivery; empty if the event has none.
	ReceiptHandle string
	// Body is the text of the message. It is meaningless unless HasBody.
	Body []byte
	// HasBody is false when the body was absent, or not a valid JSON string.
	HasBody bool
	// SentMillis is SentTimestamp: milliseconds since 1970-01-01 UTC, within [0, MaxSentMillis]. It
	// is meaningless unless HasSent.
	SentMillis int64
	// HasSent is false when SentTimestamp was absent or unreadable.
	HasSent bool
	// ReceiveCount is ApproximateReceiveCount, 0 when unknown.
	ReceiveCount int
	// FIFO reports whether the message came from a FIFO queue. The queue's name decides that, and
	// never the presence of a group.
	FIFO bool
	// Group is MessageGroupId. On a FIFO queue, messages without one share the group "".
	Group string
	// SequenceNumber is the message's number in its FIFO queue, "" on a standard queue.
	SequenceNumber string
	// QueueARN names the queue that the message came from.
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

// MaxSentMillis is the last millisecond of the year 9999, the last that RFC 3339 can write.
const MaxSentMillis = 253402300799999

// Outcome is what became of a message.
type Outcome uint8

// The outcomes. The zero value is the safe one: nothing is confirmed, so the message goes back to
// the queue.
const (
	// Returned is a message that SQS delivers again, not for what it carries.
	Returned Outcome = iota
	// Stored is a message whose row is committed, by this invocation or by an earlier one.
	Stored
	// Repeated is another delivery of a message that is done: stored in the same batch, or stored or
	// dead-lettered in an earlier one and not deleted.
	Repeated
	// Rejected is a message that can never be stored.
	Rejected
	// Ignored is a message for a model that says to take and discard it.
	Ignored
)

// String returns the word used in logs, metrics and tables.
func (o Outcome) String() string {
	switch o {
	case Stored:
		return "stored"
	case Repeated:
		return "repeated"
	case Rejected:
		return "rejected"
	case Ignored:
		return "ignored"
	default:
		return "returned"
	}
}

// Verdict is what sluice decided about one message. The zero value returns it.
type Verdict struct {
	Outcome Outcome
	// Outdated: the message is Stored, and its row is not, because the table has a newer one.
	Outdated bool
	// Model is the number of the model that took the message, from 1; 0 for none.
	Model uint16
	// Rejection is why, when the outcome is Rejected; with CauseForeignKey, why it would be. When the
	// outcome is Stored, it is zero or a conflict.
	Rejection Rejection
	// Cause is why, when the outcome is Returned.
	Cause Cause
}

// IsZero reports whether nothing is decided yet.
func (v Verdict) IsZero() bool { return v.Outcome == Returned && v.Cause == CauseNone }

// Conflicts reports whether another message's row stays in the way: the message is done, and its
// content is not stored.
func (v Verdict) Conflicts() bool { return v.Outcome == Stored && v.Rejection.Reason == ReasonConflict }

// Done reports whether the message can be deleted. A rejected one can if a dead-letter queue has
// it.
func (v Verdict) Done(deadLettered bool) bool {
	switch v.Outcome {
	case Stored, Repeated, Ignored:
		return true
	case Rejected:
		return deadLettered
	default:
		return false
	}
}

// Cause is why a message was returned. Its values are stable: logs, metrics and people's alarms have
// them. Where a value is older than the vocabulary, the constant's name has today's word.
type Cause string

// The causes.
const (
	// CauseNone is the zero value: nothing says why.
	CauseNone Cause = ""
	// CauseGroup is that an earlier message of the FIFO group was not stored.
	CauseGroup Cause = "group"
	// CausePanic is a bug of sluice that this message met.
	CausePanic Cause = "panic"
	// CauseDeadline is that the invocation had no time left.
	CauseDeadline Cause = "deadline"
	// CauseTransient is a fault of the database or the network that passes by itself.
	CauseTransient Cause = "moment"
	// CauseConfiguration is a fault that somebody must fix, in the database or in the
	// configuration.
	CauseConfiguration Cause = "operator"
	// CauseDiscarded is that the database discarded the row (a trigger or a rule).
	CauseDiscarded Cause = "swallowed"
	// CauseForeignKey is that a row refers to one that is not stored yet, and the model says to wait
	// for it.
	CauseForeignKey Cause = "foreign_key"
	// CauseMemory is that the batch has no room: for what the body unwraps to, or for its rows.
	CauseMemory Cause = "memory"
	// CauseUnsent is that the dead-letter queue did not take a rejected message.
	CauseUnsent Cause = "unsent"
)

// Delays reports whether a message that is returned for this cause comes again after a back-off.
// All do, also for an unknown cause, since something failed that may pass. The exceptions are a
// panic, which no waiting heals, and a message that waits for another one of its group: that one's
// cause decides.
func (c Cause) Delays() bool { return c != CausePanic && c != CauseGroup }

// Result is what became of the rows of one batch in a store.
type Result struct {
	// Verdicts has one for each row: Stored, Rejected or Returned.
	Verdicts []Verdict
	// Tallies has one for each table of the batch, in order.
	Tallies Tallies
	// RoundTrips is how often the store waited for its server.
	RoundTrips int
}

// Tally is how many of the rows of a table were written.
type Tally struct {
	// Inserted are new. Replaced have taken the place of an older one. The other stored rows are
	// duplicates, or are outdated.
	Inserted, Replaced int
}

// Tallies are those of several tables.
type Tallies []Tally

// Of returns the tally of a table, which may be the first of its rows.
func (t *Tallies) Of(table int) *Tally {
	for len(*t) <= table {
		*t = append(*t, Tally{})
	}
	return &(*t)[table]
}

// Add adds other tallies.
func (t *Tallies) Add(other Tallies) {
	for table, one := range other {
		sum := t.Of(table)
		sum.Inserted += one.Inserted
		sum.Replaced += one.Replaced
	}
}

// Sum returns the tally of all tables.
func (t Tallies) Sum() (sum Tally) {
	for _, one := range t {
		sum.Inserted += one.Inserted
		sum.Replaced += one.Replaced
	}
	return sum
}
