package consume

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/sqs"
)

// hand knows the messages that a run holds, by receipt handle, and keeps them
// invisible to other consumers for as long as it does. It is safe for
// concurrent use.
type hand struct {
	queue *sqs.Queue
	log   *slog.Logger

	mu    sync.Mutex
	until map[string]time.Time // when a message becomes visible again
	// beating are the messages that are being extended, and beaten is closed
	// when that is done.
	beating map[string]bool
	beaten  chan struct{}
}

func newHand(q *sqs.Queue, log *slog.Logger) *hand {
	return &hand{queue: q, log: log, until: map[string]time.Time{}}
}

// take holds messages that were asked for at that time.
func (h *hand) take(handles []string, asked time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, handle := range handles {
		h.until[handle] = asked.Add(h.queue.Settings.Visibility)
	}
}

// drop lets go of messages. When it returns, none of them is being extended
// any more, so that their visibility can be set to something else.
func (h *hand) drop(handles []string) {
	h.mu.Lock()
	var wait chan struct{}
	for _, handle := range handles {
		delete(h.until, handle)
		if h.beating[handle] {
			wait = h.beaten
		}
	}
	h.mu.Unlock()
	if wait != nil {
		<-wait
	}
}

// keep extends what is in hand, until the context ends. A message is extended
// when a third of the queue's visibility has passed, and again with every
// check until that has worked.
func (h *hand) keep(ctx context.Context) {
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
			h.extend(ctx, visibility)
		}
	}
}

func (h *hand) extend(ctx context.Context, visibility time.Duration) {
	now := time.Now()
	handles := h.due(now.Add(visibility * 2 / 3))
	if len(handles) == 0 {
		return
	}
	unset, err := h.queue.ChangeVisibility(ctx, handles, visibility)
	failed := map[int]bool{}
	for _, i := range unset {
		failed[i] = true
	}
	lost := h.extended(handles, failed, now, visibility)
	if lost > 0 && ctx.Err() == nil {
		h.log.WarnContext(ctx, "messages could not be kept invisible: others may get them too", "count", lost, "error", err.Error())
	}
}

// due lists what becomes visible before a time, and marks it as being extended.
func (h *hand) due(before time.Time) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beating, h.beaten = map[string]bool{}, make(chan struct{})
	var handles []string
	for handle, until := range h.until {
		if until.Before(before) {
			handles = append(handles, handle)
			h.beating[handle] = true
		}
	}
	return handles
}

// extended notes what came of it, and says how many messages have become visible.
func (h *hand) extended(handles []string, failed map[int]bool, asked time.Time, visibility time.Duration) (lost int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beating = nil
	close(h.beaten)
	for i, handle := range handles {
		until, held := h.until[handle]
		switch {
		case !held:
		case !failed[i]:
			h.until[handle] = asked.Add(visibility)
		case time.Now().After(until):
			delete(h.until, handle)
			lost++
		}
	}
	return lost
}
