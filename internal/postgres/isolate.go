package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/fault"
	"sluice/internal/message"
)

// maxSingles is the largest batch that is tried row by row at once. More
// savepoints than 64 overflow the server's cache of subtransactions, which
// slows every other session down while it lasts.
const maxSingles = 64

// searching is what an isolation does, for its errors.
const searching = "find the refused rows"

// isolation finds the rows that the server refuses and commits all others, in
// one transaction. A piece is rows that are tried as one statement:
//
//	INSERT, checks, RELEASE s, SAVEPOINT s, Sync; ROLLBACK TO s, Sync
//
// After a good piece the savepoint has moved behind it, and the ROLLBACK TO
// undoes nothing. After a refused one the rest of the group was skipped, and
// the ROLLBACK TO recovers. Pieces are in the order of their keys, so that
// two isolations of the same rows wait for each other instead of a deadlock.
//
// Up to maxSingles rows are a piece each, in one round trip. Above, a first
// round trip tries pieces of about √n rows and rolls all of it back; a second
// one tries the rows of refused pieces one by one, between the good pieces,
// and commits.
type isolation struct {
	*insertion
	pieces  [][]int
	asked   []int // rows whose keys are looked up before the commit
	refused map[int]*pgconn.PgError
	late    map[int]bool // refused by what is checked after the INSERT
	isNew   map[int]bool
	there   map[int]bool // their keys were there before this transaction
	unknown []int        // rows of pieces that stored fewer than they have
	again   []int        // rows of pieces that were refused only the second time
	before  int          // how many rows were inserted before this isolation
	// spoiled are rows that may be valid together, but for one of them.
	spoiled []int
}

// maxIsolations bounds how often rows are isolated anew because a piece that
// had passed is refused afterwards.
const maxIsolations = 3

func (in *insertion) isolate(ctx context.Context, refusal *pgconn.PgError) error {
	if err := in.findForeign(ctx, refusal); err != nil {
		return err
	}
	if err := in.order(ctx); err != nil {
		return err
	}
	var ours error
	rest := in.rows
	in.mine = map[int]bool{}
	for range maxIsolations {
		i := &isolation{
			insertion: in, refused: map[int]*pgconn.PgError{}, late: map[int]bool{}, isNew: map[int]bool{}, there: map[int]bool{}, before: in.result.Inserted,
		}
		if err := i.rehearse(ctx, rest, refusal); err != nil {
			return err
		}
		if err := i.commit(ctx, refusal); err != nil {
			if !settled(err) {
				return err
			}
			ours = cmp.Or(ours, err)
		}
		if rest = i.again; len(rest) == 0 {
			return ours
		}
	}
	return databaseError(fault.Error{Cause: message.CauseTransient, What: searching + ": rows that passed were refused afterwards, again and again"})
}

// order sorts the rows as the index of the key does, and finds which have the
// same key.
func (in *insertion) order(ctx context.Context) error {
	if in.class != nil {
		return nil
	}
	if in.keys.byBytes() {
		in.class = classes(in.batch, in.rows)
		return nil
	}
	all, native := in.rows, in.native(in.rows)
	f := in.flight(ctx)
	f.keys(in.sql.rank, native)
	f.end()
	answers, err := in.landed(ctx, in.store.lookingUp, f)
	if err != nil {
		return err
	}
	in.rows = native
	in.rank(&answers[0])
	if in.class == nil {
		return in.fault(in.store.lookingUp, cmp.Or(answers[0].refused, errUnexpected))
	}
	for _, row := range all {
		if in.foreign[row] { // equal to no other: it has no place in the index
			in.rows = append(in.rows, row)
			in.class[row] = -1 - row
		}
	}
	return nil
}

