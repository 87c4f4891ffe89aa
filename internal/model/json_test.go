package model_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// document is a model with a column of each type that a json field goes to.
func document(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Parse("m.yaml", []byte(`model: document
table: document
key: [message_id]
fields:
  plain: {type: json}
  binary: {type: json}
columns:
  plain: {type: json, from: plain}
  binary: {type: jsonb, from: binary}
  message_id: {type: uuid, meta: message_id}
`))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestNumbersInJSON: what a value prints is limited, wherever its numbers are.
func TestNumbersInJSON(t *testing.T) {
	t.Parallel()
	m := document(t)
	zeros := func(n int) string { return strings.Repeat("0", n) }
	list := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }
	for _, tt := range []struct {
		name, number string
		ok           bool
	}{
		{"integer", "-12", true},
		{"exponent", "1.25E+3", true},
		{"a float's greatest", "1.7976931348623157e308", true},
		{"a float's least", "-4.9406564584124654e-324", true},
		{"1,000 digits", strings.Repeat("9", 1000), true},
		{"1,001 digits", strings.Repeat("9", 1001), false},
		{"1,001 digits below zero", "-" + strings.Repeat("9", 1001), false},
		{"1,000 digits by an exponent", "1e999", true},
		{"1,001 digits by an exponent", "1e1000", false},
		{"1,001 digits by a long mantissa", "12.5E999", false},
		{"1,000 digits after the point", "0." + strings.Repeat("3", 1000), true},
		{"1,001 digits after the point", "0." + strings.Repeat("3", 1001), false},
		{"1,000 digits after the point by an exponent", "1e-1000", true},
		{"1,001 digits after the point by an exponent", "-1e-1001", false},
		{"zeros at the end, which are printed", "1." + zeros(1001), false},
		{"zeros before an exponent, which are printed", "1" + zeros(1001) + "e-1001", false},
		{"zeros that an exponent takes away", "0." + zeros(5000) + "1e5001", true},
		{"the bomb", "1e131071", false},
		{"the bomb with a fraction", "0.1e131072", false},
		{"the bomb below the point", "1e-16383", false},
		{"more than Postgres reads", "1e131072", false},
		{"an exponent that is no int", "1e99999999999999999999", false},
		{"one below zero", "1e-99999999999999999999", false},
		{"zero", "0", true},
		{"zero below zero", "-0", true},
		{"zero with an exponent", "0e99999", true},
		{"zero with the last exponent that Postgres reads", "-0.0e999999999", true},
		{"zero with one that it does not read", "0e1000000000", false},
		{"zero with zeros in the exponent", "0e+0000000000000000000003", true},
		{"zero with zeros after the point", "0." + zeros(1000), true},
		{"zero with more of them", "0." + zeros(1001), false},
		{"zero with an exponent below zero", "0e-1000", true},
		{"zero that prints zeros", "0e-1001", false},
		{"zero that Postgres does not read", "0e-99999", false},
		{"digits in a string", `"1e131071 ` + strings.Repeat("9", 2000) + `"`, true},
		{"digits after an escaped quote", `"\"1e131071"`, true},
		{"digits in a string that ends in a backslash", `["\\",1e131071]`, false},
		{"digits in a name", `{"1e131071":1}`, true},
		{"words with an e", `[true,false,null]`, true},
		{"many of them", list(30, "1e1000"), false},
		{"within the sum", list(16, "1e999"), true},
		{"beyond the sum", list(40, "1e999"), false},
		{"beyond the sum in objects", `{"a":` + list(1, "1e999") + `,"b":{"c":[` + list(40, "-1e-999") + `]}}`, false},
		{"as many floats as you like", list(2000, "1.2345678901234567e-05"), true},
		{"as many integers as you like", list(5000, "123456"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			shapes := []string{"%s", "[%s]", `{"a":%s}`, ` { "a" : [ 1 , { "b" : %s } ] } `, `["\"",%s , "x"]`}
			if strings.HasPrefix(tt.name, "many") || strings.Contains(tt.number, ",") && !strings.HasPrefix(tt.number, "{") && !strings.HasPrefix(tt.number, "[") {
				shapes = []string{"[%s]", `{"a":[%s]}`}
			}
			for _, shape := range shapes {
				for _, column := range []string{"plain", "binary"} {
					value := fmt.Sprintf(shape, tt.number)
					row, bad := read(t, m, `{"`+column+`":`+value+`}`)
					switch {
					case tt.ok && row[column] != strings.TrimSpace(value):
						t.Errorf("%s %.40s: got %v %.40s", column, value, bad, row[column])
					case !tt.ok && (bad.Reason != message.ReasonOutOfRange || bad.Field != column):
						t.Errorf("%s %.40s: got %v", column, value, bad)
					}
				}
			}
		})
	}
}

