package consume

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"sluice/internal/fault"
	"sluice/internal/message"
	"sluice/internal/sqs"
)

// trouble is about one thing that can be out of reach. It is tried again
// after pauses that double, with jitter, up to a longest one.
type trouble struct {
	what           string
	first, longest time.Duration

	since time.Time // of the first failure in a row, zero when all is well
	last  time.Time // of the last one
	next  time.Time // when to try again
	tries int
	err   error
	// answered is when a ping was answered, which does not prove that work
	// will succeed: the next failure goes on from where the outage was.
	answered time.Time

	logged time.Time
	silent time.Duration // after logged
}

func (t *trouble) down() bool { return !t.since.IsZero() && t.answered.IsZero() }

// mostDoubt is how long a ping is doubted. Messages that were given back in
// the outage are there again by then.
const mostDoubt = 2 * sqs.MaxDelay

// within says whether it has not gone on for longer than that.
func (t *trouble) within(d time.Duration) bool { return t.since.IsZero() || time.Since(t.since) < d }

// longestSilence is how long an outage goes on without a line in the log.
const longestSilence = 10 * time.Minute

// met notes a failure of something that began at that time. What had begun
// when the last failure was noted says nothing new.
func (t *trouble) met(ctx context.Context, log *slog.Logger, began time.Time, err error) {
	if t.down() && began.Before(t.last) {
		return
	}
	now := time.Now()
	if t.since.IsZero() || !t.answered.IsZero() && now.Sub(t.answered) > mostDoubt {
		t.since, t.tries, t.silent = now, 0, 0
	}
	t.answered = time.Time{}
	t.last, t.err = now, err
	pause := min(t.first<<min(t.tries, 16), t.longest)
	pause = pause/2 + rand.N(pause/2+1) //nolint:gosec // jitter
	t.next = now.Add(pause)
	t.tries++
	if t.tries == 1 || now.Sub(t.logged) >= t.silent {
		trouble, level := " is out of reach", slog.LevelWarn
		if cause, _ := message.FaultOf(err); cause == message.CauseConfiguration {
			trouble = " refuses the work"
			if e := fault.Of(err); e != nil && e.Source == fault.Queue {
				level = slog.LevelDebug // it ends the run soon, with this error
			}
		}
		log.Log(ctx, level, t.what+trouble, "error", err.Error(), "tries", t.tries, "next_try", pause.Round(time.Millisecond).String()) //nolint:sloglint // of constants
		t.logged, t.silent = now, min(max(2*t.silent, t.first), longestSilence)
	}
}

// pinged notes that it answers.
func (t *trouble) pinged(ctx context.Context, log *slog.Logger) {
	if t.down() {
		t.answered = time.Now()
		log.DebugContext(ctx, t.what+" answers") //nolint:sloglint // one of two constants
	}
}

// over notes that it has done what was asked of it.
func (t *trouble) over(ctx context.Context, log *slog.Logger) {
	if t.since.IsZero() {
		return
	}
	log.InfoContext(ctx, t.what+" is back", "after", time.Since(t.since).Round(time.Millisecond).String(), "tries", t.tries) //nolint:sloglint // one of two constants
	t.since, t.next, t.answered, t.err = time.Time{}, time.Time{}, time.Time{}, nil
}

// boundedTries is how often SQS may say that there is no such queue, or that
// access is denied, before that is believed: both can be said for some
// seconds after somebody has mended them.
const boundedTries = 4

// final says whether trying again is pointless.
func (t *trouble) final() bool {
	e := fault.Of(t.err)
	return e != nil && e.Source == fault.Queue && e.Cause == message.CauseConfiguration && t.tries >= boundedTries
}

// Open opens the queue of a URL, with the variable that it comes from. While
// it is out of reach it is tried again, for as long as a run of these options
// would.
func Open(ctx context.Context, client *sqs.Client, url, setting string, o Options, log *slog.Logger) (*sqs.Queue, error) {
	t := trouble{what: "the queue", first: o.FirstPause, longest: o.LongestPause}
	for {
		began := time.Now()
		q, err := sqs.Open(ctx, client, url, setting)
		if err == nil {
			t.over(ctx, log)
			return q, nil
		}
		if e := fault.Of(err); e != nil && e.Cause == message.CauseConfiguration && e.Code == "" {
			return nil, err // SQS was not even asked: the configuration is at fault
		}
		t.met(ctx, log, began, err)
		if t.final() || o.tired(&t) {
			return nil, err
		}
		timer := time.NewTimer(time.Until(t.next))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		}
	}
}

// tired says whether the run has put up with it for long enough.
func (o Options) tired(t *trouble) bool {
	return o.Mode != Forever && o.GiveUpAfter > 0 && t.down() && time.Since(t.since) >= o.GiveUpAfter
}
