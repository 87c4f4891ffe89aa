package benchmark_test

import (
	"testing"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// BenchmarkWAL prints the bytes of write-ahead log for each row that is inserted into an empty
// table and into one of millions of rows: the key grows at its end, so they hardly differ. The
// server of package localpg writes no full-page images, which would depend on its checkpoints.
func BenchmarkWAL(b *testing.B) {
	const old, batches, size = 3_000_000, 40, 1000
	db := pgtest.New(b)
	m := userLogins(b)
	p := pipeline(b, db, m.Set())
	conn := db.Conn(b)
	insert := func(first int) float64 {
		before := walBytes(b, conn)
		for i := range batches {
			if r := p.Run(b.Context(), logins(size, first+i*size)); r.Tallies.Sum().Inserted != size {
				b.Fatal(r.Err)
			}
		}
		return float64(walBytes(b, conn)-before) / (batches * size)
	}
	for b.Loop() {
		db.Exec(b, "DROP TABLE IF EXISTS user_logins")
		for _, statement := range m.DDL() {
			db.Exec(b, statement)
		}
		empty := insert(0)
		db.Exec(b, `INSERT INTO user_logins SELECT gen_random_uuid(), 'android', repeat('0123456789abcdef', 4), repeat('0123456789abcdef', 4), 'RU', 2, '2026-01-01', '2.3.0', 'sha256',
			timestamptz '2026-01-01' - n * interval '1 ms', gen_random_uuid() FROM generate_series(1, $1::int) AS n`, old)
		db.Exec(b, "CHECKPOINT")
		full := insert(batches * size)
		b.ReportMetric(empty, "WAL-B/row-empty")
		b.ReportMetric(full, "WAL-B/row-3M")
		b.ReportMetric(full/empty, "ratio")
	}
}
