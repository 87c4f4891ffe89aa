-- What the catalog holds about a table ($1) and its ledger ($2, '' without one), as one JSON document: the evidence for
-- whose fault an error is (judge.go). pg_depend has what an expression uses, except what is built in.
WITH RECURSIVE roots AS (
	SELECT to_regclass($1)::oid AS oid, false AS ledger
	UNION ALL
	SELECT to_regclass(nullif($2, ''))::oid, true
), ours AS (
	SELECT oid, oid AS root, ledger FROM roots WHERE oid IS NOT NULL
	UNION
	-- Partitions and children, and the tables below a view.
	SELECT below.oid, ours.root, ours.ledger FROM ours CROSS JOIN LATERAL (
		SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = ours.oid
		UNION ALL
		SELECT d.refobjid FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
		WHERE w.ev_class = ours.oid AND w.ev_type = '1' AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> ours.oid
	) AS below
), relations AS (
	SELECT o.oid, o.root, o.ledger, n.nspname AS schema, c.relname AS name
	FROM ours o JOIN pg_class c ON c.oid = o.oid JOIN pg_namespace n ON n.oid = c.relnamespace
), uses AS NOT MATERIALIZED (
	SELECT classid, objid, objsubid, refclassid, refobjid, refobjsubid FROM pg_depend WHERE deptype <> 'i'
), constraints AS (
	-- The columns of a foreign key are those on its own side. An index can have more than its constraint: expressions
	-- and a predicate.
	SELECT r.*, c.conname AS label, c.contype = 'c' OR c.contype = 'x' OR EXISTS (SELECT FROM pg_index x WHERE c.contype IN ('p', 'u') AND x.indexrelid = c.conindid AND (x.indexprs IS NOT NULL OR x.indpred IS NOT NULL)) AS expression, (
		SELECT array_agg(k) FROM (
			SELECT unnest(c.conkey) AS k
			UNION
			SELECT u.refobjsubid FROM uses u
			WHERE c.contype <> 'f' AND u.refclassid = 'pg_class'::regclass AND u.refobjid = c.conrelid
				AND (u.classid = 'pg_constraint'::regclass AND u.objid = c.oid OR u.classid = 'pg_class'::regclass AND u.objid = c.conindid)
		) AS used) AS attributes
	FROM relations r JOIN pg_constraint c ON c.conrelid = r.oid AND c.contype IN ('c', 'f', 'p', 'u', 'x')
	UNION ALL
	SELECT r.*, i.relname, x.indexprs IS NOT NULL OR x.indpred IS NOT NULL, (
		SELECT array_agg(k) FROM (
			SELECT unnest(x.indkey::int2[]) AS k
			UNION
			SELECT u.refobjsubid FROM uses u
			WHERE u.classid = 'pg_class'::regclass AND u.objid = x.indexrelid AND u.refclassid = 'pg_class'::regclass AND u.refobjid = x.indrelid
		) AS used)
	FROM relations r JOIN pg_index x ON x.indrelid = r.oid JOIN pg_class i ON i.oid = x.indexrelid
	WHERE NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.indexrelid AND c.contype IN ('p', 'u', 'x'))
), attributes AS (
	SELECT r.ledger, a.attrelid, a.attnum, a.attname, a.atttypid, a.attgenerated, d.oid AS value, coalesce(d.adbin, t.typdefaultbin)::text AS expression
	FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE r.oid = r.root
), types AS (
	-- What the type of a column is made of: of a domain its base, of an array its elements, of a composite type its columns.
	SELECT a.attrelid, a.attnum, t.oid, t.typbasetype, t.typelem, t.typrelid, t.typtype FROM attributes a JOIN pg_type t ON t.oid = a.atttypid
	UNION
	SELECT s.attrelid, s.attnum, t.oid, t.typbasetype, t.typelem, t.typrelid, t.typtype FROM types s CROSS JOIN LATERAL (
		SELECT s.typbasetype AS oid
		UNION ALL SELECT s.typelem
		UNION ALL SELECT m.atttypid FROM pg_attribute m WHERE m.attrelid = s.typrelid AND m.attnum > 0 AND NOT m.attisdropped
	) AS below JOIN pg_type t ON t.oid = below.oid
), domains AS (
	SELECT s.attrelid, s.attnum, t.oid, n.nspname AS schema, t.typname AS name
	FROM types s JOIN pg_type t ON t.oid = s.oid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE s.typtype = 'd'
), policies AS (
	-- The policies for new rows of the current role.
	SELECT p.oid, p.polrelid, p.polpermissive, coalesce(pg_get_expr(p.polwithcheck, p.polrelid), pg_get_expr(p.polqual, p.polrelid)) AS expression
	FROM pg_policy p JOIN ours o ON o.oid = p.polrelid
	WHERE p.polcmd IN ('a', '*') AND EXISTS (SELECT FROM unnest(p.polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE'))
), parts AS (
	-- What can call a function while a row is inserted.
	SELECT 'pg_class'::regclass AS classid, oid AS objid FROM ours
	UNION ALL SELECT 'pg_class'::regclass, indexrelid FROM pg_index JOIN ours ON indrelid = ours.oid
	UNION ALL SELECT 'pg_attrdef'::regclass, d.oid FROM pg_attrdef d JOIN ours ON d.adrelid = ours.oid
	UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN ours ON c.conrelid = ours.oid
	UNION ALL SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c JOIN domains ON c.contypid = domains.oid
	UNION ALL SELECT 'pg_type'::regclass, oid FROM domains
	UNION ALL SELECT 'pg_policy'::regclass, p.oid FROM pg_policy p JOIN ours ON p.polrelid = ours.oid
	UNION ALL SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite w JOIN ours ON w.ev_class = ours.oid
	UNION ALL SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger t JOIN ours ON t.tgrelid = ours.oid WHERE NOT t.tgisinternal
)
SELECT json_build_object(
	'relations', (SELECT json_agg(json_build_object('schema', schema, 'name', name, 'ledger', ledger)) FROM relations),
	'view', (SELECT relkind = 'v' FROM pg_class WHERE oid = to_regclass($1)),
	-- Columns of the tables below a view that it shows, perhaps by other names.
	'shown', (SELECT json_agg(DISTINCT a.attname) FROM ours o JOIN pg_rewrite w ON w.ev_class = o.oid AND w.ev_type = '1'
		JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> o.oid
		JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid AND a.attnum > 0),
	'constraints', (SELECT json_agg(json_build_object('schema', schema, 'table', name, 'name', label, 'ledger', ledger, 'expression', expression, 'root', oid = root, 'columns',
			(SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = oid AND a.attnum = ANY (attributes) AND a.attnum > 0)))
		FROM constraints),
	'columns', (SELECT json_agg(json_build_object('name', a.attname, 'ledger', a.ledger,
			'generated', a.attgenerated <> '', 'bases', (
				SELECT json_agg(b.attname) FROM attributes b
				WHERE a.attgenerated <> '' AND b.attrelid = a.attrelid AND b.attnum <> a.attnum AND EXISTS (
					SELECT FROM uses u WHERE u.refclassid = 'pg_class'::regclass AND u.refobjid = b.attrelid AND u.refobjsubid = b.attnum
						AND (u.classid = 'pg_attrdef'::regclass AND u.objid = a.value OR u.classid = 'pg_class'::regclass AND u.objid = a.attrelid AND u.objsubid = a.attnum))),
			'computed', coalesce(a.attgenerated = '' AND a.expression NOT LIKE '{CONST %', false),
			'domains', (SELECT json_agg(json_build_object('schema', d.schema, 'name', d.name, 'constraints', (SELECT json_agg(c.conname) FROM pg_constraint c WHERE c.contypid = d.oid)))
				FROM domains d WHERE d.attrelid = a.attrelid AND d.attnum = a.attnum)))
		FROM attributes a),
	'attributes', (SELECT json_agg(DISTINCT a.attname) FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped),
	'functions', (SELECT json_agg(DISTINCT jsonb_build_object('name', p.proname, 'quoted', quote_ident(p.proname), 'plpgsql', l.lanname = 'plpgsql', 'sql', l.lanname = 'sql',
			'tables', l.lanname NOT IN ('plpgsql', 'sql') OR p.prosrc ~* '\m(select|perform|from|execute|insert|merge|call)\M'))
		FROM parts JOIN pg_depend u USING (classid, objid) LEFT JOIN pg_operator o ON u.refclassid = 'pg_operator'::regclass AND o.oid = u.refobjid
		JOIN pg_proc p ON p.oid = CASE u.refclassid WHEN 'pg_proc'::regclass THEN u.refobjid ELSE o.oprcode END
		JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname NOT IN ('internal', 'c')),
	'policy', json_build_object(
		-- The server's error does not tell which of them refuses a row.
		'table', EXISTS (SELECT FROM roots WHERE NOT ledger AND row_security_active(oid)),
		'ledger', EXISTS (SELECT FROM roots WHERE ledger AND row_security_active(oid)),
		-- Every row can be seen: a refused one was refused by a policy for INSERT.
		'visible', NOT EXISTS (SELECT FROM pg_policy p JOIN ours o ON o.oid = p.polrelid WHERE p.polcmd IN ('r', '*') AND NOT p.polpermissive)
			AND NOT EXISTS (SELECT FROM ours o JOIN pg_class c ON c.oid = o.oid WHERE c.relrowsecurity AND NOT EXISTS (
				SELECT FROM pg_policy p WHERE p.polrelid = o.oid AND p.polcmd IN ('r', '*') AND p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true'
					AND EXISTS (SELECT FROM unnest(p.polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE')))),
		-- The role may replace some row.
		'updates', NOT EXISTS (SELECT FROM roots r WHERE row_security_active(r.oid) AND NOT EXISTS (
			SELECT FROM pg_policy p WHERE p.polrelid = r.oid AND p.polcmd IN ('w', '*') AND p.polpermissive
				AND EXISTS (SELECT FROM unnest(p.polroles) AS role WHERE role = 0 OR pg_has_role(role, 'USAGE')))),
		'columns', (SELECT json_agg(DISTINCT a.attname) FROM policies p JOIN uses u ON u.classid = 'pg_policy'::regclass AND u.objid = p.oid AND u.refclassid = 'pg_class'::regclass AND u.refobjid = p.polrelid
			JOIN pg_attribute a ON a.attrelid = p.polrelid AND a.attnum = u.refobjsubid AND a.attnum > 0),
		-- More than the row decides: settings, roles, clocks, other tables, user-defined functions and operators.
		'beyond', NOT EXISTS (SELECT FROM policies WHERE polpermissive)
			OR EXISTS (SELECT FROM roots r WHERE row_security_active(r.oid) AND NOT EXISTS (SELECT FROM policies p WHERE p.polrelid = r.oid AND p.polpermissive))
			OR EXISTS (SELECT FROM policies p WHERE expression <> 'true' AND NOT EXISTS (SELECT FROM uses u
				WHERE u.classid = 'pg_policy'::regclass AND u.objid = p.oid AND u.refclassid = 'pg_class'::regclass AND u.refobjid = p.polrelid AND u.refobjsubid > 0))
			OR EXISTS (SELECT FROM policies WHERE expression ~* '\m(select|user|session_user|system_user|age|current_(user|role|catalog|database|query|schemas?|setting|date|time|timestamp)|now|localtime\w*|timeofday|\w+_timestamp|random|inet_(client|server)_\w+|txid_current\w*|pg_\w+)\M')
			OR EXISTS (SELECT FROM policies p JOIN uses u ON u.classid = 'pg_policy'::regclass AND u.objid = p.oid
				WHERE u.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass) OR u.refclassid = 'pg_class'::regclass AND u.refobjid <> p.polrelid)),
	-- Expressions that name nothing when they fail for a row: those of triggers, policies and partitions.
	'conditions', EXISTS (SELECT FROM pg_trigger t JOIN ours ON t.tgrelid = ours.oid WHERE t.tgqual IS NOT NULL AND t.tgenabled IN ('O', 'A'))
		OR EXISTS (SELECT FROM pg_partitioned_table p JOIN ours ON p.partrelid = ours.oid WHERE p.partexprs IS NOT NULL)
		OR EXISTS (SELECT FROM pg_policy p JOIN ours ON p.polrelid = ours.oid JOIN pg_class c ON c.oid = ours.oid AND c.relrowsecurity
			WHERE pg_get_expr(p.polqual, p.polrelid) <> 'true' OR pg_get_expr(p.polwithcheck, p.polrelid) <> 'true'),
	-- Also those of other tables of the schema: triggers write to them. SET CONSTRAINTS refuses a name that a constraint
	-- that cannot be deferred has too.
	'deferrable', EXISTS (SELECT FROM pg_constraint WHERE condeferrable),
	'deferred', (SELECT string_agg(DISTINCT format('%I.%I', n.nspname, c.conname), ', ') FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace
		WHERE c.condeferred AND (n.nspname = ANY (current_schemas(false)) OR n.nspname IN (SELECT schema FROM relations)) AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.connamespace = c.connamespace AND o.conname = c.conname AND NOT o.condeferrable)),
	'sequences', (SELECT json_agg(DISTINCT q.oid::regclass::text) FROM (
			SELECT u.refobjid AS oid FROM ours JOIN pg_attrdef d ON d.adrelid = ours.oid
				JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid AND u.refclassid = 'pg_class'::regclass
			UNION SELECT u.objid FROM ours JOIN pg_depend u ON u.refclassid = 'pg_class'::regclass AND u.refobjid = ours.oid AND u.classid = 'pg_class'::regclass
		) AS used JOIN pg_class q ON q.oid = used.oid AND q.relkind = 'S'),
	'triggers', (SELECT json_agg(DISTINCT t.tgname) FROM pg_trigger t JOIN ours ON t.tgrelid = ours.oid AND NOT ours.ledger
		WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A') AND t.tgtype & 7 = 7) -- for each row, before, INSERT
)::text
