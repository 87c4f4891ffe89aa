package benchmark_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"example.com/owner/sluice/internal/testing/testdoc"
)

const (
	root = "../../../"
	// page has the tables, between comments.
	page = root + "docs/performance.md"
)

// report is what TestWays measured. tools/chart draws it from its JSON.
type report struct {
	Machine string
	Sizes   []int
	Ways    []wayReport
	Ratios  []ratioReport
	Delays  []delayReport
	Goals   []goalReport
}

type wayReport struct {
	Name   string
	NotRun bool   // this machine lacks what it needs
	Points []turn // medians, one for each size
}

type ratioReport struct {
	Name   string
	Values []float64 // one for each size, 0 if not measured
}

type delayReport struct {
	Size   int
	Longer []float64 // milliseconds that a round trip of nothing took longer, for each of delays
	Ways   []delayedWay
}

type delayedWay struct {
	RoundTrips int
	// Millis is the time of a batch, and Delays how many delays longer than without it takes, for
	// each of delays.
	Millis, Delays []float64
}

type goalReport struct {
	What      string
	Goal, Got float64
	AtMost    bool
}

// pairs are the ratios of the second table.
var pairs = []struct{ name, of, to string }{
	{"sluice from bodies : COPY", "sluice from bodies", "COPY of ready rows"},
	{"sluice from the event : COPY", "sluice from the event", "COPY of ready rows"},
	{"bodies unlike : alike", "sluice, bodies unlike", "sluice from the event"},
	{"redelivered : first delivered", "sluice, redelivered", "sluice from the event"},
	{"sluice from the event : usual Go", "sluice from the event", "usual Go"},
	{"sluice, built : usual Go, built", "sluice, built", "usual Go, built"},
	{"sluice, built : each by itself, Go, built", "sluice, built", "each message by itself, Go, built"},
	{"sluice, built : usual Python", "sluice, built", "usual Python"},
	{"sluice, built : each by itself, Python", "sluice, built", "each message by itself, Python"},
}

// delayed are the batches of the table of round trips.
var delayed = []int{10, 1000}

// goals are what the last table judges. sizes[3] has batches of 1,000.
var goals = []struct {
	what   string
	goal   float64
	atMost bool
	got    func(r *report) float64
}{
	{"of COPY at 100, from bodies", 0.62, false, func(r *report) float64 { return r.ratio("sluice from bodies : COPY", 2) }},
	{"of COPY at 1,000, from bodies", 0.75, false, func(r *report) float64 { return r.ratio("sluice from bodies : COPY", 3) }},
	{"of COPY at 6,000, from bodies", 0.55, false, func(r *report) float64 { return r.ratio("sluice from bodies : COPY", 4) }},
	{"times the usual Go at 1,000, built", 3, false, func(r *report) float64 { return r.ratio("sluice, built : usual Go, built", 3) }},
	{"times each message by itself at 1,000, built", 28, false, func(r *report) float64 { return r.ratio("sluice, built : each by itself, Go, built", 3) }},
	{"server's CPU at 1,000, s for a million rows", 2.3, true, func(r *report) float64 { return r.Ways[kindOf("sluice from the event")].Points[3].ServerCPU }},
	{"client's CPU at 1,000, s for a million rows", 2.5, true, func(r *report) float64 { return r.Ways[kindOf("sluice from the event")].Points[3].ClientCPU }},
	{"the same, built", 3.2, true, func(r *report) float64 { return r.Ways[kindOf("sluice, built")].Points[3].ClientCPU }},
	{"round trips of a batch of 10", 1, true, func(r *report) float64 { return float64(r.Delays[0].Ways[kindOf("sluice, built")].RoundTrips) }},
}

// kindOf returns the index of a way.
func kindOf(name string) int {
	for i := range kinds {
		if kinds[i].name == name {
			return i
		}
	}
	panic("no way is called " + name)
}

// ratio returns a ratio of the second table.
func (r *report) ratio(name string, size int) float64 {
	for _, ratio := range r.Ratios {
		if ratio.Name == name {
			return ratio.Values[size]
		}
	}
	panic("no ratio is called " + name)
}

