// Command migrate is the Lambda function that creates the model's tables
// where they are missing, as `sluice migrate` does. It is for databases in a
// private network, and is invoked by hand:
//
//	sam remote invoke MigrateFunction --stack-name STACK
//
// The event does not matter. The answer lists the tables:
//
//	{"model":"user_logins","tables":[{"name":"sluice.user_logins","created":true}]}
package main

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda"

	"sluice/functions/internal/lambdalog"
	"sluice/functions/internal/samlocal"
	"sluice/internal/batch"
	"sluice/internal/config"
	"sluice/internal/credentials"
	"sluice/internal/postgres"
)

type answer struct {
	Model  string           `json:"model"`
	Tables []batch.Migrated `json:"tables"`
}

func main() {
	environ := config.Environ()
	log := lambdalog.New(config.LogLevel(environ))
	environ = samlocal.Environ(environ, log)
	lambda.Start(func(ctx context.Context) (*answer, error) { return migrate(ctx, environ, log) })
}

func migrate(ctx context.Context, environ map[string]string, log *slog.Logger) (*answer, error) {
	c, err := config.Load(environ, config.Database)
	if err != nil {
		return nil, err
	}
	secrets := credentials.New(credentials.Options{DatabaseSecretARN: c.DatabaseSecretARN, DatabaseIAMAuth: c.DatabaseIAMAuth, Log: log, AWS: credentials.Environment(environ)})
	store, err := postgres.Open(c.DatabaseURL, c.Model.Table, postgres.WithLogins(secrets.Database), postgres.WithLog(log))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	migrated, err := store.Migrate(ctx, c.Model.DDL())
	if err != nil {
		return nil, err
	}
	a := &answer{Model: c.Model.Name, Tables: migrated}
	for _, m := range migrated {
		log.InfoContext(ctx, "table", "name", m.Name, "created", m.Created)
		if m.Other != "" {
			log.WarnContext(ctx, "another table has that name, and no row goes there: see to the role's search_path, or name the schema in the model", "name", m.Other)
		}
	}
	return a, nil
}
