package ingest

import (
	"context"
	"log/slog"

	"sluice/internal/message"
)

// maxLines bounds what one batch writes to the log for single messages.
const maxLines = 20

// Log writes one line for the batch, one for each of the first rejected
// messages, and one for each of the first that the database took and did not
// keep. No line holds a value or a key of a body.
func (p *Pipeline) Log(ctx context.Context, messages []message.Message, r *Report) {
	rejected, swallowed := 0, 0
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		id := slog.String("message_id", messages[i].ID)
		switch {
		case v.Outcome == message.Rejected:
			if rejected++; rejected <= maxLines {
				p.log.LogAttrs(ctx, slog.LevelWarn, "message rejected", append([]slog.Attr{id}, attrs(&v.Rejection)...)...)
			}
		case v.Cause == message.CauseSwallowed: // no error tells of it
			if swallowed++; swallowed <= maxLines {
				p.log.LogAttrs(ctx, slog.LevelWarn, "message returned: the database took its row and did not keep it, look for a trigger or a rule", id, slog.String("cause", string(v.Cause)))
			}
		}
	}
	if more := rejected - maxLines; more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages rejected", slog.Int("count", more))
	}
	if more := swallowed - maxLines; more > 0 {
		p.log.LogAttrs(ctx, slog.LevelWarn, "more messages returned", slog.Int("count", more), slog.String("cause", string(message.CauseSwallowed)))
	}
	if r.Err != nil {
		p.log.LogAttrs(ctx, slog.LevelError, "messages returned", slog.String("fault", string(r.Fault)), slog.String("error", r.Err.Error()))
	}
	c := r.Counts()
	p.log.LogAttrs(ctx, slog.LevelInfo, "batch", slog.Int("received", len(messages)),
		slog.Int("stored", c.Stored), slog.Int("duplicate", c.Duplicate), slog.Int("rejected", c.Rejected), slog.Int("returned", c.Returned),
		slog.Int("round_trips", r.RoundTrips), slog.Float64("database_ms", float64(r.StoreTime.Microseconds())/1000))
}

func attrs(r *message.Rejection) []slog.Attr {
	all := []slog.Attr{slog.String("reason", string(r.Reason))}
	for _, a := range [][2]string{{"field", r.Field}, {"sqlstate", r.SQLState}, {"constraint", r.Constraint}, {"column", r.Column}} {
		if a[1] != "" {
			all = append(all, slog.String(a[0], a[1]))
		}
	}
	return all
}
