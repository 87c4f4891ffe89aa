package postgres

import (
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
)

// blame says whose fault an error of the server is.
type blame uint8

const (
	// blameTransient: it passes by itself.
	blameTransient blame = iota
	// blameConfiguration: somebody has to fix something.
	blameConfiguration
	// blameMessage: what the message carries can never be stored.
	blameMessage
	// blameOpen: the message's if another row passes in the same isolation,
	// and else what judgement.alone says.
	blameOpen
)

// judgement is whose fault an error is, by the evidence in its fields and in
// the catalog.
type judgement struct {
	blame blame
	// alone is whose fault it is when no row passes, if blame is blameOpen.
	alone blame
	// single: the error is about the row that met it. Other rows may pass.
	single bool
	// inside: it arose in a trigger or a function of the table. function is
	// its name, if the context tells.
	inside   bool
	function string
	// policy: row-level security refused the row. It can have been the policy
	// for SELECT, which ON CONFLICT needs.
	policy bool
	// computed: the row's values are to blame only if what the database adds
	// to every row can be evaluated by itself.
	computed bool
	// mixed: that proves nothing, as expressions use more than the model fills.
	mixed bool
}

var (
	fromMessage   = judgement{blame: blameMessage, single: true}
	misconfigured = judgement{blame: blameConfiguration, single: true}
	open          = judgement{blame: blameOpen, alone: blameConfiguration, single: true}
)

// codes is the table of SQLSTATEs for errors that are no single row's: a code
// of five characters goes before its class of two. What is not listed is open:
// a batch that only some rows make fail must not stand still for ever.
var codes = map[string]blame{
	"08": blameTransient, "40": blameTransient, "53": blameTransient, "57": blameTransient, "58": blameTransient,
	"25":    blameTransient,                          // 25006: read only, after a fail-over
	"26":    blameTransient,                          // a prepared statement is gone: a pooler in between
	"42P05": blameTransient,                          // or it is there already
	"55006": blameTransient, "55P03": blameTransient, // object in use, lock not available

	"0A": blameConfiguration, "28": blameConfiguration, "3D": blameConfiguration, "3F": blameConfiguration, "42": blameConfiguration, "55": blameConfiguration,
	"57P04": blameConfiguration, // database dropped
}

// byCode looks a code up in the table.
func byCode(state string) (b blame, ok bool) {
	if b, ok = codes[state]; ok || len(state) != 5 {
		return b, ok
	}
	b, ok = codes[state[:2]]
	return b, ok
}

// standardClasses are the classes of SQLSTATEs that Postgres has of its own;
// a code of any other class was raised on purpose. Source: the Postgres
// manual, appendix "PostgreSQL Error Codes".
const standardClasses = " 00 01 02 03 08 09 0A 0B 0F 0L 0P 0Z 10 20 21 22 23 24 25 26 27 28 2B 2D 2F 34 38 39 3B 3D 3F 40 42 44 53 54 55 57 58 72 F0 HV P0 XX "

// onPurpose reports whether a code is one that functions raise to refuse a row.
func onPurpose(state string) bool {
	if len(state) != 5 {
		return false
	}
	class := state[:2]
	return class == "P0" || class == "22" || class == "23" || class == "44" || !strings.Contains(standardClasses, " "+class+" ")
}

// Routines of the server that say more than a code. They are names in its
// source, the same in every language of its messages.
const policyRoutine = "ExecWithCheckOptions"

// unicodeRoutine converts the \u escapes of jsonb. Up to PostgreSQL 16 a database
// without an encoding refuses them with 0A000.
const unicodeRoutine = "pg_unicode_to_server"

// runtime are codes of the configuration that functions and casts have for
// values too. An error in our own statement has a position.
var runtime = map[string]bool{"42601": true, "42602": true, "42703": true, "42704": true, "42883": true, "42P01": true}

// partial are codes of the configuration that only some rows may meet: those
// with a foreign key to a table that the owner may not read, or those of a
// partition that takes no rows.
var partial = map[string]bool{"0A000": true, "42501": true, "55000": true}

