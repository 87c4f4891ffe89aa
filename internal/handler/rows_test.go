package handler_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// The models of messages with several rows: a producer that packs its readings, an order with its lines,
// and notifications of S3 with its records.
var rowsModels = []string{
	`
model: readings
when: {path: $.type, one_of: ["readings"]}
table: readings
rows: "$.values[*]"
fields:
  device: {type: text, layer: 0, required: true}
  value: {type: integer, path: $, required: true}
columns:
  device: {type: text, from: device}
  value: {type: integer, from: value}
  sent_at: {type: timestamptz, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
  row_number: {type: smallint, meta: row_number}
`, `
model: orders
when: {path: $.type, one_of: ["order"]}
table: orders
key: [order_id]
fields:
  order_id: {type: integer, required: true}
columns:
  order_id: {type: bigint, from: order_id}
  source: {type: text, value: web}
also:
  order_lines:
    rows: "$.lines[*]"
    fields:
      sku: {type: text, required: true}
      quantity: {type: integer, required: true}
    columns:
      order_id: {type: bigint, from: order_id}
      line: {type: smallint, meta: row_number}
      sku: {type: text, from: sku}
      quantity: {type: integer, from: quantity}
`, `
model: s3_test_event
when: {path: $.Event, one_of: ["s3:TestEvent"]}
ignore: true
`, `
model: objects
table: objects
rows: "$.Records[*]"
key: [bucket, object, sequencer]
fields:
  bucket: {type: text, path: $.s3.bucket.name, required: true}
  object: {type: text, path: $.s3.object.key, required: true}
  sequencer: {type: text, path: $.s3.object.sequencer, required: true}
columns:
  bucket: {type: text, from: bucket}
  object: {type: text, from: object}
  sequencer: {type: text, from: sequencer}
`,
}

// named is a dead-letter queue that notes what is said of each message.
type named []string

// Send implements ingest.DeadLetters.
func (n *named) Send(_ context.Context, rejected []message.RejectedMessage) ([]int, error) {
	for _, r := range rejected {
		*n = append(*n, r.Message.ID+" "+strings.TrimSpace(fmt.Sprintln(r.Rejection.Reason, r.Rejection.Field, r.Rejection.Detail)))
	}
	return nil, nil
}

