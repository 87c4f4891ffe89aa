package main_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/sqs"
	"sluice/internal/testing/sqstest"
)

// rejectedMessage is a message as the function sends it to its dead-letter queue.
func rejectedMessage(body string, note sqs.Note) sqstest.Message {
	note.Model, note.MessageID, note.SentTimestamp = cmp.Or(note.Model, "user_logins"), "m-1", time.Now().Add(-2*time.Hour).UnixMilli()
	text, err := json.Marshal(note)
	if err != nil {
		panic(err)
	}
	return sqstest.Message{Body: body, Sent: time.Now().Add(-time.Minute), Group: queueCanary, Attributes: map[string]sqstest.Attribute{"sluice": {DataType: "String", StringValue: string(text)}}}
}

// deadLetters is a queue and its dead-letter queue, with a message of each kind.
func deadLetters(t *testing.T) (fakeSQS *sqstest.Server, dead, source *sqstest.Queue, environ map[string]string) {
	t.Helper()
	fakeSQS = useSQS(t)
	dead, source = fakeSQS.Queue("dead", nil), fakeSQS.Queue("logins", nil)
	dead.Put(
		rejectedMessage("not JSON "+queueCanary, sqs.Note{Reason: message.ReasonNotJSON}),
		rejectedMessage(`{"user_id":"u-1","ip":"`+queueCanary+`"}`, sqs.Note{Reason: message.ReasonNotIP, Field: "ip"}),
		rejectedMessage(`{"user_id":"u-2","ip":"`+queueCanary+`"}`, sqs.Note{Reason: message.ReasonNotIP, Field: "ip"}),
		rejectedMessage(`{"user_id":"u-3","device_id":"`+queueCanary+`","locale":"x\u001b[31m"}`, sqs.Note{Reason: message.ReasonRefused, SQLState: "23514", Constraint: "known_locale"}),
		sqstest.Message{Body: `{"user_id":"u-4","device_id":"` + queueCanary + `"}`, SourceARN: source.ARN, Sent: time.Now().Add(-3 * time.Hour)},
	)
	return fakeSQS, dead, source, map[string]string{"SQS_URL": source.URL, "DEAD_LETTER_QUEUE_URL": dead.URL, "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef"}
}

func inFlight(q *sqstest.Queue) (n int) {
	for _, m := range q.Messages() {
		if m.VisibleAt.After(time.Now()) {
			n++
		}
	}
	return n
}

