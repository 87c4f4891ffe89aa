package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/infer"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// The limits of what a summary keeps, however long the sample is.
const (
	maxSummaryKeys     = 1 << 22
	maxSummaryProblems = 200
	maxSummaryRows     = 100 // of members that the table shows; the JSON has all
	maxUnreadListed    = 5   // of members in a warning
)

// summary counts what becomes of a sample.
type summary struct {
	Bodies   int              `json:"bodies"`
	Readable int              `json:"readable"` // bodies whose JSON could be read: those in fields
	Accepted int              `json:"accepted"`
	Rejected int              `json:"rejected"`
	Fields   []summaryField   `json:"fields"`
	Problems []summaryProblem `json:"problems"`
	Unread   []summaryMember  `json:"unread"`
	// RepeatedKeys counts rows of accepted bodies whose key an earlier row of their table has: they would
	// collide.
	RepeatedKeys int `json:"repeated_keys"`
	// KeysCompared is how many rows were compared, all unless the sample is very long.
	KeysCompared int `json:"keys_compared"`
	// Rows counts the rows of accepted bodies by table, for a model whose messages may have several.
	Rows []check.TableRows `json:"rows,omitzero"`
	// Ignored bodies are of a model without a table, or have no rows.
	Ignored int `json:"ignored,omitzero"`
}

// summaryField counts a field's values in the bodies that could be read, accepted or not, and the
// bodies that it rejects.
type summaryField struct {
	Field    string `json:"field"`
	Present  int    `json:"present"`
	Null     int    `json:"null"`
	Changed  int    `json:"changed"` // of those present, by an option of the field
	Rejected int    `json:"rejected"`
}

// summaryProblem counts the bodies that have a problem.
type summaryProblem struct {
	Reason message.Reason `json:"reason"`
	Field  string         `json:"field,omitzero"`
	Detail string         `json:"detail,omitzero"`
	Bodies int            `json:"bodies"`
	Means  string         `json:"means"`
}

// summaryMember counts a member that the model does not read.
type summaryMember struct {
	Path    string `json:"path"`
	Members int    `json:"members"`
}

// unreadSample counts what the model does not read at one path.
type unreadSample struct {
	at       model.Visited
	names    infer.Names
	elements map[string]int // by path
}

// summaries counts what becomes of a sample, and of the bodies of each of several models.
type summaries struct {
	Bodies   int `json:"bodies"`
	Accepted int `json:"accepted"`
	Rejected int `json:"rejected"`
	Ignored  int `json:"ignored"`
	// Models has one for each model, in the order in which they are tried.
	Models []modelSummary `json:"models"`
	// Problems are those of bodies that no model took.
	Problems []summaryProblem `json:"problems"`
}

// modelSummary is what becomes of the bodies that a model took.
type modelSummary struct {
	Model string `json:"model"`
	summary
}

// summarizer makes a summary of the bodies that a model took.
type summarizer struct {
	*explainer
	model   *model.Model
	reader  *model.Reader
	sum     summary
	units   *check.Units
	tables  *check.Rows
	seed    maphash.Seed
	keys    map[uint64]struct{}
	cut     bool                     // keys has not all
	unread  map[string]*unreadSample // by the path of what they are in
	values  [][]byte                 // of a row
	scratch []byte
}

// summary implements --summary.
func (c *explainCmd) summary(ctx context.Context, con *console, e *explainer) error {
	var models []*summarizer
	for i := range e.set.Models {
		models = append(models, newSummarizer(e, i))
	}
	untaken := &summarizer{explainer: e} // bodies that no model took
	events := 0                          // bodies that are events of a Lambda function
	overlaps := check.NewOverlaps(e.set)
	err := con.eachLine(ctx, cmp.Or(c.File, "-"), func(line int, body []byte) {
		verdict := e.append(body)
		s := untaken
		if m := e.took(verdict); m != nil {
			s = models[slices.Index(e.set.Models, m)]
		} else if !e.several() {
			s = models[0]
		}
		s.add(body, verdict)
		if e.several() {
			overlaps.Add(e.reader.Takers(&e.last), line)
		}
		if verdict.Outcome == message.Rejected && eventMessages(body) > 0 {
			events++
		}
	})
	if err != nil {
		return err
	}
	all := summaries{Models: []modelSummary{}}
	for _, s := range append(models, untaken) {
		s.end()
		all.Bodies += s.sum.Bodies
		all.Accepted += s.sum.Accepted
		all.Rejected += s.sum.Rejected
		all.Ignored += s.sum.Ignored
	}
	all.Problems = untaken.sum.Problems
	con.noteEvents(events, all.Bodies, c.File)
	con.warn(overlaps.Findings())
	for _, s := range models {
		con.warn(check.Model(s.model))
		con.warn(s.units.Findings())
		con.warn(s.tables.Findings(s.someUnread()))
		all.Models = append(all.Models, modelSummary{s.model.Name, s.sum})
	}
	var failed error
	if all.Rejected > 0 {
		failed = errReported
	}
	switch {
	case c.JSON && e.several():
		return con.printJSON(all, failed)
	case c.JSON:
		return con.printJSON(models[0].sum, failed)
	case !e.several():
		only := models[0]
		only.print(con, "")
		return failed
	}
	con.say("%s of %s accepted, %s rejected, %s ignored", number(all.Accepted), manyBodies(all.Bodies), number(all.Rejected), number(all.Ignored))
	for _, s := range models {
		fmt.Fprintln(con.stdout)
		switch {
		case s.sum.Bodies == 0:
			con.say("%s: no body", s.model.Name)
		case s.sum.Ignored == s.sum.Bodies:
			con.say("%s: %s ignored", s.model.Name, manyBodies(s.sum.Ignored))
		default:
			s.print(con, s.model.Name+": ")
		}
	}
	if untaken.sum.Bodies > 0 {
		fmt.Fprintln(con.stdout)
		con.say("no model: %s rejected", manyBodies(untaken.sum.Bodies))
		untaken.printProblems(con)
	}
	return failed
}

