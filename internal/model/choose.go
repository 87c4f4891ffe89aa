package model

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// selector is how the model of a message is found. All paths of one document are one tree, so the
// document is read once for all models. Documents that are reached in one way are one document.
type selector struct {
	sources []source // in the order of the first models that they can choose
	ways    []way
	// attributes reads the message attributes, nil if no model asks for one.
	attributes *Model
	// rest is the model that takes what no other takes, the number of models for none.
	rest int
	// readBefore lists, by model, the ways to documents that it reads too, the longest first.
	readBefore [][]int
}

// source is a place with values that choose models.
type source struct {
	*When
	way     int // -1 for an attribute
	slot    int // of its reader's values
	first   int // the first model that it can choose
	choices choices
	oneOf   [][]byte // all of the choices
}

// way is how to get to a document: model reads it as its last layer.
type way struct {
	name  string
	model *Model
}

// wayName is equal for models that read the document of a layer in the same way.
func (m *Model) wayName(last int) string {
	var steps []string
	for i := range last + 1 {
		l := &m.layers[i]
		for _, c := range l.codecs {
			steps = append(steps, fmt.Sprintf("%s up to %d", c.name, m.MaxUnwrapped))
		}
		if i < last {
			steps = append(steps, l.unwraps)
		}
	}
	return strings.Join(steps, ", ")
}

// wayModel returns a model that reads the document of a layer.
func (m *Model) wayModel(last int) *Model {
	out := &Model{MaxUnwrapped: m.MaxUnwrapped}
	for i := range last + 1 {
		l := layer{codecs: m.layers[i].codecs, root: newNode(nil, ""), next: -1}
		if i < last {
			p, _ := parsePath(m.layers[i].unwraps) // it is one
			l.next, l.unwraps = out.slot(l.root, p, ""), m.layers[i].unwraps
		}
		out.layers = append(out.layers, l)
	}
	return out
}

// newSelector returns how to choose among models, and reports values that two of them take.
func newSelector(models []*Model, bad func(m *Model, format string, args ...any)) selector {
	c := selector{rest: len(models), readBefore: make([][]int, len(models))}
	for i, m := range models {
		if m.When == nil {
			c.rest = min(c.rest, i)
			continue
		}
		s := c.source(m, i)
		for _, v := range m.When.oneOf {
			if other, there := s.choices.add(v, i); there {
				first := models[other]
				bad(m, "models %s and %s both take messages in which %s is %s; %[1]s in %[5]s comes first, so %[2]s gets none of them: remove the value from one", first.Name, m.Name, m.When.place(), v, first.path)
			}
			s.oneOf = append(s.oneOf, v)
		}
	}
	for w := range c.ways {
		for i := range c.ways[w].model.layers {
			c.ways[w].model.layers[i].root.settle(false)
		}
	}
	for i, m := range models {
		for w, way := range c.ways {
			if last := len(way.model.layers) - 1; last < len(m.layers) && m.wayName(last) == way.name {
				c.readBefore[i] = append(c.readBefore[i], w)
			}
		}
		slices.SortFunc(c.readBefore[i], func(x, y int) int { return cmp.Compare(len(c.ways[y].model.layers), len(c.ways[x].model.layers)) })
	}
	return c
}

// source returns the source of a model's when, which is perhaps one of a model before.
func (c *selector) source(m *Model, first int) *source {
	s := source{When: m.When, way: -1, first: first, choices: newChoices()}
	if m.When.Attribute != "" {
		s.slot = c.attribute(m.When.Attribute)
	} else {
		name := m.wayName(m.When.Layer)
		if s.way = slices.IndexFunc(c.ways, func(w way) bool { return w.name == name }); s.way < 0 {
			s.way = len(c.ways)
			c.ways = append(c.ways, way{name, m.wayModel(m.When.Layer)})
		}
		reads := c.ways[s.way].model
		s.slot = reads.slot(reads.layers[m.When.Layer].root, m.When.Path, "")
	}
	at := slices.IndexFunc(c.sources, func(known source) bool { return known.way == s.way && known.slot == s.slot })
	if at < 0 {
		at = len(c.sources)
		c.sources = append(c.sources, s)
	}
	return &c.sources[at]
}

