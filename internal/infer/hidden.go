package infer

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Hidden is printed instead of names that may be data.
const Hidden = "*"

// dataNames are the forms of data that an object may be keyed by.
var dataNames = regexp.MustCompile(`(?i)[0-9]{4}` + // ids, years, phone numbers
	`|^[^\p{L}_$@#/:-]|^-[0-9]` + // a number, and what is no word
	`|^.+@` + // an e-mail address
	`|^[0-9a-f]{2}([:-][0-9a-f]{2}){3,}$` + // a MAC address
	`|^[0-9a-f-]{16,}$` + // a hash, a UUID
	`|^[a-z]{1,12}([-:#/.][0-9]+|_[0-9]{2,})[a-z]*$` + // u-1, user_17
	`|^(https?|arn|urn|mailto|tel):` +
	`|[0-9].*[0-9].*[a-z].*[0-9].*[0-9]|[a-z][0-9]+[a-z][0-9]+[a-z0-9]*[0-9]`) // a random text

// LooksLikeData reports whether the name of a member looks like a value (an id, an address, a date,
// a number) that somebody keyed an object by, and not like a word of a program. Such a name is never
// printed. Names that look like words may be data too: see Names.
func LooksLikeData(name string) bool {
	if name == "" || len(name) > maxName || strings.Count(name, " ") > 2 || dataNames.MatchString(name) {
		return true
	}
	if strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == unicode.ReplacementChar || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Co)
	}) {
		return true
	}
	_, notAddress := netip.ParseAddr(name)
	return notAddress == nil
}

// members are the members of the objects at one path.
type members struct {
	objects  int // that were seen
	byName   map[string]*node
	inOrder  []*node
	clashes  map[string]bool // folded names that occur in several forms and are not all followed
	folded   map[string]bool
	dataLike int // occurrences of names that look like data
	surplus  int // occurrences of names after the first maxNames

	// sets are the sets of names that the objects have, as many as are kept.
	sets map[string]bool
	set  []int // of the object at hand, by the order of the names
}

// maxSets limits what is kept of sets of names, in bytes.
const maxSets = 32 << 20

// end ends an object. left is how many bytes may be kept.
func (m *members) end(left *int) {
	m.objects++
	slices.Sort(m.set)
	key := make([]byte, 0, 64)
	for _, i := range m.set {
		key = binary.AppendUvarint(key, uint64(i)) //nolint:gosec // it is positive
	}
	m.set = m.set[:0]
	if m.sets[string(key)] || len(m.sets) >= maxShapes || *left < len(key) {
		return
	}
	if m.sets == nil {
		m.sets = map[string]bool{}
	}
	*left -= len(key)
	m.sets[string(key)] = true
}

// The rule for names that look like words. A name of a program is in many bodies; names that are data
// (of people, places, products) are each in few, or exclude each other.
const (
	enoughBodies = 2  // that have a name, unless the sample is one body
	enoughPart   = 10 // at least a tenth of its parent's objects have a name that is shown
	manyNames    = 20 // of which none is in most objects
	enoughUnion  = 5  // objects of one of several shapes that exclude each other
)

// shown reports which names may be printed, by their order. A sample of one body tells nothing but
// what LooksLikeData sees. Of several bodies, a name is shown if two of them and one in ten of the
// objects have it, and if it is not one of several that exclude each other and have values of one kind.
func (m *members) shown(bodies int) []bool {
	shown, most := make([]bool, len(m.inOrder)), 0
	for i, n := range m.inOrder {
		shown[i] = bodies == 1 || n.bodies >= enoughBodies && n.seen*enoughPart >= m.objects
		most = max(most, n.seen)
	}
	switch {
	case bodies == 1:
	case most*2 <= m.objects && (len(m.inOrder) >= manyNames || m.dataLike+m.surplus > len(m.inOrder)):
		clear(shown)
	default:
		sets := m.decoded()
		m.hideExclusive(shown, sets, 2) // in at most half of the objects
		m.hideExclusive(shown, sets, 3) // in at most three quarters
	}
	return shown
}

func (m *members) decoded() (sets [][]int) {
	for key := range m.sets {
		var set []int
		for rest := []byte(key); len(rest) > 0; {
			i, n := binary.Uvarint(rest)
			set, rest = append(set, int(i)), rest[n:] //nolint:gosec // it was an int
		}
		sets = append(sets, set)
	}
	return sets
}

