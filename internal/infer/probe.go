package infer

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// form is one way to read a value: the settings of a field, and the type of its column. A value has
// a form if a model with that field and column accepts it, so that a draft accepts what it was
// drafted from, and no rule of a type is written twice.
type form struct {
	id     string
	field  string // "type: uuid, format: simple"
	column string // "uuid"
	masked bool   // the column holds its mask
	asText bool   // the column's type reads the text
	what   string // "UUIDs without dashes", after a count
	kinds  string // the first characters of the JSON values that it is tried on
	// only limits what is tried to values that are not likely to be something else; nil: all.
	only func(v *scalarValue) bool

	read   *probe // nil before it is needed, and if its model does not load
	probed bool
}

// The ids of forms that the code asks for.
const (
	formIP, formEmail, formText, formMixed = "ip", "email", "text", "mixed"
	formVersion, formInteger, formNumeric  = "version", "integer", "numeric"
	formJSON, formUUID, formSimple         = "json", "uuid", "simple"
	formLocal, formDotted                  = "local", "dotted" // ISO 8601 without a zone; 2.3.0
	formMasked, formMaskedMixed            = "masked", "masked_mixed"
	formUnix                               = "unix" // and unix_ms, unix_us, unix_ns
	formClearIP, formClearEmail            = "clear_ip", "clear_email"
	formBase64                             = "base64"
)

const (
	strings1 = `"`
	numbers1 = "-0123456789"
)

// forms lists the forms, each before those that accept more.
func forms() []*form {
	return []*form{
		{id: formUUID, field: "type: uuid", column: "uuid", what: "UUIDs", kinds: strings1, only: ofLength(36, 36)},
		{id: formSimple, field: "type: uuid, format: simple", column: "uuid", what: "UUIDs without dashes", kinds: strings1, only: simpleUUID},
		{id: "timestamp", field: "type: timestamp", column: "timestamptz", what: "RFC 3339", kinds: strings1, only: ofLength(19, 64)},
		{id: "iso8601", field: "type: timestamp, format: iso8601", column: "timestamptz", what: "ISO 8601 with a zone", kinds: strings1, only: ofLength(14, 64)},
		{id: "date", field: "type: date", column: "date", what: "dates", kinds: strings1, only: ofLength(10, 10)},
		{id: "time", field: "type: time", column: "time", what: "times of day", kinds: strings1, only: matching(timeText)},
		{id: "interval", field: "type: interval", column: "interval", what: "ISO 8601 durations", kinds: strings1, only: matching(intervalText)},
		{id: formIP, field: "type: ip, personal: true", column: maskColumn, masked: true, what: "IP addresses", kinds: strings1, only: ofLength(2, 64)},
		{id: formEmail, field: "type: email, personal: true", column: maskColumn, masked: true, what: "e-mail addresses", kinds: strings1, only: matching(emailText)},
		{id: formVersion, field: "type: version", column: "text", what: "versions", kinds: strings1, only: matching(digitText)},
		{id: formDotted, field: "type: version", column: "text", what: "versions", kinds: strings1, only: matching(dottedText)},
		{id: "boolean_text", field: "type: boolean, accept: [string]", column: "boolean", what: "booleans in strings", kinds: strings1, only: ofLength(1, 5)},
		{id: "boolean", field: "type: boolean", column: "boolean", what: "booleans", kinds: "tf"},
		{id: formInteger, field: "type: integer", column: "bigint", what: "integers", kinds: numbers1},
		{id: "integer_text", field: "type: integer, accept: [string]", column: "bigint", what: "integers, in strings", kinds: strings1 + numbers1, only: plainNumber},
		{id: formNumeric, field: "type: numeric", column: "numeric", what: "numbers", kinds: numbers1},
		{id: "numeric_text", field: "type: numeric, accept: [string]", column: "numeric", what: "numbers, in strings", kinds: strings1 + numbers1, only: plainNumber},
		{id: formLocal, field: "type: text", column: "text", what: "ISO 8601 without a zone (format: iso8601 with a zone reads them as times)", kinds: strings1, only: matching(localText)},
		{id: formText, field: "type: text", column: "text", what: "text", kinds: strings1},
		{id: formMixed, field: "type: text, accept: [number]", column: "text", what: "text or numbers", kinds: strings1 + numbers1},
		{id: formMasked, field: "type: text, personal: true", column: maskColumn, masked: true, what: "text", kinds: strings1},
		{id: formMaskedMixed, field: "type: text, accept: [number], personal: true", column: maskColumn, masked: true, what: "text or numbers", kinds: strings1 + numbers1},
		{id: formUnix, field: "type: timestamp, format: unix", column: "timestamptz", what: "Unix time in seconds by their magnitude", kinds: numbers1, only: unixTime(1)},
		{id: "unix_ms", field: "type: timestamp, format: unix_ms", column: "timestamptz", what: "Unix time in milliseconds by their magnitude", kinds: numbers1, only: unixTime(1e3)},
		{id: "unix_us", field: "type: timestamp, format: unix_us", column: "timestamptz", what: "Unix time in microseconds by their magnitude", kinds: numbers1, only: unixTime(1e6)},
		{id: "unix_ns", field: "type: timestamp, format: unix_ns", column: "timestamptz", what: "Unix time in nanoseconds by their magnitude", kinds: numbers1, only: unixTime(1e9)},
	}
}

// columnForms lists the forms that are drafted for a column of their own only: text may look like
// base64 by chance, and an address in clear must be asked for.
func columnForms() []*form {
	return []*form{
		{id: formBase64, field: "type: base64", what: "base64", kinds: strings1},
		{id: formClearIP, field: "type: ip, personal: false", what: "IP addresses", kinds: strings1, only: ofLength(2, 64)},
		{id: formClearEmail, field: "type: email, personal: false", what: "e-mail addresses", kinds: strings1, only: matching(emailText)},
	}
}

