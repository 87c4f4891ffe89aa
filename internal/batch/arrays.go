package batch

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// Arrays holds one Postgres array per column, for `unnest($1::text[], …)`: in the binary form of
// array parameters, or in the text form for columns with AsText. It reuses its memory.
type Arrays struct {
	bufs    [][]byte
	params  [][]byte
	offsets []int // of the values of the next column, one for each row
	places  []place
	types   []TextType
}

// TextType is how the server reads the text form of a column with AsText.
type TextType struct {
	// Room is how many characters there is room for if the type cuts the blanks beyond them in
	// silence, 0 for other types. A value that would be cut is sent as one that is not blank at its
	// end, which the type refuses.
	Room int `json:"room"`
	// Delimiter is what is between the elements of its arrays: a comma, but for few types.
	Delimiter string `json:"delimiter"`
}

// SetTextTypes says how the server reads the columns of a batch: an element for each.
func (a *Arrays) SetTextTypes(types []TextType) { a.types = types }

// textType returns how the server reads a column.
func (a *Arrays) textType(column int) TextType {
	if column < len(a.types) {
		return a.types[column]
	}
	return TextType{Delimiter: ","}
}

// cuts reports whether the type would cut blanks off a value.
func (t TextType) cuts(value []byte) bool {
	return t.Room > 0 && bytes.HasSuffix(value, []byte(" ")) && utf8.RuneCount(value) > t.Room
}

// header is the size of a one-dimensional array's header: number of dimensions, flag for NULLs,
// element type, length, lower bound.
const header = 20

// oids are the element types of the arrays, from pg_type.
var oids = map[Kind]uint32{
	Text: 25, Int4: 23, Int8: 20, Bool: 16, Timestamp: 1184, Date: 1082, UUID: 2950,
	TimestampNoZone: 1114, TimeOfDay: 1083, Float4: 700, Float8: 701, Binary: 17,
}

// oid returns the element type of a column's array.
func (c *Column) oid() uint32 {
	if c.List {
		return oids[Text]
	}
	return oids[c.Kind]
}

// Format returns the code of the form of a column's array: 0 for text, 1 for binary.
func (c *Column) Format() int16 {
	if c.AsText {
		return 0
	}
	return 1
}

// Encode returns the arrays of the rows of a table with the given indexes, and of their messages' other
// rows there: without an index they are empty. All have the same length, so the server pads none with
// NULLs. The result is valid until the next call.
func (a *Arrays) Encode(b *Batch, t *Table, rows []int) [][]byte {
	a.start(len(t.Columns))
	if t.Several {
		for _, p := range a.locate(b, t, rows) {
			a.offsets = append(a.offsets, p.start)
		}
	} else {
		for _, i := range rows {
			a.offsets = append(a.offsets, b.rows[i].start)
		}
	}
	for c := range t.Columns {
		a.encode(c, b, t, c)
	}
	return a.params
}

// EncodeKeys does the same for the columns of the key alone.
func (a *Arrays) EncodeKeys(b *Batch, t *Table, rows []int) [][]byte {
	return a.encodeKeys(b, t, rows, t.Key)
}

// EncodeVersions does the same for the columns of the key and those of the version, in a table that
// replaces or finds conflicts.
func (a *Arrays) EncodeVersions(b *Batch, t *Table, rows []int) [][]byte {
	return a.encodeKeys(b, t, rows, slices.Concat(t.Key, t.Version()))
}

func (a *Arrays) encodeKeys(b *Batch, t *Table, rows, columns []int) [][]byte {
	a.start(len(columns))
	places := a.locate(b, t, rows)
	for k, c := range columns {
		a.offsets = a.offsets[:0]
		for _, p := range places {
			a.offsets = append(a.offsets, b.keys[p.keys+k])
		}
		a.encode(k, b, t, c)
	}
	return a.params
}

// EncodeChildren returns the arrays of the rows of a child table that the messages of rows have, and
// after them an array of integers: the positions in rows of their messages, counted from 1.
func (a *Arrays) EncodeChildren(b *Batch, t *Table, child int, rows []int) [][]byte {
	of := t.Children[child]
	a.start(len(of.Columns) + 1)
	positions := a.bufs[len(of.Columns)][:0]
	positions = append(positions, make([]byte, header)...)
	for n, i := range rows {
		for _, m := range b.more[b.rows[i].from:b.rows[i].to] {
			if m.child == child {
				a.offsets = append(a.offsets, m.start)
				positions = binary.BigEndian.AppendUint32(positions, 4)
				positions = binary.BigEndian.AppendUint32(positions, uint32(n+1))
			}
		}
	}
	a.bufs[len(of.Columns)] = positions
	a.params[len(of.Columns)] = setHeader(positions, oids[Int4], len(a.offsets))
	for c := range of.Columns {
		a.encode(c, b, of, c)
	}
	return a.params
}

