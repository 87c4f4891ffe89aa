// Package models_test holds model files to what people read and write: the examples of
// docs/models.md, the messages of test/shapes, and the JSON Schema, which must accept and refuse the
// same files as the loader.
package models_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqsevent"
	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// firstID is the messageId of the one message of an event.
const firstID = "00000000-0000-4000-8000-000000000001"

// messages returns the messages of an event with one body, which was sent on 2026-01-01 at midnight.
func messages(t *testing.T, queue, body string, attributes map[string]string) []message.Message {
	t.Helper()
	type object = map[string]any
	own := object{}
	for name, value := range attributes {
		own[name] = object{"dataType": "String", "stringValue": value}
	}
	event, err := json.Marshal(object{"Records": []object{{
		"messageId": firstID, "receiptHandle": "r", "body": body, "messageAttributes": own,
		"attributes":  object{"ApproximateReceiveCount": "1", "SentTimestamp": "1767225600000"},
		"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:" + queue, "awsRegion": "eu-central-1",
	}}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := sqsevent.Decode(event)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// said is a verdict in one line, without what only people read.
func said(v *message.Verdict) string {
	switch v.Outcome {
	case message.Rejected:
		return strings.TrimSpace(fmt.Sprintf("rejected: %s %s", v.Rejection.Reason, v.Rejection.Field))
	case message.Returned:
		return "returned: " + string(v.Cause)
	default:
		return v.Outcome.String()
	}
}

// table is a model's table on a real Postgres, and the pipeline that fills it.
type table struct {
	m    *model.Model
	db   *pgtest.DB
	pipe *ingest.Pipeline
}

// newTable makes the tables of a model after other SQL. SQL that makes the table itself replaces the
// model's.
func newTable(t *testing.T, m *model.Model, sql string) *table {
	t.Helper()
	db := pgtest.New(t)
	if sql != "" {
		db.Exec(t, sql)
	}
	if !strings.Contains(sql, "CREATE TABLE "+m.Table.Name+" ") {
		for _, statement := range m.DDL() {
			db.Exec(t, statement)
		}
	}
	store, err := postgres.Open(db.URL, []*batch.Table{m.Table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return &table{m, db, ingest.New(m.Set(), store, ingest.Static(mask.Unkeyed()), slog.New(slog.DiscardHandler))}
}

// deliver empties the table, delivers a message twice, and returns the verdict, which must be the
// same both times. Of two deliveries at most one may make a row.
func (tab *table) deliver(t *testing.T, queue, body string, attributes map[string]string) string {
	t.Helper()
	tables := []string{tab.m.Table.Name, tab.m.Table.Ledger}
	for _, child := range tab.m.Table.Children {
		tables = append([]string{child.Name}, tables...)
	}
	for _, name := range tables {
		if name != "" {
			tab.db.Exec(t, "DELETE FROM "+name)
		}
	}
	all := messages(t, queue, body, attributes)
	first := tab.pipe.Run(t.Context(), all)
	second := tab.pipe.Run(t.Context(), all)
	verdict := said(&first.Verdicts[0])
	if again := said(&second.Verdicts[0]); again != verdict {
		t.Errorf("the first delivery is %s, the second %s", verdict, again)
	}
	want := 0
	if first.Verdicts[0].Outcome == message.Stored {
		want = 1
	}
	if first.Tallies.Sum().Inserted != want || second.Tallies.Sum().Inserted != 0 {
		t.Errorf("%s: %d new rows, and then %d; want %d and 0 (%v, %v)", verdict, first.Tallies.Sum().Inserted, second.Tallies.Sum().Inserted, want, first.Err, second.Err)
	}
	return verdict
}

// sum is the mask of a value without a key.
func sum(value string) string {
	hash := sha256.Sum256([]byte(value))
	return hex.EncodeToString(hash[:])
}
