-- What would change values in silence, by what the statements send to each column: the types that text is read as and
-- that Postgres does not read as it is written, casts that keep another value, and columns that no mask fits in. And how
-- columns read text: how many characters there is room for where blanks beyond them are cut, and what is between the
-- elements of an array. As one JSON document.
-- $1: tables, $2: columns, $3: the types that are sent, $4: whether they read text, $5: the length of masks, $6: whether
-- arrays are sent as text, $7: how many digits after the point a column that says which row is newer must keep, -1 for
-- other columns.
WITH RECURSIVE wanted AS (
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bool[], $5::int[], $7::int[]) WITH ORDINALITY AS w(relation, name, sent, reads, mask, digits, n)
), parts AS (
	-- What a type is made of. All but a type itself, or what a domain is over, is inner.
	(
		SELECT n, reads, false AS live, false AS inner_part, to_regtype(sent)::oid AS oid, -1 AS typmod FROM wanted
		UNION ALL
		SELECT w.n, false, true, false, a.atttypid, a.atttypmod
		FROM wanted w JOIN pg_attribute a ON a.attrelid = to_regclass(w.relation) AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
	)
	UNION
	SELECT p.n, p.reads, p.live, p.inner_part OR t.typtype <> 'd', below.oid, below.typmod FROM parts p JOIN pg_type t ON t.oid = p.oid CROSS JOIN LATERAL (
		SELECT t.typbasetype AS oid, t.typtypmod AS typmod WHERE t.typtype = 'd'
		UNION ALL SELECT t.typelem, p.typmod WHERE t.typelem <> 0 AND t.typlen = -1 -- a point is no array
		UNION ALL SELECT r.rngsubtype, -1 FROM pg_range r WHERE p.reads AND t.oid::text IN (r.rngtypid::text, to_jsonb(r)->>'rngmultitypid') -- from PostgreSQL 14 on
		UNION ALL SELECT a.atttypid, a.atttypmod FROM pg_attribute a WHERE p.reads AND t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
	) AS below
), built_in AS (
	SELECT p.*, t.typname AS type, t.typname IN ('varchar', 'bpchar') AND p.typmod >= 0 AS cuts, format_type(p.oid, p.typmod) AS spelled
	FROM parts p JOIN pg_type t ON t.oid = p.oid WHERE t.typnamespace = 'pg_catalog'::regnamespace
), wrong AS (
	SELECT n, 'missing' AS why, NULL AS type, NULL AS spelled FROM parts WHERE reads AND oid IS NULL
	UNION ALL
	SELECT n, 'reads', type, spelled FROM built_in
	WHERE reads AND rewrites_text -- RewritesText
	UNION ALL
	SELECT n, 'casts', live.type, live.spelled FROM built_in sent JOIN built_in live USING (n, inner_part)
	WHERE live.live AND NOT sent.live AND (
		(sent.type, live.type) IN (
			('timestamptz', 'timestamp'), ('timestamptz', 'date'), ('timestamptz', 'time'), ('timestamptz', 'timetz'),
			('timestamp', 'timestamptz'), ('timestamp', 'date'), ('timestamp', 'time'), ('date', 'timestamptz'), ('time', 'timetz'), ('interval', 'time'),
			('numeric', 'int2'), ('numeric', 'int4'), ('numeric', 'int8'), ('numeric', 'money'),
			('float4', 'int2'), ('float4', 'int4'), ('float4', 'int8'), ('float8', 'int2'), ('float8', 'int4'), ('float8', 'int8'),
			('inet', 'cidr'), ('text', 'name'), ('varchar', 'name'), ('bpchar', 'name'), ('numeric', 'name'), ('json', 'name'), ('jsonb', 'name'))
		OR live.type = 'char' AND sent.type <> 'char'
		OR live.type = 'interval' AND live.typmod >= 0 AND live.typmod >> 16 & 32767 <> 32767) -- the units that it keeps
	UNION ALL
	SELECT n, 'mask', type, spelled FROM built_in JOIN wanted USING (n) WHERE cuts AND NOT inner_part AND typmod - 4 < mask
	UNION ALL
	SELECT n, 'newer', type, spelled FROM built_in JOIN wanted USING (n)
	WHERE live AND NOT inner_part AND typmod >= 0 AND digits > CASE WHEN type IN ('timestamptz', 'timestamp') THEN typmod
		WHEN type = 'numeric' AND digits >= 0 THEN ((typmod - 4) & 1023) - ((typmod - 4) & 1024) END
	UNION ALL
	SELECT 1, 'nulls', NULL, NULL WHERE $6::bool AND current_setting('array_nulls') = 'off'
)
SELECT json_build_object(
	'wrong', (SELECT json_agg(json_build_object('column', n - 1, 'why', why, 'type', type, 'spelled', spelled) ORDER BY n) FROM wrong),
	'text', (SELECT json_agg(json_build_object(
			'room', (SELECT min(typmod - 4) FROM built_in b WHERE b.n = w.n AND w.reads AND cuts AND NOT inner_part),
			'delimiter', coalesce((SELECT typdelim FROM pg_type WHERE oid = to_regtype(sent)), ',')) ORDER BY n) FROM wanted w))
