// Package ingest is the pipeline, messages -> batch -> store -> one verdict for each message, and
// the settlement: what becomes of each message in its queue. It knows no AWS and no SQL.
//
// It fails closed. A verdict starts as Returned, and only the store makes it Stored, when it has
// confirmed that the row is committed. A panic, a passed deadline or any error leaves the messages
// that it concerns Returned, and SQS delivers them again.
package ingest

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// Store commits the rows of a batch in one transaction. Its errors say by fault.Error why rows are
// returned.
type Store interface {
	Insert(ctx context.Context, b *batch.Batch) (message.Result, error)
	// Ping returns an error if the database does not answer, and stores nothing.
	Ping(ctx context.Context) error
}

// Pipeline runs batches. It is safe for concurrent use.
type Pipeline struct {
	// Keys returns the keys that mask; it may fetch them. Tests set another one before the first
	// batch.
	Keys func(context.Context) (*mask.Keyring, error)

	set   *model.Set
	names []string // of the models
	store Store
	log   *slog.Logger
	idle  chan *scratch
}

// New returns the pipeline of the models of a queue and a store.
func New(set *model.Set, s Store, keys func(context.Context) (*mask.Keyring, error), log *slog.Logger) *Pipeline {
	p := &Pipeline{Keys: keys, set: set, store: s, log: log, idle: make(chan *scratch, maxIdle)}
	for _, m := range set.Models {
		p.names = append(p.names, m.Name)
	}
	return p
}

// Static always returns the same keys.
func Static(keys *mask.Keyring) func(context.Context) (*mask.Keyring, error) {
	return func(context.Context) (*mask.Keyring, error) { return keys, nil }
}

// Ping returns an error if the store's database does not answer, for a caller that waits for it and
// has no message to try.
func (p *Pipeline) Ping(ctx context.Context) error { return p.store.Ping(ctx) }

// Report is what became of the messages of one batch.
type Report struct {
	Messages []message.Message
	// Verdicts has one for each message, in order.
	Verdicts []message.Verdict
	// Models are the names of the queue's models: a verdict's Model is an index into it, from 1.
	Models []string
	// Tallies has one for each model. The messages that are Stored and neither inserted nor replaced
	// anything are duplicates, or as their verdict says.
	Tallies message.Tallies
	// RoundTrips and StoreTime are what the store took.
	RoundTrips int
	StoreTime  time.Duration
	// Err is the error of the store, or why it was not asked. Some messages may be stored all the
	// same.
	Err error
	// Cause is the cause of Err. The log calls it "fault".
	Cause message.Cause
	// DeadLettered is how many messages were sent to the dead-letter queue.
	DeadLettered int
}

// Counts counts what became of the messages.
func (r *Report) Counts() (c message.Counts) {
	c.Add(r.Verdicts, r.Tallies.Sum())
	return c
}

// ByModel counts what became of the messages of each model: the first counts are of messages that no
// model took, the others of those of Models, in order. It is nil if there are not several models.
func (r *Report) ByModel() []message.Counts {
	if len(r.Models) < 2 {
		return nil
	}
	all := make([]message.Counts, 1+len(r.Models))
	for i := range r.Verdicts {
		all[r.Verdicts[i].Model].Verdict(&r.Verdicts[i])
	}
	for m, t := range r.Tallies {
		all[1+m].Tally(t)
	}
	return all
}

// Model returns the name of a verdict's model, "" if there is none.
func (r *Report) Model(v *message.Verdict) string {
	if v.Model == 0 || int(v.Model) > len(r.Models) {
		return ""
	}
	return r.Models[v.Model-1]
}

// Count returns how many messages have the outcome.
func (r *Report) Count(o message.Outcome) int {
	n := 0
	for i := range r.Verdicts {
		if r.Verdicts[i].Outcome == o {
			n++
		}
	}
	return n
}

// Oldest returns the age of the oldest message.
func (r *Report) Oldest(now time.Time) (age time.Duration) {
	for i := range r.Messages {
		age = max(age, r.Messages[i].Age(now))
	}
	return age
}

// maxIdle bounds the memory that is kept for the next batches. More batches run at once only where
// somebody has set a high concurrency.
const maxIdle = 4

// maxMessages is the size of a batch up to which its memory is kept for the next ones.
const maxMessages = 10_000

