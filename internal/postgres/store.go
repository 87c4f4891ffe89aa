package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
	"sluice/internal/credentials/login"
	"sluice/internal/fault"
	"sluice/internal/message"
)

// Store writes the batches of one table. It is safe for concurrent use: every
// Insert has a connection of its own.
type Store struct {
	table    *batch.Table
	names    fault.Names
	target   *target
	logins   Logins
	log      *slog.Logger
	dialer   pgconn.DialFunc // nil for what the URL says
	sleep    func(context.Context, time.Duration) bool
	now      func() time.Time
	defaults string // the SQL that evaluates what the database computes for every row
	// What the statements do, for errors.
	inserting, lookingUp string

	mu         sync.Mutex
	idle       []*conn
	closed     bool
	closing    sync.WaitGroup // of connections in the background; none is added once closed
	statements statements
	facts      facts
	examined   time.Time // a discarded row
	unverified string    // what TLS leaves open
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

// WithLog has a warning logged, at the first connection, when nothing proves who
// the server is.
func WithLog(log *slog.Logger) Option { return func(s *Store) { s.log = log } }

// WithNames has errors name the setting and the commands that the caller has.
func WithNames(names fault.Names) Option { return func(s *Store) { s.names = names } }

// WithSleep replaces the wait between attempts, which reports whether it ended
// before the context did; simulations turn their own clock.
func WithSleep(sleep func(context.Context, time.Duration) bool) Option {
	return func(s *Store) { s.sleep = sleep }
}

// WithClock replaces the clock by which connections grow old.
func WithClock(now func() time.Time) Option { return func(s *Store) { s.now = now } }

// Open checks the URL and makes the store of a table. It does not connect.
// The URL may be empty if logins come from elsewhere.
func Open(databaseURL string, t *batch.Table, options ...Option) (*Store, error) {
	s := &Store{table: t, log: slog.New(slog.DiscardHandler), sleep: sleep, now: time.Now, statements: makeStatements(t, nil), defaults: defaultsSQL(t)}
	s.inserting, s.lookingUp = "insert into "+table(t), "look up keys in "+table(t)
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
	for _, c := range idle {
		closeConn(c)
	}
	s.closing.Wait()
}

// Result is what became of the rows of a batch.
type Result = message.Result

// Insert stores the rows of a batch, in one transaction, and says of each
// what became of it. With an error, no row that the result does not call
// Stored or Rejected is proven to be either. A row counts as inserted when one
// of its attempts inserted it and it is Stored: what is committed and not yet
// proven is what the next delivery finds.
//
// A row that is there already counts as stored. Transient faults are tried
// again for a few seconds, as far as the context's deadline allows. A batch of
// messages that were received before, and that is too slow for the deadline,
// is stored in pieces: the only case of more than one transaction.
//
// Insert returns at the latest when a quarter of the time that ctx gave has
// passed after its deadline, and never later than cancelGrace after it.
func (s *Store) Insert(ctx context.Context, b *batch.Batch) (Result, error) {
	whole := s.piece(b, all(b.Len()), graceOf(ctx))
	if b.Len() == 0 {
		return whole.result, nil
	}
	whole.divisible = b.Redelivered() && b.Len() > 1
	slow, err := whole.persist(ctx)
	if slow {
		result, err := s.halve(ctx, whole)
		return result, outward(err)
	}
	return whole.result, outward(err)
}

// insertion is one attempt to store rows of a batch.
type insertion struct {
	store  *Store
	conn   *conn
	batch  *batch.Batch
	rows   []int // the indexes of these rows in the batch, in the order of their keys
	result *Result
	last   bool // there is no time for another attempt

	sql      statements
	keys     *keyFacts
	catalog  *catalog     // the evidence; it stays when it grows old meanwhile
	current  bool         // this attempt has asked for it
	ranked   bool         // the server was asked for the order of the keys
	class    map[int]int  // rows with one key have one number
	foreign  map[int]bool // rows with a key that the server's encoding cannot represent
	passing  int          // how many rows have met what passes
	mine     map[int]bool // numbers of keys that this insertion has put there
	suspect  *pgconn.PgError
	defaults *answer // to the evaluation of what the database computes for every row
}

func (in *insertion) run(ctx context.Context) error {
	in.learn()
	in.catalog = in.store.fresh().catalog
	if err := in.compare(ctx); err != nil {
		return err
	}
	refusal, err := in.whole(ctx)
	switch {
	case err != nil:
		return err
	case refusal == nil:
	case len(in.rows) == 0: // no row is to blame
		if j := in.store.judge(refusal, in.catalog); j.blame == blameConfiguration || j.blame == blameOpen && !onPurpose(refusal.Code) {
			return in.failed(refusal)
		}
	case in.batch.Ordered():
		err = in.isolateOrdered(ctx, refusal)
	default:
		err = in.isolate(ctx, refusal)
	}
	if err == nil || settled(err) {
		for _, row := range in.rows {
			if in.result.Verdicts[row].Cause == message.CauseDiscarded {
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
func (in *insertion) fault(doing string, err *pgconn.PgError) *failure {
	return in.store.refusal(doing, err, in.catalog)
}

// failed is fault for a statement that inserts.
func (in *insertion) failed(err *pgconn.PgError) *failure {
	return in.fault(in.store.inserting, err)
}

// asServer is errors.As for an error of the server.
func asServer(err error) *pgconn.PgError {
	server, _ := errors.AsType[*pgconn.PgError](err)
	return server
}
