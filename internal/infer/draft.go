package infer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"

	"example.com/owner/sluice/internal/mask"
)

// field is a member that the draft reads, and its column.
type field struct {
	name   string // in the model
	column string
	path   []step
	layer  int // -1: the innermost
	form   *form
	node   *node
	item   bool // it is of the elements that are the rows, and its path begins with the array's
	// filled: it is present and not null or blank in all bodies, or all elements.
	filled   bool
	personal trait
	evidence string
	id       idKind // what it tells apart, if it is an id
	// says is what its name, if it is in the metadata, or that of what it is in says of the messages;
	// beside it what its own name does.
	says, beside tells
}

// step is a name of a path, the index 0 where the name is empty, or each element: no member that is
// followed has such a name.
type step = string

const eachElement step = "*"

// drafter makes a draft of what a sample knows.
type drafter struct {
	*Sample
	total   int         // bodies
	names   identifiers // of fields
	columns identifiers
	fields  []field
	// out are lines about what the draft leaves out.
	out     []string
	more    int // such lines that are not kept
	surplus int // members after the first maxNames fields
	// consumed are the strings that unwrap reads.
	consumed map[*node]bool
	layers   int
	rows     *node // the array whose elements are the rows, nil if a body is one
	inRows   bool  // what is being drafted is of an element
}

// layer is a JSON document within the bodies.
type layer struct {
	doc  *document
	path []step // of the string that holds the next one
	node *node  // that string
}

// errNothing reports that a sample has nothing to draft from.
var errNothing = errors.New("no body is a JSON object with members that can be drafted")

// Draft returns the text of a model file. name is the model's, as in payments.
func (s *Sample) Draft(name string) (string, error) {
	doc := s.main()
	if doc == nil {
		return "", errNothing
	}
	layers := []layer{{doc: doc}}
	for last := &layers[0]; ; last = &layers[len(layers)-1] {
		next := s.next(last)
		if next == nil {
			break
		}
		layers = append(layers, layer{doc: next})
	}
	shape := recognise(layers)
	rows := s.rowsIn(layers[len(layers)-1].doc.root, doc.count)
	d := s.read(layers, shape, rows)
	if rows != nil && !slices.ContainsFunc(d.fields, func(f field) bool { return f.item }) {
		d = s.read(layers, shape, nil) // nothing of an element can be drafted
	}
	if len(d.fields) == 0 {
		return "", fmt.Errorf("%w%s", errNothing, d.why())
	}
	text, err := d.write(identifier([]string{name}), layers, shape)
	if err != nil {
		return "", fmt.Errorf("the draft does not load, which is a bug of sluice: %w", err)
	}
	return text, nil
}

// read drafts the fields of all layers. With rows, the elements of that array are the rows.
func (s *Sample) read(layers []layer, shape envelope, rows *node) *drafter {
	d := &drafter{Sample: s, total: layers[0].doc.count, names: identifiers{}, columns: identifiers{}, consumed: map[*node]bool{}, layers: len(layers), rows: rows}
	if s.table != nil {
		s.table.empty()
	}
	if rows != nil {
		shape.drops = append(slices.Clone(shape.drops), []step{rows.name, eachElement})
	}
	for _, l := range layers[:len(layers)-1] {
		d.consumed[l.node] = true
	}
	for i, l := range slices.Backward(layers) {
		if i == len(layers)-1 {
			i = -1
		}
		d.members(l.doc.root, nil, i, shape)
	}
	return d
}

// rowsIn returns the array of an object whose elements are the rows, nil if a body is one: its only array
// of objects that has one in every body, so that nothing of a body is lost, and several in some; or
// Records, which S3 and others send with one or more.
func (s *Sample) rowsIn(root *node, bodies int) (found *node) {
	ambiguous := root.ambiguous()
	for i, ok := range s.shown(root, nil, bodies) {
		n := root.inOrder[i]
		objects := n.items != nil && n.items.count == total(n.elements) && n.kinds[kindArray] == n.seen-n.kinds[kindNull]
		switch {
		case !ok || !objects || ambiguous[fold(n.name)]:
		case n.name != "Records" && (n.longArray == 0 || n.filled < bodies):
		case s.table != nil && (s.named([]step{n.name}) != nil || !s.takesItems(root, n)):
		case found != nil:
			return nil
		default:
			found = n
		}
	}
	return found
}

