package model_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

const readings = `
model: readings
table: readings
rows: "$.items[*]"
fields:
  device: {type: text, layer: 0, required: true}
  ip: {type: ip, layer: 0, personal: true}
  value: {type: numeric, required: true}
  note: {type: text}
columns:
  device: {type: varchar(8), from: device}
  masked_ip: {type: varchar(64), from: ip, masked: true}
  value: {type: numeric, from: value}
  note: {type: varchar(5), from: note}
  sent_at: {type: timestamptz, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
  row_number: {type: smallint, meta: row_number}
`

const ordersWithLines = `
model: orders
table: billing.orders
key: [order_id]
fields:
  order_id: {type: integer, required: true}
  shop: {type: text}
columns:
  order_id: {type: bigint, from: order_id}
  shop: {type: text, from: shop}
also:
  order_lines:
    rows: "$.lines[*]"
    fields:
      sku: {type: text, required: true}
      quantity: {type: integer, path: $.count.pieces}
    columns:
      order_id: {type: bigint, from: order_id}
      line: {type: bigint, meta: row_number}
      sku: {type: varchar(4), from: sku}
      quantity: {type: integer, from: quantity}
      source: {type: text, value: web}
  other.tags:
    rows: "$.meta.tags[*]"
    key: [order_id, tag]
    index: [[tag]]
    fields:
      tag: {type: text, path: $, required: true}
    columns:
      order: {type: bigint, from: order_id}
      order_id: {type: bigint, from: order_id}
      tag: {type: text, from: tag}
`

// tell lists the rows of a batch's messages as texts, each after the name of its table.
func tell(b *batch.Batch, tables ...*batch.Table) (all []string) {
	for i := range b.Len() {
		t := tables[b.Table(i)]
		row := func(of *batch.Table, each func(func(int, []byte))) {
			text := of.Name
			each(func(c int, v []byte) {
				value := "NULL"
				if v != nil {
					value = string(of.Columns[c].Kind.AppendText(nil, v))
				}
				text += " " + value
			})
			all = append(all, text)
		}
		row(t, func(f func(int, []byte)) { b.Row(i, f) })
		for k := range b.MoreRows(i) {
			of := t
			if child := b.MoreTable(i, k); child >= 0 {
				of = t.Children[child]
			}
			row(of, func(f func(int, []byte)) { b.MoreRow(i, k, f) })
		}
	}
	return all
}

