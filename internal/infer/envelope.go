package infer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// envelope is a form of bodies that many queues carry.
type envelope struct {
	name   string
	drops  [][]step // beginnings of paths that names do not need
	skip   []string // members of an outer layer that say nothing
	dynamo bool
	key    [][]step // paths of what tells its messages apart, wherever it was sent
	outer  bool     // the key is in layer 0
}

// The envelopes that some bodies of a queue may have and others not.
const (
	snsNotifications  = "SNS notifications"
	eventBridgeEvents = "EventBridge events"
	cloudEvents       = "CloudEvents"
	dynamoDBRecords   = "records of a DynamoDB stream"
	records           = "records such as S3's notifications"
)

var envelopes = []struct {
	name    string
	members []string
}{
	{snsNotifications, []string{"Type", "MessageId", "TopicArn", "Message"}},
	{eventBridgeEvents, []string{"detail-type", "source", "detail"}},
	{cloudEvents, []string{"specversion", "id", "source", "type"}},
	{dynamoDBRecords, []string{"dynamodb", "eventName"}},
	{records, []string{"Records"}},
}

// envelopeWith returns the envelope that an object with some members is, "" for none.
func envelopeWith(has func(name string) bool) string {
	for _, e := range envelopes {
		if !slices.ContainsFunc(e.members, func(name string) bool { return !has(name) }) {
			return e.name
		}
	}
	return ""
}

// envelopeOf returns the envelope that an object is, "" for none.
func envelopeOf(object []byte) string {
	has := map[string]bool{}
	for name, v := range eachMember(object) {
		has[name] = name != "Records" || v[0] == '[' && strings.ContainsAny(string(bytes.TrimSpace(v[1:])[:1]), "{]")
	}
	has["Records"] = has["Records"] && len(has) == 1 // such messages have nothing else
	return envelopeWith(func(name string) bool { return has[name] })
}

// String says what the bodies are.
func (d *document) String() string {
	what := d.envelope
	if what == "" {
		what = "JSON without an envelope"
	}
	if d.steps != nil {
		what += " in " + strings.Join(d.steps, ", ")
	}
	return what
}

// Mixed says that bodies are wrapped in different ways, and what to do, in lines; nil if all are alike.
// A draft is made of those that are most.
func (s *Sample) Mixed() (lines []string) {
	most := s.main()
	for _, d := range s.documents {
		if d != most {
			lines = append(lines, fmt.Sprintf("%s bodies are %s: the draft does not read them, but the %s that are %s", of(d.count, s.Bodies), d, humanize.Comma(int64(most.count)), most))
		}
	}
	sns := slices.ContainsFunc(s.documents, func(d *document) bool { return d.envelope == snsNotifications })
	if most != nil {
		lines = append(lines, most.wrappedInPart()...)
	}
	switch {
	case lines == nil:
	case sns && len(s.documents) > 1:
		lines = append(lines, "a model reads bodies of one kind: turn on raw message delivery for the SNS subscription, or give each kind a queue and a model of its own")
	default:
		lines = append(lines, "a model reads bodies of one kind: give each kind a queue and a model of its own")
	}
	return lines
}

// wrappedInPart finds strings that hold, in some bodies, the members that the others have themselves.
func (d *document) wrappedInPart() (lines []string) {
	shown := d.root.shown(d.count)
	for i, child := range d.root.inOrder {
		for _, inner := range child.embedded {
			same := 0
			for _, n := range inner.root.inOrder {
				if own := d.root.byName[n.name]; own != nil && own.seen+inner.count <= d.count {
					same++
				}
			}
			if same == 0 || same*2 < len(inner.root.inOrder) {
				continue
			}
			at := jsonPath([]step{child.name})
			if !shown[i] {
				at = "a string"
			}
			lines = append(lines, fmt.Sprintf("%s bodies hold in %s a document with the members that others have themselves: the draft mixes both", of(inner.count, d.count), at))
		}
	}
	return lines
}

// recognise finds the envelope of the innermost document, or of the outer ones.
func recognise(layers []layer) (e envelope) {
	for i, l := range layers {
		if envelopeWith(l.doc.root.has) == snsNotifications {
			e.name = snsNotifications
			e.key, e.outer = [][]step{{"MessageId"}}, i < len(layers)-1
			e.skip = []string{"Type", "SignatureVersion", "Signature", "SigningCertURL", "SigningCertUrl", "UnsubscribeURL", "UnsubscribeUrl", "MessageAttributes"}
		}
	}
	n := layers[len(layers)-1].doc.root
	name := envelopeWith(n.has)
	switch name {
	case snsNotifications: // a text in one
		name = ""
	case eventBridgeEvents:
		e.drops = [][]step{{"detail"}}
		e.keyed([]step{"id"})
	case cloudEvents:
		e.drops = [][]step{{"data"}}
		e.keyed([]step{"source"}, []step{"id"})
	case dynamoDBRecords:
		e.dynamo, e.drops = true, [][]step{{"dynamodb", "NewImage"}, {"dynamodb"}}
		e.keyed([]step{"eventID"})
	case records:
		e.drops = [][]step{{"Records", ""}}
	}
	payload := n.byName["payload"]
	switch {
	case name != "":
	case n.has("op") && (n.has("after") || n.has("before")):
		name, e.drops = "change events such as Debezium's", [][]step{{"after"}}
	case payload != nil && payload.has("op") && payload.has("after"):
		name, e.drops = "change events such as Debezium's", [][]step{{"payload", "after"}, {"payload"}}
	}
	switch {
	case e.name == "":
		e.name = name
	case name != "":
		e.name += " of " + name
	}
	return e
}

// has reports whether some object has a member; of Records, that it is followed.
func (n *node) has(name string) bool {
	child := n.byName[name]
	return child != nil && (name != "Records" || child.items != nil)
}

// keyed names the key, if no outer layer has one.
func (e *envelope) keyed(paths ...[]step) {
	if e.key == nil {
		e.key = paths
	}
}

func (e envelope) skips(path []step) bool { return len(path) == 1 && slices.Contains(e.skip, path[0]) }

// shorten returns the part of a path that tells its field from others.
func (e envelope) shorten(path []step) []step {
	short := path
	if e.dynamo { // {"S": "text"}: the names of types
		short = slices.DeleteFunc(slices.Clone(short), func(s step) bool {
			return slices.Contains([]string{"S", "N", "B", "BOOL", "M", "L", "SS", "NS", "BS"}, s)
		})
	}
	for _, drop := range e.drops {
		if len(short) > len(drop) && slices.Equal(short[:len(drop)], drop) {
			return short[len(drop):]
		}
	}
	return short
}
