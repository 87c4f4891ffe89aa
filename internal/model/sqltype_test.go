package model_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
)

// ofType parses a model with one more column, of a type and with more settings.
func ofType(field, column string) (*model.Model, error) {
	const form = `{model: m, table: t, key: [message_id], fields: {v: {%s}}, columns: {v: {%s, from: v}, message_id: {type: uuid, meta: message_id}}}`
	return model.Parse("m.yaml", fmt.Appendf(nil, form, field, column))
}

// TestTypesOfColumns wants each type in the SQL as the model writes it, and how its values travel.
func TestTypesOfColumns(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field, column string
		want          batch.Column
	}{
		{"type: text", "type: char(3)", batch.Column{Type: "char(3)", Kind: batch.Text}},
		{"type: text", "type: citext", batch.Column{Type: "citext", Kind: batch.Text}},
		{"type: numeric", "type: double precision", batch.Column{Type: "double precision", Kind: batch.Float8}},
		{"type: numeric", "type: real", batch.Column{Type: "real", Kind: batch.Float4}},
		{"type: timestamp", "type: timestamp", batch.Column{Type: "timestamp", Kind: batch.TimestampNoZone}},
		{"type: time", "type: time", batch.Column{Type: "time", Kind: batch.TimeOfDay}},
		{"type: interval", "type: interval", batch.Column{Type: "interval", Kind: batch.Text}},
		{"type: ip, personal: false", "type: inet", batch.Column{Type: "inet", Kind: batch.Text}},
		{"type: ip, personal: false", "type: cidr", batch.Column{Type: "cidr", Kind: batch.Text}},
		{"type: base64", "type: bytea", batch.Column{Type: "bytea", Kind: batch.Binary}},
		{"type: text, list: true", `type: "text[]"`, batch.Column{Type: "text[]", Kind: batch.Text, List: true}},
		{"type: text, list: true", `type: "varchar(20)[]"`, batch.Column{Type: "varchar(20)[]", Kind: batch.Text, List: true}},
		{"type: numeric, list: true", `type: "numeric(5, 2)[]"`, batch.Column{Type: "numeric(5,2)[]", Kind: batch.Text, List: true}},
		{"type: numeric, list: true", `type: "double precision[]"`, batch.Column{Type: "double precision[]", Kind: batch.Float8, List: true}},
		{"type: timestamp, list: true", `type: "timestamptz[]"`, batch.Column{Type: "timestamptz[]", Kind: batch.Timestamp, List: true}},
		{"type: text", "as: text, type: mood", batch.Column{Type: `"mood"`, Kind: batch.Text, AsText: true}},
		{"type: text", "as: text, type: Billing.Mood", batch.Column{Type: `"billing"."mood"`, Kind: batch.Text, AsText: true}},
		{"type: text", `as: text, type: '"Odd ""Type"'`, batch.Column{Type: `"Odd ""Type"`, Kind: batch.Text, AsText: true}},
		{"type: text", `as: text, type: 'billing."Mood.2"'`, batch.Column{Type: `"billing"."Mood.2"`, Kind: batch.Text, AsText: true}},
		{"type: text", "as: text, type: gemüt$1", batch.Column{Type: `"gemüt$1"`, Kind: batch.Text, AsText: true}},
		{"type: text", "as: text, type: bit", batch.Column{Type: `"bit"`, Kind: batch.Text, AsText: true}}, // bit without quotes is bit(1)
		{"type: text", "as: text, type: pg_catalog.macaddr", batch.Column{Type: `"pg_catalog"."macaddr"`, Kind: batch.Text, AsText: true}},
		{"type: text", "as: text, type: billing.int4", batch.Column{Type: `"billing"."int4"`, Kind: batch.Text, AsText: true}},
		{"type: text", `as: text, type: '"Int4"'`, batch.Column{Type: `"Int4"`, Kind: batch.Text, AsText: true}},
	} {
		m, err := ofType(tt.field, tt.column)
		if err != nil {
			t.Errorf("%s: %v", tt.column, err)
			continue
		}
		tt.want.Name, tt.want.Compared = "v", true
		if got := m.Table.Columns[0]; got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.column, got, tt.want)
		}
		if sql := m.DDL()[0]; !strings.Contains(sql, " "+tt.want.Type+",") {
			t.Errorf("%s: the SQL does not have it: %s", tt.column, sql)
		}
	}
}

