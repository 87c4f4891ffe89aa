package postgres

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/message"
)

// Everything that this package knows of SQLSTATEs and of the server's routines is here: which codes
// pass by themselves, which somebody has to fix, which a row can be to blame for. judge.go weighs
// them with the catalog, and remedy.go says what to do about them.
//
// Source: the Postgres manual, appendix "PostgreSQL Error Codes". Routines are names in the
// server's source, the same in every language of its messages.

// codes is the table of SQLSTATEs for errors that are no single row's: a code of five characters
// goes before its class of two. What is not listed is open: a batch that only some rows make fail
// must not stand still forever.
var codes = map[string]message.Cause{
	"08":    message.CauseTransient, // connection
	"25":    message.CauseTransient, // 25006: read only, after a fail-over
	"26":    message.CauseTransient, // a prepared statement is missing: a pooler
	"40":    message.CauseTransient, // rollback
	"42P05": message.CauseTransient, // a prepared statement exists already: a pooler
	"53":    message.CauseTransient, // resources
	"55006": message.CauseTransient, // object in use
	"55P03": message.CauseTransient, // lock not available
	"57":    message.CauseTransient, // operator intervention
	"58":    message.CauseTransient, // system error

	"0A":    message.CauseConfiguration,
	"21":    message.CauseConfiguration, // rows together, or a subquery
	"28":    message.CauseConfiguration,
	"3D":    message.CauseConfiguration,
	"3F":    message.CauseConfiguration,
	"42":    message.CauseConfiguration,
	"55":    message.CauseConfiguration,
	"57P04": message.CauseConfiguration, // database dropped
}

// byCode looks a code up in the table: first itself, then its class.
func byCode(code string) message.Cause { return cmp.Or(codes[code], codes[classOf(code)]) }

// classOf returns the class of a code: its first two characters.
func classOf(code string) string { return code[:min(2, len(code))] }

// standardClasses are the classes of SQLSTATEs that Postgres has of its own; a code of any other
// class was raised on purpose.
const standardClasses = " 00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX "

// onPurpose reports whether a code is one that functions raise to refuse a row.
func onPurpose(code string) bool {
	if len(code) != 5 {
		return false
	}
	class := classOf(code)
	return class == "P0" || class == "22" || class == "23" || class == "44" || !strings.Contains(standardClasses, " "+class+" ")
}

// raised reports whether a function raised the error by a statement of its own. Its fields are
// whatever the function sets then, values of the row included.
func raised(err *pgconn.PgError) bool {
	return err.Routine == "exec_stmt_raise" || err.Routine == "exec_stmt_assert" || strings.HasPrefix(err.Routine, "PLy_")
}

// mayBeInside reports whether an error can have arisen in a trigger or a function, before the
// catalog says more. A context alone proves nothing: deadlocks, foreign keys and casts have one
// too.
func mayBeInside(err *pgconn.PgError) bool { return raised(err) || err.Where != "" }

// policyRoutine is where the server checks policies of row-level security, and views.
const policyRoutine = "ExecWithCheckOptions"

// ofPolicy reports whether row-level security refused a row.
func ofPolicy(err *pgconn.PgError) bool {
	return err.Code == "42501" && err.Routine == policyRoutine
}

// ofNoRow reports whether no row is to blame for an error: it is of a sequence, of transaction ids
// or of NOTIFY.
func ofNoRow(err *pgconn.PgError) bool {
	switch err.Routine {
	case "nextval_internal", "currval_oid", "lastval", "do_setval", "GetNewTransactionId", "GetNewMultiXactId",
		"Async_Notify", "PreCommit_Notify", "asyncQueueAddEntries":
		return true
	}
	return false
}

// ofConstraint reports whether an error names a constraint, a column or a domain that a row
// violates.
func ofConstraint(err *pgconn.PgError) bool { return classOf(err.Code) == "23" }

