package drill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/esmsim"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// typo is a model whose names of fields are in no body: senders write user_id. All fields are
// optional, so nothing else would be wrong with a row of NULLs.
const (
	typo = `
model: user_logins
table: user_logins
key: [sent_at, message_id]
fields:
  userId: {type: text}
  deviceId: {type: text, personal: true}
columns:
  user_id: {type: varchar(128), from: userId}
  masked_device_id: {type: varchar(64), from: deviceId, masked: true}
  sent_at: {type: timestamptz, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
`
	corrected = `
model: user_logins
table: user_logins
key: [sent_at, message_id]
fields:
  user_id: {type: text}
  device_id: {type: text, personal: true}
columns:
  user_id: {type: varchar(128), from: user_id}
  masked_device_id: {type: varchar(64), from: device_id, masked: true}
  sent_at: {type: timestamptz, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
`
)

// TestATypoInAModel deploys it for an hour. No row of NULLs is stored, and every message is in the
// dead-letter queue, from where it is sent back once the model is corrected.
func TestATypoInAModel(t *testing.T) {
	t.Parallel()
	const fixed, ends = time.Hour, 3 * time.Hour
	for _, tt := range []struct {
		name, suffix string
		// sends: sluice sends rejected messages to the dead-letter queue. Otherwise SQS moves them,
		// after the last of their receives.
		sends bool
	}{
		{"sluice sends dead letters", "", true},
		{"SQS moves dead letters", "", false},
		{"FIFO, sluice sends dead letters", ".fifo", true},
		{"FIFO, SQS moves dead letters", ".fifo", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			dead := sim.Queue(esmsim.QueueConfig{Name: "dead" + tt.suffix, Retention: 14 * 24 * time.Hour})
			queue := sim.Queue(esmsim.QueueConfig{Name: "logins" + tt.suffix, Visibility: visibility, DeadLetter: dead, MaxReceives: 3})
			var db *pgtest.DB
			deploy := func(text string) *handler.Handler {
				m, err := model.Parse("typo.yaml", []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if db == nil {
					db = pgtest.New(t, m.DDL()...)
				}
				store, err := postgres.Open(db.URL, []*batch.Table{m.Table})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(store.Close)
				log := slog.New(slog.DiscardHandler)
				h := &handler.Handler{Pipeline: ingest.New(m.Set(), store, ingest.Static(mask.Unkeyed()), log), Log: log}
				if tt.sends {
					h.DeadLetters = deadLetters{dead, m.Name}
				}
				return h
			}
			h := deploy(typo)
			mapping := sim.Map(queue, func(ctx context.Context, event []byte) ([]byte, error) { return h.Invoke(ctx, event) },
				esmsim.MappingConfig{ReportBatchItemFailures: true, FunctionTimeout: functionTimeout, RealTimeout: time.Minute})
			sent := map[string]bool{}
			send := func(m esmsim.Message) {
				if tt.suffix != "" {
					m.GroupID, m.DeduplicationID = "g", fmt.Sprint("d", len(sent))
				}
				sent[queue.Send(m)] = true
			}
			stop := sim.Every(time.Minute, func() {
				send(esmsim.Message{Body: fmt.Sprintf(`{"user_id":"u-%d","device_id":"d-%d"}`, len(sent), len(sent))})
			})
			sim.At(fixed/2, stop)
			sim.Run(fixed)

			if n := db.Count(t, "SELECT count(*) FROM user_logins"); n != 0 {
				t.Errorf("%d rows were stored, want none", n)
			}
			letters := dead.Messages()
			if report := mapping.Report(); len(sent) < 20 || len(letters) != len(sent) || report.Waiting != 0 || tt.sends != (report.Deleted == len(sent)) {
				t.Errorf("%d messages were sent, %d are in the dead-letter queue:\n%s", len(sent), len(letters), report)
			}
			for _, r := range letters {
				id := r.MessageID
				if tt.sends {
					var note sqs.Note
					if err := json.Unmarshal([]byte(r.Attributes[sqs.NoteAttribute].StringValue), &note); err != nil || note.Reason != message.ReasonUnrecognized {
						t.Errorf("got the reason %q, %v, want %s", note.Reason, err, message.ReasonUnrecognized)
					}
					id = note.MessageID
				}
				if !sent[id] {
					t.Errorf("the dead-letter queue has %q, which was not sent, or has it twice", id)
				}
				delete(sent, id)
			}

			h = deploy(corrected)
			for _, r := range letters {
				send(esmsim.Message{Body: r.Body}) // as sluice redrive does: without the note
			}
			dead.Purge()
			sim.Run(ends)
			if n := db.Count(t, "SELECT count(DISTINCT user_id) FROM user_logins WHERE user_id IS NOT NULL AND masked_device_id IS NOT NULL"); n != int64(len(letters)) {
				t.Errorf("%d rows are complete after the model is corrected, want %d", n, len(letters))
			}
			if n := len(dead.Messages()); n != 0 {
				t.Errorf("%d messages are in the dead-letter queue again", n)
			}
		})
	}
}
