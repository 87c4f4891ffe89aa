package batch_test

import (
	"testing"

	"example.com/owner/sluice/internal/batch"
)

// BenchmarkEncode makes the arrays of a statement.
func BenchmarkEncode(b *testing.B) {
	const n = 1000
	table := &batch.Table{Key: []int{0}, Columns: []batch.Column{
		{Name: "at", Kind: batch.Timestamp},
		{Name: "id", Kind: batch.UUID},
		{Name: "user", Kind: batch.Text},
		{Name: "mask", Kind: batch.Text},
		{Name: "other", Kind: batch.Text},
		{Name: "n", Kind: batch.Int4},
		{Name: "none", Kind: batch.Text},
		{Name: "ok", Kind: batch.Bool},
	}}
	rows := batch.New(table)
	all := make([]int, n)
	for i := range n {
		rows.Begin(i, 0)
		rows.Int8(int64(i))
		rows.Bytes(make([]byte, 16))
		rows.String("00000000-0000-4000-8000-000000000000")
		rows.String("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
		rows.String("android")
		rows.Int4(7)
		rows.Null()
		rows.Bool(true)
		rows.End()
		all[i] = i
	}
	var a batch.Arrays
	b.ReportAllocs()
	for b.Loop() {
		a.Encode(rows, table, all)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
}
