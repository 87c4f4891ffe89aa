package handler_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqsevent"
	"example.com/owner/sluice/models"
)

// accepts is a store that takes every row and keeps none.
type accepts struct{ verdicts []message.Verdict }

func (a *accepts) Insert(_ context.Context, b *batch.Batch) (message.Result, error) {
	for len(a.verdicts) < b.Len() {
		a.verdicts = append(a.verdicts, message.Verdict{Outcome: message.Stored})
	}
	return message.Result{Verdicts: a.verdicts[:b.Len()], Tallies: message.Tallies{{Inserted: b.Len()}}, RoundTrips: 1}, nil
}

func (*accepts) Ping(context.Context) error { return nil }

// loginEvent returns the event of n logins, as SQS sends it.
func loginEvent(tb testing.TB, n int) []byte {
	tb.Helper()
	event := []byte(`{"Records":[`)
	for k := range n {
		body := fmt.Sprintf(`{"user_id": %q, "app_version": "%d.3.%d", "device_type": "android", "ip": "%d.%d.%d.%d", "locale": "RU", "device_id": "593-%02d-%04d"}`,
			fmt.Sprintf("%08x-063a-43a7-b91b-7ca1a833afae", k), k%7, k%10, 1+k%200, k>>8&255, k>>4&255, k&255, k%100, k%10000)
		quoted, err := jsontext.AppendQuote(nil, body)
		if err != nil {
			tb.Fatal(err)
		}
		if k > 0 {
			event = append(event, ',')
		}
		event = fmt.Appendf(event, `{"messageId":"%s","receiptHandle":"%s","body":%s,"attributes":{"ApproximateReceiveCount":"1","AWSTraceHeader":"Root=1-67891233-abcdef012345678912345678","SentTimestamp":"%d","SenderId":"AIDACKCEVSQ6C2EXAMPLE","ApproximateFirstReceiveTimestamp":"1767225600001"},"messageAttributes":{},"md5OfBody":"e4e68fb7bd0e697a0ae8f1bb342846b3","eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:logins","awsRegion":"eu-central-1"}`,
			fmt.Sprintf("%08x-87a3-44ab-83d2-661975830a7d", 0x9e3779b1*k&0xffff_ffff), strings.Repeat("AQEBzWwaftRI0KuVm4tP", 15), quoted, 1767225600000+k)
	}
	return append(event, "]}"...)
}

func loginPipeline(tb testing.TB) *ingest.Pipeline {
	tb.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := mask.ParseKeys("k1:" + strings.Repeat("0123456789abcdef", 4))
	if err != nil {
		tb.Fatal(err)
	}
	return ingest.New(m.Set(), &accepts{}, ingest.Static(keys), slog.New(slog.DiscardHandler))
}

// cpuTime returns the processor time that this process has taken.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkInvoke prints what a message costs from the bytes of an event to rows that are ready to be
// sent, and its parts: reading the event, and checking and masking.
func BenchmarkInvoke(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		event := loginEvent(b, n)
		run := func(name string, one func() int) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				one() // so that memory is there
				before := cpuTime(b)
				for b.Loop() {
					if got := one(); got != n {
						b.Fatalf("got %d messages, want %d", got, n)
					}
				}
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/float64(n), "cpu-ns/message")
			})
		}
		var d sqsevent.Decoder
		run("decode", func() int {
			defer d.Release()
			messages, err := d.Decode(event)
			if err != nil {
				b.Fatal(err)
			}
			return len(messages)
		})
		p := loginPipeline(b)
		messages, err := sqsevent.Decode(event)
		if err != nil {
			b.Fatal(err)
		}
		run("run", func() int {
			r := p.Run(b.Context(), messages)
			return r.Tallies.Sum().Inserted
		})
		h := &handler.Handler{Pipeline: p, Log: slog.New(slog.DiscardHandler)}
		got := 0
		h.Observe = func(_ context.Context, r *ingest.Report) { got = r.Tallies.Sum().Inserted }
		run("invoke", func() int {
			ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
			defer cancel()
			if _, err := h.Invoke(ctx, event); err != nil {
				b.Fatal(err)
			}
			return got
		})
	}
}
