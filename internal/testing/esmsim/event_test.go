package esmsim_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

func TestEventIsThatOfLambda(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, queue string
		first       bool // receive, at 50 s; else the second, after one at 15 s
		message     esmsim.Message
		want        string // $id and $handle stand for what the simulation made up
	}{
		{"standard", "logins", false, esmsim.Message{Body: `{"a":"<é>\n"}`, Attributes: map[string]esmsim.Attribute{
			"text":   {DataType: "String", StringValue: "v"},
			"number": {DataType: "Number", StringValue: "1"},
			"bytes":  {DataType: "Binary.png", BinaryValue: []byte{0xff}},
		}}, `{"Records":[{"messageId":"$id","receiptHandle":"$handle","attributes":{"ApproximateReceiveCount":"2",
			"SentTimestamp":"1767225605000","SenderId":"AIDAIENQZJOLO23YVJ4VO","ApproximateFirstReceiveTimestamp":"1767225615000"},
			"body":"{\"a\":\"<é>\\n\"}","md5OfBody":"4195dc0d328b80a0c5c68d947094fab8","messageAttributes":{
			"text":{"stringValue":"v","stringListValues":[],"binaryListValues":[],"dataType":"String"},
			"number":{"stringValue":"1","stringListValues":[],"binaryListValues":[],"dataType":"Number"},
			"bytes":{"binaryValue":"/w==","stringListValues":[],"binaryListValues":[],"dataType":"Binary.png"}},
			"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:000000000000:logins","awsRegion":"eu-west-1"}]}`},
		{
			"first receive", "logins", true,
			esmsim.Message{Body: "a"},
			`{"Records":[{"messageId":"$id","receiptHandle":"$handle","attributes":{"ApproximateReceiveCount":"1",
			"SentTimestamp":"1767225605000","SenderId":"AIDAIENQZJOLO23YVJ4VO","ApproximateFirstReceiveTimestamp":"1767225650000"},
			"body":"a","md5OfBody":"0cc175b9c0f1b6a831c399e269772661","messageAttributes":{},
			"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:000000000000:logins","awsRegion":"eu-west-1"}]}`,
		},
		{
			"fair queue", "logins", false,
			esmsim.Message{Body: "a", GroupID: "tenant"},
			`{"Records":[{"messageId":"$id","receiptHandle":"$handle","attributes":{"ApproximateReceiveCount":"2",
			"SentTimestamp":"1767225605000","SenderId":"AIDAIENQZJOLO23YVJ4VO","ApproximateFirstReceiveTimestamp":"1767225615000",
			"MessageGroupId":"tenant"},"body":"a","md5OfBody":"0cc175b9c0f1b6a831c399e269772661","messageAttributes":{},
			"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:000000000000:logins","awsRegion":"eu-west-1"}]}`,
		},
		{
			"fifo", "logins.fifo", false,
			esmsim.Message{Body: "a", GroupID: "g", DeduplicationID: "d"},
			`{"Records":[{"messageId":"$id","receiptHandle":"$handle","attributes":{"ApproximateReceiveCount":"2",
			"SentTimestamp":"1767225605000","SenderId":"AIDAIENQZJOLO23YVJ4VO","ApproximateFirstReceiveTimestamp":"1767225615000",
			"MessageGroupId":"g","MessageDeduplicationId":"d","SequenceNumber":"18800000000000000000"},
			"body":"a","md5OfBody":"0cc175b9c0f1b6a831c399e269772661","messageAttributes":{},
			"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:000000000000:logins.fifo","awsRegion":"eu-west-1"}]}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: tt.queue})
			var id string
			sim.At(5*time.Second, func() { id = queue.Send(tt.message) })
			if !tt.first {
				sim.At(15*time.Second, func() { queue.Receive(1) })
			}
			sim.Run(50 * time.Second)
			var event []byte
			sim.Map(queue, func(_ context.Context, e []byte) ([]byte, error) {
				event = e
				return nil, nil
			}, esmsim.MappingConfig{})
			sim.Run(51 * time.Second)

			r, _ := queue.Find(id)
			want := strings.NewReplacer("$id", id, "$handle", r.ReceiptHandle).Replace(tt.want)
			var gotJSON, wantJSON any
			if err := json.Unmarshal(event, &gotJSON); err != nil {
				t.Fatalf("event: %v\n%s", err, event)
			}
			if err := json.Unmarshal([]byte(want), &wantJSON); err != nil {
				t.Fatalf("want: %v\n%s", err, want)
			}
			if diff := cmp.Diff(gotJSON, wantJSON); diff != "" {
				t.Errorf("event (-got +want):\n%s", diff)
			}
		})
	}
}
