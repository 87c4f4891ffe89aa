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

// Load finds the model with the given name among the builtin ones, or reads
// the file when it is a path (it has a slash or ends in .yaml or .yml).
func Load(nameOrPath string, builtin fs.FS) (*Model, error) {
	if strings.ContainsAny(nameOrPath, `/\`) || strings.HasSuffix(nameOrPath, ".yaml") || strings.HasSuffix(nameOrPath, ".yml") {
		text, err := os.ReadFile(nameOrPath) //nolint:gosec // the operator names it
		if err != nil {
			return nil, fmt.Errorf("read the model file: %w", err)
		}
		return Parse(nameOrPath, text)
	}
	text, err := fs.ReadFile(builtin, nameOrPath+".yaml")
	if err != nil {
		return nil, fmt.Errorf("no model is named %q; there are %s, or give the path of a file, as in ./%s.yaml", nameOrPath, strings.Join(Names(builtin), ", "), nameOrPath)
	}
	return Parse("models/"+nameOrPath+".yaml", text)
}

// Names lists the models in a file system.
func Names(builtin fs.FS) []string {
	paths, _ := fs.Glob(builtin, "*.yaml") // the pattern is a good one
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(path.Base(p), ".yaml")
	}
	return paths
}

// Parse checks the text of a model file. The error lists every problem, a
// line each: file, line and field. path is for the errors only.
func Parse(path string, text []byte) (*Model, error) {
	c := compiler{path: path, m: &Model{Table: &batch.Table{}, fields: map[string]int{}}}
	f, err := c.read(text)
	switch {
	case errors.Is(err, errNoModel):
		return nil, fmt.Errorf("%s is no model file; one begins with lines such as model: <name> and table: <name>, as models/orders.yaml does", path)
	case err != nil:
		return nil, err
	case len(c.problems) == 0: // else more of them would follow from those
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

// isIdentifier says whether a text is a name that SQL takes without surprises.
func isIdentifier(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, wordCharacters) == "" && (s[0] < '0' || s[0] > '9')
}

func isDomain(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, domainCharacters) == ""
}

func (c *compiler) identifier(what string, s scalar) {
	if !isIdentifier(s.text) {
		c.problem(s.line, "%s %q is no name; use the letters a to z and A to Z, digits and _, up to 63, not a digit first", what, s.text)
	}
}

func (c *compiler) compile(f file) {
	m := c.m
	if f.Model.text == "" {
		c.problem(0, "no model: give the model a name, as in model: user_logins")
	} else {
		c.identifier("model", f.Model)
	}
	m.Name = f.Model.text
	domain := m.Name
	if f.Domain.text != "" {
		domain = f.Domain.text
		if !isDomain(domain) {
			c.problem(f.Domain.line, "domain %q: use letters, digits, _ . and -", domain)
		}
	}
	if f.Table.text == "" {
		c.problem(0, "no table: say which table the rows go to, as in table: user_logins")
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
			c.problem(fl.line, "field %s goes to no column; remove it, or add a column with from: %s", fl.name, fl.name)
		}
	}
	c.key(f)
	for _, col := range m.Columns {
		m.Table.Columns = append(m.Table.Columns, batch.Column{
			Name: col.Name, Type: col.Type.String(), Kind: kinds[col.Type.Base],
			NotNull: col.Field < 0 || m.Fields[col.Field].Required,
			Ledger:  m.Table.Ledger != "" && len(m.Table.Columns) >= len(f.Columns),
		})
	}
}

func (c *compiler) fields(fields []entry[fieldSpec], domain string) {
	if len(fields) == 0 {
		c.problem(0, "no fields: say which members of the body are read")
	}
	for _, f := range fields {
		out := Field{Name: f.name, Type: FieldType(f.spec.Type.text), Required: f.spec.Required, Personal: f.spec.Personal, Domain: domain + "." + f.name}
		line := max(f.line, f.spec.Type.line)
		switch {
		case f.name == "" || strings.ContainsAny(f.name, "\"\\") || strings.ContainsFunc(f.name, func(r rune) bool { return r < ' ' || r == '\uFFFD' }):
			c.problem(f.line, "field %q: a name has no quotes, no backslash and no control character", f.name)
		case f.spec.Type.text == "":
			c.problem(line, "field %s has no type", f.name)
		case accepts[out.Type] == nil:
			c.problem(line, "field %s has the unknown type %q; there are text, ip, email, version, integer, numeric, boolean, timestamp, date, uuid and json", f.name, out.Type)
		case (out.Type == TypeIP || out.Type == TypeEmail) && !out.Personal:
			c.problem(line, "field %s is of type %s, which is personal; add personal: true", f.name, out.Type)
		case out.Personal && out.Type != TypeText && out.Type != TypeIP && out.Type != TypeEmail:
			c.problem(line, "field %s is personal, so it is masked, and only text, ip and email can be; it is of type %s", f.name, out.Type)
		case f.spec.Domain.text != "" && !out.Personal:
			c.problem(f.spec.Domain.line, "field %s has a domain, which is for masks, and is not personal", f.name)
		case f.spec.Domain.text != "" && !isDomain(f.spec.Domain.text):
			c.problem(f.spec.Domain.line, "field %s: domain %q: use letters, digits, _ . and -", f.name, f.spec.Domain.text)
		}
		for _, other := range c.m.Fields {
			switch {
			case other.Name == f.name:
				c.problem(f.line, "field %s is there twice", f.name)
			case strings.EqualFold(other.Name, f.name):
				c.problem(f.line, "fields %s and %s differ in upper and lower case only", other.Name, f.name)
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

// columns checks the columns and says which fields go to one.
func (c *compiler) columns(columns []entry[columnSpec]) []bool {
	used := make([]bool, len(c.m.Fields))
	if len(columns) == 0 {
		c.problem(0, "no columns: say where the fields go")
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
				c.problem(e.line, "column %s is there twice", e.name)
			}
		}
		switch {
		case (e.spec.From.text == "") == (e.spec.Meta.text == ""):
			c.problem(line, "column %s wants either from: <field> or meta: <sent_at, sent_date, message_id or mask_key>", e.name)
		case e.spec.Meta.text != "":
			c.metaColumn(line, e, col, err == nil)
		default:
			col.Field = slices.IndexFunc(c.m.Fields, func(f Field) bool { return f.Name == e.spec.From.text })
			if col.Field < 0 {
				c.problem(e.spec.From.line, "column %s comes from the field %q, which is not among the fields", e.name, e.spec.From.text)
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
		c.problem(e.spec.Meta.line, "column %s: meta %q is not known; there are sent_at, sent_date, message_id and mask_key", e.name, col.Meta)
	case e.spec.Masked || e.spec.Part.text != "":
		c.problem(line, "column %s holds %s, which has neither a mask nor parts", e.name, col.Meta)
	case typed && !slices.Contains(types, col.Type.Base):
		c.problem(line, "column %s holds %s, which goes to %s and not to %s", e.name, col.Meta, strings.Join(types, " or "), col.Type)
	case typed && col.Meta == MetaMaskKey && col.Type.Base == "varchar" && col.Type.Length < 32:
		c.problem(line, "column %s is too narrow: ids of keys have up to 32 characters", e.name)
	}
}

func (c *compiler) part(e entry[columnSpec], f Field) (major bool) {
	switch {
	case e.spec.Part.text == "":
	case e.spec.Part.text != "major":
		c.problem(e.spec.Part.line, "column %s: part %q is not known; there is major", e.name, e.spec.Part.text)
	case f.Type != TypeVersion:
		c.problem(e.spec.Part.line, "column %s: only a version has a major number, and field %s is of type %s", e.name, f.Name, f.Type)
	default:
		return true
	}
	return false
}

func (c *compiler) fieldColumn(line int, col Column, typed bool) {
	f := c.m.Fields[col.Field]
	types := accepts[f.Type]
	if col.Major {
		types = accepts[TypeInteger]
	}
	switch {
	case f.Personal && !col.Masked:
		c.problem(line, "column %s would hold the personal field %s in clear; add masked: true", col.Name, f.Name)
	case !f.Personal && col.Masked:
		c.problem(line, "column %s is masked, and field %s is not personal; add personal: true to the field", col.Name, f.Name)
	case typed && types != nil && !slices.Contains(types, col.Type.Base):
		c.problem(line, "column %s is of type %s, which cannot hold the field %s of type %s; use %s", col.Name, col.Type, f.Name, f.Type, strings.Join(types, " or "))
	case typed && col.Masked && col.Type.Base == "varchar" && col.Type.Length < mask.Size:
		c.problem(line, "column %s is too narrow: a mask has %d characters", col.Name, mask.Size)
	}
}

// key settles what makes a row the same row on every delivery.
func (c *compiler) key(f file) {
	m := c.m
	switch {
	case len(f.Key) > 0 && f.Ledger.text != "":
		c.problem(f.Ledger.line, "key and ledger are both given; the ledger is for a table without a key")
	case f.Ledger.text != "":
		c.identifier("ledger", f.Ledger)
		if f.Ledger.text == m.Table.Name { // it is in the table's schema
			c.problem(f.Ledger.line, "the ledger is a table of its own, and %s is the table of the rows; name another, as in ledger: sluice_ledger", f.Ledger.text)
		}
		m.Table.Ledger = f.Ledger.text
		n := len(m.Columns)
		m.Columns = append(m.Columns,
			Column{Name: "sent_at", Type: SQLType{Base: "timestamptz"}, Field: -1, Meta: MetaSentAt},
			Column{Name: "message_id", Type: SQLType{Base: "uuid"}, Field: -1, Meta: MetaMessageID})
		m.Table.Key = []int{n, n + 1}
	case len(f.Key) == 0:
		c.problem(0, "no key: name the columns that are the same on every delivery of a message, as in key: [sent_at, message_id], or, for a table that has none, a ledger: sluice_ledger")
	}
	for _, k := range f.Key {
		i := slices.IndexFunc(m.Columns, func(col Column) bool { return col.Name == k.text })
		switch {
		case i < 0:
			c.problem(k.line, "the key's column %s is not among the columns", k.text)
		case slices.Contains(m.Table.Key, i):
			c.problem(k.line, "the key names the column %s twice", k.text)
		case m.Columns[i].Field >= 0 && !m.Fields[m.Columns[i].Field].Required:
			c.problem(k.line, "the key's column %s can be NULL, and a NULL is like no other; add required: true to the field %s", k.text, m.Fields[m.Columns[i].Field].Name)
		case m.Columns[i].Type.Base == "json" || m.Columns[i].Type.Base == "jsonb":
			c.problem(k.line, "the key's column %s is of type %s, which makes no key", k.text, m.Columns[i].Type)
		case m.Columns[i].Meta == MetaMaskKey || m.Columns[i].Masked:
			c.problem(k.line, "the key's column %s changes with the mask's key, so a message would be stored again after a rotation", k.text)
		default:
			m.Table.Key = append(m.Table.Key, i)
		}
	}
	if len(f.Key) > 0 && len(m.Table.Key) == len(f.Key) && !slices.ContainsFunc(m.Table.Key, c.tellsMessages) {
		c.problem(f.Key[0].line, "the key is the sent time alone, and two messages can be sent in the same millisecond; add the column of message_id, as in key: [sent_at, message_id]")
	}
}

// tellsMessages says whether a column can differ between two messages that
// were sent at once: with a key that cannot, the second is lost as a repeat.
func (c *compiler) tellsMessages(column int) bool {
	col := c.m.Columns[column]
	return col.Field >= 0 || col.Meta == MetaMessageID
}
