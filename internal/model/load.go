package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"sluice/internal/batch"
	"sluice/internal/mask"
)

// Load finds the model with the given name among the built-in ones, or reads the file if it is a
// path (it has a slash or ends in .yaml or .yml).
func Load(nameOrPath string, builtin fs.FS) (*Model, error) {
	if strings.ContainsAny(nameOrPath, `/\`) || strings.HasSuffix(nameOrPath, ".yaml") || strings.HasSuffix(nameOrPath, ".yml") {
		text, err := os.ReadFile(nameOrPath) //nolint:gosec // the user names it
		if err != nil {
			return nil, fmt.Errorf("read the model file: %w", err)
		}
		return Parse(nameOrPath, text)
	}
	text, err := fs.ReadFile(builtin, nameOrPath+".yaml")
	if err != nil {
		return nil, fmt.Errorf("no model is named %q; there are %s, or give the path of a file, as in ./%s.yaml", nameOrPath, strings.Join(names(builtin), ", "), nameOrPath)
	}
	return Parse("models/"+nameOrPath+".yaml", text)
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
	c := compiler{path: path, m: &Model{Table: &batch.Table{}, fields: map[string]int{}}}
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
	domain := m.Name
	if f.Domain.text != "" {
		domain = f.Domain.text
		if !isDomain(domain) {
			c.problem(f.Domain.line, "domain %q is not valid; use letters, digits, _ . and -", domain)
		}
	}
	if f.Table.text == "" {
		c.problem(0, "table is missing; name the table of the rows, as in table: user_logins")
	} else {
		schema, name, found := strings.Cut(f.Table.text, ".")
		if !found {
			schema, name = "", schema
		} else {
			c.identifier("schema", scalar{schema, f.Table.line})
		}
		c.identifier("table", scalar{name, f.Table.line})
		m.Table.Schema, m.Table.Name = schema, name
	}
	c.fields(f.Fields, domain)
	used := c.columns(f.Columns)
	for i, fl := range f.Fields {
		if !used[i] {
			c.problem(fl.line, "field %s has no column; remove it, or add a column with from: %s", fl.name, fl.name)
		}
	}
	c.key(f)
	for _, col := range m.Columns {
		m.Table.Columns = append(m.Table.Columns, batch.Column{
			Name: col.Name, Type: col.Type.String(), Kind: col.Type.kind(),
			NotNull: col.Field < 0 || m.Fields[col.Field].Required,
			Ledger:  m.Table.Ledger != "" && len(m.Table.Columns) >= len(f.Columns),
		})
	}
}

func (c *compiler) fields(fields []entry[fieldSpec], domain string) {
	if len(fields) == 0 {
		c.problem(0, "fields is missing; list the members of a body to read, as in fields: {user_id: {type: text}}")
	}
	for _, f := range fields {
		out := Field{Name: f.name, Type: FieldType(f.spec.Type.text), Required: f.spec.Required, Personal: f.spec.Personal, Domain: domain + "." + f.name}
		out.how = out.Type.find()
		line := max(f.line, f.spec.Type.line)
		switch {
		case f.name == "" || strings.ContainsAny(f.name, "\"\\") || strings.ContainsFunc(f.name, func(r rune) bool { return r < ' ' || r == '\uFFFD' }):
			c.problem(f.line, "field %q: a name must not contain quotes, backslashes or control characters", f.name)
		case f.spec.Type.text == "":
			c.problem(line, "field %s has no type; add one, as in type: text", f.name)
		case out.how.columns == nil:
			c.problem(line, "field %s has the unknown type %q; there are %s", f.name, out.Type, enumerate(FieldTypes(), "and"))
		case out.how.text == nil && out.how.value == nil && !out.Personal:
			c.problem(line, "field %s is of type %s, which is personal; add personal: true", f.name, out.Type)
		case out.Personal && out.how.mask == nil:
			maskable := slices.DeleteFunc(FieldTypes(), func(t FieldType) bool { return t.find().mask == nil })
			c.problem(line, "field %s is personal but of type %s; only %s can be masked", f.name, out.Type, enumerate(maskable, "and"))
		case f.spec.Domain.text != "" && !out.Personal:
			c.problem(f.spec.Domain.line, "field %s has a domain but is not personal; a domain is for masks: remove it, or add personal: true", f.name)
		case f.spec.Domain.text != "" && !isDomain(f.spec.Domain.text):
			c.problem(f.spec.Domain.line, "field %s: domain %q is not valid; use letters, digits, _ . and -", f.name, f.spec.Domain.text)
		}
		for _, other := range c.m.Fields {
			switch {
			case other.Name == f.name:
				c.problem(f.line, "field %s is defined twice", f.name)
			case strings.EqualFold(other.Name, f.name):
				c.problem(f.line, "fields %s and %s differ only in upper and lower case; rename one", other.Name, f.name)
			}
		}
		if f.spec.Domain.text != "" {
			out.Domain = f.spec.Domain.text
		}
		out.quoted = []byte(`"` + f.name + `"`)
		c.m.fields[string(out.quoted)] = len(c.m.Fields)
		c.m.Fields = append(c.m.Fields, out)
	}
}

// columns checks the columns and returns, per field, whether a column uses it.
func (c *compiler) columns(columns []entry[columnSpec]) []bool {
	used := make([]bool, len(c.m.Fields))
	if len(columns) == 0 {
		c.problem(0, "columns is missing; list where the fields go, as in columns: {user_id: {type: text, from: user_id}}")
	}
	for _, e := range columns {
		line := max(e.line, e.spec.Type.line)
		col := Column{Name: e.name, Field: -1, Masked: e.spec.Masked, Meta: Meta(e.spec.Meta.text)}
		c.identifier("column", scalar{e.name, e.line})
		var err error
		if col.Type, err = parseSQLType(e.spec.Type.text); err != nil {
			c.problem(line, "column %s: %v", e.name, err)
		}
		for _, other := range c.m.Columns {
			if other.Name == e.name {
				c.problem(e.line, "column %s is defined twice", e.name)
			}
		}
		switch {
		case (e.spec.From.text == "") == (e.spec.Meta.text == ""):
			c.problem(line, "column %s needs either from: <field> or meta: <sent_at, sent_date, message_id or mask_key>", e.name)
		case e.spec.Meta.text != "":
			c.metaColumn(line, e, col, err == nil)
		default:
			col.Field = slices.IndexFunc(c.m.Fields, func(f Field) bool { return f.Name == e.spec.From.text })
			if col.Field < 0 {
				c.problem(e.spec.From.line, "column %s is from the field %q, which is not defined; add it to fields, or correct the name", e.name, e.spec.From.text)
				break
			}
			used[col.Field] = true
			col.Major = c.part(e, c.m.Fields[col.Field])
			c.fieldColumn(line, col, err == nil)
		}
		c.m.Columns = append(c.m.Columns, col)
	}
	return used
}

func (c *compiler) metaColumn(line int, e entry[columnSpec], col Column, typed bool) {
	types, ok := metaAccepts[col.Meta]
	switch {
	case !ok:
		c.problem(e.spec.Meta.line, "column %s: unknown meta %q; use sent_at, sent_date, message_id or mask_key", e.name, col.Meta)
	case e.spec.Masked || e.spec.Part.text != "":
		c.problem(line, "column %s holds %s, which can be neither masked nor split; remove masked and part", e.name, col.Meta)
	case typed && !slices.Contains(types, col.Type.Base):
		c.problem(line, "column %s of type %s cannot hold %s; use %s", e.name, col.Type, col.Meta, strings.Join(types, " or "))
	case typed && col.Meta == MetaMaskKey && col.Type.Base == "varchar" && col.Type.Length < 32:
		c.problem(line, "column %s is too narrow; ids of keys have up to 32 characters: use varchar(32)", e.name)
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
	if col.Major {
		types = integers
	}
	switch {
	case f.Personal && !col.Masked:
		c.problem(line, "column %s would store the personal field %s in clear text; add masked: true", col.Name, f.Name)
	case !f.Personal && col.Masked:
		c.problem(line, "column %s is masked, but field %s is not personal; add personal: true to the field", col.Name, f.Name)
	case typed && types != nil && !slices.Contains(types, col.Type.Base):
		c.problem(line, "column %s of type %s cannot hold field %s of type %s; use %s", col.Name, col.Type, f.Name, f.Type, strings.Join(types, " or "))
	case typed && col.Masked && col.Type.Base == "varchar" && col.Type.Length < mask.Size:
		c.problem(line, "column %s is too narrow; a mask has %[2]d characters: use varchar(%[2]d)", col.Name, mask.Size)
	}
}

// key checks the key: what makes a row the same row on every delivery.
func (c *compiler) key(f file) {
	m := c.m
	switch {
	case len(f.Key) > 0 && f.Ledger.text != "":
		c.problem(f.Ledger.line, "key and ledger are both set; a ledger is for a table without a key: remove one")
	case f.Ledger.text != "":
		c.identifier("ledger", f.Ledger)
		if f.Ledger.text == m.Table.Name { // it is in the table's schema
			c.problem(f.Ledger.line, "the ledger must be another table than %s, which holds the rows; name another, as in ledger: sluice_ledger", f.Ledger.text)
		}
		m.Table.Ledger = f.Ledger.text
		n := len(m.Columns)
		m.Columns = append(m.Columns,
			Column{Name: "sent_at", Type: SQLType{Base: "timestamptz"}, Field: -1, Meta: MetaSentAt},
			Column{Name: "message_id", Type: SQLType{Base: "uuid"}, Field: -1, Meta: MetaMessageID})
		m.Table.Key = []int{n, n + 1}
	case len(f.Key) == 0:
		c.problem(0, "key is missing; name the columns that are the same on every delivery of a message, as in key: [sent_at, message_id], or for a table without a key, name a ledger, as in ledger: sluice_ledger")
	}
	for _, k := range f.Key {
		i := slices.IndexFunc(m.Columns, func(col Column) bool { return col.Name == k.text })
		switch {
		case i < 0:
			c.problem(k.line, "key column %s is not defined; add it to columns, or correct the name", k.text)
		case slices.Contains(m.Table.Key, i):
			c.problem(k.line, "key column %s is named twice", k.text)
		case m.Columns[i].Field >= 0 && !m.Fields[m.Columns[i].Field].Required:
			c.problem(k.line, "key column %s can be NULL, which equals nothing; add required: true to field %s", k.text, m.Fields[m.Columns[i].Field].Name)
		case m.Columns[i].Type.Base == "json" || m.Columns[i].Type.Base == "jsonb":
			c.problem(k.line, "key column %s is of type %s, which cannot be in a key; use another column", k.text, m.Columns[i].Type)
		case m.Columns[i].Meta == MetaMaskKey || m.Columns[i].Masked:
			c.problem(k.line, "key column %s changes with the mask key, so a message would be stored again after a rotation; use another column", k.text)
		default:
			m.Table.Key = append(m.Table.Key, i)
		}
	}
	if len(f.Key) > 0 && len(m.Table.Key) == len(f.Key) && !slices.ContainsFunc(m.Table.Key, c.distinguishes) {
		c.problem(f.Key[0].line, "the key is the sent time alone, and two messages can be sent in the same millisecond; add the column of message_id, as in key: [sent_at, message_id]")
	}
}

// distinguishes reports whether a column can differ between two messages that were sent in the same
// millisecond: with a key that cannot, the second one is lost as a duplicate.
func (c *compiler) distinguishes(column int) bool {
	col := c.m.Columns[column]
	return col.Field >= 0 || col.Meta == MetaMessageID
}
