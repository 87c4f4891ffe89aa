package model

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file holds what a model file says, before it is checked. Every part keeps its line, for problems.
type file struct {
	Model, Table, Domain, Ledger scalar
	Unknown, ForeignKey          scalar
	OnConflict, NewerBy          scalar
	MaxUnwrapped, Receives       literal
	AllowEmpty, Ignore           bool
	When                         whenSpec
	Unwrap                       []step
	Rows                         scalar
	Also                         []entry[childSpec]
	Key                          []scalar
	Index                        [][]scalar
	Fields                       []entry[fieldSpec]
	Columns                      []entry[columnSpec]
	said                         []scalar // the settings that it has
}

// whenSpec says which messages a model takes.
type whenSpec struct {
	line            int // 0 for all
	Path, Attribute scalar
	Layer           literal
	OneOf           []literal
}

// childSpec is a table whose rows belong to a row of the file's own.
type childSpec struct {
	Rows    scalar
	Key     []scalar
	Index   [][]scalar
	Fields  []entry[fieldSpec]
	Columns []entry[columnSpec]
}

// step is a step of unwrap: a codec, or the path of a string that holds JSON.
type step struct {
	codec, json scalar
}

type fieldSpec struct {
	Type, Domain, Attribute, Format, Zone, Case, Strip, Unicode, Pattern scalar
	Path, Accept                                                         []scalar
	Layer, Default, Min, Max, MinLength, MaxLength                       literal
	OneOf                                                                []literal
	Required, Trim, IDNA, List                                           bool
	Personal                                                             *bool
}

type columnSpec struct {
	Type, From, Part, Meta, As scalar
	Value                      literal
	Masked                     bool
}

// literal is a text, a number, true or false, as the JSON value that it means.
type literal struct {
	json []byte // nil if the file says nothing
	line int
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
	said []scalar // the settings that it has
}

// has returns the line of a setting, 0 if the file does not say it.
func (e entry[T]) has(name string) int {
	for _, s := range e.said {
		if s.text == name {
			return s.line
		}
	}
	return 0
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
	f.said = c.settings("", body, c.fileSettings(&f))
	return f, nil
}

func (c *compiler) fileSettings(f *file) []setting {
	return []setting{
		{"model", c.text(&f.Model, "user_logins")},
		{"when", c.when(&f.When)},
		{"ignore", c.boolean(&f.Ignore)},
		{"table", c.text(&f.Table, "user_logins")},
		{"domain", c.text(&f.Domain, "user_logins")},
		{"rows", c.text(&f.Rows, "$.items[*]")},
		{"also", entries(c, "also", `{rows: "$.lines[*]"}`, &f.Also, c.childSettings)},
		{"key", c.texts(&f.Key, "names", "[id]")},
		{"ledger", c.text(&f.Ledger, "sluice_ledger")},
		{"on_conflict", c.text(&f.OnConflict, "replace")},
		{"newer_by", c.text(&f.NewerBy, "updated_at")},
		{"index", c.lists(&f.Index, "[[user_id, sent_at]]")},
		{"unwrap", c.steps(&f.Unwrap)},
		{"max_unwrapped_bytes", c.literal(&f.MaxUnwrapped, "a number", "8388608")},
		{"unknown", c.text(&f.Unknown, "reject")},
		{"allow_empty", c.boolean(&f.AllowEmpty)},
		{"foreign_key", c.text(&f.ForeignKey, "return")},
		{"foreign_key_receives", c.literal(&f.Receives, "a number", "20")},
		{"fields", entries(c, "field", "{type: text}", &f.Fields, c.fieldSettings)},
		{"columns", entries(c, "column", "{type: text, from: user_id}", &f.Columns, c.columnSettings)},
	}
}

func (c *compiler) childSettings(f *childSpec) []setting {
	return []setting{
		{"rows", c.text(&f.Rows, "$.lines[*]")},
		{"key", c.texts(&f.Key, "names", "[order_id, line]")},
		{"index", c.lists(&f.Index, "[[sku]]")},
		{"fields", entries(c, "field", "{type: text}", &f.Fields, c.fieldSettings)},
		{"columns", entries(c, "column", "{type: text, from: sku}", &f.Columns, c.columnSettings)},
	}
}

// when returns a function that reads what a message must have for the model.
func (c *compiler) when(to *whenSpec) func(value) {
	return func(v value) {
		if _, ok := members(v.node); !ok {
			c.wrong(v, "a mapping", `{path: $.type, one_of: ["login"]}`)
			return
		}
		to.line = v.line
		c.settings("when", v.node, c.whenSettings(to))
	}
}

