package sqstest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/owner/sluice/internal/sqs"
)

// ReceiveAndDelete is a consumer that does nothing else, in as many goroutines
// as it has workers: as fast as any consumer of the queue can be. The queue
// must have n messages.
func ReceiveAndDelete(ctx context.Context, q *sqs.Queue, workers, n int) (took time.Duration, err error) {
	began := time.Now()
	var all sync.WaitGroup
	var deleted atomic.Int64
	failed := make(chan error, workers)
	for range workers {
		all.Go(func() {
			for {
				messages, err := q.Receive(ctx, 10, 0)
				if err != nil {
					failed <- err
				}
				if err != nil || len(messages) == 0 {
					return
				}
				handles := make([]string, len(messages))
				for i := range messages {
					handles[i] = messages[i].ReceiptHandle
				}
				if _, err := q.Delete(ctx, handles); err != nil {
					failed <- err
					return
				}
				deleted.Add(int64(len(messages)))
			}
		})
	}
	all.Wait()
	took = time.Since(began)
	close(failed)
	if err := <-failed; err != nil {
		return took, err
	}
	if got := deleted.Load(); got != int64(n) {
		return took, fmt.Errorf("%d messages were deleted, not %d", got, n)
	}
	return took, nil
}
