package postgres

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// Store writes batches into their tables. It is safe for concurrent use: every Insert has a
// connection of its own.
type Store struct {
	destinations []*destination // in the order in which they are written
	numbers      int            // how many there are with their children
	names        fault.Names
	target       *target
	logins       Logins
	log          *slog.Logger
	lookup       func(ctx context.Context, host string) ([]string, error) // nil: the resolver
	sleep        func(context.Context, time.Duration) bool
	now          func() time.Time

	mu         sync.Mutex // guards what destinations have learned too
	idle       []*conn
	closed     bool
	closing    sync.WaitGroup // of connections in the background; none is added once closed
	unverified string         // what TLS leaves open
}

// Logins gives logins other than that of the URL.
type Logins interface {
	// Fetch returns the login for a new connection.
	Fetch(ctx context.Context, url login.Login) (login.Login, error)
	// Refresh returns another login after the server refused one.
	Refresh(ctx context.Context, used login.Login) (login.Login, error)
}

// Option changes a store.
type Option func(*Store)

// WithLogins takes logins from l instead of the URL.
func WithLogins(l Logins) Option { return func(s *Store) { s.logins = l } }

// WithLog logs a warning, at the first connection, if nothing proves who the server is.
func WithLog(log *slog.Logger) Option { return func(s *Store) { s.log = log } }

// WithNames gives errors the names of the caller's setting and commands.
func WithNames(names fault.Names) Option { return func(s *Store) { s.names = names } }

// WithLookup replaces the lookup of hosts. Each host is looked up, also one that is an address.
func WithLookup(lookup func(context.Context, string) ([]string, error)) Option {
	return func(s *Store) { s.lookup = lookup }
}

// WithSleep replaces the wait between attempts, for simulations that turn their own clock. It
// reports whether the wait ended before ctx did.
func WithSleep(sleep func(context.Context, time.Duration) bool) Option {
	return func(s *Store) { s.sleep = sleep }
}

// WithClock replaces the clock by which connections and the catalog grow old.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// Open checks the URL and returns the store of some tables, at least one: those of a batch, in the
// same order. It does not connect. The URL may be empty if logins come from elsewhere.
func Open(databaseURL string, tables []*batch.Table, options ...Option) (*Store, error) {
	s := &Store{log: slog.New(slog.DiscardHandler), sleep: sleep, now: time.Now}
	for i, t := range tables {
		s.destinations = append(s.destinations, newDestination(s, i, t, nil))
	}
	for _, o := range options {
		o(s)
	}
	s.names.URL = cmp.Or(s.names.URL, "the database's URL")
	roots := sync.OnceValue(readRoots)
	var err error
	if s.target, err = parseURL(databaseURL, s.names.URL, roots); err != nil {
		return nil, err
	}
	if s.target.needsRoots() {
		// Reading them takes longer than all else here (10 ms the first time). A function has more
		// processor time while it starts than later.
		go roots()
	}
	return s, nil
}

// tables returns the tables of a batch.
func (s *Store) tables() (all []*batch.Table) {
	for _, d := range s.destinations {
		all = append(all, d.table)
	}
	return all
}

// inserting returns what an insert of rows of a batch does, for errors.
func (s *Store) inserting(b *batch.Batch, rows []int) string {
	if len(s.destinations) == 1 {
		return s.destinations[0].inserting
	}
	var into []string
	for _, d := range s.destinations {
		if len(rows) == 0 || slices.ContainsFunc(rows, func(row int) bool { return b.Table(row) == d.index }) {
			into = append(into, table(d.table))
		}
	}
	return "insert into " + list(into)
}

// Close closes the idle connections, and waits for those that are closing. A connection in use
// closes when its batch is done.
func (s *Store) Close() {
	s.mu.Lock()
	idle := s.idle
	s.idle, s.closed = nil, true
	s.mu.Unlock()
	for _, c := range idle {
		closeConn(c)
	}
	s.closing.Wait()
}

// Result is the verdicts on the rows of a batch.
type Result = message.Result

// Insert stores the rows of a batch, in one transaction, and returns a verdict on each. Verdicts
// hold even with an error, and every row without one is Returned. A row counts as inserted if one
// of the attempts inserted it and it is Stored: a row that is committed and not yet confirmed is a
// duplicate to the next delivery.
//
// A duplicate counts as stored. Transient faults are tried again for a few seconds, as far as the
// context's deadline allows. A batch of messages that were received before, and that is too slow
// for the deadline, is stored in pieces: the only case of more than one transaction.
//
// Insert may overrun the deadline by a quarter of the time that ctx gave, and at most by
// cancelGrace.
func (s *Store) Insert(ctx context.Context, b *batch.Batch) (Result, error) {
	whole := s.piece(b, all(b.Len()), graceOf(ctx))
	if b.Len() == 0 {
		return whole.result, nil
	}
	whole.divisible = b.Redelivered() && b.Len() > 1
	slow, err := whole.persist(ctx)
	if slow {
		err = whole.halve(ctx)
	}
	return whole.result, err
}

// Rehearse returns the verdicts that Insert would have, and stores nothing: it searches the batch as
// after a refusal, in one transaction that is rolled back. Until then its rows are locked, so that
// another insert of one of their keys waits. Sequences advance. The batch has no message groups.
//
// A set of rows that a constraint trigger accepts only together is refused here.
func (s *Store) Rehearse(ctx context.Context, b *batch.Batch) (Result, error) {
	whole := s.piece(b, all(b.Len()), graceOf(ctx))
	if b.Len() == 0 {
		return whole.result, nil
	}
	whole.rehearsal = true
	_, err := whole.persist(ctx)
	return whole.result, err
}
