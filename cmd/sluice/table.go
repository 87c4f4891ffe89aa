package main

import (
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/pkg/twwidth"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"
)

// table is a table on standard output, for people. It is at most as wide as the terminal: prose in
// its last column wraps, and where that is not enough, each row becomes a list of its cells.
type table struct {
	con      *console
	headings []string
	rows     []tableRow
}

type tableRow struct {
	cells []string
	prose bool // the last cell is
}

// prose is a text that wraps. Its lines are paragraphs; those that start with an arrow are indented.
type prose string

const (
	widestProse    = 100 // wider lines are hard to read
	narrowestProse = 24
	arrow          = "→ "
	padding        = 2 // a blank on each side of a cell
)

func (con *console) table(headings ...string) *table {
	return &table{con: con, headings: headings}
}

func (t *table) row(cells ...any) {
	row := tableRow{cells: make([]string, len(cells))}
	for i, c := range cells {
		if text, ok := c.(prose); ok {
			row.cells[i], row.prose = string(text), true
		} else {
			row.cells[i] = oneLine(fmt.Sprint(c)) // a terminal obeys the control characters of a message's values
		}
	}
	t.rows = append(t.rows, row)
}

// print prints the rows. It ignores errors of writing, which run sees.
func (t *table) print() {
	last, limit := len(t.headings)-1, t.con.width()
	free := limit - padding // for the last column
	for i := range last {
		width := twwidth.Width(t.headings[i])
		for _, row := range t.rows {
			width = max(width, twwidth.Width(row.cells[i]))
		}
		free -= width + padding
	}
	room := widestProse
	if limit > 0 {
		room = min(max(free, narrowestProse), widestProse)
	}
	if limit > 0 && twwidth.Width(t.headings[last]) > free {
		t.list(limit)
		return
	}
	var printed [][]string
	for _, row := range t.rows {
		for i, line := range row.lines(last, room) {
			if limit > 0 && twwidth.Width(line) > free {
				t.list(limit)
				return
			}
			cells := make([]string, last+1)
			if i == 0 {
				copy(cells, row.cells)
			}
			cells[last] = line
			printed = append(printed, cells)
		}
	}
	var text strings.Builder
	w := tablewriter.NewTable(&text,
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
		tablewriter.WithTrimSpace(tw.Off),
	)
	w.Header(t.headings)
	_ = w.Bulk(printed) // strings always fit
	_ = w.Render()      // a Builder takes everything
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(t.con.stdout, strings.TrimRight(line, " \n"))
	}
}

// list prints each row as a list of its cells that are not empty.
func (t *table) list(limit int) {
	label := 0
	for _, heading := range t.headings {
		label = max(label, twwidth.Width(heading)+padding)
	}
	for i, row := range t.rows {
		if i > 0 {
			fmt.Fprintln(t.con.stdout)
		}
		for k, heading := range t.headings {
			for _, line := range row.lines(k, max(limit-label, narrowestProse)) {
				if line != "" {
					fmt.Fprintf(t.con.stdout, "%s%*s%s\n", heading, label-twwidth.Width(heading), "", line)
				}
				heading = ""
			}
		}
	}
}

// say prints a line on standard output. Where the terminal is narrower, it wraps, and keeps its indent.
func (con *console) say(format string, args ...any) {
	text := oneLine(fmt.Sprintf(format, args...))
	indent := text[:len(text)-len(strings.TrimLeft(text, " "))]
	columns := con.width()
	if columns == 0 {
		columns = math.MaxInt
	}
	for _, line := range wrap(text, columns-len(indent)) {
		fmt.Fprintln(con.stdout, indent+line)
	}
}

// lines returns the lines of cell i. Those of prose have at most so many columns, but a word is never cut.
func (r tableRow) lines(i, columns int) []string {
	if !r.prose || i < len(r.cells)-1 {
		return r.cells[i : i+1]
	}
	var all []string
	for paragraph := range strings.SplitSeq(r.cells[i], "\n") {
		paragraph, indent := oneLine(paragraph), ""
		line, isIndented := strings.CutPrefix(paragraph, arrow)
		if isIndented {
			indent = strings.Repeat(" ", twwidth.Width(arrow))
		}
		wrapped := wrap(line, columns-len(indent))
		for i := range wrapped {
			wrapped[i] = indent + wrapped[i]
		}
		if isIndented {
			wrapped[0] = arrow + wrapped[0][len(indent):]
		}
		all = append(all, wrapped...)
	}
	return all
}

// wrap breaks a text into lines, at least one.
func wrap(text string, columns int) []string {
	wrapped := []string{""}
	for word := range strings.FieldsSeq(text) {
		switch line := &wrapped[len(wrapped)-1]; {
		case *line == "":
			*line = word
		case twwidth.Width(*line)+1+twwidth.Width(word) <= columns:
			*line += " " + word
		default:
			wrapped = append(wrapped, word)
		}
	}
	return wrapped
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
