package main

import (
	"context"
	"fmt"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/config"
)

type migrateCmd struct {
	JSON bool `help:"Print JSON."`
}

// migratedTables are the tables of a model, and which of them a migration has created.
type migratedTables struct {
	Tables []batch.Migrated `json:"tables"`
}

// Run implements the command.
func (c *migrateCmd) Run(ctx context.Context, con *console) error {
	parts, err := con.load(config.Database)
	if err != nil {
		return err
	}
	tables, err := parts.Migrate(ctx)
	if c.JSON && err == nil {
		return con.printJSON(migratedTables{tables}, nil)
	}
	for _, t := range tables {
		what := "exists, and was not changed"
		if t.Created {
			what = "created"
		}
		fmt.Fprintf(con.stdout, "%s %s\n", t.Name, what)
		if t.Other != "" {
			fmt.Fprintf(con.stderr, "sluice: %s is another table of that name; no row goes there. To use it, put its schema first in the role's search_path, or name it in the model, as in table: %s\n", t.Other, t.Other)
		}
	}
	return err
}
