package esmsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// A Handler is the function of the mapping: an SQS event in, the answer out. A panic is a function
// error.
type Handler func(ctx context.Context, event []byte) ([]byte, error)

const (
	eventHead, eventTail = `{"Records":[`, `]}`
	// Lambda quotas: 6 MB of payload for a synchronous invocation.
	maxEventBytes = 6 << 20
	// How often a throttled invocation is tried again; AWS gives no number.
	throttleRetry = 5 * time.Second
)

// MappingConfig is an event source mapping, and the function's own settings.
type MappingConfig struct {
	BatchSize               int           // up to 10,000, on FIFO queues 10; zero means 10
	Window                  time.Duration // MaximumBatchingWindowInSeconds, up to 300 s, not on FIFO queues
	ReportBatchItemFailures bool
	Concurrency             int // pollers, so invocations at a time; zero means 5, what Lambda starts with
	// What an invocation takes at most: up to 900 s, and the queue's visibility; zero means 3 s.
	// Beyond it the answer does not count, what the handler did does.
	FunctionTimeout time.Duration

	// What an invocation for so many messages takes of virtual time; nil means 100 ms. See Spend.
	Duration func(messages int) time.Duration
	// A limit in real time on the handler's context, lest a drill hangs; zero means none.
	RealTimeout time.Duration
	// Probability that the function runs and Lambda never learns its answer.
	LostAnswers float64
}

// Check returns why Lambda refuses the configuration for a queue.
//
// Lambda Developer Guide, Lambda parameters for Amazon SQS event source mappings; Creating and
// configuring an Amazon SQS event source mapping; API Reference, CreateEventSourceMapping.
// (MaximumConcurrency itself starts at 2; one poller is allowed here.)
func (c MappingConfig) Check(q *Queue) error {
	c = c.withDefaults()
	limit := 10_000
	if q.fifo {
		limit = 10
	}
	switch {
	case c.BatchSize < 1 || c.BatchSize > limit:
		return fmt.Errorf("batch size of %d is not within 1 to %d", c.BatchSize, limit)
	case c.Window < 0 || c.Window > 300*time.Second || c.Window%time.Second != 0:
		return fmt.Errorf("batching window of %v is not 0 to 300 whole seconds", c.Window)
	case q.fifo && c.Window != 0:
		return errors.New("a FIFO queue has no batching window")
	case c.BatchSize > 10 && c.Window < time.Second:
		return errors.New("a batch size over 10 needs a batching window of 1 s or more")
	case c.Concurrency < 1 || c.Concurrency > 1000:
		return fmt.Errorf("concurrency of %d is not within 1 to 1,000", c.Concurrency)
	case c.FunctionTimeout < time.Second || c.FunctionTimeout > 900*time.Second:
		return fmt.Errorf("function timeout of %v is not within 1 to 900 s", c.FunctionTimeout)
	case c.FunctionTimeout > q.cfg.Visibility:
		return fmt.Errorf("function timeout of %v exceeds the queue's visibility of %v", c.FunctionTimeout, q.cfg.Visibility)
	}
	return nil
}

func (c MappingConfig) withDefaults() MappingConfig {
	c.BatchSize = cmp.Or(c.BatchSize, 10)
	c.Concurrency = cmp.Or(c.Concurrency, 5)
	c.FunctionTimeout = cmp.Or(c.FunctionTimeout, 3*time.Second)
	if c.Duration == nil {
		c.Duration = func(int) time.Duration { return 100 * time.Millisecond }
	}
	return c
}

// A Mapping is a simulated event source mapping.
type Mapping struct {
	sim     *Sim
	queue   *Queue
	handler Handler
	cfg     MappingConfig

	open      *batch // gathering; it has a poller of its own
	busy      int    // pollers with a batch that is gathering or running
	polling   bool   // a poll is scheduled
	throttled bool
	size      int // of the last event: room for the next
	runs      Runs
}

