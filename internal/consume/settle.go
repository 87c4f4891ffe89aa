package consume

import (
	"context"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/wait"
)

// settle does with each message what its verdict says.
func (r *run) settle(ctx context.Context, p *pass) {
	if r.DeadLetters != nil {
		p.SendRejected(ctx, patient{r}, r.Log)
	}
	r.takeFreed(p)
	visibility := r.Queue.Settings.Visibility
	var done, left, atOnce, later []*message.Message
	p.left = map[string]leftover{}
	for i, settlement := range p.Settle(r.DeadLetters != nil) {
		m, v := &p.Messages[i], p.Verdicts[i]
		stopping := r.ending.stopping.Load()
		switch {
		case settlement == ingest.Done:
			done = append(done, m)
		case settlement == ingest.Leave && (v.Outcome == message.Rejected || !stopping):
			left = append(left, m)
			p.left[m.ID] = leave(m, v.Cause, visibility)
		case v.Cause == message.CauseConfiguration && p.probe:
			// The run will probably end with this error: do not spend the queue's receives on tries.
			later = append(later, m)
		case stopping:
			atOnce = append(atOnce, m)
		default:
			later = append(later, m)
			if staysLeft(v.Cause) {
				p.left[m.ID] = leave(m, v.Cause, max(visibility, sqs.MaxDelay))
			}
		}
	}
	r.remove(ctx, p, done)
	r.heartbeat.remove(handles(left))
	p.hidden = append(p.hidden, hiddenFor(left, visibility)...)
	r.putBack(ctx, atOnce)
	p.hidden = append(p.hidden, r.backOff(ctx, later)...)
}

// staysLeft reports whether a run leaves alone what it has returned for this cause: the next try
// would end like this one, or nobody knows when not (a row that another one refers to). The others
// wait for the end of an outage, which the run waits for too.
func staysLeft(c message.Cause) bool {
	return c == message.CauseGroup || c == message.CauseDiscarded || c == message.CauseForeignKey || c == message.CauseUnsent
}

// patient is the dead-letter queue with more tries: the messages are in hand, so that they cost
// only time.
type patient struct{ r *run }

// Send implements ingest.DeadLetters.
func (d patient) Send(ctx context.Context, rejected []message.RejectedMessage) (unsent []int, err error) {
	return retryRest(ctx, rejected, d.r.DeadLetters.Send, func(err error) bool {
		e := fault.Of(err)
		return (e == nil || e.Cause == message.CauseTransient) && !d.r.ending.stopping.Load()
	})
}

// takeFreed moves to the next pass the messages of FIFO groups that nothing stands in the way of
// any more: what they waited for is in the dead-letter queue.
func (r *run) takeFreed(p *pass) {
	if !r.Queue.FIFO || r.DeadLetters == nil || p.Err != nil || r.ending.stopping.Load() {
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

// remove deletes what is done. Of several deliveries of a message only the last handle is sure to
// count, so it uses all.
func (r *run) remove(ctx context.Context, p *pass, done []*message.Message) {
	left, err := retryRest(ctx, handles(done), r.Queue.Delete, nil)
	if len(left) > 0 {
		r.Log.WarnContext(ctx, "messages are done but not deleted: they come again, and are found to be done", "count", len(left), "error", err.Error())
		if e := fault.Of(err); e != nil && e.Cause == message.CauseConfiguration {
			p.fatal = err
		}
	}
	p.Undeleted = len(left)
	p.undeleted = map[string]bool{}
	for _, m := range done {
		p.undeleted[m.ID] = false
	}
	for _, m := range pick(done, left) {
		p.undeleted[m.ID] = true
	}
	p.hidden = append(p.hidden, hiddenFor(pick(done, left), r.Queue.Settings.Visibility)...)
	r.heartbeat.remove(handles(done))
}

// settled remembers and counts what became of the messages.
func (r *run) settled(ctx context.Context, p *pass) {
	if r.Mode == Forever {
		p.left = nil // it has no end to reach, and tries everything again
	}
	r.memory.learn(p)
	r.summary.Add(&p.Transaction)
	r.busy.work()
	r.summary.Busy = r.busy.total()
	p.Busy = r.summary.Busy
	for _, o := range r.Observers {
		o.Transacted(&p.Transaction)
	}
	if p.fatal != nil {
		r.end(ctx, EndedFailed, p.fatal)
	}
}

// settleTries is how often a call that settles messages is tried: they are in hand, so it costs
// only time.
const settleTries = 3

// retryRest has a call settle what it can, and after a pause what it has left, as long as its error
// may pass (nil: always). It returns the indexes of what is left in the end, and why.
func retryRest[T any](ctx context.Context, all []T, call func(context.Context, []T) (left []int, err error), mayPass func(error) bool) ([]int, error) {
	if len(all) == 0 {
		return nil, nil
	}
	left, err := call(ctx, all)
	for try := 1; len(left) > 0 && try < settleTries && (mayPass == nil || mayPass(err)) && wait.For(ctx, wait.Jitter(time.Duration(try)*200*time.Millisecond)) == nil; try++ {
		var again []int
		again, err = call(ctx, pick(all, left))
		left = pick(left, again)
	}
	return left, err
}

// pick returns the elements with the given indexes.
func pick[T any](all []T, indexes []int) []T {
	picked := make([]T, len(indexes))
	for k, i := range indexes {
		picked[k] = all[i]
	}
	return picked
}
