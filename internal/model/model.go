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

	"example.com/owner/sluice/internal/batch"
)

// Model is a checked model file.
type Model struct {
	Name    string
	Fields  []Field  // those of constants last
	Columns []Column // in the order of the table, the ledger's columns last
	Table   *batch.Table

	// When is which messages the model takes, nil for all.
	When *When
	// Ignore: what the model takes is discarded. It has no fields, no columns and no Table.
	Ignore bool

	// MaxUnwrapped is how many bytes one step of unwrapping may make of a body.
	MaxUnwrapped int
	// AllowEmpty accepts bodies that have no member that a field reads.
	AllowEmpty bool
	// RejectUnknown rejects bodies with members that no field reads.
	RejectUnknown bool
	// ForeignKeyReceives is how often a message is received before a row that refers to a missing one
	// rejects it; 0 rejects it at once.
	ForeignKeyReceives int

	// Also are the child tables: each has rows for the elements of an array, which belong to the row of
	// the model's own table. They have the Fields of the model.
	Also []*Model

	path string // of the file, for errors about several models

	rows   *elements // what the rows of the table are; nil if a message has one there
	layers []layer
	slots  int  // how many different places fields and steps of unwrapping read
	reads  bool // some field reads the body
}

// Field is a value of a message, checked.
type Field struct {
	Name     string
	Type     FieldType
	Required bool
	Personal bool
	Domain   string // of the masks, "user_logins.ip"

	// Paths are where the field is read; the first counts that is there and not null. Without any,
	// Attribute or a column's value says what the field is.
	Paths []Path
	// Layer is the JSON document of the body that Paths are in: 0 is the body as it was sent, the last
	// what unwrapping made of it. Of a field of elements, it has the array.
	Layer int
	// Attribute is the message attribute that the field is read from.
	Attribute string
	// Default is the JSON value of a field that is absent or null; nil is none.
	Default []byte
	// Constant is true for the value of a column that says value.
	Constant bool
	// List: the field is an array, and each of its elements is of Type.
	List bool
	Options

	of    *elements // the array in whose elements Paths begin; nil for a field of the message
	slots []int     // of Reader.values, one for each path, or the attribute's
	how   fieldType
}

// NotNull reports whether a row always has a value of the field.
func (f *Field) NotNull() bool { return f.Required || f.Default != nil && !f.Personal }

// Column is where a value goes.
type Column struct {
	Name string
	Type SQLType
	// Field is the index of the field that it comes from, -1 if Meta says what it holds.
	Field int
	// AsText: the value travels as text, and the type's own input function reads it.
	AsText bool
	// Masked: the mask of the field is stored.
	Masked bool
	// Major: the leading number of a version is stored.
	Major bool
	Meta  Meta
	// NewerBy: of two rows with one key, the one with the greater value is newer.
	NewerBy bool

	ofElement bool // rows of one message can differ in it
}

// SeveralRows reports whether a message may have several rows.
func (m *Model) SeveralRows() bool { return m.Table != nil && m.Table.Several || len(m.Also) > 0 }

// RowsPath is where the elements are that are the rows of the table, as in "$.lines[*]"; "" if a message
// has one row there.
func (m *Model) RowsPath() string {
	if m.rows == nil {
		return ""
	}
	return m.rows.name
}

// NeedsSequence returns the name of the column whose sequence numbers say which of two rows is newer: a
// message without one, as of a standard queue, is rejected. It is "" for other models.
func (m *Model) NeedsSequence() string {
	for _, c := range m.Columns {
		if c.NewerBy && c.Meta == MetaSequenceNumber {
			return c.Name
		}
	}
	return ""
}

// Tables lists the model and its children.
func (m *Model) Tables() []*Model { return append([]*Model{m}, m.Also...) }

// holds reports whether a column of the model, or of a child, is such a column.
func (m *Model) holds(such func(Column) bool) bool {
	return slices.ContainsFunc(m.Tables(), func(t *Model) bool { return slices.ContainsFunc(t.Columns, such) })
}

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

// ReadsJSON reports whether a body as it is sent must be JSON: no step of unwrap makes it readable.
func (m *Model) ReadsJSON() bool { return len(m.layers[0].codecs) == 0 }

// Masks reports whether rows depend on the mask keys: a model without personal fields needs none,
// unless a column holds the key's id.
func (m *Model) Masks() bool {
	return len(m.Personal()) > 0 || m.holds(func(c Column) bool { return c.Meta == MetaMaskKey })
}

// Raw lists the fields of a type that are stored as they were sent.
func (m *Model) Raw(kind FieldType) (names []string) {
	for i, f := range m.Fields {
		if f.Type == kind && !f.Constant && m.holds(func(c Column) bool { return c.Meta == "" && c.Field == i && !c.Masked }) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Rule describes in a few words where column i comes from and how it is checked.
func (m *Model) Rule(i int) string {
	c := m.Columns[i]
	rule := m.rule(c)
	if c.NewerBy {
		rule += "; the row with the greatest one stays"
	}
	return rule
}

func (m *Model) rule(c Column) string {
	if c.Meta != "" {
		return c.Meta.find().source
	}
	f := m.Fields[c.Field]
	if f.Constant {
		return "always " + string(f.Default)
	}
	rule := f.Name + ": " + string(f.Type)
	if f.List {
		rule = f.Name + ": list of " + string(f.Type)
	}
	if f.Attribute != "" {
		rule += " of the message attribute " + f.Attribute
	}
	if c.Major {
		rule += ", its major number"
	}
	if f.Required {
		rule += ", required"
	}
	for _, option := range f.describe() {
		rule += ", " + option
	}
	if f.Default != nil {
		rule += ", default " + shorten(string(f.Default), 200)
	}
	if c.Masked {
		rule += ", masked"
	}
	return rule
}
