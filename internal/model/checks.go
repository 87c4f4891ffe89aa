package model

import "sluice/internal/message"

// Options say how a value is converted, normalised and checked.
type Options struct{}

// checkOptions checks the options of a field, and sets them.
func (c *compiler) checkOptions(f *Field, spec entry[fieldSpec]) {}

// detail says what was expected and what kind of value was found, "" if the reason says it all. It
// has words of the model only.
func (f *Field) detail(reason message.Reason, v []byte) string {
	if reason == message.ReasonWrongType {
		return "expected " + f.how.expects + ", found " + kindOf(v)
	}
	return ""
}
