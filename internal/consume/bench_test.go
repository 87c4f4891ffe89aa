package consume_test

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"sluice/internal/consume"
	"sluice/internal/sqsqueue"
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
		s := newSite(b, siteOptions{noDeadLetters: true})
		s.put(0, n)
		bare += receiveAndDelete(b, s, consume.Defaults().Receivers, n)

		s = newSite(b, siteOptions{noDeadLetters: true})
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
		b.Logf("%d transactions, %d messages in hand at most", summary.Transactions, seen.most)
		b.StartTimer()
	}
	rate := float64(n*b.N) / ours.Seconds()
	bareRate := float64(n*b.N) / bare.Seconds()
	b.ReportMetric(rate, "messages/s")
	b.ReportMetric(bareRate, "bare/s")
	b.ReportMetric(rate/bareRate, "of-bare")
	b.ReportMetric(0, "ns/op")
}

// receiveAndDelete is a client that does nothing else.
func receiveAndDelete(b *testing.B, s *site, workers, n int) time.Duration {
	q, err := sqsqueue.Open(b.Context(), s.sqs.Client(), s.queue.URL, "SQS_URL")
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	counts := make([]int, workers)
	for w := range workers {
		wg.Go(func() {
			for {
				messages, err := q.Receive(b.Context(), 10, 0)
				if err != nil || len(messages) == 0 {
					return
				}
				handles := make([]string, len(messages))
				for i := range messages {
					handles[i] = messages[i].ReceiptHandle
				}
				if undeleted, err := q.Delete(b.Context(), handles); err != nil {
					b.Errorf("%d undeleted: %v", len(undeleted), err)
				}
				counts[w] += len(messages)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	total := 0
	for _, c := range counts {
		total += c
	}
	if total != n {
		b.Fatalf("the bare client had %d of %d messages", total, n)
	}
	return took
}
