package infer_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/infer"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// draft drafts a model of bodies, and holds that it loads.
func draft(t *testing.T, bodies ...string) (string, *model.Model) {
	t.Helper()
	s := infer.New(nil)
	for _, b := range bodies {
		s.Add([]byte(b))
	}
	text, err := s.Draft("sample")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	m, err := model.Parse("draft.yaml", []byte(text))
	if err != nil {
		t.Fatalf("the draft does not load: %v\n%s", err, text)
	}
	return text, m
}

// accepts holds that a model accepts all bodies.
func accepts(t *testing.T, text string, m *model.Model, bodies ...string) {
	t.Helper()
	reader, rows := m.Reader(mask.Unkeyed()), batch.New(m.Table)
	for i, b := range bodies {
		rows.Reset()
		v := reader.Append(rows, 0, 0, &message.Message{ID: strconv.Itoa(i), Body: []byte(b), HasBody: true, HasSent: true})
		if empty := v.Outcome == message.Ignored && strings.Contains(text, " bodies have no element, and are ignored: "); !v.IsZero() && !empty {
			t.Fatalf("body %d is rejected: %v %v\n%.300s\n%s", i, v.Rejection, v.Rejection.More, b, text)
		}
	}
}

// repeat returns n bodies, with the number of each instead of the verb.
func repeat(n int, format string) (all []string) {
	for i := range n {
		all = append(all, strings.ReplaceAll(format, "%d", strconv.Itoa(i)))
	}
	return all
}