func (c *compiler) whenSettings(w *whenSpec) []setting {
	return []setting{
		{"path", c.text(&w.Path, "$.type")},
		{"layer", c.literal(&w.Layer, "a number", "0")},
		{"attribute", c.text(&w.Attribute, "event")},
		{"one_of", c.literals(&w.OneOf, "texts, numbers or booleans", `["login"]`)},
	}
}

func (c *compiler) fieldSettings(f *fieldSpec) []setting {
	f.Personal = nil
	return []setting{
		{"type", c.text(&f.Type, "text")},
		{"required", c.boolean(&f.Required)},
		{"personal", func(v value) { f.Personal = new(bool); c.boolean(f.Personal)(v) }},
		{"domain", c.text(&f.Domain, "user_logins.ip")},
		{"path", c.textOrTexts(&f.Path, "$.customer.city")},
		{"layer", c.literal(&f.Layer, "a number", "0")},
		{"attribute", c.text(&f.Attribute, "trace_id")},
		{"default", c.literal(&f.Default, "a text, a number, true or false", `"EUR"`)},
		{"list", c.boolean(&f.List)},
		{"accept", c.texts(&f.Accept, "JSON types", "[string]")},
		{"format", c.text(&f.Format, "unix_ms")},
		{"zone", c.text(&f.Zone, "Europe/Berlin")},
		{"trim", c.boolean(&f.Trim)},
		{"case", c.text(&f.Case, "lower")},
		{"strip", c.text(&f.Strip, " -")},
		{"unicode", c.text(&f.Unicode, "nfc")},
		{"idna", c.boolean(&f.IDNA)},
		{"one_of", c.literals(&f.OneOf, "texts or numbers", `["new", "paid"]`)},
		{"pattern", c.text(&f.Pattern, `[A-Z]{2}\d+`)},
		{"min", c.literal(&f.Min, "a number, or a date or time as a text", "0")},
		{"max", c.literal(&f.Max, "a number, or a date or time as a text", "100")},
		{"min_length", c.literal(&f.MinLength, "a number", "1")},
		{"max_length", c.literal(&f.MaxLength, "a number", "64")},
	}
}

// everyType are the settings of a field that do not depend on its type.
var everyType = []string{"type", "required", "personal", "domain", "path", "layer", "attribute", "default", "list"}

func (c *compiler) columnSettings(col *columnSpec) []setting {
	return []setting{
		{"type", c.text(&col.Type, "varchar(32)")},
		{"from", c.text(&col.From, "user_id")},
		{"part", c.text(&col.Part, "major")},
		{"meta", c.text(&col.Meta, "sent_at")},
		{"value", c.literal(&col.Value, "a text, a number, true or false", `"web"`)},
		{"as", c.text(&col.As, "text")},
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
		said = strings.TrimSuffix(said, ":")
		if strings.Contains(said, "must be specified") { // brackets and commas end a plain value there
			said += `; between braces and brackets, a path with brackets needs quotes, as in path: "$.items[0]", and so does a type with a comma`
		}
		return nil, fmt.Errorf("%s:%d: %s", c.path, located.GetToken().Position.Line, said)
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

// settings reads a mapping of settings, and returns those that it has. owner is the field or column
// that they belong to, "" for the model itself.
func (c *compiler) settings(owner string, mapping ast.Node, known []setting) (said []scalar) {
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
			c.problem(v.line, "%s has no setting %q; there are %s%s", whose, v.name, enumerate(names, "and"), didYouMean(v.name, names))
		case seen[v.name]:
			c.problem(v.line, "%s is set twice", v.what)
		default:
			seen[v.name] = true
			said = append(said, scalar{v.name, v.line})
			known[i].read(v)
		}
	})
	return said
}