func TestElementsAreRows(t *testing.T) {
	t.Parallel()
	m := parse(t, readings)
	ip := masked("192.0.2.1")
	const id = "00000000-0000-4000-8000-000000000001"
	const sent = "2026-01-31T12:00:00.000000Z " + id
	for _, tt := range []struct {
		body string
		rows []string
		want string // how the verdict begins
	}{
		{`{"device":"d","ip":"192.0.2.1","items":[{"value":1},{"value":2.50,"note":"two"}]}`, []string{
			"readings d " + ip + " 1 NULL " + sent + " 1", "readings d " + ip + " 2.50 two " + sent + " 2",
		}, ""},
		{`{"items":[{"note":"n","value":3}],"device":"d"}`, []string{"readings d NULL 3 n " + sent + " 1"}, ""},
		{`{"device":"d","items":[ {"value":1} , {"value":2} ] }`, []string{"readings d NULL 1 NULL " + sent + " 1", "readings d NULL 2 NULL " + sent + " 2"}, ""},
		{`{"device":"d","items":[]}`, nil, "no_rows: expected an element in $.items[*], found none"},
		{`{"device":"d","items":null}`, nil, "no_rows: expected a value, found null at $.items"},
		{`{"device":"d"}`, nil, "no_rows: expected a value, found nothing at $.items"},
		{`{"other":1}`, nil, "unrecognized: required and missing: device"},
		{`{"device":"d","items":{"value":1}}`, nil, "wrong_type: $.items: expected an array, found an object"},
		{`{"device":"d","Items":[{"value":1}]}`, nil, "key_case: expected exactly $.items"},
		{`{"device":"d","items":[{"value":1},{"note":"n"}]}`, nil, "missing value: row 2 of readings: expected a value, found nothing at $.value"},
		{`{"device":"d","items":[{"value":1},{"valu":1}]}`, nil, "unrecognized: row 2 of readings: required and missing: value; expected a member that the model reads of the element; paths begin there, and with layer: 0 in the body"},
		{`{"device":"d","items":[{"value":1},{"Value":1,"note":"x"}]}`, nil, "key_case value: row 2 of readings: expected exactly $.value; missing value: row 2 of readings: expected a value, found nothing at $.value"},
		{`{"device":"d","items":[{"value":1},7]}`, nil, "wrong_type value: row 2 of readings: $: expected an object, found a number; wrong_type note: row 2 of readings: $: expected an object, found a number"},
		{`{"device":"d","items":[null]}`, nil, "wrong_type: row 1 of readings: expected an object, found null"},
		{
			`{"device":"d","items":[{"value":"1"},{"value":1,"note":"longer"}]}`, nil,
			"wrong_type value: row 1 of readings: expected a number, found a string; too_long note: row 2 of readings: expected at most 5 characters, which varchar(5) holds",
		},
		{
			`{"device":"too long a device","items":[{"value":1},{"value":""},{"value":2}]}`, nil,
			"too_long device: expected at most 8 characters, which varchar(8) holds; wrong_type value: row 2 of readings: expected a number, found a string",
		},
		{`{"device":"d","items":[{"value":1},{"value":1,"value":2}]}`, nil, "duplicate_key at byte 47"},
	} {
		got, verdict := rowsOf(m, tt.body)
		if diff := cmp.Diff(got, tt.rows); diff != "" || verdict != tt.want {
			t.Errorf("%s: got %q, want %q (-got +want):\n%s", tt.body, verdict, tt.want, diff)
		}
	}
}

// rowsOf returns the rows of a body, and the problems if it has none.
func rowsOf(m *model.Model, body string) (rows []string, said string) {
	b := batch.New(m.Table)
	msg := message.Message{ID: "00000000-0000-4000-8000-000000000001", Body: []byte(body), HasBody: true, SentMillis: 1769860800000, HasSent: true}
	v := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &msg)
	if v.Outcome == message.Rejected {
		all := []string{v.Rejection.String()}
		for _, more := range v.Rejection.More {
			all = append(all, more.String())
		}
		if v.Rejection.Omitted > 0 {
			all = append(all, fmt.Sprint("and ", v.Rejection.Omitted))
		}
		return tell(b, m.Table), strings.Join(all, "; ")
	}
	if !v.IsZero() {
		said = strings.TrimSpace(v.Outcome.String() + " " + string(v.Cause))
	}
	return tell(b, m.Table), said
}

