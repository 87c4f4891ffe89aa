package esmsim_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

// lasting is a duration for every invocation.
func lasting(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func TestMappingBatchSize(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config esmsim.MappingConfig
		want   []int
	}{
		{"default of 10", esmsim.MappingConfig{}, []int{10, 10, 5}},
		{"1", esmsim.MappingConfig{BatchSize: 1}, slices.Repeat([]int{1}, 25)},
		{"over 10 with a window", esmsim.MappingConfig{BatchSize: 20, Window: time.Second}, []int{20, 5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
			f := newFunction(t, sim)
			sim.Map(queue, f.handle, tt.config)
			send(queue, numbered("m", 25)...)
			sim.Run(time.Minute)
			var got []int
			for _, d := range f.deliveries {
				got = append(got, len(d.records))
			}
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("sizes (-got +want):\n%s", diff)
			}
		})
	}
}

func TestMappingBatchingWindow(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
	f := newFunction(t, sim)
	sim.Map(queue, f.handle, esmsim.MappingConfig{BatchSize: 3, Window: 10 * time.Second})
	for at, body := range map[int]string{5: "a", 14: "b", 16: "c", 17: "d", 18: "e", 40: "f"} {
		sim.At(time.Duration(at)*time.Second, func() { send(queue, body) })
	}
	sim.Run(time.Minute)
	// The window begins with the first message, and a full batch does not wait.
	f.wantBodies([][]string{{"a", "b"}, {"c", "d", "e"}, {"f"}})
	f.wantTimes(15*time.Second, 18*time.Second, 50*time.Second)
}

func TestMappingWindowUsesUpVisibility(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: 30 * time.Second})
	f := newFunction(t, sim)
	f.answer = failing("a")
	sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true, Window: 20 * time.Second})
	send(queue, "a")
	sim.Run(time.Minute)
	// Received at 0, so visible again at 30 s, although the function ran at 20 s.
	f.wantTimes(20*time.Second, 50*time.Second)
}

func TestMappingSplitsEventsAt6MB(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		message esmsim.Message
	}{
		{"plain", esmsim.Message{Body: strings.Repeat("a", 900_000)}},
		{"escaped", esmsim.Message{Body: strings.Repeat(`"`, 400_000)}},
		{"base64", esmsim.Message{Body: "a", Attributes: map[string]esmsim.Attribute{"k": {DataType: "Binary", BinaryValue: make([]byte, 500_000)}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
			f := newFunction(t, sim)
			sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true, BatchSize: 100, Window: time.Second})
			for range 20 {
				queue.Send(tt.message)
			}
			sim.Run(time.Minute)
			delivered := 0
			for i, d := range f.deliveries {
				if d.bytes > 6<<20 {
					t.Errorf("event of %d bytes", d.bytes)
				}
				if last := i == len(f.deliveries)-1; !last && d.bytes < 4<<20 {
					t.Errorf("event %d has only %d bytes", i, d.bytes)
				}
				for _, r := range d.records {
					if delivered++; r.receives() != 1 {
						t.Errorf("splitting cost a receive: %d", r.receives())
					}
				}
			}
			if delivered != 20 || len(f.deliveries) < 3 {
				t.Errorf("%d delivered in %d events, want 20 in several", delivered, len(f.deliveries))
			}
		})
	}
}

func TestMappingConcurrencyOverlapsInVirtualTime(t *testing.T) {
	t.Parallel()
	tests := []struct {
		concurrency int
		want        []time.Duration
	}{
		{1, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second}},
		{2, []time.Duration{0, 0, time.Second, time.Second, 2 * time.Second, 2 * time.Second}},
		{0, []time.Duration{0, 0, 0, 0, 0, time.Second}}, // five by default
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.concurrency), func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
			f := newFunction(t, sim)
			sim.Map(queue, f.handle, esmsim.MappingConfig{BatchSize: 1, Concurrency: tt.concurrency, Duration: lasting(time.Second)})
			send(queue, numbered("m", 6)...)
			sim.Run(time.Minute)
			f.wantTimes(tt.want...)
		})
	}
}

func TestMappingPollersDoNotSlowDownOnFailures(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: 30 * time.Second})
	f := newFunction(t, sim)
	f.answer = func(context.Context, []record) (string, error) { return "", fmt.Errorf("down") }
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
	send(queue, numbered("m", 100)...)
	sim.Run(hour - 1)
	if r := mapping.Report(); r.Receives != 120*100 || r.Invocations != 120*10 {
		t.Errorf("%d receives in %d invocations, want each message every 30 s: 12000 in 1200", r.Receives, r.Invocations)
	}
}

func TestMappingFailedMessagesComeBackAfterTheirVisibility(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: 3 * time.Minute})
	f := newFunction(t, sim)
	f.answer = failing("b")
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
	send(queue, "a", "b", "c")
	sim.Run(5 * time.Minute)
	f.wantBodies([][]string{{"a", "b", "c"}, {"b"}})
	f.wantTimes(0, 3*time.Minute)
	if r := mapping.Report(); r.Partial != 2 || r.Failures != 0 {
		t.Errorf("%d partial, %d failures, want 2 and 0", r.Partial, r.Failures)
	}
}