// line returns the draft's line of a field.
func line(text, name string) string {
	_, text, _ = strings.Cut(text, "\nfields:\n")
	text, _, _ = strings.Cut(text, "\ncolumns:\n")
	for l := range strings.SplitSeq(text, "\n") {
		if strings.HasPrefix(l, "  "+name+": ") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

func id(i int) string { return fmt.Sprintf("%08x-0000-4000-8000-%012x", i*7919, i) }

func TestTypes(t *testing.T) {
	t.Parallel()
	many := func(value string) []string { return repeat(20, `{"a":1,"v":`+value+`}`) }
	for name, tt := range map[string]struct {
		bodies []string
		want   string // the line of v
	}{
		"uuid":                  {many(`"6f1c0000-0000-4000-8000-000000000001"`), "v: {type: uuid, required: true} # 20 of 20 are UUIDs"},
		"timestamp":             {many(`"2026-01-31T12:00:00.5+01:00"`), "v: {type: timestamp, required: true} # 20 of 20 are RFC 3339"},
		"date":                  {many(`"2026-01-31"`), "v: {type: date, required: true} # 20 of 20 are dates"},
		"version":               {many(`"2.3.%d-beta"`), "v: {type: version, required: true} # 20 of 20 are versions"},
		"boolean":               {many(`false`), "v: {type: boolean, required: true} # 20 of 20 are booleans"},
		"integer":               {many(`-%d`), "v: {type: integer, required: true} # 20 of 20 are integers"},
		"numeric":               {append(many(`%d`), `{"v":1.50}`), "v: {type: numeric, required: true} # 21 of 21 are numbers"},
		"more digits than bits": {many(`123456789012345678901234`), "v: {type: numeric, required: true} # 20 of 20 are numbers"},
		"text":                  {many(`"some text"`), "v: {type: text, required: true} # 20 of 20 are text; distinct values: 1"},
		"text of few values":    {append(many(`"DE"`), repeat(4, `{"v":"FR"}`)...), "v: {type: text, required: true} # 24 of 24 are text; distinct values: 2"},
		"nearly timestamps":     {append(many(`"2026-01-31T12:00:%dZ"`)[10:], `{"v":"yesterday"}`), "v: {type: text, required: true} # 11 of 11 are text; 10 of 11 are RFC 3339"},
		"a time without a zone": {many(`"2026-01-31T12:00:00"`), "v: {type: text, required: true} # 20 of 20 are text; 20 of 20 are ISO 8601 without a zone (format: iso8601 with a zone reads them as times); distinct values: 1"},
		"blank":                 {append(many(`"x"`), `{"v":"  "}`), "v: {type: text} # 21 of 21 are text; distinct values: 2; filled in 20 of 21 bodies"},
		"blank or a uuid":       {append(many(`"6f1c0000-0000-4000-8000-000000000001"`), `{"v":""}`), "v: {type: text} # 21 of 21 are text; 20 of 21 are UUIDs; distinct values: 2; filled in 20 of 21 bodies"},
		"null":                  {append(many(`1`), `{"v":null}`), "v: {type: integer} # 20 of 20 are integers; filled in 20 of 21 bodies"},
		"absent":                {append(many(`1`), `{"a":1}`), "v: {type: integer} # 20 of 20 are integers; filled in 20 of 21 bodies"},
		"objects in an array":   {many(`[{"sku":"x"}]`), "v: {type: json, required: true} # arrays: stored as it was sent"},
		"a boolean or text":     {append(many(`true`), `{"v":"x"}`), "v: {type: json, required: true} # 1 strings, 20 booleans: stored as it was sent"},
		"an object or text":     {append(many(`{"x":1}`), `{"v":"x"}`), "v: {type: json, required: true} # 1 strings, 20 objects: stored as it was sent"},
		"uuid without dashes":   {many(`"6f1c000000004000800000000000000f"`), "v: {type: uuid, format: simple, required: true} # 20 of 20 are UUIDs without dashes"},
		"ISO 8601":              {many(`"2026-01-31 12:00:00+0100"`), "v: {type: timestamp, format: iso8601, required: true} # 20 of 20 are ISO 8601 with a zone"},
		"time of day":           {many(`"12:34:56.789"`), "v: {type: time, required: true} # 20 of 20 are times of day"},
		"duration":              {many(`"P1DT2H"`), "v: {type: interval, required: true} # 20 of 20 are ISO 8601 durations"},
		"integers in strings":   {many(`"%d"`), "v: {type: integer, accept: [string], required: true} # 20 of 20 are integers, in strings"},
		"numbers in strings":    {append(many(`"%d.50"`), `{"v":3}`), "v: {type: numeric, accept: [string], required: true} # 21 of 21 are numbers, in strings"},
		"leading zeros":         {many(`"007"`), "v: {type: text, required: true} # 20 of 20 are text; distinct values: 1"},
		"long digits":           {many(`"1234567890123456789"`), "v: {type: text, required: true} # 20 of 20 are text; distinct values: 1"},
		"not all in strings":    {append(many(`"%d"`), `{"v":"x"}`), "v: {type: text, required: true} # 21 of 21 are text; 20 of 21 are integers, in strings"},
		"booleans in strings":   {many(`"true"`), "v: {type: boolean, accept: [string], required: true} # 20 of 20 are booleans in strings"},
		"text or numbers":       {append(many(`1.5`), `{"v":"x"}`), "v: {type: text, accept: [number], required: true} # 21 of 21 are text or numbers; 20 of 21 are numbers; distinct values: 2"},
		"milliseconds":          {many(`17672256000%d`)[10:], "v: {type: timestamp, format: unix_ms, required: true} # 10 of 10 are Unix time in milliseconds by their magnitude"},
		"microseconds":          {many(`17672256000000%d`)[10:], "v: {type: timestamp, format: unix_us, required: true} # 10 of 10 are Unix time in microseconds by their magnitude"},
		"nanoseconds":           {many(`17672256000000000%d`)[10:], "v: {type: timestamp, format: unix_ns, required: true} # 10 of 10 are Unix time in nanoseconds by their magnitude"},
		"seconds, or a number":  {many(`17672256%d`)[10:], "v: {type: integer, required: true} # 10 of 10 are integers"},
		"one from 1970":         {append(many(`17672256000%d`)[10:], `{"v":1767225600}`), "v: {type: integer, required: true} # 11 of 11 are integers"},
		"a list of text":        {many(`["a","b%d"]`), "v: {type: text, list: true, required: true} # 20 of 20 are lists of text"},
		"a list of integers":    {many(`[%d]`), "v: {type: integer, list: true, required: true} # 20 of 20 are lists of integers"},
		"a list of numbers":     {many(`[%d,1.5]`), "v: {type: numeric, list: true, required: true} # 20 of 20 are lists of numbers"},
		"a list of UUIDs":       {many(`["6f1c0000-0000-4000-8000-000000000001"]`), "v: {type: uuid, list: true, required: true} # 20 of 20 are lists of UUIDs"},
		"a list, also empty":    {append(many(`["a"]`), `{"v":[]}`), "v: {type: text, list: true, required: true} # 21 of 21 are lists of text"},
		"a mixed list":          {many(`["a",1]`), "v: {type: json, required: true} # arrays: stored as it was sent"},
		"NUL":                   {many(`"\u0000"`), ""},
		"too deep for jsonb":    {many(strings.Repeat("[", 300) + strings.Repeat("]", 300)), ""},
		"a zero too far":        {many(`[1e999999]`), ""},
		"always null":           {many(`null`), ""},
		"an empty object":       {many(`{}`), ""},
		"an empty array":        {many(`[]`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, m := draft(t, tt.bodies...)
			if got := line(text, "v"); got != tt.want {
				t.Errorf("got  %s\nwant %s\n%s", got, tt.want, text)
			}
			if tt.want == "" && !strings.Contains(text, "  # $.v: ") {
				t.Errorf("nothing says that v is left out:\n%s", text)
			}
			accepts(t, text, m, tt.bodies...)
		})
	}
}

// TestPersonal: what looks personal is masked, or left out if it cannot be.
func TestPersonal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		member, value string
		want          string // the beginning of the line
	}{
		"email":                       {"v", `"ann%d@example.com"`, "v: {type: email, personal: true, required: true} # personal until reviewed: it holds e-mail addresses; "},
		"email in a text":             {"note", `"write to ann%d@example.com"`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds e-mail addresses; "},
		"a link with an email":        {"v", `"https://x.example/?email=ann%d@example.com"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds e-mail addresses; 20 of 20 are text"},
		"mailto":                      {"v", `"mailto:ann%d@example.com"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds e-mail addresses; "},
		"two emails":                  {"v", `"ann%d@example.com,bob@example.com"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds e-mail addresses; "},
		"a handle":                    {"v", `"@ann%d"`, "v: {type: text, required: true} # 20"},
		"phone in a text":             {"note", `"Please call +49 170 1234567, floor %d."`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds phone numbers; "},
		"national phone in a text":    {"note", `"ring 0170 1234567 or (030) 123-4567"`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds phone numbers; "},
		"American phone in a text":    {"note", `"call (555) 123-4567!"`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds phone numbers; "},
		"IBAN in a text":              {"note", `"refund to DE89 3704 0044 0532 0130 00, thanks %d"`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds IBANs; "},
		"card in a text":              {"note", `"card 4111-1111-1111-1111, %d"`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds card numbers; "},
		"email in a long text":        {"note", `"` + strings.Repeat("some words ", 10_000) + `ann%d@example.com"`, "note: {type: text, personal: true, required: true} # personal until reviewed: it holds e-mail addresses; "},
		"a text with times":           {"note", `"from 2026-01-31 12:00:00+0100 to 01/31/2026, Sat Jan 31 2026 12:00:00 GMT+1000 (AEST), order 1234-567-8901, 12 x 1000000"`, "note: {type: text, required: true} # 20"},
		"a browser":                   {"agent", `"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.6099.109 Safari/537.36"`, "agent: {type: text, required: true} # 20"},
		"ip":                          {"v", `"203.0.113.%d"`, "v: {type: ip, personal: true, required: true} # personal until reviewed: it holds IP addresses; "},
		"IPv6":                        {"v", `"2001:db8::%d"`, "v: {type: ip, personal: true, required: true} # personal"},
		"ip with a port":              {"v", `"203.0.113.%d:443"`, "v: {type: text, personal: true, required: true} # personal"},
		"a version like an address":   {"app_version", `"1.2.3.%d"`, "app_version: {type: version, required: true} # 20 of 20"},
		"phone by name":               {"mobilePhone", `"0170 %d"`, "mobile_phone: {type: text, personal: true, required: true, path: $.mobilePhone} # personal until reviewed: named like a phone number; "},
		"phone by value":              {"v", `"+49 30 1234%d"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds phone numbers; "},
		"card":                        {"v", `"4111 1111 1111 1111"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds card numbers; "},
		"IBAN":                        {"v", `"DE89 3704 0044 0532 0130 00"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds IBANs; "},
		"token by name":               {"accessToken", `"x%d"`, "access_token: {type: text, personal: true, required: true, path: $.accessToken} # personal until reviewed: named like a secret; "},
		"token by value":              {"v", `"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln"`, "v: {type: text, personal: true, required: true} # personal until reviewed: it holds tokens; "},
		"name":                        {"name", `"Ann"`, "name: {type: text, personal: true, required: true} # personal until reviewed: named like a person's name; "},
		"first name":                  {"firstName", `"Ann"`, "first_name: {type: text, personal: true"},
		"the name of a thing":         {"product_name", `"Lamp"`, "product_name: {type: text, required: true} # 20"},
		"street":                      {"street", `"Main Street %d"`, "street: {type: text, personal: true"},
		"date of birth":               {"dateOfBirth", `"1970-01-01"`, "date_of_birth: {type: text, personal: true"},
		"a time about an address":     {"email_verified_at", `"2026-01-31T12:00:00Z"`, "email_verified_at: {type: timestamp, required: true} # 20"},
		"a phone number's digits":     {"phone", `491701234%d`, "phone: {type: text, accept: [number], personal: true, required: true} # personal"},
		"a zip code, sometimes 0":     {"zip", `"0123%d"`, "zip: {type: text, personal: true, required: true} # personal"},
		"seconds with a name":         {"created_at", `1767225601`, "created_at: {type: timestamp, format: unix, required: true} # 20"},
		"latitude":                    {"lat", `52.%d`, ""},
		"a list of addresses":         {"v", `["ann%d@example.com"]`, ""},
		"an address in a list":        {"v", `[{"x":"ann%d@example.com"}]`, ""},
		"a person's name in a list":   {"passengers", `[{"name":"Ann"}]`, ""},
		"a product's name in a list":  {"items", `[{"name":"Lamp"}]`, "items: {type: json, required: true} # arrays"},
		"a boolean":                   {"phone_ok", `true`, "phone_ok: {type: boolean, required: true} # 20"},
		"a document of 2 within":      {"v", `"{\"email\":\"ann%d@example.com\"} "`, "v: {type: text, personal: true"},
		"a card number that is whole": {"v", `4111111111111111`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bodies := repeat(20, `{"a":1,"`+tt.member+`":`+tt.value+`}`)
			if name == "a document of 2 within" {
				bodies = append(bodies, `{"a":1,"v":"x"}`) // else it is unwrapped
				tt.want = strings.ReplaceAll(tt.want, "20", "21")
			}
			text, m := draft(t, bodies...)
			field, _, _ := strings.Cut(tt.want, ":")
			got := line(text, field)
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("got %s\nwant %s\n%s", got, tt.want, text)
			}
			if tt.want == "" && (len(m.Fields) != 1 || !strings.Contains(text, "it looks personal")) && !strings.Contains(text, "accept: [number], personal: true") {
				t.Errorf("it is not left out:\n%s", text)
			}
			if strings.Contains(tt.want, "personal: true") && !strings.Contains(text, "masked: true") {
				t.Errorf("it is not masked:\n%s", text)
			}
			accepts(t, text, m, bodies...)
		})
	}
}

func TestNested(t *testing.T) {
	t.Parallel()
	bodies := repeat(20, `{"id":"`+"%d"+`","order":{"shop":{"Zone-Id":"a","select":%d}},"größe":1,"User-Agent":"x","null":true,"on":"x","xmin":1,"sent_at":"2026-01-31T12:00:00Z","message_id":"m","createdAt":"a","created_at":"b","_":1,"数":2,"it's":3,"a.b":4,"$ref":5,"a\"b":6,"a\\b":7,"o{p}":8,"#c":9}`)
	text, m := draft(t, bodies...)
	for _, want := range []string{
		"order_shop_zone_id: {type: text, required: true, path: \"$.order.shop['Zone-Id']\"} # 20 of 20 are text; distinct values: 1",
		"order_shop_select: {type: integer, required: true, path: $.order.shop.select} # 20 of 20 are integers",
		`grosse: {type: integer, required: true, path: "$['größe']"} # 20 of 20 are integers`,
		`"null": {type: boolean, required: true} # 20 of 20 are booleans`,
		`created_at: {type: text, required: true, path: $.createdAt} # 20 of 20 are text; distinct values: 1`,
		`created_at_2: {type: text, required: true, path: $.created_at} # 20 of 20 are text; distinct values: 1`,
		`field: {type: integer, required: true, path: $._} # 20 of 20 are integers`,
		`field_2: {type: integer, required: true, path: "$['数']"} # 20 of 20 are integers`,
		`a_b: {type: integer, required: true, path: "$['a.b']"} # 20 of 20 are integers`,
		`xmin_: {type: integer, required: true, path: $.xmin} # 20 of 20 are integers`,
	} {
		name, _, _ := strings.Cut(want, ": ")
		if got := line(text, name); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	for _, want := range []string{"  sent_at: {type: timestamptz, from: sent_at}\n", "  sqs_sent_at: {type: timestamptz, meta: sent_at}\n", "  sqs_message_id: {type: uuid, meta: message_id}\n", "so perhaps a key: id. "} {
		if !strings.Contains(text, want) {
			t.Errorf("it lacks %q:\n%s", want, text)
		}
	}
	accepts(t, text, m, bodies...)
}

// TestColumnsOnce: two columns never have one name.
func TestColumnsOnce(t *testing.T) {
	t.Parallel()
	bodies := repeat(3, `{"v":"ann%d@example.com","masked_v":"x","mask_key":1,"sent_at":2,"sqs_sent_at":3,"Mask Key":4,"maskedV":5,"`+strings.Repeat("long_", 12)+`":"x","`+strings.Repeat("long_", 12)+`e":"a@b.co"}`)
	text, m := draft(t, bodies...)
	if len(m.Columns) != 12 || !strings.Contains(text, "  masked_v_2: {type: text, from: masked_v}\n") {
		t.Error(text)
	}
	accepts(t, text, m, bodies...)
}

func TestKeys(t *testing.T) {
	t.Parallel()
	notOrder := func(says string) string {
		return "# Not the key, though different in all 12 bodies: order_id. " + says + " says that more messages about the same one may follow: they would be taken for duplicates, and not stored; with on_conflict: replace the newest is kept. [order_id, " + says + "] tells them apart, unless one comes twice\n"
	}
	for name, tt := range map[string]struct {
		bodies []string
		want   string
	}{
		"a uuid before an id":      {repeat(12, `{"order_id":"o-%d","event_uuid":"6f1c0000-0000-4000-8000-%d"}`), ""},
		"a user's id":              {repeat(12, `{"user_id":"u-%d"}`), "\nkey: [sent_at, message_id]\n# Different in all 12 bodies, so perhaps a key: user_id. "},
		"few bodies":               {repeat(3, `{"order_id":"o-%d"}`), "\nkey: [sent_at, message_id]\n# Different in all 3 bodies, so perhaps a key: order_id. "},
		"not in all":               {append(repeat(12, `{"order_id":"o-%d"}`), `{"a":1}`), "\nkey: [sent_at, message_id]\nallow_empty"},
		"repeated":                 {append(repeat(12, `{"order_id":"o-%d"}`), `{"order_id":"o-1"}`), "\nkey: [sent_at, message_id]\n\nfields"},
		"personal":                 {repeat(12, `{"email_id":"a%d@example.com"}`), "\nkey: [sent_at, message_id]\n\nfields"},
		"different but not an id":  {repeat(12, `{"amount":%d}`), "\nkey: [sent_at, message_id]\n\nfields"},
		"an event's id":            {repeat(12, `{"order_id":"o-%d","status":"paid","eventId":"e-%d"}`), "\nkey: [event_id] # different in all 12 bodies: it holds if a redrive renames a message. A message that repeats it is taken for a duplicate\n" + notOrder("status")},
		"a message's id":           {repeat(12, `{"type":"track","event":"Paid","order_id":"o-%d","messageId":"m-%d"}`), "\nkey: [message_id] # different in all 12 bodies"},
		"in the metadata":          {repeat(12, `{"order_id":"o-%d","meta":{"event_id":"e-%d","type":"x"}}`), "\nkey: [meta_event_id] # different"},
		"events about orders":      {repeat(12, `{"order_id":"o-%d","event":"paid"}`), "\nkey: [sent_at, message_id]\n" + notOrder("event") + "\nfields"},
		"states of orders":         {repeat(12, `{"order_id":"o-%d","orderStatus":"paid"}`), "\nkey: [sent_at, message_id]\n" + notOrder("order_status")},
		"states of what has an id": {repeat(12, `{"id":"o-%d","status":"paid"}`), "\nkey: [sent_at, message_id]\n# Not the key, though different in all 12 bodies: id. status says "},
		"events with an id":        {repeat(12, `{"id":"e-%d","type":"order.paid","order_id":"o-%d"}`), "\nkey: [id] # different in all 12 bodies"},
		"things with an id":        {repeat(12, `{"id":"e-%d","type":"order","customer_id":"c"}`), "\nkey: [sent_at, message_id]\n# Not the key, though different in all 12 bodies: id. type says "},
		"a user's events":          {repeat(12, `{"id":"e-%d","event_type":"click","user_id":"u"}`), "\nkey: [id] # different in all 12 bodies"},
		"only an id":               {repeat(12, `{"id":"o-%d","amount":1}`), "\nkey: [sent_at, message_id]\n# Different in all 12 bodies, so perhaps a key: id. "},
		"an id within":             {repeat(12, `{"type":"order.paid","data":{"order_id":"o-%d"}}`), "\nkey: [sent_at, message_id]\n# Not the key, though different in all 12 bodies: data_order_id. type says "},
		"several ids":              {repeat(12, `{"payment_id":"p-%d","order_id":"o-%d"}`), "\nkey: [sent_at, message_id]\n# Different in all 12 bodies, so perhaps a key: payment_id, order_id. "},
		"a message between people": {repeat(12, `{"message_id":"m-%d","status":"read"}`), "\nkey: [sent_at, sqs_message_id]\n# Not the key, though different in all 12 bodies: message_id. "},
		"versions of a row":        {repeat(12, `{"op":"u","after":{"id":%d}}`), "\nkey: [sent_at, message_id]\n# Not the key, though different in all 12 bodies: id. op says "},
		"what is not unique":       {append(repeat(12, `{"order_id":"o-%d","payment_id":"p-%d"}`), `{"order_id":"o-1","payment_id":"p-x"}`), "\nkey: [sent_at, message_id]\n# Different in all 13 bodies, so perhaps a key: payment_id. "},
		"a thing's id":             {repeat(12, `{"aggregate_id":"a-%d","payload":{"n":1}}`), "\nkey: [sent_at, message_id]\n# Different in all 12 bodies, so perhaps a key: aggregate_id. "},
		"the id of what it is for": {repeat(12, `{"customer":{"id":"c-%d"}}`), "\nkey: [sent_at, message_id]\n# Different"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if name == "a uuid before an id" {
				tt.bodies = nil
				for i := range 12 {
					tt.bodies = append(tt.bodies, fmt.Sprintf(`{"order_id":"o-%d","event_uuid":%q}`, i, id(i)))
				}
				tt.want = "\nkey: [event_uuid] # different in all 12 bodies: it holds if a redrive renames a message. A message that repeats it is taken for a duplicate\n# Different in all 12 bodies, so perhaps a key: order_id. "
			}
			text, m := draft(t, tt.bodies...)
			if !strings.Contains(text, tt.want) {
				t.Errorf("it lacks %q:\n%s", tt.want, text)
			}
			accepts(t, text, m, tt.bodies...)
		})
	}
}

// TestRows: the elements of the one array of objects that has several become rows.
func TestRows(t *testing.T) {
	t.Parallel()
	order := repeat(20, `{"event_id":"e-%d","order":{"id":"o-%d"},"status":"paid","lines":[{"sku":"a","id":%d,"to":{"shop":"x"}},{"sku":"b","id":7}]}`)
	const sns = `{"Type":"Notification","MessageId":"6f1c0000-0000-4000-8000-000000000001","TopicArn":"arn","Message":"{\"order_id\":\"o-%d\",\"lines\":[{\"sku\":\"a\"},{\"sku\":\"b\"}]}"}`
	for name, tt := range map[string]struct {
		bodies []string
		rows   int // that the draft makes of them, as many as bodies if each is one
		want   []string
	}{
		"an order": {order, 40, []string{
			"# A row for each element of $.lines: 20 of 20 bodies have several. What is beside $.lines is the same in all of them; to store it once, in a row that theirs refer to, use also instead of rows.\n",
			"key: [event_id, row_number] # the first is different in all 20 bodies: it holds if a redrive renames a message. A message that repeats it is taken for a duplicate\n# Different in all 20 bodies: order_id. A key of it and row_number holds ",
			"\nrows: \"$.lines[*]\"\n", "  event_id: {type: text, required: true, layer: 0} #", "  order_id: {type: text, required: true, path: $.order.id, layer: 0} #",
			"  sku: {type: text, required: true} # 40 of 40 are text; distinct values: 2\n", "  id: {type: integer, required: true} # 40 of 40 are integers\n",
			"  to_shop: {type: text, path: $.to.shop} # 20 of 20 are text; distinct values: 1; filled in 20 of 40 elements\n",
			"  row_number: {type: smallint, meta: row_number}\n",
		}},
		"some without": {append(repeat(2, `{"a":1,"lines":[{"sku":"a"},{"sku":"b"}]}`), `{"a":1,"lines":[]}`, `{"a":1,"lines":null}`, `{"a":1}`), 5, []string{
			"  lines: {type: json} # arrays: stored as it was sent; 2 of 3 have several elements: rows: \"$.lines[*]\" makes a row of each",
		}},
		"some records without": {append(repeat(2, `{"Records":[{"sku":"a"},{"sku":"b"}]}`), `{"Records":[]}`), 4, []string{
			"key: [sent_at, message_id, row_number]\n", "\nallow_empty: true # 1 of 3 bodies have no element, and are ignored: nothing of them is stored; without this line they are rejected\n",
		}},
		"an element without": {append(repeat(3, `{"a":1,"lines":[{"sku":"a"},{"sku":"b"}]}`), `{"a":1,"lines":[{"2077":1}]}`), 7, []string{
			"\nallow_empty: true # some elements have no member that a field reads; without this line they are rejected\n", "  # $.lines[*].*: members with names that look like data: 1\n",
		}},
		"personal":          {repeat(3, `{"a":1,"people":[{"email":"canary@example.com"},{"email":"canary@example.com"}]}`), 6, []string{"  email: {type: email, personal: true, required: true} # personal until reviewed: "}},
		"names of both":     {repeat(3, `{"id":1,"lines":[{"id":2},{"id":3}],"row_number":1}`), 6, []string{"  id: {type: integer, required: true, layer: 0} #", "  lines_id: {type: integer, required: true, path: $.id} #", "key: [sent_at, message_id, sqs_row_number]\n"}},
		"in SNS":            {repeat(3, sns), 6, []string{"\nunwrap: [{json: $.Message}]\nrows: \"$.lines[*]\"\n", "  order_id: {type: text, required: true, layer: 1} #", "  topic_arn: {type: text, required: true, path: $.TopicArn, layer: 0} #", "  sku: {type: text, required: true} #"}},
		"CloudEvents":       {repeat(3, `{"specversion":"1.0","id":"e-%d","source":"s","type":"t","data":[{"n":1},{"n":2}]}`), 6, []string{"key: [source, id, row_number] # what tells CloudEvents apart, and the number of the element: "}},
		"records with text": {repeat(3, `{"Records":[{"body":"{\"a\":1}"},{"body":"{\"a\":2}"}]}`), 6, []string{"\nrows: \"$.Records[*]\"\n", "  body: {type: text, required: true} #"}},
		"one element each":  {repeat(3, `{"a":1,"lines":[{"sku":"a"}]}`), 3, []string{"  lines: {type: json, required: true} # arrays: stored as it was sent\n"}},
		"two arrays":        {repeat(3, `{"a":1,"lines":[{"sku":"a"},{"sku":"b"}],"tags":[{"n":1},{"n":2}]}`), 3, []string{"  lines: {type: json, required: true} # arrays: stored as it was sent; 3 of 3 have several elements: rows: \"$.lines[*]\" makes a row of each\n"}},
		"deeper":            {repeat(3, `{"a":1,"b":{"lines":[{"sku":"a"},{"sku":"b"}]}}`), 3, []string{"  b_lines: {type: json, required: true, path: $.b.lines} # arrays: stored as it was sent; 3 of 3 have several elements: rows: \"$.b.lines[*]\" makes a row of each\n"}},
		"of other kinds":    {repeat(3, `{"a":1,"v":[{"n":1},7]}`), 3, []string{"  v: {type: json, required: true} # arrays: stored as it was sent\n"}},
		"nothing to read":   {repeat(3, `{"a":1,"v":[{"n":null},{"n":null}]}`), 3, []string{"  v: {type: json, required: true} # arrays: stored as it was sent; 3 of 3 have several elements: "}},
		"names in one body": {append(repeat(20, `{"a":1,"v":[{"n":1},{"n":1}]}`), `{"a":1,"v":[`+strings.Repeat(`{"n":1,"canary":1},`, 50)+`{"n":1}]}`), 91, []string{"  # $.v[*].*: names that occur in few bodies, or exclude each other, and may be data: 1\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, m := draft(t, tt.bodies...)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			if strings.Contains(text, "canary") {
				t.Errorf("data shows:\n%s", text)
			}
			accepts(t, text, m, tt.bodies...)
			reader, rows := m.Reader(mask.Unkeyed()), batch.New(m.Table)
			for i, b := range tt.bodies {
				reader.Append(rows, i, 0, &message.Message{ID: strconv.Itoa(i), Body: []byte(b), HasBody: true, HasSent: true})
			}
			if rows.Rows() != tt.rows {
				t.Errorf("%d rows, want %d:\n%s", rows.Rows(), tt.rows, text)
			}
		})
	}
}

// TestRowsOfTables: elements are the rows of a table that has columns for them, and whose keys are not the
// body's.
func TestRowsOfTables(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		columns []string // of text, but for those of numbers
		key     []string
		want    []string
	}{
		"lines":             {[]string{"order_id", "sku", "row_number"}, []string{"order_id", "row_number"}, []string{"\nkey: [order_id, row_number] # a unique key", "\nrows: \"$.lines[*]\"\n", "  order_id: {type: text, required: true, layer: 0} #", "  row_number: {type: integer, meta: row_number}\n"}},
		"keyed by a member": {[]string{"order_id", "sku"}, []string{"order_id", "sku"}, []string{"\nkey: [order_id, sku] # a unique key", "\nrows: \"$.lines[*]\"\n"}},
		"longer names":      {[]string{"lines_sku"}, nil, []string{"\nledger: sluice_ledger #", "\nrows: \"$.lines[*]\"\n", "  lines_sku: {type: text, required: true, path: $.sku} #"}},
		"orders":            {[]string{"order_id", "note"}, nil, []string{"\n  # $.lines: no column has its name"}},
		"orders with a key": {[]string{"order_id", "sku"}, []string{"order_id"}, []string{"\nkey: [order_id] # a unique key", "\n  # $.lines: no column has its name"}},
		"a column of JSON":  {[]string{"order_id", "sku", "lines"}, nil, []string{"\n  # $.lines: column lines of type text "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := &infer.Table{Name: "t"}
			if tt.key != nil {
				table.Keys = [][]string{tt.key}
			}
			for _, c := range tt.columns {
				kind := "text"
				if c == "row_number" {
					kind = "integer"
				}
				table.Columns = append(table.Columns, infer.NewColumn(c, kind, kind))
			}
			bodies := repeat(3, `{"order_id":"o-%d","note":"n","lines":[{"sku":"a","note":"x"},{"sku":"b","note":"y"}]}`)
			s := infer.New(table)
			for _, b := range bodies {
				s.Add([]byte(b))
			}
			text, err := s.Draft("sample")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			m, err := model.Parse("m.yaml", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			accepts(t, text, m, bodies...)
		})
	}
}

// TestTableKeys: of the table's own keys, one that messages do not repeat comes first, and the draft
// says if they do.
func TestTableKeys(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		bodies []string
		want   string
	}{
		"an event's id":                    {repeat(3, `{"order_id":"o-%d","status":"paid","event_id":"e-%d"}`), "\nkey: [event_id] # a unique key of the table\n# The table has a unique key (order_id) too: a message that repeats that one is rejected\n"},
		"states":                           {repeat(3, `{"order_id":"o-%d","status":"paid"}`), "\nkey: [order_id] # a unique key of the table. If more messages about the same one follow, as status says, they are taken for duplicates; with on_conflict: replace the newest is kept\n"},
		"repeated":                         {append(repeat(3, `{"order_id":"o-%d"}`), `{"order_id":"o-1"}`), "\nkey: [order_id] # a unique key of the table. Bodies of the sample repeat it: all but the first of each are taken for duplicates; with on_conflict: replace the newest is kept\n"},
		"a column too narrow for metadata": {repeat(3, `{"order_id":"o-%d"}`), "\n  sent_at: {type: timestamp, meta: sent_at}\n  # mask_key (varchar(3)): nothing in the sample fills it\n"},
		"nothing is told":                  {repeat(3, `{"order_id":"o-%d"}`), "\nkey: [order_id] # a unique key of the table\n"},
		"a fine time":                      {repeat(3, `{"at":"2026-01-31T12:00:00.00000%d001Z"}`), "\nledger: sluice_ledger # no unique key of the table is filled by every body, with values that a key takes\n"},
		"a number in a text":               {repeat(3, `{"order_id":%d.5}`), "\nledger: sluice_ledger # no unique key of the table is filled by every body, with values that a key takes\n"},
		"a coarse time":                    {repeat(3, `{"second":"2026-01-31T12:00:00.%dZ"}`), "\nkey: [second] # a unique key of the table. second keeps 0 digits of a second: messages that differ in less are taken for duplicates\n"},
		"another key":                      {repeat(3, `{"order_id":"o-%d","at":"2026-01-31T12:00:00.%dZ"}`), "\nkey: [order_id] # a unique key of the table\n# The table has a unique key (at) too: a message that repeats that one is rejected\n"},
		"a time":                           {repeat(3, `{"at":"2026-01-31T12:00:00.00000%dZ"}`), "\nkey: [at] # a unique key of the table\n"},
		"JSON in text of a column":         {repeat(3, `{"at":"2026-01-31T12:00:00.00000%dZ","status":"{\"a\":1}"}`), "\n  status: {type: text, required: true} # 3 of 3 are text; 3 of 3 hold a JSON document, which unwrap: [{json: $.status}] would read; distinct values: 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table := &infer.Table{Name: "t", Keys: [][]string{{"order_id"}, {"event_id"}, {"at"}, {"second"}}}
			for _, c := range []string{"order_id", "status", "event_id"} {
				table.Columns = append(table.Columns, &infer.Column{Name: c, Type: "text", Base: "text"})
			}
			table.Columns = append(table.Columns, infer.NewColumn("sent_at", "timestamp(3)", "timestamp(3)"), infer.NewColumn("mask_key", "varchar(3)", "varchar(3)"), infer.NewColumn("at", "timestamptz", "timestamptz"), infer.NewColumn("second", "timestamp(0) with time zone", "timestamp(0) with time zone"))
			s := infer.New(table)
			for _, b := range tt.bodies {
				s.Add([]byte(b))
			}
			text, err := s.Draft("sample")
			if err != nil || !strings.Contains(text, tt.want) {
				t.Fatalf("%v: it lacks %q:\n%s", err, tt.want, text)
			}
			if m, err := model.Parse("m.yaml", []byte(text)); err != nil {
				t.Error(err)
			} else {
				accepts(t, text, m, tt.bodies...)
			}
		})
	}
}

