package consume

import (
	"time"

	"example.com/owner/sluice/internal/message"
)

// Summary is what a run did. Messages are counted for each delivery.
type Summary struct {
	// Received were received. Of these, GivenBack were returned without a transaction, and the run
	// skipped those that it had left in the queue before.
	Received  int `json:"received"`
	GivenBack int `json:"given_back"`
	Skipped   int `json:"skipped"`
	message.Counts
	// Models count the messages of each model, if there are several. Messages that no model took are in
	// none.
	Models []ModelCounts `json:"models,omitzero"`
	// DeadLettered of the rejected are in the dead-letter queue.
	DeadLettered int `json:"dead_lettered"`
	// Undeleted are done, and come once more because their deletion failed.
	Undeleted int `json:"undeleted"`
	// Passes are the ways of messages through the pipeline: one for each batch, and on a FIFO queue
	// one more for what a rejected message held up.
	Passes int `json:"transactions"`
	// Left are the messages that the run left in the queue because it could not do them, and Behind
	// those that wait for them in their FIFO group.
	Left   int `json:"left"`
	Behind int `json:"behind"`
	// Took is the whole run, Busy the time in which it had messages to do.
	Took time.Duration `json:"-"`
	Busy time.Duration `json:"-"`
	// Ended is why the run was over.
	Ended Ended `json:"ended"`
}

// ModelCounts is what became of a model's messages.
type ModelCounts struct {
	Model string `json:"model"`
	message.Counts
}

// Ended is why a run was over.
type Ended string

// The ends.
const (
	EndedEmpty   Ended = "empty"   // the queue was empty
	EndedBatches Ended = "batches" // as many transactions as were asked for
	EndedStopped Ended = "stopped" // the context ended
	EndedFailed  Ended = "failed"  // an error
)

// Add counts a pass.
func (s *Summary) Add(t *Transaction) {
	s.Passes++
	s.Counts.Add(t.Verdicts, t.Tallies.Sum())
	if len(t.Models) > 1 {
		s.addByModel(t)
	}
	s.DeadLettered += t.DeadLettered
	s.Undeleted += t.Undeleted
}

func (s *Summary) addByModel(t *Transaction) {
	if s.Models == nil {
		for _, name := range t.Models {
			s.Models = append(s.Models, ModelCounts{Model: name})
		}
	}
	for i := range t.Verdicts {
		if m := t.Verdicts[i].Model; m > 0 {
			s.Models[m-1].Verdict(&t.Verdicts[i])
		}
	}
	for m, tally := range t.Tallies {
		s.Models[m].Tally(tally)
	}
}

// Settled is how many messages do not come again.
func (s *Summary) Settled() int { return s.Done() + s.DeadLettered }

// busy measures the time in which a run has messages to do, from when they were asked for until the
// last one of them was settled. It leaves out the time in which the queue has none.
type busy struct {
	done        time.Duration
	since, last time.Time
}

// mostWait is how long a receive may take that is part of the work: a longer one has waited for a
// message to be sent.
const mostWait = 500 * time.Millisecond

// begin notes that a receive has brought messages, which began then.
func (b *busy) begin(receive time.Time) {
	if !b.since.IsZero() {
		return
	}
	if now := time.Now(); now.Sub(receive) > mostWait {
		receive = now
	}
	b.since, b.last = receive, receive
}

// work notes that messages were settled.
func (b *busy) work() {
	if !b.since.IsZero() {
		b.last = time.Now()
	}
}

// pause notes that there is nothing to do.
func (b *busy) pause() {
	b.done += b.last.Sub(b.since)
	b.since, b.last = time.Time{}, time.Time{}
}

func (b *busy) total() time.Duration { return b.done + b.last.Sub(b.since) }
