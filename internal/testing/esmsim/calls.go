package esmsim

import (
	"fmt"
	"regexp"
	"time"
)

// An Error is a refusal of SQS.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Send is SendMessage of a producer. It returns the message id, and panics on what SQS would
// refuse, as that is a mistake of the test.
func (q *Queue) Send(msg Message) string {
	id, err := q.SendMessage(msg)
	if err != nil {
		panic("esmsim: send to " + q.cfg.Name + ": " + err.Error())
	}
	return id
}

// SendMessage is SendMessage.
func (q *Queue) SendMessage(msg Message) (id string, err error) {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	m, err := q.send(msg)
	if err != nil {
		return "", err
	}
	return m.id, nil
}

// Put adds a message past the API, with all that the record says; an empty id and a zero time
// become new ones.
func (q *Queue) Put(r Record) {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	now := q.sim.Elapsed()
	m := &message{Message: r.Message, id: r.MessageID, sourceARN: r.Source, put: true, sent: now, aged: now, receives: r.Receives, handle: r.Receives, received: now}
	if m.id == "" {
		m.id = q.sim.uuid()
	}
	if !r.Sent.IsZero() {
		m.sent = r.Sent.Sub(q.sim.epoch)
	}
	var delay time.Duration
	if !r.VisibleAt.IsZero() {
		delay = r.VisibleAt.Sub(q.sim.at(now))
	}
	q.traffic.Sent++
	q.add(m, delay)
}

// Purge removes all messages.
func (q *Queue) Purge() {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	for _, m := range q.log {
		q.remove(m, Deleted)
	}
}

// Counts are how many messages are visible, in flight and delayed.
func (q *Queue) Counts() (visible, inFlight, delayed int) {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	return q.traffic.Waiting - q.inFlight - q.delayed, q.inFlight, q.delayed
}

// Receive is ReceiveMessage of somebody else than the mapping: it costs each message a receive.
func (q *Queue) Receive(n int) []Record { return q.ReceiveFor(n, q.cfg.Visibility) }

// ReceiveFor is Receive with a visibility timeout of its own.
func (q *Queue) ReceiveFor(n int, visibility time.Duration) []Record {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	var taken []*message
	q.receive(min(n, maxEntries), visibility, func(m *message) bool {
		taken = append(taken, m)
		return true
	})
	var records []Record
	for _, m := range taken {
		records = append(records, q.record(m))
	}
	return records
}

// Delete is DeleteMessage.
func (q *Queue) Delete(receiptHandle string) error {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	m, n, err := q.receivedAs(receiptHandle)
	if err != nil {
		return err
	}
	return q.delete(m, n)
}

// ChangeVisibility is ChangeMessageVisibility.
func (q *Queue) ChangeVisibility(receiptHandle string, d time.Duration) error {
	q.sim.mu.Lock()
	defer q.sim.mu.Unlock()
	m, n, err := q.receivedAs(receiptHandle)
	if err != nil {
		return err
	}
	return q.changeVisibility(m, n, d)
}

// CheckBatch returns why SendMessageBatch fails as a whole.
func (q *Queue) CheckBatch(messages []Message) error {
	total := 0
	for _, m := range messages {
		if err := m.checkForm(q.fifo, q.cfg.DeduplicateByContent); err != nil {
			return err
		}
		total += m.size()
	}
	if total > maxMessageBytes {
		return &Error{"BatchRequestTooLong", fmt.Sprintf("batch requests cannot be longer than %d bytes, you have sent %d", maxMessageBytes, total)}
	}
	return nil
}

const maxEntries = 10

var entryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// CheckIDs returns why a batch call with entries of these ids fails as a whole.
//
// API Reference, Errors of SendMessageBatch.
func CheckIDs(ids []string) error {
	switch {
	case len(ids) == 0:
		return &Error{"EmptyBatchRequest", "there should be at least one entry in the request"}
	case len(ids) > maxEntries:
		return &Error{"TooManyEntriesInBatchRequest", fmt.Sprintf("maximum number of entries per request are %d, you have sent %d", maxEntries, len(ids))}
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		switch {
		case !entryID.MatchString(id):
			return &Error{"InvalidBatchEntryId", fmt.Sprintf("id %q is not a batch entry id", id)}
		case seen[id]:
			return &Error{"BatchEntryIdsNotDistinct", fmt.Sprintf("id %q repeated", id)}
		}
		seen[id] = true
	}
	return nil
}