// TestTextsInJSON that jsonb refuses, so that a json column could not become one.
func TestTextsInJSON(t *testing.T) {
	t.Parallel()
	m := document(t)
	for _, tt := range []struct{ value, want string }{
		{`"\u0000"`, "nul_character"},
		{`{"\u0000":1}`, "nul_character"},
		{`["a\\","\u0000"]`, "nul_character"},
		{`["\\u0000"]`, ""},
		{`["\\\u0000"]`, "nul_character"},
		{`"\ud800"`, "not_json"},
		{`"\udc00"`, "not_json"},
		{`"\ud800\u0061"`, "not_json"},
		{`{"\ud800":1}`, "not_json"},
		{`"\ud83d\ude00"`, ""},
		{"\"\xff\"", "not_json"},
		{`{"a":1,"\u0061":2}`, "duplicate_key"},
		{strings.Repeat("[", 200) + strings.Repeat("]", 200), ""},
		{strings.Repeat("[", 201) + strings.Repeat("]", 201), "too_deep"},
		{strings.Repeat(`{"a":`, 201) + "1" + strings.Repeat("}", 201), "too_deep"},
	} {
		for _, column := range []string{"plain", "binary"} {
			if _, bad := read(t, m, `{"`+column+`":`+tt.value+`}`); string(bad.Reason) != tt.want {
				t.Errorf("%s %.40s: got %v, want %q", column, tt.value, bad, tt.want)
			}
		}
	}
}

// BenchmarkJSON prints what a body with a json field costs, by what it is made of.
func BenchmarkJSON(b *testing.B) {
	m := document(b)
	for _, k := range []struct{ name, value string }{
		{"lines", `[` + strings.TrimSuffix(strings.Repeat(`{"sku": "A-100-200", "quantity": 2, "price": 12.50, "note": "a \"gift\", wrapped"},`, 10), ",") + `]`},
		{"numbers", `[` + strings.TrimSuffix(strings.Repeat(`12345.678,`, 100), ",") + `]`},
		{"exponents", `[` + strings.TrimSuffix(strings.Repeat(`1.2345678e-05,`, 100), ",") + `]`},
		{"text", `"` + strings.Repeat("abcdefghij", 100) + `"`},
	} {
		b.Run(k.name, func(b *testing.B) {
			r, rows := m.Reader(mask.Unkeyed()), batch.New(m.Table)
			msg := message.Message{ID: "059f36b4-87a3-44ab-83d2-661975830a7d", HasBody: true, HasSent: true, Body: []byte(`{"binary":` + k.value + `}`)}
			b.SetBytes(int64(len(msg.Body)))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if rows.Len() == 1000 {
					rows.Reset()
				}
				if bad := r.Append(rows, i, 0, &msg); !bad.IsZero() {
					b.Fatal(bad)
				}
			}
		})
	}
}

// TestOrdersAllocateNothing: neither times nor numbers cost memory in the steady state.
func TestOrdersAllocateNothing(t *testing.T) {
	m := load(t, "orders")
	allocatesNothing(t, m.Reader(mask.Unkeyed()), batch.New(m.Table), sent(strings.TrimSuffix(with(order, `"placed_at":"2016-12-31t15:59:60.25-08:00"`), "}")+`,"deliver_on":"2026-01-31","lines":[1.5e-7,-12,{"a":[1e300]},"x\n"]}`))
}