func newReport(t *testing.T, s *setup) *report {
	t.Helper()
	r := &report{Machine: machine(t, s, s.python)}
	for _, size := range sizes {
		r.Sizes = append(r.Sizes, size.n)
	}
	for _, kind := range kinds {
		notRun := strings.Contains(kind.name, "Python") && s.python == ""
		r.Ways = append(r.Ways, wayReport{kind.name, notRun, make([]turn, len(sizes))})
	}
	for _, pair := range pairs {
		r.Ratios = append(r.Ratios, ratioReport{pair.name, make([]float64, len(sizes))})
	}
	for _, n := range delayed {
		d := delayReport{n, make([]float64, len(delays)), make([]delayedWay, len(kinds))}
		for i := range d.Ways {
			d.Ways[i] = delayedWay{Millis: make([]float64, len(delays)), Delays: make([]float64, len(delays))}
		}
		r.Delays = append(r.Delays, d)
	}
	return r
}

func (r *report) judge() {
	for _, g := range goals {
		r.Goals = append(r.Goals, goalReport{g.what, g.goal, g.got(r), g.atMost})
	}
}

// verdict reports whether the goal was met. A missed goal fails no test, because speed depends on the
// machine.
func (g goalReport) verdict() string {
	switch {
	case g.Got == 0:
		return "not measured"
	case g.AtMost && g.Got <= g.Goal, !g.AtMost && g.Got >= g.Goal:
		return "reached"
	default:
		return "missed"
	}
}

// publish prints the tables, and writes tables and chart where the flags say.
func (r *report) publish(t *testing.T) {
	t.Helper()
	fmt.Fprintf(os.Stdout, "\n%s\n\n%s", r.Machine, r.tables(false))
	results, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if *out != "" {
		save(t, filepath.Join(*out, "bench.json"), results)
	}
	// It has its own module, which the product's does not depend on.
	cmd := exec.CommandContext(t.Context(), "go", "-C", root+"tools", "run", "./chart")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(results), os.Stderr
	chart, err := cmd.Output()
	if err != nil {
		t.Fatalf("the chart: %v", err)
	}
	if *out != "" {
		save(t, filepath.Join(*out, "bench.svg"), chart)
		progress("the results are in bench.json and bench.svg in %s", *out)
	}
	if *docs {
		save(t, root+"docs/performance.svg", chart)
		testdoc.Write(t, page, "measured", "\n"+r.Machine+"\n\n"+r.tables(true))
	}
}

