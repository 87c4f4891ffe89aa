package consume

import (
	"context"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// trust is what the database has shown since it failed last.
type trust int

// What it can have shown.
const (
	unknown trust = iota // nothing: it gets a few messages to try
	answers              // that it answers a ping
	works                // that it does what is asked of it
)

// database is what the run knows of the database.
type database struct {
	outage
	// receives is from when on something is received: the first ping is given some time before, so that
	// an error of the configuration, which is answered at once, costs no message a receive.
	receives time.Time
	trust    trust
	worked   bool // it has done what was asked of it at least once
}

// noteDatabase notes what a pass has shown of the database, for other batches, before the messages
// of this one are settled.
func (r *run) noteDatabase(ctx context.Context, p *pass) {
	switch {
	case p.works: // also when some rows met an error that others did not
		r.database.trust, r.database.worked = works, true
		r.database.recovered(ctx, r.Log)
	case p.Err == nil: // it was not needed, as when all were malformed
		if r.database.trust == answers {
			r.database.trust = works
		}
	default:
		r.databaseFailed(ctx, p.Began, p.Cause, p.Err)
	}
}

// databaseFailed notes that the database failed something that had begun then.
func (r *run) databaseFailed(ctx context.Context, began time.Time, why message.Cause, err error) {
	switch {
	case r.ending.begun:
	case why == message.CauseConfiguration && (!r.database.worked || r.database.exceeds(r.Patience)):
		r.end(ctx, EndedFailed, err)
	default:
		r.database.trust = unknown
		r.busy.pause()
		r.database.failed(ctx, r.Log, began, err)
		r.returnEarly(ctx, r.gathering.takeAll(), true)
	}
}

// ping asks the database whether it answers again. Without it, /healthz would show an outage until
// the next message.
func (r *run) ping(ctx context.Context) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	err := r.Pipeline.Ping(ctx)
	r.events <- func(ctx context.Context) {
		r.underway.pinging, r.database.receives = false, time.Time{}
		if err != nil {
			r.databaseFailed(ctx, began, fault.Cause(err), err)
			return
		}
		r.database.trust = max(r.database.trust, answers)
		r.database.pinged(ctx, r.Log)
	}
}

// pingTime limits a ping, and firstPing is how long the first one holds up the receives.
const (
	pingTime  = 10 * time.Second
	firstPing = time.Second
)
