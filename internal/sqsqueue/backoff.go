package sqsqueue

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"sluice/internal/message"
)

// MaxDelay is how long a returned message stays away at most, unless its
// queue's own visibility is longer.
const MaxDelay = 15 * time.Minute

// Delay is how long a message stays away that was received so many times:
// the queue's visibility the first time, doubled each time up to MaxDelay,
// with equal jitter (half of it fixed, half random), and never shorter than
// the visibility. random gives a number in [0, 1).
func Delay(receiveCount int, visibility time.Duration, random func() float64) time.Duration {
	visibility = max(visibility, time.Second)
	full := visibility
	for n := 1; n < receiveCount && full < MaxDelay; n++ {
		full *= 2
	}
	full = max(min(full, MaxDelay), visibility)
	return jitter(max(full/2, visibility), full, random)
}

// Returned is a message that goes back to its queue.
type Returned struct {
	ReceiptHandle string
	ReceiveCount  int
}

// Backoff keeps returned messages of one queue away for a while: Lambda does
// not slow down when a function reports failures, and an outage would spend
// the receives that the queue allows within minutes.
type Backoff struct {
	target *target

	mu         sync.Mutex
	visibility time.Duration
	// ask is when to ask SQS for the visibility; never, when it is known.
	ask    time.Time
	known  bool
	random func() float64
}

// DefaultVisibility is assumed for a queue that does not tell: the least that
// fits a function of 30 seconds (six times its time-out).
const DefaultVisibility = 3 * time.Minute

// askAgain is how long a visibility is assumed that SQS did not tell.
const askAgain = 5 * time.Minute

// Backoff is for the queue that an event's eventSourceARN names, the same one
// each time, so that what it learns is kept.
func (c *Client) Backoff(ctx context.Context, queueARN string) (*Backoff, error) {
	if b, ok := c.backoffs.Load(queueARN); ok {
		return b.(*Backoff), nil //nolint:errcheck // nothing else is stored there
	}
	queueURL, err := c.URLFromARN(ctx, queueARN)
	if err != nil {
		return nil, err
	}
	b, _ := c.backoffs.LoadOrStore(queueARN, c.BackoffFor(queueURL, 0))
	return b.(*Backoff), nil //nolint:errcheck // as above
}

// BackoffFor is for the queue of a URL. Its visibility is asked of SQS when it
// is 0, at the first need.
func (c *Client) BackoffFor(queueURL string, visibility time.Duration) *Backoff {
	return &Backoff{target: c.target(queueURL, ""), visibility: visibility, known: visibility > 0, random: rand.Float64}
}

// Return sets for each message how long it stays away, and returns for how
// many it did, for how many it did not, and the gravest error, for the log.
// Failing is harmless: such a message comes back when the visibility ends that
// it was received with. It makes a call for ten messages, up to 64 at once.
func (b *Backoff) Return(ctx context.Context, messages []Returned) (set, failed int, err error) {
	visibility := b.ownVisibility(ctx)
	var handles []string
	var delays []time.Duration
	for _, m := range messages {
		if m.ReceiptHandle != "" {
			handles = append(handles, m.ReceiptHandle)
			delays = append(delays, Delay(m.ReceiveCount, visibility, b.random))
		}
	}
	unset, err := b.target.changeVisibility(ctx, handles, func(i int) time.Duration { return delays[i] })
	if err == nil && len(handles) < len(messages) {
		err = &QueueError{Cause: message.CauseMoment, text: changeVisibility + " on " + b.target.where() + ": messages came without a receiptHandle"}
	}
	set = len(handles) - len(unset)
	return set, len(messages) - set, err
}

// ownVisibility is the queue's. It is asked for once; while it cannot be had
// (the role may lack sqs:GetQueueAttributes, the network may be down) a
// default is assumed, so that asking does not take the time of each invocation.
func (b *Backoff) ownVisibility(ctx context.Context) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known || time.Now().Before(b.ask) {
		return b.visibility
	}
	b.visibility, b.ask = DefaultVisibility, time.Now().Add(askAgain)
	attributes, err := b.target.attributes(ctx, []types.QueueAttributeName{types.QueueAttributeNameVisibilityTimeout}, func(o *sqs.Options) { o.RetryMaxAttempts = 1 })
	if err != nil {
		return b.visibility
	}
	if seconds, err := strconv.Atoi(attributes[string(types.QueueAttributeNameVisibilityTimeout)]); err == nil && seconds >= 0 {
		b.visibility, b.known = time.Duration(seconds)*time.Second, true
	}
	return b.visibility
}

const changeVisibility = "ChangeMessageVisibility"

// changeVisibility sets when messages become visible, from now, in seconds
// rounded up.
func (t *target) changeVisibility(ctx context.Context, handles []string, delay func(i int) time.Duration) (unset []int, err error) {
	j := t.job(changeVisibility, len(handles))
	j.parallel = maxInFlight
	j.call = func(ctx context.Context, entries []int) ([]*QueueError, error) {
		in := sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &t.url, Entries: make([]types.ChangeMessageVisibilityBatchRequestEntry, len(entries))}
		for k, i := range entries {
			in.Entries[k] = types.ChangeMessageVisibilityBatchRequestEntry{
				Id: entryID(k), ReceiptHandle: &handles[i], VisibilityTimeout: seconds(delay(i)),
			}
		}
		out, err := t.client.api.ChangeMessageVisibilityBatch(ctx, &in, t.options)
		if err != nil {
			return nil, err
		}
		return j.confirm(len(entries), ids(out.Successful, func(e types.ChangeMessageVisibilityBatchResultEntry) *string { return e.Id }), out.Failed), nil
	}
	j.run(ctx, tens(len(handles)))
	return j.result()
}

// maxVisibility is the longest that SQS keeps a message invisible for.
const maxVisibility = 12 * time.Hour

func seconds(d time.Duration) int32 {
	d = max(0, min(d, maxVisibility))
	return int32((d + time.Second - 1) / time.Second)
}