// TestMisfits: a draft says which values of a sample a live column does not take, and what would take
// them.
func TestMisfits(t *testing.T) {
	t.Parallel()
	v := func(n int, value string) []string { return repeat(n, `{"a":1,"v":`+value+`}`) }
	both := func(a, b []string) []string { return slices.Concat(a, b) }
	for name, tt := range map[string]struct {
		column, base string
		enum         []string
		bodies       []string
		want         string // the line of v, or of what is left out
	}{
		"no zone in some":        {"timestamptz", "", nil, both(v(8, `"2026-01-31T12:00:00Z"`), v(2, `"2026-01-31T12:00:00"`)), "v: {type: timestamp, required: true} # 8 of 10 are RFC 3339 that the column's type timestamptz holds: the others will be rejected. 2 of 10 are ISO 8601 without a zone; format: iso8601 with zone, as in zone: Europe/Berlin, reads all"},
		"no zone at all":         {"timestamptz", "", nil, v(4, `"2026-01-31T12:00:00"`), "# $.v: column v of type timestamptz does not hold most of the values: 4 of 4 are ISO 8601 without a zone; format: iso8601 with zone, as in zone: Europe/Berlin, reads all"},
		"two kinds of times":     {"timestamptz", "", nil, both(v(3, `"2026-01-31T12:00:00Z"`), v(2, `1767225600000`)), "v: {type: timestamp, required: true} # 3 of 5 are RFC 3339 that the column's type timestamptz holds: the others will be rejected. 2 of 5 are Unix time in milliseconds by their magnitude: type: timestamp, format: unix_ms reads them, but not the others"},
		"too long":               {"varchar(3)", "", nil, both(v(3, `"abc"`), v(1, `"abcdef"`)), "v: {type: text, required: true} # 3 of 4 are text that the column's type varchar(3) holds: the others will be rejected. 1 of 4 do not fit: expected at most 3 characters, which varchar(3) holds (the longest has 6): ALTER COLUMN v TYPE text would hold them"},
		"too long for a domain":  {"code", "character varying(3)", nil, both(v(3, `"abc"`), v(1, `"abcdef"`)), "v: {type: text, required: true} # 4 of 4 are text; 1 of 4 are longer than 3 characters, which code holds (the longest has 6)"},
		"too large":              {"smallint", "", nil, both(v(3, `1`), v(1, `70000`)), "v: {type: integer, required: true} # 3 of 4 are integers that the column's type smallint holds: the others will be rejected. 1 of 4 do not fit: expected a number that smallint holds: ALTER COLUMN v TYPE bigint would hold them"},
		"a fraction":             {"integer", "", nil, both(v(3, `1`), v(1, `1.5`)), "v: {type: integer, required: true} # 3 of 4 are integers that the column's type integer holds: the others will be rejected. 1 of 4 do not fit: expected an integer, found a number with a fraction or an exponent: ALTER COLUMN v TYPE numeric would hold them"},
		"an exponent":            {"integer", "", nil, both(v(3, `1`), v(1, `1e2`)), "v: {type: integer, required: true} # 3 of 4 are integers that the column's type integer holds: the others will be rejected. 1 of 4 do not fit: expected an integer, found a number with a fraction or an exponent; accept: [string, number] reads all"},
		"leading zeros":          {"integer", "", nil, both(v(3, `"1"`), v(1, `"01"`)), "v: {type: integer, accept: [string], required: true} # 3 of 4 are integers, in strings that the column's type integer holds: the others will be rejected. 1 of 4 do not fit: expected a number, found a string that is not one"},
		"digits after the point": {"numeric(4,2)", "", nil, both(v(3, `1.5`), v(1, `1.555`)), "v: {type: numeric, required: true} # 3 of 4 are numbers that the column's type numeric(4,2) holds: the others will be rejected. 1 of 4 do not fit: expected a number with as many digits as numeric(4,2) has: ALTER COLUMN v TYPE numeric would hold them"},
		"white space":            {"uuid", "", nil, both(v(3, `"6f1c0000-0000-4000-8000-000000000001"`), v(1, `" 6f1c0000-0000-4000-8000-000000000001"`)), "v: {type: uuid, required: true} # 3 of 4 are UUIDs that the column's type uuid holds: the others will be rejected. 1 of 4 do not fit: expected 36 characters, with dashes; trim: true reads all"},
		"blank":                  {"date", "", nil, both(v(3, `"2026-01-31"`), v(1, `""`)), "v: {type: date} # 3 of 4 are dates that the column's type date holds: the others will be rejected. 1 of 4 are blank; filled in 3 of 4 bodies"},
		"truth in capitals":      {"boolean", "", nil, both(v(3, `"true"`), v(1, `"False"`)), "v: {type: boolean, accept: [string], required: true} # 3 of 4 are booleans in strings that the column's type boolean holds: the others will be rejected. 1 of 4 do not fit: expected true or false, found a string that is neither; accept: [string] with trim: true and case: lower reads all"},
		"basic dates":            {"date", "", nil, v(3, `"20260131"`), "# $.v: column v of type date does not hold most of the values: 3 of 3 do not fit: the field is not a date such as 2026-01-31; format: iso8601 reads all"},
		"seconds in strings":     {"timestamptz", "", nil, v(3, `"1767225600"`), "# $.v: column v of type timestamptz does not hold most of the values: 3 of 3 do not fit: expected a time with a zone, such as 2026-01-31T12:00:00Z, in the years 1 to 9999; format: unix (or unix_ms, unix_us, unix_ns) with accept: [string] reads all"},
		"numbers of 1970":        {"timestamptz", "", nil, v(3, `7`), "# $.v: column v of type timestamptz does not hold most of the values: 3 of 3 do not look like Unix time in seconds by their magnitude; format: unix (or unix_ms, unix_us, unix_ns) with accept: [string] reads all"},
		"strings and numbers":    {"uuid", "", nil, both(v(3, `"6f1c0000-0000-4000-8000-000000000001"`), v(1, `7`)), "v: {type: uuid, required: true} # 3 of 4 are UUIDs that the column's type uuid holds: the others will be rejected. 1 of 4 are numbers"},
		"an enum":                {"mood", "", []string{"happy", "sad"}, both(v(3, `"happy"`), v(2, `"canary%d"`)), "v: {type: text, required: true} # 5 of 5 are text; 2 of 5 are not labels of the enum mood (distinct values: 2): ALTER TYPE mood ADD VALUE takes them up, else they are rejected"},
		"an enum in capitals":    {"mood", "", []string{"happy", "sad"}, both(v(3, `"happy"`), v(2, `"SAD"`)), "v: {type: text, required: true} # 5 of 5 are text; 2 of 5 are not labels of the enum mood (distinct values: 1); case: lower reads all"},
		"objects":                {"text", "", nil, v(3, `{"x":1}`), "# $.v: column v of type text does not hold what is sent, objects: read a member of it by a path, or use a column of jsonb"},
		"objects and text":       {"text", "", nil, both(v(3, `{"x":1}`), v(1, `"x"`)), "# $.v: column v of type text does not hold what is sent, 1 strings, 3 objects: read a member of it by a path, or use a column of jsonb"},
		"lists":                  {"text[]", "", nil, both(v(3, `["x"]`), v(1, `[1]`)), "# $.v: column v of type text[] does not hold all of the lists: their elements are 3 strings, 1 numbers"},
		"a list":                 {"text", "", nil, v(3, `["x"]`), "# $.v: column v of type text does not hold what is sent, 3 arrays: read a member of it by a path, or use a column of jsonb"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := tt.base
			if base == "" {
				base = tt.column
			}
			s := infer.New(&infer.Table{Name: "t", Columns: []*infer.Column{infer.NewColumn("a", "integer", "integer"), infer.NewColumn("v", tt.column, base, tt.enum...)}})
			for _, b := range tt.bodies {
				s.Add([]byte(b))
			}
			text, err := s.Draft("sample")
			if err != nil || !strings.Contains(text, "\n  "+tt.want+"\n") || strings.Contains(text, "canary") || tt.want == "" {
				t.Errorf("%v: it lacks %q:\n%s", err, tt.want, text)
			}
		})
	}
}