// hideExclusive hides names that exclude each other: no object has two of them, or more than a third
// of them. It looks at names with values of one kind, in at most the given quarters of the objects.
func (m *members) hideExclusive(shown []bool, sets [][]int, quarters int) {
	var groups [kinds + 1][]int
	groupOf := make([]kind, len(m.inOrder))
	for i, n := range m.inOrder {
		groupOf[i] = -1
		if n.seen*4 <= m.objects*quarters {
			k := n.oneKind()
			groupOf[i], groups[k] = k, append(groups[k], i)
		}
	}
	var most [kinds + 1]int // that one object has
	for _, set := range sets {
		var has [kinds + 1]int
		for _, i := range set {
			if k := groupOf[i]; k >= 0 {
				has[k]++
				most[k] = max(most[k], has[k])
			}
		}
	}
	together := m.together(sets)
	for k, group := range groups {
		if len(group) < 2 || most[k] > 1 && most[k]*3 > len(group) {
			continue
		}
		within := map[string]int{} // of how many of the group's objects
		for _, i := range group {
			for name := range m.inOrder[i].byName {
				within[name]++
			}
		}
		for _, i := range group {
			if !together[i] && !m.inOrder[i].ownShape(within) {
				shown[i] = false
			}
		}
	}
}

// oneKind returns the kind of a member's values, or kinds if they are of several. null is of any.
func (n *node) oneKind() (one kind) {
	for k := kindNull + 1; k < kinds; k++ {
		switch {
		case n.kinds[k] == 0:
		case one != kindNull:
			return kinds
		default:
			one = k
		}
	}
	return one
}

// together reports which members always come with another one whose values are of another kind, as
// the members of one type of message do: a name that an object is keyed by comes alone.
func (m *members) together(sets [][]int) []bool {
	seed, found := maphash.MakeSeed(), make([]bool, len(m.inOrder))
	in := make([]uint64, len(m.inOrder)) // which sets have it
	for nr, set := range sets {
		h := maphash.Comparable(seed, nr)
		for _, i := range set {
			in[i] ^= h
		}
	}
	type company struct {
		in   uint64
		seen int
	}
	kindsOf := map[company]uint{}
	for i, n := range m.inOrder {
		kindsOf[company{in[i], n.seen}] |= 1 << n.oneKind()
	}
	for i, n := range m.inOrder {
		all := kindsOf[company{in[i], n.seen}]
		found[i] = n.seen < m.objects && all&(all-1) != 0
	}
	return found
}

// ownShape reports whether the values are objects that all have a name which no object of a sibling
// has, as the types of a union do.
func (n *node) ownShape(within map[string]int) bool {
	return n.seen >= enoughUnion && slices.ContainsFunc(n.inOrder, func(child *node) bool {
		return child.seen == n.kinds[kindObject] && within[child.name] == 1
	})
}

// Names are the names of members of the objects at one path of a sample, to print them by the same
// rule as a draft does.
type Names struct {
	members
	used int // bytes of sets
}

// Add counts an object's members.
func (all *Names) Add(object iter.Seq2[string, []byte]) {
	left := maxSets - all.used
	for name, value := range object {
		n := all.count(name)
		if n == nil {
			continue
		}
		k := kindOf(value)
		n.kinds[k]++
		if k == kindObject {
			for inner := range eachMember(value) {
				n.count(inner)
			}
		}
	}
	all.end(&left)
	all.used = maxSets - left
}

// count counts a member, and returns nil if its name is not kept.
func (m *members) count(name string) *node {
	n := m.byName[name]
	switch {
	case n != nil:
	case LooksLikeData(name):
		m.dataLike++
		return nil
	case len(m.inOrder) >= maxNames:
		m.surplus++
		return nil
	default:
		n = m.adopt(&node{name: name})
	}
	n.seen++
	n.bodies++
	m.set = append(m.set, n.index)
	return n
}

// adopt adds a member.
func (m *members) adopt(n *node) *node {
	if m.byName == nil {
		m.byName = map[string]*node{}
	}
	n.index = len(m.inOrder)
	m.byName[n.name] = n
	m.inOrder = append(m.inOrder, n)
	return n
}

// Shown returns how many objects have each name that may be printed, and how many members have other
// names. bodies is the size of the sample.
func (all *Names) Shown(bodies int) (names map[string]int, others int) {
	names, others = map[string]int{}, all.dataLike+all.surplus
	for i, ok := range all.shown(bodies) {
		if n := all.inOrder[i]; ok {
			names[n.name] = n.seen
		} else {
			others += n.seen
		}
	}
	return names, others
}
