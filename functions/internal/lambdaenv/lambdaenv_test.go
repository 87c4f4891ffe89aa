package lambdaenv_test

import (
	"log/slog"
	"testing"

	"github.com/aws/aws-lambda-go/lambdacontext"

	"example.com/owner/sluice/functions/internal/lambdaenv"
)

func TestLevel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level, line slog.Level
		want        bool
	}{
		{slog.LevelInfo, slog.LevelDebug, false},
		{slog.LevelInfo, slog.LevelInfo, true},
		{slog.LevelWarn, slog.LevelInfo, false},
		{slog.LevelWarn, slog.LevelWarn, true},
		{slog.LevelDebug, slog.LevelDebug, false}, // Lambda's own level is INFO here
	} {
		if got := lambdaenv.NewLog(tt.level).Enabled(t.Context(), tt.line); got != tt.want {
			t.Errorf("at %v a line of %v is written: %v", tt.level, tt.line, got)
		}
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	if got := lambdaenv.RequestID(t.Context()); got != "" {
		t.Errorf("outside of Lambda a request has the id %q", got)
	}
	ctx := lambdacontext.NewContext(t.Context(), &lambdacontext.LambdaContext{AwsRequestID: "r-1"})
	if got := lambdaenv.RequestID(ctx); got != "r-1" {
		t.Errorf("got %q, want r-1", got)
	}
}