func TestChildren(t *testing.T) {
	t.Parallel()
	m := parse(t, ordersWithLines)
	for _, tt := range []struct {
		body string
		rows []string
		want string
	}{
		{`{"order_id":7,"lines":[{"sku":"a","count":{"pieces":2}},{"sku":"b"}],"meta":{"tags":["x","y"]},"shop":"s"}`, []string{
			"orders 7 s", "order_lines 7 1 a 2 web", "order_lines 7 2 b NULL web", "tags 7 7 x", "tags 7 7 y",
		}, ""},
		{`{"order_id":7}`, []string{"orders 7 NULL"}, ""},
		{`{"order_id":7,"lines":[],"meta":{"tags":null}}`, []string{"orders 7 NULL"}, ""},
		{`{"order_id":7,"meta":null}`, []string{"orders 7 NULL"}, ""},
		{`{"lines":[{"sku":"a"}]}`, nil, "missing order_id: expected a value, found nothing at $.order_id"},
		{`{"order_id":7,"meta":{"tags":["x","y","x"]}}`, nil, "repeated_key: row 3 of tags has the key of row 1"},
		{`{"order_id":7,"lines":7,"meta":"no"}`, nil, "wrong_type: $.lines: expected an array, found a number; wrong_type: $.meta: expected an object, found a string"},
		{
			`{"order_id":"7","lines":[{"sku":"abcde"},{}],"meta":{"tags":[1, null]}}`, nil,
			"wrong_type order_id: expected a number, found a string; too_long sku: row 1 of order_lines: expected at most 4 characters, which varchar(4) holds; " +
				"unrecognized: row 2 of order_lines: required and missing: sku; expected a member that the model reads of the element; paths begin there, and with layer: 0 in the body; wrong_type tag: row 1 of tags: expected a string, found a number; missing tag: row 2 of tags: expected a value, found null at $",
		},
		{`{"order_id":7,"lines":[{"sku":"a","count":7}]}`, nil, "wrong_type quantity: row 1 of order_lines: $.count: expected an object, found a number"},
	} {
		got, verdict := rowsOf(m, tt.body)
		if diff := cmp.Diff(got, tt.rows); diff != "" || verdict != tt.want {
			t.Errorf("%s: got %q, want %q (-got +want):\n%s", tt.body, verdict, tt.want, diff)
		}
	}
	lines, tags := m.Table.Children[0], m.Table.Children[1]
	if m.Table.Several || !cmp.Equal(lines.Parent, []int{0}) || !cmp.Equal(lines.Key, []int{0, 1}) || lines.Schema != "billing" ||
		!cmp.Equal(tags.Key, []int{1, 2}) || !cmp.Equal(tags.Indexes, [][]int{{2}}) || tags.Schema != "other" || lines.KeyOfMessage || lines.FindsConflicts() {
		t.Errorf("got %+v and %+v", lines, tags)
	}
}

// change returns a model with other text, which it must have.
func change(t testing.TB, text string, pairs ...string) *model.Model {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("%q is not in the model", pair[0])
		}
		text = strings.Replace(text, pair[0], pair[1], 1)
	}
	return parse(t, text)
}

