// Command ingest is the Lambda function behind an SQS event source mapping:
// it stores the batch of each event and answers with what failed.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"sluice/functions/internal/lambdalog"
	"sluice/internal/config"
	"sluice/internal/function"
)

func main() {
	environ := config.Environ()
	log := lambdalog.New(config.LogLevel(environ))
	h, stop := function.New(context.Background(), function.Options{Environ: environ, Log: log, Metrics: os.Stdout})
	lambda.StartWithOptions(h, lambda.WithEnableSIGTERM(stop))
}
