package consume

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// memory is what a run remembers of messages that come again, by id.
type memory struct {
	queue *sqs.Queue

	// undeleted are stored or dead-lettered already, and only have to be deleted.
	undeleted map[string]bool
	// left are the messages that this run leaves alone.
	left map[string]leftover
	// hidden are those that come again and are invisible until then.
	hidden map[string]hiddenMessage
}

// leftover is a message that this run leaves alone.
type leftover struct {
	// cause is why, when it was not rejected.
	cause    message.Cause
	group    string // on a FIFO queue
	receives int
	until    time.Time // when it is visible again, at the latest
}

// waits reports whether the message only waits for another one of its group.
func (l leftover) waits() bool { return l.cause == message.CauseGroup }

// leave makes a leftover of a message that is invisible for d at most.
func leave(m *message.Message, cause message.Cause, d time.Duration) leftover {
	return leftover{cause: cause, group: m.Group, receives: m.ReceiveCount, until: time.Now().Add(d)}
}

// mostRemembered bounds what is remembered of messages whose deletion failed. What is forgotten is
// tried again, and found to be stored.
const mostRemembered = 10_000

// learn remembers what became of the messages of a pass.
func (m *memory) learn(p *pass) {
	for id, undeleted := range p.undeleted {
		if !undeleted {
			delete(m.undeleted, id)
		} else if len(m.undeleted) < mostRemembered {
			m.undeleted[id] = true
		}
	}
	maps.Copy(m.left, p.left)
	m.hide(p.hidden)
}

// hide remembers messages that are invisible.
func (m *memory) hide(messages []hiddenMessage) {
	for _, h := range messages {
		if len(m.hidden) < mostRemembered {
			m.hidden[h.id] = h
		}
	}
}

// takeHidden returns the receipt handles of what is hidden still, once.
func (m *memory) takeHidden() (handles []string) {
	for _, h := range m.hidden {
		if time.Now().Before(h.until) {
			handles = append(handles, h.handle)
		}
	}
	clear(m.hidden)
	return handles
}

// waits returns what the run waits for when it receives nothing, though the queue counts messages.
func (m *memory) waits(counts sqs.Counts) Waits {
	now := time.Now()
	w := Waits{Delayed: counts.Delayed}
	maps.DeleteFunc(m.hidden, func(_ string, h hiddenMessage) bool { return !now.Before(h.until) })
	w.Elsewhere = max(0, counts.InFlight-len(m.hidden))
	if w.Elsewhere > 0 {
		w.AtMost = m.queue.Settings.Visibility
	}
	for id, h := range m.hidden {
		if _, left := m.left[id]; !left {
			w.Returned++
			w.AtMost = max(w.AtMost, h.until.Sub(now))
		}
	}
	if w.Delayed > 0 {
		w.AtMost = max(w.AtMost, cmp.Or(m.queue.Settings.Delay, sqs.MaxDelay)) // a sender can ask for as much
	}
	if w.Returned+w.Elsewhere+w.Delayed == 0 {
		w.Unseen = counts.Visible
	}
	return w
}

// recall splits what was received into what is to be done and what the run leaves alone: the
// messages that it left before, and on a FIFO queue those that come after such a message in its
// group.
func (m *memory) recall(received []sqs.Received) (items []item, skipped int) {
	items = make([]item, 0, len(received))
	stopped := map[string]bool{}
	for i := range received {
		one := &received[i].Message
		delete(m.hidden, one.ID)
		old, known := m.left[one.ID]
		leaves := known && !old.waits()
		if !leaves && !stopped[one.Group] {
			delete(m.left, one.ID)
			items = append(items, item{*one, m.undeleted[one.ID]})
			continue
		}
		cause := old.cause
		if !leaves {
			cause = message.CauseGroup
		}
		m.left[one.ID] = leave(one, cause, m.queue.Settings.Visibility)
		m.hide(hiddenFor([]*message.Message{one}, m.queue.Settings.Visibility))
		stopped[one.Group] = m.queue.FIFO
		skipped++
	}
	return items, skipped
}

// forget drops messages that SQS has moved away, or will when it next looks at them.
func (m *memory) forget() {
	limit := m.queue.Settings.MaxReceives
	for id, l := range m.left {
		if limit > 0 && l.receives >= limit && time.Now().After(l.until) {
			delete(m.left, id)
		}
	}
}

// explains reports whether the run has left everything that the queue counts (empty), and whether
// nothing of the rest can ever be received (stuck): it waits in FIFO groups for messages that the
// run has left and that no receive limit moves away.
func (m *memory) explains(counts sqs.Counts) (empty, stuck bool) {
	m.forget()
	alone, invisible := 0, 0
	now := time.Now()
	for _, l := range m.left {
		if !l.waits() {
			alone++
		}
		if now.Before(l.until) {
			invisible++
		}
	}
	if counts.All() <= alone {
		return true, false
	}
	return false, m.queue.FIFO && m.queue.Settings.MaxReceives == 0 && counts.Delayed == 0 && alone > 0 && counts.InFlight <= invisible
}

var errStuck = errors.New("rejected messages hold up others of their groups, and nothing will ever take them away; " +
	"set DEAD_LETTER_QUEUE_URL, or give the queue a redrive policy")

// unfinished is the error of messages that were not rejected and are left all the same.
func (m *memory) unfinished() error {
	n := 0
	words := map[message.Cause]string{}
	for _, l := range m.left {
		if l.cause != message.CauseNone && !l.waits() {
			n++
			words[l.cause] = unfinishedWords[l.cause]
		}
	}
	if n == 0 {
		return nil
	}
	return fmt.Errorf("%d messages are back in the queue, and not for what they hold: %s", n, strings.Join(slices.Sorted(maps.Values(words)), "; "))
}

var unfinishedWords = map[message.Cause]string{
	message.CausePanic:      "a panic met some, its stack is in the log",
	message.CauseDiscarded:  "the database discarded some rows, look for a trigger or a rule",
	message.CauseForeignKey: "some refer to rows that are not stored yet, which the next run tries again",
	message.CauseUnsent:     "the dead-letter queue did not take some that were rejected, the log says why",
}

// count counts what is left for the summary: messages that the run left alone, and those that wait
// for them in their group. Others of the group may wait for an outage instead.
func (m *memory) count() (left, waiting int) {
	m.forget()
	stopped := map[string]bool{}
	for _, l := range m.left {
		if !l.waits() {
			left++
			stopped[l.group] = true
		}
	}
	for _, l := range m.left {
		if l.waits() && stopped[l.group] {
			waiting++
		}
	}
	return left, waiting
}
