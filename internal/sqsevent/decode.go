// Package sqsevent is the contract between the SQS event source mapping and a function: it reads
// the messages of an event, and writes the partial-batch answer. It knows nothing else.
//
// It is strict about what decides over messages: which records there are, and their ids, since
// Lambda deletes every message that the answer does not list. It is lenient about the rest: an odd
// attribute must not cost the batch. That is why it does not decode into events.SQSEvent of
// aws-lambda-go.
//
// Of records that are written alike, jsontext reads one, and the others are compared with it (shape.go).
// All other events it reads in full (decode.go).
package sqsevent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/message"
)

// EventError is why an event is not a batch of SQS messages. The invocation must fail with it: an
// empty success would delete whatever the event held.
type EventError struct{ what string }

func (e *EventError) Error() string {
	return e.what + "; sluice takes the event of an SQS event source mapping, {\"Records\":[…]}, or the bare array of records that EventBridge Pipes sends"
}

func failf(format string, args ...any) *EventError { return &EventError{fmt.Sprintf(format, args...)} }

// Decode reads one event, as Decoder.Decode does. Its attributes point into the event, so the caller
// must not use the event's memory again while it has the messages.
func Decode(event []byte) ([]message.Message, error) { return new(Decoder).Decode(event) }

// Decoder reads one event after another, in memory that it keeps. It is for one goroutine.
type Decoder struct {
	in       bytes.Buffer
	dec      jsontext.Decoder
	event    []byte
	messages []message.Message
	bodies   []byte                               // one after another
	texts    strings.Builder                      // the other texts; the messages have parts of its string
	scratch  []byte                               // a text that had an escape
	last     struct{ messages, texts, event int } // what the last event had, and its bytes

	shape shape

	arn      []byte // the last eventSourceARN, with its quotes
	queueARN string // the same without
	fifo     bool
}

// maxKept bounds each buffer that is kept for the next event, in bytes.
const maxKept = 1 << 20

// Release ends the use of the messages. The decoder then holds nothing of the event, and no memory that
// only a large event needs.
func (d *Decoder) Release() {
	if len(d.messages) > 0 {
		d.last.messages, d.last.texts, d.last.event = len(d.messages), d.texts.Len(), len(d.event)
	}
	clear(d.messages)
	d.messages, d.bodies, d.scratch = reuse(d.messages), reuse(d.bodies), reuse(d.scratch)
	d.texts.Reset()
	d.event, d.arn, d.queueARN, d.fifo = nil, nil, "", false
	clear(d.shape.slots[:cap(d.shape.slots)]) // another record may have had more of them
	d.shape = shape{slots: d.shape.slots[:0]}
	d.in = bytes.Buffer{}
	d.dec.Reset(&d.in)
}

// reuse returns the memory of a slice, nil if that is too much to be kept.
func reuse[E any](s []E) []E {
	if uintptr(cap(s))*unsafe.Sizeof(*new(E)) > maxKept {
		return nil
	}
	return s[:0]
}

// Decode reads an event. The messages are valid until Release, which must come before the next event:
// their bodies are in the decoder's memory, and their attributes in the event's. Their strings are
// their own.
func (d *Decoder) Decode(event []byte) ([]message.Message, error) {
	err := d.read(event)
	if err != nil {
		d.Release()
		return nil, err
	}
	if len(d.messages) == 0 {
		return nil, nil
	}
	return d.messages, nil
}

func (d *Decoder) read(event []byte) error {
	if len(bytes.TrimSpace(event)) == 0 {
		return failf("the event is empty")
	}
	d.event = event
	if d.last.event > 0 { // messages are often like those before
		d.texts.Grow(d.last.texts * len(event) / d.last.event)
		d.messages = slices.Grow(d.messages, d.last.messages*len(event)/d.last.event)
	}
	if d.readAlike() {
		return nil
	}
	clear(d.messages)
	d.messages, d.bodies = d.messages[:0], d.bodies[:0]
	return d.readAny()
}

// readAny reads any event. jsontext checks all of it, and what follows takes it for JSON.
func (d *Decoder) readAny() error {
	at, err := d.check(d.event)
	if err != nil {
		return err
	}
	switch d.event[at] {
	case '[':
		_, err = d.records(at)
	case '{':
		err = d.envelope(at)
	default:
		err = failf("the event is neither an object nor an array")
	}
	return err
}

