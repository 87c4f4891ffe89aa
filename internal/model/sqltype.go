package model

import (
	"fmt"
	"strconv"
	"strings"

	"sluice/internal/batch"
)

// SQLType is a column's type.
type SQLType struct {
	Base string // "varchar", "integer", …
	// Length is n of varchar(n) and p of numeric(p,s); 0 is no limit.
	Length int
	// Scale is s of numeric(p,s).
	Scale int
}

// splitSQLType splits a type such as "numeric(12,2)"; ok is false if it has another form.
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

// kinds maps the types that a column may have to the kinds of their values in a batch.
var kinds = map[string]batch.Kind{
	"varchar": batch.Text, "text": batch.Text, "smallint": batch.Int4, "integer": batch.Int4, "bigint": batch.Int8,
	"numeric": batch.Text, "boolean": batch.Bool, "timestamptz": batch.Timestamp, "date": batch.Date, "uuid": batch.UUID,
	"json": batch.Text, "jsonb": batch.Text,
}

// accepts maps the type of a field to the types of columns that can hold it.
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
		return SQLType{}, fmt.Errorf("%q is not a type of a column", s)
	}
	t := SQLType{Base: base}
	if _, ok := kinds[t.Base]; !ok {
		return t, fmt.Errorf("%q is not a type that sluice knows; use varchar(n), text, smallint, integer, bigint, numeric(p,s), boolean, timestamptz, date, uuid, json or jsonb", s)
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
