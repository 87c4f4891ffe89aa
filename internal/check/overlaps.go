package check

import (
	"cmp"
	"maps"
	"slices"

	"example.com/owner/sluice/internal/model"
)

// Overlaps counts the bodies of a sample that two models would take.
type Overlaps struct {
	set    *model.Set
	bodies int                   // all of the sample
	pairs  map[[2]int]*lineCount // by the indexes of the models
}

// NewOverlaps returns an empty count.
func NewOverlaps(set *model.Set) *Overlaps {
	return &Overlaps{set: set, pairs: map[[2]int]*lineCount{}}
}

// Add counts a body of a line, which the models with these indexes would take.
func (o *Overlaps) Add(takers []int, line int) {
	o.bodies++
	for _, other := range takers[min(1, len(takers)):] {
		pair := [2]int{takers[0], other}
		if o.pairs[pair] == nil {
			o.pairs[pair] = new(lineCount)
		}
		o.pairs[pair].add(line)
	}
}

// Findings returns a warning for each pair.
func (o *Overlaps) Findings() (f Findings) {
	for _, pair := range slices.SortedFunc(maps.Keys(o.pairs), func(x, y [2]int) int { return cmp.Or(x[0]-y[0], x[1]-y[1]) }) {
		c, m := o.pairs[pair], o.set.Models
		f.Add(Warning, "sample", "sample_taken_twice", "correct the when of one of them",
			"%d of %d bodies are for the model %s, and %s would take them too: the first of the list gets them; %s", c.bodies, o.bodies, m[pair[0]].Name, m[pair[1]].Name, c)
	}
	return f
}