func newSummarizer(e *explainer, i int) *summarizer {
	m := e.set.Models[i]
	s := &summarizer{explainer: e, model: m, reader: e.reader.Of(i), units: check.NewUnits(m), tables: check.NewRows(m), seed: maphash.MakeSeed(), keys: map[uint64]struct{}{}, unread: map[string]*unreadSample{}}
	s.sum.Fields = make([]summaryField, len(m.Fields))
	s.sum.Problems, s.sum.Unread = []summaryProblem{}, []summaryMember{}
	for i, f := range m.Fields {
		s.sum.Fields[i].Field = f.Name
	}
	return s
}

// add counts a body with its verdict, right after it was read.
func (s *summarizer) add(body []byte, verdict message.Verdict) {
	s.sum.Bodies++
	if verdict.Outcome == message.Ignored {
		s.sum.Ignored++
		s.tables.AddIgnored()
		return
	}
	if s.model != nil && (verdict.IsZero() || verdict.Model > 0) {
		for _, at := range s.model.Unread(body) {
			s.countUnread(at)
		}
		if s.reader.Readable() {
			s.sum.Readable++
			for i := range s.sum.Fields {
				s.countField(i)
			}
		}
	}
	if !verdict.IsZero() {
		s.reject(verdict.Rejection)
		return
	}
	s.sum.Accepted++
	s.tables.Add(s.rows, 0)
	s.units.Add(s.rows, 0)
	eachRow(s.rows, s.model, func(of *model.Model, number int, read rowReader) {
		if number == 1 || of.Table.Ledger == "" { // a ledger has one key for a message
			s.key(of.Table, read)
		}
	})
}

// countField counts what a body has for a field.
func (s *summarizer) countField(i int) {
	f := &s.sum.Fields[i]
	if !s.reader.Present(i) {
		f.Null++
		return
	}
	f.Present++
	if s.reader.Changed(i) {
		f.Changed++
	}
}

// reject counts the problems of a body, and a field once however many it has.
func (s *summarizer) reject(first message.Rejection) {
	s.sum.Rejected++
	var fields []string
	for _, bad := range append([]message.Rejection{first}, first.More...) {
		bad.Detail = check.AnyRow(bad.Detail)
		i := slices.IndexFunc(s.sum.Problems, func(p summaryProblem) bool {
			return p.Reason == bad.Reason && p.Field == bad.Field && p.Detail == bad.Detail
		})
		switch {
		case i >= 0:
			s.sum.Problems[i].Bodies++
		case len(s.sum.Problems) < maxSummaryProblems:
			s.sum.Problems = append(s.sum.Problems, summaryProblem{bad.Reason, bad.Field, bad.Detail, 1, bad.Reason.Explain()})
		}
		if bad.Field == "" || slices.Contains(fields, bad.Field) {
			continue
		}
		fields = append(fields, bad.Field)
		if i := slices.IndexFunc(s.sum.Fields, func(f summaryField) bool { return f.Field == bad.Field }); i >= 0 {
			s.sum.Fields[i].Rejected++
		}
	}
}

// countUnread counts what the model does not read of an object or an array.
func (s *summarizer) countUnread(at model.Visited) {
	path := inLayer(at, at.Path.String())
	known := s.unread[path]
	if known == nil {
		known = &unreadSample{at: at, elements: map[string]int{}}
		s.unread[path] = known
	}
	known.names.Add(func(yield func(string, []byte) bool) {
		for _, m := range at.Unread {
			if m.Element {
				known.elements[unreadPath(at, m.Segment)]++
			} else if !yield(m.Name, m.Value) {
				return
			}
		}
	})
}

