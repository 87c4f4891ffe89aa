package infer

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/model"
)

// Table is a table that exists, for a draft to fill.
type Table struct {
	Schema, Name string // Schema is "" if the table is found without it
	Columns      []*Column
	// Keys are the columns of its primary key and its unique constraints, the primary key first.
	Keys [][]string
}

// Column is a column of a table that exists.
type Column struct {
	Name string
	// Type is its type as SQL spells it; Base that of a domain's innermost type, otherwise the same.
	Type, Base string
	Enum       []string // the labels, if it is an enum, or a domain over one
	NotNull    bool
	HasDefault bool
	// Generated: it takes no value from outside, or makes its own (GENERATED, IDENTITY).
	Generated bool

	typeName string // as SQL names it, without a length
	field    string // that fills it
	left     bool   // the member that has its name is left out, with the reason
	meta     string
	jsonForm *form
	prepared bool
	scalars  []*form
	lists    []*form
}

// shortTypes are the names of types that a model spells in another way than Postgres shows them.
var shortTypes = strings.NewReplacer("character varying", "varchar", "timestamp with time zone", "timestamptz", "timestamp without time zone", "timestamp",
	"time without time zone", "time", "character(", "char(")

// digitsOfSecond are in types of times; a model has none.
var digitsOfSecond = regexp.MustCompile(`^(time|timestamp|interval)\([0-6]\)`)

// empty forgets what fills the columns.
func (t *Table) empty() {
	for _, c := range t.Columns {
		c.field, c.left, c.meta = "", false, ""
	}
}

// spelled returns a type as a model spells it.
func spelled(shown string) string {
	shown = shortTypes.Replace(digitsOfSecond.ReplaceAllString(shown, "$1"))
	switch shown {
	case "varchar":
		return "text" // without a length it is the same
	case "varchar[]":
		return "text[]"
	default:
		return shown
	}
}

// readsItself are the types that sluice reads itself: a domain over one of them is filled as its base
// type is, and the assignment checks the domain.
func readsItself(base string) bool {
	name, _, _ := strings.Cut(base, "(")
	return slices.Contains(strings.Fields("smallint integer bigint numeric boolean timestamptz timestamp time date interval uuid real json jsonb bytea"), name) || base == "double precision"
}

// prepare finds the forms of fields that the column can hold.
func (c *Column) prepare() {
	c.prepared = true
	column, asText := spelled(c.Type), false
	if c.Base != c.Type {
		if base := spelled(c.Base); readsItself(base) {
			column = base
		} else {
			asText = true
		}
	}
	if !asText {
		c.forms(column, false)
	}
	if c.scalars == nil && c.lists == nil && c.jsonForm == nil {
		c.forms(c.typeName, true)
	}
	slices.SortStableFunc(c.scalars, func(a, b *form) int { return a.rank() - b.rank() })
}

// holdsMask reports whether a type holds a text of any mask's length.
func holdsMask(base string) bool {
	name, rest, _ := strings.Cut(base, "(")
	length, err := strconv.Atoi(strings.TrimSuffix(rest, ")"))
	return slices.Contains([]string{"text", "varchar", "char", "citext"}, name) && (err != nil || length >= mask.Size)
}

// rank puts text first where a column holds text as it was sent.
func (f *form) rank() int {
	if (f.asText || strings.HasPrefix(f.column, "text") || strings.HasPrefix(f.column, "varchar") || strings.HasPrefix(f.column, "char") || f.column == "citext") && f.id == formText {
		return -1
	}
	return 0
}

func (c *Column) forms(column string, asText bool) {
	for _, f := range append(forms(), columnForms()...) {
		f.column, f.asText = column, asText
		if f.masked && !holdsMask(spelled(c.Base)) || f.id == formBase64 && c.Base != "bytea" {
			continue
		}
		if f.loads() {
			c.scalars = append(c.scalars, f)
		}
	}
	for _, f := range listForms() {
		f.column, f.asText = column, asText
		if f.loads() {
			c.lists = append(c.lists, f)
		}
	}
	if f := newJSON(column); !asText && f.loads() {
		c.jsonForm = f
	}
}

func (c *Column) holdsJSON() bool { return c.jsonForm != nil }

// column returns the column that a path's values can go to, nil if there is none.
func (s *Sample) column(path []step) *Column {
	c := s.named(path)
	if c == nil || c.Generated || !plainScalar.MatchString(c.Name) {
		return nil
	}
	if !c.prepared {
		c.prepare()
	}
	return c
}

// named returns the column whose name a path has: all of its names, or as many of the last ones as
// needed.
func (s *Sample) named(path []step) *Column {
	if s.table == nil {
		return nil
	}
	for i := range path {
		want := identifier(path[i:])
		for _, c := range s.table.Columns {
			if name := identifier([]string{c.Name}); name == want || name == "masked_"+want {
				return c
			}
		}
	}
	return nil
}

// unmapped says why no column takes the values of a path.
func (s *Sample) unmapped(path []step) string {
	switch c := s.named(path); {
	case c == nil:
		return "no column has its name"
	case c.Generated:
		return "column " + c.Name + " makes its own values"
	default:
		return "a model cannot name its column, since names have letters, digits and _ only"
	}
}

// forms returns the forms that values of a path are tried for.
func (s *Sample) forms(path []step) (scalars, lists []*form) {
	if c := s.column(path); c != nil {
		return c.scalars, c.lists
	}
	return s.catalog.scalars, s.catalog.lists
}

// metadata are the names of columns that sluice fills with what it knows of a message.
var metadata = strings.Fields("sent_at sent_date message_id mask_key received_at queue message_group sequence_number receive_count")

// fillMeta finds the columns that take metadata, among those that no member fills.
func (t *Table) fillMeta(rows bool) {
	for _, c := range t.Columns {
		known := slices.Contains(metadata, c.Name) || rows && c.Name == "row_number"
		if c.field == "" && !c.Generated && known && c.takesMeta() {
			c.meta = c.Name
		}
	}
}

// takesMeta reports whether the column's type holds the metadata of its name.
func (c *Column) takesMeta() bool {
	text := fmt.Sprintf("model: probe\ntable: probe\nrows: \"$.v[*]\"\nledger: probe_ledger\nfields:\n  v: {type: text}\ncolumns:\n  v: {type: text, from: v}\n  m: {type: %s, meta: %s}\n", scalarText(spelled(c.Base)), c.Name)
	_, err := model.Parse("probe", []byte(text))
	return err == nil
}
