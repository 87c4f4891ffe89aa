package sqs_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

var tooLong = message.Rejection{Reason: message.ReasonTooLong, Field: "locale"}

func rejected(messages ...message.Message) []message.RejectedMessage {
	all := make([]message.RejectedMessage, len(messages))
	for i := range messages {
		all[i] = message.RejectedMessage{Message: &messages[i], Rejection: tooLong, Model: "m"}
	}
	return all
}

func body(text string) message.Message {
	return message.Message{ID: "id-" + text, Body: []byte(text), HasBody: true, SentMillis: 1767225600000, HasSent: true}
}

func text(s string) sqstest.Attribute {
	return sqstest.Attribute{DataType: "String", StringValue: s}
}

func TestRejectedAsItWasSent(t *testing.T) {
	s, c := server(t)
	q := s.Queue("dlq", nil)
	m := body("{\"ip\": \"203.0.113.7\",\t\"é\":\"\u2028😀<&>\\u0000\ufffd\"}")
	m.ID, m.Group = "059f36b4-87a3-44ab-83d2-661975830a7d", "tenant 1"
	m.Attributes = []byte(`{"a":{"stringValue":"é \"x\"","stringListValues":[],"binaryListValues":[],"dataType":"String"},
		"n":{"stringValue":"1.50","dataType":"Number.float"},"b":{"binaryValue":"AP/+","dataType":"Binary.png"}}`)
	why := message.Rejection{Reason: message.ReasonRefused, SQLState: "23514", Constraint: "no <b>", Column: "locale"}
	unsent, err := c.DeadLetter(q.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), []message.RejectedMessage{{Message: &m, Rejection: why, Model: "user_logins"}})
	if err != nil || unsent != nil {
		t.Fatalf("got %v, %v", unsent, err)
	}
	want := []sqstest.Message{{
		ID: "any", Body: string(m.Body), Group: "tenant 1",
		Attributes: map[string]sqstest.Attribute{
			"a":      text(`é "x"`),
			"n":      {DataType: "Number.float", StringValue: "1.50"},
			"b":      {DataType: "Binary.png", BinaryValue: []byte{0, 255, 254}},
			"sluice": text(`{"reason":"refused_by_database","sqlstate":"23514","constraint":"no <b>","column":"locale","model":"user_logins","messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","sentTimestamp":1767225600000}`),
		},
	}}
	got := q.Messages()
	got[0].ID = "any"
	if diff := cmp.Diff(got, want, cmpopts.IgnoreFields(sqstest.Message{}, "Sent"), cmpopts.IgnoreUnexported(sqstest.Message{})); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
	if !json.Valid([]byte(got[0].Attributes["sluice"].StringValue)) {
		t.Error("the note is no JSON")
	}
}

