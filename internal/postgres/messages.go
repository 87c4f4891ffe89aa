package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// A message may have several rows: in one table (batch.Table.Several), or one row there and others in
// its Children. A message is the unit of everything here: its rows are stored by one statement for each
// table, or by none, and a refused one refuses the message.
//
// No row may be discarded in silence, since the others of its message would stay. So these inserts
// count, and fail with discardedState if a row is missing. Then a search tries each message by itself.
//
// Children are stored with a parent that is new, and with no other: a redelivery adds nothing. Which
// parents are new is what the insert of the parents returns. (Their xmin would not tell: in a
// subtransaction it is not the transaction's id.) A parent that a trigger gives another key is not
// recognised, which the count finds.

// ofReplaced reports whether the table has children and replaces, or is such a child.
func (d *destination) ofReplaced() bool {
	return d.replaces() && len(d.children) > 0 || d.parent != nil && d.parent.replaces()
}

// several reports whether a message may have more than one row.
func (d *destination) several() bool { return d.table.Several || len(d.table.Children) > 0 }

// holds returns an expression that is 0, and fails with discardedState unless a condition holds.
func holds(condition string) string {
	return "width_bucket(0, 1, 2, CASE WHEN " + condition + " THEN 1 ELSE 0 END)"
}

// orderSQL returns how an insert sorts rows that are not sorted as their key's index is.
func orderSQL(t *batch.Table, k *keyFacts, sorted bool) string {
	if !sorted {
		return ""
	}
	return " ORDER BY " + list(k.typed(t, keyValues(t))) + ", n"
}

// countedSQL returns the insert of new rows of one table, given as one array for each column.
func countedSQL(t *batch.Table, order string) string {
	arrays, names, values := input(t)
	if order != "" {
		arrays += ", generate_series(1, cardinality($1)) AS n"
	}
	return fmt.Sprintf("WITH stored AS (%s(SELECT %s) AS input WHERE %s%s RETURNING 1) SELECT %s::bigint FROM stored",
		insertInto(table(t), names, values), arrays, durable, order, holds("count(*) = cardinality($1)"))
}

// What became of a row that was not inserted, in the answer of familySQL.
const (
	rowThere    = iota + 1 // it is stored
	rowReplaced            // it has replaced an older one
	rowOutdated            // a newer one is stored
	fates                  // greater than all of them
)

