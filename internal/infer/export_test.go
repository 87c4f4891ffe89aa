package infer

// ErrNothing reports that a sample has nothing to draft from.
var ErrNothing = errNothing

// NewColumn returns a column of a live table.
func NewColumn(name, kind, base string, enum ...string) *Column {
	return &Column{Name: name, Type: kind, Base: base, Enum: enum, typeName: kind}
}
