package postgres

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// maxSingles is the largest batch that is tried row by row at once. More savepoints than 64
// overflow the server's cache of subtransactions, which slows every other session down while it
// lasts.
const maxSingles = 64

// searching is what a search does, for its errors.
const searching = "find the refused rows"

// rowSearch finds the rows that the server refuses and commits all others, in one transaction. A
// chunk is rows that are tried as one statement:
//
//	INSERT, checks, RELEASE s, SAVEPOINT s, Sync; ROLLBACK TO s, Sync
//
// A chunk that passes moves the savepoint to after it, and the ROLLBACK TO undoes nothing. If it is
// refused, the server skips the rest of the segment, and the ROLLBACK TO recovers. Chunks are in
// the order of their keys, so that two searches of the same rows wait for each other instead of a
// deadlock.
//
// Up to maxSingles rows are a chunk each, in one round trip. Above, a first round trip tries chunks
// of about √n rows and rolls all of it back; a second one tries the rows of refused chunks one by
// one, between the chunks that passed, and commits.
type rowSearch struct {
	*insertion
	chunks   [][]int
	lookedUp []int // rows whose keys are looked up before the commit
	refused  map[int]*refusal
	late     map[int]bool // refused by a check after the INSERT
	isNew    map[int]bool
	there    map[int]bool    // their keys were in the table before this transaction
	unknown  []int           // rows of chunks that stored fewer than they have
	maybe    map[int]bool    // numbers of the keys of unknown rows whose chunk stored some of them
	again    []int           // rows of chunks that were refused only the second time
	before   message.Tallies // of the searches before
	// blocked are rows that may be valid together, except for one of them.
	blocked []int
}

// maxSearches bounds how often rows are searched again because a chunk that had passed is refused
// afterwards.
const maxSearches = 3

// findRefused finds the refused rows of a batch without message groups, stores the others, and sets
// the verdicts.
func (in *insertion) findRefused(ctx context.Context, why *refusal) error {
	if err := in.findUnreadable(ctx, why); err != nil {
		return err
	}
	if err := in.sortByKey(ctx); err != nil {
		return err
	}
	var rowsErr error
	rest := in.rows
	in.mine = map[int]bool{}
	for range maxSearches {
		r := &rowSearch{
			insertion: in, refused: map[int]*refusal{}, late: map[int]bool{}, isNew: map[int]bool{}, there: map[int]bool{}, maybe: map[int]bool{}, before: slices.Clone(in.result.Tallies),
		}
		if err := r.planChunks(ctx, rest, why); err != nil {
			return err
		}
		if err := r.commit(ctx, why); err != nil {
			if !verdictsHold(err) {
				return err
			}
			rowsErr = cmp.Or(rowsErr, err)
		}
		if rest = r.again; len(rest) == 0 {
			return rowsErr
		}
	}
	return databaseError(fault.Error{Cause: message.CauseTransient, What: searching + ": rows that passed were refused afterwards, again and again"})
}

// sortByKey sorts the rows as the indexes of the keys do, and finds which have the same key.
func (in *insertion) sortByKey(ctx context.Context) error {
	all, readable := in.rows, in.readable(in.rows)
	if in.anyPart(func(p *part) bool { return p.sorted == nil && !p.keys.byBytes() }) {
		rt := in.roundTrip(ctx)
		var refused *refusal
		for p, rows := range in.each(readable) {
			if p.sorted == nil && !p.keys.byBytes() {
				rt.keys(sent{of: p}, p.sql.rank, rows)
				rt.ask(func(a *answer) { refused = cmp.Or(refused, a.refused); p.rank(rows, a) })
			}
		}
		if _, err := in.finish(ctx, in.lookingUp(all), rt); err != nil {
			return err
		}
		if refused != nil {
			return refused.part().errorOf(refused.part().lookingUp, refused.PgError)
		}
	}
	if in.class == nil {
		in.class = make(map[int]int, len(all))
	}
	var sorted []int
	for p, rows := range in.each(readable) {
		if p.sorted == nil {
			p.sorted = rows
			p.classify(rows)
		}
		sorted = append(sorted, p.sorted...)
	}
	for _, row := range all {
		if in.unreadable[row] { // equal to no other: it has no place in the index
			sorted = append(sorted, row)
			in.class[row] = -1 - row
		}
	}
	in.rows = sorted
	return nil
}

