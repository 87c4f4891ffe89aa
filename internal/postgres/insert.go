package postgres

import (
	"cmp"
	"context"
	"errors"
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
	rows   []int // their indexes in the batch: by table and key, or with message groups in order of arrival
	result *Result
	first  bool // the first attempt, so that no earlier one can have stored the rows
	some   bool // most likely some of the rows are stored
	whole  bool // several statements were refused, and one may not be
	last   bool // there is no time for another attempt
	// rehearsal: what the transaction does is rolled back, and only the verdicts count.
	rehearsal bool

	aside error // why rows of some tables are returned and not tried

	parts      []*part      // those of the tables that rows are for, in their order
	only       [1]*part     // the memory of parts, most of the time
	ofTable    []*part      // by the index of the table
	class      map[int]int  // rows with one key have one number
	unreadable map[int]bool // rows with a key that the server cannot read, so that no look-up can ask for it
	passing    int          // how many rows have met an error that passes
	mine       map[int]bool // numbers of keys that this insertion has stored

	// Of tables that replace:
	wrote    []int        // the rows that are written
	outdated map[int]bool // those that a newer one is stored for
	untried  []int        // those that no statement had, because of a newer one that was discarded

	// Of tables where rows of two messages are compared:
	conflicts  map[int]string // rows in conflict, with the id of the other message
	duplicates []int          // rows whose key is stored, that are not compared yet
	partly     []int          // those of messages that count as new, because of other rows
}

