package model_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqsevent"
)

// traced is a model whose fields are read from message attributes, but for one.
const traced = `
model: m
table: m
key: [message_id]
fields:
  a: {type: text}
  trace: {type: text, attribute: trace_id, required: true}
  amount: {type: numeric, attribute: amount}
  tenant: {type: text, attribute: tenant, personal: true}
  size: {type: integer, attribute: size}
columns:
  a: {type: text, from: a}
  trace: {type: varchar(8), from: trace}
  amount: {type: "numeric(5,2)", from: amount}
  tenant: {type: varchar(64), from: tenant, masked: true}
  size: {type: integer, from: size}
  message_id: {type: uuid, meta: message_id}
`

const (
	traceAttribute  = `"trace_id":{"stringValue":"t-1","stringListValues":[],"binaryListValues":[],"dataType":"String"}`
	attributeCanary = "canary-value-19"
)

func TestAttributes(t *testing.T) {
	t.Parallel()
	m := parse(t, traced)
	for _, tt := range []struct{ name, attributes, trace, amount string }{
		{"a String", `{` + traceAttribute + `}`, "t-1", "NULL"},
		{"a String of a type of its own", `{"trace_id":{"stringValue":"t","dataType":"String.uuid"}}`, "t", "NULL"},
		{"a Number", `{"amount":{"dataType":"Number","stringValue":"12.50"},` + traceAttribute + `}`, "t-1", "12.50"},
		{"a Number of a type of its own", `{"amount":{"dataType":"Number.float","stringValue":"-1e2"},` + traceAttribute + `}`, "t-1", "-1e2"},
		{"escapes", `{"trace\u005fid":{"string\u0056alue":"\u00e9\"\n","dataType":"Str\u0069ng"},"amount":{"dataType":"Number","stringValue":"\u0031.5"}}`, "é\"\n", "1.5"},
		{"absent", `{` + traceAttribute + `,"AMOUNTS":{"stringValue":"x","dataType":"String"}}`, "t-1", "NULL"},
		{"null", `{` + traceAttribute + `,"amount":null,"tenant":{"stringValue":null,"dataType":"String"}}`, "t-1", "NULL"},
		{"what the model does not read", `{` + traceAttribute + `,"x":{"binaryValue":"!","dataType":"Binary"},"y":7,"z":[{"dataType":{}}]}`, "t-1", "NULL"},
		{"white space", " { " + strings.ReplaceAll(traceAttribute, ":", " : ") + " \n} ", "t-1", "NULL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, why := readMessage(t, m, time.Now(), message.Message{Attributes: []byte(tt.attributes)})
			want := map[string]string{"a": "b", "trace": tt.trace, "amount": tt.amount, "tenant": "NULL", "size": "NULL", "message_id": "00000000-0000-4000-8000-000000000001"}
			if diff := cmp.Diff(got, want); diff != "" || !why.IsZero() {
				t.Errorf("%v, got(-) want(+):\n%s", why, diff)
			}
		})
	}
}

