package batch

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
)

// Arrays holds one Postgres array per column, for `unnest($1::text[], …)`: in the binary form of
// array parameters, or in the text form for columns with AsText. It reuses its memory.
type Arrays struct {
	bufs   [][]byte
	params [][]byte
	text   []bool // which are in the text form
	types  []TextType
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

// Encode returns the arrays of the rows with the given indexes: without an index they are empty.
// All have the same length, so the server pads none with NULLs. The result is valid until the next
// call.
func (a *Arrays) Encode(b *Batch, rows []int) [][]byte {
	a.start(len(b.columns), func(c int) *Column { return &b.columns[c] })
	for _, i := range rows {
		a.add(b, i)
	}
	return a.end(len(rows), func(c int) *Column { return &b.columns[c] })
}

// EncodeKeys does the same for the columns of the key alone.
func (a *Arrays) EncodeKeys(b *Batch, rows []int) [][]byte {
	column := func(k int) *Column { return &b.columns[b.key[k]] }
	a.start(len(b.key), column)
	for _, i := range rows {
		for k := range b.key {
			a.value(k, b.key[k], b.data[b.keys[b.rows[i].keys+k]:])
		}
	}
	return a.end(len(rows), column)
}

func (a *Arrays) start(columns int, column func(int) *Column) {
	for len(a.bufs) < columns {
		a.bufs = append(a.bufs, nil)
		a.params = append(a.params, nil)
		a.text = append(a.text, false)
	}
	for c := range columns {
		if cap(a.bufs[c]) > maxKept {
			a.bufs[c] = nil
		}
		if a.text[c] = column(c).AsText; a.text[c] {
			a.bufs[c] = append(a.bufs[c][:0], '{')
		} else {
			a.bufs[c] = append(a.bufs[c][:0], make([]byte, header)...)
		}
	}
	a.params = a.params[:columns]
}

func (a *Arrays) add(b *Batch, i int) {
	at := b.rows[i].start
	for c := range b.columns {
		at += a.value(c, c, b.data[at:])
	}
}

// value appends the value of a column at the beginning of data to the array c, and returns how long
// it is with its length.
func (a *Arrays) value(c, column int, data []byte) int {
	end := 4
	if n := int32(binary.BigEndian.Uint32(data)); n >= 0 {
		end += int(n)
	} else if !a.text[c] {
		a.bufs[c][7] = 1 // the array has NULLs
	}
	if a.text[c] {
		a.element(c, column, data[:end])
	} else {
		a.bufs[c] = append(a.bufs[c], data[:end]...)
	}
	return end
}

// element appends a value with its length in the text form.
func (a *Arrays) element(c, column int, value []byte) {
	t := a.textType(column)
	if text := value[4:]; binary.BigEndian.Uint32(value) == null {
		a.bufs[c] = append(a.bufs[c], "NULL"...)
	} else {
		a.bufs[c] = appendQuoted(a.bufs[c], text)
		if t.cuts(text) {
			a.bufs[c][len(a.bufs[c])-2] = '_' // before the quote
		}
	}
	a.bufs[c] = append(a.bufs[c], t.Delimiter...)
}

func (a *Arrays) end(length int, column func(int) *Column) [][]byte {
	for c := range a.params {
		buf := a.bufs[c]
		switch {
		case a.text[c]:
			if length > 0 {
				buf = buf[:len(buf)-1] // the last delimiter
			}
			buf = append(buf, '}')
			a.bufs[c] = buf
		case length == 0:
			binary.BigEndian.PutUint32(buf[8:], column(c).oid())
			buf = buf[:12] // an empty array has no dimension
		default:
			binary.BigEndian.PutUint32(buf[0:], 1)
			binary.BigEndian.PutUint32(buf[8:], column(c).oid())
			binary.BigEndian.PutUint32(buf[12:], uint32(length))
			binary.BigEndian.PutUint32(buf[16:], 1)
		}
		a.params[c] = buf
	}
	return a.params
}
