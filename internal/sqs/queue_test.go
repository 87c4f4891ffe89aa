package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/sqsevent"
	"example.com/owner/sluice/internal/testing/sqstest"
)

func TestOpen(t *testing.T) {
	s, c := server(t)
	const dlq = "arn:aws:sqs:eu-west-1:000000000000:dlq"
	for _, tt := range []struct {
		name       string
		attributes map[string]string
		fifo       bool
		want       sqs.Settings
	}{
		{"plain", nil, false, sqs.Settings{Visibility: 30 * time.Second, Retention: 96 * time.Hour, MaxBytes: 1 << 20}},
		{"policy.fifo", map[string]string{
			"VisibilityTimeout": "360", "MessageRetentionPeriod": "1209600", "DelaySeconds": "5", "MaximumMessageSize": "262144", "ContentBasedDeduplication": "true",
			"RedrivePolicy": `{"deadLetterTargetArn":"` + dlq + `","maxReceiveCount":40}`,
		}, true, sqs.Settings{Visibility: 6 * time.Minute, Retention: 14 * 24 * time.Hour, Delay: 5 * time.Second, MaxBytes: 1 << 18, ContentDeduplication: true, DeadLetterARN: dlq, MaxReceives: 40}},
		{"count-as-text", map[string]string{"RedrivePolicy": `{"maxReceiveCount":"3","deadLetterTargetArn":"` + dlq + `"}`}, false, sqs.Settings{Visibility: 30 * time.Second, Retention: 96 * time.Hour, MaxBytes: 1 << 20, DeadLetterARN: dlq, MaxReceives: 3}},
		{"nonsense", map[string]string{"RedrivePolicy": `!`, "VisibilityTimeout": "x"}, false, sqs.Settings{Retention: 96 * time.Hour, MaxBytes: 1 << 20}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := s.Queue(tt.name, tt.attributes)
			fill(q, 2, 0)
			tt.want.ARN = q.ARN
			got := open(t, c, q)
			if diff := cmp.Diff(got.Settings, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
			if got.FIFO != tt.fifo || got.URL != q.URL || got.Counts != (sqs.Counts{Visible: 2}) {
				t.Errorf("got %v, %s, %v", got.FIFO, got.URL, got.Counts)
			}
			q.Put(sqstest.Message{Body: "x", VisibleAt: time.Now().Add(time.Hour)}, sqstest.Message{Body: "x", VisibleAt: time.Now().Add(time.Hour), Receives: 1})
			if counts, err := got.Count(t.Context()); err != nil || counts != (sqs.Counts{Visible: 2, InFlight: 1, Delayed: 1}) {
				t.Errorf("got %v, %v", counts, err)
			}
		})
	}
}

func TestOpenErrors(t *testing.T) {
	s, c := server(t)
	_, err := sqs.Open(t.Context(), c, s.URL+"/000000000000/none", "SQS_URL")
	want := "read the settings of the queue " + s.URL + "/000000000000/none (SQS_URL): there is no such queue at " + strings.TrimPrefix(s.URL, "http://") +
		"; check account, region and name in SQS_URL (AWS_ENDPOINT_URL is set)"
	if causeOf(err) != message.CauseConfiguration || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if e := fault.Of(err); e == nil || e.Code != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("got the code of %v", e)
	}
	if _, err = sqs.Open(t.Context(), c, canary[:0], "SQS_URL"); causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), "SQS_URL: not the URL of a queue") {
		t.Errorf("got %v", err)
	}
}

