package model

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"sluice/internal/batch"
)

// SQLType is a column's type.
type SQLType struct {
	Base string // "varchar", "integer", …
	// Length is n of varchar(n) and p of numeric(p,s); 0 is no limit.
	Length int
	// Scale is s of numeric(p,s).
	Scale int
	// Array is true for an array of the type.
	Array bool
}

// sqlType matches a type such as "numeric(12,2)".
var sqlType = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([a-z]+)(?:\(([0-9]{1,8})(?:, *([0-9]{1,8}))?\))?$`)
})

// columnTypes lists the types that a column may have, as a model writes them, each with the kind of
// its values in a batch.
var columnTypes = []struct {
	form string
	kind batch.Kind
}{
	{"varchar(n)", batch.Text},
	{"text", batch.Text},
	{"smallint", batch.Int4},
	{"integer", batch.Int4},
	{"bigint", batch.Int8},
	{"numeric(p,s)", batch.Text},
	{"boolean", batch.Bool},
	{"timestamptz", batch.Timestamp},
	{"date", batch.Date},
	{"uuid", batch.UUID},
	{"json", batch.Text},
	{"jsonb", batch.Text},
}

// kind returns the kind of the type's values, 0 if there is no such type.
func (t SQLType) kind() batch.Kind {
	for _, known := range columnTypes {
		if base, _, _ := strings.Cut(known.form, "("); base == t.Base {
			return known.kind
		}
	}
	return 0
}

func parseSQLType(s string, asText bool) (SQLType, error) {
	parts := sqlType().FindStringSubmatch(s)
	if parts == nil {
		return SQLType{}, fmt.Errorf("%q is not a type of a column", s)
	}
	t, length, scale := SQLType{Base: parts[1]}, parts[2], parts[3]
	if t.kind() == 0 {
		var forms []string
		for _, known := range columnTypes {
			forms = append(forms, known.form)
		}
		return t, fmt.Errorf("%q is not a type that sluice knows; use %s", s, enumerate(forms, "or"))
	}
	t.Length, _ = strconv.Atoi("0" + length)
	t.Scale, _ = strconv.Atoi("0" + scale)
	switch {
	case t.Base == "varchar" && (t.Length < 1 || t.Length > 10485760 || scale != ""):
		return t, fmt.Errorf("%q: varchar needs one length from 1 to 10485760, as in varchar(32)", s)
	case t.Base == "numeric" && length != "" && (t.Length < 1 || t.Length > 1000 || t.Scale > t.Length):
		return t, fmt.Errorf("%q: numeric needs a precision from 1 to 1000 and a scale of at most that, as in numeric(12,2)", s)
	case t.Base != "varchar" && t.Base != "numeric" && length != "":
		return t, fmt.Errorf("%q: %s has no length", s, t.Base)
	}
	return t, nil
}

// String returns the type in SQL.
func (t SQLType) String() string {
	switch {
	case t.Base == "numeric" && t.Length > 0:
		return fmt.Sprintf("numeric(%d,%d)", t.Length, t.Scale)
	case t.Length > 0:
		return fmt.Sprintf("%s(%d)", t.Base, t.Length)
	default:
		return t.Base
	}
}
