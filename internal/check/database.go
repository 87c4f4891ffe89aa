package check

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

const (
	// oldestVersion of Postgres that tests run against, as server_version_num.
	oldestVersion = 140000
	// maxSkew between two clocks. AWS refuses signatures that are 5 minutes off.
	maxSkew = 5 * time.Second
	// hangUpTime limits a clean disconnect.
	hangUpTime = time.Second
)

// Connector opens a connection to the database that rows go to.
type Connector interface {
	Connect(ctx context.Context) (*pgconn.PgConn, error)
	// Unverified returns what TLS leaves unverified on Connect's connection, "" if the server is
	// verified or is this machine.
	Unverified() string
}

// Database compares the models of a queue with the live database, as the role that connects.
func Database(ctx context.Context, c Connector, models *model.Set, names fault.Names) Findings {
	d := &database{models: models, names: names, places: map[string]place{}}
	conn, err := c.Connect(ctx)
	if err != nil {
		d.Failure("database", "connect", err)
		return d.Findings
	}
	defer hangUp(context.WithoutCancel(ctx), conn)
	d.conn = conn
	for _, look := range []func(context.Context) error{d.server, d.commits, d.statementTime, d.serverLog, d.tables, d.order} {
		if err := look(ctx); err != nil {
			d.Add(Skipped, "database", "catalog", "", "skipped the rest of the database: %s", catalogError(err))
			break
		}
	}
	d.encryption(c.Unverified())
	return d.Findings
}

// hangUp disconnects cleanly. If the network has gone silent, it only closes the connection.
func hangUp(ctx context.Context, conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(ctx, hangUpTime)
	defer cancel()
	_ = conn.Close(ctx) // nothing was changed
}

type database struct {
	Findings
	models *model.Set
	model  *model.Model // whose table is looked at
	// parent is the model whose children go to the table; nil for a model's own.
	parent *model.Model
	index  int              // of the model, or of its parent
	places map[string]place // the tables that were looked at, by oid
	names  fault.Names
	conn   *pgconn.PgConn
	role   string // the role that connects, quoted for SQL
	// writable is false on a replica, and where transactions are read only.
	writable bool
	// rowSecurity is the setting: without it Postgres refuses statements that policies apply to.
	rowSecurity bool
}

// relation is a live table that rows go to.
type relation struct {
	name, oid string // the name is quoted, and has its schema
	want      []wanted
	have      map[string]live
	// key is the key's columns; nil where a ledger has them instead, and for children that are stored
	// with a new parent alone: their INSERT has no ON CONFLICT.
	key []string
}

// catalogError describes an error of a query on the catalog, which meets no values of rows.
func catalogError(err error) string {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return message.SQLState(refused.Code)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no time left"
	}
	return "the connection broke"
}

// query returns the rows of a query as text; a NULL is "".
func (d *database) query(ctx context.Context, sql string, args ...string) ([][]string, error) {
	params := make([][]byte, len(args))
	for i, a := range args {
		params[i] = []byte(a)
	}
	result := d.conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, result.Err
	}
	rows := make([][]string, len(result.Rows))
	for i, r := range result.Rows {
		rows[i] = make([]string, len(r))
		for j, v := range r {
			rows[i][j] = string(v)
		}
	}
	return rows, nil
}

// The limits of a statement that touches rows or is large. The last timeout is for a network that
// breaks in between. JIT would compile for seconds what runs once.
const boundsSQL = `BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '3s';
	SET LOCAL idle_in_transaction_session_timeout = '5s'; SET LOCAL jit = off`

// bounded runs f in a transaction that has limits and is rolled back.
func (d *database) bounded(ctx context.Context, f func() error) error {
	_, err := d.conn.Exec(ctx, boundsSQL).ReadAll()
	if err == nil {
		err = f()
	}
	_, ended := d.conn.Exec(ctx, "ROLLBACK").ReadAll()
	return cmp.Or(err, ended)
}

const serverSQL = `SELECT current_setting('server_version_num'), current_setting('server_version'), current_setting('transaction_read_only'),
	pg_is_in_recovery(), (extract(epoch FROM clock_timestamp()) * 1000)::bigint, current_user, current_setting('server_encoding'),
	current_setting('row_security')`

