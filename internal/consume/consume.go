package consume

import (
	"log/slog"
	"strconv"
	"strings"
	"time"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/wait"
)

// Mode is when a run is over.
type Mode int

const (
	// UntilEmpty ends when the queue is empty: nothing is visible, in flight
	// or delayed, or nothing is left but what this run could not do.
	UntilEmpty Mode = iota
	// Forever ends with its context.
	Forever
	// Batches ends after Options.Batches transactions, or when the queue is empty.
	Batches
)

// Options are what a user chooses. All but Mode, Delay and the zero durations of Linger,
// GiveUpAfter and CountEvery must be set; Defaults has good values.
type Options struct {
	Mode Mode
	// Batches is how many transactions a run of that mode makes.
	Batches int
	// BatchSize is how many messages a transaction takes at most.
	BatchSize int
	// Linger is how long a message waits for others of its batch.
	Linger time.Duration
	// Concurrency is how many transactions run at once.
	Concurrency int
	// Receivers is how many receives run at once, when each brings messages.
	Receivers int
	// Grace is how long a run may take to end when its context has ended.
	Grace time.Duration
	// GiveUpAfter is how long a run that is not Forever waits for a queue or a database that is out
	// of reach; 0 is forever.
	GiveUpAfter time.Duration
	// Patience is how long a run that has stored something waits for a configuration error to be
	// fixed: a password or a table that is being changed under it. A run that has not ends at once.
	Patience time.Duration
	// CountEvery is how often observers are told the queue's counts; 0 is never.
	CountEvery time.Duration
	// TransactionTime is how long a transaction may take, retries included.
	TransactionTime time.Duration
	// FirstPause and LongestPause are how long to wait before what is out of reach is tried again.
	FirstPause, LongestPause time.Duration
	// Delay is how long a returned message stays hidden that was received so often; nil is as the
	// function does. Tests shorten it.
	Delay func(receiveCount int) time.Duration
}

// Defaults are the options that the command has.
func Defaults() Options {
	return Options{
		BatchSize: 500, Linger: 200 * time.Millisecond, Concurrency: 2, Receivers: 8,
		Grace: 20 * time.Second, GiveUpAfter: 5 * time.Minute, Patience: time.Minute, TransactionTime: time.Minute,
		FirstPause: 500 * time.Millisecond, LongestPause: 30 * time.Second,
	}
}

// Consumer is what a run works with.
type Consumer struct {
	Queue    *sqs.Queue
	Pipeline *ingest.Pipeline
	// DeadLetters is nil when rejected messages are left to the queue.
	DeadLetters *sqs.DeadLetter
	Log         *slog.Logger
	// Observers are told what happens, one call at a time.
	Observers []Observer
	Options
}

// Observer is told what a run does. The run calls its methods from one goroutine, and waits for
// them.
type Observer interface {
	// Received: a receive has ended.
	Received(messages int, err error)
	// Transacted: a transaction has ended and its messages are settled.
	Transacted(*Transaction)
	// Holds: how many messages are in hand.
	Holds(messages int)
	// Counted: how many messages the queue has.
	Counted(sqs.Counts)
	// Unreachable: since when the database and the queue are out of reach, zero when they are not.
	Unreachable(database, queue time.Time)
	// Waits: what the run waits for when it can receive nothing, zero when it does not wait.
	Waits(Waits)
}

// Waits are messages that the queue has and does not give out: what a run waits for that ends when the
// queue is empty.
type Waits struct {
	// Elsewhere are in flight: others hold them, or a run that was killed held them.
	Elsewhere int
	// Returned are those that this run has returned with a back-off, or could not delete.
	Returned int
	Delayed  int
	// Unseen are visible, and were not received all the same, where there are no others.
	Unseen int
	// AtMost is when the last of them is visible, unless somebody hides it again; 0 if it is not known.
	AtMost time.Duration
}

// String says it for people: "6 in flight elsewhere, up to 30s".
func (w Waits) String() string {
	var parts []string
	for _, part := range []struct {
		n    int
		text string
	}{
		{w.Elsewhere, "in flight elsewhere"}, {w.Returned, "that come again after an error"}, {w.Delayed, "delayed"}, {w.Unseen, "not given out yet"},
	} {
		if part.n > 0 {
			parts = append(parts, strconv.Itoa(part.n)+" "+part.text)
		}
	}
	if w.AtMost > 0 {
		parts = append(parts, "up to "+wait.Text(w.AtMost))
	}
	return strings.Join(parts, ", ")
}

// Transaction is what became of the messages of one transaction.
type Transaction struct {
	// Report has a verdict on each message. Messages that the dead-letter queue did not take are
	// Returned.
	ingest.Report
	// Began and Ended are when the pipeline was given the messages, and when it had an answer for
	// each.
	Began, Ended time.Time
	// Undeleted is how many are done but not deleted; they come again.
	Undeleted int
	// Busy is for how long the run has had messages to do, so far.
	Busy time.Duration
}
