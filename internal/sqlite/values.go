package sqlite

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
)

// value converts a value of a batch to one for SQLite.
func value(c *batch.Column, v []byte) any {
	switch {
	case v == nil:
		return nil
	case c.List:
		return string(jsonOf(v))
	}
	switch c.Kind {
	case batch.Int4, batch.Int8:
		return batch.Int(v)
	case batch.Bool:
		return int64(v[0])
	case batch.Float4, batch.Float8:
		f, bits := batch.Float(v)
		if bits == 32 { // the number that was sent, not what of it 32 bits keep
			f, _ = strconv.ParseFloat(strconv.FormatFloat(f, 'g', -1, bits), 64)
		}
		return f
	case batch.Binary:
		return v
	case batch.Text, batch.Timestamp, batch.TimestampNoZone, batch.Date, batch.TimeOfDay, batch.UUID:
		return string(c.Kind.AppendText(nil, v))
	}
	panic("sqlite: a value of an unknown kind")
}

// jsonOf returns the literal of a Postgres array, as package batch writes it, as an array in JSON,
// which SQLite has functions for.
func jsonOf(literal []byte) []byte {
	out := []byte{'['}
	for rest := literal[1:]; rest[0] != '}'; {
		switch rest[0] {
		case ',':
			out, rest = append(out, ','), rest[1:]
		case '"':
			var text []byte
			for rest = rest[1:]; rest[0] != '"'; rest = rest[1:] {
				if rest[0] == '\\' {
					rest = rest[1:]
				}
				text = append(text, rest[0])
			}
			out, _ = jsontext.AppendQuote(out, text) // texts are UTF-8
			rest = rest[1:]
		default: // a number, a boolean or NULL
			n := bytes.IndexAny(rest, ",}")
			out, rest = append(out, bytes.ToLower(rest[:n])...), rest[n:]
		}
	}
	return append(out, ']')
}
