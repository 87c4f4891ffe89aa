package benchcheck_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
)

// environ is the configuration of the function.
func environ(model, url string) map[string]string {
	return map[string]string{
		"DATABASE_URL": url, "SLUICE_MODEL": model, "AWS_LAMBDA_FUNCTION_NAME": "sluice",
		"SLUICE_MASK_KEYS": "k1:4f1d7a90c2b35e688a17d9e0463bf25c4f1d7a90c2b35e688a17d9e0463bf25c",
	}
}

// newHandler returns the function without Lambda, and where it leaves the last report.
func newHandler(ctx context.Context, model, url string) (h *handler.Handler, last *ingest.Report, stop func()) {
	h, stop = app.NewHandler(ctx, app.Options{
		Environ: environ(model, url), Log: slog.New(slog.DiscardHandler),
		RequestID: func(context.Context) string { return "00000000-0000-4000-8000-000000000001" },
	}, io.Discard)
	last = &ingest.Report{}
	h.Observe = func(_ context.Context, r *ingest.Report) { *last = *r }
	return h, last, stop
}

// span is messages that are numbered from first on. The same numbers make the same messages, in any
// run.
type span struct{ first, n int }

// event returns the event of the span's messages. ApproximateReceiveCount is receives. The table
// refuses the message with the number refused, if it is in the span.
func (s span) event(receives, refused int) ([]byte, error) {
	type record struct {
		MessageID      string            `json:"messageId"`
		ReceiptHandle  string            `json:"receiptHandle"`
		Body           string            `json:"body"`
		Attributes     map[string]string `json:"attributes"`
		EventSource    string            `json:"eventSource"`
		EventSourceARN string            `json:"eventSourceARN"`
		AWSRegion      string            `json:"awsRegion"`
	}
	var all struct{ Records []record }
	for k := s.first; k < s.first+s.n; k++ {
		random := source{rand.New(rand.NewPCG(1, uint64(k)))}
		locale := "en_GB"
		if k == refused {
			locale = refusedLocale
		}
		all.Records = append(all.Records, record{
			MessageID: random.uuid(), ReceiptHandle: random.uuid(),
			Body: fmt.Sprintf(`{"user_id": %q, "app_version": "%d.3.%d", "device_type": "android", "ip": "203.0.%d.%d", "locale": %q, "device_id": "593-%02d-%04d"}`,
				random.uuid(), k%7, k%10, k>>8&255, k&255, locale, k%100, k%10_000),
			Attributes:  map[string]string{"ApproximateReceiveCount": fmt.Sprint(receives), "SentTimestamp": fmt.Sprint(1767225600000 + k)},
			EventSource: "aws:sqs", EventSourceARN: "arn:aws:sqs:eu-central-1:123456789012:logins", AWSRegion: "eu-central-1",
		})
	}
	return json.Marshal(all)
}

// source makes the same ids in each run.
type source struct{ *rand.Rand }

func (s source) uuid() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(s.Uint32())
	}
	return id.String()
}

// outcome is what must become of a batch.
type outcome struct{ inserted, duplicate, rejected int }

// of returns what became of a batch.
func of(r *ingest.Report) outcome {
	c := r.Counts()
	return outcome{c.Stored, c.Duplicate, c.Rejected}
}

// invoke gives an event to the function, and fails if its messages do not end as they should: then
// the numbers are those of another case.
func invoke(t *testing.T, h *handler.Handler, last *ingest.Report, event []byte, want outcome) {
	t.Helper()
	if _, err := h.Invoke(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	if got := of(last); got != want || last.Count(message.Returned) > 0 {
		t.Fatalf("got %+v, want %+v: %v", got, want, last.Err)
	}
}
