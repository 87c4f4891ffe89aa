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
		if t.created {
			what = "created"
		}
		fmt.Fprintf(a.stdout, "%s %s\n", t.name, what)
	}
	return err
}