// scratch is the memory that one batch needs, kept for the next one.
type scratch struct {
	keys     *mask.Keyring
	reader   *model.SetReader
	received time.Time
	batch    *batch.Batch
	first    map[string]int // index of the first message with an id
	repeated []bool         // whether an earlier message has the same id
	groups   map[string]int // numbers of the FIFO groups, from 1
	stopped  map[int]bool   // groups with a message that was not stored
}

func (p *Pipeline) scratch(keys *mask.Keyring) *scratch {
	var s *scratch
	select {
	case s = <-p.idle:
	default:
	}
	if s == nil || s.keys != keys {
		s = &scratch{
			keys: keys, reader: p.set.Reader(keys), batch: batch.New(p.set.Tables()...),
			first: map[string]int{}, groups: map[string]int{}, stopped: map[int]bool{},
		}
	}
	return s
}

// release keeps the memory of a batch for the next one. Nothing in it refers to the messages any more:
// they may be in memory that their owner uses again.
func (p *Pipeline) release(s *scratch) {
	if len(s.repeated) > maxMessages {
		return
	}
	s.reader.Release()
	s.batch.Reset()
	s.repeated = s.repeated[:0]
	clear(s.first)
	clear(s.groups)
	clear(s.stopped)
	select {
	case p.idle <- s:
	default:
	}
}

// leastTime is how much time must be left to begin with the store.
const leastTime = 250 * time.Millisecond

// Run checks, masks and stores the messages of one batch. It gives up when the context ends, so the
// caller's own deadline should be later.
func (p *Pipeline) Run(ctx context.Context, messages []message.Message) Report {
	return p.RunIn(ctx, messages, nil)
}

// RunIn does the same, and has the verdicts in the memory of a slice if they fit there.
func (p *Pipeline) RunIn(ctx context.Context, messages []message.Message, verdicts []message.Verdict) Report {
	keys, err := p.Keys(ctx)
	if err != nil {
		r := Unable(messages, err, fault.Cause(err))
		r.Models = p.names
		return r
	}
	if cap(verdicts) < len(messages) {
		verdicts = make([]message.Verdict, len(messages))
	}
	verdicts = verdicts[:len(messages)]
	clear(verdicts)
	report := Report{Messages: messages, Verdicts: verdicts, Models: p.names}
	s := p.scratch(keys)
	s.received = time.Now()
	s.reader.Reset(s.received)
	s.batch.Grow(len(messages))
	for i := 0; i < len(messages); {
		i = p.check(ctx, s, &report, i)
	}
	s.batch.SetRedelivered(redelivered(messages))
	s.batch.Sort()
	p.insert(ctx, s, &report)
	s.stopGroups(&report)
	p.warnOfSent(ctx, s, messages)
	for i, repeated := range s.repeated {
		if !repeated {
			continue
		}
		verdicts[i] = verdicts[s.first[messages[i].ID]]
		if v := &verdicts[i]; v.Outcome == message.Stored { // whatever the first one has done
			*v = message.Verdict{Outcome: message.Repeated, Model: v.Model}
		}
	}
	p.release(s)
	return report
}

// redelivered reports whether some of the messages were received before, or may have been.
func redelivered(messages []message.Message) bool {
	for i := range messages {
		if messages[i].ReceiveCount != 1 {
			return true
		}
	}
	return false
}

// check reads messages from index i on, until the end or a panic. It returns the index of
// the next one to read: a panic costs one message alone.
func (p *Pipeline) check(ctx context.Context, s *scratch, r *Report, i int) (next int) {
	messages, verdicts := r.Messages, r.Verdicts
	began := s.batch.Len()
	defer func() {
		if cause := recover(); cause != nil {
			p.panicked(ctx, cause, messages[i].ID)
			if s.batch.Len() > began {
				s.batch.Cancel()
			}
			s.reader = p.set.Reader(s.keys) // the old one may be in any state
			s.reader.Reset(s.received)
			verdicts[i] = message.Verdict{Cause: message.CausePanic}
			s.stopped[s.group(&messages[i])] = true
			next = i + 1
		}
	}()
	for ; i < len(messages); i++ {
		m := &messages[i]
		began = s.batch.Len()
		_, repeated := s.first[m.ID]
		s.repeated = append(s.repeated, repeated)
		if repeated {
			continue
		}
		s.first[m.ID] = i
		group := s.group(m)
		if group != 0 && s.stopped[group] {
			verdicts[i] = message.Verdict{Cause: message.CauseGroup}
			continue
		}
		if v := s.reader.Append(s.batch, i, group, m); !v.IsZero() {
			verdicts[i] = v
			s.stopped[group] = s.stopped[group] || !v.Done(false)
		}
	}
	return i
}

