package benchmark_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// kept is a model of rows that are only inserted; the table's name and the end are to be filled in.
const kept = `
model: %s
table: %[1]s
fields: {device: {type: text, required: true}, n: {type: integer}, celsius: {type: numeric}}
columns:
  sent_at: {type: timestamptz, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
  device: {type: text, from: device}
  n: {type: integer, from: n}
  celsius: {type: "numeric(6,2)", from: celsius}
%s`

// Models of the sides.
var (
	single   = []string{fmt.Sprintf(kept, "events", "key: [sent_at, message_id]")}
	several  = []string{ofType("a"), ofType("b"), ofType("c")}
	unpacked = []string{strings.Replace(fmt.Sprintf(kept, "readings", "  row_number: {type: smallint, meta: row_number}\nrows: $.readings[*]"), "device: {type: text, ", "device: {type: text, layer: 0, ", 1)}
	states   = []string{`
model: accounts
table: accounts
key: [id]
on_conflict: replace
newer_by: version
fields: {id: {type: integer, required: true}, version: {type: integer, required: true}, state: {type: text}}
columns:
  id: {type: bigint, from: id}
  version: {type: bigint, from: version}
  state: {type: text, from: state}
  message_id: {type: uuid, meta: message_id}
`}
)

// ofType is the model of the messages of one type, in a table of its own.
func ofType(name string) string {
	return fmt.Sprintf(kept, "events_"+name, "key: [sent_at, message_id]\nwhen: {path: $.type, one_of: ["+name+"]}")
}

// side is one side of a comparison: what it does with the messages of a round.
type side struct {
	rows     int // that a round stores
	messages func(round int) []message.Message
	store    func(messages []message.Message) error
}

// BenchmarkSideBySide prints ratios of rates, from bodies to rows: the median of as many rounds as
// -benchtime says, as in -benchtime 15x. In each round the sides take turns.
func BenchmarkSideBySide(b *testing.B) {
	server := pgtest.NewServer(b, pgtest.ServerConfig{Parameters: map[string]string{"fsync": "on", "full_page_writes": "on"}})
	for _, bb := range []struct {
		name   string
		of, to func(b *testing.B, server *pgtest.Server) side
	}{
		{"3 models of 1000 messages/1 model of 3000", func(b *testing.B, server *pgtest.Server) side {
			return ofModels(b, server, 3000, reading, 3000, several...)
		}, func(b *testing.B, server *pgtest.Server) side {
			return ofModels(b, server, 3000, reading, 3000, single...)
		}},
		{"1000 messages of 10 rows/10000 of one", func(b *testing.B, server *pgtest.Server) side {
			return ofModels(b, server, 1000, packed, 10_000, unpacked...)
		}, func(b *testing.B, server *pgtest.Server) side {
			return ofModels(b, server, 10_000, reading, 10_000, single...)
		}},
		{"1000 newer rows/pgx.Batch", func(b *testing.B, server *pgtest.Server) side {
			return ofModels(b, server, 1000, state, 1000, states...)
		}, usualStates},
	} {
		b.Run(bb.name, func(b *testing.B) {
			of, to := bb.of(b, server), bb.to(b, server)
			var rates [2][]float64
			var ratios []float64
			for round := 0; b.Loop(); round++ {
				var rate [2]float64
				for k := range 2 {
					k = (k + round) % 2
					s := []side{of, to}[k]
					messages := s.messages(round)
					began := time.Now()
					if err := s.store(messages); err != nil {
						b.Fatal(err)
					}
					rate[k] = float64(s.rows) / time.Since(began).Seconds()
					rates[k] = append(rates[k], rate[k])
				}
				ratios = append(ratios, rate[0]/rate[1])
			}
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(median(rates[0]), "rows/s")
			b.ReportMetric(median(rates[1]), "to-rows/s")
		})
	}
}

// reading is the body of a message that is one row.
func reading(_, i int) string {
	return fmt.Sprintf(`{"type":"%c","device":"d-%d","n":%d,"celsius":%d.%02d}`, 'a'+i%3, i, i, i%40, i%100)
}