// findForeign finds the rows whose keys the server's encoding cannot represent, after an error
// that says that there may be some. No such key is in the table, and a look-up with one of them
// fails for all.
func (in *insertion) findForeign(ctx context.Context, refusal *pgconn.PgError) error {
	if !unrepresentable(refusal) || !in.hasTextKey() {
		return nil
	}
	f := in.flight(ctx)
	for k := range in.rows {
		f.keys(in.sql.read, in.rows[k:k+1])
		f.end()
	}
	answers, err := in.landed(ctx, in.store.lookingUp, f)
	if err != nil {
		return err
	}
	in.foreign = map[int]bool{}
	for k, row := range in.rows {
		switch refused := answers[k].refused; {
		case refused == nil:
		case unrepresentable(refused):
			in.foreign[row] = true
		default:
			return in.fault(in.store.lookingUp, refused)
		}
	}
	return nil
}

// native are those of the rows whose keys can be looked up.
func (in *insertion) native(rows []int) []int {
	if len(in.foreign) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return in.foreign[row] })
}

// rehearse decides on the pieces.
func (i *isolation) rehearse(ctx context.Context, rows []int, refusal *pgconn.PgError) error {
	if len(rows) <= maxSingles {
		for k := range rows {
			i.pieces = append(i.pieces, rows[k:k+1:k+1])
		}
		i.asked = rows
		return nil
	}
	pieces := i.split(rows)
	f := i.flight(ctx)
	i.begin(ctx, f, refusal)
	for _, piece := range pieces {
		i.trial(f, piece)
	}
	f.say("ROLLBACK")
	f.end()
	answers, err := i.landed(ctx, searching, f)
	if err == nil {
		answers, err = i.begun(answers)
	}
	if err != nil {
		return err
	}
	for k, piece := range pieces {
		switch a := answers[2*k]; {
		case a.refused != nil:
			i.suspect = cmp.Or(i.suspect, i.suspicion(a.refused))
			for r := range piece {
				i.pieces = append(i.pieces, piece[r:r+1:r+1])
			}
			i.asked = append(i.asked, piece...)
		case i.inserted(a) < len(piece):
			i.pieces = append(i.pieces, piece)
			i.asked = append(i.asked, piece...)
		default:
			i.pieces = append(i.pieces, piece)
		}
		if err := i.recovered(answers[2*k+1]); err != nil {
			return err
		}
	}
	return nil
}

// split makes pieces of about √n rows. Rows with one key stay together.
func (i *isolation) split(rows []int) (pieces [][]int) {
	size := int(math.Ceil(math.Sqrt(float64(len(rows)))))
	for len(rows) > 0 {
		n := min(size, len(rows))
		for n < len(rows) && i.class[rows[n-1]] == i.class[rows[n]] {
			n++
		}
		pieces = append(pieces, rows[:n:n])
		rows = rows[n:]
	}
	return pieces
}

// commit tries the pieces, commits what passes, and gives the verdicts.
func (i *isolation) commit(ctx context.Context, refusal *pgconn.PgError) error {
	i.asked = i.native(i.asked)
	f := i.flight(ctx)
	i.begin(ctx, f, refusal)
	f.present(i.asked)
	f.endRequired()
	for _, piece := range i.pieces {
		i.trial(f, piece)
	}
	together := leadsAhead(i.batch, i.rows, links(i.batch, i.keys))
	if !together {
		i.close(f)
	}
	answers, err := i.landed(ctx, searching, f)
	if err == nil {
		answers, err = i.begun(answers)
	}
	if err != nil {
		return err
	}
	for _, n := range answers[0].values {
		i.there[i.asked[n-1]] = true
	}
	if answers, err = i.tried(answers[1:], i.pieces); err != nil {
		return err
	}
	if together {
		if answers, err = i.together(ctx); err != nil {
			return err
		}
	}
	present, err := i.committed(answers)
	if err != nil {
		return err
	}
	return i.conclude(ctx, present)
}