// nobodys are routines whose errors no row is to blame for: sequences, transaction ids, NOTIFY.
var nobodys = map[string]bool{
	"nextval_internal": true, "currval_oid": true, "lastval": true, "do_setval": true,
	"GetNewTransactionId": true, "GetNewMultiXactId": true,
	"Async_Notify": true, "PreCommit_Notify": true, "asyncQueueAddEntries": true,
}

// atBind is the context of an error that a parameter meets by itself: it has
// the parameter's number and no name, which any language puts into quotes.
var atBind = regexp.MustCompile(`^[^\n=:"'«»„“(]*[0-9][^\n=:"'«»„“(]*$`)

// unrepresentable reports whether an error is about a text that an encoding cannot represent.
func unrepresentable(err *pgconn.PgError) bool { return err.Code == "22021" || err.Code == "22P05" }

// raised reports whether a function raised the error by a statement of its
// own. Its fields are whatever the code says then, values of the row included.
func raised(err *pgconn.PgError) bool {
	return err.Routine == "exec_stmt_raise" || err.Routine == "exec_stmt_assert" || strings.HasPrefix(err.Routine, "PLy_")
}

// mayBeInside reports whether an error can have arisen in a trigger or a
// function, before the catalog says more. A context alone proves nothing:
// deadlocks, foreign keys and casts have one too.
func mayBeInside(err *pgconn.PgError) bool { return raised(err) || err.Where != "" }

// judge says whose fault an error is. The catalog is nil when it is not known
// yet: then a constraint proves nothing.
func (s *Store) judge(err *pgconn.PgError, c *catalog) judgement {
	if fatal(err) {
		return judgement{blame: judgeSession(err)} // the session ended, whatever the statement was
	}
	if nobodys[err.Routine] {
		j := misconfigured
		if c != nil {
			j.function, j.inside = c.function(err.Where)
		}
		return j
	}
	if j := (judgement{inside: raised(err)}); c != nil {
		j.function, _ = c.function(err.Where)
		if j.inside = j.inside || j.function != "" || err.TableName != "" && !c.ours(err); j.inside {
			return j.within(err)
		}
	} else if j.inside {
		return j.within(err)
	}
	switch class := err.Code[:min(2, len(err.Code))]; {
	case err.Code == "42501" && err.Routine == policyRoutine:
		j := open
		j.policy = true
		if c != nil && !c.Policy.Beyond && s.fillsAll(c.columns(c.Policy.Columns, false), false) {
			j.blame = blameMessage
		}
		return j
	case unrepresentable(err) && atBind.MatchString(err.Where):
		return fromMessage // a parameter that the server's encoding cannot represent
	case class == "23", err.Code == "54000" && err.ConstraintName != "":
		return s.judgeConstraint(err, c)
	case class == "22", err.Code == "54000", err.Routine == unicodeRoutine: // 54000: too large for an index that is not named
		j := open
		j.computed = c == nil || c.adds
		j.mixed = c == nil || c.mixes || err.Code == "54000" && c.outside
		if !j.computed && !j.mixed {
			j.blame = blameMessage
		}
		return j
	case runtime[err.Code] && err.Position == 0:
		return open // a cast to a type such as tsquery or regclass, not a name in our statement
	case class == "F0", err.Code == "XX001", err.Code == "XX002":
		return judgement{blame: blameTransient} // a lost file, damaged pages
	case class == "21":
		return misconfigured // of rows together, or of a subquery
	case onPurpose(err.Code), class == "20", class == "2F", class == "38", class == "39":
		return open
	}
	if b, ok := byCode(err.Code); ok {
		return judgement{blame: b, single: b == blameConfiguration && err.Position == 0 && partial[err.Code]}
	}
	return judgement{blame: blameOpen, alone: blameTransient, single: true}
}

// within judges an error that arose in a function: what it raised on purpose
// can be the row's fault, and nothing else is.
func (j judgement) within(err *pgconn.PgError) judgement {
	j.single, j.blame, j.alone = true, blameOpen, blameConfiguration
	if !onPurpose(err.Code) {
		j.blame = blameConfiguration
		if b, ok := byCode(err.Code); ok {
			j.blame = b
		}
	}
	return j
}

