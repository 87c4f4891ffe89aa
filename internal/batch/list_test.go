package batch_test

import (
	"math"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgtype"

	"example.com/owner/sluice/internal/batch"
)

// TestListsAreOneText fills lists of each kind by the functions that fill columns.
func TestListsAreOneText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		kind batch.Kind
		fill func(*batch.Batch)
		want string
	}{
		{"empty", batch.Text, func(*batch.Batch) {}, `{}`},
		{"texts", batch.Text, func(b *batch.Batch) { b.String("a"); b.Bytes([]byte(`b"\`)); b.Null(); b.String(""); b.String("NULL") }, `{"a","b\"\\",NULL,"","NULL"}`},
		{"a NULL first", batch.Text, func(b *batch.Batch) { b.Null(); b.String("ü😀") }, `{NULL,"ü😀"}`},
		{"small integers", batch.Int4, func(b *batch.Batch) { b.Int4(math.MinInt32); b.Int4(0) }, `{-2147483648,0}`},
		{"integers", batch.Int8, func(b *batch.Batch) { b.Int8(math.MinInt64); b.Null(); b.Int8(math.MaxInt64) }, `{-9223372036854775808,NULL,9223372036854775807}`},
		{"booleans", batch.Bool, func(b *batch.Batch) { b.Bool(true); b.Bool(false) }, `{true,false}`},
		{"floats", batch.Float8, func(b *batch.Batch) { b.Float8(0.1); b.Float8(-1e300) }, `{0.1,-1e+300}`},
		{"small floats", batch.Float4, func(b *batch.Batch) { b.Float4(0.1) }, `{0.1}`},
		{"times", batch.Timestamp, func(b *batch.Batch) { b.Int8(-1); b.Int8(0) }, `{"1999-12-31T23:59:59.999999Z","2000-01-01T00:00:00.000000Z"}`},
		{"times without a zone", batch.TimestampNoZone, func(b *batch.Batch) { b.Int8(-1) }, `{"1999-12-31T23:59:59.999999"}`},
		{"times of day", batch.TimeOfDay, func(b *batch.Batch) { b.Int8(0); b.Int8(86_399_999_999); b.Int8(86_400_000_000) }, `{"00:00:00.000000","23:59:59.999999","24:00:00.000000"}`},
		{"days", batch.Date, func(b *batch.Batch) { b.Int4(-1); b.Int4(59) }, `{"1999-12-31","2000-02-29"}`},
		{"UUIDs", batch.UUID, func(b *batch.Batch) { b.Bytes([]byte("0123456789abcdef")) }, `{"30313233-3435-3637-3839-616263646566"}`},
		{"bytes", batch.Binary, func(b *batch.Batch) { b.Bytes([]byte{0, 0xff}); b.Bytes(nil) }, `{"\\x00ff","\\x"}`},
	} {
		table := &batch.Table{Columns: []batch.Column{{Name: "before", Kind: batch.Text}, {Name: "list", Kind: tt.kind, List: true}, {Name: "after", Kind: batch.Text}}}
		b := batch.New(table)
		b.Begin(0, 0)
		b.String("half")
		b.BeginList()
		tt.fill(b)
		b.Cancel() // in the middle of a list
		b.Begin(1, 0)
		b.String("before")
		b.BeginList()
		tt.fill(b)
		b.EndList()
		b.Null()
		b.End()
		var got []string
		b.Row(0, func(_ int, v []byte) { got = append(got, string(v)) })
		if diff := cmp.Diff(got, []string{"before", tt.want, ""}); diff != "" {
			t.Errorf("%s (-got +want):\n%s", tt.name, diff)
		}
	}
}

// TestElements reads what the functions that fill a list have written.
func TestElements(t *testing.T) {
	t.Parallel()
	for literal, want := range map[string][]string{
		`{}`: nil, `{NULL}`: {"(none)"}, `{"NULL",NULL,""}`: {"NULL", "(none)", ""}, `{"a,}","b\"\\"}`: {"a,}", `b"\`},
		`{-1,NULL,2}`: {"-1", "(none)", "2"}, `{true,false}`: {"true", "false"}, `{0.1,-1e+300}`: {"0.1", "-1e+300"}, `{"\\x00ff"}`: {`\x00ff`},
	} {
		var got []string
		for text := range batch.Elements([]byte(literal)) {
			if text == nil {
				text = []byte("(none)")
			}
			got = append(got, string(text))
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Errorf("%s (-got +want):\n%s", literal, diff)
		}
	}
}

func TestListsAllocateNothing(t *testing.T) {
	table := &batch.Table{Columns: []batch.Column{{Kind: batch.Text, List: true}, {Kind: batch.TimestampNoZone, List: true}, {Kind: batch.UUID, List: true}}}
	b := batch.New(table)
	text, id := []byte(`some "text"`), []byte("0123456789abcdef")
	var a batch.Arrays
	fill := func() {
		b.Reset()
		b.Begin(0, 0)
		b.BeginList()
		b.Bytes(text)
		b.EndList()
		b.BeginList()
		b.Int8(1234567)
		b.EndList()
		b.BeginList()
		b.Bytes(id)
		b.EndList()
		b.End()
		a.Encode(b, table, []int{0})
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzList reads lists, and arrays of a type that reads text, back with pgx's own decoder.
func FuzzList(f *testing.F) {
	for _, text := range []string{"", "a", `"`, `\`, "{}", ",", "NULL", " a ", "a,b\n\"c\"", "ü😀", `\\"`} {
		f.Add(text, text, true)
	}
	m := pgtype.NewMap()
	f.Fuzz(func(t *testing.T, one, two string, null bool) {
		if !utf8.ValidString(one) || !utf8.ValidString(two) {
			t.Skip("no text")
		}
		table := &batch.Table{Columns: []batch.Column{{Kind: batch.Text, List: true}, {Kind: batch.Text, Type: `"mood"`, AsText: true}}}
		b := batch.New(table)
		want := []*string{&one, nil, &two}
		for _, value := range want {
			b.Begin(0, 0)
			b.BeginList()
			for _, element := range want {
				if element == nil {
					b.Null()
				} else {
					b.String(*element)
				}
			}
			b.EndList()
			if value == nil || null {
				b.Null()
			} else {
				b.Bytes([]byte(*value))
			}
			b.End()
		}
		read := func(literal []byte) (texts []*string) {
			t.Helper()
			if err := m.Scan(pgtype.TextArrayOID, pgtype.TextFormatCode, literal, &texts); err != nil {
				t.Fatalf("%q: %v", literal, err)
			}
			return texts
		}
		b.Row(1, func(c int, v []byte) {
			if c == 0 {
				if diff := cmp.Diff(read(v), want); diff != "" {
					t.Errorf("list (-got +want):\n%s", diff)
				}
			}
		})
		if null {
			want = []*string{nil, nil, nil}
		}
		var a batch.Arrays
		if diff := cmp.Diff(read(a.Encode(b, table, []int{0, 1, 2})[1]), want); diff != "" {
			t.Errorf("array (-got +want):\n%s", diff)
		}
	})
}

// TestArraysInTextForm has the columns whose type reads text, in rows and in keys.
func TestArraysInTextForm(t *testing.T) {
	t.Parallel()
	table := &batch.Table{Columns: []batch.Column{{Kind: batch.Int8}, {Kind: batch.Text, AsText: true}}, Key: []int{1}}
	b := batch.New(table)
	for i, text := range []string{"a", `"\`, "", "NULL"} {
		b.Begin(i, 0)
		b.Int8(int64(i))
		b.String(text)
		b.End()
	}
	var a batch.Arrays
	for _, tt := range []struct {
		rows []int
		want string
	}{{[]int{0, 1, 2, 3}, `{"a","\"\\","","NULL"}`}, {[]int{2}, `{""}`}, {nil, "{}"}} {
		if got := a.Encode(b, table, tt.rows); string(got[1]) != tt.want || table.Columns[0].Format() != 1 || table.Columns[1].Format() != 0 {
			t.Errorf("rows %v: got %s, want %s", tt.rows, got[1], tt.want)
		}
		if got := a.EncodeKeys(b, table, tt.rows); len(got) != 1 || string(got[0]) != tt.want {
			t.Errorf("keys of %v: got %s, want %s", tt.rows, got, tt.want)
		}
	}
}
