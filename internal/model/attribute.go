package model

import (
	"bytes"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/message"
)

// attributeField is a field that is read from a message attribute.
type attributeField struct {
	field *Field
	name  []byte
}

// badAttribute is why a field has no value although its attribute is there.
type badAttribute struct {
	field  *Field
	reason message.Reason
	detail string
}

// attributeFields lists the fields of a model that are read from message attributes.
func (m *Model) attributeFields() (all []attributeField) {
	for i := range m.Fields {
		if f := &m.Fields[i]; f.Attribute != "" {
			all = append(all, attributeField{f, []byte(f.Attribute)})
		}
	}
	return all
}

// checkAttribute reports what no message could have in an attribute, which is a text or a number, and
// attributes whose names differ in case only.
func (c *compiler) checkAttribute(f *Field, line int) {
	switch {
	case f.List:
		c.problem(line, "field %s is read from a message attribute, which is one text or number; remove list", f.Name)
	case f.Type == TypeJSON:
		c.problem(line, "field %s is read from a message attribute, which is one text or number, not JSON; use the type text", f.Name)
	case f.Type == TypeBoolean && !f.acceptString:
		c.problem(line, "field %s is read from a message attribute, which is a text or a number; add accept: [string]", f.Name)
	}
	for _, other := range c.m.Fields {
		if other.Attribute != f.Attribute && strings.EqualFold(other.Attribute, f.Attribute) {
			c.problem(line, "fields %s and %s read attributes whose names differ only in upper and lower case; correct one", other.Name, f.Name)
		}
	}
}

// readAttributes finds the values of the fields that are read from message attributes, as the JSON
// values that a body would have: a String attribute is a string, a Number attribute a number. It
// returns a rejection if the attributes cannot be read at all.
//
// They are in the form of a Lambda event: {"name": {"stringValue": "…", "dataType": "String"}}.
func (r *Reader) readAttributes(attributes []byte) message.Rejection {
	r.badAttributes, r.attributeText = r.badAttributes[:0], r.attributeText[:0]
	if len(attributes) == 0 {
		return message.Rejection{}
	}
	r.in = *bytes.NewBuffer(attributes)
	r.dec.Reset(&r.in)
	value, err := r.dec.ReadValue()
	if err == nil && value[0] != '{' {
		return message.Rejection{Reason: message.ReasonNotJSON, Detail: "in the message attributes; expected an object, found " + kindOf(value)}
	}
	if err != nil {
		why := rejectSyntax(attributes, err)
		why.Detail = joined("in the message attributes", why.Detail)
		return why
	}
	eachMember(attributes, func(name, value []byte) {
		name = r.plain(name)
		known := slices.ContainsFunc(r.attributeFields, func(a attributeField) bool { return bytes.Equal(name, a.name) })
		for _, a := range r.attributeFields {
			switch {
			case known && bytes.Equal(name, a.name):
				r.readAttribute(a.field, value)
			case !known && bytes.EqualFold(name, a.name):
				r.badAttributes = append(r.badAttributes, badAttribute{a.field, message.ReasonKeyCase, "expected exactly the message attribute " + a.field.Attribute})
			}
		}
	})
	return message.Rejection{}
}

// readAttribute finds the value of one field in its attribute.
func (r *Reader) readAttribute(f *Field, attribute []byte) {
	bad := func(reason message.Reason, detail string) {
		r.badAttributes = append(r.badAttributes, badAttribute{f, reason, detail})
	}
	switch attribute[0] {
	case 'n': // null counts as absent
		return
	case '{':
	default:
		bad(message.ReasonWrongType, "expected a message attribute, found "+kindOf(attribute))
		return
	}
	var dataType, value []byte
	eachMember(attribute, func(name, v []byte) {
		switch string(r.plain(name)) {
		case "dataType":
			dataType = v
		case "stringValue":
			value = v
		}
	})
	kind, _, _ := bytes.Cut(r.plain(dataType), []byte(".")) // Number.int is a Number
	switch string(kind) {
	case "String", "Number":
	case "Binary":
		bad(message.ReasonWrongType, "expected an attribute of the type String or Number, found Binary")
		return
	default:
		found := "none"
		if dataType != nil {
			found = "another"
		}
		bad(message.ReasonWrongType, "expected an attribute with a dataType of String or Number, found "+found)
		return
	}
	switch {
	case value == nil:
		bad(message.ReasonWrongType, "expected an attribute with a stringValue, found none")
	case value[0] == 'n':
	case value[0] != '"':
		bad(message.ReasonWrongType, "expected a stringValue that is a string, found "+kindOf(value))
	case kind[0] == 'S':
		r.values[f.slots[0]] = value
	default:
		number := r.plain(value)
		if !isNumber(number) {
			bad(message.ReasonNotNumber, "expected a number in an attribute of the type Number")
			return
		}
		r.values[f.slots[0]] = number
	}
}

// badAttribute returns why a field has no value, without a reason if nothing is wrong.
func (r *Reader) badAttribute(f *Field) (bad badAttribute) {
	for _, b := range r.badAttributes {
		if b.field == f {
			return b
		}
	}
	return bad
}

// plain returns the text of a JSON string, valid until the next message, and nil for any other value.
func (r *Reader) plain(v []byte) []byte {
	switch {
	case len(v) == 0 || v[0] != '"':
		return nil
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1]
	}
	at := len(r.attributeText)
	r.attributeText, _, _ = jsonscan.AppendString(r.attributeText, v, 0)
	return r.attributeText[at:]
}

// eachMember calls do for each member of a valid JSON object; the name has its quotes.
func eachMember(object []byte, do func(name, value []byte)) {
	object = object[jsonscan.Space(object, 0):]
	for m := jsonscan.FirstMember(object); m.Name != nil; m = m.Next(object) {
		do(m.Name, m.Value)
	}
}
