// Command migrate is the Lambda function that creates the models' tables
// where they are missing, as `sluice migrate` does. It is for databases in a
// private network, and is invoked by hand:
//
//	sam remote invoke MigrateFunction --stack-name STACK
//
// The event does not matter. The answer lists the tables:
//
//	{"model":"user_logins","tables":[{"name":"sluice.user_logins","created":true}]}
//
// Of several models it has all names: {"models":["logins","orders"],"tables":[…]}.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"

	"example.com/owner/sluice/functions/internal/lambdaenv"
	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/config"
)

type answer struct {
	Model  string           `json:"model,omitempty"`
	Models []string         `json:"models,omitempty"` // if there are several
	Tables []batch.Migrated `json:"tables"`
}

func main() {
	options := lambdaenv.Options()
	lambda.Start(func(ctx context.Context) (*answer, error) {
		a, err := migrate(ctx, options)
		return a, lambdaenv.Error(err)
	})
}

func migrate(ctx context.Context, options app.Options) (*answer, error) {
	parts, err := app.Load(options, config.Database)
	if err != nil {
		return nil, err
	}
	tables, err := parts.Migrate(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		options.Log.InfoContext(ctx, "table", "name", t.Name, "created", t.Created)
		if t.Other != "" {
			options.Log.WarnContext(ctx, "another table has that name, and no row goes there: see to the role's search_path, or name the schema in the model", "name", t.Other)
		}
	}
	a := &answer{Tables: tables}
	for _, m := range parts.Config.Models.Models {
		a.Models = append(a.Models, m.Name)
	}
	if len(a.Models) == 1 {
		a.Model, a.Models = a.Models[0], nil
	}
	return a, nil
}
