package model

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/batch"
)

// SQLType is the type of a column.
type SQLType struct {
	Base string // "varchar", "integer", …
	// Length is n of varchar(n) and the precision of numeric; 0 is without limit.
	Length int
	// Scale is s of numeric(p,s).
	Scale int
}

// splitSQLType splits "numeric(12,2)"; ok is false when it has another form.
func splitSQLType(s string) (base, length, scale string, ok bool) {
	base, arguments, has := strings.Cut(s, "(")
	if !has {
		return base, "", "", isLower(base)
	}
	arguments, closed := strings.CutSuffix(arguments, ")")
	length, scale, two := strings.Cut(arguments, ",")
	scale = strings.TrimLeft(scale, " ")
	return base, length, scale, closed && isLower(base) && isCount(length) && (!two || isCount(scale))
}

func isLower(s string) bool { return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == "" }
func isCount(s string) bool { return s != "" && len(s) <= 8 && strings.Trim(s, "0123456789") == "" }

// kinds are the types that a column may have, and how their values travel.
var kinds = map[string]batch.Kind{
	"varchar": batch.Text, "text": batch.Text, "smallint": batch.Int4, "integer": batch.Int4, "bigint": batch.Int8,
	"numeric": batch.Text, "boolean": batch.Bool, "timestamptz": batch.Timestamp, "date": batch.Date, "uuid": batch.UUID,
	"json": batch.Text, "jsonb": batch.Text,
}

// accepts says which types of columns can hold a field.
var accepts = map[FieldType][]string{
	TypeText: {"varchar", "text"}, TypeIP: {"varchar", "text"}, TypeEmail: {"varchar", "text"}, TypeVersion: {"varchar", "text"},
	TypeInteger: {"smallint", "integer", "bigint"}, TypeNumeric: {"numeric"}, TypeBoolean: {"boolean"},
	TypeTimestamp: {"timestamptz"}, TypeDate: {"date"}, TypeUUID: {"uuid"}, TypeJSON: {"json", "jsonb"},
}

var metaAccepts = map[Meta][]string{
	MetaSentAt: {"timestamptz"}, MetaSentDate: {"date"}, MetaMessageID: {"uuid"}, MetaMaskKey: {"varchar", "text"},
}

func parseSQLType(s string) (SQLType, error) {
	base, length, scale, ok := splitSQLType(s)
	if !ok {
		return SQLType{}, fmt.Errorf("%q is no type of a column", s)
	}
	t := SQLType{Base: base}
	if _, ok := kinds[t.Base]; !ok {
		return t, fmt.Errorf("%q is no type of a column that sluice knows; there are varchar(n), text, smallint, integer, bigint, numeric(p,s), boolean, timestamptz, date, uuid, json and jsonb", s)
	}
	t.Length, _ = strconv.Atoi("0" + length)
	t.Scale, _ = strconv.Atoi("0" + scale)
	switch {
	case t.Base == "varchar" && (t.Length < 1 || t.Length > 10485760 || scale != ""):
		return t, fmt.Errorf("%q: varchar wants one length from 1 to 10485760, as in varchar(32)", s)
	case t.Base == "numeric" && length != "" && (t.Length < 1 || t.Length > 1000 || t.Scale > t.Length):
		return t, fmt.Errorf("%q: numeric wants a precision from 1 to 1000 and a scale up to it, as in numeric(12,2)", s)
	case t.Base != "varchar" && t.Base != "numeric" && length != "":
		return t, fmt.Errorf("%q: %s takes no length", s, t.Base)
	}
	return t, nil
}

// String is the type as SQL spells it.
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
