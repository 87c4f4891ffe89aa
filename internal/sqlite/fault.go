package sqlite

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"sluice/internal/batch"
	"sluice/internal/message"
)

// conditions are primary result codes that are no row's: whether somebody has
// to fix something, and what to do. What is not listed is transient.
var conditions = map[int]struct {
	operator bool
	remedy   string
}{
	sqlite3.SQLITE_BUSY:       {false, "another process is at work on it"},
	sqlite3.SQLITE_FULL:       {false, "make room on the disk"},
	sqlite3.SQLITE_ERROR:      {false, "a trigger or an expression of the table fails for every row"},
	sqlite3.SQLITE_PERM:       {true, writable},
	sqlite3.SQLITE_AUTH:       {true, writable},
	sqlite3.SQLITE_READONLY:   {true, writable},
	sqlite3.SQLITE_CANTOPEN:   {true, "check the path in DATABASE_URL: its folder must be there; " + writable},
	sqlite3.SQLITE_CORRUPT:    {true, "the file is damaged: restore it from a copy"},
	sqlite3.SQLITE_NOTADB:     {true, "DATABASE_URL names a file that is something else"},
	sqlite3.SQLITE_MISMATCH:   {true, otherType},
	sqlite3.SQLITE_TOOBIG:     {true, "a trigger or an expression makes a value that is too large"},
	sqlite3.SQLITE_CONSTRAINT: {true, "a deferred foreign key does not say which row it refuses; make it immediate"},
}

const (
	writable  = "let this user write the file and its folder"
	otherType = "a column of the table has another type than the model says: `sluice schema` prints the SQL that it means"
)

// kinds are the constraints that SQLite tells apart.
var kinds = map[int]string{
	sqlite3.SQLITE_CONSTRAINT_CHECK: "CHECK", sqlite3.SQLITE_CONSTRAINT_NOTNULL: "NOT NULL", sqlite3.SQLITE_CONSTRAINT_UNIQUE: "UNIQUE",
	sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "PRIMARY KEY", sqlite3.SQLITE_CONSTRAINT_ROWID: "PRIMARY KEY", sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "FOREIGN KEY",
	sqlite3.SQLITE_CONSTRAINT_TRIGGER: "TRIGGER", sqlite3.SQLITE_CONSTRAINT_DATATYPE: "DATATYPE",
}

// unique reports whether a unique key refuses a row.
func unique(err *sqlite.Error) bool {
	switch err.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	default:
		return false
	}
}

// object is what a refusal says of its constraint. Of other errors SQLite's
// text is not looked at: triggers write it as they like.
func object(err *sqlite.Error) string {
	code := err.Code()
	if code != sqlite3.SQLITE_CONSTRAINT_CHECK && code != sqlite3.SQLITE_CONSTRAINT_NOTNULL && !unique(err) {
		return ""
	}
	_, text, _ := strings.Cut(err.Error(), " constraint failed: ")
	return strings.TrimSuffix(text, fmt.Sprintf(" (%d)", code))
}

// rejection is why a row can never be stored. The constraint is its name or,
// where SQLite tells none, its expression or its kind. Columns of our table
// are without its name.
func (s *Store) rejection(r *refusal) message.Rejection {
	rejection := message.Rejection{Reason: message.ReasonRefused, Constraint: kinds[r.err.Code()]}
	switch {
	case r.err.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK:
		rejection.Constraint = object(r.err)
	case len(r.keys) > 0:
		rejection.Column = strings.Join(r.keys[0], ", ")
	default:
		names := strings.Split(object(r.err), ", ")
		for i, name := range names {
			if table, column, _ := strings.Cut(name, "."); strings.EqualFold(table, s.table.Name) {
				names[i] = column
			}
		}
		rejection.Column = strings.Join(names, ", ")
	}
	return rejection
}

// DatabaseError is why a batch, or what is left of it, was not stored. Its
// text holds names of the database's objects and never a value.
type DatabaseError struct {
	// Cause is message.CauseTransient or message.CauseConfiguration.
	Cause message.Cause
	// Code is SQLite's extended result code, 0 for an error that is not its own.
	Code int
	text string
	err  error
}

