package postgres

import (
	"fmt"
	"strings"

	"sluice/internal/batch"
)

// arrayTypes are the parameter types of the kinds. Never varchar(n)[]: a cast
// to it truncates in silence.
var arrayTypes = map[batch.Kind]string{
	batch.Text: "text[]", batch.Int4: "int4[]", batch.Int8: "int8[]", batch.Bool: "bool[]",
	batch.Timestamp: "timestamptz[]", batch.Date: "date[]", batch.UUID: "uuid[]",
}

// cast is what turns a travelling value into the column's type where an
// assignment would not.
func cast(c batch.Column) string {
	base, _, _ := strings.Cut(c.Type, "(")
	switch base {
	case "numeric", "json", "jsonb":
		return "::" + base // without its precision, which would round
	default:
		return ""
	}
}

// insertSQL is the statement that stores rows given as one array for each
// column. The conflict target is named: without it the violation of another
// unique constraint would be taken for a duplicate and lose the row.
func insertSQL(t *batch.Table) string {
	var names, values, arrays []string
	for i, c := range t.Columns {
		alias := fmt.Sprintf("c%d", i+1)
		arrays = append(arrays, fmt.Sprintf("unnest($%d::%s) AS %s", i+1, arrayTypes[c.Kind], alias))
		if !c.Ledger {
			names = append(names, batch.Quote(c.Name))
			values = append(values, alias+cast(c))
		}
	}
	input := fmt.Sprintf("(SELECT %s) AS input", strings.Join(arrays, ", "))
	if t.Ledger == "" {
		return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s ON CONFLICT (%s) DO NOTHING",
			table(t), strings.Join(names, ", "), strings.Join(values, ", "), input, strings.Join(keyNames(t), ", "))
	}
	// The ledger and the table in one statement, so that neither is ever
	// without the other. A trigger that swallows a row would leave its message
	// in the ledger and out of the table, and a batch with one key twice would
	// store two rows for it: then the square root fails, with an SQLSTATE that
	// no constraint has (swallowedState), and nothing is stored.
	keys := keyAliases(t)
	return fmt.Sprintf(`WITH input AS MATERIALIZED (SELECT * FROM %s), fresh AS (INSERT INTO %s (%s) SELECT %s FROM input ON CONFLICT (%s) DO NOTHING RETURNING %s), stored AS (INSERT INTO %s (%s) SELECT %s FROM input JOIN fresh ON (%s) RETURNING 1) SELECT count(*) + sqrt(-abs(count(*) - (SELECT count(*) FROM fresh))::float8)::bigint FROM stored`,
		input,
		ledger(t), strings.Join(keyNames(t), ", "), strings.Join(keys, ", "), strings.Join(keyNames(t), ", "), strings.Join(prefixed("", keyNames(t)), ", "),
		table(t), strings.Join(names, ", "), strings.Join(values, ", "),
		equal("fresh.", keyNames(t), "input.", keys))
}

// swallowedState is invalid_argument_for_power_function.
const swallowedState = "2201F"

// presentSQL asks which of the rows, given as one array for each column of
// the key, are in the table (in the ledger where there is one). It answers
// with their positions, counted from 1.
func presentSQL(t *batch.Table) string {
	input, exists := keysSQL(t)
	return fmt.Sprintf("SELECT n FROM %s WHERE %s", input, exists)
}

// keptSQL fails with swallowedState unless all of these rows are there.
func keptSQL(t *batch.Table) string {
	input, exists := keysSQL(t)
	return fmt.Sprintf("SELECT sqrt(-count(*)::float8) FROM %s WHERE NOT %s", input, exists)
}

// keysSQL is the keys of rows as a table with the position n, and the
// condition that such a key is there.
func keysSQL(t *batch.Table) (input, exists string) {
	var arrays, aliases, typed []string
	for i, k := range t.Key {
		alias := fmt.Sprintf("k%d", i+1)
		arrays = append(arrays, fmt.Sprintf("$%d::%s", i+1, arrayTypes[t.Columns[k].Kind]))
		aliases = append(aliases, alias)
		typed = append(typed, alias+cast(t.Columns[k]))
	}
	where := table(t)
	if t.Ledger != "" {
		where = ledger(t)
	}
	return fmt.Sprintf("unnest(%s) WITH ORDINALITY AS input(%s, n)", strings.Join(arrays, ", "), strings.Join(aliases, ", ")),
		fmt.Sprintf("EXISTS (SELECT FROM %s AS present WHERE %s)", where, equal("present.", keyNames(t), "input.", typed))
}

func table(t *batch.Table) string  { return batch.QuoteTable(t.Schema, t.Name) }
func ledger(t *batch.Table) string { return batch.QuoteTable(t.Schema, t.Ledger) }

func keyNames(t *batch.Table) []string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = batch.Quote(t.Columns[k].Name)
	}
	return names
}

func keyAliases(t *batch.Table) []string {
	names := make([]string, len(t.Key))
	for i, k := range t.Key {
		names[i] = fmt.Sprintf("c%d", k+1)
	}
	return names
}

func prefixed(prefix string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = prefix + n
	}
	return out
}

func equal(leftPrefix string, left []string, rightPrefix string, right []string) string {
	terms := make([]string, len(left))
	for i := range left {
		terms[i] = leftPrefix + left[i] + " = " + rightPrefix + right[i]
	}
	return strings.Join(terms, " AND ")
}
