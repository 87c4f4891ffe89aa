package main

import (
	"io"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/sqs"
)

// consumerWatch shows a run to people: a bar on a terminal, elsewhere a line of
// the log every minute.
type consumerWatch struct {
	log *slog.Logger

	mu     sync.Mutex // for the terminal: many goroutines write to the log
	bar    *progressbar.ProgressBar
	w      io.Writer
	sum    consume.Summary
	lag    time.Duration
	queued int
	logged time.Time

	rate      float64 // messages per second, over at least the second before rated
	rated     time.Time
	ratedDone int
}

// logEvery is how often a run reports to the log.
const logEvery = time.Minute

func (con *console) watchConsumer() *consumerWatch {
	w := &consumerWatch{w: con.stderr, logged: time.Now(), rated: time.Now()}
	if !con.animates() {
		w.log = con.log()
		return w
	}
	w.bar = con.bar("consuming", 1, progressbar.OptionSetPredictTime(false))
	level := config.LogLevel(con.environ)
	if level == slog.LevelInfo {
		level = slog.LevelWarn // the bar shows the rest
	}
	w.log = slog.New(slog.NewTextHandler(aboveBar{w}, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
		if at.Key == slog.TimeKey {
			return slog.String(slog.TimeKey, at.Value.Time().Format(time.TimeOnly))
		}
		return at
	}}))
	return w
}

// aboveBar writes lines of the log above the bar.
type aboveBar struct{ w *consumerWatch }

func (a aboveBar) Write(line []byte) (int, error) {
	a.w.mu.Lock()
	defer a.w.mu.Unlock()
	_ = a.w.bar.Clear() // the terminal may be gone
	return a.w.w.Write(line)
}

// Received implements consume.Observer.
func (w *consumerWatch) Received(messages int, _ error) { w.sum.Received += messages }

// Transacted implements consume.Observer.
func (w *consumerWatch) Transacted(t *consume.Transaction) {
	w.sum.Add(t)
	w.lag = t.Oldest(t.Ended)
	w.draw()
	if w.bar == nil && time.Since(w.logged) >= logEvery {
		w.logged = time.Now()
		w.log.Info("consumed", "received", w.sum.Received, "stored", w.sum.Stored, "duplicate", w.sum.Duplicate, "rejected", w.sum.Rejected,
			"returned", w.sum.Returned, "lag_seconds", w.lag.Round(time.Second).Seconds())
	}
}

// Holds implements consume.Observer.
func (w *consumerWatch) Holds(int) {}

// Counted implements consume.Observer.
func (w *consumerWatch) Counted(c sqs.Counts) {
	w.queued = w.sum.Settled() + c.Visible + c.InFlight + c.Delayed
	w.draw()
}

// Unreachable implements consume.Observer.
func (w *consumerWatch) Unreachable(_, _ time.Time) {}

// draw shows how many messages are settled, of how many there seem to be.
func (w *consumerWatch) draw() {
	if w.bar == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	done := w.sum.Settled()
	total := max(w.queued, done)
	text := number(done) + " of " + number(total) + ": " + number(w.sum.Stored) + " stored, " + number(w.sum.Rejected) + " rejected"
	if w.sum.Returned > 0 {
		text += ", " + number(w.sum.Returned) + " returned"
	}
	if w.lag >= time.Second {
		text += ", lag " + w.lag.Round(time.Second).String()
	}
	if now := time.Now(); now.Sub(w.rated) >= time.Second {
		w.rate, w.rated, w.ratedDone = float64(done-w.ratedDone)/now.Sub(w.rated).Seconds(), now, done
	}
	text += ", " + number(int(math.Round(w.rate))) + "/s"
	// A bar that is full draws no more. So this one counts thousandths of messages,
	// and one more: it is never full.
	w.bar.ChangeMax(total*1000 + 1)
	_ = w.bar.Set(done * 1000) // the terminal may be gone
	w.bar.Describe(text)       // draws
}

func (w *consumerWatch) end() {
	if w.bar == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.bar.Finish() // the terminal may be gone
}
