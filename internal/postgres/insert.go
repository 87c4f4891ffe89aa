package postgres

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/message"
)

// whole sends the batch as one statement, which is one implicit transaction.
// It returns the server's error when a row may be to blame for it.
func (in *insertion) whole(ctx context.Context) (refusal *pgconn.PgError, err error) {
	f := in.flight(ctx)
	f.insert(nil)
	f.end()
	answers, err := in.landed(f)
	if err != nil {
		return nil, in.fault("insert into "+table(in.store.table), err)
	}
	a := answers[0]
	if a.refused != nil {
		if in.mayBeARows(a.refused) {
			return a.refused, nil
		}
		return nil, in.fault("insert into "+table(in.store.table), a.refused)
	}
	n := in.batch.Len()
	in.result.Inserted = int(in.inserted(a))
	if in.result.Inserted == n {
		for i := range in.result.Verdicts {
			in.result.Verdicts[i].Outcome = message.Stored
		}
		return nil, nil
	}
	return nil, in.duplicates(ctx, all(n))
}

// duplicates settles rows of which the server stored fewer than it was sent:
// a row whose key is there is done. One whose key is not was swallowed.
func (in *insertion) duplicates(ctx context.Context, rows []int) error {
	f := in.flight(ctx)
	f.present(rows)
	f.end()
	answers, err := in.landed(f)
	if err == nil && answers[0].refused != nil {
		err = answers[0].refused
	}
	if err != nil {
		return in.fault("look up keys in "+table(in.store.table), err)
	}
	in.settle(rows, answers[0])
	return nil
}

// settle marks the rows that an answer to present names as stored, and the
// others as swallowed.
func (in *insertion) settle(rows []int, present answer) {
	for _, i := range rows {
		in.result.Verdicts[i] = message.Verdict{Cause: message.CauseSwallowed}
	}
	for _, n := range present.values {
		in.result.Verdicts[rows[n-1]] = message.Verdict{Outcome: message.Stored}
	}
}

func all(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
