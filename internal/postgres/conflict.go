package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// In a table that keeps the stored row, a row of another message with the same key is a duplicate if
// it says the same, and else a conflict. So the look-up of duplicates, which is made anyway, compares
// them too. It sends whole rows, which the server can refuse to read. So a search, whose rows may have
// been refused, looks keys up as ever, and compares its duplicates at the end.
//
// With message groups, a conflict that is rejected stops its group: there the transaction that stores
// rows fails on one, which leads to the search.

// rejectsConflicts reports whether a row in conflict is rejected.
func (d *destination) rejectsConflicts() bool {
	return d.table.OnConflict == batch.Reject && d.table.FindsConflicts()
}

// compares reports whether rows are compared with stored ones. A table that keeps these needs no grant for
// that, and has none where it is older than this: then a row with a stored key is a duplicate, as
// package check says.
func (p *part) compares() bool { return p.table.FindsConflicts() && !p.cannotRead }

// givesUpComparing reports whether rows of a table that keeps stored ones cannot be compared without
// a grant that is missing. It is not tried again on this connection.
func (r *refusal) givesUpComparing(at sent) bool {
	if r == nil || !at.compares || r.Code != noGrant || at.of.rejectsConflicts() {
		return false
	}
	at.of.cannotRead = true
	return true
}

// comparedSQL returns rows as a table with the position n, joined with the stored rows that have their
// keys, and whether these agree with them: they are of the same message, or say the same. Values are
// compared as the column keeps them: a value that the insert has taken is cast without an error.
func comparedSQL(t *batch.Table, k *keyFacts) string {
	arrays, _, _ := input(t)
	var agree []string
	for i, c := range t.Compared() {
		column := t.Columns[c]
		as := comparedColumn{Type: column.Type}
		if k != nil && i < len(k.Compared) {
			as = k.Compared[i]
		}
		stored, sent := "stored."+batch.Quote(column.Name), fmt.Sprintf("input.c%d%s::%s", c+1, cast(column), as.Type)
		if as.Equals == "" {
			agree = append(agree, fmt.Sprintf("%s::text IS NOT DISTINCT FROM %s::text", stored, sent))
		} else {
			agree = append(agree, fmt.Sprintf("coalesce(%s %s %s, num_nulls(%[1]s, %[3]s) = 2)", stored, as.Equals, sent))
		}
	}
	return fmt.Sprintf("(SELECT %s, generate_series(1::bigint, cardinality($1)) AS n) AS input JOIN %s AS stored ON (%s) CROSS JOIN LATERAL (SELECT coalesce(%s::text = input.c%d::text, false) OR %s AS agrees) AS compared",
		arrays, table(t), k.equal(t, "stored.", keyValues(t)), senderOf(t), t.MessageID()+1, strings.Join(agree, " AND "))
}

// senderOf is the id of the message that has stored a row.
func senderOf(t *batch.Table) string {
	return "stored." + batch.Quote(t.Columns[t.MessageID()].Name)
}

func compareSQL(t *batch.Table, k *keyFacts) string {
	return fmt.Sprintf("SELECT CASE WHEN compared.agrees THEN input.n ELSE -input.n END, %s::text FROM %s WHERE %s AND %s", senderOf(t), comparedSQL(t, k), durable, replicated)
}

func noConflictSQL(t *batch.Table, k *keyFacts) string {
	return fmt.Sprintf("SELECT width_bucket(0, 1, 2, 1 - least(count(*), 1)::int)::bigint FROM %s WHERE NOT compared.agrees", comparedSQL(t, k))
}

// senderSQL needs no more of a row than its key and the id of its message.
func senderSQL(t *batch.Table, k *keyFacts) string {
	input, names := arraysInput(t, slices.Concat(t.Key, t.Version()))
	return fmt.Sprintf("SELECT CASE WHEN %s::text = %s::text THEN input.n ELSE -input.n END, %[1]s::text FROM %[3]s JOIN %[4]s AS stored ON (%[5]s)",
		senderOf(t), names[len(t.Key)], input, table(t), k.equal(t, "stored.", names[:len(t.Key)]))
}

// comparedColumns returns the names of the columns that are compared, as a parameter of type text[].
func comparedColumns(t *batch.Table) []byte {
	var names []string
	if t.FindsConflicts() {
		for _, c := range t.Compared() {
			names = append(names, t.Columns[c].Name)
		}
	}
	return textArray(names)
}

