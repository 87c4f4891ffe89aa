package postgres

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// destination is a table that rows go to, and what the store knows of it.
type destination struct {
	store    *Store
	index    int // of the table in a batch; of a child, that of its parent
	number   int // among all destinations
	table    *batch.Table
	parent   *destination // nil if it is no child
	children []*destination
	// formats are those of the parameters of an insert, keyFormats of statements about keys, and
	// versionFormats of those about keys and versions.
	formats, keyFormats, versionFormats []int16
	asText                              bool     // a column's type reads text
	fitParams                           [][]byte // of the short question whether the columns' types fit
	typeParams                          [][]byte // of the long one
	// What the statements do, for errors.
	inserting, lookingUp string

	learned struct { // the store's mu guards it
		statements    statements
		keys          *keyFacts
		catalog       *catalog
		catalogReadAt time.Time
		examinedAt    time.Time // when a discarded row was last examined
	}
}

func newDestination(s *Store, index int, t *batch.Table, parent *destination) *destination {
	d := &destination{
		store: s, index: index, number: s.numbers, table: t, parent: parent,
		formats: formats(t.Columns), keyFormats: formats(t.KeyColumns()), fitParams: fitParams(t), typeParams: typeParams(t),
		asText:    slices.ContainsFunc(t.Columns, func(c batch.Column) bool { return c.AsText }),
		inserting: "insert into " + table(t), lookingUp: "look up keys in " + table(t),
	}
	s.numbers++
	for _, child := range t.Children {
		d.children = append(d.children, newDestination(s, index, child, d))
	}
	d.versionFormats = d.keyFormats
	if d.replaces() || t.FindsConflicts() {
		columns := t.KeyColumns()
		for _, c := range t.Version() {
			columns = append(columns, t.Columns[c])
		}
		d.versionFormats = formats(columns)
	}
	d.makeStatements()
	return d
}

// makeStatements makes the statements by what is known of the keys of the table and its children.
func (d *destination) makeStatements() {
	d.learned.statements = makeStatements(d, d.learned.keys)
	for _, child := range d.children {
		child.learned.statements = makeStatements(child, child.learned.keys)
	}
}

func (d *destination) hasTextKey() bool {
	return slices.ContainsFunc(d.table.KeyColumns(), func(c batch.Column) bool { return c.Kind == batch.Text })
}

// part is what an insertion does in one table.
type part struct {
	*destination
	*asked // on the insertion's connection

	in            *insertion
	position      int // in the insertion's parts; of a child, that of its parent
	children      []*part
	sql           statements
	form          insert // of the statement for all of its rows
	keys          *keyFacts
	catalog       *catalog // the evidence; it stays even if it grows old meanwhile
	catalogIsOurs bool     // read in this attempt
	sorted        []int    // its rows in the order of their keys, if the server was asked for that
	suspected     bool     // what the database computes for every row
	evaluated     *answer  // to the evaluation of what the database computes for every row
}

// asked is what a connection was asked about a table.
type asked struct {
	keysAsked bool // how keys compare
	// skippedAt is when the skipping insert last passed here; zero for never.
	skippedAt time.Time
	// typesAskedAt is when this connection was asked whether the columns' types fit; zero for never.
	typesAskedAt time.Time
	oddTypes     bool             // some are not plain, so that the short question does not tell
	textTypes    []batch.TextType // how the columns read text
	cannotRead   bool             // the role may not read the columns that tell a conflict
	arrays       batch.Arrays     // of a child: memory beside its parent's
}

// withChildren returns parts and their children.
func (in *insertion) withChildren() (all []*part) {
	if !slices.ContainsFunc(in.parts, func(p *part) bool { return len(p.children) > 0 }) {
		return in.parts
	}
	for _, p := range in.parts {
		all = append(append(all, p), p.children...)
	}
	return all
}

// divide makes the parts of an insertion: of the tables that its rows are for, or of all if it has
// none.
func (in *insertion) divide() {
	in.parts = in.only[:0]
	if len(in.store.destinations) == 1 {
		in.append(in.newPart(in.store.destinations[0]))
		in.ofTable = in.parts
		return
	}
	in.ofTable = make([]*part, len(in.store.destinations))
	for _, row := range in.rows {
		in.add(in.batch.Table(row))
	}
	for table := range in.ofTable {
		if len(in.rows) == 0 {
			in.add(table)
		}
		if p := in.ofTable[table]; p != nil {
			in.append(p)
		}
	}
}

func (in *insertion) add(table int) {
	if in.ofTable[table] == nil {
		in.ofTable[table] = in.newPart(in.store.destinations[table])
	}
}

func (in *insertion) newPart(d *destination) *part {
	p := &part{destination: d, asked: &in.conn.asked[d.number], in: in}
	p.catalog = p.freshCatalog()
	for _, child := range d.children {
		p.children = append(p.children, in.newPart(child))
	}
	p.learn()
	return p
}

