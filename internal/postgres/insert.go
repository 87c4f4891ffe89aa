package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
	"sluice/internal/message"
)

// insertAll sends the rows as one statement, which is one implicit transaction. It returns the
// server's error if rows have to be tried one by one.
func (in *insertion) insertAll(ctx context.Context) (refusal *pgconn.PgError, err error) {
	rt := in.roundTrip(ctx)
	rt.askOnce()
	if in.ranked = !in.keys.byBytes() && !in.batch.Ordered(); in.ranked {
		// An isolation needs the order of the keys, and this costs no round trip.
		rt.keys(in.sql.rank, in.rows)
		rt.ask(in.rank)
	}
	sql := in.statement() // what is learned of the key changes it
	rt.insert(in.rows)
	rt.end()
	answers, err := in.finish(ctx, in.store.inserting, rt)
	if err != nil {
		return nil, err
	}
	a := answers[0]
	if a.refused != nil {
		// An error of the statement itself is one of all rows.
		if (!in.conn.named || in.conn.prepared == sql) && in.store.needsIsolation(a.refused, in.catalog, in.last) {
			return a.refused, nil
		}
		return nil, in.failed(a.refused)
	}
	return nil, in.accept(ctx, in.rows, a)
}

// accept sets the verdicts on rows whose insert is committed.
func (in *insertion) accept(ctx context.Context, rows []int, a answer) error {
	n := in.inserted(a)
	in.result.Inserted += n
	if n < len(rows) {
		return in.lookUp(ctx, rows)
	}
	in.stored(rows...)
	return nil
}

// compare asks how keys compare, before the first batch whose keys may compare otherwise than by
// their bytes: until that is known, batches could lock rows in opposite order.
func (in *insertion) compare(ctx context.Context) error {
	if in.keys != nil || in.conn.asked || !in.hasTextKey() || in.batch.Ordered() || len(in.rows) < 2 {
		return nil
	}
	rt := in.roundTrip(ctx)
	rt.askOnce()
	_, err := in.finish(ctx, in.store.lookingUp, rt)
	return err
}

func (in *insertion) hasTextKey() bool {
	return slices.ContainsFunc(in.store.table.Key, func(k int) bool { return in.store.table.Columns[k].Kind == batch.Text })
}

// rank sorts the rows as the answer to the rank statement does.
func (in *insertion) rank(a *answer) {
	if a.refused != nil {
		return
	}
	rows := make([]int, len(in.rows))
	in.class = make(map[int]int, len(in.rows))
	for i := range rows {
		rows[i] = in.rows[a.values[2*i]-1]
		in.class[rows[i]] = int(a.values[2*i+1])
	}
	in.rows = rows
}

// lookUp sets the verdicts on rows if the server stored fewer than it was sent: a row whose key is
// in the table is stored, and one whose key is not was discarded.
func (in *insertion) lookUp(ctx context.Context, rows []int) error {
	rt := in.roundTrip(ctx)
	rt.present(rows)
	rt.end()
	answers, err := in.finish(ctx, in.store.lookingUp, rt)
	if err != nil {
		return err
	}
	if refused := answers[0].refused; refused != nil {
		return in.fault(in.store.lookingUp, refused)
	}
	in.returned(message.CauseDiscarded, rows...)
	for _, n := range answers[0].values {
		in.stored(rows[n-1])
	}
	return nil
}

func all(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}
