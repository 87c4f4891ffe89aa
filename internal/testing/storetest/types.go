package storetest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/batch"
	"sluice/internal/mask"
	"sluice/internal/message"
	"sluice/internal/model"
)

// samples has a value of each type of fields, as JSON, and how databases print it.
var samples = map[model.FieldType]struct{ json, printed string }{
	"text":      {`"a \"text\" ü😀"`, `a "text" ü😀`},
	"ip":        {`"203.0.113.7"`, `[0-9a-f]{64}`},
	"email":     {`"someone@example.org"`, `[0-9a-f]{64}`},
	"version":   {`"2.3.0-beta"`, `2\.3\.0-beta`},
	"integer":   {`-32768`, `-32768`},
	"numeric":   {`-12345678901234567890.125`, `-12345678901234567890\.125`},
	"boolean":   {`true`, `t|1`},
	"timestamp": {`"1999-12-31T23:59:59.999999Z"`, `1999-12-31[ T]23:59:59\.999999(\+00|Z)`},
	"date":      {`"1999-12-31"`, `1999-12-31`},
	"uuid":      {`"ABCDEF01-2345-6789-abcd-ef0123456789"`, `abcdef01-2345-6789-abcd-ef0123456789`},
	"json":      {`{"a": [1, 2.50, null]}`, `\{"a": \[1, 2\.50, null\]\}`},
}

// EveryType calls test with models that have a field of each type in each type of columns, and with
// a body for each. The column is v of the table t. It is the key in one of two models, where it can.
func EveryType(t *testing.T, test func(t *testing.T, m *model.Model, body string)) {
	t.Helper()
	for _, kind := range model.FieldTypes() {
		sample, ok := samples[kind]
		if !ok {
			t.Errorf("storetest has no sample of the type %s; add one to samples", kind)
			continue
		}
		for _, column := range kind.Columns() {
			for _, key := range []string{"message_id", "v"} {
				if m := typeModel(t, kind, column, key); m != nil {
					t.Run(fmt.Sprintf("%s in %s, key %s", kind, column, key), func(t *testing.T) {
						test(t, m, `{"v": `+sample.json+`}`)
					})
				}
			}
		}
	}
}

// typeModel returns a model of one field and its column, nil if the column cannot be in a key.
func typeModel(t *testing.T, kind model.FieldType, column, key string) *model.Model {
	t.Helper()
	if column == "varchar" {
		column = "varchar(64)"
	}
	const form = `{model: m, table: t, key: [%s], fields: {v: {type: %s, required: true, personal: %t}},
		columns: {v: {type: %s, from: v, masked: %[3]t}, message_id: {type: uuid, meta: message_id}}}`
	m, err := model.Parse("m.yaml", fmt.Appendf(nil, form, key, kind, false, column))
	if err != nil && strings.Contains(err.Error(), "personal") {
		m, err = model.Parse("m.yaml", fmt.Appendf(nil, form, key, kind, true, column))
	}
	if err != nil && key == "v" && strings.Contains(err.Error(), "key column v") {
		return nil
	}
	if err != nil {
		t.Errorf("%s in %s: %v", kind, column, err)
		return nil
	}
	return m
}

// keepsEveryType is the case that stores a value of each type, twice, and reads it back.
func keepsEveryType(t *testing.T, h Harness) {
	EveryType(t, func(t *testing.T, m *model.Model, body string) {
		h.Exec(t, "DROP TABLE IF EXISTS t")
		s := create(t, h, m)
		for _, inserted := range []int{1, 0} {
			b := batch.New(m.Table)
			msg := message.Message{ID: "00000000-0000-4000-8000-000000000001", HasSent: true, HasBody: true, Body: []byte(body)}
			if bad := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &msg); !bad.IsZero() {
				t.Fatal(bad)
			}
			result, err := s.Insert(t.Context(), b)
			if err != nil || result.Inserted != inserted || result.Verdicts[0].Outcome != message.Stored {
				t.Fatalf("got %+v, %v; want %d new", result, err, inserted)
			}
		}
		want := samples[m.Fields[0].Type].printed
		if got := h.Rows(t, "SELECT v FROM t"); len(got) != 1 || !regexp.MustCompile("^("+want+")$").MatchString(got[0][0]) {
			t.Errorf("got %q, want %s", got, want)
		}
	})
}
