package deadletters

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/fault"
	"sluice/internal/message"
	"sluice/internal/sqs"
)

// Redrive takes messages from one queue to another.
type Redrive struct {
	From, To *sqs.Queue
	Select   Selection
	// Max is how many are sent at most; 0 is no limit.
	Max int
	// Model is the one that To's messages are read by; "" when nobody knows.
	Model string
	// AnySource takes messages too that SQS moved from another queue than To,
	// and those that another model than Model has rejected.
	AnySource bool
	// DryRun chooses and counts, and sends nothing.
	DryRun   bool
	Progress Progress
}

// Summary is what became of the messages of a queue.
type Summary struct {
	// There is how many there were at the start, as SQS counts: approximately.
	There int `json:"there"`
	// InFlight is how many of them somebody else had in hand then.
	InFlight int `json:"in_flight"`
	// Looked is how many were looked at; Matched is how many of them were meant.
	Looked  int `json:"looked_at"`
	Matched int `json:"matched"`
	// Sent are confirmed by To; Deleted are confirmed by From. Those in
	// between are in both queues: their ids are in Undeleted.
	Sent    int `json:"sent"`
	Deleted int `json:"deleted"`
	// Unsent were meant, and are still where they were, and nowhere else.
	Unsent int `json:"unsent"`
	// Unknown are still where they were too; whether To has them as well is
	// not known, because there was no answer.
	Unknown int `json:"unknown"`
	// OtherQueue came from another queue than To, and stay for that reason.
	OtherQueue int `json:"of_another_queue"`
	// OtherModel were rejected by another model than the Redrive's, and stay
	// for that reason: they are no messages of To.
	OtherModel int `json:"of_another_model"`
	// Newer came after the start, and were left alone.
	Newer int `json:"newer"`
	// Unreturned could not be given back at once: they are invisible until
	// the queue's visibility ends.
	Unreturned int `json:"unreturned"`
	// Reasons counts those that matched.
	Reasons map[message.Reason]int `json:"reasons"`
	// Undeleted, NotSent and MaybeSent are ids of messages in From.
	Undeleted []string `json:"undeleted_ids,omitzero"`
	NotSent   []string `json:"unsent_ids,omitzero"`
	MaybeSent []string `json:"unknown_ids,omitzero"`
}

// ErrSameQueue refuses to send a queue's messages to itself.
var ErrSameQueue = errors.New("source and destination are the same queue")

// Run takes them. The summary counts beside an error too. It ends when it has
// looked at as many messages as there were at the start, or none is left; what
// comes meanwhile is left alone, so that messages which are rejected again do
// not go round in circles.
//
// Of a FIFO queue it passes over at most nine messages of a group that are not
// meant: SQS gives the tenth and later ones only when these are gone.
func (r *Redrive) Run(ctx context.Context) (Summary, error) {
	c := r.From.Counts
	s := Summary{There: c.Visible + c.InFlight + c.Delayed, InFlight: c.InFlight, Reasons: map[message.Reason]int{}}
	if r.From.URL == r.To.URL || r.From.Settings.ARN == r.To.Settings.ARN && r.To.Settings.ARN != "" {
		return s, ErrSameQueue
	}
	run := &run{Redrive: r, walk: newWalk(r.From), Summary: &s, start: time.Now()}
	err := run.all(ctx)
	run.finish(context.WithoutCancel(ctx))
	return s, err
}

// run is one Run.
type run struct {
	*Redrive
	*walk
	*Summary
	start time.Time
	sent  map[string]string // handles of what is sent and not deleted, by id
	lost  int               // batches in a row without a clear answer
}

// maxLost is how many batches in a row may have no clear answer: one can be a
// connection that broke, more are a network that breaks them all, and each
// leaves ten messages that may be there twice.
const maxLost = 2

func (r *run) all(ctx context.Context) error {
	r.sent = map[string]string{}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		fresh, err := r.next(ctx)
		if len(fresh) > 0 {
			err = errors.Join(err, r.round(context.WithoutCancel(ctx), r.choose(fresh)))
			r.Progress.tell(r.Looked, r.There)
		}
		switch {
		case err != nil:
			return err
		case len(fresh) == 0, r.Looked >= r.There, r.Max > 0 && r.Matched >= r.Max:
			return nil
		}
	}
}