// TestOptionsOfElements has what the settings of a file mean for elements.
func TestOptionsOfElements(t *testing.T) {
	t.Parallel()
	const short = `
model: m
table: t
rows: "$.a[*]"
key: [v]
fields: {v: {type: integer, required: true}}
columns: {v: {type: bigint, from: v}}
`
	rename := func(text string) (string, string) { return "model: m", "model: m\n" + text }
	with := func(text string, more ...string) *model.Model {
		old, replaced := rename(text)
		return change(t, short, append([]string{old, replaced}, more...)...)
	}
	optional := []string{"key: [v]", "ledger: l", ", required: true", ""}
	for _, tt := range []struct {
		why  string
		m    *model.Model
		body string
		want string // the rows, or the verdict
	}{
		{"an empty array", with("allow_empty: true"), `{"a":[]}`, "ignored"},
		{"no array", with("allow_empty: true"), `{"b":1}`, "ignored"},
		{"a wrong array", with("allow_empty: true"), `{"a":7}`, "wrong_type: $.a: expected an array, found a number"},
		{"an array in another case", with("allow_empty: true"), `{"A":[]}`, "key_case: expected exactly $.a"},
		{"an element that is empty", with("allow_empty: true", optional...), `{"a":[{},{"v":1}]}`, "t NULL 2026-01-31T12:00:00.000000Z 00000000-0000-4000-8000-000000000001; t 1 2026-01-31T12:00:00.000000Z 00000000-0000-4000-8000-000000000001"},
		{"a null", with("allow_empty: true", optional...), `{"a":[null]}`, "wrong_type: row 1 of t: expected an object, found null"},
		{"no value in an element", with("", optional...), `{"a":[{"v":1},{}]}`, "unrecognized: row 2 of t: expected a member that the model reads of the element; paths begin there, and with layer: 0 in the body"},
		{"a path from the body", with("", "fields: {", "fields: {w: {type: integer, required: true, path: $.a.w}, ", "columns: {", "columns: {w: {type: bigint, from: w}, "), `{"a":[{"v":1,"w":2}]}`, "missing w: row 1 of t: expected a value, found nothing at $.a.w; paths begin in the element, so leave $.a out"},
		{"an unknown member", with("unknown: reject"), `{"a":[{"v":1},{"v":2,"w":3}]}`, "unknown_member: row 2 of t"},
		{"an unknown member of the body", with("unknown: reject"), `{"b":2,"a":[{"v":1,"w":3}]}`, "unknown_member; unknown_member: row 1 of t"},
		{"no unknown member", with("unknown: reject"), `{"a":[{"v":1}]}`, "t 1"},
		{"a key twice", with(""), `{"a":[{"v":1},{"v":2},{"v":1}]}`, "repeated_key: row 3 of t has the key of row 1"},
		{"a body that is an array", with("", "$.a[*]", "$[*]"), `[{"v":1},{"v":2}]`, "t 1; t 2"},
		{"a body that is no array", with("", "$.a[*]", "$[*]"), `{"v":1}`, "wrong_type: $: expected an array, found an object"},
		{"a body that is an empty array", with("", "$.a[*]", "$[*]"), ` [ ] `, "no_rows: expected an element in $[*], found none"},
		{"elements that are numbers", with("", "type: integer", "type: integer, path: $"), `{"a":[1, 2 ,3]}`, "t 1; t 2; t 3"},
		{"elements that are arrays", with("", "type: integer", `type: integer, path: "$[1]"`), `{"a":[[0,1],[0,2]]}`, "t 1; t 2"},
		{"an element that is no array", with("", "type: integer", `type: integer, path: "$[1]"`), `{"a":[[0,1],{}]}`, "wrong_type v: row 2 of t: $: expected an array, found an object"},
		{"an array that is unwrapped", with("unwrap: [{json: $.Message}]"), `{"Message":"{\"a\":[{\"v\":1},{\"v\":2}]}"}`, "t 1; t 2"},
		{"an array through a string", with("", "$.a[*]", "$.b.a[*]"), `{"b":"a"}`, "wrong_type: $.b: expected an object, found a string"},
		{"an array beside elements by index", change(t, short, `"$.a[*]"`, `"$.a[*]"`, "fields: {", `fields: {first: {type: integer, layer: 0, path: "$.a[0].v"}, `, "columns: {", "columns: {f: {type: bigint, from: first}, "), `{"a":[{"v":1},{"v":2}]}`, "t 1 1; t 1 2"},
		{"ten problems", with(""), `{"a":[` + strings.Repeat(`{"v":"x"},`, 12) + `{"v":1}]}`, strings.Join(wrongRows(10), "; ") + "; and 2"},
		{"a replacing row", with("on_conflict: replace\nnewer_by: w", "fields: {", "fields: {w: {type: integer, required: true}, ", "columns: {", "columns: {w: {type: bigint, from: w}, "), `{"a":[{"v":1,"w":2},{"v":1,"w":1}]}`, "t 2 1; t 1 1"},
	} {
		rows, got := rowsOf(tt.m, tt.body)
		if rows != nil {
			got += strings.Join(rows, "; ")
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.why, got, tt.want)
		}
	}
}

func wrongRows(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("wrong_type v: row %d of t: expected a number, found a string", i+1))
	}
	return all
}

