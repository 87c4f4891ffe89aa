package model

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"example.com/owner/sluice/internal/batch"
)

// SQLType is a column's type.
type SQLType struct {
	Base string // "varchar", "integer", …
	// Length is n of varchar(n) and p of numeric(p,s); 0 is no limit.
	Length int
	// Scale is s of numeric(p,s).
	Scale int
	// List: it is an array of the type.
	List bool
	// AsText: it is any type of the database, which reads its values from text. Base is its name
	// without quotes, and Schema its schema, "" for none.
	AsText bool
	Schema string
}

// sqlType matches a type such as "numeric(12,2)[]".
var sqlType = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z]+(?: [a-z]+)*)(?:\(([0-9]{1,8})(?:, *([0-9]{1,8}))?\))?(\[\])?$`)
})

// columnTypes lists the types that a column may have, as a model writes them, each with the kind of
// its values in a batch. There are arrays of all of them but those without elements.
var columnTypes = []struct {
	form string
	kind batch.Kind
	not  restriction
}{
	{"varchar(n)", batch.Text, 0},
	{"text", batch.Text, 0},
	{"char(n)", batch.Text, 0},
	{"citext", batch.Text, 0},
	{"smallint", batch.Int4, 0},
	{"integer", batch.Int4, 0},
	{"bigint", batch.Int8, 0},
	{"numeric(p,s)", batch.Text, 0},
	{"real", batch.Float4, notInKey},
	{"double precision", batch.Float8, notInKey},
	{"boolean", batch.Bool, 0},
	{"timestamptz", batch.Timestamp, 0},
	{"timestamp", batch.TimestampNoZone, 0},
	{"date", batch.Date, 0},
	{"time", batch.TimeOfDay, 0},
	{"interval", batch.Text, notInKey},
	{"uuid", batch.UUID, 0},
	{"inet", batch.Text, 0},
	{"cidr", batch.Text, 0},
	{"bytea", batch.Binary, 0},
	{"json", batch.Text, notInKey | notInList},
	{"jsonb", batch.Text, notInKey | notInList},
}

// restriction is what a type cannot be.
type restriction uint8

const (
	notInKey restriction = 1 << iota
	notInList
)

// find returns the kind of the type's values and what it cannot be. The kind is 0 if there is no
// such type.
func (t SQLType) find() (batch.Kind, restriction) {
	if t.AsText {
		return batch.Text, notInList
	}
	for _, known := range columnTypes {
		if base, _, _ := strings.Cut(known.form, "("); base == t.Base {
			return known.kind, known.not
		}
	}
	return 0, 0
}

// kind returns the kind of the type's values, of an array's those of its elements.
func (t SQLType) kind() batch.Kind {
	kind, _ := t.find()
	return kind
}

// inKey reports whether a column of the type can be in a key: the same message must have the same
// value whenever it is read. A float is another one on the way through other software, and P30D and
// P1M are different intervals that Postgres calls equal.
func (t SQLType) inKey() bool {
	_, not := t.find()
	return not&notInKey == 0 && !t.List
}

// batchColumn returns a column of the type for a batch.
func (t SQLType) batchColumn(name string) batch.Column {
	return batch.Column{Name: name, Type: t.String(), Kind: t.kind(), List: t.List, AsText: t.AsText}
}

// isAddress reports whether the type is Postgres's own inet or cidr, which hold no mask.
func (t SQLType) isAddress() bool {
	return (t.Base == "inet" || t.Base == "cidr") && (t.Schema == "" || t.Schema == "pg_catalog")
}

// parseSQLType reads the type of a column, with as: text or without.
func parseSQLType(s string, asText bool) (SQLType, error) {
	if asText {
		return parseTypeName(s)
	}
	parts := sqlType().FindStringSubmatch(s)
	if parts == nil {
		return SQLType{}, fmt.Errorf("%q is not a type of a column%s", s, anotherName(s))
	}
	t, length, scale := SQLType{Base: parts[1], List: parts[4] != ""}, parts[2], parts[3]
	kind, not := t.find()
	if hint := anotherName(s); kind == 0 && hint != "" {
		return t, fmt.Errorf("%q is not a type that sluice knows%s", s, hint)
	}
	if kind == 0 {
		var forms []string
		for _, known := range columnTypes {
			forms = append(forms, known.form)
		}
		return t, fmt.Errorf("%q is not a type that sluice knows; use %s, or an array of one, as in text[]; for any other type that the table has, add as: text", s, enumerate(forms, "or"))
	}
	t.Length, _ = strconv.Atoi("0" + length)
	t.Scale, _ = strconv.Atoi("0" + scale)
	needsLength := t.Base == "varchar" || t.Base == "char"
	switch {
	case needsLength && (t.Length < 1 || t.Length > 10485760 || scale != ""):
		return t, fmt.Errorf("%q: %s needs one length from 1 to 10485760, as in %[2]s(32)", s, t.Base)
	case t.Base == "numeric" && length != "" && (t.Length < 1 || t.Length > 1000 || t.Scale > t.Length):
		return t, fmt.Errorf("%q: numeric needs a precision from 1 to 1000 and a scale of at most that, as in numeric(12,2)", s)
	case !needsLength && t.Base != "numeric" && length != "":
		return t, fmt.Errorf("%q: %s has no length", s, t.Base)
	case t.List && not&notInList != 0:
		return t, fmt.Errorf("%q: a list of JSON values is one JSON value; use %s", s, t.Base)
	}
	return t, nil
}

// String returns the type in SQL.
func (t SQLType) String() string {
	text := t.Base
	switch {
	case t.AsText:
		text = batch.QuoteTable(t.Schema, t.Base) // bit without quotes is a type of one bit
	case t.Base == "numeric" && t.Length > 0:
		text = fmt.Sprintf("numeric(%d,%d)", t.Length, t.Scale)
	case t.Length > 0:
		text = fmt.Sprintf("%s(%d)", t.Base, t.Length)
	}
	if t.List {
		text += "[]"
	}
	return text
}

// typeName matches the name of a type: one or two names with a point between them, each with or
// without quotes.
var typeName = sync.OnceValue(func() *regexp.Regexp {
	const ( // as a JSON Schema can write it: any letter that is not ASCII, without naming the last one
		first = `[^\x00-\x40\x5b-\x5e\x60\x7b-\x7f]`
		other = `[^\x00-\x23\x25-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]`
		name  = `(` + first + other + `*|"(?:[^"\x00]|"")+")`
	)
	return regexp.MustCompile(`^(?:` + name + `\.)?` + name + `$`)
})

