package esmsim

import (
	"errors"
	"time"
)

// maxMoveRate is the highest MaxNumberOfMessagesPerSecond.
const maxMoveRate = 500

// A MoveTask is what StartMessageMoveTask started. Its fields change while the simulation runs.
type MoveTask struct {
	Moved int
	Done  bool
	Err   error // why it stopped before the end

	from, to *Queue
	rate     int
	left     int
}

// StartMessageMoveTask moves what is visible in a dead-letter queue now, oldest first, perSecond messages a second (0
// means 500), to the queue given or, when it is nil, to the queue that each message came from. The messages are new
// ones there: new id, new SentTimestamp, no receives. A message that was sent to the dead-letter queue, rather than
// moved by a redrive policy, came from nowhere: without a queue given it stops the task.
//
// API Reference, StartMessageMoveTask; SQS Developer Guide, Configure a dead-letter queue redrive.
func (q *Queue) StartMessageMoveTask(to *Queue, perSecond int) (*MoveTask, error) {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	switch {
	case !q.isDLQ:
		return nil, &Error{"InvalidParameterValue", "source queue must be configured as a dead-letter queue"}
	case q.move != nil && !q.move.Done:
		return nil, &Error{"UnsupportedOperation", "only one active task is allowed for a source queue"}
	case to != nil && to.fifo != q.fifo:
		return nil, &Error{"InvalidParameterValue", "source and destination must be of the same type"}
	case perSecond < 0 || perSecond > maxMoveRate:
		return nil, &Error{"InvalidParameterValue", "MaxNumberOfMessagesPerSecond must be between 1 and 500"}
	case perSecond == 0:
		perSecond = maxMoveRate
	}
	q.move = &MoveTask{from: q, to: to, rate: perSecond, left: q.counts.waiting}
	q.sim.schedule(q.sim.Elapsed(), q.move.second)
	return q.move, nil
}

// second moves what one second allows.
func (t *MoveTask) second() {
	s := t.from.sim
	for range t.rate {
		l := t.from.next()
		if l == nil || t.left == 0 {
			t.Done = true
			return
		}
		m := l.messages[0]
		to := t.to
		if to == nil {
			to = m.source
		}
		if to == nil {
			t.Done, t.Err = true, errors.New("a message has no source queue: it was sent here, not moved by a redrive policy")
			return
		}
		t.from.remove(m, Moved)
		to.add(&message{Message: m.Message, id: s.uuid(), sent: s.Elapsed()})
		t.left--
		t.Moved++
	}
	s.schedule(s.Elapsed()+time.Second, t.second)
}
