package model_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// TestOptionsThatDoNotLoad: the error names the line, the field, and what to write.
func TestOptionsThatDoNotLoad(t *testing.T) {
	t.Parallel()
	long := strings.TrimSuffix(strings.Repeat("'x', ", 1001), ", ")
	for _, tt := range []struct{ field, column, want string }{
		{"type: numeric, accept: [number]", "numeric", "field v: accept: numeric takes a number; accept can add string"},
		{"type: text, accept: [string]", "text", "field v: accept: text takes a string; accept can add number"},
		{"type: integer, accept: [boolean]", "integer", "field v: accept: integer takes a number; accept can add string and number"},
		{"type: integer, accept: [string, string]", "integer", "field v: accept names string twice"},
		{"type: integer, accept: []", "integer", "field v: accept is an empty list"},
		{"type: date, accept: [string]", "date", "field v of type date has no setting accept; there are"},
		{"type: timestamp, accept: [string]", "timestamptz", "field v: accept: a timestamp without a format of unix is a string anyway; remove accept, or add a format, as in format: unix"},
		{"type: timestamp, format: iso8601, accept: [string]", "timestamptz", "field v: accept: a timestamp without a format of unix"},
		{"type: timestamp, format: rfc3339", "timestamptz", `field v: format: "rfc3339" is not one of timestamp; use unix, unix_ms, unix_us, unix_ns or iso8601`},
		{"type: uuid, format: iso8601", "uuid", `field v: format: "iso8601" is not one of uuid; use simple`},
		{"type: text, format: unix", "text", "field v of type text has no setting format; there are"},
		{"type: timestamp, zone: Europe/Berlin", "timestamptz", "field v: zone is for format: iso8601; other times have a zone, or are in UTC"},
		{"type: timestamp, format: unix, zone: UTC", "timestamptz", "field v: zone is for format: iso8601"},
		{"type: timestamp, format: iso8601, zone: Local", "timestamptz", `field v: zone: "Local" is not the name of a time zone; write one such as Europe/Berlin or UTC`},
		{"type: timestamp, format: iso8601, zone: ''", "timestamptz", "field v: zone is empty"},
		{"type: timestamp, format: iso8601, zone: Europe/Bonn", "timestamptz", `field v: zone: "Europe/Bonn" is not`},
		{"type: timestamp, format: iso8601, zone: ../etc/passwd", "timestamptz", `field v: zone: "../etc/passwd" is not`},
		{"type: text, case: Lower", "text", `field v: case: "Lower" is not valid; use lower or upper`},
		{"type: text, case: ''", "text", "field v: case is empty"},
		{"type: text, unicode: nfd", "text", `field v: unicode: "nfd" is not valid; use nfc or nfkc`},
		{"type: text, strip: ''", "text", "field v: strip is empty"},
		{"type: integer, trim: true", "integer", "field v: trim, case, strip and unicode are for strings, and the field reads a number; add accept: [string], or remove them"},
		{"type: timestamp, format: unix, strip: ' '", "timestamptz", "field v: trim, case, strip and unicode are for strings, and the field reads a number"},
		{"type: json, trim: true", "json", "field v of type json has no setting trim; there are"},
		{"type: text, idna: true", "text", "field v of type text has no setting idna; there are"},
		{"type: text, one_of: []", "text", "field v: one_of is an empty list"},
		{"type: text, one_of: [" + long + "]", "text", "field v: one_of lists 1 to 1000 values"},
		{"type: text, one_of: [a, 1]", "text", `field v: one_of: 1 must be a string, as in one_of: ["new", "paid"]`},
		{"type: text, one_of: [a, true]", "text", "field v: one_of: true must be a string"},
		{"type: integer, one_of: ['1']", "integer", `field v: one_of: "1" must be a number, as in one_of: [1, 2]`},
		{"type: text, one_of: [a, b, a]", "text", `field v: one_of names "a" twice`},
		{"type: numeric, one_of: [1.0, 1]", "numeric", "field v: one_of names 1 twice"},
		{"type: text, case: lower, one_of: [a, B]", "text", `field v: one_of: no value is "B", because trim, case, strip, unicode or idna change it; write "b"`},
		{"type: email, personal: false, idna: true, one_of: [a@bücher.de]", "text", `field v: one_of: no value is "a@bücher.de", because trim, case, strip, unicode or idna change it; write "a@xn--bcher-kva.de"`},
		{"type: email, personal: false, idna: true, case: upper", "text", "field v: idna writes an address in lower case, and its domain with ASCII letters, digits and -; remove case: upper, and these characters and _ from strip"},
		{"type: email, personal: true, idna: true, strip: ' -'", "text, masked: true", "field v: idna writes an address in lower case"},
		{"type: email, personal: false, idna: true, one_of: [a@xn--bcher-kva.de], default: b@bücher.de", "text", `column c of type text cannot hold the default of field v: not_one_of: expected one of "a@xn--bcher-kva.de"`},
		{"type: uuid, one_of: [a]", "uuid", "field v of type uuid has no setting one_of; there are"},
		{"type: text, pattern: ''", "text", "field v: pattern is empty"},
		{"type: text, pattern: '(a'", "text", "field v: pattern: error parsing regexp: missing closing ): `(a`"},
		{"type: text, pattern: 'a)(b'", "text", "field v: pattern: error parsing regexp: unexpected ): `a)(b`"},
		{"type: text, pattern: 'a(?=b)'", "text", "field v: pattern: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
		{"type: text, pattern: '(a)\\1'", "text", "field v: pattern: error parsing regexp: invalid escape sequence: `\\1`"},
		{"type: text, pattern: '(a{1000}){1000}'", "text", "field v: pattern: error parsing regexp:"},
		{"type: text, pattern: '[ab]{999}c{9}'", "text", "field v: pattern is too large; it may have 1000 characters"},
		{"type: text, pattern: '" + strings.Repeat("[a-b]", 201) + "'", "text", "field v: pattern is too large; it may have 1000 characters"},
		{"type: integer, min: '1'", "integer", "field v: min must be a number, as in min: 100"},
		{"type: numeric, max: 1e2000", "numeric", "field v"},
		{"type: date, min: 2020", "date", `field v: min must be a date in quotes, as in min: "2020-01-01"`},
		{"type: date, max: '20200101'", "date", "field v: max must be a date in quotes"},
		{"type: timestamp, format: unix, min: 1577836800", "timestamptz", `field v: min must be a timestamp in quotes, as in min: "2020-01-01T00:00:00Z"`},
		{"type: timestamp, format: iso8601, zone: UTC, max: '2020-01-01T00:00:00'", "timestamptz", "field v: max must be a timestamp in quotes"},
		{"type: time, max: '25:00'", "time", `field v: max must be a time in quotes, as in max: "08:30:00"`},
		{"type: integer, min: 2, max: 1", "integer", "field v: max is less than min, so no value is between them"},
		{"type: date, min: '2020-01-02', max: '2020-01-01'", "date", "field v: max is less than min"},
		{"type: text, min: 1", "text", "field v of type text has no setting min; there are"},
		{"type: text, min_length: 0", "text", "field v: min_length must be an integer from 1 to 10485760"},
		{"type: text, max_length: 2.5", "text", "field v: max_length must be an integer from 1 to 10485760"},
		{"type: text, min_length: 3, max_length: 2", "text", "field v: max_length is less than min_length, so no value is between them"},
		{"type: integer, min_length: 3", "integer", "field v of type integer has no setting min_length; there are"},
		{"type: text, personal: true, default: x", "text, masked: true", "field v: default: a personal field has none; its mask would look like a person; remove it"},
		{"type: integer, default: x", "integer", "column c of type integer cannot hold the default of field v: wrong_type: expected a number, found a string"},
		{"type: text, default: EURO", "char(3)", "column c of type char(3) cannot hold the default of field v: too_long: expected at most 3 characters, which char(3) holds"},
		{"type: text, one_of: [a], default: b", "text", `column c of type text cannot hold the default of field v: not_one_of: expected one of "a"`},
		{"type: integer, min: 1, default: 0", "integer", "column c of type integer cannot hold the default of field v: out_of_range: expected at least 1"},
		{"type: timestamp, default: now", "timestamptz", "column c of type timestamptz cannot hold the default of field v: not_a_timestamp"},
		{"type: text, list: true, default: a", "text[]", "column c of type text[] cannot hold the default of field v: wrong_type: expected an array, found a string"},
		{"type: ip, personal: true", "inet, masked: true", "column c of type inet cannot hold"},
		{"type: ip, personal: true", "char(63), masked: true", "column c is too narrow; a mask has 64 characters"},
		{"type: ip", "inet", "field v is of type ip, which is personal; add personal: true, or personal: false"},
		{"type: time", "timestamp", "column c of type timestamp cannot hold field v of type time; use time"},
	} {
		_, err := parseOne(tt.field, tt.column, "")
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "m.yaml:") {
			t.Errorf("%.80s -> %s\n got %v\nwant %s", tt.field, tt.column, err, tt.want)
		}
	}
}

