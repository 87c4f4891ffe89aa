//go:build localstack

package stack_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// canary is in every personal value that is sent. No log and no reason may have it.
const canary = "canary-4d1f"

// loginNet is the start of every address. Addresses cannot have the canary.
const loginNet = "203.0.113."

// message is a message to send, and what must become of it.
type message struct {
	body string
	// key is what the row of a good one has in the column keyColumn; "" stands for the id that SQS gives it.
	key string
	// reason and field are why it is rejected.
	reason, field string

	id string // once it was sent
}

func (m *message) good() bool { return m.reason == "" }

// kind is a model, and bodies for it.
type kind struct {
	model     string
	keyColumn string // tells rows from each other
	selects   string // the columns that the writer must be able to read: the model's key
	check     string // what the database asks for beyond the model
	// message makes the i-th one: every tenth is malformed, in one of four ways, every other tenth is refused by the database.
	message func(i int) message
}

func kinds() []kind { return []kind{logins(), orders()} }

// logins have their key from SQS: the same body sent twice is two messages and two rows.
func logins() kind {
	return kind{
		model: "user_logins", keyColumn: "message_id", selects: "sent_at, message_id", check: "device_type <> 'toaster'",
		message: func(i int) message {
			body := map[string]any{
				"user_id": fmt.Sprintf("user-%04d", i), "app_version": "2.3.0", "device_type": "android", "locale": "DE",
				"ip": loginIP(i), "device_id": loginDevice(i),
			}
			m := message{}
			switch {
			case i%10 == 3 && i/10%4 == 0:
				return message{body: fmt.Sprintf(`{"user_id": "user-%04d", "device_id": %q, "ip": `, i, body["device_id"]), reason: "not_json"}
			case i%10 == 3 && i/10%4 == 1:
				delete(body, "user_id")
				m.reason, m.field = "missing", "user_id"
			case i%10 == 3 && i/10%4 == 2:
				body["ip"] = canary + "/24"
				m.reason, m.field = "not_an_ip_address", "ip"
			case i%10 == 3:
				body["device_type"] = strings.Repeat(canary, 10)
				m.reason, m.field = "too_long", "device_type"
			case i%10 == 7:
				body["device_type"] = "toaster"
				m.reason = "refused_by_database"
			}
			m.body = jsonText(body)
			return m
		},
	}
}

// Seven people log in, so that a mask is in many rows.
func loginIP(i int) string     { return loginNet + strconv.Itoa(100+i%7) }
func loginDevice(i int) string { return fmt.Sprintf("%s-%d", canary, i%7) }

// orders have their key in the body: every fifth is sent twice and is one row.
func orders() kind {
	return kind{
		model: "orders", keyColumn: "order_id", selects: "order_id", check: "total >= 0",
		message: func(i int) message {
			n := i
			if i%5 == 1 {
				n = i - 1 // the one before, again
			}
			m := message{key: uuid.NewSHA1(uuid.NameSpaceOID, []byte(strconv.Itoa(n))).String()}
			body := map[string]any{
				"order_id": m.key, "customer_email": fmt.Sprintf("%s-%04d@example.com", canary, n), "total": 12.25, "currency": "EUR",
				"item_count": 3, "gift": true, "placed_at": "2026-03-01T10:00:00Z", "lines": []any{map[string]any{"sku": "a-1"}},
			}
			switch {
			case i%10 == 3 && i/10%4 == 0:
				return message{body: fmt.Sprintf(`{"order_id": %q, "customer_email": %q`, m.key, body["customer_email"]), reason: "not_json"}
			case i%10 == 3 && i/10%4 == 1:
				delete(body, "placed_at")
				m.reason, m.field = "missing", "placed_at"
			case i%10 == 3 && i/10%4 == 2:
				body["customer_email"] = canary + " at example.com"
				m.reason, m.field = "not_an_email_address", "customer_email"
			case i%10 == 3:
				body["total"] = "12.25 " + canary
				m.reason, m.field = "wrong_type", "total"
			case i%10 == 7:
				body["total"] = -12.25
				m.reason = "refused_by_database"
			}
			m.body = jsonText(body)
			return m
		},
	}
}

