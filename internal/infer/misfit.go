package infer

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"example.com/owner/sluice/internal/message"
)

// class is what some values of a member are, to the column that has its name.
type class struct {
	what string // after a count: "are RFC 3339"
	fix  string // what the field or the column could be instead
	n    int
	// passed counts them by the forms of the node. fits: one of them reads the values; refused: but the
	// database does not take them.
	passed  []int
	fits    bool
	refused bool
	longest int                 // characters of a text that is too long
	labels  map[uint64]struct{} // hashes of those that an enum lacks, up to maxDistinct
}

// remedy is an option that no draft guesses, and that may read values which do not fit.
type remedy struct {
	what   string
	reads  func(v *scalarValue) bool
	passed int
}

// options are the fields of remedies, each before those that change more.
var options = []struct{ field, shown string }{
	{"type: timestamp, format: iso8601, zone: UTC", "format: iso8601 with zone, as in zone: Europe/Berlin,"},
	{"type: timestamp, format: unix, accept: [string]", "format: unix (or unix_ms, unix_us, unix_ns) with accept: [string]"},
	{"type: date, format: iso8601", "format: iso8601"},
	{"type: integer, accept: [string, number]", "accept: [string, number]"},
	{"type: boolean, accept: [string], trim: true, case: lower", "accept: [string] with trim: true and case: lower"},
	{"type: integer, accept: [string, number], trim: true", "accept: [string, number] with trim: true"},
	{"type: numeric, accept: [string], trim: true", "accept: [string] with trim: true"},
	{"type: timestamp, trim: true", "trim: true"},
	{"type: date, trim: true", "trim: true"},
	{"type: time, trim: true", "trim: true"},
	{"type: interval, trim: true", "trim: true"},
	{"type: uuid, trim: true", "trim: true"},
}

// remedies lists what may read the values of a column.
func (c *Column) remedies() (all []remedy) {
	if c.Enum != nil {
		label := func(what string, normal func([]byte) []byte) {
			all = append(all, remedy{what: what, reads: func(v *scalarValue) bool {
				return v.raw[0] == '"' && slices.Contains(c.Enum, string(normal(v.text)))
			}})
		}
		label("trim: true", bytes.TrimSpace)
		label("case: lower", bytes.ToLower)
		label("case: upper", bytes.ToUpper)
		return all
	}
	for _, o := range options {
		f := &form{field: o.field, column: spelled(c.Base)}
		if f.loads() {
			all = append(all, remedy{what: o.shown, reads: func(v *scalarValue) bool { return f.read.accepts(v.raw) }})
		}
	}
	return all
}

// maxClasses limits the classes of one member.
const maxClasses = 30

// fit counts a scalar by whether the column of its member takes it. h is its hash.
func (n *node) fit(v *scalarValue, h uint64) {
	fix := ""
	for i := range n.remedies {
		r := &n.remedies[i]
		if r.reads(v) {
			r.passed++
			fix = cmp.Or(fix, r.what+" reads them")
		}
	}
	c := n.column.classify(n, v)
	if fix != "" && !c.fits {
		c.fix = fix
	}
	i := slices.IndexFunc(n.classes, func(known class) bool { return known.what == c.what && known.fix == c.fix })
	if i < 0 {
		if len(n.classes) == maxClasses {
			return
		}
		c.passed, i = make([]int, len(n.tried)), len(n.classes)
		if c.refused {
			c.labels = map[uint64]struct{}{}
		}
		n.classes = append(n.classes, c)
	}
	known := &n.classes[i]
	known.n++
	known.longest = max(known.longest, c.longest)
	for j := range n.tried {
		known.passed[j] += n.tried[j].last
	}
	if known.labels != nil && len(known.labels) <= maxDistinct {
		known.labels[h] = struct{}{}
	}
}

