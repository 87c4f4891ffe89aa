package postgres_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// textsTable is a table with a column v whose type reads text. The key is the id, or v.
func textsTable(name, sqlType string, key int) *batch.Table {
	return &batch.Table{
		Name: name,
		Columns: []batch.Column{
			{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true},
			{Name: "v", Kind: batch.Text, Type: sqlType, AsText: true, NotNull: key == 1},
		},
		Key: []int{key},
	}
}

// isNull is the text of a NULL.
const isNull = "NULL"

// give inserts texts. The rows are called 1, 2, … as they are given; groups gives each a message
// group of its own. What the database adds to the id tells two deliveries apart.
func (s *site) give(t *batch.Table, groups bool, texts ...string) *outcome {
	s.Helper()
	b := batch.New(t)
	for i, text := range texts {
		group := 0
		if groups {
			group = i + 1
		}
		b.Begin(i, group)
		for _, c := range t.Columns {
			switch {
			case c.Name == "id":
				b.Int8(int64(i) + 1)
			case c.Ledger:
				b.Bytes([]byte(fmt.Sprintf("%016d", i+1)))
			case text == isNull:
				b.Null()
			default:
				b.String(text)
			}
		}
		b.End()
	}
	b.Sort()
	return s.insertByMessage(b)
}

// textTypes are types that sluice knows nothing of.
var textTypes = []struct {
	name, sql string
	sqlType   string            // for the parameter
	column    string            // of the table, if it is another
	printed   map[string]string // what is stored, and how the server prints it
	refused   map[string]string // what is not, and the verdict
}{
	{
		name: "enum", sql: "CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s {\"fine\", \\ ü}')", sqlType: `"mood"`,
		printed: map[string]string{"sad": "sad", `it's {"fine", \ ü}`: `it's {"fine", \ ü}`, isNull: "NULL"},
		refused: map[string]string{canary + "glad": "22P02 column v", "": "22P02 column v", "NULL ": "22P02 column v", "sad,ok": "22P02 column v", "Sad": "22P02 column v"},
	},
	{
		name: "odd name in another schema", sql: `CREATE SCHEMA billing; CREATE TYPE billing."Odd ""Type" AS ENUM ('sad')`, sqlType: `"billing"."Odd ""Type"`,
		printed: map[string]string{"sad": "sad"}, refused: map[string]string{canary: "22P02 column v"},
	},
	{
		name: "domain", sql: "CREATE DOMAIN code AS varchar(3) CONSTRAINT no_bad CHECK (value <> 'bad')", sqlType: `"code"`,
		printed: map[string]string{"abc": "abc", "äöü": "äöü", "": "", "a  ": "a  ", isNull: "NULL", "NUL": "NUL"},
		refused: map[string]string{canary + "long": "22001 column v", "abcd": "22001 column v", "abc ": "22001 column v", "äöü  ": "22001 column v", "    ": "22001 column v", "bad": "23514 constraint no_bad column v"},
	},
	{
		name: "domain of a domain", sql: "CREATE DOMAIN word AS varchar(3); CREATE DOMAIN deep AS word CONSTRAINT no_bad CHECK (value <> 'bad')", sqlType: `"deep"`,
		printed: map[string]string{"abc": "abc"}, refused: map[string]string{"abcd": "22001 column v", "bad": "23514 constraint no_bad column v"},
	},
	{
		name: "domain of char", sql: "CREATE DOMAIN padded AS char(3)", sqlType: `"padded"`,
		printed: map[string]string{"a ": "a"}, refused: map[string]string{"abcd": "22001 column v", "abc ": "22001 column v"},
	},
	{
		name: "wider domain", sql: "CREATE DOMAIN wide AS text", sqlType: `"wide"`, column: "varchar(3)",
		printed: map[string]string{"abc": "abc", "a  ": "a  "}, refused: map[string]string{"abcd": "22001", "abc ": "22001"},
	},
	{
		name: "domain that is not NULL", sql: "CREATE DOMAIN needed AS text NOT NULL", sqlType: `"needed"`,
		printed: map[string]string{"abc": "abc"}, refused: map[string]string{isNull: "23502 column v"},
	},
	{
		name: "domain of an integer", sql: "CREATE DOMAIN positive AS integer CONSTRAINT positive CHECK (value > 0)", sqlType: `"positive"`,
		printed: map[string]string{"7": "7"}, refused: map[string]string{"1.5": "22P02 column v", "0": "23514 constraint positive column v", "99999999999": "22003 column v"},
	},
	{name: "ltree", sqlType: `"ltree"`, printed: map[string]string{"a.b": "a.b"}, refused: map[string]string{"a..b": "42601 column v"}},
	{name: "hstore", sqlType: `"hstore"`, printed: map[string]string{"a=>1": `"a"=>"1"`}, refused: map[string]string{canary + "=>": hstoreError + " column v"}},
	{
		name: "range", sqlType: `"int4range"`,
		printed: map[string]string{"[1,4]": "[1,5)"}, refused: map[string]string{canary: "22P02 column v", "[5,1)": "22000 column v"},
	},
	{name: "macaddr", sqlType: `"macaddr"`, printed: map[string]string{"08002B:010203": "08:00:2b:01:02:03"}, refused: map[string]string{canary: "22P02 column v"}},
	{
		name: "composite", sql: "CREATE DOMAIN currency AS text CONSTRAINT three CHECK (length(value) = 3); CREATE TYPE money_of AS (amount numeric, currency currency)", sqlType: `"money_of"`,
		printed: map[string]string{"(1.50,EUR)": "(1.50,EUR)"},
		refused: map[string]string{"(1.50,EURO)": "23514 constraint three column v", "(x,EUR)": "22P02 column v", canary: "22P02 column v"},
	},
	{name: "xml", sqlType: `"xml"`, printed: map[string]string{"<a/>": "<a/>"}, refused: map[string]string{"<" + canary: "2200N column v"}},
	{name: "tsvector", sqlType: `"tsvector"`, printed: map[string]string{"b a": "'a' 'b'"}, refused: map[string]string{"'" + canary: "42601 column v"}},
	{name: "box, whose arrays have no commas", sqlType: `"box"`, printed: map[string]string{"(1,1),(0,0)": "(1,1),(0,0)", isNull: "NULL"}, refused: map[string]string{"(1": "22P02 column v"}},
	{name: "point", sqlType: `"point"`, printed: map[string]string{"(1,2.5)": "(1,2.5)"}, refused: map[string]string{"(1": "22P02 column v"}},
	{
		name: "bit", sqlType: `"bit"`, column: "bit(3)",
		printed: map[string]string{"101": "101"}, refused: map[string]string{"1011": "22026", "1": "22026", "102": "22P02 column v"},
	},
	{name: "varbit", sqlType: `"varbit"`, column: "varbit(3)", printed: map[string]string{"10": "10"}, refused: map[string]string{"1011": "22001"}},
}

