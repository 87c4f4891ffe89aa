// Command ingest is the Lambda function behind an SQS event source mapping:
// it stores the batch of each event and answers with what failed.
package main

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"sluice/internal/config"
	"sluice/internal/handler"
	"sluice/internal/ingest"
	"sluice/internal/postgres"
)

func main() {
	log := slog.New(lambdacontext.NewLogHandler(lambdacontext.WithFunctionARN()))
	invoke, stop := function(config.Environ(), log)
	lambda.StartWithOptions(invoke, lambda.WithEnableSIGTERM(stop))
}

// bytesHandler is a lambda.Handler: the answer's bytes are returned as they are.
type bytesHandler func(ctx context.Context, event []byte) ([]byte, error)

// Invoke implements lambda.Handler.
func (h bytesHandler) Invoke(ctx context.Context, event []byte) ([]byte, error) { return h(ctx, event) }

// function makes the handler, and what ends it. A wrong configuration is not
// a failed init, which says little: every invocation fails and says why.
func function(environ map[string]string, log *slog.Logger) (invoke bytesHandler, stop func()) {
	c, err := config.Load(environ, config.Database, config.Masks)
	if err != nil {
		log.Error("the configuration is wrong", "error", err.Error())
		return handler.Failing(err), func() {}
	}
	store, err := postgres.Open(c.DatabaseURL, c.Model.Table)
	if err != nil {
		err = &config.ConfigError{Problems: []string{err.Error()}}
		log.Error("the configuration is wrong", "error", err.Error())
		return handler.Failing(err), func() {}
	}
	h := handler.New(ingest.New(c.Model, store, log), c.Keys, log)
	return h.Invoke, store.Close
}