// Map connects a queue with a handler; it panics on a configuration that Lambda refuses.
func (s *Sim) Map(q *Queue, h Handler, c MappingConfig) *Mapping {
	if err := c.Check(q); err != nil {
		panic("esmsim: mapping of " + q.cfg.Name + ": " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &Mapping{sim: s, queue: q, handler: h, cfg: c.withDefaults()}
	q.mappings = append(q.mappings, m)
	m.wake()
	return m
}

// Throttle makes Lambda refuse invocations, as it does without concurrency left, until
// Throttle(false).
func (m *Mapping) Throttle(on bool) {
	m.sim.mu.Lock()
	defer m.sim.mu.Unlock()
	m.throttled = on
}

// A batch is what one invocation is for.
type batch struct {
	event    []byte
	ids      []string // one for each record, repeats included
	receipts []receipt
	full     bool          // by bytes
	flush    time.Duration // when the batching window ends
	expires  time.Duration // when the first of its messages becomes visible again
}

// receipt stands for the nth receive of a message.
type receipt struct {
	message *message
	n       int
}

// wake polls at this instant, once. The caller holds the lock.
func (m *Mapping) wake() {
	if !m.polling {
		m.polling = true
		m.sim.callback(m.sim.Elapsed(), m.poll)
	}
}

// poll starts what invocations the visible messages and the free pollers allow.
func (m *Mapping) poll() {
	for b := m.gather(); b != nil; b = m.gather() {
		m.invoke(b)
	}
}

// gather returns the next batch that is complete: full by number or by bytes, or at the end of its
// window.
//
// Lambda Developer Guide, Using Lambda with Amazon SQS / Batching behavior: the window begins with
// the first record; the function is invoked when the batch size is reached, the window ends, or the
// payload reaches 6 MB.
func (m *Mapping) gather() *batch {
	m.sim.mu.Lock()
	defer m.sim.mu.Unlock()
	m.polling = false
	now := m.sim.Elapsed()
	b := m.open
	if b == nil {
		if m.busy == m.cfg.Concurrency || m.queue.next() == nil {
			return nil
		}
		b = &batch{event: append(make([]byte, 0, m.size), eventHead...), flush: now + m.cfg.Window, expires: now + m.queue.cfg.Visibility}
	}
	m.queue.receive(m.cfg.BatchSize-len(b.ids), m.queue.cfg.Visibility, func(msg *message) bool { return b.add(m.queue, msg) })
	if len(b.ids) == 0 {
		return nil
	}
	if m.open == nil {
		m.busy++
	}
	if len(b.ids) < m.cfg.BatchSize && !b.full && now < b.flush {
		if m.open == nil {
			m.open = b
			m.sim.callback(b.flush, m.poll)
		}
		return nil
	}
	m.open = nil
	b.event = append(b.event, eventTail...)
	m.size = len(b.event)
	return b
}

// add appends the record of a message that is about to be received, if there is room.
func (b *batch) add(q *Queue, msg *message) bool {
	mark := len(b.event)
	if len(b.ids) > 0 {
		b.event = append(b.event, ',')
	}
	b.event = q.appendRecord(b.event, msg)
	if len(b.event)+len(eventTail) > maxEventBytes {
		b.event, b.full = b.event[:mark], true
		return false
	}
	b.ids = append(b.ids, msg.id)
	b.receipts = append(b.receipts, receipt{msg, msg.handle + 1})
	return true
}

// invoke calls the function with b, unless Lambda refuses.
func (m *Mapping) invoke(b *batch) {
	if m.refused(b) {
		return
	}
	answer, took, err := m.call(b.event)
	took += m.cfg.Duration(len(b.ids))
	b.event = nil

	m.sim.mu.Lock()
	defer m.sim.mu.Unlock()
	if took > m.cfg.FunctionTimeout {
		took, err = m.cfg.FunctionTimeout, fmt.Errorf("task timed out after %v", m.cfg.FunctionTimeout)
		m.runs.TimedOut++
	}
	if m.sim.chance(m.cfg.LostAnswers) {
		err = errors.New("answer lost")
		m.runs.LostAnswers++
	}
	m.sim.schedule(m.sim.Elapsed()+took, func() { m.settle(b, answer, err) })
}

// refused counts an invocation, or its throttling.
//
// Lambda Developer Guide, Handling errors for an SQS event source in Lambda / Backoff strategy for
// failed invocations: a throttled invocation is tried again until the visibility timeout, and then
// dropped: the receive is spent.
func (m *Mapping) refused(b *batch) bool {
	m.sim.mu.Lock()
	defer m.sim.mu.Unlock()
	now := m.sim.Elapsed()
	switch {
	case !m.throttled:
		m.runs.Invocations++
		return false
	case now < b.expires:
		m.sim.callback(min(now+throttleRetry, b.expires), func() { m.invoke(b) })
	default:
		m.busy--
		m.runs.ThrottledBatches++
		m.wake()
	}
	m.runs.Throttles++
	return true
}

// call runs the handler, in real time, and returns what it spent of virtual time.
func (m *Mapping) call(event []byte) (answer []byte, took time.Duration, err error) {
	var total atomic.Int64
	ctx := context.WithValue(context.Background(), spent{}, &total)
	if m.cfg.RealTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, m.cfg.RealTimeout)
		defer cancel()
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		took = time.Duration(total.Load())
	}()
	answer, err = m.handler(ctx, event)
	return answer, 0, err
}

// settle ends an invocation: deletes what the answer does not hold back. What is not deleted
// becomes visible when its visibility timeout ends, whatever went wrong.
//
// Lambda Developer Guide, Handling errors for an SQS event source in Lambda. Without
// ReportBatchItemFailures any answer that is not an error deletes the whole batch.
func (m *Mapping) settle(b *batch, answer []byte, err error) {
	m.busy--
	m.wake()
	var failed []string
	if err == nil && m.cfg.ReportBatchItemFailures {
		failed, err = judge(answer, b.ids)
	}
	if err != nil {
		m.runs.Failures++
		m.runs.LastError = err
		return
	}
	if len(failed) > 0 {
		m.runs.Partial++
		slices.Sort(failed)
	}
	for i, id := range b.ids {
		if _, held := slices.BinarySearch(failed, id); !held {
			// A FIFO handle may have expired; there is nothing that Lambda can do about it either.
			_ = m.queue.delete(b.receipts[i].message, b.receipts[i].n)
		}
	}
}
