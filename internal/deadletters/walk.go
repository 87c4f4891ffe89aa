package deadletters

import (
	"context"
	"slices"
	"sync"
	"time"

	"sluice/internal/sqs"
)

// Progress is told how many messages are done, of how many there were; nil
// is told nothing.
type Progress func(done, of int)

func (p Progress) tell(done, of int) {
	if p != nil {
		p(done, of)
	}
}

const (
	// pollWait makes a receive ask all of the queue's servers; a shorter one
	// may miss messages that are there.
	pollWait = time.Second
	// receivers is how many receives of a standard queue are under way at once.
	receivers = 8
	perCall   = 10
	// maxRounds is how many rounds in a row may bring nothing new, as they do
	// when the queue keeps nothing invisible.
	maxRounds = 100
	// A message that is looked at stays invisible for the queue's own time,
	// within these bounds, and that is renewed while the walk goes on.
	minHold = 30 * time.Second
	maxHold = 5 * time.Minute
)

// state is what a walk knows of a message, by its id.
type state uint8

const (
	stateHeld    state = iota + 1
	stateSent          // SQS has confirmed that it is in the other queue
	stateDeleted       // and that it is gone from this one
)

// held is a message in our hands.
type held struct {
	handle, group string
	until         time.Time // when it becomes visible by itself
	keep          bool      // its group must not go on without it
}

// walk receives each message of a queue once and keeps it from being
// received again, until it is deleted or given back.
//
// On a FIFO queue a message in our hands locks its group, and one receive
// gives ten messages at most. So when nothing new comes any more, the groups
// are opened again one by one, while the others are held: what is held of a
// group is given back, and comes again together with what is behind it.
type walk struct {
	queue  *sqs.Queue
	hold   time.Duration
	states map[string]state
	held   map[string]held
	closed []string // groups that brought something new since they were opened
	// again are messages that were sent before, and come with a new handle.
	again map[string]string
	// unreturned counts those that SQS did not take back.
	unreturned int
}

func newWalk(q *sqs.Queue) *walk {
	return &walk{
		queue: q, hold: max(minHold, min(q.Settings.Visibility, maxHold)),
		states: map[string]state{}, held: map[string]held{}, again: map[string]string{},
	}
}

// next receives messages that were not received before; none means that
// there are no more. Its calls outlive the context, within their time-outs:
// an answer that is thrown away would leave messages invisible.
func (w *walk) next(ctx context.Context) ([]sqs.Received, error) {
	cancelled := ctx
	ctx = context.WithoutCancel(ctx)
	for round := 0; round < maxRounds && cancelled.Err() == nil; {
		now := time.Now()
		all, err := w.receive(ctx)
		fresh := w.take(all, now)
		w.renew(ctx, now)
		switch {
		case len(fresh) > 0 || err != nil:
			return fresh, err
		case w.open(ctx):
		case len(all) == 0:
			return nil, nil
		default:
			round++
		}
	}
	return nil, cancelled.Err()
}

// take holds what was received, and says what of it is new.
func (w *walk) take(all []sqs.Received, now time.Time) (fresh []sqs.Received) {
	for i := range all {
		m := &all[i]
		switch w.states[m.ID] {
		case stateSent, stateDeleted:
			w.again[m.ID] = m.ReceiptHandle
			continue
		case stateHeld:
		default:
			fresh = append(fresh, *m)
			if w.queue.FIFO && !slices.Contains(w.closed, m.Group) {
				w.closed = append(w.closed, m.Group)
			}
		}
		w.states[m.ID] = stateHeld
		w.held[m.ID] = held{handle: m.ReceiptHandle, group: m.Group, until: now.Add(w.queue.Settings.Visibility), keep: w.held[m.ID].keep}
	}
	return fresh
}

// receive asks once with a wait, and if that is full, several times at once.
func (w *walk) receive(ctx context.Context) ([]sqs.Received, error) {
	wait := pollWait
	if len(w.closed) > 0 {
		wait = 0 // there will be another call
	}
	all, err := w.queue.Receive(ctx, perCall, wait)
	if err != nil || len(all) < perCall || w.queue.FIFO {
		return all, err
	}
	more := make([][]sqs.Received, receivers-1)
	var running sync.WaitGroup
	for i := range more {
		running.Go(func() {
			more[i], _ = w.queue.Receive(ctx, perCall, 0) // an error that stays is met by the next round
		})
	}
	running.Wait()
	for _, some := range more {
		all = append(all, some...)
	}
	return all, nil
}

// open gives back what is held of the next closed group; false when there is none.
func (w *walk) open(ctx context.Context) bool {
	for len(w.closed) > 0 {
		group := w.closed[0]
		w.closed = w.closed[1:]
		locked := false
		for _, h := range w.held {
			locked = locked || h.group == group && h.keep
		}
		if !locked && w.giveBack(ctx, func(h held) bool { return h.group == group }) > 0 {
			return true
		}
	}
	return false
}

// renew keeps what is held from becoming visible.
func (w *walk) renew(ctx context.Context, now time.Time) {
	var ids, handles []string
	for id, h := range w.held {
		if h.until.Sub(now) < w.hold/2 {
			ids, handles = append(ids, id), append(handles, h.handle)
		}
	}
	// One that cannot be renewed is received again.
	unset, _ := w.queue.ChangeVisibility(ctx, handles, w.hold)
	failed := set(unset)
	for i, id := range ids {
		if h := w.held[id]; !failed[i] {
			h.until = now.Add(w.hold)
			w.held[id] = h
		}
	}
}

// giveBack makes messages visible at once, those that take says.
func (w *walk) giveBack(ctx context.Context, take func(held) bool) (given int) {
	now := time.Now()
	var handles []string
	for id, h := range w.held {
		if !take(h) {
			continue
		}
		delete(w.held, id)
		if h.until.After(now) {
			handles = append(handles, h.handle)
		}
		given++
	}
	unset, _ := w.queue.ChangeVisibility(ctx, handles, 0)
	w.unreturned += len(unset)
	return given - len(unset)
}

// end gives everything back.
func (w *walk) end(ctx context.Context) (given int) {
	w.unreturned = 0
	return w.giveBack(context.WithoutCancel(ctx), func(held) bool { return true })
}

func set(indexes []int) map[int]bool {
	s := make(map[int]bool, len(indexes))
	for _, i := range indexes {
		s[i] = true
	}
	return s
}
