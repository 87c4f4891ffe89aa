package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/infer"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

type explainCmd struct {
	File      string            `arg:"" optional:"" completion-predictor:"file" help:"File with one body, or with --summary one body per line; default, and -: standard input."`
	Summary   bool              `help:"Count what becomes of a whole sample. The file may be compressed with gzip."`
	Attribute map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"Give the messages this attribute: a Number if a field of numbers reads it, else a String. It may be repeated."`
	JSON      bool              `help:"Print JSON instead of a table."`
}

// Help returns the details.
func (explainCmd) Help() string {
	return `The exit code is 1 when the body would be rejected, with --summary when one of them would. The message's own values
(its id, when it was sent, and a sequence number if a model needs one) are invented. Nothing is stored, and no database is
needed.

It lists the members of the body that the model does not read, with --json on standard error. Names that look like data
(ids, addresses, numbers), with --summary also those that occur in few bodies or exclude each other, are shown as *.

  echo '{"user_id":"u-1","ip":"203.0.113.7"}' | sluice explain
  sluice explain --summary bodies.jsonl.gz`
}

// explanation is one column of the row.
type explanation struct {
	// Table and Row say which of several rows of the message it is; the rows of each table count from 1.
	Table  string `json:"table,omitzero"`
	Row    int    `json:"row,omitzero"`
	Column string `json:"column"`
	Type   string `json:"type"`
	Rule   string `json:"rule"`
	// Value is what is stored.
	Value jsontext.Value `json:"value"`
	// Changed: an option of the field changes the value (a default, trim, case, …).
	Changed bool `json:"changed,omitzero"`

	text string // the value, for the table
}

// problem is a reason why a body would be rejected.
type problem struct {
	Byte     int       `json:"byte,omitzero"` // see message.Rejection
	Detail   string    `json:"detail,omitzero"`
	Field    string    `json:"field"`
	Means    string    `json:"means"`
	Model    string    `json:"model,omitzero"`   // which took the body, if there are several
	More     []problem `json:"more,omitzero"`    // the other problems of the body
	Omitted  int       `json:"omitted,omitzero"` // problems beyond these
	Rejected string    `json:"rejected"`
	Unread   []string  `json:"unread,omitzero"`
}

func problemOf(bad message.Rejection) problem {
	p := problem{Rejected: string(bad.Reason), Field: bad.Field, Means: bad.Reason.Explain(), Detail: bad.Detail, Byte: bad.Byte, Omitted: bad.Omitted}
	for _, more := range bad.More {
		p.More = append(p.More, problemOf(more))
	}
	return p
}

// explainer turns invented messages into rows.
type explainer struct {
	set        *model.Set
	reader     *model.SetReader
	rows       *batch.Batch
	attributes []byte
	messages   int
	last       message.Message
}

// Run implements the command.
func (c *explainCmd) Run(ctx context.Context, con *console) error {
	parts, err := con.load(config.Masks)
	if err != nil {
		return err
	}
	keys, err := parts.Keys(ctx)
	if err != nil {
		return err
	}
	e, err := newExplainer(parts.Config.Models, keys, c.Attribute)
	if err != nil {
		return err
	}
	if c.Summary {
		return c.summary(ctx, con, e)
	}
	body, err := con.read(ctx, c.File)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	verdict := e.append(body)
	m := e.took(verdict)
	e.warnOfOthers(con)
	var unread []string
	if m != nil {
		unread = e.unread(m, body)
	}
	switch {
	case verdict.Outcome == message.Ignored:
		return c.ignored(con, m)
	case !verdict.IsZero():
		if n := eventMessages(body); n > 0 {
			defer fmt.Fprintf(con.stderr, "sluice: this is %s\n", isEvent(n, c.File))
		} else if n := countBodies(body); n > 1 {
			defer fmt.Fprintf(con.stderr, "sluice: this is one body per line, %d in all; `sluice explain --summary %s` tries them\n", n, fileArgument(c.File))
		}
		by := ""
		if m != nil && e.several() {
			by = m.Name
		}
		return c.rejected(con, verdict.Rejection, by, unread)
	}
	con.warn(check.Model(m))
	return c.print(con, e, m, unread)
}

// several reports whether the queue has several models, so that it must be said which one is meant.
func (e *explainer) several() bool { return len(e.set.Models) > 1 }

// took returns the model that took the last body, nil if none did.
func (e *explainer) took(v message.Verdict) *model.Model {
	switch {
	case v.IsZero():
		return e.set.Models[e.set.ModelOf(e.rows.Table(0))]
	case v.Model > 0:
		return e.set.Models[v.Model-1]
	default:
		return nil
	}
}

func newExplainer(set *model.Set, keys *mask.Keyring, attributes map[string]string) (*explainer, error) {
	e := &explainer{set: set, reader: set.Reader(keys), rows: batch.New(set.Tables()...)}
	if len(attributes) == 0 {
		return e, nil
	}
	type attribute struct {
		DataType    string `json:"dataType"`
		StringValue string `json:"stringValue"`
	}
	all := map[string]attribute{}
	for name, value := range attributes {
		all[name] = attribute{"String", value}
		if slices.ContainsFunc(set.Models, func(m *model.Model) bool { return readsNumber(m, name, value) }) {
			all[name] = attribute{"Number", value}
		}
	}
	var err error
	e.attributes, err = json.Marshal(all, json.Deterministic(true))
	if err != nil { // its text quotes them
		return nil, fmt.Errorf("--attribute: a name or a value is not valid UTF-8")
	}
	return e, nil
}

// readsNumber reports whether an attribute is sent as a number: a field of numbers reads it, or one of
// times that may count seconds.
func readsNumber(m *model.Model, attribute, value string) bool {
	_, err := strconv.ParseFloat(value, 64)
	return slices.ContainsFunc(m.Fields, func(f model.Field) bool {
		return f.Attribute == attribute && (f.Type == model.TypeInteger || f.Type == model.TypeNumeric || f.Type == model.TypeTimestamp && err == nil)
	})
}

// append reads one body, of a message of its own.
func (e *explainer) append(body []byte) message.Verdict {
	e.messages++
	now := time.Now()
	e.last = message.Message{
		ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", e.messages-1), Body: body, HasBody: true, SentMillis: now.UnixMilli(), HasSent: true, Attributes: e.attributes,
		SequenceNumber: check.InventSequence(e.set, e.messages),
	}
	e.rows.Reset()
	e.reader.Reset(now)
	return e.reader.Append(e.rows, 0, 0, &e.last)
}

// warnOfOthers warns of models that would take the last body too, if the one before them did not.
func (e *explainer) warnOfOthers(con *console) {
	if !e.several() {
		return
	}
	takers := e.reader.Takers(&e.last)
	for _, i := range takers[min(1, len(takers)):] {
		fmt.Fprintf(con.stderr, "sluice: warning: the model %s would take the body too; %s gets it, because it comes first: correct one of the two whens\n", e.set.Models[i].Name, e.set.Models[takers[0]].Name)
	}
}

// unread lists the paths of members that a model does not read, each once. Names that look like
// data are hidden.
func (e *explainer) unread(m *model.Model, body []byte) (paths []string) {
	for _, at := range m.Unread(body) {
		for _, m := range at.Unread {
			path := unreadPath(at, m.Segment)
			if !m.Element && infer.LooksLikeData(m.Name) {
				path = hiddenPath(at)
			}
			if !slices.Contains(paths, path) {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// unreadPath returns the path of a member that the model does not read. What it is in has a path of
// the model.
func unreadPath(at model.Visited, member model.Segment) string {
	return inLayer(at, slices.Concat(at.Path, model.Path{member}).String())
}

// hiddenPath is the path of members whose names are not printed.
func hiddenPath(at model.Visited) string { return inLayer(at, at.Path.String()+"."+infer.Hidden) }

func inLayer(at model.Visited, path string) string {
	if at.Layer > 0 {
		return fmt.Sprintf("layer %d: %s", at.Layer, path)
	}
	return path
}

// ignored says that a model takes the body and stores nothing.
func (c *explainCmd) ignored(con *console, m *model.Model) error {
	if c.JSON {
		fmt.Fprintf(con.stderr, "sluice: the model %s takes the body and ignores it: nothing is stored\n", m.Name)
		return con.printJSON([]explanation{}, nil)
	}
	con.say("The model %s takes the body and ignores it: nothing is stored.", m.Name)
	return nil
}

func (c *explainCmd) rejected(con *console, bad message.Rejection, by string, unread []string) error {
	if !slices.ContainsFunc(unread, func(path string) bool { return !strings.Contains(path, infer.Hidden) }) {
		unread = nil // hidden names do not help to correct the model
	}
	if c.JSON {
		p := problemOf(bad)
		p.Model, p.Unread = by, unread
		return con.printJSON(p, errReported)
	}
	if by != "" {
		by = " by the model " + by
	}
	lines := []string{"the body would be rejected" + by + ": " + said(bad)}
	for _, more := range bad.More {
		lines = append(lines, "it also has: "+said(more))
	}
	if bad.Omitted > 0 {
		lines = append(lines, fmt.Sprintf("and %d more problems", bad.Omitted))
	}
	if len(unread) > 0 {
		lines = append(lines, notRead(unread))
	}
	for _, line := range lines {
		fmt.Fprintf(con.stderr, "sluice: %s\n", oneLine(line))
	}
	return errReported
}

// said returns a rejection with what its reason means.
func said(bad message.Rejection) string {
	if meaning := bad.Meaning(); meaning != "" {
		return bad.String() + ": " + meaning
	}
	return bad.String()
}

func notRead(unread []string) string {
	return "the model does not read these members: " + strings.Join(unread, ", ")
}

// warn prints the warnings of what was found.
func (con *console) warn(found check.Findings) {
	for _, f := range found {
		if f.Severity == check.Warning {
			fmt.Fprintf(con.stderr, "sluice: warning: %s; %s\n", f.What, f.Remedy)
		}
	}
}

// maxShownRows is how many rows of a table the screen has, of those that a message becomes.
const maxShownRows = 3

// explain returns the columns of all rows that the last body becomes.
func (e *explainer) explain(m *model.Model) (all []explanation) {
	reader := e.reader.Of(e.set.ModelOf(e.rows.Table(0)))
	changed := make([]bool, len(m.Fields))
	for i := range changed {
		changed[i] = reader.Changed(i)
	}
	eachRow(e.rows, m, func(of *model.Model, number int, read rowReader) {
		x := explanation{}
		if m.SeveralRows() {
			x.Table, x.Row = of.Table.Name, number
		}
		read(func(i int, v []byte) {
			col, stored := of.Columns[i], &of.Table.Columns[i]
			x.Column, x.Type, x.Rule, x.Value, x.text = col.Name, col.Type.String(), of.Rule(i), jsonOf(stored, v), show(stored, v)
			x.Changed = col.Field >= 0 && changed[col.Field]
			all = append(all, x)
		})
	})
	return all
}

// printRow prints the columns of one row.
func printRow(con *console, row []explanation) {
	if row[0].Row > 0 {
		con.say("row %d of %s", row[0].Row, row[0].Table)
	}
	changed := slices.ContainsFunc(row, func(x explanation) bool { return x.Changed })
	headings := []string{"column", "type", "rule", "value"}
	if changed {
		headings = append(headings, "changed")
	}
	t := con.table(headings...)
	for _, x := range row {
		cells := []any{x.Column, x.Type, x.Rule, x.text}
		switch {
		case x.Changed:
			cells = append(cells, "yes")
		case changed:
			cells = append(cells, "")
		}
		t.row(cells...)
	}
	t.print()
	if row[0].Row > 0 {
		fmt.Fprintln(con.stdout)
	}
}

func (c *explainCmd) print(con *console, e *explainer, m *model.Model, unread []string) error {
	all := e.explain(m)
	if c.JSON { // all that it lists are columns, as scripts expect
		if e.several() {
			fmt.Fprintf(con.stderr, "sluice: the model %s takes the body\n", m.Name)
		}
		if len(unread) > 0 {
			fmt.Fprintf(con.stderr, "sluice: %s\n", oneLine(notRead(unread)))
		}
		return con.printJSON(all, nil)
	}
	if e.several() {
		con.say("The model %s takes the body.", m.Name)
		fmt.Fprintln(con.stdout)
	}
	more := 0
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Table == all[0].Table && all[n].Row == all[0].Row {
			n++
		}
		if all[0].Row <= maxShownRows {
			printRow(con, all[:n])
		} else {
			more++
		}
		all = all[n:]
	}
	if more > 0 {
		con.say("and %s", many(more, "more row"))
	}
	if len(unread) > 0 {
		fmt.Fprintf(con.stdout, "\nThe model does not read these members of the body:\n")
		for _, path := range unread {
			fmt.Fprintf(con.stdout, "  %s\n", oneLine(path))
		}
	}
	return nil
}
