package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// valueTable has a column v of a model's type, beside the key.
func valueTable(c batch.Column) *batch.Table {
	c.Name = "v"
	return &batch.Table{Name: "things", Key: []int{0}, Columns: []batch.Column{{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true}, c}}
}

// TestColumnsThatChangeValues has columns that Postgres would cast a value to, and keep another one.
// Nothing is stored, and the error says what to write.
func TestColumnsThatChangeValues(t *testing.T) {
	t.Parallel()
	const toMask = "a mask has 64 characters"
	masked := strings.Repeat("f", mask.Size)
	db := pgtest.NewDatabase(t, "", "CREATE DOMAIN day AS date; CREATE DOMAIN days AS timestamp[]; CREATE DOMAIN short AS varchar(10); CREATE DOMAIN flag AS boolean; CREATE TYPE place AS (name text, x real)")
	for i, tt := range []struct {
		column    batch.Column
		live      string
		value     string
		says, fix string
	}{
		{batch.Column{Kind: batch.Timestamp, Type: "timestamptz"}, "timestamp", "", "is timestamp without time zone in the table and timestamptz in the model", "write type: timestamp in the model"},
		{batch.Column{Kind: batch.Timestamp, Type: "timestamptz"}, "date", "", "is date in the table and timestamptz in the model", `ALTER TABLE %s ALTER COLUMN "v" TYPE timestamptz, or write type: date`},
		{batch.Column{Kind: batch.Timestamp, Type: "timestamptz"}, "day", "", "is date in the table", ""},
		{batch.Column{Kind: batch.TimestampNoZone, Type: "timestamp"}, "timestamptz", "", "is timestamp with time zone in the table and timestamp in the model", ""},
		{batch.Column{Kind: batch.Date, Type: "date"}, "timestamptz", "", "is timestamp with time zone in the table", ""},
		{batch.Column{Kind: batch.TimeOfDay, Type: "time"}, "timetz", "", "is time with time zone in the table", "TYPE time"},
		{batch.Column{Kind: batch.Text, Type: "interval"}, "interval day", "P1DT2H", "is interval day in the table", "TYPE interval"},
		{batch.Column{Kind: batch.Text, Type: "numeric(12,2)"}, "integer", "1.5", "is integer in the table and numeric(12,2) in the model", "write type: integer in the model"},
		{batch.Column{Kind: batch.Float8, Type: "double precision"}, "smallint", "", "is smallint in the table", ""},
		{batch.Column{Kind: batch.Text, Type: "text"}, "name", "x", "is name in the table and text in the model", "TYPE text"},
		{batch.Column{Kind: batch.Text, Type: "varchar(32)"}, `"char"`, "x", `is "char" in the table`, ""},
		{batch.Column{Kind: batch.Text, Type: "inet"}, "cidr", "10.0.0.1/8", "is cidr in the table", "write type: cidr"},
		{batch.Column{Kind: batch.Text, Type: "numeric[]", List: true}, "integer[]", "1.5", "is integer in the table", `write type: "integer[]"`},
		{batch.Column{Kind: batch.Timestamp, Type: "timestamptz[]", List: true}, "days", "", "is timestamp without time zone in the table", ""},
		{batch.Column{Kind: batch.Text, Type: `"flag"`, AsText: true}, "flag", "yes", "is made of boolean", "type: boolean, without as: text"},
		{batch.Column{Kind: batch.Text, Type: `"place"`, AsText: true}, "place", "(a,1)", "is made of real", ""},
		{batch.Column{Kind: batch.Text, Type: "varchar(64)", Masked: mask.Size}, "varchar(32)", masked, toMask, "TYPE varchar(64)"},
		{batch.Column{Kind: batch.Text, Type: "text", Masked: mask.Size}, "short", masked, toMask, ""},
		{batch.Column{Kind: batch.Text, Type: `"short"`, AsText: true, Masked: mask.Size}, "short", masked, toMask, ""},
	} {
		table := valueTable(tt.column)
		table.Name = fmt.Sprint("things", i)
		live := fmt.Sprintf("CREATE TABLE %s (id bigint PRIMARY KEY, v %s)", table.Name, tt.live)
		if i%2 == 1 { // the parts of a table have its types
			live += fmt.Sprintf(" PARTITION BY HASH (id); CREATE TABLE %s_1 PARTITION OF %[1]s FOR VALUES WITH (MODULUS 1, REMAINDER 0)", table.Name)
		}
		db.Exec(t, live)
		_, err := openStore(t, db.URL, table).Insert(t.Context(), fitRow(table, tt.value))
		if causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), tt.says) || !strings.Contains(err.Error(), strings.Replace(tt.fix, "%s", batch.Quote(table.Name), 1)) {
			t.Errorf("%s to %s: got %v, want %q and %q", tt.column.Type, tt.live, err, tt.says, tt.fix)
		}
		if n := db.Count(t, "SELECT count(*) FROM "+table.Name); n != 0 {
			t.Errorf("%s to %s: a row is stored", tt.column.Type, tt.live)
		}
	}
	db.Exec(t, `CREATE TABLE events (id bigint PRIMARY KEY, word name, n "char")`)
	b := batch.New(events)
	b.Begin(0, 0)
	b.Int8(1)
	b.String("x")
	b.Int4(1)
	b.End()
	_, err := openStore(t, db.URL, events, mainNames).Insert(t.Context(), b)
	if want := `"word" TYPE text; it is not the only column: ` + "`sluice check` lists all"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("two columns: got %v, want %q", err, want)
	}
}

