package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/message"
)

// isolateOrdered is isolate for a batch with message groups: of a group,
// nothing that follows a refused row may be stored. Each round tries the rows
// that are left one by one, in order, and rolls all of it back. What it finds
// out about the rows up to the first that has to go although it passed (it
// follows a refused one) is proven; those behind are tried again without it.
// When nothing has to go any more, what is left is stored as one statement.
func (in *insertion) isolateOrdered(ctx context.Context, refusal *pgconn.PgError) error {
	left := all(in.batch.Len())
	stopped := map[int]bool{} // groups with a refused row
	for again := true; again; {
		refusals, present, err := in.rehearse(ctx, left, refusal)
		if err != nil {
			return err
		}
		if left, again, err = in.sift(left, refusals, present, stopped); err != nil {
			return err
		}
	}
	if len(left) == 0 {
		return nil
	}
	f := in.flight(ctx)
	f.insert(left)
	f.end()
	answers, err := in.landed(f)
	if err == nil && answers[0].refused != nil {
		err = answers[0].refused
	}
	if err != nil {
		return in.fault("insert into "+table(in.store.table), err)
	}
	in.result.Inserted = int(in.inserted(answers[0]))
	if in.result.Inserted < len(left) {
		return in.duplicates(ctx, left)
	}
	for _, row := range left {
		in.result.Verdicts[row].Outcome = message.Stored
	}
	return nil
}

// rehearse tries rows one by one, each with those before it in place, and
// rolls back. It returns each row's refusal, and whether its key is in the
// table all the same.
func (in *insertion) rehearse(ctx context.Context, rows []int, refusal *pgconn.PgError) ([]*pgconn.PgError, []bool, error) {
	f := in.flight(ctx)
	in.begin(f, refusal)
	for i := range rows {
		in.trial(f, rows[i:i+1])
	}
	f.say("ROLLBACK")
	f.end()
	f.present(rows)
	f.end()
	answers, err := in.landed(f)
	if err != nil {
		return nil, nil, in.fault("find the refused rows", err)
	}
	if answers, err = in.begun(answers); err != nil {
		return nil, nil, err
	}
	refusals := make([]*pgconn.PgError, len(rows))
	for i := range rows {
		refusals[i] = answers[2*i].refused
		if err := in.recovered(answers[2*i+1]); err != nil {
			return nil, nil, err
		}
		if refusals[i] != nil {
			if err := in.fatal(refusals[i]); err != nil {
				return nil, nil, err
			}
		}
	}
	last := answers[2*len(rows)+1]
	if last.refused != nil {
		return nil, nil, in.fault("look up keys in "+table(in.store.table), last.refused)
	}
	present := make([]bool, len(rows))
	for _, n := range last.values {
		present[n-1] = true
	}
	return refusals, present, nil
}

// sift takes away the rows that a rehearsal settles and returns what is left,
// and whether it has to be rehearsed again.
func (in *insertion) sift(rows []int, refusals []*pgconn.PgError, present []bool, stopped map[int]bool) (left []int, again bool, err error) {
	pass := false
	for _, refused := range refusals {
		pass = pass || refused == nil
	}
	for i, row := range rows {
		group := in.batch.Group(row)
		switch {
		case stopped[group]:
			in.result.Verdicts[row] = message.Verdict{Cause: message.CauseGroup}
			again = again || refusals[i] == nil
		case refusals[i] == nil, again:
			left = append(left, row)
		case present[i]: // stored by another delivery
			in.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
		default:
			v := in.verdict(refusals[i], pass)
			if v.Outcome == message.Returned && !pass {
				return nil, false, in.fault("insert into "+table(in.store.table), refusals[i])
			}
			in.result.Verdicts[row] = v
			stopped[group] = group != 0
		}
	}
	return left, again, nil
}
