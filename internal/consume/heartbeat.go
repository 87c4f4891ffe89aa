package consume

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"example.com/owner/sluice/internal/sqs"
)

// heartbeat keeps the messages in hand invisible to other consumers. It knows them by receipt
// handle, and is safe for concurrent use.
type heartbeat struct {
	queue *sqs.Queue
	log   *slog.Logger

	mu    sync.Mutex
	until map[string]time.Time // when a message becomes visible again
	// extending are the messages whose visibility is being extended; extended is closed when that
	// is done.
	extending map[string]bool
	extended  chan struct{}
}

func newHeartbeat(q *sqs.Queue, log *slog.Logger) *heartbeat {
	return &heartbeat{queue: q, log: log, until: map[string]time.Time{}}
}

// add begins to keep messages invisible. since is when they were asked for: SQS hides them from
// then on, at the earliest.
func (h *heartbeat) add(handles []string, since time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, handle := range handles {
		h.until[handle] = since.Add(h.queue.Settings.Visibility)
	}
}

// remove ends it. When it returns, none of the messages is being extended any more, so that their
// visibility can be set to something else.
func (h *heartbeat) remove(handles []string) {
	h.mu.Lock()
	var wait chan struct{}
	for _, handle := range handles {
		delete(h.until, handle)
		if h.extending[handle] {
			wait = h.extended
		}
	}
	h.mu.Unlock()
	if wait != nil {
		<-wait
	}
}

// run extends the visibility of the messages until the context ends: when a third of the queue's
// visibility timeout has passed, and again with every check until that has worked.
func (h *heartbeat) run(ctx context.Context) {
	visibility := h.queue.Settings.Visibility
	if visibility == 0 {
		return // the queue hides no message
	}
	ticker := time.NewTicker(min(max(visibility/12, 50*time.Millisecond), 10*time.Second))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			h.beat(ctx, visibility)
		}
	}
}

func (h *heartbeat) beat(ctx context.Context, visibility time.Duration) {
	now := time.Now()
	handles := h.begin(now.Add(visibility * 2 / 3))
	if len(handles) == 0 {
		return
	}
	unset, err := h.queue.ChangeVisibility(ctx, handles, visibility)
	failed := map[int]bool{}
	for _, i := range unset {
		failed[i] = true
	}
	lost := h.end(handles, failed, now.Add(visibility))
	if lost > 0 && ctx.Err() == nil {
		h.log.WarnContext(ctx, "messages could not be kept invisible: others may get them too", "count", lost, "error", err.Error())
	}
}

// begin marks what becomes visible before a time as being extended.
func (h *heartbeat) begin(before time.Time) (handles []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.extending, h.extended = map[string]bool{}, make(chan struct{})
	for handle, until := range h.until {
		if until.Before(before) {
			handles = append(handles, handle)
			h.extending[handle] = true
		}
	}
	return handles
}

// end notes until when the messages are invisible now, and returns how many have become visible.
func (h *heartbeat) end(handles []string, failed map[int]bool, invisible time.Time) (lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.extending = nil
	close(h.extended)
	for i, handle := range handles {
		until, held := h.until[handle]
		switch {
		case !held:
		case !failed[i]:
			h.until[handle] = invisible
		case time.Now().After(until):
			delete(h.until, handle)
			lost++
		}
	}
	return lost
}
