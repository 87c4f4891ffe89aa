// Command linked is hello-world with the libraries that the ingest function
// links, and told of SIGTERM as it is: what is left of a cold start when
// nothing of sluice does anything.
package main

import (
	"context"

	"github.com/aws/aws-lambda-go/lambda"
	_ "github.com/aws/aws-sdk-go-v2/feature/rds/auth"
	_ "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	_ "github.com/aws/aws-sdk-go-v2/service/sqs"
	_ "github.com/caarlos0/env/v11"
	_ "github.com/go-json-experiment/json"
	_ "github.com/goccy/go-yaml"
	_ "github.com/google/uuid"
	_ "github.com/jackc/pgx/v5"
)

func main() {
	lambda.StartWithOptions(func(context.Context) (string, error) { return "hello", nil }, lambda.WithEnableSIGTERM())
}