func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// traffic is everything that was sent to a stack.
type traffic struct {
	kind kind
	// groups is how many message groups there are, 0 for a queue without.
	groups int
	sent   []message
}

// send sends messages from number from on, each with an attribute of its sender.
func (tr *traffic) send(t *testing.T, s *stack, from, count int) {
	t.Helper()
	for n := from; n < from+count; n += 10 {
		type attribute struct{ DataType, StringValue string }
		type entry struct {
			ID                string `json:"Id"`
			MessageBody       string
			MessageAttributes map[string]attribute
			Group             string `json:"MessageGroupId,omitempty"`
			Deduplication     string `json:"MessageDeduplicationId,omitempty"`
		}
		var entries []entry
		batch := make([]message, min(10, from+count-n))
		for k := range batch {
			batch[k] = tr.kind.message(n + k)
			number := strconv.Itoa(n + k)
			e := entry{ID: strconv.Itoa(k), MessageBody: batch[k].body, MessageAttributes: map[string]attribute{"number": {"Number", number}}}
			if tr.groups > 0 {
				e.Group, e.Deduplication = fmt.Sprintf("group-%d", (n+k)%tr.groups), number
			}
			entries = append(entries, e)
		}
		var answer struct {
			Successful []struct{ ID, MessageID string }
			Failed     []struct{ ID, Code, Message string }
		}
		call(t, "sqs", "SendMessageBatch", map[string]any{"QueueUrl": s.outputs["QueueUrl"], "Entries": entries}, &answer)
		if len(answer.Failed) > 0 || len(answer.Successful) != len(batch) {
			t.Fatalf("SendMessageBatch took %d of %d: %v", len(answer.Successful), len(batch), answer.Failed)
		}
		for _, ok := range answer.Successful {
			k, err := strconv.Atoi(ok.ID)
			if err != nil {
				t.Fatal(err)
			}
			batch[k].id = ok.MessageID
		}
		tr.sent = append(tr.sent, batch...)
	}
}

// wantAllSettled waits until the queue is empty, and checks what became of every message: good
// messages have one row for each key, all others are in the dead-letter queue with their reason,
// and nothing else is in either place. No log and no reason has a personal value.
func (tr *traffic) wantAllSettled(t *testing.T, s *stack) {
	t.Helper()
	began := time.Now()
	awaitEmpty(t, s)
	tr.wantRows(t, s)
	tr.wantDeadLetters(t, s)
	logs := strings.Join(s.logged(t), "")
	if !strings.Contains(logs, `"_aws"`) {
		t.Errorf("the function's log has no metrics: it was not read")
	}
	for _, value := range []string{canary, loginNet} {
		if at := strings.Index(logs, value); at >= 0 {
			t.Errorf("the function's log holds a personal value: …%s…", logs[max(0, at-200):min(len(logs), at+40)])
		}
	}
	t.Logf("settled %.1f s after the last step: %d sent, %v", time.Since(began).Seconds(), len(tr.sent), s.metrics(t))
}

// awaitEmpty waits until the queue is empty three times in a row: a message that is being received
// while LocalStack counts is neither visible nor in flight for it.
func awaitEmpty(t *testing.T, s *stack) {
	t.Helper()
	empty := 0
	eventually(t, 3*time.Minute, func() string {
		left := left(t, s.outputs["QueueUrl"])
		if left > 0 {
			empty = 0
			return fmt.Sprintf("%d messages are still in the queue; the end of the function's log:\n%s", left, tail(s.logged(t)))
		}
		if empty++; empty < 3 {
			return "the queue has just become empty"
		}
		return ""
	})
}

func tail(lines []string) string { return strings.Join(lines[max(0, len(lines)-12):], "") }

// left returns how many messages a queue holds, in any state.
func left(t *testing.T, queueURL string) (n int) {
	t.Helper()
	var answer struct{ Attributes map[string]string }
	call(t, "sqs", "GetQueueAttributes", map[string]any{"QueueUrl": queueURL, "AttributeNames": []string{"All"}}, &answer)
	for _, name := range []string{"", "NotVisible", "Delayed"} {
		count, err := strconv.Atoi(answer.Attributes["ApproximateNumberOfMessages"+name])
		if err != nil {
			t.Fatal(err)
		}
		n += count
	}
	return n
}