func TestRejectedNote(t *testing.T) {
	for _, tt := range []struct {
		name string
		m    message.Message
		why  message.Rejection
		want string
	}{
		{"a field", body("x"), tooLong, `{"reason":"too_long","field":"locale","model":"m","messageId":"id-x","sentTimestamp":1767225600000}`},
		{"where it stops being JSON", body("x"), message.Rejection{Reason: message.ReasonNotJSON, Byte: 17, Detail: "a colon is missing"}, `{"reason":"not_json","detail":"a colon is missing","byte":17,"model":"m","messageId":"id-x","sentTimestamp":1767225600000}`},
		{"the whole body", body("x"), message.Rejection{Reason: message.ReasonNotJSON}, `{"reason":"not_json","model":"m","messageId":"id-x","sentTimestamp":1767225600000}`},
		{
			"a detail", body("x"),
			message.Rejection{Reason: message.ReasonWrongType, Field: "amount", Detail: "expected a number, found a string"},
			`{"reason":"wrong_type","field":"amount","detail":"expected a number, found a string","model":"m","messageId":"id-x","sentTimestamp":1767225600000}`,
		},
		{
			"several problems", body("x"),
			message.Rejection{
				Reason: message.ReasonWrongType, Field: "amount", Detail: "expected a number, found a string",
				More: []message.Rejection{{Reason: message.ReasonMissing, Field: "currency"}, {Reason: message.ReasonUnknown, Detail: "a\nb"}},
			},
			`{"reason":"wrong_type","field":"amount","detail":"expected a number, found a string","model":"m","messageId":"id-x","sentTimestamp":1767225600000,` +
				`"problems":[{"reason":"wrong_type","field":"amount","detail":"expected a number, found a string"},{"reason":"missing","field":"currency"},{"reason":"unknown_member","detail":"a b"}]}`,
		},
		{"no sent time", message.Message{ID: "1", Body: []byte("x"), HasBody: true, SentMillis: 7}, message.Rejection{Reason: message.ReasonNoSentTime}, `{"reason":"no_sent_time","model":"m","messageId":"1"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := server(t)
			q := s.Queue("dlq", nil)
			if unsent, err := c.DeadLetter(q.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), []message.RejectedMessage{{Message: &tt.m, Rejection: tt.why, Model: "m"}}); err != nil || unsent != nil {
				t.Fatalf("got %v, %v", unsent, err)
			}
			if got := q.Messages()[0].Attributes["sluice"].StringValue; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestRejectedNoteIsBounded: what does not fit into a note is counted, and a message without room for
// details has a note all the same.
func TestRejectedNoteIsBounded(t *testing.T) {
	t.Parallel()
	long := message.Rejection{Reason: message.ReasonNotOneOf, Field: "currency", Detail: strings.Repeat("é", 1000)}
	why := long
	why.Omitted = 3
	for range message.MaxProblems - 1 {
		why.More = append(why.More, long)
	}
	detail := strings.Repeat("é", 128) + "…"
	for _, tt := range []struct {
		name string
		body int // bytes
		want *sqs.Note
	}{
		{"problems", 1, &sqs.Note{
			Reason: "not_one_of", Field: "currency", Detail: detail,
			Problems: slices.Repeat([]sqs.Problem{{Reason: "not_one_of", Field: "currency", Detail: detail}}, 5), Omitted: 8,
		}},
		{"no room for problems", 1<<20 - 1000, &sqs.Note{Reason: "not_one_of", Field: "currency", Omitted: 12}},
		{"no room", 1 << 20, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			c = c.WithTimeout(10 * time.Second) // for a MiB, on a busy machine
			q := s.Queue("dlq", nil)
			m := body("x")
			m.Body = []byte(strings.Repeat("x", tt.body))
			if unsent, err := c.DeadLetter(q.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), []message.RejectedMessage{{Message: &m, Rejection: why, Model: "m"}}); err != nil || unsent != nil {
				t.Fatalf("got %v, %v", unsent, err)
			}
			if n := len(q.Messages()[0].Attributes["sluice"].StringValue); n > 2048 {
				t.Errorf("a note of %d bytes", n)
			}
			got := receive(t, open(t, c, q), 1)[0].Note
			if tt.want != nil {
				tt.want.Model, tt.want.MessageID, tt.want.SentTimestamp = "m", "id-x", 1767225600000
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
		})
	}
}

// TestNoteOfOthers: what a note of another version, or of anyone else, may hold.
func TestNoteOfOthers(t *testing.T) {
	t.Parallel()
	many := strings.TrimSuffix(strings.Repeat(`{"reason":"missing","field":"f"},`, 50), ",")
	for _, tt := range []struct {
		name, text string
		want       *sqs.Note
	}{
		{"an older sluice's", `{"reason":"not_json","model":"m","messageId":"1"}`, &sqs.Note{Reason: "not_json", Model: "m", MessageID: "1"}},
		{"a newer sluice's", `{"reason":"not_a_colour","field":"f","model":"m","messageId":"1","hint":["x"]}`, &sqs.Note{Reason: "not_a_colour", Field: "f", Model: "m", MessageID: "1"}},
		{
			"control characters", `{"reason":"missing","detail":"a\u001b[31m","model":"m","messageId":"1","problems":[{"reason":"missing","field":"\u0007","detail":"\n"}]}`,
			&sqs.Note{Reason: "missing", Detail: "a [31m", Model: "m", MessageID: "1", Problems: []sqs.Problem{{Reason: "missing", Field: " ", Detail: " "}}},
		},
		{
			"too many problems", `{"reason":"missing","model":"m","messageId":"1","problems":[` + many + `]}`,
			&sqs.Note{Reason: "missing", Model: "m", MessageID: "1", Problems: slices.Repeat([]sqs.Problem{{Reason: "missing", Field: "f"}}, 10)},
		},
		{"a reason that is none", `{"reason":"not a reason","model":"m","messageId":"1"}`, nil},
		{"a reason without a model", `{"reason":"not_a_colour"}`, nil},
		{"a problem that is none", `{"reason":"missing","model":"m","messageId":"1","problems":[{"reason":"\u001b[31m"}]}`, nil},
		{"problems of another type", `{"reason":"missing","model":"m","messageId":"1","problems":"x"}`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			q := s.Queue("dlq", nil)
			q.Put(sqstest.Message{ID: "1", Body: "x", Attributes: map[string]sqstest.Attribute{"sluice": text(tt.text)}})
			if diff := cmp.Diff(receive(t, open(t, c, q), 1)[0].Note, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
		})
	}
}

// TestRejectedUnsent: what cannot be sent as it came stays behind, alone.
func TestRejectedUnsent(t *testing.T) {
	attributes := func(n int) []byte {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"a%d":{"stringValue":%q,"dataType":"String"}`, i, canary))
		}
		return []byte("{" + strings.Join(all, ",") + "}")
	}
	note := len("sluice") + len("String") + len(`{"reason":"too_long","field":"locale","model":"m","messageId":"1","sentTimestamp":0}`)
	for _, tt := range []struct {
		name string
		m    message.Message
		want bool
	}{
		{"nine attributes", message.Message{Body: []byte("b"), HasBody: true, Attributes: attributes(9)}, true},
		{"ten attributes", message.Message{Body: []byte("b"), HasBody: true, Attributes: attributes(10)}, true},
		{"no body", message.Message{Body: []byte(canary)}, false},
		{"an empty body", message.Message{HasBody: true}, false},
		{"a body of no UTF-8", message.Message{Body: []byte(canary + "\xff"), HasBody: true}, false},
		{"a body that SQS refuses", message.Message{Body: []byte(canary + "\ufffe"), HasBody: true}, false},
		{"no base64", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"binaryValue":"` + canary + `!","dataType":"Binary"}}`)}, false},
		{"base64 of another alphabet", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"binaryValue":"AP_-","dataType":"Binary"}}`)}, false},
		{"a number for a string", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"stringValue":1,"dataType":"Number"}}`)}, false},
		{"no type", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"stringValue":"` + canary + `"}}`)}, false},
		{"no value", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"dataType":"String"}}`)}, false},
		{"a list", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"stringListValues":["` + canary + `"],"stringValue":"x","dataType":"String"}}`)}, false},
		{"a name twice", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"a":{"stringValue":"1","dataType":"String"},"a":{"stringValue":"2","dataType":"String"}}`)}, false},
		{"attributes of no UTF-8", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte("{\"a\":{\"stringValue\":\"\xff\",\"dataType\":\"String\"}}")}, false},
		{"the sender's own sluice", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"sluice":{"stringValue":"` + canary + `","dataType":"String"}}`)}, true},
		{"an older note of sluice", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{"sluice":{"stringValue":"{\"reason\":\"not_json\",\"model\":\"m\",\"messageId\":\"0\"}","dataType":"String"}}`)}, true},
		{"no attributes", message.Message{Body: []byte("b"), HasBody: true, Attributes: []byte(`{}`)}, true},
		{"as large as may be", message.Message{Body: []byte(strings.Repeat("x", 1<<20-note)), HasBody: true}, true},
		{"too large for the note", message.Message{Body: []byte(strings.Repeat("x", 1<<20-note+1)), HasBody: true}, true},
		{"as large as a message may be", message.Message{Body: []byte(strings.Repeat("x", 1<<20)), HasBody: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			c = c.WithTimeout(10 * time.Second) // for a MiB, on a busy machine
			q := s.Queue("dlq", nil)
			tt.m.ID, tt.m.HasSent = "1", true
			// sentTimestamp 0 would be left out of the note.
			tt.m.SentMillis = 1
			unsent, err := c.DeadLetter(q.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), rejected(body("before"), tt.m, body("after")))
			silent(t, err)
			if sent := len(q.Messages()); tt.want && (err != nil || unsent != nil || sent != 3) || !tt.want && (err == nil || !slices.Equal(unsent, []int{1}) || sent != 2) {
				t.Errorf("got %v, %v, %d sent, want it sent: %v", unsent, err, sent, tt.want)
			}
			if tt.want {
				// Without room for the note the message goes without; what the sender put there
				// stays.
				all := q.Messages()
				got := all[slices.IndexFunc(all, func(m sqstest.Message) bool { return m.Body == string(tt.m.Body) })].Attributes["sluice"].StringValue
				bare := slices.Contains([]string{"ten attributes", "the sender's own sluice", "too large for the note", "as large as a message may be"}, tt.name)
				if noted := strings.Contains(got, "too_long"); noted == bare {
					t.Errorf("it has a note: %v", noted)
				}
			}
			if err != nil && causeOf(err) != message.CauseUnsent {
				t.Errorf("got the fault %s", causeOf(err))
			}
		})
	}
}

// TestRejectedToWhereTheyComeFrom: a queue that is its own dead-letter queue,
// in any spelling of its URL, is sent nothing.
func TestRejectedToWhereTheyComeFrom(t *testing.T) {
	t.Parallel()
	s, c := server(t)
	q := s.Queue("logins", nil)
	for _, url := range []string{q.URL, q.URL + "/", strings.Replace(q.URL, "127.0.0.1", "localhost", 1)} {
		m := body("x")
		m.QueueARN = q.ARN
		unsent, err := c.DeadLetter(url, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), rejected(m))
		if !slices.Equal(unsent, []int{0}) || err == nil || causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), "the messages come from this queue") {
			t.Errorf("%s: got %v, %v", url, unsent, err)
		}
	}
	if n := len(q.Messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

// TestRejectedNoteReplaced: a message that AWS's own tools moved back still
// has the note of the first time.
func TestRejectedNoteReplaced(t *testing.T) {
	s, c := server(t)
	q := s.Queue("dlq", nil)
	m := body("x")
	m.Attributes = []byte(`{"sluice":{"stringValue":"{\"reason\":\"not_json\",\"model\":\"m\",\"messageId\":\"old\"}","dataType":"String"},"k":{"stringValue":"v","dataType":"String"}}`)
	if unsent, err := c.DeadLetter(q.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), rejected(m)); err != nil {
		t.Fatal(unsent, err)
	}
	got := q.Messages()[0].Attributes
	if len(got) != 2 || !strings.Contains(got["sluice"].StringValue, `"messageId":"id-x"`) {
		t.Errorf("got %v", got)
	}
}

func TestRejectedToFIFO(t *testing.T) {
	s, c := server(t)
	q := s.Queue("dlq.fifo", nil)
	var messages []message.Message
	for i := range 12 {
		m := body(fmt.Sprintf("%d %s", i, canary))
		m.FIFO, m.Group, m.ID = true, fmt.Sprintf("g%d", i%3), fmt.Sprintf("m%d", i)
		messages = append(messages, m)
	}
	messages[4].HasBody = false // in g1, behind message 1
	messages[11].Group = ""
	send := func(want []int) {
		t.Helper()
		unsent, err := c.DeadLetter(q.URL, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), rejected(messages...))
		silent(t, err)
		if !slices.Equal(unsent, want) {
			t.Errorf("got %v, want %v", unsent, want)
		}
	}
	send([]int{4, 7, 10})
	send([]int{4, 7, 10}) // redelivered, and swallowed: the deduplication ids are the same
	groups := map[string][]string{}
	for _, m := range q.Messages() {
		groups[m.Group] = append(groups[m.Group], m.DeduplicationID)
	}
	want := map[string][]string{"g0": {"m0", "m3", "m6", "m9"}, "g1": {"m1"}, "g2": {"m2", "m5", "m8"}, "sluice": {"m11"}}
	if diff := cmp.Diff(groups, want); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
}

func TestDeadLetterNotConfiguredRight(t *testing.T) {
	_, c := server(t)
	for _, url := range []string{"dlq", "", "arn:aws:sqs:eu-west-1:000000000000:dlq", "https://sqs.eu-west-1.amazonaws.com", "ftp://h/1/q", "http://%zz/1/q"} {
		unsent, err := c.DeadLetter(url, "DEAD_LETTER_QUEUE_URL").Send(t.Context(), rejected(body("x")))
		if !slices.Equal(unsent, []int{0}) || causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), "DEAD_LETTER_QUEUE_URL: not the URL of a queue") {
			t.Errorf("%q: got %v, %v", url, unsent, err)
		}
	}
}
