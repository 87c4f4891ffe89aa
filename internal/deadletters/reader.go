package deadletters

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"example.com/owner/sluice/internal/sqs"
)

// Progress is told how many messages are done, of how many at the start. A nil
// Progress is told nothing.
type Progress func(done, of int)

func (p Progress) tell(done, of int) {
	if p != nil {
		p(done, of)
	}
}

const (
	// pollWait makes a receive ask all of the queue's servers; a shorter one may
	// miss messages.
	pollWait = time.Second
	// receivers is how many receives of a standard queue run at once.
	receivers = 8
	perCall   = 10
	// maxRounds is how many rounds in a row may bring nothing new. There is no end
	// of them when the queue keeps nothing invisible.
	maxRounds = 100
	// A message is hidden for the queue's own visibility timeout, within these
	// bounds, and that is renewed while the reader works.
	minHidden = 30 * time.Second
	maxHidden = 5 * time.Minute
)

// state is what a reader knows of a message, by its id.
type state uint8

const (
	stateHeld    state = iota + 1
	stateSent          // SQS has confirmed that it is in the other queue
	stateDeleted       // and that it is gone from this one
)

// heldMessage is a received message that is neither deleted nor returned.
type heldMessage struct {
	handle, group string
	visibleAt     time.Time // when it becomes visible by itself
	locksGroup    bool      // its group must not go on without it
}

// reader receives each message of a queue once and keeps it from being received
// again, until it is deleted or returned.
//
// On a FIFO queue a held message locks its group, and one receive gives ten
// messages at most. So when nothing new comes any more, the reader opens the
// groups one by one while it holds the others: it returns the held messages of a
// group, which come again together with those after them.
type reader struct {
	queue  *sqs.Queue
	hidden time.Duration // how long a message is hidden
	states map[string]state
	held   map[string]*heldMessage // by id
	// unopened are groups that brought something new since they were last opened.
	unopened []string
	// redelivered has new handles of messages that were sent before, by id.
	redelivered map[string]string
}

func newReader(q *sqs.Queue) *reader {
	return &reader{
		queue: q, hidden: max(minHidden, min(q.Settings.Visibility, maxHidden)),
		states: map[string]state{}, held: map[string]*heldMessage{}, redelivered: map[string]string{},
	}
}

// next receives messages that were not received before, none when there are no
// more. Its calls ignore the end of ctx, and end by their own timeouts: an answer
// that is thrown away would leave messages invisible.
func (r *reader) next(ctx context.Context) ([]sqs.Received, error) {
	calls := context.WithoutCancel(ctx)
	for round := 0; round < maxRounds && ctx.Err() == nil; {
		now := time.Now()
		all, err := r.receive(calls)
		fresh := r.hold(all, now)
		r.renew(calls, now)
		switch {
		case len(fresh) > 0 || err != nil:
			return fresh, err
		case r.openGroup(calls):
		case len(all) == 0:
			return nil, nil
		default:
			round++
		}
	}
	return nil, ctx.Err()
}

// hold records what was received, and returns what of it is new.
func (r *reader) hold(all []sqs.Received, now time.Time) (fresh []sqs.Received) {
	for i := range all {
		m := &all[i]
		h := r.held[m.ID]
		switch r.states[m.ID] {
		case stateSent, stateDeleted:
			r.redelivered[m.ID] = m.ReceiptHandle
			continue
		case stateHeld:
		default:
			fresh = append(fresh, *m)
			if r.queue.FIFO && !slices.Contains(r.unopened, m.Group) {
				r.unopened = append(r.unopened, m.Group)
			}
		}
		if h == nil {
			h = &heldMessage{group: m.Group}
		}
		h.handle, h.visibleAt = m.ReceiptHandle, now.Add(r.queue.Settings.Visibility)
		r.states[m.ID], r.held[m.ID] = stateHeld, h
	}
	return fresh
}

// receive asks once with a wait, and if that brings a full answer, several times
// at once.
func (r *reader) receive(ctx context.Context) ([]sqs.Received, error) {
	wait := pollWait
	if len(r.unopened) > 0 {
		wait = 0 // there will be another call
	}
	all, err := r.queue.Receive(ctx, perCall, wait)
	if err != nil || len(all) < perCall || r.queue.FIFO {
		return all, err
	}
	more := make([][]sqs.Received, receivers-1)
	var running sync.WaitGroup
	for i := range more {
		running.Go(func() {
			more[i], _ = r.queue.Receive(ctx, perCall, 0) // the next round meets an error that lasts
		})
	}
	running.Wait()
	for _, some := range more {
		all = append(all, some...)
	}
	return all, nil
}

// openGroup returns the held messages of the next unopened group to the queue,
// and reports whether there was one.
func (r *reader) openGroup(ctx context.Context) bool {
	for len(r.unopened) > 0 {
		group := r.unopened[0]
		r.unopened = r.unopened[1:]
		var ids []string
		locked := false
		for id, h := range r.held {
			if h.group == group {
				ids, locked = append(ids, id), locked || h.locksGroup
			}
		}
		if !locked && r.release(ctx, ids) < len(ids) {
			return true
		}
	}
	return false
}

// renew keeps held messages from becoming visible. One that cannot be renewed is
// received again.
func (r *reader) renew(ctx context.Context, now time.Time) {
	var ids, handles []string
	for id, h := range r.held {
		if h.visibleAt.Sub(now) < r.hidden/2 {
			ids, handles = append(ids, id), append(handles, h.handle)
		}
	}
	failed, _ := r.queue.ChangeVisibility(ctx, handles, r.hidden)
	for i, id := range ids {
		if !has(failed, i) {
			r.held[id].visibleAt = now.Add(r.hidden)
		}
	}
}

// release makes held messages visible at once, and returns for how many it failed.
func (r *reader) release(ctx context.Context, ids []string) (failed int) {
	now := time.Now()
	var handles []string
	for _, id := range ids {
		if h := r.held[id]; h.visibleAt.After(now) {
			handles = append(handles, h.handle)
		}
		delete(r.held, id)
	}
	unset, _ := r.queue.ChangeVisibility(ctx, handles, 0)
	return len(unset)
}

// has reports whether a sorted list of indexes has i.
func has(indexes []int, i int) bool {
	_, found := slices.BinarySearch(indexes, i)
	return found
}

// returnAll returns all held messages to the queue, also after ctx has ended. It
// returns for how many it failed.
func (r *reader) returnAll(ctx context.Context) (failed int) {
	return r.release(context.WithoutCancel(ctx), slices.Collect(maps.Keys(r.held)))
}
