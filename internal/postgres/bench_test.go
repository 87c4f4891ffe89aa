package postgres_test

import (
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
)

// BenchmarkFindRefused reports what a batch with refused rows costs: the time, the transaction ids
// (one for each savepoint with writes) and the dead rows that it leaves in the table. "0 bad" is
// the happy path.
func BenchmarkFindRefused(b *testing.B) {
	for _, n := range []int{10, 1000, 5000} {
		for _, bad := range []int{0, 1, n / 2} {
			b.Run(fmt.Sprintf("rows=%d/bad=%d", n, bad), func(b *testing.B) {
				s := newSite(b, setup{sql: createEvents + noBadWord})
				tuples := s.db.Count(b, "SELECT count(*) FROM pg_available_extensions WHERE name = 'pgstattuple'") == 1
				if tuples {
					s.db.Exec(b, "CREATE EXTENSION pgstattuple")
				}
				store := openStore(b, s.db.URL, events) // without the proxy
				next := int64(1)
				var xids, dead, trips, rounds int64
				for b.Loop() {
					b.StopTimer()
					s.db.Exec(b, "TRUNCATE events")
					rows := goods(next, n)
					next += int64(n)
					for i := range bad {
						badWord(&rows[(2*i+1)*n/(2*bad)])
					}
					batch := batchOf(rows)
					before := s.xid()
					b.StartTimer()

					result, err := store.Insert(b.Context(), batch)

					b.StopTimer()
					if err != nil || result.Tallies.Sum().Inserted != n-bad || result.Verdicts[n/2].Outcome == message.Returned {
						b.Fatal(result.Tallies.Sum().Inserted, err)
					}
					xids += s.xid() - before
					dead += s.dead(tuples)
					trips += int64(result.RoundTrips)
					rounds++
					b.StartTimer()
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(rounds), "ms/batch")
				b.ReportMetric(float64(trips)/float64(rounds), "round-trips/batch")
				b.ReportMetric(float64(xids)/float64(rounds), "xids/batch")
				b.ReportMetric(float64(dead)/float64(rounds), "dead-rows/batch")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// xid returns the next transaction id of the server.
func (s *site) xid() int64 {
	s.Helper()
	return s.db.Count(s, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
}

// dead counts the dead rows of the table: exactly with the extension, else by the gaps in the
// places of the living.
func (s *site) dead(exactly bool) int64 {
	s.Helper()
	if exactly {
		return s.db.Count(s, "SELECT dead_tuple_count FROM pgstattuple('events')")
	}
	return s.db.Count(s, `SELECT coalesce(sum(last - living), 0)::bigint FROM (
		SELECT max((ctid::text::point)[1]) AS last, count(*) AS living FROM events GROUP BY (ctid::text::point)[0]) AS pages`)
}

// BenchmarkUpsert compares batches of 1,000 upserts with the usual way: one statement for each row, in
// one pgx.Batch. A role with grants of columns may not read xmax.
func BenchmarkUpsert(b *testing.B) {
	const n = 1000
	const usual = `INSERT INTO states (id, version, word, message_id) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO UPDATE SET version = excluded.version, word = excluded.word, message_id = excluded.message_id
		WHERE states.version < excluded.version OR states.version = excluded.version AND states.message_id < excluded.message_id`
	for _, tt := range []struct {
		name string
		keep int // rows that are stored before
	}{{"all replaced", n}, {"half inserted", n / 2}, {"all inserted", 0}} {
		s := newStates(b, createStates("text", ""), "")
		conn := s.db.Conn(b)
		store := openStore(b, s.db.URL, states)
		run := func(b *testing.B, upsert func(all []state)) {
			b.Helper()
			for version := int64(1); b.Loop(); version++ {
				b.StopTimer()
				s.db.Exec(b, "TRUNCATE states")
				s.db.Exec(b, "INSERT INTO states SELECT lpad(i::text, 5, '0'), 0 FROM generate_series(0, $1::int - 1) AS i", tt.keep)
				all := numbered(n, version, 1)
				b.StartTimer()
				upsert(all)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
		}
		granted := openStoreOf(b, s.db.Role(b, func(role string) []string {
			return []string{"GRANT INSERT, SELECT (id, version, word, message_id), UPDATE (version, word, message_id) ON states TO " + role}
		}).URL, []*batch.Table{states})
		for _, way := range []struct {
			name  string
			store *postgres.Store
		}{{"sluice", store}, {"sluice, grants of columns", granted}} {
			b.Run(tt.name+"/"+way.name, func(b *testing.B) {
				run(b, func(all []state) {
					result, err := way.store.Insert(b.Context(), stateBatch(states, all))
					if err != nil || result.Tallies.Sum() != (message.Tally{Inserted: n - tt.keep, Replaced: tt.keep}) || result.RoundTrips > 2 {
						b.Fatalf("%+v, %v", result.Tallies, err)
					}
				})
			})
		}
		b.Run(tt.name+"/usual", func(b *testing.B) {
			run(b, func(all []state) {
				var batch pgx.Batch
				for _, one := range all {
					batch.Queue(usual, one.id, one.version, one.word, uuidOf(one.message))
				}
				if err := conn.SendBatch(b.Context(), &batch).Close(); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}
