package postgres

import (
	_ "embed" // for the block of SQL
	"fmt"
	"slices"
	"strconv"
	"strings"

	"example.com/owner/sluice/internal/batch"
)

// arrayTypes are the parameter types of the kinds. Never varchar(n)[]: a cast to it truncates in
// silence.
var arrayTypes = map[batch.Kind]string{
	batch.Text: "text[]", batch.Int4: "int4[]", batch.Int8: "int8[]", batch.Bool: "bool[]",
	batch.Timestamp: "timestamptz[]", batch.Date: "date[]", batch.UUID: "uuid[]",
	batch.TimestampNoZone: "timestamp[]", batch.TimeOfDay: "time[]", batch.Float4: "float4[]", batch.Float8: "float8[]", batch.Binary: "bytea[]",
}

// arrayType returns the type of a column's parameter. If the column's own type reads the text, it is
// an array of that type without a length, so that its input function reads each value, and the
// assignment to the column checks the length. A cast to a type with a length, or to a domain, would
// cut or round in silence.
func arrayType(c batch.Column) string {
	switch {
	case c.AsText:
		return c.Type + "[]"
	case c.List: // an array of arrays would be flattened
		return "text[]"
	default:
		return arrayTypes[c.Kind]
	}
}

// cast returns what turns a value into the column's type where an assignment would not.
func cast(c batch.Column) string {
	base, _, _ := strings.Cut(strings.TrimSuffix(c.Type, "[]"), "(") // without its length, which would cut or round
	switch base {
	case "char":
		base = "bpchar" // char alone is char(1)
	case "varchar", "citext":
		base = "text"
	}
	switch {
	case c.List:
		return "::" + base + "[]"
	case c.AsText, c.Kind != batch.Text, base == "text":
		return ""
	default:
		return "::" + base
	}
}

// statements are the SQL of one table, as far as its key is known.
type statements struct {
	insert     inserts
	unsorted   inserts  // the same in the order of the arrays
	plain      string   // the same without ON CONFLICT and RETURNING, for one row
	one        string   // stores some rows of a message that may have several, without its others
	orphans    []string // deletes the rows of a child that its parent has no more, for each child
	present    string   // which keys are in the table
	allPresent string   // fails unless all keys are in the table
	rank       string   // sorts keys in the order of the key's index
	read       string   // does no more than read keys
	returning  string   // inserts one row, and returns whether it has its key
	defaults   string   // evaluates what the database computes for every row

	// Of tables where rows of two messages are compared:
	compare    string // which keys are in the table, and which rows are in conflict
	noConflict string // fails if a row is
	sender     string // which keys are in the table, and which are another message's
}

// inserts are the two forms of the statement that stores rows, given as one array for each column.
type inserts struct {
	skipping insert // skips rows that are stored already
	// first is for rows that nobody has stored yet, and fails if somebody has. Looking for those that
	// are stored is a third of what the skipping form costs the server.
	first insert
}

// insert is a statement, and its name on a connection that has prepared it.
type insert struct {
	name, sql string
	first     bool // the first form
}

func makeStatements(d *destination, k *keyFacts) statements {
	t := d.table
	input, _ := keysInput(t)
	one := plainSQL(t)
	switch {
	case d.parent != nil && d.parent.replaces():
		one += replacesChild(t)
	case d.several() && t.Ledger == "":
		one = insertSQL(t, k, false, false)
	}
	s := statements{
		one:    one,
		insert: makeInserts(d, k, !k.byBytes()), unsorted: makeInserts(d, k, false), plain: plainSQL(t),
		present: presentSQL(t, k), allPresent: allPresentSQL(t, k), rank: rankSQL(t, k),
		read: "SELECT FROM " + input, returning: returningSQL(t, k), defaults: defaultsSQL(t),
	}
	if d.replaces() {
		for _, child := range d.children {
			s.orphans = append(s.orphans, orphansSQL(t, child.table, k, child.learned.keys))
		}
		s.present, s.allPresent = notReplacedSQL(t, k), noneReplacedSQL(t, k)
	}
	if t.FindsConflicts() {
		s.compare, s.noConflict, s.sender = compareSQL(t, k), noConflictSQL(t, k), senderSQL(t, k)
	}
	return s
}

