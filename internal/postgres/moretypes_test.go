package postgres_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
)

// moreTypes has a column of each type that travels in a way of its own.
func moreTypes() *batch.Table {
	t := &batch.Table{Name: "things", Key: []int{0}, Columns: []batch.Column{{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true}}}
	for _, c := range []batch.Column{
		{Kind: batch.TimestampNoZone, Type: "timestamp"},
		{Kind: batch.TimeOfDay, Type: "time"},
		{Kind: batch.Float4, Type: "real"},
		{Kind: batch.Float8, Type: "double precision"},
		{Kind: batch.Binary, Type: "bytea"},
		{Kind: batch.Text, Type: "char(3)"},
		{Kind: batch.Text, Type: "inet"},
		{Kind: batch.Text, Type: "cidr"},
		{Kind: batch.Text, Type: "interval"},
		{Kind: batch.Text, Type: "text[]", List: true},
		{Kind: batch.Text, Type: "varchar(3)[]", List: true},
		{Kind: batch.Text, Type: "char(3)[]", List: true},
		{Kind: batch.Text, Type: "numeric(5,2)[]", List: true},
		{Kind: batch.Int4, Type: "integer[]", List: true},
		{Kind: batch.Bool, Type: "boolean[]", List: true},
		{Kind: batch.Timestamp, Type: "timestamptz[]", List: true},
		{Kind: batch.TimestampNoZone, Type: "timestamp[]", List: true},
		{Kind: batch.TimeOfDay, Type: "time[]", List: true},
		{Kind: batch.Float8, Type: "double precision[]", List: true},
		{Kind: batch.Binary, Type: "bytea[]", List: true},
		{Kind: batch.Text, Type: "inet[]", List: true},
		{Kind: batch.Text, Type: "interval[]", List: true},
	} {
		c.Name = fmt.Sprintf("c%d", len(t.Columns))
		t.Columns = append(t.Columns, c)
	}
	return t
}

// thing appends a row with the value that fill appends in a column, and NULL in all others.
func thing(b *batch.Batch, id int, column string, fill func()) {
	b.Begin(id, 0)
	b.Int8(int64(id))
	for _, c := range b.Columns(0)[1:] {
		switch {
		case c.Type != column:
			b.Null()
		case c.List:
			b.BeginList()
			fill()
			b.EndList()
		default:
			fill()
		}
	}
	b.End()
}

