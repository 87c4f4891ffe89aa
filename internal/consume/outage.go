package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/wait"
)

// outage is about one thing that can be out of reach. It is tried again after pauses that double,
// with jitter, up to a longest one.
type outage struct {
	what           string
	first, longest time.Duration // pauses

	since time.Time // of the first failure in a row, zero when all is well
	last  time.Time // of the last one
	next  time.Time // when to try again
	tries int
	err   error
	// answered is when a ping was answered. That does not prove that work will succeed: the next
	// failure goes on from where the outage was.
	answered time.Time

	logged time.Time
	silent time.Duration // after logged
}

func (o *outage) down() bool { return !o.since.IsZero() && o.answered.IsZero() }

// exceeds reports whether the outage has gone on for at least d.
func (o *outage) exceeds(d time.Duration) bool { return !o.since.IsZero() && time.Since(o.since) >= d }

// mostDoubt is for how long an answered ping does not end the outage. Messages that were returned
// in it are there again by then.
const mostDoubt = 2 * sqs.MaxDelay

// longestSilence is how long an outage goes on without a line in the log.
const longestSilence = time.Minute

// failed notes a failure of something that began at that time. What had begun when the last failure
// was noted says nothing new.
func (o *outage) failed(ctx context.Context, log *slog.Logger, began time.Time, err error) {
	if o.down() && began.Before(o.last) {
		return
	}
	now := time.Now()
	if o.since.IsZero() || !o.answered.IsZero() && now.Sub(o.answered) > mostDoubt {
		o.since, o.tries, o.silent = now, 0, 0
	}
	o.answered = time.Time{}
	o.last, o.err = now, err
	pause := wait.Jitter(min(o.first<<min(o.tries, 16), o.longest))
	o.next = now.Add(pause)
	o.tries++
	if o.tries == 1 || now.Sub(o.logged) >= o.silent {
		problem, level := " is out of reach", slog.LevelWarn
		if fault.Cause(err) == message.CauseConfiguration {
			problem = " refuses the work"
			if fault.Of(err).Source == fault.Queue {
				level = slog.LevelDebug // it ends the run soon, with this error
			}
		}
		log.Log(ctx, level, o.what+problem, "error", err.Error(), "tries", o.tries, "next_try", pause.Round(time.Millisecond).String()) //nolint:sloglint // of constants
		o.logged, o.silent = now, min(max(2*o.silent, o.first), longestSilence)
	}
}

// pinged notes that a ping was answered.
func (o *outage) pinged(ctx context.Context, log *slog.Logger) {
	if o.down() {
		o.answered = time.Now()
		log.DebugContext(ctx, o.what+" answers") //nolint:sloglint // one of two constants
	}
}

// recovered notes that what was asked of it was done.
func (o *outage) recovered(ctx context.Context, log *slog.Logger) {
	if o.since.IsZero() {
		return
	}
	log.InfoContext(ctx, o.what+" is back", "after", time.Since(o.since).Round(time.Millisecond).String(), "tries", o.tries) //nolint:sloglint // one of two constants
	o.since, o.next, o.answered, o.err = time.Time{}, time.Time{}, time.Time{}, nil
}

// boundedTries is how often SQS may say that there is no such queue, or that access is denied,
// before that is believed: both can be said for some seconds after somebody has fixed them.
const boundedTries = 4

// hopeless reports whether there is no point in trying again.
func (o *outage) hopeless() bool {
	e := fault.Of(o.err)
	return e != nil && e.Source == fault.Queue && e.Cause == message.CauseConfiguration && o.tries >= boundedTries
}

// Open opens the queue of a URL, with the variable that it comes from. While the queue is out of
// reach it tries again, for as long as a run of these options would.
func Open(ctx context.Context, client *sqs.Client, url, setting string, o Options, log *slog.Logger) (*sqs.Queue, error) {
	queue := outage{what: "the queue", first: o.FirstPause, longest: o.LongestPause}
	for {
		began := time.Now()
		q, err := sqs.Open(ctx, client, url, setting)
		if err == nil {
			queue.recovered(ctx, log)
			return q, nil
		}
		if e := fault.Of(err); e != nil && e.Cause == message.CauseConfiguration && e.Code == "" {
			return nil, err // SQS was not even asked: the configuration is at fault
		}
		queue.failed(ctx, log, began, err)
		if o.givesUp(&queue) {
			return nil, queue.tooLong()
		}
		if queue.hopeless() || wait.For(ctx, time.Until(queue.next)) != nil {
			return nil, err
		}
	}
}

// givesUp reports whether the outage has gone on for longer than a run waits.
func (o Options) givesUp(out *outage) bool {
	return o.Mode != Forever && o.GiveUpAfter > 0 && out.down() && out.exceeds(o.GiveUpAfter)
}

// tooLong is the error of a run that gives up.
func (o *outage) tooLong() error {
	return fmt.Errorf("%s was out of reach for %v (--give-up-after): %w", o.what, time.Since(o.since).Round(time.Second), o.err)
}

// giveUp ends a run that has waited for an outage for too long.
func (r *run) giveUp(ctx context.Context) {
	for _, o := range r.outages() {
		if !r.ending.begun && r.givesUp(o) {
			r.end(ctx, EndedFailed, o.tooLong())
		}
	}
}

// queueFailed notes that a call to the queue failed that had begun then.
func (r *run) queueFailed(ctx context.Context, began time.Time, err error) {
	if r.ending.begun || errors.Is(err, context.Canceled) {
		return
	}
	r.queue.failed(ctx, r.Log, began, err)
	r.pollers = 1
	if r.queue.hopeless() {
		r.end(ctx, EndedFailed, err)
	}
}