// TestBoundsOfRows has messages with as many rows as one may have, and one more; and batches.
func TestBoundsOfRows(t *testing.T) {
	t.Parallel()
	items := func(n int, item string) string { return strings.Repeat(item+",", n-1) + item }
	m := parse(t, readings)
	r, b := m.Reader(mask.Unkeyed()), batch.New(m.Table)
	appendTo := func(body string) message.Verdict {
		return r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(body), HasBody: true, HasSent: true})
	}
	body := func(n int) string { return `{"device":"d","items":[` + items(n, `{"value":1}`) + `]}` }
	if v := appendTo(body(10_001)); v.Rejection.Reason != message.ReasonTooManyRows || b.Len() > 0 {
		t.Errorf("10,001 rows: got %+v", v)
	}
	for n := range 10 {
		if v := appendTo(body(10_000)); !v.IsZero() || b.Rows() != (n+1)*10_000 {
			t.Fatalf("10,000 rows: got %+v, and %d rows", v, b.Rows())
		}
	}
	if v := appendTo(body(2)); v.Cause != message.CauseMemory || v.Outcome != message.Returned || b.Rows() != 100_000 || b.Len() != 10 {
		t.Errorf("the batch is full: got %+v, and %d rows", v, b.Rows())
	}

	orders := parse(t, ordersWithLines)
	r, b = orders.Reader(mask.Unkeyed()), batch.New(orders.Table)
	for lines, want := range map[int]message.Reason{4999: "", 5000: message.ReasonTooManyRows} { // a parent, 5,000 tags
		tags := make([]string, 5000)
		for i := range tags {
			tags[i] = fmt.Sprintf(`"%d"`, i)
		}
		b.Reset()
		v := appendTo(`{"order_id":1,"lines":[` + items(lines, `{"sku":"a"}`) + `],"meta":{"tags":[` + strings.Join(tags, ",") + `]}}`)
		if v.Rejection.Reason != want || len(v.Rejection.More) > 0 {
			t.Errorf("%d lines: got %+v", lines, v)
		}
	}

	// What the message says is in each of its rows.
	wide := change(t, readings, "varchar(8)", "text")
	r, b = wide.Reader(mask.Unkeyed()), batch.New(wide.Table)
	text := strings.Repeat("x", 200_000)
	large := func(n int) string { return `{"device":"` + text + `","items":[` + items(n, `{"value":1}`) + `]}` }
	if v := appendTo(large(100)); v.Rejection.Reason != message.ReasonTooManyRows {
		t.Errorf("20 MB: got %v", v.Rejection.Reason)
	}
	for n := range 4 {
		if v := appendTo(large(80)); !v.IsZero() {
			t.Fatalf("message %d of 16 MB: got %+v", n, v)
		}
	}
	if v := appendTo(large(80)); v.Cause != message.CauseMemory {
		t.Errorf("80 MB in a batch: got %+v", v)
	}
}

// TestElementsAllocateNothing: in the steady state, and each element as little as the first.
func TestElementsAllocateNothing(t *testing.T) {
	for _, tt := range []struct{ model, body string }{
		{readings, `{"device":"d","ip":"192.0.2.1","items":[{"value":1},{"value":2.50,"note":"two"},{"value":1},{"value":1}]}`},
		{ordersWithLines, `{"order_id":7,"lines":[{"sku":"a","count":{"pieces":2}},{"sku":"b"}],"meta":{"tags":["x","y","z"]},"shop":"s"}`},
	} {
		m := parse(t, tt.model)
		allocatesNothing(t, m.Reader(mask.Unkeyed()), batch.New(m.Table), sent(tt.body))
	}
}

// TestFieldsOfElements: what people see of a message of several rows.
func TestFieldsOfElements(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		model, body string
		want        []string
	}{
		{readings, `{"device":"d","ip":"192.0.2.1","items":[{"value":1},{"value":"x","note":"n"}]}`, []string{
			"device=d", "ip=MASK", "value=1 row 1 of readings", "note=NULL row 1 of readings", `value=found "x" wrong_type row 2 of readings`, "note=n row 2 of readings",
		}},
		{ordersWithLines, `{"order_id":7,"lines":[{"sku":"a"}],"meta":{"tags":["x", 2]}}`, []string{
			"order_id=7", "shop=NULL", "sku=a row 1 of order_lines", "quantity=NULL row 1 of order_lines", "tag=x row 1 of tags", "tag=found 2 wrong_type row 2 of tags",
		}},
		{readings, `{"device":"d","items":[]}`, nil},
		{readings, `{"other":1}`, nil},
	} {
		m := parse(t, tt.model)
		got, _ := fields(m, tt.body, "")
		all, _ := m.Reader(mask.Unkeyed()).Fields(&message.Message{ID: "x", Body: []byte(tt.body), HasBody: true, HasSent: true})
		for i, f := range all {
			if f.Row > 0 {
				got[i] += fmt.Sprintf(" row %d of %s", f.Row, f.Table)
			}
		}
		if diff := cmp.Diff(got, tt.want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.body, diff)
		}
	}
}

