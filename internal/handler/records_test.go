package handler_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
)

// messageUUID is the message_id of a messageId that is not a UUID in lower case.
func messageUUID(id string) uuid.UUID {
	return uuid.NewSHA1(uuid.MustParse("d1f6b0a4-5f0e-4c39-9c57-6a1f1d1d3c52"), []byte(id))
}

// The tables below hold what the contract with the event source mapping says
// of records and events.

func TestSentTimestamps(t *testing.T) {
	t.Parallel()
	at := func(text string) int64 {
		d, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		return d.UnixMilli()
	}
	var cases []testCase
	for _, text := range []string{
		"1970-01-01T00:00:00Z", "1970-01-01T00:00:00.001Z", "1999-12-31T23:59:59.999Z", "2000-01-01T00:00:00Z", "2000-02-29T12:00:00Z",
		"2024-02-28T23:59:59.999Z", "2024-02-29T00:00:00Z", "2024-02-29T23:59:59.999Z", "2024-03-01T00:00:00Z", "2026-02-28T23:59:59.999Z", "2026-03-01T00:00:00Z",
		"2025-12-31T23:59:59.999Z", "2026-01-01T00:00:00Z", "2026-03-29T01:00:00Z", "2026-10-25T00:30:00Z", // clocks change in Europe
		"2038-01-19T03:14:08Z", "2100-02-28T23:59:59.999Z", "2100-03-01T00:00:00Z", "9999-12-31T23:59:59.999Z",
	} {
		r := sent(stored(2), at(text))
		cases = append(cases, goodRecord(text, record(2, body(), "attributes", attributes("SentTimestamp", fmt.Sprintf(`"%d"`, at(text)))), r))
	}
	dated := func(n int, value string) string {
		return record(n, body(), "attributes", attributes("SentTimestamp", value))
	}
	readable := []string{`1767225600000`, `1767225600000.0`, `1.7672256e12`, `17672256e+5`, `"01767225600000"`, `"\u0031767225600000"`}
	unreadable := []string{
		``, `null`, `""`, `" "`, `"now"`, `"2026-01-01T00:00:00Z"`, `" 1767225600000"`, `"1767225600000 "`, `"+1767225600000"`, `"-1"`, `"1767225600000.0"`, `"1.7672256e12"`, `"1_767_225_600_000"`, `"0x19b7"`, `"\u0661"`,
		`"253402300800000"`, `"9223372036854775807"`, `"9223372036854775808"`, `"99999999999999999999"`, `"` + repeat("9", 1000) + `"`,
		`-1`, `1767225600000.5`, `253402300800000`, `1e300`, `1e999`, `true`, `[]`, `["1767225600000"]`, `{}`, `{"ms":1767225600000}`,
	}
	odd := []string{``, `null`, `{}`, `[]`, `"x"`, `1`, `{"sentTimestamp":"1767225600000"}`}
	playAll(t, append(
		cases,
		several("readable", false, readable, dated),
		several("unreadable", true, unreadable, dated),
		several("odd attributes", true, odd, func(n int, value string) string { return record(n, body(), "attributes", value) }),
	))
}

