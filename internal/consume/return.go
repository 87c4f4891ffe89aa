package consume

import (
	"context"

	"example.com/owner/sluice/internal/message"
)

// returnEarly returns messages that were in no batch, beside the loop.
func (r *run) returnEarly(ctx context.Context, items []item, delayed bool) {
	if len(items) == 0 {
		return
	}
	r.summary.GivenBack += len(items)
	r.underway.returns++
	go func() {
		r.putBack(ctx, pointers(items), delayed)
		r.events <- func(context.Context) { r.underway.returns-- }
	}()
}

// putBack returns messages to the queue: at once, or with a back-off. To fail is harmless: they
// reappear when their visibility timeout expires.
func (r *run) putBack(ctx context.Context, messages []*message.Message, delayed bool) {
	if len(messages) == 0 {
		return
	}
	all := handles(messages)
	r.heartbeat.remove(all)
	if delayed {
		if failed, err := r.backoff.Return(ctx, messages); err != nil {
			r.Log.WarnContext(ctx, "messages are returned without back-off", "count", failed, "error", err.Error())
		}
		return
	}
	left, err := retryRest(ctx, all, func(ctx context.Context, handles []string) ([]int, error) {
		return r.Queue.ChangeVisibility(ctx, handles, 0)
	}, nil)
	if len(left) > 0 {
		r.Log.WarnContext(ctx, "messages reappear only when their visibility timeout expires", "count", len(left), "error", err.Error())
	}
}
