package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// insertion is one attempt to store one batch.
type insertion struct {
	store    *Store
	batch    *batch.Batch
	result   message.Result
	refusals map[int]*refusal // by row
	mode     keyMode
	violated *sqlite.Error // the foreign key error of COMMIT
	askFirst bool          // look up the keys of all rows before the first insert
	existed  []bool        // for each row, whether it was found then
	oneByOne bool          // try each row, also one that a newer one of the batch would replace at once

	tables             []*prepared // one for each table of the batch
	set, release, undo *sql.Stmt
	args               []any
}

// prepared is a table in a transaction.
type prepared struct {
	*destination

	failed         *fault.Error // why the table takes no rows
	inserts        []*sql.Stmt
	known, present *sql.Stmt
	rowids         map[int64]int // the new rows by rowid, for the check of foreign keys
	// written are the rows that were stored or replaced, in a table that replaces.
	written []int
	facts   []*facts // of the table and its ledger, once a row is refused
}

// of returns the table of row i.
func (in *insertion) of(i int) *prepared { return in.tables[in.batch.Table(i)] }

// keyMode is when foreign keys are checked. A row may need another one that follows it, so SQLite
// checks them when it commits, but then does not tell which row violates one.
type keyMode uint8

const (
	atCommit     keyMode = iota
	beforeCommit         // COMMIT has failed: find the rows, and begin again without them
	atEachRow            // COMMIT has failed, and no row is found: a trigger's row, a replaced one, or a table without rowids
)

// errAgain means that the transaction has ended and must begin again, with what is known by now.
var errAgain = errors.New("the transaction begins again")

// attempt tries the batch once.
func (s *Store) attempt(ctx context.Context, b *batch.Batch) (message.Result, error) {
	if err := s.exists(); err != nil {
		return message.Result{Verdicts: make([]message.Verdict, b.Len())}, err
	}
	in := &insertion{store: s, batch: b, refusals: map[int]*refusal{}}
	for {
		in.result = message.Result{Verdicts: make([]message.Verdict, b.Len())}
		err := in.transaction(ctx)
		switch {
		case err == nil:
			return in.result, cmp.Or(in.judgeRefused(), in.failed())
		case !errors.Is(err, errAgain):
			return message.Result{Verdicts: make([]message.Verdict, b.Len())}, err
		}
	}
}

// transaction stores the rows that SQLite accepts, and commits. If rows have groups, a row that is
// not new is settled at once, because that decides about the rest of its group; otherwise at the
// end, when all others are stored.
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
	newest := in.newest()
	for i := range in.batch.Len() {
		group := in.batch.Group(i)
		if stopped[group] {
			in.result.Verdicts[i].Cause = message.CauseGroup
			continue
		}
		if newest[i] != i && !in.oneByOne {
			continue
		}
		if failed := in.of(i).failed; failed != nil {
			in.result.Verdicts[i].Cause = failed.Cause
			stopped[group] = group != 0
			continue
		}
		isNew, err := in.row(ctx, i)
		switch {
		case err != nil:
			return err
		case isNew:
		case !in.batch.HasGroups():
			unsettled = append(unsettled, i)
		default:
			if err := in.settle(ctx, i); err != nil {
				return err
			}
			stopped[group] = group != 0 && in.result.Verdicts[i].Outcome != message.Stored
		}
	}
	if unsettled, err = in.retry(ctx, unsettled); err != nil {
		return err
	}
	for _, i := range unsettled {
		if err := in.settle(ctx, i); err != nil {
			return err
		}
	}
	if err := in.overtake(newest); err != nil {
		return err
	}
	return in.commit(ctx, tx)
}

// commit commits if the rows violate no foreign key.
func (in *insertion) commit(ctx context.Context, tx *sql.Tx) error {
	if in.mode == beforeCommit {
		if err := in.findViolations(ctx, tx); err != nil {
			return err
		}
	}
	if err := in.judge(ctx, tx); err != nil {
		return err
	}
	err := tx.Commit()
	if err == nil {
		return nil
	}
	violated, _ := errors.AsType[*sqlite.Error](err)
	if violated != nil && violated.Code() == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY && in.mode != atEachRow {
		in.mode, in.violated = in.mode+1, violated
		return errAgain
	}
	return in.store.fault(ctx, "commit", err)
}

