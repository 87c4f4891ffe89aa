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
	f.insert(in.rows)
	f.end()
	answers, err := in.landed(ctx, in.store.inserting, f)
	if err != nil {
		return nil, err
	}
	a := answers[0]
	if a.refused != nil {
		if in.mayBeARows(a.refused) {
			return a.refused, nil
		}
		return nil, in.failed(a.refused)
	}
	in.result.Inserted = int(in.inserted(a))
	if in.result.Inserted == len(in.rows) {
		for _, i := range in.rows {
			in.result.Verdicts[i].Outcome = message.Stored
		}
		return nil, nil
	}
	return nil, in.duplicates(ctx, in.rows)
}

// duplicates settles rows of which the server stored fewer than it was sent:
// a row whose key is there is done. One whose key is not was swallowed.
func (in *insertion) duplicates(ctx context.Context, rows []int) error {
	f := in.flight(ctx)
	f.present(rows)
	f.end()
	answers, err := in.landed(ctx, in.store.lookingUp, f)
	if err != nil {
		return err
	}
	if refused := answers[0].refused; refused != nil {
		return in.fault(in.store.lookingUp, refused)
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
