package postgres

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// failure is a fault.Error with what attempts and searches need to know of it.
type failure struct {
	err *fault.Error
	// verdictsHold: it is about some rows of a batch. The others are committed.
	verdictsHold bool
	// partial: only a part of the rows may meet it. It arose in a trigger, or for what they refer
	// to.
	partial bool
	// of is the part whose statement met it, if that is known.
	of *part
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the fault.Error.
func (f *failure) Unwrap() error { return f.err }

// keepVerdicts returns an error that is about some rows.
func keepVerdicts(err *fault.Error) error { return &failure{err: err, verdictsHold: true} }

// verdictsHold reports whether an error is about some rows, and all verdicts hold.
func verdictsHold(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.verdictsHold
}

// partial reports whether only a part of the rows may meet an error.
func partial(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.partial
}

// causeOf returns the cause of an error, and CauseNone if it has none.
func causeOf(err error) message.Cause {
	if e := fault.Of(err); e != nil {
		return e.Cause
	}
	return message.CauseNone
}

// databaseError returns e as an error of the database.
func databaseError(e fault.Error) *fault.Error {
	e.Source = fault.Database
	return &e
}

// whyEnded returns why an error ended what we were doing. It asks the context itself whether our
// time is up: the timeout of one attempt to connect is a DeadlineExceeded too.
func (s *Store) whyEnded(ctx context.Context, doing string, err error) error {
	if server := asServer(err); server != nil {
		d := s.destinations[0]
		return d.errorOf(doing, server, d.freshCatalog())
	}
	ended := contextErr(ctx)
	return databaseError(fault.Error{Cause: message.CauseTransient, What: doing + ": " + lost(err, ended), Err: ended})
}

// contextErr returns why the time of a context is up. The network keeps the deadline by a clock of
// its own, and can be the first to notice.
func contextErr(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// errorOf returns the error for an error of the server that ended what we were doing, or that a row
// met which is not to blame for it.
func (d *destination) errorOf(doing string, server *pgconn.PgError, c *catalog) *failure {
	j := d.judge(server, c)
	return &failure{
		err: databaseError(fault.Error{
			Cause: j.cause, Code: server.Code, What: doing + ": " + d.shown(server, c), Remedy: d.remedy(server, j, c),
		}),
		partial: j.inside || c == nil && mayBeInside(server) || j.passes() && transientForSome(server),
	}
}

// overtime returns the context's error if that is why an attempt ended, and nil if the attempt met
// something else.
func overtime(err error) error {
	e := fault.Of(err)
	if e == nil || e.Source != fault.Database || e.Code != "" {
		return nil
	}
	return e.Err
}

// outOfTime adds what an earlier attempt met to an error that has no other reason than that the
// time is up: most likely the time went there. The earlier remedy replaces the error's own.
func outOfTime(err, lastErr error) error {
	if lastErr == nil || overtime(err) == nil {
		return err
	}
	e := *fault.Of(err)
	before := cmp.Or(fault.Of(lastErr), &fault.Error{What: lastErr.Error()})
	e.What += "; the attempt before: " + before.What
	e.Remedy = cmp.Or(before.Remedy, e.Remedy)
	return &e
}

// asServer returns the server's error in err's chain, or nil.
func asServer(err error) *pgconn.PgError {
	server, _ := errors.AsType[*pgconn.PgError](err)
	return server
}
