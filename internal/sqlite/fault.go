package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// meaning returns what a primary result code means where no row is to blame. Codes
// that are not listed are transient.
func (s *Store) meaning(code int) (cause message.Cause, remedy string) {
	const transient, configuration = message.CauseTransient, message.CauseConfiguration
	const writable = "let this user write the file and its folder"
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY:
		return transient, "another process is at work on it"
	case sqlite3.SQLITE_FULL:
		return transient, "make room on the disk"
	case sqlite3.SQLITE_ERROR:
		return transient, "a trigger or an expression of the table fails for every row"
	case sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY:
		return configuration, writable
	case sqlite3.SQLITE_CANTOPEN:
		return configuration, "check the path in " + s.names.URL + ": its folder must be there; " + writable
	case sqlite3.SQLITE_CORRUPT:
		return configuration, "the file is damaged: restore it from a copy"
	case sqlite3.SQLITE_NOTADB:
		return configuration, s.names.URL + " names a file that is not an SQLite database"
	case sqlite3.SQLITE_MISMATCH:
		return configuration, s.otherType()
	case sqlite3.SQLITE_TOOBIG:
		return configuration, "a trigger or an expression makes a value that is too large"
	case sqlite3.SQLITE_CONSTRAINT:
		return configuration, "a deferred foreign key does not say which row it refuses; make it immediate"
	default:
		return transient, ""
	}
}

func (s *Store) otherType() string {
	return "a column of the table has another type than the model says: `" + s.names.Schema + "` prints the SQL that it means"
}

// kinds are the constraints that SQLite tells apart.
var kinds = map[int]string{
	sqlite3.SQLITE_CONSTRAINT_CHECK: "CHECK", sqlite3.SQLITE_CONSTRAINT_NOTNULL: "NOT NULL", sqlite3.SQLITE_CONSTRAINT_UNIQUE: "UNIQUE",
	sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "PRIMARY KEY", sqlite3.SQLITE_CONSTRAINT_ROWID: "PRIMARY KEY", sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: message.ForeignKey,
	sqlite3.SQLITE_CONSTRAINT_TRIGGER: "TRIGGER", sqlite3.SQLITE_CONSTRAINT_DATATYPE: "DATATYPE",
}

// unique reports whether a unique key refuses a row.
func unique(err *sqlite.Error) bool {
	kind := kinds[err.Code()]
	return kind == "UNIQUE" || kind == "PRIMARY KEY"
}

// object is what a refusal says of its constraint. SQLite's text of other errors
// is not read: triggers write it as they like.
func object(err *sqlite.Error) string {
	code := err.Code()
	if code != sqlite3.SQLITE_CONSTRAINT_CHECK && code != sqlite3.SQLITE_CONSTRAINT_NOTNULL && !unique(err) {
		return ""
	}
	_, text, _ := strings.Cut(err.Error(), " constraint failed: ")
	return strings.TrimSuffix(text, fmt.Sprintf(" (%d)", code))
}

// rejection is why a row can never be stored. The constraint is its name or,
// where SQLite tells none, its expression or its kind. Columns of the table are
// without its name.
func (r *refusal) rejection() message.Rejection {
	rejection := message.Rejection{Reason: message.ReasonRefused, Detail: r.row, Constraint: kinds[r.err.Code()]}
	switch {
	case r.err.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK:
		rejection.Constraint = object(r.err)
	case len(r.keys) > 0:
		rejection.Column = strings.Join(r.keys[0], ", ")
	default:
		names := strings.Split(object(r.err), ", ")
		for i, name := range names {
			if table, column, _ := strings.Cut(name, "."); strings.EqualFold(table, r.table.Name) {
				names[i] = column
			}
		}
		rejection.Column = strings.Join(names, ", ")
	}
	return rejection
}

// failure makes an error of one of SQLite's. Its text holds names of the
// database's objects and never a value. Code is the extended result code.
func (s *Store) failure(doing string, code int) *fault.Error {
	cause, remedy := s.meaning(code)
	return &fault.Error{
		Source: fault.Database, Cause: cause, Code: strconv.Itoa(code),
		What: doing + ": " + sqlite.ErrorCodeString[code&0xff], Remedy: remedy,
	}
}

// fault wraps an error that ended a batch.
func (s *Store) fault(ctx context.Context, doing string, err error) *fault.Error {
	own, ok := errors.AsType[*sqlite.Error](err)
	e := &fault.Error{Source: fault.Database, Cause: message.CauseTransient, What: doing + ": the database is closed"}
	if ended := ctx.Err(); ended != nil && (!ok || own.Code() == sqlite3.SQLITE_INTERRUPT) {
		e.What, e.Err = doing+": "+fault.Stopped(ended), ended
	} else if ok {
		return s.failure(doing, own.Code())
	}
	return e
}

// refused is the error for a refused row that is not to blame.
func (s *Store) refused(r *refusal) *fault.Error {
	code := r.err.Code()
	names := r.rejection()
	e := s.failure("insert into "+table(r.table), code)
	if names.Constraint != "" {
		e.What += ", " + names.Constraint
	}
	if names.Column != "" {
		e.What += ", column " + names.Column
	}
	switch {
	case code == sqlite3.SQLITE_CONSTRAINT_DATATYPE:
		e.Remedy = s.otherType()
	case code&0xff != sqlite3.SQLITE_CONSTRAINT:
	case r.blame == blameSuspect:
		e.Remedy = "no other row is new, so this may be a trigger's fault, or that of columns that the model does not fill"
	case code == sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		e.Remedy = fmt.Sprintf("the table has a NOT NULL column %s that the model does not fill; give it a default, or add it to the model", batch.Quote(names.Column))
	default:
		e.Remedy = "it is about columns that the model does not fill; check their defaults, or add them to the model"
	}
	return e
}

// schemaFault is fault for a statement about a table that has no values in it, or has not
// met them yet: SQLite's own text can only be about names.
func (s *Store) schemaFault(ctx context.Context, doing string, t *batch.Table, err error) *fault.Error {
	own, ok := errors.AsType[*sqlite.Error](err)
	if !ok || own.Code()&0xff != sqlite3.SQLITE_ERROR {
		return s.fault(ctx, doing, err)
	}
	e := s.failure(doing, own.Code())
	text := strings.TrimSuffix(strings.TrimPrefix(own.Error(), "SQL logic error: "), " ("+e.Code+")")
	e.Cause, e.What, e.Remedy = message.CauseConfiguration, doing+": "+text, "`"+s.names.Schema+"` prints the SQL that the model means"
	missing, _ := strings.CutPrefix(text, "no such table: ")
	switch {
	case missing == t.Name, missing == t.Ledger:
		e.Remedy = fmt.Sprintf("create the table: %#q, or %#q prints the SQL", s.names.Migrate, s.names.Schema)
	case strings.HasPrefix(text, "ON CONFLICT clause"):
		e.Remedy = fmt.Sprintf("the table has no usable unique key on (%s): %#q prints the one that it needs", strings.Join(t.KeyNames(), ", "), s.names.Schema)
	}
	return e
}
