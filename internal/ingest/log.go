package ingest

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// maxLines bounds how many lines of one kind a batch logs for single messages.
const maxLines = 20

// Log writes what is wrong with a batch: one line for each of the first messages that were rejected,
// are in conflict or were returned for a row, one for all that exceeded the batch's memory, and one
// for the fault. shown says that the caller shows the report's error elsewhere. No line has a value or
// a key of a body.
func (p *Pipeline) Log(ctx context.Context, r *Report, shown bool) {
	rejected, conflicts, discarded, orphans, exceeded := 0, 0, 0, 0, 0
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Outcome != message.Rejected && v.Cause == message.CauseNone && !v.Conflicts() {
			continue
		}
		switch {
		case v.Outcome == message.Rejected:
			if rejected++; rejected <= maxLines {
				p.log.LogAttrs(ctx, slog.LevelWarn, "message rejected", append(who(r, i), attrs(&v.Rejection)...)...)
			}
		case v.Conflicts():
			if conflicts++; conflicts <= maxLines {
				p.log.LogAttrs(ctx, slog.LevelWarn, "message in conflict: another message has stored its key with other content", append(who(r, i), attrs(&v.Rejection)[1:]...)...)
			}
		case v.Cause == message.CauseMemory:
			exceeded++
		case v.Cause == message.CauseDiscarded: // no error tells of it
			if discarded++; discarded <= maxLines {
				p.log.LogAttrs(ctx, slog.LevelWarn, "message returned: the database discarded its row, look for a trigger or a rule", append(who(r, i), slog.String("cause", string(v.Cause)))...)
			}
		case v.Cause == message.CauseForeignKey: // nothing has failed
			if orphans++; orphans <= maxLines {
				p.log.LogAttrs(ctx, slog.LevelWarn, "message returned: its row refers to one that is not stored yet", append(append(who(r, i),
					slog.String("cause", string(v.Cause)), slog.Int("receives", r.Messages[i].ReceiveCount), slog.Int("rejected_at", p.receives(v)),
				), attrs(&v.Rejection)[1:]...)...)
			}
		}
	}
	if more := rejected - maxLines; more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages rejected", slog.Int("count", more))
	}
	if more := conflicts - maxLines; more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages in conflict", slog.Int("count", more))
	}
	if more := discarded - maxLines; more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages returned", slog.Int("count", more), slog.String("cause", string(message.CauseDiscarded)))
	}
	if more := orphans - maxLines; more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages returned", slog.Int("count", more), slog.String("cause", string(message.CauseForeignKey)))
	}
	if exceeded > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "messages returned: the bodies of the batch unwrap to more than 64 MiB", slog.Int("count", exceeded),
			slog.String("cause", string(message.CauseMemory)), slog.String("remedy", "they come again in a later batch; where it happens often, make the batches smaller"))
	}
	if r.Cause != message.CauseNone {
		fault := []slog.Attr{slog.String("fault", string(r.Cause))}
		if r.Err != nil && !shown {
			fault = append(fault, slog.String("error", r.Err.Error()))
		}
		p.log.LogAttrs(ctx, slog.LevelError, "messages returned", fault...)
	}
}

// who names a message, and its model if there are several.
func who(r *Report, i int) []slog.Attr {
	id := slog.String("message_id", r.Messages[i].ID)
	if name := r.Model(&r.Verdicts[i]); name != "" && len(r.Models) > 1 {
		return []slog.Attr{id, slog.String("model", name)}
	}
	return []slog.Attr{id}
}

