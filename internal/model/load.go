package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// Load finds the model with the given name among the built-in ones, or reads the file if it is a
// path (it has a slash or ends in .yaml or .yml).
func Load(nameOrPath string, builtin fs.FS) (*Model, error) {
	if isPath(nameOrPath) {
		text, err := os.ReadFile(nameOrPath) //nolint:gosec // the user names it
		if err != nil {
			return nil, fmt.Errorf("read the model file: %w", err)
		}
		return Parse(nameOrPath, text)
	}
	text, err := fs.ReadFile(builtin, nameOrPath+".yaml")
	if err != nil {
		path := "give the path of a file, as in ./" + nameOrPath + ".yaml"
		if isFolder(nameOrPath) {
			path = "for the folder of that name write ./" + nameOrPath
		}
		return nil, fmt.Errorf("no model is named %q; there are %s, or %s", nameOrPath, strings.Join(names(builtin), ", "), path)
	}
	return Parse("models/"+nameOrPath+".yaml", text)
}

// isPath reports whether a text is a path, and not the name of a model.
func isPath(text string) bool { return strings.ContainsAny(text, `/\`) || isYAML(text) }

func isYAML(path string) bool {
	return strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")
}

// names lists the models in a file system.
func names(builtin fs.FS) []string {
	paths, _ := fs.Glob(builtin, "*.yaml") // the pattern is valid
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(path.Base(p), ".yaml")
	}
	return paths
}

// Parse reads and checks the text of a model file. The error lists every problem, one per line:
// file, line and field. path is for the errors only.
func Parse(path string, text []byte) (*Model, error) {
	c := compiler{path: path, fieldOf: map[string]int{}, m: &Model{path: path, MaxUnwrapped: defaultUnwrapped}}
	f, err := c.read(text)
	switch {
	case errors.Is(err, errNoModel):
		return nil, fmt.Errorf("%s is not a model file; one begins with lines such as model: <name> and table: <name>, as in models/orders.yaml", path)
	case err != nil:
		return nil, err
	case len(c.problems) == 0: // otherwise these would cause more of them
		c.compile(f)
	}
	if len(c.problems) > 0 {
		return nil, errors.Join(c.problems...)
	}
	return c.m, nil
}

type compiler struct {
	path     string
	m        *Model
	problems []error
	fieldOf  map[string]int // index of a field by its name
	// fieldLines has the line of each field. fieldTwice: two have one name.
	fieldLines []int
	fieldTwice bool
	// defaultLines has the line of each field's default, for problems that are found later.
	defaultLines []int
}

func (c *compiler) problem(line int, format string, args ...any) {
	where := c.path
	if line > 0 {
		where = fmt.Sprintf("%s:%d", c.path, line)
	}
	c.problems = append(c.problems, fmt.Errorf("%s: %s", where, fmt.Sprintf(format, args...)))
}

const (
	wordCharacters   = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	domainCharacters = wordCharacters + ".-"
)

// isIdentifier reports whether a text is a name that SQL accepts without surprises.
func isIdentifier(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, wordCharacters) == "" && (s[0] < '0' || s[0] > '9')
}

func isDomain(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, domainCharacters) == ""
}

// isAttribute reports whether a message attribute can have a name.
func isAttribute(s string) bool { return len(s) <= 256 && strings.Trim(s, domainCharacters) == "" }

func (c *compiler) identifier(what string, s scalar) {
	if !isIdentifier(s.text) {
		c.problem(s.line, "%s %q is not a valid name; use up to 63 of a to z, A to Z, digits and _, not beginning with a digit", what, s.text)
	}
}

func (c *compiler) compile(f file) {
	m := c.m
	if f.Model.text == "" {
		c.problem(0, "model is missing; name it, as in model: user_logins")
	} else {
		c.identifier("model", f.Model)
	}
	m.Name = f.Model.text
	c.unwrap(f)
	c.takes(f)
	if f.Ignore {
		c.ignores(f)
		return
	}
	m.Table = &batch.Table{Several: f.Rows.line > 0}
	domain := m.Name
	if f.Domain.line > 0 {
		domain = f.Domain.text
		if !isDomain(domain) {
			c.problem(f.Domain.line, "domain %q is not valid; use letters, digits, _ . and -", domain)
		}
	}
	if f.Table.text == "" {
		c.problem(0, "table is missing; name the table of the rows, as in table: user_logins")
	} else {
		c.tableName(m.Table, "table", f.Table)
	}
	c.rows(f)
	tables, ok := c.tables(f)
	if !ok {
		return
	}
	for i := range tables {
		c.fields(&tables[i], domain)
	}
	if c.fieldTwice { // which of them a column means, nobody knows
		return
	}
	used := make([]bool, len(m.Fields))
	for i := range tables {
		c.columns(&tables[i], used)
	}
	n := 0
	for _, t := range tables {
		t.m.Fields = m.Fields
		for _, fl := range t.fields {
			if !used[n] {
				c.problem(fl.line, "field %s has no column; remove it, or add a column with from: %s", fl.name, fl.name)
			}
			n++
		}
	}
	for i := range tables {
		t := &tables[i]
		if t.m != m {
			c.parent(t)
		}
		c.key(t)
		for _, k := range t.m.Table.Key {
			if field := t.m.Columns[k].Field; field >= 0 {
				m.Fields[field].exact = true
			}
		}
		c.indexes(t)
	}
	m.Table.KeyOfMessage = slices.ContainsFunc(m.Table.Key, func(i int) bool { return m.Columns[i].Meta == MetaMessageID })
	c.onConflict(f)
	for i := range tables {
		tables[i].m.batchColumns(len(tables[i].columns))
	}
	c.settle(tables)
	for i := range tables {
		if len(c.problems) == 0 {
			c.tryDefaults(tables[i].m)
		}
	}
}

// tableSpec is what a file says of one table: its own, or a child.
type tableSpec struct {
	m       *Model // of the table
	what    string // which table it is, for problems; "" for the file's own
	line    int    // where it begins, 0 for the file's own
	key     []scalar
	ledger  scalar
	index   [][]scalar
	fields  []entry[fieldSpec]
	columns []entry[columnSpec]
	lacks   []string // the columns of the parent's key that it does not have
}

// tables lists the tables of a file, its own first. ok: the file's own can have children; otherwise
// further problems would only follow from that.
func (c *compiler) tables(f file) (all []tableSpec, ok bool) {
	own := tableSpec{m: c.m, key: f.Key, ledger: f.Ledger, index: f.Index, fields: f.Fields, columns: f.Columns}
	if f.Rows.line > 0 {
		c.m.rows = c.elements("rows", f.Rows)
	}
	all = []tableSpec{own}
	switch {
	case len(f.Also) == 0:
		return all, true
	case f.Rows.line > 0:
		c.problem(f.Rows.line, "rows and also are both set; also is for tables whose rows belong to one row of a message: remove one")
		return nil, false
	case f.Ledger.line > 0:
		c.problem(f.Ledger.line, "ledger and also are both set; the rows of another table refer to the key, which a table with a ledger does not have: add a key instead of the ledger, or remove also")
		return nil, false
	case len(f.Also) > maxChildren:
		c.problem(f.Also[0].line, "also has more than %d tables", maxChildren)
	}
	for _, e := range f.Also {
		all = append(all, c.child(e))
	}
	return all, true
}

// tableName reads the name of a table, which may have a schema.
func (c *compiler) tableName(t *batch.Table, what string, name scalar) {
	schema, table, found := strings.Cut(name.text, ".")
	if !found {
		schema, table = t.Schema, schema
	} else {
		c.identifier("schema", scalar{schema, name.line})
	}
	c.identifier(what, scalar{table, name.line})
	t.Schema, t.Name = schema, table
}

// batchColumns makes the columns of the batch's table: those of the model file come first, and there
// are given of them. The rest are the ledger's.
func (m *Model) batchColumns(given int) {
	for i, col := range m.Columns {
		out := col.Type.batchColumn(col.Name)
		if col.Masked {
			out.Masked = mask.Size
		}
		out.Constant = col.Field >= 0 && m.Fields[col.Field].Constant
		out.NotNull = m.notNull(i)
		out.NewerBy, out.MessageID, out.Compared = col.NewerBy, col.Meta == MetaMessageID, m.compared(i)
		out.Ledger = m.Table.Ledger != "" && i >= given
		m.Table.Columns = append(m.Table.Columns, out)
	}
}

// settle completes what is read of a body, and gives it to all tables.
func (c *compiler) settle(tables []tableSpec) {
	m := c.m
	for i := range m.layers {
		m.layers[i].root.settle(false)
	}
	for _, t := range tables {
		if e := t.m.rows; e != nil {
			e.root.settle(false)
			e.root.each(func(slot int) { e.slots = append(e.slots, slot) })
		}
		if t.m != m {
			t.m.Name, t.m.layers, t.m.slots, t.m.ForeignKeyReceives = m.Name, m.layers, m.slots, m.ForeignKeyReceives
		}
	}
}

// unwrap makes the layers of the body.
func (c *compiler) unwrap(f file) {
	m := c.m
	add := func() *layer {
		m.layers = append(m.layers, layer{root: newNode(nil, ""), next: -1})
		return &m.layers[len(m.layers)-1]
	}
	l := add()
	for _, s := range f.Unwrap {
		if s.codec.text != "" {
			i := slices.IndexFunc(codecs, func(known codec) bool { return known.name == s.codec.text })
			if i < 0 {
				c.problem(s.codec.line, "unwrap has the unknown step %q; there are base64, gzip, zstd and {json: <path>}", s.codec.text)
				continue
			}
			l.codecs = append(l.codecs, codecs[i])
			continue
		}
		p, err := parsePath(s.json.text)
		if err != nil {
			c.problem(s.json.line, "unwrap: json: %q is not a path: %v", s.json.text, err)
			continue
		}
		l.next, l.unwraps = m.slot(l.root, p, ""), p.String()
		l = add()
	}
	if len(m.layers) > maxLayers {
		c.problem(f.Unwrap[0].json.line+f.Unwrap[0].codec.line, "unwrap has more than %d steps with json", maxLayers-1)
	}
	switch n := f.MaxUnwrapped; {
	case n.json == nil:
	case len(f.Unwrap) == 0:
		c.problem(n.line, "max_unwrapped_bytes is for models with unwrap; remove it")
	default:
		m.MaxUnwrapped = c.number("max_unwrapped_bytes", n, 1, maxUnwrapped)
	}
}

// maxLayers bounds the JSON documents in each other.
const maxLayers = 8

// number reads an integer within limits.
func (c *compiler) number(what string, l literal, least, most int) int {
	n, err := strconv.Atoi(string(l.json))
	if err != nil || n < least || n > most {
		c.problem(l.line, "%s must be an integer from %d to %d", what, least, most)
	}
	return n
}

// rows checks the settings that are about whole rows.
func (c *compiler) rows(f file) {
	m := c.m
	m.AllowEmpty = f.AllowEmpty
	m.RejectUnknown = c.choice("unknown", f.Unknown, "ignore", "reject") == "reject"
	returns := c.choice("foreign_key", f.ForeignKey, "reject", "return") == "return"
	switch {
	case returns && f.Receives.json != nil:
		m.ForeignKeyReceives = c.number("foreign_key_receives", f.Receives, 2, 1000)
	case returns:
		m.ForeignKeyReceives = defaultReceives
	case f.Receives.json != nil:
		c.problem(f.Receives.line, "foreign_key_receives is for foreign_key: return; add that, or remove it")
	}
}

// defaultReceives is how often a message with foreign_key: return is received: with the back-off of
// sluice, about three hours.
const defaultReceives = 20

// choice checks that a text is one of a few; the first is the default.
func (c *compiler) choice(what string, s scalar, known ...string) string {
	switch {
	case s.text == "" && s.line == 0:
		return known[0]
	case !slices.Contains(known, s.text):
		c.problem(s.line, "%s: %q is not valid; use %s", what, s.text, enumerate(known, "or"))
	}
	return s.text
}

// slot returns the slot of the value at a path.
func (m *Model) slot(root *node, p Path, field string) int {
	n := root.add(p, field)
	if n.slot < 0 {
		n.slot = m.slots
		m.slots++
	}
	return n.slot
}

// indexes checks the indexes of a table.
func (c *compiler) indexes(t *tableSpec) {
	for _, names := range t.index {
		var index []int
		for _, name := range names {
			i := slices.IndexFunc(t.m.Columns, func(col Column) bool { return col.Name == name.text })
			switch {
			case i < 0:
				c.problem(name.line, "index: the column %s is not defined; add it to columns, or correct the name", name.text)
			case slices.Contains(index, i):
				c.problem(name.line, "index: the column %s is named twice", name.text)
			case t.m.Columns[i].Type.Base == "json" && !t.m.Columns[i].Type.AsText:
				c.problem(name.line, "index: the column %s is of type json, which has no order; use jsonb, or another column", name.text)
			}
			index = append(index, i)
		}
		if len(index) > 32 {
			c.problem(0, "index: an index has 1 to 32 columns, as in index: [[user_id, sent_at]]")
		}
		t.m.Table.Indexes = append(t.m.Table.Indexes, index)
	}
}

// tryDefaults reads each default and each constant of a table as a body's value is read, so that one
// that no row can hold does not load.
func (c *compiler) tryDefaults(m *Model) {
	r := c.m.Reader(mask.Unkeyed())
	b := batch.New(m.Table)
	b.Begin(0, 0)
	for i := range m.Columns {
		col := &m.Columns[i]
		if col.Field < 0 || c.m.Fields[col.Field].Default == nil {
			continue
		}
		f := &c.m.Fields[col.Field]
		reason := r.field(b, col, f, nil)
		if reason == "" {
			continue
		}
		what := "the default of field " + f.Name
		if f.Constant {
			what = "the value"
		}
		detail := reason.Explain()
		if d := r.target.detail; d != "" {
			detail = d
		}
		if reason == message.ReasonWrongType && f.Default[0] != '"' {
			detail += "; write a text in quotes"
		}
		c.problem(c.defaultLines[col.Field], "column %s of type %s cannot hold %s: %s: %s", col.Name, col.Type, what, reason, detail)
	}
	b.Cancel()
}

// Defaults returns what columns hold of an absent field, by column: the text of its default or of a
// constant, as a row has it. nil is none.
func (m *Model) Defaults() [][]byte {
	texts := make([][]byte, len(m.Columns))
	r := m.Reader(mask.Unkeyed())
	b := batch.New(m.Table)
	b.Begin(0, 0)
	for i := range m.Columns {
		c := &m.Columns[i]
		if c.Field < 0 || m.Fields[c.Field].Default == nil {
			b.Null()
			continue
		}
		r.field(b, c, &m.Fields[c.Field], nil) // tryDefaults has seen that it passes
	}
	b.End()
	b.Row(0, func(column int, v []byte) {
		if v != nil {
			texts[column] = b.Columns(0)[column].Kind.AppendText([]byte{}, v)
		}
	})
	return texts
}

func (c *compiler) fields(t *tableSpec, domain string) {
	if len(t.fields) == 0 {
		c.problem(t.line, "%sfields is missing; list the members of a body to read, as in fields: {user_id: {type: text}}", t.what)
	}
	for _, f := range t.fields {
		out := Field{Name: f.name, Type: FieldType(f.spec.Type.text), Required: f.spec.Required, Domain: domain + "." + f.name, List: f.spec.List, Default: f.spec.Default.json}
		out.Personal = f.spec.Personal != nil && *f.spec.Personal
		out.how = out.Type.find()
		line := max(f.line, f.spec.Type.line)
		switch {
		case f.name == "" || strings.ContainsAny(f.name, "\"\\") || strings.ContainsFunc(f.name, func(r rune) bool { return r < ' ' || r == '\uFFFD' }):
			c.problem(f.line, "field %q: a name must not contain quotes, backslashes or control characters", f.name)
		case f.spec.Type.text == "":
			c.problem(line, "field %s has no type; add one, as in type: text", f.name)
		case out.how.columns == nil:
			c.problem(line, "field %s has the unknown type %q; there are %s", f.name, out.Type, enumerate(FieldTypes(), "and"))
		case out.how.personal && f.spec.Personal == nil:
			c.problem(line, "field %s is of type %s, which is personal; add personal: true, or personal: false if it is to be stored as it was sent", f.name, out.Type)
		case out.Personal && out.how.mask == nil:
			maskable := slices.DeleteFunc(FieldTypes(), func(t FieldType) bool { return t.find().mask == nil })
			c.problem(line, "field %s is personal but of type %s; only %s can be masked", f.name, out.Type, enumerate(maskable, "and"))
		case out.Personal && out.List:
			c.problem(line, "field %s is personal and a list; only single values can be masked", f.name)
		case f.spec.Domain.line > 0 && !out.Personal:
			c.problem(f.spec.Domain.line, "field %s has a domain but is not personal; a domain is for masks: remove it, or add personal: true", f.name)
		case f.spec.Domain.line > 0 && !isDomain(f.spec.Domain.text):
			c.problem(f.spec.Domain.line, "field %s: domain %q is not valid; use letters, digits, _ . and -", f.name, f.spec.Domain.text)
		default:
			applies := true
			for _, s := range f.said {
				if !slices.Contains(everyType, s.text) && !slices.Contains(out.how.options, s.text) {
					applies = false
					c.problem(s.line, "field %s of type %s has no setting %s; there are %s", f.name, out.Type, s.text, enumerate(slices.Concat(everyType, out.how.options), "and"))
				}
			}
			if applies {
				c.checkOptions(&out, f)
			}
		}
		if other, twice := c.fieldOf[f.name]; twice {
			c.fieldTwice = true
			c.problem(f.line, "field %s is defined twice, here and in line %d; each field of a file has a name of its own: remove one, or rename it and give it a path, as in path: %s", f.name, c.fieldLines[other], Path{{Name: f.name}})
		}
		c.fieldOf[f.name], c.fieldLines = len(c.m.Fields), append(c.fieldLines, f.line)
		if f.spec.Domain.text != "" {
			out.Domain = f.spec.Domain.text
		}
		c.source(&out, f, t.m.rows)
		c.defaultLines = append(c.defaultLines, f.spec.Default.line)
		c.m.Fields = append(c.m.Fields, out)
	}
}

// source finds out where a field is read. within is the array whose elements its table has, nil for
// none.
func (c *compiler) source(f *Field, e entry[fieldSpec], within *elements) {
	spec := e.spec
	last := len(c.m.layers) - 1
	f.Layer, f.of = last, within
	if e.has("attribute") > 0 {
		f.Attribute, f.Layer, f.of = spec.Attribute.text, -1, nil
		switch {
		case len(spec.Path) > 0 || spec.Layer.json != nil:
			c.problem(spec.Attribute.line, "field %s is read from a message attribute; remove path and layer, or attribute", f.Name)
		case !isAttribute(f.Attribute):
			c.problem(spec.Attribute.line, "field %s: attribute %q is not a name that SQS allows; it has up to 256 letters, digits, _ - and .", f.Name, f.Attribute)
		}
		c.checkAttribute(f, spec.Attribute.line)
		f.slots = []int{c.m.slots}
		c.m.slots++
		return
	}
	if spec.Layer.json != nil {
		innermost := last
		if within != nil {
			innermost++ // an element is a layer
		}
		layer := c.layer("field "+f.Name, spec.Layer, innermost)
		if layer <= last {
			f.of = nil
		}
		f.Layer = max(0, min(layer, last))
	}
	if e.has("path") == 0 {
		if strings.ContainsAny(f.Name, "./$[") {
			c.problem(e.line, "field %s: the name looks like a path, and is read as the name of one member; write path: %q, or path: %q", f.Name, guessPath(f.Name), Path{{Name: f.Name}}.String())
		}
		f.Paths = []Path{{{Name: f.Name}}}
	}
	for _, text := range spec.Path {
		p, err := parsePath(text.text)
		if err != nil {
			c.problem(text.line, "field %s: %q is not a path: %v", f.Name, text.text, err)
			continue
		}
		f.Paths = append(f.Paths, p)
	}
	if e.has("path") > 0 && len(spec.Path) > maxCandidates {
		c.problem(e.has("path"), "field %s: path is one path, or a list of up to %d", f.Name, maxCandidates)
	}
	var root *node
	if f.of != nil {
		root = f.of.root
		f.of.reads = true
	} else {
		root = c.m.layers[f.Layer].root
		c.m.layers[f.Layer].fields, c.m.reads = true, true
	}
	for _, p := range f.Paths {
		c.checkCase(root, p, f.Name, e.line)
		f.slots = append(f.slots, c.m.slot(root, p, f.Name))
	}
}

// layer reads the number of a layer.
func (c *compiler) layer(what string, l literal, innermost int) int {
	if innermost == 0 && string(l.json) != "0" {
		c.problem(l.line, "%s: layer: the body has one layer, since the model has no step with json in unwrap; remove layer, or add unwrap, as in unwrap: [{json: $.Message}]", what)
		return 0
	}
	return c.number(what+": layer", l, 0, innermost)
}

// checkCase reports names of a path that differ in case only from names of others.
func (c *compiler) checkCase(root *node, p Path, field string, line int) {
	n := root
	for i, s := range p {
		if other := n.otherCase(s, field); other != nil {
			readers := fmt.Sprintf("fields %s and %s", other.field, field)
			switch {
			case other.field+field == "":
				readers = "two paths"
			case other.field == "" || field == "":
				readers = "two paths, one of field " + other.field + field
			}
			c.problem(line, "%s read names that differ only in upper and lower case, %s and %s; correct one", readers, other.path, p[:i+1])
		}
		n = n.step(s, p[:i+1], field)
	}
}

// maxCandidates bounds the paths of one field.
const maxCandidates = 16

// guessPath returns the path that a field's name seems to mean.
func guessPath(name string) string {
	var p Path
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return strings.ContainsRune("./$[]", r) }) {
		p = append(p, Segment{Name: part})
	}
	return p.String()
}

// maxColumns is how many columns a table of Postgres can have.
const maxColumns = 1600

// columns checks the columns of a table, and notes which fields they use.
func (c *compiler) columns(t *tableSpec, used []bool) {
	columns, names := t.columns, map[string]bool{}
	if len(columns) > maxColumns {
		c.problem(columns[maxColumns].line, "columns has more than %d, which is the most that a table of Postgres has", maxColumns)
	}
	if len(columns) == 0 {
		c.problem(t.line, "%scolumns is missing; list where the fields go, as in columns: {user_id: {type: text, from: user_id}}", t.what)
	}
	for _, e := range columns {
		line := max(e.line, e.spec.Type.line)
		col := Column{Name: e.name, Field: -1, Masked: e.spec.Masked, Meta: Meta(e.spec.Meta.text), AsText: e.has("as") > 0}
		c.identifier("column", scalar{e.name, e.line})
		c.choice("column "+e.name+": as", e.spec.As, "text")
		var err error
		if col.Type, err = parseSQLType(e.spec.Type.text, col.AsText); err != nil {
			c.problem(line, "column %s: %v", e.name, err)
		}
		if names[e.name] {
			c.problem(e.line, "column %s is defined twice", e.name)
		}
		names[e.name] = true
		switch {
		case sources(e) != 1:
			c.problem(line, "column %s needs either from: <field>, meta: <%s> or value: <a constant>", e.name, enumerate(metas(), "or"))
		case e.spec.Value.json != nil:
			c.constant(line, e, &col, err == nil)
		case e.spec.Meta.text != "":
			c.metaColumn(line, e, col, err == nil)
			col.ofElement = col.Meta == MetaRowNumber
			if col.ofElement && t.m.rows == nil {
				c.problem(e.spec.Meta.line, "column %s holds row_number, the number of an element among those that are the rows of a message; a message has one row here: remove the column, or add rows", e.name)
			}
		default:
			var ok bool
			if col.Field, ok = c.fieldOf[e.spec.From.text]; !ok {
				col.Field = -1
				c.problem(e.spec.From.line, "column %s is from the field %q, which is not defined; add it to fields, or correct the name", e.name, e.spec.From.text)
				break
			}
			used[col.Field] = true
			col.Major = c.part(e, c.m.Fields[col.Field])
			c.fieldColumn(line, col, err == nil)
			if of := c.m.Fields[col.Field].of; of != nil {
				col.ofElement = true
				if of != t.m.rows {
					c.problem(e.spec.From.line, "column %s is from the field %s, which the elements of %s have; only the table of these can hold it", e.name, e.spec.From.text, of.name)
				}
			}
		}
		t.m.Columns = append(t.m.Columns, col)
	}
}

// sources counts how many settings say what a column holds.
func sources(e entry[columnSpec]) (n int) {
	for _, name := range []string{"from", "meta", "value"} {
		if e.has(name) > 0 {
			n++
		}
	}
	return n
}

// constant makes a field of a column's value: one that is absent from every message.
func (c *compiler) constant(line int, e entry[columnSpec], col *Column, typed bool) {
	if e.spec.Masked || e.spec.Part.text != "" {
		c.problem(line, "column %s holds a value, which can be neither masked nor split; remove masked and part", e.name)
	}
	f := Field{Name: e.name, Default: e.spec.Value.json, Constant: true, Layer: -1}
	for _, t := range fieldTypes {
		if f.Type == "" && (slices.Contains(t.columns, col.Type.Base) || col.AsText && t.name == TypeText) {
			f.Type, f.how = t.name, t
		}
	}
	if typed && (f.Type == "" || col.Type.List) {
		c.problem(line, "column %s of type %s cannot hold a value; let the table have a DEFAULT, or add a field", e.name, col.Type)
	}
	col.Field = len(c.m.Fields)
	c.defaultLines = append(c.defaultLines, e.spec.Value.line)
	c.m.Fields = append(c.m.Fields, f)
}

func (c *compiler) metaColumn(line int, e entry[columnSpec], col Column, typed bool) {
	meta := col.Meta.find()
	switch {
	case meta.columns == nil:
		c.problem(e.spec.Meta.line, "column %s: unknown meta %q; use %s", e.name, col.Meta, enumerate(metas(), "or"))
	case e.spec.Masked || e.spec.Part.text != "":
		c.problem(line, "column %s holds %s, which can be neither masked nor split; remove masked and part", e.name, col.Meta)
	case col.AsText:
		c.problem(e.spec.As.line, "column %s holds %s, which is not read from text; remove as", e.name, col.Meta)
	case typed && !meta.holds(col.Type):
		c.problem(line, "column %s of type %s cannot hold %s; use %s", e.name, col.Type, col.Meta, strings.Join(meta.columns, " or "))
	case typed && meta.tooNarrow(col.Type) != "":
		c.problem(line, "column %s is too narrow; %s: use %s", e.name, meta.limit, meta.tooNarrow(col.Type))
	}
}

func (c *compiler) part(e entry[columnSpec], f Field) (major bool) {
	switch {
	case e.spec.Part.text == "":
	case e.spec.Part.text != "major":
		c.problem(e.spec.Part.line, "column %s: unknown part %q; the only part is major", e.name, e.spec.Part.text)
	case f.Type != TypeVersion:
		c.problem(e.spec.Part.line, "column %s: only a version has a major number, but field %s is of type %s", e.name, f.Name, f.Type)
	default:
		return true
	}
	return false
}

func (c *compiler) fieldColumn(line int, col Column, typed bool) {
	f := c.m.Fields[col.Field]
	types := f.Type.Columns()
	switch {
	case col.Major:
		types = integers
	case col.Masked:
		types = texts
	}
	switch {
	case f.Personal && !col.Masked:
		c.problem(line, "column %s would store the personal field %s in clear text; add masked: true", col.Name, f.Name)
	case !f.Personal && col.Masked:
		c.problem(line, "column %s is masked, but field %s is not personal; add personal: true to the field", col.Name, f.Name)
	case typed && col.Type.List != f.List:
		c.problem(line, "column %s of type %s cannot hold field %s; a field with list: true goes to an array, as in text[], and no other does", col.Name, col.Type, f.Name)
	case typed && types != nil && !slices.Contains(types, col.Type.Base) && (!col.AsText || col.Masked && col.Type.isAddress()):
		c.problem(line, "column %s of type %s cannot hold field %s of type %s; use %s", col.Name, col.Type, f.Name, f.Type, strings.Join(types, " or "))
	case typed && col.Masked && col.Type.Length > 0 && col.Type.Length < mask.Size:
		c.problem(line, "column %s is too narrow; a mask has %[2]d characters: use varchar(%[2]d)", col.Name, mask.Size)
	}
}

// key checks the key: what makes a row the same row on every delivery.
func (c *compiler) key(t *tableSpec) {
	m := t.m
	switch {
	case len(t.key) > 0 && t.ledger.line > 0:
		c.problem(t.ledger.line, "key and ledger are both set; a ledger is for a table without a key: remove one")
	case t.ledger.line > 0:
		c.identifier("ledger", t.ledger)
		if t.ledger.text == m.Table.Name { // it is in the table's schema
			c.problem(t.ledger.line, "the ledger must be another table than %s, which holds the rows; name another, as in ledger: sluice_ledger", t.ledger.text)
		}
		m.Table.Ledger = t.ledger.text
		n := len(m.Columns)
		m.Columns = append(m.Columns,
			Column{Name: "sent_at", Type: SQLType{Base: "timestamptz"}, Field: -1, Meta: MetaSentAt},
			Column{Name: "message_id", Type: SQLType{Base: "uuid"}, Field: -1, Meta: MetaMessageID})
		m.Table.Key = []int{n, n + 1}
	case len(t.key) == 0 && m.rows != nil:
		t.key = c.rowsKey(t)
	case len(t.key) == 0:
		c.problem(0, "key is missing; name the columns that are the same on every delivery of a message, as in key: [sent_at, message_id], or for a table without a key, name a ledger, as in ledger: sluice_ledger")
	}
	for _, k := range t.key {
		i := slices.IndexFunc(m.Columns, func(col Column) bool { return col.Name == k.text })
		switch {
		case i < 0 && slices.Contains(t.lacks, k.text): // reported
		case i < 0:
			c.problem(k.line, "key column %s is not defined; add it to columns, or correct the name", k.text)
		case slices.Contains(m.Table.Key, i):
			c.problem(k.line, "key column %s is named twice", k.text)
		case m.Columns[i].Field >= 0 && !m.Fields[m.Columns[i].Field].NotNull():
			c.problem(k.line, "key column %s can be NULL, which equals nothing; add required: true to field %s", k.text, m.Fields[m.Columns[i].Field].Name)
		case m.Columns[i].AsText && m.Columns[i].Field >= 0 && m.Fields[m.Columns[i].Field].how.notText:
			use := "another column"
			for _, base := range m.Fields[m.Columns[i].Field].Type.Columns() {
				if (SQLType{Base: base}).inKey() {
					use = "a column of type " + base
				}
			}
			c.problem(k.line, "key column %s is as: text, which would compare the text of a value of type %s, not the value; use %s", k.text, m.Fields[m.Columns[i].Field].Type, use)
		case !m.Columns[i].Type.inKey():
			c.problem(k.line, "key column %s is of type %s, which cannot be in a key; use another column", k.text, m.Columns[i].Type)
		case m.Columns[i].Field >= 0 && m.Fields[m.Columns[i].Field].Default != nil && !m.Fields[m.Columns[i].Field].Constant:
			c.problem(k.line, "key column %s has a default, so all messages without field %s would be one row; remove the default, or use another column", k.text, m.Fields[m.Columns[i].Field].Name)
		case m.Columns[i].Masked:
			c.problem(k.line, "key column %s %s; use another column", k.text, MetaMaskKey.find().noKey)
		case m.Columns[i].Meta.find().noKey != "":
			c.problem(k.line, "key column %s %s; use another column", k.text, m.Columns[i].Meta.find().noKey)
		default:
			m.Table.Key = append(m.Table.Key, i)
		}
	}
	if len(t.key) == 0 || len(m.Table.Key) < len(t.key) {
		return
	}
	if m.rows != nil {
		c.distinct(t)
	}
	if m == c.m && !slices.ContainsFunc(m.Table.Key, c.distinguishes) {
		c.problem(t.key[0].line, "the key is the sent time alone, and two messages can be sent in the same millisecond; add the column of message_id, as in key: [sent_at, message_id]")
	}
}

// distinguishes reports whether a column can differ between two messages that were sent in the same
// millisecond: with a key that cannot, the second one is lost as a duplicate.
func (c *compiler) distinguishes(column int) bool {
	col := c.m.Columns[column]
	return col.Field >= 0 && !c.m.Fields[col.Field].Constant || col.Meta == MetaMessageID
}