// TestMoreTypesKeepTheirValues wants what is stored to be what was sent, whatever the settings of
// the session are, alone and beside a row that is refused.
func TestMoreTypesKeepTheirValues(t *testing.T) {
	t.Parallel()
	table := moreTypes()
	var ddl []string
	for _, c := range table.Columns {
		ddl = append(ddl, c.Name+" "+c.Type)
	}
	name := func(column string) string {
		for _, c := range table.Columns {
			if c.Type == column {
				return c.Name
			}
		}
		return ""
	}
	allBytes := make([]byte, 256)
	for i := range allBytes {
		allBytes[i] = byte(i)
	}
	for _, settings := range []string{"", "-c TimeZone=Asia/Kathmandu -c DateStyle=German -c IntervalStyle=sql_standard -c extra_float_digits=-15 -c bytea_output=escape"} {
		t.Run(settings, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				s := newSite(t, setup{sql: "CREATE TABLE things (" + strings.Join(ddl, ", ") + ", PRIMARY KEY (id), CONSTRAINT no_bad CHECK (c6 <> 'bad'))", table: table, mode: mode})
				if settings != "" {
					s.store = openStore(t, withOption(t, withMode(s.proxy.URL, mode), settings), table)
				}
				var b *batch.Batch
				for i, tt := range []struct {
					column string
					fill   func()
					want   string
				}{
					{"timestamp", func() { b.Int8(-1) }, "1999-12-31 23:59:59.999999"},
					{"timestamp", func() { b.Int8(0) }, "2000-01-01 00:00:00"},
					{"time", func() { b.Int8(86_399_999_999) }, "23:59:59.999999"},
					{"time", func() { b.Int8(86_400_000_000) }, "24:00:00"},
					{"real", func() { b.Float4(0.1) }, "0.1"},
					{"real", func() { b.Float4(math.SmallestNonzeroFloat32) }, "1e-45"},
					{"double precision", func() { b.Float8(math.MaxFloat64) }, "1.7976931348623157e+308"},
					{"double precision", func() { b.Float8(0.30000000000000004) }, "0.30000000000000004"},
					{"bytea", func() { b.Bytes(allBytes) }, fmt.Sprintf(`\x%x`, allBytes)},
					{"bytea", func() { b.Bytes(nil) }, `\x`},
					{"char(3)", func() { b.String("ü") }, "ü  "},
					{"inet", func() { b.String("2001:DB8::1") }, "2001:db8::1/128"},
					{"cidr", func() { b.String("192.0.2.1") }, "192.0.2.1/32"},
					{"interval", func() { b.String("P1Y2M3DT4H5M6.789S") }, "1 year 2 mons 3 days 04:05:06.789"},
					{"text[]", func() {}, "{}"},
					{"text[]", func() {
						b.String(`{a,"b"}`)
						b.Null()
						b.String(`\`)
						b.String("")
						b.String("null")
						b.String(" ü\n")
					}, "{\"{a,\\\"b\\\"}\",NULL,\"\\\\\",\"\",\"null\",\" ü\n\"}"},
					{"varchar(3)[]", func() { b.String("äöü"); b.String("a") }, "{äöü,a}"},
					{"char(3)[]", func() { b.String("a") }, `{"a  "}`},
					{"numeric(5,2)[]", func() { b.String("1.5"); b.String("-999.99") }, "{1.50,-999.99}"},
					{"integer[]", func() { b.Int4(math.MinInt32); b.Int4(7) }, "{-2147483648,7}"},
					{"boolean[]", func() { b.Bool(true); b.Bool(false); b.Null() }, "{t,f,NULL}"},
					{"timestamptz[]", func() { b.Int8(-1) }, `{"1999-12-31 23:59:59.999999+00"}`},
					{"timestamp[]", func() { b.Int8(-1); b.Int8(-63_082_281_600_000_000) }, `{"1999-12-31 23:59:59.999999","0001-01-01 00:00:00"}`},
					{"time[]", func() { b.Int8(86_399_999_999) }, "{23:59:59.999999}"},
					{"double precision[]", func() { b.Float8(0.1); b.Float8(-1e300) }, "{0.1,-1e+300}"},
					{"bytea[]", func() { b.Bytes([]byte{0, 0xff}); b.Bytes(nil) }, `{"\\x00ff","\\x"}`},
					{"inet[]", func() { b.String("192.0.2.1") }, "{192.0.2.1}"},
					{"interval[]", func() { b.String("P1DT2H") }, `{"1 day 02:00:00"}`},
				} {
					id := 10 * (i + 1)
					b = batch.New(table)
					thing(b, id, tt.column, tt.fill)
					s.insertBatch(t.Context(), b, []int64{1}).must()
					b = batch.New(table)
					thing(b, id+1, tt.column, tt.fill)
					thing(b, id+2, "char(3)", func() { b.String("bad") })
					s.insertBatch(t.Context(), b, []int64{1, 2}).want(verdicts{stored: "1", rejected("23514 constraint no_bad"): "2"})
					got := s.db.Rows(t, fmt.Sprintf("SELECT %s::text, %[1]s IS NULL FROM things WHERE id BETWEEN %d AND %d", printable(name(tt.column), tt.column), id, id+9))
					if diff := gocmp.Diff(got, [][]string{{tt.want, "f"}, {tt.want, "f"}}); diff != "" {
						t.Errorf("%s (-got +want):\n%s", tt.column, diff)
					}
				}
			})
		})
	}
}

// printable returns a column as an expression that keeps the blanks of char, and prints in UTC.
func printable(name, column string) string {
	if column == "char(3)" {
		return "format('%s', " + name + ")"
	}
	return name
}

// TestNothingOfAListIsCut has elements that are too long for the table's column, which is narrower
// than the model says, and a list that the model's type does not read.
func TestNothingOfAListIsCut(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ column, live, good, bad, state string }{
		{"varchar(9)[]", "varchar(3)[]", "abc", "abcd", "22001"},
		{"text[]", "varchar(3)[]", "abc", "abcd", "22001"},
		{"char(9)[]", "char(3)[]", "abc", "abcd", "22001"},
		{"numeric(9,2)[]", "numeric(4,2)[]", "12.34", "123.45", "22003"},
		{"inet[]", "inet[]", "192.0.2.1", "192.0.2", "22P02"},
		{"cidr[]", "cidr[]", "192.0.2.0/24", "192.0.2.1/24", "22P02"},
	} {
		t.Run(tt.column, func(t *testing.T) {
			t.Parallel()
			table := &batch.Table{Name: "things", Key: []int{0}, Columns: []batch.Column{
				{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true}, {Name: "v", Kind: batch.Text, Type: tt.column, List: true},
			}}
			s := newSite(t, setup{sql: "CREATE TABLE things (id bigint PRIMARY KEY, v " + tt.live + ")", table: table})
			b := batch.New(table)
			thing(b, 1, tt.column, func() { b.String(tt.good) })
			thing(b, 2, tt.column, func() { b.String(tt.good); b.String(tt.bad) })
			for range 2 {
				s.insertBatch(t.Context(), b, []int64{1, 2}).want(verdicts{stored: "1", rejected(tt.state): "2"})
			}
			if got := s.db.Rows(t, "SELECT v FROM things"); len(got) != 1 || got[0][0] != "{"+tt.good+"}" {
				t.Errorf("stored %q", got)
			}
		})
	}
}

// TestKeysOfMoreTypes has keys that differ in their bytes and are equal in their type.
func TestKeysOfMoreTypes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		sqlType string
		same    []string
		refused string
		filler  func(int) string
	}{
		{"inet", []string{"10.0.0.1", "10.0.0.1/32"}, "10.0.0", func(i int) string { return fmt.Sprintf("10.1.%d.1", i) }},
		{"cidr", []string{"10.0.0.1", "10.0.0.1/32"}, "10.0.0.1/8", func(i int) string { return fmt.Sprintf("10.1.%d.1", i) }},
		{"interval", []string{"P1D", "PT24H"}, "P1X", func(i int) string { return fmt.Sprintf("PT%dS", i+1) }},
		{"char(9)", []string{"a", "a  "}, "0123456789", func(i int) string { return fmt.Sprint("f", i) }},
	} {
		t.Run(tt.sqlType, func(t *testing.T) {
			t.Parallel()
			for _, others := range []int{0, 20, 200} {
				table := &batch.Table{Name: "codes", Key: []int{0}, Columns: []batch.Column{
					{Name: "code", Kind: batch.Text, Type: tt.sqlType, NotNull: true}, {Name: "boss", Kind: batch.Text, Type: tt.sqlType},
				}}
				s := newSite(t, setup{sql: fmt.Sprintf("CREATE TABLE codes (code %s PRIMARY KEY, boss %[1]s CONSTRAINT boss REFERENCES codes)", tt.sqlType), table: table})
				// The first refers to a row that follows it, which is spelled otherwise.
				rows := []code{{code: tt.filler(0), boss: tt.same[0]}, {code: tt.same[0]}, {code: tt.same[1]}}
				for i := range others {
					rows = append(rows, code{code: tt.filler(i + 1)})
				}
				want := verdicts{stored: fmt.Sprintf("1-%d", len(rows)), rejected("22P02"): fmt.Sprint(len(rows) + 1)}
				rows = append(rows, code{code: tt.filler(201), boss: tt.refused})
				if tt.sqlType == "char(9)" {
					want = verdicts{stored: want[stored], rejected("22001"): fmt.Sprint(len(rows))}
				}
				if tt.sqlType == "interval" {
					want = verdicts{stored: want[stored], rejected("22007"): fmt.Sprint(len(rows))}
				}
				for range 2 {
					s.deliver(table, rows...).want(want)
				}
			}
		})
	}
}
