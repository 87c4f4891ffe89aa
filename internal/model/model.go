// Package model is the policy for one kind of message: which fields of a body are read, how each is
// checked, which are personal and how they are masked, and which columns they go to. A model is a
// YAML file, checked when it loads and then immutable:
//
//	model file -> Load -> Model; Model.Reader: body -> one row of a batch; Model.DDL -> SQL
//
// Nothing that a model does not name is stored, and no rejection or error of this package carries a
// name or a value of a body. It imports batch, mask and message.
package model

import (
	"slices"

	"sluice/internal/batch"
)

// Model is a checked model file.
type Model struct {
	Name    string
	Fields  []Field
	Columns []Column // in the order of the table, the ledger's columns last
	Table   *batch.Table

	fields map[string]int // by JSON string with its quotes, as most producers write it
}

// Field is a member of the body's object.
type Field struct {
	Name     string
	Type     FieldType
	Required bool
	Personal bool
	Domain   string // of the masks, "user_logins.ip"
	quoted   []byte
	how      fieldType
}

// Column is where a value goes.
type Column struct {
	Name string
	Type SQLType
	// Field is the index of the field that it comes from, -1 if Meta says what it holds.
	Field int
	// Masked: the mask of the field is stored.
	Masked bool
	// Major: the leading number of a version is stored.
	Major bool
	Meta  Meta
}

// Meta is what a column holds that does not come from the body.
type Meta string

// The metadata of a message.
const (
	MetaSentAt    Meta = "sent_at"    // SentTimestamp
	MetaSentDate  Meta = "sent_date"  // its day in UTC
	MetaMessageID Meta = "message_id" // messageId as a UUID
	MetaMaskKey   Meta = "mask_key"   // id of the key that masked the row
)

// Personal lists the personal fields.
func (m *Model) Personal() []Field {
	var fields []Field
	for _, f := range m.Fields {
		if f.Personal {
			fields = append(fields, f)
		}
	}
	return fields
}

// Masks reports whether rows depend on the mask keys: a model without personal fields needs none,
// unless a column holds the key's id.
func (m *Model) Masks() bool {
	return len(m.Personal()) > 0 || slices.ContainsFunc(m.Columns, func(c Column) bool { return c.Meta == MetaMaskKey })
}

// Raw lists the fields of a type that are stored as they were sent.
func (m *Model) Raw(kind FieldType) (names []string) {
	for i, f := range m.Fields {
		if f.Type == kind && slices.ContainsFunc(m.Columns, func(c Column) bool { return c.Meta == "" && c.Field == i && !c.Masked }) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Rule describes in a few words where column i comes from and how it is checked.
func (m *Model) Rule(i int) string {
	c := m.Columns[i]
	switch c.Meta {
	case MetaSentAt:
		return "SentTimestamp"
	case MetaSentDate:
		return "UTC day of SentTimestamp"
	case MetaMessageID:
		return "messageId as a UUID"
	case MetaMaskKey:
		return "id of the key that masks"
	}
	f := m.Fields[c.Field]
	rule := f.Name + ": " + string(f.Type)
	if c.Major {
		rule += ", its major number"
	}
	if f.Required {
		rule += ", required"
	}
	if c.Masked {
		rule += ", masked"
	}
	return rule
}
