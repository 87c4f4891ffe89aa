package model

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/jsonscan"
)

// node is a place in a document that paths lead to or through. The paths of all fields of a layer
// are one tree, which is walked beside the document in one pass.
type node struct {
	at   Path
	path string // the same, as a model writes it
	// slot is where the value goes in Reader.values, -1 if no path ends here.
	slot     int
	members  []edge
	quoted   map[string]int // index of the member, by its edge's quoted
	elements []element
	field    string // the first field below, for rejections
	whole    bool   // a path ends here or above, so every member is read
}

type edge struct {
	name   string
	quoted []byte // as most producers write the name
	to     *node
	leaf   int // slot of to if no path goes on there, else -1
}

type element struct {
	index int
	to    *node
}

func (n *node) inner() bool { return len(n.members)+len(n.elements) > 0 }

// add adds a path for a field, and returns the node at its end.
func (n *node) add(p Path, field string) *node {
	for i, s := range p {
		n = n.step(s, p[:i+1], field)
	}
	return n
}

// step returns the node after a segment.
func (n *node) step(s Segment, path Path, field string) *node {
	if s.Element {
		for _, e := range n.elements {
			if e.index == s.Index {
				return e.to
			}
		}
		to := newNode(path, field)
		n.elements = append(n.elements, element{s.Index, to})
		return to
	}
	for _, m := range n.members {
		if m.name == s.Name {
			return m.to
		}
	}
	to := newNode(path, field)
	quoted, _ := jsontext.AppendQuote(nil, s.Name) // the loader has checked it
	n.quoted[string(quoted)] = len(n.members)
	n.members = append(n.members, edge{s.Name, quoted, to, -1})
	return to
}

func newNode(path Path, field string) *node {
	return &node{at: slices.Clone(path), path: path.String(), slot: -1, quoted: map[string]int{}, field: field}
}

// each calls do for every slot at the node and below it.
func (n *node) each(do func(slot int)) {
	if n.slot >= 0 {
		do(n.slot)
	}
	for _, m := range n.members {
		m.to.each(do)
	}
	for _, e := range n.elements {
		e.to.each(do)
	}
}

// settle marks the nodes whose members are all read, and the edges to leaves.
func (n *node) settle(above bool) {
	n.whole = above || n.slot >= 0
	for i := range n.members {
		m := &n.members[i]
		m.to.settle(n.whole)
		if !m.to.inner() {
			m.leaf = m.to.slot
		}
	}
	for _, e := range n.elements {
		e.to.settle(n.whole)
	}
}

// otherCase finds a member whose name differs from another field's in case only: then no body could
// have both.
func (n *node) otherCase(s Segment, field string) (other *node) {
	for _, m := range n.members {
		if !s.Element && m.name != s.Name && strings.EqualFold(m.name, s.Name) && m.to.field != field {
			return m.to
		}
	}
	return nil
}

// walk reads the value that begins at an offset, beside the node n, and returns its end. The syntax
// has been checked.
func (r *Reader) walk(n *node, text []byte, at int) (end int) {
	switch {
	case text[at] == '{' && len(n.members) > 0:
		end = r.walkObject(n, text, at)
	case text[at] == '[' && len(n.elements) > 0:
		end = r.walkArray(n, text, at)
	default:
		end = jsonscan.ValueEnd(text, at)
	}
	r.arrive(n, text[at:end])
	return end
}

// arrive keeps the value at a node, and notes a value of a kind that the paths through it cannot
// follow.
func (r *Reader) arrive(n *node, v []byte) {
	switch {
	case v[0] == 'n': // null counts as absent, but it is there
		r.seen = true
		return
	case n.slot >= 0:
		r.values[n.slot] = v
		r.seen = true
	}
	w := wrongStep{at: n, members: len(n.members) > 0 && v[0] != '{', elements: len(n.elements) > 0 && v[0] != '['}
	if w.members || w.elements {
		w.found = kindOf(v)
		r.seen = true // the fields behind it are rejected for that
		r.wrongSteps = append(r.wrongSteps, w)
	}
}

// wrongStep is a value of a kind that paths through it cannot follow: those to members, or those to
// elements.
type wrongStep struct {
	at                *node
	found             string
	members, elements bool
}