// findUnreadable finds the rows whose keys the server cannot read, because its encoding cannot
// represent them or their type does not take them, after an error that there may be some. No such
// key is in the table, and a look-up with one of them fails for all.
func (in *insertion) findUnreadable(ctx context.Context, why *refusal) error {
	suspect := func(p *part) bool {
		encoding := (unrepresentable(why.PgError) || in.rehearsal) && p.hasTextKey()
		readsText := (parameterOf(why.PgError) > 0 || in.rehearsal) && slices.Contains(p.keyFormats, 0)
		return encoding || readsText
	}
	var rows []int
	for _, row := range in.rows {
		if suspect(in.of(row)) {
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil
	}
	rt := in.roundTrip(ctx)
	for k, row := range rows {
		rt.keys(sent{of: in.of(row)}, in.of(row).sql.read, rows[k:k+1])
		rt.endSegment()
	}
	answers, err := in.finish(ctx, in.lookingUp(rows), rt)
	if err != nil {
		return err
	}
	in.unreadable = map[int]bool{}
	for k, row := range rows {
		refused := answers[k].refused
		if refused == nil {
			continue
		}
		ofKey := unrepresentable(refused.PgError) || parameterOf(refused.PgError) > 0 && ofText(refused.PgError) // a parameter's number is of the key here
		if j := refused.judge(); !ofKey && !j.rejects && !j.open {
			return refused.of.errorOf(refused.of.lookingUp, refused.PgError)
		}
		in.unreadable[row] = true
	}
	return nil
}

// readable returns those of the rows whose keys can be looked up.
func (in *insertion) readable(rows []int) []int {
	if len(in.unreadable) == 0 {
		return rows
	}
	return slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return in.unreadable[row] })
}

// singles returns rows as chunks of one row each.
func singles(rows []int) [][]int { return slices.Collect(slices.Chunk(rows, 1)) }

// planChunks decides which rows are a chunk. For more than maxSingles rows it tries larger chunks,
// and rolls them back.
func (r *rowSearch) planChunks(ctx context.Context, rows []int, why *refusal) error {
	if len(rows) <= maxSingles {
		r.chunks, r.lookedUp = singles(rows), rows
		return nil
	}
	if r.rehearsal { // no later look-up would find them
		defer func() { r.lookedUp = rows }()
	}
	chunks := r.split(rows)
	rt := r.roundTrip(ctx)
	r.addBegin(rt, why)
	for _, chunk := range chunks {
		r.addTrial(rt, chunk)
	}
	rt.add("ROLLBACK")
	rt.endSegment()
	answers, err := r.finishBegun(ctx, rt)
	if err != nil {
		return err
	}
	for k, chunk := range chunks {
		switch a := answers[2*k]; {
		case a.refused != nil:
			a.refused.suspect()
			r.chunks = append(r.chunks, singles(chunk)...)
			r.lookedUp = append(r.lookedUp, chunk...)
		case len(a.unsent) > 0: // because of a newer one that was discarded
			r.chunks = append(r.chunks, singles(chunk)...)
			r.lookedUp = append(r.lookedUp, chunk...)
		case a.rows < len(chunk):
			r.chunks = append(r.chunks, chunk)
			r.lookedUp = append(r.lookedUp, chunk...)
		default:
			r.chunks = append(r.chunks, chunk)
		}
		if err := r.recovered(answers[2*k+1]); err != nil {
			return err
		}
	}
	return nil
}

