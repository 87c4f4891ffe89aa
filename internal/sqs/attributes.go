package sqs

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
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
