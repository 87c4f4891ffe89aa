// Command ingest is the Lambda function behind an SQS event source mapping:
// it stores the batch of each event and answers with what failed.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"sluice/internal/config"
	"sluice/internal/function"
)

func main() {
	log := slog.New(lambdacontext.NewLogHandler())
	h, stop := function.New(context.Background(), function.Options{Environ: config.Environ(), Log: log, Metrics: os.Stdout})
	lambda.StartWithOptions(h, lambda.WithEnableSIGTERM(stop))
}
