package infer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

	"example.com/owner/sluice/internal/model"
)

var (
	plainScalar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	plainTable  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)?$`)
	plainType   = regexp.MustCompile(`^[a-z][a-z ]*[a-z](\([0-9]+\))?$`)
	plainPath   = regexp.MustCompile(`^\$(\.[A-Za-z_][A-Za-z0-9_]*)+$`)
	shortName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// yamlWords are words that some reader of YAML takes for something else than text.
	yamlWords = regexp.MustCompile(`(?i)^(null|true|false|yes|no|on|off|y|n|nan|inf)$`)
)

// scalarText returns a text as YAML reads it back, between braces too.
func scalarText(text string) string {
	if plainPath.MatchString(text) || (plainTable.MatchString(text) || plainType.MatchString(text)) && !yamlWords.MatchString(text) {
		return text
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// jsonPath returns a path as a model writes it (RFC 9535).
func jsonPath(path []step) string {
	var text strings.Builder
	text.WriteByte('$')
	for _, name := range path {
		switch {
		case name == "":
			text.WriteString("[0]")
		case name == eachElement:
			text.WriteString("[*]")
		case shortName.MatchString(name):
			text.WriteString("." + name)
		default:
			text.WriteString("['" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(name) + "']")
		}
	}
	return text.String()
}

// write returns the text of the draft, which is a model that loads.
func (d *drafter) write(name string, layers []layer, shape envelope) (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	bodies := humanize.Comma(int64(d.total)) + " bodies"
	if d.total == 1 {
		bodies = "1 body"
	}
	line("# Drafted by sluice infer from %s%s. Review it: a sample shows only what it has.", bodies, shape.said())
	if slices.ContainsFunc(d.fields, func(f field) bool { return f.personal != 0 }) {
		line("# What looks personal is masked. To store such a field in clear, remove personal (an ip or an email: personal: false) and masked, and change the column's type.")
	}
	for _, text := range d.Mixed() {
		line("# Mixed: %s.", text)
	}
	if d.rows != nil {
		line("# A row for each element of %[1]s: %[2]s bodies have several. What is beside %[1]s is the same in all of them; to store it once, in a row that theirs refer to, use also instead of rows.",
			jsonPath([]step{d.rows.name}), of(d.rows.longArray, d.total))
	}
	line("model: %s", scalarText(name))
	line("table: %s", scalarText(d.tableName(name)))
	keyAt := b.Len()
	if steps := unwrapSteps(layers); steps != "" {
		line("unwrap: %s", steps)
	}
	if d.rows != nil {
		line("rows: %s", scalarText(jsonPath([]step{d.rows.name, eachElement})))
	}
	ids := map[int]bool{}
	for _, f := range d.fields {
		if f.layer < 0 && f.item == (d.rows != nil) {
			ids[f.node.id] = true
		}
	}
	const rejected = "without this line they are rejected"
	switch {
	case d.rows == nil && layers[0].doc.without(ids):
		line("allow_empty: true # some bodies have no member that a field reads; " + rejected)
	case d.rows != nil && d.rows.filled < d.total:
		line("allow_empty: true # %s bodies have no element, and are ignored: nothing of them is stored; "+rejected, of(d.total-d.rows.filled, d.total))
	case d.rows != nil && d.rows.items.without(ids):
		line("allow_empty: true # some elements have no member that a field reads; " + rejected)
	}
	line("")
	line("fields:")
	for _, f := range d.fields {
		line("  %s: {%s} # %s", scalarText(f.name), f.settings(d.layers, d.rows != nil), f.evidence)
	}
	if out := d.leftOut(); len(out) > 0 {
		line("  # Left out:")
		for _, text := range out {
			line("  # %s", text)
		}
	}
	line("")
	line("columns:")
	if d.table != nil {
		d.tableColumns(line)
	} else {
		for _, f := range d.fields {
			line("  %s: {%s}", scalarText(f.column), f.form.columnSettings(f.name))
		}
	}
	meta := d.metaColumns(line)
	var problem error
	for _, key := range d.keys(meta, shape) {
		text := b.String()[:keyAt] + key + b.String()[keyAt:]
		if _, problem = model.Parse("draft", []byte(text)); problem == nil {
			return text, nil
		}
	}
	return "", problem
}

func (e envelope) said() string {
	if e.name == "" {
		return ""
	}
	return ", which are " + e.name
}

// settings returns the settings of a field.
func (f *field) settings(layers int, rows bool) string {
	text := f.form.field
	if f.filled {
		text += ", required: true"
	}
	path := f.path
	if f.item {
		path = path[2:]
	}
	if !slices.Equal(path, []step{f.name}) {
		text += ", path: " + scalarText(jsonPath(path))
	}
	switch {
	case f.layer >= 0 && layers > 1:
		text += fmt.Sprintf(", layer: %d", f.layer)
	case rows && !f.item:
		text += fmt.Sprintf(", layer: %d", layers-1)
	}
	return text
}

// unwrapSteps returns the steps to the innermost document, "" if the bodies are it.
func unwrapSteps(layers []layer) string {
	var steps []string
	for i, l := range layers {
		steps = append(steps, l.doc.steps...)
		if i < len(layers)-1 {
			steps = append(steps, "{json: "+scalarText(jsonPath(l.path))+"}")
		}
	}
	if steps == nil {
		return ""
	}
	return "[" + strings.Join(steps, ", ") + "]"
}

func (d *drafter) tableName(name string) string {
	switch {
	case d.table == nil:
		return name
	case d.table.Schema != "":
		return d.table.Schema + "." + d.table.Name
	default:
		return d.table.Name
	}
}

// metaNames are the names of the columns of metadata.
type metaNames struct{ sentAt, messageID, rowNumber string }

// metaColumns writes the columns of metadata.
func (d *drafter) metaColumns(line func(string, ...any)) (names metaNames) {
	if d.table != nil {
		return names
	}
	taken := d.columns
	if slices.ContainsFunc(d.fields, func(f field) bool { return f.form.masked }) {
		line("  %s: {type: varchar(32), meta: mask_key}", taken.take([]step{"mask_key"}, []step{"sqs", "mask_key"}))
	}
	names = metaNames{sentAt: taken.take([]step{"sent_at"}, []step{"sqs", "sent_at"}), messageID: taken.take([]step{"message_id"}, []step{"sqs", "message_id"})}
	line("  %s: {type: timestamptz, meta: sent_at}", names.sentAt)
	line("  %s: {type: uuid, meta: message_id}", names.messageID)
	if d.rows != nil {
		names.rowNumber = taken.take([]step{"row_number"}, []step{"sqs", "row_number"})
		line("  %s: {type: smallint, meta: row_number}", names.rowNumber)
	}
	return names
}

// tableColumns writes the columns of a table that exists, in its order.
func (d *drafter) tableColumns(line func(string, ...any)) {
	d.table.fillMeta(d.rows != nil)
	masks := slices.ContainsFunc(d.fields, func(f field) bool { return f.form.masked })
	for _, c := range d.table.Columns {
		i := slices.IndexFunc(d.fields, func(f field) bool { return f.column == c.Name })
		switch {
		case i >= 0:
			line("  %s: {%s}", scalarText(c.Name), d.fields[i].form.columnSettings(d.fields[i].name))
		case c.meta != "":
			line("  %s: {type: %s, meta: %s}", scalarText(c.Name), scalarText(spelled(c.Base)), c.meta)
			masks = masks && c.meta != "mask_key"
		case c.Generated:
			line("  # %s is left out: the table makes its values", comment(c.Name))
		case c.left && c.NotNull && !c.HasDefault:
			line("  # %s (%s) is NOT NULL without a default, and what would fill it is left out, see above: every row will be refused", comment(c.Name), comment(c.Type))
		case c.left:
			line("  # %s (%s): what would fill it is left out, see above", comment(c.Name), comment(c.Type))
		case c.NotNull && !c.HasDefault:
			line("  # %s (%s) is NOT NULL without a default, and nothing in the sample fills it: every row will be refused. Map it, or give it a default", comment(c.Name), comment(c.Type))
		default:
			line("  # %s (%s): nothing in the sample fills it", comment(c.Name), comment(c.Type))
		}
	}
	if masks {
		line("  # A column mask_key varchar(32) would tell which key made a row's masks: {type: varchar(32), meta: mask_key}")
	}
}

// comment returns a name of the database for a comment, in one line.
func comment(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, name)
}
