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

// A plain table is in no tree; one that is itself a partition is the only node of its tree. A
// constraint includes those of the ancestors, and is NULL for a lone default partition.
const partitionsSQL = `SELECT relid::oid, coalesce(parentrelid::oid::text, ''), isleaf, coalesce(pg_get_partition_constraintdef(relid), 'true')
	FROM pg_partition_tree($1::oid) ORDER BY level, relid`

// perQuery is how many constraints the server evaluates at once: a SELECT has at most 1664 columns,
// and a table can have thousands of partitions.
const perQuery = 500

// ahead is how long before rows are refused check warns.
const ahead = "7 days"

// partition is a node of a table's tree of partitions.
type partition struct {
	oid        string
	leaf       bool
	constraint string // as SQL, of columns of the table
}

// tree is a partitioned table, or a partition.
type tree struct {
	*database
	columns  []wanted
	children map[string][]partition // by the parent's oid
	// unsure is set if a constraint reads something that is not known.
	unsure bool
}

// partitions looks whether rows that are sent now and soon have a partition. It does not read
// bounds: the server evaluates each partition's constraint on a row.
func (d *database) partitions(ctx context.Context, r *relation) error {
	name, oid := r.name, r.oid
	rows, err := d.query(ctx, partitionsSQL, oid)
	if err != nil || len(rows) == 0 {
		return err
	}
	t := tree{database: d, columns: r.want, children: map[string][]partition{}}
	leaves := 0
	for _, row := range rows {
		p := partition{oid: row[0], leaf: row[2] == "t", constraint: row[3]}
		t.children[row[1]] = append(t.children[row[1]], p)
		if p.leaf {
			leaves++
		}
	}
	root := partition{oid: oid, leaf: rows[0][2] == "t", constraint: rows[0][3]}
	who := "no partition of " + name
	remedy := fmt.Sprintf("create the next partitions, and fix the job that creates them; until then CREATE TABLE … PARTITION OF %s DEFAULT takes every row", name)
	if root.leaf {
		who, remedy = name+" is itself a partition, and not one that", "name the partitioned table in the model"
	}
	if leaves == 0 {
		d.Add(Error, "table", "partition_none", remedy, "%s is partitioned and has no partition: every row is refused", name)
		return nil
	}
	for _, when := range []struct {
		after, rule, text string
		severity          Severity
	}{
		{"0", "partition_now", "takes a row that is sent now: it is refused", Error},
		{ahead, "partition_soon", "takes a row that is sent " + ahead + " from now: it will be refused", Warning},
	} {
		switch taken, err := t.takes(ctx, []partition{root}, when.after); {
		case err != nil:
			return err
		case !taken:
			d.Add(when.severity, "table", when.rule, remedy, "%s %s", who, when.text)
			return nil
		}
	}
	if !t.unsure {
		d.Add(OK, "table", "partitions", "", "%s has partitions for rows of now and of %s from now", name, ahead)
	}
	return nil
}

// row is SQL for a table of one row, with the columns that are known of a message that is sent that
// long from now. Its name is one that no constraint uses.
func (t *tree) row(after string) string {
	var known []string
	for _, c := range t.columns {
		if c.Meta != model.MetaSentAt && c.Meta != model.MetaSentDate && c.Meta != model.MetaReceivedAt {
			continue // another for each message, or with the keys
		}
		at := fmt.Sprintf("now() + interval '%s'", after)
		if c.Type.Base != "timestamptz" {
			at = fmt.Sprintf("((%s) AT TIME ZONE 'UTC')::%s", at, c.Type.Base)
		}
		known = append(known, at+" AS "+batch.Quote(c.Name))
	}
	return "(SELECT " + strings.Join(known, ", ") + `) AS "a row of sluice"`
}

// takes reports whether one of these partitions takes the row, or may take it.
func (t *tree) takes(ctx context.Context, siblings []partition, after string) (bool, error) {
	for some := range slices.Chunk(siblings, perQuery) {
		mine, err := t.satisfied(ctx, some, after)
		if err != nil {
			return false, err
		}
		for i, p := range some {
			if !mine[i] {
				continue
			}
			if p.leaf {
				return true, nil
			}
			if taken, err := t.takes(ctx, t.children[p.oid], after); taken || err != nil {
				return taken, err
			}
		}
	}
	return false, nil
}

// satisfied evaluates the constraints of siblings, whose keys are the same columns. If the server
// cannot, because the row has no such column, any may hold.
func (t *tree) satisfied(ctx context.Context, siblings []partition, after string) ([]bool, error) {
	mine := make([]bool, len(siblings))
	constraints := make([]string, len(siblings))
	for i, p := range siblings {
		constraints[i] = "(" + p.constraint + ")"
	}
	rows, err := t.query(ctx, "SELECT "+strings.Join(constraints, ", ")+" FROM "+t.row(after))
	if _, ok := errors.AsType[*pgconn.PgError](err); ok {
		t.unsure = true
		for i := range mine {
			mine[i] = true
		}
		return mine, nil
	}
	if err != nil {
		return nil, err
	}
	for i := range mine {
		mine[i] = rows[0][i] == "t"
	}
	return mine, nil
}