func (d *database) server(ctx context.Context) error {
	before := time.Now()
	rows, err := d.query(ctx, serverSQL)
	if err != nil {
		return err
	}
	took := time.Since(before)
	r := rows[0]
	d.role, d.writable, d.rowSecurity = batch.Quote(r[5]), r[3] != "t" && r[2] != "on", r[7] == "on"
	d.Add(OK, "database", "connect", "", "connected as %s to PostgreSQL %s", r[5], r[1])
	if version, _ := strconv.Atoi(r[0]); version < oldestVersion {
		d.Add(Warning, "database", "version", "upgrade to 14 or newer", "PostgreSQL %s is older than what sluice is tested with", r[1])
	}
	switch {
	case r[3] == "t":
		d.Add(Error, "database", "read_only", "use the primary's host (the cluster's writer endpoint) in "+d.names.URL, "the server is a replica, and accepts no rows")
	case r[2] == "on":
		d.Add(Error, "database", "read_only", "ALTER ROLE … or ALTER DATABASE … SET default_transaction_read_only = off", "transactions are read only, so no row can be stored")
	}
	millis, err := strconv.ParseInt(r[4], 10, 64)
	if err != nil {
		return err
	}
	d.clocks(time.UnixMilli(millis).Sub(before.Add(took/2)), took)
	d.encoding(r[6])
	return nil
}

// clocks judges how far the server's clock is ahead of this machine's.
func (d *database) clocks(ahead, took time.Duration) {
	if off := ahead.Abs(); off > maxSkew+took/2 {
		word := "ahead of"
		if ahead < 0 {
			word = "behind"
		}
		d.Add(Warning, "database", "clock", "synchronize both (chrony or NTP): AWS refuses signatures that are 5 minutes off, and IAM tokens of the database expire after 15 minutes",
			"the server's clock is %v %s this machine's", off.Round(time.Second), word)
		return
	}
	d.Add(OK, "database", "clock", "", "the server's clock and this machine's agree")
}

func (d *database) encryption(unverified string) {
	_, encrypted := d.conn.Conn().(*tls.Conn)
	remedy := "use sslmode=verify-full in " + d.names.URL + ", or name no sslmode"
	switch remote := d.conn.Conn().RemoteAddr(); {
	case encrypted && unverified != "":
		d.Add(Warning, "database", "tls", remedy, "%s", unverified)
	case encrypted && loopback(remote):
		d.Add(OK, "database", "tls", "", "the connection is encrypted and stays on this machine")
	case encrypted:
		d.Add(OK, "database", "tls", "", "the connection is encrypted, and the server's certificate is verified")
	case loopback(remote):
		d.Add(OK, "database", "tls", "", "the connection is not encrypted and stays on this machine")
	default:
		d.Add(Error, "database", "tls", "remove sslmode from "+d.names.URL+", so that it is verify-full, and turn on TLS in the server",
			"rows and the password cross the network unencrypted")
	}
}

func loopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback() // else a Unix socket
}