// expected says what the paths through a node need.
func (w wrongStep) expected() string {
	switch {
	case !w.elements:
		return "an object"
	case !w.members:
		return "an array"
	default:
		return "an object or an array"
	}
}

// stops reports whether a path of a field goes through the value.
func (w wrongStep) stops(f *Field) (yes bool) {
	check := func(slot int) { yes = yes || slices.Contains(f.slots, slot) }
	for _, m := range w.at.members {
		if w.members {
			m.to.each(check)
		}
	}
	for _, e := range w.at.elements {
		if w.elements {
			e.to.each(check)
		}
	}
	return yes
}

func (r *Reader) walkObject(n *node, text []byte, at int) (end int) {
	if r.entered != nil {
		r.entered(n)
	}
	next := 0 // most producers write the members in one order
	for at++; ; {
		at = jsonscan.Space(text, at)
		if text[at] == ',' {
			at = jsonscan.Space(text, at+1)
		}
		if text[at] == '}' {
			return at + 1
		}
		expected := next < len(n.members) && bytes.HasPrefix(text[at:], n.members[next].quoted)
		var nameEnd int
		if expected {
			nameEnd = at + len(n.members[next].quoted)
		} else {
			nameEnd = jsonscan.StringEnd(text, at)
		}
		start := jsonscan.Space(text, jsonscan.Space(text, nameEnd)+1) // after the colon
		which := next
		if !expected {
			which = r.lookUp(n, text[at:nameEnd], text[start:])
		}
		if which < 0 {
			at = jsonscan.ValueEnd(text, start)
			continue
		}
		next = which + 1
		m := &n.members[which]
		if m.leaf < 0 {
			at = r.walk(m.to, text, start)
			continue
		}
		r.seen = true
		if text[start] == '"' {
			at = jsonscan.StringEnd(text, start)
		} else {
			at = jsonscan.ValueEnd(text, start)
		}
		if text[start] != 'n' {
			r.values[m.leaf] = text[start:at]
		}
	}
}

// lookUp finds the member of a name with its quotes, -1 for none. A name that differs from a
// member's only in case is a problem: losing that value silently would be worse than losing the
// message. What follows the name begins with its value.
func (r *Reader) lookUp(n *node, name, follows []byte) int {
	if i, ok := n.quoted[string(name)]; ok {
		return i
	}
	text := name[1 : len(name)-1]
	if bytes.IndexByte(text, '\\') >= 0 {
		r.scratch, _, _ = jsonscan.AppendString(r.scratch[:0], name, 0)
		text = r.scratch
	}
	for i := range n.members {
		if string(text) == n.members[i].name {
			return i
		}
	}
	for i := range n.members {
		if bytes.EqualFold(text, []byte(n.members[i].name)) {
			r.otherCase = append(r.otherCase, n.members[i].to)
			return -1
		}
	}
	if !n.whole && r.unread != nil {
		r.unread(n, Segment{Name: string(text)}, follows)
	}
	return -1
}

// walkArray reads an array once, and once more if paths count from its end.
func (r *Reader) walkArray(n *node, text []byte, at int) (end int) {
	length := -1
	for _, e := range n.elements {
		if e.index < 0 {
			length = arrayLength(text, at)
			break
		}
	}
	if r.entered != nil {
		r.entered(n)
	}
	told := n.whole || r.unread == nil
	for i := 0; ; i++ {
		at = jsonscan.Space(text, at+1)
		if text[at] == ']' {
			return at + 1
		}
		start := at
		for _, e := range n.elements {
			if e.index == i || e.index < 0 && e.index+length == i {
				at = r.walk(e.to, text, start)
			}
		}
		if at == start {
			at = jsonscan.ValueEnd(text, start)
			if !told { // the first of them stands for all
				r.unread(n, Segment{Element: true, Index: i}, text[start:])
				told = true
			}
		}
		if at = jsonscan.Space(text, at); text[at] == ']' {
			return at + 1
		}
	}
}

// arrayLength counts the elements of an array.
func arrayLength(text []byte, at int) (n int) {
	for {
		at = jsonscan.Space(text, at+1)
		if text[at] == ']' {
			return n
		}
		n++
		if at = jsonscan.Space(text, jsonscan.ValueEnd(text, at)); text[at] == ']' {
			return n
		}
	}
}

// kindOf names the kind of a JSON value, for people.
func kindOf(v []byte) string {
	switch v[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}
