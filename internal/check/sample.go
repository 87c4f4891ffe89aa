package check

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// Rehearser judges the rows of a batch as an insert would, and stores none.
type Rehearser interface {
	Rehearse(ctx context.Context, b *batch.Batch) (message.Result, error)
}

const (
	// sampleRows are tried in one transaction, which locks their keys until it is rolled back.
	sampleRows = 1000
	// maxSampleKeys bounds the memory for the keys of a sample.
	maxSampleKeys = 1 << 22
	// maxSampleFindings bounds how many different reasons are listed.
	maxSampleFindings = 50
	// uniqueKey is the SQLSTATE of a unique value that is taken.
	uniqueKey = "23505"
	// shownLines is how many numbers of lines a finding has.
	shownLines = 5
)

// Sample tries bodies through the models and on their live tables: what would be rejected, and why.
// It holds no body, and no finding has a value. What a row does to one of another transaction does
// not show: rows that refer to each other, or share a unique value, are judged by those of their
// transaction, sampleRows at most.
type Sample struct {
	store      Rehearser
	set        *model.Set
	reader     *model.SetReader
	attributes []byte
	timeout    time.Duration
	rows       *batch.Batch
	lines      []int    // of the rows, by index of their messages
	hashes     []uint64 // of their keys, the same
	models     []int    // indexes of their models, the same

	bodies int
	counts []sampleCounts // by model
	// conflicts have the key of a stored row, and other content. repeats have the key of an earlier
	// body, and so have versions, of which the newest is kept.
	conflicts, repeats, versions lineCount
	overlaps                     *Overlaps

	reasons []*sampleReason
	others  int      // bodies with reasons that are not listed
	units   []*Units // by model
	rowsOf  []*Rows  // by model
	seed    maphash.Seed
	keys    map[uint64]struct{} // of the rows that would be stored
	err     error
	untried int
}

// sampleCounts counts the bodies of a model.
type sampleCounts struct {
	fresh, replaced, outdated, present, ignored int
}

// lineCount counts bodies, and has the lines of the first.
type lineCount struct {
	bodies int
	lines  []int
}

func (c *lineCount) add(line int) {
	c.bodies++
	if len(c.lines) < shownLines {
		c.lines = append(c.lines, line)
	}
}

func (c *lineCount) String() string { return lines(c.lines, c.bodies) }

// sampleReason is why bodies would not be stored.
type sampleReason struct {
	outcome message.Outcome
	cause   message.Cause
	text    string
	model   uint16
	taken   bool // a unique value is in the table or the sample already, and the key does not tell
	lineCount
}

// NewSample returns an empty sample. attributes are the message attributes of each body, as JSON, and
// timeout limits one transaction.
func NewSample(store Rehearser, set *model.Set, keys *mask.Keyring, attributes []byte, timeout time.Duration) *Sample {
	s := &Sample{
		store: store, set: set, reader: set.Reader(keys), attributes: attributes, timeout: timeout, rows: batch.New(set.Tables()...),
		counts: make([]sampleCounts, len(set.Models)), overlaps: NewOverlaps(set), seed: maphash.MakeSeed(), keys: map[uint64]struct{}{},
	}
	for _, m := range set.Models {
		s.units, s.rowsOf = append(s.units, NewUnits(m)), append(s.rowsOf, NewRows(m))
	}
	s.reader.Reset(time.Now())
	return s
}

// Add tries a body, with the number of its line. The message that it is in is invented.
func (s *Sample) Add(ctx context.Context, line int, body []byte) {
	s.bodies++
	if s.err != nil {
		s.untried++
		return
	}
	v := s.append(line, body)
	if v.Cause == message.CauseMemory { // the transaction has no room for it
		s.try(ctx)
		if s.err == nil {
			v = s.append(line, body)
		}
	}
	switch {
	case v.Outcome == message.Ignored:
		s.counts[v.Model-1].ignored++
		s.rowsOf[v.Model-1].AddIgnored()
	case !v.IsZero():
		s.count(v, line)
	}
	if s.rows.Len() >= sampleRows {
		s.try(ctx)
	}
}