func makeInserts(d *destination, k *keyFacts, sorted bool) inserts {
	name := "sluice_insert"
	if d.number > 0 {
		name += strconv.Itoa(d.number + 1)
	}
	if d.replaces() && !d.several() {
		return inserts{skipping: insert{name, replaceSQL(d.table, k, sorted), false}}
	}
	all := inserts{
		skipping: insert{name, insertSQL(d.table, k, sorted, false), false},
		first:    insert{name + "_first", insertSQL(d.table, k, sorted, true), true},
	}
	if d.several() || d.parent != nil {
		all.first.sql = countedSQL(d.table, orderSQL(d.table, k, sorted))
	}
	if d.several() {
		all.skipping.sql = familySQL(d, k)
		if d.table.Ledger != "" || d.replaces() {
			all.first = all.skipping
		}
	}
	return all
}

// durable makes the commit of a statement wait for the disk where the role, the database or the
// server does not ask for it. It holds until the transaction ends. Other values stay: on would
// weaken remote_apply. It is true.
const durable = `(SELECT CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END) IS DISTINCT FROM ''`

// replicated makes the commit of a statement that writes nothing wait for the synchronous standby,
// if the server has one: a commit waits only for what its own transaction wrote, and the rows that
// were found may be on this server alone, if the wait for the standby was cut short. It is true.
const replicated = `(SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'sluice', '') END) IS DISTINCT FROM '0/0'::pg_lsn`

// input returns the arrays as a table, one column c1, c2, … for each, and what an insert takes from
// it: the names and the values of the table's columns.
func input(t *batch.Table) (arrays, names, values string) { return inputAfter(0, t) }

// inputAfter is input for a table whose arrays follow other parameters.
func inputAfter(parameters int, t *batch.Table) (arrays, names, values string) {
	var all, columns, from []string
	for i, c := range t.Columns {
		n := parameters + i + 1
		all = append(all, fmt.Sprintf("unnest($%d::%s) AS c%[1]d", n, arrayType(c)))
		if !c.Ledger {
			columns = append(columns, batch.Quote(c.Name))
			from = append(from, fmt.Sprintf("input.c%d%s", n, cast(c)))
		}
	}
	return list(all), list(columns), list(from)
}

// insertInto returns the beginning of an insert, up to where it takes the rows from.
func insertInto(table, names, values string) string {
	return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM ", table, names, values)
}

func list(all []string) string { return strings.Join(all, ", ") }

// insertSQL returns the statement that stores rows given as one array for each column. The skipping
// form names the conflict target: without that, the violation of another unique constraint would
// count as a duplicate, and the row would be lost. Sorted is for keys that the server does not order
// by their bytes: all batches must lock them in one order.
func insertSQL(t *batch.Table, k *keyFacts, sorted, first bool) string {
	arrays, names, values := input(t)
	key, sent := list(t.KeyNames()), keyValues(t)
	order, skip, isNew := "", " ON CONFLICT ("+key+") DO NOTHING", " JOIN fresh ON ("+k.equal(t, "fresh.", sent)+")"
	if first {
		skip, isNew = "", ""
	}
	if sorted {
		arrays += ", generate_series(1, cardinality($1)) AS n"
		order = " ORDER BY " + list(k.typed(t, sent)) + ", n"
	}
	from := fmt.Sprintf("(SELECT %s) AS input WHERE %s", arrays, durable)
	if t.Ledger == "" {
		return insertInto(table(t), names, values) + from + order + skip
	}
	// The ledger and the table in one statement, so that neither is ever without the other. A
	// trigger that discards a row would leave its message in the ledger and out of the table, and a
	// batch with one key twice would store two rows for it: then width_bucket fails, with an
	// SQLSTATE that hardly any table has (discardedState), and nothing is stored. Otherwise it is
	// 0.
	return fmt.Sprintf(`WITH input AS MATERIALIZED (SELECT * FROM %s), fresh AS (%sinput%s%s RETURNING %s), stored AS (%sinput%s RETURNING 1) SELECT count(*) + width_bucket(0, 1, 2, 1 - least(abs(count(*) - (SELECT count(*) FROM fresh)), 1)::int) FROM stored`,
		from, insertInto(ledger(t), key, list(sent)), order, skip, key, insertInto(table(t), names, values), isNew)
}

// plainSQL returns an insert without ON CONFLICT and RETURNING, which need the policies and grants
// for SELECT too. It is only ever rolled back.
func plainSQL(t *batch.Table) string {
	arrays, names, values := input(t)
	with := fmt.Sprintf("WITH input AS MATERIALIZED (SELECT %s)", arrays)
	if t.Ledger != "" {
		with += ", fresh AS (" + insertInto(ledger(t), list(t.KeyNames()), list(keyValues(t))) + "input)"
	}
	return with + " " + insertInto(table(t), names, values) + "input"
}

