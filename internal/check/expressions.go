package check

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// What the server evaluates while it inserts a row, with the rights of the role that inserts:
// defaults and generated values of columns that the model does not fill ($2), CHECK constraints,
// also those of domains, expressions of indexes and partition keys, conditions of triggers, and
// policies. An identity column uses its sequence, and a trigger its function, without any right.
//
// pg_depend has what an expression calls, except what is built in. PUBLIC has the rights on that
// unless they were revoked. The query also follows bodies of SQL that were parsed at creation
// (BEGIN ATOMIC, RETURN); other bodies are text.
const expressionsSQL = `WITH RECURSIVE here AS (
	SELECT $1::oid AS oid UNION SELECT relid FROM pg_partition_tree($1::oid)
), attributes AS (
	SELECT a.*, d.oid AS value FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attrelid IN (SELECT oid FROM here) AND a.attnum > 0 AND NOT a.attisdropped
), types AS (
	SELECT atttypid AS oid FROM attributes
	UNION
	SELECT t.typbasetype FROM types s JOIN pg_type t ON t.oid = s.oid WHERE t.typbasetype <> 0
), parts AS (
	SELECT 'pg_attrdef'::regclass AS classid, value AS objid, 0 AS objsubid, format('the default of %I', attname) AS what, pg_get_expr((SELECT adbin FROM pg_attrdef WHERE oid = value), attrelid) AS text
		FROM attributes WHERE value IS NOT NULL AND attgenerated = '' AND attrelid = $1::oid AND attname NOT IN (SELECT json_array_elements_text($2::json))
	UNION ALL SELECT 'pg_type'::regclass, t.oid, 0, format('the default of %I', a.attname), t.typdefault FROM attributes a JOIN pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = $1::oid AND a.value IS NULL AND t.typtype = 'd' AND t.typdefaultbin IS NOT NULL AND a.attname NOT IN (SELECT json_array_elements_text($2::json))
	-- Up to PostgreSQL 14 it is the column that depends on what its value is generated from.
	UNION ALL SELECT classid, objid, objsubid, format('the generated column %I', attname), '' FROM attributes
		CROSS JOIN LATERAL (VALUES ('pg_attrdef'::regclass, value, 0), ('pg_class'::regclass, attrelid, attnum::integer)) AS part (classid, objid, objsubid) WHERE attgenerated <> ''
	UNION ALL SELECT 'pg_constraint'::regclass, oid, 0, format('the constraint %I', conname), '' FROM pg_constraint c
		-- From PostgreSQL 18 on a constraint may be NOT ENFORCED.
		WHERE contype = 'c' AND coalesce(to_jsonb(c) ->> 'conenforced', 'true') = 'true' AND (conrelid IN (SELECT oid FROM here) OR contypid IN (SELECT oid FROM types))
	UNION ALL SELECT 'pg_class'::regclass, indexrelid, 0, format('the index %s', indexrelid::regclass), '' FROM pg_index WHERE indrelid IN (SELECT oid FROM here)
	UNION ALL SELECT 'pg_class'::regclass, partrelid, 0, 'the partition key', '' FROM pg_partitioned_table WHERE partrelid IN (SELECT oid FROM here)
	UNION ALL SELECT 'pg_trigger'::regclass, oid, 0, format('the condition of the trigger %I', tgname), '' FROM pg_trigger
		WHERE tgrelid IN (SELECT oid FROM here) AND NOT tgisinternal AND tgtype & 4 <> 0 AND tgenabled IN ('O', 'A') AND tgqual IS NOT NULL
	UNION ALL SELECT 'pg_policy'::regclass, oid, 0, format('the policy %I', polname), '' FROM pg_policy
		WHERE polrelid = $1::oid AND row_security_active($1::oid) AND polcmd IN ('a', 'r', '*') AND EXISTS (SELECT FROM unnest(polroles) AS r (oid) WHERE CASE WHEN r.oid = 0 THEN true ELSE pg_has_role(r.oid, 'USAGE') END)
), uses AS (
	-- By its index: a table can have thousands of partitions. OFFSET keeps the planner from joining otherwise.
	SELECT p.what, p.text, u.refclassid, u.refobjid FROM parts p CROSS JOIN LATERAL (
		SELECT refclassid, refobjid FROM pg_depend d WHERE d.classid = p.classid AND d.objid = p.objid AND d.objsubid = p.objsubid OFFSET 0) AS u
	-- A trigger's own function runs without asking.
	WHERE NOT (p.classid = 'pg_trigger'::regclass AND u.refclassid = 'pg_proc'::regclass AND u.refobjid = (SELECT tgfoid FROM pg_trigger WHERE oid = p.objid))
	UNION
	SELECT s.what, s.text, u.refclassid, u.refobjid FROM uses s CROSS JOIN LATERAL (
		SELECT refclassid, refobjid FROM pg_depend d WHERE d.classid = s.refclassid AND d.objid = s.refobjid OFFSET 0) AS u
	WHERE s.refclassid = 'pg_operator'::regclass OR s.refclassid = 'pg_proc'::regclass
		AND (SELECT prosqlbody IS NOT NULL AND NOT prosecdef AND has_function_privilege(oid, 'EXECUTE') FROM pg_proc WHERE oid = s.refobjid)
), missing AS (
	SELECT 'SEQUENCE' AS kind, 'USAGE' AS privilege, format('%I.%I', n.nspname, c.relname) AS name, u.what
	FROM uses u JOIN pg_class c ON u.refclassid = 'pg_class'::regclass AND c.oid = u.refobjid AND c.relkind = 'S' JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, CASE WHEN u.text ~* 'nextval' THEN 'USAGE, UPDATE' ELSE 'USAGE, UPDATE, SELECT' END) END
	UNION ALL
	SELECT 'FUNCTION', 'EXECUTE', format('%I.%I(%s)', n.nspname, f.proname, pg_get_function_identity_arguments(f.oid)), u.what
	FROM uses u JOIN pg_proc f ON u.refclassid = 'pg_proc'::regclass AND f.oid = u.refobjid JOIN pg_namespace n ON n.oid = f.pronamespace
	WHERE NOT has_function_privilege(f.oid, 'EXECUTE')
)
SELECT kind, privilege, name, string_agg(DISTINCT what, ', '), '' FROM missing GROUP BY 1, 2, 3
UNION ALL
SELECT 'late', '', what, '', text FROM parts WHERE text ~* 'nextval\(' ORDER BY 1, 3`

