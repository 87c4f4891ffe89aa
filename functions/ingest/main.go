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
	environ := config.Environ()
	log := slog.New(atLeast{lambdacontext.NewLogHandler(), config.LogLevel(environ)})
	h, stop := function.New(context.Background(), function.Options{Environ: environ, Log: log, Metrics: os.Stdout})
	lambda.StartWithOptions(h, lambda.WithEnableSIGTERM(stop))
}

// atLeast lets LOG_LEVEL quiet Lambda's log handler, which knows
// AWS_LAMBDA_LOG_LEVEL only.
type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled implements slog.Handler.
func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}
