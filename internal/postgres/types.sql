-- Which of the types $1 do not exist, and which are made of one that Postgres does not read as it is written: times
-- and dates have words such as now, and some types round, cut or look up what they read. As one JSON document.
WITH RECURSIVE parts AS (
	SELECT name, to_regtype(name)::oid AS oid, -1 AS typmod FROM unnest($1::text[]) AS name
	UNION
	SELECT p.name, below.oid, below.typmod FROM parts p JOIN pg_type t ON t.oid = p.oid CROSS JOIN LATERAL (
		SELECT t.typbasetype AS oid, t.typtypmod AS typmod WHERE t.typtype = 'd'
		UNION ALL SELECT t.typelem, p.typmod WHERE t.typelem <> 0
		UNION ALL SELECT r.rngsubtype, -1 FROM pg_range r WHERE t.oid::text IN (r.rngtypid::text, to_jsonb(r)->>'rngmultitypid') -- from PostgreSQL 14 on
		UNION ALL SELECT a.atttypid, a.atttypmod FROM pg_attribute a WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
	) AS below
)
SELECT json_agg(json_build_object('name', p.name, 'of', format_type(p.oid, p.typmod)))::text
FROM parts p LEFT JOIN pg_type t ON t.oid = p.oid
WHERE p.oid IS NULL OR t.typnamespace = 'pg_catalog'::regnamespace AND (
	t.typname IN ('date', 'time', 'timetz', 'timestamp', 'timestamptz', 'interval', 'money', 'name', 'char', 'oid', 'xid', 'cid', 'tid') OR t.typname LIKE 'reg%'
	OR t.typname = 'numeric' AND p.typmod >= 0)