func TestReceive(t *testing.T) {
	s, c := server(t)
	dlq := s.Queue("dlq", nil)
	sent := time.UnixMilli(1767225600123)
	note := `{"reason":"too_long","field":"locale","model":"m","messageId":"old","sentTimestamp":5,"later":1}`
	dlq.Put(
		sqstest.Message{
			ID: "1", Body: "{\"a\":\"\u2028😀\"}", Sent: sent, Receives: 4, Group: "tenant", SourceARN: "arn:source",
			Attributes: map[string]sqstest.Attribute{"k": text(canary + ` "é"`), "n": {DataType: "Number.x", StringValue: "1.0"}, "b": {DataType: "Binary", BinaryValue: []byte{0, 255}}},
		},
		sqstest.Message{ID: "2", Body: "x", Sent: sent, Attributes: map[string]sqstest.Attribute{"sluice": text(note)}},
		sqstest.Message{ID: "3", Body: "x", Sent: sent, Attributes: map[string]sqstest.Attribute{"sluice": text(`{"reason":"` + canary + `"}`)}},
		sqstest.Message{ID: "4", Body: "x", Sent: sent, Attributes: map[string]sqstest.Attribute{"sluice": {DataType: "Binary", BinaryValue: []byte(note)}}},
	)
	got, err := open(t, c, dlq).Receive(t.Context(), 10, 0)
	if err != nil {
		t.Fatal(err)
	}
	m := func(id, body string, receives int, attributes string) message.Message {
		out := message.Message{QueueARN: dlq.ARN, ID: id, Body: []byte(body), HasBody: true, SentMillis: 1767225600123, HasSent: true, ReceiveCount: receives}
		if attributes != "" {
			out.Attributes = []byte(attributes)
		}
		return out
	}
	want := []sqs.Received{
		{Message: m("1", "{\"a\":\"\u2028😀\"}", 5, `{"b":{"binaryValue":"AP8=","dataType":"Binary"},"k":{"stringValue":"`+canary+` \"é\"","dataType":"String"},"n":{"stringValue":"1.0","dataType":"Number.x"}}`), SourceARN: "arn:source"},
		{Message: m("2", "x", 1, `{"sluice":{"stringValue":"{\"reason\":\"too_long\",\"field\":\"locale\",\"model\":\"m\",\"messageId\":\"old\",\"sentTimestamp\":5,\"later\":1}","dataType":"String"}}`), Note: &sqs.Note{Reason: "too_long", Field: "locale", Model: "m", MessageID: "old", SentTimestamp: 5}},
		{Message: m("3", "x", 1, `{"sluice":{"stringValue":"{\"reason\":\"`+canary+`\"}","dataType":"String"}}`)},
		{Message: m("4", "x", 1, `{"sluice":{"binaryValue":"eyJyZWFzb24iOiJ0b29fbG9uZyIsImZpZWxkIjoibG9jYWxlIiwibW9kZWwiOiJtIiwibWVzc2FnZUlkIjoib2xkIiwic2VudFRpbWVzdGFtcCI6NSwibGF0ZXIiOjF9","dataType":"Binary"}}`)},
	}
	want[0].Group = "tenant"
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(sqs.Received{}, "System"), cmpopts.IgnoreFields(message.Message{}, "ReceiptHandle")); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
	if got[0].System["SenderId"] != "AIDATEST" || got[0].ReceiptHandle == "" {
		t.Errorf("got %v, %q", got[0].System, got[0].ReceiptHandle)
	}
}

// TestReceiveAsAnEvent: a call brings the same message as the event of Lambda, and of Pipes, with
// all that a model can read; SQS keeps the sequence number over redeliveries.
func TestReceiveAsAnEvent(t *testing.T) {
	s, c := server(t)
	for _, name := range []string{"q.fifo", "q"} {
		queue := s.Queue(name, map[string]string{"VisibilityTimeout": "0"})
		queue.Put(sqstest.Message{
			ID: "1", Body: "{}", Group: "tenant 1", Sent: time.UnixMilli(1767225600123),
			Attributes: map[string]sqstest.Attribute{"n": {DataType: "Number.int", StringValue: "1"}, "s": text("é")},
		})
		sequence := ""
		for receives := range 2 {
			received := receive(t, open(t, c, queue), 1)[0]
			if name == "q.fifo" && (len(received.SequenceNumber) != 20 || sequence != "" && received.SequenceNumber != sequence) {
				t.Errorf("got the sequence numbers %q and %q", sequence, received.SequenceNumber)
			}
			sequence = received.SequenceNumber
			number := ""
			if sequence != "" {
				number = `,"SequenceNumber":"` + sequence + `"`
			}
			event := fmt.Sprintf(`[{"messageId":"1","receiptHandle":%q,"body":"{}","attributes":{"ApproximateReceiveCount":"%d","SentTimestamp":"1767225600123","MessageGroupId":"tenant 1"%s},`+
				`"messageAttributes":{"n":{"stringValue":"1","dataType":"Number.int"},"s":{"stringValue":"é","dataType":"String"}},"eventSource":"aws:sqs","eventSourceARN":%q}]`,
				received.ReceiptHandle, receives+1, number, queue.ARN)
			want, err := sqsevent.Decode([]byte(event))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(received.Message, want[0]); diff != "" {
				t.Errorf("%s: a call (-) and an event (+):\n%s", name, diff)
			}
		}
	}
}

