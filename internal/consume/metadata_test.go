package consume_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// delivered is a model of metadata and of message attributes.
const delivered = `
model: delivered
table: delivered
key: [message_id]
fields:
  user_id: {type: text}
  trace: {type: text, attribute: trace_id, required: true}
  amount: {type: numeric, attribute: amount}
columns:
  user_id: {type: text, from: user_id}
  trace: {type: text, from: trace}
  amount: {type: numeric, from: amount}
  queue: {type: text, meta: queue}
  message_group: {type: text, meta: message_group}
  sequence_number: {type: numeric, meta: sequence_number}
  receive_count: {type: integer, meta: receive_count}
  message_id: {type: uuid, meta: message_id}
`

// TestMetadataAndAttributes: what a receive brings is stored as of an event, and what is wrong with
// an attribute is said in the dead letter.
func TestMetadataAndAttributes(t *testing.T) {
	t.Parallel()
	for _, fifo := range []bool{false, true} {
		t.Run(fmt.Sprint("fifo ", fifo), func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{fifo: fifo, model: delivered})
			put := func(n int, receives int, attributes map[string]sqstest.Attribute) {
				m := sqstest.Message{Body: fmt.Sprintf(`{"user_id":"u-%d"}`, n), Receives: receives, Attributes: attributes}
				if fifo {
					m.Group = fmt.Sprint("g ", n)
				}
				s.queue.Put(m)
			}
			trace := sqstest.Attribute{DataType: "String.uuid", StringValue: "t \"1\""}
			put(1, 0, map[string]sqstest.Attribute{"trace_id": trace, "amount": {DataType: "Number.money", StringValue: "12.50"}})
			put(2, 2, map[string]sqstest.Attribute{"trace_id": trace, "unread": {DataType: "Binary", BinaryValue: []byte{0}}})
			put(3, 0, nil)
			put(4, 0, map[string]sqstest.Attribute{"Trace_ID": trace, "amount": {DataType: "Number", StringValue: "+1"}})
			summary := run(t, s.consumer(t, nil))
			if summary.Stored != 2 || summary.DeadLettered != 2 {
				t.Errorf("got %+v, want 2 stored and 2 dead letters", summary)
			}
			want := [][]string{{"u-1", `t "1"`, "12.50", s.queue.Name, "", "", "1"}, {"u-2", `t "1"`, "", s.queue.Name, "", "", "3"}}
			if fifo {
				for i := range want {
					want[i][4], want[i][5] = fmt.Sprint("g ", i+1), fmt.Sprintf("188%017d", i*256)
				}
			}
			got := s.db.Rows(t, `SELECT user_id, trace, coalesce(amount::text, ''), queue, coalesce(message_group, ''), coalesce(sequence_number::text, ''), receive_count::text
				FROM delivered ORDER BY user_id`)
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("rows got(-) want(+):\n%s", diff)
			}
			problems := map[message.Reason][]string{}
			for _, n := range s.notes(t) {
				for _, p := range n.Problems {
					problems[n.Reason] = append(problems[n.Reason], fmt.Sprintf("%s %s", p.Reason, p.Field))
				}
				if n.Problems == nil {
					problems[n.Reason] = append(problems[n.Reason], fmt.Sprintf("%s %s alone", n.Reason, n.Field))
				}
			}
			wantProblems := map[message.Reason][]string{
				message.ReasonMissing: {"missing trace alone"}, message.ReasonKeyCase: {"key_case trace", "not_a_number amount"},
			}
			if diff := cmp.Diff(problems, wantProblems); diff != "" {
				t.Errorf("problems of dead letters got(-) want(+):\n%s", diff)
			}
		})
	}
}