// findViolations finds the new rows that violate a foreign key when all others are stored. SQLite
// reads the whole table for it.
func (in *insertion) findViolations(ctx context.Context, tx *sql.Tx) error {
	found := false
	const query = `SELECT c.rowid, (SELECT json_group_array("from") FROM pragma_foreign_key_list(@table) WHERE id = c.fkid)
		FROM pragma_foreign_key_check(@table) AS c WHERE c.rowid IS NOT NULL`
	for _, p := range in.tables {
		if len(p.rowids) == 0 {
			continue
		}
		err := each(ctx, tx, query, p.table.Name, func(rows *sql.Rows) error {
			var rowid int64
			var text []byte
			var columns []string
			if err := errors.Join(rows.Scan(&rowid, &text), json.Unmarshal(text, &columns)); err != nil {
				return err
			}
			if i, isNew := p.rowids[rowid]; isNew {
				if found = true; in.refusals[i] == nil {
					in.refusals[i] = &refusal{err: in.violated}
				}
				in.refusals[i].keys = append(in.refusals[i].keys, columns)
			}
			return nil
		})
		if err != nil {
			return in.store.fault(ctx, "check foreign keys", err)
		}
	}
	if found {
		return errAgain
	}
	return nil
}

// prepare compiles the statements. SQLite's errors about them are about names: there is no row yet. A
// table that takes no rows does not hold up the others.
func (in *insertion) prepare(ctx context.Context, tx *sql.Tx) error {
	in.tables = nil
	takesRows := false
	for _, d := range in.store.destinations {
		p := &prepared{destination: d, rowids: map[int64]int{}}
		in.tables = append(in.tables, p)
		if err := p.prepare(ctx, tx); err != nil {
			if p.failed = d.unusable(ctx, err); p.failed.Cause != message.CauseConfiguration {
				return p.failed
			}
		}
		takesRows = takesRows || p.failed == nil
	}
	if !takesRows {
		return in.failed()
	}
	compile := func(text string) (*sql.Stmt, error) { return tx.PrepareContext(ctx, text) } // the transaction closes it
	var errs [3]error
	in.set, errs[0] = compile("SAVEPOINT r")
	in.release, errs[1] = compile("RELEASE r")
	in.undo, errs[2] = compile("ROLLBACK TO r")
	err := cmp.Or(errs[0], errs[1], errs[2])
	if err == nil && in.mode != atEachRow {
		_, err = tx.ExecContext(ctx, "PRAGMA defer_foreign_keys = ON") // until the transaction ends
	}
	if err != nil {
		return in.store.fault(ctx, "prepare", err)
	}
	if in.askFirst {
		in.existed = make([]bool, in.batch.Len())
		for i := range in.existed {
			if in.of(i).failed != nil {
				continue
			}
			found, err := in.find(ctx, i)
			if err != nil {
				return err
			}
			in.existed[i] = found.Outcome != message.Returned
		}
	}
	return nil
}

// prepare compiles the statements of a table.
func (p *prepared) prepare(ctx context.Context, tx *sql.Tx) error {
	collations, err := keyCollations(ctx, tx, p.table)
	compile := func(text string) (statement *sql.Stmt) {
		if err == nil {
			statement, err = tx.PrepareContext(ctx, text) // the transaction closes it
		}
		return statement
	}
	for _, text := range p.destination.inserts {
		p.inserts = append(p.inserts, compile(text))
	}
	p.present = compile(presentSQL(p.table, collations))
	if p.replaces() {
		p.known = compile(knownSQL(p.table, collations))
	}
	return err
}

// failed returns the error of the first table that takes no rows, if the batch has some for it, or if
// it has none at all.
func (in *insertion) failed() error {
	for table, p := range in.tables {
		if p.failed != nil && (in.batch.Len() == 0 || in.has(table)) {
			return p.failed
		}
	}
	return nil
}

// has reports whether the batch has a row of a table.
func (in *insertion) has(table int) bool {
	for i := range in.batch.Len() {
		if in.batch.Table(i) == table {
			return true
		}
	}
	return false
}

// row tries one row, with a savepoint, and reports whether it is new, or newer than the one that it
// replaces. If not, nothing of it is left, and its refusal is recorded, if it was refused.
func (in *insertion) row(ctx context.Context, i int) (isNew bool, err error) {
	if in.refusals[i] != nil {
		return false, nil
	}
	p := in.of(i)
	if _, err := in.set.ExecContext(ctx); err != nil {
		return false, in.store.fault(ctx, "set a savepoint", err)
	}
	replaces := false
	if p.replaces() {
		if err := p.known.QueryRowContext(ctx, in.named(i)...).Scan(&replaces); err != nil {
			return false, in.store.fault(ctx, lookingUp+table(p.table), err)
		}
	}
	var rowid int64
	for k, s := range p.inserts {
		done, err := s.ExecContext(ctx, in.values(i, k)...)
		refused, _ := errors.AsType[*sqlite.Error](err)
		switch {
		case err == nil:
			n, _ := done.RowsAffected() // SQLite always knows
			isNew = n == 1
			rowid, _ = done.LastInsertId()
		case refused != nil && isRefusal(refused):
			isNew, in.refusals[i] = false, &refusal{err: refused}
		default:
			return false, in.store.fault(ctx, "insert into "+table(p.table), err)
		}
		if !isNew {
			break
		}
	}
	if !isNew {
		if _, err := in.undo.ExecContext(ctx); err != nil {
			if in.refusals[i] != nil && ctx.Err() == nil {
				return false, errAgain // RAISE(ROLLBACK) or ON CONFLICT ROLLBACK ended the transaction, and the savepoint with it
			}
			return false, in.store.fault(ctx, "undo a row", err)
		}
	}
	if _, err := in.release.ExecContext(ctx); err != nil {
		return false, in.store.fault(ctx, "release a savepoint", err)
	}
	if !isNew {
		return false, nil
	}
	in.result.Verdicts[i].Outcome = message.Stored
	tally := in.result.Tallies.Of(in.batch.Table(i))
	if p.replaces() {
		p.written = append(p.written, i)
	}
	if replaces {
		tally.Replaced++
	} else {
		tally.Inserted++
		p.rowids[rowid] = i
	}
	return true, nil
}

