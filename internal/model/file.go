package model

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file is what a model file says, before it is checked. Every part keeps its
// line for the problems.
type file struct {
	Model, Table, Domain, Ledger scalar
	Key                          []scalar
	Fields                       []entry[fieldSpec]
	Columns                      []entry[columnSpec]
}

type fieldSpec struct {
	Type, Domain       scalar
	Required, Personal bool
}

type columnSpec struct {
	Type, From, Part, Meta scalar
	Masked                 bool
}

// scalar is a text and the line that it stands in.
type scalar struct {
	text string
	line int
}

// entry is one of the fields or columns.
type entry[T any] struct {
	name string
	line int
	spec T
}

var errNoModel = errors.New("no model file")

// read reads the YAML. It walks the syntax tree itself, because what a
// library says of a value of the wrong kind is about Go's types, and quotes
// the file. Problems are noted; the error is for a text that is no YAML or no
// model at all.
func (c *compiler) read(text []byte) (f file, err error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return f, errNoModel
	}
	body, err := c.document(bytes.TrimPrefix(text, bom))
	if err != nil || body == nil { // an empty file is a model in which everything is missing
		return f, err
	}
	if _, ok := members(body); !ok {
		return f, errNoModel
	}
	c.settings("", body, []setting{
		{"model", c.text(&f.Model, "user_logins")},
		{"table", c.text(&f.Table, "user_logins")},
		{"domain", c.text(&f.Domain, "user_logins")},
		{"key", c.texts(&f.Key, "[id]")},
		{"ledger", c.text(&f.Ledger, "sluice_ledger")},
		{"fields", entries(c, "field", "{type: text}", &f.Fields, c.fieldSettings)},
		{"columns", entries(c, "column", "{type: text, from: user_id}", &f.Columns, c.columnSettings)},
	})
	return f, nil
}

func (c *compiler) fieldSettings(f *fieldSpec) []setting {
	return []setting{
		{"type", c.text(&f.Type, "text")},
		{"required", c.boolean(&f.Required)},
		{"personal", c.boolean(&f.Personal)},
		{"domain", c.text(&f.Domain, "user_logins.ip")},
	}
}

func (c *compiler) columnSettings(col *columnSpec) []setting {
	return []setting{
		{"type", c.text(&col.Type, "varchar(32)")},
		{"from", c.text(&col.From, "user_id")},
		{"part", c.text(&col.Part, "major")},
		{"meta", c.text(&col.Meta, "sent_at")},
		{"masked", c.boolean(&col.Masked)},
	}
}

// document finds the one document of the file, nil when it is empty.
func (c *compiler) document(text []byte) (body ast.Node, err error) {
	unreadable := fmt.Errorf("%s: the YAML cannot be read", c.path)
	defer func() {
		// What makes the parser panic is a file with an error in it, not the
		// end of the process.
		if recover() != nil {
			body, err = nil, unreadable
		}
	}()
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey()) // settings says whose it is
	var located syntaxError
	switch {
	case errors.As(err, &located) && located.GetToken() != nil:
		said, _, _ := strings.Cut(located.GetMessage(), ` "`) // what follows is the file's
		return nil, fmt.Errorf("%s:%d: %s", c.path, located.GetToken().Position.Line, strings.TrimSuffix(said, ":"))
	case err != nil:
		return nil, unreadable // the parser's text has a picture of the file in it
	}
	for _, d := range parsed.Docs {
		_, directive := d.Body.(*ast.DirectiveNode)
		switch {
		case d.Body == nil || directive:
		case body == nil:
			body = d.Body
		default: // Start is its ---, without which there is no second one
			c.problem(d.Start.Position.Line, "another document begins here, and a model file has one; give every model a file of its own")
		}
	}
	return body, nil
}

// syntaxError is what the parser's errors are.
type syntaxError interface {
	error
	GetToken() *token.Token
	GetMessage() string
}

// members are the names and values of a mapping; ok is false when the value
// is of another kind.
func members(n ast.Node) (all []*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	default:
		return nil, false
	}
}

// value is a value in the file, and what its problems call it.
type value struct {
	node ast.Node
	what string // "field ip: type"
	name string // "type"
	line int    // of the name
}

// setting is one of the settings that a mapping can have.
type setting struct {
	name string
	read func(value)
}

