package lambdaenv_test

import (
	"log/slog"
	"testing"

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
