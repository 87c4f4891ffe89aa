package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// A message may have several rows: in one table (batch.Table.Several), or one row there and others in
// its Children. All of them are stored or none: a savepoint is set for each message. Rows that depend on
// the first one, those of children and those beside a ledger, are stored only if that is new or replaces
// another one. Children that replace are written over, and those that their message no longer has are
// deleted.

// part is what an insertion does in a table.
type part struct {
	table    *batch.Table
	children []*part

	inserts []*sql.Stmt // for the ledger, if there is one, and for the table
	present *sql.Stmt
	// Of tables that replace, and of their children:
	stored *sql.Stmt
	// Of these children:
	plain, orphans *sql.Stmt
}

// written is a row that is written.
type written struct {
	table    *batch.Table
	place    place
	inserted bool
	rowid    int64 // of an inserted row
	// Of tables that replace, and of their children:
	key string // as it is stored
}

// place is where a row is in the batch: row more of the other rows of a message, or its first one for -1.
type place struct{ message, more int }

// message tries to store a message, and reports whether some of its rows are written. If not, nothing
// of it is left: all its rows are there, or one of them is discarded, refused or in conflict. A refusal
// is recorded.
func (in *insertion) message(ctx context.Context, i int) (isNew bool, err error) {
	if in.refusals[i] != nil {
		return false, nil
	}
	if _, err := in.set.ExecContext(ctx); err != nil {
		return false, in.store.fault(ctx, "set a savepoint", err)
	}
	rows, verdict, err := in.rows(ctx, i)
	if err != nil {
		return false, err
	}
	isNew = len(rows) > 0 && in.refusals[i] == nil && verdict.Outcome == message.Stored
	if !isNew {
		if _, err := in.undo.ExecContext(ctx); err != nil {
			if in.refusals[i] != nil && ctx.Err() == nil {
				return false, errAgain // RAISE(ROLLBACK) or ON CONFLICT ROLLBACK ended the transaction, and the savepoint with it
			}
			return false, in.store.fault(ctx, "undo a message", err)
		}
	}
	if _, err := in.release.ExecContext(ctx); err != nil {
		return false, in.store.fault(ctx, "release a savepoint", err)
	}
	switch {
	case isNew:
		in.result.Verdicts[i] = verdict
		in.keep(i, rows)
	case verdict.Outcome == message.Rejected:
		in.result.Verdicts[i] = verdict
	}
	return isNew, nil
}

// rows writes the rows of a message that are to be written, up to one that is refused. The verdict is
// Stored unless one is discarded, or in a conflict that rejects the message.
func (in *insertion) rows(ctx context.Context, i int) (all []written, verdict message.Verdict, err error) {
	own := in.parts[in.batch.Table(i)]
	verdict.Outcome = message.Stored
	firstIsNew := false
	for k := -1; k < in.batch.MoreRows(i); k++ {
		p, depends := in.partOf(i, k)
		if depends && !firstIsNew {
			continue
		}
		row, isWritten, err := in.write(ctx, p, i, k)
		if err != nil || in.refusals[i] != nil {
			return nil, verdict, err
		}
		if isWritten {
			firstIsNew = firstIsNew || k < 0
			all = append(all, row)
		}
		if len(own.children) == 0 && in.batch.MoreRows(i) == 0 {
			break // if it is not written, settle looks for it when all others are stored
		}
		found := message.Verdict{Outcome: message.Stored}
		switch {
		case !isWritten && depends, isWritten && p.stored != nil && row.key == "":
			found.Outcome = message.Returned
		case !isWritten, k < 0 && len(own.children) > 0: // a trigger may have given a parent another key
			if found, err = in.findRow(ctx, p, i, k); err != nil {
				return nil, verdict, err
			}
		}
		verdict = worse(verdict, found)
	}
	if own.table.OnConflict == batch.Replace && firstIsNew && verdict.Outcome == message.Stored {
		err = in.deleteOrphans(ctx, i, all)
	}
	return all, verdict, err
}

// worse returns the verdict on a message with rows of two verdicts: it is returned for a row that is
// not there, and else in conflict if one of them is.
func worse(v, row message.Verdict) message.Verdict {
	if v.Outcome == message.Returned || row.Outcome == message.Stored && row.Rejection.Reason == "" {
		return v
	}
	if row.Outcome == message.Returned || v.Rejection.Reason == "" {
		return row
	}
	return v
}

// partOf returns the part of a row, and whether it depends on the first one of its message.
func (in *insertion) partOf(i, k int) (p *part, depends bool) {
	p = in.parts[in.batch.Table(i)]
	if k < 0 {
		return p, false
	}
	if child := in.batch.MoreTable(i, k); child >= 0 {
		return p.children[child], true
	}
	return p, p.table.Ledger != ""
}

// write writes one row, unless its key is stored, a newer one is, or the database discards or refuses
// it.
func (in *insertion) write(ctx context.Context, p *part, i, k int) (row written, isWritten bool, err error) {
	row = written{table: p.table, place: place{i, k}, inserted: true}
	if p.stored != nil {
		if row.key, err = in.storedKey(ctx, p, i, k); err != nil {
			return row, false, err
		}
		row.inserted = row.key == ""
	}
	inserts := p.inserts
	if k >= 0 && p.table.Ledger != "" {
		inserts = inserts[1:] // the message has one row in the ledger
	}
	for n, s := range inserts {
		done, err := s.ExecContext(ctx, in.values(p, i, k, n < len(inserts)-1)...)
		if err != nil {
			return row, false, in.refuse(ctx, "insert into ", p, i, k, err)
		}
		if n, _ := done.RowsAffected(); n == 0 { // SQLite always knows
			return row, false, nil
		}
		row.rowid, _ = done.LastInsertId()
	}
	if p.stored != nil { // a trigger may have given it another one
		row.key, err = in.storedKey(ctx, p, i, k)
	}
	return row, true, err
}

