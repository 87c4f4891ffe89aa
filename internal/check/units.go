package check

import (
	"slices"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
)

// Units counts the times of a sample that are more likely in another unit than the model says. Seconds
// that are read as milliseconds are days of January 1970, and nothing refuses them.
type Units struct {
	model   *model.Model
	columns []int // with Unix times, one for each field
	found   []otherUnit
}

// otherUnit are bodies with such times of a field.
type otherUnit struct {
	field  *model.Field
	format string
	bodies int
}

// NewUnits returns an empty count for a model.
func NewUnits(m *model.Model) *Units {
	u := &Units{model: m}
	for i, c := range m.Columns {
		known := slices.ContainsFunc(u.columns, func(k int) bool { return m.Columns[k].Field == c.Field })
		if c.Field >= 0 && !known && m.Fields[c.Field].Type == model.TypeTimestamp && !c.Type.List && !c.Type.AsText {
			u.columns = append(u.columns, i)
		}
	}
	return u
}

// Add counts row i of a batch.
func (u *Units) Add(b *batch.Batch, i int) {
	if u.columns == nil {
		return
	}
	b.Row(i, func(column int, v []byte) {
		if v == nil || !slices.Contains(u.columns, column) {
			return
		}
		f := &u.model.Fields[u.model.Columns[column].Field]
		format := f.LikelierFormat(batch.Time(b.Columns(i)[column].Kind, v))
		if format == "" {
			return
		}
		k := slices.IndexFunc(u.found, func(o otherUnit) bool { return o.field == f && o.format == format })
		if k < 0 {
			k, u.found = len(u.found), append(u.found, otherUnit{field: f, format: format})
		}
		u.found[k].bodies++
	})
}

// Findings returns a warning for each field and unit.
func (u *Units) Findings() (f Findings) {
	for _, o := range u.found {
		f.Add(Warning, "sample", "sample_unit", "write format: "+o.format+" for the field in the model; with min and max it rejects such times",
			"in %d bodies the field %s has a time before 1980 or after 2099; with format: %s it would not", o.bodies, o.field.Name, o.format)
	}
	return f
}
