package consume

import (
	"time"

	"sluice/internal/message"
)

// Summary is what a run did. Messages are counted for each delivery.
type Summary struct {
	// Received were received. Of these, GivenBack were never tried, and
	// Skipped had been refused before by the same run.
	Received  int `json:"received"`
	GivenBack int `json:"given_back"`
	Skipped   int `json:"skipped"`
	message.Counts
	// DeadLettered of the rejected are in the dead-letter queue.
	DeadLettered int `json:"dead_lettered"`
	// Undeleted are done, and come once more because their deletion failed.
	Undeleted    int `json:"undeleted"`
	Transactions int `json:"transactions"`
	// Left are the messages that were in the queue at the end because this
	// run refused them, and Behind those that wait behind them in their group.
	Left   int `json:"left"`
	Behind int `json:"behind"`
	// Took is the whole run, Busy from its first message to when the last one
	// was settled.
	Took time.Duration `json:"-"`
	Busy time.Duration `json:"-"`
	// Ended says why the run was over.
	Ended Ended `json:"ended"`
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

// Add counts a transaction.
func (s *Summary) Add(t *Transaction) {
	s.Transactions++
	s.Counts.Add(t.Verdicts, t.Inserted)
	s.DeadLettered += t.DeadLettered
	s.Undeleted += t.Undeleted
}

// Settled is how many messages are done with.
func (s *Summary) Settled() int { return s.Stored + s.Duplicate + s.DeadLettered }
