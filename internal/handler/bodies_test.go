package handler_test

import (
	"fmt"
	"strings"
	"testing"
)

// The tables below hold what the model promises of bodies. Long lists of
// values are one event each, odd bodies have one of their own, between two
// good ones.

func TestIPAddresses(t *testing.T) {
	t.Parallel()
	var all []single
	for _, tt := range []struct{ value, canonical string }{
		{`"203.0.113.7"`, "203.0.113.7"},
		{`"\u0032\u00303.0.113.7"`, "203.0.113.7"},
		{`" \t\r\n203.0.113.7\n\t "`, "203.0.113.7"},
		{`"\u000b\u000c203.0.113.7\f"`, "203.0.113.7"},
		{`"::ffff:203.0.113.7"`, "203.0.113.7"},
		{`"::FFFF:203.0.113.7"`, "203.0.113.7"},
		{`"::ffff:cb00:7107"`, "203.0.113.7"},
		{`"::FfFf:CB00:7107"`, "203.0.113.7"},
		{`"0:0:0:0:0:ffff:203.0.113.7"`, "203.0.113.7"},
		{`"0000:0000:0000:0000:0000:ffff:203.0.113.7"`, "203.0.113.7"},
		{`"0000:0000:0000:0000:0000:ffff:cb00:7107"`, "203.0.113.7"},
		{`"0:0:0:0:0:ffff:203.000.113.7"`, ""}, // leading zeros, also after an IPv6 prefix
		{`"2001:db8::1"`, "2001:db8::1"},
		{`"2001:DB8::1"`, "2001:db8::1"},
		{`"2001:0db8:0000:0000:0000:0000:0000:0001"`, "2001:db8::1"},
		{`"2001:db8:0:0:0:0:0:1"`, "2001:db8::1"},
		{`"2001:db8:0:0::1"`, "2001:db8::1"},
		{`"2001:db8::0.0.0.1"`, "2001:db8::1"},
		{`"2001:db8:0:0:1:0:0:1"`, "2001:db8::1:0:0:1"}, // RFC 5952: the first of two equal runs
		{`"2001:db8:0:1:1:1:1:1"`, "2001:db8:0:1:1:1:1:1"},
		{`"1:2:3:4:5:6:7::"`, "1:2:3:4:5:6:7:0"},
		{`"::203.0.113.7"`, "::cb00:7107"}, // compatible is not mapped
		{`"64:ff9b::203.0.113.7"`, "64:ff9b::cb00:7107"},
		{`"0.0.0.0"`, "0.0.0.0"},
		{`"255.255.255.255"`, "255.255.255.255"},
		{`"127.0.0.1"`, "127.0.0.1"},
		{`"10.0.0.1"`, "10.0.0.1"},
		{`"::"`, "::"},
		{`"::1"`, "::1"},
		{`"fe80::1"`, "fe80::1"},
		{`"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"`, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
		{`"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"`, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		if tt.canonical == "" {
			all = append(all, bad(tt.value, body("ip", tt.value)))
			continue
		}
		all = append(all, good(tt.value, body("ip", tt.value), "masked_ip", sum(tt.canonical)))
	}
	for _, value := range []string{`null`, ``, `""`, `" "`, `"\t\r\n "`} {
		all = append(all, good("NULL "+value, body("ip", value), "masked_ip", nil))
	}
	for _, value := range []string{
		// zones, ports, prefixes, brackets, lists
		`"fe80::1%eth0"`, `"fe80::1%25eth0"`, `"fe80::1%"`, `"203.0.113.7%eth0"`, `"::ffff:203.0.113.7%1"`,
		`"203.0.113.7:443"`, `"203.0.113.7:"`, `"[2001:db8::1]:443"`, `"[2001:db8::1]"`, `"[203.0.113.7]"`, `"2001:db8::1:443:1:1:1:1:1"`,
		`"203.0.113.0/24"`, `"203.0.113.7/32"`, `"2001:db8::/32"`, `"203.0.113.7/255.255.255.0"`,
		`"203.0.113.7,198.51.100.1"`, `"203.0.113.7, 198.51.100.1"`, `"203.0.113.7 198.51.100.1"`, `"203.0.113.7;198.51.100.1"`, `"203.0.113.7,"`, `"203.0.113.7-203.0.113.9"`,
		// numbers that other parsers take for an address
		`"203.0.113.07"`, `"0203.0.113.7"`, `"203.00.113.7"`, `"0313.0.0161.07"`, `"0xcb.0x00.0x71.0x07"`, `"0xcb007107"`, `"3405803783"`, `"203.28935"`, `"203.0.28935"`, `"1e1.0.0.1"`,
		`"203.0.113"`, `"203.0.113.7.8"`, `"203.0.113.7."`, `".203.0.113.7"`, `"203..113.7"`, `"203.0.113.256"`, `"203.0.113.-7"`, `"+203.0.113.7"`, `"203.0.113.7a"`, `"1234.0.113.7"`,
		`":"`, `":::"`, `"1::2::3"`, `"2001:db8"`, `"12345::"`, `"2001:db8::g"`, `"1:2:3:4:5:6:7:8:9"`, `"1:2:3:4:5:6:7"`, `":1:2:3:4:5:6:7"`, `"1:2:3:4:5:6:7:"`, `"::ffff:203.0.113.256"`, `"::ffff:203.0.113"`, `"203.0.113.7::"`, `"::203.0.113.7:1"`,
		// words
		`"unknown"`, `"localhost"`, `"example.com"`, `"null"`, `"NULL"`, `"-"`, `"n/a"`, `"."`, `"0"`, `"http://203.0.113.7"`, `"203.0.113.7 (proxy)"`, `"7.113.0.203.in-addr.arpa"`,
		// white space and digits that are not ASCII
		`"203.0.113.7\u00a0"`, `"\u2003203.0.113.7"`, `"\ufeff203.0.113.7"`, `"203.0.113.7\u200b"`, `"203 .0.113.7"`, `"\u0662\u0660\u0663.0.113.7"`, `"\uff12\uff10\uff13.0.113.7"`, `"203\u30020.113.7"`, `"203\u20240.113.7"`,
		`"203.0.113.7\u0000"`, `"\u0000"`, `"` + strings.Repeat("1", 1000) + `"`, `"` + strings.Repeat(" ", 100) + `x"`,
		// no strings
		`3405803783`, `0`, `203.0`, `true`, `false`, `{}`, `{"v4":"203.0.113.7"}`, `[]`, `["203.0.113.7"]`, `[203,0,113,7]`,
	} {
		all = append(all, bad(fmt.Sprintf("%.60s", value), body("ip", value)))
	}
	playAll(t, together("values", all))
}

func TestVersions(t *testing.T) {
	t.Parallel()
	var all []single
	for _, tt := range []struct {
		value string
		major int
		full  string
	}{
		{`"2"`, 2, "2"},
		{`"0"`, 0, "0"},
		{`"2.3"`, 2, "2.3"},
		{`"2.3.0"`, 2, "2.3.0"},
		{`"1.0.0.1"`, 1, "1.0.0.1"},
		{`"1.2.3.4.5.6.7.8.9"`, 1, "1.2.3.4.5.6.7.8.9"},
		{`"6.02"`, 6, "6.02"},
		{`"0.96"`, 0, "0.96"},
		{`"007.1"`, 7, "007.1"},
		{`"00"`, 0, "00"},
		{`"2.99999999999999999999"`, 2, "2.99999999999999999999"}, // only the first number goes into a column
		{`"2147483647"`, 2147483647, "2147483647"},
		{`"0000000000002147483647.1"`, 2147483647, "0000000000002147483647.1"},
		{`"2.3.0-beta"`, 2, "2.3.0-beta"},
		{`"2-beta"`, 2, "2-beta"},
		{`"2+1"`, 2, "2+1"},
		{`"2.3.0-beta.1+exp.sha.5114F85"`, 2, "2.3.0-beta.1+exp.sha.5114F85"},
		{`"2.3.0+20260101"`, 2, "2.3.0+20260101"},
		{`"2.3.0-rc-1"`, 2, "2.3.0-rc-1"},
		{`"2.3.0--"`, 2, "2.3.0--"},
		{`"2.3.0-x..y"`, 2, "2.3.0-x..y"},
		{`" 2.3.0 "`, 2, " 2.3.0 "},
		{`"\t\n2.3.0\r\n"`, 2, "\t\n2.3.0\r\n"},
		{`"\u0032.3"`, 2, "2.3"},
		{`"2.` + repeat("1", 62) + `"`, 2, "2." + repeat("1", 62)},
	} {
		all = append(all, good(fmt.Sprintf("%.60s", tt.value), body("app_version", tt.value), "app_version", tt.major, "app_version_full", tt.full))
	}
	for _, value := range []string{`null`, ``} {
		all = append(all, good("NULL "+value, body("app_version", value), "app_version", nil, "app_version_full", nil))
	}
	for _, value := range []string{
		`""`, `" "`, `"\t"`, `"\u00a0"`,
		`"v3"`, `"V3"`, `"v 3"`, `"version 2"`, `"beta"`, `"latest"`, `"none"`, `"two"`,
		`"."`, `"2."`, `".2"`, `"2..3"`, `"2.3."`, `"2.3.-1"`, `"2.x"`, `"2.*"`, `"2.3.0b"`, `"2b"`, `"2.3b.0"`,
		`"-1"`, `"+1"`, `"-"`, `"--1"`, `"2,3"`, `"2_3"`, `"2/3"`, `"2:3"`, `"1e3"`, `"0x10"`, `"2.3.0 beta"`, `"2.3.0-beta 4"`, `"2.3.0-beta_4"`, `"2.3.0-b\u00eata"`, `"2.3.0+\u0661"`, `"2.3.0(1)"`, `"2.3.0~1"`, `"2.3.0-\n1"`, `"2 3"`, `"2 .3"`,
		`"2147483648"`, `"99999999999"`, `"9223372036854775808"`, `"99999999999999999999999999"`, `"` + repeat("9", 10_000) + `"`,
		`"2.3.0\u00a0"`, `"\ufeff2.3.0"`, `"\uff12.3"`, `"\u0662.3"`, `"\u00b2"`, `"2\uff0e3"`,
		`"2.3\u0000"`, `"\u00002.3"`,
		`2`, `2.3`, `-1`, `true`, `false`, `[]`, `["2.3.0"]`, `[2,3,0]`, `{}`, `{"major":2}`,
	} {
		all = append(all, bad(fmt.Sprintf("%.60s", value), body("app_version", value)))
	}
	// 65 characters are too long for the column of the text, which the plain table has not.
	long := body("app_version", `"2.`+repeat("1", 63)+`"`)
	all = append(all, bad("65 characters", long).on("user_logins"), good("65 characters without that column", long, "app_version", 2).on("user_logins_plain"))
	playAll(t, together("values", all))
}

func TestTexts(t *testing.T) {
	t.Parallel()
	const (
		emoji     = "\U0001f600"
		combining = "e\u0301"
	)
	all := []single{
		// user_id: required, and not blank
		bad("user_id absent", body("user_id", "")),
		bad("user_id null", body("user_id", "null")),
		bad("user_id empty", body("user_id", `""`)),
		bad("user_id blank", body("user_id", `" \t\n"`)),
		bad("user_id blank, not ASCII", body("user_id", `"\u00a0\u3000"`)),
		good("user_id with spaces around", body("user_id", `" u 1 "`), "user_id", " u 1 "),

		// limits, in characters
		good("user_id of 128", body("user_id", quote(repeat("x", 128))), "user_id", repeat("x", 128)),
		bad("user_id of 129", body("user_id", quote(repeat("x", 129)))),
		good("user_id of 128 emoji", body("user_id", quote(repeat(emoji, 128))), "user_id", repeat(emoji, 128)),
		good("user_id of 128 emoji as escapes", body("user_id", `"`+repeat(`\ud83d\ude00`, 128)+`"`), "user_id", repeat(emoji, 128)),
		bad("user_id of 129 emoji", body("user_id", quote(repeat(emoji, 129)))),
		bad("user_id of 129 emoji as escapes", body("user_id", `"`+repeat(`\ud83d\ude00`, 129)+`"`)),
		bad("user_id of 129, the last a space", body("user_id", quote(repeat("x", 128)+" "))),
		good("device_type of 32", body("device_type", quote(repeat("x", 32))), "device_type", repeat("x", 32)),
		bad("device_type of 33", body("device_type", quote(repeat("x", 33)))),
		good("device_type of 32 of two bytes", body("device_type", quote(repeat("é", 32))), "device_type", repeat("é", 32)),
		bad("device_type of 33 of two bytes", body("device_type", quote(repeat("é", 33)))),
		good("device_type of 16 with combining accents", body("device_type", quote(repeat(combining, 16))), "device_type", repeat(combining, 16)),
		bad("device_type of 17 with combining accents", body("device_type", quote(repeat(combining, 17)))),
		bad("device_type of 33, the last a space", body("device_type", quote(repeat("x", 32)+" "))),
		good("locale of 32 emoji", body("locale", quote(repeat(emoji, 32))), "locale", repeat(emoji, 32)),
		bad("locale of 33 emoji", body("locale", quote(repeat(emoji, 33)))),

		// masked text has no limit, and no form that is canonical but itself
		good("device_id of 100,000", body("device_id", quote(repeat("d", 100_000))), "masked_device_id", sum(repeat("d", 100_000))),
		good("device_id of 300 emoji", body("device_id", quote(repeat(emoji, 300))), "masked_device_id", sum(repeat(emoji, 300))),
		good("device_id with spaces around", body("device_id", `" d-1 "`), "masked_device_id", sum(" d-1 ")),
		good("device_id in upper case", body("device_id", `"D-1"`), "masked_device_id", sum("D-1")),
		good("device_id composed", body("device_id", `"\u00e9"`), "masked_device_id", sum("é")),
		good("device_id decomposed", body("device_id", `"e\u0301"`), "masked_device_id", sum(combining)),
		good("device_id as escapes", body("device_id", `"\u0064\u002D1"`), "masked_device_id", sum("d-1")),
		good("device_id of a NUL-like escape", body("device_id", `"\\u0000"`), "masked_device_id", sum(`\u0000`)),
		good("device_id absent", body("device_id", ""), "masked_device_id", nil),
		good("device_id null", body("device_id", "null"), "masked_device_id", nil),
		good("device_id empty", body("device_id", `""`), "masked_device_id", nil),
		good("device_id blank", body("device_id", `" \r\n"`), "masked_device_id", nil),
		good("device_id that says null", body("device_id", `"null"`), "masked_device_id", sum("null")),

		// plain text: empty is a value, and no value is changed
		good("device_type absent", body("device_type", ""), "device_type", nil),
		good("device_type null", body("device_type", "null"), "device_type", nil),
		good("device_type empty", body("device_type", `""`), "device_type", ""),
		good("device_type blank", body("device_type", `"  "`), "device_type", "  "),
		good("locale blank", body("locale", `"\t"`), "locale", "\t"),
		good("nothing but a user", `{"user_id":"u-1"}`, "device_type", nil, "masked_ip", nil, "masked_device_id", nil, "locale", nil, "app_version", nil, "app_version_full", nil),
		good("everything null but the user", `{"user_id":"u-1","device_type":null,"ip":null,"device_id":null,"locale":null,"app_version":null}`,
			"device_type", nil, "masked_ip", nil, "masked_device_id", nil, "locale", nil, "app_version", nil, "app_version_full", nil),
		good("null among white space", `{"user_id":"u-1" , "device_type" : null , "ip":"203.0.113.7","device_id":"d-1","locale":"en_US","app_version":"2.3.0"}`, "device_type", nil),
	}
	// What is special in SQL, in arrays as text, in COPY and in JSON is stored as it is.
	for _, text := range []string{
		"NULL", "null", `\N`, `\.`, "{}", "{a,b}", `{"a"}`, `"`, `""`, `'`, `''`, `'; DROP TABLE user_logins; --`, `\`, `\\`, `\'`, "a\nb", "a\rb", "a\tb", "a,b", "a;b", "$1", "%s", "%00", "(1)", "a\u2028b", "\u007f", "\u0001", "/", "<>&", "\ufffd", "\ufeffu", "u\u200b", "\u202eu",
		"ﬃ", "日本語", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "\U0010ffff",
	} {
		all = append(all,
			good(fmt.Sprintf("user_id %q", text), body("user_id", quote(text)), "user_id", text),
			good(fmt.Sprintf("locale %q", text), body("locale", quote(text)), "locale", text),
			good(fmt.Sprintf("device_id %q", text), body("device_id", quote(text)), "masked_device_id", sum(text)),
		)
	}
	for _, field := range []string{"user_id", "device_type", "ip", "device_id", "locale", "app_version"} {
		for _, value := range []string{
			`1`, `0`, `-0`, `1.5`, `1e9`, `true`, `false`, `[]`, `["x"]`, `[null]`, `{}`, `{"x":"y"}`, // no coercion
			`"a\u0000"`, `"\u0000"`, `"\u0000b"`, // NUL
			`"\ud800"`, `"x\udfff"`, `"\ude00\ud83d"`, `"\ud83d\ud83d"`, `"\ud83dx"`, `"\uD800\u0041"`, // surrogates that are no pair
			`"\x41"`, `"\u12"`, `"\uzzzz"`, "\"a\nb\"", "\"\x01\"", `'x'`, `x`, `undefined`, `NaN`, `TRUE`, `nul`, `nulll`, `01`, `+1`, `.5`, `1.`, `0x1`, `"x`, // no JSON
		} {
			all = append(all, bad(fmt.Sprintf("%s: %q", field, value), body(field, value)))
		}
	}
	playAll(t, together("values", all))
}

func TestBodies(t *testing.T) {
	t.Parallel()
	one := body()
	nested := func(n int) string { return repeat("[", n) + repeat("]", n) }
	objects := func(n int) string { return repeat(`{"a":`, n) + "1" + repeat("}", n) }
	keys := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":%d`, i, i)
		}
		return b.String()
	}
	more := func(members string) string { return strings.TrimSuffix(one, "}") + members + "}" }
	small := []single{
		// around the object
		good("white space around", "\r\n\t "+one+" \t\r\n"),
		good("a BOM", "\ufeff"+one),
		good("a BOM and white space", "\ufeff \n"+one+"\n"),
		good("other order and white space", "{\n  \"app_version\" : \"2.3.0\" ,\r\n\t\"locale\":\"en_US\",\"device_id\":\"d-1\", \"ip\":\"203.0.113.7\",\"device_type\":\"android\",\"user_id\":\"u-1\" }"),
		good("names as escapes", `{"\u0075ser_id":"u-1","device\u005ftype":"android","\u0069\u0070":"203.0.113.7","device_id":"d-1","loc\u0061le":"en_US","app_version":"2.3.0"}`),
		bad("two BOMs", "\ufeff\ufeff"+one),
		bad("a BOM after white space", " \ufeff"+one),
		bad("a BOM after", one+"\ufeff"),
		bad("a BOM alone", "\ufeff"),
		bad("a non-breaking space around", "\u00a0"+one),
		bad("a vertical tab around", "\v"+one),
		bad("a form feed after", one+"\f"),
		bad("a NUL after", one+"\x00"),
		bad("white space alone", " \r\n"),
		bad("nothing", ""),

		// anything after the object
		bad("the object twice", one+one),
		bad("two lines", one+"\n"+one),
		bad("a brace more", one+"}"),
		bad("a comma more", one+","),
		bad("a word more", one+" x"),
		bad("null more", one+"null"),
		bad("a comment", one+" // comment"),
		bad("a comment within", `{/**/"user_id":"u-1"}`),
		bad("RFC 7464", "\x1e"+one+"\n"),

		// no object
		bad("an array of it", "["+one+"]"),
		bad("a string of it", quote(one)),
		bad("an array", "[]"), bad("a string", `"x"`), bad("a number", "1"), bad("zero", "0"), bad("true", "true"), bad("false", "false"), bad("null", "null"),
		bad("an empty object", "{}"),
		bad("other members", `{"foo":"oops_wrong_msg_type","bar":"123"}`),
		bad("XML", "<login/>"), bad("CSV", "u-1,android,203.0.113.7"), bad("a form", "user_id=u-1&ip=203.0.113.7"), bad("YAML", "user_id: u-1"), bad("base64", "eyJ1c2VyX2lkIjoidS0xIn0="),
		bad("single quotes", `{'user_id':'u-1'}`), bad("no quotes", `{user_id:"u-1"}`), bad("a comma at the end", `{"user_id":"u-1",}`), bad("a comma at the start", `{,"user_id":"u-1"}`), bad("no comma", `{"user_id":"u-1" "ip":"203.0.113.7"}`), bad("no colon", `{"user_id" "u-1"}`), bad("a name alone", `{"user_id"}`), bad("no value", `{"user_id":}`), bad("an equals sign", `{"user_id"="u-1"}`),
		bad("cut off in a name", `{"user_id":"u-1","i`), bad("cut off in a value", `{"user_id":"u-1","ip":"203.0.113.7`), bad("cut off after a value", `{"user_id":"u-1","ip":"203.0.113.7"`), bad("cut off in an escape", `{"user_id":"u-1","ip":"\u00`), bad("an opening brace", "{"),

		// names twice
		bad("a field twice", more(`,"ip":"192.0.2.1"`)),
		bad("a field twice, equal", more(`,"ip":"203.0.113.7"`)),
		bad("a field twice, null first", `{"user_id":"u-1","ip":null,"ip":"203.0.113.7"}`),
		bad("a field twice, once as an escape", more(`,"\u0069p":"192.0.2.1"`)),
		bad("the required field twice", more(`,"user_id":"u-2"`)),
		bad("an unknown name twice", more(`,"z":1,"z":2`)),
		bad("an unknown name twice, once as an escape", more(`,"z":1,"\u007a":2`)),
		bad("a name twice within", more(`,"z":{"a":1,"a":2}`)),
		bad("a name twice deep within", more(`,"z":[[{"a":[{"b":{},"b":{}}]}]]`)),
		bad("the empty name twice", more(`,"":1,"":2`)),
		good("equal names in two objects", more(`,"y":{"a":1},"z":{"a":1,"b":{"a":1}}`)),
		good("unknown names that differ by case", more(`,"foo":1,"Foo":2,"FOO":3`)),
		good("the empty name", more(`,"":1`)),

		// names that differ from a field by case only
		bad("IP", body("ip", "", "IP", `"203.0.113.7"`)),
		bad("Ip beside ip", more(`,"Ip":"192.0.2.1"`)),
		bad("iP, null", more(`,"iP":null`)),
		bad("User_ID", body("user_id", "", "User_ID", `"u-1"`)),
		bad("DEVICE_TYPE", body("device_type", "", "DEVICE_TYPE", `"android"`)),
		bad("App_version", body("app_version", "", "App_version", `"2"`)),
		bad("a long s", body("user_id", "", "u\u017fer_id", `"u-1"`)),
		bad("a long s as an escape", body("user_id", "", `u\u017fer_id`, `"u-1"`)),
		bad("a long s in a field that is not required", body("app_version", "", `app_ver\u017fion`, `"2"`)),
		bad("upper case as an escape", body("ip", "", `\u0049p`, `"203.0.113.7"`)),
		good("another name within", more(`,"z":{"IP":"198.51.100.1","User_Id":1}`)),
		good("nearly a field: other characters", more(`,"ip ":1,"ips":2,"i p":3,"user-id":4,"userId":5,"\u0131p":6,"\u0130p":7,"ip\u200b":8,"\uff49\uff50":9`)),
		bad("only nearly the required field", body("user_id", "", "userId", `"u-1"`)),

		// what is not read is checked all the same
		good("unknown values of every kind", more(`,"a":null,"b":true,"c":-1.5e+300,"d":"\"\\\/\b\f\n\r\t\u00e9","e":[1,[2,{"f":{}}]],"g":{"ip":"198.51.100.1"}`)),
		good("a number that no float holds", more(`,"z":1e999999999`)),
		good("a number of 1,000 digits", more(`,"z":`+repeat("9", 1000))),
		good("NUL in an unknown value", more(`,"z":"\u0000"`)),
		good("NUL in an unknown name", more(`,"z\u0000":1`)),
		good("a pair of surrogates in an unknown value", more(`,"z":"\ud83d\ude00"`)),
		bad("a lone surrogate in an unknown value", more(`,"z":"\ud800"`)),
		bad("a lone surrogate in an unknown name", more(`,"\udc00":1`)),
		bad("a lone surrogate within", more(`,"z":[{"a":"\ud83d"}]`)),
		bad("no number in an unknown value", more(`,"z":01`)),
		bad("NaN in an unknown value", more(`,"z":NaN`)),
		bad("Infinity in an unknown value", more(`,"z":-Infinity`)),
		bad("no escape in an unknown value", more(`,"z":"\x"`)),
		bad("a control character in an unknown value", more(",\"z\":\"a\nb\"")),
		bad("brackets that do not match", more(`,"z":[{]}`)),
	}
	bombs := alone(
		good("nested 10,000 deep", more(`,"z":`+nested(9_999))),
		bad("nested 10,001 deep", more(`,"z":`+nested(10_000))),
		good("objects nested 10,000 deep", more(`,"z":`+objects(9_999))),
		bad("objects nested 10,001 deep", more(`,"z":`+objects(10_000))),
		bad("nested a million deep", more(`,"z":`+repeat("[", 1_000_000))),
		bad("a field nested deep", body("ip", nested(20_000))),
		bad("an array nested a million deep", repeat("[", 1_000_000)),
		good("50,000 names", more(keys(50_000))),
		bad("50,000 names, the last one twice", more(keys(50_000)+`,"k49999":1`)),
		good("a megabyte in an unknown value", more(`,"z":`+quote(repeat("z", 1_000_000)))),
		good("a name of a megabyte", more(`,`+quote(repeat("z", 1_000_000))+`:1`)),
		good("a megabyte of white space", more(repeat(" ", 1_000_000))),
		good("a megabyte of escapes", more(`,"z":"`+repeat(`\\\"`, 250_000)+`"`)),
		bad("a megabyte in a masked address", body("ip", quote(repeat("1", 1_000_000)))),
		bad("a megabyte in a version", body("app_version", quote("2"+repeat(".1", 500_000)))).on("user_logins"),
		bad("a megabyte of digits in a version", body("app_version", quote(repeat("1", 1_000_000)))),
		bad("a megabyte of a number", body("user_id", repeat("1", 1_000_000))),
	)
	// Invalid UTF-8 cannot be in JSON; where an event holds it all the same, it costs its message.
	var texts []string
	for _, bytes := range []string{"\xff", "\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xe2\x82"} {
		texts = append(texts, body("device_id", `"`+bytes+`"`), more(`,"z":"`+bytes+`"`), more(`,"`+bytes+`":1`))
	}
	cases := append(together("small", small), bombs...)
	playAll(t, append(cases, several("invalid UTF-8", true, texts, func(n int, text string) string {
		return record(n, "", "body", `"`+strings.ReplaceAll(text, `"`, `\"`)+`"`)
	})))
}