// TestFieldsHidePersonalElements: a field that reads what may be personal in an element is not shown.
func TestFieldsHidePersonalElements(t *testing.T) {
	t.Parallel()
	m := change(t, readings, "  note: {type: text}", "  first: {type: text, layer: 0, path: \"$.items[0].note\"}\n  note: {type: text, personal: true}",
		"  note: {type: varchar(5), from: note}", "  first: {type: text, from: first}\n  masked_note: {type: varchar(64), from: note, masked: true}")
	got, _ := fields(m, `{"device":"d","items":[{"value":1,"note":"canary"}]}`, "")
	if text := strings.Join(got, " "); strings.Contains(text, "canary") || !strings.Contains(text, "first=(personal, as another field") {
		t.Errorf("got %q", got)
	}
}

// TestUnreadElements: all elements are one place.
func TestUnreadElements(t *testing.T) {
	t.Parallel()
	var got []string
	for _, at := range parse(t, ordersWithLines).Unread([]byte(`{"order_id":7,"x":1,"lines":[{"sku":"a","y":1,"count":{"z":1}},{"sku":"b","y":2,"w":3,"count":{}}],"meta":{"tags":["x",["u"]]}}`)) {
		line := at.Path.String() + ":"
		for _, m := range at.Unread {
			line += " " + m.Name + "=" + string(m.Value)
		}
		got = append(got, line)
	}
	want := []string{"$: x=1", "$.meta:", "$.lines[*]: y=1 w=3", "$.lines[*].count: z=1"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
}

// TestPresentInElements: a field of elements is present if one of them has it.
func TestPresentInElements(t *testing.T) {
	t.Parallel()
	m := change(t, readings, "note: {type: text}", "note: {type: text, trim: true}")
	r := m.Reader(mask.Unkeyed())
	b := batch.New(m.Table)
	for body, want := range map[string][4]bool{
		`{"device":"d","items":[{"value":1},{"value":2,"note":" n"},{"value":3}]}`: {true, true, true, true},
		`{"device":"d","items":[{"value":1},{"value":2,"note":"n"}]}`:              {true, true, true, false},
		`{"device":"d","items":[{"value":1}]}`:                                     {true, true, false, false},
		`{"device":"d","items":[]}`:                                                {true, false, false, false},
		`{"items":7}`:                                                              {false, false, false, false},
	} {
		r.Append(b, 0, 0, &message.Message{ID: "x", Body: []byte(body), HasBody: true, HasSent: true})
		if got := [4]bool{r.Present(0), r.Present(2), r.Present(3), r.Changed(3)}; got != want {
			t.Errorf("%s: got %v, want %v", body, got, want)
		}
	}
}

// FuzzElements compares the rows of a body with those that encoding/json finds.
func FuzzElements(f *testing.F) {
	for _, body := range []string{
		`{"device":"d","items":[{"value":1},{"value":2.50,"note":"two"}],"order_id":7,"lines":[{"sku":"a","count":{"pieces":2}}],"meta":{"tags":["x"]}}`,
		`{"device":null,"items":[{"value":null}],"order_id":1,"lines":null,"meta":{"tags":[null, 1]}}`, `{"items":[[],{},1,"",true,null]}`,
		`{"device":"\u00e9","items":[ {"val\u0075e" : 1 } ],"order_id":1,"meta":{"tags":["x","x"]}}`, `{"device":"d","items":{},"order_id":1,"lines":[{"count":[]}]}`, `[]`, `{}`,
	} {
		f.Add(body)
	}
	one, two := parse(f, readings), parse(f, ordersWithLines)
	f.Fuzz(func(t *testing.T, body string) {
		var document any
		decoder := json.NewDecoder(strings.NewReader(body))
		decoder.UseNumber()
		if decoder.Decode(&document) != nil || !json.Valid([]byte(body)) {
			t.Skip("not JSON")
		}
		for _, tt := range []struct {
			m    *model.Model
			want []string
		}{{one, naiveReadings(document)}, {two, naiveOrders(document)}} {
			got, verdict := rowsOf(tt.m, body)
			strict := []string{"duplicate_key", "key_case", "nul_character", "not_json", "too_many_rows", "out_of_range", "not_an_integer"}
			if slices.ContainsFunc(strict, func(reason string) bool { return strings.Contains(verdict, reason) }) {
				continue // encoding/json is not as strict
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("%s: %q (-got +want):\n%s", body, verdict, diff)
			}
		}
	})
}

// textOf returns a string of an object, NULL for none. ok is false for any other value.
func textOf(object map[string]any, name string, most int) (text string, ok bool) {
	switch v := object[name].(type) {
	case nil:
		return "NULL", true
	case string:
		return v, utf8.RuneCountInString(v) <= most
	default:
		return "", false
	}
}

// naiveReadings returns the rows of readings, nil if one of them is wrong.
func naiveReadings(document any) (rows []string) {
	body, _ := document.(map[string]any)
	device, ok := textOf(body, "device", 8)
	items, isList := body["items"].([]any)
	if !ok || strings.TrimSpace(device) == "" || body["device"] == nil || !isList || body["ip"] != nil {
		return nil
	}
	for i, item := range items {
		object, ok1 := item.(map[string]any)
		value, ok2 := object["value"].(json.Number)
		note, ok3 := textOf(object, "note", 5)
		if !ok1 || !ok2 || !ok3 {
			return nil
		}
		rows = append(rows, fmt.Sprintf("readings %s NULL %s %s 2026-01-31T12:00:00.000000Z 00000000-0000-4000-8000-000000000001 %d", device, value, note, i+1))
	}
	return rows
}

// naiveOrders returns the rows of an order, its lines and its tags.
func naiveOrders(document any) (rows []string) {
	body, _ := document.(map[string]any)
	id, ok1 := body["order_id"].(json.Number)
	shop, ok2 := textOf(body, "shop", 1<<20)
	lines, ok3 := body["lines"].([]any)
	meta, ok4 := body["meta"].(map[string]any)
	tags, ok5 := meta["tags"].([]any)
	if !ok1 || !ok2 || !ok3 && body["lines"] != nil || !ok4 && body["meta"] != nil || !ok5 && meta["tags"] != nil {
		return nil
	}
	rows = append(rows, fmt.Sprintf("orders %s %s", plainNumber(id), shop))
	for i, line := range lines {
		object, ok1 := line.(map[string]any)
		sku, ok2 := textOf(object, "sku", 4)
		count, ok3 := object["count"].(map[string]any)
		pieces, ok4 := count["pieces"].(json.Number)
		if !ok4 {
			pieces = "NULL"
		}
		if !ok1 || !ok2 || strings.TrimSpace(sku) == "" || object["sku"] == nil || !ok3 && object["count"] != nil || !ok4 && count["pieces"] != nil {
			return nil
		}
		rows = append(rows, fmt.Sprintf("order_lines %s %d %s %s web", plainNumber(id), i+1, sku, plainNumber(pieces)))
	}
	seen := map[string]bool{}
	for _, tag := range tags {
		text, ok := tag.(string)
		if !ok || strings.TrimSpace(text) == "" || seen[text] {
			return nil
		}
		seen[text] = true
		rows = append(rows, fmt.Sprintf("tags %[1]s %[1]s %s", plainNumber(id), text))
	}
	return rows
}

// plainNumber returns an integer as it is printed.
func plainNumber(n json.Number) string {
	if n == "-0" {
		return "0"
	}
	return n.String()
}

// BenchmarkElements reads as many rows from messages of ten as from messages of one.
func BenchmarkElements(b *testing.B) {
	const item = `{"value":21.5,"note":"ok"}`
	m := parse(b, readings)
	for _, rows := range []int{1, 10, 500} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			r, out := m.Reader(mask.Unkeyed()), batch.New(m.Table)
			var all []message.Message
			for i := range 1000 {
				body := fmt.Sprintf(`{"device":"dev-%d","items":[%s]}`, i%1000, strings.Repeat(item+",", rows-1)+item)
				all = append(all, message.Message{ID: "059f36b4-87a3-44ab-83d2-661975830a7d", HasBody: true, HasSent: true, Body: []byte(body)})
			}
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%100 == 0 {
					out.Reset()
				}
				if v := r.Append(out, 0, 0, &all[n%1000]); !v.IsZero() {
					b.Fatal(v)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
		})
	}
}

