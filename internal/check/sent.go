package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
)

// An index that begins with a column: it has the column's least and greatest value.
const leadsSQL = `SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
	JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
	WHERE i.indrelid = $1::oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND a.attname = $2`

// sent looks for rows with an impossible SentTimestamp: it is in milliseconds, and one in seconds
// is stored as January 1970, one in microseconds in the far future. It reads only an index, and
// fetches no value.
func (d *database) sent(ctx context.Context, r *relation) error {
	i := slices.IndexFunc(r.want, func(c wanted) bool { return c.Meta == model.MetaSentAt })
	if i < 0 {
		return nil
	}
	column, ok := r.have[r.want[i].Name]
	if !ok || !column.sel || column.base != "timestamptz" && column.base != "timestamp" {
		return nil
	}
	if found, err := d.query(ctx, leadsSQL, r.oid, column.name); err != nil || len(found) == 0 {
		return err
	}
	name, latest := batch.Quote(column.name), "now() + interval '1 day'"
	if column.base == "timestamp" { // in UTC
		latest = "(" + latest + ") AT TIME ZONE 'UTC'"
	}
	var rows [][]string
	err := d.bounded(ctx, func() (err error) {
		rows, err = d.query(ctx, fmt.Sprintf("SELECT min(%[1]s) < '2000-01-01Z', max(%[1]s) > %[2]s FROM %[3]s", name, latest, r.name))
		return err
	})
	if _, refused := errors.AsType[*pgconn.PgError](err); refused {
		d.Add(Skipped, "table", "sent_time", "", "skipped the sent times of %s: %s", r.name, catalogError(err))
		return nil
	}
	if err != nil {
		return err
	}
	var odd []string
	if rows[0][0] == "t" {
		odd = append(odd, "before the year 2000")
	}
	if rows[0][1] == "t" {
		odd = append(odd, "more than a day from now")
	}
	if len(odd) == 0 {
		d.Add(OK, "table", "sent_time", "", "no row of %s has a sent time before the year 2000 or after tomorrow", r.name)
		return nil
	}
	d.Add(Warning, "table", "sent_time", fmt.Sprintf("let the sender or the bridge write SentTimestamp in milliseconds, check its clock, and correct %s in these rows", column.name),
		"%s has rows that were sent %s: something writes SentTimestamp in another unit than milliseconds (seconds are stored as January 1970), or a clock is wrong", r.name, strings.Join(odd, ", and others "))
	return nil
}