// didYouMean returns a question for a name that is close to a known one, "" if none is.
func didYouMean(name string, known []string) string {
	plain := func(s string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(s)) }
	best, least := "", 3
	for _, k := range known {
		if d := distance(plain(name), plain(k)); d < least && d < len(k)/2 {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance returns how many characters must be inserted, removed or replaced to make b of a.
func distance(a, b string) int {
	if len(a) > 32 || len(b) > 32 {
		return 32
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
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
		if text == "" {
			c.problem(v.line, "%s is empty; write it as in %s: %q, or remove it", v.what, v.name, example)
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

// textOrTexts returns a function that reads a text or a list of texts.
func (c *compiler) textOrTexts(to *[]scalar, example string) func(value) {
	return func(v value) {
		if text, ok := plainText(v.node); ok {
			*to = []scalar{{text, v.line}}
			return
		}
		c.texts(to, "texts", "["+example+"]")(v)
	}
}

// lists returns a function that reads a list of lists of names.
func (c *compiler) lists(to *[][]scalar, example string) func(value) {
	return func(v value) {
		const kind = "a list of lists of names"
		c.items(v, kind, example, func(item value) {
			var names []scalar
			if _, ok := item.node.(*ast.SequenceNode); !ok {
				c.wrong(item, kind, example)
				return
			}
			c.texts(&names, "names", example)(item)
			*to = append(*to, names)
		})
	}
}

// steps returns a function that reads the steps of unwrap.
func (c *compiler) steps(to *[]step) func(value) {
	const kind, example = "a list of steps", "[{json: $.Message}, base64, gzip]"
	return func(v value) {
		c.items(v, kind, example, func(item value) {
			var s step
			if text, ok := plainText(item.node); ok {
				s.codec = scalar{text, item.line}
			} else if _, ok := members(item.node); ok {
				c.settings("a step of unwrap", item.node, []setting{{"json", c.text(&s.json, "$.Message")}})
			} else {
				c.wrong(item, kind, example)
				return
			}
			*to = append(*to, s)
		})
	}
}

// literal returns a function that reads a text, a number, true or false. It keeps the digits of a
// number as they are written. A text that other readers of YAML take for something else must be in
// quotes: NO is false to many, 0x10 is 16, and 1.10 is 1.1.
func (c *compiler) literal(to *literal, kind, example string) func(value) {
	return func(v value) {
		to.line = v.line
		switch n := v.node.(type) {
		case *ast.StringNode:
			if quotes := n.GetToken().Type; quotes != token.SingleQuoteType && quotes != token.DoubleQuoteType && mistakable.MatchString(n.Value) {
				c.problem(v.line, "%s: some readers of YAML do not take %s for a text; write it in quotes, as in %s: %q", v.what, n.Value, v.name, n.Value)
				return
			}
			to.json, _ = jsontext.AppendQuote(nil, n.Value)
		case *ast.LiteralNode:
			to.json, _ = jsontext.AppendQuote(nil, n.Value.Value)
		case *ast.BoolNode:
			if text := n.GetToken().Value; text != "true" && text != "false" {
				c.problem(v.line, "%s: write true or false in lower case, or a text in quotes, as in %s: %q", v.what, v.name, text)
				return
			}
			to.json = []byte(n.GetToken().Value)
		case *ast.IntegerNode, *ast.FloatNode:
			text := n.GetToken().Value
			if !jsontext.Value(text).IsValid() {
				c.problem(v.line, "%s: %s is not a number as JSON writes it; write it in digits, or a text in quotes, as in %s: %q", v.what, text, v.name, text)
				return
			}
			to.json = []byte(text)
		default:
			c.wrong(v, kind, example)
		}
	}
}

// mistakable matches texts without quotes that YAML 1.1 takes for booleans, nulls, numbers or times.
var mistakable = regexp.MustCompile(`^(?i:=|<<|y|n|yes|no|on|off|true|false|null|~|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?(?:[0-9][0-9_]*\.?|\.)[0-9_]*(?:e[-+]?[0-9]+)?|[-+]?0[xob][0-9a-f_]+|[-+]?\.(inf|nan)|\d{4}-\d\d?-\d\d?(?:(?:t|[ \t]+)\d.*)?)$`)

// literals returns a function that reads a list of literals; what says of what.
func (c *compiler) literals(to *[]literal, what, example string) func(value) {
	kind := "a list of " + what
	return func(v value) {
		c.items(v, kind, example, func(item value) {
			var l literal
			c.literal(&l, kind, example)(item)
			*to = append(*to, l)
		})
	}
}

// texts returns a function that reads a list of texts; what says of what.
func (c *compiler) texts(to *[]scalar, what, example string) func(value) {
	kind := "a list of " + what
	return func(v value) {
		c.items(v, kind, example, func(item value) {
			text, ok := plainText(item.node)
			if !ok {
				c.wrong(item, kind, example)
				return
			}
			*to = append(*to, scalar{text, item.line})
		})
	}
}

// items calls read for each item of a list. An empty list could mean more than one thing.
func (c *compiler) items(v value, kind, example string, read func(value)) {
	list, ok := v.node.(*ast.SequenceNode)
	switch {
	case !ok:
		c.wrong(v, kind, example)
	case len(list.Values) == 0:
		c.problem(v.line, "%s is an empty list; write it as in %s: %s, or remove it", v.what, v.name, example)
	default:
		for _, n := range list.Values {
			item := v
			item.node, item.line = n, n.GetToken().Position.Line
			read(item)
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
			e.said = c.settings(v.what, v.node, known(&e.spec))
			*to = append(*to, e)
		})
	}
}