// takesItems reports whether the table is for the elements of an array: it has a column for one of their
// members, and the object around the array fills neither that column nor a key.
func (s *Sample) takesItems(root, array *node) bool {
	around := map[*Column]bool{}
	for _, n := range root.inOrder {
		around[s.named([]step{n.name})] = true
	}
	for _, key := range s.table.Keys {
		if !slices.ContainsFunc(s.table.Columns, func(c *Column) bool { return slices.Contains(key, c.Name) && !around[c] }) {
			return false
		}
	}
	var takes func(n *node, path []step) bool
	takes = func(n *node, path []step) bool {
		return slices.ContainsFunc(n.inOrder, func(child *node) bool {
			at := append(slices.Clone(path), child.name)
			c := s.column(at)
			return c != nil && !around[c] || takes(child, at)
		})
	}
	return takes(array.items.root, []step{array.name, eachElement})
}

// main returns the document that most bodies are, nil if there is none.
func (s *Sample) main() (most *document) {
	for _, d := range s.documents {
		if most == nil || d.count > most.count {
			most = d
		}
	}
	return most
}

// next finds the string that holds a document in every body, and returns the document. One with fewer
// members than there are beside it is a value of an ordinary body, as is one that has a column.
func (s *Sample) next(l *layer) *document {
	known := envelopeWith(l.doc.root.has) != ""
	var found *document
	var search func(n *node, path []step)
	search = func(n *node, path []step) {
		ambiguous := n.ambiguous()
		for _, child := range n.inOrder {
			if ambiguous[fold(child.name)] {
				continue
			}
			at := append(slices.Clone(path), child.name)
			for _, doc := range child.embedded {
				whole := known || s.column(at) == nil && len(doc.root.inOrder) >= len(l.doc.root.inOrder)-1
				if doc.count == l.doc.count && whole && (found == nil || len(doc.root.inOrder) > len(found.root.inOrder)) {
					found, l.path, l.node = doc, at, child
				}
			}
			search(child, at)
		}
		if n.items != nil && n.name == "Records" && n.longArray == 0 {
			search(n.items.root, append(slices.Clone(path), ""))
		}
	}
	search(l.doc.root, nil)
	return found
}

// why returns what was left out, for an error.
func (d *drafter) why() string {
	all := d.leftOut()
	if len(all) == 0 {
		return ""
	}
	return ": " + strings.Join(all, "; ")
}

// members drafts the members of an object.
func (d *drafter) members(n *node, path []step, at int, shape envelope) {
	shown := d.shown(n, path, d.total)
	ambiguous := n.ambiguous()
	for i, child := range n.inOrder {
		p := append(slices.Clone(path), child.name)
		switch {
		case !shown[i]:
		case d.consumed[child]:
		case at >= 0 && shape.skips(p):
			d.leave(p, "of the envelope")
		case shape.dynamo && child.name == "NULL":
			d.leave(p, "it says that the value is null, so there is nothing to read")
		case ambiguous[fold(child.name)]:
			d.leave(p, "another name differs from it in upper and lower case only, and a message that has both is ambiguous")
		case len(d.fields) >= maxNames:
			d.surplus++
		default:
			d.member(child, p, at, shape)
		}
	}
	d.hideNames(n, path, shown)
}

// shown reports which names of an object may be printed. Those that columns have may be.
func (s *Sample) shown(n *node, path []step, bodies int) []bool {
	shown := n.shown(bodies)
	for i, child := range n.inOrder {
		shown[i] = shown[i] || s.named(append(slices.Clone(path), child.name)) != nil
	}
	return shown
}

// hideNames notes how many members of an object are left out with their names.
func (d *drafter) hideNames(n *node, path []step, shown []bool) {
	for _, hidden := range []struct {
		n    int
		what string
	}{
		{n.dataLike, "members with names that look like data"},
		{len(shown) - count(shown, true), "names that occur in few bodies, or exclude each other, and may be data"},
		{n.surplus, fmt.Sprintf("members after the first %s names of one object", humanize.Comma(maxNames))},
	} {
		if hidden.n > 0 {
			d.line(fmt.Sprintf("%s.%s: %s: %s", jsonPath(path), Hidden, hidden.what, humanize.Comma(int64(hidden.n))))
		}
	}
}

