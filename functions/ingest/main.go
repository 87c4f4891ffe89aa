// Command ingest is the Lambda function behind an SQS event source mapping:
// it stores the batch of each event and answers with what failed.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"sluice/functions/internal/lambdalog"
	"sluice/functions/internal/samlocal"
	"sluice/internal/config"
	"sluice/internal/function"
)

func main() {
	environ := config.Environ()
	log := lambdalog.New(config.LogLevel(environ))
	environ = samlocal.Environ(environ, log)
	h, stop := function.New(context.Background(), function.Options{Environ: environ, Log: log, Metrics: os.Stdout})
	lambda.StartWithOptions(h, lambda.WithEnableSIGTERM(stop))
}
