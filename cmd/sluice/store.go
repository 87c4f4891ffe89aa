package main

import (
	"context"
	"strings"

	"sluice/internal/batch"
	"sluice/internal/config"
	"sluice/internal/credentials"
	"sluice/internal/function"
	"sluice/internal/mask"
	"sluice/internal/postgres"
	"sluice/internal/sqlite"
)

// openSQLite opens a store of SQLite, or returns nil for another URL.
func openSQLite(databaseURL string, t *batch.Table) (function.Store, error) {
	if !strings.HasPrefix(databaseURL, "sqlite:") {
		return nil, nil //nolint:nilnil // that is how it says so
	}
	s, err := sqlite.Open(databaseURL, t)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// keys are the masks' keys, from the environment or a secret.
func (a *app) keys(ctx context.Context, c *config.Config) (*mask.Keyring, error) {
	if c.Keys != nil {
		return c.Keys, nil
	}
	return credentials.New(credentials.Options{MaskSecretARN: c.MaskSecretARN, Log: a.log(), AWS: loadAWS}).MaskKeys.Keyring(ctx)
}

// migrate creates the missing tables of the configured database.
func (a *app) migrate(ctx context.Context, c *config.Config) ([]batch.Migrated, error) {
	if strings.HasPrefix(c.DatabaseURL, "sqlite:") {
		s, err := sqlite.Open(c.DatabaseURL, c.Model.Table)
		if err != nil {
			return nil, err
		}
		defer s.Close()
		return s.Migrate(ctx, sqlite.DDL(c.Model.Table))
	}
	secrets := credentials.New(credentials.Options{DatabaseSecretARN: c.DatabaseSecretARN, DatabaseIAMAuth: c.DatabaseIAMAuth, Log: a.log(), AWS: loadAWS})
	s, err := postgres.Open(c.DatabaseURL, c.Model.Table, postgres.WithLogins(secrets.Database), postgres.WithLog(a.log()))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return s.Migrate(ctx, c.Model.DDL())
}
