package storetest

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// samples has a value of each type of fields, as JSON, and how databases print it.
var samples = map[model.FieldType]sample{
	"text":      {json: `"a \"text\" ü😀"`, printed: `a "text" ü😀`, in: map[string]sample{"char": {printed: `a "text" ü😀 *`}}},
	"ip":        {json: `"203.0.113.7"`, printed: `203\.0\.113\.7`, in: map[string]sample{"cidr": {printed: withBits}, "inet": {printed: withBits}}},
	"email":     {json: `"someone@example.org"`, printed: `someone@example\.org`},
	"version":   {json: `"2.3.0-beta"`, printed: `2\.3\.0-beta`, in: map[string]sample{"char": {printed: `2\.3\.0-beta *`}}},
	"integer":   {json: `-32768`, printed: `-32768`},
	"numeric":   {json: `-12345678901234567890.125`, printed: `-12345678901234567890\.125`, in: map[string]sample{"real": {`0.1`, `0\.1`, nil}, "double precision": {`0.1`, `0\.1`, nil}}},
	"boolean":   {json: `true`, printed: `t|true|1`},
	"timestamp": {json: `"1999-12-31T23:59:59.999999Z"`, printed: `1999-12-31[ T]23:59:59\.999999(\+00|Z)`, in: map[string]sample{"timestamp": {printed: `1999-12-31[ T]23:59:59\.999999`}}},
	"date":      {json: `"1999-12-31"`, printed: `1999-12-31`},
	"time":      {json: `"23:59:59.999999"`, printed: `23:59:59\.999999`},
	"interval":  {json: `"P1Y2M3DT4H5M6.5S"`, printed: `1 year 2 mons 3 days 04:05:06\.5|P1Y2M3DT4H5M6\.5S`},
	"uuid":      {json: `"ABCDEF01-2345-6789-abcd-ef0123456789"`, printed: `abcdef01-2345-6789-abcd-ef0123456789`},
	"base64":    {json: `"aGkA"`, printed: `\\x686900|hi\x00`},
	"json":      {json: `{"a": [1, 2.50, null]}`, printed: `\{"a": \[1, 2\.50, null\]\}`},
}

// withBits is how an address is printed beside networks.
const withBits = `203\.0\.113\.7(/32)?`

// sample is a value, and in has what differs in some types of columns.
type sample struct {
	json, printed string
	in            map[string]sample
}

// of returns the sample for a type of columns.
func (s sample) of(column string) sample {
	return sample{json: cmp.Or(s.in[column].json, s.json), printed: "^(" + cmp.Or(s.in[column].printed, s.printed) + ")$"}
}

// masked is how databases print a mask.
const masked = `^[0-9a-f]{64} *$`

// EveryType calls test with models that have a field of each type in each type of columns, in clear
// and masked, and as a list; and with a body for each. The column is v of the table t. It is the key
// in one of two models, where it can. The database has the type citext.
func EveryType(t *testing.T, test func(t *testing.T, m *model.Model, body string)) {
	t.Helper()
	everyType(t, func(t *testing.T, m *model.Model, body, _ string) { test(t, m, body) })
}

// everyType is EveryType with how databases print the value.
func everyType(t *testing.T, test func(t *testing.T, m *model.Model, body, printed string)) {
	t.Helper()
	for _, kind := range model.FieldTypes() {
		known, ok := samples[kind]
		if !ok {
			t.Errorf("storetest has no sample of the type %s; add one to samples", kind)
			continue
		}
		for _, column := range kind.Columns() {
			s, found := known.of(column), false
			for _, settings := range []string{"", "personal: true", "list: true"} {
				for _, key := range []string{"message_id", "v"} {
					m := typeModel(kind, column, key, settings)
					if m == nil && settings != "personal: true" { // where it must be written out
						m = typeModel(kind, column, key, "personal: false, "+settings)
					}
					if m == nil {
						continue
					}
					found = true
					body, printed := `{"v": `+s.json+`}`, s.printed
					switch settings {
					case "personal: true":
						printed = masked
					case "list: true":
						body = `{"v": [` + s.json + "," + s.json + `]}`
					}
					t.Run(fmt.Sprintf("%s in %s, %s, key %s", kind, column, settings, key), func(t *testing.T) { test(t, m, body, printed) })
				}
			}
			if !found {
				t.Errorf("no model has a field of type %s in a column of type %s", kind, column)
			}
		}
	}
}

// typeModel returns a model of one field and its column, nil if the loader allows none.
func typeModel(kind model.FieldType, column, key, settings string) *model.Model {
	if column == "varchar" || column == "char" {
		column += "(64)"
	}
	if strings.Contains(settings, "list") {
		column += "[]"
	}
	const form = `{model: m, table: t, key: [%s], fields: {v: {type: %s, required: true, %s}},
		columns: {v: {type: "%s", from: v, masked: %t}, message_id: {type: uuid, meta: message_id}}}`
	m, err := model.Parse("m.yaml", fmt.Appendf(nil, form, key, kind, settings, column, settings == "personal: true"))
	if err != nil {
		return nil
	}
	return m
}

