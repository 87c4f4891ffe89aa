package esmsim

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Account and Region are where the queues are.
const (
	Account = "000000000000"
	Region  = "eu-west-1"
)

const (
	maxVisibility = 12 * time.Hour
	// SQS Developer Guide, Amazon SQS standard queue quotas and FIFO queue quotas: 120,000 messages
	// in flight; a long poll, as Lambda's is, gets no error beyond it and no messages either.
	maxInFlight = 120_000
	// SQS Developer Guide, Using the message deduplication ID: 5 minutes, also after the message is
	// deleted.
	deduplicationInterval = 5 * time.Minute
)

// QueueConfig are a queue's attributes, and what goes wrong on it.
type QueueConfig struct {
	Name                 string        // ending in .fifo makes it a FIFO queue
	Visibility           time.Duration // up to 12 h; zero means 30 s, and less than a millisecond that nothing is hidden
	Retention            time.Duration // 1 min to 14 d; zero means 4 d
	Delay                time.Duration // up to 15 min
	DeadLetter           *Queue        // of the redrive policy, same type and simulation; nil means none
	MaxReceives          int           // maxReceiveCount, 1 to 1,000, with DeadLetter
	DeduplicateByContent bool          // FIFO queues only
	MaxBytes             int           // of a message; zero means 1 MiB

	// At-least-once delivery and best-effort ordering of standard queues (SQS Developer Guide,
	// Amazon SQS standard queues): probabilities, 0 to 1, that a received message is handed out a
	// second time, half the time within the same receive; that another message than the oldest
	// comes next; that a deletion misses a copy, which reappears when its visibility timeout
	// expires (API Reference, DeleteMessage).
	Duplicates, OutOfOrder, LostDeletes float64
}

// Check returns why SQS, or the simulation, refuses the configuration.
func (c QueueConfig) Check() error {
	fifo := strings.HasSuffix(c.Name, ".fifo")
	switch {
	case c.Name == "":
		return errors.New("a queue needs a name")
	case c.Visibility < 0 || c.Visibility > maxVisibility:
		return fmt.Errorf("visibility of %v is not within 0 to 12 h", c.Visibility)
	case c.Retention != 0 && (c.Retention < time.Minute || c.Retention > 14*24*time.Hour):
		return fmt.Errorf("retention of %v is not within 1 min to 14 d", c.Retention)
	case c.Delay < 0 || c.Delay > maxDelay:
		return fmt.Errorf("delay of %v is not within 0 to 15 min", c.Delay)
	case c.DeadLetter == nil && c.MaxReceives != 0, c.DeadLetter != nil && (c.MaxReceives < 1 || c.MaxReceives > 1000):
		return fmt.Errorf("a redrive policy has a dead-letter queue and 1 to 1,000 receives, not %d", c.MaxReceives)
	case c.DeadLetter != nil && c.DeadLetter.fifo != fifo:
		return errors.New("the dead-letter queue of a FIFO queue must be a FIFO queue, of a standard queue a standard queue")
	case fifo && (c.Duplicates != 0 || c.OutOfOrder != 0 || c.LostDeletes != 0):
		return errors.New("a FIFO queue keeps its order and delivers once")
	}
	return nil
}

// A Queue is a simulated SQS queue.
type Queue struct {
	sim      *Sim
	cfg      QueueConfig
	fifo     bool
	mappings []*Mapping

	byNumber map[int]*message
	log      []*message          // all there ever were, in order of arrival
	groups   map[string]*lane    // FIFO
	recent   map[string]*message // FIFO: by deduplication id
	ready    []*lane             // from head on: what may be received next
	head     int
	inFlight int
	delayed  int
	traffic  Traffic
}

// Queue adds a queue; it panics on a configuration that SQS refuses, as a test has no other use for
// it.
func (s *Sim) Queue(c QueueConfig) *Queue {
	if err := c.Check(); err != nil {
		panic("esmsim: queue " + c.Name + ": " + err.Error())
	}
	c.Visibility = cmp.Or(c.Visibility, 30*time.Second)
	c.Retention = cmp.Or(c.Retention, 4*24*time.Hour)
	c.MaxBytes = cmp.Or(c.MaxBytes, maxMessageBytes)
	return &Queue{
		sim: s, cfg: c, fifo: strings.HasSuffix(c.Name, ".fifo"),
		byNumber: map[int]*message{}, groups: map[string]*lane{}, recent: map[string]*message{},
	}
}

