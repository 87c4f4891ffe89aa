package main_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
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
	stdout := ends(t, environ, 0, "peek", "5 messages visible", "not_an_ip_address ", "known_locale", "too_many_receives", "not one valid JSON value", "u-4", "u-3", "x\uFFFD[31m")
	if strings.Contains(stdout, "\x1b") {
		t.Error("a body speaks to the terminal")
	}
	if n := inFlight(dead); n != 0 || len(dead.Messages()) != 5 {
		t.Errorf("%d are invisible, %d there", n, len(dead.Messages()))
	}
}

func TestPeekJSON(t *testing.T) {
	_, _, _, environ := deadLetters(t)
	stdout := ends(t, environ, 0, "peek --json --max 0")
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
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
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

// TestPeekProblems: peek shows the first problem and counts the others, --json has all of them, and
// redrive goes by the first.
func TestPeekProblems(t *testing.T) {
	_, dead, source, environ := deadLetters(t)
	dead.Clear()
	detail := "expected a number, found a string"
	dead.Put(
		rejectedMessage("1", sqs.Note{Reason: message.ReasonWrongType, Field: "amount", Detail: detail, Problems: []sqs.Problem{
			{Reason: message.ReasonWrongType, Field: "amount", Detail: detail}, {Reason: message.ReasonMissing, Field: "currency"},
		}, Omitted: 1}),
		rejectedMessage("2", sqs.Note{Reason: message.ReasonWrongType, Field: "amount", Detail: detail}),
		rejectedMessage("3", sqs.Note{Reason: message.ReasonWrongType, Field: "amount", Detail: "expected a number, found an object"}),
		rejectedMessage("4", sqs.Note{Reason: message.ReasonMissing, Field: "currency"}),
		rejectedMessage("5", sqs.Note{Reason: "not_a_colour", Field: "colour"}), // a newer sluice's
	)
	ends(t, environ, 0, "peek", "message m-1: wrong_type amount, 2 more\n", "\n  wrong_type amount: "+detail+"\n", "found an object", "message m-1: missing currency\n", "required, and is absent", "not_a_colour ", "a reason of a newer sluice", "the body cannot be read: not_an_object: expected an object, found a number")
	stdout := ends(t, environ, 0, "peek --json")
	var got struct {
		Reasons []struct {
			Reason, Field, Detail string
			Messages              int
		}
		Messages []struct {
			Reason, Detail string
			Problems       []sqs.Problem
			Omitted        int
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if len(got.Reasons) != 4 || got.Reasons[0].Detail != detail || got.Reasons[0].Messages != 2 {
		t.Errorf("got the reasons %+v", got.Reasons)
	}
	several := 0
	for _, m := range got.Messages {
		if len(m.Problems) == 2 && m.Problems[1].Reason == message.ReasonMissing && m.Omitted == 1 && m.Detail == detail {
			several++
		}
	}
	if several != 1 {
		t.Errorf("got %+v", got.Messages)
	}
	ends(t, environ, 0, "redrive --reason missing", "1 sent")
	if all := source.Messages(); len(all) != 1 || all[0].Body != "4" {
		t.Errorf("redrive sent %+v", all)
	}
}

// TestPeekAtAnotherModel: a body that another model has rejected may have in a field of that name what
// is personal there.
func TestPeekAtAnotherModel(t *testing.T) {
	_, dead, _, environ := deadLetters(t)
	dead.Clear()
	dead.Put(
		rejectedMessage(`{"user_id":"`+queueCanary+`","locale":"en"}`, sqs.Note{Reason: message.ReasonRefused, Model: "orders"}),
		rejectedMessage(`{"user_id":"u-1","locale":"en"}`, sqs.Note{Reason: message.ReasonRefused}),
	)
	stdout := ends(t, environ, 0, "peek --json", `"model":"orders","bytes":`)
	if strings.Count(stdout, `"columns"`) != 1 || strings.Count(stdout, "rejected by the model orders") != 1 {
		t.Errorf("got %s", stdout)
	}
	ends(t, environ, 0, "peek", " orders ", " user_logins ", "the body is of the model orders; set SLUICE_MODEL to it")
}

// peekedFields are the parts of peek --json that say what a message holds.
type peekedFields struct {
	Messages []struct {
		ID, Reason, Unreadable string
		MessageID              string `json:"message_id"`
		Fields                 []struct {
			Field, Hidden, Reason, Detail string
			Was                           string `json:"was_rejected_for"`
			Value                         any
			Masked                        bool
		}
	}
}

// TestPeekFields: every reject is shown field by field, with the id that the logs have.
func TestPeekFields(t *testing.T) {
	_, dead, source, environ := deadLetters(t)
	dead.Clear()
	long := strings.Repeat("é", 100)
	dead.Put(
		rejectedMessage(`{"user_id":["`+queueCanary+`"],"app_version":"two","ip":"203.0.113.7","device_type":"`+long+`","device_id":7,"unread":"`+queueCanary+`"}`,
			sqs.Note{Reason: message.ReasonWrongType, Field: "user_id", Problems: []sqs.Problem{
				{Reason: message.ReasonWrongType, Field: "user_id"}, {Reason: message.ReasonNotVersion, Field: "app_version"}, {Reason: message.ReasonWrongType, Field: "device_id"},
			}}),
		rejectedMessage(`{"user_id":"u-2"}`, sqs.Note{Reason: message.ReasonTooLong, Field: "user_id"}), // the model has changed since
		rejectedMessage(`{"user_id":"u-3","locale":"en"}`, sqs.Note{Reason: message.ReasonRefused, SQLState: "22001", Column: "locale"}),
		sqstest.Message{ID: "moved", Body: `{"user_id":"u-4","ip":"` + queueCanary + `"}`, SourceARN: source.ARN, Sent: time.Now()},
		sqstest.Message{ID: "strange", Body: `{"user_id":"` + queueCanary + `","ip":7}`, SourceARN: dead.ARN, Sent: time.Now()},
	)
	stdout := ends(t, environ, 0, "peek",
		"message m-1: wrong_type user_id, 2 more\n", ", here its id is 0000000", "(an array of 22 bytes, perhaps with personal data)",
		`"two" `, "not_a_version", strings.Repeat("é", 31)+"… ", " (masked)", "(personal: a number)", "\nWhat ends in … is shortened; --json has it whole.\n",
		" u-2 ", "it was rejected: too_long: the field has more characters", "the model accepts it now",
		"message m-1: refused_by_database SQLSTATE 22001 (string_data_right_truncation) column locale\n", "it was rejected: refused_by_database SQLSTATE 22001",
		"message moved: too_many_receives\n", " u-4\n", "(personal: a string)", "not_an_ip_address",
		"message strange: too_many_receives\n", "the body is not shown, because the model does not accept it and it did not come from SQS_URL: wrong_type ip",
	)
	for _, hidden := range []string{queueCanary, "203.0.113.7", strings.Repeat("é", 61)} {
		if strings.Contains(stdout, hidden) {
			t.Errorf("%s shows: %s", hidden, stdout)
		}
	}
	stdout = ends(t, environ, 0, "peek --json")
	var got peekedFields
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if len(got.Messages) != 5 {
		t.Fatalf("got %+v", got)
	}
	whole := false
	for _, m := range got.Messages {
		if sent := m.Reason != "too_many_receives"; sent != (m.MessageID == "m-1") || sent == (m.ID == m.MessageID) {
			t.Errorf("the ids are %s and %s", m.ID, m.MessageID)
		}
		if (m.MessageID == "strange") != (m.Fields == nil) {
			t.Errorf("got %+v", m)
		}
		for _, f := range m.Fields {
			whole = whole || strings.Contains(fmt.Sprint(f.Value), long)
			if f.Masked && len(fmt.Sprint(f.Value)) != 64 || f.Hidden != "" && f.Value != nil {
				t.Errorf("got %+v", f)
			}
		}
	}
	if !whole {
		t.Errorf("the long value is not whole: %s", stdout)
	}
}

// TestPeekAtAPart says that it shows a part, and how to see all.
func TestPeekAtAPart(t *testing.T) {
	_, dead, _, environ := deadLetters(t)
	ends(t, environ, 0, "peek --max 2", "5 messages visible, 0 in flight, 0 delayed; 2 of 5 messages shown; --max 0 shows all.\n")
	ends(t, environ, 0, "peek --max 5", "0 delayed; all shown.\n")
	dead.Put(sqstest.Message{Body: "held", Receives: 1, VisibleAt: time.Now().Add(time.Minute)})
	ends(t, environ, 0, "peek", "5 messages visible, 1 in flight, 0 delayed; 5 of 6 messages shown; the others are in flight or delayed.\n")
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
	if stdout := ends(t, environ, 0, "peek", "SLUICE_MASK_KEYS"); strings.Contains(stdout, "u-4") {
		t.Errorf("a body shows: %s", stdout)
	}
	// A model without personal fields needs none.
	_, dead, _, environ := deadLetters(t)
	delete(environ, "SLUICE_MASK_KEYS")
	environ["SLUICE_MODEL"] = "../../test/shapes/iot/model.yaml"
	dead.Clear()
	dead.Put(rejectedMessage(`{"device":"sensor-17","ts":1769860800123,"temperature":1000}`, sqs.Note{Reason: message.ReasonOutOfRange, Field: "temperature", Model: "readings"}))
	ends(t, environ, 0, "peek", "sensor-17", " 1000 ", "out_of_range")
}

func TestPeekFails(t *testing.T) {
	fakeSQS, dead, _, environ := deadLetters(t)
	counted := fakeSQS.Queue("counted", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":3}`})
	counted.Put(sqstest.Message{Body: "{}"})
	ends(t, environ, 1, "peek "+counted.URL, "--force") // it has a redrive policy
	ends(t, environ, 0, "peek --force "+counted.URL)
	ends(t, environ, 2, "peek --max -1", "--max")
	if counted.Messages()[0].Receives != 1 {
		t.Errorf("it cost %d receives", counted.Messages()[0].Receives)
	}
}

func TestRedrive(t *testing.T) {
	_, dead, source, environ := deadLetters(t)
	holds := func(n, left int) {
		t.Helper()
		if len(source.Messages()) != n || len(dead.Messages()) != left || inFlight(dead) != 0 {
			t.Errorf("%d arrived, want %d; %d are left, want %d; %d of them are invisible", len(source.Messages()), n, len(dead.Messages()), left, inFlight(dead))
		}
	}
	ends(t, environ, 0, "redrive --dry-run --reason refused_by_database --reason too_many_receives", "5 messages at the start, 5 examined, 2 matched; they would be sent")
	holds(0, 5)
	ends(t, environ, 0, "redrive --reason refused_by_database,too_many_receives", "2 sent to", "2 deleted")
	holds(2, 3)
	stdout := ends(t, environ, 0, "redrive --json --older-than 90m --newer-than 150m")
	var sum struct {
		Sent, Deleted int
		From, To      string
		Reasons       map[string]int
	}
	if err := json.Unmarshal([]byte(stdout), &sum); err != nil || sum.Sent != 3 || sum.Deleted != 3 || sum.From != dead.URL || sum.To != source.URL || sum.Reasons["not_an_ip_address"] != 2 {
		t.Errorf("got %v, %s", err, stdout)
	}
	holds(5, 0)
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
	for _, line := range []string{"redrive --dry-run", "redrive", "redrive"} {
		ends(t, environ, 0, line, said)
	}
	if left, arrived := dead.Messages(), source.Messages(); len(left) != 1 || left[0].Body != queueCanary+"1" || len(arrived) != 1 {
		t.Errorf("%d are left, %d arrived", len(left), len(arrived))
	}
	ends(t, environ, 0, "redrive --json", `"of_another_model":1,`)
	environ["SLUICE_MODEL"] = "orders"
	ends(t, environ, 0, "redrive --dry-run", "1 matched")
	environ["SLUICE_MODEL"] = "user_logins"
	ends(t, environ, 0, "redrive --any-source", "1 sent to")
}

// TestRedriveWithoutAModel: a model that cannot be read is reported, and blocks nothing.
func TestRedriveWithoutAModel(t *testing.T) {
	_, _, source, environ := deadLetters(t)
	environ["SLUICE_MODEL"] = "/nosuch/file.yaml"
	if code, stdout, stderr := run(t, environ, "", "redrive"); code != 0 || !strings.Contains(stderr, "the model of SLUICE_MODEL cannot be read") || len(source.Messages()) != 5 {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	ends(t, environ, 0, "redrive --any-source")
}

func TestRedriveFails(t *testing.T) {
	fakeSQS, dead, source, environ := deadLetters(t)
	for _, tt := range []struct{ action, says string }{{"SendMessage", "not sent: message"}, {"DeleteMessage", "sent but not deleted: message"}} {
		fakeSQS.Inject(func(c sqstest.Call) *sqstest.Fault {
			if c.Operation == tt.action+"Batch" {
				return &sqstest.Fault{Code: "AccessDenied", Message: queueCanary}
			}
			return nil
		})
		ends(t, environ, 1, "redrive --max 1", tt.says, "sqs:"+tt.action)
		if len(dead.Messages()) != 5 {
			t.Errorf("%s: %d are left", tt.action, len(dead.Messages()))
		}
	}
	if len(source.Messages()) != 1 {
		t.Errorf("%d arrived", len(source.Messages()))
	}
}

// TestRedriveToAFIFOQueue: a message without a group cannot go there, and the error says so.
func TestRedriveToAFIFOQueue(t *testing.T) {
	fakeSQS, dead, _, environ := deadLetters(t)
	dead.Put(sqstest.Message{Body: queueCanary})
	fifo := fakeSQS.Queue("logins.fifo", nil)
	ends(t, environ, 1, "redrive --any-source --to "+fifo.URL, "not sent: message ", "2 messages were not sent, and left in the dead-letter queue (send to the queue "+fifo.URL+" (--to): a message cannot be sent: it has no message group, which a FIFO queue needs)")
	if sent, left := len(fifo.Messages()), len(dead.Messages()); sent != 4 || left != 2 {
		t.Errorf("%d were sent, %d are left", sent, left)
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
			t.Errorf("not a line of sluice: %s", line)
		}
	}
	if len(dead.Messages()) != 65 || len(source.Messages()) != 20 || inFlight(dead) != 0 {
		t.Errorf("%d are left, %d of them invisible; %d arrived", len(dead.Messages()), inFlight(dead), len(source.Messages()))
	}
	stdout = ends(t, environ, 1, "redrive --json --max 1", "it is not known whether 1 message was sent")
	if !strings.Contains(stdout, `"unknown":1,`) || !strings.Contains(stdout, `"unknown_ids"`) {
		t.Errorf("got %s", stdout)
	}
}

func TestRedriveWhileOthersHoldMessages(t *testing.T) {
	_, dead, _, environ := deadLetters(t)
	held := make([]sqstest.Message, 7)
	for i := range held {
		held[i] = sqstest.Message{Body: "held", Receives: 1, VisibleAt: time.Now().Add(time.Minute)}
	}
	dead.Put(held...)
	stdout := ends(t, environ, 0, "redrive", "12 messages at the start, 5 examined", "\n7 are in flight, held by another consumer: run the command again after their visibility timeout.\n")
	if strings.Contains(stdout, "not examined") {
		t.Errorf("got %s", stdout)
	}
	ends(t, environ, 0, "redrive --json", `"in_flight":7,`)
}

func TestRedriveUsage(t *testing.T) {
	fakeSQS, dead, _, environ := deadLetters(t)
	counted := fakeSQS.Queue("counted", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":3}`})
	for _, tt := range []struct {
		flags string
		code  int
		says  string
	}{
		{"--reason nosuch", 2, "not_an_ip_address"},
		{"--older-than 2d --newer-than 36h", 2, "--older-than"},
		{"--older-than -3h", 2, "--older-than"},
		{"--older-than yesterday", 2, "--older-than: the value is not a duration; expected numbers with units, as in 90m, 36h, 2d, 1w or 1d12h"},
		{"--newer-than 2", 2, "--newer-than: the value is not a duration; expected numbers with units, as in 90m, 36h, 2d, 1w or 1d12h"},
		{"--newer-than -2d", 2, "--newer-than"},
		{"--max -1", 2, "--max"},
		{"extra", 2, "argument 2 is one too many"},
		{"--to " + dead.URL, 1, "the same queue"},
		{"--to " + strings.Replace(dead.URL, "127.0.0.1", "localhost", 1), 1, "the same queue"},
		{"--from " + counted.URL, 1, "--force"},
	} {
		ends(t, environ, tt.code, "redrive "+tt.flags, tt.says)
	}
	if n := len(fakeSQS.Calls("ReceiveMessage")); n != 0 {
		t.Errorf("%d receives", n)
	}
}
