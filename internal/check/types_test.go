package check_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// fit is a column of a model beside a live one. :v is the column's name.
type fit struct {
	field, column string // as YAML; without a field the column has a value
	live          string
	sql           string // executed afterwards
	want          string // the finding, "" for none
	says          string
}

// fits checks one table with a column for each, and what is found of each.
func fits(t *testing.T, db *pgtest.DB, all []fit) {
	t.Helper()
	fields, columns, live, after := "", "", "", ""
	for i, c := range all {
		name := fmt.Sprintf("v%d", i)
		from := ""
		if c.field != "" {
			fields += fmt.Sprintf("  %s: {%s}\n", name, c.field)
			from = ", from: " + name
		}
		columns += fmt.Sprintf("  %s: {%s%s}\n", name, c.column, from)
		live += fmt.Sprintf("%s %s, ", name, c.live)
		if c.sql != "" {
			after += strings.ReplaceAll(c.sql, ":v", name) + "; "
		}
	}
	m := parse(t, fmt.Sprintf(`
model: t
table: t
key: [message_id]
fields:
  w: {type: text}
%scolumns:
  w: {type: text, from: w}
%s  mask_key: {type: text, meta: mask_key}
  message_id: {type: uuid, meta: message_id}
`, fields, columns))
	db.Exec(t, "CREATE TABLE t (w text, "+live+"mask_key text, message_id uuid PRIMARY KEY); "+after)
	f := look(t, m, db.URL)
	found := 0
	for i, c := range all {
		name := fmt.Sprintf("v%d", i)
		var of check.Findings
		for _, x := range f {
			if x.Severity != check.OK && (strings.HasPrefix(x.What, "public.t."+name+" ") || strings.Contains(x.What, "own values of "+name+":")) {
				of = append(of, x)
			}
		}
		found += len(of)
		what := fmt.Sprintf("%s, %s, %s", c.field, c.column, c.live)
		if got := strings.Join(rules(of), ", "); got != c.want {
			t.Errorf("%s: got %q, want %q: %+v", what, got, c.want, of)
		}
		if text := fmt.Sprintf("%+v", of); !strings.Contains(text, strings.ReplaceAll(c.says, ":v", name)) {
			t.Errorf("%s: it does not say %q: %s", what, c.says, text)
		}
		for _, x := range of {
			if x.Remedy == "" {
				t.Errorf("%s: no remedy: %+v", what, x)
			}
		}
	}
	if n := len(rules(f)); n != found {
		t.Errorf("%d findings are about no column: %+v", n-found, f)
	}
}