// ofPartitions reports whether no partition takes a row. Its table is named, and no constraint.
func ofPartitions(err *pgconn.PgError) bool {
	return err.Code == "23514" && err.ConstraintName == "" && err.DataTypeName == ""
}

// ofValue reports whether an error is about a value that an expression or a type does not take.
func ofValue(err *pgconn.PgError) bool {
	// pg_unicode_to_server converts the \u escapes of jsonb. Up to PostgreSQL 16 a database without
	// an encoding refuses them with 0A000.
	return classOf(err.Code) == "22" || err.Code == tooLarge || err.Routine == "pg_unicode_to_server"
}

// unrepresentable reports whether an error is about a text that an encoding cannot represent.
func unrepresentable(err *pgconn.PgError) bool { return err.Code == "22021" || err.Code == "22P05" }

// atBind is the context of an error that a parameter meets by itself: it has the parameter's number
// and no name, which any language puts into quotes.
var atBind = regexp.MustCompile(`^[^\n=:"'«»„“(]*[0-9][^\n=:"'«»„“(]*$`)

// atInput is the outermost entry of a context, as bare leaves it, if the input function of a
// parameter's type did not take it. It has the parameter's number.
var atInput = regexp.MustCompile(`(?:^|\n)[^\n0-9=:"'«»„“(]*([0-9]+)[^\n=:"'«»„“(]* = ''[^\n"']*$`)