// TestNamesThatAreData: a draft has no name that is data, whatever the sample is keyed by.
func TestNamesThatAreData(t *testing.T) {
	t.Parallel()
	people := strings.Fields("canaryann canarybob canarycid canarydan canaryeve canaryfay canarygus canaryhal canaryida canaryjim canarykim canaryleo")
	for name, bodies := range map[string][]string{
		"e-mail addresses":        repeat(20, `{"a":1,"m":{"canary%d@example.com":{"x":%d}}}`),
		"at the top":              repeat(20, `{"a":1,"canary%d@example.com":{"x":%d}}`),
		"ids":                     repeat(20, `{"a":1,"m":{"canary-%d":{"x":%d}}}`),
		"numbers":                 repeat(20, `{"a":1,"m":{"77%d":{"canary%d@example.com":1}}}`),
		"uuids":                   repeat(20, `{"a":1,"m":{"6f1c0000-0000-4000-8000-77%d":{"x":%d}}}`),
		"days":                    repeat(20, `{"a":1,"m":{"2077-01-%d":1}}`),
		"people, one in each":     nil,
		"people, one in a few":    nil,
		"people at the top":       nil,
		"values":                  repeat(20, `{"a":1,"m":"canary%d","n":["canary%d"],"o":{"p":"canary"}}`),
		"deep":                    repeat(20, strings.Repeat(`{"a":1,"x":`, 30)+`{"canary%d":1}`+strings.Repeat("}", 30)),
		"in an array":             repeat(20, `{"a":1,"m":[{"canary%d@example.com":1}]}`),
		"a name in one body":      append(repeat(20, `{"a":1}`), `{"a":1,"canary":1}`, `{"a":1,"b":{"canary":1}}`),
		"a name that is too long": repeat(20, `{"a":1,"`+strings.Repeat("canary", 20)+`":1}`),
		"control characters":      repeat(20, `{"a":1,"canary\u0007":1,"canary\n":2}`),
		"bidirectional":           repeat(20, `{"a":1,"canary\u202e":1}`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 3 * len(people) {
				who := people[i%len(people)]
				switch name {
				case "people, one in each":
					bodies = append(bodies, fmt.Sprintf(`{"a":1,"m":{%q:%d}}`, who, i))
				case "people, one in a few":
					bodies = append(bodies, fmt.Sprintf(`{"a":1,"m":{%q:{"x":%d},%q:{"x":1}}}`, who, i, people[(i+1)%len(people)]))
				case "people at the top":
					if i < len(people) {
						bodies = append(bodies, fmt.Sprintf(`{"a":1,%q:{"x":%d}}`, who, i))
					}
				}
			}
			text, m := draft(t, bodies...)
			for _, secret := range []string{"canary", "2077", "6f1c", "77"} {
				if strings.Contains(strings.ToLower(text), secret) {
					t.Errorf("%s shows:\n%s", secret, text)
				}
			}
			accepts(t, text, m, bodies...)
		})
	}
}

