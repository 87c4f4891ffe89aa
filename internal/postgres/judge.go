package postgres

import (
	"slices"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/batch"
)

// blame is whose fault an error of the server is.
type blame uint8

const (
	// blameTransient: it passes by itself.
	blameTransient blame = iota
	// blameConfiguration: somebody has to fix something.
	blameConfiguration
	// blameMessage: what the message carries can never be stored.
	blameMessage
	// blameOpen: the message's if another row passes in the same isolation, and else what
	// judgement.alone holds.
	blameOpen
)

// judgement is whose fault an error is, by the evidence in its fields and in the catalog.
type judgement struct {
	blame blame
	// alone is whose fault it is when no row passes, if blame is blameOpen.
	alone blame
	// single: the error is about the row that met it. Other rows may pass.
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
	// mixed: that proves nothing, as expressions use more than the model fills.
	mixed bool
}

var (
	fromMessage   = judgement{blame: blameMessage, single: true}
	misconfigured = judgement{blame: blameConfiguration, single: true}
	open          = judgement{blame: blameOpen, alone: blameConfiguration, single: true}
)

// judge returns whose fault an error is. As long as the catalog is not known it is nil: then a
// constraint proves nothing.
func (s *Store) judge(err *pgconn.PgError, c *catalog) judgement {
	if endsSession(err) {
		return judgement{blame: judgeSession(err)} // the session ended, whatever the statement was
	}
	if ofNoRow(err) {
		j := misconfigured
		if c != nil {
			j.function, j.inside = c.function(err.Where)
		}
		return j
	}
	if j := (judgement{inside: raised(err)}); c != nil {
		j.function, _ = c.function(err.Where)
		if j.inside = j.inside || j.function != "" || err.TableName != "" && !c.covers(err); j.inside {
			return j.inFunction(err)
		}
	} else if j.inside {
		return j.inFunction(err)
	}
	switch {
	case ofPolicy(err):
		j := open
		j.policy = true
		if c != nil && !c.Policy.Beyond && s.fillsAll(c.columns(c.Policy.Columns, false), false) {
			j.blame = blameMessage
		}
		return j
	case unrepresentable(err) && atBind.MatchString(err.Where):
		return fromMessage // a parameter that the server's encoding cannot represent
	case ofConstraint(err), tooLarge(err) && err.ConstraintName != "":
		return s.judgeConstraint(err, c)
	case ofValue(err):
		j := open
		j.computed = c == nil || c.adds
		j.mixed = c == nil || c.mixes || tooLarge(err) && c.outside
		if !j.computed && !j.mixed {
			j.blame = blameMessage
		}
		return j
	case atRuntime(err):
		return open
	case damaged(err):
		return judgement{blame: blameTransient}
	case ofSeveralRows(err):
		return misconfigured
	case fromFunction(err):
		return open
	}
	if b, ok := byCode(err.Code); ok {
		return judgement{blame: b, single: b == blameConfiguration && configurationForSome(err)}
	}
	return judgement{blame: blameOpen, alone: blameTransient, single: true}
}

// inFunction judges an error that arose in a function: what it raised on purpose can be the row's
// fault, and nothing else is.
func (j judgement) inFunction(err *pgconn.PgError) judgement {
	j.single, j.blame, j.alone = true, blameOpen, blameConfiguration
	if !onPurpose(err.Code) {
		j.blame = blameConfiguration
		if b, ok := byCode(err.Code); ok {
			j.blame = b
		}
	}
	return j
}

// judgeConstraint judges an error that names a constraint, a column or a domain by the columns that
// it is about.
func (s *Store) judgeConstraint(err *pgconn.PgError, c *catalog) judgement {
	switch {
	case ofPartitions(err) && err.TableName != "":
		return misconfigured
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

// adds reports whether the database computes something for every row that depends on nothing of the
// model's.
func (s *Store) adds(c *catalog) bool {
	none := func(names []string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return s.fills(name, false) })
	}
	return slices.ContainsFunc(c.Columns, func(k column) bool {
		return !k.Ledger && (k.Computed && !s.fills(k.Name, false) || k.Generated && none(k.Bases))
	}) || slices.ContainsFunc(c.Constraints, func(k constraint) bool { return !k.Ledger && none(c.columns(k.Columns, false)) })
}

// mixes reports whether the database evaluates expressions that use more than what the model fills,
// or that the evaluation by itself does not see.
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

// needsIsolation reports whether rows have to be tried one by one after an error of the whole
// batch: a row may be to blame, or only some rows may meet it. What is transient is tried again as
// a whole first; last means that there is no more time for that.
func (s *Store) needsIsolation(err *pgconn.PgError, c *catalog, last bool) bool {
	j := s.judge(err, c)
	inside := j.inside || c == nil && mayBeInside(err)
	switch j.blame {
	case blameTransient:
		return last && (inside || transientForSome(err))
	case blameConfiguration:
		return j.single || inside
	default:
		return true
	}
}