// Error says what happened and what to do next.
func (e *DatabaseError) Error() string { return e.text }

// Unwrap gives the context's error, so that a deadline can be told.
func (e *DatabaseError) Unwrap() error { return e.err }

// Fault is Cause, for those who do not import this package.
func (e *DatabaseError) Fault() message.Cause { return e.Cause }

// fault wraps an error that ended a batch.
func (s *Store) fault(ctx context.Context, doing string, err error) *DatabaseError {
	e := &DatabaseError{Cause: message.CauseTransient}
	theirs, ok := errors.AsType[*sqlite.Error](err)
	switch {
	case ctx.Err() != nil && (!ok || theirs.Code() == sqlite3.SQLITE_INTERRUPT):
		e.err, e.text = ctx.Err(), doing+": stopped"
		if errors.Is(e.err, context.DeadlineExceeded) {
			e.text = doing + ": no time left"
		}
	case !ok:
		e.text = doing + ": the database is closed"
	default:
		e.Code = theirs.Code()
		condition := conditions[theirs.Code()&0xff]
		if condition.operator {
			e.Cause = message.CauseConfiguration
		}
		e.text = doing + ": " + sqlite.ErrorCodeString[e.Code&0xff]
		if condition.remedy != "" {
			e.text += "; " + condition.remedy
		}
	}
	return e
}

// refused is the error for a refused row that is not to blame.
func (s *Store) refused(r *refusal) *DatabaseError {
	code := r.err.Code()
	names, remedy := s.rejection(r), conditions[code&0xff].remedy
	e := &DatabaseError{Cause: message.CauseTransient, Code: code, text: "insert into " + table(s.table) + ": " + sqlite.ErrorCodeString[code&0xff]}
	if conditions[code&0xff].operator {
		e.Cause = message.CauseConfiguration
	}
	if names.Constraint != "" {
		e.text += ", " + names.Constraint
	}
	if names.Column != "" {
		e.text += ", column " + names.Column
	}
	switch {
	case code == sqlite3.SQLITE_CONSTRAINT_DATATYPE:
		remedy = otherType
	case code&0xff != sqlite3.SQLITE_CONSTRAINT:
	case r.blame == blameSuspect:
		remedy = "no other row is new, so this may be a trigger's fault, or that of columns that the model does not fill"
	case code == sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		remedy = fmt.Sprintf("the table has a NOT NULL column %s that the model does not fill; give it a default, or add it to the model", batch.Quote(names.Column))
	default:
		remedy = "it is about columns that the model does not fill; check their defaults, or add them to the model"
	}
	e.text += "; " + remedy
	return e
}

// schemaFault is fault for a statement that has no values in it, or has not
// met them yet: SQLite's own text can only be about names.
func (s *Store) schemaFault(ctx context.Context, doing string, err error) *DatabaseError {
	theirs, ok := errors.AsType[*sqlite.Error](err)
	if !ok || theirs.Code()&0xff != sqlite3.SQLITE_ERROR {
		return s.fault(ctx, doing, err)
	}
	text := strings.TrimSuffix(strings.TrimPrefix(theirs.Error(), "SQL logic error: "), fmt.Sprintf(" (%d)", theirs.Code()))
	remedy := "`sluice schema` prints the SQL that the model means"
	missing, _ := strings.CutPrefix(text, "no such table: ")
	switch {
	case missing == s.table.Name, missing == s.table.Ledger:
		remedy = "create the table: `sluice migrate`, or `sluice schema` prints the SQL"
	case strings.HasPrefix(text, "ON CONFLICT clause"):
		remedy = fmt.Sprintf("the table has no usable unique key on (%s): `sluice schema` prints the one that it needs", strings.Join(keyNames(s.table), ", "))
	}
	return &DatabaseError{Cause: message.CauseConfiguration, Code: theirs.Code(), text: doing + ": " + text + "; " + remedy}
}
