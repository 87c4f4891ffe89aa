package sqs

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/go-json-experiment/json"

	"example.com/owner/sluice/internal/message"
)

// NoteAttribute is the name of the attribute that says why a message was rejected.
const NoteAttribute = "sluice"

// Note says why a message was rejected. It names fields and objects, and holds no value.
type Note struct {
	Reason     message.Reason `json:"reason"`
	Field      string         `json:"field,omitzero"`
	Detail     string         `json:"detail,omitzero"`
	Byte       int            `json:"byte,omitzero"` // see message.Rejection
	SQLState   string         `json:"sqlstate,omitzero"`
	Constraint string         `json:"constraint,omitzero"`
	Column     string         `json:"column,omitzero"`
	// Model took the message; "" if none did.
	Model string `json:"model,omitzero"`
	// MessageID is the message's id in the queue that it came from.
	MessageID string `json:"messageId"`
	// SentTimestamp is when it was sent there, in milliseconds since 1970; 0 if that was
	// unreadable.
	SentTimestamp int64 `json:"sentTimestamp,omitzero"`
	// Problems are all problems of the body, the first one too, if it has several and there is room.
	Problems []Problem `json:"problems,omitzero"`
	// Omitted is how many other problems there was no room for.
	Omitted int `json:"omitted,omitzero"`
}

// Problem is one of several problems of a body.
type Problem struct {
	Reason message.Reason `json:"reason"`
	Field  string         `json:"field,omitzero"`
	Detail string         `json:"detail,omitzero"`
}

// maxNoteBytes bounds a note that lists problems. Details quote the model's own lists and patterns,
// which may be long.
const maxNoteBytes = 2048

// maxNoteText bounds one text of a note.
const maxNoteText = 256

// newNote describes a rejection.
func newNote(m *message.Message, why *message.Rejection, model string) Note {
	n := Note{
		Reason: why.Reason, Field: why.Field, Detail: printable(why.Detail, maxNoteText), Byte: why.Byte,
		SQLState: why.SQLState, Constraint: why.Constraint, Column: why.Column, Model: model, MessageID: m.ID,
	}
	if m.HasSent {
		n.SentTimestamp = m.SentMillis
	}
	if len(why.More) > 0 {
		n.Problems = []Problem{{why.Reason, why.Field, n.Detail}}
	}
	for i := range why.More {
		other := &why.More[i]
		n.Problems = append(n.Problems, Problem{other.Reason, other.Field, printable(other.Detail, maxNoteText)})
	}
	n.Omitted = why.Omitted
	return n
}

// encode returns the note as an attribute, with as many of its problems as there is room for.
func (n Note) encode() (*types.MessageAttributeValue, error) {
	for {
		text, err := json.Marshal(n)
		if err != nil {
			return nil, err
		}
		if len(text) <= maxNoteBytes || n.Problems == nil {
			return &types.MessageAttributeValue{DataType: new("String"), StringValue: new(string(text))}, nil
		}
		n.Problems, n.Omitted = n.Problems[:len(n.Problems)-1], n.Omitted+1
		if len(n.Problems) == 1 { // the note has the first already
			n.Problems = nil
		}
	}
}

// brief returns the note without what was added to say more, and with the number of other problems.
func (n Note) brief() Note {
	n.Omitted += max(len(n.Problems)-1, 0)
	n.Detail, n.Byte, n.Problems = "", 0, nil
	return n
}

// decodeNote reads the attribute of a note. It returns nil if it is not one: anyone may send an
// attribute of that name, and what a note holds is shown. A newer sluice may know more reasons.
func decodeNote(a types.MessageAttributeValue) *Note {
	if aws.ToString(a.DataType) != "String" || a.StringValue == nil {
		return nil
	}
	var n Note
	if err := json.Unmarshal([]byte(*a.StringValue), &n); err != nil {
		return nil
	}
	if n.Reason.Explain() == "" && (!isReason(n.Reason) || n.Model == "" || n.MessageID == "") {
		return nil
	}
	shown := []*string{&n.Field, &n.Detail, &n.SQLState, &n.Constraint, &n.Column, &n.Model, &n.MessageID}
	n.Problems = n.Problems[:min(len(n.Problems), message.MaxProblems)]
	for i := range n.Problems {
		p := &n.Problems[i]
		if !isReason(p.Reason) {
			return nil
		}
		shown = append(shown, &p.Field, &p.Detail)
	}
	for _, s := range shown {
		*s = printable(*s, maxNoteText)
	}
	return &n
}

// isReason reports whether a text has the form of a reason.
func isReason(r message.Reason) bool {
	return r != "" && len(r) <= 64 && strings.Trim(string(r), "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}