// split makes chunks of about √n rows. Rows with one key stay together.
func (r *rowSearch) split(rows []int) (chunks [][]int) {
	size := int(math.Ceil(math.Sqrt(float64(len(rows)))))
	for len(rows) > 0 {
		n := min(size, len(rows))
		for n < len(rows) && r.class[rows[n-1]] == r.class[rows[n]] {
			n++
		}
		chunks = append(chunks, rows[:n:n])
		rows = rows[n:]
	}
	return chunks
}

// commit tries the chunks, commits what passes, and sets the verdicts.
func (r *rowSearch) commit(ctx context.Context, why *refusal) error {
	r.lookedUp = r.readable(r.lookedUp)
	rt := r.roundTrip(ctx)
	r.addBegin(rt, why)
	rt.present(r.lookedUp)
	rt.endRequired()
	for _, chunk := range r.chunks {
		r.addTrial(rt, chunk)
	}
	needsTogether := leadsAhead(r.rows, r.links())
	if !needsTogether {
		r.addCommit(rt)
	}
	answers, err := r.finishBegun(ctx, rt)
	if err != nil {
		return err
	}
	for _, row := range answers[0].found {
		r.there[row] = true
	}
	if answers, err = r.readTrials(answers[1:], r.chunks); err != nil {
		return err
	}
	if needsTogether {
		if answers, err = r.retryTogether(ctx); err != nil {
			return err
		}
	}
	present, err := r.readCommit(answers)
	if err != nil {
		return err
	}
	return r.conclude(ctx, present)
}

// readTrials takes the answers to trials off the front.
func (r *rowSearch) readTrials(answers []answer, chunks [][]int) ([]answer, error) {
	for k, chunk := range chunks {
		a := answers[2*k]
		n := a.all()
		if a.refused == nil {
			r.tally(a)
		}
		switch {
		case a.refused != nil && len(chunk) > 1:
			r.again = append(r.again, chunk...)
		case a.refused != nil:
			r.refused[chunk[0]], r.late[chunk[0]] = a.refused.by(chunk[0]), a.written != nil
		case n == len(chunk):
			for _, row := range chunk {
				r.isNew[row] = !slices.Contains(a.there, row)
			}
		default:
			r.unknown = append(r.unknown, chunk...)
			for _, row := range chunk {
				r.maybe[r.class[row]] = r.maybe[r.class[row]] || n > 0
			}
		}
		if err := r.recovered(answers[2*k+1]); err != nil {
			return nil, err
		}
	}
	return answers[2*len(chunks):], nil
}

// retryTogether tries rows again that were refused for a foreign key, with all others in place:
// first those that may be valid only together, as one statement, and then one by one.
func (r *rowSearch) retryTogether(ctx context.Context) ([]answer, error) {
	all := r.links()
	var rows, passed []int
	for _, row := range r.rows {
		if err := r.refused[row]; err == nil {
			passed = append(passed, row)
		} else if refusing(all, err) != nil {
			rows = append(rows, row)
		}
	}
	rows = validTogether(rows, passed, all, r.refused)
	rt := r.roundTrip(ctx)
	forwards, backwards := singles(rows), singles(rows)
	slices.Reverse(backwards)
	if len(rows) > 0 {
		// As one statement; and if that is refused, one by one in either order, which finds chains.
		r.addTrial(rt, rows)
		for _, chunk := range slices.Concat(forwards, backwards) {
			r.addTrial(rt, chunk)
		}
	}
	r.addCommit(rt)
	answers, err := r.finish(ctx, searching, rt)
	if err != nil || len(rows) == 0 {
		return answers, err
	}
	for _, row := range rows {
		delete(r.refused, row)
	}
	if answers[0].refused == nil {
		if answers, err = r.readTrials(answers, [][]int{rows}); err != nil {
			return nil, err
		}
		return answers[4*len(rows):], nil
	}
	if err := r.recovered(answers[1]); err != nil {
		return nil, err
	}
	if answers, err = r.readTrials(answers[2:], forwards); err != nil {
		return nil, err
	}
	before := maps.Clone(r.refused)
	for _, row := range rows {
		delete(r.refused, row)
	}
	if answers, err = r.readTrials(answers, backwards); err != nil {
		return nil, err
	}
	for _, row := range rows {
		if r.isNew[row] || before[row] == nil {
			delete(r.refused, row)
		} else if len(rows) > 1 && refusing(all, r.refused[row]) != nil {
			r.blocked = append(r.blocked, row)
		}
	}
	return answers, nil
}