func TestAttributesThatReject(t *testing.T) {
	t.Parallel()
	m := parse(t, traced)
	amount := func(value string) string { return `{` + traceAttribute + `,"amount":` + value + `}` }
	number := func(text string) string { return amount(`{"stringValue":"` + text + `","dataType":"Number"}`) }
	const notNumber = "not_a_number amount: expected a number in an attribute of the type Number"
	for _, tt := range []struct{ name, attributes, want string }{
		{"none", "", "missing trace: expected the message attribute trace_id"},
		{"no members", "{}", "missing trace: expected the message attribute trace_id"},
		{"blank", `{"trace_id":{"stringValue":" ","dataType":"String"}}`, "missing trace: expected a value, found a blank string"},
		{"too long", `{"trace_id":{"stringValue":"123456789","dataType":"String"}}`, "too_long trace: expected at most 8 characters, which varchar(8) holds"},
		{"a NUL", `{"trace_id":{"stringValue":"\u0000","dataType":"String"}}`, "nul_character trace"},
		{"a Number for a text", `{"trace_id":{"stringValue":"7","dataType":"Number"}}`, "wrong_type trace: expected a string, found a number"},
		{"a String for a number", amount(`{"stringValue":"7","dataType":"String"}`), "wrong_type amount: expected a number, found a string"},
		{"out of range", number("1234.5"), "out_of_range amount: expected a number with as many digits as numeric(5,2) has"},
		{"Binary", amount(`{"binaryValue":"AA==","dataType":"Binary.png"}`), "wrong_type amount: expected an attribute of the type String or Number, found Binary"},
		{"another type", amount(`{"stringValue":"7","dataType":"` + attributeCanary + `"}`), "wrong_type amount: expected an attribute with a dataType of String or Number, found another"},
		{"a type in another case", amount(`{"stringValue":"7","dataType":"number"}`), "wrong_type amount: expected an attribute with a dataType of String or Number, found another"},
		{"no type", amount(`{"stringValue":"7"}`), "wrong_type amount: expected an attribute with a dataType of String or Number, found none"},
		{"a type that is no string", amount(`{"stringValue":"7","dataType":7}`), "wrong_type amount: expected an attribute with a dataType of String or Number, found another"},
		{"the form of the API", amount(`{"StringValue":"7","DataType":"Number"}`), "wrong_type amount: expected an attribute with a dataType of String or Number, found none"},
		{"no value", amount(`{"dataType":"Number"}`), "wrong_type amount: expected an attribute with a stringValue, found none"},
		{"a value that is no string", amount(`{"stringValue":7,"dataType":"Number"}`), "wrong_type amount: expected a stringValue that is a string, found a number"},
		{"not an attribute", amount(`"7"`), "wrong_type amount: expected a message attribute, found a string"},
		{"a list", amount(`[7]`), "wrong_type amount: expected a message attribute, found an array"},
		{"a required one that is Binary", `{"trace_id":{"binaryValue":"AA==","dataType":"Binary"}}`, "wrong_type trace: expected an attribute of the type String or Number, found Binary"},
		{"another case", `{` + traceAttribute + `,"Amount":{"stringValue":"7","dataType":"Number"}}`, "key_case amount: expected exactly the message attribute amount"},
		{"another case beside the right one", `{` + traceAttribute + `,"TRACE_ID":{"stringValue":"7","dataType":"Number"}}`, "key_case trace: expected exactly the message attribute trace_id"},
		{"another case by Unicode's folding", `{` + traceAttribute + `,"\u017fize":{}}`, "key_case size: expected exactly the message attribute size"},
		{"twice", `{` + traceAttribute + `,` + traceAttribute + `}`, "duplicate_key at byte 99: in the message attributes"},
		{"twice, escaped and unread", `{` + traceAttribute + `,"x":{},"\u0078":{}}`, "duplicate_key at byte 106: in the message attributes"},
		{"a type twice", amount(`{"stringValue":"7","dataType":"Number","dataType":"Number"}`), "duplicate_key at byte 147: in the message attributes"},
		{"a lone surrogate", `{` + traceAttribute + `,"x":"\ud800"}`, "not_json at byte 104: in the message attributes; an escape that JSON does not have"},
		{"invalid UTF-8", `{` + traceAttribute + `,"x":"` + "\xff" + `"}`, "not_json at byte 104: in the message attributes; it is not UTF-8"},
		{"an array", "[]", "not_json: in the message attributes; expected an object, found an array"},
		{"not JSON", "!", "not_json at byte 1: in the message attributes; no JSON value begins here"},
		{"an empty number", number(""), notNumber},
		{"a word", number("NaN"), notNumber},
		{"a number with a space", number(" 7"), notNumber},
		{"a sign", number("+7"), notNumber},
		{"a leading zero", number("07"), notNumber},
		{"a hexadecimal number", number("0x10"), notNumber},
		{"half a fraction", number("7."), notNumber},
		{"no integer part", number(".5"), notNumber},
		{"half an exponent", number("7e"), notNumber},
		{"two numbers", number("7 8"), notNumber},
		{"other digits", number("\u0661"), notNumber},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, why := readMessage(t, m, time.Now(), message.Message{Attributes: []byte(tt.attributes)})
			saysEnough(t, why)
			if diff := cmp.Diff(problems(why), []string{tt.want}); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
			if strings.Contains(why.String(), attributeCanary) {
				t.Errorf("the rejection has a value: %s", why)
			}
		})
	}
}