// familySQL returns the statement that stores the rows of messages: of a table and its children, given as
// one array for each column, and for each child one more with the positions of the parents. It returns
// what became of rows that it did not insert, each as its position, counted from 1, times fates and that;
// and a 0.
func familySQL(d *destination, k *keyFacts) string {
	t := d.table
	arrays, names, values := input(t)
	key, sent := list(t.KeyNames()), keyValues(t)
	typed := list(k.typed(t, sent))
	order := "input.n"
	if !k.byBytes() {
		order = typed
	}
	replaces := t.OnConflict == batch.Replace
	// Of rows with one key the first is stored, or the newest.
	firsts, repeated := "firsts AS MATERIALIZED (SELECT * FROM input), ", "" // no two messages have one key
	if !t.KeyOfMessage || replaces {
		window, best, fate := "PARTITION BY "+typed+" ORDER BY ", "", strconv.Itoa(rowThere)
		if replaces {
			window += list(descending(inputVersion(t))) + ", "
			var newest []string
			for i, version := range inputVersion(t) {
				best += fmt.Sprintf(", first_value(%s) OVER (%sn) AS v%d", version, window, i+1)
				newest = append(newest, fmt.Sprintf("input.v%d", i+1))
			}
			fate = fmt.Sprintf("CASE WHEN %s THEN %d ELSE %d END", exceeds(newest, inputVersion(t)), rowOutdated, rowThere)
		}
		firsts = fmt.Sprintf("ranked AS MATERIALIZED (SELECT *, row_number() OVER (%sn) AS place%s FROM input), firsts AS MATERIALIZED (SELECT * FROM ranked WHERE place = 1), ", window, best)
		repeated = fmt.Sprintf(" UNION ALL SELECT n, %s FROM ranked AS input WHERE place > 1", fate)
	}
	// What the snapshot of the statement has of the rows.
	was, action := strconv.Itoa(rowThere), "NOTHING"
	if replaces {
		stored := storedVersion(t, "present.")
		was = fmt.Sprintf("CASE WHEN %s THEN %d WHEN %s THEN %d ELSE %d END",
			isNewer(t, inputVersion(t), stored), rowReplaced, exceeds(stored, inputVersion(t)), rowOutdated, rowThere)
		action = fmt.Sprintf("UPDATE SET %s WHERE %s", list(setAll(t)), isNewer(t, storedVersion(t, "excluded."), storedVersion(t, "stored.")))
	}
	var sql strings.Builder
	fmt.Fprintf(&sql, "WITH input AS MATERIALIZED (SELECT * FROM (SELECT %s, generate_series(1::bigint, cardinality($1)) AS n) AS input WHERE %s), ", arrays, durable)
	sql.WriteString(firsts)
	fmt.Fprintf(&sql, "there AS MATERIALIZED (SELECT input.n, %s AS fate FROM firsts AS input JOIN %s AS present ON (%s) WHERE %s), ", was, keyTable(t), k.equal(t, "present.", sent), replicated)
	stored := "fresh"
	if t.Ledger == "" {
		fmt.Fprintf(&sql, "fresh AS (%sfirsts AS input ORDER BY %s ON CONFLICT (%s) DO %s RETURNING %s)",
			insertInto(table(t)+" AS stored", names, values), order, key, action, list(prefixed("stored.", t.KeyNames())))
	} else {
		stored = "stored"
		fmt.Fprintf(&sql, "fresh AS (%sfirsts AS input ORDER BY %s ON CONFLICT (%s) DO NOTHING RETURNING %s), ", insertInto(ledger(t), key, list(sent)), order, key, key)
		fmt.Fprintf(&sql, "stored AS (%sfirsts AS input JOIN fresh ON (%s) RETURNING 1)", insertInto(table(t), names, values), k.equal(t, "fresh.", sent))
	}
	conditions := []string{
		fmt.Sprintf("(SELECT count(*) FROM %s) + (SELECT count(*) FROM there WHERE fate <> %d) = (SELECT count(*) FROM firsts)", stored, rowReplaced),
	}
	if len(t.Children) > 0 {
		fmt.Fprintf(&sql, ", parents AS MATERIALIZED (SELECT input.n FROM firsts AS input JOIN fresh ON (%s))", k.equal(t, "fresh.", sent))
		conditions = append(conditions, "(SELECT count(*) FROM parents) = (SELECT count(*) FROM fresh)")
	}
	offset := len(t.Columns)
	for i, child := range d.children {
		c := child.table
		arrays, names, values := inputAfter(offset, c)
		again, returned := "", "1"
		if replaces {
			// A key that a trigger has changed is noticed: its row would be deleted as one that is no
			// longer in the message.
			returned = list(c.KeyNames())
			again = replacesChild(c)
			conditions = append(conditions, fmt.Sprintf("NOT EXISTS (SELECT %s FROM of%d AS input EXCEPT SELECT * FROM child%[2]d)", list(child.learned.keys.typed(c, keyValuesAfter(offset, c))), i))
		}
		offset += len(c.Columns) + 1
		fmt.Fprintf(&sql, ", of%d AS MATERIALIZED (SELECT input.* FROM (SELECT %s, unnest($%d::int4[]) AS n) AS input JOIN parents USING (n))", i, arrays, offset)
		fmt.Fprintf(&sql, ", child%d AS (%sof%d AS input%s RETURNING %s)", i, insertInto(table(c), names, values), i, again, returned)
		conditions = append(conditions, fmt.Sprintf("(SELECT count(*) FROM child%d) = (SELECT count(*) FROM of%[1]d)", i))
	}
	fmt.Fprintf(&sql, " SELECT n * %d + fate + %s FROM (SELECT n, fate FROM there UNION ALL SELECT 0, 0%s) AS x", fates, holds(strings.Join(conditions, " AND ")), repeated)
	return sql.String()
}

// replacesChild is the end of an insert of rows that a newer parent brings.
func replacesChild(t *batch.Table) string {
	return fmt.Sprintf(" ON CONFLICT (%s) DO UPDATE SET %s", list(t.KeyNames()), list(setAll(t)))
}

