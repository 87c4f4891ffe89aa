// Command ingest is the Lambda function of an SQS event source mapping: it
// stores the batch of each event, and answers which messages failed.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"sluice/functions/internal/lambdaerror"
	"sluice/functions/internal/lambdalog"
	"sluice/functions/internal/samlocal"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/handler"
)

func main() {
	environ := config.Environ()
	log := lambdalog.New(config.LogLevel(environ))
	h, stop := app.NewHandler(context.Background(), samlocal.Options(environ, log), os.Stdout)
	lambda.StartWithOptions(named{h}, lambda.WithEnableSIGTERM(stop))
}

// named is a handler whose errors have the errorType that Lambda shows.
type named struct{ *handler.Handler }

// Invoke implements lambda.Handler.
func (n named) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	answer, err := n.Handler.Invoke(ctx, event)
	return answer, lambdaerror.Of(err)
}
