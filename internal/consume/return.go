package consume

import (
	"context"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// returnEarly returns messages that were in no batch, beside the loop.
func (r *run) returnEarly(ctx context.Context, items []item, delayed bool) {
	if len(items) == 0 {
		return
	}
	r.summary.GivenBack += len(items)
	r.underway.returns++
	go func() {
		var hidden []hiddenMessage
		if delayed {
			hidden = r.backOff(ctx, pointers(items))
		} else {
			r.putBack(ctx, pointers(items))
		}
		r.events <- func(context.Context) {
			r.underway.returns--
			r.memory.hide(hidden)
		}
	}()
}

// hiddenMessage is a message that comes again, and is invisible until then.
type hiddenMessage struct {
	id, handle string
	until      time.Time
}

// hiddenFor are messages that are invisible for d from now.
func hiddenFor(messages []*message.Message, d time.Duration) []hiddenMessage {
	all, until := make([]hiddenMessage, len(messages)), time.Now().Add(d)
	for i, m := range messages {
		all[i] = hiddenMessage{m.ID, m.ReceiptHandle, until}
	}
	return all
}

// backOff returns messages to the queue with a back-off. To fail is harmless: they reappear when their
// visibility timeout expires.
func (r *run) backOff(ctx context.Context, messages []*message.Message) []hiddenMessage {
	if len(messages) == 0 {
		return nil
	}
	r.heartbeat.remove(handles(messages))
	delays := sqs.Delays(messages, r.backoff.Delay)
	if failed, err := r.backoff.ReturnAfter(ctx, messages, delays); err != nil {
		r.Log.WarnContext(ctx, "messages are returned without back-off", "count", failed, "error", err.Error())
	}
	hidden, now := make([]hiddenMessage, len(messages)), time.Now()
	for i, m := range messages {
		hidden[i] = hiddenMessage{m.ID, m.ReceiptHandle, now.Add(delays[i])}
	}
	return hidden
}

// putBack returns messages to the queue at once. To fail is harmless, as for backOff.
func (r *run) putBack(ctx context.Context, messages []*message.Message) {
	all := handles(messages)
	r.heartbeat.remove(all)
	r.show(ctx, all)
}

// show makes messages visible.
func (r *run) show(ctx context.Context, all []string) {
	left, err := retryRest(ctx, all, func(ctx context.Context, handles []string) ([]int, error) {
		return r.Queue.ChangeVisibility(ctx, handles, 0)
	}, nil)
	if len(left) > 0 {
		r.Log.WarnContext(ctx, "messages reappear only when their visibility timeout expires", "count", len(left), "error", err.Error())
	}
}

// showHidden makes visible what the run has received and not done, when it is over because of an error
// or a signal: nobody else has the receipt handles, and the next run would wait for it. A run forever
// leaves it hidden: a supervisor starts it again and again, and that must not spend the receives of
// the queue.
func (r *run) showHidden(ctx context.Context) {
	hidden := r.memory.takeHidden()
	if r.Mode == Forever || r.summary.Ended != EndedFailed && r.summary.Ended != EndedStopped || len(hidden) == 0 {
		return
	}
	r.underway.returns++
	go func() {
		r.show(ctx, hidden)
		r.events <- func(context.Context) { r.underway.returns-- }
	}()
}