// hstoreError is the SQLSTATE of a text that is no hstore. Postgres 16 and newer have 42601.
const hstoreError = "XX000"

// textModes are the ways of sending statements, and how much the server quotes of a value.
var textModes = map[string]string{
	"default": "", "exec": "&default_query_exec_mode=exec", "simple": "&default_query_exec_mode=simple_protocol",
	"quotes": "&options=-c%20log_parameter_max_length_on_error%3D-1",
}

// TestTypesThatReadText stores values of many types as their input functions read them. A value
// that one refuses costs only its message, alone and beside others, however statements are sent.
func TestTypesThatReadText(t *testing.T) {
	t.Parallel()
	for mode, parameters := range textModes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t, "", "CREATE EXTENSION ltree; CREATE EXTENSION hstore")
			for i, tt := range textTypes {
				if mode != "default" && i%unlessThorough(3, 1) != 0 {
					continue
				}
				table := textsTable(fmt.Sprintf("t%d", i), tt.sqlType, 0)
				db.Exec(t, fmt.Sprintf("%s; CREATE TABLE %s (id bigint PRIMARY KEY, v %s, n bigint DEFAULT random() * 0)", tt.sql, table.Name, cmp.Or(tt.column, tt.sqlType)))
				s := siteOf(t, db, table)
				s.store = openStore(t, s.proxy.URL+parameters, table)
				var all, printed []string
				want := verdicts{}
				for _, text := range keysOf(tt.refused) {
					state := tt.refused[text]
					if db.Version(t) >= 160000 {
						state = strings.Replace(state, hstoreError, "42601", 1)
					}
					verdict := rejected(state)
					if mode == "default" {
						s.give(table, false, text).want(verdicts{verdict: "1"})
					}
					all = append(all, text)
					want[verdict] = strings.TrimSpace(fmt.Sprint(want[verdict], " ", len(all)))
				}
				for _, text := range keysOf(tt.printed) {
					all, printed = append(all, text), append(printed, tt.printed[text])
					want[stored] = strings.TrimSpace(fmt.Sprint(want[stored], " ", len(all)))
				}
				for _, groups := range []bool{false, true} {
					if groups && mode != "default" {
						continue
					}
					s.give(table, groups, all...).want(want)
					var got []string
					for _, row := range db.Rows(t, "SELECT v::text FROM "+table.Name+" ORDER BY id") {
						got = append(got, row[0])
					}
					if diff := gocmp.Diff(got, printed); diff != "" {
						t.Errorf("%s, groups %v: stored (-got +want):\n%s", tt.name, groups, diff)
					}
					s.give(table, groups, all...).want(want).inserts(0)
					db.Exec(t, "DELETE FROM "+table.Name)
				}
				if o := s.give(table, false, keysOf(tt.printed)...).must().inserts(len(printed)); o.RoundTrips != 1 {
					t.Errorf("%s: %d round trips for values that are all valid, want 1", tt.name, o.RoundTrips)
				}
			}
		})
	}
}

