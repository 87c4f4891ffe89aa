package model

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// When is which messages a model takes: those with one of some values at a place.
type When struct {
	// Attribute is the message attribute that has the value. Without one, it is at Path in a Layer.
	Attribute string
	Path      Path
	Layer     int

	oneOf [][]byte // the JSON of texts, numbers and booleans
}

// String says where the value is and what it must be.
func (w *When) String() string { return w.place() + " is " + w.values() }

// place says where the value is.
func (w *When) place() string {
	switch {
	case w.Attribute != "":
		return "the message attribute " + w.Attribute
	case w.Layer > 0:
		return w.Path.String() + " in layer " + strconv.Itoa(w.Layer)
	default:
		return w.Path.String()
	}
}

func (w *When) values() string {
	var texts []string
	for _, v := range w.oneOf {
		texts = append(texts, string(v))
	}
	return someOf(texts)
}

// choices are values, each with what it stands for.
type choices struct {
	texts    map[string]int
	numbers  []numberChoice
	booleans map[bool]int
}

type numberChoice struct {
	number decimal
	means  int
}

func newChoices() choices { return choices{texts: map[string]int{}, booleans: map[bool]int{}} }

// add adds a value, which is the JSON of a text, a number or a boolean. If it is there, it returns what
// it stands for.
func (c *choices) add(v []byte, means int) (other int, there bool) {
	var text []byte
	if formOf(v) == stringForm {
		text, _ = jsontext.AppendUnquote(nil, v) // the loader has quoted it
	}
	if other, there = c.find(v, text); there {
		return other, true
	}
	switch formOf(v) {
	case stringForm:
		c.texts[string(text)] = means
	case numberForm:
		c.numbers = append(c.numbers, numberChoice{parseDecimal(v), means})
	default:
		c.booleans[v[0] == 't'] = means
	}
	return 0, false
}

// find returns what a JSON value stands for; of a string, it gets the characters too.
func (c *choices) find(v, text []byte) (means int, ok bool) {
	switch formOf(v) {
	case stringForm:
		means, ok = c.texts[string(text)]
	case numberForm:
		n := parseDecimal(v)
		for i := range c.numbers {
			if c.numbers[i].number.compare(n) == 0 {
				return c.numbers[i].means, true
			}
		}
	case booleanForm:
		means, ok = c.booleans[v[0] == 't']
	case anyForm: // an object or an array
	}
	return means, ok
}

// takes reads which messages the model takes.
func (c *compiler) takes(f file) {
	w := f.When
	if w.line == 0 {
		return
	}
	out := &When{Attribute: w.Attribute.text}
	switch last := len(c.m.layers) - 1; {
	case (w.Path.line > 0) == (w.Attribute.line > 0):
		c.problem(w.line, "when needs either path or attribute, as in when: {path: $.type, one_of: [\"login\"]}")
	case w.Attribute.line > 0:
		if w.Layer.line > 0 {
			c.problem(w.Layer.line, "when: layer is for path; remove it")
		}
		if !isAttribute(out.Attribute) {
			c.problem(w.Attribute.line, "when: attribute %q is not a name that SQS allows; it has up to 256 letters, digits, _ - and .", out.Attribute)
		}
	default:
		if w.Layer.json != nil {
			out.Layer = max(0, min(c.layer("when", w.Layer, last), last))
		}
		var err error
		if out.Path, err = parsePath(w.Path.text); err != nil {
			c.problem(w.Path.line, "when: %q is not a path: %v", w.Path.text, err)
		}
		c.m.layers[out.Layer].root.add(out.Path, "") // it is no unknown member
	}
	if len(w.OneOf) == 0 || len(w.OneOf) > maxChoices {
		c.problem(w.line, "when: one_of lists 1 to %d values, as in one_of: [\"login\"]", maxChoices)
	}
	known := newChoices()
	for _, l := range w.OneOf {
		if l.json == nil { // reported
			continue
		}
		if _, twice := known.add(l.json, 0); twice {
			c.problem(l.line, "when: one_of names %s twice", l.json)
		}
		out.oneOf = append(out.oneOf, l.json)
	}
	c.m.When = out
}

// ofIgnored are the settings of a file whose messages are ignored.
var ofIgnored = []string{"model", "when", "ignore", "unwrap", "max_unwrapped_bytes"}

// ignores checks a model whose messages are ignored.
func (c *compiler) ignores(f file) {
	c.m.Ignore = true
	if f.When.line == 0 {
		c.problem(0, "when is missing; a model with ignore: true says which messages it discards, as in when: {path: $.type, one_of: [\"ping\"]}")
	}
	for _, s := range f.said {
		if !slices.Contains(ofIgnored, s.text) {
			c.problem(s.line, "%s: a model with ignore: true stores nothing, and has only %s; remove it", s.text, enumerate(ofIgnored, "and"))
		}
	}
}
