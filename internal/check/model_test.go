package check_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"sluice/internal/check"
	"sluice/internal/model"
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
		{"text beside personal fields", file, []string{"warning json_raw"}, "call it personal: note"},
		{"no JSON", strings.Replace(strings.Replace(file, "  more: {type: json}\n", "", 1), "  more: {type: jsonb, from: more}\n", "", 1), nil, "note"},
		{"nothing personal", impersonal, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, err := model.Load("m", fstest.MapFS{"m.yaml": {Data: []byte(tt.file)}})
			if err != nil {
				t.Fatal(err)
			}
			f := check.Model(m)
			want(t, f, tt.want...)
			if tt.says != "" {
				says(t, f, tt.says)
			} else if len(f) > 0 {
				t.Errorf("got %+v", f)
			}
		})
	}
}