// judgeConstraint judges an error that names a constraint, a column or a
// domain by the columns that it is about.
func (s *Store) judgeConstraint(err *pgconn.PgError, c *catalog) judgement {
	switch {
	case err.Code == "23514" && err.ConstraintName == "" && err.TableName != "":
		return misconfigured // no partition takes the row
	case c == nil:
		return open
	case err.ColumnName != "" && err.ConstraintName == "":
		ledger := c.inLedger(err)
		return s.judgeColumns(c, []string{err.ColumnName}, ledger)
	case err.DataTypeName != "":
		names, ledger := c.withDomain(err)
		if len(names) == 0 {
			return open
		}
		return s.judgeColumns(c, names, ledger)
	}
	k, ok := c.constraint(err)
	if !ok {
		return open
	}
	return s.judgeColumns(c, k.Columns, k.Ledger)
}

// judgeColumns judges by whether the model fills all, some or none of columns.
func (s *Store) judgeColumns(c *catalog, names []string, ledger bool) judgement {
	names = c.columns(names, ledger)
	switch filled := slices.ContainsFunc(names, func(name string) bool { return s.fills(name, ledger) }); {
	case !filled && slices.ContainsFunc(names, func(name string) bool { return slices.Contains(c.Shown, name) }):
		return open // a view's columns can have other names than those of the table below it
	case !filled:
		return misconfigured
	case s.fillsAll(names, ledger):
		return fromMessage
	default:
		return open
	}
}

// fills reports whether the model fills a column of the table, or of its ledger.
func (s *Store) fills(name string, ledger bool) bool {
	if ledger {
		return slices.ContainsFunc(s.table.Key, func(k int) bool { return s.table.Columns[k].Name == name })
	}
	return slices.ContainsFunc(s.table.Columns, func(k batch.Column) bool { return k.Name == name && !k.Ledger })
}

func (s *Store) fillsAll(names []string, ledger bool) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !s.fills(name, ledger) })
}

// adds reports whether the database computes something for every row that
// depends on nothing of the model's.
func (s *Store) adds(c *catalog) bool {
	none := func(names []string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return s.fills(name, false) })
	}
	return slices.ContainsFunc(c.Columns, func(k column) bool {
		return !k.Ledger && (k.Computed && !s.fills(k.Name, false) || k.Generated && none(k.Bases))
	}) || slices.ContainsFunc(c.Constraints, func(k constraint) bool { return !k.Ledger && none(c.columns(k.Columns, false)) })
}

// mixes reports whether the database evaluates expressions that use more than
// what the model fills, or that the evaluation by itself does not see.
func (s *Store) mixes(c *catalog) bool {
	some := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return s.fills(name, false) })
	}
	return c.View || c.Conditions || slices.ContainsFunc(c.Columns, func(k column) bool {
		return k.Generated && some(k.Bases) && !s.fillsAll(k.Bases, false)
	}) || slices.ContainsFunc(c.Constraints, func(k constraint) bool {
		names := c.columns(k.Columns, k.Ledger)
		return k.Expression && !k.Ledger && (some(names) || !k.Root) && !s.fillsAll(names, false)
	})
}

// ofAll are codes and classes of what passes that all rows of a batch meet.
var ofAll = map[string]bool{"08": true, "25": true, "26": true, "42P05": true, "53300": true, "57P01": true, "57P02": true, "57P03": true, "57P05": true}

// ofSome reports whether a part of the rows can meet an error that passes: a
// lock on what they refer to, a damaged page.
func ofSome(err *pgconn.PgError) bool {
	return len(err.Code) == 5 && !ofAll[err.Code] && !ofAll[err.Code[:2]]
}

// needsIsolation reports whether rows have to be tried one by one after an
// error of the whole batch: a row may be to blame, or only some rows may meet
// it. What is transient is tried again as a whole first, and last says that
// there is no more time for that.
func (s *Store) needsIsolation(err *pgconn.PgError, c *catalog, last bool) bool {
	j := s.judge(err, c)
	inside := j.inside || c == nil && mayBeInside(err)
	switch j.blame {
	case blameTransient:
		return last && (inside || ofSome(err))
	case blameConfiguration:
		return j.single || inside
	default:
		return true
	}
}
