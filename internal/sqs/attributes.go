package sqs

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/internal/message"
)

// attribute is a message attribute as a Lambda event writes it. The lists are reserved: SQS has
// none.
type attribute struct {
	StringValue      *string          `json:"stringValue,omitzero"`
	BinaryValue      []byte           `json:"binaryValue,omitzero"` // base64
	StringListValues []jsontext.Value `json:"stringListValues,omitzero"`
	BinaryListValues []jsontext.Value `json:"binaryListValues,omitzero"`
	DataType         string           `json:"dataType"`
}

// errAttributes is for attributes that cannot be sent on unchanged. It has nothing of the parser's
// error, which quotes values.
var errAttributes = errors.New("its attributes cannot be sent unchanged")

// decodeAttributes reads a Lambda event's messageAttributes strictly, because they are sent on
// unchanged.
func decodeAttributes(raw []byte) (map[string]types.MessageAttributeValue, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	var in map[string]attribute
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, errAttributes
	}
	out := make(map[string]types.MessageAttributeValue, len(in))
	for name, a := range in {
		if a.DataType == "" || len(a.StringListValues)+len(a.BinaryListValues) > 0 || (a.StringValue == nil) == (a.BinaryValue == nil) {
			return nil, errAttributes
		}
		out[name] = types.MessageAttributeValue{DataType: &a.DataType, StringValue: a.StringValue, BinaryValue: a.BinaryValue}
	}
	return out, nil
}

// unsendable is for attributes that are not JSON: decodeAttributes refuses it.
const unsendable = "!"

// encodeAttributes writes attributes as a Lambda event does; nil for none. It returns unsendable
// for text that is not valid UTF-8.
func encodeAttributes(in map[string]types.MessageAttributeValue) []byte {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]attribute, len(in))
	for name, a := range in {
		value := attribute{DataType: aws.ToString(a.DataType)}
		if strings.HasPrefix(value.DataType, "Binary") {
			value.BinaryValue = a.BinaryValue
		} else {
			value.StringValue = a.StringValue
		}
		out[name] = value
	}
	text, err := json.Marshal(out, json.Deterministic(true))
	if err != nil {
		return []byte(unsendable)
	}
	return text
}

// attributesSize returns what attributes count against the size limit of a message: their names,
// types and values.
func attributesSize(attributes map[string]types.MessageAttributeValue) int {
	n := 0
	for name, a := range attributes {
		n += len(name) + len(aws.ToString(a.DataType)) + len(aws.ToString(a.StringValue)) + len(a.BinaryValue)
	}
	return n
}

// NoteAttribute is the name of the attribute that says why a message was rejected.
const NoteAttribute = "sluice"

// Note says why a message was rejected. It names fields and objects, and holds no value.
type Note struct {
	Reason     message.Reason `json:"reason"`
	Field      string         `json:"field,omitzero"`
	SQLState   string         `json:"sqlstate,omitzero"`
	Constraint string         `json:"constraint,omitzero"`
	Column     string         `json:"column,omitzero"`
	Model      string         `json:"model"`
	// MessageID is the message's id in the queue that it came from.
	MessageID string `json:"messageId"`
	// SentTimestamp is when it was sent there, in milliseconds since 1970; 0 if that was
	// unreadable.
	SentTimestamp int64 `json:"sentTimestamp,omitzero"`
}

// decodeNote reads the attribute of a note. It returns nil if it is not one: anyone may send an
// attribute of that name, and what a note holds is shown.
func decodeNote(a types.MessageAttributeValue) *Note {
	if aws.ToString(a.DataType) != "String" || a.StringValue == nil {
		return nil
	}
	var n Note
	if err := json.Unmarshal([]byte(*a.StringValue), &n); err != nil || n.Reason.Explain() == "" {
		return nil
	}
	for _, s := range []*string{&n.Field, &n.SQLState, &n.Constraint, &n.Column, &n.Model, &n.MessageID} {
		*s = printable(*s, 256)
	}
	return &n
}
