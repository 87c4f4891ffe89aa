package model

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/message"
)

// FieldValue is what a model reads of one field of a message, for people who look for what is wrong
// with it. It has no personal value but as a mask, and none that can hold more than the model reads.
type FieldValue struct {
	Name string
	// Row is the number of the element that has it, from 1, and Table the table of that row. Of a field of
	// the message they are 0 and "".
	Row   int
	Table string
	// Column is of a column that stores the field, and Value what it stores: a mask if Masked, nil for
	// NULL. Both are nil for a field with a Rejection, and where Hidden says what is there.
	Column *batch.Column
	Value  []byte
	Masked bool
	// Found is the JSON of a value that is rejected, nil if there is none or it is hidden.
	Found jsontext.Value
	// Hidden says why a value is not shown, and what kind it is of: "personal: a string".
	Hidden string
	// Rejection is why the field is rejected, the zero value if it is not.
	Rejection message.Rejection
}

// Fields returns what the model reads of each field of a message, in the order of the model, and then
// of each of its elements that are rows; and the verdict of Append. It returns no fields of a body that
// cannot be read to its end, or has nothing that the model reads.
func (r *Reader) Fields(msg *message.Message) ([]FieldValue, message.Verdict) {
	b := batch.New(r.m.Table)
	var v message.Verdict
	var all []FieldValue
	shown := make([]bool, len(r.m.Fields))
	r.filled = func(t *tableReader) {
		values := lastRow(b, len(t.m.Columns))
		for i := range r.m.Fields {
			f := &r.m.Fields[i]
			stored := slices.ContainsFunc(t.m.Columns, func(c Column) bool { return c.Field == i })
			if f.Constant || !stored || f.of == nil && shown[i] {
				continue
			}
			shown[i] = true
			all = append(all, r.fieldValue(f, i, t, values))
		}
	}
	defer func() { r.filled = nil }()
	r.budget.message()
	if !r.fill(b, 0, 0, 0, msg, &v) || r.nothing {
		all = nil
	}
	if v.IsZero() && r.problems != nil {
		v = r.verdict()
	}
	return all, v
}

// lastRow returns the values of the last row of a batch with one message.
func lastRow(b *batch.Batch, columns int) [][]byte {
	values := make([][]byte, columns)
	keep := func(i int, v []byte) { values[i] = v }
	if n := b.MoreRows(0); n > 0 {
		b.MoreRow(0, n-1, keep)
	} else {
		b.Row(0, keep)
	}
	return values
}

// fieldValue returns what was read of one field, which has the index i.
func (r *Reader) fieldValue(f *Field, i int, t *tableReader, values [][]byte) FieldValue {
	out, from := FieldValue{Name: f.Name}, 0
	if f.of != nil {
		out.Row, out.Table, from = r.number, r.named, r.mark
	}
	if at := from + slices.IndexFunc(r.problems[from:], func(p message.Rejection) bool { return p.Field == f.Name }); at >= from {
		out.Rejection = r.problems[at]
	}
	bad, found := !out.Rejection.IsZero(), r.value(f)
	if found != nil {
		out.Hidden = r.hides(f, found, bad)
	}
	switch {
	case out.Hidden != "":
	case bad:
		out.Found = bytes.Clone(found)
	default:
		columns := t.m.Columns
		c := slices.IndexFunc(columns, func(c Column) bool { return c.Field == i && !c.Major })
		if c < 0 { // its major number is all that is stored
			c = slices.IndexFunc(columns, func(c Column) bool { return c.Field == i })
		}
		out.Column, out.Value, out.Masked = &t.m.Table.Columns[c], values[c], columns[c].Masked
	}
	return out
}

// hides returns why a value is not shown, "" if it is. A value that is bad is one that the model does
// not know: what is in it can be anything.
func (r *Reader) hides(f *Field, v []byte, bad bool) string {
	kind := fmt.Sprintf("%s of %d bytes", kindOf(v), len(v))
	if formOf(v) != anyForm && v[0] != '"' {
		kind = kindOf(v)
	}
	composite := v[0] == '{' || v[0] == '['
	switch {
	case f.Personal && bad:
		return "personal: " + kindOf(v) // not its length, of which there are few for some values
	case f.Personal:
		return "" // a mask
	case r.m.alsoPersonal(f):
		return "personal, as another field: " + kindOf(v)
	case composite && (bad || f.Type == TypeJSON), holdsJSON(v):
		return kind + ", perhaps with personal data"
	case slices.ContainsFunc(r.m.layers, func(l layer) bool { return l.next >= 0 && slices.Contains(f.slots, l.next) }):
		return kind + ", which the model unwraps"
	default:
		return ""
	}
}

// alsoPersonal reports whether a personal field is read at a place of the field, or within it.
func (m *Model) alsoPersonal(f *Field) bool {
	return slices.ContainsFunc(m.Fields, func(other Field) bool {
		return other.Personal && other.Layer == f.Layer && (f.Attribute != "" && f.Attribute == other.Attribute ||
			slices.ContainsFunc(f.inDocument(), func(p Path) bool { return slices.ContainsFunc(other.inDocument(), p.mayHold) }))
	})
}

// inDocument returns the paths of a field from the root of its layer. An element of rows can be any of its
// array.
func (f *Field) inDocument() []Path {
	if f.of == nil {
		return f.Paths
	}
	var all []Path
	for _, p := range f.Paths {
		all = append(all, f.of.path(p))
	}
	return all
}

// mayHold reports whether a path leads to the value at p, or into it.
func (p Path) mayHold(inner Path) bool {
	if len(p) > len(inner) {
		return false
	}
	return slices.EqualFunc(p, inner[:len(p)], func(x, y Segment) bool {
		return x == y || x.Element && y.Element && (x.Any || y.Any || min(x.Index, y.Index) < 0) // it counts from the end
	})
}

// holdsJSON reports whether a value is, or has among its elements, a string that looks like an object
// or an array.
func holdsJSON(v []byte) bool {
	switch v[0] {
	case '"':
		text, _ := jsontext.AppendUnquote(nil, v) // the decoder has checked it
		text = bytes.TrimSpace(bytes.TrimPrefix(text, bom))
		return len(text) > 0 && (text[0] == '{' || text[0] == '[')
	case '[':
		for at := jsonscan.Space(v, 1); v[at] != ']'; {
			end := jsonscan.ValueEnd(v, at)
			if holdsJSON(v[at:end]) {
				return true
			}
			if at = jsonscan.Space(v, end); v[at] == ',' {
				at = jsonscan.Space(v, at+1)
			}
		}
	}
	return false
}