// TestOneBatchWithThreeRefusedTexts wants 97 of 100 stored, whatever the table is.
func TestOneBatchWithThreeRefusedTexts(t *testing.T) {
	t.Parallel()
	const types = "CREATE TYPE mood AS ENUM ('sad', 'ok');"
	ledger := textsTable("texts", `"mood"`, 0)
	ledger.Ledger, ledger.Key = "ledger", []int{2}
	ledger.Columns = append(ledger.Columns, batch.Column{Name: "message_id", Kind: batch.UUID, Type: "uuid", NotNull: true, Ledger: true})
	for _, tt := range []struct {
		name, sql string
		table     *batch.Table
		groups    bool
	}{
		{name: "plain", sql: "CREATE TABLE texts (id bigint PRIMARY KEY, v mood)"},
		{name: "FIFO", sql: "CREATE TABLE texts (id bigint PRIMARY KEY, v mood)", groups: true},
		{name: "partitions", sql: "CREATE TABLE texts (id bigint PRIMARY KEY, v mood) PARTITION BY HASH (id); CREATE TABLE a PARTITION OF texts FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE b PARTITION OF texts FOR VALUES WITH (MODULUS 2, REMAINDER 1)"},
		{name: "ledger", sql: "CREATE TABLE texts (id bigint, v mood); CREATE TABLE ledger (message_id uuid PRIMARY KEY)", table: ledger},
		{name: "ledger and FIFO", sql: "CREATE TABLE texts (id bigint, v mood); CREATE TABLE ledger (message_id uuid PRIMARY KEY)", table: ledger, groups: true},
		{name: "defaults", sql: "CREATE TABLE texts (id bigint PRIMARY KEY, v mood, n bigserial, at timestamptz DEFAULT now())"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				table := cmp.Or(tt.table, textsTable("texts", `"mood"`, 0))
				s := newSite(t, setup{sql: types + tt.sql, table: table, mode: mode})
				texts := make([]string, 100)
				for i := range texts {
					texts[i] = "ok"
				}
				texts[4], texts[49], texts[98] = canary+"glad", canary+"mad", ""
				for _, inserted := range []int{97, 0} {
					s.give(table, tt.groups, texts...).want(verdicts{stored: "1-4 6-49 51-98 100", rejected("22P02 column v"): "5 50 99"}).inserts(inserted)
					if n := s.db.Count(t, "SELECT count(*) FROM texts"); n != 97 {
						t.Errorf("%d rows, want 97", n)
					}
				}
			})
		})
	}
}

