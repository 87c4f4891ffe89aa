package check

import (
	"context"
	"fmt"
	"regexp"
	"strings"
)

// The policies that apply to the role, and whether a function that they call reads a setting.
const policiesSQL = `SELECT format('%I', p.polname), p.polcmd, p.polpermissive, coalesce(pg_get_expr(p.polqual, p.polrelid), ''), coalesce(pg_get_expr(p.polwithcheck, p.polrelid), ''),
	EXISTS (SELECT FROM pg_depend d JOIN pg_proc f ON f.oid = d.refobjid WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
		AND CASE WHEN f.prokind = 'f' THEN pg_get_functiondef(f.oid) ~* '\mcurrent_setting\M' END)
	FROM pg_policy p WHERE p.polrelid = $1::oid AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE CASE WHEN r.oid = 0 THEN true ELSE pg_has_role(r.oid, 'USAGE') END)
	ORDER BY p.polname`

// policy is a row of pg_policy.
type policy struct {
	name       string
	command    string // r, a, w, d or * as in pg_policy
	permissive bool
	using      string // as SQL, "" for none
	check      string
	// calls: a function in its conditions reads a setting.
	calls bool
}

// condition returns a policy's condition on a row for a command, "" if it does not apply to the
// command.
func (p policy) condition(command string) string {
	switch {
	case p.command != command && p.command != "*":
		return ""
	case command == "a" && p.check != "":
		return p.check
	default:
		return p.using
	}
}

// policies judges the row-level security of a table, which applies to the role. ON CONFLICT reads
// the key, so Postgres applies the policies of SELECT too to each row that it inserts.
func (d *database) policies(ctx context.Context, r *relation) error {
	rows, err := d.query(ctx, policiesSQL, r.oid)
	if err != nil {
		return err
	}
	all := make([]policy, len(rows))
	for i, row := range rows {
		all[i] = policy{row[0], row[1], row[2] == "t", row[3], row[4], row[5] == "t"}
	}
	if !d.rowSecurity {
		d.Add(Error, "grants", "row_security", fmt.Sprintf("ALTER ROLE %s SET row_security = on", d.role),
			"%s has row-level security, and row_security is off in this session: Postgres then refuses every statement", r.name)
		return nil
	}
	wanted := []string{"a"}
	if r.key != nil {
		wanted = append(wanted, "r")
	}
	if r.key != nil && d.replaces() {
		wanted = append(wanted, "w")
		if d.parent != nil {
			wanted = append(wanted, "d")
		}
	}
	certain, missing := true, false
	for _, command := range wanted {
		switch permitted, always := permits(all, command); {
		case permitted:
			certain = certain && always
		case command == "a":
			missing = true
			d.Add(Error, "grants", "row_security", fmt.Sprintf("CREATE POLICY sluice_insert ON %s FOR INSERT TO %s WITH CHECK (true), or with a condition that each row meets", r.name, d.role),
				"%s has row-level security, and no policy lets the role INSERT: every row is refused", r.name)
		case command == "w":
			missing = true
			d.Add(Error, "grants", "row_security", fmt.Sprintf("CREATE POLICY sluice_update ON %s FOR UPDATE TO %s USING (true), or with the condition of its policy for INSERT", r.name, d.role),
				"%s has row-level security, and no policy lets the role UPDATE: no row replaces an older one", r.name)
		case command == "d":
			missing = true
			d.Add(Error, "grants", "row_security", fmt.Sprintf("CREATE POLICY sluice_delete ON %s FOR DELETE TO %s USING (true), or with the condition of its policy for INSERT", r.name, d.role),
				"%s has row-level security, and no policy lets the role DELETE: rows that a newer message no longer has stay", r.name)
		default:
			missing = true
			d.Add(Error, "grants", "row_security", fmt.Sprintf("CREATE POLICY sluice_select ON %s FOR SELECT TO %s USING (true), or with the condition of its policy for INSERT", r.name, d.role),
				"%s has row-level security, and no policy lets the role SELECT, which ON CONFLICT needs: every row is refused", r.name)
		}
	}
	settings, err := d.settings(ctx, r, all, wanted)
	switch {
	case err != nil, missing, settings:
		return err
	case certain:
		d.Add(OK, "grants", "row_security", "", "the row-level security of %s lets the role store every row", r.name)
	default:
		d.Add(Warning, "grants", "row_security", "let its policies allow the role to INSERT every row and SELECT what it inserted", "%s has row-level security, and it applies to this role", r.name)
	}
	return nil
}

// permits reports whether policies permit a command any rows, and whether they permit all rows. One
// permissive policy is enough, and a missing condition permits nothing; all restrictive ones must
// hold.
func permits(all []policy, command string) (permitted, always bool) {
	restricted := false
	for _, p := range all {
		switch condition := p.condition(command); {
		case condition == "":
		case p.permissive:
			permitted, always = true, always || condition == "true"
		default:
			restricted = restricted || condition != "true"
		}
	}
	return permitted, always && !restricted
}

var (
	readsSetting = regexp.MustCompile(`(?i)\bcurrent_setting\(`)
	settingName  = regexp.MustCompile(`(?i)\bcurrent_setting\('([\w.]+)'`)
)

// settings adds a warning for each policy that reads a setting, and reports whether there is one.
func (d *database) settings(ctx context.Context, r *relation, all []policy, commands []string) (found bool, err error) {
	for _, p := range all {
		var conditions []string
		for _, command := range commands {
			conditions = append(conditions, p.condition(command))
		}
		text := strings.Join(conditions, " ")
		if strings.TrimSpace(text) == "" || !p.calls && !readsSetting.MatchString(text) {
			continue
		}
		found = true
		which := "a setting of the session (current_setting): without it rows are refused"
		remedy := fmt.Sprintf("give the setting to the role, as in ALTER ROLE %s SET app.tenant = '…', or give the role a policy without it", d.role)
		for _, name := range settingName.FindAllStringSubmatch(text, -1) {
			rows, err := d.query(ctx, "SELECT coalesce(current_setting($1, true), '') = ''", name[1])
			if err != nil {
				return found, err
			}
			if rows[0][0] == "t" {
				which = fmt.Sprintf("the setting %s, which this session lacks: rows are refused until it has it", name[1])
				remedy = fmt.Sprintf("ALTER ROLE %s SET %s = '…', or give the role a policy without it", d.role, name[1])
				break
			}
		}
		d.Add(Warning, "grants", "row_security", remedy, "the policy %s of %s reads %s", p.name, r.name, which)
	}
	return found, nil
}
