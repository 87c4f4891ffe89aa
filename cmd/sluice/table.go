package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// table is a table on standard output, for people.
type table struct{ w *tablewriter.Table }

func (con *console) table(headings ...string) table {
	w := tablewriter.NewTable(con.stdout,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders: tw.BorderNone,
			Symbols: tw.NewSymbols(tw.StyleLight),
			Settings: tw.Settings{
				Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off},
				Lines:      tw.Lines{ShowHeaderLine: tw.On},
			},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignment(tw.AlignLeft),
		tablewriter.WithRowAlignment(tw.AlignLeft),
		tablewriter.WithRowAutoWrap(tw.WrapNone),
	)
	w.Header(headings)
	return table{w}
}

func (t table) row(cells ...any) {
	values := make([]string, len(cells))
	for i, c := range cells {
		values[i] = oneLine(fmt.Sprint(c)) // a terminal obeys the control characters of a message's values
	}
	_ = t.w.Append(values) // strings always fit
}

func (t table) print() { _ = t.w.Render() } // it fails when a write does, which run sees

// columns returns the row that a message becomes: the text of each column that
// comes from a field. It returns why instead, if the body is rejected.
func columns(m *model.Model, reader *model.Reader, in *message.Message) (map[string]string, message.Rejection) {
	rows, row := batch.New(m.Table), map[string]string{}
	reader.Reset(time.Now()) // each message alone
	if v := reader.Append(rows, 0, 0, in); !v.IsZero() {
		return nil, v.Rejection
	}
	rows.Row(0, func(i int, v []byte) {
		if c := m.Columns[i]; c.Field >= 0 {
			row[c.Name] = show(&rows.Columns()[i], v)
		}
	})
	return row, message.Rejection{}
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

// oneLine replaces the characters that a terminal would obey.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}
