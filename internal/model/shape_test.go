package model_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// alikeModels read bodies in all the ways that there are.
func alikeModels(tb testing.TB) (all []*model.Model) {
	tb.Helper()
	const fields = `
fields:
  a: {type: text, path: $.a}
  b: {type: json, path: $.b}
  c: {type: text, path: "$.b.c", accept: [number]}
  first: {type: numeric, path: "$.list[0]"}
  last: {type: json, path: "$.list[-1]"}
  tags: {type: text, list: true, path: $.tags}
  two: {type: text, path: [$.x, $.y.z]}
  yes: {type: boolean, path: $.yes}
  mail: {type: email, personal: true, path: $.mail}
columns:
  a: {type: text, from: a}
  b: {type: jsonb, from: b}
  c: {type: text, from: c}
  first: {type: numeric, from: first}
  last: {type: jsonb, from: last}
  tags: {type: "text[]", from: tags}
  two: {type: text, from: two}
  yes: {type: boolean, from: yes}
  mail: {type: varchar(64), from: mail, masked: true}
  message_id: {type: uuid, meta: message_id}
`
	for _, head := range []string{"", "unknown: reject\n", "unwrap: [{json: $.Message}]\n", "allow_empty: true\n"} {
		m, err := model.Parse("m.yaml", []byte("model: m\ntable: m\nkey: [message_id]\n"+head+fields))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, m)
	}
	return append(all, load(tb, "user_logins"))
}

// appended returns what became of a body: its row, or its verdict.
func appended(r *model.Reader, m *model.Model, body []byte) string {
	b := batch.New(m.Table)
	v := r.Append(b, 0, 0, &message.Message{ID: "059f36b4-87a3-44ab-83d2-661975830a7d", Body: body, HasBody: true, HasSent: true, SentMillis: 1767225600000})
	row := fmt.Sprintf("%+v readable %v", v, r.Readable())
	for i := range b.Len() {
		b.Row(i, func(c int, v []byte) { row += fmt.Sprintf("\n%s: %q %v", b.Columns(0)[c].Name, v, v == nil) })
	}
	return row
}

// compareAlike has one reader read bodies one after another, and another reader for each.
func compareAlike(t *testing.T, m *model.Model, bodies ...string) {
	t.Helper()
	r := m.Reader(mask.Unkeyed())
	for round := range 2 {
		r.Reset(time.Unix(0, 0))
		for i, body := range bodies {
			text := []byte(body)
			fresh := m.Reader(mask.Unkeyed())
			fresh.Reset(time.Unix(0, 0))
			if diff := cmp.Diff(appended(r, m, text), appended(fresh, m, text)); diff != "" {
				t.Errorf("round %d, body %d of %q: got(-) want(+):\n%s", round, i, bodies, diff)
			}
			clear(text) // nothing may refer to it any more
		}
	}
}

// quoted returns a body as the string Message of another one.
func quoted(body string) string {
	return `{"Type":"Notification","Message":"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(body) + `"}`
}

// TestBodiesAlike: bodies after one of the same shape, or nearly the same, are read as they are alone.
func TestBodiesAlike(t *testing.T) {
	t.Parallel()
	const full = `{"a":"1","b":{"c":"x","d":[1,{"e":null}]},"list":[1,2,{"f":"g"}],"tags":["t","u"],"x":"xx","y":{"z":"zz"},"yes":true,"mail":"a@b.example"}`
	change := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(full) }
	all := []string{
		full, full, change(`"1"`, `"2"`), change(`"1"`, `"\u00e9\n"`), change(`"1"`, `"é"`), change(`"1"`, "\"\xff\""), change(`"1"`, `"\ud800"`), change(`"1"`, "\"\n\""), change(`"1"`, `"\x"`),
		change(`"1"`, `null`), change(`"1"`, `5`), change(`"1"`, `nul`), change(`"1"`, `tru`), change(`"1"`, `{}`), change(`"1"`, `""`), change(`"1"`, ``), change(`"1"`, `"1`), change(`"1"`, `1"`),
		change(`[1,2`, `[-1.5e3,2`), change(`[1,2`, `[01,2`), change(`[1,2`, `[1.,2`), change(`[1,2`, `[1,2,3`), change(`"x":"xx"`, `"x":null`), change(`"x":"xx"`, `"X":"xx"`), change(`"x":"xx"`, `"a":"xx"`),
		change(`"c":"x"`, `"c":17`), change(`{"c":"x"`, `"c`), change(`"b":{"c":"x","d":[1,{"e":null}]}`, `"b":"s"`), change(`true`, `false`), change(`true`, `"true"`), change(`true`, `1`),
		change(`a@b.example`, `not a mail`), change(`{"a"`, ` {"a"`), full + " ", full + "x", full[:len(full)-1], "\xef\xbb\xbf" + full, full, `{}`, `{}`, `[]`, `[1]`, `"x"`, ``, ` `, full,
		`{"unknown":"1"}`, `{"unknown":"2"}`, `{"unknown":"3"}`, `{"b":{"c":"1"}}`, `{"b":{"c":"2"}}`, `{"b":{"c":"3"}}`, `{"b":"1"}`, `{"b":"2"}`, `{"b":"3"}`, `{"list":["1"]}`, `{"list":["2"]}`, `{"list":["3"]}`,
	}
	var wrapped []string
	for _, body := range all {
		wrapped = append(wrapped, quoted(body))
	}
	for _, m := range alikeModels(t) {
		compareAlike(t, m, all...)
		compareAlike(t, m, wrapped...)
		compareAlike(t, m, `{"a":"1"}`, `{"a":"1"}`, `{"a":"2"}`, `{"a":`, `{"a":"1`, `{"a":"1"`, `{"a":"1"}`)
		for _, body := range all { // each after the full one, which has a shape by then
			compareAlike(t, m, full, full, body, full)
			compareAlike(t, m, quoted(full), quoted(full), quoted(body), quoted(full))
			compareAlike(t, m, body, body, full, body)
		}
	}
}

// FuzzAlike reads a body after another one twice, and compares with a reader that has read no other.
func FuzzAlike(f *testing.F) {
	f.Add(`{"a":"1","b":{"c":"x","d":[1,{"e":null}]},"list":[1,2]}`, `{"a":"2","b":{"c":"y","d":[2,{"e":null}]},"list":[3,4.5]}`)
	f.Add(`{"a":"1","x":"y","tags":["a"]}`, `{"a":"\u00e9","x":null,"tags":[""]}`)
	f.Add(`{"Message":"{\"a\":\"b\"}"}`, `{"Message":"{\"a\":\"c\"}"}`)
	f.Add(` [1,"a"] `, ` [2,"b"] `)
	models := alikeModels(f)
	f.Fuzz(func(t *testing.T, one, other string) {
		for _, m := range models {
			compareAlike(t, m, one, one, other, one, other, other)
		}
		compareAlike(t, models[2], quoted(one), quoted(one), quoted(other))
	})
}
