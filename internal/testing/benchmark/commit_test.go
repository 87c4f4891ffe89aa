// Package benchmark_test measures what needs several packages: the way from bodies to committed
// rows, beside other ways, interleaved in one run so that the ratios hold on a noisy machine.
package benchmark_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func userLogins(t testing.TB) *model.Model {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// logins returns n messages that are new in each round, sent a millisecond apart from number first
// on.
func logins(n, first int) []message.Message {
	messages := make([]message.Message, n)
	for i := range messages {
		k := first + i
		messages[i] = message.Message{
			ID: uuid.NewString(), HasBody: true, HasSent: true, SentMillis: 1767225600000 + int64(k),
			Body: fmt.Appendf(nil, `{"user_id": "%s", "app_version": "%d.3.%d", "device_type": "android", "ip": "%d.%d.%d.%d", "locale": "RU", "device_id": "593-%02d-%04d"}`,
				uuid.NewString(), k%7, k%10, 1+k%200, k>>8&255, k>>4&255, k&255, k%100, k%10000),
		}
	}
	return messages
}

// way is one way from messages to committed rows.
type way struct {
	name string
	// prepare does what is not measured and returns what is.
	prepare func(messages []message.Message) func() error
}

// BenchmarkCommit prints rows per second of sluice, of COPY of ready rows
// (the bound of what any client can do) and of the usual way (encoding/json
// and a pgx.Batch of single inserts in a transaction), into tables with the
// same key.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 6000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			db := pgtest.New(b)
			m := userLogins(b)
			ways := []way{sluice(b, db, m), copyReady(b, db, m), usual(b, db, m)}
			took := make([]time.Duration, len(ways))
			rows, first := 0, 0
			for b.Loop() {
				for range max(1, 200/n) {
					for i, w := range ways {
						work := w.prepare(logins(n, first))
						first += n
						start := time.Now()
						if err := work(); err != nil {
							b.Fatalf("%s: %v", w.name, err)
						}
						took[i] += time.Since(start)
					}
					rows += n
				}
			}
			for i, w := range ways {
				b.ReportMetric(float64(rows)/took[i].Seconds(), w.name+"-rows/s")
			}
			b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "of-copy")
			b.ReportMetric(took[2].Seconds()/took[0].Seconds(), "x-usual")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func sluice(b *testing.B, db *pgtest.DB, m *model.Model) way {
	store, err := postgres.Open(db.URL, m.Table)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(store.Close)
	if _, err := store.Migrate(b.Context(), m.DDL()); err != nil {
		b.Fatal(err)
	}
	p := ingest.New(m, store, ingest.Static(mask.Unkeyed()), slog.New(slog.DiscardHandler))
	return way{"sluice", func(messages []message.Message) func() error {
		return func() error {
			r := p.Run(b.Context(), messages)
			if r.Inserted != len(messages) {
				return fmt.Errorf("%d rows of %d: %w", r.Inserted, len(messages), r.Err)
			}
			return nil
		}
	}}
}

// table makes a table like user_logins under another name.
func table(b *testing.B, db *pgtest.DB, name string) {
	db.Exec(b, "CREATE TABLE "+name+" (LIKE user_logins INCLUDING ALL)")
}

func copyReady(b *testing.B, db *pgtest.DB, m *model.Model) way {
	table(b, db, "copied")
	conn := db.Conn(b).PgConn()
	var names []string
	for _, c := range m.Table.Columns {
		names = append(names, batch.Quote(c.Name))
	}
	sql := "COPY copied (" + strings.Join(names, ", ") + ") FROM STDIN BINARY"
	return way{"copy", func(messages []message.Message) func() error {
		rows := batch.New(m.Table)
		reader := m.Reader(mask.Unkeyed())
		for i := range messages {
			reader.Append(rows, i, 0, &messages[i])
		}
		rows.Sort()
		data := append([]byte("PGCOPY\n\xff\r\n\x00"), make([]byte, 8)...)
		for i := range rows.Len() {
			data = binary.BigEndian.AppendUint16(data, uint16(len(names)))
			rows.Row(i, func(_ int, v []byte) {
				if v == nil {
					data = binary.BigEndian.AppendUint32(data, 0xffffffff)
					return
				}
				data = append(binary.BigEndian.AppendUint32(data, uint32(len(v))), v...)
			})
		}
		data = append(data, 0xff, 0xff)
		return func() error {
			_, err := conn.CopyFrom(b.Context(), bytes.NewReader(data), sql)
			return err
		}
	}}
}

func usual(b *testing.B, db *pgtest.DB, m *model.Model) way {
	table(b, db, "usual")
	conn := db.Conn(b)
	var names, params []string
	for i, c := range m.Table.Columns {
		names = append(names, batch.Quote(c.Name))
		params = append(params, fmt.Sprintf("$%d", i+1))
	}
	sql := fmt.Sprintf("INSERT INTO usual (%s) VALUES (%s) ON CONFLICT (sent_at, message_id) DO NOTHING", strings.Join(names, ", "), strings.Join(params, ", "))
	type login struct {
		UserID     string  `json:"user_id"`
		AppVersion string  `json:"app_version"`
		DeviceType *string `json:"device_type"`
		IP         string  `json:"ip"`
		Locale     *string `json:"locale"`
		DeviceID   string  `json:"device_id"`
	}
	digest := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	return way{"usual", func(messages []message.Message) func() error {
		return func() error {
			ctx := b.Context()
			tx, err := conn.Begin(ctx)
			if err != nil {
				return err
			}
			defer tx.Rollback(ctx)
			var all pgx.Batch
			for i := range messages {
				var l login
				if err := json.Unmarshal(messages[i].Body, &l); err != nil {
					return err
				}
				major, err := strconv.Atoi(strings.SplitN(l.AppVersion, ".", 2)[0])
				if err != nil {
					return err
				}
				sent := time.UnixMilli(messages[i].SentMillis).UTC()
				id, err := uuid.Parse(messages[i].ID)
				if err != nil {
					return err
				}
				all.Queue(sql, l.UserID, l.DeviceType, digest(l.IP), digest(l.DeviceID), l.Locale, major, sent, l.AppVersion, "sha256", sent, id)
			}
			if err := tx.SendBatch(ctx, &all).Close(); err != nil {
				return err
			}
			return tx.Commit(ctx)
		}
	}}
}