// parameterOf returns the number of the parameter that an input function did not take, 0 for none.
func parameterOf(err *pgconn.PgError) int {
	m := atInput.FindStringSubmatch(err.Where)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// droppedType reports whether the type of a parameter is not there any more, while a prepared
// statement has it. The error arises before the input function is called.
func droppedType(err *pgconn.PgError) bool {
	return err.Code == "XX000" && atBind.MatchString(err.Where)
}

// ofText reports whether an input function has such an error for a text that it does not take, and
// not for all texts. Those of types for search have codes of syntax, and those of extensions may
// have none of their own (tried: hstore).
func ofText(err *pgconn.PgError) bool {
	return ofValue(err) || ofConstraint(err) || atRuntime(err) || classOf(err.Code) == "54" || classOf(err.Code) == "XX" && !damaged(err)
}

// atRuntime reports whether a function or a cast, to a type such as tsquery or regclass, met a code
// of the configuration. They have such codes for values too. An error in our own statement has a
// position.
func atRuntime(err *pgconn.PgError) bool {
	switch err.Code {
	case "42601", "42602", "42703", "42704", "42883", "42P01":
		return err.Position == 0
	}
	return false
}

// damaged reports whether a file is lost, or pages are damaged.
func damaged(err *pgconn.PgError) bool {
	return classOf(err.Code) == "F0" || err.Code == "XX001" || err.Code == "XX002"
}

// fromFunction reports whether only functions and procedures have such a code.
func fromFunction(err *pgconn.PgError) bool {
	switch classOf(err.Code) {
	case "20", "2F", "38", "39":
		return true
	}
	return onPurpose(err.Code)
}

// configurationForSome reports whether only some rows may meet a code of the configuration: those
// with a foreign key to a table that the owner may not read, or those of a partition that takes no
// rows. An error about rows together, or about a subquery, can be of one row too.
func configurationForSome(err *pgconn.PgError) bool {
	return err.Position == 0 && (err.Code == "0A000" || err.Code == "42501" || err.Code == "55000") || classOf(err.Code) == "21"
}

// transientForSome reports whether a part of the rows can meet an error that passes: a lock on what
// they refer to, a damaged page. All rows of a batch meet the codes that it lists.
func transientForSome(err *pgconn.PgError) bool {
	switch err.Code {
	case "42P05", "53300", "57P01", "57P02", "57P03", "57P05":
		return false
	}
	class := classOf(err.Code)
	return len(err.Code) == 5 && class != "08" && class != "25" && class != "26"
}

const (
	notNull    = "23502" // a column or a domain does not allow NULL
	foreignKey = "23503" // a row that another refers to is missing
	uniqueKey  = "23505" // a key is in the table already
	tooLarge   = "54000" // a value, for an index
	noGrant    = "42501" // the role may not, or a policy says no
	canceled   = "57014" // also the answer to our own request
	// outdated can be "cached plan must not change result type": a table was altered under a
	// prepared statement. On a new connection it passes.
	outdated = "0A000"
	// discardedState is invalid_argument_for_width_bucket_function: buckets that are not at least
	// one. Our statements fail with it when the database has discarded a row.
	discardedState = "2201G"
	// tableExists is the notice of CREATE TABLE IF NOT EXISTS where there is nothing to create.
	tableExists = "42P07"
)

// endsOthers reports whether an error makes the other connections doubtful: the network's, which
// has no code, and those of a server that is down or has become a replica.
func endsOthers(code string) bool {
	return code == "" || code == "25006" || strings.HasPrefix(code, "57P")
}

// endsSession reports whether an error ended the session. Poolers set only the localized severity
// field.
func endsSession(err *pgconn.PgError) bool {
	return err.SeverityUnlocalized == "FATAL" || err.Severity == "FATAL"
}

// ofPooler reports whether an error can be a pooler's, which knows nothing of rows: its text quotes
// no values. PgBouncer has 08P01 for nearly everything.
func ofPooler(err *pgconn.PgError) bool { return err.Code == "08P01" }

// poolerRefusals are in texts of poolers that do not pass by themselves. Their codes do not tell:
// PgBouncer has 08P01, others XX000. Source: src/client.c and src/objects.c of PgBouncer 1.16 to
// 1.25.
var poolerRefusals = []string{
	"no such database", "no such user", "bad user", "does not exist", "not found", "not specified", "is disabled", "does not allow connections",
	"authentication failed", "auth failed", "no credentials", "wrong password", "login rejected", "login failed", "no authentication",
	"unsupported startup parameter", "unsupported options startup parameter", "unsupported protocol", "unsupported frontend", "config error", "permission denied",
	"ssl required", "requires tls", "certificate", "no username", "username too long", "password too long", "empty password",
}

// poolerRefuses reports whether the text of a pooler is one that does not pass by itself.
func poolerRefuses(err *pgconn.PgError) bool {
	text := strings.ToLower(err.Message)
	return !strings.Contains(text, "prepared statement") && slices.ContainsFunc(poolerRefusals, func(part string) bool { return strings.Contains(text, part) })
}

// judgeSession returns why there is no session. The text counts where the code
// tells little. What is not in the table does not pass by itself: no row is to blame, and nothing
// is stored before somebody knows.
func judgeSession(err *pgconn.PgError) message.Cause {
	internal := classOf(err.Code) == "XX"
	switch {
	case (ofPooler(err) || internal) && poolerRefuses(err):
		return message.CauseConfiguration
	case internal:
		return message.CauseTransient
	case err.Code == "58P01", // a library that the server loads for each session is missing
		err.Code == "42P05", classOf(err.Code) == "26": // no statement is prepared yet
		return message.CauseConfiguration
	default:
		return cmp.Or(byCode(err.Code), message.CauseConfiguration)
	}
}

// loginRefused reports whether a server refused user or password, so that others may help. Postgres
// has 28000 for LDAP, PAM and RADIUS.
func loginRefused(err *pgconn.PgError) bool {
	return err.Code == "28P01" || err.Code == "28000" || ofPooler(err) && strings.Contains(strings.ToLower(err.Message), "authentication failed")
}

// ofParameter reports whether an error can be about a parameter of the connection.
func ofParameter(err *pgconn.PgError) bool {
	switch err.Code {
	case "22023", "42501", "42601", "42602", "42704", "55P02":
		return true
	}
	return ofPooler(err)
}