// orphansSQL returns the statement that deletes the rows of a child that its parent has no more, of
// parents that are stored as given: by one array for each column of their key and version, and then as
// for the child's insert. It is a statement of its own, so that its snapshot has what other
// transactions have stored before ours could write the parents; and a row is never deleted and inserted
// by one statement.
func orphansSQL(t, child *batch.Table, k, ofChild *keyFacts) string {
	columns := slices.Concat(t.Key, t.Version())
	var parents []string
	for i, c := range columns {
		parents = append(parents, fmt.Sprintf("unnest($%d::%s) AS k%[1]d", i+1, arrayType(t.Columns[c])))
	}
	arrays, _, _ := inputAfter(len(columns), child)
	var key, stored, version, ofParent []string
	for i, column := range t.Key {
		sent := fmt.Sprintf("parent.k%d", i+1)
		key = append(key, sent)
		stored = append(stored, fmt.Sprintf("stored.%s AS s%d", batch.Quote(t.Columns[column].Name), i+1))
		c := child.Columns[child.Parent[i]]
		gone := "gone." + batch.Quote(c.Name)
		if k == nil || k.Columns[i].Bytes {
			ofParent = append(ofParent, fmt.Sprintf("%s = current.k%d%s", gone, i+1, cast(c)))
			continue
		}
		// It is compared with the key as it is stored. The child's column stays as it is, so that its index
		// is used.
		of, collation := k.Columns[i], ""
		if of.Collation != "" {
			collation = " COLLATE " + of.Collation
		}
		ofParent = append(ofParent, fmt.Sprintf("%s::%s %s current.s%d%s", gone, of.Cast, cmp.Or(of.Equals, "="), i+1, collation))
	}
	for i, c := range t.Version() {
		version = append(version, fmt.Sprintf("%s = parent.k%d%s", storedVersion(t, "stored.")[i], len(t.Key)+i+1, cast(t.Columns[c])))
	}
	var texts []string
	for _, name := range child.KeyNames() {
		texts = append(texts, "gone."+name+"::text")
	}
	// Which rows stay is a list that is hashed: the server expects few rows, and would compare each with
	// each.
	return fmt.Sprintf("WITH parent AS MATERIALIZED (SELECT %s, generate_series(1::bigint, cardinality($1)) AS n), input AS MATERIALIZED (SELECT %s, unnest($%d::int4[]) AS n), ",
		list(parents), arrays, len(columns)+len(child.Columns)+1) +
		fmt.Sprintf("current AS MATERIALIZED (SELECT parent.*, %s FROM parent JOIN %s AS stored ON (%s AND %s)), ", list(stored), table(t), k.equal(t, "stored.", key), and(version)) +
		fmt.Sprintf("given AS MATERIALIZED (SELECT input.* FROM input JOIN current USING (n)), kept AS MATERIALIZED (SELECT %s FROM given AS input JOIN %s AS gone ON (%s)) ",
			list(texts), table(child), ofChild.equal(child, "gone.", keyValuesAfter(len(columns), child))) +
		fmt.Sprintf("DELETE FROM %s AS gone USING current WHERE %s AND (%s) NOT IN (SELECT * FROM kept)", table(child), and(ofParent), list(texts))
}

func and(conditions []string) string { return strings.Join(conditions, " AND ") }

func prefixed(prefix string, names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = prefix + name
	}
	return all
}

func descending(values []string) []string {
	all := make([]string, len(values))
	for i, value := range values {
		all[i] = value + " DESC"
	}
	return all
}

// inputVersion returns the values of the input that make a version.
func inputVersion(t *batch.Table) (all []string) {
	for _, c := range t.Version() {
		all = append(all, fmt.Sprintf("input.c%d%s", c+1, cast(t.Columns[c])))
	}
	return all
}

// setAll returns what an update sets to take all columns of a new row that are not of the key, or the key
// if there are none.
func setAll(t *batch.Table) (set []string) {
	for i, c := range t.Columns {
		if name := batch.Quote(c.Name); !slices.Contains(t.Key, i) || len(t.Key) == len(t.Columns) {
			set = append(set, name+" = excluded."+name)
		}
	}
	return set
}

// wholeCatalog is the evidence about a table with its children, for an error that names no table.
func (p *part) wholeCatalog() *catalog {
	if p.catalog == nil {
		return nil
	}
	whole := *p.catalog
	for _, child := range p.children {
		c := child.catalog
		if c == nil {
			return nil
		}
		whole.adds, whole.mixes, whole.outside = whole.adds || c.adds, whole.mixes || c.mixes, whole.outside || c.outside
		whole.Functions = slices.Concat(whole.Functions, c.Functions)
	}
	return &whole
}

