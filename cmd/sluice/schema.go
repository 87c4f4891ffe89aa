package main

import (
	"context"
	"fmt"
	"strings"

	"sluice/internal/config"
	"sluice/internal/postgres"
)

type schemaCmd struct{}

// Run implements the command.
func (schemaCmd) Run(a *app) error {
	cfg, err := a.load()
	if err != nil {
		return err
	}
	fmt.Fprintf(a.stdout, "%s;\n", strings.Join(cfg.Model.DDL(), ";\n\n"))
	return nil
}

type migrateCmd struct{}

// Run implements the command.
func (migrateCmd) Run(ctx context.Context, a *app) error {
	cfg, err := a.load(config.Database)
	if err != nil {
		return err
	}
	store, err := postgres.Open(cfg.DatabaseURL, cfg.Model.Table)
	if err != nil {
		return err
	}
	defer store.Close()
	tables, err := store.Migrate(ctx, cfg.Model.DDL())
	for _, t := range tables {
		what := "is there already, and is left as it is"
		if t.Created {
			what = "created"
		}
		fmt.Fprintf(a.stdout, "%s %s\n", t.Name, what)
	}
	return err
}
