package consume

import (
	"context"
	"log/slog"
	"time"

	"example.com/owner/sluice/internal/message"
)

// work runs a batch and settles each of its messages. A probe tries a database that is not known to
// work.
//
// On a FIFO queue, what waited for a message that is now in the dead-letter queue has its turn at
// once: the run still has its group, and returning it would cost it a receive for each rejected
// message before it.
func (r *run) work(all, transactions context.Context, batch []item, probe bool) {
	cause := message.CauseNone
	for rest := batch; len(rest) > 0; {
		p := &pass{probe: probe}
		r.transact(transactions, p, rest)
		r.events <- func(ctx context.Context) { r.noteDatabase(ctx, p) }
		r.settle(all, p)
		r.events <- func(ctx context.Context) { r.settled(ctx, p) }
		cause, rest = p.Cause, p.again
	}
	r.events <- func(ctx context.Context) {
		r.underway.batches--
		r.underway.messages -= len(batch)
		r.gathering.release(batch)
		if cause == message.CauseNone {
			r.batchesDone++
		}
		if r.Mode == Batches && r.batchesDone >= r.Batches {
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
	// What the run has to remember of it, by id. undeleted has whatever is done, and whether its
	// deletion failed.
	left      map[string]leftover
	undeleted map[string]bool
	hidden    []hiddenMessage
	// fatal is an error that ends the run.
	fatal error
}

// transact runs items through the pipeline, which gives each message a verdict.
func (r *run) transact(ctx context.Context, p *pass, items []item) {
	p.Began = time.Now()
	fresh := make([]message.Message, 0, len(items))
	for i := range items {
		if !items[i].settled {
			fresh = append(fresh, items[i].Message)
		}
	}
	if len(fresh) > 0 {
		limited, cancel := context.WithTimeout(ctx, r.TransactionTime)
		defer cancel()
		p.Report = r.Pipeline.Run(limited, fresh)
		p.works = p.StoreTime > 0 && (p.Err == nil || p.Count(message.Stored) > 0)
		// An outage is logged by outage, and only there.
		if c := p.Counts(); c.Rejected+c.Conflict+c.Causes[message.CauseDiscarded]+c.Causes[message.CauseMemory]+c.Causes[message.CauseForeignKey] > 0 || p.Err != nil && p.works || r.Log.Enabled(ctx, slog.LevelDebug) {
			r.Pipeline.Log(ctx, &p.Report, !p.works)
			r.Pipeline.LogBatch(ctx, &p.Report)
		}
	}
	for i := range items {
		if items[i].settled {
			p.Messages = append(p.Messages, items[i].Message)
			p.Verdicts = append(p.Verdicts, message.Verdict{Outcome: message.Repeated})
		}
	}
	p.Ended = time.Now()
}