// TestColumnsThatOnlyTakeFewerValues has columns that keep each value or refuse it, through a view.
// Their types are odd enough to be asked for, which costs two round trips.
func TestColumnsThatOnlyTakeFewerValues(t *testing.T) {
	t.Parallel()
	masked := strings.Repeat("f", mask.Size)
	table := &batch.Table{Name: "shown", Key: []int{0}, Columns: []batch.Column{{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true}}}
	ddl := "CREATE DOMAIN short AS varchar(10); CREATE TABLE things (id bigint PRIMARY KEY"
	var values []string
	for i, tt := range []struct {
		column batch.Column
		live   string
		value  string
	}{
		{batch.Column{Kind: batch.Text, Type: "varchar(64)", Masked: mask.Size}, "varchar(64)", masked},
		{batch.Column{Kind: batch.Text, Type: "varchar(64)"}, "varchar(3)", "abc"},
		{batch.Column{Kind: batch.Text, Type: "numeric(12,2)"}, "numeric(12,1)", "1.5"},
		{batch.Column{Kind: batch.Text, Type: "text"}, "short", "abc"},
		{batch.Column{Kind: batch.Text, Type: "text"}, "char(3)", "abc"},
		{batch.Column{Kind: batch.Int8, Type: "bigint"}, "smallint", ""},
		{batch.Column{Kind: batch.Int4, Type: "integer"}, "numeric", ""},
		{batch.Column{Kind: batch.Int4, Type: "integer"}, "text", ""},
		{batch.Column{Kind: batch.Date, Type: "date"}, "timestamp", ""},
		{batch.Column{Kind: batch.Timestamp, Type: "timestamptz"}, "timestamptz(3)", ""},
		{batch.Column{Kind: batch.UUID, Type: "uuid"}, "name", ""},
		{batch.Column{Kind: batch.Text, Type: "json"}, "jsonb", "{}"},
		{batch.Column{Kind: batch.Text, Type: "interval"}, "interval(3)", "P1D"},
		{batch.Column{Kind: batch.Text, Type: "cidr"}, "inet", "10.0.0.0/8"},
	} {
		tt.column.Name = fmt.Sprint("v", i)
		table.Columns, values = append(table.Columns, tt.column), append(values, tt.value)
		ddl += fmt.Sprintf(", v%d %s", i, tt.live)
	}
	s := newSite(t, setup{sql: ddl + "); CREATE VIEW shown AS SELECT * FROM things", table: table})
	b := batch.New(table)
	b.Begin(0, 0)
	b.Int8(1)
	for i, c := range table.Columns[1:] {
		appendValue(b, c, values[i])
	}
	b.End()
	if o := s.insertBatch(t.Context(), b, []int64{1}).must().inserts(1); o.RoundTrips != 3 {
		t.Errorf("%d round trips, want 3", o.RoundTrips)
	}
	s.insertBatch(t.Context(), b, []int64{1}).must().inserts(0)
}

// TestPlainTypes compares the short question about types with the long one.
func TestPlainTypes(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	for sent, types := range postgres.PlainTypes {
		for _, array := range []string{"", "[]"} {
			var names, live, column, relation, masks, reads, digits []string
			for i, name := range strings.Fields(types) {
				names = append(names, fmt.Sprint("v", i))
				live = append(live, fmt.Sprintf("v%d %s%s", i, name, array))
				column, relation, masks, reads = append(column, sent+array), append(relation, "things"), append(masks, "0"), append(reads, "f")
				digits = append(digits, "-1")
			}
			db.Exec(t, "DROP TABLE IF EXISTS things; CREATE TABLE things ("+strings.Join(live, ", ")+")")
			if got := db.Rows(t, "SELECT ("+postgres.TypesSQL+")->>'wrong'", relation, names, column, reads, masks, false, digits)[0][0]; got != isNull {
				t.Errorf("%s%s to %s: %s", sent, array, types, got)
			}
		}
	}
}

// fitRow is a batch of one row for valueTable.
func fitRow(t *batch.Table, v string) *batch.Batch {
	c := t.Columns[1]
	b := batch.New(t)
	b.Begin(0, 0)
	b.Int8(1)
	if c.List {
		b.BeginList()
	}
	appendValue(b, c, v)
	if c.List {
		b.EndList()
	}
	b.End()
	return b
}