// retry tries rows again that a foreign key has refused, as long as one of them passes: another may
// need it. It returns the rows that do not pass.
func (in *insertion) retry(ctx context.Context, rows []int) ([]int, error) {
	for again := true; again; {
		again = false
		left := rows[:0:0]
		for _, i := range rows {
			refused := in.refusals[i]
			if refused == nil || refused.keys != nil || refused.err.Code() != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY {
				left = append(left, i)
				continue
			}
			delete(in.refusals, i)
			isNew, err := in.row(ctx, i)
			switch {
			case err != nil:
				return nil, err
			case isNew:
				again = true
				continue
			case in.refusals[i] == nil: // another row has its key, which proves nothing for this one
				in.refusals[i] = refused
			}
			left = append(left, i)
		}
		rows = left
	}
	return rows, nil
}

// settle sets the verdict of a row that is not new, as far as its key tells. If the key exists, the
// row is stored, or in conflict with the stored one. But a row that SQLite refused is stored only if
// its key existed before, or if a newer one is: a row of this batch with the same key proves nothing
// else for it. If the key does not exist, and SQLite did not refuse the row, a trigger has discarded
// it.
func (in *insertion) settle(ctx context.Context, i int) error {
	found, err := in.find(ctx, i)
	exists := found.Outcome != message.Returned
	refused := in.refusals[i] != nil && !found.Outdated
	switch {
	case err != nil:
		return err
	case exists && refused && !in.askFirst:
		in.askFirst = true
		return errAgain
	case exists && (!refused || in.existed[i]):
		in.result.Verdicts[i] = found
	case !refused:
		in.result.Verdicts[i].Cause = message.CauseDiscarded
	}
	return nil
}

// find returns the verdict on a row for what is stored under its key, and the zero verdict if nothing
// is.
func (in *insertion) find(ctx context.Context, i int) (message.Verdict, error) {
	var state int
	var id sql.NullString
	p := in.of(i)
	err := p.present.QueryRowContext(ctx, in.named(i)...).Scan(&state, &id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return message.Verdict{}, nil
	case err != nil:
		return message.Verdict{}, in.store.fault(ctx, lookingUp+table(p.table), err)
	case state != isConflict:
		return message.Verdict{Outcome: message.Stored, Outdated: state == isOutdated}, nil
	}
	v := message.Verdict{Outcome: message.Stored, Rejection: message.ConflictWith(id.String)}
	if p.table.OnConflict == batch.Reject {
		v.Outcome = message.Rejected
	}
	return v, nil
}

// judgeRefused sets the verdicts of the rows that SQLite refused, and returns an error if they are
// not to blame. Duplicates are no evidence: they may not reach what fails.
func (in *insertion) judgeRefused() (err error) {
	for i := range in.result.Verdicts {
		v, r := &in.result.Verdicts[i], in.refusals[i]
		switch {
		case r == nil || v.Outcome != message.Returned || v.Cause == message.CauseGroup:
		case r.blame == blameDiscarded:
			v.Cause = message.CauseDiscarded
		case r.blame == blameRow || r.blame == blameSuspect && *in.result.Tallies.Of(in.batch.Table(i)) != (message.Tally{}):
			*v = message.Verdict{Outcome: message.Rejected, Rejection: in.of(i).rejection(r)}
		default:
			e := in.of(i).refused(r)
			v.Cause, err = e.Cause, e
		}
	}
	return err
}

// named returns the values of row i as named parameters.
func (in *insertion) named(i int) []any {
	in.args = in.args[:0]
	in.batch.Row(i, func(c int, v []byte) {
		in.args = append(in.args, sql.Named(parameter(c)[1:], value(&in.batch.Columns(i)[c], v)))
	})
	return in.args
}

const lookingUp = "look up keys in "

// values returns the parameters of row i for statement k.
func (in *insertion) values(i, k int) []any {
	ledger := k == 0 && in.of(i).table.Ledger != ""
	in.args = in.args[:0]
	in.batch.Row(i, func(c int, v []byte) {
		if column := &in.batch.Columns(i)[c]; column.Ledger == ledger {
			in.args = append(in.args, value(column, v))
		}
	})
	return in.args
}
