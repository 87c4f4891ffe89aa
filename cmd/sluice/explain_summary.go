package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"

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
	// RepeatedKeys counts accepted bodies whose key an earlier one has: their rows would collide.
	RepeatedKeys int `json:"repeated_keys"`
	// KeysCompared is how many accepted bodies were compared, all unless the sample is very long.
	KeysCompared int `json:"keys_compared"`
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

// summarizer makes a summary.
type summarizer struct {
	*explainer
	sum     summary
	units   *check.Units
	seed    maphash.Seed
	keys    map[uint64]struct{}
	unread  map[string]*unreadSample // by the path of what they are in
	scratch []byte
	events  int // bodies that are events of a Lambda function
}

// summary implements --summary.
func (c *explainCmd) summary(ctx context.Context, con *console, e *explainer) error {
	s := newSummarizer(e)
	if err := con.eachBody(ctx, cmp.Or(c.File, "-"), s.add); err != nil {
		return err
	}
	s.end()
	con.noteEvents(s.events, s.sum.Bodies, c.File)
	con.warn(check.Model(e.model))
	con.warn(s.units.Findings())
	var failed error
	if s.sum.Rejected > 0 {
		failed = errReported
	}
	if c.JSON {
		return con.printJSON(s.sum, failed)
	}
	s.print(con)
	return failed
}

func newSummarizer(e *explainer) *summarizer {
	m := e.model
	s := &summarizer{explainer: e, units: check.NewUnits(m), seed: maphash.MakeSeed(), keys: map[uint64]struct{}{}, unread: map[string]*unreadSample{}}
	s.sum.Fields = make([]summaryField, len(m.Fields))
	s.sum.Problems, s.sum.Unread = []summaryProblem{}, []summaryMember{}
	for i, f := range m.Fields {
		s.sum.Fields[i].Field = f.Name
	}
	return s
}

func (s *summarizer) add(body []byte) {
	s.sum.Bodies++
	verdict := s.append(body)
	for _, at := range s.model.Unread(body) {
		s.countUnread(at)
	}
	if s.reader.Readable() {
		s.sum.Readable++
		for i := range s.sum.Fields {
			s.countField(i)
		}
	}
	if !verdict.IsZero() {
		s.reject(verdict.Rejection)
		if eventMessages(body) > 0 {
			s.events++
		}
		return
	}
	s.sum.Accepted++
	s.units.Add(s.rows, 0)
	s.key()
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

// key looks for an earlier row with the same key.
func (s *summarizer) key() {
	if len(s.keys) >= maxSummaryKeys {
		return
	}
	s.sum.KeysCompared++
	s.scratch = s.scratch[:0]
	s.rows.Key(0, func(_ int, v []byte) {
		s.scratch = binary.AppendUvarint(s.scratch, uint64(len(v)))
		s.scratch = append(s.scratch, v...)
	})
	h := maphash.Bytes(s.seed, s.scratch)
	if _, repeated := s.keys[h]; repeated {
		s.sum.RepeatedKeys++
	}
	s.keys[h] = struct{}{}
}

// end hides the names that may be data, and sorts.
func (s *summarizer) end() {
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

func (s *summarizer) print(con *console) {
	sum, number := &s.sum, func(n int) string { return humanize.Comma(int64(n)) }
	repeated := ""
	if sum.Accepted > 0 {
		repeated = "; rows with the key of an earlier one: " + number(sum.RepeatedKeys)
		if sum.KeysCompared < sum.Accepted {
			repeated += " of the first " + number(sum.KeysCompared)
		}
	}
	con.say("%s of %s accepted, %s rejected%s", number(sum.Accepted), manyBodies(sum.Bodies), number(sum.Rejected), repeated)
	fmt.Fprintln(con.stdout)
	if sum.Readable < sum.Bodies {
		con.say("Of the %s that could be read, accepted or not:", manyBodies(sum.Readable))
		fmt.Fprintln(con.stdout)
	}
	fields := con.table("field", "present", "changed", "null", "rejected")
	for _, f := range sum.Fields {
		fields.row(f.Field, number(f.Present), number(f.Changed), number(f.Null), number(f.Rejected))
	}
	fields.print()
	if len(sum.Problems) > 0 {
		fmt.Fprintln(con.stdout)
		problems := con.table("rejected because", "field", "bodies", "which means")
		for _, p := range sum.Problems {
			problems.row(p.Reason, p.Field, number(p.Bodies), prose(cmp.Or(p.Detail, p.Means)))
		}
		problems.print()
	}
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
