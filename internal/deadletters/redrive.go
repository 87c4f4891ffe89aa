package deadletters

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// Redrive takes messages from one queue to another.
type Redrive struct {
	From, To *sqs.Queue
	Select   Selection
	// Max limits how many are sent; 0 is no limit.
	Max int
	// Models are those that read To's messages; nil if that is not known.
	Models []string
	// AnySource also takes messages that SQS moved from another queue than To, and
	// those that another model than these has rejected.
	AnySource bool
	// DryRun chooses and counts, and sends nothing.
	DryRun   bool
	Progress Progress
}

// Summary is what became of the messages of a queue.
type Summary struct {
	// There is how many there were at the start, as SQS counts: approximately.
	There int `json:"there"`
	// InFlight is how many of them another consumer had received.
	InFlight int `json:"in_flight"`
	// Looked is how many were looked at; Matched is how many of them matched.
	Looked  int `json:"looked_at"`
	Matched int `json:"matched"`
	// Sent are confirmed by To; Deleted are confirmed by From. The difference is
	// in both queues: Undeleted has its ids.
	Sent    int `json:"sent"`
	Deleted int `json:"deleted"`
	// Unsent matched, and are still in From, and nowhere else.
	Unsent int `json:"unsent"`
	// Unknown are still in From too. Whether To has them as well is not known,
	// because there was no answer.
	Unknown int `json:"unknown"`
	// OtherQueue came from another queue than To, and therefore stay.
	OtherQueue int `json:"of_another_queue"`
	// OtherModel were rejected by another model than the Redrive's, and therefore
	// stay: they do not belong in To.
	OtherModel int `json:"of_another_model"`
	// Newer were sent after the start, and are left alone.
	Newer int `json:"newer"`
	// Unreturned could not be returned at once: they stay invisible until the
	// queue's visibility timeout expires.
	Unreturned int `json:"unreturned"`
	// Reasons counts those that matched.
	Reasons map[message.Reason]int `json:"reasons"`
	// Undeleted, NotSent and MaybeSent are ids of messages in From.
	Undeleted []string `json:"undeleted_ids,omitzero"`
	NotSent   []string `json:"unsent_ids,omitzero"`
	MaybeSent []string `json:"unknown_ids,omitzero"`

	// Why is of the first message that was not sent for what it is, or may have been sent.
	Why error `json:"-"`
}

// ErrSameQueue refuses to send a queue's messages to itself.
var ErrSameQueue = errors.New("source and destination are the same queue")

// Run takes them. The summary counts beside an error too. Run ends when it has
// looked at as many messages as there were at the start, or when none is left. It
// leaves newer messages alone, so that messages that are rejected again do not go
// round in circles.
//
// Of a FIFO queue it passes over at most nine messages of a group that do not
// match: SQS gives the tenth and later ones only when these are gone.
func (r *Redrive) Run(ctx context.Context) (Summary, error) {
	d := &redriving{
		options: r, reader: newReader(r.From), start: time.Now(), undeleted: map[string]string{},
		sum: Summary{There: r.From.Counts.All(), InFlight: r.From.Counts.InFlight, Reasons: map[message.Reason]int{}},
	}
	if r.From.URL == r.To.URL || r.From.Settings.ARN == r.To.Settings.ARN && r.To.Settings.ARN != "" {
		return d.sum, ErrSameQueue
	}
	err := d.moveAll(ctx)
	d.finish(context.WithoutCancel(ctx))
	return d.sum, err
}

// redriving is the state of one Run.
type redriving struct {
	options   *Redrive
	reader    *reader
	sum       Summary
	start     time.Time
	undeleted map[string]string // handles of messages that are sent and not deleted, by id
	lost      int               // batches in a row without a clear answer
}

// maxLost is how many batches in a row may have no clear answer: one can be a
// connection that broke, more are a network that breaks them all, and each leaves
// ten messages that may be in both queues.
const maxLost = 2

// moveAll reads the queue and moves the messages that match.
func (d *redriving) moveAll(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		fresh, err := d.reader.next(ctx)
		if len(fresh) > 0 {
			err = errors.Join(err, d.move(context.WithoutCancel(ctx), d.choose(fresh)))
			d.options.Progress.tell(d.sum.Looked, d.sum.There)
		}
		switch {
		case err != nil:
			return err
		case len(fresh) == 0, d.sum.Looked >= d.sum.There, d.options.Max > 0 && d.sum.Matched >= d.options.Max:
			return nil
		}
	}
}

// choose counts the messages, and returns those that are to be moved.
func (d *redriving) choose(fresh []sqs.Received) (chosen []*sqs.Received) {
	o := d.options
	for i := range fresh {
		m := &fresh[i]
		if m.HasSent && m.SentMillis > d.start.UnixMilli() {
			d.sum.Newer++
			continue
		}
		d.sum.Looked++
		switch {
		case !o.Select.has(m, d.start):
		case !o.AnySource && m.SourceARN != "" && m.SourceARN != o.To.Settings.ARN:
			d.sum.OtherQueue++
		case !o.AnySource && o.isOtherModel(m):
			d.sum.OtherModel++
		case o.Max > 0 && d.sum.Matched == o.Max:
		default:
			d.sum.Matched++
			d.sum.Reasons[Reason(m)]++
			chosen = append(chosen, m)
		}
	}
	return chosen
}