// append reads a body. Its row comes after the earlier ones in the order of keys of invented values,
// as those of messages do.
func (s *Sample) append(line int, body []byte) message.Verdict {
	msg := message.Message{
		ID: uuid.Must(uuid.NewV7()).String(), Body: body, HasBody: true, SentMillis: time.Now().UnixMilli(), HasSent: true, ReceiveCount: 1,
		QueueARN: "arn:aws:sqs:us-east-1:000000000000:sample", Attributes: s.attributes, SequenceNumber: InventSequence(s.set, s.bodies),
	}
	v := s.reader.Append(s.rows, len(s.lines), 0, &msg)
	if len(s.set.Models) > 1 && v.Cause != message.CauseMemory {
		s.overlaps.Add(s.reader.Takers(&msg), line)
	}
	if !v.IsZero() {
		return v
	}
	m := s.set.ModelOf(s.rows.Table(s.rows.Len() - 1))
	s.units[m].Add(s.rows, s.rows.Len()-1)
	s.rowsOf[m].Add(s.rows, s.rows.Len()-1)
	hash := s.key()
	if _, known := s.keys[hash]; known { // of an earlier transaction, which stored nothing
		s.rows.Cancel()
		s.repeat(m, line)
		return v
	}
	s.lines, s.hashes, s.models = append(s.lines, line), append(s.hashes, hash), append(s.models, m)
	return v
}

// InventSequence returns the sequence number of the n-th of invented messages, "" if no model needs one.
// As of a message that is sent now, it is greater than those of stored rows.
func InventSequence(set *model.Set, n int) string {
	if !slices.ContainsFunc(set.Models, func(m *model.Model) bool { return m.NeedsSequence() != "" }) {
		return ""
	}
	return fmt.Sprintf("9%019d", n) // SQS's have 20 digits, and begin with 18 today
}

// key returns a hash of the table and the key of the last row.
func (s *Sample) key() uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	maphash.WriteComparable(&h, s.rows.Table(s.rows.Len()-1))
	s.rows.Key(s.rows.Len()-1, func(_ int, v []byte) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(v))) //nolint:gosec // of a body
		_, _ = h.Write(size[:])                             // it never fails
		_, _ = h.Write(v)
	})
	return h.Sum64()
}

// repeat counts a body whose key an earlier one has.
func (s *Sample) repeat(m, line int) {
	if s.set.Models[m].Table.OnConflict == batch.Replace {
		s.versions.add(line)
	} else {
		s.repeats.add(line)
	}
}

// try tries the rows that are there, and empties the batch.
func (s *Sample) try(ctx context.Context) {
	if s.rows.Len() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	s.rows.Sort()
	result, err := s.store.Rehearse(ctx, s.rows)
	verdicts := make([]message.Verdict, len(s.lines)) // in the order of the lines
	for row, v := range result.Verdicts {
		verdicts[s.rows.Message(row)] = v
	}
	first := make([]int, len(s.counts)) // rows that are the first of their key
	for i, v := range verdicts {
		_, known := s.keys[s.hashes[i]]
		m := s.models[i]
		v.Model = uint16(1 + m) //nolint:gosec // a set has 1,000 models at most
		switch {
		case v.Outcome != message.Stored:
			s.count(v, s.lines[i])
		case v.Conflicts():
			s.conflicts.add(s.lines[i])
		case known:
			s.repeat(m, s.lines[i])
		case v.Outdated:
			s.counts[m].outdated++
		default:
			first[m]++
			if len(s.keys) < maxSampleKeys {
				s.keys[s.hashes[i]] = struct{}{}
			}
		}
	}
	for table, t := range result.Tallies {
		c := &s.counts[s.set.ModelOf(table)]
		c.fresh += t.Inserted
		c.replaced += t.Replaced
		first[s.set.ModelOf(table)] -= t.Inserted + t.Replaced
	}
	for m, n := range first {
		s.counts[m].present += max(n, 0)
	}
	s.err = err
	s.rows.Reset()
	s.reader.Reset(time.Now())
	s.lines, s.hashes, s.models = s.lines[:0], s.hashes[:0], s.models[:0]
}

