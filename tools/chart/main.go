// Command chart draws the rates that `make bench` measured.
//
//	chart <RESULTS.json >CHART.svg
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"io"
	"os"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format of WriterTo
)

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr)) }

func run(stdin io.Reader, stdout, stderr io.Writer) int {
	var r results
	if err := json.NewDecoder(stdin).Decode(&r); err != nil {
		fmt.Fprintln(stderr, "chart: standard input is not the results of make bench:", err)
		return 1
	}
	svg, err := chart(r)
	if err == nil {
		_, err = io.WriteString(stdout, svg)
	}
	if err != nil {
		fmt.Fprintln(stderr, "chart:", err)
		return 1
	}
	return 0
}

// results is what the chart needs of the results.
type results struct {
	Sizes []int
	Ways  []struct {
		Name   string
		Points []struct{ Rate float64 }
	}
}

// colors are of Okabe and Ito's palette, which everybody can tell apart. Ways of one kind share one.
var (
	grey   = color.RGBA{0x66, 0x66, 0x66, 0xff}
	blue   = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	orange = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	green  = color.RGBA{0x00, 0x9e, 0x73, 0xff}
)

// drawn are the ways in the chart, from the fastest down. Dashed ones run in the process that
// measures, the others are built functions or processes of Python.
var drawn = []struct {
	name   string
	color  color.Color
	dashed bool
	glyph  draw.GlyphDrawer
}{
	{"COPY of ready rows", grey, true, draw.CircleGlyph{}},
	{"sluice from bodies", blue, true, draw.SquareGlyph{}},
	{"sluice, built", blue, false, draw.BoxGlyph{}},
	{"usual Go", orange, true, draw.TriangleGlyph{}},
	{"usual Go, built", orange, false, draw.PyramidGlyph{}},
	{"usual Python", green, false, draw.RingGlyph{}},
	{"each message by itself, Go, built", orange, false, draw.PlusGlyph{}},
	{"each message by itself, Python", green, false, draw.CrossGlyph{}},
}

func chart(r results) (svg string, err error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = "Rows per second, from messages to committed rows"
	p.X.Label.Text, p.Y.Label.Text = "messages in a batch", "rows per second"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = batches(r.Sizes), decades{}
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.TextStyle.Font.Size, p.Legend.Padding = vg.Points(9), vg.Points(1.5)
	p.Title.Padding, p.X.Label.Padding, p.Y.Label.Padding = vg.Points(6), vg.Points(4), vg.Points(4)
	p.Add(plotter.NewGrid())
	lines := 0
	for _, d := range drawn {
		points := r.points(d.name)
		if len(points) == 0 {
			continue
		}
		line, marks, err := plotter.NewLinePoints(points)
		if err != nil {
			return "", err
		}
		line.Color, marks.Color, marks.Shape, marks.Radius = d.color, d.color, d.glyph, vg.Points(3)
		line.Width = vg.Points(1.5)
		if d.dashed {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		p.Add(line, marks)
		p.Legend.Add(d.name, line, marks)
		lines++
	}
	if lines == 0 {
		return "", errors.New("none of the ways that it draws was measured")
	}
	p.X.Min, p.X.Max = 0.8, 9000               // room for the last label
	p.Y.Min, p.Y.Max = p.Y.Min*0.8, p.Y.Max*15 // room for the legend
	drawing, err := p.WriterTo(vg.Points(640), vg.Points(420), "svg")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if _, err := drawing.WriteTo(&b); err != nil {
		return "", err
	}
	// A browser that lacks the font would take one with serifs.
	return strings.ReplaceAll(b.String(), "font-family:Liberation Sans;", "font-family:Liberation Sans,Arial,Helvetica,sans-serif;"), nil
}

// points returns the rates of a way that were measured.
func (r results) points(name string) (points plotter.XYs) {
	for _, w := range r.Ways {
		if w.Name != name {
			continue
		}
		for i, point := range w.Points {
			if i < len(r.Sizes) && point.Rate > 0 {
				points = append(points, plotter.XY{X: float64(r.Sizes[i]), Y: point.Rate})
			}
		}
	}
	return points
}

// batches marks the sizes that were measured.
type batches []int

// Ticks implements plot.Ticker.
func (b batches) Ticks(_, _ float64) (ticks []plot.Tick) {
	for _, n := range b {
		ticks = append(ticks, plot.Tick{Value: float64(n), Label: thousands(n)})
	}
	return ticks
}

// decades marks powers of ten, and without a label their multiples.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(least, most float64) (ticks []plot.Tick) {
	for decade := 1; float64(decade) <= most; decade *= 10 {
		for k := 1; k < 10; k++ {
			value := float64(k * decade)
			if value < least || value > most {
				continue
			}
			tick := plot.Tick{Value: value}
			if k == 1 {
				tick.Label = thousands(decade)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// thousands writes a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
