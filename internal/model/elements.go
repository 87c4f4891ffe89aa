package model

import (
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/jsonscan"
	"example.com/owner/sluice/internal/message"
)

// elements is an array whose elements are the rows of a table. An element is one more layer, within the
// last one.
type elements struct {
	name  string // "$.items[*]"
	array Field  // reads the array
	root  *node  // of an element
	slots []int  // of Reader.values, for one element
	reads bool   // some field reads the elements
}

// The bounds of the rows of messages. They hold for rows that have what their message says once.
const (
	maxRows       = 10_000 // of a message, those of children too
	maxRowBytes   = 16 << 20
	maxBatchRows  = 100_000
	maxBatchBytes = 64 << 20
)

// path returns the path from the root of the array's layer to what an element has at p.
func (e *elements) path(p Path) Path {
	return slices.Concat(e.array.Paths[0], Path{{Element: true, Any: true}}, p)
}

// begins reports whether a path, which begins in an element, looks as if it began in the array's layer.
func (e *elements) begins(p Path) bool {
	array := e.array.Paths[0]
	return len(array) > 0 && array.mayHold(p)
}

// elementsSuffix ends the path of an array whose elements are rows.
const elementsSuffix = "[*]"

// elements reads where the rows of a table are.
func (c *compiler) elements(what string, text scalar) *elements {
	e := &elements{name: text.text, root: newNode(nil, "")}
	rest, ok := strings.CutSuffix(text.text, elementsSuffix)
	p, err := parsePath(rest)
	switch {
	case !ok:
		c.problem(text.line, `%s: %q does not end in [*]; name the array whose elements are rows, as in rows: "$.items[*]"`, what, text.text)
		return e
	case strings.Contains(rest, "*"):
		c.problem(text.line, "%s: %q has another * than the one at its end; the rows of a message are the elements of one array", what, text.text)
		return e
	case err != nil:
		c.problem(text.line, "%s: %q is not a path: %v", what, text.text, err)
		return e
	}
	last := len(c.m.layers) - 1
	l := &c.m.layers[last]
	l.fields = true
	c.checkCase(l.root, p, "", text.line)
	e.array = Field{Paths: []Path{p}, Layer: last, slots: []int{c.m.slot(l.root, p, "")}}
	for _, other := range c.m.Also {
		if other.rows != nil && slices.Equal(other.rows.array.slots, e.array.slots) {
			e.root = other.rows.root // what one of them reads, the other one knows
		}
	}
	return e
}

// maxChildren bounds the child tables of a model: one statement has the columns of all.
const maxChildren = 16

// child returns the spec of a child table.
func (c *compiler) child(e entry[childSpec]) tableSpec {
	t := tableSpec{
		m: &Model{Table: &batch.Table{Schema: c.m.Table.Schema}}, what: "also " + e.name + ": ", line: e.line,
		key: e.spec.Key, index: e.spec.Index, fields: e.spec.Fields, columns: e.spec.Columns,
	}
	c.tableName(t.m.Table, "also "+e.name, scalar{e.name, e.line})
	if e.spec.Rows.line == 0 {
		c.problem(e.line, `also %s: rows is missing; name the array whose elements are its rows, as in rows: "$.lines[*]"`, e.name)
	} else {
		t.m.rows = c.elements(t.what+"rows", e.spec.Rows)
	}
	for _, other := range c.m.Tables() {
		if other.Table.Name == t.m.Table.Name && other.Table.Schema == t.m.Table.Schema {
			c.problem(e.line, "also %s: the table is named twice; each has rows of its own: name another", e.name)
		}
	}
	c.m.Also, c.m.Table.Children = append(c.m.Also, t.m), append(c.m.Table.Children, t.m.Table)
	return t
}

// parent finds the columns of a child that have its parent's key, and checks that the child's own key has
// them.
func (c *compiler) parent(t *tableSpec) {
	table, of := t.m.Table, c.m.Table
	for _, k := range of.Key {
		want := &c.m.Columns[k]
		if want.Field < 0 && want.Meta == "" {
			continue // reported
		}
		i := slices.IndexFunc(t.m.Columns, func(col Column) bool {
			return c.same(&col, want) && slices.ContainsFunc(t.key, func(k scalar) bool { return k.text == col.Name })
		})
		if i < 0 {
			i = slices.IndexFunc(t.m.Columns, func(col Column) bool { return c.same(&col, want) })
		}
		switch {
		case i < 0:
			c.problem(t.line, "%sno column has what %s has in the key of %s, so its rows could not refer to their parent; add one, as in %s", t.what, want.Name, of.Name, c.write(want))
			t.lacks = append(t.lacks, want.Name)
			continue
		case t.m.Columns[i].Type != want.Type:
			c.problem(t.line, "%scolumn %s of type %s refers to %s of %s, which is of type %s; use that", t.what, t.m.Columns[i].Name, t.m.Columns[i].Type, want.Name, of.Name, want.Type)
		}
		table.Parent = append(table.Parent, i)
	}
}

