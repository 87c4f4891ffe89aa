package sqlite

import (
	"fmt"
	"slices"
	"strings"

	"modernc.org/sqlite"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// newest returns, for each message, the newest of the batch that has its key: where rows are replaced,
// the others need not be stored. It is the message itself if a message may have several rows in its
// table.
func (in *insertion) newest() []int {
	newest := make([]int, in.batch.Len())
	ofTable := make([][]int, len(in.parts))
	for i := range newest {
		newest[i] = i
		ofTable[in.batch.Table(i)] = append(ofTable[in.batch.Table(i)], i)
	}
	for table, messages := range ofTable {
		if in.parts[table] == nil || in.parts[table].table.Several {
			continue
		}
		for k, newer := range in.batch.Newest(messages) {
			newest[messages[k]] = newer
		}
	}
	return newest
}

// overtake sets the verdicts of messages that a newer one of the batch replaces. They were not tried,
// unless a message of the batch cannot be stored: then all are tried, one by one.
func (in *insertion) overtake(newest []int) error {
	if in.oneByOne {
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

// onConflict returns what becomes of a stored row with the key. A child of a table that replaces is
// written over.
func onConflict(t, parent *batch.Table) string {
	if t.OnConflict != batch.Replace && parent == nil {
		return "NOTHING"
	}
	var set []string
	for i, c := range t.Columns {
		if !slices.Contains(t.Key, i) {
			set = append(set, fmt.Sprintf("%[1]s = excluded.%[1]s", batch.Quote(c.Name)))
		}
	}
	if set == nil {
		set = []string{fmt.Sprintf("%[1]s = %[1]s", t.KeyNames()[0])}
	}
	update := "UPDATE SET " + strings.Join(set, ", ")
	if parent == nil {
		update += " WHERE " + isNewer(t, version(t, "excluded."))
	}
	return update
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
