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

// DatabaseError is why a batch, or what is left of it, was not stored. Its text holds
// names of the database's objects and never a value.
type DatabaseError struct {
	// Cause is message.CauseTransient or message.CauseConfiguration.
	Cause message.Cause
	// SQLState is empty for an error that is not the server's.
	SQLState string
	text     string
	err      error // Unwrap gives it, if it is a context's
	settled  bool  // it is about rows of a batch whose others are committed
	some     bool  // a part of the rows may meet it: it arose in a trigger, or for what they refer to
}

// settled reports whether an error is about some rows, and the verdicts hold.
func settled(err error) bool {
	ours, ok := errors.AsType[*DatabaseError](err)
	return ok && ours.settled
}

// settle marks an error as one about some rows.
func settle(err *DatabaseError) error {
	err.settled = true
	return err
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
		return s.refusal(doing, server, s.fresh().catalog)
	}
	e := &DatabaseError{Cause: message.CauseTransient, err: over(ctx)}
	e.say(doing, broken(err, e.err), "")
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

// refusal wraps an error of the server that ended what we were doing, or that
// a row met which is not to blame for it.
func (s *Store) refusal(doing string, server *pgconn.PgError, c *catalog) *DatabaseError {
	e := &DatabaseError{Cause: message.CauseTransient, SQLState: server.Code}
	j := s.judge(server, c)
	e.some = j.inside || c == nil && mayBeInside(server) || j.blame == blameTransient && ofSome(server)
	if j.blame == blameConfiguration || j.blame == blameMessage || j.blame == blameOpen && j.alone == blameConfiguration {
		e.Cause = message.CauseConfiguration
	}
	e.say(doing, s.shown(server, c), s.remedy(server, j, c))
	return e
}

func (e *DatabaseError) say(doing, what, remedy string) {
	e.text = doing + ": " + what
	if remedy != "" {
		e.text += "; " + remedy
	}
}

// describe shows the code of a server's error. Store.shown adds names.
func describe(err *pgconn.PgError) string {
	text := "SQLSTATE " + err.Code
	if name := conditions[err.Code]; name != "" {
		text += " (" + name + ")"
	}
	if err.Code == "08P01" && fatal(err) {
		return describeSession(err) // a pooler's, which knows nothing of rows
	}
	return text
}

// conditions names the likeliest codes as the Postgres manual does.
var conditions = map[string]string{
	"08P01": "protocol_violation", "0A000": "feature_not_supported", "22023": "invalid_parameter_value", "23502": "not_null_violation", "23514": "check_violation", "25006": "read_only_sql_transaction",
	"28000": "invalid_authorization_specification", "28P01": "invalid_password", "3D000": "invalid_catalog_name", "3F000": "invalid_schema_name",
	"40001": "serialization_failure", "40P01": "deadlock_detected", "42501": "insufficient_privilege", "42703": "undefined_column", "42704": "undefined_object", "42804": "datatype_mismatch",
	"42883": "undefined_function", "42P01": "undefined_table", "42P10": "invalid_column_reference", "428C9": "generated_always", "53100": "disk_full",
	"53200": "out_of_memory", "53300": "too_many_connections", "55000": "object_not_in_prerequisite_state", "55P03": "lock_not_available",
	"57014": "query_canceled", "57P01": "admin_shutdown", "57P02": "crash_shutdown", "57P03": "cannot_connect_now",
}

// pooled is what to do when prepared statements are not where they should be.
const pooled = "a pooler (PgBouncer, RDS Proxy) may be handing out another session for each transaction: add default_query_exec_mode=exec to DATABASE_URL"

// secured names what row-level security is about. The server's error does not.
func (s *Store) secured(c *catalog) string {
	switch {
	case s.table.Ledger == "" || c != nil && !c.Policy.Ledger:
		return table(s.table)
	case c == nil || c.Policy.Table || c.View:
		return fmt.Sprintf("%s or of its ledger %s", table(s.table), ledger(s.table))
	default:
		return "the ledger " + ledger(s.table)
	}
}