func TestPeek(t *testing.T) {
	_, dead, _, environ := deadLetters(t)
	code, stdout, stderr := run(t, environ, "", "peek")
	if code != 0 || stderr != "" {
		t.Errorf("got %d, %s", code, stderr)
	}
	noCanary(t, stdout, stderr)
	for _, want := range []string{"5 messages visible", "not_an_ip_address ", "known_locale", "too_many_receives", "not one valid JSON value", "u-4", "u-3", "x\uFFFD[31m"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("it lacks %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "\x1b") {
		t.Error("a body speaks to the terminal")
	}
	if n := inFlight(dead); n != 0 || len(dead.Messages()) != 5 {
		t.Errorf("%d are invisible, %d there", n, len(dead.Messages()))
	}
}

func TestPeekJSON(t *testing.T) {
	_, _, _, environ := deadLetters(t)
	code, stdout, stderr := run(t, environ, "", "peek", "--json", "--max", "0")
	noCanary(t, stdout, stderr)
	var got struct {
		Visible int
		Looked  int `json:"looked_at"`
		Reasons []struct {
			Reason, Field string
			Messages      int
		}
		Messages []struct {
			ID, Reason, Unreadable, Body string
			Bytes                        int
			Columns                      map[string]string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 {
		t.Fatalf("got %d, %v: %s %s", code, err, stdout, stderr)
	}
	if got.Visible != 5 || got.Looked != 5 || len(got.Reasons) != 4 || got.Reasons[0].Reason != "not_an_ip_address" || got.Reasons[0].Messages != 2 {
		t.Errorf("got %+v", got)
	}
	for _, m := range got.Messages {
		readable := m.Reason == "refused_by_database" || m.Reason == "too_many_receives"
		if readable != (m.Columns != nil) || readable == (m.Unreadable != "") || m.Body != "" || m.Bytes == 0 {
			t.Errorf("got %+v", m)
		}
		if readable && len(m.Columns["masked_device_id"]) != 64 {
			t.Errorf("got the mask %q", m.Columns["masked_device_id"])
		}
	}
}

// A body that another model has rejected may have in a field of that name what
// is personal there.
func TestPeekAtAnotherModel(t *testing.T) {
	_, dead, _, environ := deadLetters(t)
	dead.Clear()
	dead.Put(
		rejectedMessage(`{"user_id":"`+queueCanary+`","locale":"en"}`, sqs.Note{Reason: message.ReasonRefused, Model: "orders"}),
		rejectedMessage(`{"user_id":"u-1","locale":"en"}`, sqs.Note{Reason: message.ReasonRefused}),
	)
	code, stdout, stderr := run(t, environ, "", "peek", "--json")
	noCanary(t, stdout, stderr)
	if code != 0 || !strings.Contains(stdout, `"model":"orders","bytes":`) || strings.Count(stdout, `"columns"`) != 1 || strings.Count(stdout, "rejected by the model orders") != 1 {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, environ, "", "peek")
	noCanary(t, stdout, stderr)
	if code != 0 || !strings.Contains(stdout, " orders ") || !strings.Contains(stdout, " user_logins ") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
}

func TestPeekRaw(t *testing.T) {
	_, _, _, environ := deadLetters(t)
	for _, args := range [][]string{{"peek", "--raw"}, {"peek", "--raw", "--json"}} {
		code, stdout, stderr := run(t, environ, "", args...)
		if code != 0 || strings.Count(stdout, queueCanary) != 5 || !strings.Contains(stderr, "raw bodies") {
			t.Errorf("got %d, %s, %s", code, stdout, stderr)
		}
		noCanary(t, stderr)
	}
}

func TestPeekWithoutKeys(t *testing.T) {
	_, _, _, environ := deadLetters(t)
	delete(environ, "SLUICE_MASK_KEYS")
	code, stdout, stderr := run(t, environ, "", "peek")
	if code != 0 || !strings.Contains(stdout, "SLUICE_MASK_KEYS") || strings.Contains(stdout, "u-4") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	noCanary(t, stdout, stderr)
}

func TestPeekFails(t *testing.T) {
	fakeSQS, dead, _, environ := deadLetters(t)
	counted := fakeSQS.Queue("counted", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":3}`})
	counted.Put(sqstest.Message{Body: "{}"})
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"a redrive policy", []string{"peek", counted.URL}, 1, "--force"},
		{"forced", []string{"peek", counted.URL, "--force"}, 0, ""},
		{"below zero", []string{"peek", "--max", "-1"}, 2, "--max"},
	} {
		code, stdout, stderr := run(t, environ, "", tt.args...)
		if code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%s: got %d, %s%s", tt.name, code, stdout, stderr)
		}
	}
	if counted.Messages()[0].Receives != 1 {
		t.Errorf("it cost %d receives", counted.Messages()[0].Receives)
	}
}

func TestRedrive(t *testing.T) {
	_, dead, source, environ := deadLetters(t)
	code, stdout, stderr := run(t, environ, "", "redrive", "--dry-run", "--reason", "refused_by_database", "--reason", "too_many_receives")
	noCanary(t, stdout, stderr)
	if code != 0 || !strings.Contains(stdout, "5 messages at the start, 5 examined, 2 matched; they would be sent") || len(source.Messages()) != 0 || inFlight(dead) != 0 {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, environ, "", "redrive", "--reason", "refused_by_database,too_many_receives")
	noCanary(t, stdout, stderr)
	if code != 0 || !strings.Contains(stdout, "2 sent to") || !strings.Contains(stdout, "2 deleted") || len(source.Messages()) != 2 || len(dead.Messages()) != 3 || inFlight(dead) != 0 {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	code, stdout, stderr = run(t, environ, "", "redrive", "--json", "--older-than", "90m", "--newer-than", "150m")
	noCanary(t, stdout, stderr)
	var sum struct {
		Sent, Deleted int
		From, To      string
		Reasons       map[string]int
	}
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || code != 0 || sum.Sent != 3 || sum.Deleted != 3 || sum.From != dead.URL || sum.To != source.URL || sum.Reasons["not_an_ip_address"] != 2 {
		t.Errorf("got %d, %v, %s, %s", code, err, stdout, stderr)
	}
	if len(source.Messages()) != 5 || len(dead.Messages()) != 0 {
		t.Errorf("%d arrived, %d were left", len(source.Messages()), len(dead.Messages()))
	}
}

// One dead-letter queue of two functions, each with its model.
func TestRedriveKeepsToTheModel(t *testing.T) {
	_, dead, source, environ := deadLetters(t)
	dead.Clear()
	dead.Put(
		rejectedMessage(queueCanary+"1", sqs.Note{Reason: message.ReasonNotJSON, Model: "orders"}),
		rejectedMessage(queueCanary+"2", sqs.Note{Reason: message.ReasonNotJSON}),
	)
	const said = "\n1 were rejected by another model than user_logins"
	environ["SLUICE_MASK"] = "nonsense" // of no matter for this
	for _, args := range [][]string{{"--dry-run"}, nil, nil} {
		code, stdout, stderr := run(t, environ, "", append([]string{"redrive"}, args...)...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, said) {
			t.Errorf("got %d, %s, %s", code, stdout, stderr)
		}
	}
	if left, arrived := dead.Messages(), source.Messages(); len(left) != 1 || left[0].Body != queueCanary+"1" || len(arrived) != 1 {
		t.Errorf("%d are left, %d arrived", len(left), len(arrived))
	}
	code, stdout, _ := run(t, environ, "", "redrive", "--json")
	if code != 0 || !strings.Contains(stdout, `"of_another_model":1,`) {
		t.Errorf("got %d, %s", code, stdout)
	}
	environ["SLUICE_MODEL"] = "orders"
	if code, stdout, stderr := run(t, environ, "", "redrive", "--dry-run"); code != 0 || stderr != "" || !strings.Contains(stdout, "1 matched") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	environ["SLUICE_MODEL"] = "user_logins"
	if code, stdout, stderr := run(t, environ, "", "redrive", "--any-source"); code != 0 || stderr != "" || !strings.Contains(stdout, "1 sent to") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
}

// TestRedriveWithoutAModel: a model that cannot be read is reported, and blocks nothing.
func TestRedriveWithoutAModel(t *testing.T) {
	_, _, source, environ := deadLetters(t)
	environ["SLUICE_MODEL"] = "/nosuch/file.yaml"
	if code, stdout, stderr := run(t, environ, "", "redrive"); code != 0 || !strings.Contains(stderr, "the model of SLUICE_MODEL cannot be read") || len(source.Messages()) != 5 {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	if code, _, stderr := run(t, environ, "", "redrive", "--any-source"); code != 0 || stderr != "" {
		t.Errorf("got %d, %s", code, stderr)
	}
}

func TestRedriveFails(t *testing.T) {
	fakeSQS, dead, source, environ := deadLetters(t)
	for _, tt := range []struct {
		name  string
		fault sqstest.Call
		says  string
	}{
		{"sending", sqstest.Call{Operation: "SendMessageBatch"}, "not sent: message"},
		{"deleting", sqstest.Call{Operation: "DeleteMessageBatch"}, "sent but not deleted: message"},
	} {
		fakeSQS.Inject(func(c sqstest.Call) *sqstest.Fault {
			if c.Operation == tt.fault.Operation {
				return &sqstest.Fault{Code: "AccessDenied", Message: queueCanary}
			}
			return nil
		})
		code, stdout, stderr := run(t, environ, "", "redrive", "--max", "1")
		if code != 1 || !strings.Contains(stderr, tt.says) || !strings.Contains(stderr, "sqs:"+strings.TrimSuffix(tt.fault.Operation, "Batch")) {
			t.Errorf("%s: got %d, %s, %s", tt.name, code, stdout, stderr)
		}
		noCanary(t, stdout, stderr)
		if len(dead.Messages()) != 5 {
			t.Errorf("%s: %d are left", tt.name, len(dead.Messages()))
		}
	}
	if len(source.Messages()) != 1 {
		t.Errorf("%d arrived", len(source.Messages()))
	}
}

// TestRedriveWithoutAnswers: what may have been sent is not called unsent, and every
// line of an error begins with sluice.
func TestRedriveWithoutAnswers(t *testing.T) {
	fakeSQS, dead, source, environ := deadLetters(t)
	for range 6 { // more than two batches
		for i := range 10 {
			dead.Put(rejectedMessage(fmt.Sprint(queueCanary, i), sqs.Note{Reason: message.ReasonNotJSON}))
		}
	}
	fakeSQS.Inject(func(c sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Lost: c.Operation == "SendMessageBatch"} })
	code, stdout, stderr := run(t, environ, "", "redrive")
	noCanary(t, stdout, stderr)
	if code != 1 || strings.Count(stderr, "sluice: perhaps sent; it may be in both queues: message ") != 20 ||
		!strings.Contains(stderr, "not known whether 20 messages were sent") || !strings.Contains(stderr, "45 messages were not sent") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "sluice: ") {
			t.Errorf("not a line of ours: %s", line)
		}
	}
	if len(dead.Messages()) != 65 || len(source.Messages()) != 20 || inFlight(dead) != 0 {
		t.Errorf("%d are left, %d of them invisible; %d arrived", len(dead.Messages()), inFlight(dead), len(source.Messages()))
	}
	code, stdout, _ = run(t, environ, "", "redrive", "--json", "--max", "1")
	if code != 1 || !strings.Contains(stdout, `"unknown":1,`) || !strings.Contains(stdout, `"unknown_ids"`) {
		t.Errorf("got %d, %s", code, stdout)
	}
}

