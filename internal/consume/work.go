package consume

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"sluice/internal/fault"
	"sluice/internal/ingest"
	"sluice/internal/message"
	"sluice/internal/sqs"
)

// work runs a batch and settles each of its messages. A probe tries a
// database that is not known to answer.
//
// On a FIFO queue, what was held up by a message that is now in the
// dead-letter queue has its turn at once: its group is still ours, and giving
// it back would cost it a receive for each bad message before it.
func (r *run) work(all, transactions context.Context, batch []item, probe bool) {
	fault := message.CauseNone
	for rest := batch; len(rest) > 0; {
		p := &pass{probe: probe}
		r.transact(transactions, p, rest)
		r.events <- func(ctx context.Context) { r.judged(ctx, p) }
		r.settle(all, p)
		r.events <- func(ctx context.Context) { r.settled(ctx, p) }
		fault, rest = p.Fault, p.again
	}
	r.events <- func(ctx context.Context) {
		r.working--
		r.worked -= len(batch)
		for i := range batch {
			delete(r.groups, batch[i].Group)
		}
		if fault == message.CauseNone {
			r.transactions++
		}
		if r.Mode == Batches && r.transactions >= r.Batches {
			r.end(ctx, EndedBatches, nil)
		}
	}
}

// pass is one way of messages through the pipeline, and what became of them.
type pass struct {
	Transaction
	probe bool
	works bool   // the database stored rows, or found them
	again []item // for the next pass
	// What the run has to remember of it, by id.
	left               map[string]leftover
	deleted, undeleted []string
	fatal              error
}

// transact has the pipeline judge each message.
func (r *run) transact(ctx context.Context, p *pass, items []item) {
	p.Began = time.Now()
	fresh := make([]message.Message, 0, len(items))
	for i := range items {
		if !items[i].done {
			fresh = append(fresh, items[i].Message)
		}
	}
	if len(fresh) > 0 {
		p.Report = r.pipeline(ctx, fresh)
		p.works = p.StoreTime > 0 && (p.Err == nil || p.Count(message.Stored) > 0)
		// An outage is logged by who waits for its end, and only there.
		if c := p.Counts(); c.Rejected+c.Causes[message.CauseDiscarded] > 0 || p.Err != nil && p.works || r.Log.Enabled(ctx, slog.LevelDebug) {
			logged := p.Report
			if !p.works {
				logged.Err = nil
			}
			r.Pipeline.Log(ctx, &logged)
		}
	}
	for i := range items {
		if items[i].done {
			p.Messages = append(p.Messages, items[i].Message)
			p.Verdicts = append(p.Verdicts, message.Verdict{Outcome: message.Repeated})
		}
	}
	p.Ended = time.Now()
}

func (r *run) pipeline(ctx context.Context, messages []message.Message) ingest.Report {
	ctx, cancel := context.WithTimeout(ctx, r.TransactionTime)
	defer cancel()
	keys, err := r.Keys(ctx)
	if err != nil {
		return ingest.Unable(messages, err, ingest.FaultOf(err))
	}
	return r.Pipeline.Run(ctx, keys, messages)
}

// judged draws the conclusions for other batches, before the messages of this
// one are settled.
func (r *run) judged(ctx context.Context, p *pass) {
	switch {
	case p.works: // also when some rows met an error that others did not
		r.trust, r.everWorked = proven, true
		r.database.over(ctx, r.Log)
	case p.Err == nil: // it was not needed, as when all were malformed
		if r.trust == answers {
			r.trust = proven
		}
	default:
		r.failed(ctx, p.Began, p.Fault, p.Err)
	}
}

// failed notes that the database failed something that had begun then.
func (r *run) failed(ctx context.Context, began time.Time, whose message.Cause, err error) {
	switch {
	case r.ending:
	case whose == message.CauseConfiguration && (!r.everWorked || !r.database.within(r.Patience)):
		r.end(ctx, EndedFailed, err)
	default:
		r.trust = untried
		r.database.met(ctx, r.Log, began, err)
		for _, g := range r.gathered {
			r.giveBack(ctx, g.items, true)
		}
		r.gathered = nil
	}
}

// ping asks the database whether it answers again: else an outage would last
// until the next message, for who asks /healthz.
func (r *run) ping(ctx context.Context) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	err := r.Pipeline.Ping(ctx)
	r.events <- func(ctx context.Context) {
		r.pinging = false
		if err != nil {
			r.failed(ctx, began, ingest.FaultOf(err), err)
			return
		}
		r.trust = max(r.trust, answers)
		r.database.pinged(ctx, r.Log)
	}
}

const pingTime = 10 * time.Second