// TestThere and back: what was rejected is, once redriven, what was sent.
func TestThereAndBack(t *testing.T) {
	for _, name := range []string{"q", "q.fifo"} {
		t.Run(name, func(t *testing.T) {
			s, c := server(t)
			source, dlq := s.Queue(name, nil), s.Queue("dlq-"+name, nil)
			in, out := open(t, c, source), open(t, c, dlq)
			messages := []sqs.Outgoing{
				{Body: []byte("{}"), Group: "g", DeduplicationID: "1", Attributes: []byte(`{"b":{"binaryValue":"AP8=","dataType":"Binary"},"k":{"stringValue":"v","dataType":"String"}}`)},
				{Body: []byte("é"), Group: "h", DeduplicationID: "2"},
			}
			if unsent, err := in.Send(t.Context(), messages); err != nil {
				t.Fatal(unsent, err)
			}
			before := source.Messages()
			move := func(to func([]sqs.Received) ([]int, error), from *sqs.Queue) {
				t.Helper()
				received := receive(t, from, 2)
				var handles []string
				for _, r := range received {
					handles = append(handles, r.ReceiptHandle)
				}
				if unsent, err := to(received); err != nil {
					t.Fatal(unsent, err)
				}
				if undeleted, err := from.Delete(t.Context(), handles); err != nil {
					t.Fatal(undeleted, err)
				}
			}
			move(func(received []sqs.Received) ([]int, error) {
				var all []message.Message
				for _, r := range received {
					all = append(all, r.Message)
				}
				return c.DeadLetter(dlq.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), rejected(all...))
			}, in)
			for _, m := range dlq.Messages() {
				if _, ok := m.Attributes["sluice"]; !ok {
					t.Error("no note in the dead-letter queue")
				}
			}
			move(func(received []sqs.Received) ([]int, error) {
				var all []sqs.Outgoing
				for _, r := range received {
					if r.Note == nil || r.Note.Reason != "too_long" {
						t.Errorf("got the note %v", r.Note)
					}
					all = append(all, r.Resend())
				}
				return in.Send(t.Context(), all)
			}, out)
			if diff := cmp.Diff(source.Messages(), before, cmpopts.IgnoreFields(sqstest.Message{}, "ID", "Sent", "DeduplicationID"), cmpopts.IgnoreUnexported(sqstest.Message{}), cmpopts.EquateEmpty(), cmpopts.SortSlices(func(a, b sqstest.Message) bool { return a.Body < b.Body })); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
		})
	}
}

func TestReceiveFaults(t *testing.T) {
	answer := func(s string) *sqstest.Fault { return &sqstest.Fault{Answer: &s} }
	for _, tt := range []struct {
		name  string
		fault *sqstest.Fault
		want  string
	}{
		{"no id", answer(`{"Messages":[{"Body":"` + canary + `","ReceiptHandle":"` + canary + `"}]}`), "a message came without its id or its receipt handle"},
		{"no handle", answer(`{"Messages":[{"Body":"` + canary + `","MessageId":"` + canary + `"}]}`), "a message came without its id or its receipt handle"},
		{"another body than was sent", answer(`{"Messages":[{"Body":"` + canary + `","MD5OfBody":"x","MessageId":"` + canary + `","ReceiptHandle":"1"}]}`), "checksum"},
		{"too many in flight", &sqstest.Fault{Code: "OverLimit", Message: canary}, "throttles this queue, OverLimit"},
		{"silent", &sqstest.Fault{Delay: time.Minute}, "no answer from"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			if tt.name == "silent" {
				c = impatient(c)
			}
			q := open(t, c, s.Queue("q", nil))
			s.Inject(func(sqstest.Call) *sqstest.Fault { return tt.fault })
			got, err := q.Receive(answered(t), 10, 0)
			if text := silent(t, err); got != nil || !strings.Contains(text, tt.want) {
				t.Errorf("got %d messages, %s, want %q", len(got), text, tt.want)
			}
		})
	}
}

func TestReceiveLeniently(t *testing.T) {
	s, c := server(t)
	q := open(t, c, s.Queue("q.fifo", nil))
	for _, tt := range []struct {
		name, message string
		want          message.Message
	}{
		{"nothing but ids", `"x":1`, message.Message{}},
		{"no times", `"Body":"b","Attributes":{"SentTimestamp":"soon","ApproximateReceiveCount":"x"}`, message.Message{Body: []byte("b"), HasBody: true}},
		{"a negative time", `"Body":"","Attributes":{"SentTimestamp":"-1","ApproximateReceiveCount":"2"}`, message.Message{Body: []byte{}, HasBody: true, ReceiveCount: 2}},
		{"an endless time", `"Body":"b","Attributes":{"SentTimestamp":"253402300800000"}`, message.Message{Body: []byte("b"), HasBody: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := `{"Messages":[{"MessageId":"1","ReceiptHandle":"h",` + tt.message + `}]}`
			s.Inject(func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Answer: &answer} })
			got, err := q.Receive(t.Context(), 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.QueueARN, tt.want.ID, tt.want.ReceiptHandle, tt.want.FIFO = q.Settings.ARN, "1", "h", true
			if diff := cmp.Diff(got[0].Message, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
		})
	}
}