// listForms lists the forms of an array of scalars.
func listForms() []*form {
	var all []*form
	for _, f := range []struct{ field, column, what string }{
		{"uuid", "uuid[]", "UUIDs"},
		{"timestamp", "timestamptz[]", "RFC 3339"},
		{"date", "date[]", "dates"},
		{"boolean", "boolean[]", "booleans"},
		{"integer", "bigint[]", "integers"},
		{"numeric", "numeric[]", "numbers"},
		{"text", "text[]", "text"},
	} {
		all = append(all, &form{id: "list_" + f.field, field: "type: " + f.field + ", list: true", column: f.column, what: "lists of " + f.what, kinds: "["})
	}
	return all
}

// probe is a model of one field, and what reads bodies with it.
type probe struct {
	reader *model.Reader
	rows   *batch.Batch
	body   []byte
}

// maskColumn is the column of a mask.
var maskColumn = fmt.Sprintf("varchar(%d)", mask.Size)

// loads reports whether a model with the form loads.
func (f *form) loads() bool {
	if !f.probed {
		f.read, f.probed = newProbe(f), true
	}
	return f.read != nil
}

// newProbe returns nil if a model with such a field and column does not load.
func newProbe(f *form) *probe {
	text := fmt.Sprintf("model: probe\ntable: probe\nkey: [message_id]\nfields:\n  v: {%s}\ncolumns:\n  v: {%s}\n  message_id: {type: uuid, meta: message_id}\n", f.field, f.columnSettings("v"))
	m, err := model.Parse("probe", []byte(text))
	if err != nil {
		return nil
	}
	return &probe{reader: m.Reader(mask.Unkeyed()), rows: batch.New(m.Table)}
}

// columnSettings returns the settings of the column that a field goes to.
func (f *form) columnSettings(from string) string {
	settings := "type: " + scalarText(f.column) + ", from: " + scalarText(from)
	if f.masked {
		settings += ", masked: true"
	}
	if f.asText {
		settings += ", as: text"
	}
	return settings
}

// accepts reports whether the model accepts a valid JSON value.
func (p *probe) accepts(v []byte) bool {
	verdict := p.verdict(v)
	return verdict.IsZero()
}

// verdict returns what the model says of a valid JSON value.
func (p *probe) verdict(v []byte) message.Verdict {
	p.body = append(append(append(p.body[:0], `{"v":`...), v...), '}')
	p.rows.Reset()
	return p.reader.Append(p.rows, 0, 0, &message.Message{ID: "00000000-0000-4000-8000-000000000000", Body: p.body, HasBody: true, HasSent: true})
}

// scalarValue is a string, a number or a literal.
type scalarValue struct {
	raw  []byte
	text []byte // of a string, or the number itself
}

func ofLength(from, to int) func(*scalarValue) bool {
	return func(v *scalarValue) bool { return from <= len(v.text) && len(v.text) <= to }
}

func matching(re *regexp.Regexp) func(*scalarValue) bool {
	return func(v *scalarValue) bool { return re.Match(v.text) }
}

// What the texts of some forms look like.
var (
	timeText     = regexp.MustCompile(`^[0-9]{2}:[0-9]{2}`)
	intervalText = regexp.MustCompile(`^-?P`)
	emailText    = regexp.MustCompile(`^\s*[^\s@/:?&=]+@[^\s@/:?&=.]+([.][^\s@/:?&=.]+)+\s*$`) // and nothing else
	digitText    = regexp.MustCompile(`^[0-9]`)
	dottedText   = regexp.MustCompile(`^[0-9]+[.][0-9]+[.][0-9]`)
	fineText     = regexp.MustCompile(`[.,][0-9]{7}|^[0-9]{19}$`) // Unix time in nanoseconds too
	localText    = regexp.MustCompile(`^[0-9]{4}-?[0-9]{2}-?[0-9]{2}[T ][0-9]{2}:?[0-9]{2}[0-9:.,]*$`)
	simpleText   = regexp.MustCompile(`(?i)^[0-9a-f]{12}[1-8][0-9a-f]{3}[89ab][0-9a-f]{15}$`)
	plainText    = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})([.][0-9]{1,30})?$`)
)

// simpleUUID matches 32 hexadecimal digits with the version and the variant of a UUID, which a hash
// has by chance only.
var simpleUUID = matching(simpleText)

// plainNumber matches numbers that lose nothing if they are stored as numbers: without leading zeros,
// and not as long as an account number.
var plainNumber = matching(plainText)

// unixTime matches the whole numbers of the years 2000 to 2100.
func unixTime(unit float64) func(*scalarValue) bool {
	const from, to = 946684800, 4102444800
	return func(v *scalarValue) bool {
		n, err := strconv.ParseFloat(string(v.text), 64)
		return err == nil && from*unit <= n && n < to*unit && (unit == 1 || !bytes.ContainsAny(v.text, ".eE"))
	}
}

// catalog has the forms of members that no column is known for.
type catalog struct{ scalars, lists []*form }

func newCatalog() *catalog { return &catalog{scalars: forms(), lists: listForms()} }

// newJSON returns the form of values that have no other.
func newJSON(column string) *form {
	return &form{id: formJSON, field: "type: json", column: column, what: "JSON"}
}

// isText reports whether a text of any length has the form.
func (f *form) isText() bool {
	return slices.Contains([]string{formText, formMixed, formMasked, formMaskedMixed, formBase64}, f.id)
}

func (f *form) triedOn(v *scalarValue) bool {
	return strings.IndexByte(f.kinds, v.raw[0]) >= 0 && (f.only == nil || f.only(v))
}
