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

// Fields returns what the model reads of each field of a message, in the order of the model, and the
// verdict of Append. It returns no fields of a body that cannot be read to its end, or has nothing that
// the model reads.
func (r *Reader) Fields(msg *message.Message) ([]FieldValue, message.Verdict) {
	b := batch.New(r.m.Table)
	var v message.Verdict
	r.budget.message()
	if !r.fill(b, 0, 0, 0, msg, &v) {
		return nil, v
	}
	b.End()
	if r.problems != nil {
		v = r.verdict()
	}
	if v.Rejection.Reason == message.ReasonUnrecognized {
		return nil, v
	}
	values := make([][]byte, len(r.m.Columns))
	b.Row(0, func(i int, value []byte) { values[i] = value })
	var all []FieldValue
	for i := range r.m.Fields {
		if f := &r.m.Fields[i]; !f.Constant {
			all = append(all, r.fieldValue(f, i, b.Columns(0), values))
		}
	}
	return all, v
}

// fieldValue returns what was read of one field, which has the index i.
func (r *Reader) fieldValue(f *Field, i int, columns []batch.Column, values [][]byte) FieldValue {
	out := FieldValue{Name: f.Name}
	if at := slices.IndexFunc(r.problems, func(p message.Rejection) bool { return p.Field == f.Name }); at >= 0 {
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
		c := slices.IndexFunc(r.m.Columns, func(c Column) bool { return c.Field == i && !c.Major })
		if c < 0 { // its major number is all that is stored
			c = slices.IndexFunc(r.m.Columns, func(c Column) bool { return c.Field == i })
		}
		out.Column, out.Value, out.Masked = &columns[c], values[c], r.m.Columns[c].Masked
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
			slices.ContainsFunc(f.Paths, func(p Path) bool { return slices.ContainsFunc(other.Paths, p.mayHold) }))
	})
}

// mayHold reports whether a path leads to the value at p, or into it.
func (p Path) mayHold(inner Path) bool {
	if len(p) > len(inner) {
		return false
	}
	return slices.EqualFunc(p, inner[:len(p)], func(x, y Segment) bool {
		return x == y || x.Element && y.Element && min(x.Index, y.Index) < 0 // it counts from the end
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
