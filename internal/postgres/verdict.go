package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// suspicion returns the error if it may come from what the database computes for every row by
// itself, or hides such an error of another row: a parameter is read before any row is stored.
func (in *insertion) suspicion(err *pgconn.PgError) *pgconn.PgError {
	hides := in.store.asText && parameterOf(err) > 0 && (in.catalog == nil || in.catalog.adds)
	if hides || in.store.judge(err, in.catalog).computed {
		return err
	}
	return nil
}

// giveVerdicts sets the verdicts on rows that the server refused, and returns an error if not all
// of them are to blame. passes is whether another row was stored in the same search; duplicates
// prove nothing about now.
func (in *insertion) giveVerdicts(ctx context.Context, rows []int, refused map[int]*pgconn.PgError, passes bool) error {
	if c := in.catalog; c != nil && !in.catalogIsOurs && slices.ContainsFunc(rows, func(row int) bool { return !c.knows(refused[row]) }) {
		// A partition or a constraint that is newer than the catalog.
		rt := in.roundTrip(ctx)
		rt.askCatalog()
		if _, err := in.finish(ctx, searching, rt); err != nil {
			return err
		}
	}
	catalog := in.catalog
	var policies []int
	for _, row := range rows {
		if in.store.judge(refused[row], catalog).policy && (catalog == nil || !catalog.Policy.Visible) {
			policies = append(policies, row)
		}
	}
	hidden, err := in.withoutSelect(ctx, policies)
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
			why = in.explained(err, message.CauseConfiguration, fmt.Sprintf("row-level security of %s lets the role insert the row and not see it: INSERT … ON CONFLICT needs a policy FOR SELECT too", keyTable(in.store.table)))
		case in.emptied(row, err, catalog):
			why = in.explained(err, message.CauseConfiguration, "the message has a value for the column, and a trigger sets it to NULL: fix the trigger")
		default:
			v, why = in.verdict(err, catalog, passes)
		}
		in.result.Verdicts[row] = v
		if rowsErr == nil || fault.Cause(rowsErr) != message.CauseConfiguration && why != nil && fault.Cause(why) == message.CauseConfiguration {
			rowsErr = why // the gravest, so that the invocation fails where somebody has to fix something
		}
	}
	return rowsErr
}

// emptied reports whether a row is refused for a NULL where it has a value: a trigger has set it to
// NULL.
func (in *insertion) emptied(row int, err *pgconn.PgError, c *catalog) bool {
	if err.Code != notNull || c == nil || !c.covers(err) || in.store.judge(err, c).inside || c.inLedger(err) {
		return false
	}
	column := position(in.batch, err.ColumnName)
	if column < 0 {
		return false
	}
	_, ok := values(in.batch, row, []int{column})
	return ok
}

// verdict returns the verdict on a refused row, and an error if the row is not to blame.
func (in *insertion) verdict(err *pgconn.PgError, catalog *catalog, passes bool) (message.Verdict, error) {
	if in.discarded(err) {
		return message.Verdict{Cause: message.CauseDiscarded}, nil
	}
	j := in.store.judge(err, catalog)
	rejects := j.rejects
	if j.open {
		failed, evaluated := in.defaultsFailed(err, j)
		if failed != nil {
			return message.Verdict{Cause: message.CauseConfiguration}, in.defaultsError(failed)
		}
		rejects = evaluated && !j.mixed || passes
	}
	if !rejects {
		return message.Verdict{Cause: j.cause}, keepVerdicts(in.insertError(err).err)
	}
	own := in.store.ownNames(err, catalog)
	rejection := message.Rejection{Reason: message.ReasonRefused, SQLState: err.Code, Constraint: own.constraint, Column: cmp.Or(own.column, in.store.reads(err))}
	return message.Verdict{Outcome: message.Rejected, Rejection: rejection}, nil
}

