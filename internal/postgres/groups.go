package postgres

import (
	"cmp"
	"context"
	"slices"

	"example.com/owner/sluice/internal/message"
)

// groupSearch is the search in a batch with message groups: nothing of a group may be stored that
// follows a refused row. Each round tries the rows that are left one by one, in order, and rolls
// all of it back. Its results are certain up to the first row that must not be stored although it
// passed, because it follows a refused one; the rows after it are tried again without it. When no
// such row is left, the rest is stored as one statement.
type groupSearch struct {
	*insertion
	refused map[int]*refusal
	passes  map[int]bool // refused while another row of its table passed in the same round
	hoped   map[int]bool // rows that may be valid only together
	alone   bool         // they were tried together, and refused
}

// findRefusedOrdered finds the refused rows of a batch with message groups, stores those that may
// be stored, and sets the verdicts.
func (in *insertion) findRefusedOrdered(ctx context.Context, why *refusal) error {
	g := &groupSearch{insertion: in, refused: map[int]*refusal{}, passes: map[int]bool{}, hoped: map[int]bool{}}
	if err := in.findUnreadable(ctx, why); err != nil {
		return err
	}
	left := in.rows
	for {
		var err error
		if left, err = g.find(ctx, left, why); err != nil {
			return in.withdraw(err)
		}
		if len(left) == 0 {
			break
		}
		refused, err := g.commit(ctx, left)
		if err != nil {
			return in.withdraw(err)
		}
		if refused == nil {
			break
		}
		if refused.refused.discarded() { // and it was not in the rehearsal
			e := refused.refused.error().err
			e.Cause, e.Remedy = message.CauseTransient, "another delivery has stored rows of the batch meanwhile: the next attempt finds them"
			return in.withdraw(e)
		}
		if g.alone || len(g.hoped) == 0 || in.stopOn(refused) != nil || refused.refused.judge().passes() {
			return in.withdraw(refused.refused.error())
		}
		// They are not valid together either: start again without them.
		_ = in.withdraw(nil)
		g.alone, left = true, in.rows
		clear(g.refused)
	}
	g.keepFirst()
	var rowsErr error
	for _, passes := range []bool{true, false} {
		var rows []int
		for _, row := range in.rows {
			switch refused := g.refused[row]; {
			case refused == nil || g.passes[row] != passes:
			case g.inConflict(row, refused):
				in.returned(message.CauseTransient, row) // unless it is still in conflict
				in.duplicates = append(in.duplicates, row)
			case g.hoped[row] && len(g.hoped) > 1:
				in.returned(message.CauseTransient, row)
				rowsErr = cmp.Or(rowsErr, refused.blockedError())
			default:
				rows = append(rows, row)
			}
		}
		err := in.giveVerdicts(ctx, rows, g.refused, func(*part) bool { return passes })
		if err != nil && !verdictsHold(err) {
			return err
		}
		rowsErr = cmp.Or(rowsErr, err)
	}
	return rowsErr
}

// keepFirst returns refused rows that follow another one of their group, which passed when they were
// refused: it has met an error that passes since then.
func (g *groupSearch) keepFirst() {
	stopped := map[int]bool{}
	for _, row := range g.rows {
		group := g.batch.Group(row)
		switch {
		case g.refused[row] == nil:
		case stopped[group]:
			delete(g.refused, row)
			g.returned(message.CauseGroup, row)
		default:
			stopped[group] = group != 0
		}
	}
}

// commit stores rows by one transaction: as one statement, and if that is refused, as one statement
// each, for triggers that refuse sets of rows.
func (g *groupSearch) commit(ctx context.Context, rows []int) (refused *answer, err error) {
	for _, size := range []int{len(rows), 1} {
		rt := g.roundTrip(ctx)
		for chunk := range slices.Chunk(rows, size) {
			rt.insert(chunk) // up to the end of the segment they are one transaction
		}
		rt.endSegment()
		answers, err := g.finish(ctx, g.store.inserting(g.batch, rows), rt)
		if err != nil {
			return nil, err
		}
		refused = &answers[0]
		if refused.refused != nil {
			continue
		}
		err = g.accept(ctx, rows, answers[0])
		if err == nil && size < len(rows) && g.anyPart(func(p *part) bool { return p.replaces() && !p.keys.byBytes() }) {
			err = g.lookUp(ctx, rows) // some may have replaced others
		}
		return nil, err
	}
	return refused, nil
}