// EncodeSome returns the arrays of some rows of one message, which are for one table: of those that it
// has beside row i, the ones with the indexes from first on and before end. Index -1 is row i itself.
func (a *Arrays) EncodeSome(b *Batch, i, first, end int) [][]byte {
	r := &b.rows[i]
	t := b.tables[r.table]
	if first >= 0 {
		t = t.child(b.more[r.from+first].child)
	}
	a.start(len(t.Columns))
	for k := first; k < end; k++ {
		if k < 0 {
			a.offsets = append(a.offsets, r.start)
		} else {
			a.offsets = append(a.offsets, b.more[r.from+k].start)
		}
	}
	for c := range t.Columns {
		a.encode(c, b, t, c)
	}
	return a.params
}

// place is where a row is in a batch.
type place struct {
	start, keys int
	row         int // the first one of its message
}

// locate finds the places of rows in the order of the arrays: that of their messages, and where these
// have several rows in one table, that of their keys.
func (a *Arrays) locate(b *Batch, t *Table, rows []int) []place {
	a.places = a.places[:0]
	for _, i := range rows {
		r := &b.rows[i]
		a.places = append(a.places, place{r.start, r.keys, i})
		if !t.Several {
			continue
		}
		for _, m := range b.more[r.from:r.to] {
			a.places = append(a.places, place{m.start, m.keys, i})
		}
	}
	if t.Several && !b.hasGroups {
		slices.SortStableFunc(a.places, func(x, y place) int { return b.compareKeys(t, x.keys, y.keys) })
	}
	return a.places
}

// Messages returns, for each element of the arrays that Encode and EncodeKeys make of rows, the row
// whose message it is of.
func (a *Arrays) Messages(b *Batch, t *Table, rows []int) []int {
	if !t.Several {
		return rows
	}
	var all []int
	for _, p := range a.locate(b, t, rows) {
		all = append(all, p.row)
	}
	return all
}

func (a *Arrays) start(arrays int) {
	for len(a.bufs) < arrays {
		a.bufs = append(a.bufs, nil)
	}
	a.params, a.offsets = slices.Grow(a.params[:0], arrays)[:arrays], a.offsets[:0]
}

// encode makes the array i of the values of a column at the offsets, and moves these to after them.
func (a *Arrays) encode(i int, b *Batch, t *Table, column int) {
	buf := a.bufs[i][:0]
	if cap(buf) > maxKept {
		buf = nil
	}
	if c := &t.Columns[column]; c.AsText {
		buf = a.appendText(buf, b.data, a.textType(column))
		a.params[i] = buf
	} else {
		buf = a.appendBinary(buf, b.data)
		a.params[i] = setHeader(buf, c.oid(), len(a.offsets))
	}
	a.bufs[i] = buf
}

func (a *Arrays) appendBinary(buf, data []byte) []byte {
	buf = append(buf, make([]byte, header)...)
	for k, at := range a.offsets {
		end := at + 4
		if n := int32(binary.BigEndian.Uint32(data[at:])); n >= 0 {
			end += int(n)
		} else {
			buf[7] = 1 // the array has NULLs
		}
		buf = append(buf, data[at:end]...)
		a.offsets[k] = end
	}
	return buf
}

func setHeader(array []byte, oid uint32, length int) []byte {
	binary.BigEndian.PutUint32(array[8:], oid)
	if length == 0 {
		return array[:12] // an empty array has no dimension
	}
	binary.BigEndian.PutUint32(array[0:], 1)
	binary.BigEndian.PutUint32(array[12:], uint32(length))
	binary.BigEndian.PutUint32(array[16:], 1)
	return array
}

func (a *Arrays) appendText(buf, data []byte, t TextType) []byte {
	buf = append(buf, '{')
	for k, at := range a.offsets {
		if k > 0 {
			buf = append(buf, t.Delimiter...)
		}
		n := binary.BigEndian.Uint32(data[at:])
		at += 4
		if n == null {
			buf = append(buf, "NULL"...)
		} else {
			text := data[at : at+int(n)]
			buf = appendQuoted(buf, text)
			if t.cuts(text) {
				buf[len(buf)-2] = '_' // before the quote
			}
			at += int(n)
		}
		a.offsets[k] = at
	}
	return append(buf, '}')
}