// packed is the body of a message that is ten rows.
func packed(_, i int) string {
	all := make([]string, 10)
	for k := range all {
		all[k] = fmt.Sprintf(`{"n":%d,"celsius":%d.%02d}`, k, i%40, (i+k)%100)
	}
	return fmt.Sprintf(`{"type":"a","device":"d-%d","readings":[%s]}`, i, strings.Join(all, ","))
}

// state is the body of a message about one of 1,000 accounts, newer in each round.
func state(round, i int) string {
	return fmt.Sprintf(`{"id":%d,"version":%d,"state":"state-%d"}`, i*7919%1000, round, i)
}

// ofModels is sluice with some models. n messages a round have some number of rows.
func ofModels(b *testing.B, server *pgtest.Server, n int, body func(round, i int) string, rows int, texts ...string) side {
	b.Helper()
	var all []*model.Model
	var ddl []string
	for _, text := range texts {
		m, err := model.Parse("model.yaml", []byte(text))
		if err != nil {
			b.Fatal(err)
		}
		all, ddl = append(all, m), append(ddl, m.DDL()...)
	}
	set, err := model.NewSet(all...)
	if err != nil {
		b.Fatal(err)
	}
	p := pipeline(b, withoutVacuum(b, server, ddl), set)
	s := side{rows, func(round int) []message.Message { return newMessages(n, round, body) }, func(messages []message.Message) error {
		r := p.Run(b.Context(), messages)
		if sum := r.Tallies.Sum(); r.Err != nil || sum.Inserted+sum.Replaced != len(messages) {
			return fmt.Errorf("%+v of %d messages: %w", sum, len(messages), r.Err)
		}
		return nil
	}}
	warm(b, s)
	return s
}

// withoutVacuum makes tables that are not vacuumed in the middle of a turn.
func withoutVacuum(b *testing.B, server *pgtest.Server, ddl []string) *pgtest.DB {
	b.Helper()
	db := server.New(b, ddl...)
	for _, row := range db.Rows(b, "SELECT format('ALTER TABLE %I SET (autovacuum_enabled = false)', relname) FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema::regnamespace") {
		db.Exec(b, row[0])
	}
	return db
}

// warm connects and prepares.
func warm(b *testing.B, s side) {
	b.Helper()
	for round := range 2 {
		if err := s.store(s.messages(round - 2)); err != nil {
			b.Fatal(err)
		}
	}
}

func newMessages(n, round int, body func(round, i int) string) []message.Message {
	messages := make([]message.Message, n)
	for i := range messages {
		messages[i] = message.Message{
			ID: uuid.NewString(), HasBody: true, HasSent: true, SentMillis: 1767225600000 + int64(round*n+i), ReceiveCount: 1, Body: []byte(body(round, i)),
		}
	}
	return messages
}

// usualStates is the usual way: one statement for each message, sent as one batch.
func usualStates(b *testing.B, server *pgtest.Server) side {
	b.Helper()
	db := withoutVacuum(b, server, []string{"CREATE TABLE accounts (id bigint PRIMARY KEY, version bigint NOT NULL, state text, message_id uuid)"})
	conn := db.Conn(b)
	const sql = `INSERT INTO accounts (id, version, state, message_id) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE
		SET version = excluded.version, state = excluded.state, message_id = excluded.message_id WHERE excluded.version > accounts.version`
	s := side{1000, func(round int) []message.Message { return newMessages(1000, round, state) }, func(messages []message.Message) error {
		var batch pgx.Batch
		for i := range messages {
			var body struct {
				ID, Version int64
				State       string
			}
			if err := json.Unmarshal(messages[i].Body, &body); err != nil {
				return err
			}
			batch.Queue(sql, body.ID, body.Version, body.State, messages[i].ID)
		}
		return conn.SendBatch(b.Context(), &batch).Close()
	}}
	warm(b, s)
	return s
}
