package postgres

import (
	"cmp"
	_ "embed" // for the query
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// Postgres casts some values to what a column has instead of refusing them, and keeps another value:
// a timestamptz for a date, 1.5 for an integer. The input functions of some types do the same with a
// text. Nothing would say so. So the server is asked what the columns are, once for each connection
// and again when the answer is old. A type of the same kind that takes fewer values than the model
// lets through refuses some one by one and rounds others (a scale, digits of a second): package check
// finds those.

//go:embed types.sql
var typesFile string

var typesSQL = strings.Replace(typesFile, "rewrites_text", RewritesText, 1)

// fitSQL returns a text, and fails with discardedState unless each column is of a plain type: then
// typesSQL tells more. Beside an insert it keeps that from storing values in columns that would change
// them, in the same round trip. It is short because the server plans it for each connection.
// $1: tables, $2: columns, $3: their plain types, $4: the least modifier of each, if it has one; if that is
// negative, the only one.
const fitSQL = `SELECT '` + fits + `' || width_bucket(0, 1, 2, CASE WHEN current_setting('array_nulls') = 'off' OR EXISTS (
	SELECT FROM unnest($1::text[], $2::text[], $3::text[], $4::int[]) AS w(relation, name, types, modifier)
	JOIN pg_attribute a ON a.attrelid = to_regclass(w.relation) AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
	WHERE a.atttypid <> ALL (w.types::regtype[]) OR a.atttypmod >= 0 AND (a.atttypmod < w.modifier OR a.atttypmod <> -w.modifier AND w.modifier < 0)) THEN 0 ELSE 1 END)`

// fits begins the answer to fitSQL.
const fits = "fits"

const integers = "int2 int4 int8 numeric"

// plain are the types of columns that take the values of a type and change none, whatever their
// lengths; by the type that is sent, without the brackets of an array.
var plain = map[string]string{
	"text": "text varchar bpchar", "bpchar": "bpchar", "smallint": integers, "int4": integers, "integer": integers, "int8": integers, "bigint": integers,
	"numeric": "numeric", "float4": "float4 float8", "real": "float4 float8", "float8": "float8", "double precision": "float8", "bool": "bool", "boolean": "bool",
	"timestamptz": "timestamptz", "timestamp": "timestamp", "date": "date", "time": "time", "interval": "interval", "uuid": "uuid",
	"inet": "inet", "cidr": "cidr inet", "bytea": "bytea", "json": "json jsonb", "jsonb": "json jsonb",
}

// fitParams returns the parameters of fitSQL.
func fitParams(t *batch.Table) [][]byte {
	var relations, names, types, modifiers []string
	for _, c := range t.Columns {
		sent, array := strings.CutSuffix(sentType(c), "[]")
		var all []string
		for name := range strings.FieldsSeq(plain[sent]) {
			if array {
				name = "_" + name
			}
			all = append(all, "pg_catalog."+name)
		}
		least := 0 // modifier, if there is one
		switch {
		case c.Masked > 0:
			least = c.Masked + 4 // it counts its own four bytes
		case sent == "interval":
			least = math.MaxInt32 // it says which units are kept
		case c.NewerBy:
			least = newerModifier(c)
		}
		relations, names = append(relations, relationOf(t, c)), append(names, c.Name)
		types, modifiers = append(types, "{"+list(all)+"}"), append(modifiers, strconv.Itoa(least))
	}
	return [][]byte{textArray(relations), textArray(names), textArray(types), textArray(modifiers)}
}

// A column that says which of two rows is newer must keep every digit: rows that are different here, and
// equal in the table, would end by how they were divided into batches.

// newerDigits returns how many digits after the point such a column must keep; -1 for other columns.
func newerDigits(c batch.Column) int {
	switch _, scale, limited := strings.Cut(strings.TrimSuffix(c.Type, ")"), ","); {
	case !c.NewerBy:
		return -1
	case c.Kind == batch.Timestamp, c.Kind == batch.TimestampNoZone:
		return 6
	case c.Kind != batch.Text:
		return 0
	case !limited:
		return math.MaxInt32
	default:
		digits, _ := strconv.Atoi(scale)
		return digits
	}
}

// newerModifier returns what fitSQL asks of the modifier of such a column: the digits of a time, or of
// a numeric the precision and the scale that the model has.
func newerModifier(c batch.Column) int {
	digits := newerDigits(c)
	if c.Kind != batch.Text {
		return cmp.Or(digits, math.MaxInt32)
	}
	_, precision, _ := strings.Cut(c.Type, "(")
	precision, _, limited := strings.Cut(precision, ",")
	if !limited {
		return math.MaxInt32
	}
	n, _ := strconv.Atoi(precision)
	return -(n<<16 + digits + 4)
}

// relationOf returns where a column is.
func relationOf(t *batch.Table, c batch.Column) string {
	if c.Ledger {
		return ledger(t)
	}
	return table(t)
}

// fit adds the question whether the types of the columns are plain.
func (rt *roundTrip) fit(p *part) {
	rt.p.SendQueryParams(fitSQL, p.fitParams, nil, nil, binary)
	rt.sent = append(rt.sent, sent{of: p, fit: true})
}

// typeParams returns the parameters of typesSQL.
func typeParams(t *batch.Table) [][]byte {
	var relations, names, sent, reads, masks, digits []string
	for _, c := range t.Columns {
		relations, names, sent = append(relations, relationOf(t, c)), append(names, c.Name), append(sent, sentType(c))
		reads, masks = append(reads, strconv.FormatBool(c.AsText)), append(masks, strconv.Itoa(c.Masked))
		digits = append(digits, strconv.Itoa(newerDigits(c)))
	}
	arrays := slices.ContainsFunc(t.Columns, func(c batch.Column) bool { return c.AsText || c.List })
	return [][]byte{textArray(relations), textArray(names), textArray(sent), textArray(reads), textArray(masks), []byte(strconv.FormatBool(arrays)), textArray(digits)}
}

// sentType returns the type that a column gets a value of.
func sentType(c batch.Column) string {
	if to, ok := strings.CutPrefix(cast(c), "::"); ok {
		return to
	}
	return strings.TrimSuffix(arrayType(c), "[]")
}

// typesAsText returns the types that read text, in SQL.
func (d *destination) typesAsText() (names []string) {
	for _, c := range d.table.Columns {
		if c.AsText {
			names = append(names, c.Type)
		}
	}
	return names
}

// lacksType is what to do about a type that is missing.
const lacksType = "create it, or correct it in the model; without a schema it is looked up in the role's search_path"

// typeFacts is the answer to typesSQL.
type typeFacts struct {
	Wrong []misfit `json:"wrong"`
	// Text is how each column reads text.
	Text []batch.TextType `json:"text"`

	refused *refusal // there is no answer
}

// misfit is why a column would change values in silence.
type misfit struct {
	Column  int    `json:"column"`
	Why     string `json:"why"`
	Type    string `json:"type"`    // in pg_type
	Spelled string `json:"spelled"` // in SQL
}

// askTypes asks what the columns are.
func (rt *roundTrip) askTypes(p *part, facts *typeFacts) {
	rt.add(uncompiled)
	rt.addParams(sent{}, typesSQL, p.typeParams, nil)
	rt.ask(func(a *answer) {
		if facts.refused = a.refused; facts.refused == nil {
			_ = json.Unmarshal(a.text, facts) // the server makes valid JSON
		}
	})
}

// misfits returns an error if a column would change values in silence.
func (d *destination) misfits(wrong []misfit) *fault.Error {
	if len(wrong) == 0 {
		return nil
	}
	first := wrong[0]
	c := d.table.Columns[first.Column]
	relation := relationOf(d.table, c)
	column := fmt.Sprintf("%s: the column %s", d.inserting, batch.Quote(c.Name))
	alter := func(to string) string {
		return fmt.Sprintf("ALTER TABLE %s ALTER COLUMN %s TYPE %s", relation, batch.Quote(c.Name), to)
	}
	e := fault.Error{Cause: message.CauseConfiguration, Code: "42804"}
	switch first.Why {
	case "missing":
		e.Code = "42704"
		e.What = fmt.Sprintf("%s: the type %s does not exist", d.inserting, c.Type)
		e.Remedy = lacksType
	case "reads":
		e.What = fmt.Sprintf("%s: the type %s is made of %s, which Postgres does not read as it is written", d.inserting, c.Type, first.Spelled)
		e.Remedy = fmt.Sprintf("it would round or cut values, or take words such as now and yes for one; if the type is a domain, write type: %s, without as: text", first.Spelled)
	case "mask":
		e.What = fmt.Sprintf("%s is %s, and a mask has %d characters", column, first.Spelled, c.Masked)
		e.Remedy = alter(fmt.Sprintf("varchar(%d)", c.Masked))
	case "newer":
		e.What = fmt.Sprintf("%s is %s in the table, which rounds, and it says which row is newer: of two rows, one would be the newer one here and not there", column, first.Spelled)
		e.Remedy = alter(c.Type)
		if c.Kind == batch.Text {
			e.Remedy += fmt.Sprintf(", or write type: %q in the model", first.Spelled)
		}
	case "nulls":
		e.What = d.inserting + ": the setting array_nulls is off, with which Postgres reads a NULL in an array as the text NULL"
		e.Remedy = "ALTER ROLE … SET array_nulls = on, or take it out of " + d.store.names.URL
	default:
		e.What = fmt.Sprintf("%s is %s in the table and %s in the model: Postgres would change values to fit, and say nothing", column, first.Spelled, c.Type)
		e.Remedy = alter(c.Type)
		if to := TypeNames[first.Type]; to != "" && to != strings.TrimSuffix(c.Type, "[]") {
			if c.List {
				to = strconv.Quote(to + "[]")
			}
			e.Remedy += fmt.Sprintf(", or write type: %s in the model", to)
		}
	}
	if wrong[len(wrong)-1].Column != first.Column {
		e.Remedy = hint(e.Remedy+"; it is not the only column", d.store.names.Check, " lists all")
	}
	return databaseError(e)
}