// TestAttributeProblems: problems of attributes are listed beside those of the body.
func TestAttributeProblems(t *testing.T) {
	t.Parallel()
	_, why := readMessage(t, parse(t, traced), time.Now(), message.Message{
		Body: []byte(`{"a":7}`), Attributes: []byte(`{"amount":{"stringValue":"x","dataType":"Number"}}`),
	})
	want := []string{"wrong_type a: expected a string, found a number", "missing trace: expected the message attribute trace_id", "not_a_number amount: expected a number in an attribute of the type Number"}
	if diff := cmp.Diff(problems(why), want); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
}

// TestAttributesAreNotTheBody: a body in which nothing is read is not recognized for the attributes
// of its message.
func TestAttributesAreNotTheBody(t *testing.T) {
	t.Parallel()
	_, why := readMessage(t, parse(t, traced), time.Now(), message.Message{Body: []byte(`{"b":1}`), Attributes: []byte(`{` + traceAttribute + `}`)})
	if why.Reason != message.ReasonUnrecognized {
		t.Errorf("got %s, want %s", why, message.ReasonUnrecognized)
	}
}

// TestAttributeIsMasked as a field of a body with the same text.
func TestAttributeIsMasked(t *testing.T) {
	t.Parallel()
	body := parse(t, strings.Replace(traced, "tenant: {type: text, attribute: tenant, personal: true}", "tenant: {type: text, personal: true}", 1))
	want, why := readMessage(t, body, time.Now(), message.Message{Body: []byte(`{"a":"b","tenant":"acme"}`), Attributes: []byte(`{` + traceAttribute + `}`)})
	if !why.IsZero() {
		t.Fatal(why)
	}
	got, why := readMessage(t, parse(t, traced), time.Now(), message.Message{Attributes: []byte(`{` + traceAttribute + `,"tenant":{"stringValue":"ac\u006de","dataType":"String"}}`)})
	if diff := cmp.Diff(got, want); diff != "" || !why.IsZero() || len(got["tenant"]) != 64 {
		t.Errorf("%v, in an attribute (-) and in a body (+):\n%s", why, diff)
	}
}

// TestAttributesOfEvents: of Lambda and of EventBridge Pipes, which sends the bare array.
func TestAttributesOfEvents(t *testing.T) {
	t.Parallel()
	records := `[{"messageId":"00000000-0000-4000-8000-000000000001","body":"{\"a\":\"b\"}","attributes":{"SentTimestamp":"1767225599999"},` +
		`"messageAttributes":{` + traceAttribute + `,"amount":{"stringValue":"1.50","dataType":"Number"}},"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-west-1:000000000000:q"}]`
	m := parse(t, traced)
	for _, event := range []string{records, `{"Records":` + records + `}`} {
		messages, err := sqsevent.Decode([]byte(event))
		if err != nil {
			t.Fatal(err)
		}
		got, why := readMessage(t, m, time.Now(), messages[0])
		want := map[string]string{"a": "b", "trace": "t-1", "amount": "1.50", "tenant": "NULL", "size": "NULL", "message_id": "00000000-0000-4000-8000-000000000001"}
		if diff := cmp.Diff(got, want); diff != "" || !why.IsZero() {
			t.Errorf("%v, got(-) want(+):\n%s", why, diff)
		}
	}
}

func TestAttributesAllocateNothing(t *testing.T) {
	m := parse(t, traced)
	msg := sent(`{"a":"b"}`)
	msg.Attributes = []byte(`{` + traceAttribute + `,"amount":{"stringValue":"1.50","dataType":"Number.decimal"},"a-name-that-is-longer-than-thirty-two-characters":{"stringValue":"x","dataType":"String"}}`)
	allocatesNothing(t, m.Reader(mask.Unkeyed()), batch.New(m.Table), msg)
}

