package sqs

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/wait"
)

// maxEntries is how many entries a batch call can have.
const maxEntries = 10

// job is one operation on many entries, by batch calls. An entry is its index; each is in one call
// at a time, so outcomes need no lock.
type job struct {
	*target
	// action is the operation's name in IAM.
	action string
	// call does the operation for at most maxEntries entries, and passes the answer to confirm.
	call func(ctx context.Context, entries []int) error
	// tries is how often an entry is tried that the server fails on.
	tries int
	// parallel is how many calls may run at once.
	parallel int
	outcomes []outcome

	worked atomic.Bool  // some call was answered
	failed atomic.Int64 // calls that were not
	// refused is why no further call is made, nil if calls go on.
	refused atomic.Pointer[fault.Error]
}

// outcome is the outcome of an entry.
type outcome struct {
	err *fault.Error // why it is not done, nil if it is
	// doubt: it may be done nevertheless. The call was made, and its answer does not say.
	doubt bool
	again bool // another try may do
}

func (t *target) job(action string, entries int) *job {
	j := &job{target: t, action: action, tries: 1, parallel: 16, outcomes: make([]outcome, entries)}
	untried := t.failure(message.CauseTransient, action, "not tried")
	for i := range j.outcomes {
		j.outcomes[i].err = untried
	}
	return j
}

// result lists the entries that are not done, and returns the gravest error.
func (j *job) result() (undone []int, err error) {
	var worst *fault.Error
	for i, o := range j.outcomes {
		if o.err == nil {
			continue
		}
		undone = append(undone, i)
		if worst == nil || rank(o.err) > rank(worst) {
			worst = o.err
		}
	}
	if worst == nil {
		return nil, nil
	}
	return undone, worst
}

// wasRefused reports whether an error is the answer of a server that has not done the operation. A
// server that failed may have done it; one that answers 503 did not begin.
func wasRefused(err error) bool {
	_, status := credentials.Answer(err)
	return status >= 300 && status < 500 || status == http.StatusServiceUnavailable
}

// refusedOnly repeats a call only if it was refused.
type refusedOnly struct{ aws.Retryer }

// IsErrorRetryable implements aws.Retryer.
func (r refusedOnly) IsErrorRetryable(err error) bool {
	return wasRefused(err) && r.Retryer.IsErrorRetryable(err)
}

// SendOnce is Send for messages that are still elsewhere while it is not known whether they were
// sent: it does not repeat a call that may have been done, and returns its messages in unknown
// instead of unsent. To a FIFO queue it repeats calls as Send does, because SQS drops the
// repetition.
func (q *Queue) SendOnce(ctx context.Context, messages []Outgoing) (unsent, unknown []int, err error) {
	once := *q.target
	if !once.fifo {
		once.options = func(o *sqs.Options) {
			q.target.options(o)
			o.Retryer = refusedOnly{o.Retryer}
		}
	}
	j := once.send(ctx, messages)
	undone, err := j.result()
	for _, i := range undone {
		if j.outcomes[i].doubt {
			unknown = append(unknown, i)
		} else {
			unsent = append(unsent, i)
		}
	}
	return unsent, unknown, err
}

// run makes the calls for the batches, several at a time.
func (j *job) run(ctx context.Context, batches iter.Seq[[]int]) {
	var calls sync.WaitGroup
	slots := make(chan struct{}, j.parallel)
	for entries := range batches {
		slots <- struct{}{}
		calls.Go(func() {
			j.try(ctx, entries)
			<-slots
		})
	}
	calls.Wait()
}

// upTo returns the indexes of n entries.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// try makes the call for a batch, and records the outcome of each entry. A panic costs this batch.
func (j *job) try(ctx context.Context, entries []int) {
	defer func() {
		if cause := recover(); cause != nil {
			j.fail(entries, j.failure(message.CausePanic, j.action, "a panic: "+fault.Panic(cause)), true)
		}
	}()
	for tried := 1; len(entries) > 0; tried++ {
		if stop := j.stop(ctx); stop != nil {
			j.fail(entries, stop, false)
			return
		}
		var reached atomic.Bool // a server
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { reached.Store(true) }}
		if err := j.call(httptrace.WithClientTrace(ctx, trace), entries); err != nil {
			ofEntry := ctx.Err() == nil && refusalOf(err) == entryRefused
			if ofEntry && len(entries) > 1 {
				// Each on its own, so that the one at fault costs only itself.
				for _, entry := range entries {
					j.try(ctx, []int{entry})
				}
				return
			}
			e := j.fault(ctx, j.action, err)
			j.learn(e, ofEntry)
			j.fail(entries, e, reached.Load() && !wasRefused(err))
			return
		}
		j.worked.Store(true)
		entries = slices.DeleteFunc(slices.Clone(entries), func(entry int) bool { return !j.outcomes[entry].again })
		if tried == j.tries {
			return
		}
		if len(entries) > 0 {
			_ = wait.For(ctx, wait.Jitter(time.Duration(tried)*100*time.Millisecond)) // the next round asks ctx
		}
	}
}

func (j *job) fail(entries []int, err *fault.Error, doubt bool) {
	for _, entry := range entries {
		j.outcomes[entry] = outcome{err: err, doubt: doubt}
	}
}

// learn records what a failed call says about the next ones.
func (j *job) learn(err *fault.Error, ofEntry bool) {
	if err.Cause == message.CauseConfiguration ||
		!ofEntry && j.failed.Add(1) >= int64(j.parallel) && !j.worked.Load() {
		j.refused.CompareAndSwap(nil, err)
	}
}

// stop returns why to make no further call: the context has ended, SQS refuses all calls, or as
// many as may run at once have failed and none was answered.
func (j *job) stop(ctx context.Context) *fault.Error {
	if j.invalid != nil {
		return j.invalid
	}
	if err := ctx.Err(); err != nil {
		return j.fault(ctx, j.action, err)
	}
	return j.refused.Load()
}

// confirm reads both lists of the answer to a call with these entries: an entry is done if it is
// listed as successful, and only there.
func confirm[E any](j *job, entries []int, successful []E, id func(E) *string, failed []types.BatchResultErrorEntry) {
	j.fail(entries, j.failure(message.CauseTransient, j.action, "the answer does not mention all entries"), true)
	entry := func(id *string) *outcome {
		k, err := strconv.Atoi(aws.ToString(id))
		if err != nil || k < 0 || k >= len(entries) {
			return &outcome{} // of no entry
		}
		return &j.outcomes[entries[k]]
	}
	for _, e := range successful {
		*entry(id(e)) = outcome{}
	}
	for _, f := range failed {
		err, again := j.entryFault(j.action, f)
		*entry(f.Id) = outcome{err: err, again: again}
	}
}
