package postgres

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
	"sluice/internal/credentials/login"
	"sluice/internal/fault"
	"sluice/internal/message"
)

// Store writes the batches of one table. It is safe for concurrent use: every Insert has a
// connection of its own.
type Store struct {
	table  *batch.Table
	names  fault.Names
	target *target
	logins Logins
	log    *slog.Logger
	lookup func(ctx context.Context, host string) ([]string, error) // nil: the resolver
	sleep  func(context.Context, time.Duration) bool
	now    func() time.Time
	// What the statements do, for errors.
	inserting, lookingUp string

	mu         sync.Mutex
	idle       []*conn
	closed     bool
	closing    sync.WaitGroup // of connections in the background; none is added once closed
	statements statements
	keys       *keyFacts
	catalog    *catalog
	read       time.Time // the catalog
	examined   time.Time // a discarded row
	unverified string    // what TLS leaves open
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

// Open checks the URL and returns the store of a table. It does not connect. The URL may be empty
// if logins come from elsewhere.
func Open(databaseURL string, t *batch.Table, options ...Option) (*Store, error) {
	s := &Store{table: t, log: slog.New(slog.DiscardHandler), sleep: sleep, now: time.Now, statements: makeStatements(t, nil)}
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
		// Reading them takes longer than all else here (10 ms the first time). A function has more
		// processor time while it starts than later.
		go roots()
	}
	return s, nil
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

// Insert stores the rows of a batch, in one transaction, and returns a verdict on each. With an
// error, no row is confirmed that the result does not call Stored or Rejected. A row counts as
// inserted if one of the attempts inserted it and it is Stored: a row that is committed and not yet
// confirmed is a duplicate to the next delivery.
//
// A duplicate counts as stored. Transient faults are tried again for a few seconds, as far as the
// context's deadline allows. A batch of messages that were received before, and that is too slow
// for the deadline, is stored in pieces: the only case of more than one transaction.
//
// Insert returns at the latest when a quarter of the time that ctx gave has passed after its
// deadline, and never later than cancelGrace after it.
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

// insertion is one attempt to store rows of a batch.
type insertion struct {
	store  *Store
	conn   *conn
	batch  *batch.Batch
	rows   []int // the indexes of these rows in the batch, in the order of their keys
	result *Result
	last   bool // there is no time for another attempt

	sql         statements
	keys        *keyFacts
	catalog     *catalog     // the evidence; it stays even if it grows old meanwhile
	current     bool         // this attempt has read it
	ranked      bool         // the server was asked for the order of the keys
	class       map[int]int  // rows with one key have one number
	unencodable map[int]bool // rows with a key that the server's encoding cannot represent
	passing     int          // how many rows have met an error that passes
	mine        map[int]bool // numbers of keys that this insertion has stored
	suspect     *pgconn.PgError
	defaults    *answer // to the evaluation of what the database computes for every row
}

func (in *insertion) run(ctx context.Context) error {
	in.learn()
	in.catalog = in.store.freshCatalog()
	if err := in.compare(ctx); err != nil {
		return err
	}
	refusal, err := in.insertAll(ctx)
	switch {
	case err != nil:
		return err
	case refusal == nil:
	case len(in.rows) == 0: // no row is to blame
		if j := in.store.judge(refusal, in.catalog); !j.rejects && (!j.open || !onPurpose(refusal.Code)) {
			return in.failed(refusal)
		}
	case in.batch.Ordered():
		err = in.isolateOrdered(ctx, refusal)
	default:
		err = in.isolate(ctx, refusal)
	}
	discarded := func(row int) bool { return in.result.Verdicts[row].Cause == message.CauseDiscarded }
	if i := slices.IndexFunc(in.rows, discarded); i >= 0 && (err == nil || verdictsHold(err)) {
		return cmp.Or(in.examine(ctx, in.rows[i]), err)
	}
	return err
}

// stored sets the verdict on rows that are confirmed.
func (in *insertion) stored(rows ...int) {
	for _, row := range rows {
		in.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
	}
}

// returned sets the verdict on rows that are returned.
func (in *insertion) returned(cause message.Cause, rows ...int) {
	for _, row := range rows {
		in.result.Verdicts[row] = message.Verdict{Cause: cause}
	}
}

// learn takes what the store knows of the key.
func (in *insertion) learn() {
	s := in.store
	s.mu.Lock()
	defer s.mu.Unlock()
	in.sql, in.keys = s.statements, s.keys
}

// fault returns the server's error of a statement as one of this package.
func (in *insertion) fault(doing string, err *pgconn.PgError) *failure {
	return in.store.refusal(doing, err, in.catalog)
}

// failed is fault for a statement that inserts.
func (in *insertion) failed(err *pgconn.PgError) *failure {
	return in.fault(in.store.inserting, err)
}

// asServer returns the server's error in err's chain, or nil.
func asServer(err error) *pgconn.PgError {
	server, _ := errors.AsType[*pgconn.PgError](err)
	return server
}