// TestAttributeOptions: an attribute's value goes the same way as a body's.
func TestAttributeOptions(t *testing.T) {
	t.Parallel()
	const number, str = `{"a":{"stringValue":"12","dataType":"Number"}}`, `{"a":{"stringValue":" Ab ","dataType":"String"}}`
	digits := strings.Replace(str, " Ab ", "12", 1)
	for _, tt := range []struct{ field, column, attributes, want string }{
		{"type: text", "text", number, "wrong_type a: expected a string, found a number"},
		{"type: text, accept: [number]", "text", number, "12"},
		{"type: integer", "integer", digits, "wrong_type a: expected a number, found a string"},
		{"type: integer, accept: [string]", "integer", digits, "12"},
		{"type: boolean, accept: [string]", "boolean", strings.Replace(str, " Ab ", "true", 1), "true"},
		{"type: text, trim: true, case: lower", "text", str, "ab"},
		{"type: text, default: none", "text", "{}", "none"},
		{"type: text, default: none", "text", strings.Replace(str, "String", "Binary", 1), "wrong_type a: expected an attribute of the type String or Number, found Binary"},
		{"type: timestamp, format: unix", "timestamptz", strings.Replace(number, "12", "1767225600", 1), "2026-01-01T00:00:00Z"},
		{"type: integer, max: 11", "integer", number, "out_of_range a"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			t.Parallel()
			m := parse(t, "model: m\ntable: m\nkey: [message_id]\nfields: {b: {type: text}, a: {attribute: a, "+tt.field+"}}\ncolumns:\n  b: {type: text, from: b}\n  a: {type: "+
				tt.column+", from: a}\n  message_id: {type: uuid, meta: message_id}\n")
			row, why := readMessage(t, m, time.Now(), message.Message{Body: []byte(`{"b":"c"}`), Attributes: []byte(tt.attributes)})
			got := row["a"]
			if row == nil {
				got = why.String()
			}
			if got != tt.want && (row != nil || !strings.HasPrefix(got, tt.want+":")) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestAttributeRule: what people are told of such a column.
func TestAttributeRule(t *testing.T) {
	t.Parallel()
	if got, want := parse(t, traced).Rule(1), "trace: text of the message attribute trace_id, required"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAttributeErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ field, want string }{
		{"{type: text, attribute: x, path: $.x}", "m.yaml:4: field x is read from a message attribute; remove path and layer, or attribute"},
		{"{type: text, attribute: a b}", `m.yaml:4: field x: attribute "a b" is not a name that SQS allows`},
		{"{type: text, attribute: TRACE}", "m.yaml:4: fields a and x read attributes whose names differ only in upper and lower case; correct one"},
		{"{type: text, attribute: trace}", ""},
		{"{type: text, attribute: x, list: true}", "m.yaml:4: field x is read from a message attribute, which is one text or number; remove list"},
		{"{type: json, attribute: x}", "m.yaml:4: field x is read from a message attribute, which is one text or number, not JSON; use the type text"},
		{"{type: boolean, attribute: x}", "m.yaml:4: field x is read from a message attribute, which is a text or a number; add accept: [string]"},
	} {
		t.Run(tt.field, func(t *testing.T) {
			t.Parallel()
			column := "text"
			switch {
			case strings.Contains(tt.field, "json"):
				column = "jsonb"
			case strings.Contains(tt.field, "boolean"):
				column = "boolean"
			case strings.Contains(tt.field, "list"):
				column = `"text[]"`
			}
			_, err := model.Parse("m.yaml", []byte("model: m\ntable: m\nkey: [message_id]\nfields: {a: {type: text, attribute: trace}, x: "+tt.field+"}\ncolumns:\n  a: {type: text, from: a}\n  x: {type: "+
				column+", from: x}\n  message_id: {type: uuid, meta: message_id}\n"))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// FuzzAttributes: whatever the attributes are, no panic, and no value in a rejection.
func FuzzAttributes(f *testing.F) {
	for _, s := range []string{"", "{}", "{" + traceAttribute + "}", `{"amount":{"stringValue":"\u0031e5","dataType":"Number.x"}}`, `{"trace_id":null,"Amount":[{}]}`, `{"trace_\u0069d":{"dataType":"Binary"}}`} {
		f.Add([]byte(s))
	}
	m := parse(f, traced)
	r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
	f.Fuzz(func(t *testing.T, attributes []byte) {
		b.Reset()
		msg := message.Message{ID: "1", Body: []byte(`{"a":"b"}`), HasBody: true, HasSent: true, Attributes: attributes}
		if v := r.Append(b, 0, 0, &msg); v.IsZero() != (b.Len() == 1) {
			t.Fatalf("%v with %d rows", v, b.Len())
		}
	})
}
