package sqsevent

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/message"
)

// shape is the form of a record that jsontext has checked: all of it but the strings that are values,
// and its message attributes. Another record of the same form, with other strings, is JSON too, and is
// read without looking at its names and punctuation. All records of an event are written alike, so
// jsontext reads one of them.
type shape struct {
	slots []slot
	end   []byte // after the last slot
}

// slot is a string, or the object of message attributes, with what is between it and the slot before.
type slot struct {
	before []byte
	which  field
}

// maxNesting bounds the objects and arrays of a record, counted with the brackets in its strings.
const maxNesting = 1000

// maxSlots bounds the strings of a record that has a shape.
const maxSlots = 256

// readAlike reads an event of which all records are objects, if there is nothing else in it. It returns
// false for any other event, and for one that is invalid: then nothing is decided.
func (d *Decoder) readAlike() bool {
	at := d.skip(0)
	closing := "]"
	if opening := d.token(at, "{"); opening >= 0 {
		at, closing = d.token(d.token(opening, `"Records"`), ":"), "]}"
	}
	at = d.token(at, "[")
	for at >= 0 {
		if at = d.alike(at); at < 0 {
			break
		}
		if next := d.token(at, ","); next >= 0 {
			at = next
			continue
		}
		for i := range closing {
			at = d.token(at, closing[i:i+1])
		}
		return at == len(d.event)
	}
	return false
}

// skip returns the offset after the white space at an offset.
func (d *Decoder) skip(at int) int {
	for at < len(d.event) && (d.event[at] == ' ' || d.event[at] == '\t' || d.event[at] == '\n' || d.event[at] == '\r') {
		at++
	}
	return at
}

// token returns the offset after a token and the white space that follows, -1 if it is not there or the
// offset is not one.
func (d *Decoder) token(at int, token string) int {
	if at < 0 || !bytes.HasPrefix(d.event[at:], []byte(token)) {
		return -1
	}
	return d.skip(at + len(token))
}

// alike reads the record at an offset, and returns the offset after it and white space, -1 if it cannot.
func (d *Decoder) alike(at int) (end int) {
	messages, bodies := len(d.messages), len(d.bodies)
	if end := d.match(at); end >= 0 {
		return d.skip(end)
	}
	clear(d.messages[messages:])
	d.messages, d.bodies = d.messages[:messages], d.bodies[:bodies]
	if end = d.nested(at); end < 0 || d.event[at] != '{' {
		return -1
	}
	d.learn(at, end)
	if _, err := d.record(at); err != nil {
		return -1
	}
	return d.skip(end)
}

// value has jsontext read the value that begins at an offset, and returns the offset after it, -1 if
// none does.
func (d *Decoder) value(at int) (end int) {
	d.in = *bytes.NewBuffer(d.event[at:])
	d.dec.Reset(&d.in, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	v, err := d.dec.ReadValue()
	if err != nil || len(v) != int(d.dec.InputOffset()) { // white space before it
		return -1
	}
	return at + len(v)
}

// nested does so for a value that is not nested so deep that jsontext might refuse it in the whole event.
func (d *Decoder) nested(at int) (end int) {
	if end = d.value(at); end < 0 || bytes.Count(d.event[at:end], []byte("{"))+bytes.Count(d.event[at:end], []byte("[")) > maxNesting {
		return -1
	}
	return end
}

// match reads a record that has the shape of the last one, and returns the offset after it, -1 if it has
// another one.
func (d *Decoder) match(at int) (end int) {
	s := &d.shape
	if len(s.slots) == 0 {
		return -1
	}
	d.messages = append(d.messages, message.Message{})
	m := &d.messages[len(d.messages)-1]
	var values [other + 1][]byte
	for i := range s.slots {
		slot := &s.slots[i]
		if !bytes.HasPrefix(d.event[at:], slot.before) {
			return -1
		}
		start := at + len(slot.before)
		switch slot.which {
		case body:
			if at = d.body(m, start); !m.HasBody { // perhaps it is no string
				return -1
			}
			continue
		case messageAttributes:
			if at = d.objectEnd(start); at >= 0 {
				m.Attributes = d.event[start:at]
			}
		default:
			at = d.stringEnd(start)
		}
		switch {
		case at < 0:
			return -1
		case slot.which < other:
			values[slot.which] = d.event[start:at]
		default:
			d.attribute(m, slot.which, d.event[start:at])
		}
	}
	if !bytes.HasPrefix(d.event[at:], s.end) || d.fill(m, &values) != nil {
		return -1
	}
	return at + len(s.end)
}

// objectEnd returns the offset after the object that begins at an offset, -1 if none does.
func (d *Decoder) objectEnd(at int) int {
	switch {
	case bytes.HasPrefix(d.event[at:], []byte("{}")):
		return at + 2
	case at == len(d.event) || d.event[at] != '{':
		return -1
	default:
		return d.nested(at)
	}
}

// stringEnd returns the offset after the string that begins at an offset, -1 if none does.
func (d *Decoder) stringEnd(at int) int {
	if at == len(d.event) || d.event[at] != '"' {
		return -1
	}
	n := bytes.IndexByte(d.event[at+1:], '"')
	if n < 0 {
		return -1
	}
	if jsonscan.IsPlain(d.event[at+1 : at+1+n]) {
		return at + n + 2
	}
	return d.value(at) // it has an escape, or is not valid
}

// learn notes the shape of a record. It notes none for one with a member that sluice reads and that is
// there twice, or is not what it mostly is.
func (d *Decoder) learn(at, end int) {
	s := &d.shape
	s.slots = s.slots[:0]
	var seen [records + 1]bool
	from, depth, top := at, 0, other // of the members at the top, the one we are in
	for at < end {
		if len(s.slots) > maxSlots {
			s.slots = s.slots[:0]
			return
		}
		switch d.event[at] {
		case '{', '[':
			depth++
			at++
		case '}', ']':
			depth--
			at++
		case '"':
			// Only names are followed by a colon. What they name is the next value.
			name := d.event[at:jsonscan.StringEnd(d.event, at)]
			start := jsonscan.Space(d.event, at+len(name))
			if d.event[start] != ':' { // an element of an array
				s.slots = append(s.slots, slot{d.event[from:at], other})
				at += len(name)
				from = at
				continue
			}
			at = jsonscan.Space(d.event, start+1)
			which := d.memberOf(depth, top, name)
			if depth == 1 {
				top = which
			}
			c := d.event[at]
			usual := c == '"'
			if which == attributes || which == messageAttributes {
				usual = c == '{'
			}
			if which != other && (seen[which] || !usual) {
				s.slots = s.slots[:0]
				return
			}
			seen[which] = true
			if c == '"' || which == messageAttributes {
				s.slots = append(s.slots, slot{d.event[from:at], which})
				at = jsonscan.ValueEnd(d.event, at)
				from = at
			}
		default:
			at++
		}
	}
	s.end = d.event[from:end]
}

// memberOf returns which member of a record a name is, given in how many objects and arrays it is, and
// in which member of the record.
func (d *Decoder) memberOf(depth int, top field, name []byte) field {
	text, _ := d.plain(name)
	which := fieldOf(text)
	if depth == 1 && which < other || depth == 2 && top == attributes && which > other && which != records {
		return which
	}
	return other
}
