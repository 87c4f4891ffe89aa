package check

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// place is a live table, and whose it is.
type place struct {
	name  string
	model int // its index
}

// The foreign keys from one table to another that are checked with each statement.
const foreignKeysSQL = `SELECT conrelid, confrelid, conname FROM pg_constraint
	WHERE contype = 'f' AND NOT condeferred AND conrelid <> confrelid AND conrelid = ANY ($1::oid[]) AND confrelid = ANY ($1::oid[])
	ORDER BY conrelid::regclass::text, conname`

// order looks for models that come before those to whose rows their own refer: the rows of a batch are
// written in the order of the models.
func (d *database) order(ctx context.Context) error {
	if len(d.models.Models) < 2 {
		return nil
	}
	keys, err := d.query(ctx, foreignKeysSQL, "{"+strings.Join(slices.Collect(maps.Keys(d.places)), ",")+"}")
	if err != nil {
		return err
	}
	parents := make([][]int, len(d.models.Models)) // by model
	for _, k := range keys {
		child, parent := d.places[k[0]].model, d.places[k[1]].model
		if child != parent {
			parents[child] = append(parents[child], parent)
		}
	}
	remedy := d.rightOrder(parents)
	for _, k := range keys {
		child, parent := d.places[k[0]], d.places[k[1]]
		if child.model >= parent.model {
			continue
		}
		d.Add(Warning, "table", "model_order", remedy, "the rows of %s refer to those of %s (%s), and the model %s comes before %s: of a batch they are written first, and refused (SQLSTATE 23503) if their parents are in the same batch",
			child.name, parent.name, k[2], d.models.Models[child.model].Name, d.models.Models[parent.model].Name)
	}
	return nil
}

// rightOrder says how the models can be listed so that each comes after its parents.
func (d *database) rightOrder(parents [][]int) string {
	var order []int
	for len(order) < len(parents) {
		next := 0 // the first whose parents are there
		for next < len(parents) && (slices.Contains(order, next) || slices.ContainsFunc(parents[next], func(p int) bool { return !slices.Contains(order, p) })) {
			next++
		}
		if next == len(parents) {
			return "let one of the foreign keys be DEFERRABLE INITIALLY DEFERRED: no order of the models is right for all of them"
		}
		order = append(order, next)
	}
	names, also := make([]string, len(order)), ""
	for i, m := range order {
		names[i] = d.models.Models[m].Name
		if i < len(order)-1 && d.models.Models[m].When == nil {
			also = fmt.Sprintf("; give %s a when, because a model without one is the last", names[i])
		}
	}
	return "list the models in this order: " + strings.Join(names, ", ") + " (those of a folder are in the order of their files' names)" + also
}