// count counts a body that would not be stored.
func (s *Sample) count(v message.Verdict, line int) {
	if v.Outcome == message.Rejected && v.Rejection.Orphan() && s.set.Models[v.Model-1].ForeignKeyReceives > 0 {
		v.Outcome, v.Cause = message.Returned, message.CauseForeignKey
	}
	if v.Outcome == message.Returned && v.Cause != message.CauseForeignKey && v.Cause != message.CauseDiscarded {
		v.Cause = message.CauseNone // one error says why
	}
	text := ""
	if v.Rejection.Reason != "" {
		v.Rejection.More, v.Rejection.Byte, v.Rejection.Detail = nil, 0, AnyRow(v.Rejection.Detail)
		text = v.Rejection.String()
		if meaning := v.Rejection.Meaning(); meaning != "" {
			text += " (" + meaning + ")"
		}
	}
	i := slices.IndexFunc(s.reasons, func(r *sampleReason) bool {
		return r.outcome == v.Outcome && r.cause == v.Cause && r.model == v.Model && r.text == text
	})
	switch {
	case i >= 0:
	case len(s.reasons) == maxSampleFindings:
		s.others++
		return
	default:
		i = len(s.reasons)
		taken := v.Rejection.SQLState == uniqueKey && !keyHas(s.set.Models[v.Model-1], func(c model.Column) bool { return c.Meta == "" })
		s.reasons = append(s.reasons, &sampleReason{outcome: v.Outcome, cause: v.Cause, model: v.Model, text: text, taken: taken})
	}
	s.reasons[i].add(line)
}

var (
	whichRow   = regexp.MustCompile(`^row [0-9]+ of `)
	repeatedOf = regexp.MustCompile(`^(a row of .* has the key of )row [0-9]+$`)
)

// AnyRow returns the detail of a rejection without the number of the row that it names: the rejections of
// several messages that differ only there are counted together.
func AnyRow(detail string) string {
	return repeatedOf.ReplaceAllString(whichRow.ReplaceAllString(detail, "a row of "), "${1}another")
}

