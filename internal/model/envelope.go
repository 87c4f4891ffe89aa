package model

import (
	"bytes"
	"slices"

	"example.com/owner/sluice/internal/jsonscan"
)

// envelope is a form in which services wrap what producers send.
type envelope struct {
	what    string
	members []string // its object has all of these
	payload string   // a model that reads this member knows of the envelope
	write   string
}

var envelopes = []envelope{
	{"an SNS notification", []string{"Type", "TopicArn", "Message"}, "Message", `write unwrap: [{json: $.Message}], or turn on raw message delivery for the subscription`},
	{"an EventBridge event", []string{"detail-type", "source", "detail"}, "detail", `begin paths with $.detail, as in path: $.detail.user_id`},
	{"a CloudEvent", []string{"specversion", "type", "source", "id"}, "data", `begin paths with $.data, as in path: $.data.user_id`},
	{"an S3 notification", []string{"Records", "s3"}, "Records", `write rows: "$.Records[*]", and begin paths in a record, as in path: $.s3.object.key`},
	{"a DynamoDB stream record", []string{"dynamodb", "eventName"}, "dynamodb", `begin paths with $.dynamodb.NewImage and end them with the type, as in path: $.dynamodb.NewImage.user_id.S`},
}

// lookalike returns what kind of envelope the document looks like and what to write, "" for none, or
// if the paths from the document's root know of it.
func lookalike(root *node, document []byte) string {
	if len(document) == 0 || document[0] != '{' {
		return ""
	}
	has := map[string]bool{}
	for m := jsonscan.FirstMember(document); m.Name != nil; m = m.Next(document) {
		name := string(m.Name[1 : len(m.Name)-1])
		has[name] = true
		if name == "Records" && bytes.HasPrefix(m.Value, []byte("[")) { // S3's own records have a member s3
			at := jsonscan.Space(m.Value, 1)
			if m.Value[at] != '{' {
				continue
			}
			first := m.Value[at:jsonscan.ValueEnd(m.Value, at)]
			for inner := jsonscan.FirstMember(first); inner.Name != nil; inner = inner.Next(first) {
				has["s3"] = has["s3"] || string(inner.Name) == `"s3"`
			}
		}
	}
	for _, e := range envelopes {
		all := !slices.ContainsFunc(root.members, func(m edge) bool { return m.name == e.payload })
		for _, name := range e.members {
			all = all && has[name]
		}
		if all {
			return "the body looks like " + e.what + ": " + e.write
		}
	}
	return ""
}
