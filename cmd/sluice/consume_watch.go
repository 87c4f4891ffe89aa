package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/wait"
)

// consumerWatch shows a run to people: a bar on a terminal, elsewhere a line of
// the log every minute.
type consumerWatch struct {
	log     *slog.Logger
	forever bool

	mu     sync.Mutex // for the terminal: many goroutines write to the log
	bar    *progressbar.ProgressBar
	w      io.Writer
	room   func() int // how many columns the bar's text has
	sum    consume.Summary
	lag    time.Duration
	queue  sqs.Counts
	queued int // how many messages there seem to be, done ones too
	waits  consume.Waits
	down   [2]time.Time
	logged time.Time

	rate      float64 // messages per second in which there were some, over at least one of them before rated
	rated     time.Duration
	ratedDone int
}

// logEvery is how often a run reports to the log.
const logEvery = time.Minute

func (con *console) watchConsumer(forever bool) *consumerWatch {
	w := &consumerWatch{forever: forever, w: con.stderr, logged: time.Now(), room: con.barRoom}
	if !con.animates() {
		w.log = con.log()
		return w
	}
	of := int64(1)
	if forever {
		of = -1 // there is no end that a part of could be done
	}
	w.bar = con.bar("consuming", of, progressbar.OptionSetPredictTime(false), progressbar.OptionSpinnerType(14))
	level := config.LogLevel(con.environ)
	quiet := level >= slog.LevelInfo
	if level == slog.LevelInfo {
		level = slog.LevelWarn // the bar shows the rest
	}
	var lines slog.Handler = slog.NewTextHandler(aboveBar{w}, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, at slog.Attr) slog.Attr {
		if at.Key == slog.TimeKey {
			return slog.String(slog.TimeKey, at.Value.Time().Format(time.TimeOnly))
		}
		return at
	}})
	if quiet {
		lines = summedUp{lines}
	}
	w.log = slog.New(lines)
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

// summedUp drops the lines of single messages that were rejected: the bar has their reasons with how
// many there are, and peek has each of them.
type summedUp struct{ slog.Handler }

// Handle implements slog.Handler.
func (s summedUp) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "message rejected" || r.Message == "more messages rejected" {
		return nil
	}
	return s.Handler.Handle(ctx, r)
}

// Received implements consume.Observer.
func (w *consumerWatch) Received(messages int, err error) {
	w.sum.Received += messages
	if messages == 0 && err == nil {
		w.lag = 0
	}
}

// Transacted implements consume.Observer.
func (w *consumerWatch) Transacted(t *consume.Transaction) {
	w.sum.Add(t)
	w.sum.Busy = t.Busy
	w.lag = t.Oldest(t.Ended)
	w.draw()
	if w.bar == nil && time.Since(w.logged) >= logEvery {
		w.logged = time.Now()
		line := []any{"received", w.sum.Received, "stored", w.sum.Stored, "duplicate", w.sum.Duplicate}
		for _, o := range w.sum.Special() {
			if o.Messages > 0 {
				line = append(line, o.Word, o.Messages)
			}
		}
		w.log.Info("consumed", append(line, "rejected", w.sum.Rejected,
			"returned", w.sum.Returned, "lag_seconds", w.lag.Round(time.Second).Seconds(), "per_second", perSecond(&w.sum))...)
	}
}

// Holds implements consume.Observer.
func (w *consumerWatch) Holds(int) {}

// Counted implements consume.Observer.
func (w *consumerWatch) Counted(c sqs.Counts) {
	w.queue, w.queued = c, w.sum.Settled()+c.All()
	w.draw()
}

// Waits implements consume.Observer.
func (w *consumerWatch) Waits(now consume.Waits) {
	w.waits = now
	w.draw()
}

// Unreachable implements consume.Observer.
func (w *consumerWatch) Unreachable(database, queue time.Time) {
	before := w.down
	w.down = [...]time.Time{database, queue}
	for i, since := range before {
		if w.bar != nil && w.down[i].IsZero() && !since.IsZero() {
			_, _ = fmt.Fprintf(aboveBar{w}, "%s is back after %s\n", reachable[i], wait.Text(time.Since(since))) // the terminal may be gone
		}
	}
	w.draw()
}

// reachable are the two things that a run cannot do without.
var reachable = [...]string{"the database", "the queue"}

// draw shows how many messages are settled, of how many there seem to be.
func (w *consumerWatch) draw() {
	if w.bar == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	done := w.sum.Settled()
	total := max(w.queued, done)
	if !w.forever {
		// A bar that is full draws no more. So this one counts thousandths of messages,
		// and one more: it is never full.
		w.bar.ChangeMax(total*1000 + 1)
		_ = w.bar.Set(done * 1000) // the terminal may be gone
	}
	w.bar.Describe(shorten(w.text(done, total), w.room())) // draws
}

// text says what the bar cannot show: first what a run waits for.
func (w *consumerWatch) text(done, total int) (text string) {
	for i, since := range w.down {
		if !since.IsZero() {
			text += reachable[i] + " is out of reach since " + since.Format(time.TimeOnly) + "; "
		}
	}
	if w.waits != (consume.Waits{}) {
		text += "waiting: " + w.waits.String() + "; "
	}
	if w.forever {
		text += number(w.queue.All()) + " in the queue: "
	} else {
		text += number(done) + " of " + number(total) + ": "
	}
	text += number(w.sum.Stored+w.sum.Replaced) + " stored, " + number(w.sum.Rejected) + " rejected"
	if len(w.sum.Reasons) > 0 {
		text += " (" + counted(w.sum.Reasons, func(r message.Reason) string { return string(r) }) + ")"
	}
	if w.sum.Returned > 0 {
		text += ", " + number(w.sum.Returned) + " returned"
	}
	if w.lag >= time.Second {
		text += ", lag " + w.lag.Round(time.Second).String()
	}
	if more := w.sum.Busy - w.rated; more >= time.Second {
		w.rate, w.rated, w.ratedDone = float64(done-w.ratedDone)/more.Seconds(), w.sum.Busy, done
	} else if w.rated == 0 {
		w.rate = perSecond(&w.sum)
	}
	return text + ", " + number(int(math.Round(w.rate))) + "/s"
}

// besideText is how many columns the bar, its percentage and its time take at least.
const besideText = 24

// barRoom returns how many columns the text beside a bar may have.
func (con *console) barRoom() int {
	columns := 80
	if f, ok := con.stderr.(*os.File); ok {
		if now, _, err := term.GetSize(int(f.Fd())); err == nil && now > 0 {
			columns = now
		}
	}
	return max(columns, 2*besideText) - besideText
}

func (w *consumerWatch) end() {
	if w.bar == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = w.bar.Finish() // the terminal may be gone
}
