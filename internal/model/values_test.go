package model_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// one returns a model of one field and its column; more goes into the model.
func one(t testing.TB, field, column, more string) *model.Model {
	t.Helper()
	m, err := parseOne(field, column, more)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func parseOne(field, column, more string) (*model.Model, error) {
	if more == "" {
		more = "key: [message_id]"
	}
	return model.Parse("m.yaml", fmt.Appendf(nil, `model: m
table: t
%s
fields:
  v: {%s}
columns:
  c: {type: %q, from: v%s}
  message_id: {type: uuid, meta: message_id}
`, more, field, strings.TrimSuffix(column, ", masked: true"), column[len(strings.TrimSuffix(column, ", masked: true")):]))
}

// put returns what a value becomes in its column as text, or why it cannot be there.
func put(t testing.TB, m *model.Model, value string) string {
	t.Helper()
	b := batch.New(m.Table)
	msg := message.Message{ID: "00000000-0000-4000-8000-000000000001", Body: []byte(`{"v":` + value + `}`), HasBody: true, HasSent: true}
	if v := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &msg); !v.IsZero() {
		if b.Len() != 0 {
			t.Errorf("%s: a rejected body left a row", value)
		}
		saysEnough(t, v.Rejection)
		return v.Rejection.String()
	}
	text := ""
	b.Row(0, func(c int, v []byte) {
		switch col := b.Columns(0)[c]; {
		case c > 0:
		case v == nil:
			text = "NULL"
		case col.List:
			text = string(v)
		default:
			text = string(col.Kind.AppendText(nil, v))
		}
	})
	return text
}

// masked returns the mask of a text as it is.
func masked(text string) string {
	p := mask.NewPersonal()
	p.SetText([]byte(text))
	sum, _ := mask.Unkeyed().Masker("").AppendText(nil, p)
	return string(sum)
}

