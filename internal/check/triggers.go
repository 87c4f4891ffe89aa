package check

import (
	"context"
	"fmt"
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

// diverted looks for what stands between an INSERT and the table. keyed says
// that the INSERT has an ON CONFLICT.
func (d *database) diverted(ctx context.Context, name, oid string, keyed bool) error {
	rules, err := d.query(ctx, rulesSQL, oid)
	if err != nil {
		return err
	}
	before := len(d.Findings)
	for _, r := range rules {
		remedy := fmt.Sprintf("DROP RULE %s ON %s; what it does beside, an AFTER trigger can do", r[0], name)
		switch insert, instead := r[1] == "3", r[2] == "t"; {
		case insert && instead:
			d.Add(Error, "table", "rule", remedy, "the rule %s of %s is ON INSERT DO INSTEAD: rows do not get into the table", r[0], name)
		case insert:
			d.Add(Error, "table", "rule", remedy, "the rule %s of %s is ON INSERT, and Postgres then refuses the statement that stores rows", r[0], name)
		case keyed:
			d.Add(Error, "table", "rule", remedy, "the rule %s of %s is ON UPDATE, and Postgres then refuses every INSERT with ON CONFLICT", r[0], name)
		}
	}
	triggers, err := d.query(ctx, triggersSQL, oid)
	if err != nil {
		return err
	}
	for _, t := range triggers {
		d.trigger(t[0], t[1], t[2], t[3], t[4] == "t")
	}
	if len(d.Findings) == before {
		d.Add(OK, "table", "triggers", "", "no rule and no trigger stands before an INSERT into %s", name)
	}
	return nil
}

// trigger judges a trigger that can swallow rows, by returning NULL for them.
// Whether it does cannot be known. To warn of each would cry wolf: most set a
// column and return NEW, as their source shows, and a warning that never goes
// away hides the others. So we warn where PL/pgSQL returns something else, as
// triggers do that move rows to other tables. Other languages we cannot read:
// C is mostly an extension's, which knows what it does.
func (d *database) trigger(trigger, table, function, language string, returnsNew bool) {
	switch {
	case returnsNew && language == "plpgsql":
		d.Add(OK, "table", "trigger", "", "the trigger %s of %s is BEFORE INSERT, and %s() returns NEW", trigger, table, function)
	case language == "plpgsql":
		d.Add(Warning, "table", "trigger",
			fmt.Sprintf("see that %s() returns NEW for each row; what moves rows elsewhere can be a partitioned table or an AFTER trigger", function),
			"the trigger %s of %s may swallow rows: %s() has a RETURN other than of NEW, and a row for which it returns NULL is not stored, and its message comes again until it is moved to the dead-letter queue", trigger, table, function)
	default:
		d.Add(Skipped, "table", "trigger", "", "the trigger %s of %s is BEFORE INSERT; whether %s() swallows rows was not looked at, since it is written in %s", trigger, table, function, language)
	}
}
