package batch

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strconv"
	"time"
)

// A value of a column with List is an array of values of the column's kind. Between BeginList and
// EndList, the functions that append a value append an element:
//
//	b.BeginList()
//	b.String("a")
//	b.Null()
//	b.EndList()
//
// It travels as one text, the literal of a Postgres array, {"a",NULL}: the server reads an array of
// arrays as one list of all their elements.

// list is the list under construction.
type list struct {
	open, some bool // some: it has an element
	kind       Kind
}

// BeginList begins the value of a column with List. It may be cancelled with its row.
func (b *Batch) BeginList() {
	kind := b.filling.Columns[len(b.open)].Kind
	b.size(0)
	b.data = append(b.data, '{')
	b.list = list{open: true, kind: kind}
}

// EndList ends the list.
func (b *Batch) EndList() {
	b.list = list{}
	b.data = append(b.data, '}')
	at := b.open[len(b.open)-1]
	binary.BigEndian.PutUint32(b.data[at:], uint32(len(b.data)-at-4))
}

// separate begins an element.
func (b *Batch) separate() {
	if b.list.some {
		b.data = append(b.data, ',')
	}
	b.list.some = true
}

// element appends an element that is in its kind's form.
func (b *Batch) element(v []byte) {
	b.separate()
	switch b.list.kind {
	case Text:
		b.data = appendQuoted(b.data, v)
	case Binary:
		b.data = append(b.data, `"\`...) // a backslash before the one of AppendText
		b.data = append(b.list.kind.AppendText(b.data, v), '"')
	case Int4, Int8, Bool, Timestamp, TimestampNoZone, Date, TimeOfDay, UUID, Float4, Float8:
		b.data = append(b.data, '"')
		b.data = append(b.list.kind.AppendText(b.data, v), '"')
	}
}

// number appends an element of one of the kinds that count something.
func (b *Batch) number(v int64) {
	switch b.list.kind {
	case Timestamp, TimestampNoZone, TimeOfDay:
		var form [8]byte
		binary.BigEndian.PutUint64(form[:], uint64(v))
		b.element(form[:])
	case Date:
		var form [4]byte
		binary.BigEndian.PutUint32(form[:], uint32(v))
		b.element(form[:])
	default:
		b.separate()
		b.data = strconv.AppendInt(b.data, v, 10)
	}
}

// Elements returns the texts of the elements of a list, nil for NULL.
func Elements(literal []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := literal[1:]; rest[0] != '}'; {
			var text []byte
			switch rest[0] {
			case ',':
				rest = rest[1:]
				continue
			case '"':
				text = []byte{}
				for rest = rest[1:]; rest[0] != '"'; rest = rest[1:] {
					if rest[0] == '\\' {
						rest = rest[1:]
					}
					text = append(text, rest[0])
				}
				rest = rest[1:]
			default: // a number, a boolean or NULL
				n := bytes.IndexAny(rest, ",}")
				if text, rest = rest[:n], rest[n:]; string(text) == "NULL" {
					text = nil
				}
			}
			if !yield(text) {
				return
			}
		}
	}
}

// appendQuoted appends a text as an element of the literal of an array.
func appendQuoted[S ~string | ~[]byte](dst []byte, text S) []byte {
	dst = append(dst, '"')
	from := 0
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			dst = append(append(dst, text[from:i]...), '\\')
			from = i
		}
	}
	return append(append(dst, text[from:]...), '"')
}

// The forms of times always have six digits after the second, so that the order of the texts is
// that of the times.
const (
	timestampForm = "2006-01-02T15:04:05.000000Z"
	noZoneForm    = "2006-01-02T15:04:05.000000"
)

// AppendText appends a value of the kind as text, in a form that Postgres reads whatever its
// settings are. v is not nil.
func (k Kind) AppendText(dst, v []byte) []byte {
	switch k {
	case Text:
		return append(dst, v...)
	case Int4, Int8:
		return strconv.AppendInt(dst, Int(v), 10)
	case Float4, Float8:
		f, bits := Float(v)
		return strconv.AppendFloat(dst, f, 'g', -1, bits)
	case Bool:
		return strconv.AppendBool(dst, v[0] == 1)
	case Timestamp:
		return Time(k, v).AppendFormat(dst, timestampForm)
	case TimestampNoZone:
		return Time(k, v).AppendFormat(dst, noZoneForm)
	case Date:
		return Time(k, v).AppendFormat(dst, time.DateOnly)
	case TimeOfDay:
		return appendTimeOfDay(dst, Int(v))
	case UUID:
		for i := range v {
			if i == 4 || i == 6 || i == 8 || i == 10 {
				dst = append(dst, '-')
			}
			dst = hex.AppendEncode(dst, v[i:i+1])
		}
		return dst
	case Binary:
		return hex.AppendEncode(append(dst, `\x`...), v)
	}
	panic("batch: a value of an unknown kind")
}

// appendTimeOfDay appends a time of day, given in microseconds since midnight. Postgres accepts
// 24:00:00.
func appendTimeOfDay(dst []byte, micros int64) []byte {
	if micros == 24*time.Hour.Microseconds() {
		return append(dst, "24:00:00.000000"...)
	}
	return time.UnixMicro(micros).UTC().AppendFormat(dst, "15:04:05.000000")
}
