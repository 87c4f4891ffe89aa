package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// replaces reports whether rows of the table may replace others.
func (d *destination) replaces() bool { return d.table.OnConflict == batch.Replace }

// newest returns, for each row, the newest of the batch that has its key: where rows are replaced,
// the others need not be stored.
func (in *insertion) newest() []int {
	all := make([]int, in.batch.Len())
	rows := make([][]int, len(in.tables))
	for i := range all {
		all[i] = i
		rows[in.batch.Table(i)] = append(rows[in.batch.Table(i)], i)
	}
	for _, own := range rows {
		for k, newest := range in.batch.Newest(own) {
			all[own[k]] = newest
		}
	}
	return all
}

// overtake sets the verdicts of rows that a newer one of the batch replaces. They were not tried,
// unless a row of the batch cannot be stored: then all are tried, one by one, and those that were
// stored for a moment count as if they had not been.
func (in *insertion) overtake(newest []int) error {
	if in.oneByOne {
		for table, p := range in.tables {
			slices.Sort(p.written)
			for k, i := range in.batch.Newest(p.written) {
				if i != p.written[k] {
					in.result.Verdicts[p.written[k]].Outdated = true
					in.result.Tallies.Of(table).Replaced--
				}
			}
		}
		return nil
	}
	var overtaken []int
	stored := true // all others
	for i, newer := range newest {
		if newer != i {
			overtaken = append(overtaken, i)
		} else {
			stored = stored && in.result.Verdicts[i].Outcome == message.Stored
		}
	}
	if len(overtaken) > 0 && !stored {
		in.oneByOne = true
		return errAgain
	}
	for _, i := range overtaken {
		in.result.Verdicts[i] = message.Verdict{Outcome: message.Stored, Outdated: in.batch.CompareVersions(i, newest[i]) < 0}
	}
	return nil
}

// onConflict returns what becomes of a stored row with the key.
func onConflict(t *batch.Table) string {
	if t.OnConflict != batch.Replace {
		return "NOTHING"
	}
	var set []string
	for i, c := range t.Columns {
		if !slices.Contains(t.Key, i) {
			set = append(set, fmt.Sprintf("%[1]s = excluded.%[1]s", batch.Quote(c.Name)))
		}
	}
	return fmt.Sprintf("UPDATE SET %s WHERE %s", strings.Join(set, ", "), isNewer(t, version(t, "excluded.")))
}

// numbers is a collation for numbers in text, in the order of their values.
const numbers = "sluice_numbers"

func init() { //nolint:gochecknoinits // as drivers are registered
	sqlite.MustRegisterCollationUtf8(numbers, func(x, y string) int { return batch.CompareNumbers([]byte(x), []byte(y)) })
}

// version returns the columns that make a row's version, each after a prefix.
func version(t *batch.Table, prefix string) (all []string) {
	for _, c := range t.Version() {
		name := prefix + batch.Quote(t.Columns[c].Name)
		if t.Columns[c].Kind == batch.Text {
			name += " COLLATE " + numbers
		}
		all = append(all, name)
	}
	return all
}

// isNewer returns the condition that a row which is sent replaces the stored one.
func isNewer(t *batch.Table, sent []string) string {
	stored := version(t, table(t)+".")
	return stored[0] + " IS NULL OR " + exceeds(sent, stored)
}

// exceeds returns the condition that one version is greater than another.
func exceeds(x, y []string) string {
	condition := x[0] + " > " + y[0]
	if len(x) > 1 {
		condition += fmt.Sprintf(" OR %s = %s AND %s > %s", x[0], y[0], x[1], y[1])
	}
	return condition
}
