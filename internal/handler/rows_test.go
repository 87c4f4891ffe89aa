package handler_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
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
// queues, each event twice. Refused are elements by the model, and by the database.
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
		for name, open := range map[string]func(*testing.T) (ingest.Store, func(query string) [][]string){
			"Postgres": func(t *testing.T) (ingest.Store, func(query string) [][]string) {
				t.Helper()
				return openPostgres(t, set, "ALTER TABLE order_lines ADD CHECK (quantity <> 666)")
			},
			"SQLite": func(t *testing.T) (ingest.Store, func(query string) [][]string) {
				t.Helper()
				return openSQLite(t, set, "order_lines", `"quantity" INTEGER`, `"quantity" INTEGER CHECK (quantity <> 666)`)
			},
		} {
			t.Run(kind+", "+name, func(t *testing.T) {
				t.Parallel()
				store, query := open(t)
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
					failed := invoke(t, h, event(records...))
					got := slices.Sorted(slices.Values(*dead))
					for what, diff := range map[string]string{
						"failed": cmp.Diff(failed, append([]string{}, of.failed...)), "sent": cmp.Diff(got, slices.Sorted(slices.Values(want))),
						"counts": cmp.Diff(counts, wantCounts), "rows": cmp.Diff(query(rows)[0], stored),
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
