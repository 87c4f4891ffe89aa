package postgres

import (
	"cmp"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

// judgement is whose fault an error is, by the evidence in its fields and in the catalog.
type judgement struct {
	// rejects: the message is to blame, and can never be stored. open: it is if another row passes
	// in the same search.
	rejects, open bool
	// cause is why the row is returned if its message is not to blame.
	cause message.Cause
	// single: the error is about the row that met it. Other rows may pass. It is true with rejects
	// and open.
	single bool
	// inside: it arose in a trigger or a function of the table. function is its name, if the
	// context tells.
	inside   bool
	function string
	// policy: row-level security refused the row. It can have been the policy for SELECT, which ON
	// CONFLICT needs.
	policy bool
	// computed: the row's values are to blame only if what the database adds to every row can be
	// evaluated by itself.
	computed bool
	// mixed: even if the defaults evaluate, an expression over other columns too may be at fault.
	mixed bool
}

var (
	fromMessage   = judgement{rejects: true, cause: message.CauseConfiguration, single: true}
	misconfigured = judgement{cause: message.CauseConfiguration, single: true}
	open          = judgement{open: true, cause: message.CauseConfiguration, single: true}
)

// passes reports whether the error passes by itself.
func (j judgement) passes() bool { return j.cause == message.CauseTransient && !j.open }

// judge returns whose fault an error is. c is nil until the catalog is read; until then a
// constraint proves nothing.
func (d *destination) judge(err *pgconn.PgError, c *catalog) judgement {
	if endsSession(err) {
		return judgement{cause: judgeSession(err)} // the session ended, whatever the statement was
	}
	function := c.function(err.Where)
	if ofNoRow(err) {
		j := misconfigured
		j.function = function
		j.inside = function != ""
		return j
	}
	if raised(err) || function != "" || c != nil && err.TableName != "" && !c.covers(err) {
		return inFunction(function, err)
	}
	switch {
	case err.Routine == "ExecOnConflictUpdate": // two rows of the statement have one key
		return fromMessage
	case ofPolicy(err) && d.replaces():
		j := open // the policy for UPDATE also looks at the row that is stored
		j.policy, j.open = true, c == nil || c.Policy.Updates
		return j
	case ofPolicy(err):
		j := open
		j.policy = true
		if c != nil && !c.Policy.Beyond && d.fillsAll(c.columns(c.Policy.Columns, false), false) {
			j.rejects, j.open = true, false
		}
		return j
	case unrepresentable(err) && atBind.MatchString(err.Where):
		return fromMessage // a parameter that the server's encoding cannot represent
	case d.asText && droppedType(err):
		return judgement{cause: message.CauseTransient} // another connection prepares the insert anew
	case d.asText && parameterOf(err) > 0 && ofText(err):
		// Whatever the table is: the value meets it by itself.
		if d.constant(parameterOf(err)) != nil {
			return judgement{cause: message.CauseConfiguration}
		}
		if atRuntime(err) && c.hasDomains() {
			return open // of the text, or of what a CHECK of the domain calls
		}
		return fromMessage
	case ofConstraint(err), err.Code == tooLarge && err.ConstraintName != "":
		return d.judgeConstraint(err, c)
	case ofValue(err):
		j := open
		j.computed = c == nil || c.adds
		j.mixed = c == nil || c.mixes || err.Code == tooLarge && c.outside
		j.open = j.computed || j.mixed
		j.rejects = !j.open
		return j
	case atRuntime(err), fromFunction(err):
		return open
	case damaged(err):
		return judgement{cause: message.CauseTransient}
	}
	if cause := byCode(err.Code); cause != message.CauseNone {
		return judgement{cause: cause, single: cause == message.CauseConfiguration && configurationForSome(err)}
	}
	return judgement{open: true, cause: message.CauseTransient, single: true}
}

// inFunction judges an error that arose in a function: what it raised on purpose can be the row's
// fault, and nothing else is.
func inFunction(name string, err *pgconn.PgError) judgement {
	j := open
	j.inside, j.function = true, name
	if j.open = onPurpose(err.Code); !j.open {
		j.cause = cmp.Or(byCode(err.Code), j.cause)
	}
	return j
}

// judgeConstraint judges an error that names a constraint, a column or a domain by the columns that
// it is about.
func (d *destination) judgeConstraint(err *pgconn.PgError, c *catalog) judgement {
	switch {
	case ofPartitions(err) && err.TableName != "":
		return misconfigured
	case c == nil:
		return open
	case err.ColumnName != "" && err.ConstraintName == "":
		ledger := c.inLedger(err)
		return d.judgeColumns(c, []string{err.ColumnName}, ledger)
	case err.DataTypeName != "":
		names, ledger := c.withDomain(err)
		if len(names) == 0 || slices.ContainsFunc(names, d.isConstant) {
			return open // it is one of them, and a constant is not the message's
		}
		return d.judgeColumns(c, names, ledger)
	}
	if k := c.constraint(err); k != nil {
		return d.judgeColumns(c, k.Columns, k.Ledger)
	}
	return open
}

// judgeColumns judges by whether the model fills all, some or none of columns.
func (d *destination) judgeColumns(c *catalog, names []string, ledger bool) judgement {
	names = slices.DeleteFunc(c.columns(names, ledger), d.isConstant)
	switch filled := d.fillsAny(names, ledger); {
	case !filled && slices.ContainsFunc(names, func(name string) bool { return slices.Contains(c.Shown, name) }):
		return open // a view's columns can have other names than those of the table below it
	case !filled:
		return misconfigured
	case d.fillsAll(names, ledger):
		return fromMessage
	default:
		return open
	}
}

// isConstant reports whether a column has the same value in every row, by the model.
func (d *destination) isConstant(name string) bool {
	return slices.ContainsFunc(d.table.Columns, func(k batch.Column) bool { return k.Name == name && k.Constant })
}

// constant returns the column that a parameter of an insert is of, if it is a constant, or nil.
func (d *destination) constant(parameter int) *batch.Column {
	if parameter < 1 || parameter > len(d.table.Columns) || !d.table.Columns[parameter-1].Constant {
		return nil
	}
	return &d.table.Columns[parameter-1]
}

// fills reports whether the model fills a column of the table, or of its ledger.
func (d *destination) fills(name string, ledger bool) bool {
	if ledger {
		return slices.ContainsFunc(d.table.Key, func(k int) bool { return d.table.Columns[k].Name == name })
	}
	return slices.ContainsFunc(d.table.Columns, func(k batch.Column) bool { return k.Name == name && !k.Ledger })
}

func (d *destination) fillsAny(names []string, ledger bool) bool {
	return slices.ContainsFunc(names, func(name string) bool { return d.fills(name, ledger) })
}

func (d *destination) fillsAll(names []string, ledger bool) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !d.fills(name, ledger) })
}