// tried takes the answers to trials off the front.
func (i *isolation) tried(answers []answer, pieces [][]int) ([]answer, error) {
	for k, piece := range pieces {
		a := answers[2*k]
		n := i.inserted(a)
		i.result.Inserted += n
		switch {
		case a.refused != nil && len(piece) > 1:
			i.again = append(i.again, piece...)
		case a.refused != nil:
			i.refused[piece[0]], i.late[piece[0]] = a.refused, a.inserted
		case n == len(piece):
			for _, row := range piece {
				i.isNew[row] = true
			}
		default:
			i.unknown = append(i.unknown, piece...)
		}
		if err := i.recovered(answers[2*k+1]); err != nil {
			return nil, err
		}
	}
	return answers[2*len(pieces):], nil
}

// together tries rows once more that were refused for a foreign key, with all
// others in place: first those that may be valid only together, as one
// statement, and then one by one.
func (i *isolation) together(ctx context.Context) ([]answer, error) {
	all := links(i.batch, i.keys)
	var rows, passed []int
	for _, row := range i.rows {
		if err := i.refused[row]; err == nil {
			passed = append(passed, row)
		} else if refusing(all, err) != nil {
			rows = append(rows, row)
		}
	}
	rows = closed(i.batch, rows, passed, all, func(row int) *pgconn.PgError { return i.refused[row] })
	f := i.flight(ctx)
	var singles [][]int
	for k := range rows {
		singles = append(singles, rows[k:k+1:k+1])
	}
	backwards := slices.Clone(singles)
	slices.Reverse(backwards)
	if len(rows) > 0 {
		// As one statement; and if that is refused one by one, which finds chains in either order.
		i.trial(f, rows)
		for _, piece := range slices.Concat(singles, backwards) {
			i.trial(f, piece)
		}
	}
	i.close(f)
	answers, err := i.landed(ctx, searching, f)
	if err != nil || len(rows) == 0 {
		return answers, err
	}
	first := answers[0]
	if err := i.recovered(answers[1]); err != nil {
		return nil, err
	}
	for _, row := range rows {
		delete(i.refused, row)
	}
	if first.refused == nil {
		n := i.inserted(first)
		i.result.Inserted += n
		if n < len(rows) {
			i.unknown = append(i.unknown, rows...)
		} else {
			for _, row := range rows {
				i.isNew[row] = true
			}
		}
		return answers[2+4*len(rows):], nil
	}
	if answers, err = i.tried(answers[2:], singles); err != nil {
		return nil, err
	}
	before := maps.Clone(i.refused)
	for _, row := range rows {
		delete(i.refused, row)
	}
	if answers, err = i.tried(answers, backwards); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if i.isNew[row] || before[row] == nil {
			delete(i.refused, row)
		} else if len(rows) > 1 && refusing(all, i.refused[row]) != nil {
			i.spoiled = append(i.spoiled, row)
		}
	}
	return answers, nil
}

// begin opens the transaction.
func (in *insertion) begin(ctx context.Context, f *flight, refusal *pgconn.PgError) {
	f.fatal = in.fatal
	if in.catalog == nil {
		in.catalog = in.store.fresh().catalog // another insertion may have asked meanwhile
	}
	if in.catalog == nil || !in.current && !in.catalog.knows(refusal) {
		f.askKeys()
		f.askCatalog()
	}
	f.say("BEGIN ISOLATION LEVEL READ COMMITTED")
	f.say(limits(ctx))
	f.say("SELECT set_config('sluice.search_path', current_setting('search_path'), true)")
	f.say("SAVEPOINT s")
	f.end()
	in.suspect, in.defaults = cmp.Or(in.suspect, in.suspicion(refusal)), nil
}

// silence is how long the server waits for a client that the network has lost.
const silence = 10 * time.Second

