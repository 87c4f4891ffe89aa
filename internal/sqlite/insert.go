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

// insertion is one attempt to store one batch. Messages are known by the index of their first row.
type insertion struct {
	store    *Store
	batch    *batch.Batch
	result   message.Result
	refusals map[int]*refusal // by message
	mode     keyMode
	violated *sqlite.Error // the foreign key error of COMMIT
	askFirst bool          // look up the keys of all messages before the first insert
	existed  []bool        // for each message, whether it was found then
	oneByOne bool          // try each message, also one that a newer one of the batch would replace at once

	parts  []*part         // by the index of the table; nil if it gets no rows
	aside  *fault.Error    // why a table takes none
	places map[rowid]place // the new rows, for the check of foreign keys
	counts map[int]*counts // by message, if it has written rows
	last   map[rowID]written

	set, release, undo *sql.Stmt
	args               []any
}

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
			err := in.judgeRefused()
			if in.aside != nil {
				err = in.aside
			}
			return in.result, err
		case !errors.Is(err, errAgain):
			return message.Result{Verdicts: make([]message.Verdict, b.Len())}, err
		}
	}
}

// transaction stores the messages that SQLite accepts, and commits. If they have groups, one that is
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
	stopped := map[int]bool{} // groups with a message that is not stored
	newest := in.newest()
	for i := range in.batch.Len() {
		group := in.batch.Group(i)
		if stopped[group] {
			in.result.Verdicts[i].Cause = message.CauseGroup
			continue
		}
		if in.parts[in.batch.Table(i)] == nil {
			in.result.Verdicts[i].Cause = in.aside.Cause
			stopped[group] = group != 0
			continue
		}
		if newest[i] != i && !in.oneByOne {
			continue
		}
		isNew, err := in.message(ctx, i)
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
	if err := in.tally(ctx); err != nil {
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

// findViolations finds the messages whose new rows violate a foreign key when all others are stored.
// SQLite reads whole tables for it.
func (in *insertion) findViolations(ctx context.Context, tx *sql.Tx) error {
	found := false
	const query = `SELECT c.rowid, (SELECT json_group_array("from") FROM pragma_foreign_key_list(@table) WHERE id = c.fkid)
		FROM pragma_foreign_key_check(@table) AS c WHERE c.rowid IS NOT NULL`
	for _, p := range in.all() {
		err := each(ctx, tx, query, p.table.Name, func(rows *sql.Rows) error {
			var id int64
			var text []byte
			var columns []string
			if err := errors.Join(rows.Scan(&id, &text), json.Unmarshal(text, &columns)); err != nil {
				return err
			}
			at, isNew := in.places[rowid{p.table.Name, id}]
			if !isNew {
				return nil
			}
			found = true
			if in.refusals[at.message] == nil {
				in.refusals[at.message] = &refusal{err: in.violated, table: p.table, row: in.nameOf(at)}
			}
			if r := in.refusals[at.message]; r.table == p.table {
				r.keys = append(r.keys, columns)
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

// all returns the parts and their children.
func (in *insertion) all() (all []*part) {
	for _, p := range in.parts {
		if p != nil {
			all = append(append(all, p), p.children...)
		}
	}
	return all
}

// prepare compiles the statements: for the tables that messages are for, or for all if there are none.
// A table that takes no rows does not hold up the others.
func (in *insertion) prepare(ctx context.Context, tx *sql.Tx) error {
	in.parts, in.aside = make([]*part, len(in.store.tables)), nil
	in.places, in.counts, in.last = map[rowid]place{}, map[int]*counts{}, map[rowID]written{}
	if in.mode != atEachRow {
		if _, err := tx.ExecContext(ctx, "PRAGMA defer_foreign_keys = ON"); err != nil { // until the transaction ends
			return in.store.fault(ctx, "defer foreign keys", err)
		}
	}
	needed := map[int]bool{}
	for i := range in.batch.Len() {
		needed[in.batch.Table(i)] = true
	}
	for i, t := range in.store.tables {
		if !needed[i] && len(needed) > 0 {
			continue
		}
		p, err := in.prepareTable(ctx, tx, t, nil)
		switch {
		case err == nil:
			in.parts[i] = p
		case err.Cause != message.CauseConfiguration || len(needed) < 2:
			return err
		default:
			in.aside = cmp.Or(in.aside, err)
		}
	}
	if len(needed) > 0 && len(in.all()) == 0 {
		return in.aside
	}
	var err error
	compile := compiler(ctx, tx, &err)
	in.set, in.release, in.undo = compile("SAVEPOINT r"), compile("RELEASE r"), compile("ROLLBACK TO r")
	if err != nil {
		return in.store.fault(ctx, "set a savepoint", err)
	}
	if in.askFirst {
		in.existed = make([]bool, in.batch.Len())
		for i := range in.existed {
			if in.parts[in.batch.Table(i)] == nil {
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

// compiler returns a function that compiles statements until one fails.
func compiler(ctx context.Context, tx *sql.Tx, err *error) func(text string) *sql.Stmt {
	return func(text string) (statement *sql.Stmt) {
		if *err == nil {
			statement, *err = tx.PrepareContext(ctx, text) // the transaction closes it
		}
		return statement
	}
}

// prepareTable compiles the statements for a table and its children. SQLite's errors about them are
// about names: there is no row yet.
func (in *insertion) prepareTable(ctx context.Context, tx *sql.Tx, t, parent *batch.Table) (*part, *fault.Error) {
	p := &part{table: t}
	collations, err := keyCollations(ctx, tx, t)
	compile := compiler(ctx, tx, &err)
	for _, text := range insertSQL(t, parent) {
		p.inserts = append(p.inserts, compile(text))
	}
	p.present = compile(presentSQL(t, collations))
	switch {
	case t.OnConflict == batch.Replace:
		p.stored = compile(storedSQL(t, collations))
	case parent != nil && parent.OnConflict == batch.Replace:
		p.stored, p.plain, p.orphans = compile(storedSQL(t, collations)), compile(insertInto(t, t.Name, false)), compile(orphansSQL(parent, t))
	}
	if err != nil {
		return nil, in.store.schemaFault(ctx, "insert into "+table(t), t, err)
	}
	for _, child := range t.Children {
		c, err := in.prepareTable(ctx, tx, child, t)
		if err != nil {
			return nil, err
		}
		p.children = append(p.children, c)
	}
	return p, nil
}

// retry tries messages again that a foreign key has refused, as long as one of them passes: another may
// need it. It returns those that do not pass.
func (in *insertion) retry(ctx context.Context, messages []int) ([]int, error) {
	for again := true; again; {
		again = false
		left := messages[:0:0]
		for _, i := range messages {
			refused := in.refusals[i]
			if refused == nil || refused.keys != nil || refused.err.Code() != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY {
				left = append(left, i)
				continue
			}
			delete(in.refusals, i)
			isNew, err := in.message(ctx, i)
			switch {
			case err != nil:
				return nil, err
			case isNew:
				again = true
				continue
			case in.refusals[i] == nil: // another one has its key, which proves nothing for this one
				in.refusals[i] = refused
			}
			left = append(left, i)
		}
		messages = left
	}
	return messages, nil
}

// settle sets the verdict of a message that is not new, as far as its keys tell. If they exist, the
// message is stored, or in conflict with a stored row. But one that SQLite refused is stored only if
// its keys existed before, or if newer rows do: a row of this batch with the same key proves nothing
// else for it. If a key does not exist, and SQLite did not refuse the message, a trigger has discarded
// it.
func (in *insertion) settle(ctx context.Context, i int) error {
	if in.result.Verdicts[i].Outcome == message.Rejected { // in conflict
		return nil
	}
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

// find returns the verdict on a message for what is stored under its keys, and the zero verdict if one
// of them is not. A row that depends on the first one is not looked for.
func (in *insertion) find(ctx context.Context, i int) (v message.Verdict, err error) {
	v = message.Verdict{Outcome: message.Stored}
	outdated := true
	for k := -1; k < in.batch.MoreRows(i); k++ {
		p, depends := in.partOf(i, k)
		if depends {
			continue
		}
		found, err := in.findRow(ctx, p, i, k)
		if err != nil || found.Outcome == message.Returned {
			return message.Verdict{}, err
		}
		outdated = outdated && found.Outdated
		v = worse(v, found)
	}
	v.Outdated = outdated
	return v, nil
}

// findRow returns the verdict on a row for what is stored under its key, and the zero verdict if nothing
// is.
func (in *insertion) findRow(ctx context.Context, p *part, i, k int) (message.Verdict, error) {
	var state int
	var id sql.NullString
	err := p.present.QueryRowContext(ctx, in.named(p, i, k)...).Scan(&state, &id)
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

// judgeRefused sets the verdicts of the messages that SQLite refused, and returns an error if they are
// not to blame. Duplicates are no evidence, since they may not reach what fails, and neither are other
// tables.
func (in *insertion) judgeRefused() (err error) {
	for i := range in.result.Verdicts {
		v, r := &in.result.Verdicts[i], in.refusals[i]
		switch {
		case r == nil || v.Outcome != message.Returned || v.Cause == message.CauseGroup:
		case r.blame == blameDiscarded:
			v.Cause = message.CauseDiscarded
		case r.blame == blameRow || r.blame == blameSuspect && *in.result.Tallies.Of(in.batch.Table(i)) != (message.Tally{}):
			*v = message.Verdict{Outcome: message.Rejected, Rejection: r.rejection()}
		default:
			e := in.store.refused(r)
			v.Cause, err = e.Cause, e
		}
	}
	return err
}

// read calls f for each value of a row: that with the index k of the other rows of a message, or its
// first one for -1.
func (in *insertion) read(i, k int, f func(column int, v []byte)) {
	if k < 0 {
		in.batch.Row(i, f)
	} else {
		in.batch.MoreRow(i, k, f)
	}
}

// named returns the values of a row as named parameters.
func (in *insertion) named(p *part, i, k int) []any {
	in.args = in.args[:0]
	in.read(i, k, func(c int, v []byte) {
		in.args = append(in.args, sql.Named(parameter(c)[1:], value(&p.table.Columns[c], v)))
	})
	return in.args
}

const lookingUp = "look up keys in "

// values returns the parameters of a row for the table, or for its ledger.
func (in *insertion) values(p *part, i, k int, ledger bool) []any {
	in.args = in.args[:0]
	in.read(i, k, func(c int, v []byte) {
		if column := &p.table.Columns[c]; column.Ledger == ledger {
			in.args = append(in.args, value(column, v))
		}
	})
	return in.args
}
