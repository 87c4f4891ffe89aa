package esmsim

import (
	"fmt"
	"strings"
	"time"
)

// A Message is what a producer sends.
type Message struct {
	Body            string
	Attributes      map[string]Attribute // the sender's own, up to 10
	GroupID         string               // needed on FIFO queues, passed on by standard ones
	DeduplicationID string               // FIFO queues only
	Delay           time.Duration        // standard queues only; zero means the queue's
}

// An Attribute is a message attribute; a BinaryValue counts only when DataType starts with
// "Binary".
type Attribute struct {
	DataType    string
	StringValue string `json:",omitempty"`
	BinaryValue []byte `json:",omitempty"`
}

// A Record is a message as it stands in one queue.
type Record struct {
	Message
	MessageID     string
	ReceiptHandle string // of the last receive
	Source        string // ARN of the queue whose redrive policy moved it here, or empty
	Sequence      string // SequenceNumber, on FIFO queues
	Sent          time.Time
	FirstReceived time.Time
	State         State
	VisibleAt     time.Time // when its delay or its visibility timeout ends, or ended; zero if it had none
	Ended         time.Time // when it was deleted, moved or expired; zero while it is here
	Receives      int       // ApproximateReceiveCount: a message that the redrive policy moved brings it along
}

// State says where a message is on its way through one queue.
type State int

// The states of a message; the last three are final.
const (
	Delayed State = iota
	Visible
	InFlight
	Deleted
	DeadLettered // moved to the dead-letter queue by the redrive policy
	Expired      // dropped by age
)

func (s State) String() string {
	return [...]string{"delayed", "visible", "in flight", "deleted", "dead-lettered", "expired"}[s]
}

// message is a message's life in one queue; a move starts another one in the other queue.
type message struct {
	Message
	number       int // of all messages of the simulation: receipt handles have it
	id, sequence string
	sourceARN    string // of the queue whose redrive policy moved it here
	put          bool   // it came past the API
	lane         *lane
	state        State

	sent          time.Duration // what SentTimestamp shows
	aged          time.Duration // what the retention counts from
	firstReceived time.Duration
	received      time.Duration // last
	hiddenUntil   time.Duration
	ended         time.Duration

	receives int    // as shown
	handle   int    // number of the last receive in this queue: tells receipt handles apart, and counts for the policy
	rendered []byte // the part of its record that never changes, while it is here
}

func (m *message) gone() bool { return m.state >= Deleted }

// A lane is what one message in flight locks: a message group on a FIFO queue, the message alone on
// a standard one.
type lane struct {
	group    string
	messages []*message // oldest first
	inFlight int
	queued   bool // in Queue.ready
}

// deliverable drops what is gone and reports whether the first message left can be received.
//
// SQS Developer Guide, FIFO queue delivery logic: once a message of a group is received, no more of
// this group are returned until it is deleted or becomes visible again.
func (l *lane) deliverable() bool {
	for len(l.messages) > 0 && l.messages[0].gone() {
		l.messages = l.messages[1:]
	}
	return l.inFlight == 0 && len(l.messages) > 0 && l.messages[0].state == Visible
}

const (
	maxMessageBytes = 1 << 20 // body and attributes
	maxAttributes   = 10
	maxDelay        = 15 * time.Minute
)

func invalid(format string, args ...any) error {
	return &Error{"InvalidParameterValue", fmt.Sprintf(format, args...)}
}

// checkForm returns why a call with m fails as a whole: what its parameters are for this type of
// queue.
//
// SQS Developer Guide, Amazon SQS message quotas; API Reference, SendMessage. Which refusals fail a
// batch and which an entry of it is not documented; LocalStack's tests, which were validated
// against AWS, show it.
func (m Message) checkForm(fifo, deduplicateByContent bool) error {
	switch {
	case m.Body == "":
		return &Error{"MissingParameter", "the request must contain the parameter MessageBody"}
	case fifo && m.GroupID == "":
		return &Error{"MissingParameter", "the request must contain the parameter MessageGroupId"}
	case fifo && m.DeduplicationID == "" && !deduplicateByContent:
		return invalid("the queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	case !fifo && m.DeduplicationID != "":
		return invalid("value %s for parameter MessageDeduplicationId is invalid: the request includes a parameter that is not valid for this queue type", m.DeduplicationID)
	}
	return nil
}

// checkContent returns why m fails, and no other entry of its batch.
func (m Message) checkContent(fifo bool, maxBytes int) error {
	switch {
	case !sendable(m.Body):
		return &Error{"InvalidMessageContents", "invalid characters found in: " + m.Body} // quotes, as a server may
	case m.size() > maxBytes:
		return invalid("one or more parameters are invalid: message must be shorter than %d bytes", maxBytes)
	case len(m.Attributes) > maxAttributes:
		return invalid("number of message attributes [%d] exceeds the allowed maximum [%d]", len(m.Attributes), maxAttributes)
	case m.Delay < 0 || m.Delay > maxDelay:
		return invalid("value %v for parameter DelaySeconds is invalid", m.Delay)
	case fifo && m.Delay != 0:
		return invalid("value %v for parameter DelaySeconds is invalid: the request includes a parameter that is not valid for this queue type", m.Delay)
	}
	for name, a := range m.Attributes {
		kind, _, _ := strings.Cut(a.DataType, ".")
		text, binary := a.StringValue != "", len(a.BinaryValue) > 0
		if ok := kind == "Binary" && binary && !text || (kind == "String" || kind == "Number") && text && !binary; !ok {
			return invalid("the message attribute '%s' is invalid", name)
		}
	}
	return nil
}

// size counts what the limit counts: the body and each attribute's name, type and value.
func (m Message) size() int {
	n := len(m.Body)
	for name, a := range m.Attributes {
		n += len(name) + len(a.DataType) + len(a.StringValue) + len(a.BinaryValue)
	}
	return n
}

// sendable: #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF. Invalid
// UTF-8 reads as U+FFFD of one byte's width and is refused with the rest.
func sendable(body string) bool {
	for i, r := range body {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
		case r < 0x20, r == 0xfffe, r == 0xffff, r == 0xfffd && body[i] != 0xef:
			return false
		}
	}
	return true
}
