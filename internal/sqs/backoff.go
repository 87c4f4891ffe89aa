package sqs

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"example.com/owner/sluice/internal/message"
)

// FirstDelay is the longest delay of a message that is returned for the first time, and MaxDelay
// that of any message.
const (
	FirstDelay = 15 * time.Second
	MaxDelay   = 15 * time.Minute
)

// Delay returns how long a returned message stays hidden: FirstDelay, doubled with each further
// receive up to MaxDelay, with equal jitter (half of it fixed, half random). random returns a
// number in [0, 1).
//
// The first delay is short, so that a blip costs seconds: the queue's visibility timeout, which
// must be six times the function's, does not apply. Even half of it is longer than a function runs
// after it has set a delay, so no message is delivered again before its batch is answered.
func Delay(receiveCount int, random func() float64) time.Duration {
	full := FirstDelay
	for n := 1; n < receiveCount && full < MaxDelay; n++ {
		full *= 2
	}
	half := min(full, MaxDelay) / 2
	return half + time.Duration(random()*float64(half))
}

// Delays returns how long each message stays hidden: as delay says, and on a FIFO queue as long as the
// first of its group. SQS delivers nothing of a group while one of its messages is hidden, so the
// longest delay of a group would delay all of it.
func Delays(messages []*message.Message, delay func(receiveCount int) time.Duration) []time.Duration {
	all := make([]time.Duration, len(messages))
	groups := map[string]time.Duration{}
	for i, m := range messages {
		d, ok := groups[m.Group]
		if !m.FIFO || !ok {
			d = delay(m.ReceiveCount)
		}
		if all[i] = d; m.FIFO {
			groups[m.Group] = d
		}
	}
	return all
}

// Backoff delays the returned messages of one queue. Lambda does not slow down when a function
// reports failures: in an outage, messages would use up the receives that the queue allows within
// minutes.
type Backoff struct {
	// Delay is Delay with random jitter; tests shorten it.
	Delay func(receiveCount int) time.Duration

	target *target
}

// Backoff returns the Backoff of the queue that an event's eventSourceARN names.
func (c *Client) Backoff(ctx context.Context, queueARN string) (*Backoff, error) {
	queueURL, err := c.URLFromARN(ctx, queueARN)
	if err != nil {
		return nil, err
	}
	return c.backoff(queueURL), nil
}

func (c *Client) backoff(queueURL string) *Backoff {
	return &Backoff{target: c.target(queueURL, ""), Delay: func(receiveCount int) time.Duration { return Delay(receiveCount, rand.Float64) }}
}

// Return sets for each message how long it stays hidden, and returns for how many it failed, and the
// gravest error, for the log. Failing is harmless: such a message reappears when its visibility
// timeout expires. Return makes one call for ten messages, up to 64 at once.
func (b *Backoff) Return(ctx context.Context, messages []*message.Message) (failed int, err error) {
	return b.ReturnAfter(ctx, messages, Delays(messages, b.Delay))
}

// ReturnAfter is Return with the delay of each message.
func (b *Backoff) ReturnAfter(ctx context.Context, messages []*message.Message, after []time.Duration) (failed int, err error) {
	var handles []string
	var delays []time.Duration
	for i, d := range after {
		if handle := messages[i].ReceiptHandle; handle != "" {
			handles, delays = append(handles, handle), append(delays, d)
		}
	}
	unset, err := b.target.changeVisibility(ctx, handles, func(i int) time.Duration { return delays[i] })
	if err == nil && len(handles) < len(messages) {
		err = b.target.failure(message.CauseTransient, changeVisibility, "messages came without a receiptHandle")
	}
	return len(messages) - len(handles) + len(unset), err
}

const changeVisibility = "ChangeMessageVisibility"

// changeVisibility sets after what delay messages become visible, in seconds rounded up.
func (t *target) changeVisibility(ctx context.Context, handles []string, delay func(i int) time.Duration) (unset []int, err error) {
	j := t.job(changeVisibility, len(handles))
	j.parallel = maxInFlight
	j.call = func(ctx context.Context, entries []int) error {
		in := sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &t.url, Entries: make([]types.ChangeMessageVisibilityBatchRequestEntry, len(entries))}
		for k, i := range entries {
			in.Entries[k] = types.ChangeMessageVisibilityBatchRequestEntry{
				Id: new(strconv.Itoa(k)), ReceiptHandle: &handles[i], VisibilityTimeout: seconds(delay(i)),
			}
		}
		out, err := t.client.api.ChangeMessageVisibilityBatch(ctx, &in, t.options)
		if err != nil {
			return err
		}
		confirm(j, entries, out.Successful, func(e types.ChangeMessageVisibilityBatchResultEntry) *string { return e.Id }, out.Failed)
		return nil
	}
	j.run(ctx, slices.Chunk(upTo(len(handles)), maxEntries))
	return j.result()
}

// maxVisibility is SQS's longest visibility timeout.
const maxVisibility = 12 * time.Hour

func seconds(d time.Duration) int32 {
	d = max(0, min(d, maxVisibility))
	return int32((d + time.Second - 1) / time.Second)
}