// TestKeysOfTypesThatReadText has keys that are equal in their type and differ in their text, and
// keys that the type refuses, which no look-up can ask for.
func TestKeysOfTypesThatReadText(t *testing.T) {
	t.Parallel()
	const colors = "CREATE TYPE color AS ENUM ('red', 'green', 'blue');"
	for _, tt := range []struct {
		name, sql, sqlType string
		same, refused      []string
		state              string
		filler             func(int) string
	}{
		{name: "domain", sql: "CREATE DOMAIN code AS varchar(4)", sqlType: `"code"`, same: []string{"abcd", "abcd"}, refused: []string{"abcdef", "abcdeg", "abcd ", "abcd  "}, state: "22001 column v"},
		{name: "domain of citext", sql: "CREATE DOMAIN code AS citext CHECK (value <> 'bad')", sqlType: `"code"`, same: []string{"abc", "ABC"}, refused: []string{"bad", "BAD"}, state: "23514 constraint code_check column v"},
		{name: "macaddr", sqlType: `"macaddr"`, same: []string{"08:00:2b:01:02:03", "08002b-010203"}, refused: []string{canary, ""}, state: "22P02 column v", filler: func(i int) string { return fmt.Sprintf("00:00:00:00:00:%02x", i) }},
		{name: "int4range", sqlType: `"int4range"`, same: []string{"[1,4]", "[1,5)", " [1,4]"}, refused: []string{canary}, state: "22P02 column v", filler: func(i int) string { return fmt.Sprintf("[%d,%[1]d]", i+10) }},
		{name: "ltree", sqlType: `"ltree"`, same: []string{"a.b"}, refused: []string{"a..b", "a b"}, state: "42601 column v"},
		{name: "composite", sql: "CREATE TYPE pair AS (a integer, b text)", sqlType: `"pair"`, same: []string{"(1,a)", `(01,"a")`}, refused: []string{canary}, state: "22P02 column v", filler: func(i int) string { return fmt.Sprintf("(%d,f)", i+10) }},
		{name: "enum", sql: colors, sqlType: `"color"`, same: []string{"red", "red"}, refused: []string{canary, "Red"}, state: "22P02 column v", filler: func(int) string { return "blue" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.filler == nil {
				tt.filler = func(i int) string { return fmt.Sprint("f", i) }
			}
			db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext; CREATE EXTENSION ltree; "+tt.sql)
			for _, more := range []struct {
				others     int
				fifo       bool
				partitions string
			}{
				{},
				{fifo: true},
				{others: 20},
				{others: 20, fifo: true},
				{others: 200},
				{others: 20, partitions: " PARTITION BY LIST (v); CREATE TABLE rest PARTITION OF texts DEFAULT"},
			} {
				db.Exec(t, "DROP TABLE IF EXISTS texts; CREATE TABLE texts (id bigint, v "+tt.sqlType+" PRIMARY KEY)"+more.partitions)
				table := textsTable("texts", tt.sqlType, 1)
				s := siteOf(t, db, table)
				texts := append([]string{}, tt.same...)
				distinct := map[string]bool{}
				for i := range more.others {
					texts = append(texts, tt.filler(i))
					distinct[tt.filler(i)] = true
				}
				want := verdicts{
					stored:             fmt.Sprintf("1-%d", len(texts)),
					rejected(tt.state): fmt.Sprintf("%d-%d", len(texts)+1, len(texts)+len(tt.refused)),
				}
				texts = append(texts, tt.refused...)
				for range 2 {
					s.give(table, more.fifo, texts...).want(want)
					if got := db.Count(t, "SELECT count(*) FROM texts"); got != int64(len(distinct))+1 {
						t.Errorf("%+v: got %d rows, want %d", more, got, len(distinct)+1)
					}
				}
				s.give(table, more.fifo, tt.refused[0]).want(verdicts{rejected(tt.state): "1"})
			}
		})
	}
}