// lateSequence finds the name of a sequence that is looked up for each row: nextval('ids'::text).
// One that is looked up when the default is created, nextval('ids'::regclass), is in pg_depend.
var lateSequence = regexp.MustCompile(`(?i)\bnextval\(\(*'((?:[^']|'')+)'::(?:text|character varying)`)

// expressions looks for missing rights on what the server calls for each row.
func (d *database) expressions(ctx context.Context, r *relation) error {
	filled := make([]string, len(r.want))
	for i, c := range r.want {
		filled[i] = c.Name
	}
	names, err := json.Marshal(filled)
	if err != nil {
		return err
	}
	var rows [][]string
	err = d.bounded(ctx, func() error {
		rows, err = d.query(ctx, expressionsSQL, r.oid, string(names))
		return err
	})
	if err != nil {
		return err
	}
	before := len(d.Findings)
	for _, row := range rows {
		kind, privilege, name, who, text := row[0], row[1], row[2], row[3], row[4]
		if kind != "late" {
			d.Add(Error, "grants", "grant_"+strings.ToLower(kind), fmt.Sprintf("GRANT %s ON %s %s TO %s", privilege, kind, name, d.role),
				"each row of %s needs %s on %s, and the role lacks it: %s", r.name, privilege, name, who)
			continue
		}
		for _, m := range lateSequence.FindAllStringSubmatch(text, -1) {
			if err := d.lateSequence(ctx, r, name, strings.ReplaceAll(m[1], "''", "'")); err != nil {
				return err
			}
		}
	}
	if len(d.Findings) == before {
		d.Add(OK, "grants", "expressions", "", "the role may call what defaults, constraints and indexes of %s need", r.name)
	}
	return nil
}

const lateSQL = `SELECT format('%I.%I', n.nspname, c.relname), CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'USAGE, UPDATE') END
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1) AND c.relkind = 'S'`

// lateSequence checks a sequence that a default looks up by name: its schema must be usable too.
func (d *database) lateSequence(ctx context.Context, r *relation, who, name string) error {
	rows, err := d.query(ctx, lateSQL, name)
	refused, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && refused.Code == "42501":
		schema, _, _ := strings.Cut(name, ".")
		d.Add(Error, "grants", "grant_sequence", fmt.Sprintf("GRANT USAGE ON SCHEMA %s TO %s", schema, d.role),
			"each row of %s needs the sequence %s, and the role may not use its schema: %s", r.name, name, who)
	case err != nil:
		return err
	case len(rows) == 0:
		d.Add(Error, "table", "sequence_missing", "create it, or put its schema into the role's search_path and let the role use it",
			"each row of %s needs the sequence %s, and this session does not find it: %s", r.name, name, who)
	case rows[0][1] != "t":
		d.Add(Error, "grants", "grant_sequence", fmt.Sprintf("GRANT USAGE ON SEQUENCE %s TO %s", rows[0][0], d.role),
			"each row of %s needs USAGE on %s, and the role lacks it: %s", r.name, rows[0][0], who)
	}
	return nil
}
