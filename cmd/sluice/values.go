package main

import (
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// messageRow is one of the rows that a message becomes.
type messageRow struct {
	// Table is its table, and Row its number among the message's rows there, from 1; absent for a model
	// whose messages have one row.
	Table string `json:"table,omitzero"`
	Row   int    `json:"row,omitzero"`
	// Columns are those that come from fields.
	Columns map[string]jsontext.Value `json:"columns"`
}

// messageRows returns the rows that a message becomes. Without rows, the verdict says why. taken is the
// index of the model that took the message, -1 if none did.
func messageRows(set *model.Set, reader *model.SetReader, in *message.Message) (all []messageRow, taken int, v message.Verdict) {
	b := batch.New(set.Tables()...)
	reader.Reset(time.Now()) // each message alone
	if v = reader.Append(b, 0, 0, in); !v.IsZero() {
		return nil, int(v.Model) - 1, v
	}
	taken = set.ModelOf(b.Table(0))
	eachRow(b, set.Models[taken], func(of *model.Model, number int, read rowReader) {
		row := messageRow{Columns: map[string]jsontext.Value{}}
		if set.Models[taken].SeveralRows() {
			row.Table, row.Row = of.Table.Name, number
		}
		read(func(i int, v []byte) {
			if c := of.Columns[i]; c.Field >= 0 {
				row.Columns[c.Name] = jsonOf(&of.Table.Columns[i], v)
			}
		})
		all = append(all, row)
	})
	return all, taken, v
}

// rowReader calls f for each column of a row, in order; v is nil for a NULL.
type rowReader func(f func(column int, v []byte))

// eachRow calls f for each row of the first message of a batch: with the model of its table, which is
// the one that took the message or one of its Also, and its number among the message's rows there, from
// 1.
func eachRow(b *batch.Batch, m *model.Model, f func(of *model.Model, number int, read rowReader)) {
	f(m, 1, func(f func(int, []byte)) { b.Row(0, f) })
	own, also := 1, make([]int, len(m.Also))
	for k := range b.MoreRows(0) {
		of, number := m, &own
		if child := b.MoreTable(0, k); child >= 0 {
			of, number = m.Also[child], &also[child]
		}
		*number++
		f(of, *number, func(f func(int, []byte)) { b.MoreRow(0, k, f) })
	}
}

// listCounts says how many rows each table gets.
func listCounts(counts []check.TableRows) string {
	parts := make([]string, len(counts))
	for i, c := range counts {
		parts[i] = many(c.Rows, "row") + " of " + c.Table
	}
	return strings.Join(parts, ", ")
}

// show returns a value of a batch as text.
func show(c *batch.Column, v []byte) string {
	if v == nil {
		return "NULL"
	}
	switch {
	case c.List:
		return string(v)
	case c.Kind == batch.Timestamp:
		return batch.Time(c.Kind, v).Format(time.RFC3339Nano)
	}
	return string(c.Kind.AppendText(nil, v))
}

// jsonOf returns a value of a batch as JSON: null, a number, a boolean, an array, JSON as it is, and
// everything else as a string.
func jsonOf(c *batch.Column, v []byte) jsontext.Value {
	switch {
	case v == nil:
		return jsontext.Value("null")
	case !c.List:
		return scalar(c, show(c, v))
	}
	list := jsontext.Value("[")
	for element := range batch.Elements(v) {
		if len(list) > 1 {
			list = append(list, ',')
		}
		if element == nil {
			list = append(list, "null"...)
		} else {
			list = append(list, scalar(c, string(element))...)
		}
	}
	return append(list, ']')
}

// scalar returns the text of a value that is no list as JSON.
func scalar(c *batch.Column, text string) jsontext.Value {
	switch c.Kind {
	case batch.Int4, batch.Int8, batch.Float4, batch.Float8, batch.Bool:
		return jsontext.Value(text)
	case batch.Text:
		isJSON := strings.HasPrefix(c.Type, "json") && !c.AsText
		isNumber := strings.HasPrefix(c.Type, "numeric") && !c.AsText
		if raw := jsontext.Value(text); isJSON || isNumber && raw.IsValid() { // a sequence number may begin with 0
			return raw
		}
	case batch.Timestamp, batch.TimestampNoZone, batch.Date, batch.TimeOfDay, batch.UUID, batch.Binary:
	}
	quoted, _ := jsontext.AppendQuote(nil, strings.ToValidUTF8(text, "\uFFFD")) // so it is valid
	return quoted
}
