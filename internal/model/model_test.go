package model_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/models"
)

func load(t testing.TB, name string) *model.Model {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read runs one body through a model and returns its row as text.
func read(t testing.TB, m *model.Model, body string) (map[string]string, message.Rejection) {
	t.Helper()
	b := batch.New(m.Table)
	msg := message.Message{ID: "00000000-0000-4000-8000-000000000001", Body: []byte(body), HasBody: true, SentMillis: 1767225599999, HasSent: true}
	v := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &msg)
	bad := v.Rejection
	if !v.IsZero() {
		if b.Len() != 0 {
			t.Errorf("a rejected body left a row")
		}
		saysEnough(t, bad)
		return nil, bad
	}
	return text(b, 0), bad
}

// text returns a row of a batch as text.
func text(b *batch.Batch, row int) map[string]string {
	cells := map[string]string{}
	b.Row(row, func(c int, v []byte) {
		col := b.Columns(0)[c]
		if v == nil {
			cells[col.Name] = "NULL"
			return
		}
		epoch := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		switch col.Kind {
		case batch.Text:
			cells[col.Name] = string(v)
		case batch.Int4:
			cells[col.Name] = fmt.Sprint(int32(binary.BigEndian.Uint32(v)))
		case batch.Int8:
			cells[col.Name] = fmt.Sprint(int64(binary.BigEndian.Uint64(v)))
		case batch.Bool:
			cells[col.Name] = fmt.Sprint(v[0] == 1)
		case batch.Date:
			cells[col.Name] = epoch.AddDate(0, 0, int(int32(binary.BigEndian.Uint32(v)))).Format(time.DateOnly)
		case batch.Timestamp, batch.TimestampNoZone:
			cells[col.Name] = time.UnixMicro(epoch.UnixMicro() + int64(binary.BigEndian.Uint64(v))).UTC().Format(time.RFC3339Nano)
		case batch.UUID:
			cells[col.Name] = uuid.UUID(v).String()
		case batch.TimeOfDay, batch.Float4, batch.Float8, batch.Binary:
			cells[col.Name] = string(col.Kind.AppendText(nil, v))
		}
	})
	return cells
}

