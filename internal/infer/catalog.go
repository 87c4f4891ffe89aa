package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
)

const tableSQL = `SELECT c.oid, c.relkind FROM pg_class c WHERE c.oid = to_regclass($1)`

// A domain may be over another one: Base is the innermost type, with its length.
const columnsSQL = `WITH RECURSIVE made AS (
	SELECT attnum, atttypid AS type, atttypmod AS typmod, false AS refuses, false AS has, 0 AS depth FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped
	UNION ALL
	SELECT m.attnum, t.typbasetype, t.typtypmod, m.refuses OR t.typnotnull, m.has OR t.typdefault IS NOT NULL, m.depth + 1 FROM made m JOIN pg_type t ON t.oid = m.type AND t.typtype = 'd'
), base AS (SELECT DISTINCT ON (attnum) * FROM made ORDER BY attnum, depth DESC)
SELECT a.attname, format_type(a.atttypid, a.atttypmod), format_type(b.type, b.typmod), a.attnotnull OR b.refuses,
	a.atthasdef OR b.has, a.attgenerated <> '' OR a.attidentity <> '',
	(SELECT json_agg(enumlabel) FROM pg_enum WHERE enumtypid = b.type),
	CASE WHEN pg_type_is_visible(t.oid) THEN quote_ident(t.typname) ELSE format('%I.%I', n.nspname, t.typname) END
	FROM pg_attribute a JOIN base b USING (attnum) JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = $1::oid ORDER BY a.attnum`

// Unique indexes that hold for all rows at once, with the columns of the key only.
const keysSQL = `SELECT i.indexrelid, a.attname FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, nr), pg_attribute a
	WHERE i.indrelid = $1::oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
	AND k.nr <= i.indnkeyatts AND a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY i.indisprimary DESC, i.indexrelid, k.nr`

// ReadTable reads the columns and the keys of a table, whose name may have a schema before it.
func ReadTable(ctx context.Context, conn *pgconn.PgConn, name string) (*Table, error) {
	t := &Table{Name: name}
	if schema, own, ok := strings.Cut(name, "."); ok {
		t.Schema, t.Name = schema, own
	}
	if !plainTable.MatchString(name) {
		return nil, fmt.Errorf("%q cannot be named in a model: a table, and a schema before it, have letters, digits and _ only", name)
	}
	found, err := query(ctx, conn, tableSQL, batch.QuoteTable(t.Schema, t.Name))
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, fmt.Errorf("there is no table %s, or the role cannot see its schema", name)
	case !slices.Contains([]string{"r", "p"}, found[0][1]):
		return nil, fmt.Errorf("%s is not a table, but a view or something else", name)
	}
	columns, err := query(ctx, conn, columnsSQL, found[0][0])
	if err != nil {
		return nil, err
	}
	for _, r := range columns {
		c := &Column{Name: r[0], Type: r[1], Base: r[2], NotNull: r[3] == "t", HasDefault: r[4] == "t", Generated: r[5] == "t", typeName: r[7]}
		_ = json.Unmarshal([]byte(r[6]), &c.Enum) // "" of other types
		t.Columns = append(t.Columns, c)
	}
	keys, err := query(ctx, conn, keysSQL, found[0][0])
	if err != nil {
		return nil, err
	}
	for i, r := range keys {
		if i == 0 || r[0] != keys[i-1][0] {
			t.Keys = append(t.Keys, nil)
		}
		t.Keys[len(t.Keys)-1] = append(t.Keys[len(t.Keys)-1], r[1])
	}
	return t, nil
}

// query returns the rows of a query on the catalog as text; a NULL is "".
func query(ctx context.Context, conn *pgconn.PgConn, sql, arg string) (rows [][]string, err error) {
	result := conn.ExecParams(ctx, sql, [][]byte{[]byte(arg)}, nil, nil, nil).Read()
	if refused, ok := errors.AsType[*pgconn.PgError](result.Err); ok {
		return nil, fmt.Errorf("read the catalog: %s", message.SQLState(refused.Code))
	}
	if result.Err != nil {
		return nil, errors.New("read the catalog: the connection broke")
	}
	for _, r := range result.Rows {
		row := make([]string, len(r))
		for i, v := range r {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	return rows, nil
}
