// Package sqsevent is the contract between the SQS event source mapping and a function: it reads
// the messages of an event, and writes the partial-batch answer. It knows nothing else.
//
// It is strict about what decides over messages: which records there are, and their ids, since
// Lambda deletes every message that the answer does not list. It is lenient about the rest: an odd
// attribute must not cost the batch. That is why it does not decode into events.SQSEvent of
// aws-lambda-go.
package sqsevent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/message"
)

// EventError is why an event is not a batch of SQS messages. The invocation must fail with it: an
// empty success would delete whatever the event held.
type EventError struct{ what string }

func (e *EventError) Error() string {
	return e.what + "; sluice takes the event of an SQS event source mapping, {\"Records\":[…]}, or the bare array of records that EventBridge Pipes sends"
}

func failf(format string, args ...any) *EventError { return &EventError{fmt.Sprintf(format, args...)} }

// Decode reads an event. The bodies share one buffer, which is no larger than the event. The
// attributes point into the event, so the caller must not use its memory again while it has the
// messages.
func Decode(event []byte) ([]message.Message, error) {
	d := decoder{
		// Members that nobody needs may be odd, or come twice. Of those that decide over messages,
		// envelope and record allow no repeat.
		dec: jsontext.NewDecoder(bytes.NewBuffer(event), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)),
		in:  event,
		// Allocated once: unquoted strings are never longer than the event.
		text: make([]byte, 0, len(event)),
	}
	if len(bytes.TrimSpace(event)) == 0 {
		return nil, failf("the event is empty")
	}
	var err error
	switch d.dec.PeekKind() {
	case '[':
		err = d.records()
	case '{':
		err = d.envelope()
	default:
		if _, err = d.dec.ReadValue(); err == nil {
			return nil, failf("the event is neither an object nor an array")
		}
	}
	if err == nil {
		if _, end := d.dec.ReadToken(); end == nil {
			err = failf("the event has a second JSON value after the first")
		} else if !errors.Is(end, io.EOF) {
			err = end
		}
	}
	var ours *EventError
	if err != nil && !errors.As(err, &ours) {
		// Not err itself: it can quote the event, which holds personal values.
		err = failf("the event is not valid JSON at byte %d of %d", d.dec.InputOffset(), len(event))
	}
	if err != nil {
		return nil, err
	}
	return d.messages, nil
}

type decoder struct {
	dec      *jsontext.Decoder
	in       []byte
	text     []byte // unquoted strings, one after another
	messages []message.Message
	arn      []byte // the last eventSourceARN, with its quotes
	queueARN string // the same without
}

// value reads the next value. It stays valid, unlike the decoder's own result.
func (d *decoder) value() ([]byte, error) {
	v, err := d.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	end := d.dec.InputOffset()
	return d.in[end-int64(len(v)) : end], nil
}

// unquote returns the text of a JSON string. ok is false for any other value, and for a string that
// is not valid Unicode.
func (d *decoder) unquote(v []byte) (text []byte, ok bool) {
	if len(v) == 0 || v[0] != '"' {
		return nil, false
	}
	at := len(d.text)
	out, err := jsontext.AppendUnquote(d.text, v)
	if err != nil {
		return nil, false
	}
	d.text = out
	return out[at:len(out):len(out)], true
}

// name reads the name of the next member.
func (d *decoder) name() ([]byte, error) {
	v, err := d.value()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(v, '\\') >= 0 {
		text, _ := d.unquote(v)
		return text, nil
	}
	return v[1 : len(v)-1], nil
}

// object reads an object, and has member read the value of each of its members.
func (d *decoder) object(member func(name []byte) error) error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	for d.dec.PeekKind() != '}' {
		name, err := d.name()
		if err == nil {
			err = member(name)
		}
		if err != nil {
			return err
		}
	}
	_, err := d.dec.ReadToken()
	return err
}

func (d *decoder) envelope() error {
	found := false
	err := d.object(func(name []byte) error {
		switch {
		case string(name) != "Records":
			return d.dec.SkipValue()
		case found:
			return failf("the event has Records twice")
		case d.dec.PeekKind() != '[':
			return d.odd("the event's Records is not an array")
		}
		found = true
		return d.records()
	})
	if err == nil && !found {
		return failf("the event has no Records")
	}
	return err
}