// TestOtherCase: two names that differ in case only are both left out, since a model rejects a body
// that has the one it does not read.
func TestOtherCase(t *testing.T) {
	t.Parallel()
	bodies := []string{`{"a":1,"id":1,"o":{"Key":1}}`, `{"a":1,"ID":"x","o":{"key":"x"}}`}
	bodies = append(bodies, bodies...)
	text, m := draft(t, bodies...)
	if len(m.Fields) != 1 || strings.Count(text, "upper and lower case") != 4 {
		t.Error(text)
	}
	accepts(t, text, m, bodies...)

	bodies = []string{`{"a":1,"doc":"{\"x\":1}"}`, `{"a":1,"doc":"{\"x\":1}","Doc":2}`}
	text, m = draft(t, bodies...) // a path of unwrap is one too
	if strings.Contains(text, "unwrap") {
		t.Error(text)
	}
	accepts(t, text, m, bodies...)
}

func TestBodiesWithoutMembers(t *testing.T) {
	t.Parallel()
	for _, bodies := range [][]string{{`{"a":1}`, `{}`, `{"a":1}`}, {`{"a":1,"c":null}`, `{"c":null}`, `{"a":1}`}} {
		text, m := draft(t, bodies...)
		if !strings.Contains(text, "\nallow_empty: true # ") {
			t.Error(text)
		}
		accepts(t, text, m, bodies...)
	}
	if text, _ := draft(t, `{"a":1}`, base64.StdEncoding.EncodeToString([]byte(`{"b":1}`)), `{"a":2}`); strings.Contains(text, "allow_empty") {
		t.Error(text) // it is not of the bodies that are read
	}
	if text, _ := draft(t, `{"a":1}`, `{"a":null}`, `{"b":"x"}`, `{"b":"y"}`); strings.Contains(text, "allow_empty") {
		t.Error(text)
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	s := infer.New(nil)
	for _, body := range []string{`{"a":1}`, "\ufeff {\"a\":2} ", "not JSON", "", `{"a":1,"a":2}`, `{"a":"\ud800"}`, "{\"a\":\"\xff\"}", `[1]`, `"x"`, `{} {}`, base64.StdEncoding.EncodeToString([]byte(`{"z":1}`))} {
		s.Add([]byte(body))
	}
	if s.Bodies != 11 || s.NotJSON != 6 || s.NotObject != 2 {
		t.Errorf("got %d, %d, %d", s.Bodies, s.NotJSON, s.NotObject)
	}
	if text, err := s.Draft("x"); err != nil || !strings.Contains(text, "from 2 bodies") {
		t.Error(text, err)
	}
	for _, body := range []string{"", `[]`, `{}`, `{"a":null}`, `{"ann@example.com":1}`, `{"lat":1.5}`} {
		s := infer.New(nil)
		if body != "" {
			s.Add([]byte(body))
		}
		if text, err := s.Draft("x"); !errors.Is(err, infer.ErrNothing) || text != "" || strings.Contains(err.Error(), "ann@") {
			t.Errorf("%s: %v, %s", body, err, text)
		}
	}
}

func compressed(t *testing.T, text string, zstandard bool) string {
	t.Helper()
	var out bytes.Buffer
	if zstandard {
		w, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(text))
		w.Close()
	} else {
		w := gzip.NewWriter(&out)
		_, _ = w.Write([]byte(text))
		w.Close()
	}
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

func TestUnwrap(t *testing.T) {
	t.Parallel()
	inner := `{"order_id":"%d","total":1.5}`
	for name, tt := range map[string]struct {
		wrap func(string) string
		want string
	}{
		"base64":       {func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }, "unwrap: [base64]\n"},
		"gzip":         {func(s string) string { return compressed(t, s, false) }, "unwrap: [base64, gzip]\n"},
		"zstd":         {func(s string) string { return compressed(t, s, true) }, "unwrap: [base64, zstd]\n"},
		"in a string":  {func(s string) string { return `{"payload":` + strconv.Quote(s) + `,"kind":"x"}` }, "unwrap: [{json: $.payload}]\n"},
		"logs":         {func(s string) string { return `{"awslogs":{"data":` + strconv.Quote(compressed(t, s, false)) + `}}` }, "unwrap: [{json: $.awslogs.data}, base64, gzip]\n"},
		"two strings":  {func(s string) string { return `{"a":` + strconv.Quote(`{"b":`+strconv.Quote(s)+`}`) + `}` }, "unwrap: [{json: $.a}, {json: $.b}]\n"},
		"in a record":  {func(s string) string { return `{"Records":[{"body":` + strconv.Quote(s) + `}]}` }, "unwrap: [{json: \"$.Records[0].body\"}]\n"},
		"named oddly":  {func(s string) string { return `{"it's":` + strconv.Quote(s) + `}` }, `unwrap: [{json: "$['it\\'s']"}]` + "\n"},
		"not wrapped":  {func(s string) string { return s }, ""},
		"a small one":  {func(s string) string { return strings.TrimSuffix(s, "}") + `,"note":"{\"a\":1}","blank":" "}` }, ""},
		"with padding": {func(s string) string { return compressed(t, s+" ", false) }, "unwrap: [base64, gzip]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bodies []string
			for _, s := range repeat(12, inner) {
				bodies = append(bodies, tt.wrap(s))
			}
			text, m := draft(t, bodies...)
			if !strings.Contains(text, tt.want) || tt.want == "" && strings.Contains(text, "\nunwrap") {
				t.Errorf("it lacks %q:\n%s", tt.want, text)
			}
			if got := line(text, "total"); got != "total: {type: numeric, required: true} # 12 of 12 are numbers" {
				t.Errorf("got %s\n%s", got, text)
			}
			if name == "a small one" && line(text, "blank") != "blank: {type: text} # 12 of 12 are text; all are blank; filled in 0 of 12 bodies" {
				t.Error(text)
			}
			if name == "in a string" && line(text, "kind") != "kind: {type: text, required: true, layer: 0} # 12 of 12 are text; distinct values: 1" {
				t.Error(text)
			}
			accepts(t, text, m, bodies...)
		})
	}
}

