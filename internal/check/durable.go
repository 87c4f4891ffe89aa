package check

import (
	"context"
	"fmt"
	"strings"

	"example.com/owner/sluice/internal/batch"
)

const commitsSQL = `SELECT setting, source, current_database() FROM pg_settings WHERE name = 'synchronous_commit'`

// commits looks whether the server confirms a commit before it is on disk.
func (d *database) commits(ctx context.Context) error {
	rows, err := d.query(ctx, commitsSQL)
	if err != nil {
		return err
	}
	setting, source, name := rows[0][0], rows[0][1], batch.Quote(rows[0][2])
	if setting != "off" {
		d.Add(OK, "database", "synchronous_commit", "", "a commit waits until it is on disk (synchronous_commit = %s)", setting)
		return nil
	}
	from, remedy := "", "set synchronous_commit = on for the role"
	switch source {
	case "configuration file", "command line", "environment variable":
		from, remedy = ", by the server's configuration", "set synchronous_commit = on in postgresql.conf or the parameter group"
	case "global":
		from, remedy = ", by ALTER ROLE ALL", "ALTER ROLE ALL RESET synchronous_commit"
	case "database":
		from, remedy = ", by ALTER DATABASE", fmt.Sprintf("ALTER DATABASE %s RESET synchronous_commit", name)
	case "user":
		from, remedy = ", by ALTER ROLE", fmt.Sprintf("ALTER ROLE %s RESET synchronous_commit", d.role)
	case "database user":
		from, remedy = ", by ALTER ROLE IN DATABASE", fmt.Sprintf("ALTER ROLE %s IN DATABASE %s RESET synchronous_commit", d.role, name)
	case "client":
		from, remedy = ", by the connection's own parameters", "remove synchronous_commit from "+d.names.URL
	}
	d.Add(Warning, "database", "synchronous_commit", remedy,
		"synchronous_commit is off%s: the server confirms a commit before it is on disk, and loses it in a crash. sluice turns it on for its own transactions; other clients that write rows do not", from)
	return nil
}

// The storage of a table: the table itself, or its partitions. A partitioned table can be called
// UNLOGGED, and that means nothing.
const unloggedSQL = `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.oid IN (SELECT $1::oid UNION SELECT relid FROM pg_partition_tree($1::oid)) AND c.relkind = 'r' AND c.relpersistence = 'u' ORDER BY 1`

// named is how many names a finding lists at most.
const named = 3

// logged looks for tables that Postgres empties after a crash.
func (d *database) logged(ctx context.Context, r *relation) error {
	rows, err := d.query(ctx, unloggedSQL, r.oid)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		d.Add(OK, "table", "unlogged", "", "the rows of %s are in the write-ahead log, and survive a crash", r.name)
		return nil
	}
	names := make([]string, len(rows))
	for i, row := range rows {
		names[i] = row[0]
	}
	who := names[0] + " is"
	remedy := fmt.Sprintf("ALTER TABLE %s SET LOGGED (it locks the table while it writes all of it to the log)", names[0])
	switch n := len(names); {
	case n > named:
		who = fmt.Sprintf("%d partitions of %s (%s and others) are", n, r.name, strings.Join(names[:named], ", "))
	case n > 1:
		who = fmt.Sprintf("%d partitions of %s (%s) are", n, r.name, strings.Join(names, ", "))
	case names[0] != r.name:
		who = fmt.Sprintf("the partition %s of %s is", names[0], r.name)
	}
	if len(names) > 1 {
		remedy += ", and the same for the others"
	}
	d.Add(Error, "table", "unlogged", remedy,
		"%s UNLOGGED: after a crash of the server, or on a replica that takes over, its rows are gone, and SQS has deleted their messages", who)
	return nil
}