// choose counts the messages, and says which are to be taken.
func (r *run) choose(fresh []sqs.Received) (chosen []*sqs.Received) {
	for i := range fresh {
		m := &fresh[i]
		if m.HasSent && m.SentMillis > r.start.UnixMilli() {
			r.Newer++
			continue
		}
		r.Looked++
		switch {
		case !r.Select.has(m, r.start):
		case !r.AnySource && m.SourceARN != "" && m.SourceARN != r.To.Settings.ARN:
			r.OtherQueue++
		case !r.AnySource && r.foreign(m):
			r.OtherModel++
		case r.Max > 0 && r.Matched == r.Max:
		default:
			r.Matched++
			r.Reasons[Reason(m)]++
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// foreign says whether another model has rejected a message. What sluice sends
// to a dead-letter queue has no SourceARN: only the note says whose it is.
func (r *Redrive) foreign(m *sqs.Received) bool {
	return r.Model != "" && m.Note != nil && m.Note.Model != "" && m.Note.Model != r.Model
}

// round takes what was chosen, one batch of ten after another: a process that
// is killed leaves one batch at most sent and not deleted. (Near SQS that is
// about as fast as SQS's own redrive, which moves 500 messages a second.) A
// FIFO queue's round is one batch. Its error says that a next round would fail
// as well; what it did not come to is unsent.
func (r *run) round(ctx context.Context, chosen []*sqs.Received) error {
	if r.DryRun {
		return nil
	}
	var err error
	if len(r.sent)+len(r.again) > 0 {
		err = r.delete(ctx) // left by earlier rounds
	}
	for ten := range slices.Chunk(chosen, perCall) {
		if err == nil {
			err = r.ten(ctx, ten)
			continue
		}
		for _, m := range ten {
			r.unsent(m)
		}
	}
	return err
}

// ten sends one batch, and deletes what is confirmed.
func (r *run) ten(ctx context.Context, chosen []*sqs.Received) error {
	out := make([]sqs.Outgoing, len(chosen))
	for i, m := range chosen {
		out[i] = m.Resend()
	}
	unsent, unknown, err := r.To.SendOnce(ctx, out)
	refused, doubtful := set(unsent), set(unknown)
	for i, m := range chosen {
		switch {
		case refused[i]:
			r.unsent(m)
		case doubtful[i]:
			r.Unknown++
			r.MaybeSent = append(r.MaybeSent, m.ID)
			r.keep(m)
		default:
			r.Sent++
			r.states[m.ID] = stateSent
			r.sent[m.ID] = m.ReceiptHandle
			delete(r.held, m.ID)
		}
	}
	deleteErr := r.delete(ctx)
	if r.lost++; len(unknown) == 0 {
		r.lost = 0
	}
	if e := fault.Of(err); e != nil && (e.Cause == message.CauseUnsent || len(unknown) > 0 && r.lost < maxLost) {
		err = nil // these entries' own fault, or this moment's
	}
	return errors.Join(err, deleteErr)
}

func (r *run) unsent(m *sqs.Received) {
	r.Unsent++
	r.NotSent = append(r.NotSent, m.ID)
	r.keep(m)
}

// keep holds a message that was meant until the end, so that none of its group passes it.
func (r *run) keep(m *sqs.Received) {
	h := r.held[m.ID]
	h.keep = true
	r.held[m.ID] = h
}

// delete deletes what is sent, those from earlier batches too.
func (r *run) delete(ctx context.Context) error {
	for id, handle := range r.again {
		if r.states[id] == stateSent || r.states[id] == stateDeleted {
			r.sent[id] = handle // deleted before, and delivered once more: SQS may
		}
	}
	clear(r.again)
	ids := make([]string, 0, len(r.sent))
	handles := make([]string, 0, len(r.sent))
	for id, handle := range r.sent {
		ids, handles = append(ids, id), append(handles, handle)
	}
	undeleted, err := r.From.Delete(ctx, handles)
	failed := set(undeleted)
	for i, id := range ids {
		if failed[i] {
			continue
		}
		if r.states[id] == stateSent {
			r.Deleted++
		}
		r.states[id] = stateDeleted
		delete(r.sent, id)
	}
	return err
}

// finish tries once more to delete, and gives the rest back.
func (r *run) finish(ctx context.Context) {
	if len(r.sent)+len(r.again) > 0 {
		_ = r.delete(ctx) // those that are left are named
	}
	for id := range r.sent {
		if r.states[id] == stateSent {
			r.Undeleted = append(r.Undeleted, id)
		}
	}
	slices.Sort(r.Undeleted)
	r.end(ctx)
	r.Unreturned = r.unreturned
}

// Err is nil when nothing is left to be done about the messages that matched.
func (s *Summary) Err() error {
	var left []string
	if s.Unsent > 0 {
		left = append(left, fmt.Sprintf("%d messages were not sent, and are where they were", s.Unsent))
	}
	if s.Unknown > 0 {
		left = append(left, fmt.Sprintf("of %d messages it is not known whether they were sent, for want of an answer: they may be in both queues, and the next redrive would send them again", s.Unknown))
	}
	if n := len(s.Undeleted); n > 0 {
		left = append(left, fmt.Sprintf("%d messages were sent and could not be deleted, and the next redrive would send them again: delete them first", n))
	}
	if left == nil {
		return nil
	}
	return errors.New(strings.Join(left, "; "))
}