// TestMessagesOfSeveralRows takes events to all rows of their messages or to none, on standard and FIFO
// queues, from Lambda and from EventBridge Pipes, each event twice. Refused are elements by the model,
// and by the database.
func TestMessagesOfSeveralRows(t *testing.T) {
	t.Parallel()
	set := loadModels(t, rowsModels...)
	const object = `{"s3":{"bucket":{"name":"b"},"object":{"key":"%s","sequencer":"1"}}}`
	readings := func(device, values string) string {
		return fmt.Sprintf(`{"type":"readings","device":%q,"values":[%s]}`, device, values)
	}
	order := func(n int, quantities ...int) string {
		var lines []string
		for i, q := range quantities {
			lines = append(lines, fmt.Sprintf(`{"sku":"s-%d","quantity":%d}`, i+1, q))
		}
		return fmt.Sprintf(`{"type":"order","order_id":%d,"lines":[%s]}`, n, strings.Join(lines, ","))
	}
	notification := func(keys ...string) string {
		var records []string
		for _, key := range keys {
			records = append(records, fmt.Sprintf(object, key))
		}
		return `{"Records":[` + strings.Join(records, ",") + `]}`
	}
	numbers := strings.TrimSuffix(strings.Repeat("7,", 500), ",")
	bodies := []string{
		1: readings("d-1", numbers), 2: order(1, 5, 6), 3: notification("a", "b"),
		4: readings("d-2", `1,2,"3"`), 5: order(2, 5, 666), 6: notification("c", "d", "c"), 7: `{"Event":"s3:TestEvent"}`, 8: order(3),
		9:  order(1, 7, 8, 9), // another message with an order that is there
		10: readings("d-3", ""), 11: notification("b"), 12: `{"type":"order","order_id":4,"lines":[{"sku":"a","quantity":1},{"quantity":1}]}`,
		13: readings("d-4", "8,9"),
	}
	refused := "row 2 of order_lines"
	want := []string{
		id(4) + " wrong_type value row 3 of readings: expected a number, found a string",
		id(5) + " refused_by_database  " + refused,
		id(6) + " repeated_key  row 3 of objects has the key of row 1",
		id(10) + " no_rows  expected an element in $.values[*], found none",
		id(12) + " missing sku row 2 of order_lines: expected a value, found nothing at $.sku",
	}
	const rows = "SELECT (SELECT count(*) FROM readings WHERE device = 'd-1' AND value = 7), (SELECT count(*) FROM readings), " +
		"(SELECT count(DISTINCT row_number) FROM readings), " +
		"(SELECT string_agg(x, ' ') FROM (SELECT order_id || '.' || line || '.' || quantity AS x FROM order_lines ORDER BY order_id, line) AS l), " +
		"(SELECT string_agg(x, ' ') FROM (SELECT order_id || '' AS x FROM orders ORDER BY order_id) AS o), " +
		"(SELECT string_agg(object, ' ') FROM (SELECT object FROM objects ORDER BY object) AS s)"
	for kind, of := range map[string]struct {
		record        func(n int, body string) string
		failed        []string
		counts, again string
	}{
		"standard": {
			record: func(n int, body string) string { return record(n, body) },
			counts: "{} {stored 2 rejected 2} {stored 2 duplicate 1 rejected 2} {ignored 1} {stored 1 duplicate 1 rejected 1}",
			again:  "{} {duplicate 2 rejected 2} {duplicate 3 rejected 2} {ignored 1} {duplicate 2 rejected 1}",
		},
		"FIFO": { // a group of its own for each, but for the last one, which follows a rejected message
			record: func(n int, body string) string {
				group := fmt.Sprint("g-", n)
				if n == 13 {
					group = "g-5"
				}
				return inGroup(n, group, body)
			},
			failed: ids(13),
			counts: "{} {stored 1 rejected 2 returned 1} {stored 2 duplicate 1 rejected 2} {ignored 1} {stored 1 duplicate 1 rejected 1}",
			again:  "{} {duplicate 1 rejected 2 returned 1} {duplicate 3 rejected 2} {ignored 1} {duplicate 2 rejected 1}",
		},
	} {
		for name, form := range rowForms(set, "order_lines", "quantity") {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				store, query := form.open(t)
				h, log := handlerOf(set, store)
				var counts string
				h.Observe = func(_ context.Context, r *ingest.Report) { counts = spelt(r) }
				var records []string
				for n, body := range bodies[1:] {
					records = append(records, of.record(n+1, body))
				}
				stored := []string{"500", "502", "500", "1.1.5 1.2.6", "1 3", "a b"}
				if of.failed != nil {
					stored[1] = "500"
				}
				for _, wantCounts := range []string{of.counts, of.again} {
					dead := &named{}
					h.DeadLetters, h.Backoff = dead, &backoff{}
					failed := invoke(t, h, form.of(records...))
					got := slices.Sorted(slices.Values(*dead))
					for what, diff := range map[string]string{
						"failed": gocmp.Diff(failed, append([]string{}, of.failed...)), "sent": gocmp.Diff(got, slices.Sorted(slices.Values(want))),
						"counts": gocmp.Diff(counts, wantCounts), "rows": gocmp.Diff(query(rows)[0], stored),
					} {
						if diff != "" {
							t.Errorf("%s got(-) want(+):\n%s", what, diff)
						}
					}
				}
				if text := log.Take(); strings.Contains(text, `"level":"ERROR"`) {
					t.Errorf("the log: %s", text)
				}
			})
		}
	}
}

// rowForm is a form of events, and a store that they go to.
type rowForm struct {
	of   func(...string) []byte
	open func(*testing.T) (ingest.Store, func(query string) [][]string)
}

// rowForms are the stores of models, each with a column that refuses 666.
func rowForms(set *model.Set, table, column string) map[string]rowForm {
	inPostgres := func(t *testing.T) (ingest.Store, func(query string) [][]string) {
		t.Helper()
		return openPostgres(t, set, fmt.Sprintf("ALTER TABLE %s ADD CHECK (%s <> 666)", table, column))
	}
	inSQLite := func(t *testing.T) (ingest.Store, func(query string) [][]string) {
		t.Helper()
		var pairs []string
		for indent := range 12 { // the types are below each other
			of := fmt.Sprintf("%q%*sINTEGER", column, indent+1, "")
			pairs = append(pairs, of, of+fmt.Sprintf(" CHECK (%s <> 666)", column))
		}
		return openSQLite(t, set, table, pairs...)
	}
	return map[string]rowForm{"Postgres, event": {event, inPostgres}, "Postgres, Pipes": {pipes, inPostgres}, "SQLite, event": {event, inSQLite}}
}