// classify says what a value is to the column.
func (c *Column) classify(n *node, v *scalarValue) class {
	for i := range n.tried {
		f := n.tried[i].form
		if n.tried[i].last == 0 || f.masked {
			continue
		}
		length := 0
		if f.asText {
			length = lengthOf(c.Base)
		}
		switch characters := utf8.RuneCount(v.text); {
		case c.Enum != nil && v.raw[0] == '"' && !slices.Contains(c.Enum, string(v.text)):
			return class{what: "are not labels of the enum " + comment(c.Base), fix: fmt.Sprintf("ALTER TYPE %s ADD VALUE takes them up, else they are rejected", comment(c.Base)), refused: true}
		case length > 0 && characters > length:
			return class{what: fmt.Sprintf("are longer than %d characters, which %s holds", length, comment(c.Type)), longest: characters, refused: true}
		}
		return class{what: "are " + f.what, fix: f.field + " reads them, but not the others", fits: true}
	}
	if v.raw[0] == '"' && len(bytes.TrimSpace(v.text)) == 0 {
		return class{what: "are blank"}
	}
	if v.raw[0] == '"' && strings.HasPrefix(c.Base, "timestamp") && localText.Match(v.text) {
		return class{what: "are ISO 8601 without a zone"}
	}
	for _, f := range c.scalars {
		if f.masked || strings.IndexByte(f.kinds, v.raw[0]) < 0 {
			continue
		}
		bad := f.read.verdict(v.raw).Rejection
		if bad.Reason == "" {
			return class{what: "do not look like " + f.what, fix: f.field + " reads them"}
		}
		out := class{what: "do not fit: " + cmp.Or(bad.Detail, bad.Reason.Explain())}
		switch wider := c.wider(bad.Reason); {
		case bad.Reason == message.ReasonTooLong:
			out.longest = utf8.RuneCount(v.text)
			fallthrough
		case wider != "":
			out.fix = fmt.Sprintf("ALTER COLUMN %s TYPE %s would hold them", comment(c.Name), wider)
		}
		return out
	}
	return class{what: "are " + kindOf(v.raw).String()}
}

// lengthOf returns n of varchar(n) and char(n), 0 for other types.
func lengthOf(shown string) int {
	name, rest, _ := strings.Cut(spelled(shown), "(")
	if name != "varchar" && name != "char" {
		return 0
	}
	length, _ := strconv.Atoi(strings.TrimSuffix(rest, ")"))
	return length
}

// wider returns the type that holds what the column's rejects for a reason, "" if none is known.
func (c *Column) wider(why message.Reason) string {
	if c.Type != c.Base { // a domain
		return ""
	}
	name, _, _ := strings.Cut(spelled(c.Base), "(")
	switch {
	case why == message.ReasonTooLong:
		return "text"
	case why == message.ReasonNotInteger:
		return "numeric"
	case why != message.ReasonOutOfRange:
		return ""
	}
	return map[string]string{"smallint": "bigint", "integer": "bigint", "bigint": "numeric", "numeric": "numeric", "real": "double precision"}[name]
}

// unfit says which values of a member a form does not read, or the database refuses, and what would
// take them; chosen is nil if no form is drafted.
func (n *node) unfit(chosen *form, values int) string {
	at := slices.IndexFunc(n.tried, func(t tally) bool { return t.form == chosen })
	var all []class
	for _, c := range n.classes {
		if at >= 0 && !c.refused {
			c.n -= c.passed[at]
		}
		if c.n > 0 {
			all = append(all, c)
		}
	}
	if all == nil {
		return ""
	}
	whole := ""
	if i := slices.IndexFunc(n.remedies, func(r remedy) bool { return r.passed == values }); i >= 0 {
		whole = n.remedies[i].what
	}
	slices.SortStableFunc(all, func(a, b class) int { return b.n - a.n })
	var parts []string
	for _, c := range all {
		text := of(c.n, values) + " " + c.what
		if c.labels != nil && c.longest == 0 {
			text += fmt.Sprintf(" (distinct values: %d)", len(c.labels))
		}
		if c.longest > 0 {
			text += fmt.Sprintf(" (the longest has %s)", humanize.Comma(int64(c.longest)))
		}
		if c.fix != "" && whole == "" {
			text += ": " + c.fix
		}
		parts = append(parts, text)
	}
	text := strings.Join(parts, "; ")
	if whole != "" {
		text += "; " + whole + " reads all"
	}
	return text
}

// holdsNone says that a column holds no objects or arrays.
func (c *Column) holdsNone(found string) string {
	return fmt.Sprintf("column %s of type %s does not hold what is sent, %s: read a member of it by a path, or use a column of jsonb", c.Name, comment(c.Type), found)
}
