package check

import (
	"fmt"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
)

// Rows counts the rows of a sample by table, for a model whose messages may have several. An array that
// no body has is no problem of any of them, and loses all of its rows if its path has a typo.
type Rows struct {
	model  *model.Model
	bodies int // that are accepted, or taken without rows
	counts []TableRows
}

// TableRows is how many rows there are for a table.
type TableRows struct {
	Table string `json:"table"`
	Rows  int    `json:"rows"`
}

// NewRows returns an empty count for a model.
func NewRows(m *model.Model) *Rows {
	r := &Rows{model: m}
	if m.SeveralRows() {
		for _, of := range r.model.Tables() {
			r.counts = append(r.counts, TableRows{Table: of.Table.Name})
		}
	}
	return r
}

// Add counts the rows of the message of row i of a batch.
func (r *Rows) Add(b *batch.Batch, i int) {
	if r.counts == nil {
		return
	}
	r.bodies++
	r.counts[0].Rows++
	for k := range b.MoreRows(i) {
		r.counts[1+b.MoreTable(i, k)].Rows++
	}
}

// AddIgnored counts a body that was taken, and has no row.
func (r *Rows) AddIgnored() { r.bodies++ }

// Counts returns the count of each table, the model's own first; nil for a model whose messages have one
// row.
func (r *Rows) Counts() []TableRows { return r.counts }

// Findings returns a warning for each table that no body has a row for. unread lists paths of the bodies
// that the model does not read, if they are known.
func (r *Rows) Findings(unread []string) (f Findings) {
	for i, c := range r.counts {
		if c.Rows > 0 || r.bodies == 0 {
			continue
		}
		look := "`sluice explain --summary` lists what it does not read"
		if len(unread) > 0 {
			look = "the model does not read " + strings.Join(unread, ", ")
		}
		f.Add(Warning, "sample", "sample_no_rows", fmt.Sprintf("if there are such rows, correct rows of %s in the model: %s", c.Table, look),
			"0 rows of %s in %d bodies that are not rejected: none of them has an element at %s", c.Table, r.bodies, r.model.Tables()[i].RowsPath())
	}
	return f
}
