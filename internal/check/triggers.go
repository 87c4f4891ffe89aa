package check

import (
	"context"
	"fmt"
	"strings"
)

// Of rules, those ON INSERT and ON DELETE that are on, and all those ON UPDATE: these make Postgres
// refuse ON CONFLICT even when they are disabled.
const rulesSQL = `SELECT format('%I', rulename), ev_type, is_instead FROM pg_rewrite
	WHERE ev_class = $1::oid AND (ev_type IN ('3', '4') AND ev_enabled IN ('O', 'A') OR ev_type = '2') ORDER BY rulename`

// Of triggers, those that are on and can keep a row out, by the bits of tgtype. A partition can have
// its own; those of a partitioned table are not listed again for each partition.
const triggersSQL = `WITH here AS (SELECT $1::oid AS oid UNION SELECT relid FROM pg_partition_tree($1::oid))
	SELECT format('%I of %I.%I', t.tgname, n.nspname, c.relname), format('%I.%I', pn.nspname, p.proname), l.lanname
	FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace pn ON pn.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
	WHERE t.tgrelid IN (SELECT oid FROM here) AND t.tgtype & $2::int = $2::int AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
		AND NOT EXISTS (SELECT FROM pg_trigger parent WHERE parent.oid = t.tgparentid AND parent.tgrelid IN (SELECT oid FROM here))
	ORDER BY t.tgrelid <> $1::oid, n.nspname, c.relname, t.tgname`

// BEFORE … FOR EACH ROW, as bits of tgtype.
const (
	beforeInsert = "7"  // 1, 2 and 4
	beforeUpdate = "19" // 1, 2 and 16
)

// diverted looks for rules and triggers that run before an INSERT reaches the table.
//
// The catalog says which triggers there are, and not what they do: a function can return NULL for
// some rows, and no reading of its source decides for which. So a trigger as such is no warning.
// Trial rows decide.
func (d *database) diverted(ctx context.Context, r *relation) error {
	ruled, err := d.rules(ctx, r)
	if err != nil {
		return err
	}
	if r.key != nil && d.replaces() {
		updates, err := d.query(ctx, triggersSQL, r.oid, beforeUpdate)
		if err != nil {
			return err
		}
		for _, row := range updates {
			d.Add(OK, "table", "trigger", "", "the trigger %s runs BEFORE UPDATE FOR EACH ROW, and so before a newer row replaces an older one: %s(), written in %s", row[0], row[1], row[2])
		}
	}
	rows, err := d.query(ctx, triggersSQL, r.oid, beforeInsert)
	if err != nil {
		return err
	}
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row[0]
		d.Add(OK, "table", "trigger", "", "the trigger %s runs BEFORE INSERT FOR EACH ROW: %s(), written in %s", row[0], row[1], row[2])
	}
	switch {
	case len(rows) > 0 && !ruled && d.writable:
		tried, err := d.try(ctx, r)
		if err != nil {
			return err
		}
		d.judge(r, names, tried)
	case len(rows) == 0 && !ruled:
		d.Add(OK, "table", "triggers", "", "no rule and no trigger runs before an INSERT into %s", r.name)
	}
	return nil
}

// rules reports whether a table has rules that keep rows out, and adds them.
func (d *database) rules(ctx context.Context, r *relation) (found bool, err error) {
	rows, err := d.query(ctx, rulesSQL, r.oid)
	for _, row := range rows {
		var what string
		switch insert, instead := row[1] == "3", row[2] == "t"; {
		case row[1] == "4" && r.key != nil && d.needs().Delete:
			what = "ON DELETE, and Postgres then does not delete the rows that a newer message no longer has"
		case row[1] == "4":
			continue
		case insert && instead:
			what = "ON INSERT DO INSTEAD: rows do not get into the table"
		case insert:
			what = "ON INSERT, and Postgres then refuses the statement that stores rows"
		case r.key != nil:
			what = "ON UPDATE, and Postgres then refuses every INSERT with ON CONFLICT"
		default:
			continue
		}
		found = true
		d.Add(Error, "table", "rule", fmt.Sprintf("DROP RULE %s ON %s; an AFTER trigger can do the rest of what it does", row[0], r.name),
			"the rule %s of %s is %s", row[0], r.name, what)
	}
	return found, err
}

// judge says what trial rows showed of the triggers.
func (d *database) judge(r *relation, triggers []string, t trial) {
	who := "the trigger " + triggers[0]
	if len(triggers) > 1 {
		who = "one of the triggers " + strings.Join(triggers, ", ")
	}
	if t.discarded {
		d.Add(Warning, "table", "trigger", "return NEW for each row; what moves rows elsewhere can be a partitioned table or an AFTER trigger",
			"a trial row in %s was discarded by %s: a row for which a trigger returns NULL is not stored, and its message is delivered again until it is moved to the dead-letter queue", r.name, who)
	}
	if r.key == nil {
		return
	}
	key := strings.Join(r.key, ", ")
	switch {
	case len(t.changed) > 0:
		changed := strings.Join(t.changed, ", ")
		d.Add(Error, "table", "key_rewritten", fmt.Sprintf("let the trigger leave %s as it is, and write another form of it into another column; or let the sender send that form", changed),
			"%s changes the key: a trial row got another %s than was sent. A message that is delivered again is then not found by its key, and is delivered until it is moved to the dead-letter queue", who, changed)
	case t.kept:
		d.Add(OK, "table", "key_rewritten", "", "trial rows, which were rolled back, got the key (%s) that was sent", key)
	case t.refused != "":
		d.Add(Warning, "table", "key_untried", fmt.Sprintf("see that no BEFORE trigger changes %s: a row is not found again by a key that was changed", key),
			"whether %s changes the key (%s) could not be tried: %s", who, key, t.refused)
	}
}