// limits bounds the transaction on the server: if this process is gone, or
// the network silent, its rows would lock out those who deliver them again.
// The idle timeout does not see a session that waits in the midst of a
// pipeline; keepalives and, from Postgres 17 on, the transaction's own
// timeout do. All of it ends with the transaction.
func limits(ctx context.Context) string {
	transaction := 15 * time.Minute // a function's longest life
	if deadline, ok := ctx.Deadline(); ok {
		transaction = max(time.Until(deadline), 0) + silence
	}
	return fmt.Sprintf(`SELECT set_config('idle_in_transaction_session_timeout', '%[1]d', true), set_config('tcp_user_timeout', '%[1]d', true),
		set_config('tcp_keepalives_idle', '4', true), set_config('tcp_keepalives_interval', '2', true), set_config('tcp_keepalives_count', '3', true),
		CASE WHEN current_setting('server_version_num')::int >= 170000 THEN set_config('transaction_timeout', '%[2]d', true) END,
		CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END`,
		silence.Milliseconds(), transaction.Milliseconds())
}

// company tries rows once more that a constraint trigger refuses at the COMMIT:
// with all others in place, and together. A trigger that reads tables may look at
// sets of rows, the two sides of a transfer say. It returns the rows that stay
// refused. Rows of a set that is refused are spoiled: it may be one of them.
func (i *isolation) company(ctx context.Context, refused []int) (rest []int, err error) {
	var rows []int
	for _, row := range refused {
		if i.late[row] && !i.mine[i.class[row]] && i.catalog.reads(i.store.judge(i.refused[row], i.catalog).function) {
			rows = append(rows, row)
		} else {
			rest = append(rest, row)
		}
	}
	if len(rows) == 0 {
		return refused, nil
	}
	f := i.flight(ctx)
	f.insert(rows)
	f.end()
	answers, err := i.landed(ctx, searching, f)
	if err != nil {
		return nil, err
	}
	switch again := answers[0].refused; {
	case again != nil && i.store.judge(again, i.catalog).blame == blameTransient:
		return nil, i.failed(again) // the others are there, which the next attempt finds
	case again != nil && len(rows) == 1:
		return refused, nil
	case again != nil:
		for _, row := range rows {
			i.result.Verdicts[row] = message.Verdict{Cause: message.CauseTransient}
		}
		return rest, i.spoils(again)
	}
	return rest, i.accept(ctx, rows, answers[0])
}

// begun takes the answer to begin off the front.
func (in *insertion) begun(answers []answer) ([]answer, error) {
	if err := answers[0].refused; err != nil {
		return nil, in.failed(err)
	}
	return answers[1:], nil
}

// samePath undoes what a trigger of another row may have done to the
// search_path of the transaction: it would lead elsewhere.
const samePath = "SELECT WHERE set_config('search_path', current_setting('sluice.search_path'), true) IS NULL"

// trial adds the two groups of a try.
//
// Each piece has to meet its own error, also one that is checked only at the
// COMMIT. So that is checked once behind the INSERT and its other triggers,
// which may do what the check wants. Then constraints are deferred again, for
// the triggers of the next piece. Before their names are known all of it is
// undone for that, and what has been checked is checked again with each piece.
func (in *insertion) trial(f *flight, rows []int) {
	f.insert(rows)
	switch c := in.catalog; {
	case c == nil:
		f.say("SAVEPOINT checked")
		f.say("SET CONSTRAINTS ALL IMMEDIATE")
		f.say("ROLLBACK TO SAVEPOINT checked")
	case c.Deferrable:
		f.say("SET CONSTRAINTS ALL IMMEDIATE")
		if c.Deferred != "" {
			f.say("SET CONSTRAINTS " + c.Deferred + " DEFERRED")
		}
	}
	f.say("RELEASE SAVEPOINT s")
	f.say("SAVEPOINT s")
	f.end()
	f.say("ROLLBACK TO SAVEPOINT s")
	f.say(samePath)
	f.end()
}

// close ends the transaction: what the database adds by itself is evaluated if
// it is under suspicion, keys are looked up, and the rest is committed.
func (i *isolation) close(f *flight) {
	i.evaluate(f)
	f.present(i.asked)
	f.end()
	f.say("COMMIT")
	f.end()
}