// TestMessagesOfChecks: a rejection shows a part of what a model says at length.
func TestMessagesOfChecks(t *testing.T) {
	t.Parallel()
	var list []string
	for i := range 30 {
		list = append(list, fmt.Sprintf("v%02d", i))
	}
	for _, tt := range []struct{ field, want string }{
		{"type: text, one_of: [" + strings.Join(list, ", ") + "]", `not_one_of v: expected one of "v00", "v01", "v02", "v03", "v04", "v05", "v06", "v07", "v08", "v09" or 20 more`},
		{"type: text, one_of: [" + strings.Repeat("é", 200) + ", b]", `not_one_of v: expected one of "` + strings.Repeat("é", 99) + "… or 1 more"},
		{"type: text, pattern: '" + strings.Repeat("é", 200) + "'", "no_match v: expected a match for the pattern " + strings.Repeat("é", 100) + "…"},
	} {
		if got := put(t, one(t, tt.field, "text", ""), `"canary"`); got != tt.want {
			t.Errorf("got %s\nwant %s", got, tt.want)
		}
	}
}

// TestChanged: which values an option changes.
func TestChanged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field, column string
		values        map[string]bool
	}{
		{"type: text, trim: true, case: lower", "text", map[string]bool{`"a"`: false, `" a"`: true, `"A"`: true, `""`: false, `null`: false}},
		{"type: text, default: EUR, case: upper", "text", map[string]bool{`null`: true, `"EUR"`: false, `"eur"`: true}},
		{"type: email, personal: true, idna: true", "text, masked: true", map[string]bool{`"a@bücher.de"`: true, `"a@xn--bcher-kva.de"`: false, `"a@b"`: false, `"A@b"`: true}},
		{"type: text, unicode: nfc, list: true", "text[]", map[string]bool{`["e\u0301"]`: true, `["é", null]`: false, `[]`: false, `["a", "e\u0301"]`: true}},
		{"type: integer, accept: [string], strip: ','", "integer", map[string]bool{`1`: false, `"1"`: false, `"1,000"`: true}},
	} {
		m := one(t, tt.field, tt.column, "")
		r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
		for value, want := range tt.values {
			b.Reset()
			if v := r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(`{"v":` + value + `}`), HasBody: true, HasSent: true}); !v.IsZero() {
				t.Errorf("%s: %s: %v", tt.field, value, v)
			}
			if got := r.Changed(0); got != want {
				t.Errorf("%s: %s: got %v", tt.field, value, got)
			}
		}
	}
}

