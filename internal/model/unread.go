package model

import (
	"bytes"
	"slices"

	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
)

// Visited is an object or an array of a body that paths lead through.
type Visited struct {
	Layer int
	Path  Path
	// Unread is what the model does not read of it, in the order of the body.
	Unread []Member
}

// Member is a member of an object, or an element of an array. Its name can be personal, as its value
// can.
type Member struct {
	Segment
	Value []byte // JSON
}

// Unread lists the objects and arrays of a body that the model reads something of, with the members
// that it does not read. What is below such a member is not listed, and of the elements of an array
// only the first. All elements that are rows are listed as one, whose path has [*]. Of a body that cannot
// be read to its end, it lists those up to there.
func (m *Model) Unread(body []byte) (all []Visited) {
	r := m.Reader(mask.Unkeyed())
	at := func(n *node) Path { return n.at }
	find := func(path Path) int { // the last one is perhaps within it
		i := len(all) - 1
		for i >= 0 && (all[i].Layer != r.layer || !slices.Equal(all[i].Path, path)) {
			i--
		}
		return i
	}
	r.entered = func(n *node) {
		if path := at(n); !n.whole && (r.number == 0 || find(path) < 0) {
			all = append(all, Visited{Layer: r.layer, Path: path})
		}
	}
	r.unread = func(n *node, to Segment, follows []byte) {
		of := &all[find(at(n))]
		if r.number > 0 && slices.ContainsFunc(of.Unread, func(known Member) bool { return known.Segment == to }) {
			return // of another element
		}
		of.Unread = append(of.Unread, Member{to, bytes.Clone(follows[:jsonscan.ValueEnd(follows, 0)])})
	}
	r.budget.message()
	if r.scan(body, new(message.Verdict)); !r.scanned {
		return all
	}
	r.number = 1 // within elements
	for _, t := range m.Tables() {
		if e := t.rows; e != nil {
			at = func(n *node) Path { return e.path(n.at) }
			r.eachElement(e, func() {})
		}
	}
	return all
}