// ARN is the queue's name as eventSourceARN shows it.
func (q *Queue) ARN() string { return "arn:aws:sqs:" + Region + ":" + Account + ":" + q.cfg.Name }

// All yields every message that was ever in the queue, in order of arrival.
func (q *Queue) All() iter.Seq[Record] {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	log := slices.Clip(q.log)
	return func(yield func(Record) bool) {
		for _, m := range log {
			if !yield(q.view(m)) {
				return
			}
		}
	}
}

// Messages lists what is in the queue now, in order of arrival, without receiving it.
func (q *Queue) Messages() []Record {
	var here []Record
	for r := range q.All() {
		if r.Ended.IsZero() {
			here = append(here, r)
		}
	}
	return here
}

// Find returns a message that is or was in the queue.
func (q *Queue) Find(messageID string) (Record, bool) {
	for r := range q.All() {
		if r.MessageID == messageID {
			return r, true
		}
	}
	return Record{}, false
}

func (q *Queue) view(m *message) Record {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	return q.record(m)
}

// From here on, the caller holds the lock.

func (q *Queue) record(m *message) Record {
	s := q.sim
	r := Record{Message: m.Message, MessageID: m.id, Source: m.sourceARN, Sequence: m.sequence, Sent: s.at(m.sent), State: m.state, Receives: m.receives}
	if m.handle > 0 {
		r.ReceiptHandle = string(appendHandle(nil, m, m.handle))
	}
	if m.receives > 0 {
		r.FirstReceived = s.at(m.firstReceived)
	}
	if m.hiddenUntil > 0 {
		r.VisibleAt = s.at(m.hiddenUntil)
	}
	if m.gone() {
		r.Ended = s.at(m.ended)
	}
	return r
}

// send accepts a message of a producer.
func (q *Queue) send(msg Message) (*message, error) {
	if err := msg.checkForm(q.fifo, q.cfg.DeduplicateByContent); err != nil {
		return nil, err
	}
	if err := msg.checkContent(q.fifo, q.cfg.MaxBytes); err != nil {
		return nil, err
	}
	if q.fifo && msg.DeduplicationID == "" {
		msg.DeduplicationID = fmt.Sprintf("%x", sha256.Sum256([]byte(msg.Body)))
	}
	q.traffic.Sent++
	return q.add(&message{Message: msg, id: q.sim.uuid(), sent: q.sim.Elapsed()}, cmp.Or(msg.Delay, q.cfg.Delay)), nil
}

// add puts a message that is new here into its lane and starts its clocks.
func (q *Queue) add(m *message, delay time.Duration) *message {
	s := q.sim
	m.aged = max(m.aged, m.sent)
	if q.fifo {
		if !m.put {
			// Acknowledged, with the id of the first, but not delivered.
			if first := q.recent[m.DeduplicationID]; first != nil {
				q.traffic.Deduplicated++
				return first
			}
			q.recent[m.DeduplicationID] = m
			s.schedule(s.Elapsed()+deduplicationInterval, func() { delete(q.recent, m.DeduplicationID) })
		}
		m.sequence = fmt.Sprintf("188%017d", len(q.log)*256)
		if m.lane = q.groups[m.GroupID]; m.lane == nil {
			m.lane = &lane{group: m.GroupID}
			q.groups[m.GroupID] = m.lane
		}
	} else {
		m.lane = &lane{}
	}
	m.lane.messages = append(m.lane.messages, m)
	s.sent++
	m.number = s.sent
	q.byNumber[m.number] = m
	q.log = append(q.log, m)
	q.traffic.arrived()
	// SQS Developer Guide, Setting-up dead-letter queue retention: the age counts from
	// SentTimestamp, which survives the move to a dead-letter queue on standard queues and starts
	// again on FIFO ones.
	s.schedule(m.aged+q.cfg.Retention, func() { q.remove(m, Expired) })
	switch {
	case delay <= 0:
		q.show(m)
	case m.receives == 0:
		m.state = Delayed
		q.delayed++
		q.hide(m, delay)
	default:
		q.fly(m, delay)
	}
	return m
}