// optioned is a model with every option, most of which allocate nothing.
const optioned = `model: optioned
table: optioned
key: [message_id]
fields:
  amount: {type: numeric, accept: [string], trim: true, strip: ",", min: 0, max: 1000000}
  count: {type: integer, accept: [string, number], one_of: [1, 2, 300]}
  at: {type: timestamp, format: unix_ms, min: "2020-01-01T00:00:00Z"}
  local: {type: timestamp, format: iso8601, zone: Europe/Berlin}
  day: {type: date, format: iso8601}
  clock: {type: time}
  span: {type: interval}
  id: {type: uuid, format: simple}
  data: {type: base64}
  code: {type: text, trim: true, case: upper, strip: " -", unicode: nfc, one_of: [AÉ, B], min_length: 1, max_length: 8}
  sku: {type: text, pattern: '[A-Z]{2}\d+'}
  tags: {type: text, list: true, case: lower}
  ip: {type: ip, personal: false}
  email: {type: email, personal: true, case: lower, idna: true}
  currency: {type: text, default: EUR}
  score: {type: numeric}
columns:
  amount: {type: "numeric(12,2)", from: amount}
  count: {type: integer, from: count}
  at: {type: timestamptz, from: at}
  local: {type: timestamp, from: local}
  day: {type: date, from: day}
  clock: {type: time, from: clock}
  span: {type: interval, from: span}
  id: {type: uuid, from: id}
  data: {type: bytea, from: data}
  code: {type: varchar(8), from: code}
  sku: {type: text, from: sku}
  tags: {type: "text[]", from: tags}
  ip: {type: inet, from: ip}
  email: {type: varchar(64), from: email, masked: true}
  currency: {type: char(3), from: currency}
  score: {type: double precision, from: score}
  message_id: {type: uuid, meta: message_id}
`