// TestLiveTypes compares types of columns in a model with those of a table.
func TestLiveTypes(t *testing.T) {
	t.Parallel()
	const (
		narrower, another = "error column_narrower", "error column_type"

		mood = "CREATE TYPE mood AS ENUM ('sad', 'happy'); "
	)
	db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext", mood, `CREATE SCHEMA "Other"`, `CREATE DOMAIN "Other"."Mood" AS mood`,
		"CREATE DOMAIN code AS char(3) CHECK (value <> 'XXX')", "CREATE DOMAIN day AS date", "CREATE DOMAIN wide AS numeric(30,6)", "CREATE DOMAIN words AS varchar(8)[]",
		"CREATE TYPE span AS RANGE (subtype = time)", "CREATE TYPE price AS (amount numeric(4,2), currency text)", "CREATE DOMAIN positive AS integer CHECK (value > 0)",
		"CREATE DOMAIN yes AS boolean; CREATE DOMAIN ratio AS double precision; CREATE DOMAIN amount AS numeric; CREATE DOMAIN flags AS boolean[]",
		`CREATE DOMAIN initial AS "char"; CREATE DOMAIN word AS text; CREATE TYPE pair AS (a integer, b text); CREATE TYPE flagged AS (a integer, b boolean)`,
		"CREATE TYPE floats AS RANGE (subtype = float8); CREATE TYPE cut AS (a varchar(3))")
	fits(t, db, []fit{
		{"type: numeric", "type: real", "real", "", "", ""},
		{"type: numeric", "type: real", "double precision", "", another, `write type: double precision in the model`},
		{"type: numeric", "type: double precision", "double precision", "", "", ""},
		{"type: numeric", "type: double precision", "real", "", narrower, `rounded silently`},
		{"type: numeric", "type: double precision", "numeric", "", another, `write type: numeric`},
		{"type: numeric", "type: numeric", "double precision", "", another, "loses digits"},
		{"type: numeric", `type: "numeric(18,4)"`, "wide", "", "", ""},
		{"type: numeric", `type: "numeric(18,4)"`, "numeric(18,2)", "", narrower, `write type: "numeric(18,2)"`},

		{"type: timestamp", "type: timestamptz", "timestamp", "", another, `write type: timestamp in the model`},
		{"type: timestamp", "type: timestamp", "timestamptz", "", another, `write type: timestamptz in the model`},
		{"type: timestamp", "type: timestamp", "timestamp", "", "", ""},
		{"type: timestamp", "type: timestamp", "timestamp(3)", "", narrower, `Remedy:ALTER TABLE public.t ALTER COLUMN ":v" TYPE timestamp}`},
		{"type: timestamp", "type: timestamptz", "timestamptz(0)", "", narrower, `Remedy:ALTER TABLE public.t ALTER COLUMN ":v" TYPE timestamptz}`},
		{"type: timestamp", "type: timestamp", "date", "", another, ""},
		{"type: date", "type: date", "day", "", "", ""},
		{"type: date", "type: date", "timestamptz", "", another, ""},
		{"type: time", "type: time", "time", "", "", ""},
		{"type: time", "type: time", "time(0)", "", narrower, "fewer digits of a second"},
		{"type: time", "type: time", "timetz", "", another, "the TimeZone of the session"},
		{"type: interval", "type: interval", "interval", "", "", ""},
		{"type: interval", "type: interval", "interval(3)", "", narrower, "fewer digits of a second"},
		{"type: interval", "type: interval", "interval day to hour", "", narrower, "cut off silently"},
		{"type: interval", "type: interval", "interval day to second", "", narrower, "cut off silently"},

		{"type: ip, personal: false", "type: inet", "inet", "", "", ""},
		{"type: ip, personal: false", "type: inet", "cidr", "", another, "cut off silently"},
		{"type: ip, personal: false", "type: cidr", "cidr", "", "", ""},
		{"type: ip, personal: false", "type: cidr", "inet", "", another, `write type: inet`},
		{"type: ip, personal: false", "type: text", "inet", "", another, `write type: inet`},
		{"type: ip, personal: false", "type: inet", "text", "", another, `write type: text`},
		{"type: base64", "type: bytea", "bytea", "", "", ""},
		{"type: base64", "type: bytea", "text", "", another, ""},

		{"type: text", "type: char(3)", "char(3)", "", "", ""},
		{"type: text", "type: char(3)", "char(5)", "", "", ""},
		{"type: text", "type: char(3)", "char(2)", "", narrower, "longer values are refused"},
		{"type: text", "type: char(3)", "code", "", "", ""},
		{"type: text", "type: char(3)", "text", "", another, `write type: text`},
		{"type: text", "type: varchar(3)", "char(3)", "", "warning column_type", `write type: char(3)`},
		{"type: text", "type: citext", "citext", "", "", ""},
		{"type: text", "type: citext", "text", "", another, `write type: text`},
		{"type: text", "type: text", "citext", "", "", ""},
		{"type: text", "type: varchar(9)", "varchar(8)", "", narrower, `Remedy:ALTER TABLE public.t ALTER COLUMN ":v" TYPE varchar(9), or write type: varchar(8) in the model}`},

		{"type: text, list: true", `type: "text[]"`, "text[]", "", "", ""},
		{"type: text, list: true", `type: "text[]"`, "varchar[]", "", "", ""},
		{"type: text, list: true", `type: "text[]"`, "varchar(8)[]", "", narrower, `write type: "varchar(8)[]"`},
		{"type: text, list: true", `type: "varchar(8)[]"`, "words", "", "", ""},
		{"type: text, list: true", `type: "text[]"`, "text", "", another, ""},
		{"type: text", "type: text", "text[]", "", another, ""},
		{"type: text, list: true", `type: "text[]"`, "integer[]", "", another, ""},
		{"type: integer, list: true", `type: "integer[]"`, "bigint[]", "", "", ""},
		{"type: integer, list: true", `type: "integer[]"`, "smallint[]", "", narrower, "larger numbers"},
		{"type: timestamp, list: true", `type: "timestamptz[]"`, "timestamp[]", "", another, `write type: "timestamp[]"`},

		{"type: text", "type: mood, as: text", "mood", "", "", ""},
		{"type: text", "type: text", "mood", "", another, "write {type: mood, as: text} in the model"},
		{"type: text", "type: varchar(8)", `"Other"."Mood"`, "", another, `write {type: '"Other"."Mood"', as: text} in the model`},
		{"type: text", `type: '"Other"."Mood"', as: text`, `"Other"."Mood"`, "", "", ""},
		{"type: text", "type: mood, as: text", `"Other"."Mood"`, "", "", ""},
		{"type: text", "type: mood, as: text", "text", "", another, `write type: text`},
		{"type: text", "type: text", "macaddr", "", another, "write {type: macaddr, as: text} in the model"},
		{"type: text", "type: macaddr, as: text", "macaddr", "", "", ""},
		{"type: text", "type: code, as: text", "code", "", "", ""},
		{"type: text", "type: bit, as: text", "bit(3)", "", "", ""},
		{"type: text", "type: nowhere.mood, as: text", "mood", "", another, "there is no such type"},
		{"type: text", "type: code, as: text", "mood", "", another, ""},
		{"type: text", "type: day, as: text", "day", "", another, "is made of date"},
		{"type: text", "type: wide, as: text", "wide", "", another, "is made of numeric(30,6)"},
		{"type: text", "type: span, as: text", "span", "", another, "is made of time without time zone"},
		{"type: text", "type: price, as: text", "price", "", another, "is made of numeric(4,2)"},
		{"type: text", "type: positive, as: text", "positive", "", "", ""},
		{"type: integer", "type: positive, as: text", "positive", "", "", ""},
		{"type: text", "type: text", "positive", "", another, "write {type: positive, as: text} in the model"},
		{"type: integer", "type: integer", "positive", "", "", ""},
		{"type: text", "type: yes, as: text", "yes", "", another, "is made of boolean"},
		{"type: text", "type: text", "yes", "", another, "write type: boolean in the model, and let the field be {type: boolean, accept: [string]}"},
		{"type: boolean", "type: boolean", "yes", "", "", ""},
		{"type: text", "type: ratio, as: text", "ratio", "", another, "is made of double precision"},
		{"type: text", "type: amount, as: text", "amount", "", "", ""},
		{"type: text", "type: words, as: text", "words", "", another, "is made of character varying(8)"},
		{"type: text", "type: flags, as: text", "flags", "", another, "is made of boolean"},
		{"type: text", "type: day, as: text", "day", "", another, "write type: date in the model, and let the field be {type: date}"},
		{"type: text", "type: text", "day", "", another, "write type: date in the model, and let the field be {type: date}"},
		{"type: text", "type: text", "boolean", "", another, "write type: boolean in the model, and let the field be {type: boolean, accept: [string]}"},
		{"type: text", "type: text", "real", "", another, "write type: real in the model, and let the field be {type: numeric, accept: [string]}"},
		{"type: text", "type: text", "numeric(12,2)", "", another, `write type: "numeric(12,2)" in the model, and let the field be {type: numeric, accept: [string]}`},
		{"type: text", "type: text", "timestamptz", "", another, "write type: timestamptz in the model, and let the field be {type: timestamp}"},
		{"type: text", "type: text", "inet", "", another, "write type: inet in the model, and let the field be {type: ip, personal: false}"},
		{"type: text", "type: text", "name", "", another, `ALTER COLUMN ":v" TYPE text, and write that type in the model: sluice writes no name`},
		{"type: text", "type: text", `"char"`, "", another, `ALTER COLUMN ":v" TYPE text, and write that type in the model: sluice writes no "char"`},
		{"type: text", "type: text", "initial", "", another, `ALTER COLUMN ":v" TYPE text`},
		{"type: text", "type: initial, as: text", "initial", "", another, `ALTER COLUMN ":v" TYPE text`},
		{"type: text", "type: text", "money", "", another, `ALTER COLUMN ":v" TYPE numeric`},
		{"type: text", "type: text", "timetz", "", another, `ALTER COLUMN ":v" TYPE time,`},
		{"type: text", "type: text", "regclass", "", another, `ALTER COLUMN ":v" TYPE text`},
		{"type: text", "type: text", "aclitem", "", another, `ALTER COLUMN ":v" TYPE text`},
		{"type: text", "type: text", "daterange", "", another, `ALTER COLUMN ":v" TYPE text`},
		{"type: integer", "type: integer", "word", "", another, "write {type: word, as: text} in the model"},
		{"type: text", "type: point, as: text", "point", "", "", ""},
		{"type: text", "type: pair, as: text", "pair", "", "", ""},
		{"type: text", "type: flagged, as: text", "flagged", "", another, "is made of boolean"},
		{"type: text", "type: floats, as: text", "floats", "", another, "is made of double precision"},
		{"type: text", "type: cut, as: text", "cut", "", another, "is made of character varying(3)"},
		{"type: text", "type: int4range, as: text", "int4range", "", "", ""},
		{"type: text", "type: text", "mood[]", "", another, ""},

		{"type: boolean", "type: boolean", "integer", "", another, ""},
		{"type: uuid", "type: uuid", "text", "", another, ""},
	})
}

