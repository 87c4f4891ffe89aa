package consume

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"sluice/internal/ingest"
	"sluice/internal/fault"
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
		p := &pass{items: rest, probe: probe}
		r.transact(transactions, p)
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
	items []item
	probe bool
	asked bool // the database was
	works bool // it stored rows, or found them
	err   error
	again []item // for the next pass
	// What the run has to remember of it, by id.
	left               map[string]leftover
	deleted, undeleted []string
	fatal              error
}

// transact has the pipeline judge each message.
func (r *run) transact(ctx context.Context, p *pass) {
	p.Began = time.Now()
	p.Verdicts = make([]message.Verdict, len(p.items))
	fresh := make([]message.Message, 0, len(p.items))
	where := make([]int, 0, len(p.items))
	for i := range p.items {
		if p.items[i].done {
			p.Verdicts[i].Outcome = message.Repeated
			continue
		}
		fresh = append(fresh, p.items[i].Message)
		where = append(where, i)
	}
	if len(fresh) > 0 {
		report := r.pipeline(ctx, fresh)
		for k, i := range where {
			p.Verdicts[i] = report.Verdicts[k]
		}
		p.Inserted, p.asked, p.err, p.Fault = report.Inserted, report.StoreTime > 0, report.Err, report.Fault
		p.works = p.asked && (p.err == nil || report.Count(message.Stored) > 0)
		// An outage is logged by who waits for its end, and only there.
		if c := report.Counts(); c.Rejected+c.Causes[message.CauseDiscarded] > 0 || p.err != nil && p.works || r.Log.Enabled(ctx, slog.LevelDebug) {
			if !p.works {
				report.Err = nil
			}
			r.Pipeline.Log(ctx, fresh, &report)
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
	case p.err == nil: // it was not needed, as when all were malformed
		if r.trust == answers {
			r.trust = proven
		}
	default:
		r.failed(ctx, p.Began, p.Fault, p.err)
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

// settle does with each message what its verdict says. On a FIFO queue, what
// waits behind a message that is backed off is backed off with it: it would
// hold up the group until its visibility timeout expires.
func (r *run) settle(ctx context.Context, p *pass) {
	r.deadLetter(ctx, p)
	again := r.freed(p)
	var remove, atOnce, later, leave []int
	p.left = map[string]leftover{}
	delayed := map[string]bool{} // FIFO groups whose first returned message is in later
	for i := range p.items {
		m, v := &p.items[i], p.Verdicts[i]
		if again[i] {
			p.again = append(p.again, *m)
			continue
		}
		switch {
		case v.Outcome == message.Stored, v.Outcome == message.Repeated, v.Outcome == message.Rejected && r.DeadLetters != nil:
			remove = append(remove, i)
		case v.Outcome == message.Rejected:
			leave = append(leave, i)
			r.leave(p, m, v, r.Queue.Settings.Visibility)
		case v.Cause == message.CauseConfiguration && p.probe:
			// As useless: the end of the run may not be known yet.
			later = append(later, i)
			delayed[m.Group] = true
		case r.stopping.Load():
			atOnce = append(atOnce, i)
		case v.Cause == message.CauseGroup && !delayed[m.Group], v.Cause == message.CausePanic:
			leave = append(leave, i)
			r.leave(p, m, v, r.Queue.Settings.Visibility)
		case v.Cause == message.CauseGroup, v.Cause == message.CauseDiscarded, v.Cause == message.CauseUnsent:
			later = append(later, i)
			delayed[m.Group] = true
			r.leave(p, m, v, max(r.Queue.Settings.Visibility, sqs.MaxDelay))
		default: // an outage, or the operator's
			later = append(later, i)
			delayed[m.Group] = true
		}
	}
	r.remove(ctx, p, remove)
	r.hand.drop(p.handles(leave))
	r.back(ctx, p.pick(atOnce), false)
	r.back(ctx, p.pick(later), true)
	if len(p.again) > 0 {
		p.drop(again)
	}
	p.Messages = make([]message.Message, len(p.items))
	for i := range p.items {
		p.Messages[i] = p.items[i].Message
	}
}

func (p *pass) handles(of []int) []string { return handles(p.pick(of)) }

func (p *pass) pick(of []int) []item {
	all := make([]item, len(of))
	for k, i := range of {
		all[k] = p.items[i]
	}
	return all
}

// drop takes away what another pass has the last word on.
func (p *pass) drop(again []bool) {
	items, verdicts := make([]item, 0, len(p.items)), make([]message.Verdict, 0, len(p.items))
	for i := range p.items {
		if !again[i] {
			items, verdicts = append(items, p.items[i]), append(verdicts, p.Verdicts[i])
		}
	}
	p.items, p.Verdicts = items, verdicts
}

// deadLetter sends the rejected messages to the dead-letter queue, each once.
// What it does not take is returned.
func (r *run) deadLetter(ctx context.Context, p *pass) {
	if r.DeadLetters == nil {
		return
	}
	var rejected []sqs.Rejected
	seen := map[string]bool{}
	for i, v := range p.Verdicts {
		if m := &p.items[i]; v.Outcome == message.Rejected && !seen[m.ID] {
			seen[m.ID] = true
			rejected = append(rejected, sqs.Rejected{Message: &m.Message, Rejection: v.Rejection})
		}
	}
	if len(rejected) == 0 {
		return
	}
	unsent, err := persist(ctx, rejected, r.DeadLetters.Send, func(err error) bool {
		e := fault.Of(err)
		return (e == nil || e.Cause == message.CauseTransient) && !r.stopping.Load()
	})
	if len(unsent) > 0 {
		r.Log.ErrorContext(ctx, "rejected messages are returned: the dead-letter queue did not take them", "count", len(unsent), "error", err.Error())
	}
	p.DeadLettered = len(rejected) - len(unsent)
	for _, u := range unsent {
		for i := range p.items {
			if p.items[i].ID == u.Message.ID {
				p.Verdicts[i] = message.Verdict{Cause: message.CauseUnsent}
			}
		}
	}
}

// freed finds the messages of FIFO groups that nothing stands in the way of
// any more: what they waited for is in the dead-letter queue.
func (r *run) freed(p *pass) []bool {
	again := make([]bool, len(p.items))
	if !r.Queue.FIFO || r.DeadLetters == nil || p.err != nil || r.stopping.Load() {
		return again
	}
	free := map[string]bool{}
	for i, v := range p.Verdicts {
		if v.Outcome == message.Rejected { // and sent
			free[p.items[i].Group] = true
		}
	}
	for i, v := range p.Verdicts {
		if v.Outcome == message.Returned && v.Cause != message.CauseGroup {
			delete(free, p.items[i].Group)
		}
	}
	for i, v := range p.Verdicts {
		again[i] = v.Outcome == message.Returned && v.Cause == message.CauseGroup && free[p.items[i].Group]
	}
	return again
}

// settleTries is how often something is tried that settles messages: they are
// in hand, so it costs only time.
const settleTries = 3

// persist has a call settle what it can, and after a pause what it has left,
// as long as its error may pass. It returns what is left in the end, and why.
func persist[T any](ctx context.Context, all []T, call func(context.Context, []T) (left []int, err error), mayPass func(error) bool) ([]T, error) {
	if len(all) == 0 {
		return nil, nil
	}
	for try := 1; ; try++ {
		left, err := call(ctx, all)
		rest := make([]T, len(left))
		for k, i := range left {
			rest[k] = all[i]
		}
		if len(rest) == 0 || try == settleTries || !mayPass(err) || !pause(ctx, try) {
			return rest, err
		}
		all = rest
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
func (r *run) remove(ctx context.Context, p *pass, which []int) {
	rest, err := persist(ctx, which, func(ctx context.Context, which []int) ([]int, error) { return r.Queue.Delete(ctx, p.handles(which)) }, always)
	if len(rest) > 0 {
		r.Log.WarnContext(ctx, "messages are done but not deleted: they come again, and are found to be done", "count", len(rest), "error", err.Error())
		if e := fault.Of(err); e != nil && e.Cause == message.CauseConfiguration {
			p.fatal = err
		}
	}
	p.Undeleted = len(rest)
	undeleted := map[int]bool{}
	for _, i := range rest {
		undeleted[i] = true
		p.undeleted = append(p.undeleted, p.items[i].ID)
	}
	for _, i := range which {
		if !undeleted[i] {
			p.deleted = append(p.deleted, p.items[i].ID)
		}
	}
	r.hand.drop(p.handles(which))
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