func save(t *testing.T, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// tables returns all tables, as text or in Markdown.
func (r *report) tables(markdown bool) string {
	var b strings.Builder
	section := func(title string, headings []string, lines [][]string) {
		if markdown {
			title = "**" + title + "**"
		}
		fmt.Fprintf(&b, "%s\n\n%s\n", title, table(headings, lines, markdown))
	}
	headings := []string{""}
	for _, n := range r.Sizes {
		headings = append(headings, thousands(float64(n)))
	}
	bySize := func(title string, cell func(turn) string) {
		var lines [][]string
		for _, w := range r.Ways {
			line := []string{w.Name}
			for _, point := range w.Points {
				switch {
				case w.NotRun:
					line = append(line, "not run")
				case point.Rate == 0:
					line = append(line, "")
				default:
					line = append(line, cell(point))
				}
			}
			lines = append(lines, line)
		}
		section(title, headings, lines)
	}
	bySize("Rows per second, by messages in a batch", func(p turn) string { return thousands(p.Rate) })
	var lines [][]string
	for _, ratio := range r.Ratios {
		line := []string{ratio.Name}
		for _, v := range ratio.Values {
			line = append(line, known(v, 2))
		}
		lines = append(lines, line)
	}
	section("Ratios of these rates, medians of the ratios of each round", headings, lines)
	bySize("CPU seconds for a million rows, client + server", func(p turn) string { return measured(p.ClientCPU) + " + " + measured(p.ServerCPU) })
	bySize("Bytes of write-ahead log for a row", func(p turn) string { return known(p.WAL, 0) })
	for _, d := range r.Delays {
		lines = nil
		for i, w := range d.Ways {
			if w.Millis[0] == 0 {
				continue
			}
			line := []string{r.Ways[i].Name, strconv.Itoa(w.RoundTrips)}
			for k, millis := range w.Millis {
				line = append(line, known(millis, 1))
				if k > 0 {
					line = append(line, known(w.Delays[k], 1))
				}
			}
			lines = append(lines, line)
		}
		section(fmt.Sprintf("A batch of %s when a round trip takes %.1f and %.1f ms longer: milliseconds, and how many delays that is", thousands(float64(d.Size)), d.Longer[1], d.Longer[2]),
			[]string{"", "round trips", "+ 0 ms", "+ 1 ms", "delays", "+ 5 ms", "delays"}, lines)
	}
	lines = nil
	for _, g := range r.Goals {
		bound := "at least "
		if g.AtMost {
			bound = "at most "
		}
		lines = append(lines, []string{g.What, bound + strconv.FormatFloat(g.Goal, 'g', -1, 64), known(g.Got, 2), g.verdict()})
	}
	section("Goals", []string{"", "goal", "measured", ""}, lines)
	return b.String()
}

// table lays a table out.
func table(headings []string, lines [][]string, markdown bool) string {
	var layout tw.Renderer = renderer.NewBlueprint(tw.Rendition{
		Borders:  tw.BorderNone,
		Symbols:  tw.NewSymbols(tw.StyleLight),
		Settings: tw.Settings{Separators: tw.Separators{BetweenColumns: tw.Off, BetweenRows: tw.Off}},
	})
	if markdown {
		layout = renderer.NewMarkdown()
	}
	align := make(tw.Alignment, len(headings))
	for i := range align {
		align[i] = tw.AlignRight
	}
	align[0] = tw.AlignLeft
	var b strings.Builder
	w := tablewriter.NewTable(&b, tablewriter.WithRenderer(layout), tablewriter.WithHeaderAutoFormat(tw.Off),
		tablewriter.WithHeaderAlignmentConfig(tw.CellAlignment{PerColumn: align}), tablewriter.WithRowAlignmentConfig(tw.CellAlignment{PerColumn: align}),
		tablewriter.WithRowAutoWrap(tw.WrapNone))
	w.Header(headings)
	_ = w.Bulk(lines) // strings always fit
	_ = w.Render()    // a Builder takes everything
	return b.String()
}

// known formats a number with the given count of decimals; "" if it was not measured.
func known(v float64, digits int) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// measured returns CPU seconds.
func measured(v float64) string {
	if v == 0 {
		return "n/a"
	}
	return known(v, 1)
}

// thousands returns a number with three significant digits, and commas.
func thousands(v float64) string {
	if v >= 1000 {
		unit := math.Pow10(int(math.Log10(v)) - 2)
		v = math.Round(v/unit) * unit
	}
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// machine returns a sentence on where the numbers are from. python is "" if none was measured.
func machine(t *testing.T, s *setup, python string) string {
	t.Helper()
	conn := s.schema(t).Conn(t)
	setting := func(name string) (value string) {
		if err := conn.QueryRow(t.Context(), "SHOW "+name).Scan(&value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	about := fmt.Sprintf("Measured on %s: %s%d processors, %s/%s, %s, PostgreSQL %s (fsync %s, synchronous_commit %s, full_page_writes %s)",
		time.Now().UTC().Format(time.DateOnly), processor(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(),
		strings.Fields(setting("server_version"))[0], setting("fsync"), setting("synchronous_commit"), setting("full_page_writes"))
	if python == "" {
		return about + "."
	}
	version, err := exec.CommandContext(t.Context(), python, "-c", "import platform, psycopg; print(', Python', platform.python_version() + ', psycopg', psycopg.__version__)").Output()
	if err != nil {
		t.Fatal(err)
	}
	return about + strings.TrimSpace(string(version)) + "."
}

// processor returns the processor's name, where Linux knows it.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // other systems have none
	for line := range bytes.Lines(text) {
		if name, value, found := bytes.Cut(line, []byte(":")); found && string(bytes.TrimSpace(name)) == "model name" {
			return string(bytes.TrimSpace(value)) + ", "
		}
	}
	return ""
}

// TestPage: docs/performance.md and its chart name the ways, ratios and goals that `make bench` measures
// now. The numbers are of the last `make bench DOCS=1`.
func TestPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, kind := range kinds {
		names = append(names, kind.name)
	}
	for _, pair := range pairs {
		names = append(names, pair.name)
	}
	for _, goal := range goals {
		names = append(names, goal.what)
	}
	for _, name := range names {
		if !strings.Contains(string(text), "\n| "+name+" ") {
			t.Errorf("docs/performance.md has no row for %s: make bench DOCS=1 writes it", name)
		}
	}
	chart, err := os.ReadFile(root + "docs/performance.svg")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"COPY of ready rows", "sluice, built", "usual Go, built"} {
		if !strings.Contains(string(chart), ">"+name+"<") {
			t.Errorf("docs/performance.svg does not show %s: make bench DOCS=1 draws it", name)
		}
	}
}