func TestRedriveWhileOthersHoldMessages(t *testing.T) {
	_, dead, _, environ := deadLetters(t)
	held := make([]sqstest.Message, 7)
	for i := range held {
		held[i] = sqstest.Message{Body: "held", Receives: 1, VisibleAt: time.Now().Add(time.Minute)}
	}
	dead.Put(held...)
	code, stdout, stderr := run(t, environ, "", "redrive")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "12 messages at the start, 5 examined") || !strings.Contains(stdout, "\n7 are in flight: run it again when they are back.\n") || strings.Contains(stdout, "not examined") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	code, stdout, _ = run(t, environ, "", "redrive", "--json")
	if code != 0 || !strings.Contains(stdout, `"in_flight":7,`) {
		t.Errorf("got %d, %s", code, stdout)
	}
}

func TestRedriveUsage(t *testing.T) {
	fakeSQS, dead, _, environ := deadLetters(t)
	counted := fakeSQS.Queue("counted", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":3}`})
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--reason", "nosuch"}, 2, "not_an_ip_address"},
		{[]string{"--older-than", "3h", "--newer-than", "2h"}, 2, "--older-than"},
		{[]string{"--older-than", "-3h"}, 2, "--older-than"},
		{[]string{"--older-than", "yesterday"}, 2, "--older-than"},
		{[]string{"--max", "-1"}, 2, "--max"},
		{[]string{"extra"}, 2, "extra"},
		{[]string{"--to", dead.URL}, 1, "the same queue"},
		{[]string{"--to", strings.Replace(dead.URL, "127.0.0.1", "localhost", 1)}, 1, "the same queue"},
		{[]string{"--from", counted.URL}, 1, "--force"},
	} {
		code, stdout, stderr := run(t, environ, "", append([]string{"redrive"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.says) {
			t.Errorf("%v: got %d, %s%s", tt.args, code, stdout, stderr)
		}
	}
	if n := len(fakeSQS.Calls("ReceiveMessage")); n != 0 {
		t.Errorf("%d receives", n)
	}
}
