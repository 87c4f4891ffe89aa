package postgres

import (
	"cmp"
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
	left := in.rows
	var ours error // of a row that the operator can help
	for again := true; again && len(left) > 0; {
		tries, err := in.rehearse(ctx, left, refusal)
		if err != nil {
			return in.unproven(err)
		}
		var one error
		left, again, one = in.sift(left, tries)
		ours = cmp.Or(ours, one)
	}
	if len(left) == 0 {
		return ours
	}
	f := in.flight(ctx)
	f.insert(left)
	f.end()
	answers, err := in.landed(ctx, in.store.inserting, f)
	if err == nil && answers[0].refused != nil {
		err = in.failed(answers[0].refused)
	}
	if err != nil {
		return in.unproven(err)
	}
	in.result.Inserted = int(in.inserted(answers[0]))
	if in.result.Inserted < len(left) {
		return cmp.Or(in.duplicates(ctx, left), ours)
	}
	for _, row := range left {
		in.result.Verdicts[row].Outcome = message.Stored
	}
	return ours
}

// unproven takes all verdicts back: a row can be refused because of one
// before it that is not stored now.
func (in *insertion) unproven(err error) error {
	clear(in.result.Verdicts)
	return err
}

// try is what a rehearsal shows of a row.
type try struct {
	refused *pgconn.PgError
	isNew   bool
	present bool // its key is in the table without it
}

// rehearse tries rows one by one, each with those before it in place, and
// rolls back.
func (in *insertion) rehearse(ctx context.Context, rows []int, refusal *pgconn.PgError) ([]try, error) {
	f := in.flight(ctx)
	in.begin(f, refusal)
	for i := range rows {
		in.trial(f, rows[i:i+1])
	}
	f.say("ROLLBACK")
	f.end()
	f.present(rows)
	f.end()
	answers, err := in.landed(ctx, searching, f)
	if err != nil {
		return nil, err
	}
	if answers, err = in.begun(answers); err != nil {
		return nil, err
	}
	tries := make([]try, len(rows))
	for i := range rows {
		a := answers[2*i]
		tries[i] = try{refused: a.refused, isNew: in.inserted(a) > 0}
		if a.refused != nil {
			if err := in.fatal(a.refused); err != nil {
				return nil, err
			}
		}
		if err := in.recovered(answers[2*i+1]); err != nil {
			return nil, err
		}
	}
	last := answers[2*len(rows)+1]
	if last.refused != nil {
		return nil, in.fault(in.store.lookingUp, last.refused)
	}
	for _, n := range last.values {
		tries[n-1].present = true
	}
	return tries, nil
}

// sift takes away the rows that a rehearsal settles. It returns what is left,
// whether that has to be rehearsed again, and an error if the operator can
// help a row.
func (in *insertion) sift(rows []int, tries []try) (left []int, again bool, ours error) {
	stopped := map[int]bool{} // groups with a refused row: what comes from here on has to go
	pass := false
	for _, t := range tries {
		pass = pass || t.isNew
	}
	for i, row := range rows {
		group := in.batch.Group(row)
		refused := tries[i].refused
		switch {
		case stopped[group]:
			in.result.Verdicts[row] = message.Verdict{Cause: message.CauseGroup}
			again = again || refused == nil
		case refused == nil, again:
			left = append(left, row)
		case tries[i].present: // stored by another delivery
			in.result.Verdicts[row] = message.Verdict{Outcome: message.Stored}
		default:
			v := in.verdict(refused, pass)
			in.result.Verdicts[row] = v
			stopped[group] = group != 0
			if v.Outcome == message.Returned && v.Cause != message.CauseSwallowed {
				ours = in.failed(refused)
			}
		}
	}
	return left, again, ours
}