// TestOneProblem: one mistake about tables is one problem.
func TestOneProblem(t *testing.T) {
	t.Parallel()
	line := func(text, of string) string {
		before, _, _ := strings.Cut(text, of)
		return fmt.Sprint(1 + strings.Count(before, "\n"))
	}
	for _, tt := range []struct{ why, text, old, new, want string }{
		{"a ledger with also", ordersWithLines, "key: [order_id]\nfields:", "ledger: seen\nfields:", "m.yaml:4: ledger and also are both set"},
		{"rows with also", ordersWithLines, "key: [order_id]\nfields:", "rows: \"$.a[*]\"\nfields:", "m.yaml:4: rows and also are both set"},
		{"no row_number", readings, "  row_number: {type: smallint, meta: row_number}\n", "", "m.yaml: key is missing, and without it the key has the column of row_number, which is missing too; add it, as in row_number: {type: smallint, meta: row_number}"},
		{
			"neither id nor row_number", readings, "  message_id: {type: uuid, meta: message_id}\n  row_number: {type: smallint, meta: row_number}\n", "",
			"m.yaml: key is missing, and without it the key has columns of message_id and row_number, which are missing too; add them, as in message_id: {type: uuid, meta: message_id}, row_number: {type: smallint, meta: row_number}",
		},
		{"no row_number in a child", ordersWithLines, "      line: {type: bigint, meta: row_number}\n", "", "m.yaml:12: also order_lines: key is missing, and without it the key has the column of row_number"},
		{"a child's field named as one of the parent's", ordersWithLines, "      sku: {type: text, required: true}", "      shop: {type: text}\n      sku: {type: text, required: true}", "m.yaml:15: field shop is defined twice, here and in line 7; each field of a file has a name of its own: remove one, or rename it and give it a path, as in path: $.shop"},
		{"a child's field named as the parent's key", ordersWithLines, "      sku: {type: text, required: true}", "      order_id: {type: integer}\n      sku: {type: text, required: true}", "m.yaml:15: field order_id is defined twice, here and in line 6"},
		{"a field twice in one table", ordersWithLines, "  shop: {type: text}\n", "  shop: {type: text}\n  shop: {type: text, required: true}\n", "m.yaml:8: field shop is defined twice, here and in line 7"},
		{"a child without its parent's key", ordersWithLines, "      order_id: {type: bigint, from: order_id}\n      line", "      line", "m.yaml:12: also order_lines: no column has what order_id has in the key of orders"},
		{
			"a child without its parent's key, which its own names", ordersWithLines, "      order: {type: bigint, from: order_id}\n      order_id: {type: bigint, from: order_id}\n", "",
			"m.yaml:" + line(ordersWithLines, "  other.tags") + ": also other.tags: no column has what order_id has in the key of orders",
		},
	} {
		if !strings.Contains(tt.text, tt.old) {
			t.Fatalf("%s: %q is not in the model", tt.why, tt.old)
		}
		_, err := model.Parse("m.yaml", []byte(strings.Replace(tt.text, tt.old, tt.new, 1)))
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got\n%v\nwant\n%s", tt.why, err, tt.want)
		}
	}
}