// fly puts m into flight.
func (q *Queue) fly(m *message, visibility time.Duration) {
	m.state = InFlight
	q.inFlight++
	m.lane.inFlight++
	q.hide(m, visibility)
}

// hide makes m visible after d. Of several such clocks of one message only the last one set counts.
func (q *Queue) hide(m *message, d time.Duration) {
	m.hiddenUntil = q.sim.Elapsed() + d
	if d == 0 {
		q.show(m)
		return
	}
	q.sim.schedule(m.hiddenUntil, func() {
		if (m.state == Delayed || m.state == InFlight) && m.hiddenUntil == q.sim.Elapsed() {
			q.show(m)
		}
	})
}

func (q *Queue) show(m *message) {
	q.land(m)
	m.state = Visible
	q.offer(m.lane)
}

// land takes m out of flight, if it was, or out of its delay.
func (q *Queue) land(m *message) {
	if m.state == Delayed && m.hiddenUntil > 0 {
		q.delayed--
	}
	if m.state == InFlight {
		q.inFlight--
		m.lane.inFlight--
		if q.inFlight == maxInFlight-1 {
			q.wake()
		}
	}
}

// remove ends m's life in this queue; the rest of its group goes on.
func (q *Queue) remove(m *message, end State) {
	if m.gone() {
		return
	}
	q.land(m)
	m.state, m.ended, m.rendered = end, q.sim.Elapsed(), nil
	q.traffic.left(m)
	q.offer(m.lane)
	if q.fifo && len(m.lane.messages) == 0 {
		delete(q.groups, m.lane.group)
	}
}

// offer lines a lane up for the next receive.
func (q *Queue) offer(l *lane) {
	if !l.deliverable() {
		return
	}
	if !l.queued {
		l.queued = true
		q.ready = append(q.ready, l)
	}
	q.wake()
}

func (q *Queue) wake() {
	for _, m := range q.mappings {
		m.wake()
	}
}

// next returns the lane to receive from, or nil when nothing is visible.
func (q *Queue) next() *lane {
	for q.head < len(q.ready) {
		if q.sim.chance(q.cfg.OutOfOrder) {
			other := q.head + q.sim.luck.IntN(len(q.ready)-q.head)
			q.ready[q.head], q.ready[other] = q.ready[other], q.ready[q.head]
		}
		if l := q.ready[q.head]; l.deliverable() {
			return l
		}
		q.skip()
	}
	return nil
}

// skip drops the first lane from ready.
func (q *Queue) skip() {
	q.ready[q.head].queued = false
	q.ready[q.head] = nil
	q.head++
	if q.head > 1024 && q.head > len(q.ready)/2 {
		q.ready = append(q.ready[:0], q.ready[q.head:]...)
		q.head = 0
	}
}

// receive hands out up to n visible messages, as long as take wants the one that is next. As many
// as possible are of one message group (SQS Developer Guide, FIFO queue delivery logic).
func (q *Queue) receive(n int, visibility time.Duration, take func(*message) bool) {
	for l := q.next(); l != nil; l = q.next() {
		for _, m := range l.messages {
			if m.gone() {
				continue
			}
			if n == 0 || q.inFlight >= maxInFlight {
				return
			}
			if m.state != Visible {
				break
			}
			if q.exhausted(m) {
				q.deadLetter(m)
				continue
			}
			if !take(m) {
				return
			}
			q.deliver(m, visibility)
			n--
		}
	}
}

