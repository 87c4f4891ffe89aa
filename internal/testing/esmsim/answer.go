package esmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// maxAnswerBytes is the payload limit of a synchronous answer (Lambda Developer Guide, Lambda
// quotas: 6 MB).
const maxAnswerBytes = 6 << 20

// judge reads a function's answer to a batch of these message ids as Lambda does with
// ReportBatchItemFailures on. It returns the ids that are returned to the queue; an error means
// that the whole batch is.
//
// Lambda Developer Guide, Handling errors for an SQS event source in Lambda / Implementing partial
// batch responses, success and failure conditions:
//   - complete success: an empty or null batchItemFailures, an empty or null answer, and so an
//     object without that exact key;
//   - complete failure: invalid JSON, an itemIdentifier that is empty, null, wrongly keyed, or no
//     id of the batch.
//
// Of JSON that is none of these (a string, a list, a batchItemFailures that is not a list) AWS says
// nothing: failure.
func judge(answer []byte, ids []string) (failed []string, err error) {
	answer = bytes.TrimSpace(answer)
	switch {
	case len(answer) > maxAnswerBytes:
		return nil, fmt.Errorf("answer of %d bytes exceeds the payload limit", len(answer))
	case len(answer) == 0 || string(answer) == "null":
		return nil, nil
	case !json.Valid(answer):
		return nil, errors.New("answer is not JSON")
	}
	// Maps, for the keys of a struct would match in any case.
	var object map[string]json.RawMessage
	if err := json.Unmarshal(answer, &object); err != nil {
		return nil, errors.New("answer is not an object")
	}
	list, ok := object["batchItemFailures"]
	if !ok {
		return nil, nil
	}
	var items []map[string]json.RawMessage
	if err := json.Unmarshal(list, &items); err != nil {
		return nil, errors.New("batchItemFailures is not a list of objects")
	}
	known := make(map[string]bool, len(ids))
	for _, id := range ids {
		known[id] = true
	}
	for i, item := range items {
		var id string
		if err := json.Unmarshal(item["itemIdentifier"], &id); err != nil || id == "" {
			return nil, fmt.Errorf("batchItemFailures[%d] has no itemIdentifier", i)
		}
		if !known[id] {
			return nil, fmt.Errorf("batchItemFailures[%d] names no message of the batch", i)
		}
		failed = append(failed, id)
	}
	return failed, nil
}
