package postgres_test

import (
	"fmt"
	"testing"

	"example.com/owner/sluice/internal/message"
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