// insertMessages adds the statements that insert all rows of messages. The first form has one for each
// table, whose rows are all new.
func (rt *roundTrip) insertMessages(p *part, insert insert, rows []int) {
	b, arrays := rt.in.batch, &rt.in.conn.arrays
	s := sent{of: p, insert: insert, messages: rows, rows: rt.messages(p, rows)}
	if insert.first {
		rt.execute(s, rt.arrays(p, rows), p.formats)
		for i, child := range p.children {
			if params := child.encodeChildren(p.table, i, rows); len(params[len(params)-1]) > emptyArray {
				columns := len(child.table.Columns)
				rt.execute(sent{of: child, insert: child.sql.insert.first, messages: []int{}}, rt.size(params[:columns]), child.formats)
			}
		}
		return
	}
	arrays.SetTextTypes(p.textTypes)
	params := slices.Clone(arrays.Encode(b, p.table, rows))
	formats := formatsOf(p.table)
	for i, child := range p.children {
		params = append(params, child.encodeChildren(p.table, i, rows)...)
		formats = append(append(formats, formatsOf(child.table)...), 1)
	}
	rt.execute(s, rt.size(params), formats)
	if p.replaces() {
		for i := range p.children {
			rt.deleteOrphans(p, i, rows)
		}
	}
}

// deleteOrphans adds the statement that deletes the rows of a child that messages have no more.
func (rt *roundTrip) deleteOrphans(p *part, i int, rows []int) {
	arrays, child := &rt.in.conn.arrays, p.children[i]
	arrays.SetTextTypes(p.textTypes)
	params := slices.Concat(arrays.EncodeVersions(rt.in.batch, p.table, rows), child.encodeChildren(p.table, i, rows))
	formats := slices.Clone(p.versionFormats)
	if len(formats) == 1 {
		formats = slices.Repeat(formats, len(params)-len(child.table.Columns)-1)
	}
	formats = append(append(formats, formatsOf(child.table)...), 1)
	rt.addParams(sent{of: child}, p.sql.orphans[i], rt.size(params), formats)
}

// ofParameter finds the child that a parameter of a statement about a whole family belongs to, and counts
// it as the child does.
func (r *refusal) ofParameter() {
	n := parameterOf(r.PgError)
	if r.of == nil || n <= len(r.of.table.Columns) {
		return
	}
	n -= len(r.of.table.Columns)
	for _, child := range r.of.children {
		if n <= len(child.table.Columns) {
			at := atInput.FindStringSubmatchIndex(r.Where)
			r.Where = r.Where[:at[2]] + strconv.Itoa(n) + r.Where[at[3]:]
			r.of = child
			return
		}
		n -= len(child.table.Columns) + 1
	}
}

// emptyArray is the size of an array without elements.
const emptyArray = 12

// encodeChildren returns the arrays of the rows that messages have in a child of a table, and of the
// positions of their parents. The memory is the child's own.
func (p *part) encodeChildren(parent *batch.Table, child int, rows []int) [][]byte {
	p.arrays.SetTextTypes(p.textTypes)
	return p.arrays.EncodeChildren(p.in.batch, parent, child, rows)
}

// formatsOf returns the format of the parameter of each column.
func formatsOf(t *batch.Table) (all []int16) {
	for i := range t.Columns {
		all = append(all, t.Columns[i].Format())
	}
	return all
}

// takeMessages reads what became of the rows of messages. A message is new if one of its rows is; else
// it has replaced others if one of them has; else it is a duplicate, or outdated if nothing of it is
// stored.
func (a *answer) takeMessages(in *insertion, s sent, answers []int64) written {
	w := written{rows: len(s.messages)}
	w.Inserted = w.rows
	if len(answers) <= 1 { // there is always a 0
		return w
	}
	type counts [fates]int
	of := map[int]*counts{}
	for _, answer := range answers {
		if answer == 0 {
			continue
		}
		row := s.rows[answer/fates-1]
		if of[row] == nil {
			of[row] = new(counts)
			a.overlaps = append(a.overlaps, row)
		}
		of[row][answer%fates]++
	}
	rows := map[int]int{}
	for _, row := range s.rows {
		rows[row]++
	}
	for row, n := range of {
		if rows[row] > n[rowThere]+n[rowReplaced]+n[rowOutdated] {
			a.partly = append(a.partly, row)
			continue
		}
		w.Inserted--
		switch {
		case n[rowReplaced] > 0:
			w.Replaced++
		case n[rowThere] == 0 && in.of(row).replaces():
			a.outdated, a.there = append(a.outdated, row), append(a.there, row)
		default:
			a.there = append(a.there, row)
		}
	}
	return w
}

// complete returns the messages that have as many elements among some as among all.
func complete(some, all []int) (complete []int) {
	missing := make(map[int]int, len(some))
	for _, row := range all {
		missing[row]++
	}
	for _, row := range some {
		if missing[row]--; missing[row] == 0 {
			complete = append(complete, row)
		}
	}
	return complete
}

