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
// only the first. A body that cannot be read to its end has those up to there.
func (m *Model) Unread(body []byte) (all []Visited) {
	r := m.Reader(mask.Unkeyed())
	r.entered = func(n *node) {
		if !n.whole {
			all = append(all, Visited{Layer: r.layer, Path: n.at})
		}
	}
	r.unread = func(n *node, to Segment, follows []byte) {
		i := len(all) - 1
		for all[i].Layer != r.layer || !slices.Equal(all[i].Path, n.at) { // the last one is perhaps within it
			i--
		}
		all[i].Unread = append(all[i].Unread, Member{to, bytes.Clone(follows[:jsonscan.ValueEnd(follows, 0)])})
	}
	r.budget.message()
	r.scan(body, new(message.Verdict))
	return all
}
