package models_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// example is a model in docs/models.md, SQL that comes before its table or makes it, and messages
// with what becomes of them.
type example struct {
	where      string // the heading before it
	model, sql string
	before     []string // the models of one queue that come before it
	inOrder    bool     // the messages come one after another, and the table keeps its rows
	header     []string // of the table of messages
	messages   [][]string
}

// documented returns the examples of docs/models.md and README.md.
func documented(t *testing.T) (all []example) {
	t.Helper()
	for _, path := range []string{"../../docs/models.md", "../../README.md"} {
		document, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, examples(string(document))...)
	}
	return all
}

// examples returns the examples of a document: a yaml block begins one.
func examples(document string) (all []example) {
	where, block := "", ""
	within := false // a table of messages
	for line := range strings.Lines(document) {
		line = strings.TrimSuffix(line, "\n")
		last := len(all) - 1
		switch {
		case line == "```":
			block = ""
		case line == "```yaml":
			block = "yaml"
			e := example{where: where}
			if last >= 0 && all[last].isOneOfSeveral() && all[last].header == nil {
				e.before = append(slices.Clone(all[last].before), all[last].model)
			}
			all = append(all, e)
		case strings.HasPrefix(line, "```"):
			block = line[3:]
		case block == "yaml":
			all[last].model += line + "\n"
		case block == "sql":
			all[last].sql += line + "\n"
		case block != "":
		case strings.HasPrefix(line, "#"):
			where = strings.TrimLeft(line, "# ")
		case strings.HasPrefix(line, "| body |"), strings.HasPrefix(line, "| body, in order |"):
			all[last].header = cells(line)
			all[last].inOrder = all[last].header[0] != "body"
			within = true
		case !strings.HasPrefix(line, "|"):
			within = false
		case within && strings.HasPrefix(line, "| `"):
			if row := cells(line); len(row) == len(all[last].header) {
				all[last].messages = append(all[last].messages, row)
			}
		}
	}
	return all
}

// isOneOfSeveral reports whether the example is one of several models of a queue: those begin with the
// name of a file.
func (e *example) isOneOfSeveral() bool { return file.MatchString(e.model) }

var file = regexp.MustCompile(`^# \S+\.yaml\n`)

// cells returns the cells of a row of a table, without the marks of code, and with masks in place of
// what they are masks of.
func cells(line string) (all []string) {
	line = strings.ReplaceAll(line, `\|`, "\x00")
	for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
		cell = strings.ReplaceAll(strings.TrimSpace(cell), "\x00", "|")
		cell = strings.ReplaceAll(cell, "`", "")
		if value, ok := strings.CutPrefix(cell, "mask of "); ok {
			cell = sum(value)
		}
		all = append(all, cell)
	}
	return all
}

// complete adds what the examples of the document leave out.
func (e *example) complete() string {
	if strings.Contains(e.model, "model: ") {
		return e.model
	}
	return "model: example\ntable: example\nkey: [message_id]\n" + e.model + "  message_id: {type: uuid, meta: message_id}\n"
}

var view = regexp.MustCompile(`CREATE VIEW (\w+)`)

// TestExamples delivers the messages of docs/models.md, and makes the tables of all examples.
func TestExamples(t *testing.T) {
	t.Parallel()
	delivered := 0
	for _, e := range documented(t) {
		delivered += len(e.messages)
		m, err := model.Parse("example.yaml", []byte(e.complete()))
		if err != nil {
			t.Errorf("%s: %v", e.where, err)
			continue
		}
		t.Run(e.where, func(t *testing.T) {
			t.Parallel()
			switch {
			case e.isOneOfSeveral() && len(e.messages) > 0:
				e.choose(t)
			case e.severalRows():
				e.playRows(t, m)
			case e.inOrder:
				e.playInOrder(t, m)
			case !m.Ignore:
				e.play(t, m)
			}
		})
	}
	if delivered < 60 {
		t.Errorf("only %d messages were found", delivered)
	}
}