// refuse records a refusal of SQLite's, and returns any other error as one of this package.
func (in *insertion) refuse(ctx context.Context, doing string, p *part, i, k int, err error) error {
	refused, _ := errors.AsType[*sqlite.Error](err)
	if refused == nil || !isRefusal(refused) {
		return in.store.fault(ctx, doing+table(p.table), err)
	}
	in.refusals[i] = &refusal{err: refused, table: p.table, row: in.nameOf(place{i, k})}
	return nil
}

// storedKey returns the key of a row as it is stored, "" if it is not.
func (in *insertion) storedKey(ctx context.Context, p *part, i, k int) (key string, err error) {
	err = p.stored.QueryRowContext(ctx, in.named(p, i, k)...).Scan(&key)
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		return key, nil
	}
	return "", in.store.fault(ctx, lookingUp+table(p.table), err)
}

// deleteOrphans deletes the rows of children that a message no longer has. Two rows of it with one key
// are refused: no order of them is the right one.
func (in *insertion) deleteOrphans(ctx context.Context, i int, rows []written) error {
	own := in.parts[in.batch.Table(i)]
	for _, child := range own.children {
		keys, seen := []string{}, map[string]bool{}
		for _, row := range rows {
			if row.table != child.table {
				continue
			}
			if seen[row.key] {
				_, err := child.plain.ExecContext(ctx, in.values(child, i, row.place.more, false)...)
				return in.refuse(ctx, "insert into ", child, i, row.place.more, err)
			}
			seen[row.key] = true
			keys = append(keys, row.key)
		}
		kept, err := json.Marshal(keys)
		if err == nil {
			_, err = child.orphans.ExecContext(ctx, append(in.named(own, i, -1), sql.Named("kept", string(kept)))...)
		}
		if err != nil {
			if err := in.refuse(ctx, "delete from ", child, i, -1, err); err != nil {
				return err
			}
			in.refusals[i].row = "" // none of the message
			return nil
		}
	}
	return nil
}

// nameOf names a row of a message that has several; "" if it has one.
func (in *insertion) nameOf(at place) string {
	p, _ := in.partOf(at.message, at.more)
	switch {
	case in.batch.MoreRows(at.message) == 0:
		return ""
	case p.table.Several:
		return fmt.Sprintf("row %d of %s", at.more+2, p.table.Name)
	case at.more < 0:
		return "the row of " + p.table.Name
	}
	n := 0
	for k := range at.more + 1 {
		if other, _ := in.partOf(at.message, k); other == p {
			n++
		}
	}
	return fmt.Sprintf("row %d of %s", n, p.table.Name)
}

// keep records the rows of a message that stays. A row that replaces one of this batch takes its place:
// that counts as if it had not been.
func (in *insertion) keep(i int, rows []written) {
	in.counts[i] = &counts{}
	for _, row := range rows {
		if row.key != "" {
			id := rowID{row.table, row.key}
			if last, ok := in.last[id]; ok {
				in.count(last, -1)
				row.inserted, row.rowid = last.inserted, last.rowid
			}
			in.last[id] = row
		}
		in.count(row, 1)
		if row.inserted {
			in.places[rowid{row.table.Name, row.rowid}] = row.place
		}
	}
}

// rowID is a stored row.
type rowID struct {
	table *batch.Table
	key   string
}

// rowid is a stored row, as SQLite calls it.
type rowid struct {
	table string
	id    int64
}

// counts are how many rows of its own table a message has inserted and replaced.
type counts struct{ inserted, replaced int }

// count counts a row of its message, unless it is of a child.
func (in *insertion) count(row written, n int) {
	c := in.counts[row.place.message]
	switch {
	case row.table != in.parts[in.batch.Table(row.place.message)].table:
	case row.inserted:
		c.inserted += n
	default:
		c.replaced += n
	}
}

// tally counts the messages that have written rows. One is new if one of its rows is; else it has
// replaced others if one of them has; else all its rows are replaced by now, and it is a duplicate, or
// outdated.
func (in *insertion) tally(ctx context.Context) error {
	for i, c := range in.counts {
		v := &in.result.Verdicts[i]
		tally := in.result.Tallies.Of(in.batch.Table(i))
		switch {
		case v.Conflicts(): // counted as such
		case c.inserted > 0:
			tally.Inserted++
		case c.replaced > 0:
			tally.Replaced++
		default:
			found, err := in.find(ctx, i)
			if err != nil {
				return err
			}
			v.Outdated = found.Outdated
		}
	}
	return nil
}

// orphansSQL returns the statement that deletes the children of a parent whose keys are not listed.
func orphansSQL(parent, child *batch.Table) string {
	terms := make([]string, len(child.Parent))
	for i, c := range child.Parent {
		terms[i] = batch.Quote(child.Columns[c].Name) + " = " + parameter(parent.Key[i])
	}
	return fmt.Sprintf("DELETE FROM %s WHERE %s AND %s NOT IN (SELECT value FROM json_each(@kept))",
		table(child), strings.Join(terms, " AND "), keyText(child))
}

// keyText returns an expression that is the key of a row as a text, which no other key has.
func keyText(t *batch.Table) string {
	names := t.KeyNames()
	for i, name := range names {
		names[i] = "quote(" + name + ")"
	}
	return strings.Join(names, " || ' ' || ")
}

// storedSQL asks for the key of a row as it is stored.
func storedSQL(t *batch.Table, collations map[string]string) string {
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s", keyText(t), table(t), hasKey(t, collations))
}