func TestRecords(t *testing.T) {
	t.Parallel()
	cases := []testCase{
		// order and company of the members
		goodRecord("other order", `{"eventSourceARN":"`+queueARN+`","eventSource":"aws:sqs","attributes":{"SentTimestamp":"1767225600000"},"body":`+quote(body())+`,"messageId":"`+id(2)+`"}`, stored(2)),
		goodRecord("names as escapes", `{"message\u0049d":"`+id(2)+`","\u0062ody":`+quote(body())+`,"attributes":{"Sent\u0054imestamp":"1767225600000"},"eventSource":"aws\u003asqs"}`, stored(2)),
		goodRecord("members that nobody knows", record(2, body(), "new", `{"deep":[{"a":1,"a":2}]}`, "Body", `"x"`, "messageid", `"x"`), stored(2)),
		goodRecord("no ARN", record(2, body(), "eventSourceARN", ""), stored(2)),
		goodRecord("no receipt handle", record(2, body(), "receiptHandle", ""), stored(2)),
	}
	// What is not needed may be anything.
	for _, member := range []string{"receiptHandle", "messageAttributes", "md5OfBody", "md5OfMessageAttributes", "awsRegion", "eventSourceARN"} {
		values := []string{`null`, `1`, `"x"`, `[]`, `{}`, `{"k":{"dataType":"Binary","binaryValue":"not base64!"}}`, "\"\xff\"", `"\ud800"`, `{"a":1,"a":2}`}
		cases = append(cases, several(member, false, values, func(n int, value string) string { return record(n, body(), member, value) }))
	}
	for _, name := range []string{"ApproximateReceiveCount", "SenderId", "ApproximateFirstReceiveTimestamp", "AWSTraceHeader", "DeadLetterQueueSourceArn", "MessageGroupId", "SequenceNumber"} {
		values := []string{``, `null`, `1`, `-1.5`, `"x"`, `[]`, `{}`, "\"\xff\"", `"\ud800"`, `99999999999999999999`}
		cases = append(cases, several(name, false, values, func(n int, value string) string {
			return record(n, body(), "attributes", attributes(name, value))
		}))
	}
	cases = append(cases, several(
		"bodies that are none", true, []string{``, `null`, `1`, `0`, `true`, `{}`, `[]`, `{"user_id":"u-1"}`, `["x"]`, `"\ud800"`, "\"\xff\""},
		func(n int, value string) string { return record(n, "", "body", value) },
	))
	// A messageId comes back exactly as it came, whatever it is.
	for _, text := range []string{
		"msg-1", "1", " ", "a b", `"`, `\`, `a"b\c/d`, "a\nb\tc", "é", "\U0001f600", "\u2028", "\u0000", "\ufffd", "<&>", "{}", "null", repeat("m", 1000),
		"ABCDEF00-0000-4000-8000-000000000001", "{00000000-0000-4000-8000-000000000001}", "urn:uuid:00000000-0000-4000-8000-000000000001", "00000000000040008000000000000001", "00000000-0000-4000-8000-00000000000g",
	} {
		c := testCase{name: fmt.Sprintf("messageId %.40q", text), event: event(
			record(1, body(), "messageId", quote(text)),
			record(2, "bad", "messageId", quote(text+"2")),
		), failed: []string{text + "2"}, rows: []row{stored(1, "message_id", messageUUID(text))}}
		cases = append(cases, c)
	}
	cases = append(cases,
		testCase{name: "messageId as escapes", event: event(
			record(1, body(), "messageId", `"m\u0073g\/\u00e9\ud83d\ude00"`),
			record(2, "bad", "messageId", `"\u0061\"\\\n\u2028"`),
		), failed: []string{"a\"\\\n\u2028"}, rows: []row{stored(1, "message_id", messageUUID("msg/é\U0001f600"))}},
		testCase{name: "UUIDs that differ by case are two ids", event: event(
			record(1, body(), "messageId", `"abcdef00-0000-4000-8000-000000000001"`), record(2, body(), "messageId", `"ABCDEF00-0000-4000-8000-000000000001"`),
		), rows: []row{stored(1, "message_id", "abcdef00-0000-4000-8000-000000000001"), stored(1, "message_id", messageUUID("ABCDEF00-0000-4000-8000-000000000001"))}},

		// at least once, inside one batch
		testCase{name: "three deliveries", event: event(record(1, body()), record(2, body()), record(1, body(), "receiptHandle", `"other"`), record(1, body())), rows: []row{stored(1), stored(2)}},
		testCase{name: "one id, once as an escape", event: event(record(1, body(), "messageId", `"m1"`), record(2, body(), "messageId", `"\u006d1"`)), rows: []row{stored(1, "message_id", messageUUID("m1"))}},
		testCase{name: "a bad one delivered twice", event: event(record(1, "bad"), record(2, body()), record(1, "bad")), failed: ids(1), rows: []row{stored(2)}},
		testCase{name: "a refused one delivered twice", event: event(record(1, body("locale", `"xx"`)), record(2, body()), record(1, body("locale", `"xx"`))), failed: ids(1), rows: []row{stored(2)}},
		testCase{name: "equal bodies", event: event(record(1, body()), record(2, body())), rows: []row{stored(1), stored(2)}},
		testCase{name: "equal ids at two times are one message", event: event(record(1, body()), record(1, body())), rows: []row{stored(1)}},

		// what Postgres refuses
		testCase{name: "the only one is refused", event: event(record(1, body("locale", `"xx"`))), failed: ids(1)},
		testCase{name: "all are refused", event: event(record(1, body("locale", `"xx"`)), record(2, body("locale", `"xx"`))), failed: ids(1, 2)},
		testCase{name: "the first and the last are refused", event: event(record(1, body("locale", `"xx"`)), record(2, body()), record(3, body("locale", `"xx"`))), failed: ids(1, 3), rows: []row{stored(2)}},
		testCase{name: "one malformed, one refused, one good", event: event(record(1, "{"), record(2, body("locale", `"xx"`)), record(3, body())), failed: ids(1, 2), rows: []row{stored(3)}},

		// masks
		testCase{name: "two keys: the first masks", event: event(record(1, body())), rows: []row{stored(1,
			"masked_ip", "b42adbf209538193ee85f7c6b4ccd8f607372f9f27ad6cf8f14eeba6648fc09d", "masked_device_id", keyedD1, "mask_key", "k1")}}.
			with(map[string]string{"SLUICE_MASK": "", "SLUICE_MASK_KEYS": "k1:" + vectorKey + ",k0:" + repeat("other-key", 4)}),
		testCase{name: "a key's vectors", event: event(record(1, body("ip", `"2001:DB8:0::1"`, "device_id", `"593-47-5928"`)), record(2, body("ip", `"::ffff:203.0.113.7"`, "device_id", `"203.0.113.7"`))), rows: []row{
			stored(1, "masked_ip", "d2a657cb49ef37dd554338462719cfc2e62b79c1f81f481dd82434d452a7675a", "masked_device_id", "a7a43b0e76ecb508f5a9e96a850659732df4fd75c8434e65d6991e88406f0cc7", "mask_key", "k-1_2.3"),
			stored(2, "masked_ip", "b42adbf209538193ee85f7c6b4ccd8f607372f9f27ad6cf8f14eeba6648fc09d", "masked_device_id", "78ff62cee7049ac0cd8e4dad907dab6a4c6217bf8b1a48773a66157207b68540", "mask_key", "k-1_2.3"),
		}}.with(map[string]string{"SLUICE_MASK": "", "SLUICE_MASK_KEYS": "k-1_2.3:" + vectorKey}),
	)
	playAll(t, cases)
}

