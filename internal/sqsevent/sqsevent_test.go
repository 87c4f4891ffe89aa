package sqsevent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqsevent"
)

const (
	queueARN = "arn:aws:sqs:us-east-1:000000000000:logins"

	queue = `"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:logins"`
	fifo  = `"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:logins.fifo"`
)

func TestDecode(t *testing.T) {
	var d sqsevent.Decoder // one for all, as the function has it
	for _, tt := range []struct {
		name, event string
		want        []message.Message
	}{
		{"no records", `{"Records":[]}`, nil},
		{"bare empty array", ` [] `, nil},
		{
			"a record in full",
			`{"Records":[{"messageId":"id-1","receiptHandle":"rh","body":"{\"a\":\"\\u00e9\"}","attributes":{"ApproximateReceiveCount":"3","SentTimestamp":"1767225600000","MessageGroupId":"g"},"messageAttributes":{"k":{"stringValue":"v"}},"md5OfBody":"x",` + queue + `,"awsRegion":"us-east-1"}]}`,
			[]message.Message{{ID: "id-1", ReceiptHandle: "rh", Body: []byte(`{"a":"\u00e9"}`), HasBody: true, SentMillis: 1767225600000, HasSent: true, ReceiveCount: 3, Group: "g", Attributes: []byte(`{"k":{"stringValue":"v"}}`)}},
		},
		{
			"FIFO by the queue's name", `[{"messageId":"1","body":"",` + fifo + `},{"messageId":"2","body":"",` + queue + `}]`,
			[]message.Message{{ID: "1", Body: []byte{}, HasBody: true, FIFO: true}, {ID: "2", Body: []byte{}, HasBody: true}},
		},
		{
			"sequence numbers",
			`[{"messageId":"1","body":"b","attributes":{"SequenceNumber":"18890000000000000001"},` + fifo + `},{"messageId":"2","body":"b","attributes":{"SequenceNumber":18890000000000000002},` + fifo + `},` +
				`{"messageId":"3","body":"b","attributes":{"SequenceNumber":"340282366920938463463374607431768211455"},` + fifo + `}]`,
			[]message.Message{
				{ID: "1", Body: []byte("b"), HasBody: true, FIFO: true, SequenceNumber: "18890000000000000001"},
				{ID: "2", Body: []byte("b"), HasBody: true, FIFO: true, SequenceNumber: "18890000000000000002"},
				{ID: "3", Body: []byte("b"), HasBody: true, FIFO: true, SequenceNumber: "340282366920938463463374607431768211455"},
			},
		},
		{
			"sequence numbers that are none",
			`[{"messageId":"1","body":"b","attributes":{"SequenceNumber":""},` + fifo + `},{"messageId":"2","body":"b","attributes":{"SequenceNumber":"-1"},` + fifo + `},{"messageId":"3","body":"b","attributes":{"SequenceNumber":"1e3"},` + fifo + `},` +
				`{"messageId":"4","body":"b","attributes":{"SequenceNumber":null},` + fifo + `},{"messageId":"5","body":"b","attributes":{"SequenceNumber":1.5},` + fifo + `},{"messageId":"6","body":"b","attributes":{"SequenceNumber":"\u0661"},` + fifo + `},` +
				`{"messageId":"7","body":"b","attributes":{"SequenceNumber":["1"]},` + fifo + `},{"messageId":"8","body":"b","attributes":{"SequenceNumber":"1000000000000000000000000000000000000000"},` + fifo + `}]`,
			[]message.Message{
				{ID: "1", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "2", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "3", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "4", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "5", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "6", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "7", Body: []byte("b"), HasBody: true, FIFO: true},
				{ID: "8", Body: []byte("b"), HasBody: true, FIFO: true},
			},
		},
		{
			"numbers where strings are usual", `[{"messageId":"1","body":"b","attributes":{"SentTimestamp":1767225600000,"ApproximateReceiveCount":2},` + queue + `},{"messageId":"2","body":"b","attributes":{"SentTimestamp":1.7672256e12},` + queue + `}]`,
			[]message.Message{{ID: "1", Body: []byte("b"), HasBody: true, SentMillis: 1767225600000, HasSent: true, ReceiveCount: 2}, {ID: "2", Body: []byte("b"), HasBody: true, SentMillis: 1767225600000, HasSent: true}},
		},
		{
			"times that are none", `[{"messageId":"1","body":"b","attributes":{"SentTimestamp":"-1"},` + queue + `},{"messageId":"2","body":"b","attributes":{"SentTimestamp":"soon"},` + queue + `},{"messageId":"3","body":"b","attributes":{"SentTimestamp":"99999999999999999999"},` + queue + `},{"messageId":"4","body":"b","attributes":{"SentTimestamp":1.5},` + queue + `},{"messageId":"5","body":"b","attributes":{"SentTimestamp":null},` + queue + `},{"messageId":"6","body":"b","attributes":{"SentTimestamp":""},` + queue + `},{"messageId":"7","body":"b","attributes":[],` + queue + `},{"messageId":"8","body":"b","attributes":{"SentTimestamp":" 1"},` + queue + `}]`,
			[]message.Message{{ID: "1", Body: []byte("b"), HasBody: true, SentMillis: 0}, {ID: "2", Body: []byte("b"), HasBody: true}, {ID: "3", Body: []byte("b"), HasBody: true}, {ID: "4", Body: []byte("b"), HasBody: true}, {ID: "5", Body: []byte("b"), HasBody: true}, {ID: "6", Body: []byte("b"), HasBody: true}, {ID: "7", Body: []byte("b"), HasBody: true}, {ID: "8", Body: []byte("b"), HasBody: true}},
		},
		{
			"bodies that are none", `[{"messageId":"1",` + queue + `},{"messageId":"2","body":null,` + queue + `},{"messageId":"3","body":{},` + queue + `},{"messageId":"4","body":"\ud800",` + queue + `},{"messageId":"5","body":"` + "\xff" + `",` + queue + `}]`,
			[]message.Message{{ID: "1"}, {ID: "2"}, {ID: "3"}, {ID: "4"}, {ID: "5"}},
		},
		{
			"times with many digits", `[{"messageId":"1","body":"b","attributes":{"SentTimestamp":"00000000000000000012","ApproximateReceiveCount":"2147483648"},` + queue + `},{"messageId":"2","body":"b","attributes":{"SentTimestamp":"000000000000000000012"},` + queue + `},{"messageId":"3","body":"b","attributes":{"SentTimestamp":"253402300799999","ApproximateReceiveCount":1e2},` + queue + `},{"messageId":"4","body":"b","attributes":{"SentTimestamp":"253402300800000"},` + queue + `},{"messageId":"5","body":"b","attributes":{"SentTimestamp":-0,"ApproximateReceiveCount":-1},` + queue + `},{"messageId":"6","body":"b","attributes":{"SentTimestamp":"1e3"},` + queue + `}]`,
			[]message.Message{{ID: "1", Body: []byte("b"), HasBody: true, SentMillis: 12, HasSent: true}, {ID: "2", Body: []byte("b"), HasBody: true}, {ID: "3", Body: []byte("b"), HasBody: true, SentMillis: 253402300799999, HasSent: true, ReceiveCount: 100}, {ID: "4", Body: []byte("b"), HasBody: true}, {ID: "5", Body: []byte("b"), HasBody: true, HasSent: true}, {ID: "6", Body: []byte("b"), HasBody: true}},
		},
		{
			"other names, in another order, and white space", "\t{ \"Records\" : [ { \"messageId\" : \"1\" , \"body\":\"b\"," + queue + ` } ,{` + queue + `,"body":"b","attributes":{},"messageId":"2"}, {"messageId":"3",` + queue + `,"bod\u0079":"b"}  ,{"messageId":"4","body2":"x","body":"b",` + queue + `},{"messageId":"5","body":"b",` + queue + `}] , "more":{"Records":[]} }` + "\n",
			[]message.Message{{ID: "1", Body: []byte("b"), HasBody: true}, {ID: "2", Body: []byte("b"), HasBody: true}, {ID: "3", Body: []byte("b"), HasBody: true}, {ID: "4", Body: []byte("b"), HasBody: true}, {ID: "5", Body: []byte("b"), HasBody: true}},
		},
		{
			"odd attributes cost nothing", `[{"messageId":"1","body":"b","md5OfBody":7,"messageAttributes":{"k":{"binaryValue":"not base64!"},"k":"` + "\xff" + `"},"attributes":{"SenderId":{},"SentTimestamp":"5","SentTimestamp2":[1,[2]]},"odd":{"odd":1,"odd":2},` + queue + `}]`,
			[]message.Message{{ID: "1", Body: []byte("b"), HasBody: true, SentMillis: 5, HasSent: true, Attributes: []byte(`{"k":{"binaryValue":"not base64!"},"k":"` + "\xff" + `"}`)}},
		},
		{"escaped names", `{"Record\u0073":[{"message\u0049d":"1","b\u006fdy":"b",` + queue + `}]}`, []message.Message{{ID: "1", Body: []byte("b"), HasBody: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			defer d.Release()
			got, err := d.Decode([]byte(tt.event))
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				if !got[i].HasBody {
					got[i].Body = nil
				}
				if !got[i].HasSent {
					got[i].SentMillis = 0
				}
				if want := map[bool]string{true: queueARN + ".fifo", false: queueARN}[got[i].FIFO]; got[i].QueueARN != want {
					t.Errorf("message %d: got queue %q, want %q", i, got[i].QueueARN, want)
				}
				got[i].QueueARN = ""
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
		})
	}
}

func TestDecodeErrors(t *testing.T) {
	const canary = "canary-203.0.113.7"
	for _, tt := range []struct{ name, event, want string }{
		{"empty", "", "empty"},
		{"white space", " \n", "empty"},
		{"null", "null", "neither"},
		{"a string", `"` + canary + `"`, "neither"},
		{"no JSON", canary, "not valid JSON"},
		{"cut off", `{"Records":[{"messageId":"1","body":"` + canary, "not valid JSON"},
		{"cut off after a record", `{"Records":[{"messageId":"1","body":"x",` + queue + `}`, "not valid JSON"},
		{"two values", `{"Records":[]}{}`, "second"},
		{"rubbish after", `{"Records":[]}]`, "not valid JSON"},
		{"another object", `{"body":"` + canary + `"}`, "no Records"},
		{"other case", `{"records":[]}`, "no Records"},
		{"Records null", `{"Records":null}`, "not an array"},
		{"Records an object", `{"Records":{"messageId":"1"}}`, "not an array"},
		{"Records twice", `{"Records":[],"Records":[]}`, "twice"},
		{"record null", `{"Records":[null]}`, "record 0 of the event is not an object"},
		{"record an array", `[[]]`, "record 0 of the event is not an object"},
		{"second record a string", `[{"messageId":"1","body":"x",` + queue + `},"` + canary + `"]`, "record 1 of the event is not an object"},
		{"other source", `[{"messageId":"1","body":"x","eventSource":"aws:s3"}]`, "aws:sqs"},
		{"no source", `[{"messageId":"1","body":"x"}]`, "aws:sqs"},
		{"source no string", `[{"messageId":"1","body":"x","eventSource":1}]`, "aws:sqs"},
		{"no messageId", `[{"body":"` + canary + `",` + queue + `}]`, "no messageId"},
		{"messageId empty", `[{"messageId":"",` + queue + `}]`, "messageId that is empty"},
		{"messageId null", `[{"messageId":null,` + queue + `}]`, "messageId that is empty or not a string"},
		{"messageId a number", `[{"messageId":1,` + queue + `}]`, "messageId that is empty or not a string"},
		{"messageId no Unicode", `[{"messageId":"\ud800",` + queue + `}]`, "messageId that is empty or not a string"},
		{"messageId twice", `[{"messageId":"1","messageId":"2",` + queue + `}]`, "twice"},
		{"body twice", `[{"messageId":"1","body":"1","body":"2",` + queue + `}]`, "twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := sqsevent.Decode([]byte(tt.event))
			if err == nil {
				t.Fatalf("got %d messages, want an error", len(got))
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("the error quotes the event: %q", err)
			}
		})
	}
}

