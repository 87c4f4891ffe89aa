package benchmark_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// BenchmarkRedeliveries prints what deliveries of stored messages cost: the dead rows, the bytes of
// write-ahead log and the round trips of batches of 1,000, a share of whose messages were stored
// before. Their receive counts say so, or SQS has delivered them twice at once and nothing says so;
// "with ON CONFLICT" is both where every batch looks for stored rows.
func BenchmarkRedeliveries(b *testing.B) {
	const size, batches = 1000, 100
	for _, share := range []float64{0, 0.0001, 0.01, 0.5} {
		for _, how := range []string{"with ON CONFLICT", "announced", "unannounced"} {
			b.Run(fmt.Sprintf("share=%v%%/%s", 100*share, how), func(b *testing.B) {
				m := userLogins(b)
				db := pgtest.New(b, m.DDL()...)
				p := pipeline(b, db, m.Set())
				conn := db.Conn(b)
				db.Exec(b, "ALTER TABLE user_logins SET (autovacuum_enabled = false)")
				for b.Loop() {
					db.Exec(b, "TRUNCATE user_logins")
					random := rand.New(rand.NewPCG(1, 2))
					trips, before := 0, walBytes(b, conn)
					var earlier []message.Message
					for i := range batches {
						all := logins(size, i*size)
						for k := range all {
							if again := random.Float64() < share; again && len(earlier) > 0 {
								all[k] = earlier[random.IntN(len(earlier))]
								if how == "announced" {
									all[k].ReceiveCount = 2
								}
							}
							if how == "with ON CONFLICT" {
								all[k].ReceiveCount = 2
							}
						}
						r := p.Run(b.Context(), all)
						if r.Err != nil {
							b.Fatal(r.Err)
						}
						trips += r.RoundTrips
						for k := range all {
							all[k].ReceiveCount = 1
						}
						earlier = all
					}
					rows := db.Count(b, "SELECT count(*) FROM user_logins")
					b.ReportMetric(float64(walBytes(b, conn)-before)/float64(rows), "WAL-B/row")
					b.ReportMetric(float64(trips)/batches, "round-trips/batch")
					// Nothing has cleaned up: the places of pages that hold no living row are of dead ones.
					dead := db.Count(b, `SELECT coalesce(sum(last - living), 0)::bigint FROM (
						SELECT max((ctid::text::point)[1]) AS last, count(*) AS living FROM user_logins GROUP BY (ctid::text::point)[0]) AS pages`)
					b.ReportMetric(float64(dead)/batches, "dead-rows/batch")
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
