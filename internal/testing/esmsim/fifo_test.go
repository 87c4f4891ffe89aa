package esmsim_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

func TestFIFOKeepsOrderWithinAGroup(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q.fifo"})
	f := newFunction(t, sim)
	sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true, BatchSize: 3})
	for _, m := range []struct{ group, body string }{{"a", "a1"}, {"b", "b1"}, {"a", "a2"}, {"a", "a3"}, {"a", "a4"}, {"b", "b2"}} {
		queue.Send(esmsim.Message{Body: m.body, GroupID: m.group, DeduplicationID: m.body})
	}
	sim.Run(time.Minute)
	// As many of one group as possible; the rest of group a waits for the first batch to be
	// deleted.
	want := [][]string{{"a1", "a2", "a3"}, {"b1", "b2"}, {"a4"}}
	f.wantBodies(want)
	if at := f.times()[2]; at != 100*time.Millisecond {
		t.Errorf("a4 came at %v, want when a1 to a3 were deleted", at)
	}
}

func TestFIFOLocksAGroupWhileAnyOfItIsInFlight(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q.fifo", Visibility: time.Minute})
	f := newFunction(t, sim)
	f.answer = failing("2")
	sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true, BatchSize: 3})
	send(queue, "1", "2", "3", "4", "5")
	queue.Send(esmsim.Message{Body: "other", GroupID: "h", DeduplicationID: "other"})
	sim.At(90*time.Second, func() { f.answer = nil })
	sim.Run(5 * time.Minute)

	// 1 and 3 are deleted; 2 is held back and locks 4 and 5 until its visibility ends; the other
	// group goes on.
	want := [][]string{{"1", "2", "3"}, {"other"}, {"2", "4", "5"}, {"2"}}
	f.wantBodies(want)
	f.wantTimes(0, 0, time.Minute, 2*time.Minute)
}

func TestFIFOGroupWaitsForItsLongestVisibility(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q.fifo"})
	send(queue, "1", "2")
	received := queue.Receive(10)
	for i, d := range []time.Duration{time.Minute, 10 * time.Minute} {
		if err := queue.ChangeVisibility(received[i].ReceiptHandle, d); err != nil {
			t.Fatal(err)
		}
	}
	sim.Run(10*time.Minute - time.Second)
	if got := bodies(queue.Receive(10)); got != nil {
		t.Errorf("received %q while 2 is in flight, want nothing", got)
	}
	sim.Run(10 * time.Minute)
	if diff := cmp.Diff(bodies(queue.Receive(10)), []string{"1", "2"}); diff != "" {
		t.Errorf("received (-got +want):\n%s", diff)
	}
}

func TestFIFOGroupGoesOnAfterAMoveToTheDLQ(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	dlq := sim.Queue(esmsim.QueueConfig{Name: "dlq.fifo"})
	queue := sim.Queue(esmsim.QueueConfig{Name: "q.fifo", DeadLetter: dlq, MaxReceives: 2})
	f := newFunction(t, sim)
	f.answer = failing("1", "2")
	sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
	send(queue, "1", "2")
	sim.At(45*time.Second, func() { send(queue, "3") })
	sim.Run(2 * time.Minute)
	want := [][]string{{"1", "2"}, {"1", "2"}, {"3"}}
	f.wantBodies(want)
	if diff := cmp.Diff(bodies(dlq.Messages()), []string{"1", "2"}); diff != "" {
		t.Errorf("DLQ (-got +want):\n%s", diff)
	}
}

func TestFIFODeduplicatesForFiveMinutes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		byContent     bool
		first, second esmsim.Message
		after         time.Duration
		once          bool
	}{
		{"same id", false, esmsim.Message{Body: "a", DeduplicationID: "d"}, esmsim.Message{Body: "b", DeduplicationID: "d"}, 4 * time.Minute, true},
		{"same id in another group", false, esmsim.Message{Body: "a", GroupID: "h", DeduplicationID: "d"}, esmsim.Message{Body: "b", DeduplicationID: "d"}, 0, true},
		{"same id after five minutes", false, esmsim.Message{Body: "a", DeduplicationID: "d"}, esmsim.Message{Body: "a", DeduplicationID: "d"}, 5 * time.Minute, false},
		{"other id", false, esmsim.Message{Body: "a", DeduplicationID: "d"}, esmsim.Message{Body: "a", DeduplicationID: "e"}, 0, false},
		{"same content", true, esmsim.Message{Body: "a"}, esmsim.Message{Body: "a"}, 0, true},
		{"other content", true, esmsim.Message{Body: "a"}, esmsim.Message{Body: "b"}, 0, false},
		{"same content, ids given", true, esmsim.Message{Body: "a", DeduplicationID: "d"}, esmsim.Message{Body: "a", DeduplicationID: "e"}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q.fifo", DeduplicateByContent: tt.byContent})
			f := newFunction(t, sim) // deletes the first at once, which does not matter
			sim.Map(queue, f.handle, esmsim.MappingConfig{})
			withGroup := func(m esmsim.Message) esmsim.Message {
				if m.GroupID == "" {
					m.GroupID = "g"
				}
				return m
			}
			first := queue.Send(withGroup(tt.first))
			var second string
			sim.At(tt.after, func() { second = queue.Send(withGroup(tt.second)) })
			sim.Run(hour)
			if (first == second) != tt.once {
				t.Errorf("ids %s and %s, want the same: %v", first, second, tt.once)
			}
			delivered := 0
			for _, batch := range f.bodies() {
				delivered += len(batch)
			}
			if want := map[bool]int{true: 1, false: 2}[tt.once]; delivered != want {
				t.Errorf("%d delivered, want %d", delivered, want)
			}
		})
	}
}

func TestFIFOReceiptHandleExpiresWithTheVisibility(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, queue string
		deleted     bool
	}{
		{"standard deletes all the same", "q", true},
		{"fifo does not", "q.fifo", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: tt.queue})
			send(queue, "a")
			handle := queue.Receive(1)[0].ReceiptHandle
			sim.Run(time.Minute)
			if err := queue.Delete(handle); (err == nil) != tt.deleted {
				t.Errorf("delete: %v", err)
			}
			if got := len(queue.Messages()) == 0; got != tt.deleted {
				t.Errorf("deleted: %v, want %v", got, tt.deleted)
			}
		})
	}
}