// appendValue appends a value of a column's kind: v if that is Text.
func appendValue(b *batch.Batch, c batch.Column, v string) {
	switch {
	case v == isNull:
		b.Null()
	case c.Kind == batch.Text:
		b.String(v)
	case c.Kind == batch.Int4 || c.Kind == batch.Date:
		b.Int4(1)
	case c.Kind == batch.Float8:
		b.Float8(1.5)
	case c.Kind == batch.UUID:
		b.Bytes(make([]byte, 16))
	default:
		b.Int8(3_000)
	}
}

// TestATypeThatChangesLater alters a column under an open connection, and the ledger's.
func TestATypeThatChangesLater(t *testing.T) {
	t.Parallel()
	now := time.Now()
	table := valueTable(batch.Column{Kind: batch.Timestamp, Type: "timestamptz"})
	table.Ledger, table.Key = "ledger", []int{2}
	table.Columns = append(table.Columns, batch.Column{Name: "sent_at", Kind: batch.Timestamp, Type: "timestamptz", NotNull: true, Ledger: true})
	s := newSite(t, setup{sql: "CREATE TABLE things (id bigint, v timestamptz); CREATE TABLE ledger (sent_at timestamptz PRIMARY KEY)", table: table})
	s.store = openStore(t, s.proxy.URL, table, postgres.WithClock(func() time.Time { return now }))
	number := int64(0)
	insert := func() *outcome {
		number++
		b := batch.New(table)
		b.Begin(0, 0)
		b.Int8(number)
		b.Int8(number)
		b.Int8(number)
		b.End()
		return s.insertBatch(t.Context(), b, []int64{1})
	}
	if o := insert().must().inserts(1); o.RoundTrips != 1 {
		t.Errorf("%d round trips for the first batch, want 1", o.RoundTrips)
	}
	for _, alter := range []string{"ALTER TABLE ledger ALTER sent_at TYPE %s", "ALTER TABLE things ALTER v TYPE %s"} {
		s.db.Exec(t, fmt.Sprintf(alter, "timestamp"))
		now = now.Add(2 * time.Minute)
		for range 2 {
			if o := insert(); causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), "in the table and timestamptz in the model") {
				t.Errorf("%s: got %v", alter, o.err)
			}
		}
		s.db.Exec(t, fmt.Sprintf(alter, "timestamptz"))
		insert().must().inserts(1)
		insert().must().inserts(1).costs(1)
	}
}

// TestArrayNulls has a session that reads NULL in an array as a text.
func TestArrayNulls(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		column batch.Column
		live   string
		wrong  bool
	}{
		{batch.Column{Kind: batch.Text, Type: "text[]", List: true}, "text[]", true},
		{batch.Column{Kind: batch.Text, Type: `"xml"`, AsText: true}, "xml", true},
		{batch.Column{Kind: batch.Text, Type: "text"}, "text", false},
	} {
		table := valueTable(tt.column)
		s := newSite(t, setup{sql: "CREATE TABLE things (id bigint PRIMARY KEY, v " + tt.live + ")", table: table})
		s.store = openStore(t, withOption(t, s.proxy.URL, "-c array_nulls=off"), table)
		o := s.insertBatch(t.Context(), fitRow(table, isNull), []int64{1})
		if tt.wrong && (causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), "array_nulls is off")) {
			t.Errorf("%s: got %v", tt.live, o.err)
		} else if !tt.wrong {
			o.must()
		}
	}
}

// TestAConstantThatIsRefused wants no message rejected for a value that is the model's.
func TestAConstantThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		column           batch.Column
		sql, value, says string
	}{
		{batch.Column{Kind: batch.Text, Type: `"mood"`, AsText: true, Constant: true}, "v mood", "glad", `the type "mood" does not take the value that the model has for the column "v"`},
		{batch.Column{Kind: batch.Text, Type: `"code"`, AsText: true, Constant: true}, "v code", "bad", `the type "code" does not take the value that the model has for the column "v"`},
		{batch.Column{Kind: batch.Text, Type: "text", Constant: true}, "v text CONSTRAINT known CHECK (v IN ('web'))", "app", `correct value in the model, or the constraint "known"`},
	} {
		for n, key := range [][]int{{0}, {1, 0}} {
			table := valueTable(tt.column)
			table.Key = key
			s := newSite(t, setup{sql: "CREATE TYPE mood AS ENUM ('ok'); CREATE DOMAIN code AS text CHECK (value <> 'bad'); CREATE TABLE things (id bigint, " + tt.sql + ")", table: table})
			s.db.Exec(t, "CREATE UNIQUE INDEX ON things ("+strings.Join(table.KeyNames(), ", ")+")")
			b := batch.New(table)
			var ids []int64
			for i := range 2*n + 1 {
				b.Begin(i, 0)
				b.Int8(int64(i))
				b.String(tt.value)
				b.End()
				ids = append(ids, int64(i+1))
			}
			o := s.insertBatch(t.Context(), b, ids)
			for _, v := range o.Verdicts {
				if v.Outcome != message.Returned {
					t.Errorf("%s, key %v: %v", tt.sql, key, v)
				}
			}
			if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), tt.says) {
				t.Errorf("%s, key %v: got %v", tt.sql, key, o.err)
			}
		}
	}
}