// deliver counts a receive and starts the visibility timeout (SQS Developer Guide, Amazon SQS
// visibility timeout).
func (q *Queue) deliver(m *message, visibility time.Duration) {
	m.received = q.sim.Elapsed()
	if m.receives == 0 {
		m.firstReceived = m.received
	}
	m.receives++
	m.handle++
	q.traffic.Receives++
	q.traffic.MaxReceives = max(q.traffic.MaxReceives, m.handle)
	if q.sim.chance(q.cfg.Duplicates) {
		if q.sim.luck.IntN(2) == 0 {
			return // still visible, and next in this very receive
		}
		visibility = time.Millisecond // for another poller, while the first has it
	}
	q.fly(m, visibility)
}

// exhausted reports whether one more receive would exceed maxReceiveCount.
//
// SQS Developer Guide, Using dead-letter queues in Amazon SQS. The message moves when somebody
// tries to receive it once more, not when its last visibility ends (seen on AWS; localstack issue
// 8234).
func (q *Queue) exhausted(m *message) bool {
	return q.cfg.DeadLetter != nil && m.handle >= q.cfg.MaxReceives
}

// deadLetter moves m by the redrive policy. It keeps its id, its receive count and, on standard
// queues, its SentTimestamp; on FIFO queues the enqueue timestamp starts again and the
// deduplication id becomes the message id (SQS Developer Guide, Setting-up dead-letter queue
// retention; Configure a dead-letter queue redrive).
func (q *Queue) deadLetter(m *message) {
	q.remove(m, DeadLettered)
	moved := &message{Message: m.Message, id: m.id, sourceARN: q.ARN(), sent: m.sent, aged: m.aged, receives: m.receives, firstReceived: m.firstReceived}
	if q.fifo {
		moved.sent, moved.DeduplicationID = q.sim.Elapsed(), m.id
	}
	q.cfg.DeadLetter.add(moved, 0)
}

// appendHandle renders the receipt handle of m's nth receive.
func appendHandle(b []byte, m *message, n int) []byte {
	b = append(strconv.AppendInt(append(b, "handle-"...), int64(m.number), 10), '-')
	return strconv.AppendInt(b, int64(n), 10)
}

// receivedAs reads a receipt handle: of the nth receive of m.
func (q *Queue) receivedAs(handle string) (m *message, n int, err error) {
	rest, ok := strings.CutPrefix(handle, "handle-")
	first, last, _ := strings.Cut(rest, "-")
	number, _ := strconv.Atoi(first)
	if m = q.byNumber[number]; ok && m != nil {
		n, _ = strconv.Atoi(last)
	}
	if n < 1 || n > m.handle {
		return nil, 0, &Error{"ReceiptHandleIsInvalid", "the input receipt handle is not a valid receipt handle"}
	}
	return m, n, nil
}

var errExpiredHandle = invalid("value for parameter ReceiptHandle is invalid: the receipt handle has expired")

// delete is DeleteMessage by the handle of the nth receive (API Reference): on a standard queue the
// last handle deletes, in flight or not, and an older one succeeds and does nothing; on a FIFO
// queue a handle expires with the visibility.
func (q *Queue) delete(m *message, n int) error {
	switch {
	case m.gone():
	case q.fifo && (n != m.handle || m.state != InFlight):
		return errExpiredHandle
	case n == m.handle && !q.sim.chance(q.cfg.LostDeletes):
		q.remove(m, Deleted)
	}
	return nil
}

// changeVisibility is ChangeMessageVisibility (API Reference; SQS Developer Guide, Amazon SQS
// visibility timeout): 0 s to 12 h from now, and no more than 12 h from the receive. An older
// handle on a standard queue does nothing; AWS does not say.
func (q *Queue) changeVisibility(m *message, n int, d time.Duration) error {
	switch {
	case d < 0 || d > maxVisibility:
		return invalid("value %v for parameter VisibilityTimeout is invalid: must be between 0 and 43200 s", d)
	case m.gone():
		return invalid("message does not exist or is not available for visibility timeout change")
	case q.fifo && n != m.handle:
		return errExpiredHandle
	case m.state != InFlight:
		return &Error{"MessageNotInflight", "the message is not in flight"}
	case q.sim.Elapsed()+d > m.received+maxVisibility:
		return invalid("total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	case n == m.handle:
		q.hide(m, d)
	}
	return nil
}