// LogBatch writes the line "batch", with what became of the batch's messages. Who writes a line of
// metrics for each batch does not need it.
func (p *Pipeline) LogBatch(ctx context.Context, r *Report) {
	c := r.Counts()
	line := make([]slog.Attr, 0, 16)
	line = append(line, slog.Int("received", len(r.Messages)), slog.Int("stored", c.Stored), slog.Int("duplicate", c.Duplicate))
	for _, o := range c.Special() {
		if o.Messages > 0 {
			line = append(line, slog.Int(o.Word, o.Messages))
		}
	}
	line = append(line, slog.Int("rejected", c.Rejected), slog.Int("returned", c.Returned),
		slog.Int("round_trips", r.RoundTrips), slog.Float64("database_ms", float64(r.StoreTime.Microseconds())/1000))
	if len(r.Models) > 1 {
		line = append(line, slog.Attr{Key: "models", Value: slog.GroupValue(byModel(r)...)})
	}
	p.log.LogAttrs(ctx, slog.LevelInfo, "batch", line...)
}

// byModel returns what became of the messages of each model that had some, as groups.
func byModel(r *Report) (groups []slog.Attr) {
	all := r.ByModel()
	for i, name := range r.Models {
		c := &all[1+i]
		var counts []slog.Attr
		add := func(word string, n int) {
			if n > 0 {
				counts = append(counts, slog.Int(word, n))
			}
		}
		add("stored", c.Stored)
		add("duplicate", c.Duplicate)
		for _, o := range c.Special() {
			add(o.Word, o.Messages)
		}
		add("rejected", c.Rejected)
		add("returned", c.Returned)
		if counts != nil {
			groups = append(groups, slog.Attr{Key: name, Value: slog.GroupValue(counts...)})
		}
	}
	return groups
}

// maxAhead is how far SentTimestamp may be ahead of this machine's clock.
const maxAhead = 24 * time.Hour

// warnOfSent warns, once for a batch, of times that no queue can have set. The messages are stored
// with them all the same: the next delivery would have the same time.
func (p *Pipeline) warnOfSent(ctx context.Context, s *scratch, messages []message.Message) {
	seconds, future, first := 0, 0, ""
	latest := time.Now().Add(maxAhead).UnixMilli()
	for i := range messages {
		m := &messages[i]
		switch {
		case !m.HasSent || s.repeated[i]:
			continue
		case m.SentMillis < batch.EpochMillis:
			seconds++
		case m.SentMillis > latest:
			future++
		default:
			continue
		}
		if first == "" {
			first = m.ID
		}
	}
	var problems []string
	if seconds > 0 {
		problems = append(problems, fmt.Sprintf("SentTimestamp looks like seconds, not milliseconds (%d)", seconds))
	}
	if future > 0 {
		problems = append(problems, fmt.Sprintf("SentTimestamp is in the future (%d)", future))
	}
	if problems != nil {
		p.log.LogAttrs(ctx, slog.LevelWarn, "messages with a wrong SentTimestamp are stored as they are", slog.Int("count", seconds+future),
			slog.String("problem", strings.Join(problems, "; ")), slog.String("message_id", first),
			slog.String("remedy", "SQS sets it in milliseconds since 1970-01-01 UTC: fix the program that makes or forwards the events, or this machine's clock"))
	}
}

func attrs(r *message.Rejection) []slog.Attr {
	all := []slog.Attr{slog.String("reason", string(r.Reason))}
	for _, a := range [][2]string{{"field", r.Field}, {"detail", shorten(r.Detail)}, {"sqlstate", r.SQLState}, {"condition", message.Condition(r.SQLState)}, {"constraint", r.Constraint}, {"column", r.Column}} {
		if a[1] != "" {
			all = append(all, slog.String(a[0], a[1]))
		}
	}
	if r.Byte > 0 {
		all = append(all, slog.Int("byte", r.Byte))
	}
	if len(r.More) == 0 {
		return all
	}
	problems := []string{shorten(r.String())}
	for i := range r.More {
		problems = append(problems, shorten(r.More[i].String()))
	}
	return append(all, slog.Int("more", len(r.More)+r.Omitted), slog.Any("problems", problems))
}

// maxProblem bounds what a line says of one problem, in bytes: details quote the model's own lists
// and patterns, which may be long.
const maxProblem = 256

func shorten(text string) string {
	if len(text) <= maxProblem {
		return text
	}
	return strings.ToValidUTF8(text[:maxProblem], "") + "…"
}
