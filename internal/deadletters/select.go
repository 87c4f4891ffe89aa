package deadletters

import (
	"cmp"
	"slices"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// Two reasons that no note has: they are of messages without one.
const (
	// reasonReceives: SQS moved it after the maximum number of receives.
	reasonReceives message.Reason = "too_many_receives"
	// reasonUnknown: someone sent it, or it had no room for a note.
	reasonUnknown message.Reason = "unknown"
)

// Reasons lists what Reason can return, in order.
func Reasons() []message.Reason {
	all := append(message.Reasons(), reasonReceives, reasonUnknown)
	slices.Sort(all)
	return all
}

// Explain returns a sentence that says what a reason means.
func Explain(r message.Reason) string {
	switch r {
	case reasonReceives:
		return "SQS moved it here after the maximum number of receives of its queue"
	case reasonUnknown:
		return "neither sluice nor SQS says why it is here: someone sent it, or it had no room for the reason"
	default:
		return cmp.Or(r.Explain(), "a reason of a newer sluice")
	}
}

// Reason returns why a message is in a dead-letter queue: of several problems, the first.
func Reason(m *sqs.Received) message.Reason {
	switch {
	case m.Note != nil:
		return m.Note.Reason
	case m.SourceARN != "":
		return reasonReceives
	default:
		return reasonUnknown
	}
}

// FirstSent returns when a message was sent to the queue that it came from; ok is
// false if it does not say.
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

// Selection selects messages; the zero value selects all.
type Selection struct {
	// Reasons selects messages by their Reason, or all if it is empty.
	Reasons []message.Reason
	// Models selects messages that one of them has rejected, or all if it is empty.
	Models []string
	// OlderThan and NewerThan are ages, counted from FirstSent; 0 is no limit.
	OlderThan, NewerThan time.Duration
}

func (s *Selection) has(m *sqs.Received, now time.Time) bool {
	if len(s.Reasons) > 0 && !slices.Contains(s.Reasons, Reason(m)) {
		return false
	}
	if len(s.Models) > 0 && (m.Note == nil || !slices.Contains(s.Models, m.Note.Model)) {
		return false
	}
	if s.OlderThan == 0 && s.NewerThan == 0 {
		return true
	}
	at, ok := FirstSent(m)
	age := now.Sub(at)
	return ok && (s.OlderThan == 0 || age > s.OlderThan) && (s.NewerThan == 0 || age < s.NewerThan)
}
