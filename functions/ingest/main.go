// Command ingest is the Lambda function of an SQS event source mapping: it
// stores the batch of each event, and answers which messages failed.
package main

import (
	"context"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"example.com/owner/sluice/functions/internal/lambdaenv"
	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/handler"
)

func main() {
	h, stop := app.NewHandler(context.Background(), lambdaenv.Options(), os.Stdout)
	lambda.StartWithOptions(typedErrors{h}, lambda.WithEnableSIGTERM(stop))
}

// typedErrors is a handler whose errors have the errorType that Lambda shows.
type typedErrors struct{ *handler.Handler }

// Invoke implements lambda.Handler.
func (t typedErrors) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	answer, err := t.Handler.Invoke(ctx, event)
	return answer, lambdaenv.Error(err)
}
