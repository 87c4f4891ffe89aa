package model_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// fielded has a field of each kind that Fields treats in a way of its own.
const fielded = `model: fielded
table: fielded
key: [message_id]
fields:
  user_id: {type: text, required: true}
  ip: {type: ip, personal: true}
  name: {type: text, personal: true, max_length: 20}
  age: {type: integer}
  score: {type: numeric, accept: [string]}
  version: {type: version}
  tags: {type: text, list: true}
  extra: {type: json}
  kind: {type: text, attribute: kind, one_of: [a, b]}
  level: {type: text, default: low}
  shop: {type: text, path: $.shop.id}
  nick: {type: text, path: "$.people[-1]"}
  boss: {type: text, path: "$.people[0]", personal: true}
columns:
  user_id: {type: text, from: user_id}
  masked_ip: {type: varchar(64), from: ip, masked: true}
  masked_name: {type: varchar(64), from: name, masked: true}
  age: {type: integer, from: age}
  score: {type: numeric, from: score}
  major: {type: integer, from: version, part: major}
  version: {type: text, from: version}
  tags: {type: "text[]", from: tags}
  extra: {type: jsonb, from: extra}
  kind: {type: text, from: kind}
  level: {type: text, from: level}
  shop: {type: text, from: shop}
  nick: {type: text, from: nick}
  masked_boss: {type: varchar(64), from: boss, masked: true}
  message_id: {type: uuid, meta: message_id}
`

// fields returns each field as a line: what is shown of it, and its rejection. A mask is MASK.
func fields(m *model.Model, body, attributes string) (lines []string, v message.Verdict) {
	all, v := m.Reader(mask.Unkeyed()).Fields(&message.Message{ID: "x", Body: []byte(body), HasBody: true, HasSent: true, Attributes: []byte(attributes)})
	for _, f := range all {
		line := f.Name + "="
		switch {
		case f.Hidden != "":
			line += "(" + f.Hidden + ")"
		case f.Found != nil:
			line += "found " + string(f.Found)
		case f.Column == nil:
		case f.Value == nil:
			line += "NULL"
		case f.Masked && len(f.Value) == 64:
			line += "MASK"
		case f.Column.List:
			line += string(f.Value)
		default:
			line += string(f.Column.Kind.AppendText(nil, f.Value))
		}
		if !f.Rejection.IsZero() {
			line += " " + string(f.Rejection.Reason)
		}
		lines = append(lines, line)
	}
	return lines, v
}

