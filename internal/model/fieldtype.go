package model

import (
	"slices"

	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// FieldType determines how a field is read.
type FieldType string

// The types of fields.
const (
	TypeText      FieldType = "text"      // a string, as it is
	TypeIP        FieldType = "ip"        // one IP address
	TypeEmail     FieldType = "email"     // one e-mail address
	TypeVersion   FieldType = "version"   // "2.3.0-beta"
	TypeInteger   FieldType = "integer"   // a JSON number without fraction or exponent
	TypeNumeric   FieldType = "numeric"   // a JSON number, digit for digit
	TypeBoolean   FieldType = "boolean"   // true or false
	TypeTimestamp FieldType = "timestamp" // a string, RFC 3339 with a zone
	TypeDate      FieldType = "date"      // a string, 2026-01-31
	TypeTime      FieldType = "time"      // a string, 12:34:56.789
	TypeInterval  FieldType = "interval"  // a string, the ISO 8601 duration P1DT2H
	TypeUUID      FieldType = "uuid"      // a string of 36 characters
	TypeBase64    FieldType = "base64"    // a string, bytes in base64
	TypeJSON      FieldType = "json"      // any JSON value, as it is
)

// fieldTypes lists the types of fields, in the order of the documentation: everything that differs
// from type to type.
var fieldTypes = []fieldType{
	{name: TypeText, reads: stringForm, columns: texts, accepts: []string{"number"}, options: slices.Concat(accept, normalizing, textChecks), put: appendText, mask: (*mask.Masker).AppendText},
	{name: TypeIP, reads: stringForm, personal: true, columns: []string{"inet", "cidr", "varchar", "text"}, options: normalizing, put: appendIP, mask: (*mask.Masker).AppendIP},
	{name: TypeEmail, reads: stringForm, personal: true, columns: []string{"varchar", "text", "citext"}, options: slices.Concat(normalizing, []string{"idna"}, textChecks), put: appendEmail, mask: (*mask.Masker).AppendEmail},
	{name: TypeVersion, reads: stringForm, columns: texts, options: slices.Concat(normalizing, textChecks), put: appendVersion},
	{name: TypeInteger, reads: numberForm, columns: integers, accepts: []string{"string", "number"}, options: slices.Concat(accept, normalizing, oneOf, ranges), put: appendInteger},
	{name: TypeNumeric, reads: numberForm, notText: true, columns: []string{"numeric", "double precision", "real"}, accepts: []string{"string"}, options: slices.Concat(accept, normalizing, oneOf, ranges), put: appendNumeric},
	{name: TypeBoolean, reads: booleanForm, columns: []string{"boolean"}, accepts: []string{"string"}, options: slices.Concat(accept, normalizing), put: appendBoolean},
	{
		name: TypeTimestamp, reads: stringForm, columns: []string{"timestamptz", "timestamp"}, accepts: []string{"string"}, formats: []string{"unix", "unix_ms", "unix_us", "unix_ns", formatISO8601},
		options: slices.Concat(format, []string{"zone"}, accept, normalizing, ranges), put: appendTimestamp, bound: boundTimestamp,
	},
	{name: TypeDate, reads: stringForm, columns: []string{"date"}, formats: []string{formatISO8601}, options: slices.Concat(format, normalizing, ranges), put: appendDate, bound: boundDate},
	{name: TypeTime, reads: stringForm, columns: []string{"time"}, options: slices.Concat(normalizing, ranges), put: appendTime, bound: timeOfDay},
	{name: TypeInterval, reads: stringForm, notText: true, columns: []string{"interval"}, options: normalizing, put: appendInterval},
	{name: TypeUUID, reads: stringForm, columns: []string{"uuid"}, formats: []string{formatSimple}, options: slices.Concat(format, normalizing), put: appendUUID},
	{name: TypeBase64, reads: stringForm, notText: true, columns: []string{"bytea"}, options: normalizing, put: appendBase64},
	{name: TypeJSON, reads: anyForm, notText: true, columns: []string{"json", "jsonb"}, put: appendJSON},
}

var (
	texts    = []string{"varchar", "text", "char", "citext"}
	integers = []string{"smallint", "integer", "bigint"}

	accept      = []string{"accept"}
	format      = []string{"format"}
	normalizing = []string{"trim", "case", "strip", "unicode"}
	oneOf       = []string{"one_of"}
	textChecks  = []string{"one_of", "pattern", "min_length", "max_length"}
	ranges      = []string{"min", "max"}
)

type fieldType struct {
	name    FieldType
	columns []string // the types of columns that can hold it
	reads   form     // what it is in JSON, without a format or accept
	accepts []string // what accept can add
	formats []string // what format can be

	personal bool // the model must say whether it is personal
	notText  bool // a key must not compare its text: equal values can be different ones

	// options are the settings of a field that apply to the type, beside those that all have.
	options []string

	// put appends a value that target.read returned, or returns the reason why it cannot.
	put func(t *target, text []byte) message.Reason
	// mask appends the mask of a personal value. A type without it cannot be personal.
	mask func(m *mask.Masker, dst []byte, value mask.Personal) ([]byte, error)
	// bound reads a min or max of the type, which compares by it; nil compares numbers.
	bound func(text []byte) (n int64, ok bool)
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
