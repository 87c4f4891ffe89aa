package consume

import (
	"slices"
	"time"

	"example.com/owner/sluice/internal/message"
)

// mostBytes bounds the bodies of a batch: what an event of Lambda can have.
const mostBytes = 6 << 20

// item is a message in hand.
type item struct {
	message.Message
	// settled: an earlier delivery was stored or dead-lettered, and not deleted. It only has to be
	// deleted.
	settled bool
}

func pointers(items []item) []*message.Message {
	all := make([]*message.Message, len(items))
	for i := range items {
		all[i] = &items[i].Message
	}
	return all
}

// gathering is what was received and is in no batch yet.
type gathering struct {
	waiting []gathered      // in the order of arrival
	busy    map[string]bool // the FIFO groups that are in a batch
}

// gathered is what one receive brought. It is never divided: on a FIFO queue it has all messages of
// its groups that are in flight.
type gathered struct {
	items   []item
	bytes   int
	arrived time.Time
	full    bool // the receive brought as much as it could: there is more
}

func (g *gathering) add(items []item, full bool) {
	one := gathered{items: items, arrived: time.Now(), full: full}
	for i := range items {
		one.bytes += len(items[i].Body) + len(items[i].Attributes)
	}
	g.waiting = append(g.waiting, one)
}

// size is how much waits for a batch.
func (g *gathering) size() (messages, bytes int) {
	for _, one := range g.waiting {
		messages, bytes = messages+len(one.items), bytes+one.bytes
	}
	return messages, bytes
}

// takeAll takes all that waits.
func (g *gathering) takeAll() (items []item) {
	for _, one := range g.waiting {
		items = append(items, one.items...)
	}
	g.waiting = nil
	return items
}

// choice is what the next batch would be.
type choice struct {
	taken []bool // by index of what waits
	size  int
	full  bool
	due   time.Time // when its messages have waited for long enough
}

// mostLingers is how many times Linger a batch waits to be full while receives come back full. A
// trickle of messages has no full receives, and is not delayed.
const mostLingers = 10

// choose finds what the next batch would be, in the order of arrival. It passes over what has a
// group that is in a batch already, which happens only when messages became visible while they were
// in hand; the other groups of that receive wait with it.
func (g *gathering) choose(batchSize int, linger time.Duration) choice {
	c := choice{taken: make([]bool, len(g.waiting))}
	bytes := 0
	later := map[string]bool{}
	for i, one := range g.waiting {
		if one.hasAny(g.busy) || one.hasAny(later) {
			one.mark(later)
			continue
		}
		if c.size > 0 && (c.size+len(one.items) > batchSize || bytes+one.bytes > mostBytes) {
			c.full = true
			return c
		}
		c.size, bytes, c.taken[i] = c.size+len(one.items), bytes+one.bytes, true
		if c.due.IsZero() {
			c.due = one.arrived.Add(linger)
		}
	}
	if c.size > 0 {
		if last := g.waiting[len(g.waiting)-1]; last.full {
			latest := c.due.Add((mostLingers - 1) * linger)
			if c.due = last.arrived.Add(linger); latest.Before(c.due) {
				c.due = latest
			}
		}
	}
	c.full = c.size >= batchSize
	return c
}

// take takes what was chosen. On a FIFO queue its groups are busy until release.
func (g *gathering) take(c choice, fifo bool) []item {
	batch := make([]item, 0, c.size)
	rest := g.waiting[:0]
	for i, one := range g.waiting {
		if !c.taken[i] {
			rest = append(rest, one)
			continue
		}
		batch = append(batch, one.items...)
		if fifo {
			one.mark(g.busy)
		}
	}
	clear(g.waiting[len(rest):])
	g.waiting = rest
	return batch
}

// release frees the groups of a batch that has ended.
func (g *gathering) release(batch []item) {
	for i := range batch {
		delete(g.busy, batch[i].Group)
	}
}

func (g *gathered) hasAny(groups map[string]bool) bool {
	return len(groups) > 0 && slices.ContainsFunc(g.items, func(i item) bool { return groups[i.Group] })
}

func (g *gathered) mark(groups map[string]bool) {
	for i := range g.items {
		groups[g.items[i].Group] = true
	}
}

// vacant reports whether a batch may begin.
func (r *run) vacant() bool {
	workers := 1
	if r.database.trust == works {
		workers = r.Concurrency
	}
	return !r.ending.begun && r.underway.batches < workers && len(r.gathering.waiting) > 0 &&
		(r.Mode != Batches || r.batchesDone+r.underway.batches < r.Batches)
}

// takeBatch takes the next batch, nil if there is none to begin. A batch begins when it is full,
// when one of its messages has waited for long enough, or when nothing can join it.
func (r *run) takeBatch() []item {
	if !r.vacant() {
		return nil
	}
	c := r.gathering.choose(r.BatchSize, r.Linger)
	alone := r.database.trust < works || r.underway.receives == 0 && r.room() == 0
	if c.size == 0 || !c.full && !alone && time.Now().Before(c.due) {
		return nil
	}
	return r.gathering.take(c, r.Queue.FIFO)
}
