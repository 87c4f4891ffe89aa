package handler_test

import (
	"context"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
)

// TestABatchHasOneLine: the log's or that of the metrics, whatever became of its messages. What is
// wrong with a batch is logged beside either.
func TestABatchHasOneLine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		event  []byte
		store  insertFunc
		wrong  string // a part of the log
		failed bool
	}{
		{"all are stored", event(record(1, body()), record(2, body())), storeAll, "", false},
		{"no messages", []byte(`{"Records":[]}`), storeAll, "", false},
		{"one is rejected", event(record(1, "bad"), record(2, body())), storeAll, `"msg":"message rejected"`, false},
		{"all are returned", event(record(1, body())), storeNone(message.CauseTransient), `"msg":"messages returned"`, false},
		{"the invocation fails", event(record(1, body())), storeNone(message.CauseConfiguration), `"msg":"messages returned"`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, measured := range []bool{false, true} {
				h, log := newHandler(t, tt.store)
				metrics, observed, lines := 0, 0, 1
				if measured {
					h.Metrics = func(context.Context, *ingest.Report) { metrics++ }
					lines = 0
				}
				h.Observe = func(context.Context, *ingest.Report) { observed++ }
				if _, err := h.Invoke(t.Context(), tt.event); (err != nil) != tt.failed {
					t.Fatal(err)
				}
				logged := log.Take()
				if got := strings.Count(logged, `"msg":"batch"`); got != lines || metrics != 1-lines || observed != 1 {
					t.Errorf("with metrics %v: %d lines of the log, %d of metrics, observed %d times: %s", measured, got, metrics, observed, logged)
				}
				if rest := strings.Count(logged, "\n") - lines; (rest > 0) != (tt.wrong != "") || !strings.Contains(logged, tt.wrong) {
					t.Errorf("with metrics %v: the log lacks %q, or says more: %s", measured, tt.wrong, logged)
				}
			}
		})
	}
}
