// Package benchmark_test measures what needs several packages: the way from bodies to committed
// rows, beside other ways, interleaved in one run so that the ratios hold on a noisy machine.
// `make bench` runs TestWays and, with ROWS, TestLargeTable; `make microbench` the benchmarks.
package benchmark_test

import (
	"os"
	"strconv"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// BenchmarkCommit prints rows per second of sluice, of COPY of ready rows and of the usual way, for
// a comparison of two versions by `make benchstat`.
func BenchmarkCommit(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000, 6000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			m := userLogins(b)
			schema := func() *pgtest.DB { return pgtest.New(b, m.DDL()...) }
			names := []string{"sluice", "copy", "usual"}
			ways := []way{fromBodies(b, pipeline(b, schema(), m.Set())), copyReady(b, schema(), m), usualBatch(b, schema())}
			took := make([]time.Duration, len(ways))
			rows, first := 0, 0
			for b.Loop() {
				for range max(1, 200/n) {
					for i, w := range ways {
						work := w.prepare(logins(n, first))
						first += n
						start := time.Now()
						if err := work(); err != nil {
							b.Fatalf("%s: %v", names[i], err)
						}
						took[i] += time.Since(start)
					}
					rows += n
				}
			}
			for i, name := range names {
				b.ReportMetric(float64(rows)/took[i].Seconds(), name+"-rows/s")
			}
			b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "of-copy")
			b.ReportMetric(took[2].Seconds()/took[0].Seconds(), "x-usual")
			b.ReportMetric(0, "ns/op")
		})
	}
}