// TestValues has every type and every option that converts, checks or changes a value.
func TestValues(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field, column string
		values        map[string]string // what each becomes, or the rejection
	}{
		{"type: integer", "smallint", map[string]string{
			`12`: "12", `-32768`: "-32768", `32767`: "32767", `-0`: "0", `null`: "NULL",
			`32768`: "out_of_range v: expected a number that smallint holds", `-32769`: "out_of_range v: expected a number that smallint holds",
			`1.0`:   "not_an_integer v: expected an integer, found a number with a fraction or an exponent",
			`1e3`:   "not_an_integer v: expected an integer, found a number with a fraction or an exponent",
			`"12"`:  "wrong_type v: expected a number, found a string",
			`[12]`:  "wrong_type v: expected a number, found an array",
			`false`: "wrong_type v: expected a number, found a boolean",
		}},
		{"type: integer, accept: [string]", "bigint", map[string]string{
			`"12"`: "12", `12`: "12", `"-9223372036854775808"`: "-9223372036854775808", `"-0"`: "0",
			`"9223372036854775808"`: "out_of_range v: expected a number that bigint holds",
			`"1.0"`:                 "not_an_integer v: expected an integer, found a number with a fraction or an exponent",
			`1.0`:                   "not_an_integer v: expected an integer, found a number with a fraction or an exponent",
			`""`:                    "not_a_number v: expected a number, found a string that is not one",
			`" "`:                   "not_a_number v: expected a number, found a string that is not one",
			`" 12"`:                 "not_a_number v: expected a number, found a string that is not one",
			`"+12"`:                 "not_a_number v: expected a number, found a string that is not one",
			`"012"`:                 "not_a_number v: expected a number, found a string that is not one",
			`"0x10"`:                "not_a_number v: expected a number, found a string that is not one",
			`"1_000"`:               "not_a_number v: expected a number, found a string that is not one",
			`"1,000"`:               "not_a_number v: expected a number, found a string that is not one",
			`"١٢"`:                  "not_a_number v: expected a number, found a string that is not one",
			`"null"`:                "not_a_number v: expected a number, found a string that is not one",
			`true`:                  "wrong_type v: expected a number or a string, found a boolean",
		}},
		{"type: integer, accept: [number]", "integer", map[string]string{
			`1.0`: "1", `1e3`: "1000", `1000e-3`: "1", `-1.50e1`: "-15", `0.0`: "0", `-0.0e5`: "0", `0e999999999999`: "0", `12`: "12", `2147483647.000`: "2147483647",
			`1.5`: "not_an_integer v: expected an integer, found a number with a fraction", `1e-1`: "not_an_integer v: expected an integer, found a number with a fraction", `0.1e-99999999999`: "not_an_integer v: expected an integer, found a number with a fraction", `-2147483648.5`: "not_an_integer v: expected an integer, found a number with a fraction",
			`1e10`: "out_of_range v: expected a number that integer holds", `1e99999999999999999999`: "out_of_range v: expected a number that integer holds",
			`2147483648.0`: "out_of_range v: expected a number that integer holds",
			`"1"`:          "wrong_type v: expected a number, found a string",
		}},
		{"type: integer, accept: [string, number]", "bigint", map[string]string{
			`"1.0"`: "1", `"1e3"`: "1000", `1e18`: "1000000000000000000", `-9223372036854775808.0`: "-9223372036854775808", `9223372036854775807.0`: "9223372036854775807",
			`9223372036854775808.0`: "out_of_range v: expected a number that bigint holds", `-9223372036854775809.0`: "out_of_range v: expected a number that bigint holds",
			`"1.5"`: "not_an_integer v: expected an integer, found a number with a fraction",
		}},
		{"type: integer, accept: [string], trim: true, strip: \",' \"", "integer", map[string]string{
			`" 1,000 "`: "1000", `"1'000"`: "1000", `"\u00a0 1 000 000\u3000"`: "1000000", `1000`: "1000", `",,"`: "not_a_number v: expected a number, found a string that is not one",
		}},
		{"type: integer, accept: [string], required: true", "integer", map[string]string{
			`""`: "missing v: expected a value, found a blank string", `" "`: "missing v: expected a value, found a blank string", `null`: "missing v: expected a value, found null at $.v", `"x"`: "not_a_number v: expected a number, found a string that is not one",
		}},
		{"type: numeric, accept: [string]", "numeric(4,2)", map[string]string{
			`"12.34"`: "12.34", `12.34`: "12.34", `"1e1"`: "1e1", `"-0.10"`: "-0.10", `"0"`: "0",
			`"12.345"`: "out_of_range v: expected a number with as many digits as numeric(4,2) has",
			`"123"`:    "out_of_range v: expected a number with as many digits as numeric(4,2) has",
			`".5"`:     "not_a_number v: expected a number, found a string that is not one",
			`"5."`:     "not_a_number v: expected a number, found a string that is not one",
			`"1e"`:     "not_a_number v: expected a number, found a string that is not one",
			`"NaN"`:    "not_a_number v: expected a number, found a string that is not one",
			`"--1"`:    "not_a_number v: expected a number, found a string that is not one",
		}},
		{"type: numeric", "numeric", map[string]string{
			`12345678901234567890.123456789`: "12345678901234567890.123456789",
			`1e1000`:                         "out_of_range v: expected a number with at most 1000 digits before and after the point",
		}},
		{"type: numeric", "double precision", map[string]string{
			`12.5`: "12.5", `0.1`: "0.1", `1e308`: "1e+308", `5e-324`: "5e-324", `0e-99999`: "0", `-0.0`: "-0", `0e99999999999`: "0",
			`1e309`: "out_of_range v: expected a number that double precision holds", `-1e309`: "out_of_range v: expected a number that double precision holds",
			`1e-400`: "out_of_range v: expected a number that double precision holds", `1e99999999999`: "out_of_range v: expected a number that double precision holds",
		}},
		{"type: numeric", "real", map[string]string{
			`12.5`: "12.5", `0.1`: "0.1", `3.4e38`: "3.4e+38", `1e-45`: "1e-45", `16777217`: "1.6777216e+07",
			`1e39`: "out_of_range v: expected a number that real holds", `1e-46`: "out_of_range v: expected a number that real holds",
		}},
		{"type: boolean, accept: [string]", "boolean", map[string]string{
			`true`: "true", `"true"`: "true", `"false"`: "false",
			`"True"`: "not_a_boolean v: expected true or false, found a string that is neither",
			`"1"`:    "not_a_boolean v: expected true or false, found a string that is neither",
			`""`:     "not_a_boolean v: expected true or false, found a string that is neither",
			`1`:      "wrong_type v: expected true or false or a string, found a number",
		}},
		{"type: boolean, accept: [string], case: lower", "boolean", map[string]string{`"TRUE"`: "true", `"False"`: "false"}},
		{"type: text, accept: [number]", "text", map[string]string{
			`12`: "12", `12.0`: "12.0", `1.2e1`: "1.2e1", `-0`: "-0", `"x"`: "x", `""`: "", `true`: "wrong_type v: expected a string or a number, found a boolean",
		}},
		{"type: text, accept: [number], personal: true", "varchar(64), masked: true", map[string]string{
			`12`: masked("12"), `"12"`: masked("12"), `-12`: masked("-12"), `12345678901234567890123`: masked("12345678901234567890123"), `""`: "NULL",
			`12.0`:  "not_an_integer v: expected an integer without fraction and exponent, because equal numbers must be equal texts",
			`1.2e1`: "not_an_integer v: expected an integer without fraction and exponent, because equal numbers must be equal texts",
			`12E0`:  "not_an_integer v: expected an integer without fraction and exponent, because equal numbers must be equal texts",
			`-0`:    "not_an_integer v: expected an integer without fraction and exponent, because equal numbers must be equal texts",
		}},
		{"type: text", "char(3)", map[string]string{`"EUR"`: "EUR", `"€€€"`: "€€€", `"EURO"`: "too_long v: expected at most 3 characters, which char(3) holds", `"abc   "`: "too_long v: expected at most 3 characters, which char(3) holds"}},
		{"type: text", "citext", map[string]string{`"Ann"`: "Ann"}},
		{"type: text, trim: true", "text", map[string]string{`" \u3000a b\u00a0\n"`: "a b", `" "`: "", `"a"`: "a"}},
		{"type: text, trim: true, required: true", "text", map[string]string{`" \u3000"`: "missing v: expected a value, found a blank string"}},
		{"type: text, case: lower", "text", map[string]string{`"ÄNN I\u0130"`: "änn ii", `"ΣΑΣ"`: "σασ", `"\u212a"`: "k"}},
		{"type: text, case: upper", "text", map[string]string{`"änn ß ı"`: "ÄNN ß I"}},
		{"type: text, strip: \" -\"", "text", map[string]string{`"+49 30-12 34"`: "+49301234", `"--"`: "", `"\u2010a-"`: "‐a"}},
		{"type: text, strip: \"é€\"", "text", map[string]string{`"aéb€c"`: "abc", `"e\u0301"`: "e\u0301"}},
		{"type: text, unicode: nfc", "text", map[string]string{`"e\u0301"`: "é", `"ﬁ"`: "ﬁ"}},
		{"type: text, unicode: nfkc", "text", map[string]string{`"ﬁ ｘ \u2460"`: "fi x 1"}},
		// In this order, and again as long as something changes.
		{"type: text, trim: true, case: lower, strip: \"-\", unicode: nfkc", "text", map[string]string{`" -A- "`: "a", `"- a"`: "a", `"\u2103"`: "°c", `"\u00a8x"`: "\u0308x"}},
		{"type: text, case: upper, strip: \"x\"", "text", map[string]string{`"axX"`: "AXX"}},
		{"type: text, trim: true, case: upper, one_of: [A, BC]", "text", map[string]string{`" a"`: "A", `"bC"`: "BC", `"b"`: `not_one_of v: expected one of "A", "BC"`}},
		{"type: text, personal: true, trim: true, case: lower, strip: \" \"", "varchar(64), masked: true", map[string]string{`" Ann Lee"`: masked("annlee"), `"annlee"`: masked("annlee"), `" "`: "NULL"}},
		{"type: text, personal: true, required: true, strip: \"-\"", "varchar(64), masked: true", map[string]string{`"--"`: "missing v: expected a value, found a blank string"}},
		{"type: text, personal: true", "char(64), masked: true", map[string]string{`" Ann"`: masked(" Ann")}},
		{"type: text, default: EUR", "char(3)", map[string]string{`null`: "EUR", `""`: "", `"USD"`: "USD"}},
		{"type: text, default: EUR, required: true", "char(3)", map[string]string{`null`: "EUR", `""`: "missing v: expected a value, found a blank string"}},
		{"type: text, default: \" eur\", trim: true, case: upper", "char(3)", map[string]string{`null`: "EUR"}},
		{"type: integer, default: 0, accept: [string]", "integer", map[string]string{`null`: "0", `""`: "not_a_number v: expected a number, found a string that is not one"}},

		{"type: integer, one_of: [1, 2, 100.0]", "integer", map[string]string{`1`: "1", `100`: "100", `3`: "not_one_of v: expected one of 1, 2, 100.0"}},
		{"type: integer, accept: [string, number], one_of: [1, -20]", "integer", map[string]string{`1.0`: "1", `"-2e1"`: "-20", `20`: "not_one_of v: expected one of 1, -20"}},
		{"type: numeric, one_of: [0.10, 2]", "numeric", map[string]string{`0.1`: "0.1", `2.00`: "2.00", `0.2`: "not_one_of v: expected one of 0.10, 2"}},
		{"type: text, accept: [number], one_of: ['1', a]", "text", map[string]string{`1`: "1", `"1"`: "1", `1.0`: `not_one_of v: expected one of "1", "a"`}},
		{`type: text, pattern: '[A-Z]{2}\d+'`, "text", map[string]string{
			`"AB12"`: "AB12", `"xAB12"`: `no_match v: expected a match for the pattern [A-Z]{2}\d+`, `"AB12\n"`: `no_match v: expected a match for the pattern [A-Z]{2}\d+`,
			`"AB12\nAB12"`: `no_match v: expected a match for the pattern [A-Z]{2}\d+`, `""`: `no_match v: expected a match for the pattern [A-Z]{2}\d+`, `null`: "NULL",
		}},
		{`type: text, pattern: 'a|b'`, "text", map[string]string{`"a"`: "a", `"b"`: "b", `"ab"`: "no_match v: expected a match for the pattern a|b", `"ax"`: "no_match v: expected a match for the pattern a|b"}},
		{`type: text, pattern: '(?i)ann'`, "text", map[string]string{`"ANN"`: "ANN"}},
		{`type: text, pattern: '.*'`, "text", map[string]string{`"` + strings.Repeat("a", 65537) + `"`: "too_long v: expected at most 65,536 bytes, which a pattern can be matched with"}},
		{`type: text, pattern: '\p{Lu}.', max_length: 2`, "text", map[string]string{`"Éé"`: "Éé", `"éé"`: `no_match v: expected a match for the pattern \p{Lu}.`, `"Ééé"`: "too_long v: expected at most 2 characters"}},
		{`type: email, personal: true, pattern: '.*@example\.com'`, "text, masked: true", map[string]string{`"a@example.com"`: masked("a@example.com"), `"a@b"`: `no_match v: expected a match for the pattern .*@example\.com`}},
		{"type: text, min_length: 2, max_length: 3", "text", map[string]string{
			`"éé"`: "éé", `"ééé"`: "ééé", `"é"`: "too_short v: expected 2 to 3 characters", `"éééé"`: "too_long v: expected 2 to 3 characters", `""`: "too_short v: expected 2 to 3 characters",
		}},
		{"type: text, max_length: 5", "varchar(3)", map[string]string{`"abcd"`: "too_long v: expected at most 3 characters, which varchar(3) holds", `"abcdef"`: "too_long v: expected at most 5 characters", `"abc"`: "abc"}},
		{"type: text, min_length: 3, trim: true", "text", map[string]string{`" ab "`: "too_short v: expected at least 3 characters", `" abc "`: "abc"}},
		{"type: integer, min: 1, max: 100", "integer", map[string]string{`1`: "1", `100`: "100", `0`: "out_of_range v: expected at least 1 and at most 100", `101`: "out_of_range v: expected at least 1 and at most 100", `-50`: "out_of_range v: expected at least 1 and at most 100"}},
		{"type: integer, max: 100", "smallint", map[string]string{`-40000`: "out_of_range v: expected a number that smallint holds", `40000`: "out_of_range v: expected at most 100"}},
		{"type: numeric, min: 0.1", "numeric", map[string]string{
			`0.1`: "0.1", `0.10`: "0.10", `1e-1`: "1e-1", `0.1000000000000000000000000000001`: "0.1000000000000000000000000000001",
			`0.0999999999999999999999999999999`: "out_of_range v: expected at least 0.1", `0`: "out_of_range v: expected at least 0.1", `-1`: "out_of_range v: expected at least 0.1",
		}},
		{"type: numeric, max: 9007199254740993, min: -9007199254740993", "numeric", map[string]string{
			`9007199254740993`: "9007199254740993", `-9007199254740993.0`: "-9007199254740993.0",
			`9007199254740994`:          "out_of_range v: expected at least -9007199254740993 and at most 9007199254740993",
			`-9007199254740993.5`:       "out_of_range v: expected at least -9007199254740993 and at most 9007199254740993",
			`9007199254740993.00000001`: "out_of_range v: expected at least -9007199254740993 and at most 9007199254740993",
		}},
		{"type: numeric, accept: [string], min: 0", "double precision", map[string]string{`"-0.0"`: "-0", `"-1e-300"`: "out_of_range v: expected at least 0", `1e99999999999`: "out_of_range v: expected a number that double precision holds"}},

		{"type: timestamp", "timestamp", map[string]string{`"2026-01-31T12:00:00+02:00"`: "2026-01-31T10:00:00.000000"}},
		{"type: timestamp, min: '2020-01-01T00:00:00Z', max: '2030-01-01T00:00:00+01:00'", "timestamptz", map[string]string{
			`"2020-01-01T00:00:00Z"`: "2020-01-01T00:00:00.000000Z", `"2029-12-31T23:00:00Z"`: "2029-12-31T23:00:00.000000Z",
			`"2019-12-31T23:59:59.999999Z"`: "out_of_range v: expected at least 2020-01-01T00:00:00Z and at most 2030-01-01T00:00:00+01:00",
			`"2029-12-31T23:00:00.000001Z"`: "out_of_range v: expected at least 2020-01-01T00:00:00Z and at most 2030-01-01T00:00:00+01:00",
		}},
		{"type: timestamp, format: unix", "timestamptz", map[string]string{
			`1767225600`: "2026-01-01T00:00:00.000000Z", `1767225600.25`: "2026-01-01T00:00:00.250000Z", `1.7672256e9`: "2026-01-01T00:00:00.000000Z", `0`: "1970-01-01T00:00:00.000000Z", `-0`: "1970-01-01T00:00:00.000000Z",
			`-1`: "1969-12-31T23:59:59.000000Z", `1767225600.1234567`: "2026-01-01T00:00:00.123456Z", `-0.0000001`: "1969-12-31T23:59:59.999999Z", `1e-400`: "1970-01-01T00:00:00.000000Z",
			`-62135596800`: "0001-01-01T00:00:00.000000Z", `253402300799.999999`: "9999-12-31T23:59:59.999999Z",
			`-62135596800.1`:         "not_a_timestamp v: expected seconds since 1970, in the years 1 to 9999",
			`253402300800`:           "not_a_timestamp v: expected seconds since 1970, in the years 1 to 9999",
			`1767225600000000`:       "not_a_timestamp v: expected seconds since 1970, in the years 1 to 9999",
			`1e99999999999`:          "not_a_timestamp v: expected seconds since 1970, in the years 1 to 9999",
			`"1767225600"`:           "wrong_type v: expected a number, found a string",
			`"2026-01-31T12:00:00Z"`: "wrong_type v: expected a number, found a string",
		}},
		{"type: timestamp, format: unix_ms, accept: [string], trim: true", "timestamp", map[string]string{
			`1767225600123`: "2026-01-01T00:00:00.123000", `" 1767225600123.4567"`: "2026-01-01T00:00:00.123456", `"1.767225600123e12"`: "2026-01-01T00:00:00.123000",
			`""`: "not_a_number v: expected a number, found a string that is not one",
		}},
		{"type: timestamp, format: unix_us", "timestamptz", map[string]string{`1767225600123456`: "2026-01-01T00:00:00.123456Z", `1767225600123456.9`: "2026-01-01T00:00:00.123456Z"}},
		{"type: timestamp, format: unix_ns", "timestamptz", map[string]string{
			`1767225600123456789`: "2026-01-01T00:00:00.123456Z", `-1`: "1969-12-31T23:59:59.999999Z", `-1001`: "1969-12-31T23:59:59.999998Z", `-1000`: "1969-12-31T23:59:59.999999Z",
			`99999999999999999999`: "5138-11-16T09:46:39.999999Z",
		}},
		{"type: timestamp, format: unix_ms, min: '2020-01-01T00:00:00Z'", "timestamptz", map[string]string{
			`1767225600`: "out_of_range v: expected at least 2020-01-01T00:00:00Z", `1767225600000`: "2026-01-01T00:00:00.000000Z",
		}},
		{"type: date, format: iso8601", "date", map[string]string{`"20260131"`: "2026-01-31", `"2026-01-31"`: "2026-01-31", `"2026-0131"`: "not_a_date v", `"202601-31"`: "not_a_date v", `"20260230"`: "not_a_date v", `"2026W055"`: "not_a_date v", `"2026031"`: "not_a_date v"}},
		{"type: date, min: '2020-01-01', max: '2020-12-31'", "date", map[string]string{`"2020-01-01"`: "2020-01-01", `"2019-12-31"`: "out_of_range v: expected at least 2020-01-01 and at most 2020-12-31", `"20200101"`: "not_a_date v"}},
		{"type: time", "time", map[string]string{
			`"12:34:56.789"`: "12:34:56.789000", `"12:34"`: "12:34:00.000000", `"00:00:00"`: "00:00:00.000000", `"23:59:59.9999999"`: "23:59:59.999999",
			`"24:00:00"`: "not_a_time v", `"23:59:60"`: "not_a_time v", `"12:60"`: "not_a_time v", `"1:00"`: "not_a_time v", `"12:34:56Z"`: "not_a_time v", `"12:34:56+01:00"`: "not_a_time v",
			`"12:34:"`: "not_a_time v", `"12:34:5"`: "not_a_time v", `"12:34:56."`: "not_a_time v", `"12:34:56,5"`: "not_a_time v", `"123456"`: "not_a_time v", `"12:3456"`: "not_a_time v", `"now"`: "not_a_time v", `""`: "not_a_time v",
			`" 12:34"`: "not_a_time v", `"-1:00"`: "not_a_time v",
		}},
		{"type: time, min: '08:00', max: '18:30:00', trim: true", "time", map[string]string{`" 08:00"`: "08:00:00.000000", `"18:30:00.000001"`: "out_of_range v: expected at least 08:00 and at most 18:30:00"}},
		{"type: interval", "interval", map[string]string{
			`"P1DT2H"`: "P1DT2H", `"P1Y2M3W4DT5H6M7.089S"`: "P1Y2M25DT5H6M7.089S", `"PT0.5S"`: "PT0.5S", `"PT0,5S"`: "PT0.5S", `"P14M"`: "P1Y2M", `"PT36H"`: "PT36H", `"PT90M"`: "PT1H30M",
			`"PT0S"`: "PT0S", `"P0D"`: "PT0S", `"-P1D"`: "P-1D", `"PT-6H-3M"`: "PT-6H-3M", `"-PT-1.5S"`: "PT1.5S", `"PT-0.5S"`: "PT-0.5S", `"-PT61.5S"`: "PT-1M-1.5S", `"P1DT-1H"`: "P1DT-1H",
			`"PT1.1234567S"`: "PT1.123456S", `"PT0.0000001S"`: "PT0S", `"P10000Y"`: "P10000Y", `"PT1M0.05S"`: "PT1M0.05S",
			`"P10001Y"`:                        "out_of_range v: expected at most 10,000 years",
			`"P9999999999999999999999999999Y"`: "out_of_range v: expected at most 10,000 years",
			`"PT99999999999999999999S"`:        "out_of_range v: expected at most 10,000 years",
			`"P9999999D"`:                      "out_of_range v: expected at most 10,000 years",
			`"P9999Y13M"`:                      "out_of_range v: expected at most 10,000 years",
			`"P"`:                              notInterval, `"PT"`: notInterval, `"P1DT"`: notInterval, `"1D"`: notInterval, `""`: notInterval, `"P1.5D"`: notInterval, `"PT0.5H"`: notInterval, `"P1M1Y"`: notInterval, `"P1D1D"`: notInterval,
			`"P1H"`: notInterval, `"PT1D"`: notInterval, `"PT1HT1M"`: notInterval, `"p1d"`: notInterval, `"P1"`: notInterval, `"PT1.S"`: notInterval, `"PT.5S"`: notInterval, `"P-"`: notInterval, `"1 day"`: notInterval, `"P1D "`: notInterval,
			`"+P1D"`: notInterval, `"--P1D"`: notInterval, `"P0001-01-01T00:00:00"`: notInterval, `"@ 1 hour"`: notInterval,
		}},
		{"type: uuid, format: simple", "uuid", map[string]string{
			`"6f1c2f0e3f434d0e9f5a3c9b6a1d2e01"`: "6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01", `"6F1C2F0E3F434D0E9F5A3C9B6A1D2E01"`: "6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01",
			`"6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01"`: "not_a_uuid v: expected 32 characters, digits in base 16", `"6f1c2f0e3f434d0e9f5a3c9b6a1d2e0g"`: "not_a_uuid v: expected 32 characters, digits in base 16",
		}},
		{"type: uuid, format: simple, strip: \"-{}\"", "uuid", map[string]string{`"{6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01}"`: "6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01"}},
		{"type: uuid", "uuid", map[string]string{`"6f1c2f0e3f434d0e9f5a3c9b6a1d2e01"`: "not_a_uuid v: expected 36 characters, with dashes"}},
		{"type: base64", "bytea", map[string]string{
			`"aGk="`: `\x6869`, `""`: `\x`, `"//79"`: `\xfffefd`, `"AA=="`: `\x00`,
			`"aGk"`: notBase64, `"aGk=="`: notBase64, `"_w=="`: notBase64, `"aGk=\n"`: notBase64, `"aG\nk="`: notBase64, `"aGl="`: notBase64, `" aGk="`: notBase64, `"a"`: notBase64, `"aGk=aGk="`: notBase64,
		}},
		{"type: base64, trim: true, strip: \"\\n\"", "bytea", map[string]string{`"aG\nk=\n"`: `\x6869`}},
		{"type: ip, personal: false", "inet", map[string]string{
			`"203.0.113.7"`: "203.0.113.7", `"::FFFF:203.0.113.7"`: "203.0.113.7", `" 2001:DB8:0::1 "`: "2001:db8::1", `"10.0.0.0/8"`: "not_an_ip_address v", `""`: "not_an_ip_address v", `"fe80::1%eth0"`: "not_an_ip_address v",
		}},
		{"type: ip, personal: false, required: true", "cidr", map[string]string{`"203.0.113.7"`: "203.0.113.7", `" "`: "missing v: expected a value, found a blank string"}},
		{"type: ip, personal: false", "varchar(8)", map[string]string{`"1.2.3.4"`: "1.2.3.4", `"203.0.113.7"`: "too_long v: expected at most 8 characters, which varchar(8) holds"}},
		{"type: email, personal: false", "citext", map[string]string{
			`"Ann@Example.com"`: "Ann@Example.com", `" Ann@Example.com"`: "not_an_email_address v", `"ann@"`: "not_an_email_address v", `""`: "not_an_email_address v", `"ann@bücher.example."`: "ann@bücher.example.",
		}},
		{"type: email, personal: false, trim: true, case: lower", "text", map[string]string{`" Ann@Example.com "`: "ann@example.com"}},
		{"type: email, personal: false, idna: true", "varchar(32)", map[string]string{`"Ann@Bücher.example."`: "ann@xn--bcher-kva.example", `"ann@bü_cher.example"`: "not_an_email_address v"}},
		{"type: email, personal: true, idna: true", "varchar(64), masked: true", map[string]string{
			`"Ann@Bücher.example."`: masked("ann@xn--bcher-kva.example"), `" ann@bu\u0308cher.example "`: masked("ann@xn--bcher-kva.example"), `"ann@xn--bcher-kva.example"`: masked("ann@xn--bcher-kva.example"), `"ann@bücher..x"`: "not_an_email_address v",
		}},
		// The checks see the canonical form.
		{`type: email, personal: true, idna: true, max_length: 18, pattern: '.*@xn--bcher-kva\.de'`, "varchar(64), masked: true", map[string]string{
			`"Ann@Bücher.de"`: "too_long v: expected at most 18 characters", `"A@bücher.de."`: masked("a@xn--bcher-kva.de"), `" a@BÜCHER.DE"`: masked("a@xn--bcher-kva.de"), `"a@bücher.com"`: "too_long v: expected at most 18 characters",
			`"a@bücher"`: `no_match v: expected a match for the pattern .*@xn--bcher-kva\.de`, `"a@bü_cher.de"`: `no_match v: expected a match for the pattern .*@xn--bcher-kva\.de`,
		}},
		{"type: email, personal: false, idna: true, one_of: [a@xn--bcher-kva.de], default: A@Bücher.de.", "text", map[string]string{
			`null`: "a@xn--bcher-kva.de", `"a@bücher.de"`: "a@xn--bcher-kva.de", `"A@XN--BCHER-KVA.DE"`: "a@xn--bcher-kva.de", `"b@bücher.de"`: `not_one_of v: expected one of "a@xn--bcher-kva.de"`,
		}},
		{"type: email, personal: false, idna: true, max_length: 5", "text", map[string]string{`"a@b.c."`: "a@b.c", `" a@b.c"`: "a@b.c", `"a@bü_"`: "not_an_email_address v"}},
		{"type: text, case: lower, unicode: nfc", "text", map[string]string{`"\u0130nan"`: "inan", `"I\u0307nan"`: "inan", `"i\u0307"`: "i\u0307"}},
		{"type: text, case: upper, unicode: nfc", "text", map[string]string{`"\u01f0"`: "\u01f0", `"j\u030c"`: "\u01f0"}},
		{"type: text, strip: \"\u0301\", unicode: nfc", "text", map[string]string{`"\u00e9"`: "\u00e9", `"e\u0301"`: "\u00e9", `"q\u0301"`: "q"}},
		{"type: email, personal: true, idna: true, unicode: nfkc", "varchar(64), masked: true", map[string]string{`"ａｎｎ＠ｂüｃｈｅｒ．ｅｘａｍｐｌｅ"`: masked("ann@xn--bcher-kva.example")}},
		{"type: email, personal: true", "text, masked: true", map[string]string{`"ann@bücher.example"`: masked("ann@bücher.example"), `" "`: "NULL"}},
		{"type: version, case: lower, max_length: 5", "text", map[string]string{`"1-RC"`: "1-rc", `"1.2.3-x"`: "too_long v: expected at most 5 characters"}},

		{"type: text, list: true", "text[]", map[string]string{
			`["a", null ,"b\"\\c", "" ]`: `{"a",NULL,"b\"\\c",""}`, `[]`: "{}", ` [ ] `: "{}", `null`: "NULL",
			`"a"`: "wrong_type v: expected an array, found a string", `{"a":1}`: "wrong_type v: expected an array, found an object",
			`["a",1]`:        "wrong_type v: expected only elements that are a string, found a number",
			`[["a"]]`:        "wrong_type v: expected only elements that are a string, found an array",
			`["a\u0000"]`:    "nul_character v",
			`["a","b",true]`: "wrong_type v: expected only elements that are a string, found a boolean",
		}},
		{"type: text, list: true, required: true, trim: true, max_length: 2", "varchar(2)[]", map[string]string{`[" a ",""]`: `{"a",""}`, `["abc"]`: "too_long v: expected at most 2 characters", `null`: "missing v: expected a value, found null at $.v", `[]`: "{}"}},
		{"type: text, list: true", "varchar(2)[]", map[string]string{`["ab","abc"]`: "too_long v: expected at most 2 characters, which varchar(2)[] holds"}},
		{"type: integer, list: true, accept: [string, number], max: 10", "smallint[]", map[string]string{`[1,"2",3.0]`: "{1,2,3}", `[11]`: "out_of_range v: expected at most 10", `["x"]`: "not_a_number v: expected a number, found a string that is not one"}},
		{"type: integer, list: true, required: true, accept: [string]", "bigint[]", map[string]string{`["1"]`: "{1}", `[""]`: "not_a_number v: expected a number, found a string that is not one", `[" "]`: "not_a_number v: expected a number, found a string that is not one"}},
		{"type: timestamp, list: true, format: unix", "timestamptz[]", map[string]string{`[0,1.5]`: `{"1970-01-01T00:00:00.000000Z","1970-01-01T00:00:01.500000Z"}`}},
		{"type: uuid, list: true", "uuid[]", map[string]string{`["6F1C2F0E-3F43-4D0E-9F5A-3C9B6A1D2E01"]`: `{"6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01"}`}},
		{"type: interval, list: true", "interval[]", map[string]string{`["P1D","PT1S"]`: `{"P1D","PT1S"}`}},
		{"type: numeric, list: true", "double precision[]", map[string]string{`[0.5,-1e300]`: "{0.5,-1e+300}"}},
		{"type: base64, list: true", "bytea[]", map[string]string{`["aGk="]`: `{"\\x6869"}`}},
		{"type: ip, personal: false, list: true", "inet[]", map[string]string{`["::1","1.1.1.1"]`: `{"::1","1.1.1.1"}`}},
	} {
		m := one(t, tt.field, tt.column, "")
		for value, want := range tt.values {
			if got := put(t, m, value); got != want {
				t.Errorf("%s -> %s: %.60s\n got %.200s\nwant %.200s", tt.field, tt.column, value, got, want)
			}
		}
	}
}