// defaultsFailed reports whether what the database adds to every row was evaluated by itself in
// this search, and returns the error if that failed in the same way.
func (in *insertion) defaultsFailed(err *pgconn.PgError, j judgement) (failed *pgconn.PgError, evaluated bool) {
	if !j.computed || in.defaultsAnswer == nil {
		return nil, false
	}
	failed = in.defaultsAnswer.refused
	if failed == nil {
		return nil, true
	}
	// Without a name the evaluation is not possible here: no PL/pgSQL, or no grant.
	if failed.Code != err.Code || failed.ColumnName+failed.ConstraintName == "" {
		return nil, false
	}
	return failed, true
}

// defaultsError returns the error of something that the database adds to every row.
func (in *insertion) defaultsError(failed *pgconn.PgError) error {
	name := batch.Quote(failed.ColumnName + failed.ConstraintName)
	what := "the default of the column " + name
	if failed.ColumnName == "" {
		what = "the column, constraint or index " + name
	}
	return keepVerdicts(databaseError(fault.Error{
		Cause:  message.CauseConfiguration,
		Code:   failed.Code,
		What:   in.store.inserting + ": " + message.SQLState(failed.Code) + " from " + what,
		Remedy: "it fails for every row, whatever the model fills: fix it",
	}))
}

// discarded reports whether a statement failed because the database had discarded a row.
func (in *insertion) discarded(err *pgconn.PgError) bool {
	return err.Code == discardedState && (in.store.table.Ledger != "" || in.batch.HasGroups())
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
		rt.query(in.sql.plain, rows[k:k+1])
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
		hidden[row] = a.refused == nil || a.refused.Routine != policyRoutine
	}
	return hidden, nil
}

// explained returns the error of some rows with a remedy that only their circumstances show.
func (in *insertion) explained(err *pgconn.PgError, cause message.Cause, remedy string) error {
	e := in.insertError(err).err
	e.Cause, e.Remedy = cause, remedy
	return keepVerdicts(e)
}

// blockedError returns the error of rows that refer to others of their batch, and that are not
// stored because one of them is refused.
func (in *insertion) blockedError(err *pgconn.PgError) error {
	return in.explained(err, message.CauseTransient, "rows of the batch refer to each other, and one of them is refused: the next delivery tries the others without it")
}

// examine finds out why the database took a row and does not have its key: it discarded the row, or
// a trigger changed the key, so that the next delivery will not be recognised. It asks once per
// catalogAge, by an insert that is rolled back.
func (in *insertion) examine(ctx context.Context, row int) error {
	s := in.store
	s.mu.Lock()
	due := s.now().Sub(s.examinedAt) > catalogAge
	if due {
		s.examinedAt = s.now()
	}
	s.mu.Unlock()
	if !due {
		return nil
	}
	rt := in.roundTrip(ctx)
	rt.askCatalog()
	rt.add("BEGIN ISOLATION LEVEL READ COMMITTED")
	rt.add(limits(rt.deadline))
	rt.query(in.sql.returning, []int{row})
	rt.endSegment()
	rt.add("ROLLBACK")
	rt.endSegment()
	answers, err := in.finish(ctx, searching, rt)
	if err != nil {
		return err
	}
	c := in.catalog
	if !in.rewritten(answers[0], c) {
		return nil
	}
	remedy := "let the key be as the message says"
	if c != nil && len(c.Triggers) > 0 {
		remedy += "; triggers that may change it: " + strings.Join(c.Triggers, ", ")
	}
	return keepVerdicts(databaseError(fault.Error{
		Cause:  message.CauseConfiguration,
		What:   s.inserting + ": the database changes the key of a row, so that its next delivery is not recognised",
		Remedy: remedy,
	}))
}

// rewritten reports whether the answer to an insert of a row shows another key than the row has:
// returned, or as a duplicate.
func (in *insertion) rewritten(a answer, c *catalog) bool {
	if a.refused == nil {
		return len(a.values) == 1 && a.values[0] == 0
	}
	if c == nil || a.refused.Code != uniqueKey {
		return false
	}
	k := c.constraint(a.refused)
	return k != nil && len(k.Columns) == len(in.store.table.Key) && in.store.fillsAll(k.Columns, true)
}