func TestMappingHandlerChangesVisibility(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		timeout time.Duration
		again   time.Duration // when the failed message reappears
	}{
		{"back-off", 15 * time.Minute, 15 * time.Minute},
		{"sooner", 5 * time.Second, 5 * time.Second},
		{"at once, before the answer", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
			f := newFunction(t, sim)
			f.answer = func(ctx context.Context, records []record) (string, error) {
				if len(f.deliveries) > 1 {
					return "", nil
				}
				// From goroutines of its own, as a handler with thousands of messages does.
				var group sync.WaitGroup
				for _, r := range records {
					group.Go(func() {
						if err := queue.ChangeVisibility(r.ReceiptHandle, tt.timeout); err != nil {
							t.Error(err)
						}
					})
				}
				group.Wait()
				return failing("a", "b")(ctx, records)
			}
			sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
			send(queue, "a", "b")
			sim.Run(hour)
			f.wantTimes(0, tt.again)
		})
	}
}

// A message that reappears while its first function still runs is not deleted by the first answer.
func TestMappingAnswerAfterTheVisibility(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"q", "q.fifo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: name})
			f := newFunction(t, sim)
			f.answer = func(ctx context.Context, records []record) (string, error) {
				if len(f.deliveries) == 1 {
					esmsim.Spend(ctx, 2*time.Second)
					if err := queue.ChangeVisibility(records[0].ReceiptHandle, time.Second); err != nil {
						t.Error(err)
					}
					return "", nil
				}
				return failing("a")(ctx, records)
			}
			sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
			send(queue, "a")
			sim.Run(10 * time.Second)
			f.wantTimes(0, time.Second)
			if got := len(queue.Messages()); got != 1 {
				t.Errorf("%d messages left, want the one that the second invocation failed", got)
			}
		})
	}
}

func TestMappingThrottles(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		until    time.Duration
		want     []time.Duration
		receives int
		dropped  int
	}{
		{"over within the visibility", 12 * time.Second, []time.Duration{15 * time.Second}, 1, 0},
		{"longer: the receive is spent", 68 * time.Second, []time.Duration{70 * time.Second}, 3, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: 30 * time.Second})
			f := newFunction(t, sim)
			mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
			mapping.Throttle(true)
			sim.At(tt.until, func() { mapping.Throttle(false) })
			send(queue, "a")
			sim.Run(5 * time.Minute)
			f.wantTimes(tt.want...)
			if got := f.deliveries[0].records[0].receives(); got != tt.receives {
				t.Errorf("receive count %d, want %d", got, tt.receives)
			}
			if r := mapping.Report(); r.ThrottledBatches != tt.dropped || r.Deleted != 1 {
				t.Errorf("%d batches dropped, %d deleted; want %d and 1", r.ThrottledBatches, r.Deleted, tt.dropped)
			}
		})
	}
}

func TestMappingThrottlesDrainToTheDLQ(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	dlq := sim.Queue(esmsim.QueueConfig{Name: "dlq"})
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", DeadLetter: dlq, MaxReceives: 3})
	f := newFunction(t, sim)
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{})
	mapping.Throttle(true)
	send(queue, "a")
	sim.Run(hour)
	if r := mapping.Report(); r.DeadLettered != 1 || r.InDLQ != 1 || r.Invocations != 0 || r.MaxReceives != 3 {
		t.Errorf("report: %+v, want the message in the DLQ after 3 receives and no invocation", r)
	}
}

func TestMappingConfigCheck(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	standard := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: 20 * time.Minute})
	fifo := sim.Queue(esmsim.QueueConfig{Name: "q.fifo"})
	ok := []struct {
		name   string
		queue  *esmsim.Queue
		config esmsim.MappingConfig
	}{
		{"defaults", standard, esmsim.MappingConfig{}},
		{"limits", standard, esmsim.MappingConfig{BatchSize: 10_000, Window: 300 * time.Second, Concurrency: 1000, FunctionTimeout: 900 * time.Second}},
		{"fifo", fifo, esmsim.MappingConfig{BatchSize: 10, FunctionTimeout: 30 * time.Second}},
	}
	for _, tt := range ok {
		if err := tt.config.Check(tt.queue); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	refused := []struct {
		name   string
		queue  *esmsim.Queue
		config esmsim.MappingConfig
		want   string
	}{
		{"batch size", standard, esmsim.MappingConfig{BatchSize: 10_001, Window: time.Second}, "batch size"},
		{"batch size on fifo", fifo, esmsim.MappingConfig{BatchSize: 11}, "batch size"},
		{"over 10 without a window", standard, esmsim.MappingConfig{BatchSize: 11}, "needs a batching window"},
		{"window", standard, esmsim.MappingConfig{Window: 301 * time.Second}, "window"},
		{"window of half a second", standard, esmsim.MappingConfig{Window: 500 * time.Millisecond}, "window"},
		{"window on fifo", fifo, esmsim.MappingConfig{Window: time.Second}, "FIFO"},
		{"concurrency", standard, esmsim.MappingConfig{Concurrency: 1001}, "concurrency"},
		{"timeout", standard, esmsim.MappingConfig{FunctionTimeout: 901 * time.Second}, "timeout"},
		{"timeout over visibility", fifo, esmsim.MappingConfig{FunctionTimeout: 31 * time.Second}, "visibility"},
	}
	for _, tt := range refused {
		if err := tt.config.Check(tt.queue); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", tt.name, err, tt.want)
		}
	}
}