const (
	notInterval = "not_an_interval v: expected a duration such as P1Y2M10DT2H30M or PT0.5S, with a fraction of seconds only"
	notBase64   = "not_base64 v: expected base64 in the standard alphabet, with padding and without line breaks"
)

// TestElements: a list has a limited number of elements, and a rejected one spoils no other column.
func TestElements(t *testing.T) {
	t.Parallel()
	m := one(t, "type: integer, list: true", "bigint[]", "")
	list := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat("7,", n), ",") + "]" }
	if got := put(t, m, list(10_000)); strings.Count(got, "7") != 10_000 {
		t.Errorf("10,000 elements: got %.60s", got)
	}
	if got, want := put(t, m, list(10_001)), "too_many_elements v: expected at most 10,000 elements"; got != want {
		t.Errorf("got %.60s, want %s", got, want)
	}
	m, err := model.Parse("m.yaml", []byte(`model: m
table: t
key: [message_id]
fields:
  a: {type: date}
  b: {type: uuid, list: true}
  c: {type: text, list: true}
  d: {type: ip, personal: true}
columns:
  a: {type: date, from: a}
  b: {type: "uuid[]", from: b}
  c: {type: "text[]", from: c}
  d: {type: text, from: d, masked: true}
  message_id: {type: uuid, meta: message_id}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := batch.New(m.Table)
	r := m.Reader(mask.Unkeyed())
	msg := func(body string) *message.Message {
		return &message.Message{ID: "x", Body: []byte(body), HasBody: true, HasSent: true}
	}
	v := r.Append(b, 0, 0, msg(`{"a":"x","b":["6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01","x"],"c":["a",1],"d":"x"}`))
	var reasons []string
	for _, p := range append([]message.Rejection{v.Rejection}, v.Rejection.More...) {
		reasons = append(reasons, string(p.Reason)+" "+p.Field)
	}
	if got, want := strings.Join(reasons, ", "), "not_a_date a, not_a_uuid b, wrong_type c, not_an_ip_address d"; got != want || b.Len() != 0 {
		t.Errorf("got %s and %d rows, want %s", got, b.Len(), want)
	}
	if v := r.Append(b, 0, 0, msg(`{"a":"2026-01-31","b":[],"c":["a"],"d":"::1"}`)); !v.IsZero() || b.Len() != 1 {
		t.Errorf("the next body: %v", v)
	}
}

// TestISO8601 has the forms of format: iso8601.
func TestISO8601(t *testing.T) {
	t.Parallel()
	const anyForm = "not_a_timestamp v: expected a time such as 2026-01-31 12:00:00 or 20260131T120000+0100, in the years 1 to 9999"
	for _, tt := range []struct {
		field  string
		values map[string]string
	}{
		{"type: timestamp, format: iso8601", map[string]string{
			"2026-01-31T12:00:00Z": "2026-01-31T12:00:00.000000Z", "2026-01-31t12:00:00z": "2026-01-31T12:00:00.000000Z", "2026-01-31 12:00:00.5+0130": "2026-01-31T10:30:00.500000Z",
			"20260131T120000Z": "2026-01-31T12:00:00.000000Z", "20260131120000+02": "2026-01-31T10:00:00.000000Z", "20260131T1200-08:00": "2026-01-31T20:00:00.000000Z", "2026-01-31T12:00Z": "2026-01-31T12:00:00.000000Z",
			"2026-01-31T12:00:00,1234567Z": "2026-01-31T12:00:00.123456Z", "20260131T12:00:00-00:00": "2026-01-31T12:00:00.000000Z", "2016-12-31T23:59:60Z": "2017-01-01T00:00:00.000000Z", "20161231 155960.5-0800": "2017-01-01T00:00:00.500000Z",
			"0001-01-01T00:00:00Z": "0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z": "9999-12-31T23:59:59.999999Z", "2024-02-29T00:00Z": "2024-02-29T00:00:00.000000Z",
			"2026-01-31T12:00:00": "not_a_timestamp v: expected a time with a zone, or zone in the model, as in zone: Europe/Berlin",
			"0001-01-01T00:00+01": anyForm, "9999-12-31T23:59-01": anyForm, "9999-12-31T23:59:60Z": anyForm,
			"2026-01-31": anyForm, "2026-01-3112:00Z": anyForm, "2026-01-31TT12:00Z": anyForm, "2026-02-29T12:00Z": anyForm, "2026-00-10T12:00Z": anyForm, "2026-01-00T12:00Z": anyForm, "2026-13-01T12:00Z": anyForm, "0000-01-01T12:00Z": anyForm,
			"2026-01-31T24:00Z": anyForm, "2026-01-31T12:60Z": anyForm, "2026-01-31T12:00:61Z": anyForm, "2026-01-31T12:00:60Z": anyForm, "2026-01-31T12Z": anyForm, "2026-01-31T12:00:00.Z": anyForm, "2026-01-31T12:00:0Z": anyForm, "2026-01-31T12:0000Z": anyForm,
			"2026-01-31T12:00:00 Z": anyForm, "2026-01-31T12:00:00+1": anyForm, "2026-01-31T12:00:00+24": anyForm, "2026-01-31T12:00:00+01:60": anyForm, "2026-01-31T12:00:00+01:": anyForm, "2026-01-31T12:00:00+01000": anyForm, "2026-01-31T12:00:00 UTC": anyForm,
			"2026-01-31T12:00:00ZZ": anyForm, " 2026-01-31T12:00Z": anyForm, "+2026-01-31T12:00Z": anyForm, "12026-01-31T12:00Z": anyForm, "2026-W05-6T12:00Z": anyForm, "2026-031T12:00Z": anyForm, "now": anyForm, "": anyForm, "2026": anyForm,
		}},
		{"type: timestamp, format: iso8601, zone: Europe/Berlin", map[string]string{
			"2026-01-31 12:00:00": "2026-01-31T11:00:00.000000Z", "20260731120000": "2026-07-31T10:00:00.000000Z", "2026-07-31T12:00Z": "2026-07-31T12:00:00.000000Z", "2026-07-31T12:00+05": "2026-07-31T07:00:00.000000Z",
			"2026-03-29T01:59:59.999999": "2026-03-29T00:59:59.999999Z", "2026-03-29T03:00:00": "2026-03-29T01:00:00.000000Z", "2026-10-25T01:59:59": "2026-10-24T23:59:59.000000Z", "2026-10-25T03:00:00": "2026-10-25T02:00:00.000000Z",
			"2017-01-01T00:59:60": "2017-01-01T00:00:00.000000Z",
			"2026-03-29T02:00:00": "not_a_timestamp v: expected a time that occurs in Europe/Berlin, where the clocks skip this one",
			"2026-03-29 02:59:59": "not_a_timestamp v: expected a time that occurs in Europe/Berlin, where the clocks skip this one",
			"2026-10-25T02:00:00": "not_a_timestamp v: expected a time that occurs once in Europe/Berlin, where the clocks show this one twice",
			"20261025T025959.9":   "not_a_timestamp v: expected a time that occurs once in Europe/Berlin, where the clocks show this one twice",
			"2026-10-25T02:30+02": "2026-10-25T00:30:00.000000Z", "2026-10-25T02:30+01": "2026-10-25T01:30:00.000000Z",
		}},
		{"type: timestamp, format: iso8601, zone: UTC", map[string]string{"2026-10-25T02:30": "2026-10-25T02:30:00.000000Z"}},
		{"type: timestamp, format: iso8601, zone: Australia/Lord_Howe", map[string]string{ // half an hour
			"2026-04-05T01:29:59": "2026-04-04T14:29:59.000000Z", "2026-04-05T01:30": "not_a_timestamp v: expected a time that occurs once in Australia/Lord_Howe, where the clocks show this one twice",
			"2026-04-05T02:00": "2026-04-04T15:30:00.000000Z", "2026-10-04T02:15": "not_a_timestamp v: expected a time that occurs in Australia/Lord_Howe, where the clocks skip this one", "2026-10-04T02:30": "2026-10-03T15:30:00.000000Z",
		}},
		{"type: timestamp, format: iso8601, zone: Pacific/Apia", map[string]string{ // a day
			"2011-12-30T12:00": "not_a_timestamp v: expected a time that occurs in Pacific/Apia, where the clocks skip this one", "2011-12-31T00:00": "2011-12-30T10:00:00.000000Z", "2011-12-29T23:59": "2011-12-30T09:59:00.000000Z",
		}},
	} {
		m := one(t, tt.field, "timestamptz", "")
		for value, want := range tt.values {
			if got := put(t, m, `"`+value+`"`); got != want {
				t.Errorf("%s: %q\n got %s\nwant %s", tt.field, value, got, want)
			}
		}
	}
}

// TestLocalTimes has two years in steps of half an hour around the changes of clocks, and single times
// between them: a local time is accepted exactly if one instant shows it.
func TestLocalTimes(t *testing.T) {
	t.Parallel()
	const step, day = 30 * time.Minute, 24 * time.Hour
	for name, changes := range map[string]int{"Europe/Berlin": 4, "America/New_York": 4, "Australia/Lord_Howe": 4, "Africa/Casablanca": 4, "Asia/Tokyo": 0} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		m := one(t, "type: timestamp, format: iso8601, zone: "+name, "timestamptz", "")
		r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
		check := func(begin, end time.Time) {
			shown := map[time.Time][]time.Time{} // the instants at which the clocks show a time, as if it were in UTC
			for at := begin.Add(-15 * time.Hour); at.Before(end.Add(15 * time.Hour)); at = at.Add(step) {
				_, offset := at.In(zone).Zone()
				local := at.Add(time.Duration(offset) * time.Second)
				shown[local] = append(shown[local], at)
			}
			for at := begin; at.Before(end); at = at.Add(step) {
				local := at.Format("2006-01-02T15:04:05")
				b.Reset()
				v := r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(`{"v":"` + local + `"}`), HasBody: true, HasSent: true})
				if want := len(shown[at]) == 1; v.IsZero() != want {
					t.Errorf("%s: %s is shown %d times: %v", name, local, len(shown[at]), v)
				} else if want {
					b.Row(0, func(c int, v []byte) {
						if c == 0 && !batch.Time(batch.Timestamp, v).Equal(shown[at][0]) {
							t.Errorf("%s: %s became %v, want %v", name, local, batch.Time(batch.Timestamp, v), shown[at][0])
						}
					})
				}
			}
		}
		found := 0
		end := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
		for at := end.AddDate(-2, 0, 0); at.Before(end); at = at.Add(10*day + 7*time.Hour) {
			check(at, at.Add(step))
			if _, change := at.In(zone).ZoneBounds(); !change.IsZero() && change.Before(at.Add(10*day+7*time.Hour)) {
				found++
				change = change.UTC().Truncate(day)
				check(change.Add(-day/2), change.Add(3*day/2))
			}
		}
		if found != changes {
			t.Errorf("%s: %d changes of clocks, want %d", name, found, changes)
		}
	}
}

// TestNumbersInKeys: a text that accepts numbers and is in the key takes them in one form only.
func TestNumbersInKeys(t *testing.T) {
	t.Parallel()
	m := one(t, "type: text, accept: [number], required: true", "text", "key: [c]")
	for value, want := range map[string]string{`12`: "12", `"12.0"`: "12.0", `12.0`: "not_an_integer", `1e1`: "not_an_integer", `-0`: "not_an_integer"} {
		if got, _, _ := strings.Cut(put(t, m, value), " "); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

// TestTimesInKeys: what a column would cut is rejected in a key, where two values would become one.
func TestTimesInKeys(t *testing.T) {
	t.Parallel()
	const tooFine = "expected nothing finer than microseconds, because the column is in the key"
	for _, tt := range []struct {
		field, column string
		values        map[string]string
	}{
		{"type: timestamp", "timestamptz", map[string]string{
			`"2026-01-31T12:00:00.123456Z"`: "2026-01-31T12:00:00.123456Z", `"2026-01-31T12:00:00.123456000+00:00"`: "2026-01-31T12:00:00.123456Z", `"2026-01-31T12:00:00Z"`: "2026-01-31T12:00:00.000000Z",
			`"2026-01-31T12:00:00.1234567Z"`: "not_a_timestamp v: " + tooFine, `"2026-01-31T12:00:00.123456001Z"`: "not_a_timestamp v: " + tooFine, `"2026-01-31T12:00:00.0000000000001Z"`: "not_a_timestamp v: " + tooFine,
		}},
		{"type: timestamp, format: iso8601", "timestamp", map[string]string{`"20260131 120000,123456Z"`: "2026-01-31T12:00:00.123456", `"20260131 120000,1234560Z"`: "2026-01-31T12:00:00.123456", `"20260131 120000,1234561Z"`: "not_a_timestamp v: " + tooFine}},
		{"type: timestamp, format: unix", "timestamptz", map[string]string{`1.000001`: "1970-01-01T00:00:01.000001Z", `1.0000010`: "1970-01-01T00:00:01.000001Z", `1.0000001`: "not_a_timestamp v: " + tooFine, `1e-7`: "not_a_timestamp v: " + tooFine, `0e-9`: "1970-01-01T00:00:00.000000Z"}},
		{"type: timestamp, format: unix_us", "timestamptz", map[string]string{`1`: "1970-01-01T00:00:00.000001Z", `1.5`: "not_a_timestamp v: " + tooFine}},
		{"type: timestamp, format: unix_ns, accept: [string]", "timestamptz", map[string]string{`1000`: "1970-01-01T00:00:00.000001Z", `1001`: "not_a_timestamp v: " + tooFine, `-1`: "not_a_timestamp v: " + tooFine, `"999"`: "not_a_timestamp v: " + tooFine}},
		{"type: time", "time", map[string]string{`"12:34:56.7890120"`: "12:34:56.789012", `"12:34"`: "12:34:00.000000", `"12:34:56.7890121"`: "not_a_time v: " + tooFine}},
	} {
		m := one(t, tt.field+", required: true", tt.column, "key: [c]")
		for value, want := range tt.values {
			if got := put(t, m, value); got != want {
				t.Errorf("%s: %s: got %s, want %s", tt.field, value, got, want)
			}
		}
	}
}

// TestTextInKeys: a column with as: text is in a key only if each value has one text.
func TestTextInKeys(t *testing.T) {
	t.Parallel()
	for field, use := range map[string]string{
		"text": "", "uuid": "", "integer": "", "date": "", "boolean": "", "timestamp": "", "time": "", "version": "",
		"numeric": "a column of type numeric", "interval": "another column", "base64": "a column of type bytea", "json": "another column",
	} {
		_, err := model.Parse("m.yaml", []byte("model: m\ntable: t\nkey: [c]\nfields:\n  v: {type: "+field+", required: true}\ncolumns:\n  c: {type: mood, as: text, from: v}\n"))
		got := fmt.Sprint(err)
		want := "<nil>"
		if use != "" {
			want = "m.yaml:3: key column c is as: text, which would compare the text of a value of type " + field + ", not the value; use " + use
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", field, got, want)
		}
	}
}

// TestAsText: a column whose type reads text gets every type's text.
func TestAsText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ field, value, want string }{
		{"type: text", `"happy"`, "happy"},
		{"type: integer", `-12`, "-12"},
		{"type: integer, accept: [number]", `1e3`, "1000"},
		{"type: integer", `9223372036854775808`, "out_of_range v: expected a number that \"mood\" holds"},
		{"type: numeric", `1.50`, "1.50"},
		{"type: boolean", `true`, "true"},
		{"type: timestamp, format: unix", `1.5`, "1970-01-01T00:00:01.500000Z"},
		{"type: date", `"2026-01-31"`, "2026-01-31"},
		{"type: time", `"12:34"`, "12:34:00.000000"},
		{"type: interval", `"P1D"`, "P1D"},
		{"type: uuid", `"6F1C2F0E-3F43-4D0E-9F5A-3C9B6A1D2E01"`, "6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01"},
		{"type: base64", `"aGk="`, `\x6869`},
		{"type: json", `{"a": 1}`, `{"a": 1}`},
		{"type: ip, personal: false", `"::0:1"`, "::1"},
	} {
		m, err := model.Parse("m.yaml", []byte("model: m\ntable: t\nkey: [message_id]\nfields:\n  v: {"+tt.field+"}\ncolumns:\n  c: {type: mood, as: text, from: v}\n  message_id: {type: uuid, meta: message_id}\n"))
		if err != nil {
			t.Errorf("%s: %v", tt.field, err)
			continue
		}
		if got := put(t, m, tt.value); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.field, got, tt.want)
		}
	}
}
