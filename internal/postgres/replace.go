package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// A table that replaces keeps the newest row of each key, by the version of batch.Table. The insert
// replaces what is older, and tells in the same round trip how many rows it has inserted and how many
// replaced, and which it has not written. Only those are looked up: the stored row is as new, or
// newer, or the database has discarded the row.
//
// Of rows with one key a statement has only the newest, because Postgres refuses to write a row twice
// in one statement. The others are outdated if that one is written. After a refusal they are tried
// too: a search tries rows one by one, the oldest first. If the type of a column makes more keys equal
// than their bytes do, the statement fails with 21000 (cardinality_violation), which leads to the
// same search.

// replaces reports whether the newest row of each key stays.
func (d *destination) replaces() bool { return d.table.OnConflict == batch.Replace }

// replaceSQL returns the statement that inserts rows or replaces older ones. It returns the positions
// of rows that it has not written, counted from 1, and then how many it has written and how many of
// these have replaced another, as written returns.
//
// A row that has replaced another has an xmax, by which its older version was locked. Where the table
// does not return it, a row has replaced another if the snapshot of the statement has its key, which
// costs the server a sixth more. (So one that another transaction has stored since the snapshot counts
// as inserted.)
func replaceSQL(t *batch.Table, k *keyFacts, sorted bool) string {
	arrays, names, values := input(t)
	sent, key := keyValues(t), t.KeyNames()
	var done []string
	for _, name := range key {
		done = append(done, "done."+name)
	}
	returned, replaced := list(key), fmt.Sprintf("EXISTS (SELECT FROM %s AS present WHERE %s)", table(t), k.equal(t, "present.", done))
	if k != nil && k.Xmax {
		returned, replaced = returned+", xmax <> 0 AS replaced", "replaced"
	}
	newer := isNewer(t, storedVersion(t, "excluded."), storedVersion(t, "stored."))
	from := fmt.Sprintf("(SELECT %s, generate_series(1::bigint, cardinality($1)) AS n) AS input", arrays)
	return fmt.Sprintf("WITH done AS (%s%s WHERE %s%s ON CONFLICT (%s) DO UPDATE SET %s WHERE %s RETURNING %s), ",
		insertInto(table(t)+" AS stored", names, values), from, durable, orderSQL(t, k, sorted), list(key), list(setAll(t)), newer, returned) +
		fmt.Sprintf("counts AS MATERIALIZED (SELECT count(*) AS written, count(*) FILTER (WHERE %s) AS replaced FROM done) ", replaced) +
		// The first condition is there because the second is slow where the server expects few rows.
		fmt.Sprintf("SELECT n FROM %s WHERE (SELECT written FROM counts) < cardinality($1) AND NOT EXISTS (SELECT FROM done WHERE %s) ", from, k.equal(t, "done.", sent)) +
		fmt.Sprintf("UNION ALL SELECT -(%d * written + replaced) FROM counts ORDER BY 1 DESC", countOf)
}

// countOf is more than the rows of any statement: it separates two counts in one number.
const countOf = 1 << 32

// storedVersion returns the columns of the table that make a version, each after a prefix.
func storedVersion(t *batch.Table, prefix string) (all []string) {
	for _, c := range t.Version() {
		all = append(all, prefix+batch.Quote(t.Columns[c].Name))
	}
	return all
}

// isNewer returns the condition that a version replaces a stored one.
func isNewer(t *batch.Table, sent, stored []string) string {
	return stored[0] + " IS NULL OR " + exceeds(sent, stored)
}

// exceeds returns the condition that a version is greater than another.
func exceeds(x, y []string) string {
	condition := x[0] + " > " + y[0]
	if len(x) > 1 {
		condition += fmt.Sprintf(" OR %s = %s AND %s > %s", x[0], y[0], x[1], y[1])
	}
	return condition
}

// doneSQL returns rows, given as one array for each column of the key and the version, as a table with
// the position n, beside the row present that is stored, and the condition that nothing would be
// replaced by them.
func doneSQL(t *batch.Table, k *keyFacts) (input, present, condition string, sent []string) {
	input, names := arraysInput(t, slices.Concat(t.Key, t.Version()))
	for i, c := range t.Version() {
		sent = append(sent, names[len(t.Key)+i]+cast(t.Columns[c]))
	}
	present = fmt.Sprintf("%s AS present ON (%s)", table(t), k.equal(t, "present.", names[:len(t.Key)]))
	return input, present, "(" + isNewer(t, sent, storedVersion(t, "present.")) + ") IS NOT TRUE", sent
}

