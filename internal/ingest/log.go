package ingest

import (
	"context"
	"log/slog"

	"sluice/internal/message"
)

// maxLines bounds what one batch writes to the log for single messages.
const maxLines = 20

// Log writes one line for the batch, and one for each of the first rejected
// messages. No line holds a value or a key of a body.
func (p *Pipeline) Log(ctx context.Context, messages []message.Message, r *Report) {
	lines, more := 0, 0
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Outcome != message.Rejected {
			continue
		}
		if lines == maxLines {
			more++
			continue
		}
		lines++
		attrs := []slog.Attr{slog.String("message_id", messages[i].ID), slog.String("reason", string(v.Rejection.Reason))}
		for _, a := range [][2]string{{"field", v.Rejection.Field}, {"sqlstate", v.Rejection.SQLState}, {"constraint", v.Rejection.Constraint}, {"column", v.Rejection.Column}} {
			if a[1] != "" {
				attrs = append(attrs, slog.String(a[0], a[1]))
			}
		}
		p.log.LogAttrs(ctx, slog.LevelWarn, "message rejected", attrs...)
	}
	if more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages rejected", slog.Int("count", more))
	}
	if r.Err != nil {
		p.log.LogAttrs(ctx, slog.LevelError, "messages returned", slog.String("fault", string(r.Fault)), slog.String("error", r.Err.Error()))
	}
	c := r.Counts()
	p.log.LogAttrs(ctx, slog.LevelInfo, "batch", slog.Int("received", len(messages)),
		slog.Int("stored", c.Stored), slog.Int("duplicate", c.Duplicate), slog.Int("rejected", c.Rejected), slog.Int("returned", c.Returned),
		slog.Int("round_trips", r.RoundTrips), slog.Float64("database_ms", float64(r.StoreTime.Microseconds())/1000))
}
