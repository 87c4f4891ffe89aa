package handler_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// deliveries is a model of all metadata, and of message attributes.
const deliveries = `
model: deliveries
table: deliveries
key: [sent_utc, message_id]
fields:
  user_id: {type: text}
  trace: {type: text, attribute: trace_id}
  amount: {type: numeric, attribute: amount}
  tenant: {type: text, attribute: tenant, personal: true}
columns:
  user_id: {type: text, from: user_id}
  trace: {type: varchar(32), from: trace}
  amount: {type: "numeric(8,2)", from: amount}
  tenant: {type: varchar(64), from: tenant, masked: true}
  received_at: {type: timestamptz, meta: received_at}
  queue: {type: varchar(80), meta: queue}
  message_group: {type: varchar(128), meta: message_group}
  sequence_number: {type: numeric, meta: sequence_number}
  receive_count: {type: integer, meta: receive_count}
  sent_utc: {type: timestamp, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
`

// TestMetadataAndAttributes: the same rows from an event of Lambda and of EventBridge Pipes, in
// Postgres and in SQLite; a second delivery changes nothing of them.
func TestMetadataAndAttributes(t *testing.T) {
	t.Parallel()
	m, err := model.Parse("deliveries.yaml", []byte(deliveries))
	if err != nil {
		t.Fatal(err)
	}
	attribute := func(name, dataType, value string) string {
		return quote(name) + `:{"stringValue":` + quote(value) + `,"stringListValues":[],"binaryListValues":[],"dataType":"` + dataType + `"}`
	}
	system := func(receives string, more ...string) string {
		return attributes(append([]string{"ApproximateReceiveCount", quote(receives)}, more...)...)
	}
	records := func(receives string) []string {
		return []string{
			inGroup(1, "", `{"user_id":"u-1"}`, "attributes", system(receives, "MessageGroupId", `"tenant é"`, "SequenceNumber", `"18890000000000000001"`),
				"messageAttributes", "{"+attribute("trace_id", "String", `t-1 "é"`)+","+attribute("amount", "Number.money", "12.50")+","+attribute("tenant", "String", "acme")+"}"),
			record(2, `{"user_id":"u-2"}`, "attributes", system(receives, "ApproximateReceiveCount", "")),
			inGroup(3, "g", `{"user_id":"u-3"}`, "attributes", system(receives, "MessageGroupId", `"g"`), "messageAttributes", "{"+attribute("amount", "Number", "1e999")+"}"),
			record(4, `{"user_id":"u-4"}`, "attributes", system(receives), "messageAttributes", `{"trace_id":{"binaryValue":"AA==","dataType":"Binary"}}`),
		}
	}
	fifoName, name := fifoARN[strings.LastIndexByte(fifoARN, ':')+1:], queueARN[strings.LastIndexByte(queueARN, ':')+1:]
	want := [][]string{
		{"u-1", `t-1 "é"`, "12.50", sum("acme"), fifoName, "tenant é", "18890000000000000001", "1", "2026-01-01"},
		{"u-2", "", "", "", name, "", "", "", "2026-01-01"},
	}
	const query = `SELECT user_id, coalesce(trace, ''), coalesce(CAST(amount AS text), ''), coalesce(tenant, ''), queue, coalesce(message_group, ''),
		coalesce(CAST(sequence_number AS text), ''), coalesce(CAST(receive_count AS text), ''), substr(CAST(sent_utc AS text), 1, 10) FROM deliveries ORDER BY user_id`
	for name, open := range map[string]func(*testing.T) (ingest.Store, func(query string) [][]string){
		"Postgres": func(t *testing.T) (ingest.Store, func(string) [][]string) {
			t.Helper()
			return openPostgres(t, m.Set())
		},
		"SQLite": func(t *testing.T) (ingest.Store, func(string) [][]string) {
			t.Helper()
			return openSQLite(t, m.Set(), "")
		},
	} {
		for form, of := range map[string]func(...string) []byte{"event": event, "Pipes": pipes} {
			t.Run(name+", "+form, func(t *testing.T) {
				t.Parallel()
				store, rows := open(t)
				var reasons []string
				h, _ := handlerOf(m.Set(), store)
				h.Observe = func(_ context.Context, r *ingest.Report) {
					reasons = nil
					for _, v := range r.Verdicts {
						if v.Outcome == message.Rejected {
							reasons = append(reasons, v.Rejection.String())
						}
					}
				}
				for _, receives := range []string{"1", "2"} {
					before := time.Now().Truncate(time.Millisecond)
					if diff := cmp.Diff(invoke(t, h, of(records(receives)...)), ids(3, 4)); diff != "" {
						t.Errorf("failed got(-) want(+):\n%s", diff)
					}
					wantReasons := []string{"out_of_range amount: expected a number with as many digits as numeric(8,2) has", "wrong_type trace: expected an attribute of the type String or Number, found Binary"}
					if diff := cmp.Diff(reasons, wantReasons); diff != "" {
						t.Errorf("reasons got(-) want(+):\n%s", diff)
					}
					if diff := cmp.Diff(rows(query), want); diff != "" {
						t.Errorf("rows got(-) want(+):\n%s", diff)
					}
					if receives == "2" {
						continue
					}
					for _, row := range rows("SELECT DISTINCT CAST(received_at AS text) FROM deliveries") {
						at, err := parseTime(row[0])
						if err != nil || at.Before(before) || at.After(time.Now()) {
							t.Errorf("received at %s, %v, want a time of this test", row[0], err)
						}
					}
				}
			})
		}
	}
}

// parseTime reads a time as Postgres or as SQLite writes it, in UTC.
func parseTime(text string) (at time.Time, err error) {
	for _, form := range []string{"2006-01-02 15:04:05.999999-07", time.RFC3339Nano, "2006-01-02 15:04:05.999999Z07:00"} {
		if at, err = time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return at, err
}