// tables looks at the tables of all models, in the order in which these are tried.
func (d *database) tables(ctx context.Context) error {
	for i, m := range d.models.Models {
		if m.Ignore {
			continue
		}
		d.model, d.parent, d.index = m, nil, i
		if err := d.tablesOfModel(ctx); err != nil {
			return err
		}
		for _, child := range m.Also {
			d.model, d.parent = child, m
			if err := d.tablesOfModel(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// needs returns what the role may have to do with the table, beside INSERT.
func (d *database) needs() Needs {
	if d.parent != nil {
		return NeedsOfChild(d.parent.Table, d.model.Table)
	}
	return NeedsOf(d.model.Table)
}

// replaces reports whether rows of the table are replaced.
func (d *database) replaces() bool {
	return d.model.Table.OnConflict == batch.Replace || d.parent != nil && d.parent.Table.OnConflict == batch.Replace
}

func (d *database) tablesOfModel(ctx context.Context) error {
	t := d.model.Table
	var columns, ledger []wanted
	values := d.model.Defaults()
	for i, c := range d.model.Columns {
		if w := (wanted{Column: c, notNull: t.Columns[i].NotNull, value: values[i]}); t.Columns[i].Ledger {
			ledger = append(ledger, w)
		} else {
			columns = append(columns, w)
		}
	}
	key := namesOf(t, t.Key)
	if d.parent != nil && !d.replaces() {
		key = nil // sluice looks up the parent's key only
	}
	if t.Ledger == "" {
		return d.table(ctx, t.Name, columns, key)
	}
	if err := d.table(ctx, t.Name, columns, nil); err != nil {
		return err
	}
	return d.table(ctx, t.Ledger, ledger, key)
}

const tableSQL = `SELECT c.oid, c.relkind, c.relrowsecurity AND NOT (pg_has_role(c.relowner, 'USAGE') AND NOT c.relforcerowsecurity) AND NOT (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = current_user),
	has_schema_privilege(c.relnamespace, 'USAGE'), (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_namespace n WHERE n.oid = c.relnamespace),
	(SELECT format('public.%I', o.relname) FROM pg_class o WHERE o.relnamespace = to_regnamespace('public') AND o.relname = c.relname AND o.relkind IN ('r', 'p') AND o.oid <> c.oid),
	has_table_privilege(c.oid, 'DELETE')
	FROM pg_class c WHERE c.oid = to_regclass($1)`

// A domain can be based on another one: its type and length are those of the innermost, and each
// that is NOT NULL refuses a NULL. The default is its own. The length of an array is that of its
// elements.
const columnsSQL = `WITH RECURSIVE made AS (
	SELECT attnum, atttypid AS type, atttypmod AS typmod, false AS refuses, 0 AS depth FROM pg_attribute WHERE attrelid = $1::oid AND attnum > 0 AND NOT attisdropped
	UNION ALL
	SELECT m.attnum, t.typbasetype, t.typtypmod, m.refuses OR t.typnotnull, m.depth + 1 FROM made m JOIN pg_type t ON t.oid = m.type AND t.typtype = 'd'
), base AS (SELECT DISTINCT ON (attnum) * FROM made ORDER BY attnum, depth DESC)
SELECT a.attname, coalesce(e.typname, t.typname), b.typmod, format_type(a.atttypid, a.atttypmod),
	a.attnotnull OR b.refuses, b.refuses, a.atthasdef OR a.attidentity <> '' OR own.typdefault IS NOT NULL, a.attgenerated <> '' OR a.attidentity = 'a',
	has_column_privilege(a.attrelid, a.attnum, 'INSERT'), has_column_privilege(a.attrelid, a.attnum, 'SELECT'), has_column_privilege(a.attrelid, a.attnum, 'UPDATE'),
	e.oid IS NOT NULL, a.atttypid, t.oid, format_type(a.atttypid, NULL), (SELECT json_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = t.oid)
	FROM pg_attribute a JOIN base b USING (attnum) JOIN pg_type t ON t.oid = b.type JOIN pg_type own ON own.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
	WHERE a.attrelid = $1::oid ORDER BY a.attnum`

func (d *database) table(ctx context.Context, table string, want []wanted, key []string) error {
	name := batch.QuoteTable(d.model.Table.Schema, table)
	rows, err := d.query(ctx, tableSQL, name)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == "42501" {
		d.Add(Error, "grants", "grant_schema", "GRANT USAGE on the schema to the role", "the role may not use the schema of %s", name)
		return nil
	}
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		d.Add(Error, "table", "table_missing", fmt.Sprintf("%#q creates it; %#q prints the SQL. If it exists: GRANT USAGE on its schema to the role, or name the schema in the model's table", d.names.Migrate, d.names.Schema),
			"there is no table %s, or the role cannot see its schema", name)
		return nil
	}
	oid, kind, other, deletes := rows[0][0], rows[0][1], rows[0][5], rows[0][6] == "t"
	name = rows[0][4]
	if other != "" && d.model.Table.Schema == "" {
		d.Add(Warning, "table", "another_table", fmt.Sprintf("if %s is meant, put its schema first in the role's search_path, or name it in the model, as in table: %s", other, other),
			"rows go to %s, and none to %s", name, other)
	}
	if kind != "r" && kind != "p" {
		d.Add(Error, "table", "table_kind", "name a table in the model", "%s is not a table, but a view or something else", name)
		return nil
	}
	d.places[oid] = place{name, d.index}
	secured := rows[0][2] == "t"
	if rows[0][3] != "t" {
		d.Add(Error, "grants", "grant_schema", "GRANT USAGE on the schema to the role", "the role may not use the schema of %s", name)
	}
	if rows, err = d.query(ctx, columnsSQL, oid); err != nil {
		return err
	}
	have := map[string]live{}
	for _, r := range rows {
		typmod, _ := strconv.Atoi(r[2])
		var labels []string
		_ = json.Unmarshal([]byte(r[15]), &labels) // "" has none
		have[r[0]] = live{
			name: r[0], base: r[1], typmod: typmod, shown: r[3], notNull: r[4] == "t", domain: r[5] == "t", hasValue: r[6] == "t", generated: r[7] == "t", insert: r[8] == "t", sel: r[9] == "t", update: r[10] == "t",
			list: r[11] == "t", oid: r[12], baseOID: r[13], own: r[14], labels: labels,
		}
	}
	if err := d.byName(ctx, want, have); err != nil {
		return err
	}
	r := &relation{name: name, oid: oid, want: want, have: have, key: key}
	d.columns(name, have, want)
	d.grants(r, deletes)
	looks := []func(context.Context, *relation) error{d.values, d.logged, d.key, d.indexes, d.byParent, d.expressions, d.diverted, d.partitions, d.sent}
	if secured {
		looks = slices.Insert(looks, 0, d.policies)
	}
	for _, look := range looks {
		if err := look(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// grants looks for what the role may not do. The ledger, or the table without one, has the key.
func (d *database) grants(r *relation, deletes bool) {
	t, name, key := d.model.Table, r.name, r.key
	needs := d.needs()
	if key == nil {
		needs = Needs{}
	}
	reads, updates := namesOf(t, needs.Select), namesOf(t, needs.Update)
	var insert, sel, update []string
	for _, c := range r.want {
		l, ok := r.have[c.Name]
		if !ok {
			continue
		}
		if !l.insert {
			insert = append(insert, c.Name)
		}
		if !l.sel && slices.Contains(reads, c.Name) {
			sel = append(sel, c.Name)
		}
		if !l.update && slices.Contains(updates, c.Name) {
			update = append(update, c.Name)
		}
	}
	if len(insert) > 0 {
		d.Add(Error, "grants", "grant_insert", fmt.Sprintf("GRANT INSERT ON %s TO the role", name), "the role may not INSERT into %s: %s", name, strings.Join(insert, ", "))
	}
	if len(update) > 0 {
		d.Add(Error, "grants", "grant_update", fmt.Sprintf("GRANT UPDATE (%s) ON %s TO the role: a newer row replaces an older one", strings.Join(updates, ", "), name),
			"the role may not UPDATE %s: %s", name, strings.Join(update, ", "))
	}
	if needs.Delete && !deletes {
		d.Add(Error, "grants", "grant_delete", fmt.Sprintf("GRANT DELETE ON %s TO the role: a newer message may have fewer rows", name), "the role may not DELETE from %s", name)
	}
	what, why, can := "the key of "+name, "ON CONFLICT reads them", ", and read its key"
	switch {
	case key == nil:
		can = ""
	case needs.Delete:
		what, why, can = "the columns of "+name+" that a newer message replaces", "ON CONFLICT DO UPDATE and DELETE read them", ", and read, UPDATE and DELETE what a newer message replaces"
	case t.OnConflict == batch.Replace:
		what, why, can = "the columns of "+name+" that a newer row replaces", "ON CONFLICT DO UPDATE reads them", ", and read and UPDATE what a newer row replaces"
	case t.FindsConflicts():
		what, why, can = "what is compared in "+name, "a row is compared with the stored one that has its key", ", and read its key and what is compared"
	}
	severity := Error
	if t.FindsConflicts() && t.OnConflict == batch.Keep && !slices.ContainsFunc(sel, func(name string) bool { return slices.Contains(key, name) }) {
		severity, why = Warning, "without it, a row of another message with the same key counts as a duplicate, whatever it says"
	}
	if len(sel) > 0 {
		d.Add(severity, "grants", "grant_select", fmt.Sprintf("GRANT SELECT (%s) ON %s TO the role: %s", strings.Join(reads, ", "), name, why),
			"the role may not SELECT %s: %s", what, strings.Join(sel, ", "))
	}
	if len(insert)+len(sel)+len(update) == 0 && (deletes || !needs.Delete) {
		d.Add(OK, "grants", "grants", "", "the role may INSERT into %s%s", name, can)
	}
}

// namesOf returns the names of columns.
func namesOf(t *batch.Table, columns []int) (names []string) {
	for _, i := range columns {
		names = append(names, t.Columns[i].Name)
	}
	return names
}

const keysSQL = `SELECT i.indimmediate, i.indisvalid, i.indpred IS NULL AND i.indexprs IS NULL,
	(SELECT string_agg(a.attname, ' ' ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))
	FROM pg_index i WHERE i.indrelid = $1::oid AND i.indisunique`

// key looks for the unique index that ON CONFLICT needs: on exactly the key's columns, in any
// order.
func (d *database) key(ctx context.Context, r *relation) error {
	if r.key == nil {
		return nil
	}
	name, key := r.name, r.key
	rows, err := d.query(ctx, keysSQL, r.oid)
	if err != nil {
		return err
	}
	sorted := slices.Sorted(slices.Values(key))
	columns := strings.Join(key, ", ")
	remedy := fmt.Sprintf("ALTER TABLE %s ADD UNIQUE (%s)", name, columns)
	if m := d.model; d.parent == nil && m.Table.Ledger == "" && m.Table.OnConflict == batch.Keep && m.Also == nil { // the loader allows one
		remedy += "; or use a model with a ledger, as user_logins_plain"
	}
	problem := fmt.Sprintf("%s has no unique key on (%s): no row can be stored exactly once", name, columns)
	unusable := fmt.Sprintf("the unique key of %s on (%s) is ", name, columns)
	for _, r := range rows {
		switch {
		case r[3] != strings.Join(sorted, " "):
		case r[0] == "t" && r[1] == "t" && r[2] == "t":
			d.Add(OK, "table", "key", "", "%s has the unique key (%s)", name, columns)
			return nil
		case r[0] != "t":
			problem = unusable + "deferrable, and ON CONFLICT cannot use it"
		case r[2] != "t":
			problem = unusable + "partial, and ON CONFLICT cannot use it"
		default:
			problem = unusable + "not valid (its CREATE INDEX CONCURRENTLY failed)"
		}
	}
	d.Add(Error, "table", "key", remedy, "%s", problem)
	return nil
}

// The columns of each index, in its order. They are followed by a comma, so that a prefix is one of
// whole names.
const indexesSQL = `SELECT (SELECT string_agg(a.attname || ',', '' ORDER BY k.n) FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.n <= i.indnkeyatts)
	FROM pg_index i WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL`

// indexes looks for the indexes that the model names: migrate creates them with a table, and adds
// none to one that exists.
func (d *database) indexes(ctx context.Context, r *relation) error {
	t := d.model.Table
	if len(t.Indexes) == 0 || t.Ledger != "" && r.key != nil { // that is the ledger
		return nil
	}
	rows, err := d.query(ctx, indexesSQL, r.oid)
	if err != nil {
		return err
	}
	var missing []string
	for _, index := range t.Indexes {
		begins, names := "", make([]string, len(index))
		for i, c := range index {
			names[i] = batch.Quote(t.Columns[c].Name)
			begins += t.Columns[c].Name + ","
		}
		if !slices.ContainsFunc(rows, func(r []string) bool { return strings.HasPrefix(r[0], begins) }) {
			missing = append(missing, "("+strings.Join(names, ", ")+")")
		}
	}
	for _, columns := range missing {
		d.Add(Warning, "table", "index_missing", fmt.Sprintf("CREATE INDEX CONCURRENTLY ON %s %s (of a partitioned table without CONCURRENTLY): a table that exists gets none from %#q", r.name, columns, d.names.Migrate),
			"%s has no index that begins with %s, which the model names", r.name, columns)
	}
	if missing == nil {
		d.Add(OK, "table", "indexes", "", "%s has the indexes of the model", r.name)
	}
	return nil
}

// byParent looks for an index that finds the rows of a parent: those that its newer message no longer has
// are deleted.
func (d *database) byParent(ctx context.Context, r *relation) error {
	if d.parent == nil || !d.replaces() {
		return nil
	}
	rows, err := d.query(ctx, indexesSQL, r.oid)
	if err != nil {
		return err
	}
	names := namesOf(d.model.Table, d.model.Table.Parent)
	columns := strings.Join(names, ", ")
	for _, row := range rows {
		index := strings.Split(row[0], ",")
		if slices.Equal(slices.Sorted(slices.Values(index[:min(len(names), len(index))])), slices.Sorted(slices.Values(names))) {
			d.Add(OK, "table", "index_parent", "", "%s has an index that begins with (%s), which finds the rows of a row of %s", r.name, columns, d.parent.Table.Name)
			return nil
		}
	}
	d.Add(Warning, "table", "index_parent", fmt.Sprintf("CREATE INDEX CONCURRENTLY ON %s (%s) (of a partitioned table without CONCURRENTLY)", r.name, columns),
		"%s has no index that begins with (%s): the rows that a newer message no longer has are looked for in the whole table", r.name, columns)
	return nil
}