// isOtherModel reports whether another model has rejected a message. What sluice
// sends to a dead-letter queue has no SourceARN: only the note says whose it is.
func (r *Redrive) isOtherModel(m *sqs.Received) bool {
	return r.Models != nil && m.Note != nil && m.Note.Model != "" && !slices.Contains(r.Models, m.Note.Model)
}

// move moves the chosen messages, one batch of ten after another: a process that
// is killed leaves at most one batch sent and not deleted. (Near SQS that is about
// as fast as SQS's own redrive, which moves 500 messages a second.) Its error
// means that the next call would fail as well; the messages after it are unsent.
func (d *redriving) move(ctx context.Context, chosen []*sqs.Received) error {
	if d.options.DryRun {
		return nil
	}
	err := d.delete(ctx) // what earlier calls have left
	for ten := range slices.Chunk(chosen, perCall) {
		if err == nil {
			err = d.moveTen(ctx, ten)
			continue
		}
		for _, m := range ten {
			d.unsent(m)
		}
	}
	return err
}

// moveTen sends one batch, and deletes what is confirmed.
func (d *redriving) moveTen(ctx context.Context, chosen []*sqs.Received) error {
	out := make([]sqs.Outgoing, len(chosen))
	for i, m := range chosen {
		out[i] = m.Resend()
	}
	unsent, unknown, err := d.options.To.SendOnce(ctx, out)
	for i, m := range chosen {
		switch {
		case has(unsent, i):
			d.unsent(m)
		case has(unknown, i):
			d.sum.Unknown++
			d.sum.MaybeSent = append(d.sum.MaybeSent, m.ID)
			d.reader.held[m.ID].locksGroup = true
		default:
			d.sum.Sent++
			d.reader.states[m.ID] = stateSent
			d.undeleted[m.ID] = m.ReceiptHandle
			delete(d.reader.held, m.ID)
		}
	}
	deleteErr := d.delete(ctx)
	if d.lost++; len(unknown) == 0 {
		d.lost = 0
	}
	if e := fault.Of(err); e != nil && (e.Cause == message.CauseUnsent || len(unknown) > 0 && d.lost < maxLost) {
		if d.sum.Why == nil && len(unsent) > 0 {
			d.sum.Why = err
		}
		err = nil // these messages' own fault, or transient
	}
	return errors.Join(err, deleteErr)
}

// unsent counts a message that stays where it is, and keeps the rest of its group
// from passing it.
func (d *redriving) unsent(m *sqs.Received) {
	d.sum.Unsent++
	d.sum.NotSent = append(d.sum.NotSent, m.ID)
	d.reader.held[m.ID].locksGroup = true
}

// delete deletes what is sent, also what earlier batches have left.
func (d *redriving) delete(ctx context.Context) error {
	// SQS may deliver a message once more after it was deleted.
	maps.Copy(d.undeleted, d.reader.redelivered)
	clear(d.reader.redelivered)
	if len(d.undeleted) == 0 {
		return nil
	}
	ids := slices.Collect(maps.Keys(d.undeleted))
	handles := make([]string, len(ids))
	for i, id := range ids {
		handles[i] = d.undeleted[id]
	}
	failed, err := d.options.From.Delete(ctx, handles)
	for i, id := range ids {
		if has(failed, i) {
			continue
		}
		if d.reader.states[id] == stateSent {
			d.sum.Deleted++
		}
		d.reader.states[id] = stateDeleted
		delete(d.undeleted, id)
	}
	return err
}

// finish tries once more to delete, and returns the rest to the queue.
func (d *redriving) finish(ctx context.Context) {
	_ = d.delete(ctx) // the summary names those that are left
	for id := range d.undeleted {
		if d.reader.states[id] == stateSent {
			d.sum.Undeleted = append(d.sum.Undeleted, id)
		}
	}
	slices.Sort(d.sum.Undeleted)
	d.sum.Unreturned = d.reader.returnAll(ctx)
}

// Err returns an error that says what is left to be done about the messages that
// matched, or nil.
func (s *Summary) Err() error {
	var left []string
	if s.Unsent > 0 {
		text := messages(s.Unsent) + " not sent, and left in the dead-letter queue"
		if s.Why != nil {
			text += " (" + s.Why.Error() + ")"
		}
		left = append(left, text)
	}
	if s.Unknown > 0 {
		left = append(left, "it is not known whether "+messages(s.Unknown)+" sent, because there was no answer: the next redrive would send again what is in both queues")
	}
	if n := len(s.Undeleted); n > 0 {
		left = append(left, messages(n)+" sent and not deleted, and the next redrive would send the same again: delete what is in both queues first")
	}
	if left == nil {
		return nil
	}
	return errors.New(strings.Join(left, "; "))
}

// messages begins a sentence about them.
func messages(n int) string {
	if n == 1 {
		return "1 message was"
	}
	return fmt.Sprintf("%d messages were", n)
}