// TestMetadataInLiveTypes has the sent time in a table of times without a zone.
func TestMetadataInLiveTypes(t *testing.T) {
	t.Parallel()
	const file = `
model: t
table: t
key: [sent_at, message_id]
fields: {v: {type: text}}
columns:
  v: {type: text, from: v}
  sent_at: {type: %s, meta: sent_at}
  message_id: {type: uuid, meta: message_id}
`
	db := pgtest.New(t, "CREATE TABLE t (v text, sent_at timestamp, message_id uuid, PRIMARY KEY (sent_at, message_id))", "INSERT INTO t VALUES ('', now() AT TIME ZONE 'UTC', gen_random_uuid())")
	for column, findings := range map[string][]string{"timestamptz": {"error column_type"}, "timestamp": nil} {
		m := parse(t, fmt.Sprintf(file, column))
		f := look(t, m, setParameter(t, db.URL, "timezone", "Pacific/Kiritimati"))
		want(t, f, findings...)
		says(t, f, map[string]string{"timestamptz": `write type: timestamp in the model`, "timestamp": "no row of"}[column])
	}
}

// TestIndexes that the model names are missing from a table that existed.
func TestIndexes(t *testing.T) {
	t.Parallel()
	const file = `
model: t
table: t
key: [message_id]
index: [[b, a], [c]]
fields: {a: {type: text}, b: {type: text}, c: {type: text}}
columns:
  a: {type: text, from: a}
  b: {type: text, from: b}
  c: {type: text, from: c}
  message_id: {type: uuid, meta: message_id}
`
	m := parse(t, file)
	db := pgtest.New(t, m.DDL()...)
	f := look(t, m, db.URL)
	want(t, f)
	says(t, f, "has the indexes of the model")
	db.Exec(t, "DROP INDEX t_b_a_idx; CREATE INDEX ON t (a, b); CREATE INDEX ON t (b) INCLUDE (a); CREATE INDEX ON t (b, a) WHERE a <> ''; CREATE INDEX ON t (lower(b), a)")
	f = look(t, m, db.URL)
	want(t, f, "warning index_missing")
	says(t, f, `no index that begins with ("b", "a")`)
	says(t, f, "CREATE INDEX CONCURRENTLY ON ")
	db.Exec(t, "DROP INDEX t_c_idx; CREATE INDEX ON t (b, a, c)")
	want(t, look(t, m, db.URL), "warning index_missing")
}

