package infer

import "slices"

// envelope is a form of bodies that many queues carry.
type envelope struct {
	name   string
	drops  [][]step // beginnings of paths that names do not need
	skip   []string // members of an outer layer that say nothing
	dynamo bool
	key    [][]step // paths of what tells its messages apart, wherever it was sent
	outer  bool     // the key is in layer 0
}

// recognise finds the envelope of the innermost document, or of the outer ones.
func recognise(layers []layer) (e envelope) {
	has := func(n *node, names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return n.byName[name] == nil })
	}
	for i, l := range layers {
		if n := l.doc.root; has(n, "Type", "MessageId", "TopicArn", "Message") {
			e.name = "SNS notifications"
			e.key, e.outer = [][]step{{"MessageId"}}, i < len(layers)-1
			e.skip = []string{"Type", "SignatureVersion", "Signature", "SigningCertURL", "SigningCertUrl", "UnsubscribeURL", "UnsubscribeUrl", "MessageAttributes"}
		}
	}
	n := layers[len(layers)-1].doc.root
	name := ""
	switch {
	case has(n, "detail-type", "source", "detail"):
		name, e.drops = "EventBridge events", [][]step{{"detail"}}
		e.keyed([]step{"id"})
	case has(n, "specversion", "id", "source", "type"):
		name, e.drops = "CloudEvents", [][]step{{"data"}}
		e.keyed([]step{"source"}, []step{"id"})
	case has(n, "dynamodb", "eventName"):
		name, e.dynamo, e.drops = "records of a DynamoDB stream", true, [][]step{{"dynamodb", "NewImage"}, {"dynamodb"}}
		e.keyed([]step{"eventID"})
	case has(n, "Records") && n.byName["Records"].first != nil:
		name, e.drops = "records such as S3's notifications", [][]step{{"Records", ""}}
	case has(n, "op", "after") || has(n, "op", "before"):
		name, e.drops = "change events such as Debezium's", [][]step{{"after"}}
	case has(n, "payload") && has(n.byName["payload"], "op", "after"):
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