func count(all []bool, what bool) (n int) {
	for _, b := range all {
		if b == what {
			n++
		}
	}
	return n
}

// ambiguous returns the folded names of members that differ in upper and lower case only: a model
// rejects a body that has the one it does not read.
func (n *node) ambiguous() map[string]bool {
	all, seen := maps.Clone(n.clashes), map[string]bool{}
	if all == nil {
		all = map[string]bool{}
	}
	for _, child := range n.inOrder {
		f := fold(child.name)
		all[f] = all[f] || seen[f]
		seen[f] = true
	}
	return all
}

// fold returns a form that names have in common if they differ only in upper and lower case.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}

// leave notes that a member is left out, and why.
func (d *drafter) leave(path []step, why string, args ...any) {
	if c := d.named(path); c != nil {
		c.left = true
	}
	d.line(jsonPath(path) + ": " + fmt.Sprintf(why, args...))
}

// maxOut limits the lines about what a draft leaves out.
const maxOut = 200

func (d *drafter) line(text string) {
	if len(d.out) == maxOut {
		d.more++
		return
	}
	d.out = append(d.out, text)
}

func (d *drafter) leftOut() []string {
	all := slices.Clone(d.out)
	if d.more > 0 {
		all = append(all, fmt.Sprintf("%s: %s others", Hidden, humanize.Comma(int64(d.more))))
	}
	if d.surplus > 0 {
		all = append(all, fmt.Sprintf("%s: members after the first %s fields: %s", Hidden, humanize.Comma(maxNames), humanize.Comma(int64(d.surplus))))
	}
	return all
}

// member drafts one member, or the members within it.
func (d *drafter) member(n *node, path []step, at int, shape envelope) {
	values := n.seen - n.kinds[kindNull]
	column := d.column(path)
	switch {
	case values == 0:
		d.leave(path, "null in all bodies")
	case n.kinds[kindObject] == values && column != nil && column.holdsJSON():
		d.wholeJSON(n, path, at, shape, "")
	case n.kinds[kindObject] == values && len(n.inOrder) == 0 && n.dataLike+n.surplus == 0 && !n.deep:
		d.leave(path, "an empty object in all bodies")
	case n.kinds[kindObject] == values && (n.deep || !slices.Contains(d.shown(n, path, d.total), true)):
		d.wholeJSON(n, path, at, shape, n.mapped())
	case n.kinds[kindObject] == values:
		if column != nil {
			d.leave(path, "%s", column.holdsNone("objects"))
		}
		d.members(n, path, at, shape)
	case n == d.rows:
		d.inRows = true
		d.members(n.items.root, append(slices.Clone(path), eachElement), at, shape)
		d.inRows = false
	case at >= 0 && n.items != nil && n.name == "Records" && n.longArray == 0: // the next layer is in it
		d.members(n.items.root, append(slices.Clone(path), ""), at, shape)
	case n.kinds[kindArray] == values && total(n.elements) == 0:
		d.leave(path, "an empty array in all bodies")
	case n.kinds[kindArray] == values:
		d.list(n, path, at, shape)
	case n.kinds[kindObject]+n.kinds[kindArray] > 0:
		d.wholeJSON(n, path, at, shape, mixture(n.kinds))
	default:
		d.scalar(n, path, at, shape)
	}
}