// TestTypesThatAreNone wants an error that names the line and says what to write.
func TestTypesThatAreNone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ column, says string }{
		{"type: char", "char needs one length from 1 to 10485760, as in char(32)"},
		{`type: "char(3, 2)"`, "char needs one length"},
		{"type: char(0)", "char needs one length"},
		{"type: real(3)", "real has no length"},
		{"type: timestamp(3)", "timestamp has no length"},
		{"type: time(0)", "time has no length"},
		{"type: timestamp with time zone", "is not a type that sluice knows"},
		{"type: mood", "for any other type that the table has, add as: text"},
		{`type: "json[]"`, "a list of JSON values is one JSON value; use json"},
		{`type: "text[][]"`, "is not a type of a column"},

		{"as: text, type: mood(3)", "has no length"},
		{`as: text, type: "mood[]"`, "an array cannot be written as text"},
		{"as: text, type: a.b.c", "is not the name of a type"},
		{"as: text, type: bit varying", "is not the name of a type"},
		{`as: text, type: '"'`, "is not the name of a type"},
		{`as: text, type: '""'`, "is not the name of a type"},
		{`as: text, type: 'mood; DROP TABLE t'`, "is not the name of a type"},
		{"as: text, type: " + strings.Repeat("ä", 32), "a name in Postgres has up to 63 bytes"},
		{"as: text, type: integer", "use type: integer, without as: text"},
		{"as: text, type: INT4", "use type: integer, without as: text"},
		{"as: text, type: pg_catalog.int4", "use type: integer, without as: text"},
		{`as: text, type: '"int4"'`, "use type: integer, without as: text"},
		{`as: text, type: 'PG_Catalog."int8"'`, "use type: bigint, without as: text"},
		{"as: text, type: bool", "use type: boolean, without as: text"},
		{"as: text, type: float8", "use type: double precision, without as: text"},
		{"as: text, type: decimal", "use type: numeric(p,s), without as: text"},
		{"as: text, type: timestamptz", "use type: timestamptz, without as: text"},
		{"as: text, type: bpchar", "use type: char(n), without as: text"},
		{"as: text, type: serial", "use type: integer, without as: text"},
		{"as: text, type: timetz", "its values are times or dates"},
		{"as: text, type: tstzrange", "its values are times or dates"},
		{"as: text, type: money", "Postgres rounds it"},
		{"as: text, type: name", "cuts its values in silence"},
		{"as: text, type: pg_catalog.regclass", "names that Postgres looks up"},
		{"as: text, type: oid", "numbers of the server's own"},
		{"as: text, type: record", "no column can have it"},
	} {
		_, err := ofType("type: text", tt.column)
		if err == nil || !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "m.yaml:1: column v: ") {
			t.Errorf("%s: got %v, want %s", tt.column, err, tt.says)
		}
	}
}

// TestAddressesHoldNoMask: inet and cidr read networks as text, and no mask.
func TestAddressesHoldNoMask(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ column, says string }{
		{"inet", `column v of type "inet" cannot hold field v of type text; use varchar or text or char or citext`},
		{"pg_catalog.cidr", `column v of type "pg_catalog"."cidr" cannot hold field v`},
		{"mine.inet", ""},
		{"short_code", ""},
	} {
		_, err := ofType("type: text, personal: true", "masked: true, as: text, type: "+tt.column)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.column, err, tt.says)
		}
	}
}

// TestTypesOfKeys wants neither floats nor intervals nor lists in a key.
func TestTypesOfKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ field, column, says string }{
		{"type: numeric", "type: real", "is of type real, which cannot be in a key"},
		{"type: numeric", "type: double precision", "is of type double precision, which cannot be in a key"},
		{"type: text, list: true", `type: "text[]"`, "is of type text[], which cannot be in a key"},
		{"type: text", "as: text, type: mood", ""},
		{"type: text", "type: citext", ""},
		{"type: base64", "type: bytea", ""},
		{"type: interval", "type: interval", "is of type interval, which cannot be in a key"},
	} {
		_, err := model.Parse("m.yaml", fmt.Appendf(nil, `{model: m, table: t, key: [v], fields: {v: {%s, required: true}}, columns: {v: {%s, from: v}}}`, tt.field, tt.column))
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want %q", tt.column, err, tt.says)
		}
	}
}

// TestColumnsOfMasksAndConstants wants the table to say which columns hold no value of a message as
// it was sent.
func TestColumnsOfMasksAndConstants(t *testing.T) {
	t.Parallel()
	m, err := model.Parse("m.yaml", []byte(`{model: m, table: t, domain: d, key: [v], fields: {v: {type: text, required: true}, p: {type: text, personal: true}}, columns: {v: {type: text, from: v}, p: {type: varchar(64), from: p, masked: true}, c: {type: text, value: web}}}`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []batch.Column{{Masked: 0}, {Masked: 64}, {Constant: true}} {
		if got := m.Table.Columns[i]; got.Masked != want.Masked || got.Constant != want.Constant {
			t.Errorf("column %s: %+v", got.Name, got)
		}
	}
}