// addsValues reports whether the database computes something for every row that depends on nothing
// of the model'd.
func (d *destination) addsValues(c *catalog) bool {
	return slices.ContainsFunc(c.Columns, func(k column) bool {
		return !k.Ledger && (k.Computed && !d.fills(k.Name, false) || k.Generated && !d.fillsAny(k.Bases, false))
	}) || slices.ContainsFunc(c.Constraints, func(k constraint) bool { return !k.Ledger && !d.fillsAny(c.columns(k.Columns, false), false) })
}

// mixesValues reports whether the database evaluates expressions that use more than what the model
// fills, or that the evaluation by itself does not see.
func (d *destination) mixesValues(c *catalog) bool {
	return c.View || c.Conditions || slices.ContainsFunc(c.Columns, func(k column) bool {
		return k.Generated && d.fillsAny(k.Bases, false) && !d.fillsAll(k.Bases, false)
	}) || slices.ContainsFunc(c.Constraints, func(k constraint) bool {
		names := c.columns(k.Columns, k.Ledger)
		return k.Expression && !k.Ledger && (d.fillsAny(names, false) || !k.Root) && !d.fillsAll(names, false)
	})
}

// needsSearch reports whether rows have to be tried one by one after an error of the whole
// batch: a row may be to blame, or only some rows may meet it. What is transient is tried again as
// a whole first; last means that there is no more time for that.
func (r *refusal) needsSearch(last bool) bool {
	j := r.judge()
	inside := j.inside || r.part().catalog == nil && mayBeInside(r.PgError)
	if j.passes() {
		return last && (inside || transientForSome(r.PgError))
	}
	return j.single || inside
}
