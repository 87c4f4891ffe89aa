package esmsim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// newYear is where a simulation starts: a round date, so that a time in a failing test says how far
// the run was.
var newYear = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// Sim is a virtual clock and the queues and mappings that live by it. Times given to it are
// durations since its start.
type Sim struct {
	epoch time.Time
	now   atomic.Int64 // since epoch, in ns; atomic, so that Now can be called from anywhere, under the lock too

	mu     sync.Mutex // guards everything below, and the state of all queues and mappings
	events events
	seq    uint64
	sent   int        // messages, in all queues
	ids    *rand.Rand // nil for ids that count; apart from luck, so that a changed probability leaves the message ids as they are
	luck   *rand.Rand
}

// New returns a simulation at 2026-01-01T00:00:00Z whose every chance follows from seed.
func New(seed uint64) *Sim {
	return &Sim{epoch: newYear, ids: rand.New(rand.NewPCG(seed, 1)), luck: rand.New(rand.NewPCG(seed, 2))}
}

// Since returns a simulation that starts at a time of the wall clock, for a front that has it
// follow that clock by Run. Nothing in it is left to chance: message ids count.
func Since(start time.Time) *Sim { return &Sim{epoch: start, luck: rand.New(rand.NewPCG(0, 0))} }

// Now returns the virtual time. It is safe for concurrent use: the clock of the code under test.
func (s *Sim) Now() time.Time { return s.at(s.Elapsed()) }

func (s *Sim) at(t time.Duration) time.Time { return s.epoch.Add(t) }

// Elapsed returns the virtual time since the start.
func (s *Sim) Elapsed() time.Duration { return time.Duration(s.now.Load()) }

// At calls f at t, or at once when the run goes on if t has passed.
func (s *Sim) At(t time.Duration, f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.callback(t, f)
}

// Every calls f each period, first one period from now, until stop is called.
func (s *Sim) Every(period time.Duration, f func()) (stop func()) {
	if period <= 0 {
		panic(fmt.Sprintf("esmsim: a period of %v never ends", period))
	}
	var stopped atomic.Bool
	var tick func()
	tick = func() {
		if !stopped.Load() {
			f()
			s.At(s.Elapsed()+period, tick)
		}
	}
	s.At(s.Elapsed()+period, tick)
	return func() { stopped.Store(true) }
}

// Run lets virtual time pass until t, with all that is due by then.
func (s *Sim) Run(t time.Duration) {
	for {
		run, more := s.step(t)
		if !more {
			break
		}
		if run != nil {
			run()
		}
	}
	if t > s.Elapsed() {
		s.now.Store(int64(t))
	}
}

// step takes the next event due by t. It runs one of its own itself, under the lock, and hands back
// one of the caller's, which must be free to use the simulation.
func (s *Sim) step(t time.Duration) (callback func(), more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.events) == 0 || s.events[0].at > t {
		return nil, false
	}
	e := s.events.pop()
	s.now.Store(int64(e.at))
	if e.unlocked {
		return e.run, true
	}
	e.run()
	return nil, true
}

// schedule runs f under the lock at t; callback runs it without. The caller of either holds the
// lock.
func (s *Sim) schedule(t time.Duration, f func()) { s.push(t, f, false) }
func (s *Sim) callback(t time.Duration, f func()) { s.push(t, f, true) }

func (s *Sim) push(t time.Duration, f func(), unlocked bool) {
	s.seq++
	s.events.push(event{at: max(t, s.Elapsed()), seq: s.seq, run: f, unlocked: unlocked})
}

func (s *Sim) chance(probability float64) bool {
	return probability > 0 && s.luck.Float64() < probability
}

// uuid returns a message id. Those of SQS are random (version 4) UUIDs.
func (s *Sim) uuid() string {
	if s.ids == nil {
		return fmt.Sprintf("%08x-0000-4000-8000-%012x", s.sent+1, s.sent+1)
	}
	hi, lo := s.ids.Uint64()&^0xf000|0x4000, s.ids.Uint64()&^(3<<62)|2<<62
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xffff, lo>>48, lo&(1<<48-1))
}

// spent carries an invocation's virtual duration in its context.
type spent struct{}

// Spend tells the simulation that the invocation to which ctx belongs took d more of virtual time,
// on top of MappingConfig.Duration: what a fake sleep, or a statement that a test wants to be slow,
// calls. Outside an invocation it does nothing.
func Spend(ctx context.Context, d time.Duration) {
	if total, ok := ctx.Value(spent{}).(*atomic.Int64); ok {
		total.Add(int64(d))
	}
}

type event struct {
	at       time.Duration
	seq      uint64 // events of one instant run in the order in which they were made
	run      func()
	unlocked bool
}

func (e *event) before(other *event) bool {
	return e.at < other.at || e.at == other.at && e.seq < other.seq
}

// events is a binary heap, the earliest first; container/heap would allocate every event and take
// twice as long.
type events []event

func (h *events) push(e event) {
	*h = append(*h, e)
	for i := len(*h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !(*h)[i].before(&(*h)[parent]) {
			return
		}
		(*h)[i], (*h)[parent] = (*h)[parent], (*h)[i]
		i = parent
	}
}

func (h *events) pop() event {
	old := *h
	first, last := old[0], len(old)-1
	old[0], old[last] = old[last], event{}
	*h = old[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if old[child].before(&old[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		old[i], old[least] = old[least], old[i]
		i = least
	}
}
