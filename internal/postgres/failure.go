package postgres

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/fault"
	"sluice/internal/message"
)

// failure is a fault.Error with what attempts and isolations ask of it. It does not leave the
// package: outward takes the Error out.
type failure struct {
	err *fault.Error
	// settled: it is about some rows of a batch, and all verdicts hold: the others are committed.
	settled bool
	// partial: only a part of the rows may meet it. It arose in a trigger, or for what they refer to.
	partial bool
}

// Error implements error.
func (f *failure) Error() string { return f.err.Error() }

// Unwrap returns the fault.Error.
func (f *failure) Unwrap() error { return f.err }

// outward returns an error as callers of the package see it.
func outward(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f.err
	}
	return err
}

// settle marks an error as one about some rows.
func settle(err error) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = &failure{err: fault.Of(err)}
	}
	f.settled = true
	return f
}

// settled reports whether an error is about some rows, and all verdicts hold.
func settled(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.settled
}

// partial reports whether only a part of the rows may meet an error.
func partial(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.partial
}

// transient reports whether an error passes by itself.
func transient(err error) bool {
	cause, _ := message.FaultOf(err)
	return cause == message.CauseTransient
}

// databaseError completes a fault.Error of this package.
func databaseError(e fault.Error) *fault.Error {
	e.Source = fault.Database
	return &e
}

// fault returns why an error ended what we were doing. Whether our time is up is asked of the
// context itself: the timeout of one attempt to connect is a DeadlineExceeded too.
func (s *Store) fault(ctx context.Context, doing string, err error) error {
	if server := asServer(err); server != nil {
		return s.refusal(doing, server, s.fresh().catalog)
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

// refusal returns the error for an error of the server that ended what we were doing, or that a
// row met which is not to blame for it.
func (s *Store) refusal(doing string, server *pgconn.PgError, c *catalog) *failure {
	cause := message.CauseTransient
	j := s.judge(server, c)
	if j.blame == blameConfiguration || j.blame == blameMessage || j.blame == blameOpen && j.alone == blameConfiguration {
		cause = message.CauseConfiguration
	}
	return &failure{
		err: databaseError(fault.Error{
			Cause: cause, Code: server.Code, What: doing + ": " + s.shown(server, c), Remedy: s.remedy(server, j, c),
		}),
		partial: j.inside || c == nil && mayBeInside(server) || j.blame == blameTransient && ofSome(server),
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

// outOfTime adds to an error that says no more than that the time is up what an earlier attempt
// met: that is most likely where the time went. The earlier remedy goes before the error's own.
func outOfTime(err, met error) error {
	if met == nil || overtime(err) == nil {
		return err
	}
	e := *fault.Of(err)
	before := cmp.Or(fault.Of(met), &fault.Error{What: met.Error()})
	e.What += "; the attempt before: " + before.What
	e.Remedy = cmp.Or(before.Remedy, e.Remedy)
	return &e
}

// stale reports whether an error makes the other idle connections doubtful too: the server is
// gone, or has become a replica.
func stale(err error) bool {
	e := fault.Of(err)
	return e != nil && e.Source == fault.Database && e.Cause == message.CauseTransient && endsOthers(e.Code)
}
