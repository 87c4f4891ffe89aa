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

// file holds what a model file says, before it is checked. Every part keeps its line, for problems.
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

// scalar is a text and its line.
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

var errNoModel = errors.New("not a model file")

// read reads the YAML. It walks the syntax tree itself, because a library's error about a value of
// the wrong kind is about Go's types and quotes the file. It collects problems; the error is for a
// text that is not YAML or not a model at all.
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

// document finds the one document of the file; it returns nil if the file is empty.
func (c *compiler) document(text []byte) (body ast.Node, err error) {
	unreadable := fmt.Errorf("%s: the YAML cannot be read", c.path)
	defer func() {
		// A file that makes the parser panic has an error in it; it must not end the process.
		if recover() != nil {
			body, err = nil, unreadable
		}
	}()
	parsed, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey()) // settings reports it, with its owner
	var located syntaxError
	switch {
	case errors.As(err, &located) && located.GetToken() != nil:
		said, _, _ := strings.Cut(located.GetMessage(), ` "`) // the rest quotes the file
		return nil, fmt.Errorf("%s:%d: %s", c.path, located.GetToken().Position.Line, strings.TrimSuffix(said, ":"))
	case err != nil:
		return nil, unreadable // the parser's text shows a part of the file
	}
	for _, d := range parsed.Docs {
		_, directive := d.Body.(*ast.DirectiveNode)
		switch {
		case d.Body == nil || directive:
		case body == nil:
			body = d.Body
		default: // Start is its ---, which every further document has
			c.problem(d.Start.Position.Line, "a second document begins here; give each model its own file")
		}
	}
	return body, nil
}

// syntaxError is the type of the parser's errors.
type syntaxError interface {
	error
	GetToken() *token.Token
	GetMessage() string
}

// members returns the names and values of a mapping; ok is false if n is of another kind.
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

// value is a value in the file, with its name in problems.
type value struct {
	node ast.Node
	what string // "field ip: type"
	name string // "type"
	line int    // of the name
}

// setting is a setting that a mapping can have.
type setting struct {
	name string
	read func(value)
}

// enumerate joins names, the last two with a word.
func enumerate[S ~string](names []S, word string) (text string) {
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			text += " " + word + " "
		default:
			text += ", "
		}
		text += string(name)
	}
	return text
}

// settings reads a mapping of settings. owner is the field or column that they belong to, "" for
// the model itself.
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
		case i < 0 && strings.HasSuffix(v.name, ")"): // between braces, a comma ends the type
			c.problem(v.line, `%sa type with a comma needs quotes, as in type: "numeric(5, 2)"`, prefix)
		case i < 0:
			names := make([]string, len(known))
			for i, s := range known {
				names[i] = s.name
			}
			c.problem(v.line, "%s has no setting %q; there are %s", whose, v.name, enumerate(names, "and"))
		case seen[v.name]:
			c.problem(v.line, "%s is set twice", v.what)
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
			c.problem(name.Position.Line, "%s has a name that is not plain text; %s", whose, noReferences)
		default:
			do(value{node: m.Value, name: name.Value, line: name.Position.Line})
		}
	}
}

const noReferences = "anchors, aliases, merges and tags are not allowed: write it out"

// wrong reports that a value is of the wrong kind, without quoting it: somebody may have named a
// file of secrets by mistake.
func (c *compiler) wrong(v value, kind, example string) {
	switch v.node.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		c.problem(v.line, "%s is not a plain value; %s", v.what, noReferences)
	case *ast.NullNode:
		c.problem(v.line, "%s is empty; it must be %s, as in %s: %s", v.what, kind, v.name, example)
	default:
		c.problem(v.line, "%s must be %s, as in %s: %s", v.what, kind, v.name, example)
	}
}

// text returns a function that reads a text. A number is not a text: YAML reads 0x10 as 16, and a
// domain that changes on the way changes every mask.
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

// texts returns a function that reads a list of texts.
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

// entries returns a function that reads a mapping from names to settings, such as fields. It reads
// both entries of a repeated name: compile reports it.
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
