// Package lambdalog is the log of the Lambda functions: Lambda's own handler,
// which adds the request's id, at the level that LOG_LEVEL says.
package lambdalog

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// New logs what has at least the level. Lambda's handler knows
// AWS_LAMBDA_LOG_LEVEL only, which can quiet it further.
func New(level slog.Level) *slog.Logger {
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
