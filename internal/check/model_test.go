package check_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
)

func TestModel(t *testing.T) {
	t.Parallel()
	const file = `model: m
table: m
key: [message_id]
fields:
  email: {type: email, personal: true}
  note: {type: text}
  name: {type: text, personal: true}
  more: {type: json}
columns:
  email: {type: text, from: email, masked: true}
  note: {type: text, from: note}
  name: {type: text, from: name, masked: true}
  more: {type: jsonb, from: more}
  message_id: {type: uuid, meta: message_id}
`
	impersonal := strings.NewReplacer("  email: {type: email, personal: true}\n", "", "  email: {type: text, from: email, masked: true}\n", "", ", personal: true", "", ", masked: true", "").Replace(file)
	for _, tt := range []struct {
		name, file string
		want       []string
		says       string
	}{
		{"JSON beside personal fields", file, []string{"warning json_raw"}, "more is JSON"},
		{"text beside personal fields", file, []string{"warning json_raw"}, "call them personal: note"},
		{"no JSON", strings.Replace(strings.Replace(file, "  more: {type: json}\n", "", 1), "  more: {type: jsonb, from: more}\n", "", 1), nil, "note"},
		{"bytes beside personal fields", strings.Replace(strings.Replace(file, "note: {type: text}", "note: {type: base64}", 1), "note: {type: text,", "note: {type: bytea,", 1), []string{"warning json_raw"}, "call them personal: note"},
		{"a list beside personal fields", strings.Replace(strings.Replace(file, "note: {type: text}", "note: {type: text, list: true}", 1), "note: {type: text, from", `note: {type: "text[]", from`, 1), []string{"warning json_raw"}, "call them personal: note"},
		{"a constant", strings.Replace(file, "  more: {type: jsonb", "  source: {type: text, value: web}\n  more: {type: jsonb", 1), []string{"warning json_raw"}, "call them personal: note Remedy"},
		{"an address in clear", strings.Replace(strings.Replace(file, "email, personal: true", "email, personal: false", 1), "email, masked: true", "email", 1), []string{"warning json_raw"}, "personal: false: email"},
		{"an address in clear, and nothing personal", strings.NewReplacer("email, personal: true", "email, personal: false", "email, masked: true", "email", ", personal: true", "", ", masked: true", "").Replace(file), nil, "personal: false: email"},
		{"text, and nothing personal", impersonal, nil, "call them personal: note, name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := model.Load("m", fstest.MapFS{"m.yaml": {Data: []byte(tt.file)}})
			if err != nil {
				t.Fatal(err)
			}
			f := check.Model(m)
			want(t, f, tt.want...)
			says(t, f, tt.says)
		})
	}
}
