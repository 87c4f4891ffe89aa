package postgres

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// Migrate executes statements, those of batch.Table.DDL among them, in one transaction, and returns
// which of the tables were missing. It skips the indexes and comments of those that were not.
func (s *Store) Migrate(ctx context.Context, statements []string) ([]batch.Migrated, error) {
	c, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer closeConn(c)
	var tables []batch.Migrated
	created := false // the last table
	d := s.destinations[0]
	for _, sql := range slices.Concat([]string{"BEGIN"}, statements, []string{"COMMIT"}) {
		if batch.OfNewTable(sql) && !created {
			continue
		}
		name, creates := strings.CutPrefix(sql, "CREATE TABLE IF NOT EXISTS ")
		if creates {
			name, _, _ = strings.Cut(name, " ")
			d = s.creating(name)
		}
		c.exists = false
		if _, err := c.Exec(ctx, sql).ReadAll(); err != nil {
			e := fault.Of(s.whyEnded(ctx, "create the tables", err))
			e.Remedy = cmp.Or(d.migrateRemedy(e.Code), e.Remedy)
			return nil, e
		}
		if creates {
			created = !c.exists
			where := batch.Migrated{Name: name, Created: created}
			if err := d.locate(ctx, c, &where); err != nil {
				return nil, s.whyEnded(ctx, "look for the tables", err)
			}
			tables = append(tables, where)
		} else if batch.OfNewTable(sql) && c.exists { // an index of its name, of another table
			_, name, _ := strings.Cut(sql, " IF NOT EXISTS ")
			name, _, _ = strings.Cut(name, " ")
			return nil, databaseError(fault.Error{
				Cause: message.CauseConfiguration,
				What:  "create the tables: the name of the index " + name + " is taken", Remedy: "rename what has it; nothing was created",
			})
		}
	}
	return tables, nil
}

// creating returns the destination that a table, named as in SQL, is for.
func (s *Store) creating(name string) *destination {
	for _, d := range s.destinations {
		for _, d := range append([]*destination{d}, d.children...) {
			if name == table(d.table) || name == ledger(d.table) {
				return d
			}
		}
	}
	return s.destinations[0]
}

// locateSQL finds a table, and one of its name in the schema public, where tables usually are: to
// make a second one beside it is a likely mistake.
const locateSQL = `SELECT format('%I.%I', n.nspname, c.relname),
	(SELECT format('public.%I', o.relname) FROM pg_class o WHERE o.relnamespace = to_regnamespace('public') AND o.relname = c.relname AND o.relkind IN ('r', 'p') AND o.oid <> c.oid)
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)`

// locate completes the name of a table, and looks for another of that name.
func (d *destination) locate(ctx context.Context, c *conn, t *batch.Migrated) error {
	result := c.ExecParams(ctx, locateSQL, [][]byte{[]byte(t.Name)}, nil, nil, nil).Read()
	if result.Err != nil || len(result.Rows) == 0 {
		return result.Err
	}
	t.Name = string(result.Rows[0][0])
	if d.table.Schema == "" { // else the model asks for the schema
		t.Other = string(result.Rows[0][1])
	}
	return nil
}
