package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
)

// live is a column of the live table.
type live struct {
	name string
	// base is the type's name in pg_type ("int4"), for a domain that of its innermost base type, for
	// an array that of its elements; typmod is its modifier, -1 for none.
	base   string
	typmod int
	list   bool
	// oid is the type's own, and baseOID that of its innermost base type.
	oid, baseOID string
	// own is the name of the type without a length, as SQL spells it, and shown with it.
	own, shown string
	labels     []string  // of an enum
	made       namedType // its own type, if sluice does not know it or it is a domain
	notNull    bool
	domain     bool // a domain refuses NULL
	hasValue   bool // a default, an identity or a generated value
	generated  bool // it takes no value from outside
	insert     bool // the role may
	sel        bool
	update     bool
}

// isDomain reports whether the type is made of another one.
func (l live) isDomain() bool { return l.oid != l.baseOID }

// wanted is a column of the model.
type wanted struct {
	model.Column
	notNull bool // no row of the model has a NULL there
	// For a column with as: text, its type in this database.
	asText namedType
	// value is the text of its constant, or of its field's default; nil is none.
	value []byte
}

// namedType is a type that the database knows by its name.
type namedType struct {
	oid, baseOID string // "" if there is none
	// reads is a type that it is made of and that must not read texts, "" for none.
	reads string
}

// typeSQL finds a type by its name, the innermost type that it is made of, and one within it that is
// not for as: text. A type of a fixed length that has elements is no array.
const typeSQL = `WITH RECURSIVE made AS (
	SELECT oid, typbasetype, 0 AS depth FROM pg_type WHERE oid = to_regtype($1)
	UNION ALL SELECT t.oid, t.typbasetype, m.depth + 1 FROM made m JOIN pg_type t ON t.oid = m.typbasetype
), parts AS (
	SELECT to_regtype($1)::oid AS oid, -1 AS typmod, false AS inner_part
	UNION
	SELECT below.oid, below.typmod, p.inner_part OR t.typtype <> 'd' FROM parts p JOIN pg_type t ON t.oid = p.oid CROSS JOIN LATERAL (
		SELECT t.typbasetype AS oid, t.typtypmod AS typmod WHERE t.typtype = 'd'
		UNION ALL SELECT t.typelem, p.typmod WHERE t.typelem <> 0 AND t.typlen = -1
		UNION ALL SELECT r.rngsubtype, -1 FROM pg_range r WHERE t.oid::text IN (r.rngtypid::text, to_jsonb(r)->>'rngmultitypid') -- from PostgreSQL 14 on
		UNION ALL SELECT a.atttypid, a.atttypmod FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
	) AS below
), built_in AS (
	SELECT o.typname AS type, p.typmod, p.inner_part, o.typname IN ('varchar', 'bpchar') AND p.typmod >= 0 AS cuts, format_type(p.oid, p.typmod) AS spelled
	FROM parts p JOIN pg_type o ON o.oid = p.oid WHERE o.typnamespace = 'pg_catalog'::regnamespace
) SELECT (SELECT oid FROM made WHERE depth = 0), t.oid, (SELECT spelled FROM built_in WHERE ` + postgres.RewritesText + ` LIMIT 1)
	FROM made m JOIN pg_type t ON t.oid = m.oid ORDER BY m.depth DESC LIMIT 1`

// byName looks the types of columns with as: text up, and the live types that sluice does not know.
func (d *database) byName(ctx context.Context, want []wanted, have map[string]live) (err error) {
	for i, c := range want {
		if c.Type.AsText {
			if want[i].asText, err = d.typeOf(ctx, c.Type.String()); err != nil {
				return err
			}
		}
		if l, ok := have[c.Name]; ok && (l.isDomain() || postgres.TypeNames[l.base] == "") {
			if l.made, err = d.typeOf(ctx, l.own); err != nil {
				return err
			}
			have[c.Name] = l
		}
	}
	return nil
}

// typeOf looks a type up; there is none if its schema is not to be used.
func (d *database) typeOf(ctx context.Context, name string) (t namedType, err error) {
	rows, err := d.query(ctx, typeSQL, name)
	if _, refused := errors.AsType[*pgconn.PgError](err); refused {
		return t, nil
	}
	if len(rows) > 0 {
		t = namedType{oid: rows[0][0], baseOID: rows[0][1], reads: rows[0][2]}
	}
	return t, err
}