// choose looks which of several models takes each message.
func (e *example) choose(t *testing.T) {
	t.Helper()
	var all []*model.Model
	for _, text := range append(slices.Clone(e.before), e.model) {
		m, err := model.Parse("example.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	s, err := model.NewSet(all...)
	if err != nil {
		t.Fatal(err)
	}
	reader := s.Reader(mask.Unkeyed())
	for _, row := range e.messages {
		body, attributes := row[0], map[string]string{}
		want := row[len(row)-2:]
		if name, value, found := strings.Cut(row[1], "="); found {
			attributes[name] = value
		}
		b := batch.New(s.Tables()...)
		verdict := reader.Append(b, 0, 0, &messages(t, "examples", body, attributes)[0])
		got := []string{"", said(&verdict)}
		if b.Len() > 0 {
			got[1] = "stored"
			verdict.Model = uint16(1 + slices.IndexFunc(all, func(m *model.Model) bool { return m.Table == s.Tables()[b.Table(0)] }))
		}
		if verdict.Model > 0 {
			got[0] = all[verdict.Model-1].Name
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

// playInOrder delivers messages one after another. The table has one row, which is in the cells beside
// each message, and then what becomes of the message.
func (e *example) playInOrder(t *testing.T, m *model.Model) {
	t.Helper()
	tab := newTable(t, m, e.sql)
	last := len(e.header) - 1
	for i, row := range e.messages {
		all := messages(t, "examples", row[0], nil)
		all[0].ID = fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1)
		report := tab.pipe.Run(t.Context(), all)
		got := tab.db.Rows(t, "SELECT "+strings.Join(e.header[1:last], "::text, ")+"::text FROM "+m.Table.Name)
		if counts := report.Counts(); len(got) != 1 || !slices.Equal(append(got[0], became(&report, counts)), row[1:]) {
			t.Errorf("%s: got %q and %+v, want %q", row[0], got, counts, row[1:])
		}
	}
}

// became returns what became of the one message of a report.
func became(r *ingest.Report, c message.Counts) string {
	for word, n := range map[string]int{"stored": c.Stored, "replaced": c.Replaced, "outdated": c.Outdated, "duplicate": c.Duplicate, "conflict": c.Conflict} {
		if n > 0 {
			return word
		}
	}
	return said(&r.Verdicts[0])
}

// severalRows reports whether the messages have several rows: then the heading of a cell is a table and
// its columns, as in "readings: device, celsius".
func (e *example) severalRows() bool { return len(e.header) > 1 && strings.Contains(e.header[1], ": ") }

// playRows delivers messages that have several rows, which a semicolon separates.
func (e *example) playRows(t *testing.T, m *model.Model) {
	t.Helper()
	tab := newTable(t, m, e.sql)
	for _, row := range e.messages {
		body, want := row[0], row[1:]
		if got := tab.deliver(t, "examples", body, nil); got != "stored" {
			if got != want[0] {
				t.Errorf("%s: got %s, want %s", body, got, want[0])
			}
			want = make([]string, len(want)) // and no row in any table
		}
		for i, heading := range e.header[1:] {
			name, columns, _ := strings.Cut(heading, ": ")
			var all []string
			for _, values := range tab.db.Rows(t, fmt.Sprintf("SELECT %s::text FROM %s", strings.ReplaceAll(columns, ", ", "::text, "), name)) {
				all = append(all, strings.Join(values, ", "))
			}
			slices.Sort(all)
			if got := strings.Join(all, "; "); got != want[i] {
				t.Errorf("%s: %s has %q, want %q", body, name, got, want[i])
			}
		}
	}
}

func (e *example) play(t *testing.T, m *model.Model) {
	t.Helper()
	tab := newTable(t, m, e.sql)
	if len(e.messages) == 0 {
		return
	}
	columns, from := e.header[1:], m.Table.Name
	if name := view.FindStringSubmatch(e.sql); name != nil {
		from = name[1]
	}
	withAttributes := columns[0] == "attributes"
	if withAttributes {
		columns = columns[1:]
	}
	for _, row := range e.messages {
		body, want := row[0], row[1:]
		attributes := map[string]string{}
		if withAttributes {
			if name, value, found := strings.Cut(want[0], "="); found {
				attributes[name] = value
			}
			want = want[1:]
		}
		got := tab.deliver(t, "examples", body, attributes)
		if got != "stored" {
			if got != want[0] {
				t.Errorf("%s: got %s, want %s", body, got, want[0])
			}
			continue
		}
		if values := tab.db.Rows(t, "SELECT "+strings.Join(columns, "::text, ")+"::text FROM "+from)[0]; strings.Join(values, " | ") != strings.Join(want, " | ") {
			t.Errorf("%s: got %q, want %q", body, values, want)
		}
	}
}
