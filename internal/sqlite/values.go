package sqlite

import (
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
		return string(jsonOf(c, v))
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

// jsonOf returns a list as an array in JSON, which SQLite has functions for.
func jsonOf(c *batch.Column, list []byte) []byte {
	out := []byte{'['}
	for element := range batch.Elements(list) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		switch {
		case element == nil:
			out = append(out, "null"...)
		case c.Kind == batch.Int4, c.Kind == batch.Int8, c.Kind == batch.Float4, c.Kind == batch.Float8, c.Kind == batch.Bool:
			out = append(out, element...)
		default:
			out, _ = jsontext.AppendQuote(out, element) // texts are UTF-8
		}
	}
	return append(out, ']')
}
