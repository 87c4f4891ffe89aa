package batch_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
)

// states is a table that replaces.
var states = &batch.Table{
	Name: "states", OnConflict: batch.Replace, Key: []int{0},
	Columns: []batch.Column{
		{Name: "account", Kind: batch.Text},
		{Name: "message_id", Kind: batch.UUID, MessageID: true},
		{Name: "version", Kind: batch.Text, Type: "numeric(20,0)", NewerBy: true},
	},
}

func addState(b *batch.Batch, group int, account, version string, id byte) {
	b.Begin(b.Len(), group)
	b.String(account)
	b.Bytes([]byte(strings.Repeat(string('0'+id), 16)))
	b.String(version)
	b.End()
}

// TestNewest finds the newest row of each key, in a batch that is sorted and in one of groups.
func TestNewest(t *testing.T) {
	t.Parallel()
	for _, group := range []int{0, 1} {
		b := batch.New(states)
		addState(b, group, "b", "10", 1)
		addState(b, group, "a", "9", 7)
		addState(b, group, "b", "9", 9)
		addState(b, group, "a", "10", 1)
		addState(b, group, "b", "1e1", 2) // as new as the first, and the id of its message is greater
		addState(b, group, "c", "1", 1)
		addState(b, group, "c", "1.0", 1) // as new: the first stays
		b.Sort()
		byMessage := map[int]int{}
		for i, newest := range b.Newest(rowsOf(b)) {
			byMessage[b.Message(i)] = b.Message(newest)
		}
		want := map[int]int{0: 4, 1: 3, 2: 4, 3: 3, 4: 4, 5: 5, 6: 5}
		if diff := cmp.Diff(byMessage, want); diff != "" {
			t.Errorf("group %d (-got +want):\n%s", group, diff)
		}
		if group == 0 {
			var order []int
			for i := range b.Len() {
				order = append(order, b.Message(i))
			}
			if diff := cmp.Diff(order, []int{1, 3, 2, 0, 4, 5, 6}); diff != "" {
				t.Errorf("order (-got +want):\n%s", diff)
			}
		}
		if got := b.Newest(rowsOf(b)[:1]); got != nil {
			t.Errorf("of one row: %v", got)
		}
	}
	b := batch.New(table)
	add(b, 0, "a", 1)
	add(b, 1, "a", 1)
	if got := b.Newest(rowsOf(b)); got != nil || b.CompareVersions(0, 1) != 0 {
		t.Errorf("of a table that does not replace: %v", got)
	}
	b = batch.New(states)
	addState(b, 0, "a", "1", 1)
	addState(b, 0, "b", "1", 1)
	if got := b.Newest(rowsOf(b)); got != nil {
		t.Errorf("where no key is repeated: %v", got)
	}
}

func rowsOf(b *batch.Batch) []int {
	rows := make([]int, b.Len())
	for i := range rows {
		rows[i] = i
	}
	return rows
}

// TestVersionsOfSeveralTables: rows of different tables are compared by nothing but these, since a version
// may have more columns in one than in the other.
func TestVersionsOfSeveralTables(t *testing.T) {
	t.Parallel()
	plain := &batch.Table{Name: "plain", Key: []int{0}, Columns: []batch.Column{{Name: "a", Kind: batch.Int8}}}
	b := batch.New(plain, states)
	b.BeginIn(1, 0, 0)
	b.String("a")
	b.Bytes(make([]byte, 16))
	b.String("1")
	b.End()
	b.BeginIn(0, 1, 0)
	b.Int8(1)
	b.End()
	if b.Sort(); b.Message(0) != 1 {
		t.Error("the batch is not sorted by table")
	}
}

// TestCompare compares values of each kind, in an order that is known.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind   batch.Kind
		sqlTyp string
		fill   []func(*batch.Batch)
	}{
		{batch.Int4, "integer", []func(*batch.Batch){func(b *batch.Batch) { b.Int4(-2) }, func(b *batch.Batch) { b.Int4(-1) }, func(b *batch.Batch) { b.Int4(0) }, func(b *batch.Batch) { b.Int4(1) }}},
		{batch.Int8, "bigint", []func(*batch.Batch){func(b *batch.Batch) { b.Int8(-1) }, func(b *batch.Batch) { b.Int8(0) }}},
		{batch.Timestamp, "timestamptz", []func(*batch.Batch){func(b *batch.Batch) { b.Int8(-1) }, func(b *batch.Batch) { b.Int8(1) }}},
		{batch.Date, "date", []func(*batch.Batch){func(b *batch.Batch) { b.Int4(-1) }, func(b *batch.Batch) { b.Int4(1) }}},
		{batch.UUID, "uuid", []func(*batch.Batch){func(b *batch.Batch) { b.Bytes(slices.Repeat([]byte{1}, 16)) }, func(b *batch.Batch) { b.Bytes(slices.Repeat([]byte{0xf0}, 16)) }}},
	} {
		c := batch.Column{Name: "v", Kind: tt.kind, Type: tt.sqlTyp}
		b := batch.New(&batch.Table{Columns: []batch.Column{c}})
		for _, fill := range append([]func(*batch.Batch){(*batch.Batch).Null}, tt.fill...) {
			b.Begin(b.Len(), 0)
			fill(b)
			b.End()
		}
		var all [][]byte
		for i := range b.Len() {
			b.Row(i, func(_ int, v []byte) { all = append(all, v) })
		}
		for i, x := range all {
			for j, y := range all {
				if got, want := c.Compare(x, y), sign(i-j); got != want {
					t.Errorf("%s: value %d to %d is %d, want %d", tt.sqlTyp, i, j, got, want)
				}
			}
		}
	}
}

func sign(n int) int { return max(-1, min(1, n)) }

// TestNumbersCompare compares random numbers in text as math/big does.
func TestNumbersCompare(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 1))
	random := func() string {
		text := []string{"", "-"}[r.IntN(2)] + strings.Repeat("0", r.IntN(3)) + strconv.Itoa(r.IntN(30))
		if r.IntN(2) == 0 {
			text += "." + strings.Repeat("0", r.IntN(3)) + strconv.Itoa(r.IntN(30)) + strings.Repeat("0", r.IntN(3))
		}
		if r.IntN(2) == 0 {
			text += fmt.Sprintf([]string{"e%d", "E%+d"}[r.IntN(2)], r.IntN(7)-3)
		}
		return text
	}
	outcomes := map[int]int{}
	for range 20_000 {
		x, y := random(), random()
		a, _ := new(big.Rat).SetString(x)
		b, _ := new(big.Rat).SetString(y)
		got := batch.CompareNumbers([]byte(x), []byte(y))
		if got != a.Cmp(b) {
			t.Fatalf("%s to %s is %d, want %d", x, y, got, a.Cmp(b))
		}
		outcomes[got]++
	}
	if outcomes[-1]*outcomes[0]*outcomes[1] == 0 {
		t.Errorf("not every outcome came up: %v", outcomes)
	}
	for _, equal := range [][2]string{{"0", "-0.00e9"}, {"1e400000", "10e399999"}, {"18446744073709551616", "18446744073709551616.0"}} {
		if got := batch.CompareNumbers([]byte(equal[0]), []byte(equal[1])); got != 0 {
			t.Errorf("%v: %d", equal, got)
		}
	}
}