// End tries what is left, and returns what became of the bodies.
func (s *Sample) End(ctx context.Context) (f Findings) {
	s.try(ctx)
	const about = "sample"
	if s.bodies == 0 {
		f.Add(Skipped, about, "sample", "", "the sample has no body: a file has one on each line")
		return f
	}
	fresh := s.sum(func(c sampleCounts) int { return c.fresh })
	f.Add(OK, about, "sample", "", "%d of %d bodies would be new rows, tried in transactions that were rolled back%s", fresh, s.bodies, s.ofModels())
	for _, more := range []struct {
		what string
		n    func(sampleCounts) int
	}{
		{"would replace an older row", func(c sampleCounts) int { return c.replaced }},
		{"are outdated: the table or the sample has a newer row", func(c sampleCounts) int { return c.outdated }},
		{"would be discarded, as their models say", func(c sampleCounts) int { return c.ignored }},
	} {
		if n := s.sum(more.n); n > 0 {
			f.Add(OK, about, "sample", "", "%d of %d bodies %s", n, s.bodies, more.what)
		}
	}
	for i, m := range s.set.Models {
		total, each := 0, ""
		for _, c := range s.rowsOf[i].Counts() {
			total += c.Rows
			each += fmt.Sprintf(", %d of %s", c.Rows, c.Table)
		}
		if total > 0 {
			f.Add(OK, about, "sample_rows", "", "the bodies for the model %s that it accepts have %d rows in all%s; those of a body are stored together, or none of them", m.Name, total, strings.Replace(each, ",", ":", 1))
		}
	}
	slices.SortStableFunc(s.reasons, func(a, b *sampleReason) int { return b.bodies - a.bodies })
	told := false // of the error
	for _, r := range s.reasons {
		who := fmt.Sprintf("%d of %d bodies would be", r.bodies, s.bodies)
		if len(s.set.Models) > 1 && r.model > 0 {
			who = fmt.Sprintf("%d of %d bodies, of the model %s, would be", r.bodies, s.bodies, s.set.Models[r.model-1].Name)
		}
		where := r.String()
		switch {
		case r.taken:
			f.Add(Warning, about, "sample_rejected", "if the sample is of messages that are stored already, it is no problem: the sample's messageIds are invented, and those of a redelivery are not; "+
				"for other messages with the same value, let the columns of the constraint be the model's key, and they are duplicates", "%s rejected: %s; %s", who, r.text, where)
		case r.outcome == message.Rejected:
			remedy := "`sluice explain` shows each of them; change the model or the table, or have the sender change them"
			if strings.HasPrefix(r.text, string(message.ReasonRefused)) {
				remedy = "look at the column or the constraint of the table; change the model or the table, or have the sender change the values"
			}
			f.Add(Error, about, "sample_rejected", remedy, "%s rejected: %s; %s", who, r.text, where)
		case r.cause == message.CauseForeignKey:
			f.Add(Warning, about, "sample_waits", "store the rows first that they refer to", "%s returned, until the row that they refer to is stored: %s; %s", who, r.text, where)
		case r.cause == message.CauseDiscarded:
			f.Add(Error, about, "sample_returned", "look for a trigger or a rule", "%s returned: the database discards the row; %s", who, where)
		case s.err != nil:
			f.Failure(about, "sample_returned", s.err)
			f[len(f)-1].What = fmt.Sprintf("%s returned, and not for what they carry: %s; %s", who, f[len(f)-1].What, where)
			told = true
		default:
			f.Add(Error, about, "sample_returned", "try the sample again", "%s returned, and not for what they carry; %s", who, where)
		}
	}
	if s.others > 0 {
		f.Add(Error, about, "sample_rejected", "fix the others first", "%d more bodies would not be stored, for other reasons", s.others)
	}
	f = append(f, s.overlaps.Findings()...)
	for i, u := range s.units {
		f = append(f, u.Findings()...)
		f = append(f, s.rowsOf[i].Findings(nil)...)
	}
	if c := &s.conflicts; c.bodies > 0 {
		f.Add(Warning, about, "sample_conflict", "if the sample is of messages that are stored, it has others with the same key: choose a key that tells them apart, or on_conflict: replace",
			"%d of %d bodies have the key of a stored row, and other content: the stored row stays; %s", c.bodies, s.bodies, c)
	}
	if c := &s.repeats; c.bodies > 0 {
		f.Add(Warning, about, "sample_key", "choose a key that tells them apart, or leave it so if they are the same message",
			"%d of %d bodies have the key of an earlier one: only the first becomes a row; %s", c.bodies, s.bodies, c)
	}
	if c := &s.versions; c.bodies > 0 {
		f.Add(OK, about, "sample_key", "", "%d of %d bodies have the key of an earlier one: the newest of them is kept; %s", c.bodies, s.bodies, c)
	}
	if n := s.sum(func(c sampleCounts) int { return c.present }); n > 0 {
		where := "in the table already"
		if slices.ContainsFunc(s.set.Models, hasInexactKey) {
			where += ", or that the database finds equal to an earlier one"
		}
		f.Add(OK, about, "sample_present", "", "%d of %d bodies have a key that is %s", n, s.bodies, where)
	}
	if s.err != nil && !told {
		f.Failure(about, "sample_returned", s.err)
	}
	if s.untried > 0 {
		f.Add(Skipped, about, "sample", "", "the other %d bodies were not tried", s.untried)
	}
	return f
}

// exact are types in which different values are different, whatever a column's collation or precision.
var exact = []string{"smallint", "integer", "bigint", "boolean", "uuid", "date"}

// hasInexactKey reports whether the key of a model has another column.
func hasInexactKey(m *model.Model) bool {
	return keyHas(m, func(c model.Column) bool { return c.Type.AsText || !slices.Contains(exact, c.Type.Base) })
}

// keyHas reports whether a model's key has such a column.
func keyHas(m *model.Model, such func(model.Column) bool) bool {
	return m.Table != nil && slices.ContainsFunc(m.Table.Key, func(i int) bool { return such(m.Columns[i]) })
}

// sum adds a count of all models.
func (s *Sample) sum(of func(sampleCounts) int) (n int) {
	for _, c := range s.counts {
		n += of(c)
	}
	return n
}

// ofModels says how many of the new rows are of which model, if there are several.
func (s *Sample) ofModels() string {
	if len(s.set.Models) < 2 {
		return ""
	}
	var parts []string
	for i, c := range s.counts {
		if c.fresh > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", s.set.Models[i].Name, c.fresh))
		}
	}
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// lines spells the numbers of the first of n lines.
func lines(first []int, n int) string {
	numbers := make([]string, len(first))
	for i, line := range first {
		numbers[i] = strconv.Itoa(line)
	}
	text := "line"
	if n > 1 {
		text += "s"
	}
	text += " " + strings.Join(numbers, ", ")
	if more := n - len(first); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