// rows counts the expected rows by key.
func (tr *traffic) rows() map[string]int {
	want := map[string]int{}
	for _, m := range tr.sent {
		if !m.good() {
			continue
		}
		if m.key == "" {
			m.key = m.id
		}
		want[m.key] = 1
	}
	return want
}

func (tr *traffic) wantRows(t *testing.T, s *stack) {
	t.Helper()
	got := map[string]int{}
	for _, row := range s.db.Rows(t, fmt.Sprintf("SELECT %s FROM %s", tr.kind.keyColumn, tr.kind.model)) {
		got[row[0]]++
	}
	if diff := cmp.Diff(tr.rows(), got); diff != "" {
		t.Errorf("rows by key (-want +got):\n%s", diff)
	}
}

// deadLetter is a rejected message, without what does not matter here.
type deadLetter struct {
	Reason, Field, Model, Constraint string
	Body                             any // JSON, which LocalStack writes anew, or text
	Number                           string
}

func (tr *traffic) wantDeadLetters(t *testing.T, s *stack) {
	t.Helper()
	want := map[string]deadLetter{}
	for i, m := range tr.sent {
		if m.good() {
			continue
		}
		d := deadLetter{Reason: m.reason, Field: m.field, Model: tr.kind.model, Body: value(m.body), Number: strconv.Itoa(i)}
		if m.reason == "refused_by_database" {
			d.Constraint = checkName
		}
		want[m.id] = d
	}
	got := map[string]deadLetter{}
	for _, m := range drain(t, s.outputs["DeadLetterQueueUrl"]) {
		note := m.MessageAttributes["sluice"].StringValue
		if note == "" {
			t.Errorf("a dead letter has no attribute sluice: SQS moved it, because it was returned too often: %s", m.Body)
			continue
		}
		var said struct {
			deadLetter
			MessageID     string `json:"messageId"`
			SentTimestamp int64  `json:"sentTimestamp"`
		}
		if err := json.Unmarshal([]byte(note), &said); err != nil {
			t.Errorf("the attribute sluice of a dead letter is %q: %v", note, err)
			continue
		}
		if strings.Contains(note, canary) {
			t.Errorf("the reason of a dead letter holds a personal value: %s", note)
		}
		if age := time.Since(time.UnixMilli(said.SentTimestamp)); age < 0 || age > time.Hour {
			t.Errorf("a dead letter says that it was sent %v ago: %s", age, note)
		}
		if _, twice := got[said.MessageID]; twice {
			t.Errorf("a message is twice in the dead-letter queue: %s", note)
		}
		said.Body, said.Number = value(m.Body), m.MessageAttributes["number"].StringValue
		got[said.MessageID] = said.deadLetter
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dead letters by the id that they had (-want +got):\n%s", diff)
	}
	reasons := map[string]int{}
	for _, d := range got {
		reasons[d.Reason]++
	}
	var list []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		list = append(list, fmt.Sprintf("%d %s", reasons[reason], reason))
	}
	t.Logf("%d rows; dead letters: %s", len(tr.rows()), strings.Join(list, ", "))
}

// value returns a body for a comparison.
func value(body string) any {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	return v
}

type received struct {
	Body, ReceiptHandle string
	MessageAttributes   map[string]struct{ StringValue string }
}

// drain receives all messages of a queue that nobody else reads.
func drain(t *testing.T, queueURL string) (all []received) {
	t.Helper()
	for left(t, queueURL) > 0 {
		var page struct{ Messages []received }
		call(t, "sqs", "ReceiveMessage", map[string]any{
			"QueueUrl": queueURL, "MaxNumberOfMessages": 10, "MessageAttributeNames": []string{"All"},
		}, &page)
		for _, m := range page.Messages {
			call(t, "sqs", "DeleteMessage", map[string]any{"QueueUrl": queueURL, "ReceiptHandle": m.ReceiptHandle}, nil)
		}
		all = append(all, page.Messages...)
	}
	return all
}
