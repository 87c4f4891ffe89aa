package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
	"sluice/internal/message"
)

// blame says whose fault an error of the server is.
type blame uint8

const (
	// blameMoment: it passes; the whole batch is tried again.
	blameMoment blame = iota
	// blameOperator: somebody has to mend something.
	blameOperator
	// blameRow: the row can never be stored.
	blameRow
	// blameSuspect: the row's, if other rows of the batch pass; else what
	// blameAll says.
	blameSuspect
)

// blames is the table of SQLSTATEs: a code of five characters goes before its
// class of two. What is not listed is a suspect: a batch that only some rows
// make fail must not stand still for ever, and one that all rows make fail
// is the moment's, and logged.
var blames = map[string]blame{
	// The row's. (Classes 20, 21, 2F, 38, 39 and P0 are what the code of
	// triggers meets and raises.)
	"20": blameRow, "21": blameRow, "22": blameRow, "23": blameRow, "2F": blameRow, "38": blameRow, "39": blameRow, "44": blameRow, "P0": blameRow,
	"54000": blameRow, // too large for an index

	// The moment's.
	"08": blameMoment, "40": blameMoment, "53": blameMoment, "57": blameMoment, "58": blameMoment,
	"25":    blameMoment,                       // 25006: read only, after a fail-over
	"26":    blameMoment,                       // a prepared statement is gone: a pooler in between
	"42P05": blameMoment,                       // or it is there already
	"55006": blameMoment, "55P03": blameMoment, // object in use, lock not available

	// The operator's.
	"0A": blameOperator, "28": blameOperator, "3D": blameOperator, "3F": blameOperator, "42": blameOperator, "55": blameOperator,
	"57P04": blameOperator, // database dropped

	// Row-level security, or a missing grant: a grant is missing for all rows.
	"42501": blameSuspect,
}

// blameAll is whose fault a suspect is when no row of a batch passes.
func blameAll(state string) blame {
	if state == "42501" {
		return blameOperator
	}
	return blameMoment
}

// standardClasses are the classes of SQLSTATEs that Postgres has of its own;
// a code of any other class was raised by a trigger on purpose. Source: the
// Postgres manual, appendix "PostgreSQL Error Codes".
const standardClasses = " 00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX "

func (s *Store) blame(err *pgconn.PgError) blame {
	switch {
	case err.Code == "23502" && err.ColumnName != "" && !s.fills(err.ColumnName):
		return blameOperator // a NOT NULL column that the model knows nothing of
	case err.Code == "23514" && err.ConstraintName == "" && err.TableName != "":
		return blameOperator // no partition for the row; a trigger that raises 23514 names no table
	case len(err.Code) != 5:
		return blameSuspect
	}
	if b, ok := blames[err.Code]; ok {
		return b
	}
	if b, ok := blames[err.Code[:2]]; ok {
		return b
	}
	if !strings.Contains(standardClasses, " "+err.Code[:2]+" ") {
		return blameRow
	}
	return blameSuspect
}

func (s *Store) fills(column string) bool {
	for _, c := range s.table.Columns {
		if c.Name == column && !c.Ledger {
			return true
		}
	}
	return false
}

// DatabaseError is why a batch, or what is left of it, was not stored. Its text holds
// names of the database's objects and never a value.
type DatabaseError struct {
	// Cause is message.CauseMoment or message.CauseOperator.
	Cause message.Cause
	// SQLState is empty for an error that is not the server's.
	SQLState string
	text     string
	err      error // Unwrap gives it, if it is a context's
}

// Error says what happened and what to do next.
func (e *DatabaseError) Error() string { return e.text }

// Unwrap gives the context's error, so that a deadline can be told.
func (e *DatabaseError) Unwrap() error {
	if errors.Is(e.err, context.DeadlineExceeded) || errors.Is(e.err, context.Canceled) {
		return e.err
	}
	return nil
}

// Fault is Cause, for those who do not import this package.
func (e *DatabaseError) Fault() message.Cause { return e.Cause }

// fault wraps an error that ended what we were doing. Whether our time is over
// is asked of the context itself: the time-out of one attempt to connect is a
// DeadlineExceeded too.
func (s *Store) fault(ctx context.Context, doing string, err error) *DatabaseError {
	if server := asServer(err); server != nil {
		return s.refusal(doing, server)
	}
	e := &DatabaseError{Cause: message.CauseMoment, err: over(ctx)}
	var what, remedy string
	var operator bool
	if connect, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		what, remedy, operator = unreachable(connect)
	} else {
		what = broken(err, e.err)
	}
	if operator {
		e.Cause = message.CauseOperator
	}
	e.say(doing, what, remedy)
	return e
}