// delivery is an event, and what it must come to each time that it is delivered.
type delivery struct {
	bodies map[int]string // by the number of the message
	after  map[int]int    // on a FIFO queue, the message that one follows in its group; others are alone
	failed []string       // on a FIFO queue
	sent   []string       // to the dead-letter queue
	counts string         // of the first delivery
	again  string         // of the others
	rows   string
}

// deliver sends events to stores: each as it is, again as SQS does when it delivers twice at once, and once
// more as it does after a visibility timeout.
func deliver(t *testing.T, set *model.Set, table, column, query string, standard, fifo []delivery) {
	t.Helper()
	for kind, steps := range map[string][]delivery{"standard": standard, "FIFO": fifo} {
		for name, form := range rowForms(set, table, column) {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				store, rows := form.open(t)
				h, log := handlerOf(set, store)
				var counts string
				h.Observe = func(_ context.Context, r *ingest.Report) { counts = speltCounts(r.Counts()) }
				for i, step := range steps {
					var records []string
					for _, n := range slices.Sorted(maps.Keys(step.bodies)) {
						if kind == "FIFO" {
							records = append(records, inGroup(n, fmt.Sprint("g-", cmp.Or(step.after[n], n)), step.bodies[n]))
						} else {
							records = append(records, record(n, step.bodies[n]))
						}
					}
					for k, want := range []string{step.counts, step.again, step.again} {
						dead := &named{}
						h.DeadLetters, h.Backoff = dead, &backoff{}
						sent := form.of(records...)
						if k == 2 {
							sent = bytes.ReplaceAll(sent, []byte(`"ApproximateReceiveCount":"1"`), []byte(`"ApproximateReceiveCount":"2"`))
						}
						failed := invoke(t, h, sent)
						for what, diff := range map[string]string{
							"failed": gocmp.Diff(failed, append([]string{}, step.failed...)), "sent": gocmp.Diff(append([]string{}, *dead...), append([]string{}, step.sent...)),
							"counts": gocmp.Diff(counts, want), "rows": gocmp.Diff(rows(query)[0][0], step.rows),
						} {
							if diff != "" {
								t.Errorf("event %d, delivery %d: %s got(-) want(+):\n%s", i+1, k+1, what, diff)
							}
						}
					}
				}
				if text := log.Take(); strings.Contains(text, `"level":"ERROR"`) {
					t.Errorf("the log: %s", text)
				}
			})
		}
	}
}

// TestRowsBesideALedger: the ledger has one row for a message, which says that all of its rows are there,
// also those that are equal.
func TestRowsBesideALedger(t *testing.T) {
	t.Parallel()
	set := loadModels(t, `
model: readings
table: readings
ledger: sluice_ledger
rows: "$.values[*]"
fields:
  device: {type: text, layer: 0, required: true}
  value: {type: integer, path: $, required: true}
columns:
  device: {type: text, from: device}
  value: {type: integer, from: value}
`)
	body := func(device, values string) string { return fmt.Sprintf(`{"device":%q,"values":[%s]}`, device, values) }
	refused := map[int]string{1: body("a", "7,7,8"), 2: body("b", "1,666,2"), 3: body("c", `1,2,"3"`), 4: body("d", "7"), 5: body("e", "9,9")}
	sent := []string{
		id(2) + " refused_by_database  row 2 of readings",
		id(3) + " wrong_type value row 3 of readings: expected a number, found a string",
	}
	deliver(t, set, "readings", "value",
		"SELECT (SELECT string_agg(x, ' ') FROM (SELECT device || '.' || value AS x FROM readings ORDER BY device, value) AS r) || ', ' || (SELECT count(*) FROM sluice_ledger)",
		[]delivery{
			{bodies: refused, sent: sent, counts: "{stored 3 rejected 2}", again: "{duplicate 3 rejected 2}", rows: "a.7 a.7 a.8 d.7 e.9 e.9, 3"},
			{bodies: map[int]string{5: body("e", "9,9"), 6: body("a", "7,7,8")}, counts: "{stored 1 duplicate 1}", again: "{duplicate 2}", rows: "a.7 a.7 a.7 a.7 a.8 a.8 d.7 e.9 e.9, 4"},
		},
		[]delivery{
			{
				bodies: refused, after: map[int]int{5: 2}, failed: ids(5), sent: sent,
				counts: "{stored 2 rejected 2 returned 1}", again: "{duplicate 2 rejected 2 returned 1}", rows: "a.7 a.7 a.8 d.7, 2",
			},
			{bodies: map[int]string{5: body("e", "9,9"), 6: body("a", "7,7,8")}, counts: "{stored 2}", again: "{duplicate 2}", rows: "a.7 a.7 a.7 a.7 a.8 a.8 d.7 e.9 e.9, 4"},
		})
}