func TestAnswer(t *testing.T) {
	for _, tt := range []struct {
		name   string
		failed []string
		want   string
	}{
		{"none", nil, `{"batchItemFailures":[]}`},
		{"one", []string{"a"}, `{"batchItemFailures":[{"itemIdentifier":"a"}]}`},
		{"each once, in order", []string{"b", "a", "b"}, `{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"a"}]}`},
		{"exactly as it came", []string{"\"\\\u00e9\u2028<&>\n"}, `{"batchItemFailures":[{"itemIdentifier":"\"\\é` + "\u2028" + `<&>\n"}]}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(sqsevent.Answer(tt.failed)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// read reads an event in a slow and plain way. It is for events that Decode takes.
func read(t *testing.T, event []byte) (want []message.Message) {
	t.Helper()
	var records []map[string]json.RawMessage
	if event = bytes.TrimSpace(event); event[0] == '[' {
		if err := json.Unmarshal(event, &records); err != nil {
			t.Fatal(err)
		}
	} else {
		var envelope map[string]json.RawMessage
		if err := json.Unmarshal(event, &envelope); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(envelope["Records"], &records); err != nil {
			t.Fatal(err)
		}
	}
	text := func(raw json.RawMessage) (text []byte, ok bool) {
		text, err := jsontext.AppendUnquote(nil, []byte(raw))
		return text, err == nil
	}
	for _, r := range records {
		var m message.Message
		id, _ := text(r["messageId"])
		m.ID = string(id)
		if m.Body, m.HasBody = text(r["body"]); !m.HasBody {
			m.Body = nil
		}
		if handle, ok := text(r["receiptHandle"]); ok {
			m.ReceiptHandle = string(handle)
		}
		if arn, ok := text(r["eventSourceARN"]); ok {
			m.QueueARN = string(arn)
		}
		m.FIFO = strings.HasSuffix(m.QueueARN, ".fifo")
		want = append(want, m)
	}
	return want
}

// FuzzDecode holds what must be true of any event: no panic, what is no JSON is an error, the messages
// are those that a plain way of reading finds, and every message has an id that an answer has
// unchanged.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"Records":[]}`, `[]`, `{"Records":null}`, `{}`, ``, `null`,
		`{"Records":[{"messageId":"1","body":"{}","attributes":{"SentTimestamp":"1"},` + queue + `}]}`,
		`[{"messageId":"1","body":"{}","attributes":{"SentTimestamp":1e3,"MessageGroupId":"g"},` + fifo + `}]`,
		`{"Records":[{"messageId":"\u00e9","body":"\ud83d\ude00",` + queue + `}],"x":[[[[]]]]}`,
		`[{"messageId":"1","receiptHandle":"a\"b","body":"{\"a\": \"b\", \"c\": \"\\n\"}",` + queue + `},{"messageId":"2","body":"\ud800","body2":"` + "\xff" + `",` + queue + `}]`,
	} {
		f.Add([]byte(s))
	}
	var d sqsevent.Decoder
	f.Fuzz(func(t *testing.T, event []byte) {
		defer d.Release()
		messages, err := d.Decode(event)
		if err != nil {
			if messages != nil {
				t.Error("messages beside an error")
			}
			return
		}
		if !json.Valid(event) {
			t.Fatalf("decoded what is not JSON: %q", event)
		}
		got := slices.Clone(messages)
		for i := range got { // read does not read these
			got[i].SentMillis, got[i].HasSent, got[i].ReceiveCount = 0, false, 0
			got[i].Group, got[i].SequenceNumber, got[i].Attributes = "", "", nil
		}
		if diff := cmp.Diff(got, read(t, event)); diff != "" {
			t.Errorf("got(-) want(+):\n%s", diff)
		}
		var ids []string
		for _, m := range messages {
			if m.ID == "" {
				t.Error("a message without an id")
			}
			ids = append(ids, m.ID)
		}
		var answer struct {
			BatchItemFailures []struct{ ItemIdentifier string }
		}
		if err := json.Unmarshal(sqsevent.Answer(ids), &answer); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, failure := range answer.BatchItemFailures {
			seen[failure.ItemIdentifier] = true
		}
		for _, id := range ids {
			if !seen[id] {
				t.Errorf("the answer lost %q", id)
			}
		}
	})
}

// sample is a record as SQS writes it; more has members in front of it.
func sample(more, id, body, attributes string) string {
	return `{` + more + `"messageId":"` + id + `","receiptHandle":"AQEB/` + id + `==","body":"` + body + `","attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"17672256000` + id + `","MessageGroupId":"g` + id + `"},"messageAttributes":{` + attributes + `},` + queue + `}`
}

// TestRecordsAlike: events of records that are written alike are read by their shape, and with the same
// result as others.
func TestRecordsAlike(t *testing.T) {
	attribute := func(value string) string {
		return `"trace": {"stringValue":"` + value + `","dataType":"String","stringListValues":["` + value + `", 1]}, "n":{"a":[[]]}`
	}
	for _, tt := range []struct {
		name, event string
		alike       bool
	}{
		{"one", `{"Records":[` + sample("", "1", "b", "") + `]}`, true},
		{"several, with attributes", "{ \"Records\" : [\n" + sample("", "1", `{\"a\": \"\\u00e9\"}`, attribute("x")) + " ,\n" + sample("", "2", `\u00e9\/`, attribute("y")) + "," + sample("", "3", "", attribute(`\"`)) + "\t] }\n", true},
		{"bare", `[` + sample("", "1", "b", "") + `,` + sample("", "2", "c", "") + `]`, true},
		{"other members between them", `[` + sample("", "1", "b", "") + `,` + sample(`"x":1,`, "2", "c", "") + `,` + sample(`"x":1,`, "3", "c", "") + `,` + sample(`"x":2,`, "4", "c", "") + `,` + sample("", "5", "d", attribute("z")) + `]`, true},
		{"no valid body", `[` + sample("", "1", "b", "") + `,` + sample("", "2", `\ud800`, "") + `,` + sample("", "3", "\xff", "") + `,` + sample("", "4", "e", "") + `]`, true},
		{"names twice", `[` + sample(`"receiptHandle":"x",`, "1", "b", "") + `,` + sample(`"receiptHandle":"y",`, "2", "b", "") + `]`, true},
		{"odd members", `[` + sample(`"SentTimestamp":"5","attributes2":{"SentTimestamp":"6"},"Records":["body"],`, "1", "b", "") + `,` + sample(`"SentTimestamp":"5","attributes2":{"SentTimestamp":"7"},"Records":["body"],`, "2", "b", "") + `]`, true},
		{"attributes that are a text", `[{"messageId":"1","attributes":"a","messageAttributes":"b",` + queue + `},{"messageId":"2","attributes":"c","messageAttributes":"d",` + queue + `}]`, true},

		{"message attributes of any form", `[` + sample("", "1", "b", "") + `,` + sample("", "2", "b", `"a":[{}]`) + `,` + sample("", "3", "b", `"a":1.5`) + `,` + strings.Replace(sample("", "4", "b", ""), "{}", "null", 1) + `]`, true},

		{"message attributes that are none", `[` + sample("", "1", "b", "") + `,` + sample("", "2", "b", `"a":[}`) + `]`, false},
		{"a body twice", `[` + sample("", "1", "b", "") + `,` + sample(`"body":"x",`, "2", "b", "") + `]`, false},
		{"a line break in a text", `[` + sample("", "1", "b", "") + `,` + sample("", "2\n", "b", "") + `]`, false},
		{"a line break in a body", `[` + sample("", "1", "b", "") + `,` + sample("", "2", "b\n", "") + `]`, false},
		{"no escape", `[` + sample("", "1", "b", "") + `,` + sample("", "2", `\x`, "") + `]`, false},
		{"no escape in a text", `[` + sample("", "1", "b", "") + `,` + sample("", `2\x`, `b`, "") + `]`, false},
		{"a number for a body", strings.Replace(`[`+sample("", "1", "b", "")+`,`+sample("", "2", "c", "")+`]`, `"c"`, `1`, 1), true},
		{"an empty id", `[` + sample("", "1", "b", "") + `,` + sample("", "", `b`, "") + `]`, false},
		{"another source", `[` + sample("", "1", "b", "") + `,` + strings.Replace(sample("", "2", `b`, ""), "aws:sqs", "aws:sns", 1) + `]`, false},
		{"a comma at the end", `[` + sample("", "1", "b", "") + `,]`, false},
		{"no comma", `[` + sample("", "1", "b", "") + sample("", "2", "b", "") + `]`, false},
		{"cut off", `[` + sample("", "1", "b", "") + `,` + sample("", "2", "b", "")[:60], false},
		{"cut off after a record", `[` + sample("", "1", "b", ""), false},
		{"more after", `{"Records":[` + sample("", "1", "b", "") + `]}}`, false},
		{"more members", `{"Records":[` + sample("", "1", "b", "") + `],"x":1}`, false},
		{"deep", `[` + sample(`"x":`+strings.Repeat("[", 9998)+strings.Repeat("]", 9998)+`,`, "1", "b", "") + `]`, false},
		{"too deep", `[` + sample(`"x":`+strings.Repeat("[", 9999)+strings.Repeat("]", 9999)+`,`, "1", "b", "") + `]`, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := sqsevent.Alike([]byte(tt.event)); got != tt.alike {
				t.Errorf("read by its shape: %v, want %v", got, tt.alike)
			}
			got, err := sqsevent.Decode([]byte(tt.event))
			want, wantErr := sqsevent.DecodeAny([]byte(tt.event))
			if diff := cmp.Diff(got, want); diff != "" || fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("got %v, want %v; got(-) want(+):\n%s", err, wantErr, diff)
			}
		})
	}
}

