package check

import (
	"context"
	"fmt"
	"strings"
)

// Of rules, those ON INSERT that are on, and all those ON UPDATE: these make
// Postgres refuse ON CONFLICT even when they are disabled.
const rulesSQL = `SELECT format('%I', rulename), ev_type, is_instead FROM pg_rewrite
	WHERE ev_class = $1::oid AND (ev_type = '3' AND ev_enabled IN ('O', 'A') OR ev_type = '2') ORDER BY rulename`

// Of triggers, those that are on and can keep a row out: BEFORE INSERT FOR
// EACH ROW, which are the bits 1, 2 and 4 of tgtype. A partition can have its
// own; a partitioned table's are not listed again for each partition.
const triggersSQL = `WITH here AS (SELECT $1::oid AS oid UNION SELECT relid FROM pg_partition_tree($1::oid))
	SELECT format('%I', t.tgname), format('%I.%I', n.nspname, c.relname), format('%I.%I', pn.nspname, p.proname), l.lanname,
		p.prosrc ~* returns AND regexp_replace(p.prosrc, returns, '', 'gi') !~* '\mreturn\M'
	FROM (VALUES ('\mreturn\s+(new|coalesce\s*\(\s*new\s*,\s*old\s*\))\s*;')) AS pattern (returns), pg_trigger t
		JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
	WHERE t.tgrelid IN (SELECT oid FROM here) AND t.tgtype & 7 = 7 AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
		AND NOT EXISTS (SELECT FROM pg_trigger parent WHERE parent.oid = t.tgparentid AND parent.tgrelid IN (SELECT oid FROM here))
	ORDER BY t.tgrelid <> $1::oid, 2, 1`

// trigger is one of these triggers.
type trigger struct {
	name, table, function, language string
	// returnsNew: its source returns NEW, and nothing else.
	returnsNew bool
}

func (t trigger) String() string { return t.name + " of " + t.table }

// diverted looks for what stands between an INSERT and the table.
func (d *database) diverted(ctx context.Context, r *relation) error {
	rules, err := d.query(ctx, rulesSQL, r.oid)
	if err != nil {
		return err
	}
	before := len(d.Findings)
	for _, row := range rules {
		remedy := fmt.Sprintf("DROP RULE %s ON %s; what it does beside, an AFTER trigger can do", row[0], r.name)
		switch insert, instead := row[1] == "3", row[2] == "t"; {
		case insert && instead:
			d.Add(Error, "table", "rule", remedy, "the rule %s of %s is ON INSERT DO INSTEAD: rows do not get into the table", row[0], r.name)
		case insert:
			d.Add(Error, "table", "rule", remedy, "the rule %s of %s is ON INSERT, and Postgres then refuses the statement that stores rows", row[0], r.name)
		case r.key != nil:
			d.Add(Error, "table", "rule", remedy, "the rule %s of %s is ON UPDATE, and Postgres then refuses every INSERT with ON CONFLICT", row[0], r.name)
		}
	}
	ruled := len(d.Findings) > before
	rows, err := d.query(ctx, triggersSQL, r.oid)
	if err != nil {
		return err
	}
	triggers := make([]trigger, len(rows))
	for i, row := range rows {
		triggers[i] = trigger{row[0], row[1], row[2], row[3], row[4] == "t"}
	}
	switch {
	case len(triggers) > 0 && !ruled && d.writable:
		tried, err := d.try(ctx, r)
		if err != nil {
			return err
		}
		d.triggers(r, triggers, tried.discarded)
		d.rewritten(r, triggers, tried)
	case len(triggers) > 0:
		d.triggers(r, triggers, false)
	case !ruled:
		d.Add(OK, "table", "triggers", "", "no rule and no trigger stands before an INSERT into %s", r.name)
	}
	return nil
}

// triggers judges triggers that can discard rows, by returning NULL for them.
// discarded says that a trial row was. Else whether they do cannot be known. To
// warn of each would cry wolf: most set a column and return NEW, as their source
// shows, and a warning that never goes away hides the others. So we warn where
// PL/pgSQL returns something else, as triggers do that move rows to other
// tables. Other languages we cannot read: C is mostly an extension's, which
// knows what it does.
func (d *database) triggers(r *relation, triggers []trigger, discarded bool) {
	const (
		fate = "a row for which it returns NULL is not stored, and its message comes again until it is moved to the dead-letter queue"
		see  = "see that %s() returns NEW for each row; what moves rows elsewhere can be a partitioned table or an AFTER trigger"
	)
	tried := ""
	if discarded {
		tried = "; a trial row was discarded"
	}
	warned := false
	for _, t := range triggers {
		switch plpgsql := t.language == "plpgsql"; {
		case plpgsql && t.returnsNew:
			d.Add(OK, "table", "trigger", "", "the trigger %s is BEFORE INSERT, and %s() returns NEW", t, t.function)
		case plpgsql:
			warned = true
			d.Add(Warning, "table", "trigger", fmt.Sprintf(see, t.function),
				"the trigger %s may discard rows: %s() has a RETURN other than of NEW, and %s%s", t, t.function, fate, tried)
		default:
			d.Add(Skipped, "table", "trigger", "", "the trigger %s is BEFORE INSERT; whether %s() discards rows was not looked at, since it is written in %s", t, t.function, t.language)
		}
	}
	if discarded && !warned {
		d.Add(Warning, "table", "trigger", "see that it returns NEW for each row",
			"a trial row in %s was discarded by a trigger (%s): %s", r.name, list(triggers), fate)
	}
}

func list(triggers []trigger) string {
	names := make([]string, len(triggers))
	for i, t := range triggers {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}