// addBegin adds the statements that open the transaction.
func (in *insertion) addBegin(rt *roundTrip, why *refusal) {
	rt.stopOn = in.stopOn
	for _, p := range in.withChildren() {
		if p.catalog == nil {
			p.catalog = p.freshCatalog() // another insertion may have asked meanwhile
		}
		if p.catalog == nil || !p.catalogIsOurs && p == why.part() && !p.catalog.knows(why.PgError) {
			rt.askKeys(p)
			rt.askCatalog(p)
		}
		p.evaluated = nil
	}
	rt.add("BEGIN ISOLATION LEVEL READ COMMITTED")
	rt.add(limits(rt.deadline))
	rt.add("SELECT set_config('sluice.search_path', current_setting('search_path'), true)")
	rt.add("SAVEPOINT s")
	rt.endSegment()
	why.suspect()
}

// silence is how long the server waits for a client that the network has lost.
const silence = 10 * time.Second

// limits returns the SQL that bounds the transaction on the server. If this process dies unnoticed,
// or the network is silent, these timeouts end it; until then its locks block redeliveries. The
// idle timeout does not see a session that waits in the middle of a pipeline; keepalives do, and
// from Postgres 17 on the transaction's own timeout. All of it ends with the transaction.
func limits(deadline time.Time) string {
	transaction := 15 * time.Minute // a function's longest life
	if !deadline.IsZero() {
		transaction = max(time.Until(deadline), 0) + silence
	}
	return fmt.Sprintf(`SELECT WHERE num_nulls(set_config('idle_in_transaction_session_timeout', '%[1]d', true), set_config('tcp_user_timeout', '%[1]d', true),
		set_config('tcp_keepalives_idle', '4', true), set_config('tcp_keepalives_interval', '2', true), set_config('tcp_keepalives_count', '3', true),
		CASE WHEN current_setting('server_version_num')::int >= 170000 THEN set_config('transaction_timeout', '%[2]d', true) END,
		CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END) < 0`,
		silence.Milliseconds(), transaction.Milliseconds())
}

// retryLate tries rows again that a constraint trigger refuses at the COMMIT: with all others in
// place, and together. A trigger that reads tables may look at sets of rows, such as the two sides
// of a transfer. It returns the rows that stay refused. Rows of a set that is refused are blocked:
// any of them may be the reason.
func (r *rowSearch) retryLate(ctx context.Context, refused []int) (rest []int, err error) {
	if r.rehearsal { // it would store them
		return refused, nil
	}
	var rows []int
	for _, row := range refused {
		if r.late[row] && !r.mine[r.class[row]] && r.of(row).catalog.usesTables(r.refused[row].judge().function) {
			rows = append(rows, row)
		} else {
			rest = append(rest, row)
		}
	}
	if len(rows) == 0 {
		return refused, nil
	}
	rt := r.roundTrip(ctx)
	rt.insert(rows)
	rt.endSegment()
	answers, err := r.finish(ctx, searching, rt)
	if err != nil {
		return nil, err
	}
	switch again := answers[0].refused; {
	case again != nil && again.judge().passes():
		return nil, again.error() // the next attempt finds that the others are stored
	case again != nil && len(rows) == 1:
		return refused, nil
	case again != nil:
		r.returned(message.CauseTransient, rows...)
		return rest, again.blockedError()
	}
	return rest, r.accept(ctx, rows, answers[0])
}

// finishBegun is finish for a round trip whose first segment begins a transaction, without the
// answer to that.
func (in *insertion) finishBegun(ctx context.Context, rt *roundTrip) ([]answer, error) {
	answers, err := in.finish(ctx, searching, rt)
	if err != nil {
		return nil, err
	}
	if refused := answers[0].refused; refused != nil {
		return nil, refused.error()
	}
	return answers[1:], nil
}

