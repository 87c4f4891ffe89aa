package deadletters

import (
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/sqs"
)

// Two reasons that no note has: why a message without one is there.
const (
	// ReasonReceives: SQS moved it, after as many receives as the queue allows.
	ReasonReceives message.Reason = "too_many_receives"
	// ReasonUnknown: somebody sent it, or it had no room for a note.
	ReasonUnknown message.Reason = "unknown"
)

// Reasons lists what Reason can be, in order.
func Reasons() []message.Reason {
	all := append(message.Reasons(), ReasonReceives, ReasonUnknown)
	slices.Sort(all)
	return all
}

// Explain says in a sentence what a reason means.
func Explain(r message.Reason) string {
	switch r {
	case ReasonReceives:
		return "SQS moved it here after as many receives as its queue allows"
	case ReasonUnknown:
		return "neither sluice nor SQS says why it is here: somebody sent it, or it had no room for the reason"
	default:
		return r.Explain()
	}
}

// Reason is why a message is in a dead-letter queue.
func Reason(m *sqs.Received) message.Reason {
	switch {
	case m.Note != nil:
		return m.Note.Reason
	case m.SourceARN != "":
		return ReasonReceives
	default:
		return ReasonUnknown
	}
}

// FirstSent is when a message was sent to the queue that it came from; ok is
// false when nothing says so.
func FirstSent(m *sqs.Received) (at time.Time, ok bool) {
	switch {
	case m.Note != nil && m.Note.SentTimestamp > 0:
		return time.UnixMilli(m.Note.SentTimestamp).UTC(), true
	case m.HasSent:
		return time.UnixMilli(m.SentMillis).UTC(), true
	default:
		return time.Time{}, false
	}
}

// Selection says which messages are meant; the zero value means all.
type Selection struct {
	// Reasons are the reasons that are meant, all when there are none.
	Reasons []message.Reason
	// OlderThan and NewerThan are ages, counted from FirstSent; 0 is no limit.
	OlderThan, NewerThan time.Duration
}

func (s *Selection) has(m *sqs.Received, now time.Time) bool {
	if len(s.Reasons) > 0 && !slices.Contains(s.Reasons, Reason(m)) {
		return false
	}
	if s.OlderThan == 0 && s.NewerThan == 0 {
		return true
	}
	at, ok := FirstSent(m)
	age := now.Sub(at)
	return ok && (s.OlderThan == 0 || age > s.OlderThan) && (s.NewerThan == 0 || age < s.NewerThan)
}