// compare adds the question which of the given rows' keys are in their tables, and which of the rows
// are in conflict. The server has read all of them before.
func (rt *roundTrip) compare(rows []int) {
	for p, own := range rt.in.each(rows) {
		if p.compares() {
			rt.query(sent{of: p, rows: rt.messages(p, own), compares: true}, p.sql.compare, own)
		} else {
			rt.keysOrVersions(sent{of: p, rows: rt.messages(p, own)}, p.sql.present, own)
		}
	}
}

// conflict is a row whose key another message's row has, with other content; id is that message's.
type conflict struct {
	row int
	id  string
}

// takeCompared reads a row that such a statement returns.
func (a *answer) takeCompared(values [][]byte, s sent) {
	n := batch.Int(values[0])
	row := s.rows[max(n, -n)-1]
	a.found = append(a.found, row)
	if n < 0 {
		a.conflicts = append(a.conflicts, conflict{row, string(values[1])})
	}
}

// learnConflicts keeps what an answer says of conflicts.
func (in *insertion) learnConflicts(a answer) {
	for _, c := range a.conflicts {
		if in.conflicts == nil {
			in.conflicts = map[int]string{}
		}
		in.conflicts[c.row] = c.id
	}
}

// found returns the verdict on a row that is confirmed, or whose key is stored.
func (in *insertion) found(row int) message.Verdict {
	v := message.Verdict{Outcome: message.Stored, Outdated: in.outdated[row]}
	if id, ok := in.conflicts[row]; ok {
		v.Rejection = message.ConflictWith(id)
		if in.of(row).rejectsConflicts() {
			v.Outcome = message.Rejected
		}
	}
	return v
}

// isDuplicate sets the verdict on a row that a search did not store, because its key is stored.
func (in *insertion) isDuplicate(row int) {
	in.stored(row)
	if in.of(row).compares() {
		in.duplicates = append(in.duplicates, row)
	}
}

// inConflict reports whether a refused row is in conflict.
func (in *insertion) inConflict(row int, refused *refusal) bool {
	_, known := in.conflicts[row]
	return known || refused.conflict
}

// compareDuplicates finds conflicts among the rows that a search has found to be stored.
func (in *insertion) compareDuplicates(ctx context.Context) error {
	if err := in.compareRows(ctx, in.duplicates); err != nil {
		return err
	}
	for _, row := range in.duplicates {
		if _, ok := in.conflicts[row]; ok {
			in.stored(row)
			if slices.Contains(in.partly, row) { // it counts as a conflict
				in.result.Tallies.Of(in.batch.Table(row)).Inserted--
			}
		}
	}
	in.duplicates = nil
	return nil
}

// compareRows finds conflicts among rows that the server may have refused to read. What it cannot
// read is not what is stored, unless that is of the same message.
func (in *insertion) compareRows(ctx context.Context, rows []int) error {
	if len(rows) == 0 {
		return nil
	}
	rt := in.roundTrip(ctx)
	rt.compare(rows)
	rt.endSegment()
	answers, err := in.finish(ctx, in.lookingUp(rows), rt)
	if err != nil {
		return err
	}
	if answers[0].refused == nil {
		in.learnConflicts(answers[0])
		return nil
	}
	if answers[0].refused.givesUpComparing(answers[0].at) {
		return in.compareRows(ctx, slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return !in.of(row).compares() }))
	}
	rt = in.roundTrip(ctx)
	for k, row := range rows {
		p, own := in.of(row), rows[k:k+1]
		rt.compare(own)
		rt.endSegment()
		rt.versions(sent{of: p, rows: rt.messages(p, own), compares: true}, p.sql.sender, own)
		rt.endSegment()
	}
	if answers, err = in.finish(ctx, in.lookingUp(rows), rt); err != nil {
		return err
	}
	for k := range rows {
		compared, sender := answers[2*k], answers[2*k+1]
		switch {
		case compared.refused == nil:
			in.learnConflicts(compared)
		case compared.refused.judge().single && sender.refused == nil:
			in.learnConflicts(sender)
		default:
			return compared.refused.of.errorOf(in.lookingUp(rows), compared.refused.PgError)
		}
	}
	return nil
}