// run stores the rows. After an error some rows are stored, and it is not known of which others: these are
// returned, and so is what follows them in their message groups. Rows that are not compared are among
// them, since a message in conflict is not done.
func (in *insertion) run(ctx context.Context) (err error) {
	all := in.rows
	defer func() {
		if err == nil {
			return
		}
		in.returned(message.CauseNone, in.duplicates...)
		stopped := map[int]bool{}
		for _, row := range all {
			group, v := in.batch.Group(row), in.result.Verdicts[row]
			if stopped[group] && v.Outcome != message.Returned {
				in.returned(message.CauseGroup, row)
			}
			stopped[group] = stopped[group] || group != 0 && v.Outcome != message.Stored
		}
	}()
	in.divide()
	if err := in.withoutFaulty(func() error { return in.askFirst(ctx) }); err != nil {
		return err
	}
	var refused *refusal
	if !in.rehearsal {
		err := in.withoutFaulty(func() (err error) {
			refused, err = in.insertAll(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	err = in.withoutFaulty(func() error { return in.search(ctx, refused) })
	if in.aside != nil && (err == nil || verdictsHold(err)) {
		return in.aside
	}
	return err
}

// withoutFaulty does something again without the rows of a table that takes none, as long as others are
// left.
func (in *insertion) withoutFaulty(do func() error) error {
	for {
		err := do()
		f, ok := errors.AsType[*failure](err)
		if !ok || f.of == nil || f.verdictsHold || f.err.Cause != message.CauseConfiguration || len(in.parts) == 1 || len(in.rows) == 0 {
			return err
		}
		in.setAside(in.ofTable[f.of.index], f.err)
		if len(in.rows) == 0 {
			return in.aside
		}
	}
}

// search goes on after a refusal, if there was one.
func (in *insertion) search(ctx context.Context, refused *refusal) (err error) {
	switch {
	case in.rehearsal:
		err = in.findRefused(ctx, &refusal{PgError: &pgconn.PgError{}, in: in}) // which is no reason to suspect anything
	case refused == nil && len(in.untried) > 0:
		err = in.tryEach(ctx, in.untried)
	case refused == nil:
	case len(in.rows) == 0: // no row is to blame
		if j := refused.judge(); !j.rejects && !j.passes() && (!j.open || !onPurpose(refused.Code)) {
			return refused.error()
		}
	case in.batch.HasGroups():
		err = in.findRefusedOrdered(ctx, refused)
	default:
		err = in.findRefused(ctx, refused)
	}
	if err != nil && !verdictsHold(err) {
		return err
	}
	if err := in.compareDuplicates(ctx); err != nil {
		return err
	}
	in.overtake()
	in.locate(ctx)
	if discarded := in.discarded(in.rows); len(discarded) > 0 {
		return cmp.Or(in.examine(ctx, discarded[0]), err)
	}
	return err
}

// stored sets the verdict on rows that are confirmed.
func (in *insertion) stored(rows ...int) {
	for _, row := range rows {
		in.result.Verdicts[row] = in.found(row)
	}
}

// returned sets the verdict on rows that are returned.
func (in *insertion) returned(cause message.Cause, rows ...int) {
	for _, row := range rows {
		in.result.Verdicts[row] = message.Verdict{Cause: cause}
	}
}

// mayBeFirst reports whether rows can be stored without a look for those that are stored: no
// delivery, and no attempt before this one, can have stored them. SQS may still deliver a message
// twice at once, which the key then refuses. The skipping insert has more to say than which rows are
// stored: without the key's index, without the right to see rows, or with a rule on the table, it
// fails, and the first insert would store rows all the same. So it goes first on each connection, and
// again when what it has proved is old.
func (p *part) mayBeFirst() bool {
	proved := !p.skippedAt.IsZero() && p.store.now().Sub(p.skippedAt) <= catalogAge
	hides := p.keys == nil || p.keys.Policies // from row to row
	return p.in.first && len(p.in.rows) > 0 && p.table.KeyOfMessage && !p.replaces() && !p.in.batch.Redelivered() && proved && !hides
}

// insertAll sends the rows in one implicit transaction. It returns the server's error if rows have to
// be tried one by one.
func (in *insertion) insertAll(ctx context.Context) (*refusal, error) {
	rt := in.roundTrip(ctx)
	rt.askOnce()
	for p, rows := range in.each(in.rows) {
		if !p.keys.byBytes() && !in.batch.HasGroups() {
			// A search needs the order of the keys, and this costs no round trip.
			rt.keys(sent{of: p}, p.sql.rank, rows)
			rt.ask(func(a *answer) { p.rank(rows, a) })
		}
		p.form = p.inserts().skipping // taken now: learning how keys compare replaces it
		if p.mayBeFirst() {
			p.form = p.inserts().first
		}
	}
	for _, p := range in.withChildren() {
		if p.typesAreOld() {
			rt.fit(p)
		}
	}
	divided := rt.insertAll(in.rows, (*part).formNow, !in.whole)
	rt.endSegment()
	if in.some {
		rt.compare(in.rows)
		rt.endSegment()
	}
	answers, err := in.finish(ctx, in.store.inserting(in.batch, in.rows), rt)
	if err != nil {
		return nil, err
	}
	a := answers[0]
	at := a.at // the statement that was refused, if any
	// If the statement could not be prepared, no row is at fault.
	prepared := at.insert == (insert{}) || !in.conn.named || in.conn.prepared[at.insert.name] == at.insert.sql
	storedBefore := at.insert.first && prepared && a.refused.Code == uniqueKey
	if at.fit && a.refused.Code == discardedState {
		at.of.typesAskedAt, at.of.oddTypes = time.Time{}, true
		if err := in.askNow(ctx, func(p *part) bool { return p == at.of }); err != nil {
			return nil, err
		}
		return in.insertAll(ctx)
	}
	for _, p := range a.fit {
		p.typesAskedAt = in.store.now()
	}
	switch {
	case storedBefore && (len(in.rows) > maxSingles || in.batch.HasGroups()): // most likely SQS has delivered a message twice
		in.first, in.some = false, true
		return in.insertAll(ctx)
	case divided && prepared && a.rows < len(in.rows) && in.ofDivision(a.refused): // else at the commit
		in.first, in.whole = false, true
		return in.insertAll(ctx)
	case storedBefore, a.refused != nil && prepared && a.refused.needsSearch(in.last):
		return a.refused, nil
	case a.refused != nil:
		return nil, a.refused.error()
	}
	for _, p := range in.parts {
		if !p.form.first {
			p.skippedAt = in.store.now()
		}
	}
	if in.some {
		in.tally(a)
		err := in.readPresent(ctx, in.rows, answers[1])
		in.untried = in.discarded(a.unsent)
		return nil, err
	}
	return nil, in.accept(ctx, in.rows, a)
}

// ofDivision reports whether rows may be refused because they are not all in one statement: those
// that refer to each other, and those of a trigger that looks at several.
func (in *insertion) ofDivision(err *refusal) bool {
	return err != nil && !err.judge().passes() && (mayBeInside(err.PgError) || refusing(err.part().links(), err) != nil)
}

// tally counts what the inserts of an answer have done.
func (in *insertion) tally(a answer) {
	for i, w := range a.written {
		t := in.result.Tallies.Of(in.parts[i].index)
		t.Inserted += w.Inserted
		t.Replaced += w.Replaced
	}
	in.wrote = append(in.wrote, a.wrote...)
	in.outdate(a.outdated)
	for _, row := range a.overlaps { // and not yet compared
		if in.of(row).compares() {
			in.duplicates = append(in.duplicates, row)
		}
	}
	in.partly = append(in.partly, a.partly...)
}

// accept sets the verdicts on rows whose insert is committed.
func (in *insertion) accept(ctx context.Context, rows []int, a answer) error {
	in.tally(a)
	var look []int
	for p, own := range in.each(rows) {
		done, undone := own, []int(nil)
		if a.doneIn(p) < len(own) {
			done, undone = a.divide(p, own)
		}
		in.stored(done...)
		look = append(look, undone...)
	}
	if len(look) == 0 {
		return nil
	}
	if err := in.lookUp(ctx, look); err != nil {
		return err
	}
	in.untried = in.discarded(a.unsent)
	return nil
}

// discarded returns those of some rows that the database has discarded.
func (in *insertion) discarded(rows []int) (all []int) {
	for _, row := range rows {
		if in.result.Verdicts[row].Cause == message.CauseDiscarded {
			all = append(all, row)
		}
	}
	return all
}

// askFirst asks what must be known before a connection's first batch. One is how keys compare, if
// they may compare otherwise than by their bytes: until that is known, batches could lock rows in
// opposite order. The other is what types read text, and how: a batch is written by that, so it is
// asked again when the answer is old. A rehearsal asks too, because it does not begin with an insert
// that asks on its way.
func (in *insertion) askFirst(ctx context.Context) error {
	order := func(p *part) bool {
		orders := p.hasTextKey() && !in.batch.HasGroups() && len(in.rows) > 1
		return p.keys == nil && !p.keysAsked && (orders || p.ofReplaced())
	}
	types := func(p *part) bool { return p.typesAreOld() && (p.asText || p.oddTypes) || in.rehearsal }
	if !in.anyPart(order) && !in.anyPart(types) {
		return nil
	}
	return in.askNow(ctx, types)
}

// typesAreOld reports whether what the columns are must be asked again.
func (p *part) typesAreOld() bool {
	return p.typesAskedAt.IsZero() || p.store.now().Sub(p.typesAskedAt) > catalogAge
}

// askNow asks how keys compare, if that was never asked, and of some parts what the types of the
// columns are.
func (in *insertion) askNow(ctx context.Context, types func(*part) bool) error {
	rt := in.roundTrip(ctx)
	rt.askOnce()
	parts := in.withChildren()
	facts := make([]typeFacts, len(parts))
	for i, p := range parts {
		if types(p) {
			rt.askTypes(p, &facts[i])
		}
	}
	if _, err := in.finish(ctx, in.lookingUp(in.rows), rt); err != nil {
		return err
	}
	for i, p := range parts {
		if !types(p) {
			continue
		}
		if refused := facts[i].refused; refused != nil {
			return p.errorOf(p.lookingUp, refused.PgError)
		}
		if err := p.misfits(facts[i].Wrong); err != nil {
			return &failure{err: err, of: p}
		}
		p.textTypes, p.typesAskedAt = facts[i].Text, in.store.now()
	}
	return nil
}

// rank sorts rows of the part as the answer to the rank statement does.
func (p *part) rank(rows []int, a *answer) {
	if a.refused != nil || len(a.values) != 2*len(rows) {
		return
	}
	in := p.in
	p.sorted = make([]int, len(rows))
	if in.class == nil {
		in.class = make(map[int]int, len(in.rows))
	}
	for i := range rows {
		row := rows[a.values[2*i]-1]
		p.sorted[i] = row
		in.class[row] = p.index*in.batch.Len() + int(a.values[2*i+1])
	}
}

// lookUp sets the verdicts on rows if the server stored fewer than it was sent: a row whose key is
// in the table is stored, and one whose key is not was discarded.
func (in *insertion) lookUp(ctx context.Context, rows []int) error {
	rt := in.roundTrip(ctx)
	rt.compare(rows)
	rt.endSegment()
	answers, err := in.finish(ctx, in.lookingUp(rows), rt)
	if err != nil {
		return err
	}
	return in.readPresent(ctx, rows, answers[0])
}

// lookingUp returns what a look-up of rows does, for errors.
func (in *insertion) lookingUp(rows []int) string {
	var tables []string
	for p := range in.each(rows) {
		tables = append(tables, table(p.table))
	}
	return "look up keys in " + list(tables)
}

// readPresent sets the verdicts on rows by the answer to the question which of their keys are in the
// table.
func (in *insertion) readPresent(ctx context.Context, rows []int, present answer) error {
	switch refused := present.refused; {
	case refused.givesUpComparing(present.at):
		return in.lookUp(ctx, rows)
	case refused != nil:
		return refused.part().errorOf(refused.part().lookingUp, refused.PgError)
	}
	in.learnConflicts(present)
	in.returned(message.CauseDiscarded, rows...)
	in.stored(present.found...)
	return nil
}

func all(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