func total(counts [kinds]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// wholeJSON drafts a value as it was sent, unless something in it looks personal: a json field
// cannot be masked.
func (d *drafter) wholeJSON(n *node, path []step, at int, shape envelope, why string) {
	values := n.seen - n.kinds[kindNull]
	f, c := d.jsonForm, d.column(path)
	if c != nil {
		f = c.jsonForm
	}
	switch {
	case n.signs != 0:
		d.leave(path, "%sit looks personal: %s. JSON is stored as it was sent, so read what you need by paths of its own%s", prefixed(why), n.signs, d.orRows(n, path, at))
	case f == nil && c.lists != nil && n.kinds[kindArray] == values:
		d.leave(path, "column %s of type %s does not hold all of the lists: their elements are %s", c.Name, comment(c.Type), mixture(n.elements))
	case f == nil:
		d.leave(path, "%s", c.holdsNone(mixture(n.kinds)))
	case n.json.passed < values:
		d.leave(path, "%sno type holds all of its values", prefixed(why))
	default:
		d.add(n, path, at, shape, f, 0, prefixed(why)+"stored as it was sent"+d.orRows(n, path, at))
	}
}

// orRows says that the elements of an array may be rows, where the draft has not decided that they are.
func (d *drafter) orRows(n *node, path []step, at int) string {
	if d.rows != nil || at >= 0 || n.longArray == 0 || n.elements[kindObject] != total(n.elements) {
		return ""
	}
	return fmt.Sprintf("; %s have several elements: rows: %q makes a row of each", of(n.longArray, n.kinds[kindArray]), jsonPath(append(slices.Clone(path), eachElement)))
}

func prefixed(why string) string {
	if why == "" {
		return ""
	}
	return why + ": "
}

// mapped says that an object's names may be data, and how many there are.
func (n *node) mapped() string {
	switch {
	case n.deep:
		return "an object deep in others"
	case n.dataLike+n.surplus > 0:
		return fmt.Sprintf("an object whose names (%s) may be data", Hidden)
	default:
		return fmt.Sprintf("an object whose %s names (%s) may be data", humanize.Comma(int64(len(n.inOrder))), Hidden)
	}
}

// mixture counts the values of each kind, but null.
func mixture(counts [kinds]int) string {
	var all []string
	for k, c := range counts {
		if c > 0 && kind(k) != kindNull {
			all = append(all, humanize.Comma(int64(c))+" "+kind(k).String())
		}
	}
	return strings.Join(all, ", ")
}

// list drafts an array.
func (d *drafter) list(n *node, path []step, at int, shape envelope) {
	values := n.kinds[kindArray]
	scalars := n.elements[kindObject]+n.elements[kindArray] == 0
	if n.signs != 0 {
		d.leave(path, "it looks personal: %s. An array cannot be masked", n.signs)
		return
	}
	if scalars {
		for _, t := range n.lists {
			if t.passed == values {
				d.add(n, path, at, shape, t.form, 0, fmt.Sprintf("%s are %s", of(values, values), t.form.what))
				return
			}
		}
	}
	d.wholeJSON(n, path, at, shape, "arrays")
}

func of(n, values int) string {
	return humanize.Comma(int64(n)) + " of " + humanize.Comma(int64(values))
}

// scalar drafts a text, a number or a boolean.
func (d *drafter) scalar(n *node, path []step, at int, shape envelope) {
	values := n.seen - n.kinds[kindNull]
	evidence := func(f *form) string {
		return fmt.Sprintf("%s are %s%s", of(values, values), f.what, n.wrapped(path, values))
	}
	found := d.choose(n, path, values)
	if signs := n.personal(found, path); signs != 0 {
		ids := []string{formIP, formEmail, formMasked, formMaskedMixed}
		if signs&(named|holdsEmail|holdsIP) == signs&named && found != nil && found.id == formVersion {
			ids = ids[2:]
		}
		for _, id := range ids {
			if t := n.tallyOf(id); t != nil && t.passed == values {
				d.add(n, path, at, shape, t.form, signs, evidence(t.form))
				return
			}
		}
		d.notMaskable(n, path, at, found, signs)
		return
	}
	if c := d.column(path); found == nil && c != nil {
		if c.scalars == nil {
			d.leave(path, "column %s is of type %s, which sluice does not write for %s%s", c.Name, comment(c.Type), mixture(n.kinds), n.wrapped(path, values))
			return
		}
		if t := n.best(); t != nil {
			d.add(n, path, at, shape, t.form, 0, fmt.Sprintf("%s are %s that the column's type %s holds: the others will be rejected. %s", of(t.passed, values), t.form.what, comment(c.Type), n.unfit(t.form, values)))
			return
		}
		d.leave(path, "column %s of type %s does not hold most of the values: %s", c.Name, comment(c.Type), n.unfit(nil, values))
		return
	}
	if found == nil {
		d.wholeJSON(n, path, at, shape, mixture(n.kinds))
		return
	}
	text := evidence(found) + n.more(found, values)
	if unfit := n.unfit(found, values); unfit != "" {
		text += "; " + unfit
	}
	d.add(n, path, at, shape, found, 0, text)
}

// best returns the form that most values have, nil if few have one.
func (n *node) best() (most *tally) {
	for i := range n.tried {
		t := &n.tried[i]
		if !t.form.masked && t.form.id != formLocal && t.form.id != formClearIP && t.form.id != formClearEmail && t.passed*2 > n.seen-n.kinds[kindNull] && (most == nil || t.passed > most.passed) {
			most = t
		}
	}
	return most
}

// notMaskable leaves out what looks personal and cannot be masked, and says what to write if it may
// be stored in clear.
func (d *drafter) notMaskable(n *node, path []step, at int, found *form, signs trait) {
	c := d.column(path)
	if c == nil {
		d.leave(path, "it looks personal: %s. What is no text cannot be masked (%s): add it if it may be stored in clear", signs, mixture(n.kinds))
		return
	}
	why := fmt.Sprintf("it looks personal: %s. Column %s of type %s does not hold a mask, which has %d characters: change its type to varchar(%[4]d)", signs, c.Name, c.Type, mask.Size)
	for _, id := range []string{formClearIP, formClearEmail} {
		if t := n.tallyOf(id); t != nil && t.passed == n.seen-n.kinds[kindNull] {
			found = t.form
		}
	}
	if found != nil {
		f := field{name: c.Name, path: path, layer: at, form: found, item: d.inRows}
		why += fmt.Sprintf(", or if it may be stored in clear, add the field %s: {%s} and the column %[1]s: {%[3]s}", scalarText(c.Name), f.settings(d.layers, d.rows != nil), found.columnSettings(c.Name))
	}
	d.leave(path, "%s", why)
}

func (n *node) tallyOf(id string) *tally {
	for i := range n.tried {
		if n.tried[i].form.id == id {
			return &n.tried[i]
		}
	}
	return nil
}

// choose returns the first form that all values have, nil if none has.
func (d *drafter) choose(n *node, path []step, values int) *form {
	own := words(path[len(path)-1])
	if len(own) == 0 {
		own = []string{""}
	}
	last := own[len(own)-1]
	live := d.column(path) != nil
	for i := range n.tried {
		t := &n.tried[i]
		if t.passed != values {
			continue
		}
		switch id := t.form.id; id {
		case formIP, formEmail, formClearIP, formClearEmail, formMasked, formMaskedMixed, formLocal:
			continue
		case formVersion: // 1.5 is a version only if its name says so
			if !live && !isVersion(own) {
				continue
			}
		case "integer_text", "numeric_text":
			if !live && slices.Contains(codes, last) {
				continue
			}
		case formInteger:
			if !live {
				if unix := d.unixTime(n, own, values); unix != nil {
					return unix
				}
			}
		case formUnix, "unix_ms", "unix_us", "unix_ns":
			if !timeLike(own) && !live {
				continue
			}
		}
		return t.form
	}
	return nil
}

// isVersion reports whether a name is of a version.
func isVersion(own []string) bool {
	return slices.ContainsFunc(own, func(w string) bool { return strings.HasSuffix(w, "version") || w == "firmware" || w == "release" })
}

// codes end names whose digits are no number.
var codes = strings.Fields("id ids code zip key ref reference number no nr num sku serial account")

// times are the words of names that hold a time.
var times = strings.Fields("at time times timestamp ts date epoch created updated modified deleted expires expiry expiration sent received occurred when unix ms millis instant start started end ended since until seen")

func timeLike(own []string) bool {
	return slices.ContainsFunc(own, func(w string) bool { return slices.Contains(times, w) })
}

// unixTime returns the form of Unix time that all numbers have. Seconds look like many other
// numbers, so the name must say that they are a time.
func (d *drafter) unixTime(n *node, own []string, values int) *form {
	for _, id := range []string{formUnix, "unix_ms", "unix_us", "unix_ns"} {
		t := n.tallyOf(id)
		if t != nil && t.passed == values && (timeLike(own) || id != formUnix && !slices.Contains(codes, own[len(own)-1])) {
			return t.form
		}
	}
	return nil
}

// personal returns the signs that a member is personal, without those that its values disprove.
func (n *node) personal(found *form, path []step) trait {
	signs := n.signs
	if n.kinds[kindNumber] > 0 && n.cards*3 >= n.kinds[kindNumber] {
		signs |= holdsCard
	}
	if found == nil {
		return signs
	}
	switch {
	case found.id == formVersion && isVersion(words(path[len(path)-1])):
		signs &^= holdsIP
	case found.id == formSimple, found.id == formBase64, isOpaque(words(path[len(path)-1])):
		signs &^= holdsRandom
	}
	switch {
	case strings.HasPrefix(found.field, "type: boolean"):
		return 0
	case strings.HasPrefix(found.field, "type: timestamp"), strings.HasPrefix(found.field, "type: date"):
		signs &= namedBirth
	case strings.HasPrefix(found.field, "type: uuid"):
		signs &= namedDevice | namedSecret
	}
	return signs
}

// more returns further evidence about the values of a form.
func (n *node) more(found *form, values int) (text string) {
	if n.blank == values {
		return "; all are blank"
	}
	if found.id == formText || found.id == formMixed {
		var near *tally
		for i := range n.tried {
			t := &n.tried[i]
			plain := t.form.id != formText && t.form.id != formMixed && t.form.id != formVersion && t.form.id != formClearIP && t.form.id != formClearEmail && !strings.HasPrefix(t.form.id, "masked")
			if plain && t.passed*2 > values && (near == nil || t.passed > near.passed) {
				near = t
			}
		}
		if near != nil {
			text += fmt.Sprintf("; %s are %s", of(near.passed, values), near.form.what)
		}
		if n.distinct != nil && len(n.distinct)*3 <= values {
			text += fmt.Sprintf("; distinct values: %d", len(n.distinct))
		}
	}
	return text
}

// wrapped says that some of the texts hold a document.
func (n *node) wrapped(path []step, values int) string {
	if len(n.embedded) == 0 {
		return ""
	}
	d := n.embedded[0]
	steps := append([]string{"{json: " + scalarText(jsonPath(path)) + "}"}, d.steps...)
	return fmt.Sprintf("; %s hold a JSON document, which unwrap: [%s] would read", of(d.count, values), strings.Join(steps, ", "))
}

// add drafts a field.
func (d *drafter) add(n *node, path []step, at int, shape envelope, f *form, signs trait, evidence string) {
	short := shape.shorten(path)
	c := d.column(path)
	if d.table != nil && c == nil {
		d.leave(path, "%s", d.unmapped(path))
		return
	}
	if c != nil {
		if c.field != "" {
			d.leave(path, "column %s holds another member already", c.Name)
			return
		}
		short = []string{c.Name}
	}
	long := path
	if at >= 0 {
		long = append([]string{"outer"}, path...)
	}
	out := field{name: d.names.take(short, long), path: path, layer: at, form: f, node: n, personal: signs, evidence: evidence}
	out.id, out.says, out.beside = kindOfID(path), nameTells(path[0]), nameTells(path[len(path)-1])
	if inMeta(path) {
		out.says |= out.beside
	}
	switch {
	case c != nil:
		c.field, out.column = out.name, c.Name
	case f.masked:
		out.column = d.columns.take([]step{"masked", out.name})
	default:
		out.column = d.columns.take([]step{out.name})
	}
	present, all, what := n.seen-n.kinds[kindNull]-n.blank, d.total, "bodies"
	if out.item = d.inRows; out.item {
		all, what = d.rows.items.count, "elements"
	}
	out.filled = present == all
	if !out.filled {
		out.evidence += fmt.Sprintf("; filled in %s %s", of(present, all), what)
		if c != nil && c.NotNull {
			out.evidence += ", and the column is NOT NULL: the others will be rejected"
		}
	}
	if signs != 0 {
		out.evidence = fmt.Sprintf("personal until reviewed: %s; %s", signs, out.evidence)
	}
	d.fields = append(d.fields, out)
}