// attribute returns the slot of a message attribute.
func (c *selector) attribute(name string) (slot int) {
	if c.attributes == nil {
		c.attributes = &Model{}
	}
	a := c.attributes
	at := slices.IndexFunc(a.Fields, func(f Field) bool { return f.Attribute == name })
	if at < 0 {
		at = len(a.Fields)
		a.Fields = append(a.Fields, Field{Attribute: name, slots: []int{a.slots}})
		a.slots++
	}
	return a.Fields[at].slots[0]
}

// chooser finds the models of messages, one after another.
type chooser struct {
	*selector
	ways       []wayReader
	attributes *Reader
	answered   bool // attributes has read those of the message
	text       []byte
}

// wayReader reads one document of a message, if it has to.
type wayReader struct {
	*Reader
	read bool
	// why is why the document could not be read.
	why message.Verdict
	// repeats is a document that has some name twice. It is for the model that takes it to reject.
	repeats []byte
}

func (c *selector) reader(b *budget) chooser {
	out := chooser{selector: c, ways: make([]wayReader, len(c.ways))}
	unused := mask.Unkeyed()
	for i := range c.ways {
		out.ways[i].Reader = c.ways[i].model.Reader(unused)
		out.ways[i].budget = b
	}
	if c.attributes != nil {
		out.attributes = c.attributes.Reader(unused)
	}
	return out
}

func (c *chooser) release() {
	for i := range c.ways {
		r := c.ways[i].Reader
		r.Release()
		c.ways[i] = wayReader{Reader: r}
	}
	if c.attributes != nil {
		c.attributes.Release()
	}
	if cap(c.text) > keptBuffer {
		c.text = nil
	}
}

// begin begins with the next message.
func (c *chooser) begin() {
	c.answered = false
	for i := range c.ways {
		w := &c.ways[i]
		w.read, w.repeats = false, nil
	}
}

// choose returns the index of the model that takes a message. If none does, or if that cannot be known,
// it returns -1 and sets the verdict.
func (c *chooser) choose(msg *message.Message, verdict *message.Verdict) (model int) {
	c.begin()
	model = c.rest
	for i := range c.sources {
		s := &c.sources[i]
		if s.first >= model {
			break
		}
		m, ok := c.ask(s, msg, verdict)
		if !ok {
			return -1
		}
		model = min(model, m)
	}
	if model < len(c.readBefore) {
		return model
	}
	*verdict = c.none()
	return -1
}

// takers lists the models that sources choose, in order.
func (c *chooser) takers(msg *message.Message) (all []int) {
	c.begin()
	for i := range c.sources {
		if m, ok := c.ask(&c.sources[i], msg, new(message.Verdict)); ok && m < len(c.readBefore) {
			all = append(all, m)
		}
	}
	slices.Sort(all)
	return all
}

// gives returns the reader of the documents that a model needs not read again, nil if there are none.
func (c *chooser) gives(model int) *Reader {
	for _, i := range c.readBefore[model] {
		if w := &c.ways[i]; w.read && w.scanned {
			return w.Reader
		}
	}
	return nil
}

// ask returns the model that a source chooses, the number of models for none. If it cannot be known
// which one that is, it sets the verdict and returns false.
func (c *chooser) ask(s *source, msg *message.Message, verdict *message.Verdict) (model int, ok bool) {
	v, ok := c.value(s, msg, verdict)
	if !ok || v == nil {
		return len(c.readBefore), ok
	}
	if model, ok = s.choices.find(v, c.characters(v)); !ok {
		model = len(c.readBefore)
	}
	return model, true
}

// characters returns those of a JSON string, nil for any other value.
func (c *chooser) characters(v []byte) []byte {
	switch {
	case formOf(v) != stringForm:
		return nil
	case bytes.IndexByte(v, '\\') < 0:
		return v[1 : len(v)-1]
	default:
		c.text, _, _ = jsonscan.AppendString(c.text[:0], v, 0)
		return c.text
	}
}