// TestMixed: a sample of bodies that are wrapped in different ways says so, with counts, and is drafted
// from those that are most.
func TestMixed(t *testing.T) {
	t.Parallel()
	raw := repeat(12, `{"order_id":"o-%d","total":%d}`)
	sns := repeat(8, `{"Type":"Notification","MessageId":"m-%d","TopicArn":"arn","Message":"{\"order_id\":\"o-%d\",\"total\":%d}"}`)
	const (
		queues = "a model reads bodies of one kind: give each kind a queue and a model of its own"
		orRaw  = "a model reads bodies of one kind: turn on raw message delivery for the SNS subscription, or give each kind a queue and a model of its own"
	)
	for name, tt := range map[string]struct {
		bodies, drafted []string
		want            []string // lines
	}{
		"alike":                    {raw, raw, nil},
		"an optional document":     {append(repeat(12, `{"id":%d,"more":"{\"id\":%d}"}`), `{"id":7}`), nil, nil},
		"a document of its own":    {append(repeat(12, `{"id":%d}`), repeat(12, `{"id":%d,"more":"{\"x\":1}"}`)...), nil, nil},
		"few in SNS":               {append(sns, raw...), raw, []string{"8 of 20 bodies are SNS notifications: the draft does not read them, but the 12 that are JSON without an envelope", orRaw}},
		"most in SNS":              {append(raw[:2:2], sns...), sns, []string{"2 of 10 bodies are JSON without an envelope: the draft does not read them, but the 8 that are SNS notifications", orRaw}},
		"S3's test event":          {append(repeat(2, `{"Records":[{"n":%d}]}`), `{"Event":"s3:TestEvent"}`), repeat(2, `{"Records":[{"n":%d}]}`), []string{"1 of 3 bodies are JSON without an envelope: the draft does not read them, but the 2 that are records such as S3's notifications", queues}},
		"records beside something": {append(repeat(2, `{"a":1,"Records":[{"n":%d}]}`), `{"a":1}`), nil, nil},
		"one in base64":            {append(raw[:12:12], base64.StdEncoding.EncodeToString([]byte(raw[0]))), raw, []string{"1 of 13 bodies are JSON without an envelope in base64: the draft does not read them, but the 12 that are JSON without an envelope", queues}},
		"few in a string":          {append(repeat(3, `{"payload":"{\"order_id\":\"o-%d\",\"total\":%d}"}`), raw...), nil, []string{"3 of 15 bodies hold in $.payload a document with the members that others have themselves: the draft mixes both", queues}},
		"one in a string":          {append(repeat(1, `{"payload":"{\"order_id\":\"o-%d\",\"total\":%d}"}`), raw...), nil, []string{"1 of 13 bodies hold in a string a document with the members that others have themselves: the draft mixes both", queues}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := infer.New(nil)
			for _, b := range tt.bodies {
				s.Add([]byte(b))
			}
			if got := s.Mixed(); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if tt.drafted == nil {
				tt.drafted = tt.bodies
			}
			text, m := draft(t, tt.bodies...)
			for _, l := range tt.want {
				if !strings.Contains(text, "\n# Mixed: "+l+".\n") {
					t.Errorf("it lacks %q:\n%s", l, text)
				}
			}
			if strings.Count(text, "# Mixed: ") != len(tt.want) {
				t.Error(text)
			}
			accepts(t, text, m, tt.drafted...)
		})
	}
}