// integers are the widths of the integer types.
var integers = map[string]int{"int2": 2, "int4": 4, "int8": 8, "smallint": 2, "integer": 4, "bigint": 8}

// The rules of a misfit: a narrower column keeps less of a value or refuses it; another type
// refuses all values, or stores others.
const (
	ruleNarrower = "column_narrower"
	ruleType     = "column_type"
)

// pads is the only misfit that neither refuses nor loses a row.
const pads = "pads values with blanks, and ignores blanks at a value's end"

const otherKind = "is another kind of type"

// casts say what becomes of a value that the database casts to a type that is nearly the model's.
// All other types that differ are simply of another kind.
var casts = map[[2]string]struct{ rule, why string }{
	{"timestamptz", "timestamp"}:   {ruleType, "has no time zone, so that the TimeZone of the session would decide which time is stored"},
	{"timestamp", "timestamptz"}:   {ruleType, "has a time zone, so that the TimeZone of the session would decide which time is stored"},
	{"time", "timetz"}:             {ruleType, "has a time zone, so that the TimeZone of the session would decide which time is stored"},
	{"double precision", "float4"}: {ruleNarrower, "keeps fewer digits: numbers are rounded silently"},
	{"real", "float8"}:             {ruleType, "keeps digits that rounding to a real adds"},
	{"inet", "cidr"}:               {ruleType, "is for networks: the rest of an address is cut off silently"},
}

// misfit returns why values of a model's column do not fit a live one, and the rule; "" if they
// fit. A wider live column is no misfit.
func misfit(c wanted, have live) (rule, why string) {
	want := c.Type
	switch {
	case want.AsText:
		return misfitNamed(c, have)
	case want.List != have.list:
		return ruleType, otherKind
	}
	switch want.Base {
	case "varchar", "text":
		if c.Masked {
			return misfitMask(have)
		}
		return misfitText(want, have)
	case "char":
		switch {
		case have.base != "bpchar":
			return ruleType, otherKind
		case have.typmod >= 0 && have.typmod-4 < want.Length:
			return ruleNarrower, "is narrower: longer values are refused"
		}
	case "smallint", "integer", "bigint":
		switch width, ok := integers[have.base]; {
		case have.base == "numeric" && have.typmod < 0:
		case !ok:
			return ruleType, otherKind
		case width < integers[want.Base]:
			return ruleNarrower, "is narrower: larger numbers are refused"
		}
	case "numeric":
		return misfitNumeric(want, have)
	case "json", "jsonb":
		if have.base != "json" && have.base != "jsonb" {
			return ruleType, otherKind
		}
	default:
		if postgres.TypeNames[have.base] != want.Base {
			cast := casts[[2]string{want.Base, have.base}]
			return cmp.Or(cast.rule, ruleType), cmp.Or(cast.why, otherKind)
		}
		return misfitTime(c, have)
	}
	return "", ""
}

// misfitTime is misfit for types whose modifier says how many digits of a second they keep.
func misfitTime(c wanted, have live) (rule, why string) {
	digits, keeps := 6, have.typmod
	switch have.base {
	case "timestamp", "timestamptz":
		if c.Meta == model.MetaSentAt {
			digits = 3 // it is in milliseconds
		}
	case "time":
	case "interval": // the fields that it keeps, in 15 bits, and the digits in 16; all ones are all
		const all = 1<<15 - 1
		if have.typmod >= 0 && have.typmod>>16&all != all {
			return ruleNarrower, "keeps fewer units: intervals are cut off silently"
		}
		keeps = have.typmod & 0xffff
	default:
		return "", ""
	}
	if have.typmod >= 0 && keeps < digits {
		return ruleNarrower, "keeps fewer digits of a second: times are rounded silently, and in a key different ones become equal"
	}
	return "", ""
}