// maxLocated is for how many messages of a batch the refused row is looked for.
const maxLocated = 100

// located is a message that was refused, and what is known of the row that it was refused for.
type located struct {
	row    int
	passed []span // of its rows, before that one
	at     []span // one of which has it
}

// span is some rows of a message that are for one table: the indexes from first on and before end, where
// -1 is its first row.
type span struct{ first, end int }

// locate finds out for which of their rows messages are rejected, if they have several: it tries these in
// chunks and rolls them back, until a chunk is a row. The verdicts hold without that.
func (in *insertion) locate(ctx context.Context) {
	var messages []*located
	for _, row := range in.rows {
		v := &in.result.Verdicts[row]
		if v.Outcome == message.Rejected && v.Rejection.SQLState != "" && in.batch.MoreRows(row) > 0 && len(messages) < maxLocated {
			messages = append(messages, &located{row: row, at: in.spans(row)})
		}
	}
	for len(messages) > 0 {
		rt := in.roundTrip(ctx)
		for _, m := range messages {
			in.addBegin(rt, &refusal{PgError: &pgconn.PgError{}, in: in})
			for _, chunk := range m.passed {
				rt.some(m.row, chunk)
			}
			for _, chunk := range m.at {
				rt.some(m.row, chunk)
				in.endTrial(rt)
			}
			rt.add("ROLLBACK")
			rt.endSegment()
		}
		rt.stopOn = nil
		answers, err := in.finish(ctx, searching, rt)
		if err != nil {
			return
		}
		var left []*located
		for _, m := range messages {
			trials := answers[1 : 1+2*len(m.at)]
			answers = answers[2+2*len(m.at):]
			why := &in.result.Verdicts[m.row].Rejection
			refused := slices.IndexFunc(trials, func(a answer) bool {
				return a.refused != nil && a.refused.Code == why.SQLState && (why.Constraint == "" || a.refused.ConstraintName == why.Constraint)
			})
			k := refused / 2
			switch {
			case refused < 0:
			case m.at[k].end-m.at[k].first == 1:
				why.Detail = in.nameOf(m.row, m.at[k].first)
			default:
				m.passed = append(m.passed, m.at[:k]...)
				m.at = m.at[k].divide()
				left = append(left, m)
			}
		}
		messages = left
	}
}

// spans returns the rows of a message in chunks, each of one table.
func (in *insertion) spans(row int) (all []span) {
	tables := []span{{-1, 0}}
	for k := range in.batch.MoreRows(row) {
		last := &tables[len(tables)-1]
		if child := in.batch.MoreTable(row, k); k > 0 && child == in.batch.MoreTable(row, k-1) || k == 0 && child < 0 {
			last.end = k + 1
		} else {
			tables = append(tables, span{k, k + 1})
		}
	}
	for _, s := range tables {
		all = append(all, s.divide()...)
	}
	return all
}

// divide splits a span into at most maxSingles chunks.
func (s span) divide() (all []span) {
	size := (s.end - s.first + maxSingles - 1) / maxSingles
	for first := s.first; first < s.end; first += size {
		all = append(all, span{first, min(first+size, s.end)})
	}
	return all
}

// some adds the insert of some rows of a message.
func (rt *roundTrip) some(row int, s span) {
	p := rt.in.of(row)
	if s.first >= 0 {
		if child := rt.in.batch.MoreTable(row, s.first); child >= 0 {
			p = p.children[child]
		}
	}
	rt.statement(p, p.sql.one, row, s)
}

// statement adds a statement about some rows of a message in the table of a part.
func (rt *roundTrip) statement(p *part, sql string, row int, s span) {
	arrays := &rt.in.conn.arrays
	arrays.SetTextTypes(p.textTypes)
	rt.addParams(sent{of: p}, sql, rt.size(arrays.EncodeSome(rt.in.batch, row, s.first, s.end)), p.formats)
}

// nameOf names a row of a message: row i itself, or the one with index k of its other rows.
func (in *insertion) nameOf(row, k int) string {
	t := in.of(row).table
	if k < 0 {
		if t.Several {
			return fmt.Sprintf("row 1 of %s", t.Name)
		}
		return "the row of " + t.Name
	}
	child, n := in.batch.MoreTable(row, k), 1
	if child < 0 {
		return fmt.Sprintf("row %d of %s", k+2, t.Name)
	}
	for other := range k {
		if in.batch.MoreTable(row, other) == child {
			n++
		}
	}
	return fmt.Sprintf("row %d of %s", n, t.Children[child].Name)
}