// parseTypeName reads the type of a column with as: text.
func parseTypeName(s string) (SQLType, error) {
	parts := typeName().FindStringSubmatch(s)
	switch {
	case parts == nil && strings.HasSuffix(s, "[]"):
		return SQLType{}, fmt.Errorf("%q: an array cannot be written as text; as: text is for one value", s)
	case parts == nil && strings.HasSuffix(s, ")"):
		return SQLType{}, fmt.Errorf("%q: the type of a column with as: text has no length; the table's column has it: leave it out", s)
	case parts == nil:
		return SQLType{}, fmt.Errorf(`%q is not the name of a type; write it as in mood, billing.mood or '"Odd Type"'`, s)
	}
	t := SQLType{AsText: true, Schema: unquoteName(parts[1]), Base: unquoteName(parts[2])}
	if len(t.Schema) > maxName || len(t.Base) > maxName {
		return t, fmt.Errorf("%q is too long; a name in Postgres has up to %d bytes", s, maxName)
	}
	if t.Schema != "" && t.Schema != "pg_catalog" {
		return t, nil
	}
	return t, refuseAsText(s, t.Base)
}

// maxName is the length of a name in Postgres, which cuts longer ones.
const maxName = 63

// unquoteName returns a name as Postgres reads it.
func unquoteName(name string) string {
	if text, ok := strings.CutPrefix(name, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(text, `"`), `""`, `"`)
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// aliases are the other names of the types in columnTypes, with the length left out.
var aliases = map[string]string{
	"int": "integer", "int4": "integer", "int2": "smallint", "int8": "bigint", "decimal": "numeric", "dec": "numeric",
	"float": "double precision", "float8": "double precision", "float4": "real", "bool": "boolean", "character": "char", "bpchar": "char", "nchar": "char",
	"timestamp with time zone": "timestamptz", "timestamp without time zone": "timestamp", "datetime": "timestamptz", "character varying": "varchar", "string": "text", "time without time zone": "time",
	"serial": "integer", "serial2": "smallint", "serial4": "integer", "serial8": "bigint", "smallserial": "smallint", "bigserial": "bigint",
}

// anotherName returns what to write for another name of a known type, or for a type of the table.
func anotherName(s string) string {
	base, length, _ := strings.Cut(strings.ToLower(s), "(")
	array := strings.HasSuffix(s, "[]")
	if !array && length != "" {
		length = "(" + length
	} else if array {
		base, length = strings.TrimSuffix(base, "[]"), "[]"
	}
	base = strings.TrimSpace(base)
	name := cmp.Or(aliases[base], base)
	for _, known := range columnTypes {
		if form, _, _ := strings.Cut(known.form, "("); form == name && name+length != s {
			return "; write " + name + length
		}
	}
	if typeName().MatchString(s) && strings.ContainsAny(s, `."`) {
		return "; for a type of the database, add as: text"
	}
	return ""
}

// notAsText are types of Postgres that cannot be written as text, because their input functions
// store something else than the text says, or because no column can have them.
var notAsText = []struct{ names, why string }{
	{"timetz tsrange tstzrange daterange tsmultirange tstzmultirange datemultirange", "its values are times or dates, in which Postgres reads words such as now, and which it reads by the settings of the session"},
	{"money", "Postgres rounds it, and reads it by the settings of the session"},
	{"name", "Postgres cuts its values in silence"},
	{"oid xid cid tid oidvector int2vector", "its values are numbers of the server's own"},
	{"regclass regcollation regconfig regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype aclitem", "its values are names that Postgres looks up in its catalog"},
	{"any anyarray anyelement anyenum anynonarray anyrange anymultirange anycompatible anycompatiblearray anycompatiblenonarray anycompatiblerange " +
		"anycompatiblemultirange cstring event_trigger fdw_handler index_am_handler internal language_handler pg_ddl_command record table_am_handler " +
		"trigger tsm_handler unknown void", "no column can have it"},
}

// writtenBothWays are types that sluice writes itself, and takes with as: text too: a network is no ip.
var writtenBothWays = []string{"inet", "cidr"}

// refuseAsText returns why a type of Postgres cannot be written as text, nil if it can.
func refuseAsText(s, name string) error {
	name = cmp.Or(aliases[name], name)
	for _, known := range columnTypes {
		if base, _, _ := strings.Cut(known.form, "("); base == name && !slices.Contains(writtenBothWays, name) {
			return fmt.Errorf("%q is a type that sluice writes itself: use type: %s, without as: text", s, known.form)
		}
	}
	for _, refused := range notAsText {
		if slices.Contains(strings.Fields(refused.names), name) {
			return fmt.Errorf("%q cannot be written as text: %s", s, refused.why)
		}
	}
	return nil
}