// value returns the value of a source, nil if a message has none.
func (c *chooser) value(s *source, msg *message.Message, verdict *message.Verdict) (v []byte, ok bool) {
	if s.way < 0 {
		if !c.answered {
			c.answered = true
			clear(c.attributes.values)
			if why := c.attributes.readAttributes(msg.Attributes); !why.IsZero() {
				*verdict = rejected(why)
				return nil, false
			}
		}
		return c.attributes.values[s.slot], true
	}
	w := &c.ways[s.way]
	if !w.read {
		w.look(msg)
	}
	switch {
	case w.scanned:
		return w.values[s.slot], true
	case w.repeats != nil:
		if v, ok = s.Path.only(w.repeats); !ok {
			*verdict = w.why
		}
		return v, ok
	case w.why.Outcome == message.Returned, w.why.Rejection.Reason == message.ReasonTooLarge, w.why.Rejection.Reason == message.ReasonDuplicateKey:
		*verdict = w.why
		return nil, false
	default: // it is none of a message that the model could read
		return nil, true
	}
}

// look reads the document.
func (w *wayReader) look(msg *message.Message) {
	w.read = true
	if !msg.HasBody {
		w.scanned, w.why = false, rejected(message.Rejection{Reason: message.ReasonNoBody})
		return
	}
	w.budget.again(func() { w.scan(msg.Body, &w.why) })
	last := len(w.m.layers) - 1
	if w.scanned || w.layer < last || w.why.Rejection.Reason != message.ReasonDuplicateKey {
		return
	}
	if text := bytes.TrimPrefix(w.texts[last], bom); CheckJSON(text).IsZero() {
		w.repeats = text[jsonscan.Space(text, 0):]
	}
}

// none returns why no model takes a message: its body cannot be read at all, or has none of the values.
func (c *chooser) none() message.Verdict {
	unreadable := len(c.ways) > 0
	for i := range c.ways {
		w := &c.ways[i]
		unreadable = unreadable && !w.scanned && w.repeats == nil && w.why.Rejection.Reason == c.ways[0].why.Rejection.Reason
	}
	if unreadable {
		return c.ways[0].why
	}
	why := message.Rejection{Reason: message.ReasonNoModel}
	var parts []string
	for i := range c.sources {
		if i == maxTold {
			parts = append(parts, fmt.Sprintf("and %d more", len(c.sources)-i))
			break
		}
		parts = append(parts, c.expected(&c.sources[i]))
	}
	why.Detail = strings.Join(parts, "; ")
	return rejected(why)
}

// maxTold bounds the places that a rejection tells.
const maxTold = 5

// expected says what a source must have to choose a model, and what kind of value it has.
func (c *chooser) expected(s *source) string {
	all := When{Attribute: s.Attribute, Path: s.Path, Layer: s.Layer, oneOf: s.oneOf}
	text := "expected " + all.place() + " to be " + all.values() + ", found "
	v, _ := c.value(s, nil, new(message.Verdict))
	switch {
	case v != nil && formOf(v) == anyForm:
		return text + kindOf(v)
	case v != nil:
		return text + "another " + strings.TrimPrefix(kindOf(v), "a ")
	case s.way < 0 || c.ways[s.way].repeats != nil:
		return text + "none"
	}
	w := &c.ways[s.way]
	if !w.scanned {
		return text + string(w.why.Rejection.Reason)
	}
	for _, n := range w.otherCase {
		if len(n.at) <= len(s.Path) && slices.Equal(n.at, s.Path[:len(n.at)]) {
			return text + "a name that differs from " + n.path + " in upper and lower case only"
		}
	}
	document := w.documents[s.Layer]
	if n, null := s.Path.null(document); null {
		return text + "null at " + s.Path[:n].String()
	}
	return joined(text+"none", lookalike(w.m.layers[s.Layer].root, document))
}