// evaluate adds the evaluation of what the database computes for every row,
// if that is under suspicion.
func (in *insertion) evaluate(f *flight) {
	if in.suspect == nil {
		return
	}
	f.say(in.store.defaults)
	f.ask(func(a *answer) { in.defaults = &answer{refused: a.refused} })
	f.say("ROLLBACK TO SAVEPOINT s")
	f.say(samePath)
	f.ask(func(*answer) {})
}

// committed reads the answers to close.
func (i *isolation) committed(answers []answer) (present answer, err error) {
	present, commit := answers[0], answers[1]
	switch {
	case present.refused != nil:
		return answer{}, i.fault(i.store.lookingUp, present.refused)
	case commit.refused != nil && ofConstraint(commit.refused):
		return answer{}, databaseError(fault.Error{
			Cause:  message.CauseTransient,
			Code:   commit.refused.Code,
			What:   "commit: " + i.store.shown(commit.refused, i.catalog),
			Remedy: "it passed when it was tried: something has changed meanwhile",
		})
	case commit.refused != nil:
		return answer{}, i.fault("commit", commit.refused)
	case commit.tag != "COMMIT": // a failed transaction answers COMMIT with ROLLBACK
		return answer{}, databaseError(fault.Error{Cause: message.CauseTransient, What: "commit: the server rolled the transaction back"})
	}
	return present, nil
}

func (in *insertion) recovered(a answer) error {
	if a.refused != nil {
		return in.fault(searching, a.refused)
	}
	return nil
}

// maxPassing is how many rows of an isolation may meet what passes. Each may wait
// for a lock, and more of them are no exception any more.
const maxPassing = 8

// fatal returns an error unless the answer is about the rows that met it.
func (in *insertion) fatal(a *answer) error {
	switch j := in.store.judge(a.refused, in.catalog); {
	case j.single, j.blame == blameMessage, j.blame == blameOpen:
		return nil
	case j.blame == blameTransient && in.last && ofSome(a.refused) && in.passing < maxPassing:
		in.passing++
		return nil // there is no time to try all of it again
	default:
		return in.failed(a.refused)
	}
}

// conclude gives the verdicts once the transaction is committed.
func (i *isolation) conclude(ctx context.Context, present answer) error {
	asked := make(map[int]bool, len(i.asked))
	for _, row := range i.asked {
		asked[row] = true
	}
	found := make(map[int]bool, len(present.values))
	for _, n := range present.values {
		found[i.asked[n-1]] = true
	}
	for row := range i.isNew {
		i.mine[i.class[row]] = true
		i.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
	}
	var look []int
	for _, row := range i.unknown {
		switch {
		case found[row]:
			i.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
		case asked[row]:
			i.result.Verdicts[row] = message.Verdict{Cause: message.CauseDiscarded}
		default:
			look = append(look, row)
		}
	}
	var refused []int
	var ours error
	for _, row := range i.rows {
		if i.refused[row] == nil {
			continue
		}
		// A row that one of our transactions put there proves nothing about one
		// with the same key that was refused.
		switch {
		case i.there[row] && !i.mine[i.class[row]]:
			i.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
		case found[row] && !i.mine[i.class[row]] && i.store.judge(i.refused[row], i.catalog).inside:
			// A trigger refused what another delivery stored meanwhile, perhaps for that.
			i.result.Verdicts[row] = message.Verdict{Cause: message.CauseTransient}
			ours = settle(i.failed(i.refused[row]))
		case slices.Contains(i.spoiled, row):
			i.result.Verdicts[row] = message.Verdict{Cause: message.CauseTransient}
			ours = i.spoils(i.refused[row])
		default:
			refused = append(refused, row)
		}
	}
	if len(look) > 0 { // a piece of new rows met others meanwhile
		if err := i.duplicates(ctx, look); err != nil {
			return err
		}
	}
	refused, err := i.company(ctx, refused)
	if err != nil && !settled(err) {
		return err
	}
	ours = cmp.Or(ours, err)
	if err := i.blame(ctx, refused, func(row int) *pgconn.PgError { return i.refused[row] }, i.result.Inserted > i.before); err != nil {
		return err
	}
	return ours
}