func TestFields(t *testing.T) {
	t.Parallel()
	m := parse(t, fielded)
	const composite = ", perhaps with personal data"
	for _, tt := range []struct {
		name, body, attributes string
		want                   []string // of the fields that are not NULL
		verdict                string
	}{
		{
			name: "an accepted body", attributes: `{"kind":{"stringValue":"a","dataType":"String"}}`,
			body: `{"user_id":"u-1","ip":"203.0.113.7","name":"canary","age":7,"score":"1.50","version":"2.3.0","tags":["x",null],"shop":{"id":"s","canary":1}}`,
			want: []string{"user_id=u-1", "ip=MASK", "name=MASK", "age=7", "score=1.50", "version=2.3.0", `tags={"x",NULL}`, "kind=a", "level=low", "shop=s"},
		},
		{
			name: "scalars that are rejected", attributes: `{"kind":{"stringValue":"c","dataType":"String"}}`,
			body: `{"ip":"canary","name":"canary-canary-canary-canary","age":"7","score":"1,5","version":true,"tags":"x","shop":[]}`,
			want: []string{
				"user_id= missing", "ip=(personal: a string) not_an_ip_address",
				"name=(personal: a string) too_long",
				`age=found "7" wrong_type`, `score=found "1,5" not_a_number`,
				"version=found true wrong_type", `tags=found "x" wrong_type`,
				`kind=found "c" not_one_of`, "level=low", "shop= wrong_type",
			},
			verdict: "missing user_id",
		},
		{
			name: "what can hold more than the model reads",
			body: `{"user_id":{"canary":1},"age":["canary"],"tags":["x",{"canary":1}],"extra":{"canary":1},"level":" [\"canary\"]","version":"{\"canary\":1}"}`,
			want: []string{
				"user_id=(an object of 12 bytes" + composite + ") wrong_type",
				"age=(an array of 10 bytes" + composite + ") wrong_type",
				"version=(a string of 16 bytes" + composite + ") not_a_version",
				"tags=(an array of 18 bytes" + composite + ") wrong_type",
				"extra=(an object of 12 bytes" + composite + ")", "level=(a string of 15 bytes" + composite + ")",
			},
			verdict: "wrong_type user_id: expected a string, found an object",
		},
		{name: "a json scalar", body: `{"user_id":"u","extra":"x"}`, want: []string{"user_id=u", `extra="x"`, "level=low"}},
		{
			name: "a place that is personal for another field", body: `{"user_id":"u","people":["canary"]}`,
			want: []string{"user_id=u", "level=low", "nick=(personal, as another field: a string)", "boss=MASK"},
		},
		{name: "another spelling", body: `{"USER_ID":"canary","age":1}`, want: []string{"user_id= key_case", "age=1", "level=low"}, verdict: "key_case user_id: expected exactly $.user_id"},
		{name: "not JSON", body: `{"user_id":"canary`, verdict: "not_json"},
		{name: "not an object", body: `["canary"]`, verdict: "not_an_object"},
		{name: "a name twice", body: `{"user_id":"canary","user_id":"canary"}`, verdict: "duplicate_key"},
		{name: "another kind of message", body: `{"canary":1}`, verdict: "unrecognized: required and missing: user_id"},
		{name: "attributes that are not JSON", body: `{"user_id":"canary"}`, attributes: "canary", verdict: "not_json at byte 1: in the message attributes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all, v := fields(m, tt.body, tt.attributes)
			var got []string
			for _, line := range all {
				if !strings.HasSuffix(line, "=NULL") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if why := v.Rejection.String(); !strings.HasPrefix(why, tt.verdict) || v.Rejection.IsZero() != (tt.verdict == "") {
				t.Errorf("the verdict is %q, want %q", why, tt.verdict)
			}
			if strings.Contains(strings.Join(all, " "), "canary") {
				t.Errorf("a value shows that must not: %v", all)
			}
		})
	}
}

// TestFieldsOfUnwrapped: a field that reads what the model unwraps shows nothing of it.
func TestFieldsOfUnwrapped(t *testing.T) {
	t.Parallel()
	m := parse(t, `model: wrapped
table: wrapped
key: [message_id]
unwrap: [{json: $.Message}]
fields:
  raw: {type: text, path: $.Message, layer: 0}
  id: {type: text, path: $.id}
columns:
  raw: {type: text, from: raw}
  id: {type: text, from: id}
  message_id: {type: uuid, meta: message_id}
`)
	all, v := fields(m, `{"Message":"7"}`, "")
	if want := []string(nil); v.Rejection.Reason != message.ReasonNotObject || !cmp.Equal(all, want) {
		t.Errorf("got %v, %v", all, v)
	}
	all, v = fields(m, `{"Message":"{\"id\":\"x\",\"canary\":1}"}`, "")
	if len(all) != 2 || !strings.HasPrefix(all[0], "raw=(a string of ") || all[1] != "id=x" || !v.IsZero() {
		t.Errorf("got %v, %v", all, v)
	}
}

// TestFieldsAndAppend: the verdict is that of Append, and every rejection is at a field or at the body.
func TestFieldsAndAppend(t *testing.T) {
	t.Parallel()
	m := parse(t, fielded)
	values := []string{`null`, `true`, `1`, `1e9`, `""`, `"x"`, `"203.0.113.7"`, `"\u0000"`, `[]`, `["x"]`, `{}`, `{"id":1}`, `"{"`}
	for _, f := range m.Fields {
		for _, value := range values {
			body := fmt.Sprintf(`{"user_id":"u",%q:%s}`, strings.Replace(f.Name, "user_id", "age", 1), value)
			msg := message.Message{ID: "x", Body: []byte(body), HasBody: true, HasSent: true}
			r := m.Reader(mask.Unkeyed())
			want := r.Append(batch.New(m.Table), 0, 0, &msg)
			all, got := r.Fields(&msg)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: %s", body, diff)
			}
			n := 0
			for _, f := range all {
				if !f.Rejection.IsZero() {
					n++
				}
			}
			if want := len(want.Rejection.More); !got.IsZero() && n != want+1 || got.IsZero() && n != 0 {
				t.Errorf("%s: %d fields are rejected: %v", body, n, got)
			}
		}
	}
}
