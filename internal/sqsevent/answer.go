package sqsevent

import (
	"github.com/go-json-experiment/json/jsontext"
)

// Answer writes the partial-batch answer that lists the given messageIds, each once. Lambda deletes
// every message of the batch that is not listed.
func Answer(failed []string) []byte {
	out := []byte(`{"batchItemFailures":[`)
	listed := make(map[string]bool, len(failed))
	for _, id := range failed {
		if listed[id] {
			continue
		}
		if len(listed) > 0 {
			out = append(out, ',')
		}
		listed[id] = true
		out = append(out, `{"itemIdentifier":`...)
		out, _ = jsontext.AppendQuote(out, id) // ids come from valid JSON strings
		out = append(out, '}')
	}
	return append(out, "]}"...)
}
