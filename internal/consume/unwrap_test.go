package consume_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"testing"

	"github.com/klauspost/compress/zstd"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// packed is a model whose bodies unwrap to up to 64 MiB each.
const packed = `
model: packed
table: packed
key: [message_id]
unwrap: [base64, zstd]
max_unwrapped_bytes: 67108864
fields: {user_id: {type: text, required: true}}
columns:
  user_id: {type: text, from: user_id}
  message_id: {type: uuid, meta: message_id}
`

// TestMemory: what a batch has no memory for is returned, and stored by a later batch of the run. On
// a FIFO queue the order holds.
func TestMemory(t *testing.T) {
	t.Parallel()
	for _, fifo := range []bool{false, true} {
		t.Run(fmt.Sprint("fifo ", fifo), func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{fifo: fifo, model: packed})
			s.db.Exec(t, "ALTER TABLE packed ADD stored bigserial")
			w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
			if err != nil {
				t.Fatal(err)
			}
			for i := range 5 { // two of them fit into a batch
				large := w.EncodeAll(fmt.Appendf(bytes.Repeat([]byte(" "), 30<<20), `{"user_id":"u-%d"}`, i), nil)
				m := sqstest.Message{Body: base64.StdEncoding.EncodeToString(large)}
				if fifo {
					m.Group = "g"
				}
				s.queue.Put(m)
			}
			seen := &recorder{}
			summary := run(t, s.consumer(t, func(c *consume.Consumer) { c.Observers = append(c.Observers, seen) }))
			if summary.Stored != 5 || summary.Rejected != 0 || summary.Causes[message.CauseMemory] == 0 || summary.Returned != summary.Causes[message.CauseMemory]+summary.Causes[message.CauseGroup] {
				t.Errorf("got %+v", summary)
			}
			for _, transaction := range seen.transactions {
				if n := transaction.Count(message.Stored); n > 2 {
					t.Errorf("a transaction has stored %d bodies of 30 MiB", n)
				}
			}
			for i, row := range s.db.Rows(t, "SELECT user_id FROM packed ORDER BY stored") {
				if want := fmt.Sprint("u-", i); fifo && row[0] != want {
					t.Errorf("row %d is of %s, want %s", i, row[0], want)
				}
			}
			s.wantEmpty(t)
		})
	}
}
