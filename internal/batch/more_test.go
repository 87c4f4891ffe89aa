package batch_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"

	"example.com/owner/sluice/internal/batch"
)

// numbers reads an array of integers in its binary form.
func numbers(t *testing.T, array []byte) (all []int64) {
	t.Helper()
	oid := uint32(pgtype.Int8ArrayOID)
	if len(array) > 11 && array[11] == 23 {
		oid = pgtype.Int4ArrayOID
	}
	if err := pgtype.NewMap().Scan(oid, pgtype.BinaryFormatCode, array, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMessagesOfSeveralRows has messages with several rows in one table, and with rows in children.
func TestMessagesOfSeveralRows(t *testing.T) {
	t.Parallel()
	number := []batch.Column{{Name: "n", Kind: batch.Int8}}
	lines := &batch.Table{Name: "lines", Columns: []batch.Column{{Name: "n", Kind: batch.Int8}, {Name: "m", Kind: batch.Int8}}, Key: []int{1}}
	orders := &batch.Table{Name: "orders", Columns: number, Key: []int{0}, Children: []*batch.Table{lines}}
	readings := &batch.Table{Name: "readings", Columns: number, Key: []int{0}, Several: true}
	b := batch.New(readings, orders)
	row := func(values ...int64) {
		for _, v := range values {
			b.Int8(v)
		}
		b.End()
	}
	order := func(message int, n int64, lines ...int64) {
		b.BeginIn(1, message, 0)
		row(n)
		for _, m := range lines {
			b.More(0)
			row(n, m)
		}
	}
	order(0, 30, 1, 2)
	b.BeginIn(0, 1, 0)
	row(7)
	b.More(-1)
	row(3)
	order(2, 20)
	order(3, 99, 4)
	b.More(0)
	b.Int8(99)
	b.Cancel() // all rows of the last message
	b.BeginIn(0, 4, 0)
	row(5)
	order(5, 10, 3)
	b.Sort()

	var got []string
	for i := range b.Len() {
		text := fmt.Sprint("message ", b.Message(i), " table ", b.Table(i))
		for k := range b.MoreRows(i) {
			text += fmt.Sprint(" more in ", b.MoreTable(i, k), ":")
			b.MoreRow(i, k, func(_ int, v []byte) { text += fmt.Sprint(" ", batch.Int(v)) })
		}
		got = append(got, text)
	}
	want := []string{
		"message 4 table 0", "message 1 table 0 more in -1: 3",
		"message 5 table 1 more in 0: 10 3", "message 2 table 1", "message 0 table 1 more in 0: 30 1 more in 0: 30 2",
	}
	if diff := cmp.Diff(got, want); diff != "" || b.Rows() != 9 || b.RowsOf([]int{1, 4}) != 5 {
		t.Errorf("%d rows, %d in two messages (-got +want):\n%s", b.Rows(), b.RowsOf([]int{1, 4}), diff)
	}

	var a batch.Arrays
	for _, encode := range []func(*batch.Batch, *batch.Table, []int) [][]byte{a.Encode, a.EncodeKeys} {
		if got := numbers(t, encode(b, readings, []int{0, 1})[0]); !cmp.Equal(got, []int64{3, 5, 7}) { // in the order of the keys
			t.Errorf("readings: got %v", got)
		}
	}
	if got := a.Messages(b, readings, []int{0, 1}); !cmp.Equal(got, []int{1, 0, 1}) {
		t.Errorf("the messages of readings: got %v", got)
	}
	children := a.EncodeChildren(b, orders, 0, []int{2, 3, 4})
	for i, want := range [][]int64{{10, 30, 30}, {3, 1, 2}, {1, 3, 3}} {
		if got := numbers(t, children[i]); !cmp.Equal(got, want) {
			t.Errorf("array %d of the lines: got %v, want %v", i, got, want)
		}
	}
	if got := numbers(t, a.EncodeChildren(b, orders, 0, []int{3})[2]); len(got) > 0 {
		t.Errorf("an order without lines: got %v", got)
	}
}

// TestRepeat has rows that take values of the row before them.
func TestRepeat(t *testing.T) {
	t.Parallel()
	columns := []batch.Column{{Name: "of", Kind: batch.Text}, {Name: "n", Kind: batch.Int8}, {Name: "note", Kind: batch.Text}}
	b := batch.New(&batch.Table{Name: "t", Columns: columns, Key: []int{1}, Several: true})
	long := strings.Repeat("x", 1<<20) // the buffer moves while it is copied
	for message, of := range []string{"a", long, ""} {
		b.Begin(message, 0)
		b.String(of)
		b.Int8(1)
		b.Null()
		b.End()
		for n := range 3 {
			b.More(-1)
			b.Repeat(0)
			b.Int8(int64(n + 2))
			b.Repeat(2)
			b.End()
		}
	}
	for i, of := range []string{"a", long, ""} {
		for k := range 3 {
			b.MoreRow(i, k, func(c int, v []byte) {
				switch {
				case c == 0 && string(v) != of, c == 1 && batch.Int(v) != int64(k+2), c == 2 && v != nil:
					t.Errorf("message %d, row %d, column %d: got %.10q", i, k+2, c, v)
				}
			})
		}
	}
	if want := 4*(len("a")+len(long)) + 12*(4+12+4); b.Size() != want {
		t.Errorf("the size is %d, want %d", b.Size(), want)
	}
}

// TestRepeatedKey looks for keys that come twice in one message, in its table and in a child.
func TestRepeatedKey(t *testing.T) {
	t.Parallel()
	columns := []batch.Column{{Name: "n", Kind: batch.Int8}}
	child := &batch.Table{Name: "c", Columns: columns, Key: []int{0}}
	b := batch.New(&batch.Table{Name: "t", Columns: columns, Key: []int{0}, Several: true, Children: []*batch.Table{child}})
	for _, tt := range []struct {
		own, child []int64
		want       [4]int
	}{
		{own: []int64{5}},
		{own: []int64{5, 4, 3}, child: []int64{5, 4, 3}},
		{own: []int64{5, 4, 5}, child: []int64{1}, want: [4]int{3, 1, 0, 0}},
		{own: []int64{5, 4}, child: []int64{9, 8, 7, 7, 8, 9, 7}, want: [4]int{0, 0, 4, 3}},
	} {
		for i, n := range tt.own {
			if i == 0 {
				b.Begin(0, 0)
			} else {
				b.More(-1)
			}
			b.Int8(n)
			b.End()
		}
		for _, n := range tt.child {
			b.More(0)
			b.Int8(n)
			b.End()
		}
		var got [4]int
		got[0], got[1] = b.RepeatedKey(-1)
		got[2], got[3] = b.RepeatedKey(0)
		if got != tt.want {
			t.Errorf("%v and %v: got %v, want %v", tt.own, tt.child, got, tt.want)
		}
	}
}

// TestArraysOfSeveralTables reuses the memory of arrays for tables of different numbers of columns.
func TestArraysOfSeveralTables(t *testing.T) {
	t.Parallel()
	var tables []*batch.Table
	for _, columns := range []int{4, 3, 5, 9, 1} {
		tables = append(tables, &batch.Table{Columns: slices.Repeat([]batch.Column{{Name: "n", Kind: batch.Int8}}, columns), Key: []int{0}})
	}
	var a batch.Arrays
	for i, table := range tables {
		b := batch.New(tables...)
		b.BeginIn(i, 0, 0)
		for c := range table.Columns {
			b.Int8(int64(c))
		}
		b.End()
		arrays := a.Encode(b, table, []int{0})
		if len(arrays) != len(table.Columns) {
			t.Fatalf("%d arrays, want %d", len(arrays), len(table.Columns))
		}
		for c, array := range arrays {
			if got := numbers(t, array); !cmp.Equal(got, []int64{int64(c)}) {
				t.Errorf("table %d, column %d: got %v", i, c, got)
			}
		}
	}
}
