package check

import (
	"slices"

	"example.com/owner/sluice/internal/batch"
)

// Needs is what the role that writes needs on a table beside INSERT: SELECT and UPDATE on columns, as
// indexes, and DELETE.
type Needs struct {
	Select, Update []int
	Delete         bool
}

// NeedsOf returns what the role needs on a table of a model, or on its ledger.
func NeedsOf(t *batch.Table) Needs {
	n := Needs{Select: t.Reads(), Update: t.Updates()}
	if t.OnConflict != batch.Replace && !t.FindsConflicts() {
		n.Select = t.Key // in its order
	}
	return n
}

// NeedsOfChild returns what the role needs on a child of a table. A child whose parent is not replaced is
// inserted, and never read.
func NeedsOfChild(parent, child *batch.Table) (n Needs) {
	if parent.OnConflict != batch.Replace {
		return n
	}
	n.Delete = true
	for i := range child.Columns {
		n.Select = append(n.Select, i)
		if !slices.Contains(child.Key, i) || len(child.Key) == len(child.Columns) {
			n.Update = append(n.Update, i)
		}
	}
	return n
}
