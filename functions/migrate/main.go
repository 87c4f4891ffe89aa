// Command migrate is the Lambda function that creates the model's tables
// where they are missing, as `sluice migrate` does. It is for databases in a
// private network, and is invoked by hand:
//
//	sam remote invoke MigrateFunction --stack-name STACK
//
// The event does not matter. The answer lists the tables:
//
//	{"model":"user_logins","tables":[{"name":"\"user_logins\"","created":true}]}
package main

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"sluice/internal/config"
	"sluice/internal/credentials"
	"sluice/internal/postgres"
)

type answer struct {
	Model  string  `json:"model"`
	Tables []table `json:"tables"`
}

type table struct {
	Name string `json:"name"` // as in SQL, with its quotes
	// Created is false for a table that was there, which is left as it is.
	Created bool `json:"created"`
}

func main() {
	log := slog.New(lambdacontext.NewLogHandler())
	environ := config.Environ()
	lambda.Start(func(ctx context.Context) (*answer, error) { return migrate(ctx, environ, log) })
}

func migrate(ctx context.Context, environ map[string]string, log *slog.Logger) (*answer, error) {
	c, err := config.Load(environ, config.Database)
	if err != nil {
		return nil, err
	}
	secrets := credentials.New(credentials.Options{DatabaseSecretARN: c.DatabaseSecretARN, DatabaseIAMAuth: c.DatabaseIAMAuth, Log: log, AWS: credentials.Environment(environ)})
	store, err := postgres.Open(c.DatabaseURL, c.Model.Table, postgres.WithLogins(secrets.Database))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	migrated, err := store.Migrate(ctx, c.Model.DDL())
	if err != nil {
		return nil, err
	}
	a := &answer{Model: c.Model.Name}
	for _, m := range migrated {
		log.InfoContext(ctx, "table", "name", m.Name, "created", m.Created)
		a.Tables = append(a.Tables, table{m.Name, m.Created})
	}
	return a, nil
}