// same reports whether a column of a child has what a column of its parent has.
func (c *compiler) same(child, parent *Column) bool {
	if child.Meta != "" || parent.Meta != "" {
		return child.Meta == parent.Meta
	}
	if child.Field < 0 || parent.Field < 0 {
		return false
	}
	x, y := &c.m.Fields[child.Field], &c.m.Fields[parent.Field]
	return child.Major == parent.Major && (child.Field == parent.Field || x.Constant && y.Constant && string(x.Default) == string(y.Default))
}

// write returns how a model writes a column.
func (c *compiler) write(col *Column) string {
	typed := fmt.Sprintf("%s: {type: %s, ", col.Name, col.Type)
	switch {
	case col.Meta != "":
		return typed + "meta: " + string(col.Meta) + "}"
	case c.m.Fields[col.Field].Constant:
		return typed + "value: " + string(c.m.Fields[col.Field].Default) + "}"
	default:
		return typed + "from: " + c.m.Fields[col.Field].Name + "}"
	}
}

// rowsKey returns the key of a table whose rows are elements, if the file names none: what identifies
// the message, or the parent row, and the row's number.
func (c *compiler) rowsKey(t *tableSpec) (key []scalar) {
	metas := []Meta{MetaSentAt, MetaMessageID, MetaRowNumber}
	if t.m != c.m {
		metas = metas[2:]
		for _, i := range t.m.Table.Parent {
			key = append(key, scalar{t.m.Columns[i].Name, t.line})
		}
	}
	var missing []Meta
	for _, meta := range metas {
		i := slices.IndexFunc(t.m.Columns, func(col Column) bool { return col.Meta == meta })
		if i < 0 {
			missing = append(missing, meta)
			continue
		}
		key = append(key, scalar{t.m.Columns[i].Name, t.line})
	}
	if missing == nil {
		return key
	}
	var add []string
	for _, meta := range missing {
		add = append(add, fmt.Sprintf("%s: {type: %s, meta: %[1]s}", meta, meta.find().columns[0]))
	}
	what := [2]string{"the column", "which is missing too; add it"}
	if len(missing) > 1 {
		what = [2]string{"columns", "which are missing too; add them"}
	}
	c.problem(t.line, "%skey is missing, and without it the key has %s of %s, %s, as in %s, or name the columns of another key", t.what, what[0], enumerate(missing, "and"), what[1], strings.Join(add, ", "))
	return nil
}

// distinct checks that the key of a table tells the rows of one message apart.
func (c *compiler) distinct(t *tableSpec) {
	table := t.m.Table
	if !slices.ContainsFunc(table.Key, func(i int) bool { return t.m.Columns[i].ofElement }) {
		c.problem(max(t.line, t.key[0].line), "%sthe key has nothing of the elements of %s, so all rows of a message would be one row; add the column of row_number to it, or one of a field of the elements", t.what, t.m.rows.name)
	}
	for _, i := range table.Parent {
		if !slices.Contains(table.Key, i) {
			c.problem(t.key[0].line, "%sthe key lacks the column %s, which refers to %s; add it, because a row belongs to one parent", t.what, t.m.Columns[i].Name, c.m.Table.Name)
		}
	}
}

// numbered reports whether the key of a table has the number of the row, so that no two rows of a message
// have one key.
func (m *Model) numbered() bool {
	return slices.ContainsFunc(m.Table.Key, func(i int) bool { return m.Columns[i].Meta == MetaRowNumber })
}

// origin is where the rows of a message go, and which message it is.
type origin struct{ table, index, group int }

// appendElements appends a row for each element of a table's array, and returns how many. child is the
// index of the table among the children, -1 for the model's own.
func (r *Reader) appendElements(b *batch.Batch, t *tableReader, child int, from origin, msg *message.Message) (n int) {
	e := t.m.rows
	v := r.value(&e.array)
	if len(v) == 0 || v[0] != '[' {
		r.noArray(e, v)
		return 0
	}
	r.outer.wrongSteps, r.outer.otherCase = len(r.wrongSteps), len(r.otherCase)
	for at := jsonscan.Space(v, 1); v[at] != ']'; {
		if r.rows++; r.rows > maxRows || b.Size()-r.size > maxRowBytes {
			r.problem(message.Rejection{Reason: message.ReasonTooManyRows, Detail: "expected at most 10,000 rows, and 16 MiB in them"})
			break
		}
		n++
		r.beginElement(t, n)
		end, nothing := r.element(e, v, at)
		switch {
		case child >= 0:
			b.More(child)
		case n > 1:
			b.More(-1)
		default:
			b.BeginIn(from.table, from.index, from.group)
		}
		r.row(b, t, msg, nothing)
		if at = jsonscan.Space(v, end); v[at] == ',' {
			at = jsonscan.Space(v, at+1)
		}
	}
	r.number = 0
	r.wrongSteps, r.otherCase = r.wrongSteps[:r.outer.wrongSteps], r.otherCase[:r.outer.otherCase]
	return n
}

