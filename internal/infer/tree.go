package infer

import (
	"bytes"
	"hash/maphash"
	"iter"
	"slices"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// The limits of what is kept of a sample, however long it is.
const (
	maxNames    = 1000    // names of one object that are followed; further ones are counted
	maxNodes    = 20_000  // names in all
	maxDepth    = 12      // objects within objects whose members become fields
	maxHashes   = 1 << 20 // values in all that are kept, as hashes, to find one that repeats
	maxDistinct = 100     // distinct values of one member that are counted
	maxShapes   = 1000    // sets of members
	maxBytes    = 8 << 20 // of a body that is unwrapped
	maxTyped    = 512     // of a string that is tried as more than text
)

// kind is a kind of JSON value.
type kind int

const (
	kindNull kind = iota
	kindString
	kindNumber
	kindBoolean
	kindArray
	kindObject
	kinds
)

func kindOf(raw []byte) kind {
	switch raw[0] {
	case 'n':
		return kindNull
	case '"':
		return kindString
	case 't', 'f':
		return kindBoolean
	case '[':
		return kindArray
	case '{':
		return kindObject
	default:
		return kindNumber
	}
}

// String names values of a kind.
func (k kind) String() string {
	return [...]string{"null", "strings", "numbers", "booleans", "arrays", "objects"}[k]
}

// node is what is known of one member: of the values that a path has in all bodies.
type node struct {
	id       int
	name     string
	index    int // among its siblings
	seen     int // how often it is there, null included
	bodies   int // bodies that have it
	body     int // the last of them
	kinds    [kinds]int
	blank    int  // strings of white space only
	fine     bool // some have more digits after the point than a time in a key
	fraction bool // some numbers have a fraction or an exponent

	signs trait // in its values, and within them
	cards int   // numbers that look like card numbers
	tried []tally
	lists []tally
	json  tally

	// Of a member that a live column has the name of.
	column   *Column
	classes  []class
	remedies []remedy

	elements  [kinds]int // of arrays
	longArray int        // arrays of more than one element
	filled    int        // arrays of one element at least

	distinct []uint64            // hashes of its scalars, until there are too many
	many     bool                // more than maxDistinct
	hashes   map[uint64]struct{} // of all its scalars, while none repeats
	repeats  bool
	deep     bool // an object that is too deep to be followed
	unproven bool // the hashes were given up

	members
	// items are the objects in arrays, where these are followed: each may be a row.
	items    *document
	embedded documents
}

// tally counts the values that have a form.
type tally struct {
	form          *form
	tried, passed int
	last          int // 1 if the last value that was tried passed
}

// test counts a value. A form that few values have is not tried for ever, unless all values count.
func (t *tally) test(raw []byte, all bool) {
	t.last = 0
	if failed := t.tried - t.passed; failed > 20 && failed > t.passed/8 && !all {
		return
	}
	t.tried++
	if t.form.loads() && t.form.read.accepts(raw) {
		t.last = 1
	}
	t.passed += t.last
}

// walker looks at one body after another.
type walker struct {
	*Sample
	seed  maphash.Seed
	shape []int // ids of the nodes that the body has
	items bool  // what is walked is in an array
	names map[string]trait
}

// object walks an object whose syntax has been checked.
func (w *walker) object(n *node, raw []byte, path []string) {
	for name, v := range eachMember(raw) {
		if child := w.member(n, name); child != nil {
			n.set = append(n.set, child.index)
			w.value(child, v, append(path, name))
		}
	}
	n.end(&w.sets)
}

// eachMember returns the members of an object whose syntax has been checked. A value is valid until the
// next one.
func eachMember(object []byte) iter.Seq2[string, jsontext.Value] {
	return func(yield func(string, jsontext.Value) bool) {
		dec := jsontext.NewDecoder(bytes.NewReader(object))
		_, _ = dec.ReadToken() // {
		for dec.PeekKind() == '"' {
			token, err := dec.ReadToken()
			if err != nil {
				return
			}
			name := token.String()
			v, err := dec.ReadValue()
			if err != nil || !yield(name, v) {
				return
			}
		}
	}
}

// member returns the node of a member, nil for one that is not followed.
func (w *walker) member(n *node, name string) *node {
	child := n.byName[name]
	switch {
	case child != nil:
		return child
	case len(n.inOrder) >= maxNames || w.nodes >= maxNodes:
		n.surplus++
		n.clash(name)
		return nil
	case LooksLikeData(name):
		n.dataLike++
		return nil
	}
	return n.adopt(w.newNode(name))
}

// clash remembers a name that is not followed, if it differs from one that is in case only.
func (n *node) clash(name string) {
	if n.folded == nil {
		n.folded, n.clashes = map[string]bool{}, map[string]bool{}
		for _, child := range n.inOrder {
			n.folded[fold(child.name)] = true
		}
	}
	if f := fold(name); n.folded[f] {
		n.clashes[f] = true
	}
}

func (w *walker) value(n *node, raw []byte, path []string) {
	n.seen++
	if n.body != w.Bodies {
		n.bodies, n.body = n.bodies+1, w.Bodies
	}
	w.shape = append(w.shape, n.id)
	k := kindOf(raw)
	n.kinds[k]++
	if n.seen == 1 {
		w.prepare(n, path)
	}
	switch k {
	case kindNull:
	case kindObject:
		n.json.test(raw, false)
		n.signs |= w.within(raw, n.name)
		if n.deep = len(path) >= maxDepth; !n.deep {
			w.object(n, raw, path)
		}
	case kindArray:
		n.json.test(raw, false)
		n.signs |= w.within(raw, n.name)
		for i := range n.lists {
			n.lists[i].test(raw, false)
		}
		w.array(n, raw, path)
	default:
		w.scalar(n, raw)
	}
}

// prepare chooses the forms that the values of a node are tried for.
func (w *walker) prepare(n *node, path []string) {
	n.signs |= nameTraits(path)
	forms, lists := w.forms(path)
	for _, f := range forms {
		n.tried = append(n.tried, tally{form: f})
	}
	for _, f := range lists {
		n.lists = append(n.lists, tally{form: f})
	}
	n.json = tally{form: w.jsonForm}
	if n.column = w.column(path); n.column != nil {
		n.remedies = n.column.remedies()
	}
}

func (w *walker) array(n *node, raw []byte, path []string) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw))
	_, _ = dec.ReadToken() // [
	for i := 0; dec.PeekKind() != ']'; i++ {
		v, err := dec.ReadValue()
		if err != nil {
			return
		}
		n.elements[kindOf(v)]++
		switch i {
		case 0:
			n.filled++
		case 1:
			n.longArray++
		}
		if v[0] == '{' && len(path) == 1 {
			w.item(n, v, path)
		}
	}
}