// settle does with each message what its verdict says.
func (r *run) settle(ctx context.Context, p *pass) {
	if r.DeadLetters != nil {
		p.DeadLettered = p.Reject(ctx, patient{r}, r.Log)
	}
	r.takeFreed(p)
	var done, left, atOnce, later []*message.Message
	p.left = map[string]leftover{}
	for i, settled := range p.Settle(r.DeadLetters != nil) {
		m, v := &p.Messages[i], p.Verdicts[i]
		switch {
		case settled == ingest.Done:
			done = append(done, m)
		case v.Outcome == message.Rejected:
			left = append(left, m)
			r.leave(p, m, v, r.Queue.Settings.Visibility)
		case v.Cause == message.CauseConfiguration && p.probe:
			// As useless: the end of the run may not be known yet.
			later = append(later, m)
		case r.stopping.Load():
			atOnce = append(atOnce, m)
		case settled == ingest.Leave:
			left = append(left, m)
			r.leave(p, m, v, r.Queue.Settings.Visibility)
		default:
			later = append(later, m)
			if v.Cause == message.CauseGroup || v.Cause == message.CauseDiscarded || v.Cause == message.CauseUnsent {
				r.leave(p, m, v, max(r.Queue.Settings.Visibility, sqs.MaxDelay))
			}
		}
	}
	r.remove(ctx, p, done)
	r.hand.drop(handles(left))
	r.back(ctx, atOnce, false)
	r.back(ctx, later, true)
}

// patient is the dead-letter queue with more tries: the messages are in hand, so
// that they cost only time.
type patient struct{ r *run }

// Send implements ingest.DeadLetters.
func (d patient) Send(ctx context.Context, rejected []message.Reject) (unsent []int, err error) {
	return persist(ctx, rejected, d.r.DeadLetters.Send, func(err error) bool {
		e := fault.Of(err)
		return (e == nil || e.Cause == message.CauseTransient) && !d.r.stopping.Load()
	})
}

// takeFreed moves to the next pass the messages of FIFO groups that nothing stands
// in the way of any more: what they waited for is in the dead-letter queue.
func (r *run) takeFreed(p *pass) {
	if !r.Queue.FIFO || r.DeadLetters == nil || p.Err != nil || r.stopping.Load() {
		return
	}
	free := map[string]bool{}
	for i, v := range p.Verdicts {
		if v.Outcome == message.Rejected { // and sent
			free[p.Messages[i].Group] = true
		}
	}
	for i, v := range p.Verdicts {
		if v.Outcome == message.Returned && v.Cause != message.CauseGroup {
			delete(free, p.Messages[i].Group)
		}
	}
	if len(free) == 0 {
		return
	}
	var messages []message.Message
	var verdicts []message.Verdict
	for i, v := range p.Verdicts {
		if m := p.Messages[i]; v.Outcome == message.Returned && v.Cause == message.CauseGroup && free[m.Group] {
			p.again = append(p.again, item{Message: m})
		} else {
			messages, verdicts = append(messages, m), append(verdicts, v)
		}
	}
	p.Messages, p.Verdicts = messages, verdicts
}

// settleTries is how often something is tried that settles messages: they are
// in hand, so it costs only time.
const settleTries = 3

// persist has a call settle what it can, and after a pause what it has left,
// as long as its error may pass. It returns the indexes of what is left in the
// end, and why.
func persist[T any](ctx context.Context, all []T, call func(context.Context, []T) (left []int, err error), mayPass func(error) bool) ([]int, error) {
	if len(all) == 0 {
		return nil, nil
	}
	rest := all
	var indexes []int // of rest in all, nil at first
	for try := 1; ; try++ {
		left, err := call(ctx, rest)
		next := make([]T, len(left))
		for k, i := range left {
			next[k] = rest[i]
			if indexes != nil {
				left[k] = indexes[i]
			}
		}
		if len(left) == 0 || try == settleTries || !mayPass(err) || !pause(ctx, try) {
			return left, err
		}
		rest, indexes = next, left
	}
}

func always(error) bool { return true }

// pause waits before the next try, and says whether the time was there.
func pause(ctx context.Context, try int) bool {
	d := time.Duration(try) * 200 * time.Millisecond
	timer := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // jitter
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// remove deletes what is done. Of several deliveries of a message only the
// last handle is sure to count, so all are used.
func (r *run) remove(ctx context.Context, p *pass, done []*message.Message) {
	left, err := persist(ctx, handles(done), r.Queue.Delete, always)
	if len(left) > 0 {
		r.Log.WarnContext(ctx, "messages are done but not deleted: they come again, and are found to be done", "count", len(left), "error", err.Error())
		if e := fault.Of(err); e != nil && e.Cause == message.CauseConfiguration {
			p.fatal = err
		}
	}
	p.Undeleted = len(left)
	undeleted := map[int]bool{}
	for _, i := range left {
		undeleted[i] = true
	}
	for i, m := range done {
		if undeleted[i] {
			p.undeleted = append(p.undeleted, m.ID)
		} else {
			p.deleted = append(p.deleted, m.ID)
		}
	}
	r.hand.drop(handles(done))
}

// mostRemembered bounds what is remembered of messages whose deletion failed.
// What is forgotten is tried again, and found to be stored.
const mostRemembered = 10_000

// settled remembers and counts what became of the messages.
func (r *run) settled(ctx context.Context, p *pass) {
	for _, id := range p.deleted {
		delete(r.undeleted, id)
	}
	for _, id := range p.undeleted {
		if len(r.undeleted) < mostRemembered {
			r.undeleted[id] = true
		}
	}
	if r.Mode != Forever {
		maps.Copy(r.left, p.left)
	}
	r.summary.Add(&p.Transaction)
	r.summary.Busy = time.Since(r.since)
	for _, o := range r.Observers {
		o.Transacted(&p.Transaction)
	}
	if p.fatal != nil {
		r.end(ctx, EndedFailed, p.fatal)
	}
}