// key looks for an earlier row of a table with the same key.
func (s *summarizer) key(of *batch.Table, read rowReader) {
	if s.cut = len(s.keys) >= maxSummaryKeys; s.cut {
		return
	}
	s.sum.KeysCompared++
	s.values = s.values[:0]
	read(func(_ int, v []byte) { s.values = append(s.values, v) })
	s.scratch = append(s.scratch[:0], batch.QuoteTable(of.Schema, of.Name)...)
	for _, c := range of.Key {
		s.scratch = binary.AppendUvarint(s.scratch, uint64(len(s.values[c])))
		s.scratch = append(s.scratch, s.values[c]...)
	}
	h := maphash.Bytes(s.seed, s.scratch)
	if _, repeated := s.keys[h]; repeated {
		s.sum.RepeatedKeys++
	}
	s.keys[h] = struct{}{}
}

// someUnread lists paths of most of the members that the model does not read.
func (s *summarizer) someUnread() (paths []string) {
	for _, m := range s.sum.Unread {
		if !strings.HasSuffix(m.Path, "."+infer.Hidden) && len(paths) < maxUnreadListed {
			paths = append(paths, m.Path)
		}
	}
	return paths
}

// end hides the names that may be data, and sorts.
func (s *summarizer) end() {
	if s.sum.Accepted > 0 && s.model != nil {
		s.sum.Rows = s.tables.Counts()
	}
	add := func(path string, n int) {
		if n > 0 {
			s.sum.Unread = append(s.sum.Unread, summaryMember{path, n})
		}
	}
	for _, u := range s.unread {
		for path, n := range u.elements {
			add(path, n)
		}
		names, others := u.names.Shown(s.sum.Bodies)
		for name, n := range names {
			add(unreadPath(u.at, model.Segment{Name: name}), n)
		}
		add(hiddenPath(u.at), others)
	}
	slices.SortFunc(s.sum.Unread, func(a, b summaryMember) int {
		return cmp.Or(b.Members-a.Members, strings.Compare(a.Path, b.Path))
	})
	slices.SortStableFunc(s.sum.Problems, func(a, b summaryProblem) int { return b.Bodies - a.Bodies })
	s.sum.Fields = slices.DeleteFunc(s.sum.Fields, func(f summaryField) bool {
		i := slices.IndexFunc(s.model.Fields, func(known model.Field) bool { return known.Name == f.Field })
		return s.model.Fields[i].Constant
	})
}

// print prints the summary, and before its first line what it is of.
func (s *summarizer) print(con *console, of string) {
	sum := &s.sum
	repeated := ""
	if sum.Accepted > 0 {
		repeated = "; rows with the key of an earlier one: " + number(sum.RepeatedKeys)
		if s.cut {
			repeated += " of the first " + number(sum.KeysCompared)
		}
	}
	ignored := ""
	if sum.Ignored > 0 {
		ignored = ", " + number(sum.Ignored) + " ignored"
	}
	con.say("%s%s of %s accepted, %s rejected%s%s", of, number(sum.Accepted), manyBodies(sum.Bodies), number(sum.Rejected), ignored, repeated)
	if sum.Rows != nil {
		con.say("%s", listCounts(sum.Rows))
	}
	fmt.Fprintln(con.stdout)
	if sum.Readable+sum.Ignored < sum.Bodies {
		con.say("Of the %s that could be read, accepted or not:", manyBodies(sum.Readable))
		fmt.Fprintln(con.stdout)
	}
	fields := con.table("field", "present", "changed", "null", "rejected")
	for _, f := range sum.Fields {
		fields.row(f.Field, number(f.Present), number(f.Changed), number(f.Null), number(f.Rejected))
	}
	fields.print()
	s.printProblems(con)
	if len(sum.Unread) > 0 {
		fmt.Fprintln(con.stdout)
		unread := con.table("not read by the model", "members")
		for _, m := range sum.Unread[:min(len(sum.Unread), maxSummaryRows)] {
			unread.row(m.Path, number(m.Members))
		}
		unread.print()
		if n := len(sum.Unread) - maxSummaryRows; n > 0 {
			fmt.Fprintf(con.stdout, "and %s more\n", number(n))
		}
	}
}

func (s *summarizer) printProblems(con *console) {
	if len(s.sum.Problems) == 0 {
		return
	}
	fmt.Fprintln(con.stdout)
	problems := con.table("rejected because", "field", "bodies", "which means")
	for _, p := range s.sum.Problems {
		problems.row(p.Reason, p.Field, number(p.Bodies), prose(cmp.Or(p.Detail, p.Means)))
	}
	problems.print()
}