// over is why the time of a context is over. The network keeps its deadline by
// a clock of its own, and can be the first to say so.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// refusal wraps an error of the server.
func (s *Store) refusal(doing string, server *pgconn.PgError) *DatabaseError {
	e := &DatabaseError{Cause: message.CauseMoment, SQLState: server.Code}
	switch b := s.blame(server); {
	case b == blameOperator, b == blameSuspect && blameAll(server.Code) == blameOperator:
		e.Cause = message.CauseOperator
	}
	e.say(doing, describe(server), s.remedy(server))
	return e
}

func (e *DatabaseError) say(doing, what, remedy string) {
	e.text = doing + ": " + what
	if remedy != "" {
		e.text += "; " + remedy
	}
}

// describe shows of a server's error what never quotes a value.
func describe(err *pgconn.PgError) string {
	parts := []string{"SQLSTATE " + err.Code}
	if name := conditions[err.Code]; name != "" {
		parts[0] += " (" + name + ")"
	}
	if raised(err) {
		return parts[0]
	}
	for _, part := range [][2]string{{"constraint", err.ConstraintName}, {"column", err.ColumnName}, {"table", err.TableName}} {
		if part[1] != "" {
			parts = append(parts, part[0]+" "+part[1])
		}
	}
	return strings.Join(parts, ", ")
}

// raised says whether the error was raised by PL/pgSQL, where CONSTRAINT,
// COLUMN and TABLE are whatever the code says, values of the row included.
func raised(err *pgconn.PgError) bool { return err.Routine == "exec_stmt_raise" }

// conditions names the likeliest codes as the Postgres manual does.
var conditions = map[string]string{
	"0A000": "feature_not_supported", "23502": "not_null_violation", "23514": "check_violation", "25006": "read_only_sql_transaction",
	"28000": "invalid_authorization_specification", "28P01": "invalid_password", "3D000": "invalid_catalog_name", "3F000": "invalid_schema_name",
	"40001": "serialization_failure", "40P01": "deadlock_detected", "42501": "insufficient_privilege", "42703": "undefined_column", "42804": "datatype_mismatch",
	"42883": "undefined_function", "42P01": "undefined_table", "42P10": "invalid_column_reference", "428C9": "generated_always", "53100": "disk_full",
	"53200": "out_of_memory", "53300": "too_many_connections", "55000": "object_not_in_prerequisite_state", "55P03": "lock_not_available",
	"57014": "query_canceled", "57P01": "admin_shutdown", "57P02": "crash_shutdown", "57P03": "cannot_connect_now",
}

// pooled is what to do when prepared statements are not where they should be.
const pooled = "a pooler (PgBouncer, RDS Proxy) may be handing out another session for each transaction: add default_query_exec_mode=exec to DATABASE_URL"

// remedy says what to do about an error of the server.
func (s *Store) remedy(err *pgconn.PgError) string {
	switch err.Code {
	case "42P01", "3F000":
		return fmt.Sprintf("create the table %s: `sluice migrate`, or `sluice schema` prints the SQL", table(s.table))
	case "42703":
		return "the table lacks a column of the model: `sluice schema` prints the SQL that it means"
	case "42501":
		schema := ""
		if s.table.Schema != "" {
			schema = "USAGE on the schema " + batch.Quote(s.table.Schema) + ", "
		}
		return fmt.Sprintf("grant the role %sINSERT on %s and SELECT on the columns of its key", schema, table(s.table))
	case "42P10", "55000":
		return fmt.Sprintf("the table has no usable unique key on (%s): `sluice schema` prints the one that it needs", strings.Join(keyNames(s.table), ", "))
	case "42804", "428C9":
		return "a column of the table has another type than the model says: `sluice schema` prints the SQL that it means"
	case "23502":
		return fmt.Sprintf("the table has a NOT NULL column %s that the model does not fill; give it a default, or add it to the model", batch.Quote(err.ColumnName))
	case "23514":
		return fmt.Sprintf("no partition of %s takes the row; create it", table(s.table))
	case "28P01", "28000":
		return "check the user and the password in DATABASE_URL"
	case "3D000":
		return "check the name of the database at the end of DATABASE_URL"
	case "25006":
		return "this server is a replica or read only; it passes when the fail-over is done"
	case "55P03":
		return "somebody holds a lock on the table for longer than the role's lock_timeout: pg_locks says who"
	case "57014":
		return "the role's statement_timeout or an administrator ended it; if it goes on, look for locks in pg_locks"
	case "26000", "42P05":
		return pooled
	case "08P01":
		if strings.Contains(err.Message, "prepared statement") {
			return pooled
		}
		return ""
	case "53300":
		return "lower the number of concurrent invocations, or raise max_connections"
	default:
		return ""
	}
}
