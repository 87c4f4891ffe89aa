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
// to mend something, and what to do. What is not listed is the moment's.
var conditions = map[int]struct {
	operator bool
	remedy   string
}{
	sqlite3.SQLITE_BUSY:     {false, "another process is at work on it"},
	sqlite3.SQLITE_FULL:     {false, "make room on the disk"},
	sqlite3.SQLITE_ERROR:    {false, "a trigger or an expression of the table fails for every row"},
	sqlite3.SQLITE_PERM:     {true, writable},
	sqlite3.SQLITE_AUTH:     {true, writable},
	sqlite3.SQLITE_READONLY: {true, writable},
	sqlite3.SQLITE_CANTOPEN: {true, "check the path in DATABASE_URL: its folder must be there; " + writable},
	sqlite3.SQLITE_CORRUPT:  {true, "the file is damaged: restore it from a copy"},
	sqlite3.SQLITE_NOTADB:   {true, "DATABASE_URL names a file that is something else"},
	sqlite3.SQLITE_MISMATCH: {true, otherType},
}

const (
	writable  = "let this user write the file and its folder"
	otherType = "a column of the table has another type than the model says: `sluice schema` prints the SQL that it means"
)

// kinds are the constraints that SQLite tells apart.
var kinds = map[int]string{
	sqlite3.SQLITE_CONSTRAINT_CHECK: "CHECK", sqlite3.SQLITE_CONSTRAINT_NOTNULL: "NOT NULL", sqlite3.SQLITE_CONSTRAINT_UNIQUE: "UNIQUE",
	sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: "PRIMARY KEY", sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: "FOREIGN KEY",
	sqlite3.SQLITE_CONSTRAINT_TRIGGER: "TRIGGER", sqlite3.SQLITE_CONSTRAINT_DATATYPE: "DATATYPE",
}

// blame says whose fault an error of SQLite is.
type blame uint8

const (
	blameMoment   blame = iota // it passes; the whole batch is tried again
	blameOperator              // somebody has to mend something
	blameRow                   // the row can never be stored
	blameSuspect               // the row's, if other rows of the batch pass; else the moment's
)

func (s *Store) blame(err *sqlite.Error) blame {
	switch code := err.Code(); {
	case code == sqlite3.SQLITE_CONSTRAINT_NOTNULL && !s.fills(s.columns(err)):
		return blameOperator // a NOT NULL column that the model knows nothing of
	case code == sqlite3.SQLITE_CONSTRAINT_DATATYPE, conditions[code&0xff].operator:
		return blameOperator
	case code&0xff == sqlite3.SQLITE_CONSTRAINT, code&0xff == sqlite3.SQLITE_TOOBIG:
		return blameRow
	case code&0xff == sqlite3.SQLITE_ERROR:
		return blameSuspect // what a trigger or a check computes with the row's values
	default:
		return blameMoment
	}
}

// mayBeARows says whether SQLite may have refused a single row.
func mayBeARows(err *sqlite.Error) bool {
	switch err.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_ERROR:
		return true
	default:
		return false
	}
}

func (s *Store) fills(column string) bool {
	for _, c := range s.table.Columns {
		if strings.EqualFold(c.Name, column) && !c.Ledger {
			return true
		}
	}
	return false
}

// object is what a refusal says of its constraint. Of other errors SQLite's
// text is not looked at: triggers write it as they like.
func object(err *sqlite.Error) string {
	switch code := err.Code(); code {
	case sqlite3.SQLITE_CONSTRAINT_CHECK, sqlite3.SQLITE_CONSTRAINT_NOTNULL, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		_, text, _ := strings.Cut(err.Error(), " constraint failed: ")
		return strings.TrimSuffix(text, fmt.Sprintf(" (%d)", code))
	default:
		return ""
	}
}

// columns are the columns that a refusal names, those of our table without its name.
func (s *Store) columns(err *sqlite.Error) string {
	if err.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK {
		return ""
	}
	names := strings.Split(object(err), ", ")
	for i, name := range names {
		if table, column, _ := strings.Cut(name, "."); strings.EqualFold(table, s.table.Name) {
			names[i] = column
		}
	}
	return strings.Join(names, ", ")
}

// rejection is why a row can never be stored. The constraint is its name or,
// where SQLite tells none, its expression or its kind.
func (s *Store) rejection(err *sqlite.Error) message.Rejection {
	r := message.Rejection{Reason: message.ReasonRefused, Constraint: kinds[err.Code()], Column: s.columns(err)}
	if err.Code() == sqlite3.SQLITE_CONSTRAINT_CHECK {
		r.Constraint = object(err)
	}
	return r
}

// DatabaseError is why a batch, or what is left of it, was not stored. Its
// text holds names of the database's objects and never a value.
type DatabaseError struct {
	// Cause is message.CauseMoment or message.CauseOperator.
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
	e := &DatabaseError{Cause: message.CauseMoment}
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
		if b := s.blame(theirs); b == blameOperator || b == blameRow {
			e.Cause = message.CauseOperator
		}
		what, remedy := s.describe(theirs)
		e.text = doing + ": " + what
		if remedy != "" {
			e.text += "; " + remedy
		}
	}
	return e
}

// describe says of an error what never quotes a value, and what to do.
func (s *Store) describe(err *sqlite.Error) (what, remedy string) {
	code := err.Code()
	what, remedy = sqlite.ErrorCodeString[code&0xff], conditions[code&0xff].remedy
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_NOTNULL:
		column := s.columns(err)
		what += ", NOT NULL, column " + column
		remedy = fmt.Sprintf("the table has a NOT NULL column %s that the model does not fill; give it a default, or add it to the model", batch.Quote(column))
	case sqlite3.SQLITE_CONSTRAINT_DATATYPE:
		remedy = otherType
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		remedy = "a deferred foreign key does not say which row it refuses; make it immediate"
	}
	return what, remedy
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
	return &DatabaseError{Cause: message.CauseOperator, Code: theirs.Code(), text: doing + ": " + text + "; " + remedy}
}