// The key of the published vectors, and what it makes of d-1.
const (
	vectorKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	keyedD1   = "faafeedf6d963dfac65a0dcc8db59ebaca0d6d7cbc42bdfe5da79b1972d02d87"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	one := record(1, body())
	cases := []testCase{
		{name: "no records", event: event()},
		{name: "no records, white space", event: []byte(" \r\n{ \"Records\" : [ \t] } \n")},
		{name: "Pipes with nothing", event: pipes()},
		{name: "Pipes with nothing, white space", event: []byte("\n[ ]\n")},
		{name: "Pipes", event: pipes(one, record(2, "bad")), failed: ids(2), rows: []row{stored(1)}},
		{name: "more members", event: []byte(`{"a":{"Records":[]},"Records":[` + one + `],"z":[1,{"x":1,"x":2}]}`), rows: []row{stored(1)}},
		{name: "Records as escapes", event: []byte(`{"\u0052ecords":[` + one + `]}`), rows: []row{stored(1)}},
		{name: "one record", event: event(one), rows: []row{stored(1)}},
		{name: "one bad record", event: event(record(1, "bad")), failed: ids(1)},

		broken("nothing", nil), broken("white space", []byte(" \n")), broken("null", []byte("null")), broken("true", []byte("true")), broken("a number", []byte("1")), broken("a string", []byte(`"x"`)), broken("an empty object", []byte("{}")),
		broken("a string of an event", []byte(quote(string(event(one))))), broken("not JSON", []byte("Records=1")), broken("XML", []byte("<Records/>")),
		broken("Records null", []byte(`{"Records":null}`)), broken("Records a string", []byte(`{"Records":"x"}`)), broken("Records a number", []byte(`{"Records":0}`)), broken("Records false", []byte(`{"Records":false}`)), broken("Records an object", []byte(`{"Records":{}}`)), broken("Records a record", []byte(`{"Records":`+one+`}`)),
		broken("records in lower case", []byte(`{"records":[`+one+`]}`)), broken("RECORDS", []byte(`{"RECORDS":[`+one+`]}`)), broken("Records with a space", []byte(`{"Records ":[]}`)), broken("Records within", []byte(`{"event":{"Records":[`+one+`]}}`)), broken("Records twice", []byte(`{"Records":[],"Records":[`+one+`]}`)), broken("Records twice, once as an escape", []byte(`{"Records":[`+one+`],"Record\u0073":[]}`)),
		broken("an array in the array", pipes("["+one+"]")), broken("an event in an array", pipes(string(event(one)))),
		broken("two events", append(event(one), event()...)), broken("an event and a word", append(event(one), " x"...)), broken("an event and a brace", append(event(one), '}')), broken("two arrays", []byte("[][]")),
		broken("cut off in a record", event(one)[:200]), broken("cut off after a record", event(one)[:len(event(one))-2]), broken("cut off at the end", event(one)[:len(event(one))-1]), broken("a comma at the end", []byte(`{"Records":[`+one+`,]}`)),

		broken("an API call", []byte(`{"version":"2.0","routeKey":"$default","body":"{}"}`)), broken("a schedule", []byte(`{"version":"0","source":"aws.events","detail-type":"Scheduled Event","detail":{}}`)), broken("the console's test event", []byte(`{"key1":"value1","key2":"value2"}`)),
		broken("SNS", []byte(`{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","Sns":{"MessageId":"1","Message":"{}"}}]}`)), broken("S3", []byte(`{"Records":[{"eventSource":"aws:s3","s3":{}}]}`)), broken("Kinesis", []byte(`{"Records":[{"eventSource":"aws:kinesis","eventID":"1","kinesis":{"data":""}}]}`)), broken("DynamoDB", []byte(`{"Records":[{"eventSource":"aws:dynamodb","eventID":"1","dynamodb":{}}]}`)), broken("Kafka", []byte(`{"eventSource":"aws:kafka","records":{"t-0":[]}}`)), broken("a receive call's answer", []byte(`{"Messages":[{"MessageId":"1","Body":"{}"}]}`)),
	}
	for _, odd := range []string{`null`, `1`, `"x"`, `true`, `[]`, `{}`} {
		cases = append(cases, broken("a record "+odd, event(one, odd)), broken("Pipes with a record "+odd, pipes(odd, one)))
	}
	for _, source := range []string{``, `null`, `1`, `""`, `"aws:s3"`, `"aws:sns"`, `"AWS:SQS"`, `"aws:sqs "`, `"sqs"`, `["aws:sqs"]`, `{}`} {
		cases = append(cases, broken("eventSource "+source, event(one, record(2, body(), "eventSource", source))))
	}
	for _, id := range []string{``, `null`, `""`, `1`, `0`, `true`, `[]`, `{}`, `["x"]`, `"\ud800"`, "\"\xff\""} {
		cases = append(cases, broken(fmt.Sprintf("messageId %q", id), event(one, record(2, body(), "messageId", id))))
	}
	for _, twice := range []string{`"messageId":"x"`, `"body":"x"`, `"eventSource":"aws:sqs"`, `"attributes":{}`} {
		cases = append(cases, broken("twice "+twice, event(one, "{"+twice+","+record(2, body())[1:])))
	}
	cases = append(cases,
		broken("another case of messageId", event(record(1, body(), "messageId", "", "messageID", `"x"`))),
		broken("another case of eventSource", event(record(1, body(), "eventSource", "", "EventSource", `"aws:sqs"`))),

		// an installation that cannot work
		broken("no mask", event(one)).with(map[string]string{"SLUICE_MASK": ""}),
		broken("an unknown mask", event(one)).with(map[string]string{"SLUICE_MASK": "md5"}),
		broken("a mask and keys", event(one)).with(map[string]string{"SLUICE_MASK_KEYS": "k1:" + vectorKey}),
		broken("a short key", event(one)).with(map[string]string{"SLUICE_MASK": "", "SLUICE_MASK_KEYS": "k1:short"}),
		broken("no mask, nothing to do", event()).with(map[string]string{"SLUICE_MASK": ""}),
		broken("an unknown model", event(one)).with(map[string]string{"SLUICE_MODEL": "nosuch"}),
		broken("no database", event(one)).with(map[string]string{"DATABASE_URL": ""}),
	)
	playAll(t, cases)
}