// TestHuge: a sample that has more names than anybody wants to see is drafted in bounds.
func TestHuge(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`{"a":1`)
	for i := range 1_500 {
		fmt.Fprintf(&b, `,"w%s":%d`, strings.Map(func(r rune) rune { return r - '0' + 'a' }, strconv.Itoa(i)), i)
	}
	body := b.String() + "}"
	text, m := draft(t, body, body)
	if len(m.Fields) != 1000 || !strings.Contains(text, "  # $.*: members after the first 1,000 names of one object: 1,002\n") {
		t.Errorf("%d fields\n%.3000s", len(m.Fields), text)
	}
	accepts(t, text, m, body)
	wide := `{"m":` + body + `,"n":` + body + `}`
	text, m = draft(t, wide)
	if len(m.Fields) != 1000 || !strings.Contains(text, "  # *: members after the first 1,000 fields: 1\n") {
		t.Errorf("%d fields\n%.3000s", len(m.Fields), text)
	}
	accepts(t, text, m, wide)
}

// TestAnySample: whatever a sample is, its draft loads and accepts it.
func TestAnySample(t *testing.T) {
	t.Parallel()
	runs := 40
	if testing.Short() {
		runs = 60
	}
	withRows := 0
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 1))
		g := generator{r}
		shape := g.shape(0)
		var bodies []string
		for range 1 + r.IntN(40) {
			bodies = append(bodies, g.object(shape))
		}
		s := infer.New(nil)
		for _, b := range bodies {
			s.Add([]byte(b))
		}
		text, err := s.Draft("sample")
		if errors.Is(err, infer.ErrNothing) {
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		m, err := model.Parse("draft", []byte(text))
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if strings.Contains(strings.ToLower(text), "canary@") || strings.Contains(text, `"canary"`) {
			t.Fatalf("seed %d: a value shows\n%s", seed, text)
		}
		if strings.Contains(text, "\nrows: ") {
			withRows++
		}
		if s.Mixed() == nil {
			accepts(t, fmt.Sprintf("seed %d\n%s", seed, text), m, bodies...)
		}
	}
	if withRows == 0 {
		t.Error("no draft has rows")
	}
}

// generator makes bodies of random shapes.
type generator struct{ *rand.Rand }

type member struct {
	name   string
	values []string  // to choose from, "" is absent
	inner  *[]member // of objects
	items  *[]member // of objects in an array
}

func (g generator) pick(of []string) string { return of[g.IntN(len(of))] }

