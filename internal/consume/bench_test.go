package consume_test

import (
	"log/slog"
	"testing"
	"time"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// BenchmarkConsume consumes 20,000 messages, and prints the rate beside the
// one of a client that only receives and deletes, on the same fake: that is
// as fast as any consumer of it can be. The fake, the client and Postgres
// share the machine.
func BenchmarkConsume(b *testing.B) {
	const n = 20_000
	var bare, ours time.Duration
	for b.Loop() {
		b.StopTimer()
		s := newFixture(b, fixtureOptions{noDeadLetters: true})
		s.put(0, n)
		q, err := sqs.Open(b.Context(), s.sqs.Client(), s.queue.URL, "SQS_URL")
		if err != nil {
			b.Fatal(err)
		}
		took, err := sqstest.ReceiveAndDelete(b.Context(), q, consume.Defaults().Receivers, n)
		if err != nil {
			b.Fatal(err)
		}
		bare += took

		s = newFixture(b, fixtureOptions{noDeadLetters: true})
		s.put(0, n)
		seen := &recorder{}
		c := s.consumer(b, func(c *consume.Consumer) {
			c.Observers = []consume.Observer{seen}
			c.Log = slog.New(slog.DiscardHandler)
		})
		b.StartTimer()
		began := time.Now()
		summary, err := c.Run(b.Context())
		b.StopTimer()
		if err != nil || summary.Stored != n {
			b.Fatalf("%+v, %v", summary, err)
		}
		// The end is not counted, when the run makes sure that the queue is empty.
		ours += seen.last().Sub(began)
		s.wantRows(b, n)
		b.Logf("%d transactions, %d messages in hand at most", summary.Passes, seen.most)
		b.StartTimer()
	}
	rate := float64(n*b.N) / ours.Seconds()
	bareRate := float64(n*b.N) / bare.Seconds()
	b.ReportMetric(rate, "messages/s")
	b.ReportMetric(bareRate, "bare/s")
	b.ReportMetric(rate/bareRate, "of-bare")
	b.ReportMetric(0, "ns/op")
}