// check checks that an event is one JSON value, and returns where it begins.
func (d *Decoder) check(event []byte) (at int, err error) {
	d.in = *bytes.NewBuffer(event)
	// Members that nobody needs may be odd, or come twice. Of those that decide over messages, envelope
	// and record allow no repeat.
	d.dec.Reset(&d.in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	value, err := d.dec.ReadValue()
	if err == nil {
		at = int(d.dec.InputOffset()) - len(value)
		if _, err = d.dec.ReadToken(); err == nil {
			return 0, failf("the event has a second JSON value after the first")
		}
		if errors.Is(err, io.EOF) {
			return at, nil
		}
	}
	wrong := d.dec.InputOffset()
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		wrong = syntax.ByteOffset
	}
	// Not err itself: it can quote the event, which holds personal values.
	return 0, failf("the event is not valid JSON at byte %d of %d", wrong, len(event))
}

// plain returns the text of a JSON string, until the next call. ok is false for any other value, and for
// a string that is not valid Unicode.
func (d *Decoder) plain(v []byte) (text []byte, ok bool) {
	if len(v) == 0 || v[0] != '"' {
		return nil, false
	}
	if text = v[1 : len(v)-1]; bytes.IndexByte(text, '\\') < 0 {
		if !isASCII(text) && !utf8.Valid(text) {
			return nil, false
		}
		return text, true
	}
	d.scratch, _, ok = jsonscan.AppendString(d.scratch[:0], v, 0)
	return d.scratch, ok // empty if it is not valid
}

// isASCII is faster than utf8.Valid.
func isASCII(text []byte) bool {
	all := uint64(0)
	for ; len(text) >= 32; text = text[32:] {
		all |= binary.LittleEndian.Uint64(text) | binary.LittleEndian.Uint64(text[8:]) |
			binary.LittleEndian.Uint64(text[16:]) | binary.LittleEndian.Uint64(text[24:])
	}
	for _, c := range text {
		all |= uint64(c)
	}
	return all&0x8080808080808080 == 0
}

// keep returns the text of a JSON string as a string, "" if there is none.
func (d *Decoder) keep(v []byte) string {
	text, _ := d.plain(v)
	return d.add(text)
}

func (d *Decoder) add(text []byte) string {
	at := d.texts.Len()
	d.texts.Write(text)
	return d.texts.String()[at:]
}

// member reads the name of the member that follows an offset. It returns which one it is, and where its
// value begins; after the last member, ok is false and value is the offset after the object.
func (d *Decoder) member(at int) (which field, value int, ok bool) {
	at = jsonscan.Space(d.event, at)
	if d.event[at] == ',' {
		at = jsonscan.Space(d.event, at+1)
	}
	if d.event[at] == '}' {
		return other, at + 1, false
	}
	end := jsonscan.StringEnd(d.event, at)
	name, _ := d.plain(d.event[at:end])
	return fieldOf(name), jsonscan.Space(d.event, jsonscan.Space(d.event, end)+1), true // after the colon
}

func (d *Decoder) envelope(at int) error {
	found := false
	which, at, ok := d.member(at + 1)
	for ; ok; which, at, ok = d.member(at) {
		if which != records {
			at = jsonscan.ValueEnd(d.event, at)
			continue
		}
		if found {
			return failf("the event has Records twice")
		}
		if d.event[at] != '[' {
			return failf("the event's Records is not an array")
		}
		found = true
		var err error
		if at, err = d.records(at); err != nil {
			return err
		}
	}
	if !found {
		return failf("the event has no Records")
	}
	return nil
}

// records reads the array of records, and returns the offset after it.
func (d *Decoder) records(at int) (end int, err error) {
	for at++; ; {
		at = jsonscan.Space(d.event, at)
		if d.event[at] == ',' {
			at = jsonscan.Space(d.event, at+1)
		}
		switch d.event[at] {
		case ']':
			return at + 1, nil
		case '{':
			if at, err = d.record(at); err != nil {
				return 0, err
			}
		default:
			return 0, failf("record %d of the event is not an object", len(d.messages))
		}
	}
}

// field is a member that sluice reads.
type field int

const (
	// Members of a record. Two of the first ones make the event invalid; of the others, the last one
	// counts.
	messageID field = iota
	body
	attributes
	source
	arn
	handle
	messageAttributes
	other

	// Members of its attributes, and of the event.
	sentTimestamp
	receiveCount
	messageGroup
	sequenceNumber
	records
)

func (f field) once() bool { return f <= arn }

