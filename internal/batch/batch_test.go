package batch_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"

	"example.com/owner/sluice/internal/batch"
)

var table = &batch.Table{
	Name: "t",
	Columns: []batch.Column{
		{Name: "a", Kind: batch.Text}, {Name: "b", Kind: batch.Int4}, {Name: "c", Kind: batch.Int8}, {Name: "d", Kind: batch.Bool}, {Name: "e", Kind: batch.UUID},
	},
	Key: []int{2, 0},
}

func add(b *batch.Batch, message int, text string, n int) {
	b.Begin(message, 0)
	if text == "" {
		b.Null()
	} else {
		b.String(text)
	}
	b.Int4(int32(n))
	b.Int8(int64(n))
	b.Bool(n%2 == 0)
	b.Bytes([]byte(strings.Repeat("u", 16)))
	b.End()
}

// rows returns a batch as text, row by row.
func rows(b *batch.Batch) []string {
	var all []string
	for i := range b.Len() {
		line := fmt.Sprint("message ", b.Message(i), ":")
		b.Row(i, func(c int, v []byte) {
			switch {
			case v == nil:
				line += " NULL"
			case b.Columns(0)[c].Kind == batch.Int4:
				line += fmt.Sprint(" ", int32(binary.BigEndian.Uint32(v)))
			case b.Columns(0)[c].Kind == batch.Text:
				line += fmt.Sprintf(" %q", v)
			}
		})
		all = append(all, line)
	}
	return all
}

func TestCancelRemovesTheRow(t *testing.T) {
	b := batch.New(table)
	add(b, 0, "first", 1)
	b.Begin(1, 0)
	b.String("half")
	b.Cancel()
	add(b, 2, "last", 3)
	if diff := cmp.Diff(rows(b), []string{`message 0: "first" 1`, `message 2: "last" 3`}); diff != "" {
		t.Error(diff)
	}
	b.SetRedelivered(true)
	if !b.Redelivered() {
		t.Error("the batch does not report that messages were received before")
	}
	b.Reset()
	if b.Len() != 0 || b.Redelivered() {
		t.Error("rows, or that they were redelivered, after a reset")
	}
}

func TestSortIsByKeyAndStable(t *testing.T) {
	b := batch.New(table)
	add(b, 0, "z", 2)
	add(b, 1, "a", 3)
	add(b, 2, "a", 2)
	add(b, 3, "z", 2)
	add(b, 4, "a", -1) // negative sorts last: any order will do, as long as all batches agree
	b.Sort()
	want := []string{`message 2: "a" 2`, `message 0: "z" 2`, `message 3: "z" 2`, `message 1: "a" 3`, `message 4: "a" -1`}
	if diff := cmp.Diff(rows(b), want); diff != "" {
		t.Error(diff)
	}
	var key []string
	b.Key(1, func(c int, v []byte) { key = append(key, fmt.Sprint(c, len(v))) })
	if diff := cmp.Diff(key, []string{"2 8", "0 1"}); diff != "" {
		t.Error(diff)
	}
}

func TestAShortRowPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a row without all its values passed")
		}
	}()
	b := batch.New(table)
	b.Begin(0, 0)
	b.Null()
	b.End()
}

// TestArrays reads the arrays back with pgx's own decoder.
func TestArrays(t *testing.T) {
	b := batch.New(table)
	add(b, 0, "first", 1)
	add(b, 1, "", 2)
	add(b, 2, "third", 3)
	m := pgtype.NewMap()
	var a batch.Arrays
	for _, tt := range []struct {
		rows []int
		want string
	}{
		{[]int{0, 1, 2}, "[first <nil> third] [1 2 3]"},
		{[]int{2, 0}, "[third first] [3 1]"},
		{[]int{}, "[] []"},
		{nil, "[] []"}, // no rows, never all
	} {
		params := a.Encode(b, table, tt.rows)
		var texts []*string
		var numbers []int32
		if err := m.Scan(pgtype.TextArrayOID, pgtype.BinaryFormatCode, params[0], &texts); err != nil {
			t.Fatal(err)
		}
		if err := m.Scan(pgtype.Int4ArrayOID, pgtype.BinaryFormatCode, params[1], &numbers); err != nil {
			t.Fatal(err)
		}
		words := make([]string, len(texts))
		for i, s := range texts {
			words[i] = "<nil>"
			if s != nil {
				words[i] = *s
			}
		}
		if got := fmt.Sprint(words, " ", numbers); got != tt.want {
			t.Errorf("rows %v: got %s, want %s", tt.rows, got, tt.want)
		}
	}
	keys := a.EncodeKeys(b, table, []int{2})
	var numbers []int64
	if err := m.Scan(pgtype.Int8ArrayOID, pgtype.BinaryFormatCode, keys[0], &numbers); err != nil || len(keys) != 2 || numbers[0] != 3 {
		t.Errorf("keys: %v, %d arrays, %v", numbers, len(keys), err)
	}
}

// TestNoBlanksAreCut sends a value that a type would cut as one that it refuses.
func TestNoBlanksAreCut(t *testing.T) {
	t.Parallel()
	table := &batch.Table{Key: []int{1}, Columns: []batch.Column{
		{Name: "a", Kind: batch.Text, Type: `"a"`, AsText: true}, {Name: "b", Kind: batch.Text, Type: `"b"`, AsText: true},
	}}
	b := batch.New(table)
	for _, v := range []string{"äöü", "ä  ", "äöü ", `a"\ `, "abcd"} {
		b.Begin(0, 0)
		b.String(v)
		b.String(v)
		b.End()
	}
	rows := []int{0, 1, 2, 3, 4}
	var arrays batch.Arrays
	const as, cut = `{"äöü","ä  ","äöü ","a\"\\ ","abcd"}`, `{"äöü";"ä  ";"äöü_";"a\"\\_";"abcd"}`
	if got := arrays.Encode(b, table, rows); string(got[0]) != as || string(got[1]) != as {
		t.Errorf("without a limit: %q", got)
	}
	arrays.SetTextTypes([]batch.TextType{{Delimiter: ","}, {Room: 3, Delimiter: ";"}})
	if got := arrays.Encode(b, table, rows); string(got[0]) != as || string(got[1]) != cut {
		t.Errorf("with a limit and semicolons for the second: %q", got)
	}
	if got := arrays.EncodeKeys(b, table, rows); string(got[0]) != cut {
		t.Errorf("of the key: %q", got)
	}
}

// TestAppendTo: a value that cannot be made leaves nothing, and another takes its place.
func TestAppendTo(t *testing.T) {
	b := batch.New(&batch.Table{Columns: []batch.Column{{Name: "a", Kind: batch.Text}, {Name: "b", Kind: batch.Text}}})
	b.Begin(0, 0)
	if err := b.AppendTo(func(dst []byte) ([]byte, error) { return append(dst, "xx"...), io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want EOF", err)
	}
	b.Null()
	if err := b.AppendTo(func(dst []byte) ([]byte, error) { return append(dst, "yy"...), nil }); err != nil {
		t.Error(err)
	}
	b.End()
	var got []string
	b.Row(0, func(_ int, v []byte) { got = append(got, fmt.Sprintf("%q %v", v, v == nil)) })
	if want := []string{`"" true`, `"yy" false`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
