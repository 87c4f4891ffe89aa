package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/infer"
	"example.com/owner/sluice/internal/model"
)

type inferCmd struct {
	File  string `arg:"" completion-predictor:"file" help:"File with one body per line; - for standard input. It may be compressed with gzip."`
	Table string `placeholder:"NAME" help:"An existing table of DATABASE_URL that the rows go to, as in billing.payments."`
	Name  string `placeholder:"NAME" help:"The model's name; default: the table's, or the file's."`
}

// Help returns the details.
func (inferCmd) Help() string {
	return `Prints a model file. A type is drafted if a model with it accepts every value of the sample; the comments have the
evidence. What looks personal is masked until you have reviewed it. No value of a body is printed, and no name of a member
that looks like a value, occurs in few bodies, or excludes others like it. A body that is not JSON is counted and left
out. A file that is one JSON document of several lines is one body.

  sluice infer bodies.jsonl > payments.yaml
  SLUICE_MODEL=./payments.yaml sluice explain --summary bodies.jsonl`
}

// tableTimeout limits what the database is asked.
const tableTimeout = 30 * time.Second

// Run implements the command.
func (c *inferCmd) Run(ctx context.Context, con *console) error {
	var table *infer.Table
	if c.Table != "" {
		var err error
		if table, err = con.liveTable(ctx, c.Table); err != nil {
			return fmt.Errorf("--table: %w", err)
		}
	}
	sample, events := infer.New(table), 0
	err := con.eachBody(ctx, c.File, func(body []byte) {
		sample.Add(body)
		if eventMessages(body) > 0 {
			events++
		}
	})
	if err != nil {
		return err
	}
	con.noteEvents(events, sample.Bodies, c.File)
	con.note(sample.NotJSON, sample.Bodies, "not JSON, or have a name twice in one object: a model rejects them")
	con.note(sample.NotObject, sample.Bodies, "JSON, but not an object: a model rejects them")
	if sample.Bodies == 1 && sample.NotObject == 1 {
		fmt.Fprintln(con.stderr, "sluice: if it is an array of bodies, `jq -c '.[]'` writes one per line")
	}
	for _, line := range sample.Mixed() {
		fmt.Fprintf(con.stderr, "sluice: %s\n", line)
	}
	text, err := sample.Draft(c.name())
	if err != nil {
		return err
	}
	fmt.Fprint(con.stdout, text)
	return nil
}

// note counts bodies of a sample that are special, on standard error.
func (con *console) note(n, bodies int, what string) {
	if n > 0 {
		fmt.Fprintf(con.stderr, "sluice: %s of %s bodies are %s\n", humanize.Comma(int64(n)), humanize.Comma(int64(bodies)), what)
	}
}

// noteEvents says how many bodies of a sample are no bodies.
func (con *console) noteEvents(n, bodies int, file string) {
	con.note(n, bodies, "events of a Lambda function, and their messages have the bodies; `jq -r '(.Records? // .)[].body' "+fileArgument(file)+"` prints those, and `sluice invoke -e FILE` runs one event")
}

// name returns what the model is called.
func (c *inferCmd) name() string {
	switch {
	case c.Name != "":
		return c.Name
	case c.Table != "":
		return c.Table[strings.LastIndexByte(c.Table, '.')+1:]
	case c.File == "-":
		return "messages"
	}
	name, _, _ := strings.Cut(filepath.Base(c.File), ".")
	return name
}

// eachBody gives each line of a file that is not blank to a function.
func (con *console) eachBody(ctx context.Context, path string, do func(body []byte)) error {
	return con.eachLine(ctx, path, func(_ int, body []byte) { do(body) })
}

// eachLine is eachBody with the line's number. A file that is one JSON document of several lines is
// one body.
func (con *console) eachLine(ctx context.Context, path string, do func(n int, body []byte)) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	lines := con.lines(reading, path)
	collected := document{do: do, stderr: con.stderr}
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return errStopped
		case next := <-lines:
			switch {
			case errors.Is(next.end, io.EOF):
				collected.end()
				return nil
			case next.end != nil:
				collected.end()
				return next.end
			case strings.TrimSpace(string(next.text)) != "":
				collected.line(n, next.text)
			}
		}
	}
}

// maxDocument is the size of a document of several lines, which no body exceeds.
const maxDocument = 8 << 20

// document collects lines while they may be one JSON document, and otherwise hands on each.
type document struct {
	do      func(n int, body []byte)
	stderr  io.Writer
	decided bool
	numbers []int
	lines   [][]byte
	size    int
	tried   int // the size when they were last looked at
}

func (d *document) line(n int, text []byte) {
	switch {
	case d.decided:
		d.do(n, text)
	case d.lines == nil && !unfinished(text):
		d.decided = true
		d.do(n, text)
	default:
		d.numbers, d.lines, d.size = append(d.numbers, n), append(d.lines, text), d.size+len(text)+1
		if d.size > maxDocument || d.size >= 2*d.tried && !d.open() {
			d.end()
		}
	}
}

// open reports whether the lines so far are a document, or the beginning of one. An input that is
// followed, as by tail -f, must not wait for its end.
func (d *document) open() bool {
	d.tried = d.size
	whole := bytes.Join(d.lines, []byte("\n"))
	return isJSON(whole) || unfinished(whole)
}

func isJSON(text []byte) bool { why := model.CheckJSON(text); return why.IsZero() }

// end decides what the lines so far are.
func (d *document) end() {
	if d.decided || d.lines == nil {
		return
	}
	d.decided = true
	if whole := bytes.Join(d.lines, []byte("\n")); len(d.lines) > 1 && isJSON(whole) {
		d.do(d.numbers[0], whole)
		return
	}
	if len(d.lines) > 1 {
		fmt.Fprintln(d.stderr, "sluice: the first line is not a whole JSON document: the file must have one body per line, as `jq -c .` writes it")
	}
	for i, text := range d.lines {
		d.do(d.numbers[i], text)
	}
	d.lines = nil
}

var utf8BOM = []byte("\xef\xbb\xbf")

// unfinished reports whether a line begins a JSON object or array that later lines may end.
func unfinished(line []byte) bool {
	line = bytes.TrimSpace(bytes.TrimPrefix(line, utf8BOM))
	if len(line) == 0 || line[0] != '{' && line[0] != '[' {
		return false
	}
	_, err := jsontext.NewDecoder(bytes.NewReader(line), jsontext.AllowDuplicateNames(true)).ReadValue()
	return errors.Is(err, io.ErrUnexpectedEOF)
}

// liveTable reads a table of DATABASE_URL. The model that SLUICE_MODEL names is not needed, and may
// be what is to be drafted.
func (con *console) liveTable(ctx context.Context, name string) (*infer.Table, error) {
	ctx, cancel := context.WithTimeout(ctx, tableTimeout)
	defer cancel()
	options := con.options(con.log())
	options.Environ = maps.Clone(con.environ)
	delete(options.Environ, "SLUICE_MODEL")
	parts, err := app.Load(options, config.Database)
	if err != nil {
		return nil, err
	}
	if parts.AltDatabase() != nil {
		return nil, errors.New("it needs a Postgres in DATABASE_URL: SQLite's tables have no types of their own")
	}
	store, err := parts.Postgres()
	if err != nil {
		return nil, err
	}
	defer store.Close()
	conn, err := store.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return infer.ReadTable(ctx, conn, name)
}