// TestReplacedChildren: a newer parent has the children that its message has, and an older one, which
// arrives late, changes nothing.
func TestReplacedChildren(t *testing.T) {
	t.Parallel()
	set := loadModels(t, `
model: orders
table: orders
key: [order_id]
on_conflict: replace
newer_by: version
fields:
  order_id: {type: integer, required: true}
  version: {type: integer, required: true}
columns:
  order_id: {type: bigint, from: order_id}
  version: {type: integer, from: version}
  message_id: {type: uuid, meta: message_id}
also:
  order_lines:
    rows: "$.lines[*]"
    key: [order_id, sku]
    fields:
      sku: {type: text, required: true}
      quantity: {type: integer, required: true}
    columns:
      order_id: {type: bigint, from: order_id}
      sku: {type: text, from: sku}
      quantity: {type: integer, from: quantity}
`)
	order := func(n, version int, lines ...any) string {
		var elements []string
		for pair := range slices.Chunk(lines, 2) {
			elements = append(elements, fmt.Sprintf(`{"sku":"%v","quantity":%v}`, pair...))
		}
		return fmt.Sprintf(`{"order_id":%d,"version":%d,"lines":[%s]}`, n, version, strings.Join(elements, ","))
	}
	first := delivery{
		bodies: map[int]string{1: order(1, 1, "a", 1, "b", 2), 2: order(2, 1, "a", 3)}, counts: "{stored 2}", again: "{duplicate 2}",
		rows: "1.1 2.1: 1.a.1 1.b.2 2.a.3",
	}
	// One line goes, one changes, one comes. Of the second order, nothing changes.
	second := delivery{
		bodies: map[int]string{3: order(1, 3, "b", 5, "c", 6), 4: order(2, 2, "b", 1, "c", 666), 5: order(2, 2, "b", 1, "c", "true"), 6: order(3, 1, "a", 1)},
		sent: []string{
			id(4) + " refused_by_database  row 2 of order_lines",
			id(5) + " wrong_type quantity row 2 of order_lines: expected a number, found a boolean",
		},
		counts: "{stored 1 replaced 1 rejected 2}", again: "{duplicate 2 rejected 2}",
		rows: "1.3 2.1 3.1: 1.b.5 1.c.6 2.a.3 3.a.1",
	}
	late := []delivery{
		{bodies: map[int]string{7: order(1, 2, "a", 7, "b", 7, "d", 7), 1: first.bodies[1]}, counts: "{outdated 2}", again: "{outdated 2}", rows: second.rows},
		{bodies: map[int]string{8: order(4, 2, "a", 2), 9: order(4, 1, "b", 1)}, counts: "{stored 1 outdated 1}", again: "{duplicate 1 outdated 1}", rows: "1.3 2.1 3.1 4.2: 1.b.5 1.c.6 2.a.3 3.a.1 4.a.2"},
		{bodies: map[int]string{10: order(1, 4), 3: second.bodies[3]}, counts: "{replaced 1 outdated 1}", again: "{duplicate 1 outdated 1}", rows: "1.4 2.1 3.1 4.2: 2.a.3 3.a.1 4.a.2"},
	}
	fifo := second // the third order follows one that is rejected
	fifo.after, fifo.failed = map[int]int{6: 4}, ids(6)
	fifo.counts, fifo.again, fifo.rows = "{replaced 1 rejected 2 returned 1}", "{duplicate 1 rejected 2 returned 1}", "1.3 2.1: 1.b.5 1.c.6 2.a.3"
	then := delivery{bodies: map[int]string{6: second.bodies[6]}, counts: "{stored 1}", again: "{duplicate 1}", rows: second.rows}
	deliver(t, set, "order_lines", "quantity",
		"SELECT (SELECT string_agg(x, ' ') FROM (SELECT order_id || '.' || version AS x FROM orders ORDER BY order_id) AS o) || ': ' || "+
			"(SELECT string_agg(x, ' ') FROM (SELECT order_id || '.' || sku || '.' || quantity AS x FROM order_lines ORDER BY order_id, sku) AS l)",
		append([]delivery{first, second}, late...), append([]delivery{first, fifo, then}, late...))
}
