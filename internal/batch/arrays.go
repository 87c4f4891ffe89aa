package batch

import "encoding/binary"

// Arrays holds one Postgres array per column, in the binary form of array parameters, for
// `unnest($1::text[], …)`. It reuses its memory.
type Arrays struct {
	bufs   [][]byte
	params [][]byte
}

// header is the size of a one-dimensional array's header: number of dimensions, flag for NULLs,
// element type, length, lower bound.
const header = 20

// oids are the element types of the arrays, from pg_type.
var oids = map[Kind]uint32{Text: 25, Int4: 23, Int8: 20, Bool: 16, Timestamp: 1184, Date: 1082, UUID: 2950}

// Encode returns the arrays of the rows with the given indexes: without an index they are empty.
// All have the same length, so the server pads none with NULLs. The result is valid until the next
// call.
func (a *Arrays) Encode(b *Batch, rows []int) [][]byte {
	a.start(len(b.columns))
	for _, i := range rows {
		a.add(b, i)
	}
	return a.end(len(rows), func(c int) Kind { return b.columns[c].Kind })
}

// EncodeKeys does the same for the columns of the key alone.
func (a *Arrays) EncodeKeys(b *Batch, rows []int) [][]byte {
	a.start(len(b.key))
	for _, i := range rows {
		for k := range b.key {
			v := b.value(b.keys[b.rows[i].keys+k])
			a.bufs[k] = append(binary.BigEndian.AppendUint32(a.bufs[k], uint32(len(v))), v...)
		}
	}
	return a.end(len(rows), func(k int) Kind { return b.columns[b.key[k]].Kind })
}

func (a *Arrays) start(columns int) {
	for len(a.bufs) < columns {
		a.bufs = append(a.bufs, nil)
		a.params = append(a.params, nil)
	}
	for c := range columns {
		a.bufs[c] = append(a.bufs[c][:0], make([]byte, header)...)
	}
	a.params = a.params[:columns]
}

func (a *Arrays) add(b *Batch, i int) {
	at := b.rows[i].start
	for c := range b.columns {
		end := at + 4
		if n := int32(binary.BigEndian.Uint32(b.data[at:])); n >= 0 {
			end += int(n)
		} else {
			a.bufs[c][7] = 1 // the array has NULLs
		}
		a.bufs[c] = append(a.bufs[c], b.data[at:end]...)
		at = end
	}
}

func (a *Arrays) end(length int, kind func(int) Kind) [][]byte {
	for c := range a.params {
		buf := a.bufs[c]
		binary.BigEndian.PutUint32(buf[8:], oids[kind(c)])
		if length == 0 {
			buf = buf[:12] // an empty array has no dimension
		} else {
			binary.BigEndian.PutUint32(buf[0:], 1)
			binary.BigEndian.PutUint32(buf[12:], uint32(length))
			binary.BigEndian.PutUint32(buf[16:], 1)
		}
		a.params[c] = buf
	}
	return a.params
}
