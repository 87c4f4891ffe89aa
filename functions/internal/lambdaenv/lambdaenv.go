// Package lambdaenv is what Lambda has around a function: the variables, the log,
// and what its errors are called. Only the functions know Lambda's runtime.
package lambdaenv

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/config"
)

// Options returns the options of the function that this process is.
func Options() app.Options {
	environ := config.Environ()
	return local(app.Options{Environ: environ, Log: newLog(config.LogLevel(environ)), RequestID: requestID})
}

// requestID returns the id that Lambda's own log handler adds to each line.
func requestID(ctx context.Context) string {
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		return lc.AwsRequestID
	}
	return ""
}

// Error returns err with its errorType, which operators search for, in the form
// that aws-lambda-go sends as it is. Lambda's runtime would show the name of the
// Go type.
func Error(err error) error {
	if err == nil {
		return nil
	}
	return messages.InvokeResponse_Error{Message: err.Error(), Type: app.ErrorType(err)}
}

// newLog returns a logger for lines of at least the level: Lambda's own handler,
// which adds the request's id. That knows only AWS_LAMBDA_LOG_LEVEL, which can
// raise the level further.
func newLog(level slog.Level) *slog.Logger {
	return slog.New(atLeast{lambdacontext.NewLogHandler(), level})
}

type atLeast struct {
	slog.Handler
	level slog.Level
}

// Enabled implements slog.Handler.
func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}
