package sqlite

import (
	"context"
	"database/sql"
	"errors"

	"modernc.org/sqlite"

	"sluice/internal/batch"
	"sluice/internal/message"
)

// insertion is one attempt to store one batch.
type insertion struct {
	store    *Store
	batch    *batch.Batch
	result   message.Result
	refusals map[int]*sqlite.Error // by row

	inserts                     []*sql.Stmt
	present, set, release, undo *sql.Stmt
	args                        []any
}

// errEnded says that a row's refusal rolled the whole transaction back: a
// trigger's RAISE(ROLLBACK) and a constraint with ON CONFLICT ROLLBACK do.
var errEnded = errors.New("the transaction has ended")

// attempt tries the batch once.
func (s *Store) attempt(ctx context.Context, b *batch.Batch) (message.Result, error) {
	in := &insertion{store: s, batch: b, refusals: map[int]*sqlite.Error{}}
	for {
		in.result = message.Result{Verdicts: make([]message.Verdict, b.Len())}
		err := in.transaction(ctx)
		switch {
		case err == nil:
			return in.result, in.refuse(ctx)
		case !errors.Is(err, errEnded): // else again, without the row that ended it
			return message.Result{Verdicts: make([]message.Verdict, b.Len())}, err
		}
	}
}

// transaction stores the rows that SQLite takes, and commits. Where rows have
// groups, a row that is not new is settled at once, since that decides on
// what follows in its group; otherwise at the end, when all others are there.
func (in *insertion) transaction(ctx context.Context) error {
	tx, err := in.store.db.BeginTx(ctx, nil)
	if err != nil {
		return in.store.fault(ctx, "begin a transaction", err)
	}
	defer tx.Rollback()
	if err := in.prepare(ctx, tx); err != nil {
		return err
	}
	var unsettled []int
	stopped := map[int]bool{} // groups with a row that is not stored
	for i := range in.batch.Len() {
		group := in.batch.Group(i)
		if stopped[group] {
			in.result.Verdicts[i].Cause = message.CauseGroup
			continue
		}
		isNew, err := in.row(ctx, i)
		switch {
		case err != nil:
			return err
		case isNew:
			in.result.Verdicts[i].Outcome = message.Stored
			in.result.Inserted++
		case !in.batch.Ordered():
			unsettled = append(unsettled, i)
		default:
			if err := in.settle(ctx, i); err != nil {
				return err
			}
			stopped[group] = group != 0 && in.result.Verdicts[i].Outcome != message.Stored
		}
	}
	for _, i := range unsettled {
		if err := in.settle(ctx, i); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return in.store.fault(ctx, "commit", err)
	}
	return nil
}

// prepare compiles the statements. Whatever SQLite says of them is about
// names: no row is in sight yet.
func (in *insertion) prepare(ctx context.Context, tx *sql.Tx) error {
	var err error
	compile := func(text string) (statement *sql.Stmt) {
		if err == nil {
			statement, err = tx.PrepareContext(ctx, text) // the transaction closes it
		}
		return statement
	}
	in.inserts = nil
	for _, text := range in.store.inserts {
		in.inserts = append(in.inserts, compile(text))
	}
	in.present = compile(in.store.present)
	in.set, in.release, in.undo = compile("SAVEPOINT r"), compile("RELEASE r"), compile("ROLLBACK TO r")
	if err != nil {
		return in.store.schemaFault(ctx, "insert into "+table(in.store.table), err)
	}
	return nil
}

// row tries one row, behind a savepoint, and says whether it is new. If not,
// nothing of it is left, and its refusal is kept, if it was one.
func (in *insertion) row(ctx context.Context, i int) (isNew bool, err error) {
	if _, known := in.refusals[i]; known {
		return false, nil
	}
	if _, err := in.set.ExecContext(ctx); err != nil {
		return false, in.store.fault(ctx, "set a savepoint", err)
	}
	for k, s := range in.inserts {
		done, err := s.ExecContext(ctx, in.values(i, k)...)
		refusal, _ := errors.AsType[*sqlite.Error](err)
		switch {
		case err == nil:
			n, _ := done.RowsAffected() // SQLite always knows
			isNew = n == 1
		case refusal != nil && mayBeARows(refusal):
			isNew, in.refusals[i] = false, refusal
		default:
			return false, in.store.fault(ctx, "insert into "+table(in.store.table), err)
		}
		if !isNew {
			break
		}
	}
	if !isNew {
		if _, err := in.undo.ExecContext(ctx); err != nil {
			if in.refusals[i] != nil && ctx.Err() == nil {
				return false, errEnded // the savepoint went with the transaction
			}
			return false, in.store.fault(ctx, "undo a row", err)
		}
	}
	if _, err := in.release.ExecContext(ctx); err != nil {
		return false, in.store.fault(ctx, "release a savepoint", err)
	}
	return isNew, nil
}

// settle gives a row that is not new its verdict, as far as its key says: if
// it is there, this or another delivery of the message has stored it, even if
// SQLite refused it now. If it is not, and SQLite did not refuse the row, a
// trigger has swallowed it.
func (in *insertion) settle(ctx context.Context, i int) error {
	in.args = in.args[:0]
	in.batch.Key(i, func(c int, v []byte) { in.args = append(in.args, value(in.batch.Columns()[c].Kind, v)) })
	there := false
	if err := in.present.QueryRowContext(ctx, in.args...).Scan(&there); err != nil {
		return in.store.fault(ctx, "look up keys in "+table(in.store.table), err)
	}
	switch {
	case there:
		in.result.Verdicts[i].Outcome = message.Stored
	case in.refusals[i] == nil:
		in.result.Verdicts[i].Cause = message.CauseSwallowed
	}
	return nil
}

// refuse gives the verdicts on the rows that SQLite refused, and an error if
// not the rows are to blame. A suspect error is the row's own only if other
// rows pass: new ones, since one that is there may never come to what fails.
func (in *insertion) refuse(ctx context.Context) (err error) {
	for i := range in.result.Verdicts {
		refusal := in.refusals[i]
		if refusal == nil || in.result.Verdicts[i].Outcome == message.Stored {
			continue
		}
		if b := in.store.blame(refusal); b == blameRow || b == blameSuspect && in.result.Inserted > 0 {
			in.result.Verdicts[i] = message.Verdict{Outcome: message.Rejected, Rejection: in.store.rejection(refusal)}
			continue
		}
		fault := in.store.fault(ctx, "insert into "+table(in.store.table), refusal)
		in.result.Verdicts[i].Cause, err = fault.Cause, fault
	}
	return err
}

// values are the parameters of row i for statement k.
func (in *insertion) values(i, k int) []any {
	ledger := k == 0 && in.store.table.Ledger != ""
	in.args = in.args[:0]
	in.batch.Row(i, func(c int, v []byte) {
		if column := in.batch.Columns()[c]; column.Ledger == ledger {
			in.args = append(in.args, value(column.Kind, v))
		}
	})
	return in.args
}
