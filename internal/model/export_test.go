package model

import "example.com/owner/sluice/internal/message"

// What the tests see of the inside.
var (
	Names            = names
	MessageUUID      = messageUUID
	MessageNamespace = messageNamespace
	ParsePath        = parsePath
	Metas            = metas
)

// TypeOptions lists the settings of fields that depend on the type, and apply to this one.
func TypeOptions(t FieldType) []string { return t.find().options }

// ColumnForms lists the types that a column may have, as a model writes them.
func ColumnForms() (forms []string) {
	for _, known := range columnTypes {
		forms = append(forms, known.form)
	}
	return forms
}

// CompareNumbers compares two JSON numbers, as cmp.Compare.
func CompareNumbers(a, b string) int {
	return parseDecimal([]byte(a)).compare(parseDecimal([]byte(b)))
}

// IntegerOf returns a JSON number × 10^shift, rounded down.
func IntegerOf(number string, shift int) (n int64, exact, ok bool) {
	return parseDecimal([]byte(number)).integer(shift)
}

// MetaColumns lists the types of columns that can hold one of the metadata.
func MetaColumns(m Meta) []string { return m.find().columns }

// SetMost sets how many bytes a batch may unwrap to, from the next Reset on, and returns the limit
// before.
func (r *Reader) SetMost(n int) (before int) {
	before, r.budget.most = r.budget.most, n
	return before
}

// SetMost sets how many bytes a batch may unwrap to, from the next Reset on.
func (r *SetReader) SetMost(n int) { r.budget.most = n }

// Choose returns the index of the model that takes a message. If none does it returns -1, and the
// verdict.
func (r *SetReader) Choose(msg *message.Message) (model int, verdict message.Verdict) {
	r.budget.message()
	model = r.chooser.choose(msg, &verdict)
	return model, verdict
}