// remedy says what to do about an error of the server.
func (s *Store) remedy(err *pgconn.PgError, j judgement, c *catalog) string {
	switch {
	case j.inside && j.function != "":
		return fmt.Sprintf("it arose in the function %s, which a trigger, default, constraint or policy of %s calls: fix that", batch.Quote(j.function), table(s.table))
	case j.inside:
		return fmt.Sprintf("it arose in a trigger or function of %s, not in the table: fix that", table(s.table))
	case j.policy:
		return fmt.Sprintf("row-level security of %s refuses every row: check the policies for INSERT, and the settings that they read", s.secured(c))
	}
	switch err.Routine {
	case "check_enable_rls":
		return fmt.Sprintf("row-level security of %s is in force, and the role has row_security = off, with which nothing may be filtered: ALTER ROLE … SET row_security = on", s.secured(c))
	case "nextval_internal":
		sequences := "its sequences"
		if c != nil && len(c.Sequences) > 0 {
			sequences = strings.Join(c.Sequences, ", ")
		}
		if err.Code == "42501" {
			return fmt.Sprintf("a default of %s takes numbers from a sequence: grant the role USAGE on %s", table(s.table), sequences)
		}
		return fmt.Sprintf("a sequence of %s is used up, of %s: ALTER SEQUENCE … MAXVALUE, and a wider column if it needs one", table(s.table), sequences)
	case "GetNewTransactionId", "GetNewMultiXactId":
		return "the database is out of transaction ids: VACUUM it, and look for old transactions, prepared transactions and replication slots"
	case "PreCommit_Notify", "asyncQueueAddEntries":
		return "the queue of NOTIFY is full: end the session that listens and does not read, pg_notification_queue_usage() shows how full it is"
	}
	if runtime[err.Code] && err.Position == 0 {
		return fmt.Sprintf("an expression of %s fails: check its defaults, generated columns, constraints and policies, and the settings that they read", table(s.table))
	}
	switch err.Code {
	case "42P01", "3F000":
		create := fmt.Sprintf("create the table %s: `sluice migrate`, or `sluice schema` prints the SQL", table(s.table))
		if s.table.Schema != "" { // the server says no more than that there is no such table
			create += "; " + createSchema(s.table)
		}
		return create
	case "42703":
		return "the table lacks a column of the model: `sluice schema` prints the SQL that it means"
	case "42501":
		schema := ""
		if s.table.Schema != "" {
			schema = "USAGE on the schema " + batch.Quote(s.table.Schema) + ", "
		}
		// The server's error has no field that says which it is.
		tables := "INSERT on " + table(s.table)
		if s.table.Ledger != "" {
			tables += ", INSERT on " + ledger(s.table)
		}
		return fmt.Sprintf("the role lacks a grant: %s%s and SELECT on the columns of its key, or EXECUTE on a function or USAGE on a sequence or schema that triggers, defaults and constraints use", schema, tables)
	case "42P10", "55000":
		return fmt.Sprintf("the table has no usable unique key on (%s): `sluice schema` prints the one that it needs", strings.Join(keyNames(s.table), ", "))
	case "0A000":
		return fmt.Sprintf("INSERT … ON CONFLICT does not work where %[1]s has a rule for INSERT (use a trigger instead), where a partition takes no such INSERT, and where a trigger moves a row to another partition", table(s.table))
	case "42804", "428C9":
		return "a column of the table has another type than the model says: `sluice schema` prints the SQL that it means"
	case "23502":
		switch own := s.names(err, c); {
		case own.column != "":
			return fmt.Sprintf("the table has a NOT NULL column %s that the model does not fill; give it a default, or add it to the model", batch.Quote(own.column))
		case own.domain != "":
			return fmt.Sprintf("the domain %s does not allow NULL, and the model does not fill a column of %s that has it; give it a default, or add it to the model", batch.Quote(own.domain), table(s.table))
		}
	case "23514":
		if err.ConstraintName == "" && err.DataTypeName == "" {
			of := table(s.table)
			if c != nil && c.inLedger(err) {
				of = "the ledger " + ledger(s.table)
			}
			return fmt.Sprintf("no partition of %s takes the row; create it", of)
		}
	case "25006":
		return "this server is a replica or read only, which passes when the fail-over is done, or default_transaction_read_only is on for the role, the database or in DATABASE_URL"
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
		return s.sessionRemedy(err, &s.target.parsed.Config)
	case "53300":
		return "lower the number of concurrent invocations, or raise max_connections"
	}
	switch err.Code[:min(2, len(err.Code))] {
	case "22", "23", "54":
		return fmt.Sprintf("it is about columns of %s that the model does not fill: check their defaults, constraints and sequences", table(s.table))
	}
	return ""
}