// misfitNamed is misfit for a column with as: text.
func misfitNamed(c wanted, have live) (rule, why string) {
	switch want := c.asText; {
	case want.oid == "":
		return ruleType, "is of a type that the model does not name: there is no such type, or the role cannot see it"
	case want.reads != "":
		return ruleType, fmt.Sprintf("is made of %s, whose values sluice must read itself: Postgres reads words such as now and yes in some, and rounds or cuts others", want.reads)
	case want.oid != have.oid && (have.list || want.baseOID != have.baseOID):
		return ruleType, otherKind
	case c.Masked && slices.Contains(model.TypeText.Columns(), postgres.TypeNames[have.base]):
		return misfitMask(have)
	}
	return "", ""
}

// instead returns what the model could say instead of its type, "" if nothing helps.
func (d *database) instead(c wanted, have live) string {
	base, known := postgres.TypeNames[have.base]
	text := base
	switch {
	case (base == "varchar" || base == "char") && have.typmod >= 4:
		text = fmt.Sprintf("%s(%d)", base, have.typmod-4)
	case base == "varchar":
		base, text = "text", "text"
	case base == "numeric" && have.typmod >= 0:
		precision, scale := numericOf(have.typmod)
		text = fmt.Sprintf("numeric(%d,%d)", precision, scale)
	}
	if have.list {
		text += "[]"
	}
	if known && text == c.Type.String() {
		return "" // the model says so already
	}
	if strings.ContainsAny(text, ",[") { // between braces, these end a plain value
		text = strconv.Quote(text)
	}
	if known && d.holds(c, base, have.list) {
		return fmt.Sprintf("write type: %s in the model", text)
	}
	if have.list || c.Field < 0 || c.Masked || c.Major || d.model.Fields[c.Field].List {
		return ""
	}
	switch f := &d.model.Fields[c.Field]; {
	case (!known || have.isDomain()) && have.made.reads == "":
		return fmt.Sprintf("write {type: %s, as: text} in the model", yamlName(have.own))
	case !known || f.Type != model.TypeText:
		return ""
	case f.Constant:
		return fmt.Sprintf("write type: %s in the model, with a value of that type", text)
	default:
		return fmt.Sprintf("write type: %s in the model, and let the field be {%s}", text, fieldFor(base))
	}
}

// fieldFor returns the options of a field that a type of column holds and that is text in a body.
func fieldFor(base string) string {
	for _, t := range model.FieldTypes() {
		if !slices.Contains(t.Columns(), base) {
			continue
		}
		switch t {
		case model.TypeInteger, model.TypeNumeric, model.TypeBoolean:
			return fmt.Sprintf("type: %s, accept: [string]", t)
		case model.TypeIP:
			return fmt.Sprintf("type: %s, personal: false", t)
		default:
			return fmt.Sprintf("type: %s", t)
		}
	}
	return ""
}

// replacements are types that sluice writes, for some that it does not.
var replacements = map[string]string{"money": "numeric", "timetz": "time", "oid": "bigint", "xid": "bigint"}

// yamlName quotes a name for YAML if it has quotes.
func yamlName(name string) string {
	if strings.Contains(name, `"`) {
		return "'" + name + "'"
	}
	return name
}

// holds reports whether a column of a type could hold what this one does.
func (d *database) holds(c wanted, base string, list bool) bool {
	if c.Field < 0 {
		return (c.Meta == model.MetaSentAt || c.Meta == model.MetaReceivedAt) && (base == "timestamp" || base == "timestamptz")
	}
	f := d.model.Fields[c.Field]
	_, integer := integers[base]
	return f.List == list && !c.Masked && (c.Major && integer || !c.Major && slices.Contains(f.Type.Columns(), base))
}

// misfitMask is misfit for a column of masks, which all have the same length.
func misfitMask(have live) (rule, why string) {
	if have.base == "bpchar" && have.typmod-4 == mask.Size {
		return "", ""
	}
	rule, why = misfitText(model.SQLType{Base: "varchar", Length: mask.Size}, have)
	if rule == ruleNarrower {
		why = fmt.Sprintf("is narrower than a mask, which has %d characters", mask.Size)
	}
	return rule, why
}