// odd is about the next value, if that is JSON at all.
func (d *decoder) odd(format string, args ...any) error {
	if _, err := d.value(); err != nil {
		return err
	}
	return failf(format, args...)
}

func (d *decoder) records() error {
	if _, err := d.dec.ReadToken(); err != nil {
		return err
	}
	for d.dec.PeekKind() != ']' {
		if d.dec.PeekKind() != '{' {
			return d.odd("record %d of the event is not an object", len(d.messages))
		}
		if err := d.record(); err != nil {
			return err
		}
	}
	_, err := d.dec.ReadToken()
	return err
}

// record reads one record. It keeps the raw values of members until the record has ended. Of
// messageId, body, attributes, eventSource and eventSourceARN, a value that is there already makes
// the next one a repeat. Of all others, the last one counts.
func (d *decoder) record() error {
	n := len(d.messages)
	var m message.Message
	var id, body, attributes, source, arn, handle []byte
	err := d.object(func(name []byte) (err error) {
		var v []byte
		if string(name) == "attributes" && d.dec.PeekKind() == '{' {
			v, err = name, d.attributes(&m) // any value: it only says that there were attributes
		} else {
			v, err = d.value()
		}
		if err != nil {
			return err
		}
		var before []byte // of the names that must not come twice
		switch string(name) {
		case "messageId":
			before, id = id, v
		case "body":
			before, body = body, v
		case "attributes":
			before, attributes = attributes, v
		case "eventSource":
			before, source = source, v
		case "eventSourceARN":
			before, arn = arn, v
		case "receiptHandle":
			handle = v
		case "messageAttributes":
			if v[0] == '{' {
				m.Attributes = v
			}
		}
		if before != nil {
			return failf("record %d of the event has a name twice", n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if id == nil {
		return failf("record %d of the event has no messageId", n)
	}
	text, ok := d.unquote(id)
	if !ok || len(text) == 0 {
		return failf("record %d of the event has a messageId that is empty or not a string", n)
	}
	m.ID = string(text)
	if text, ok := d.unquote(source); !ok || string(text) != "aws:sqs" {
		return failf("record %d of the event does not come from SQS: its eventSource is not aws:sqs", n)
	}
	m.Body, m.HasBody = d.unquote(body)
	text, _ = d.unquote(handle)
	m.ReceiptHandle = string(text)
	if !bytes.Equal(arn, d.arn) { // most often all records are of one queue
		text, _ := d.unquote(arn)
		d.arn, d.queueARN = arn, string(text)
	}
	m.QueueARN, m.FIFO = d.queueARN, strings.HasSuffix(d.queueARN, ".fifo")
	d.messages = append(d.messages, m)
	return nil
}

// attributes reads the system attributes that sluice needs, each on its own: an odd one costs at
// most its own message, never the batch.
func (d *decoder) attributes(m *message.Message) error {
	return d.object(func(name []byte) error {
		v, err := d.value()
		if err != nil {
			return err
		}
		switch string(name) {
		case "SentTimestamp":
			m.SentMillis, m.HasSent = d.integer(v, message.MaxSentMillis)
		case "ApproximateReceiveCount":
			n, _ := d.integer(v, math.MaxInt32)
			m.ReceiveCount = int(n)
		case "MessageGroupId":
			if group, ok := d.unquote(v); ok {
				m.Group = string(group)
			}
		case "SequenceNumber":
			if text, ok := d.unquote(v); ok {
				v = text
			}
			m.SequenceNumber = message.ParseSequence(string(v))
		}
		return nil
	})
}

// integer reads an integer from 0 to limit, written as a string of digits or as a JSON number.
func (d *decoder) integer(v []byte, limit int64) (int64, bool) {
	if text, ok := d.unquote(v); ok {
		if len(text) == 0 || len(text) > 20 || strings.Trim(string(text), "0123456789") != "" {
			return 0, false
		}
		v = text
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil { // 1.7672256e12 is an integer too
		f, ferr := strconv.ParseFloat(string(v), 64)
		if ferr != nil || f != math.Trunc(f) || f < 0 || f > float64(limit) {
			return 0, false
		}
		n = int64(f)
	}
	return n, n >= 0 && n <= limit
}
