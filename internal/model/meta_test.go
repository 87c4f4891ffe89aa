package model_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// withColumns is a model of one optional field, with columns besides.
func withColumns(columns string) string {
	return "model: m\ntable: m\nkey: [message_id]\nfields: {a: {type: text}}\ncolumns:\n  a: {type: text, from: a}\n  message_id: {type: uuid, meta: message_id}\n" + columns
}

func parse(t testing.TB, text string) *model.Model {
	t.Helper()
	m, err := model.Parse("m.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

const allMetadata = `
  received_at: {type: timestamptz, meta: received_at}
  received_utc: {type: timestamp, meta: received_at}
  queue: {type: varchar(80), meta: queue}
  message_group: {type: varchar(128), meta: message_group}
  sequence_number: {type: "numeric(20, 0)", meta: sequence_number}
  sequence_text: {type: varchar(20), meta: sequence_number}
  receive_count: {type: integer, meta: receive_count}
  receives: {type: bigint, meta: receive_count}
`

func TestMetadata(t *testing.T) {
	t.Parallel()
	m := parse(t, withColumns(allMetadata))
	received := time.Date(2026, 1, 2, 3, 4, 5, 678901999, time.FixedZone("", 3600))
	for _, tt := range []struct {
		name string
		msg  message.Message
		want map[string]string
	}{
		{
			"a FIFO queue",
			message.Message{QueueARN: "arn:aws:sqs:eu-west-1:000000000000:logins.fifo", FIFO: true, Group: "tenant é", SequenceNumber: "18890000000000000001", ReceiveCount: 3},
			map[string]string{
				"received_at": "2026-01-02T02:04:05.678901Z", "received_utc": "2026-01-02T02:04:05.678901Z", "queue": "logins.fifo", "message_group": "tenant é",
				"sequence_number": "18890000000000000001", "sequence_text": "18890000000000000001", "receive_count": "3", "receives": "3",
			},
		},
		{
			"a standard queue",
			message.Message{QueueARN: "arn:aws:sqs:eu-west-1:000000000000:logins", ReceiveCount: 1},
			map[string]string{
				"received_at": "2026-01-02T02:04:05.678901Z", "received_utc": "2026-01-02T02:04:05.678901Z", "queue": "logins", "message_group": "NULL",
				"sequence_number": "NULL", "sequence_text": "NULL", "receive_count": "1", "receives": "1",
			},
		},
		{
			"nothing known",
			message.Message{},
			map[string]string{
				"received_at": "2026-01-02T02:04:05.678901Z", "received_utc": "2026-01-02T02:04:05.678901Z", "queue": "NULL", "message_group": "NULL",
				"sequence_number": "NULL", "sequence_text": "NULL", "receive_count": "NULL", "receives": "NULL",
			},
		},
		{
			"as long as may be",
			message.Message{QueueARN: "x:" + strings.Repeat("q", 80), Group: strings.Repeat("é", 128), ReceiveCount: 2147483647},
			map[string]string{
				"received_at": "2026-01-02T02:04:05.678901Z", "received_utc": "2026-01-02T02:04:05.678901Z", "queue": strings.Repeat("q", 80), "message_group": strings.Repeat("é", 128),
				"sequence_number": "NULL", "sequence_text": "NULL", "receive_count": "2147483647", "receives": "2147483647",
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, why := readMessage(t, m, received, tt.msg)
			delete(got, "a")
			delete(got, "message_id")
			if diff := cmp.Diff(got, tt.want); diff != "" || !why.IsZero() {
				t.Errorf("%v, got(-) want(+):\n%s", why, diff)
			}
		})
	}
}

// TestMetadataThatRejects: only an event that SQS has not made can have such metadata, and nothing of
// it is cut.
func TestMetadataThatRejects(t *testing.T) {
	t.Parallel()
	m := parse(t, withColumns(allMetadata))
	for _, tt := range []struct {
		name string
		msg  message.Message
		want string
	}{
		{"a name of a queue that is too long", message.Message{QueueARN: strings.Repeat("q", 81)}, "too_long column queue"},
		{"a group that is too long", message.Message{Group: strings.Repeat("é", 129)}, "too_long column message_group"},
		{"a NUL in a group", message.Message{Group: "a\x00"}, "nul_character column message_group"},
		{"a number of too many digits", message.Message{SequenceNumber: strings.Repeat("1", 21)}, "out_of_range column sequence_number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, why := readMessage(t, m, time.Now(), tt.msg)
			first := why
			first.More = nil
			if got := first.String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestMetadataNull: NOT NULL is said of what every message has.
func TestMetadataNull(t *testing.T) {
	t.Parallel()
	var nullable []string
	for _, c := range parse(t, withColumns(allMetadata)).Table.Columns {
		if !c.NotNull {
			nullable = append(nullable, c.Name)
		}
	}
	if diff := cmp.Diff(nullable, []string{"a", "queue", "message_group", "sequence_number", "sequence_text", "receive_count", "receives"}); diff != "" {
		t.Errorf("nullable columns got(-) want(+):\n%s", diff)
	}
}

func TestMetadataColumnErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, column, want string }{
		{"unknown", "x: {type: text, meta: sender}", "unknown meta \"sender\"; use sent_at, sent_date, message_id, mask_key, received_at, queue, message_group, sequence_number, receive_count or row_number"},
		{"received_at", "x: {type: date, meta: received_at}", "column x of type date cannot hold received_at; use timestamptz or timestamp"},
		{"queue", "x: {type: uuid, meta: queue}", "cannot hold queue; use varchar or text"},
		{"queue too narrow", "x: {type: varchar(79), meta: queue}", "column x is too narrow; names of queues have up to 80 characters: use varchar(80)"},
		{"message_group too narrow", "x: {type: varchar(64), meta: message_group}", "groups have up to 128 characters: use varchar(128)"},
		{"sequence_number", "x: {type: bigint, meta: sequence_number}", "column x of type bigint cannot hold sequence_number; use numeric or varchar or text"},
		{"sequence_number too narrow", "x: {type: varchar(19), meta: sequence_number}", "sequence numbers have 20 digits: use varchar(20)"},
		{"sequence_number too narrow for its scale", `x: {type: "numeric(20, 1)", meta: sequence_number}`, "sequence numbers have 20 digits: use numeric(20,0)"},
		{"receive_count", "x: {type: smallint, meta: receive_count}", "cannot hold receive_count; use integer or bigint"},
		{"mask_key too narrow", "x: {type: varchar(8), meta: mask_key}", "ids of keys have up to 32 characters: use varchar(32)"},
		{"masked", "x: {type: text, meta: queue, masked: true}", "holds queue, which can be neither masked nor split"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := model.Parse("m.yaml", []byte(withColumns("  "+tt.column+"\n")))
			if err == nil || !strings.HasPrefix(err.Error(), "m.yaml:8: ") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want m.yaml:8: … %s", err, tt.want)
			}
		})
	}
}

// TestMetadataInAKey: of the metadata, only what is the same on every delivery can be in a key.
func TestMetadataInAKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ column, want string }{
		{"received_at: {type: timestamptz, meta: received_at}", "key column received_at changes with each delivery, so a message would be stored again; use another column"},
		{"queue: {type: text, meta: queue}", "key column queue holds the name of the queue"},
		{"message_group: {type: text, meta: message_group}", "key column message_group holds the message group, which several messages share"},
		{"sequence_number: {type: numeric, meta: sequence_number}", "key column sequence_number holds the sequence number, which changes when a message is sent again"},
		{"receive_count: {type: integer, meta: receive_count}", "key column receive_count changes with each delivery"},
		{"mask_key: {type: text, meta: mask_key}", "key column mask_key changes with the mask key, so a message would be stored again after a rotation; use another column"},
		{"sent_at: {type: timestamptz, meta: sent_at}", ""},
		{"sent_date: {type: date, meta: sent_date}", ""},
	} {
		name, _, _ := strings.Cut(tt.column, ":")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.Replace(withColumns("  "+tt.column+"\n"), "key: [message_id]", "key: [message_id, "+name+"]", 1)
			_, err := model.Parse("m.yaml", []byte(text))
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), "m.yaml:3: "+tt.want)):
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// TestConstantInAKey: a constant tells no two messages apart.
func TestConstantInAKey(t *testing.T) {
	t.Parallel()
	text := withColumns("  app: {type: text, value: web}\n  sent_at: {type: timestamptz, meta: sent_at}\n")
	for key, want := range map[string]string{
		"[app, sent_at]": "m.yaml:3: the key is the sent time alone, and two messages can be sent in the same millisecond", "[app, message_id]": "",
	} {
		_, err := model.Parse("m.yaml", []byte(strings.Replace(text, "[message_id]", key, 1)))
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: got %v, want %q", key, err, want)
		}
	}
}

// readMessage runs one message through a model, and returns its row as text. What the message lacks
// is added.
func readMessage(t testing.TB, m *model.Model, received time.Time, msg message.Message) (map[string]string, message.Rejection) {
	t.Helper()
	b := batch.New(m.Table)
	msg.ID, msg.HasBody, msg.SentMillis, msg.HasSent = "00000000-0000-4000-8000-000000000001", true, 1767225599999, true
	if msg.Body == nil {
		msg.Body = []byte(`{"a":"b"}`)
	}
	r := m.Reader(mask.Unkeyed())
	r.Reset(received)
	if v := r.Append(b, 0, 0, &msg); !v.IsZero() {
		if b.Len() != 0 {
			t.Error("a rejected message left a row")
		}
		return nil, v.Rejection
	}
	return text(b, 0), message.Rejection{}
}

// problems lists the problems of a message, each as text.
func problems(why message.Rejection) (all []string) {
	for _, p := range slices.Concat([]message.Rejection{why}, why.More) {
		p.More = nil
		all = append(all, p.String())
	}
	return all
}