func TestReceiveWaits(t *testing.T) {
	s, c := server(t)
	fake := s.Queue("q", nil)
	q := open(t, c.WithTimeout(2*time.Second), fake)
	time.AfterFunc(2500*time.Millisecond, func() { fill(fake, 1, 0) }) // the wait comes on top of the timeout
	got, err := q.Receive(t.Context(), 10, 20*time.Second)
	if len(got) != 1 || err != nil {
		t.Errorf("got %d messages, %v", len(got), err)
	}
	if got, err := q.Receive(t.Context(), 10, time.Second); len(got) != 0 || err != nil {
		t.Errorf("got %d messages, %v, of an empty queue", len(got), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := q.Receive(ctx, 10, 20*time.Second); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 15*time.Second {
		t.Errorf("got %v after %v", err, time.Since(start))
	}
}

func TestDelete(t *testing.T) {
	on13 := func(f func(entry int) sqstest.Fault) func(sqstest.Call) *sqstest.Fault {
		return func(c sqstest.Call) *sqstest.Fault {
			if i := slices.Index(c.Entries, "handle-13-1"); i >= 0 {
				return new(f(i))
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name  string
		fault func(sqstest.Call) *sqstest.Fault
		want  []int
		text  string
	}{
		{"all", nil, nil, ""},
		{"a server's faults, that pass", once(sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 2: {Code: "ThrottlingException", SenderFault: true}}}), nil, ""},
		{"a server's fault", on13(func(entry int) sqstest.Fault {
			return sqstest.Fault{Entries: map[int]sqstest.EntryFault{entry: {Code: "InternalError", Message: canary}}}
		}), []int{12}, "an entry is refused, InternalError"},
		{"a handle that is none", on13(func(int) sqstest.Fault {
			return sqstest.Fault{Code: "ReceiptHandleIsInvalid", Message: canary}
		}), []int{12}, "refused, ReceiptHandleIsInvalid"},
		{"lost answers", once(sqstest.Fault{Lost: true}), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			fake := s.Queue("q", nil)
			fill(fake, 25, 0)
			q := open(t, c, fake)
			var handles []string
			for _, r := range receive(t, q, 25) {
				handles = append(handles, r.ReceiptHandle)
			}
			s.Inject(tt.fault)
			got, err := q.Delete(answered(t), handles)
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
			if text := silent(t, err); (err == nil) != (tt.want == nil) || !strings.Contains(text, tt.text) {
				t.Errorf("got %s, want %q", text, tt.text)
			}
			if left := len(fake.Messages()); left != len(tt.want) {
				t.Errorf("got %d messages left", left)
			}
		})
	}
}

// TestDeleteFIFOTooLate: SQS refuses to delete from a FIFO queue what has
// become visible again; on a standard queue it confirms.
func TestDeleteFIFOTooLate(t *testing.T) {
	s, c := server(t)
	fake := s.Queue("q.fifo", map[string]string{"VisibilityTimeout": "0"})
	fake.Put(sqstest.Message{Body: "x", Group: "g"})
	q := open(t, c, fake)
	got, err := q.Delete(t.Context(), []string{receive(t, q, 1)[0].ReceiptHandle})
	if !slices.Equal(got, []int{0}) || !strings.Contains(silent(t, err), "InvalidParameterValue") {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestChangeVisibility(t *testing.T) {
	s, c := server(t)
	fake := s.Queue("q", nil)
	fill(fake, 25, 0)
	q := open(t, c, fake)
	var handles []string
	for _, r := range receive(t, q, 25) {
		handles = append(handles, r.ReceiptHandle)
	}
	if unset, err := q.ChangeVisibility(t.Context(), handles, 0); unset != nil || err != nil {
		t.Fatalf("got %v, %v", unset, err)
	}
	if again := receive(t, q, 25); again[0].ReceiveCount != 2 {
		t.Errorf("got %d receives", again[0].ReceiveCount)
	}
	unset, err := q.ChangeVisibility(t.Context(), handles[:1], 24*time.Hour) // of the first receive
	if !slices.Equal(unset, []int{0}) || !strings.Contains(silent(t, err), "hide or return messages of the queue "+q.URL) {
		t.Errorf("got %v, %v", unset, err)
	}
	failed, err := q.Backoff().Return(t.Context(), []*message.Message{{ReceiptHandle: fmt.Sprintf("handle-%d-2", 1)}})
	if failed != 0 || err != nil {
		t.Errorf("got %d, %v", failed, err)
	}
}
