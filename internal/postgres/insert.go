package postgres

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// insertion is one attempt to store rows of a batch.
type insertion struct {
	store  *Store
	conn   *conn
	batch  *batch.Batch
	rows   []int // their indexes in the batch: by key, or with message groups in order of arrival
	result *Result
	first  bool // the first attempt, so that no earlier one can have stored the rows
	some   bool // most likely some of the rows are stored
	whole  bool // several statements were refused, and one may not be
	last   bool // there is no time for another attempt
	// rehearsal: what the transaction does is rolled back, and only the verdicts count.
	rehearsal bool

	sql            statements
	keys           *keyFacts
	catalog        *catalog     // the evidence; it stays even if it grows old meanwhile
	catalogIsOurs  bool         // read in this attempt
	class          map[int]int  // rows with one key have one number
	unreadable     map[int]bool // rows with a key that the server cannot read, so that no look-up can ask for it
	passing        int          // how many rows have met an error that passes
	mine           map[int]bool // numbers of keys that this insertion has stored
	suspect        *pgconn.PgError
	defaultsAnswer *answer // to the evaluation of what the database computes for every row
}

func (in *insertion) run(ctx context.Context) error {
	in.learn()
	in.catalog = in.store.freshCatalog()
	if err := in.askFirst(ctx); err != nil {
		return err
	}
	var refusal *pgconn.PgError
	var err error
	if !in.rehearsal {
		if refusal, err = in.insertAll(ctx); err != nil {
			return err
		}
	}
	switch {
	case in.rehearsal:
		err = in.findRefused(ctx, &pgconn.PgError{}) // which is no reason to suspect anything
	case refusal == nil:
	case len(in.rows) == 0: // no row is to blame
		if j := in.store.judge(refusal, in.catalog); !j.rejects && !j.passes() && (!j.open || !onPurpose(refusal.Code)) {
			return in.insertError(refusal)
		}
	case in.batch.HasGroups():
		err = in.findRefusedOrdered(ctx, refusal)
	default:
		err = in.findRefused(ctx, refusal)
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

// errorOf returns the server's error of a statement as one of this package.
func (in *insertion) errorOf(doing string, err *pgconn.PgError) *failure {
	return in.store.errorOf(doing, err, in.catalog)
}

// insertError is errorOf for a statement that inserts.
func (in *insertion) insertError(err *pgconn.PgError) *failure {
	return in.errorOf(in.store.inserting, err)
}

// mayBeFirst reports whether the rows can be stored without a look for those that are stored: no
// delivery, and no attempt before this one, can have stored them. SQS may still deliver a message
// twice at once, which the key then refuses. The skipping insert has more to say than which rows are
// stored: without the key's index, without the right to see rows, or with a rule on the table, it
// fails, and the first insert would store rows all the same. So it goes first on each connection, and
// again when what it has proved is old.
func (in *insertion) mayBeFirst() bool {
	proved := !in.conn.skippedAt.IsZero() && in.store.now().Sub(in.conn.skippedAt) <= catalogAge
	hides := in.keys == nil || in.keys.Policies // from row to row
	return in.first && len(in.rows) > 0 && in.store.table.KeyOfMessage && !in.batch.Redelivered() && proved && !hides
}

// insertAll sends the rows in one implicit transaction. It returns the server's error if rows have to
// be tried one by one.
func (in *insertion) insertAll(ctx context.Context) (refusal *pgconn.PgError, err error) {
	first := in.mayBeFirst()
	rt := in.roundTrip(ctx)
	rt.askOnce()
	if !in.keys.byBytes() && !in.batch.HasGroups() {
		// A search needs the order of the keys, and this costs no round trip.
		rt.keys(in.sql.rank, in.rows)
		rt.ask(in.rank)
	}
	insert := in.inserts().skipping // take it now: learning how keys compare replaces it
	if first {
		insert = in.inserts().first
	}
	asks := in.typesAreOld()
	if asks {
		rt.fit()
	}
	size := len(in.rows)
	if !in.whole && size > StatementRows && (in.keys.byBytes() || in.batch.HasGroups()) { // otherwise the statement sorts them
		size = StatementRows
	}
	divided := size < len(in.rows)
	rt.insertBy(insert, in.rows, size)
	rt.endSegment()
	if in.some {
		rt.present(in.rows)
		rt.endSegment()
	}
	answers, err := in.finish(ctx, in.store.inserting, rt)
	if err != nil {
		return nil, err
	}
	a := answers[0]
	// If the statement could not be prepared, no row is at fault.
	prepared := !in.conn.named || in.conn.prepared[insert.name] == insert.sql
	storedBefore := first && prepared && a.refused != nil && a.refused.Code == uniqueKey
	switch fit := a.refused == nil || bytes.HasPrefix(a.text, []byte(fits)); {
	case asks && fit:
		in.conn.typesAskedAt = in.store.now()
	case asks && a.refused.Code == discardedState:
		in.conn.typesAskedAt, in.conn.oddTypes = time.Time{}, true
		if err := in.askNow(ctx, true); err != nil {
			return nil, err
		}
		return in.insertAll(ctx)
	}
	switch {
	case storedBefore && (len(in.rows) > maxSingles || in.batch.HasGroups()): // most likely SQS has delivered a message twice
		in.first, in.some = false, true
		return in.insertAll(ctx)
	case divided && prepared && int(a.rows) < len(in.rows) && in.ofDivision(a.refused): // else at the commit
		in.first, in.whole = false, true
		return in.insertAll(ctx)
	case storedBefore, a.refused != nil && prepared && in.store.needsSearch(a.refused, in.catalog, in.last):
		return a.refused, nil
	case a.refused != nil:
		return nil, in.insertError(a.refused)
	}
	if !first {
		in.conn.skippedAt = in.store.now()
	}
	if in.some {
		in.result.Tallies.Of(0).Inserted += in.inserted(a)
		return nil, in.readPresent(in.rows, answers[1])
	}
	return nil, in.accept(ctx, in.rows, a)
}

// ofDivision reports whether rows may be refused because they are not all in one statement: those
// that refer to each other, and those of a trigger that looks at several.
func (in *insertion) ofDivision(err *pgconn.PgError) bool {
	return err != nil && !in.store.judge(err, in.catalog).passes() && (mayBeInside(err) || refusing(links(in.batch, in.keys), err) != nil)
}

// accept sets the verdicts on rows whose insert is committed.
func (in *insertion) accept(ctx context.Context, rows []int, a answer) error {
	n := in.inserted(a)
	in.result.Tallies.Of(0).Inserted += n
	if n < len(rows) {
		return in.lookUp(ctx, rows)
	}
	in.stored(rows...)
	return nil
}

// askFirst asks what must be known before a connection's first batch. One is how keys compare, if
// they may compare otherwise than by their bytes: until that is known, batches could lock rows in
// opposite order. The other is what types read text, and how: a batch is written by that, so it is
// asked again when the answer is old. A rehearsal asks too, because it does not begin with an insert
// that asks on its way.
func (in *insertion) askFirst(ctx context.Context) error {
	order := in.keys == nil && !in.conn.keysAsked && in.hasTextKey() && !in.batch.HasGroups() && len(in.rows) > 1
	types := in.typesAreOld() && (in.store.asText || in.conn.oddTypes) || in.rehearsal
	if !order && !types {
		return nil
	}
	return in.askNow(ctx, types)
}

// typesAreOld reports whether what the columns are must be asked again.
func (in *insertion) typesAreOld() bool {
	return in.conn.typesAskedAt.IsZero() || in.store.now().Sub(in.conn.typesAskedAt) > catalogAge
}

// askNow asks how keys compare, if that was never asked, and what the types of the columns are.
func (in *insertion) askNow(ctx context.Context, types bool) error {
	rt := in.roundTrip(ctx)
	rt.askOnce()
	var facts typeFacts
	if types {
		rt.askTypes(&facts)
	}
	if _, err := in.finish(ctx, in.store.lookingUp, rt); err != nil || !types {
		return err
	}
	if facts.refused != nil {
		return in.errorOf(in.store.lookingUp, facts.refused)
	}
	if err := in.store.misfits(facts.Wrong); err != nil {
		return err
	}
	in.conn.arrays.SetTextTypes(facts.Text)
	in.conn.typesAskedAt = in.store.now()
	return nil
}

func (in *insertion) hasTextKey() bool {
	return slices.ContainsFunc(in.store.table.Key, func(k int) bool { return in.store.table.Columns[k].Kind == batch.Text })
}

// rank sorts the rows as the answer to the rank statement does.
func (in *insertion) rank(a *answer) {
	if a.refused != nil || len(a.values) != 2*len(in.rows) {
		return
	}
	rows := make([]int, len(in.rows))
	in.class = make(map[int]int, len(in.rows))
	for i := range rows {
		rows[i] = in.rows[a.values[2*i]-1]
		in.class[rows[i]] = int(a.values[2*i+1])
	}
	in.rows = rows
}

// lookUp sets the verdicts on rows if the server stored fewer than it was sent: a row whose key is
// in the table is stored, and one whose key is not was discarded.
func (in *insertion) lookUp(ctx context.Context, rows []int) error {
	rt := in.roundTrip(ctx)
	rt.present(rows)
	rt.endSegment()
	answers, err := in.finish(ctx, in.store.lookingUp, rt)
	if err != nil {
		return err
	}
	return in.readPresent(rows, answers[0])
}

// readPresent sets the verdicts on rows by the answer to the question which of their keys are in the
// table.
func (in *insertion) readPresent(rows []int, present answer) error {
	if present.refused != nil {
		return in.errorOf(in.store.lookingUp, present.refused)
	}
	in.returned(message.CauseDiscarded, rows...)
	for _, n := range present.values {
		in.stored(rows[n-1])
	}
	return nil
}

func all(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