// TestADomainNeedsASetting has a CHECK that fails for whatever text, and has a code that input
// functions have for texts too: only another row that passes shows that a message is to blame.
func TestADomainNeedsASetting(t *testing.T) {
	t.Parallel()
	table := textsTable("texts", `"v"`, 0)
	for name, sqlType := range map[string]string{
		"domain":    "CREATE DOMAIN v AS text CHECK (value LIKE '%ok%' OR value <> current_setting('sluice.none'))",
		"composite": "CREATE DOMAIN w AS text CHECK (value LIKE '%ok%' OR value <> current_setting('sluice.none')); CREATE TYPE v AS (a w)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: sqlType + "; CREATE TABLE texts (id bigint PRIMARY KEY, v v)", table: table})
			s.give(table, false, "(a)", "(b)").blames(message.CauseConfiguration, "42704").verdicts(verdicts{configuration: "1-2"})
			s.give(table, false, "(a)", "(ok)").want(verdicts{rejected("42704 column v"): "1", stored: "2"})
		})
	}
}

// TestTypesThatCannotReadText have values that Postgres would change in silence, or that are not
// there. Nothing is stored, and the error names the type.
func TestTypesThatCannotReadText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sql, says string }{
		{"missing", "", `the type "v" does not exist`},
		{"domain of a date", "CREATE DOMAIN v AS date", `the type "v" is made of date`},
		{"domain of a time with a precision", "CREATE DOMAIN v AS timestamp(3)", `the type "v" is made of timestamp(3) without time zone`},
		{"domain of a numeric with a scale", "CREATE DOMAIN v AS numeric(4,2)", `the type "v" is made of numeric(4,2)`},
		{"domain of a domain", "CREATE DOMAIN w AS numeric(4,2); CREATE DOMAIN v AS w", `the type "v" is made of numeric(4,2)`},
		{"domain of an array", "CREATE DOMAIN v AS numeric(4,2)[]", `the type "v" is made of numeric(4,2)`},
		{"composite", "CREATE TYPE v AS (a text, b interval)", `the type "v" is made of interval`},
		{"composite that cuts", "CREATE TYPE v AS (a text, b varchar(3))", `the type "v" is made of character varying(3)`},
		{"domain of an array that cuts", "CREATE DOMAIN v AS char(3)[]", `the type "v" is made of character(3)`},
		{"domain of a boolean", "CREATE DOMAIN v AS boolean", `the type "v" is made of boolean`},
		{"range", "CREATE TYPE v AS RANGE (subtype = time)", `the type "v" is made of time without time zone`},
		{"domain of a multirange", "CREATE DOMAIN v AS tstzmultirange", `the type "v" is made of timestamp with time zone`},
		{"money", "CREATE DOMAIN v AS money", `the type "v" is made of money`},
		{"class", "CREATE DOMAIN v AS regclass", `the type "v" is made of regclass`},
		{"name", "CREATE DOMAIN v AS name", `the type "v" is made of name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := textsTable("texts", `"v"`, 0)
			s := newSite(t, setup{sql: tt.sql + "; CREATE TABLE texts (id bigint PRIMARY KEY, v text)", table: table})
			o := s.give(table, false, "a", "b").verdicts(verdicts{unconfirmed: "1-2"})
			if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(fmt.Sprint(o.err), tt.says) {
				t.Errorf("got %v, want a configuration error that says %s", o.err, tt.says)
			}
			if tt.name == "missing" {
				s.db.Exec(t, "CREATE DOMAIN v AS text; ALTER TABLE texts ALTER v TYPE v")
				s.give(table, false, "a", "b").must()
				s.db.Exec(t, "ALTER TABLE texts ALTER v TYPE text; DROP DOMAIN v")
				o := s.give(table, false, "a", "b", "c").verdicts(verdicts{unconfirmed: "1-3"})
				if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(fmt.Sprint(o.err), `"v"`) {
					t.Errorf("dropped while a connection is open: %v", o.err)
				}
			}
		})
	}
}
