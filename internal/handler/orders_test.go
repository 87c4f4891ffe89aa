package handler_test

import (
	"fmt"
	"testing"
)

// TestOrders stores every type of field that a model can have, by the model
// that has them all.
func TestOrders(t *testing.T) {
	t.Parallel()
	var (
		c       = testCase{names: map[string]string{}}
		records []string
	)
	add := func(field, value string, change ...string) {
		n := len(records)
		records = append(records, record(n, order(n, append([]string{field, value}, change...)...)))
		c.names[id(n)] = fmt.Sprintf("%.60s: %.60s", field, value)
	}
	good := func(field, column, value string, want any) {
		r := orderRow(len(records))
		r[column] = want
		c.rows = append(c.rows, r)
		add(field, value)
	}
	bad := func(field string, values ...string) {
		for _, value := range values {
			c.failed = append(c.failed, id(len(records)))
			add(field, value)
		}
	}
	for value, want := range map[string]any{
		`1`: "1.0000", `0`: "0.0000", `-0`: "0.0000", `0.0`: "0.0000", `12345678901234.5678`: "12345678901234.5678", `99999999999999.9999`: "99999999999999.9999", `-99999999999999.9999`: "-99999999999999.9999",
		`0.1`: "0.1000", `1e3`: "1000.0000", `1.5E+2`: "150.0000", `1e-4`: "0.0001", `123400e-6`: "0.1234", `1.00000000`: "1.0000", `90071992547409.93`: "90071992547409.9300", `1e13`: "10000000000000.0000",
	} {
		good("total", "total", value, want)
	}
	bad("total", ``, `null`, `""`, `"1"`, `true`, `[]`, `{}`, `0.00001`, `1.23456`, `100000000000000`, `1e14`, `1e-5`, `1e999999`, `NaN`)
	good("currency", "currency", `"\u20ac\u20ac\u20ac"`, "€€€")
	bad("currency", ``, `null`, `""`, `"  "`, `"EURO"`, `978`)
	for value, want := range map[string]any{`null`: nil, `0`: 0, `-0`: 0, `2147483647`: 2147483647, `-2147483648`: -2147483648} {
		good("item_count", "item_count", value, want)
	}
	bad("item_count", `2147483648`, `-2147483649`, `1.0`, `1.5`, `1e2`, `"1"`, `""`, `true`, `[1]`, `99999999999999999999`)
	for value, want := range map[string]any{`9223372036854775807`: "9223372036854775807", `-9223372036854775808`: "-9223372036854775808", `9007199254740993`: "9007199254740993"} {
		good("loyalty_points", "loyalty_points", value, want)
	}
	bad("loyalty_points", `9223372036854775808`, `-9223372036854775809`, `1e3`, `"1"`)
	for value, want := range map[string]any{`true`: "true", `false`: "false", `null`: nil} {
		good("gift", "gift", value, want)
	}
	bad("gift", `"true"`, `1`, `0`, `""`, `[]`, `{}`)
	for value, want := range map[string]any{
		`"2026-01-31T12:00:00Z"`: "2026-01-31 12:00:00+00", `"2026-01-31T12:00:00.5+05:30"`: "2026-01-31 06:30:00.5+00", `"2026-01-31T12:00:00.123456Z"`: "2026-01-31 12:00:00.123456+00", `"2026-01-31T12:00:00.123456789Z"`: "2026-01-31 12:00:00.123456+00",
		`"2024-02-29T23:59:59-00:00"`: "2024-02-29 23:59:59+00", `"1969-12-31T23:59:59.999999Z"`: "1969-12-31 23:59:59.999999+00", `"1999-12-31T23:59:59.9999999Z"`: "1999-12-31 23:59:59.999999+00", `"9999-12-31T23:59:59.999999Z"`: "9999-12-31 23:59:59.999999+00", `"0001-01-01T00:00:00Z"`: "0001-01-01 00:00:00+00",
		`"2026-01-31t12:00:00z"`: "2026-01-31 12:00:00+00", `"2016-12-31T15:59:60.25-08:00"`: "2017-01-01 00:00:00.25+00",
	} {
		good("placed_at", "placed_at", value, want)
	}
	bad("placed_at", ``, `null`, `""`, `"2026-01-31"`, `"2026-01-31T12:00:00"`, `"2026-01-31 12:00:00Z"`, `"2026-01-31T12:00Z"`, `"2026-02-29T00:00:00Z"`, `"2026-01-31T24:00:00Z"`, `"2026-01-31T12:59:60Z"`, `"0000-06-01T00:00:00Z"`, `"9999-12-31T23:59:60Z"`, `"2026-01-31T12:00:00,5Z"`, `"2026-01-31T1:00:00Z"`, `"2026-01-31T12:00:00+24:00"`, `"2026-01-31T12:00:00+0530"`, `"2026-01-31T12:00:00 Z"`, `" 2026-01-31T12:00:00Z"`, `"Sat, 31 Jan 2026 12:00:00 GMT"`, `"infinity"`, `"now"`, `1769860800`, `"1769860800"`)
	for value, want := range map[string]any{`"2024-02-29"`: "2024-02-29", `"1999-12-31"`: "1999-12-31", `"0001-01-01"`: "0001-01-01", `"9999-12-31"`: "9999-12-31", `null`: nil} {
		good("deliver_on", "deliver_on", value, want)
	}
	bad("deliver_on", `""`, `"2026-02-29"`, `"2026-1-31"`, `"20260131"`, `"31.01.2026"`, `"01/31/2026"`, `"2026-01-31T00:00:00Z"`, `"today"`, `20260131`)
	for value, want := range map[string]any{`"AA1C0E3C-0D4B-4F0B-9C3A-0F0C5B3B9D11"`: "aa1c0e3c-0d4b-4f0b-9c3a-0f0c5b3b9d11", `"00000000-0000-0000-0000-000000000000"`: "00000000-0000-0000-0000-000000000000", `null`: nil} {
		good("session_id", "session_id", value, want)
	}
	bad("session_id", `""`, `"x"`, `"aa1c0e3c0d4b4f0b9c3a0f0c5b3b9d11"`, `"{aa1c0e3c-0d4b-4f0b-9c3a-0f0c5b3b9d11}"`, `"urn:uuid:aa1c0e3c-0d4b-4f0b-9c3a-0f0c5b3b9d11"`, `"aa1c0e3c-0d4b-4f0b-9c3a-0f0c5b3b9d1g"`, `1`)
	for value, want := range map[string]any{
		`[]`: "[]", `{"a":1.10,"b":[true,null]}`: `{"a": 1.10, "b": [true, null]}`, `"x"`: `"x"`, `1`: "1", `false`: "false", `null`: nil, `"\ud83d\ude00\\u0000"`: `"😀\\u0000"`, `9007199254740993`: "9007199254740993",
		repeat("[", 200) + repeat("]", 200): repeat("[", 200) + repeat("]", 200),
	} {
		good("lines", "lines", value, want)
	}
	bad("lines", `"\u0000"`, `{"a\u0000":1}`, `[{"a":"x\u0000"}]`, repeat("[", 201)+repeat("]", 201), `{"a":1,"a":2}`, `"\ud800"`, `[1,]`, `1e131071`, `{"a":[1e-16383]}`, "["+repeat("1e999,", 99)+"1]")
	for value, want := range map[string]any{`" Ann.Lee@Example.COM\n"`: sum("ann.lee@example.com"), `"ann+tag@example.com"`: sum("ann+tag@example.com"), `null`: nil, `""`: nil, `" "`: nil} {
		good("customer_email", "masked_email", value, want)
	}
	bad("customer_email", `"ann"`, `"@example.com"`, `"ann@"`, `"ann@b@c"`, `"ann lee@example.com"`, `"a@example.com,b@example.com"`, `"ann@example.com\u0000"`, `1`, `["ann@example.com"]`)
	bad("order_id", ``, `null`, `""`, `"1"`, `1`)

	// The key is in the body: of two messages with one, the first wins and both are done.
	first := len(records)
	c.rows = append(c.rows, orderRow(first))
	add("two messages of one order", `1`)
	add("two messages of one order", `2`, "order_id", quote(id(first)), "currency", `"USD"`)

	c.event = event(records...)
	newFixture(t, "orders").play(t, &c)
}

// order is the body of order n, with changes.
func order(n int, change ...string) string {
	return object([][2]string{
		{"order_id", quote(id(n))},
		{"customer_email", `"ann.lee@example.com"`},
		{"total", `12.5`},
		{"currency", `"EUR"`},
		{"item_count", `3`},
		{"loyalty_points", `7`},
		{"gift", `true`},
		{"placed_at", `"2026-01-01T00:00:00Z"`},
		{"deliver_on", `"2026-01-02"`},
		{"session_id", `"00000000-0000-4000-8000-00000000abcd"`},
		{"lines", `[{"sku":"a"}]`},
	}, change...)
}

func orderRow(n int) row {
	return row{
		"order_id": id(n), "masked_email": sum("ann.lee@example.com"), "total": "12.5000", "currency": "EUR", "item_count": 3, "loyalty_points": 7,
		"gift": "true", "placed_at": "2026-01-01 00:00:00+00", "deliver_on": "2026-01-02", "session_id": "00000000-0000-4000-8000-00000000abcd", "lines": `[{"sku": "a"}]`,
		"mask_key": "sha256", "sent_at": "2026-01-01 00:00:00+00",
	}
}
