package postgres

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
	"sluice/internal/credentials/login"
	"sluice/internal/message"
	"sluice/internal/rdsroots"
)

// Store writes the batches of one table. It is safe for concurrent use: every
// Insert has a connection of its own.
type Store struct {
	table    *batch.Table
	target   *target
	logins   Logins
	roots    func() *x509.CertPool // what TLS trusts where the URL names none
	sleep    func(context.Context, time.Duration) bool
	defaults string // the SQL that evaluates what the database computes for every row
	// What the statements do, for errors.
	inserting, lookingUp string

	mu         sync.Mutex
	idle       []*conn
	closed     bool
	statements statements
	facts      facts
	examined   time.Time // a discarded row
}

// Logins says who connects, when it is not the URL alone.
type Logins interface {
	// Fetch returns the login for a new connection.
	Fetch(ctx context.Context, url login.Login) (login.Login, error)
	// Refresh returns another login after the server refused one.
	Refresh(ctx context.Context, used login.Login) (login.Login, error)
}

// Option changes a store.
type Option func(*Store)

// WithLogins takes logins from elsewhere than the URL.
func WithLogins(l Logins) Option { return func(s *Store) { s.logins = l } }

// WithSleep replaces the wait between attempts, which says whether the time
// was there; simulations turn their own clock.
func WithSleep(sleep func(context.Context, time.Duration) bool) Option {
	return func(s *Store) { s.sleep = sleep }
}

// Open checks the URL and makes the store of a table. It does not connect.
// The URL may be empty if logins come from elsewhere.
func Open(databaseURL string, t *batch.Table, options ...Option) (*Store, error) {
	roots := sync.OnceValue(rdsroots.Pool)
	target, err := parseURL(databaseURL, roots)
	if err != nil {
		return nil, err
	}
	s := &Store{table: t, target: target, roots: roots, sleep: sleep, statements: makeStatements(t, nil), defaults: defaultsSQL(t)}
	s.inserting, s.lookingUp = "insert into "+table(t), "look up keys in "+table(t)
	for _, o := range options {
		o(s)
	}
	if target.needsRoots() {
		// To read them takes longer than all else here (10 ms the first time).
		// A function that starts has processors to spare; one that runs has a
		// part of one.
		go roots()
	}
	return s, nil
}

// Close closes the idle connections; those in use are closed when they are done.
func (s *Store) Close() {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	closeConns(idle)
}

// dropIdle closes the idle connections, and does not wait for it.
func (s *Store) dropIdle() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	go closeConns(idle)
}

// Result is what became of the rows of a batch.
type Result = message.Result

// The whole of a batch is tried this often, and no new try begins later than
// the budget after the first.
const (
	maxAttempts = 4
	retryBudget = 5 * time.Second
	firstPause  = 50 * time.Millisecond
)

// Insert stores the rows of a batch, in one transaction, and says of each
// what became of it. With an error, no row that the result does not call
// Stored or Rejected is proven to be either. A row counts as inserted when one
// of its attempts inserted it and it is Stored: what is committed and not yet
// proven is what the next delivery finds.
//
// A row that is there already counts as stored. Faults of the moment are
// tried again for a few seconds, as far as the context's deadline allows.
func (s *Store) Insert(ctx context.Context, b *batch.Batch) (Result, error) {
	result := Result{Verdicts: make([]message.Verdict, b.Len())}
	if b.Len() == 0 {
		return result, nil
	}
	start := time.Now()
	pause := firstPause
	fresh := 0 // rows that an attempt has committed, and not always proven
	for attempt := 1; ; attempt++ {
		clear(result.Verdicts)
		result.Inserted = 0
		reused, err := s.attempt(ctx, b, &result)
		fresh += result.Inserted
		result.Inserted = min(fresh, countStored(result.Verdicts))
		if err == nil || attempt == maxAttempts || !again(err, attempt) || ctx.Err() != nil {
			return result, err
		}
		if reused && attempt == 1 {
			continue // most likely it died while nobody used it
		}
		wait := pause/2 + rand.N(pause) //nolint:gosec // jitter
		pause *= 3
		if time.Since(start)+wait > retryBudget || !s.sleep(ctx, wait) {
			return result, err
		}
	}
}

