package benchmark_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// readings is a model of measurements: those of a message, or the one that a message is.
const readings = `
model: readings
table: readings
fields:
  device: {type: text, required: true}
  at: {type: timestamp, required: true}
  celsius: {type: numeric, required: true}
  status: {type: text}
columns:
  device: {type: varchar(64), from: device}
  at: {type: timestamptz, from: at}
  celsius: {type: "numeric(5, 2)", from: celsius}
  status: {type: text, from: status}
  sent_at: {type: timestamptz, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
`

// BenchmarkRowsOfMessages prints how many rows each second are stored, from bodies on, of a batch of
// 10,000 messages with one row, and of 1,000 messages with ten.
func BenchmarkRowsOfMessages(b *testing.B) {
	const rows = 10_000
	reading := func(n int) string {
		return fmt.Sprintf(`{"device":"d-%d","at":"2026-01-31T12:%02d:%02d.%03dZ","celsius":%d.5,"status":"ok"}`, n%1000, n/60%60, n%60, n%1000, n%40)
	}
	for _, each := range []int{1, 10} {
		text := readings + "  row_number: {type: smallint, value: 1}\nkey: [sent_at, message_id, row_number]\n" // the same table
		if each > 1 {
			text = readings + "  row_number: {type: smallint, meta: row_number}\nrows: \"$.items[*]\"\n"
		}
		m, err := model.Parse("readings.yaml", []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprint("rows of a message=", each), func(b *testing.B) {
			db := pgtest.New(b, m.DDL()...)
			p := pipeline(b, db, m.Set())
			all := make([]message.Message, rows/each)
			for i := range all {
				body := reading(i)
				if each > 1 {
					var items []string
					for k := range each {
						items = append(items, reading(i*each+k))
					}
					body = `{"items":[` + strings.Join(items, ",") + `]}`
				}
				all[i] = message.Message{Body: []byte(body), HasBody: true, HasSent: true, ReceiveCount: 1}
			}
			n, server, client := int64(0), time.Duration(0), time.Duration(0)
			backends := func() (used time.Duration) {
				for _, row := range db.Rows(b, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND datname = current_database()") {
					pid, _ := strconv.Atoi(row[0]) // it is one
					used += cpu(pid)
				}
				return used
			}
			for b.Loop() {
				b.StopTimer()
				before := backends()
				db.Exec(b, "TRUNCATE readings")
				for i := range all {
					n++
					all[i].ID, all[i].SentMillis = uuid.NewString(), 1_700_000_000_000+n
				}
				own := cpu(os.Getpid())
				b.StartTimer()
				if r := p.Run(b.Context(), all); r.Err != nil || r.Counts().Stored != len(all) {
					b.Fatalf("%+v: %v", r.Counts(), r.Err)
				}
				b.StopTimer()
				client += cpu(os.Getpid()) - own
				server += backends() - before
				b.StartTimer()
			}
			b.ReportMetric(float64(client.Nanoseconds())/float64(rows*b.N), "client-ns/row")
			b.ReportMetric(float64(server.Nanoseconds())/float64(rows*b.N), "server-ns/row")
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