func fieldOf(name []byte) field {
	switch string(name) {
	case "messageId":
		return messageID
	case "body":
		return body
	case "attributes":
		return attributes
	case "eventSource":
		return source
	case "eventSourceARN":
		return arn
	case "receiptHandle":
		return handle
	case "messageAttributes":
		return messageAttributes
	case "SentTimestamp":
		return sentTimestamp
	case "ApproximateReceiveCount":
		return receiveCount
	case "MessageGroupId":
		return messageGroup
	case "SequenceNumber":
		return sequenceNumber
	case "Records":
		return records
	default:
		return other
	}
}

// record reads one record, and returns the offset after it.
func (d *Decoder) record(at int) (end int, err error) {
	i := len(d.messages)
	d.messages = append(d.messages, message.Message{})
	m := &d.messages[i]
	var values [other + 1][]byte
	which, at, ok := d.member(at + 1)
	for ; ok; which, at, ok = d.member(at) {
		if which.once() && values[which] != nil {
			return 0, failf("record %d of the event has a name twice", i)
		}
		start := at
		switch c := d.event[at]; {
		case which == body && c == '"':
			at = d.body(m, at)
		case which == attributes && c == '{':
			at = d.attributes(m, at)
		default:
			at = jsonscan.ValueEnd(d.event, at)
		}
		if which < other {
			values[which] = d.event[start:at]
		}
		if which == messageAttributes && d.event[start] == '{' {
			m.Attributes = values[which]
		}
	}
	return at, d.fill(m, &values)
}

// body reads the body, and returns the offset after it.
func (d *Decoder) body(m *message.Message, at int) (end int) {
	from := len(d.bodies)
	if d.bodies, end, m.HasBody = jsonscan.AppendString(d.bodies, d.event, at); m.HasBody {
		m.Body = d.bodies[from:len(d.bodies):len(d.bodies)]
	}
	return end
}

// fill sets what the members of a record say of the last message.
func (d *Decoder) fill(m *message.Message, values *[other + 1][]byte) error {
	i := len(d.messages) - 1
	if values[messageID] == nil {
		return failf("record %d of the event has no messageId", i)
	}
	if m.ID = d.keep(values[messageID]); m.ID == "" {
		return failf("record %d of the event has a messageId that is empty or not a string", i)
	}
	if text, _ := d.plain(values[source]); string(text) != "aws:sqs" {
		return failf("record %d of the event does not come from SQS: its eventSource is not aws:sqs", i)
	}
	m.ReceiptHandle = d.keep(values[handle])
	if !bytes.Equal(values[arn], d.arn) { // most often all records are of one queue
		d.arn, d.queueARN = values[arn], d.keep(values[arn])
		d.fifo = strings.HasSuffix(d.queueARN, ".fifo")
	}
	m.QueueARN, m.FIFO = d.queueARN, d.fifo
	return nil
}

// attributes reads the system attributes, and returns the offset after them.
func (d *Decoder) attributes(m *message.Message, at int) (end int) {
	which, at, ok := d.member(at + 1)
	for ; ok; which, at, ok = d.member(at) {
		start := at
		at = jsonscan.ValueEnd(d.event, at)
		d.attribute(m, which, d.event[start:at])
	}
	return at
}

// attribute reads one of the system attributes that sluice needs, each on its own: an odd one costs at
// most its own message, never the batch.
func (d *Decoder) attribute(m *message.Message, which field, v []byte) {
	switch which { //nolint:exhaustive // the others are not needed
	case sentTimestamp:
		m.SentMillis, m.HasSent = d.integer(v, message.MaxSentMillis)
	case receiveCount:
		count, _ := d.integer(v, math.MaxInt32)
		m.ReceiveCount = int(count)
	case messageGroup:
		if text, ok := d.plain(v); ok {
			m.Group = d.add(text)
		}
	case sequenceNumber:
		if text, ok := d.plain(v); ok {
			v = text
		}
		m.SequenceNumber = message.ParseSequence(d.add(v))
	}
}

// integer reads an integer from 0 to limit, written as a string of digits or as a JSON number.
func (d *Decoder) integer(v []byte, limit int64) (int64, bool) {
	text, quoted := d.plain(v)
	if !quoted {
		text = v
	}
	n, digits := int64(0), 0
	for _, c := range text {
		if c < '0' || '9' < c {
			break
		}
		n = min(10*n+int64(c-'0'), limit+1)
		digits++
	}
	if quoted && (digits == 0 || digits < len(text) || digits > 20) {
		return 0, false
	}
	if digits < len(text) { // 1.7672256e12 is an integer too
		f, err := strconv.ParseFloat(string(text), 64)
		if err != nil || f != math.Trunc(f) || f < 0 || f > float64(limit) {
			return 0, false
		}
		n = int64(f)
	}
	if n > limit {
		return 0, false
	}
	return n, true
}