// group returns the number of a message's FIFO group, 0 on a standard queue.
func (s *scratch) group(m *message.Message) int {
	if !m.FIFO {
		return 0
	}
	n, ok := s.groups[m.Group]
	if !ok {
		n = len(s.groups) + 1
		s.groups[m.Group] = n
	}
	return n
}

// stopGroups returns the messages after the first one of a group that was not stored, also those
// that would be rejected: their turn comes later.
func (s *scratch) stopGroups(r *Report) {
	clear(s.stopped)
	for i := range r.Messages {
		m, v := &r.Messages[i], &r.Verdicts[i]
		group := s.group(m)
		if group == 0 || s.repeated[i] {
			continue
		}
		if s.stopped[group] {
			*v = message.Verdict{Model: v.Model, Cause: message.CauseGroup}
		}
		s.stopped[group] = s.stopped[group] || !v.Done(false)
	}
}

// insert hands the batch to the store, and gives each message the verdict on its row.
func (p *Pipeline) insert(ctx context.Context, s *scratch, report *Report) {
	if s.batch.Len() == 0 {
		return
	}
	var result message.Result
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < leastTime || ctx.Err() != nil {
		report.Err, report.Cause = errors.New("too little time left to begin with the database"), message.CauseDeadline
	} else {
		start := time.Now()
		var err error
		result, err = p.call(ctx, s.batch)
		report.StoreTime = time.Since(start)
		report.Tallies, report.RoundTrips = p.tallies(result.Tallies), result.RoundTrips
		if err != nil {
			report.Err, report.Cause = err, fault.Cause(err)
		}
	}
	for row := range s.batch.Len() {
		i := s.batch.Message(row)
		v := &report.Verdicts[i]
		if row < len(result.Verdicts) { // a row without a verdict is returned
			*v = result.Verdicts[row]
		}
		if v.Outcome == message.Returned && v.Cause == message.CauseNone {
			v.Cause = report.Cause
		}
		v.Model = uint16(1 + p.set.ModelOf(s.batch.Table(row))) //nolint:gosec // a set has 1,000 models at most
		p.wait(v, &report.Messages[i])
	}
}

// tallies returns the tallies of models, from those of their tables.
func (p *Pipeline) tallies(tables message.Tallies) (models message.Tallies) {
	if len(p.names) == 1 {
		return tables
	}
	for table, t := range tables {
		of := models.Of(p.set.ModelOf(table))
		of.Inserted += t.Inserted
		of.Replaced += t.Replaced
	}
	return models
}

// wait returns a message whose row refers to one that is not stored yet, if the model says to wait
// for that one and the message was not received too often for it. An unknown count is 0.
func (p *Pipeline) wait(v *message.Verdict, m *message.Message) {
	if v.Outcome == message.Rejected && v.Rejection.Orphan() && m.ReceiveCount < p.receives(v) {
		v.Outcome, v.Cause = message.Returned, message.CauseForeignKey
	}
}

// receives returns how often a message is received before a row that refers to a missing one rejects
// it, as its model says.
func (p *Pipeline) receives(v *message.Verdict) int {
	return p.set.Models[v.Model-1].ForeignKeyReceives
}

// Unable returns the report of messages that were not tried, because of an error.
func Unable(messages []message.Message, err error, cause message.Cause) Report {
	r := Report{Messages: messages, Verdicts: make([]message.Verdict, len(messages)), Err: err, Cause: cause}
	for i := range r.Verdicts {
		r.Verdicts[i].Cause = cause
	}
	return r
}

// call calls the store, and makes an error of its panic.
func (p *Pipeline) call(ctx context.Context, b *batch.Batch) (result message.Result, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			p.panicked(ctx, cause, "")
			result, err = message.Result{}, errors.New("a panic in the store; its stack is in the log")
		}
	}()
	return p.store.Insert(ctx, b)
}

// panicked logs a panic.
func (p *Pipeline) panicked(ctx context.Context, cause any, messageID string) {
	p.log.ErrorContext(ctx, "panic", "panic", fault.Panic(cause), "message_id", messageID, "stack", string(debug.Stack()))
}
