package consume

import (
	"time"

	"sluice/internal/message"
)

// mostBytes bounds the bodies of a batch: what an event of Lambda can have.
const mostBytes = 6 << 20

// item is a message in hand.
type item struct {
	message.Message
	// done: it was settled when it came before, and only has to be deleted.
	done bool
}

func pointers(items []item) []*message.Message {
	all := make([]*message.Message, len(items))
	for i := range items {
		all[i] = &items[i].Message
	}
	return all
}

func handles(messages []*message.Message) []string {
	all := make([]string, len(messages))
	for i, m := range messages {
		all[i] = m.ReceiptHandle
	}
	return all
}

// gathered is what one receive brought. It is never divided: on a FIFO queue
// it has all messages of its groups that are in flight.
type gathered struct {
	items   []item
	bytes   int
	arrived time.Time
	full    bool // it brought as much as it could: there is more
}

func (r *run) gather(items []item, full bool) {
	g := gathered{items: items, arrived: time.Now(), full: full}
	for i := range items {
		g.bytes += len(items[i].Body) + len(items[i].Attributes)
	}
	r.gathered = append(r.gathered, g)
}

// busy says whether a group of these messages is in a batch already. That
// happens only when messages became visible while they were in hand.
func (r *run) busy(g gathered) bool {
	if !r.Queue.FIFO {
		return false
	}
	for i := range g.items {
		if r.groups[g.items[i].Group] {
			return true
		}
	}
	return false
}

// workers is how many batches may run at once.
func (r *run) workers() int {
	if r.trust == proven {
		return r.Concurrency
	}
	return 1
}

// choice is what the next batch would be.
type choice struct {
	taken []bool // by index of what is gathered
	size  int
	full  bool
	due   time.Time // when its messages have waited for long enough
}

// mostLingers is how many times Linger a batch waits to be full, while each
// receive brings as much as it can: then it is no trickle that would be delayed.
const mostLingers = 10

// choose finds what the next batch would be, in the order of arrival. What is
// passed over for a group that is in a batch holds up its other groups too.
func (r *run) choose() choice {
	c := choice{taken: make([]bool, len(r.gathered))}
	bytes := 0
	later := map[string]bool{}
	for i, g := range r.gathered {
		if r.busy(g) || g.in(later) {
			g.add(later)
			continue
		}
		if c.size > 0 && (c.size+len(g.items) > r.BatchSize || bytes+g.bytes > mostBytes) {
			c.full = true
			return c
		}
		c.size, bytes, c.taken[i] = c.size+len(g.items), bytes+g.bytes, true
		if c.due.IsZero() {
			c.due = g.arrived.Add(r.Linger)
		}
	}
	if c.size > 0 {
		if last := r.gathered[len(r.gathered)-1]; last.full {
			c.due = earlier(last.arrived.Add(r.Linger), c.due.Add((mostLingers-1)*r.Linger))
		}
	}
	c.full = c.size >= r.BatchSize
	return c
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// vacant says whether a batch may begin.
func (r *run) vacant() bool {
	return !r.ending && r.working < r.workers() && len(r.gathered) > 0 && (r.Mode != Batches || r.transactions+r.working < r.Batches)
}

// ready takes a batch from what is gathered, nil if there is none to begin.
// A batch begins when it is full, when one of its messages has waited for
// long enough, or when nothing can join it.
func (r *run) ready() []item {
	if !r.vacant() {
		return nil
	}
	c := r.choose()
	alone := r.trust < proven || r.receives == 0 && r.room() == 0
	if c.size == 0 || !c.full && !alone && time.Now().Before(c.due) {
		return nil
	}
	batch := make([]item, 0, c.size)
	kept := r.gathered[:0]
	for i, g := range r.gathered {
		if !c.taken[i] {
			kept = append(kept, g)
			continue
		}
		batch = append(batch, g.items...)
	}
	clear(r.gathered[len(kept):])
	r.gathered = kept
	if r.Queue.FIFO {
		for i := range batch {
			r.groups[batch[i].Group] = true
		}
	}
	return batch
}

func (g *gathered) in(groups map[string]bool) bool {
	for i := range g.items {
		if groups[g.items[i].Group] {
			return true
		}
	}
	return false
}

func (g *gathered) add(groups map[string]bool) {
	for i := range g.items {
		groups[g.items[i].Group] = true
	}
}