// TestTrialRowsOfOddTypes inserts trial rows of lists, of types that read text, and of what a field's
// options leave: a trigger that does what an option has done changes no key.
func TestTrialRowsOfOddTypes(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE DOMAIN code AS char(3) CHECK (value ~ '^[A-Z]{3}$')")
	const file = `
model: t
table: t
key: [v]
fields:
  v: {type: text, required: true, %s}
  lists: {type: %s, required: true, list: true}
columns:
  v: {%s, from: v}
  lists: {type: "%s[]", from: lists}
`
	for _, tt := range []struct {
		options, column string
		element, list   string
		trigger         string
		want, says      string
	}{
		{"case: lower", "type: text", "text", "text", "NEW.v := lower(NEW.v)", "", "got the key"},
		{"case: lower", "type: text", "text", "varchar(8)", "NEW.v := upper(NEW.v)", rewritten, "another v than"},
		{"trim: true", "type: text", "integer", "bigint", "NEW.v := btrim(NEW.v)", "", "got the key"},
		{"strip: ' '", "type: varchar(20)", "timestamp", "timestamptz", "NEW.v := replace(NEW.v, ' ', '')", "", "got the key"},
		{"one_of: [sad, happy]", "type: 'mood', as: text", "uuid", "uuid", "NEW.v := NEW.v", "", "got the key"},
		{"one_of: [sad, happy]", "type: 'mood', as: text", "numeric", "numeric(9,2)", "NEW.v := 'happy'", rewritten, "another v than"},
		{"one_of: [EUR, USD]", "type: code, as: text", "date", "date", "NEW.v := upper(NEW.v)", "", "got the key"},
		{"one_of: [EUR, USD]", "type: code, as: text", "boolean", "boolean", "NEW.v := lower(NEW.v)", untried, "23514"},
		{"trim: false", "type: macaddr, as: text", "text", "text", "NEW.v := NEW.v", untried, "23502"},
	} {
		t.Run(tt.options+", "+tt.column+", "+tt.trigger, func(t *testing.T) {
			m := parse(t, fmt.Sprintf(file, tt.options, tt.element, tt.column, tt.list))
			db.Exec(t, "DROP TABLE IF EXISTS t; DROP FUNCTION IF EXISTS norm")
			for _, sql := range m.DDL() {
				db.Exec(t, sql)
			}
			db.Exec(t, norm("t", tt.trigger))
			f := look(t, m, db.URL)
			if tt.want == "" {
				want(t, f)
			} else {
				want(t, f, tt.want)
			}
			says(t, f, tt.says)
		})
	}
}