func (in *insertion) append(p *part) {
	p.position = len(in.parts)
	for _, child := range p.children {
		child.position = p.position
	}
	in.parts = append(in.parts, p)
}

// learn takes what the store knows of the key.
func (p *part) learn() {
	p.store.mu.Lock()
	defer p.store.mu.Unlock()
	p.sql, p.keys = p.learned.statements, p.learned.keys
	for _, child := range p.children {
		child.sql, child.keys = child.learned.statements, child.learned.keys
	}
}

// of returns the part of a row.
func (in *insertion) of(row int) *part { return in.ofTable[in.batch.Table(row)] }

// each yields the parts of rows, each with its own, in the order of the tables. Without rows it yields
// all parts.
func (in *insertion) each(rows []int) iter.Seq2[*part, []int] {
	return func(yield func(*part, []int) bool) {
		if len(rows) == 1 {
			yield(in.of(rows[0]), rows)
			return
		}
		for _, p := range in.parts {
			own := rows
			if len(in.parts) > 1 {
				own = slices.DeleteFunc(slices.Clone(rows), func(row int) bool { return in.of(row) != p })
			}
			if (len(own) > 0 || len(rows) == 0) && !yield(p, own) {
				return
			}
		}
	}
}

// setAside returns the rows of a table that takes none, and on FIFO what follows them in their groups:
// the other tables get theirs all the same.
func (in *insertion) setAside(p *part, err *fault.Error) {
	stopped := map[int]bool{}
	in.rows = slices.DeleteFunc(slices.Clone(in.rows), func(row int) bool {
		group := in.batch.Group(row)
		switch {
		case group != 0 && stopped[group]:
			in.returned(message.CauseGroup, row)
		case in.of(row) == p:
			in.returned(message.CauseConfiguration, row)
			stopped[group] = true
		default:
			return false
		}
		return true
	})
	in.aside = cmp.Or(in.aside, keepVerdicts(err))
	in.parts = nil
	for _, other := range in.ofTable {
		if other != nil && other != p && slices.ContainsFunc(in.rows, func(row int) bool { return in.of(row) == other }) {
			in.append(other)
		}
	}
}

// anyPart reports whether a condition holds for some of the parts, or their children.
func (in *insertion) anyPart(holds func(*part) bool) bool {
	return slices.ContainsFunc(in.parts, func(p *part) bool { return holds(p) || slices.ContainsFunc(p.children, holds) })
}

// sharesKeys reports whether rows of another part have their keys in the same table, as those of two models
// of one table.
func (p *part) sharesKeys() bool {
	return slices.ContainsFunc(p.in.parts, func(other *part) bool { return other != p && keyTable(other.table) == keyTable(p.table) })
}

// judge is the destination's, by the evidence that the part has.
func (p *part) judge(err *pgconn.PgError) judgement {
	if len(p.children) > 0 && err.TableName == "" {
		return p.destination.judge(err, p.wholeCatalog())
	}
	return p.destination.judge(err, p.catalog)
}

// errorOf returns the server's error of a statement as one of this package.
func (p *part) errorOf(doing string, err *pgconn.PgError) *failure {
	return p.destination.errorOf(doing, err, p.catalog)
}

// insertError is errorOf for a statement that inserts.
func (p *part) insertError(err *pgconn.PgError) *failure { return p.errorOf(p.inserting, err) }

// refusal is an error of the server, with the part that it is about.
type refusal struct {
	*pgconn.PgError
	in *insertion
	// of is the part of the statement or the row that met it; nil for a statement that is about all.
	of *part
	// conflict: it is not the server's, but that of a look for conflicts.
	conflict bool
}

// part returns the part that the error is about: that of the statement, or the one whose table the
// error names.
func (r *refusal) part() *part {
	if r.of != nil && len(r.of.children) == 0 {
		return r.of
	}
	for _, p := range r.in.withChildren() {
		if r.of != nil && p.index != r.of.index {
			continue
		}
		if r.TableName != "" && (p.catalog != nil && p.catalog.covers(r.PgError) || p.namesTable(r.PgError)) {
			return p
		}
	}
	if r.of != nil && r.of.catalog.function(r.Where) == "" {
		for _, child := range r.of.children {
			if child.catalog.function(r.Where) != "" { // its trigger, most likely
				return child
			}
		}
	}
	return cmp.Or(r.of, r.in.parts[0])
}

func (r *refusal) judge() judgement { return r.part().judge(r.PgError) }

// shown returns those parts of the error that never quote a value.
func (r *refusal) shown() string { return r.part().shown(r.PgError, r.part().catalog) }

func (r *refusal) error() *failure {
	f := r.part().insertError(r.PgError)
	f.of = r.of
	return f
}

// by returns the refusal as that of a row.
func (r *refusal) by(row int) *refusal {
	if r != nil && r.of == nil {
		r.of = r.in.of(row)
	}
	return r
}