func TestUserLogin(t *testing.T) {
	got, bad := read(t, load(t, "user_logins"), "\xef\xbb\xbf \n"+`{"user_id": "u", "app_version": "2.3.0", "device_type": "ios", "ip": "::ffff:203.0.113.7", "device_id": "593-47-5928", "locale": "", "more": {"IP": [1]}}`+"\t")
	if !bad.IsZero() {
		t.Fatal(bad)
	}
	want := map[string]string{
		"user_id": "u", "device_type": "ios", "locale": "", "app_version": "2", "app_version_full": "2.3.0",
		"masked_ip":        "fec52565aa0cf18f57d7cf5b3ac728503b8992d2d6f7d46da1d1201090902b02",
		"masked_device_id": "4f00c1a807b673887c7af517d0df68e6b41aecf8cbec26c71fe4c580664669ed",
		"create_date":      "2025-12-31", "sent_at": "2025-12-31T23:59:59.999Z", "mask_key": "sha256", "message_id": "00000000-0000-4000-8000-000000000001",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
}

func TestBodiesThatReject(t *testing.T) {
	const rest = `,"ip":"203.0.113.7","device_id":"d"}`
	for _, tt := range []struct{ name, body, want string }{
		{"empty", "", "not_json: it is empty"},
		{"no JSON", "not json", "not_json at byte 2: a word without double quotes"},
		{"null", "null", "not_an_object: expected an object, found null"},
		{"an array", "[]", "not_an_object: expected an object, found an array"},
		{"a broken array", "[", "not_json at byte 1: it ends too early"},
		{"empty object", "{}", "unrecognized: required and missing: user_id"},
		{"blank", `{"user_id":" \u3000"` + rest, "missing user_id: expected a value, found a blank string"},
		{"null field", `{"user_id":null` + rest, "missing user_id: expected a value, found null at $.user_id"},
		{"two objects", `{"user_id":"u"}{}`, "not_json at byte 16: more text follows the JSON value"},
		{"rubbish behind", `{"user_id":"u"} x`, "not_json at byte 17: more text follows the JSON value"},
		{"a NUL behind", "{\"user_id\":\"u\"}\x00", "not_json at byte 16: more text follows the JSON value"},
		{"a second BOM", "\xef\xbb\xbf\xef\xbb\xbf{}", "not_json at byte 4: no JSON value begins here"},
		{"duplicate", `{"user_id":"u","user_id":"u"}`, "duplicate_key at byte 16"},
		{"duplicate, escaped", `{"user_id":"u","user_\u0069d":"u"}`, "duplicate_key at byte 16"},
		{"duplicate, nested and unread", `{"user_id":"u","x":[{"a":1,"a":2}]}`, "duplicate_key at byte 28"},
		{"lone surrogate, unread", `{"user_id":"u","x":"\ud800"}`, "not_json at byte 21: an escape that JSON does not have"},
		{"invalid UTF-8, unread", "{\"user_id\":\"u\",\"x\":\"\xff\"}", "not_json at byte 21: it is not UTF-8"},
		{"key in other case", `{"user_id":"u","IP":"x"}`, "key_case ip: expected exactly $.ip"},
		{"key in other case, escaped", `{"user_id":"u","\u0049p":"x"}`, "key_case ip: expected exactly $.ip"},
		{"key in other case beside the right one", `{"user_id":"u","ip":"1.1.1.1","Ip":"x"}`, "key_case ip: expected exactly $.ip"},
		{"key in other case by Unicode's folding", `{"u\u017fer_id":"u"}`, "key_case user_id: expected exactly $.user_id"},
		{"syntax comes before case", `{"IP":"x",`, "not_json at byte 10: it ends too early"},
		{"a number for a text", `{"user_id":7` + rest, "wrong_type user_id: expected a string, found a number"},
		{"true for a masked text", `{"user_id":"u","device_id":true}`, "wrong_type device_id: expected a string, found a boolean"},
		{"an object for an address", `{"user_id":"u","ip":{}}`, "wrong_type ip: expected a string, found an object"},
		{"NUL", `{"user_id":"a\u0000b"}`, "nul_character user_id"},
		{"NUL in a masked one", `{"user_id":"u","device_id":"a\u0000"}`, "nul_character device_id"},
		{"too long", `{"user_id":"u","device_type":"` + strings.Repeat("é", 33) + `"}`, "too_long device_type: expected at most 32 characters, which varchar(32) holds"},
		{"no address", `{"user_id":"u","ip":"1.2.3"}`, "not_an_ip_address ip"},
		{"no version", `{"user_id":"u","app_version":"v3"}`, "not_a_version app_version"},
		{"a version's blank", `{"user_id":"u","app_version":""}`, "not_a_version app_version"},
		{"a version too big", `{"user_id":"u","app_version":"2147483648"}`, "out_of_range app_version: expected a number that integer holds"},
		{"a full version too long", `{"user_id":"u","app_version":"1-` + strings.Repeat("a", 63) + `"}`, "too_long app_version: expected at most 64 characters, which varchar(64) holds"},
		{"nested too deep", `{"user_id":"u","x":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + `}`, "not_json at byte 10019: it is nested too deep"},
		{"a megabyte of brackets", strings.Repeat("[", 1<<20), "not_json at byte 10001: it is nested too deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			row, bad := read(t, load(t, "user_logins"), tt.body)
			if bad.String() != tt.want {
				t.Errorf("got %q %v, want %q", bad, row, tt.want)
			}
		})
	}
}

func TestVersions(t *testing.T) {
	m := load(t, "user_logins")
	for body, want := range map[string]string{
		`"2.3.0"`: "2", `"0.96"`: "0", `"1.0.0.1"`: "1", `"2"`: "2", `"6.02"`: "6", `"2.3.0-beta"`: "2", `"2147483647"`: "2147483647", `"007.1"`: "7",
		`" 2.3\n"`: "2", `"1+build.5-x"`: "1", `"1-"`: "1", `null`: "NULL",
	} {
		row, bad := read(t, m, `{"user_id":"u","app_version":`+body+`}`)
		if row["app_version"] != want {
			t.Errorf("%s: got %s %v, want %s", body, row["app_version"], bad, want)
		}
	}
	for _, body := range []string{`"v3"`, `"."`, `"1."`, `".1"`, `"1..2"`, `"-1"`, `"+1"`, `"1 2"`, `"1.x"`, `"1-ü"`, `"１"`, `"1_0"`, `"1e3"`, `"two"`, `" "`, `"1\u00a0"`} {
		if _, bad := read(t, m, `{"user_id":"u","app_version":`+body+`}`); bad.Reason != message.ReasonNotVersion {
			t.Errorf("%s: got %v", body, bad)
		}
	}
}

const order = `{"order_id":"6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01","total":1,"currency":"EUR","placed_at":"2026-01-31T12:00:00Z"`

func TestOrders(t *testing.T) {
	m := load(t, "orders")
	for _, tt := range []struct{ member, column, want string }{
		{`"total":12.50`, "total", "12.50"},
		{`"total":-0.0001`, "total", "-0.0001"},
		{`"total":0.10000`, "total", "0.10000"},
		{`"total":99999999999999.9999`, "total", "99999999999999.9999"},
		{`"total":1e13`, "total", "1e13"},
		{`"total":1234500e-6`, "total", "1234500e-6"},
		{`"total":0e99`, "total", "0e99"},
		{`"total":0e99999`, "total", "0e99999"},
		{`"total":-0.00e-998`, "total", "-0.00e-998"},
		{`"total":-0.00e-999`, "total", "0"}, // Postgres would print all of the zeros
		{`"total":0e-99999`, "total", "0"},   // Postgres refuses such an exponent
		{`"total":-0.00E-99999`, "total", "0"},
		{`"total":0e999999999999`, "total", "0"},
		{`"total":0e-99999999999999999999`, "total", "0"},
		{`"total":0.` + strings.Repeat("0", 20_000), "total", "0"},
		{`"customer_email":" Ann@Example.com "`, "masked_email", ""},
		{`"customer_email":""`, "masked_email", "NULL"},
		{`"currency":"€€€"`, "currency", "€€€"},
		{`"item_count":-2147483648`, "item_count", "-2147483648"},
		{`"item_count":-0`, "item_count", "0"},
		{`"loyalty_points":9223372036854775807`, "loyalty_points", "9223372036854775807"},
		{`"gift":true`, "gift", "true"},
		{`"gift":null`, "gift", "NULL"},
		{`"placed_at":"2026-01-31T12:00:00.123456+02:00"`, "placed_at", "2026-01-31T10:00:00.123456Z"},
		{`"placed_at":"1999-12-31T23:59:59.5Z"`, "placed_at", "1999-12-31T23:59:59.5Z"},
		{`"deliver_on":"1999-02-28"`, "deliver_on", "1999-02-28"},
		{`"deliver_on":"2024-02-29"`, "deliver_on", "2024-02-29"},
		{`"session_id":"6F1C2F0E-3F43-4D0E-9F5A-3C9B6A1D2E01"`, "session_id", "6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01"},
		{`"lines":[{"sku": "a\\u0000", "n":1.10}]`, "lines", `[{"sku": "a\\u0000", "n":1.10}]`},
		{`"lines":"text"`, "lines", `"text"`},
		{`"lines":null`, "lines", "NULL"},
	} {
		row, bad := read(t, m, with(order, tt.member))
		if tt.want == "" && len(row[tt.column]) == mask.Size {
			continue
		}
		if row[tt.column] != tt.want {
			t.Errorf("%s: got %q %v, want %q", tt.member, row[tt.column], bad, tt.want)
		}
	}
	for _, tt := range []struct {
		member string
		want   message.Reason
	}{
		{`"total":"12.50"`, message.ReasonWrongType},
		{`"total":0.00001`, message.ReasonOutOfRange},
		{`"total":100000000000000`, message.ReasonOutOfRange},
		{`"total":1e14`, message.ReasonOutOfRange},
		{`"total":1e-5`, message.ReasonOutOfRange},
		{`"total":1e999999999999`, message.ReasonOutOfRange},
		{`"total":0.1e-99999`, message.ReasonOutOfRange},
		{`"total":10e99999`, message.ReasonOutOfRange},
		{`"total":true`, message.ReasonWrongType},
		{`"total":null`, message.ReasonMissing},
		{`"item_count":1.0`, message.ReasonNotInteger},
		{`"item_count":1e3`, message.ReasonNotInteger},
		{`"item_count":"1"`, message.ReasonWrongType},
		{`"item_count":2147483648`, message.ReasonOutOfRange},
		{`"loyalty_points":9223372036854775808`, message.ReasonOutOfRange},
		{`"gift":1`, message.ReasonWrongType},
		{`"gift":"true"`, message.ReasonWrongType},
		{`"placed_at":"2026-01-31 12:00:00Z"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-01-31T12:00:00"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-01-31T12:00:00,5Z"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-01-31T1:00:00Z"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-02-30T12:00:00Z"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-01-31T12:00:00+24:00"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-01-31T12:00:00+02:60"`, message.ReasonNotTimestamp},
		{`"placed_at":"2026-01-31T24:00:00Z"`, message.ReasonNotTimestamp},
		{`"placed_at":""`, message.ReasonMissing},
		{`"placed_at":1767225600`, message.ReasonWrongType},
		{`"deliver_on":"2026-1-31"`, message.ReasonNotDate},
		{`"deliver_on":"2026-02-29"`, message.ReasonNotDate},
		{`"deliver_on":""`, message.ReasonNotDate},
		{`"session_id":"{6f1c2f0e-3f43-4d0e-9f5a-3c9b6a1d2e01}"`, message.ReasonNotUUID},
		{`"session_id":"6f1c2f0e3f434d0e9f5a3c9b6a1d2e01"`, message.ReasonNotUUID},
		{`"currency":"EURO"`, message.ReasonTooLong},
		{`"customer_email":"nobody"`, message.ReasonNotEmail},
		{`"lines":["\u0000"]`, message.ReasonNUL},
		{`"lines":` + strings.Repeat("[", 201) + strings.Repeat("]", 201), message.ReasonTooDeep},
	} {
		if row, bad := read(t, m, with(order, tt.member)); bad.Reason != tt.want {
			t.Errorf("%.60s: got %v %v, want %s", tt.member, bad, row, tt.want)
		}
	}
}

// with puts a member into an object instead of the one of the same name.
func with(object, member string) string {
	name, _, _ := strings.Cut(member, ":")
	var members []string
	for m := range strings.SplitSeq(strings.TrimPrefix(object, "{"), ",") {
		if !strings.HasPrefix(m, name) {
			members = append(members, m)
		}
	}
	return "{" + strings.Join(append(members, member), ",") + "}"
}

func TestMessageUUID(t *testing.T) {
	for id, want := range map[string]string{
		"059f36b4-87a3-44ab-83d2-661975830a7d": "059f36b4-87a3-44ab-83d2-661975830a7d",
		"msg-1":                                uuid.NewSHA1(model.MessageNamespace, []byte("msg-1")).String(),
		// Another id, so it must be another UUID.
		"059F36B4-87A3-44AB-83D2-661975830A7D": uuid.NewSHA1(model.MessageNamespace, []byte("059F36B4-87A3-44AB-83D2-661975830A7D")).String(),
	} {
		if got := model.MessageUUID(id).String(); got != want {
			t.Errorf("%s: got %s, want %s", id, got, want)
		}
	}
	// Every character at every place, as uuid.Parse has it.
	const canonical = "059f36b4-87a3-44ab-83d2-661975830a7d"
	for at := range canonical {
		for c := range 256 {
			id := canonical[:at] + string([]byte{byte(c)}) + canonical[at+1:]
			want, err := uuid.Parse(id)
			if err != nil || strings.ToLower(id) != id {
				want = uuid.NewSHA1(model.MessageNamespace, []byte(id))
			}
			if got := model.MessageUUID(id); got != want {
				t.Errorf("%q: got %s, want %s", id, got, want)
			}
		}
	}
}

const valid = `model: m
table: s.t
key: [id]
fields:
  id: {type: uuid, required: true}
  ip: {type: ip, personal: true}
columns:
  id: {type: uuid, from: id}
  masked_ip: {type: varchar(64), from: ip, masked: true}
  at: {type: timestamptz, meta: sent_at}
  day: {type: date, meta: sent_date}
  message_id: {type: uuid, meta: message_id}
`

func TestModelsThatDoNotLoad(t *testing.T) {
	for _, tt := range []struct{ name, old, new, want string }{
		{"unknown type", "type: uuid, required", "type: uid, required", `m.yaml:5: field id has the unknown type "uid"`},
		{"unknown setting", "personal: true", "private: true", `m.yaml:6: field ip has no setting "private"; there are type, required, personal, domain, path, `},
		{"unknown setting on top", "key: [id]", "keys: [id]", `m.yaml:3: a model has no setting "keys"; there are model, when, ignore, table, domain, rows, also, key, ledger, on_conflict, newer_by, index, unwrap, `},
		{"personal in clear", ", masked: true", "", "m.yaml:9: column masked_ip would store the personal field ip in clear"},
		{"masked and not personal", "type: ip, personal: true", "type: text", "m.yaml:9: column masked_ip is masked, but field ip is not personal"},
		{"an address that is not personal", "type: ip, personal: true", "type: ip", "m.yaml:6: field ip is of type ip, which is personal"},
		{"two fields to one column", "  masked_ip:", "  id:", `m.yaml:9: column id is defined twice`},
		{"a field twice", "  ip:", "  id:", `m.yaml:6: field id is defined twice`},
		{"a setting twice", "type: uuid, required", "type: uuid, type: text, required", `m.yaml:5: field id: type is set twice`},
		{"a setting of the model twice", "key: [id]", "key: [id]\nkey: [id]", `m.yaml:4: key is set twice`},
		{"unknown field", "from: ip", "from: ipp", `m.yaml:9: column masked_ip is from the field "ipp"`},
		{"a field without a column", "columns:", "  x: {type: text}\ncolumns:", "m.yaml:7: field x has no column"},
		{"too narrow for a mask", "varchar(64)", "varchar(63)", "m.yaml:9: column masked_ip is too narrow"},
		{"a type that does not hold it", "type: uuid, from: id", "type: integer, from: id", "m.yaml:8: column id of type integer cannot hold field id"},
		{"unknown SQL type", "type: uuid, from: id", "type: guid, from: id", `m.yaml:8: column id: "guid" is not a type`},
		{"varchar without a length", "varchar(64)", "varchar", "m.yaml:9: column masked_ip: "},
		{"no key", "key: [id]", "", "m.yaml: key is missing"},
		{"a key that can be NULL", ", required: true", "", "m.yaml:3: key column id can be NULL"},
		{"a key that is no column", "key: [id]", "key: [idd]", "m.yaml:3: key column idd is not defined"},
		{"a key and a ledger", "key: [id]", "key: [id]\nledger: l", "m.yaml:4: key and ledger are both set"},
		{"a table that is no name", "table: s.t", `table: 's.t"; drop'`, "m.yaml:2: table"},
		{"a ledger that is the table", "table: s.t\nkey: [id]", "table: t\nledger: t", "m.yaml:3: the ledger must be another table than t"},
		{"a ledger that is the table of a schema", "key: [id]", "ledger: t", "m.yaml:3: the ledger must be another table than t"},
		{"a key with a default", "{type: uuid, required: true}", "{type: uuid, default: 00000000-0000-4000-8000-000000000001}", "m.yaml:3: key column id has a default, so all messages without field id would be one row"},
		{"a time that YAML 1.1 reads as one", "  ip:", "  x: {type: timestamp, default: 2026-01-01T00:00:00Z}\n  ip:", "m.yaml:6: field x: default: some readers of YAML do not take 2026-01-01T00:00:00Z for a text; write it in quotes"},
		{"an empty list", "key: [id]", "key: []\nledger: l", "m.yaml:3: key is an empty list"},
		{"an empty text", "table: s.t", "table: s.t\ndomain: ''", "m.yaml:3: domain is empty"},
		{"a key of the sent time", "key: [id]", "key: [at]", "m.yaml:3: the key is the sent time alone, and two messages can be sent in the same millisecond; add the column of message_id, as in key: [sent_at, message_id]"},
		{"a key of the sent time twice over", "key: [id]", "key: [day, at]", "m.yaml:3: the key is the sent time alone"},
		{"a second model", "meta: message_id}", "meta: message_id}\n---\nmodel: n", "m.yaml:13: a second document begins here"},
		{"a second document of anything", "meta: message_id}", "meta: message_id}\n...\n---\nmore", "m.yaml:14: a second document begins here"},
		{"a type with a comma", "varchar(64), from", "numeric(5, 2), from", `m.yaml:9: column masked_ip: a type with a comma needs quotes, as in type: "numeric(5, 2)"`},
		{"a merge", "type: ip, personal", "<<: {type: ip}, personal", "m.yaml:6: field ip has a name that is not plain text"},
		{"an alias", "from: ip", "from: *ip", "m.yaml:9: column masked_ip: from is not a plain value; anchors"},
		{"an index on json", "columns:", "  j: {type: json}\nindex: [[j]]\ncolumns:\n  j: {type: json, from: j}", "m.yaml:8: index: the column j is of type json, which has no order; use jsonb"},
		{"an index on a column that is not there", "key: [id]", "key: [id]\nindex: [[id, at], [j]]", "m.yaml:4: index: the column j is not defined"},
		{"a masked key", "key: [id]", "key: [masked_ip]", "m.yaml:3: key column masked_ip"},
		{"neither from nor meta", ", from: id", "", "m.yaml:8: column id needs either from"},
		{"unknown meta", "from: id}", "meta: sent}", `m.yaml:8: column id: unknown meta "sent"`},
		{"meta in another type", "from: id}", "meta: sent_at}", "m.yaml:8: column id of type uuid cannot hold sent_at; use timestamptz"},
		{"a part of what has none", "from: id}", "from: id, part: major}", "m.yaml:8: column id: only a version"},
		{"a setting that is almost one", "required: true", "requird: true", `max_length; did you mean required?`},
		{"a setting in another spelling", "personal: true", "maxLength: 3, personal: true", `max_length; did you mean max_length?`},
		{"another name of a type", "type: varchar(64)", "type: character varying(64)", `"character varying(64)" is not a type that sluice knows; write varchar(64)`},
		{"another name of a type, in capitals", "type: varchar(64)", "type: INT8", `"INT8" is not a type of a column; write bigint`},
		{"another name of the elements", "type: varchar(64)", `type: "int[]"`, `"int[]" is not a type that sluice knows; write integer[]`},
		{"a type of a schema", "type: varchar(64)", "type: billing.mood", `"billing.mood" is not a type of a column; for a type of the database, add as: text`},
		{"a layer that is not there", "personal: true", "layer: 1, personal: true", "m.yaml:6: field ip: layer: the body has one layer"},
		{"no YAML", "fields:", "fields: [", "m.yaml:"},
		{"a mark that YAML does not know", "table: s.t", "table: |canary", "m.yaml:2: invalid header option"},
		{"a tab", "  id: {type: uuid, from", "\tid: {type: uuid, from", "m.yaml:"},
		{"a tag where a list belongs", "key: [id]", "key: !!str id", "m.yaml:3: key is not a plain value; anchors, aliases, merges and tags are not allowed"},
		{"a field in two cases", "  ip:", "  ID: {type: text}\n  ip:", "m.yaml:6: fields id and ID read names that differ only in upper and lower case"},
		{"a list for a mapping", "columns:", "columns: [id]\nrest:", "m.yaml:7: columns must be a mapping of names, as in columns: {a: {type: text, from: user_id}}"},
		{"empty", "{type: uuid, required: true}", "", "m.yaml:5: field id is empty; it must be a mapping, as in id: {type: text}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(valid, tt.old, tt.new, 1)
			if text == valid {
				t.Fatal("nothing was replaced")
			}
			_, err := model.Parse("m.yaml", []byte(text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("got %v\nwant %s", err, tt.want)
			}
		})
	}
	if _, err := model.Parse("m.yaml", []byte(valid)); err != nil {
		t.Errorf("the model that the others are made of: %v", err)
	}
}

// TestKeys has keys that distinguish messages sent in the same millisecond.
func TestKeys(t *testing.T) {
	for _, key := range []string{"message_id", "at, message_id", "id", "at, id"} {
		if _, err := model.Parse("m.yaml", []byte(strings.Replace(valid, "[id]", "["+key+"]", 1))); err != nil {
			t.Errorf("key: [%s]: %v", key, err)
		}
	}
}

// TestWrongKinds gives every setting values of every wrong kind. The problem is one line: where,
// which setting, and what it must be; never the parser's or Go's name for it, and never the value.
func TestWrongKinds(t *testing.T) {
	kinds := map[string]string{
		"text": "canary", "quoted": `"canary"`, "yes": "yes", "number": "47", "hexadecimal": "0x2f", "float": "4.70", "boolean": "true", "infinity": ".inf",
		"list": "[canary]", "list of lists": "[[canary]]", "list of mappings": "[{canary: canary}]", "mapping": "{canary: canary}", "nothing": "", "null": "~",
		"anchor": "&canary a", "alias": "*canary", "tag": "!!str canary", "a tag of one's own": "!canary {}",
	}
	for _, setting := range []struct {
		line     int
		what     string // with what the problem begins
		old, new string // V is where the value goes
		right    string // kinds that are none of its wrong ones
		want     string
	}{
		{1, "model", "model: m", "model: V", "text quoted yes", `a text, as in model: "user_logins"`},
		{2, "table", "table: s.t", "table: V", "text quoted yes", `a text, as in table: "user_logins"`},
		{2, "domain", "table: s.t", "domain: V\ntable: s.t", "text quoted yes", `a text, as in domain: "user_logins"`},
		{3, "key", "key: [id]", "key: V", "list", `a list of names, as in key: [id]`},
		{3, "ledger", "key: [id]", "ledger: V", "text quoted yes", `a text, as in ledger: "sluice_ledger"`},
		{4, "fields", "fields:", "fields: V\nrest:", "mapping", `a mapping of names, as in fields: {a: {type: text}}`},
		{5, "field id", "{type: uuid, required: true}", "V", "mapping", `a mapping, as in id: {type: text}`},
		{5, "field id: type", "{type: uuid,", "{type: V,", "text quoted yes", `a text, as in type: "text"`},
		{5, "field id: required", "required: true", "required: V", "boolean", `true or false, as in required: true`},
		{6, "field ip: personal", "personal: true", "personal: V", "boolean", `true or false, as in personal: true`},
		{6, "field ip: domain", "personal: true", "domain: V", "text quoted yes", `a text, as in domain: "user_logins.ip"`},
		{7, "columns", "columns:", "columns: V\nrest:", "mapping", `a mapping of names, as in columns: {a: {type: text, from: user_id}}`},
		{8, "column id", "{type: uuid, from: id}", "V", "mapping", `a mapping, as in id: {type: text, from: user_id}`},
		{8, "column id: type", "type: uuid, from", "type: V, from", "text quoted yes", `a text, as in type: "varchar(32)"`},
		{8, "column id: from", "from: id}", "from: V}", "text quoted yes", `a text, as in from: "user_id"`},
		{8, "column id: part", "from: id}", "part: V}", "text quoted yes", `a text, as in part: "major"`},
		{10, "column at: meta", "meta: sent_at", "meta: V", "text quoted yes", `a text, as in meta: "sent_at"`},
		{9, "column masked_ip: masked", "masked: true", "masked: V", "boolean", `true or false, as in masked: true`},
	} {
		for kind, v := range kinds {
			if slices.Contains(strings.Fields(setting.right), kind) {
				continue
			}
			text := strings.Replace(valid, setting.old, strings.Replace(setting.new, "V", v, 1), 1)
			want := setting.what + " must be " + setting.want
			switch kind {
			case "nothing", "null":
				want = setting.what + " is empty; it must be " + setting.want
			case "anchor", "alias", "tag", "a tag of one's own":
				want = setting.what + " is not a plain value; anchors, aliases, merges and tags are not allowed: write it out"
			}
			want = fmt.Sprintf("m.yaml:%d: %s", setting.line, want)
			_, err := model.Parse("m.yaml", []byte(text))
			if err == nil {
				t.Errorf("%s, %s: loads", setting.what, kind)
				continue
			}
			// A mapping instead of fields or columns makes rest a problem of its own.
			if first, _, _ := strings.Cut(err.Error(), "\n"); first != want || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s, %s:\n got %v\nwant %s", setting.what, kind, err, want)
			}
		}
	}
}

// TestAllProblemsOfTheForm: all are reported at once, without those that only follow from them.
func TestAllProblemsOfTheForm(t *testing.T) {
	text := strings.NewReplacer("[id]", "id", "required", "requird", "{type: ip, personal: true}", "ip", "masked: true", "masked: yes").Replace(valid)
	_, err := model.Parse("m.yaml", []byte(text))
	want := `m.yaml:3: key must be a list of names, as in key: [id]
m.yaml:5: field id has no setting "requird"; there are type, required, personal, domain, path, layer, attribute, default, list, accept, format, zone, trim, case, strip, unicode, idna, one_of, pattern, min, max, min_length and max_length; did you mean required?
m.yaml:6: field ip must be a mapping, as in ip: {type: text}
m.yaml:9: column masked_ip: masked must be true or false, as in masked: true`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestFilesThatLoad has the forms of YAML that a model can be written in.
func TestFilesThatLoad(t *testing.T) {
	for name, text := range map[string]string{
		"a byte order mark": "\ufeff" + valid, "a header": "---\n" + valid, "a directive": "%YAML 1.2\n---\n" + valid, "an end": valid + "...\n# the end\n", "comments": "# c\n---\n" + valid + "---\n# c\n",
		"CRLF": strings.ReplaceAll(valid, "\n", "\r\n"), "a list of lines": strings.Replace(valid, "[id]", "\n  - id", 1), "True": strings.Replace(valid, "personal: true", "personal: True", 1),
		"a quoted type": strings.Replace(valid, "varchar(64)", `"varchar(64)"`, 1), "a folded text": strings.Replace(valid, "table: s.t", "table: >-\n  s.t", 1),
		"names that look like something else": strings.NewReplacer("  ip:", "  5:", "from: ip", `from: "5"`).Replace(valid),
	} {
		if _, err := model.Parse("m.yaml", []byte(text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWhatIsNoModelFile: the error says so, without what a parser makes of the file.
func TestWhatIsNoModelFile(t *testing.T) {
	for name, text := range map[string]string{
		"passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n", "prose": "Not a model.\n", "a number": "5", "a list": "- model: m\n- table: t\n",
		"JSON lines": "[1]\n", "a program": "\x7fELF\x02\x01\x00|\x00", "UTF-16": "m\x00o\x00d\x00e\x00l\x00",
	} {
		_, err := model.Parse("/etc/"+name, []byte(text))
		if want := "/etc/" + name + " is not a model file; one begins with lines such as model: <name>"; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine.yaml")
	if err := os.WriteFile(path, []byte(valid), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := load(t, path); m.Table.Schema != "s" || m.Table.Name != "t" || m.Fields[1].Domain != "m.ip" {
		t.Errorf("got %+v", m.Table)
	}
	if _, err := model.Load("./", models.FS); err == nil || !strings.Contains(err.Error(), "read the model file: read ./: is a directory") {
		t.Errorf("a directory: got %v", err)
	}
	if _, err := model.Load("nosuch", models.FS); err == nil || !strings.Contains(err.Error(), "orders, user_logins, user_logins_plain") {
		t.Errorf("got %v, want the names that there are", err)
	}
	if got := load(t, "user_logins_plain").Fields[3].Domain; got != "user_logins.ip" {
		t.Errorf("got domain %s", got)
	}
}

func TestDDL(t *testing.T) {
	for _, name := range model.Names(models.FS) {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata", name+".sql")
			got := strings.Join(load(t, name).DDL(), ";\n") + ";\n"
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, string(want)); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
		})
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{order + "}", `{"user_id":"u","ip":"::1","app_version":"1.2-x"}`, "\xef\xbb\xbf{}", `{"lines":[[{"a":"\ud83d\ude00"}]]}`, `{"total":-1.5e-3}`} {
		f.Add([]byte(s))
	}
	readers := map[*model.Model]*model.Reader{}
	for _, name := range model.Names(models.FS) {
		m := load(f, name)
		readers[m] = m.Reader(mask.Unkeyed())
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for m, r := range readers {
			b := batch.New(m.Table)
			bad := r.Append(b, 0, 0, &message.Message{ID: "x", Body: body, HasBody: true, HasSent: true})
			if bad.IsZero() != (b.Len() == 1) {
				t.Fatalf("%v with %d rows", bad, b.Len())
			}
			if !bad.IsZero() && bad.Rejection.Reason.Explain() == "" {
				t.Errorf("the reason %q has no explanation", bad.Rejection.Reason)
			}
			if b.Len() == 1 {
				b.Row(0, func(c int, v []byte) {
					if v == nil && b.Columns(0)[c].NotNull {
						t.Errorf("NULL in %s", b.Columns(0)[c].Name)
					}
				})
			}
		}
	})
}

func FuzzVersion(f *testing.F) {
	for _, s := range []string{"2.3.0", "1-", "1..", " 1", "99999999999"} {
		f.Add(s)
	}
	m := load(f, "user_logins")
	r := m.Reader(mask.Unkeyed())
	f.Fuzz(func(t *testing.T, version string) {
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(version)
		b := batch.New(m.Table)
		bad := r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(`{"user_id":"u","app_version":"` + quoted + `"}`), HasBody: true, HasSent: true})
		if bad.IsZero() {
			if trimmed := strings.Trim(version, " \t\n\v\f\r"); trimmed == "" || trimmed[0] < '0' || trimmed[0] > '9' || len([]rune(version)) > 64 {
				t.Errorf("%q passed", version)
			}
		}
	})
}

func FuzzModel(f *testing.F) {
	f.Add([]byte(valid))
	f.Add([]byte(ignoring("m", "ping")))
	f.Add([]byte(states + "on_conflict: replace\nnewer_by: n\n"))
	for _, name := range model.Names(models.FS) {
		text, err := models.FS.ReadFile(name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := model.Parse("m.yaml", text)
		if err != nil {
			return
		}
		for _, c := range m.Columns {
			if c.Field >= 0 && m.Fields[c.Field].Personal && !c.Masked {
				t.Errorf("column %s holds a personal field in clear", c.Name)
			}
		}
		if m.Ignore != (len(m.DDL()) == 0) {
			t.Error("the tables of a model that ignores, or none of one that stores")
		}
		if m.Ignore {
			return
		}
		m.Reader(mask.Unkeyed()).Append(batch.New(m.Table), 0, 0, &message.Message{ID: "x", Body: []byte("{}"), HasBody: true, HasSent: true})
	})
}

// BenchmarkAppend prints what a row costs (decode, check, mask, append to the batch), beside its
// two masks alone and a plain scan of its tokens.
func BenchmarkAppend(b *testing.B) {
	keyed, err := mask.ParseKeys("k1:" + strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		b.Fatal(err)
	}
	m := load(b, "user_logins")
	msg := message.Message{ID: "059f36b4-87a3-44ab-83d2-661975830a7d", HasBody: true, HasSent: true, SentMillis: 1767225600000, Body: []byte(`{"user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "app_version": "2.3.0", "device_type": "android", "ip": "199.172.111.135", "locale": "RU", "device_id": "593-47-5928"}`)}
	for _, k := range []struct {
		name string
		keys *mask.Keyring
	}{{"sha256", mask.Unkeyed()}, {"hmac-sha256", keyed}} {
		b.Run(k.name, func(b *testing.B) {
			benchmarkAppend(b, m.Reader(k.keys), batch.New(m.Table), &msg)
		})
		b.Run(k.name+"/two masks alone", func(b *testing.B) {
			ip, device := mask.PersonalText([]byte("199.172.111.135")), mask.PersonalText([]byte("593-47-5928"))
			first, second := k.keys.Masker("a"), k.keys.Masker("b")
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst, _ = first.AppendText(dst[:0], ip)
				dst, _ = second.AppendText(dst, device)
			}
		})
	}
	b.Run("tokens alone", func(b *testing.B) {
		var in bytes.Buffer
		dec := jsontext.NewDecoder(&in)
		b.ReportAllocs()
		for b.Loop() {
			in = *bytes.NewBuffer(msg.Body)
			dec.Reset(&in)
			for {
				if _, err := dec.ReadToken(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// TestAppendAllocatesNothing: in the steady state.
func TestAppendAllocatesNothing(t *testing.T) {
	m := load(t, "user_logins")
	allocatesNothing(t, m.Reader(mask.Unkeyed()), batch.New(m.Table), sent(`{"user_id": "u\u00e9", "app_version": "2.3.0", "ip": "2001:db8::1", "more": [1, {"a": null}], "device_id": "593-47-5928"}`))
}

// appender is a Reader or a SetReader.
type appender interface {
	Append(b *batch.Batch, index, group int, msg *message.Message) message.Verdict
}

// allocatesNothing checks that a message which is stored or ignored costs no memory when it is not the
// first.
func allocatesNothing(t *testing.T, r appender, rows *batch.Batch, msg *message.Message) {
	t.Helper()
	one := func() {
		rows.Reset()
		if v := r.Append(rows, 0, 0, msg); !v.IsZero() && v.Outcome != message.Ignored {
			t.Fatal(v)
		}
	}
	one()
	if n := testing.AllocsPerRun(100, one); n != 0 {
		t.Errorf("%s: got %v allocations, want 0", msg.Body, n)
	}
}

// benchmarkAppend reads messages in turn, in batches of 1,000.
func benchmarkAppend(b *testing.B, r appender, rows *batch.Batch, messages ...*message.Message) {
	b.Helper()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if rows.Len() == 1000 {
			rows.Reset()
		}
		if v := r.Append(rows, i, 0, messages[i%len(messages)]); !v.IsZero() {
			b.Fatal(v)
		}
	}
}