// TestATableOfOddTypes has a table that people have, with columns that the database fills itself: all
// of its types fit.
func TestATableOfOddTypes(t *testing.T) {
	t.Parallel()
	const file = `
model: visits
table: visits
key: [visit_id]
fields:
  visit_id: {type: uuid, required: true}
  mood: {type: text}
  ip: {type: ip, personal: false}
  at: {type: timestamp, required: true}
  currency: {type: text}
  ratio: {type: numeric}
  tags: {type: text, list: true}
  email: {type: email, personal: false}
  short: {type: text}
columns:
  visit_id: {type: uuid, from: visit_id}
  mood: {type: mood, as: text, from: mood}
  ip: {type: inet, from: ip}
  at: {type: timestamp, from: at}
  currency: {type: char(3), from: currency}
  ratio: {type: double precision, from: ratio}
  tags: {type: "text[]", from: tags}
  email: {type: citext, from: email}
  short: {type: short, as: text, from: short}
  source: {type: text, value: web}
`
	m := parse(t, file)
	db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext", "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE DOMAIN short AS varchar(3) CHECK (value <> 'bad')",
		`CREATE TABLE visits (n bigint GENERATED ALWAYS AS IDENTITY, visit_id uuid PRIMARY KEY, mood mood, ip inet, at timestamp NOT NULL, currency char(3), ratio double precision,
			tags text[], email citext, short short, source text NOT NULL, day date GENERATED ALWAYS AS (at::date) STORED)`,
		norm("visits", "NEW.email := lower(NEW.email)"))
	f := look(t, m, db.URL)
	want(t, f)
	says(t, f, "has the 10 columns of the model, each wide enough")
	says(t, f, "got the key")
	role := db.Role(t, func(role string) []string {
		return []string{"GRANT INSERT, SELECT (visit_id) ON visits TO " + role}
	})
	want(t, look(t, m, role.URL))
}