// withdraw takes all verdicts back, and returns err: a row can be refused because of one before it
// that is not stored now.
func (in *insertion) withdraw(err error) error {
	in.returned(message.CauseNone, in.rows...)
	return err
}

// find returns the rows that may be stored.
func (g *groupSearch) find(ctx context.Context, rows []int, why *refusal) ([]int, error) {
	for again := true; again && len(rows) > 0; {
		tries, err := g.rehearse(ctx, rows, why)
		if err != nil {
			return nil, err
		}
		rows, again = g.decide(rows, tries)
	}
	return rows, nil
}

// try is the result of a row in a rehearsal.
type try struct {
	refused *refusal
	isNew   bool
	present bool // its key is in the table without it
}

// rehearse tries rows one by one, each with those before it in place, and rolls back.
func (g *groupSearch) rehearse(ctx context.Context, rows []int, why *refusal) ([]try, error) {
	rt := g.roundTrip(ctx)
	g.addBegin(rt, why)
	for i := range rows {
		g.addTrial(rt, rows[i:i+1])
	}
	g.evaluate(rt)
	rt.add("ROLLBACK")
	rt.endSegment()
	lookedUp := g.readable(rows)
	rt.present(lookedUp)
	rt.endSegment()
	answers, err := g.finishBegun(ctx, rt)
	if err != nil {
		return nil, err
	}
	tries := make([]try, len(rows))
	for i := range rows {
		a := answers[2*i]
		tries[i] = try{refused: a.refused.by(rows[i]), isNew: a.isNew()}
		if err := g.recovered(answers[2*i+1]); err != nil {
			return nil, err
		}
	}
	present := answers[2*len(rows)+1]
	if present.refused != nil {
		return nil, present.refused.part().errorOf(g.lookingUp(lookedUp), present.refused.PgError)
	}
	for _, row := range present.found {
		tries[slices.Index(rows, row)].present = true
	}
	g.hope(rows, tries)
	return tries, g.compareRefused(ctx, rows, tries)
}

// hope counts refused rows as passed that may be valid together: they refer to rows of the same
// batch that follow them.
func (g *groupSearch) hope(rows []int, tries []try) {
	all := g.links()
	if len(all) == 0 {
		return
	}
	var missing, passed []int
	refused := map[int]*refusal{}
	for i, t := range tries {
		if t.refused == nil {
			passed = append(passed, rows[i])
		} else if refusing(all, t.refused) != nil {
			missing = append(missing, rows[i])
			refused[rows[i]] = t.refused
		}
	}
	for _, row := range validTogether(missing, passed, all, refused) {
		g.hoped[row] = true
		if !g.alone {
			tries[slices.Index(rows, row)].refused = nil
		}
	}
}

// compareRefused finds conflicts among refused rows whose keys are stored: such a row may be done, and
// one in conflict is not.
func (g *groupSearch) compareRefused(ctx context.Context, rows []int, tries []try) error {
	var refused []int
	for i, t := range tries {
		if t.refused != nil && t.present && !t.refused.conflict && g.of(rows[i]).rejectsConflicts() {
			refused = append(refused, rows[i])
		}
	}
	return g.compareRows(ctx, refused)
}

// decide takes out the rows whose result in a rehearsal is certain. It returns the others, and
// whether they have to be rehearsed again.
func (g *groupSearch) decide(rows []int, tries []try) (left []int, again bool) {
	stopped := map[int]bool{} // groups with a refused row: nothing may be stored from here on
	passes := map[*part]bool{}
	for i, row := range rows {
		passes[g.of(row)] = passes[g.of(row)] || tries[i].isNew
	}
	for i, row := range rows {
		group := g.batch.Group(row)
		refused := tries[i].refused
		switch {
		case stopped[group]:
			g.returned(message.CauseGroup, row)
			again = again || refused == nil
		case refused == nil, again:
			left = append(left, row)
		case tries[i].present && !g.inConflict(row, refused): // stored by another delivery
			g.isDuplicate(row)
		default:
			g.refused[row], g.passes[row] = refused, passes[g.of(row)]
			stopped[group] = group != 0
		}
	}
	return left, again
}