// returningSQL returns an insert without ON CONFLICT that returns, for each row that the server
// takes, whether it has the key that was sent. It is only ever rolled back.
func returningSQL(t *batch.Table, k *keyFacts) string {
	arrays, names, values := input(t)
	into := table(t)
	if t.Ledger != "" {
		into, names, values = ledger(t), list(t.KeyNames()), list(keyValues(t))
	}
	var sent []string
	for _, c := range t.Key {
		sent = append(sent, fmt.Sprintf("($%d::%s)[1]", c+1, arrayType(t.Columns[c])))
	}
	return insertInto(into+" AS stored", names, values) + fmt.Sprintf("(SELECT %s) AS input RETURNING (%s)::int::bigint", arrays, k.equal(t, "stored.", sent))
}

// presentSQL returns the query of which rows, given as one array for each column of the key, are in
// the table, or in the ledger if there is one. It answers with their positions, counted from 1.
func presentSQL(t *batch.Table, k *keyFacts) string {
	input, exists := existsSQL(t, k)
	return fmt.Sprintf("SELECT n FROM %s WHERE %s AND %s AND %s", input, durable, replicated, exists)
}

// allPresentSQL returns a query that fails with discardedState unless all of these rows are in the
// table.
func allPresentSQL(t *batch.Table, k *keyFacts) string {
	input, exists := existsSQL(t, k)
	return fmt.Sprintf("SELECT width_bucket(0, 1, 2, 1 - least(count(*), 1)::int)::bigint FROM %s WHERE NOT %s", input, exists)
}

// rankSQL returns a query that sorts rows as the index of the key does. It answers with their
// positions, each followed by a number that rows with the same key share.
func rankSQL(t *batch.Table, k *keyFacts) string {
	input, sent := keysInput(t)
	return fmt.Sprintf("SELECT n, dense_rank() OVER (ORDER BY %s) AS rank FROM %s ORDER BY rank, n", list(k.typed(t, sent)), input)
}

// existsSQL returns the keys of rows as a table with the position n, and the condition that such a
// key is in the table.
func existsSQL(t *batch.Table, k *keyFacts) (input, exists string) {
	input, sent := keysInput(t)
	return input, fmt.Sprintf("EXISTS (SELECT FROM %s AS present WHERE %s)", keyTable(t), k.equal(t, "present.", sent))
}

// keysInput returns the keys of rows as a table with the position n, and the names of its columns.
func keysInput(t *batch.Table) (input string, names []string) { return arraysInput(t, t.Key) }

// arraysInput does the same for any columns.
func arraysInput(t *batch.Table, columns []int) (input string, names []string) {
	var arrays, aliases, elements []string
	for i, k := range columns {
		alias := fmt.Sprintf("k%d", i+1)
		array := fmt.Sprintf("$%d::%s", i+1, arrayType(t.Columns[k]))
		arrays, elements = append(arrays, array), append(elements, fmt.Sprintf("unnest(%s) AS %s", array, alias))
		aliases, names = append(aliases, alias), append(names, "input."+alias)
	}
	if slices.ContainsFunc(columns, func(c int) bool { return t.Columns[c].AsText }) {
		// In FROM, a composite type would be taken apart.
		return fmt.Sprintf("(SELECT %s, generate_series(1::bigint, cardinality(%s)) AS n) AS input", list(elements), arrays[0]), names
	}
	return fmt.Sprintf("unnest(%s) WITH ORDINALITY AS input(%s, n)", list(arrays), list(aliases)), names
}

//go:embed defaults.sql
var defaultsBody string

// defaultsSQL returns a block that evaluates what the database adds to a row of the model: the
// defaults of other columns, and expressions over those alone. It fails as the insert of any row
// would, and names the column or constraint.
func defaultsSQL(t *batch.Table) string {
	var filled []string
	for _, c := range t.Columns {
		if !c.Ledger {
			filled = append(filled, batch.Literal(c.Name))
		}
	}
	return "DO " + batch.Literal(strings.NewReplacer("$table", batch.Literal(table(t)), "$filled", list(filled)).Replace(defaultsBody))
}

func table(t *batch.Table) string  { return batch.QuoteTable(t.Schema, t.Name) }
func ledger(t *batch.Table) string { return batch.QuoteTable(t.Schema, t.Ledger) }

// keyValues returns the key's columns of the input.
func keyValues(t *batch.Table) []string { return keyValuesAfter(0, t) }

// keyValuesAfter does the same for a table whose arrays follow other parameters.
func keyValuesAfter(parameters int, t *batch.Table) []string {
	values := make([]string, len(t.Key))
	for i, k := range t.Key {
		values[i] = fmt.Sprintf("input.c%d", parameters+k+1)
	}
	return values
}
