package model

import (
	"sluice/internal/batch"
	"sluice/internal/mask"
	"sluice/internal/message"
)

// FieldType determines how a field is read.
type FieldType string

// The types of fields.
const (
	TypeText      FieldType = "text"      // a string, as it is
	TypeIP        FieldType = "ip"        // one IP address, always personal
	TypeEmail     FieldType = "email"     // one e-mail address, always personal
	TypeVersion   FieldType = "version"   // "2.3.0-beta"
	TypeInteger   FieldType = "integer"   // a JSON number without fraction or exponent
	TypeNumeric   FieldType = "numeric"   // a JSON number, digit for digit
	TypeBoolean   FieldType = "boolean"   // true or false
	TypeTimestamp FieldType = "timestamp" // a string, RFC 3339 with a zone
	TypeDate      FieldType = "date"      // a string, 2026-01-31
	TypeUUID      FieldType = "uuid"      // a string of 36 characters
	TypeJSON      FieldType = "json"      // any JSON value, as it is
)

// fieldTypes lists the types of fields, in the order of the documentation: everything that differs
// from type to type.
var fieldTypes = []fieldType{
	{name: TypeText, expects: "a string", columns: texts, text: appendText, mask: (*mask.Masker).AppendText},
	{name: TypeIP, personal: true, expects: "a string", columns: texts, mask: (*mask.Masker).AppendIP},
	{name: TypeEmail, personal: true, expects: "a string", columns: texts, mask: (*mask.Masker).AppendEmail},
	{name: TypeVersion, expects: "a string", columns: texts, text: appendVersion},
	{name: TypeInteger, expects: "a number", columns: integers, value: appendInteger},
	{name: TypeNumeric, expects: "a number", columns: []string{"numeric"}, value: appendNumeric},
	{name: TypeBoolean, expects: "a boolean", columns: []string{"boolean"}, value: appendBoolean},
	{name: TypeTimestamp, expects: "a string", columns: []string{"timestamptz"}, text: appendTimestamp},
	{name: TypeDate, expects: "a string", columns: []string{"date"}, text: appendDate},
	{name: TypeUUID, expects: "a string", columns: []string{"uuid"}, text: appendUUID},
	{name: TypeJSON, expects: "a JSON value", columns: []string{"json", "jsonb"}, value: appendJSON},
}

var (
	texts    = []string{"varchar", "text"}
	integers = []string{"smallint", "integer", "bigint"}
)

type fieldType struct {
	name    FieldType
	columns []string // the types of columns that can hold it
	expects string   // the kind of JSON value that it reads, for people

	personal bool // the model must say whether it is personal

	// options are the settings of a field that apply to the type, beside those that all have.
	options []string

	// text appends the text of a JSON string to a row, value any JSON value. A type has one of them,
	// or neither if it is always personal.
	text, value func(b *batch.Batch, c *Column, v []byte) message.Reason
	// mask appends the mask of a personal value. A type without it cannot be personal.
	mask func(m *mask.Masker, dst []byte, value mask.Personal) ([]byte, error)
}

// FieldTypes lists the types of fields.
func FieldTypes() (names []FieldType) {
	for _, known := range fieldTypes {
		names = append(names, known.name)
	}
	return names
}

// find returns the row of fieldTypes, one without columns if there is none.
func (t FieldType) find() (found fieldType) {
	for _, known := range fieldTypes {
		if known.name == t {
			found = known
		}
	}
	return found
}

// Columns lists the types of columns that can hold a field, nil if there is no such type of fields.
func (t FieldType) Columns() []string { return t.find().columns }