// notReplacedSQL is presentSQL for a table that replaces: which rows are stored, or are as good as
// stored because a newer one is: then the position is negative.
func notReplacedSQL(t *batch.Table, k *keyFacts) string {
	input, present, done, sent := doneSQL(t, k)
	return fmt.Sprintf("SELECT CASE WHEN %s THEN -input.n ELSE input.n END FROM %s JOIN %s WHERE %s AND %s AND %s",
		exceeds(storedVersion(t, "present."), sent), input, present, durable, replicated, done)
}

// noneReplacedSQL is allPresentSQL for a table that replaces.
func noneReplacedSQL(t *batch.Table, k *keyFacts) string {
	input, present, done, _ := doneSQL(t, k)
	return fmt.Sprintf("SELECT width_bucket(0, 1, 2, 1 - least(count(*), 1)::int)::bigint FROM %s LEFT JOIN %s WHERE NOT %s", input, present, done)
}

// takeReplaced reads what the statement of a table that replaces returns. A row that was left out of it
// is done if the newer one is.
func (a *answer) takeReplaced(r *pgconn.ResultReader, s sent) written {
	var w written
	undone := map[int]bool{}
	for r.NextRow() {
		if v := batch.Int(r.Values()[0]); v > 0 {
			undone[s.rows[v-1]] = true
		} else {
			w.Replaced = int(-v % countOf)
			w.Inserted = int(-v/countOf) - w.Replaced
		}
	}
	if w.Inserted+w.Replaced != len(s.rows)-len(undone) { // of keys that are equal in their type only, one was written
		for _, row := range s.rows {
			undone[row] = true
		}
	}
	for i, row := range s.all {
		newest := row
		if s.newest != nil {
			newest = s.newest[i]
		}
		switch {
		case undone[newest]:
			a.undone = append(a.undone, row)
			if newest != row {
				a.unsent = append(a.unsent, row)
			}
			continue
		case newest == row:
			a.wrote = append(a.wrote, row)
		}
		w.rows++
	}
	return w
}

// divide divides rows of a part into those that its statements have done, and those that may not be
// done: only a table that replaces tells which.
func (a *answer) divide(p *part, rows []int) (done, undone []int) {
	if !p.replaces() {
		return nil, rows
	}
	isUndone := map[int]bool{}
	for _, row := range a.undone {
		isUndone[row] = true
	}
	for _, row := range rows {
		if isUndone[row] {
			undone = append(undone, row)
		} else {
			done = append(done, row)
		}
	}
	return done, undone
}

// leaveOut returns those of some rows that a statement has.
func (in *insertion) leaveOut(rows []int) (sent, newest []int) {
	newest = in.batch.Newest(rows)
	if newest == nil {
		return rows, nil
	}
	for i, row := range rows {
		if newest[i] == row {
			sent = append(sent, row)
		}
	}
	return sent, newest
}

// outdate records that a newer row is stored, for each of some rows.
func (in *insertion) outdate(rows []int) {
	if in.outdated == nil && len(rows) > 0 {
		in.outdated = map[int]bool{}
	}
	for _, row := range rows {
		in.outdated[row] = true
	}
}

// tryEach tries rows that no statement had, because of a newer one that the database discarded.
func (in *insertion) tryEach(ctx context.Context, rows []int) error {
	all := in.rows
	defer func() { in.rows = all }()
	in.rows = rows
	return in.findRefused(ctx, &refusal{PgError: &pgconn.PgError{}, in: in}) // which is no reason to suspect anything
}

// overtake sets the verdicts of rows that a newer one of this insertion has replaced, or would have.
// Those that were stored in between count as if they had not been: so the counts do not depend on how
// the rows were divided into statements.
func (in *insertion) overtake() {
	for p, rows := range in.each(in.rows) {
		if !p.replaces() || p.several() {
			continue
		}
		stored := slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return in.result.Verdicts[row].Outcome != message.Stored })
		for i, newest := range in.batch.Newest(stored) {
			v := &in.result.Verdicts[stored[i]]
			v.Outdated = v.Outdated || in.batch.CompareVersions(stored[i], newest) < 0
		}
	}
	for _, row := range in.wrote {
		if in.result.Verdicts[row].Outdated {
			in.result.Tallies.Of(in.of(row).index).Replaced--
		}
	}
}
