-- How the columns of a key ($2, of the table $1) and other columns ($4, of the table $3) compare, and which foreign keys of the table $3 refer to itself, its
-- partitions or the tables below a view, as one JSON document. Policies of row-level security may hide rows from a role.
WITH RECURSIVE ours AS (
	SELECT to_regclass($3)::oid AS oid
	UNION
	SELECT below.oid FROM ours CROSS JOIN LATERAL (
		SELECT inhrelid AS oid FROM pg_inherits WHERE inhparent = ours.oid
		UNION ALL
		SELECT d.refobjid FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
		WHERE w.ev_class = ours.oid AND w.ev_type = '1' AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> ours.oid
	) AS below
)
SELECT json_build_object(
	'columns', (SELECT json_agg(json_build_object(
			-- Not with the type's length (of char it is 1 without -1), which would cut a value in silence. A precision rounds
			-- it as the insert does.
			'cast', format_type(b.oid, CASE WHEN b.typname IN ('timestamp', 'timestamptz', 'time', 'timetz', 'interval') THEN m.typmod ELSE -1 END),
			'scale', CASE WHEN b.typname = 'numeric' AND m.typmod >= 4 THEN ((m.typmod - 4) & 1023) - ((m.typmod - 4) & 1024) END,
			-- An extension's operator may be outside the search_path, and that of text would be taken instead.
			'equals', (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname) FROM pg_opclass k JOIN pg_am m ON m.oid = k.opcmethod AND m.amname = 'btree'
				JOIN pg_amop p ON p.amopfamily = k.opcfamily AND p.amoplefttype = k.opcintype AND p.amoprighttype = k.opcintype AND p.amopstrategy = 3
				JOIN pg_operator o ON o.oid = p.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE k.opcdefault AND k.opcintype = b.oid),
			'collation', (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) FROM pg_namespace n WHERE n.oid = c.collnamespace AND c.collname <> 'default'),
			'type', b.typname,
			'bytes', coalesce(c.collisdeterministic, true) AND (b.typname IN ('int2', 'int4', 'int8', 'bool', 'date', 'uuid', 'text', 'varchar', 'bytea') OR b.typname IN ('timestamptz', 'timestamp', 'time') AND m.typmod < 0)
		) ORDER BY k.n)
		FROM unnest($2::text[]) WITH ORDINALITY AS k(name, n)
		JOIN pg_attribute a ON a.attrelid = to_regclass($1) AND a.attname = k.name AND NOT a.attisdropped
		CROSS JOIN LATERAL (
			WITH RECURSIVE chain AS (
				SELECT t.oid, t.typbasetype, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END AS typmod FROM pg_type t WHERE t.oid = a.atttypid
				UNION ALL
				SELECT t.oid, t.typbasetype, CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE chain.typmod END FROM chain JOIN pg_type t ON t.oid = chain.typbasetype
			) SELECT oid, typmod FROM chain WHERE typbasetype = 0
		) AS m
		JOIN pg_type b ON b.oid = m.oid
		-- The collation is the index's, which can differ from the column's.
		LEFT JOIN LATERAL (
			SELECT x.indcollation[array_position(x.indkey::int2[], a.attnum)] AS oid FROM pg_index x
			WHERE x.indrelid = a.attrelid AND x.indisunique AND x.indpred IS NULL AND x.indexprs IS NULL AND x.indnkeyatts = cardinality($2::text[])
				AND (SELECT array_agg(k.attname::text) FROM pg_attribute k WHERE k.attrelid = x.indrelid AND k.attnum = ANY (x.indkey)) @> $2::text[]
			LIMIT 1
		) AS i ON true
		LEFT JOIN pg_collation c ON c.oid = coalesce(i.oid, a.attcollation)),
	'compared', (SELECT json_agg(json_build_object(
			'type', format_type(a.atttypid, a.atttypmod),
			-- None for a type such as json: it compares as text.
			'equals', (SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname) FROM pg_opclass k JOIN pg_am m ON m.oid = k.opcmethod AND m.amname = 'btree'
				JOIN pg_amop p ON p.amopfamily = k.opcfamily AND p.amoplefttype = k.opcintype AND p.amoprighttype = k.opcintype AND p.amopstrategy = 3
				JOIN pg_operator o ON o.oid = p.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
				WHERE k.opcdefault AND k.opcintype = CASE WHEN b.typtype = 'e' THEN 'anyenum'::regtype WHEN b.typtype = 'r' THEN 'anyrange'::regtype WHEN b.typcategory = 'A' THEN 'anyarray'::regtype ELSE b.oid END)
		) ORDER BY k.n)
		FROM unnest($4::text[]) WITH ORDINALITY AS k(name, n)
		JOIN pg_attribute a ON a.attrelid = to_regclass($3) AND a.attname = k.name AND NOT a.attisdropped
		CROSS JOIN LATERAL (
			WITH RECURSIVE chain AS (
				SELECT t.oid, t.typbasetype FROM pg_type t WHERE t.oid = a.atttypid
				UNION ALL
				SELECT t.oid, t.typbasetype FROM chain JOIN pg_type t ON t.oid = chain.typbasetype
			) SELECT oid FROM chain WHERE typbasetype = 0
		) AS m
		JOIN pg_type b ON b.oid = m.oid),
	'policies', row_security_active(to_regclass($1)),
	'xmax', coalesce((SELECT relkind = 'r' AND has_column_privilege(oid, 'xmax', 'SELECT') FROM pg_class WHERE oid = to_regclass($3)), false),
	'references', (SELECT json_agg(json_build_object('name', f.conname,
			'from', (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(f.conkey) WITH ORDINALITY AS k(attnum, n) JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
			'to', (SELECT json_agg(a.attname ORDER BY k.n) FROM unnest(f.confkey) WITH ORDINALITY AS k(attnum, n) JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum)))
		FROM pg_constraint f JOIN ours o ON o.oid = f.conrelid JOIN ours p ON p.oid = f.confrelid WHERE f.contype = 'f')
)::text
