package model

import (
	"slices"

	"sluice/internal/mask"
)

// Member is a member of a body.
type Member struct {
	Layer int
	Path  string // as a model would write it
}

// Unread lists the members of a body that the model does not read, in the order of the body. What is
// below such a member is not listed, and of the elements of an array only the first. A body that cannot be read to its end has those up to there.
// Names of members can be personal.
func (m *Model) Unread(body []byte) (members []Member) {
	r := m.Reader(mask.Unkeyed())
	r.unread = func(n *node, to Segment) {
		path := slices.Concat(n.at, Path{to})
		members = append(members, Member{r.layer, path.String()})
	}
	r.scan(body)
	return members
}