// samePath undoes what a trigger of another row may have done to the search_path of the
// transaction: it would lead elsewhere.
const samePath = "SELECT WHERE set_config('search_path', current_setting('sluice.search_path'), true) IS NULL"

// addTrial adds the two segments of a try.
//
// Each chunk has to meet its own errors, including those that are checked only at the COMMIT. So
// these are checked once after the INSERT and its other triggers, which may do what the check
// wants. Then constraints are deferred again, for the triggers of the next chunk. As long as the
// names of the constraints are not known, all of it is undone for that, and what has been checked
// is checked again with each chunk.
func (in *insertion) addTrial(rt *roundTrip, rows []int) {
	rt.insert(rows)
	in.endTrial(rt)
}

// endTrial adds what follows the insert of a try.
func (in *insertion) endTrial(rt *roundTrip) {
	switch {
	case in.anyPart(func(p *part) bool { return p.catalog == nil }):
		rt.add("SAVEPOINT checked")
		rt.add("SET CONSTRAINTS ALL IMMEDIATE")
		rt.add("ROLLBACK TO SAVEPOINT checked")
	case in.anyPart(func(p *part) bool { return p.catalog.Deferrable }):
		rt.add("SET CONSTRAINTS ALL IMMEDIATE")
		if deferred := in.deferred(); deferred != "" {
			rt.add("SET CONSTRAINTS " + deferred + " DEFERRED")
		}
	}
	rt.add("RELEASE SAVEPOINT s")
	rt.add("SAVEPOINT s")
	rt.endSegment()
	rt.add("ROLLBACK TO SAVEPOINT s")
	rt.add(samePath)
	rt.endSegment()
}

// deferred returns the constraints that are deferred by default, as SQL.
func (in *insertion) deferred() string {
	var all []string
	for _, p := range in.withChildren() {
		if names := p.catalog.Deferred; names != "" && !slices.Contains(all, names) {
			all = append(all, names)
		}
	}
	return list(all)
}

// addCommit adds what ends the transaction: it evaluates what the database computes for every row,
// if that is under suspicion, looks the keys up, and commits the rest, unless this is a rehearsal.
func (r *rowSearch) addCommit(rt *roundTrip) {
	r.evaluate(rt)
	rt.present(r.lookedUp)
	rt.endSegment()
	rt.add(r.ending())
	rt.endSegment()
}

// ending returns the statement that ends the transaction, which is also its tag if it succeeds: a
// failed transaction answers COMMIT with ROLLBACK.
func (in *insertion) ending() string {
	if in.rehearsal {
		return "ROLLBACK"
	}
	return "COMMIT"
}

// evaluate adds the evaluation of what the database computes for every row, if that is under
// suspicion.
func (in *insertion) evaluate(rt *roundTrip) {
	for _, p := range in.withChildren() {
		if !p.suspected && !in.rehearsal {
			continue
		}
		rt.add(p.sql.defaults)
		rt.ask(func(a *answer) { p.evaluated = &answer{refused: a.refused} })
		rt.add("ROLLBACK TO SAVEPOINT s")
		rt.add(samePath)
		rt.ask(func(*answer) {})
	}
}

// readCommit reads the answers to addCommit.
func (r *rowSearch) readCommit(answers []answer) (present answer, err error) {
	present, commit := answers[0], answers[1]
	switch {
	case present.refused != nil:
		return answer{}, present.refused.part().errorOf(r.lookingUp(r.lookedUp), present.refused.PgError)
	case commit.refused != nil && ofConstraint(commit.refused.PgError):
		return answer{}, databaseError(fault.Error{
			Cause:  message.CauseTransient,
			Code:   commit.refused.Code,
			What:   "commit: " + commit.refused.shown(),
			Remedy: "it passed before the commit: something has changed meanwhile",
		})
	case commit.refused != nil:
		return answer{}, commit.refused.part().errorOf("commit", commit.refused.PgError)
	case commit.tag != r.ending():
		return answer{}, databaseError(fault.Error{Cause: message.CauseTransient, What: "commit: the server rolled the transaction back"})
	}
	return present, nil
}