// noArray adds the problem of a value that is not an array. None is no problem by itself.
func (r *Reader) noArray(e *elements, v []byte) {
	if v != nil {
		r.problem(message.Rejection{Reason: message.ReasonWrongType, Detail: e.array.Paths[0].String() + ": expected an array, found " + kindOf(v)})
		return
	}
	if slices.ContainsFunc(r.wrongSteps, func(w wrongStep) bool { return w.stops(&e.array) }) {
		r.problem(r.because(&e.array, message.ReasonWrongType))
	}
}

// beginElement begins with the element that has a number in its array.
func (r *Reader) beginElement(t *tableReader, number int) {
	if more := len(r.problems) - message.MaxProblems; more > 0 {
		r.omitted += more
		r.problems = r.problems[:message.MaxProblems]
	}
	r.number, r.named, r.mark = number, t.m.Table.Name, len(r.problems)
}

// element reads the element that begins at an offset, and returns its end. nothing: none of the members
// that fields read is there, which is a problem of the element.
func (r *Reader) element(e *elements, text []byte, at int) (end int, nothing bool) {
	for _, slot := range e.slots {
		r.values[slot] = nil
	}
	r.wrongSteps, r.otherCase = r.wrongSteps[:r.outer.wrongSteps], r.otherCase[:r.outer.otherCase]
	r.seen, r.unknown = false, false
	end = r.walk(e.root, text, at)
	r.inElement = text[at:end]
	switch {
	case !e.reads:
	case text[at] == 'n' && e.root.slot < 0:
		w := wrongStep{members: len(e.root.members) > 0, elements: len(e.root.elements) > 0}
		r.elementProblem(message.Rejection{Reason: message.ReasonWrongType, Detail: "expected " + w.expected() + ", found null"})
		return end, true
	default:
		nothing = !r.seen && !r.m.AllowEmpty
	}
	for _, n := range r.otherCase[r.outer.otherCase:] {
		r.elementProblem(message.Rejection{Reason: message.ReasonKeyCase, Field: n.field, Detail: "expected exactly " + n.path})
	}
	if r.unknown {
		r.elementProblem(message.Rejection{Reason: message.ReasonUnknown})
	}
	if nothing {
		const what = "expected a member that the model reads of the element; paths begin there, and with layer: 0 in the body"
		detail := what
		if required := r.requires(e); required != "" {
			detail = required + "; " + what
		}
		r.elementProblem(message.Rejection{Reason: message.ReasonUnrecognized, Detail: detail})
	}
	return end, nothing
}

// elementProblem adds a problem of an element, whose name is in the detail.
func (r *Reader) elementProblem(p message.Rejection) {
	known := slices.ContainsFunc(r.problems[r.mark:], func(q message.Rejection) bool { return q.Field == p.Field && q.Reason == p.Reason })
	if known {
		return
	}
	row := fmt.Sprintf("row %d of %s", r.number, r.named)
	if p.Detail != "" {
		row += ": " + p.Detail
	}
	p.Detail = row
	r.problems = append(r.problems, p)
}

// repeated adds the problem of a message that has a key twice.
func (r *Reader) repeated(b *batch.Batch, t *tableReader, child int) {
	if row, earlier := b.RepeatedKey(child); row > 0 {
		r.problem(message.Rejection{Reason: message.ReasonRepeatedKey, Detail: fmt.Sprintf("row %d of %s has the key of row %d", row, t.m.Table.Name, earlier)})
	}
}

// inAny reports whether something is true of a field in the last body: of an element, in any of them.
func (r *Reader) inAny(f *Field, is func() bool) bool {
	if f.of == nil {
		return is()
	}
	found := false
	r.eachElement(f.of, func() { found = found || is() })
	return found
}

// eachElement reads the elements of an array of the last body, one after another.
func (r *Reader) eachElement(e *elements, do func()) {
	v := r.value(&e.array)
	if len(v) == 0 || v[0] != '[' {
		return
	}
	for at := jsonscan.Space(v, 1); v[at] != ']'; {
		for _, slot := range e.slots {
			r.values[slot] = nil
		}
		end := r.walk(e.root, v, at)
		do()
		if at = jsonscan.Space(v, end); v[at] == ',' {
			at = jsonscan.Space(v, at+1)
		}
	}
}
