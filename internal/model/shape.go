package model

import (
	"bytes"
	"unicode/utf8"

	"example.com/owner/sluice/internal/jsonscan"
)

// shape is the form of a document that was read without a problem: all of it but its strings, numbers
// and booleans. Another document of the same form is JSON too, has no name twice, and has its values in
// the same places. So it is read without the decoder, and without looking at a name. The bodies of a
// batch are most often written alike.
type shape struct {
	text  []byte // a copy of the document, which the rest points into
	slots []valueSlot
	end   []byte // after the last value
	parts []part
	lead  int // white space before the document
	trail int // and after it
	seen  bool
}

// shapes are the last shapes of a layer: bodies may have members that others lack, or a null instead of
// a value.
type shapes struct {
	all  [4]shape
	last int // the one that a document had last

	// To learn a shape costs as much as to read a document, so it has to pay.
	reads, hits, learned int
}

// valueSlot is a string, a number or a boolean, with what is between it and the value before.
type valueSlot struct {
	before []byte
	slot   int // of Reader.values, -1 for a value that no path leads to
}

// part is an object or an array that is the value of a field.
type part struct {
	slot     int
	from, to place
}

// place is an offset in what is before a slot, or after the last one.
type place struct{ slot, offset int }

// These bound the documents that have a shape.
const (
	maxShape = 8 << 10
	maxSlots = 128
)

// forget ends the use of the last batch's documents.
func (known *shapes) forget() {
	for i := range known.all {
		s := &known.all[i]
		clear(s.text[:cap(s.text)])   // it has personal values
		clear(s.slots[:cap(s.slots)]) // another document may have had more of them
		*s = shape{text: s.text[:0], slots: s.slots[:0], parts: s.parts[:0]}
	}
	*known = shapes{all: known.all}
}

// match reads a document that has the shape of one before. It returns false for any other, of which it
// has read nothing.
func (r *Reader) match(l *layer, text []byte) bool {
	known := &r.shapes[r.layer]
	known.reads++
	if known.learned == 0 || r.entered != nil {
		return false
	}
	for i := range known.all {
		at := (known.last + i) % len(known.all)
		if r.matchShape(&known.all[at], l, text) {
			known.last = at
			known.hits++
			return true
		}
	}
	return false
}

func (r *Reader) matchShape(s *shape, l *layer, text []byte) bool {
	if len(s.slots) == 0 {
		return false
	}
	if !r.matchSlots(s, text) {
		for i := range s.slots {
			if slot := s.slots[i].slot; slot >= 0 {
				r.values[slot] = nil
			}
		}
		return false
	}
	for _, p := range s.parts {
		r.values[p.slot] = text[r.gaps[p.from.slot]+p.from.offset : r.gaps[p.to.slot]+p.to.offset]
	}
	r.documents[r.layer] = text[s.lead : len(text)-s.trail]
	if l.fields {
		r.seen = s.seen
	}
	return true
}

func (r *Reader) matchSlots(s *shape, text []byte) bool {
	at := 0
	r.gaps = r.gaps[:0]
	for i := range s.slots {
		slot := &s.slots[i]
		if !bytes.HasPrefix(text[at:], slot.before) {
			return false
		}
		r.gaps = append(r.gaps, at)
		start := at + len(slot.before)
		if at = r.scalarEnd(text, start); at < 0 {
			return false
		}
		if slot.slot >= 0 && text[start] != 'n' {
			r.values[slot.slot] = text[start:at]
		}
	}
	r.gaps = append(r.gaps, at)
	return bytes.Equal(text[at:], s.end)
}

// scalarEnd returns the offset after the string, number or literal that begins at an offset of a text
// whose syntax is not known, -1 if none does.
func (r *Reader) scalarEnd(text []byte, at int) (end int) {
	if at == len(text) {
		return -1
	}
	switch text[at] {
	case '"':
		n := bytes.IndexByte(text[at+1:], '"')
		if n < 0 {
			return -1
		}
		if characters := text[at+1 : at+1+n]; jsonscan.IsPlain(characters) && utf8.Valid(characters) {
			return at + n + 2
		}
		var ok bool
		if r.scratch, end, ok = jsonscan.AppendString(r.scratch[:0], text, at); !ok {
			return -1
		}
		return end
	case 't', 'f', 'n':
		for _, literal := range []string{"true", "false", "null"} {
			if bytes.HasPrefix(text[at:], []byte(literal)) {
				return at + len(literal)
			}
		}
		return -1
	default:
		end = at
		for end < len(text) && inNumber(text[end]) {
			end++
		}
		if !isNumber(text[at:end]) {
			return -1
		}
		return end
	}
}

// learn notes the shape of a document that was read in full and without a problem, from an offset of its
// text to another one.
func (r *Reader) learn(l *layer, text []byte, from, to int) {
	known := &r.shapes[r.layer]
	if known.reads < 2 || known.learned > len(known.all)+known.hits/8 || len(text) > maxShape || text[from] != '{' && text[from] != '[' || r.entered != nil {
		return
	}
	known.last = known.learned % len(known.all)
	known.learned++
	s := &known.all[known.last]
	s.text, s.slots, s.parts = append(s.text[:0], text...), s.slots[:0], s.parts[:0]
	s.lead, s.trail, s.seen = from, len(text)-to, r.seen
	r.gaps = r.gaps[:0] // where the values end
	gap := 0
	add := func(at, end int) {
		s.slots = append(s.slots, valueSlot{s.text[gap:at], -1})
		r.gaps = append(r.gaps, gap)
		gap = end
	}
	for at := from; at < to; {
		switch c := s.text[at]; {
		case c == '"':
			end := jsonscan.StringEnd(s.text, at)
			if s.text[jsonscan.Space(s.text, end)] != ':' {
				add(at, end)
			}
			at = end
		case c == 't' || c == 'f' || c == '-' || isDigit(c):
			end := jsonscan.ValueEnd(s.text, at)
			add(at, end)
			at = end
		default:
			at++
		}
	}
	s.end = s.text[gap:]
	r.gaps = append(r.gaps, gap)
	ok := len(s.slots) <= maxSlots
	l.root.each(func(slot int) {
		v := r.values[slot]
		if v == nil {
			return
		}
		at := cap(text) - cap(v) // v is a part of the text
		if v[0] == '{' || v[0] == '[' {
			s.parts = append(s.parts, part{slot, r.place(s, at), r.place(s, at+len(v)-1)})
			s.parts[len(s.parts)-1].to.offset++
			return
		}
		p := r.place(s, at-1)
		if p.slot == len(s.slots) || r.gaps[p.slot]+len(s.slots[p.slot].before) != at || s.slots[p.slot].slot >= 0 {
			ok = false // two paths lead to it
			return
		}
		s.slots[p.slot].slot = slot
	})
	if !ok {
		s.slots = s.slots[:0]
	}
}

// place returns the place of a character that is between two values.
func (r *Reader) place(s *shape, at int) place {
	i := 0
	for i < len(s.slots) && r.gaps[i]+len(s.slots[i].before) <= at {
		i++
	}
	return place{i, at - r.gaps[i]}
}
