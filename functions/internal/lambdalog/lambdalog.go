// Package lambdalog is the log of the Lambda functions: Lambda's own handler,
// which adds the request's id, at the level of LOG_LEVEL.
package lambdalog

import (
	"context"
	"log/slog"

	"github.com/aws/aws-lambda-go/lambdacontext"
)

// New returns a logger for lines of at least the level. Lambda's handler knows only
// AWS_LAMBDA_LOG_LEVEL, which can raise the level further.
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