func countStored(verdicts []message.Verdict) int {
	n := 0
	for i := range verdicts {
		if verdicts[i].Outcome == message.Stored {
			n++
		}
	}
	return n
}

// again says whether a new attempt can mend an error.
func again(err error, attempt int) bool {
	if settled(err) {
		return false
	}
	if cause, _ := message.FaultOf(err); cause == message.CauseMoment {
		return true
	}
	// 0A000 is also "cached plan must not change result type": a table that
	// was altered under a prepared statement. On a new connection it passes.
	server, ok := errors.AsType[*DatabaseError](err)
	return ok && server.SQLState == "0A000" && attempt == 1
}

// sleep waits, and says whether the time was there.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// attempt tries the batch once, on one connection.
func (s *Store) attempt(ctx context.Context, b *batch.Batch, result *Result) (reused bool, err error) {
	c, err := s.acquire(ctx)
	if err != nil {
		return false, err
	}
	reused = c.reused
	in := &insertion{store: s, conn: c, batch: b, rows: all(b.Len()), result: result}
	err = in.run(ctx)
	stopped := ctx.Err()
	if server, ok := errors.AsType[*DatabaseError](err); ok && server.SQLState == "57014" && stopped != nil {
		err = s.fault(ctx, s.inserting, stopped) // that was us
	}
	s.release(c, (err == nil || harmless(err)) && stopped == nil) // a request to cancel may be under way
	if stopped == nil && reused && stale(err) {
		s.dropIdle()
	}
	return reused, err
}

// stale says whether an error makes the other idle connections doubtful too:
// the server is gone, or has become a replica.
func stale(err error) bool {
	ours, ok := errors.AsType[*DatabaseError](err)
	return ok && ours.Cause == message.CauseMoment && (ours.SQLState == "" || ours.SQLState == "25006" || strings.HasPrefix(ours.SQLState, "57P"))
}

// harmless says whether an error leaves no doubt about the connection: the
// server refused a statement for what is in its catalog. An outage of that
// kind must not add a login to each invocation. (0A000 can be the fault of
// what is prepared.)
func harmless(err error) bool {
	server, ok := errors.AsType[*DatabaseError](err)
	return ok && server.SQLState != "" && server.SQLState != "0A000" && server.Cause == message.CauseOperator
}

// insertion is one attempt to store one batch.
type insertion struct {
	store  *Store
	conn   *conn
	batch  *batch.Batch
	rows   []int // the indexes of the rows to store, in the order of their keys; not to be changed
	result *Result
	last   bool // there is no time for another attempt

	sql      statements
	keys     *keyFacts
	ranked   bool        // the server was asked for the order of the keys
	class    map[int]int // rows with one key have one number
	suspect  *pgconn.PgError
	defaults *answer // to the evaluation of what the database computes for every row
}

func (in *insertion) run(ctx context.Context) error {
	in.learn()
	refusal, err := in.whole(ctx)
	switch {
	case err != nil:
		return err
	case refusal == nil:
	case len(in.rows) == 0: // no row is to blame
		if j := in.store.judge(refusal, in.store.fresh().catalog); j.blame == blameConfiguration || j.blame == blameOpen && !onPurpose(refusal.Code) {
			return in.failed(refusal)
		}
	case in.batch.Ordered():
		err = in.isolateOrdered(ctx, refusal)
	default:
		err = in.isolate(ctx, refusal)
	}
	if err == nil || settled(err) {
		for _, row := range in.rows {
			if in.result.Verdicts[row].Cause == message.CauseSwallowed {
				return cmp.Or(in.examine(ctx, row), err)
			}
		}
	}
	return err
}

// learn takes over what the store knows of the key.
func (in *insertion) learn() {
	s := in.store
	s.mu.Lock()
	defer s.mu.Unlock()
	in.sql, in.keys = s.statements, s.facts.keys
}

// fault turns the server's error of a statement into one of ours.
func (in *insertion) fault(doing string, err *pgconn.PgError) *DatabaseError {
	return in.store.refusal(doing, err)
}

// failed is fault for a statement that inserts.
func (in *insertion) failed(err *pgconn.PgError) *DatabaseError {
	return in.fault(in.store.inserting, err)
}

// asServer is errors.As for an error of the server.
func asServer(err error) *pgconn.PgError {
	server, _ := errors.AsType[*pgconn.PgError](err)
	return server
}