// TestStringsOutliveTheEvent: the strings of messages are their own, although the event's memory and the
// decoder's have other events afterwards.
func TestStringsOutliveTheEvent(t *testing.T) {
	var d sqsevent.Decoder
	memory := []byte(`[` + sample("", "1", "b", "") + `,` + sample("", "2", "b", "") + `]`)
	var kept, want []message.Message
	for range 3 {
		messages, err := d.Decode(memory)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			m.Body, m.Attributes = nil, nil // which are not
			kept = append(kept, m)
			m.ID, m.ReceiptHandle, m.Group, m.QueueARN = strings.Clone(m.ID), strings.Clone(m.ReceiptHandle), strings.Clone(m.Group), strings.Clone(m.QueueARN)
			want = append(want, m)
		}
		d.Release()
		for i, c := range memory { // another event with other texts
			if '1' <= c && c <= '7' {
				memory[i]++
			}
		}
	}
	clear(memory)
	if diff := cmp.Diff(kept, want); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
	if kept[0].ID != "1" || kept[2].ID != "2" || kept[5].ID != "4" {
		t.Errorf("got the ids %q, %q and %q", kept[0].ID, kept[2].ID, kept[5].ID)
	}
}

// FuzzAlike reads events by the shape of their records, and as if none were alike: the result is the
// same, whatever is in an event or between and in its records.
func FuzzAlike(f *testing.F) {
	record := sample("", "1", `{\"a\":\"b\"}`, `"k":{"stringValue":"v","dataType":"String"}`)
	f.Add([]byte(record), []byte("2"), []byte(record))
	f.Add([]byte(sample(`"x":[1,"y",{"z":"\\"}],`, "1", `b`, ``)), []byte(`\"`), []byte(`{}`))
	f.Add([]byte(sample(`"x":1,`, "1", `b`, ``)), []byte("\xff"), []byte(`,`))
	f.Add([]byte(`{"messageId":"1","body":"x",`+queue+`}`), []byte(`","`), []byte(`null`))
	f.Fuzz(func(t *testing.T, record, text, more []byte) {
		// The record, the same with another text in some places, and then more.
		other := bytes.ReplaceAll(record, []byte("1"), text)
		third := bytes.ReplaceAll(record, []byte(`"b`), slices.Concat([]byte(`"`), text))
		for _, event := range [][]byte{
			slices.Concat([]byte(`{"Records":[`), record, []byte(`,`), other, []byte(`,`), third, []byte(`]}`)),
			slices.Concat([]byte(`[`), record, []byte(`,`), more, []byte(`,`), record, []byte(`]`)),
			slices.Concat([]byte(`[`), record, more),
			more,
		} {
			got, err := sqsevent.Decode(event)
			want, wantErr := sqsevent.DecodeAny(event)
			if len(bytes.TrimSpace(event)) > 0 && fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%q: got %v, want %v", event, err, wantErr)
			}
			if diff := cmp.Diff(got, want); diff != "" && len(got)+len(want) > 0 {
				t.Errorf("%q: got(-) want(+):\n%s", event, diff)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	record := `{"messageId":"059f36b4-87a3-44ab-83d2-661975830a7d","receiptHandle":"` + strings.Repeat("r", 300) + `","body":"{\"user_id\": \"424cdd21-063a-43a7-b91b-7ca1a833afae\", \"app_version\": \"2.3.0\", \"device_type\": \"android\", \"ip\": \"199.172.111.135\", \"locale\": \"RU\", \"device_id\": \"593-47-5928\"}","attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1767225600000","SenderId":"AIDATEST","ApproximateFirstReceiveTimestamp":"1767225600001"},"messageAttributes":{},"md5OfBody":"e4e68fb7bd0e697a0ae8f1bb342846b3",` + queue + `,"awsRegion":"us-east-1"}`
	event := []byte(`{"Records":[` + strings.Repeat(record+",", 999) + record + `]}`)
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	var d sqsevent.Decoder
	for b.Loop() {
		messages, err := d.Decode(event)
		if err != nil || len(messages) != 1000 {
			b.Fatal(err)
		}
		d.Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/record")
}