// item walks an object in an array.
func (w *walker) item(n *node, raw []byte, path []string) {
	if n.items == nil {
		n.items = &document{root: w.newNode(""), shapes: map[string]bool{}}
	}
	n.items.count++
	before, outer := len(w.shape), w.items
	w.items = true
	w.object(n.items.root, raw, path)
	w.items = outer
	w.shaped(n.items, slices.Clone(w.shape[before:]))
}

func (w *walker) scalar(n *node, raw []byte) {
	v := scalarValue{raw: raw, text: raw}
	switch raw[0] {
	case '"':
		v.text, _ = jsontext.AppendUnquote(nil, raw) // the syntax has been checked
		if len(bytes.TrimFunc(v.text, unicode.IsSpace)) == 0 {
			n.blank++
		}
		n.signs |= textTraits(v.text) | w.embed(n, v.text)
	case 't', 'f':
	default:
		if isCard(v.text) {
			n.cards++
		}
	}
	n.fine = n.fine || fineText.Match(v.text)
	n.fraction = n.fraction || raw[0] != '"' && kindOf(raw) == kindNumber && bytes.ContainsAny(raw, ".eE")
	n.try(&v)
	n.json.test(raw, false)
	h := maphash.Bytes(w.seed, v.text)
	if n.column != nil {
		n.fit(&v, h)
	}
	w.hash(n, h)
}

// try tries the forms on a scalar. A long one is text, or bytes.
func (n *node) try(v *scalarValue) {
	var plain, masked *tally // of a string: those that accept numbers too say the same
	for i := range n.tried {
		t := &n.tried[i]
		t.last = 0
		if len(v.text) > maxTyped && !t.form.isText() || !t.form.triedOn(v) {
			continue
		}
		switch id := t.form.id; {
		case id == formMixed && plain != nil && v.raw[0] == '"':
			t.tried, t.passed, t.last = t.tried+1, t.passed+plain.last, plain.last
		case id == formMaskedMixed && masked != nil && v.raw[0] == '"':
			t.tried, t.passed, t.last = t.tried+1, t.passed+masked.last, masked.last
		default:
			t.test(v.raw, n.column != nil)
		}
		switch t.form.id {
		case formText:
			plain = t
		case formMasked:
			masked = t
		}
	}
}

// hash records a scalar, by its hash, to find whether values repeat and how many there are.
func (w *walker) hash(n *node, h uint64) {
	if !n.many {
		found := false
		for _, known := range n.distinct {
			found = found || known == h
		}
		if !found {
			if n.many = len(n.distinct) == maxDistinct; n.many {
				n.distinct = nil
			} else {
				n.distinct = append(n.distinct, h)
			}
		}
	}
	if n.unproven = n.unproven || w.items; n.repeats || n.unproven { // what tells rows apart is not asked
		return
	}
	if _, ok := n.hashes[h]; ok {
		n.repeats = true
		w.hashed -= len(n.hashes)
		n.hashes = nil
		return
	}
	if w.hashed >= maxHashes {
		n.unproven = true
		w.hashed -= len(n.hashes)
		n.hashes = nil
		return
	}
	if n.hashes == nil {
		n.hashes = map[uint64]struct{}{}
	}
	n.hashes[h] = struct{}{}
	w.hashed++
}

// within returns the signs in a whole value, in its names too. owner is the value's own name.
func (w *walker) within(raw []byte, owner string) (signs trait) {
	dec := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true))
	for {
		t, err := dec.ReadToken()
		if err != nil { // its end: the syntax has been checked
			return signs
		}
		if t.Kind() != '"' {
			continue
		}
		text := t.String()
		if kind, n := dec.StackIndex(dec.StackDepth()); kind == '{' && n%2 == 1 { // a name
			signs |= w.nameSigns(owner, text)
		}
		signs |= textTraits([]byte(text))
	}
}

// nameSigns returns the signs of a name within a json value.
func (w *walker) nameSigns(owner, name string) trait {
	key := owner + "\x00" + name
	if t, ok := w.names[key]; ok {
		return t
	}
	t := nameTraits([]string{owner, name})
	if len(w.names) < maxNames {
		w.names[key] = t
	}
	return t
}