// misfitText is misfit for texts, and for a text that is masked.
func misfitText(want model.SQLType, have live) (rule, why string) {
	switch have.base {
	case "text", "citext":
	case "varchar", "bpchar":
		// typmod counts the length's own four bytes.
		switch length := have.typmod - 4; {
		case have.typmod < 0:
		case want.Length == 0 || length < want.Length:
			return ruleNarrower, "is narrower: longer values are refused"
		case have.base == "bpchar":
			return ruleType, pads
		}
	default:
		return ruleType, otherKind
	}
	return "", ""
}

func misfitNumeric(want model.SQLType, have live) (rule, why string) {
	if have.base != "numeric" {
		return ruleType, otherKind + ", and loses digits"
	}
	if have.typmod < 0 {
		return "", ""
	}
	precision, scale := numericOf(have.typmod)
	switch {
	case want.Length == 0 || scale < want.Scale:
		return ruleNarrower, "keeps fewer digits after the point: values are rounded silently"
	case precision-scale < want.Length-want.Scale:
		return ruleNarrower, "is narrower: larger numbers are refused"
	}
	return "", ""
}

// numericOf reads the modifier of a numeric: (precision << 16 | scale) + 4; the scale has 11 bits
// and a sign.
func numericOf(typmod int) (precision, scale int) {
	precision, scale = (typmod-4)>>16, (typmod-4)&0x7ff
	if scale >= 1024 {
		scale -= 2048
	}
	return precision, scale
}

// columns compares the columns of one table.
func (d *database) columns(name string, have map[string]live, want []wanted) {
	bad := 0
	remedy := fmt.Sprintf("%#q prints the columns of the model; ALTER TABLE %s to match, or change the model", d.names.Schema, name)
	known := map[string]bool{}
	for _, c := range want {
		known[c.Name] = true
		l, ok := have[c.Name]
		rule, why := misfit(c, l) // of no column when there is none
		change := remedy
		instead := d.instead(c, l)
		switch {
		case ok && postgres.TypeNames[l.base] == "" && l.made.reads != "":
			to := cmp.Or(replacements[l.base], "text")
			change = fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s, and write that type in the model: sluice writes no %s", name, batch.Quote(c.Name), to, l.made.reads)
		case rule == ruleType && instead != "":
			change = fmt.Sprintf("%s, or ALTER TABLE %s to match it", instead, name)
		case rule == ruleNarrower:
			to := c.Type.String()
			if c.Type.AsText { // only for masks
				to = fmt.Sprintf("varchar(%d)", mask.Size)
			}
			change = fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s", name, batch.Quote(c.Name), to)
			if instead != "" {
				change += ", or " + instead
			}
		}
		switch {
		case !ok:
			d.Add(Error, "table", "column_missing", remedy, "%s has no column %s, which the model fills", name, c.Name)
		case l.generated:
			d.Add(Error, "table", "column_generated", fmt.Sprintf("take the column out of the model, as %#q does, or ALTER TABLE %s to make it a plain column", "sluice infer --table", name), "%s.%s is generated by the database and takes no value, and the model fills it", name, c.Name)
		case why == pads:
			d.Add(Warning, "table", rule, change, "%s.%s is %s, and %s in the model: it %s", name, c.Name, l.shown, c.Type, why)
		case rule != "":
			d.Add(Error, "table", rule, change, "%s.%s is %s, and %s in the model: it %s", name, c.Name, l.shown, c.Type, why)
		case l.notNull && !c.notNull:
			allow := fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL", name, batch.Quote(c.Name))
			if l.domain {
				allow = fmt.Sprintf("let its domain %s allow NULL", l.shown)
			}
			d.Add(Error, "table", "column_not_null", "make the field required in the model, or give it a default, or "+allow,
				"%s.%s is NOT NULL, and its field is optional in the model: messages without it are refused", name, c.Name)
		default:
			continue
		}
		bad++
	}
	for _, l := range have {
		if !known[l.name] && l.notNull && !l.hasValue {
			bad++
			d.Add(Error, "table", "column_unfilled", fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s SET DEFAULT …, or add the column to the model", name, batch.Quote(l.name)),
				"%s has a NOT NULL column %s without a default, which the model does not fill: every row is refused", name, l.name)
		}
	}
	if bad == 0 {
		d.Add(OK, "table", "columns", "", "%s has the %d columns of the model, each wide enough", name, len(want))
	}
}
