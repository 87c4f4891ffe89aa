package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// suspect suspects what the database computes for every row by itself, if the error may come from that,
// or hides such an error of another row: a parameter is read before any row is stored.
func (r *refusal) suspect() {
	p := r.part()
	hides := p.asText && parameterOf(r.PgError) > 0 && (p.catalog == nil || p.catalog.adds)
	p.suspected = p.suspected || hides || r.judge().computed
}

// giveVerdicts sets the verdicts on rows that the server refused, and returns an error if not all
// of them are to blame. passes is whether another row was stored in the same table by the same search;
// duplicates prove nothing about now.
func (in *insertion) giveVerdicts(ctx context.Context, rows []int, refused map[int]*refusal, passes func(*part) bool) error {
	var ask []*part
	for _, row := range rows {
		p := in.of(row)
		if p.catalog != nil && !p.catalogIsOurs && !p.catalog.knows(refused[row].PgError) && !slices.Contains(ask, p) {
			ask = append(ask, p) // a partition or a constraint is newer than the catalog
		}
	}
	if len(ask) > 0 {
		rt := in.roundTrip(ctx)
		for _, p := range ask {
			rt.askCatalog(p)
		}
		if _, err := in.finish(ctx, searching, rt); err != nil {
			return err
		}
	}
	var policies []int
	for _, row := range rows {
		if c := in.of(row).catalog; refused[row].judge().policy && (c == nil || !c.Policy.Visible) {
			policies = append(policies, row)
		}
	}
	hidden, err := in.withoutSelect(ctx, policies)
	if err != nil {
		return err
	}
	overtaken, err := in.overtaken(ctx, rows, refused)
	if err != nil {
		return err
	}
	var rowsErr error
	for _, row := range rows {
		err := refused[row]
		v := message.Verdict{Cause: message.CauseConfiguration}
		var why error
		switch {
		case hidden[row]:
			why = err.explained(message.CauseConfiguration, fmt.Sprintf("row-level security of %s lets the role insert the row and not see it: INSERT … ON CONFLICT needs a policy FOR SELECT too", keyTable(err.part().table)))
		case overtaken[row]:
			v, why = message.Verdict{Cause: message.CauseTransient}, err.meanwhile()
		case err.empties(row):
			why = err.explained(message.CauseConfiguration, "the message has a value for the column, and a trigger sets it to NULL: fix the trigger")
		default:
			v, why = err.verdict(passes(in.of(row)))
		}
		in.result.Verdicts[row] = v
		if rowsErr == nil || fault.Cause(rowsErr) != message.CauseConfiguration && why != nil && fault.Cause(why) == message.CauseConfiguration {
			rowsErr = why // the gravest, so that the invocation fails where somebody has to fix something
		}
	}
	return rowsErr
}

// empties reports whether a row is refused for a NULL where it has a value: a trigger has set it to
// NULL.
func (r *refusal) empties(row int) bool {
	p := r.part()
	c := p.catalog
	if p.several() || r.Code != notNull || c == nil || !c.covers(r.PgError) || r.judge().inside || c.inLedger(r.PgError) {
		return false
	}
	column := position(p.table, r.ColumnName)
	if column < 0 {
		return false
	}
	_, ok := values(r.in.batch, row, []int{column})
	return ok
}

// verdict returns the verdict on a refused row, and an error if the row is not to blame.
func (r *refusal) verdict(passes bool) (message.Verdict, error) {
	if r.discarded() {
		return message.Verdict{Cause: message.CauseDiscarded}, nil
	}
	p, j := r.part(), r.judge()
	rejects := j.rejects
	if j.open {
		failed, evaluated := r.defaultsFailed(j)
		if failed != nil {
			return message.Verdict{Cause: message.CauseConfiguration}, failed.defaultsError()
		}
		rejects = evaluated && !j.mixed || passes
	}
	if !rejects {
		return message.Verdict{Cause: j.cause}, keepVerdicts(r.error().err)
	}
	own := p.ownNames(r.PgError, p.catalog)
	rejection := message.Rejection{Reason: message.ReasonRefused, SQLState: r.Code, Constraint: own.constraint, Column: cmp.Or(own.column, p.reads(r.PgError))}
	return message.Verdict{Outcome: message.Rejected, Rejection: rejection}, nil
}

// defaultsFailed reports whether what the database adds to every row was evaluated by itself in
// this search, and returns the error if that failed in the same way.
func (r *refusal) defaultsFailed(j judgement) (failed *refusal, evaluated bool) {
	p := r.part()
	if !j.computed || p.evaluated == nil {
		return nil, false
	}
	failed = p.evaluated.refused
	if failed == nil {
		return nil, true
	}
	failed.of = p
	// Without a name the evaluation is not possible here: no PL/pgSQL, or no grant.
	if failed.Code != r.Code || failed.ColumnName+failed.ConstraintName == "" {
		return nil, false
	}
	return failed, true
}

// defaultsError returns the error of something that the database adds to every row.
func (r *refusal) defaultsError() error {
	name := batch.Quote(r.ColumnName + r.ConstraintName)
	what := "the default of the column " + name
	if r.ColumnName == "" {
		what = "the column, constraint or index " + name
	}
	return keepVerdicts(databaseError(fault.Error{
		Cause:  message.CauseConfiguration,
		Code:   r.Code,
		What:   r.of.inserting + ": " + message.SQLState(r.Code) + " from " + what,
		Remedy: "it fails for every row, whatever the model fills: fix it",
	}))
}

// discarded reports whether a statement failed because the database had discarded a row.
func (r *refusal) discarded() bool {
	return r.Code == discardedState && (r.part().table.Ledger != "" || r.in.batch.HasGroups() || r.in.parts[r.part().position].several())
}