// settings reads a mapping of settings. owner is the field or the column that
// they are of, "" for those of the model itself.
func (c *compiler) settings(owner string, mapping ast.Node, known []setting) {
	prefix, whose := "", "a model"
	if owner != "" {
		prefix, whose = owner+": ", owner
	}
	seen := map[string]bool{}
	c.each(mapping, whose, func(v value) {
		i := slices.IndexFunc(known, func(s setting) bool { return s.name == v.name })
		v.what = prefix + v.name
		switch {
		case i < 0 && strings.HasSuffix(v.name, ")"): // between braces a comma ends the type
			c.problem(v.line, `%sa type with a comma in it wants quotes, as in type: "numeric(5, 2)"`, prefix)
		case i < 0:
			names := make([]string, len(known))
			for i, s := range known {
				names[i] = s.name
			}
			last := len(names) - 1
			c.problem(v.line, "%s has no setting %q; there are %s and %s", whose, v.name, strings.Join(names[:last], ", "), names[last])
		case seen[v.name]:
			c.problem(v.line, "%s is there twice", v.what)
		default:
			seen[v.name] = true
			known[i].read(v)
		}
	})
}

// each calls do for every member of a mapping, in the order of the file.
func (c *compiler) each(mapping ast.Node, whose string, do func(value)) {
	all, _ := members(mapping)
	for _, m := range all {
		name := m.Key.GetToken()
		switch m.Key.(type) {
		case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode, *ast.MergeKeyNode, *ast.MappingKeyNode:
			c.problem(name.Position.Line, "%s has a name that is no plain text; %s", whose, noReferences)
		default:
			do(value{node: m.Value, name: name.Value, line: name.Position.Line})
		}
	}
}

const noReferences = "a model has no anchors, aliases, merges and tags: write it out"

// wrong notes that a value is of the wrong kind, without what it is: a model
// file can be a file of secrets that was named by mistake.
func (c *compiler) wrong(v value, kind, example string) {
	switch v.node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		c.problem(v.line, "%s is no plain value; %s", v.what, noReferences)
	case *ast.NullNode:
		c.problem(v.line, "%s says nothing; it is %s, as in %s: %s", v.what, kind, v.name, example)
	default:
		c.problem(v.line, "%s is %s, as in %s: %s", v.what, kind, v.name, example)
	}
}

// text reads a text. A number is none: YAML reads 0x10 as 16, and a domain
// that changes on the way changes every mask.
func (c *compiler) text(to *scalar, example string) func(value) {
	return func(v value) {
		text, ok := plainText(v.node)
		if !ok {
			c.wrong(v, "a text", strconv.Quote(example))
			return
		}
		*to = scalar{text, v.line}
	}
}

func plainText(n ast.Node) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	default:
		return "", false
	}
}

// texts reads a list of texts.
func (c *compiler) texts(to *[]scalar, example string) func(value) {
	const kind = "a list of names"
	return func(v value) {
		list, ok := v.node.(*ast.SequenceNode)
		if !ok {
			c.wrong(v, kind, example)
			return
		}
		for _, n := range list.Values {
			item := v
			item.node, item.line = n, n.GetToken().Position.Line
			text, ok := plainText(n)
			if !ok {
				c.wrong(item, kind, example)
				continue
			}
			*to = append(*to, scalar{text, item.line})
		}
	}
}

func (c *compiler) boolean(to *bool) func(value) {
	return func(v value) {
		b, ok := v.node.(*ast.BoolNode)
		if !ok {
			c.wrong(v, "true or false", "true")
			return
		}
		*to = b.Value
	}
}

// entries reads a mapping from names to settings, such as fields. Of a name
// that is there twice both are read: compile says so.
func entries[T any](c *compiler, kind, example string, to *[]entry[T], known func(*T) []setting) func(value) {
	return func(v value) {
		if _, ok := members(v.node); !ok {
			c.wrong(v, "a mapping of names", "{a: "+example+"}")
			return
		}
		c.each(v.node, v.what, func(v value) {
			v.what = kind + " " + v.name
			if _, ok := members(v.node); !ok {
				c.wrong(v, "a mapping", example)
				return
			}
			e := entry[T]{name: v.name, line: v.line}
			c.settings(v.what, v.node, known(&e.spec))
			*to = append(*to, e)
		})
	}
}