var (
	generatedNames = []string{"id", "order_id", "userId", "user_id", "ID", "name", "null", "yes", "select", "größe", "email", "x y", "a.b", "$", "it's", `q"`, "-", "ip", "createdAt", "ts", "version", "tags", "items", "m", "n", "status", "amount", "Records", "payload", "lat", "ctid", "message_id", "sent_at", "mask_key", "canary@example.com", "canary-1", "2077canary"}
	generatedTexts = []string{`"canary"`, `""`, `" "`, `"canary@example.com"`, `"203.0.113.7"`, `"2026-01-31"`, `"2026-01-31T12:00:00Z"`, `"2026-01-31 12:00:00+0100"`, `"2026-01-31T12:00:00"`, `"2.3.0"`, `"12.50"`, `"007"`, `"12"`, `"true"`, `"6f1c0000-0000-4000-8000-000000000001"`, `"6f1c0000000040008000000000000001"`, `"4111111111111111"`, `"\u0000"`, `"\ud83d\ude00"`, `"{\"w\":1}"`, `"P1DT2H"`, `"12:34:56"`, `"eyJ4IjoxfQ=="`, `"NaN"`, `"now"`, `"1e5"`}
	generatedPlain = []string{`1`, `-0`, `0`, `1.5`, `1e3`, `1e999999`, `1767225600`, `1767225600000`, `99999999999999999999`, `true`, `false`, `null`, `4111111111111111`, `[]`, `{}`, `[1,2]`, `["a"]`, `["a",null]`, `[1,"a"]`, `[[1]]`, `[{"a":1}]`, `[{"a":1},{"a":2,"b":"x","id":"o-1"}]`, `[{"canary@example.com":1}]`, `{"canary-1":1}`}
)

func (g generator) shape(depth int) (all []member) {
	for range 1 + g.IntN(9) {
		m := member{name: g.pick(generatedNames)}
		if g.IntN(3) == 0 {
			m.name += g.pick([]string{"_a", "B", "c"})
		}
		switch g.IntN(9) {
		case 8:
			if depth < 2 {
				items := g.shape(depth + 1)
				m.items = &items
			}
			m.values = []string{"null", "", "[]"}
		case 0:
			if depth < 3 {
				inner := g.shape(depth + 1)
				m.inner = &inner
			}
			fallthrough
		case 1, 2:
			m.values = []string{g.pick(generatedPlain)}
		case 3:
			m.values = []string{g.pick(generatedPlain), g.pick(generatedTexts), ""}
		case 4:
			m.values = []string{g.pick(generatedTexts), g.pick(generatedTexts), "null", ""}
		default:
			m.values = []string{g.pick(generatedTexts)}
		}
		all = append(all, m)
	}
	return all
}

func (g generator) object(shape []member) string {
	var parts []string
	known := map[string]bool{}
	for _, m := range shape {
		v := g.pick(m.values)
		if m.inner != nil && g.IntN(20) > 0 {
			v = g.object(*m.inner)
		}
		if m.items != nil && g.IntN(20) > 0 {
			var items []string
			for range g.IntN(4) {
				items = append(items, g.object(*m.items))
			}
			v = "[" + strings.Join(items, ",") + "]"
		}
		if v == "" || known[m.name] {
			continue
		}
		known[m.name] = true
		parts = append(parts, strconv.Quote(m.name)+":"+v)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// TestEnvelopes: the forms in which services wrap messages have short names and the service's own key.
func TestEnvelopes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		body string
		want []string
	}{
		"SNS": {
			`{"Type":"Notification","MessageId":"6f1c0000-0000-4000-8000-%012d","TopicArn":"arn:aws:sns:eu-central-1:123456789012:orders","Message":"{\"order_id\":\"o-1\",\"total\":12.5}","Timestamp":"2026-01-31T12:00:00.000Z","SignatureVersion":"1","Signature":"EXAMPLE","SigningCertURL":"https://sns.example/x.pem","UnsubscribeURL":"https://sns.example/?x"}`,
			[]string{"which are SNS notifications.", "key: [message_id] # ", "unwrap: [{json: $.Message}]\n", "  order_id: {type: text, required: true} #", "  topic_arn: {type: text, required: true, path: $.TopicArn, layer: 0} #", "  # $.Signature: of the envelope\n", "  sqs_message_id: {type: uuid, meta: message_id}\n"},
		},
		"SNS with a text": {
			`{"Type":"Notification","MessageId":"6f1c0000-0000-4000-8000-%012d","TopicArn":"arn","Message":"hello"}`,
			[]string{"which are SNS notifications.", "key: [message_id] # ", "  message: {type: text, required: true, path: $.Message} #"},
		},
		"EventBridge": {
			`{"version":"0","id":"6f1c0000-0000-4000-8000-%012d","detail-type":"Order Placed","source":"com.example.shop","account":"123456789012","time":"2026-01-31T12:00:00Z","region":"eu-central-1","resources":[],"detail":{"orderId":"o-%d","shop":{"id":"s"}}}`,
			[]string{"which are EventBridge events.", "key: [id] # what tells EventBridge events apart: it holds if a redrive renames a message\n# Not the key, though different in all 20 bodies: order_id. detail_type says ", "  detail_type: {type: text, required: true, path: \"$['detail-type']\"} #", "  order_id: {type: text, required: true, path: $.detail.orderId} #", "  shop_id: {type: text, required: true, path: $.detail.shop.id} #"},
		},
		"EventBridge by SNS": {
			`{"Type":"Notification","MessageId":"6f1c0000-0000-4000-8000-%012d","TopicArn":"arn","Message":"{\"detail-type\":\"x\",\"source\":\"y\",\"id\":\"z\",\"detail\":{\"n\":1}}"}`,
			[]string{"which are SNS notifications of EventBridge events.", "key: [message_id] # ", "  \"n\": {type: integer, required: true, path: $.detail.n} #"},
		},
		"CloudEvents": {
			`{"specversion":"1.0","type":"com.example.order","source":"/shop","id":"A-%d","time":"2026-01-31T12:00:00Z","data":{"orderId":%d}}`,
			[]string{"which are CloudEvents.", "key: [source, id] # ", "  specversion: {type: version, required: true} #", "  order_id: {type: integer, required: true, path: $.data.orderId} #"},
		},
		"S3": {
			`{"Records":[{"eventTime":"2026-01-31T12:00:00.000Z","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"photos"},"object":{"key":"in/%d.jpg","size":%d}}}]}`,
			[]string{"key: [sent_at, message_id, row_number]\n", "rows: \"$.Records[*]\"\n", "  s3_bucket_name: {type: text, required: true, path: $.s3.bucket.name} #", "  event_time: {type: timestamp, required: true, path: $.eventTime} #"},
		},
		"DynamoDB": {
			`{"eventID":"%d","eventName":"INSERT","dynamodb":{"Keys":{"id":{"S":"o-%d"}},"NewImage":{"id":{"S":"o-%d"},"paid":{"BOOL":true},"none":{"NULL":true},"tags":{"SS":["a"]},"to":{"M":{"shop":{"S":"x"}}}}}}`,
			[]string{"which are records of a DynamoDB stream.", "key: [event_id] # ", "  id: {type: text, required: true, path: $.dynamodb.NewImage.id.S} #", "  keys_id: {type: text, required: true, path: $.dynamodb.Keys.id.S} #", "  to_shop: {type: text, required: true, path: $.dynamodb.NewImage.to.M.shop.S} #", "  # $.dynamodb.NewImage.none.NULL: it says that the value is null"},
		},
		"Debezium": {
			`{"before":null,"after":{"id":%d,"first_name":"Anne"},"source":{"connector":"postgresql","table":"customers"},"op":"c"}`,
			[]string{"which are change events such as Debezium's.", "key: [sent_at, message_id]\n", "  id: {type: integer, required: true, path: $.after.id} #", "  first_name: {type: text, personal: true, required: true, path: $.after.first_name} #"},
		},
		"records, sometimes two": {
			`{"Records":[{"a":1},{"a":2}]}`,
			[]string{"# A row for each element of $.Records: 20 of 20 bodies have several. ", "  a: {type: integer, required: true} # 40 of 40 are integers\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var bodies []string
			for i := range 20 {
				body := strings.ReplaceAll(tt.body, "%012d", fmt.Sprintf("%012d", i))
				bodies = append(bodies, strings.ReplaceAll(body, "%d", strconv.Itoa(i)))
			}
			text, m := draft(t, bodies...)
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q:\n%s", want, text)
				}
			}
			accepts(t, text, m, bodies...)
		})
	}
}