const optionedBody = `{"amount": " 1,234.50", "count": 3e2, "at": 1767225600123.5, "local": "2026-07-31 12:00:00", "day": "20260131", "clock": "12:34:56.789",
"span": "-P1DT2H0.5S", "id": "6F1C2F0E3F434D0E9F5A3C9B6A1D2E01", "data": "aGVsbG8=", "code": " a-\u00e9 ", "sku": "AB12", "tags": ["A", null, "\u00e9\""],
"ip": "::FFFF:1.2.3.4", "email": "Ann.Lee@Example.com.", "score": 12.5e-1}`

// TestOptionsAllocateNothing: in the steady state. (An address with an international domain does, a
// text that is not in the Unicode form, and a value of a column with as: text that is not a text or a
// number.)
func TestOptionsAllocateNothing(t *testing.T) {
	m := parse(t, optioned)
	allocatesNothing(t, m.Reader(mask.Unkeyed()), batch.New(m.Table), sent(optionedBody))
}

func BenchmarkOptions(b *testing.B) {
	m := parse(b, optioned)
	benchmarkAppend(b, m.Reader(mask.Unkeyed()), batch.New(m.Table), sent(optionedBody))
}

// FuzzValue gives every field of the model with all options any JSON value, and any text. It does
// not panic, a rejection has only words of the model, and a text that was normalised is its own
// normal form.
func FuzzValue(f *testing.F) {
	for _, s := range []string{
		`"2026-10-25T02:30"`, `"20260131T120000+0100"`, `"P1Y2M3W4DT5H6M7.8S"`, `"-PT0.000001S"`, `" 1,2e3 "`, `-0.0e-99999999999`, `1e18`, `["a",null,[]]`, `"aGk="`, `"\u212b\u2103 \u00a8"`,
		`"ann@b\u00fccher.de\u3002"`, `"12:34:56.7"`, `"::1"`, `"AB12"`, `{"a":["\ud83d\ude00"]}`, `true`, `"\u0000"`, `9223372036854775807.5`,
	} {
		f.Add(s)
	}
	m := parse(f, optioned)
	r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
	words := map[string]bool{}
	f.Fuzz(func(t *testing.T, s string) {
		quoted, err := jsontext.AppendQuote(nil, s)
		if err != nil {
			return // not UTF-8
		}
		values := []jsontext.Value{quoted}
		if v := jsontext.Value(strings.TrimSpace(s)); v.IsValid() {
			values = append(values, v)
		}
		for _, value := range values {
			for i := range m.Fields {
				b.Reset()
				v := r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(`{"` + m.Fields[i].Name + `":` + string(value) + `}`), HasBody: true, HasSent: true})
				if v.IsZero() != (b.Len() == 1) {
					t.Fatalf("%s %q: %v with %d rows", m.Fields[i].Name, value, v, b.Len())
				}
				if v.IsZero() {
					b.Row(0, func(int, []byte) {})
				} else if v.Rejection.Reason.Explain() == "" {
					t.Errorf("the reason %q has no explanation", v.Rejection.Reason)
				}
				r.Changed(i)
				// The details are few: none is made of a value.
				if words[v.Rejection.Detail] = true; len(words) > 200 {
					t.Fatalf("details with more than words of the model: %v", words)
				}
			}
		}
		for i := range m.Fields {
			normal := m.Fields[i].Normal([]byte(s))
			if again := m.Fields[i].Normal(normal); !bytes.Equal(again, normal) || !utf8.Valid(normal) {
				t.Errorf("%s: %q became %q and then %q", m.Fields[i].Name, s, normal, again)
			}
		}
	})
}