// keepsEveryType is the case that stores a value of each type, twice, and reads it back.
func keepsEveryType(t *testing.T, h Harness) {
	everyType(t, func(t *testing.T, m *model.Model, body, printed string) {
		h.Exec(t, "DROP TABLE IF EXISTS t")
		s := create(t, h, m)
		insertTwice(t, s, m, body)
		query, values := "SELECT v FROM t", 1
		if m.Fields[0].List {
			query, values = h.Elements, 2
		}
		got := h.Rows(t, query)
		if len(got) != values {
			t.Fatalf("got %q, want %d values", got, values)
		}
		for _, row := range got {
			if !regexp.MustCompile(printed).MatchString(row[0]) {
				t.Errorf("got %q, want %s", row, printed)
			}
		}
	})
}

// insertTwice inserts the row of a body, and again.
func insertTwice(t *testing.T, s Store, m *model.Model, body string) {
	t.Helper()
	for _, inserted := range []int{1, 0} {
		if got := insertBody(t, s, m, body); got != inserted {
			t.Fatalf("%d new rows, want %d", got, inserted)
		}
	}
}

// insertBody inserts the row of a body, and returns how many rows are new. It is stored, then or before.
func insertBody(t *testing.T, s Store, m *model.Model, body string) int {
	t.Helper()
	b := batch.New(m.Table)
	msg := message.Message{ID: "00000000-0000-4000-8000-000000000001", HasSent: true, HasBody: true, Body: []byte(body)}
	if bad := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &msg); !bad.IsZero() {
		t.Fatal(bad)
	}
	result, err := s.Insert(t.Context(), b)
	if err != nil || result.Verdicts[0].Outcome != message.Stored {
		t.Fatalf("got %+v, %v", result, err)
	}
	return result.Tallies.Sum().Inserted
}

// keepsOtherTypes is the case of a type that sluice knows nothing of: the column reads the text.
func keepsOtherTypes(t *testing.T, h Harness) {
	m, err := model.Parse("m.yaml", []byte(`{model: m, table: t, key: [v], fields: {v: {type: text, required: true}}, columns: {v: {type: macaddr, as: text, from: v}}}`))
	if err != nil {
		t.Fatal(err)
	}
	insertTwice(t, create(t, h, m), m, `{"v": "08:00:2b:01:02:03"}`)
	if got := h.Rows(t, "SELECT v FROM t"); len(got) != 1 || got[0][0] != "08:00:2b:01:02:03" {
		t.Errorf("got %q", got)
	}
}

// comparesKeys is the case of keys that differ in their text. How many rows they become depends on
// whether the store compares in the column's type or as text.
func comparesKeys(t *testing.T, h Harness) {
	const byLocale = 0 // the database's own settings decide
	for _, tt := range []struct {
		field, column string
		bodies        []string
		rows, asText  int
	}{
		{"integer, accept: [number]", "bigint", []string{`12`, `12.0`, `1.2e1`}, 1, 1},
		{"numeric", "numeric", []string{`12`, `12.0`, `1.2e1`}, 1, 3},
		{"numeric", "'numeric(6,2)'", []string{`12`, `12.0`}, 1, 2},
		{"text", "text", []string{`"ab"`, `"ab "`, `"AB"`}, 3, 3},
		{"text", "char(3)", []string{`"ab"`, `"ab "`}, 1, 2},
		{"text", "citext", []string{`"ab"`, `"AB"`}, 1, 1},
		{"text", "citext", []string{`"ä"`, `"Ä"`}, byLocale, 2},
		{"text", "'macaddr', as: text", []string{`"08:00:2b:01:02:03"`, `"08002b-010203"`}, 1, 2},
		{"timestamp", "timestamptz", []string{`"2026-01-31T12:00:00Z"`, `"2026-01-31T13:00:00.000+01:00"`}, 1, 1},
		{"ip, personal: false", "inet", []string{`"2001:db8::1"`, `"2001:DB8:0::1"`}, 1, 1},
	} {
		t.Run(tt.column, func(t *testing.T) {
			m, err := model.Parse("m.yaml", fmt.Appendf(nil, `{model: m, table: t, key: [v], fields: {v: {type: %s, required: true}}, columns: {v: {type: %s, from: v}}}`, tt.field, tt.column))
			if err != nil {
				t.Fatal(err)
			}
			s := create(t, h, m)
			for _, body := range tt.bodies {
				insertBody(t, s, m, `{"v": `+body+`}`)
			}
			want := tt.rows
			if h.KeysAsText {
				want = tt.asText
			}
			if got := count(t, h, "t"); want != byLocale && got != strconv.Itoa(want) {
				t.Errorf("%s rows, want %d", got, want)
			}
			h.Exec(t, "DROP TABLE t")
		})
	}
}
