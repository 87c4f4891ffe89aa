package check

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/maphash"
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

// Sample tries bodies through a model and on the live table: what would be rejected, and for what.
// It holds no body, and no finding has a value. What a row does to one of another transaction does
// not show: rows that refer to each other, or share a unique value, are judged by those of their
// transaction, sampleRows at most.
type Sample struct {
	store      Rehearser
	model      *model.Model
	reader     *model.Reader
	attributes []byte
	timeout    time.Duration
	rows       *batch.Batch
	lines      []int    // of the rows, by index of their messages
	hashes     []uint64 // of their keys, the same

	bodies, fresh, present int
	reasons                []*sampleReason
	others                 int // bodies with reasons that are not listed
	units                  *Units
	seed                   maphash.Seed
	keys                   map[uint64]struct{} // of the rows that would be stored
	repeats                int                 // bodies whose key an earlier one has
	repeated               []int               // the first of their lines
	err                    error
	untried                int
}

// sampleReason is why bodies would not be stored.
type sampleReason struct {
	outcome message.Outcome
	cause   message.Cause
	text    string
	taken   bool // a unique value is in the table or the sample already, and the key does not tell
	bodies  int
	lines   []int
}

// NewSample returns an empty sample. attributes are the message attributes of each body, as JSON, and
// timeout limits one transaction.
func NewSample(store Rehearser, m *model.Model, keys *mask.Keyring, attributes []byte, timeout time.Duration) *Sample {
	s := &Sample{
		store: store, model: m, reader: m.Reader(keys), attributes: attributes, timeout: timeout, rows: batch.New(m.Table), units: NewUnits(m),
		seed: maphash.MakeSeed(), keys: map[uint64]struct{}{},
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
	if !v.IsZero() {
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
		QueueARN: "arn:aws:sqs:us-east-1:000000000000:sample", Attributes: s.attributes,
	}
	v := s.reader.Append(s.rows, len(s.lines), 0, &msg)
	if !v.IsZero() {
		return v
	}
	s.units.Add(s.rows, s.rows.Len()-1)
	hash := s.key()
	if _, known := s.keys[hash]; known { // of an earlier transaction, which stored nothing
		s.rows.Cancel()
		s.repeat(line)
		return v
	}
	s.lines, s.hashes = append(s.lines, line), append(s.hashes, hash)
	return v
}

// key returns a hash of the key of the last row.
func (s *Sample) key() uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	s.rows.Key(s.rows.Len()-1, func(_ int, v []byte) {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(v))) //nolint:gosec // of a body
		_, _ = h.Write(size[:])                             // it never fails
		_, _ = h.Write(v)
	})
	return h.Sum64()
}

// repeat counts a body whose key an earlier one has.
func (s *Sample) repeat(line int) {
	s.repeats++
	if len(s.repeated) < shownLines {
		s.repeated = append(s.repeated, line)
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
	first := 0 // rows that are the first of their key
	for i, v := range verdicts {
		_, known := s.keys[s.hashes[i]]
		switch {
		case v.Outcome != message.Stored:
			s.count(v, s.lines[i])
		case known:
			s.repeat(s.lines[i])
		default:
			first++
			if len(s.keys) < maxSampleKeys {
				s.keys[s.hashes[i]] = struct{}{}
			}
		}
	}
	s.fresh += result.Tallies.Sum().Inserted
	s.present += max(first-result.Tallies.Sum().Inserted, 0)
	s.err = err
	s.rows.Reset()
	s.reader.Reset(time.Now())
	s.lines, s.hashes = s.lines[:0], s.hashes[:0]
}

// count counts a body that would not be stored.
func (s *Sample) count(v message.Verdict, line int) {
	if v.Outcome == message.Rejected && v.Rejection.Orphan() && s.model.ForeignKeyReceives > 0 {
		v.Outcome, v.Cause = message.Returned, message.CauseForeignKey
	}
	if v.Outcome == message.Returned && v.Cause != message.CauseForeignKey && v.Cause != message.CauseDiscarded {
		v.Cause = message.CauseNone // one error says why
	}
	text := ""
	if v.Rejection.Reason != "" {
		v.Rejection.More, v.Rejection.Byte = nil, 0
		text = v.Rejection.String()
		if meaning := v.Rejection.Meaning(); meaning != "" {
			text += " (" + meaning + ")"
		}
	}
	i := slices.IndexFunc(s.reasons, func(r *sampleReason) bool { return r.outcome == v.Outcome && r.cause == v.Cause && r.text == text })
	switch {
	case i >= 0:
	case len(s.reasons) == maxSampleFindings:
		s.others++
		return
	default:
		i = len(s.reasons)
		taken := v.Rejection.SQLState == uniqueKey && !s.keyHas(func(c model.Column) bool { return c.Meta == "" })
		s.reasons = append(s.reasons, &sampleReason{outcome: v.Outcome, cause: v.Cause, text: text, taken: taken})
	}
	r := s.reasons[i]
	r.bodies++
	if len(r.lines) < shownLines {
		r.lines = append(r.lines, line)
	}
}

// End tries what is left, and returns what became of the bodies.
func (s *Sample) End(ctx context.Context) (f Findings) {
	s.try(ctx)
	const about = "sample"
	if s.bodies == 0 {
		f.Add(Skipped, about, "sample", "", "the sample has no body: a file has one on each line")
		return f
	}
	f.Add(OK, about, "sample", "", "%d of %d bodies would be new rows, tried in transactions that were rolled back", s.fresh, s.bodies)
	slices.SortStableFunc(s.reasons, func(a, b *sampleReason) int { return b.bodies - a.bodies })
	told := false // of the error
	for _, r := range s.reasons {
		who := fmt.Sprintf("%d of %d bodies would be", r.bodies, s.bodies)
		where := lines(r.lines, r.bodies)
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
	f = append(f, s.units.Findings()...)
	if n := s.repeats; n > 0 {
		f.Add(Warning, about, "sample_key", "choose a key that tells them apart, or leave it so if they are the same message",
			"%d of %d bodies have the key of an earlier one: only the first becomes a row; %s", n, s.bodies, lines(s.repeated, n))
	}
	if s.present > 0 {
		where := "in the table already"
		if s.keyHas(func(c model.Column) bool { return c.Type.AsText || !slices.Contains(exact, c.Type.Base) }) {
			where += ", or that the database finds equal to an earlier one"
		}
		f.Add(OK, about, "sample_present", "", "%d of %d bodies have a key that is %s", s.present, s.bodies, where)
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

// keyHas reports whether the model's key has such a column.
func (s *Sample) keyHas(such func(model.Column) bool) bool {
	return slices.ContainsFunc(s.model.Table.Key, func(i int) bool { return such(s.model.Columns[i]) })
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
