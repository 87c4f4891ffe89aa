package main

import (
	"context"
	"fmt"

	"example.com/owner/sluice/internal/config"
)

type migrateCmd struct{}

// Run implements the command.
func (migrateCmd) Run(ctx context.Context, con *console) error {
	parts, err := con.load(config.Database)
	if err != nil {
		return err
	}
	tables, err := parts.Migrate(ctx)
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
