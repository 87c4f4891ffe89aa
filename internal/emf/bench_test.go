package emf_test

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"example.com/owner/sluice/internal/emf"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// counter counts what is written to it.
type counter int

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// requestLog is a handler that adds the request's id, as Lambda's does.
type requestLog struct{ slog.Handler }

// Handle implements slog.Handler.
func (h requestLog) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(slog.String("requestId", requestID(ctx))) //nolint:sloglint // Lambda's handler calls it so
	return h.Handler.Handle(ctx, r)
}

func requestID(context.Context) string { return "00000000-0000-4000-8000-000000000001" }

// BenchmarkHappyBatch is all that the function writes for a batch of new rows.
func BenchmarkHappyBatch(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var written counter
			log := slog.New(requestLog{slog.NewJSONHandler(io.Writer(&written), nil)})
			p := ingest.New(new(model.Set), nil, nil, log)
			w := emf.NewWriter(&written, emf.Options{Function: "sluice-ingest", RequestID: requestID, Now: time.Now})
			r := &ingest.Report{Messages: make([]message.Message, n), Verdicts: make([]message.Verdict, n), Tallies: message.Tallies{{Inserted: n}}, RoundTrips: 1, StoreTime: 1234567}
			for i := range n {
				r.Verdicts[i].Outcome = message.Stored
				r.Messages[i].HasSent, r.Messages[i].SentMillis = true, time.Now().UnixMilli()-1234
			}
			b.ReportAllocs()
			for b.Loop() {
				p.Log(b.Context(), r, false)
				if err := w.Write(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(written)/float64(b.N), "bytes/batch")
		})
	}
}
