-- Evaluates defaults as an insert would: by assignment, which refuses what a cast would truncate. Then generated
-- columns, CHECK constraints and index expressions that use none of the columns that the model fills.
DECLARE
	part record;
	unfilled text;
BEGIN
	FOR part IN
		SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0)) AS value
		FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE a.attrelid = to_regclass($table) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> ALL (ARRAY[$filled])
			AND (d.oid IS NOT NULL OR t.typdefaultbin IS NOT NULL)
	LOOP
		BEGIN
			EXECUTE format('DO %L', format('DECLARE value %s := %s; BEGIN END', part.type, part.value));
		EXCEPTION WHEN OTHERS THEN
			RAISE EXCEPTION USING ERRCODE = SQLSTATE, COLUMN = part.name;
		END;
	END LOOP;
	SELECT string_agg(format('%s AS %I', coalesce(pg_get_expr(d.adbin, d.adrelid), pg_get_expr(t.typdefaultbin, 0), format('NULL::%s', format_type(coalesce(nullif(t.typbasetype, 0), t.oid), NULL))), a.attname), ', ') INTO unfilled
	FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	WHERE a.attrelid = to_regclass($table) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND a.attname <> ALL (ARRAY[$filled]);
	IF unfilled IS NULL THEN RETURN; END IF;
	FOR part IN
		SELECT name, expression FROM (
			SELECT a.attname AS name, a.attrelid AS relation, 'pg_attrdef'::regclass AS classid, d.oid AS objid, pg_get_expr(d.adbin, d.adrelid) AS expression
			FROM pg_attribute a JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attgenerated <> ''
			UNION ALL
			SELECT conname, conrelid, 'pg_constraint'::regclass, oid, pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE contype = 'c'
			UNION ALL
			SELECT i.relname, x.indrelid, 'pg_class'::regclass, x.indexrelid, pg_get_expr(x.indpred, x.indrelid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indpred IS NOT NULL
			UNION ALL
			SELECT i.relname, x.indrelid, 'pg_class'::regclass, x.indexrelid, pg_get_expr(x.indexprs, x.indrelid) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indexprs IS NOT NULL
		) AS parts
		WHERE relation = to_regclass($table) AND NOT EXISTS (
			SELECT FROM pg_depend u JOIN pg_attribute a ON a.attrelid = u.refobjid AND a.attnum = u.refobjsubid
			WHERE u.refclassid = 'pg_class'::regclass AND u.refobjid = relation AND (a.attgenerated <> '' AND a.attname <> name OR a.attname = ANY (ARRAY[$filled]))
				AND (u.classid = parts.classid AND u.objid = parts.objid
					OR u.classid = 'pg_class'::regclass AND u.objid = relation AND u.objsubid > 0 AND EXISTS (SELECT FROM pg_attribute g WHERE g.attrelid = relation AND g.attnum = u.objsubid AND g.attname = name AND g.attgenerated <> '')))
	LOOP
		BEGIN
			EXECUTE format('SELECT row(%s) FROM (SELECT %s) AS unfilled', part.expression, unfilled);
		EXCEPTION WHEN OTHERS THEN
			RAISE EXCEPTION USING ERRCODE = SQLSTATE, CONSTRAINT = part.name;
		END;
	END LOOP;
END