// TestLargeValues: what a value costs is in proportion to its length, whatever it is made of.
func TestLargeValues(t *testing.T) {
	const size = 1 << 13
	m := parse(t, optioned)
	var values []string
	for _, part := range []string{"a", "-", " a", "A", "é", "e\u0301", "\u0300", "\ufdfa", "1", "0", "P1D", "(", "@", ".", "ü.", "xn--", "\\n", "\\u0000", "12:", "aGk="} {
		values = append(values, `"`+strings.Repeat(part, size/len(part))+`"`)
	}
	values = append(values, strings.Repeat("9", size), "0."+strings.Repeat("0", size), "1e"+strings.Repeat("9", size), "["+strings.Repeat("[],", size/3)+"[]]", strings.Repeat("[", 9000)+strings.Repeat("]", 9000), `"ann@`+strings.Repeat("ü", size/2)+`"`)
	r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, value := range values {
		for i := range m.Fields {
			b.Reset()
			r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(`{"` + m.Fields[i].Name + `":` + value + `}`), HasBody: true, HasSent: true})
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(values)*len(m.Fields))*64*size {
		t.Errorf("%d bodies of %d bytes took %d", len(values)*len(m.Fields), size, used)
	}
}

// TestRules: the rule of a column says what its field's options do.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ field, column, want string }{
		{"type: text", "text", "v: text"},
		{"type: timestamp, format: unix_ms, accept: [string], trim: true, min: '2020-01-01T00:00:00Z'", "timestamptz", "v: timestamp, unix_ms, accepts strings, trimmed, at least 2020-01-01T00:00:00Z"},
		{"type: timestamp, format: iso8601, zone: Europe/Berlin", "timestamp", "v: timestamp, iso8601, in Europe/Berlin"},
		{"type: text, required: true, case: upper, strip: ' -', unicode: nfkc, max_length: 3, one_of: [A, B], default: A", "char(3)", `v: text, required, upper case, without " -", nfkc, at most 3 characters, one of "A", "B", default "A"`},
		{"type: text, accept: [number], pattern: '\\d+', list: true", "text[]", `v: list of text, accepts numbers, a match for the pattern \d+`},
		{"type: email, personal: true, idna: true", "text, masked: true", "v: email, idna, masked"},
	} {
		if got := one(t, tt.field, tt.column, "").Rule(0); got != tt.want {
			t.Errorf("%s: got %s\nwant %s", tt.field, got, tt.want)
		}
	}
}
