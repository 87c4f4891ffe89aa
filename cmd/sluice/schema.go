package main

import (
	"context"
	"fmt"
	"strings"

	"sluice/internal/config"
	"sluice/internal/sqlite"
)

type schemaCmd struct{}

// Run implements the command.
func (schemaCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	ddl := cfg.Model.DDL()
	if strings.HasPrefix(cfg.DatabaseURL, "sqlite:") {
		ddl = sqlite.DDL(cfg.Model.Table)
	}
	fmt.Fprintf(a.stdout, "%s;\n", strings.Join(ddl, ";\n\n"))
	return nil
}

type migrateCmd struct{}

// Run implements the command.
func (migrateCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(config.Database)
	if err != nil {
		return err
	}
	tables, err := a.migrate(ctx, cfg)
	for _, t := range tables {
		what := "is there already, and is left as it is"
		if t.Created {
			what = "created"
		}
		fmt.Fprintf(a.stdout, "%s %s\n", t.Name, what)
		if t.Other != "" {
			fmt.Fprintf(a.stderr, "sluice: %s is another table, and no row goes there; if it is the one that is meant, see that its schema comes first in the role's search_path, or name it in the model, as in table: %s\n", t.Other, t.Other)
		}
	}
	return err
}