// passes reports whether this search has stored a row of the part.
func (r *rowSearch) passes(p *part) bool {
	return *r.result.Tallies.Of(p.index) != *r.before.Of(p.index)
}

// recovered returns an error if the answer to a ROLLBACK TO is one.
func (in *insertion) recovered(a answer) error {
	if a.refused != nil {
		return a.refused.part().errorOf(searching, a.refused.PgError)
	}
	return nil
}

// maxPassing is how many rows of a search may meet an error that passes. Each may have waited for a
// lock, and with more of them the whole batch is affected.
const maxPassing = 8

// stopOn returns an error unless the answer is about the rows that met it.
func (in *insertion) stopOn(a *answer) error {
	switch j := a.refused.judge(); {
	case j.single, j.cause == message.CauseConfiguration && len(in.parts) > 1 && a.refused.of != nil: // other tables may take theirs
		return nil
	case j.passes() && in.last && transientForSome(a.refused.PgError) && in.passing < maxPassing:
		in.passing++
		return nil // there is no time to try all of them again
	default:
		return a.refused.error()
	}
}

// conclude sets the verdicts once the transaction is committed.
func (r *rowSearch) conclude(ctx context.Context, present answer) error {
	found := make(map[int]bool, len(r.lookedUp)) // of those that were asked for
	for _, row := range r.lookedUp {
		found[row] = false
	}
	for _, row := range present.found {
		found[row] = true
	}
	for row, isNew := range r.isNew {
		r.mine[r.class[row]] = r.mine[r.class[row]] || isNew
		r.stored(row)
	}
	var look []int
	for _, row := range r.unknown {
		switch there, known := found[row]; {
		case there:
			r.isDuplicate(row)
		case known:
			r.returned(message.CauseDiscarded, row)
		default:
			look = append(look, row)
		}
	}
	var refused []int
	var rowsErr error
	for _, row := range r.rows {
		if r.refused[row] == nil {
			continue
		}
		// A row that one of our transactions stored proves nothing about a refused one with the
		// same key.
		switch {
		case r.refused[row].conflict:
			r.returned(message.CauseTransient, row) // unless it is still in conflict
			r.duplicates = append(r.duplicates, row)
		case r.there[row] && !r.mine[r.class[row]], r.outdated[row]:
			r.isDuplicate(row)
		case found[row] && !r.mine[r.class[row]] && r.refused[row].judge().inside:
			// A trigger refused what another delivery stored meanwhile, perhaps for that reason.
			r.returned(message.CauseTransient, row)
			rowsErr = keepVerdicts(r.refused[row].error().err)
		case found[row] && !r.mine[r.class[row]] && !r.maybe[r.class[row]] && !r.of(row).sharesKeys() && !r.anyPart(func(p *part) bool { return p.catalog.storesOthers() }):
			r.isDuplicate(row) // of another delivery, meanwhile
		case found[row] && !r.mine[r.class[row]] && r.refused[row].discarded():
			// The insert did not count what another delivery stored meanwhile.
			r.returned(message.CauseTransient, row)
			rowsErr = r.refused[row].meanwhile()
		case slices.Contains(r.blocked, row):
			r.returned(message.CauseTransient, row)
			rowsErr = r.refused[row].blockedError()
		default:
			refused = append(refused, row)
		}
	}
	if len(look) > 0 { // a chunk of new rows met others meanwhile
		if err := r.lookUp(ctx, look); err != nil {
			return err
		}
	}
	refused, err := r.retryLate(ctx, refused)
	if err != nil && !verdictsHold(err) {
		return err
	}
	rowsErr = cmp.Or(rowsErr, err)
	if err := r.giveVerdicts(ctx, refused, r.refused, r.passes); err != nil {
		return err
	}
	return rowsErr
}