// overtaken finds those of the rows that were not discarded after all: another delivery had stored
// something of them between the snapshot of the counting insert and its end. If all of a message is
// stored then, its key tells. But a message that has several rows in one table can be stored in part. So
// each of these is tried again between two look-ups, and is discarded if both find the same.
func (in *insertion) overtaken(ctx context.Context, rows []int, refused map[int]*refusal) (map[int]bool, error) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return !refused[row].discarded() || !in.of(row).table.Several })
	if len(rows) == 0 || in.rehearsal {
		return nil, nil
	}
	rt := in.roundTrip(ctx)
	for k := range rows {
		p, row := in.of(rows[k]), rows[k:k+1]
		rt.keysOrVersions(sent{of: p}, p.sql.present, row)
		rt.endRequired()
		rt.add("BEGIN ISOLATION LEVEL READ COMMITTED")
		rt.add(limits(rt.deadline))
		rt.insert(row)
		rt.endSegment()
		rt.add("ROLLBACK")
		rt.endRequired()
		rt.keysOrVersions(sent{of: p}, p.sql.present, row)
		rt.endRequired()
	}
	answers, err := in.finish(ctx, searching, rt)
	if err != nil {
		return nil, err
	}
	overtaken := map[int]bool{}
	for k, row := range rows {
		before, trial, after := answers[4*k], answers[4*k+1], answers[4*k+3]
		slices.Sort(before.values)
		slices.Sort(after.values)
		again := trial.refused != nil && trial.refused.discarded()
		overtaken[row] = !again || !slices.Equal(before.values, after.values)
	}
	return overtaken, nil
}

// meanwhile returns the error of a message of which rows were stored while it was tried.
func (r *refusal) meanwhile() error {
	return r.explained(message.CauseTransient, "rows with keys of the message were stored meanwhile: the next delivery finds them")
}

// withoutSelect finds those of the rows that row-level security refuses which pass as a plain
// INSERT. ON CONFLICT needs the policies for SELECT too, and the server's error does not tell them
// apart. All of it is rolled back.
func (in *insertion) withoutSelect(ctx context.Context, rows []int) (map[int]bool, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	rt := in.roundTrip(ctx)
	rt.add("BEGIN ISOLATION LEVEL READ COMMITTED")
	rt.add(limits(rt.deadline))
	rt.add("SAVEPOINT s")
	rt.endSegment()
	for k := range rows {
		p := in.of(rows[k])
		rt.query(sent{of: p}, p.sql.plain, rows[k:k+1])
		rt.endSegment()
		rt.add("ROLLBACK TO SAVEPOINT s")
		rt.endSegment()
	}
	rt.add("ROLLBACK")
	rt.endSegment()
	answers, err := in.finishBegun(ctx, rt)
	if err != nil {
		return nil, err
	}
	hidden := map[int]bool{}
	for k, row := range rows {
		a := answers[2*k]
		replaced := in.of(row).replaces() && a.refused != nil && a.refused.Code == uniqueKey // which proves nothing
		hidden[row] = a.refused == nil || a.refused.Routine != policyRoutine && !replaced
	}
	return hidden, nil
}

// explained returns the error of some rows with a remedy that only their circumstances show.
func (r *refusal) explained(cause message.Cause, remedy string) error {
	e := r.error().err
	e.Cause, e.Remedy = cause, remedy
	return keepVerdicts(e)
}

// blockedError returns the error of rows that refer to others of their batch, and that are not
// stored because one of them is refused.
func (r *refusal) blockedError() error {
	return r.explained(message.CauseTransient, "rows of the batch refer to each other, and one of them is refused: the next delivery tries the others without it")
}

// examine finds out why the database took a row and does not have its key: it discarded the row, or
// a trigger changed the key, so that the next delivery will not be recognised. It asks once per
// catalogAge, by an insert that is rolled back.
func (in *insertion) examine(ctx context.Context, row int) error {
	p, s := in.of(row), in.store
	s.mu.Lock()
	due := s.now().Sub(p.learned.examinedAt) > catalogAge
	if due {
		p.learned.examinedAt = s.now()
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	rt := in.roundTrip(ctx)
	rt.askCatalog(p)
	rt.add("BEGIN ISOLATION LEVEL READ COMMITTED")
	rt.add(limits(rt.deadline))
	rt.statement(p, p.sql.returning, row, span{-1, 0})
	rt.endSegment()
	rt.add("ROLLBACK")
	rt.endSegment()
	answers, err := in.finish(ctx, searching, rt)
	if err != nil {
		return err
	}
	c := p.catalog
	if !p.rewritten(answers[0]) {
		return nil
	}
	remedy := "let the key be as the message says"
	if c != nil && len(c.Triggers) > 0 {
		remedy += "; triggers that may change it: " + strings.Join(c.Triggers, ", ")
	}
	return keepVerdicts(databaseError(fault.Error{
		Cause:  message.CauseConfiguration,
		What:   p.inserting + ": the database changes the key of a row, so that its next delivery is not recognised",
		Remedy: remedy,
	}))
}

// rewritten reports whether the answer to an insert of a row shows another key than the row has:
// returned, or as a duplicate.
func (p *part) rewritten(a answer) bool {
	if a.refused == nil {
		return len(a.values) == 1 && a.values[0] == 0
	}
	if p.catalog == nil || a.refused.Code != uniqueKey || p.replaces() { // that may be the row that it would replace
		return false
	}
	k := p.catalog.constraint(a.refused.PgError)
	return k != nil && len(k.Columns) == len(p.table.Key) && p.fillsAll(k.Columns, true)
}
