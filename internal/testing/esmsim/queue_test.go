package esmsim_test

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"example.com/owner/sluice/internal/testing/esmsim"
)

const hour, day = time.Hour, 24 * time.Hour

func TestQueueMessageIDsAreUUIDs(t *testing.T) {
	t.Parallel()
	queue := esmsim.New(1).Queue(esmsim.QueueConfig{Name: "q"})
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := queue.Send(esmsim.Message{Body: "x"})
		if !uuid.MatchString(id) || seen[id] {
			t.Fatalf("message id %q is not a new random UUID", id)
		}
		seen[id] = true
	}
}

func TestQueueHidesAReceivedMessageForItsVisibility(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: time.Minute})
	send(queue, "a")
	steps := []struct {
		at   time.Duration
		want []string
	}{
		{0, []string{"a"}},
		{59 * time.Second, nil},
		{60 * time.Second, []string{"a"}},
		{119 * time.Second, nil},
		{120 * time.Second, []string{"a"}},
	}
	for _, step := range steps {
		sim.Run(step.at)
		if diff := cmp.Diff(bodies(queue.Receive(10)), step.want); diff != "" {
			t.Errorf("received at %v (-got +want):\n%s", step.at, diff)
		}
	}
	if got := queue.Messages()[0].Receives; got != 3 {
		t.Errorf("receive count is %d, want 3", got)
	}
}

func TestQueueDelay(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		queue   esmsim.QueueConfig
		message time.Duration
		want    time.Duration
	}{
		{"none", esmsim.QueueConfig{Name: "q"}, 0, 0},
		{"queue's", esmsim.QueueConfig{Name: "q", Delay: time.Minute}, 0, time.Minute},
		{"message's wins", esmsim.QueueConfig{Name: "q", Delay: time.Minute}, time.Second, time.Second},
		{"fifo queue's", esmsim.QueueConfig{Name: "q.fifo", Delay: time.Minute, DeduplicateByContent: true}, 0, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(tt.queue)
			f := newFunction(t, sim)
			sim.Map(queue, f.handle, esmsim.MappingConfig{})
			msg := esmsim.Message{Body: "a", Delay: tt.message}
			if fifo(queue) {
				msg.GroupID = "g"
			}
			queue.Send(msg)
			sim.Run(hour)
			f.wantTimes(tt.want)
		})
	}
}

func TestQueueExpiresByAge(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		retention time.Duration
		alive     time.Duration
		expired   time.Duration
	}{
		{"default of four days", 0, 4*day - time.Second, 4 * day},
		{"one minute", time.Minute, 59 * time.Second, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q", Retention: tt.retention, Visibility: 12 * hour})
			ids := send(queue, "visible", "in flight")
			queue.Receive(1)
			sim.Run(tt.alive)
			if got := len(queue.Messages()); got != 2 {
				t.Errorf("%d messages at %v, want 2", got, tt.alive)
			}
			sim.Run(tt.expired)
			for _, id := range ids {
				if r, _ := queue.Find(id); r.State != esmsim.Expired {
					t.Errorf("%q is %v at %v, want expired", r.Body, r.State, tt.expired)
				}
			}
		})
	}
}

func TestQueueStopsAt120000InFlight(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: hour})
	for range 120_001 {
		send(queue, "x")
	}
	received := 0
	for n := 1; n > 0; received += n {
		n = len(queue.Receive(10))
	}
	if received != 120_000 {
		t.Errorf("received %d, want 120000", received)
	}
	f := newFunction(t, sim)
	sim.Map(queue, f.handle, esmsim.MappingConfig{})
	sim.Run(time.Minute)
	if len(f.deliveries) != 0 {
		t.Errorf("delivered %q over the limit", f.bodies())
	}
	first := slices.Collect(queue.All())[0]
	if err := queue.Delete(first.ReceiptHandle); err != nil {
		t.Fatal(err)
	}
	sim.Run(2 * time.Minute)
	f.wantTimes(time.Minute)
}

func TestQueueMovesToDLQInsteadOfOneMoreReceive(t *testing.T) {
	t.Parallel()
	for _, maxReceives := range []int{1, 3} {
		t.Run(strconv.Itoa(maxReceives), func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			dlq := sim.Queue(esmsim.QueueConfig{Name: "dlq"})
			queue := sim.Queue(esmsim.QueueConfig{Name: "q", Visibility: time.Minute, DeadLetter: dlq, MaxReceives: maxReceives})
			id := send(queue, "a")[0]
			for range maxReceives {
				if got := bodies(queue.Receive(1)); !slices.Equal(got, []string{"a"}) {
					t.Fatalf("received %q, want a", got)
				}
				sim.Run(sim.Elapsed() + time.Minute)
			}
			sim.Run(hour)
			if got := len(dlq.Messages()); got != 0 {
				t.Fatalf("%d messages in the DLQ before anybody received again, want 0", got)
			}
			send(queue, "b")
			if got := bodies(queue.Receive(2)); !slices.Equal(got, []string{"b"}) {
				t.Errorf("received %q, want b instead of the moved one", got)
			}
			if got := bodies(dlq.Messages()); !slices.Equal(got, []string{"a"}) {
				t.Errorf("DLQ has %q, want a", got)
			}
			if r, _ := queue.Find(id); r.State != esmsim.DeadLettered {
				t.Errorf("the message is %v in its queue, want dead-lettered", r.State)
			}
		})
	}
}

func TestQueueMoveToDLQKeeps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, suffix string
		sent         time.Duration // what SentTimestamp says in the DLQ; it moved at 90 s
		deduplicated bool          // DeduplicationID becomes the message id
	}{
		{"standard keeps SentTimestamp", "", 10 * time.Second, false},
		{"fifo starts a new SentTimestamp", ".fifo", 90 * time.Second, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			start := sim.Now()
			dlq := sim.Queue(esmsim.QueueConfig{Name: "dlq" + tt.suffix, Retention: hour})
			queue := sim.Queue(esmsim.QueueConfig{Name: "q" + tt.suffix, DeadLetter: dlq, MaxReceives: 1})
			var id string
			msg := esmsim.Message{Body: "a", Attributes: map[string]esmsim.Attribute{"k": {DataType: "String", StringValue: "v"}}}
			if tt.suffix != "" {
				msg.GroupID, msg.DeduplicationID = "g", "d"
			}
			sim.At(10*time.Second, func() { id = queue.Send(msg) })
			sim.At(20*time.Second, func() { queue.Receive(1) })
			sim.At(90*time.Second, func() { queue.Receive(1) })
			sim.Run(95 * time.Second)

			want := esmsim.Record{Message: msg, MessageID: id, Source: queue.ARN(), Sent: start.Add(tt.sent), FirstReceived: start.Add(20 * time.Second), State: esmsim.Visible, Receives: 1}
			if tt.deduplicated {
				want.DeduplicationID = id
			}
			if diff := cmp.Diff(dlq.Messages(), []esmsim.Record{want}, cmpopts.IgnoreFields(esmsim.Record{}, "Sequence")); diff != "" {
				t.Errorf("in the DLQ (-got +want):\n%s", diff)
			}
			f := newFunction(t, sim)
			sim.Map(dlq, f.handle, esmsim.MappingConfig{})
			sim.Run(96 * time.Second)
			got := f.deliveries[0].records[0].Attributes
			if got["ApproximateReceiveCount"] != "2" || got["DeadLetterQueueSourceArn"] != queue.ARN() {
				t.Errorf("attributes in the DLQ: %v, want the second receive and the source's ARN", got)
			}
		})
	}
}

func TestQueueDLQRetentionCountsFromSentTimestamp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, suffix string
		expires      time.Duration // sent at 0, moved at 10 h into a DLQ that keeps 24 h
	}{
		{"standard: from the first enqueue", "", 24 * hour},
		{"fifo: from the move", ".fifo", 34 * hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			dlq := sim.Queue(esmsim.QueueConfig{Name: "dlq" + tt.suffix, Retention: 24 * hour})
			queue := sim.Queue(esmsim.QueueConfig{Name: "q" + tt.suffix, DeadLetter: dlq, MaxReceives: 1})
			send(queue, "a")
			queue.Receive(1)
			sim.At(10*hour, func() { queue.Receive(1) })
			sim.Run(tt.expires - time.Second)
			if got := len(dlq.Messages()); got != 1 {
				t.Errorf("%d messages a second before, want 1", got)
			}
			sim.Run(tt.expires)
			if got := len(dlq.Messages()); got != 0 {
				t.Errorf("%d messages after %v, want 0", got, tt.expires)
			}
		})
	}
}

func TestQueueDuplicates(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", Duplicates: 0.05})
	f := newFunction(t, sim)
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
	sim.At(time.Minute, sim.Every(10*time.Millisecond, func() { send(queue, "x") }))
	sim.Run(2 * time.Minute)

	handles := map[string]bool{}
	deliveries := map[string]int{}
	within, across := 0, 0
	for _, d := range f.deliveries {
		batch := map[string]bool{}
		for _, r := range d.records {
			if handles[r.ReceiptHandle] {
				t.Fatalf("receipt handle %q given out twice", r.ReceiptHandle)
			}
			handles[r.ReceiptHandle] = true
			if deliveries[r.MessageID]++; deliveries[r.MessageID] != r.receives() {
				t.Errorf("receive count %d at delivery %d", r.receives(), deliveries[r.MessageID])
			}
			switch {
			case batch[r.MessageID]:
				within++
			case deliveries[r.MessageID] > 1:
				across++
			}
			batch[r.MessageID] = true
		}
	}
	if got, want := within+across, len(deliveries)/20; got < want/2 || got > want*2 {
		t.Errorf("%d second deliveries of %d messages at a probability of 0.05", got, len(deliveries))
	}
	if within == 0 || across == 0 {
		t.Errorf("%d repeats within a batch and %d across batches, want some of both", within, across)
	}
	if r := mapping.Report(); r.Sent != r.Deleted {
		t.Errorf("%d sent, %d deleted", r.Sent, r.Deleted)
	}
}

func TestQueueOutOfOrder(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		probability float64
		sorted      bool
	}{
		{"in order", 0, true},
		{"out of order", 0.2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q", OutOfOrder: tt.probability})
			sent := numbered("m", 100)
			send(queue, sent...)
			var got []string
			for len(got) < len(sent) {
				got = append(got, bodies(queue.Receive(10))...)
			}
			if slices.Equal(got, sent) != tt.sorted {
				t.Errorf("received in order: %v, want %v", !tt.sorted, tt.sorted)
			}
			slices.Sort(got)
			slices.Sort(sent)
			if diff := cmp.Diff(got, sent); diff != "" {
				t.Errorf("received (-got +want):\n%s", diff)
			}
		})
	}
}

func TestQueueLostDeletesBringMessagesBack(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q", LostDeletes: 0.5, Visibility: time.Minute})
	f := newFunction(t, sim)
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
	send(queue, numbered("m", 100)...)
	sim.Run(hour)
	r := mapping.Report()
	if r.Deleted != 100 || r.Failures != 0 || r.Receives < 150 || r.Receives > 250 {
		t.Errorf("deleted %d with %d failures in %d receives, want 100 with none in about 200", r.Deleted, r.Failures, r.Receives)
	}
	if at := f.times()[10]; at < time.Minute {
		t.Errorf("first redelivery at %v, want not before the visibility ends", at)
	}
}

func TestQueueConfigCheck(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	standard, fifo := sim.Queue(esmsim.QueueConfig{Name: "dlq"}), sim.Queue(esmsim.QueueConfig{Name: "dlq.fifo"})
	ok := []struct {
		name   string
		config esmsim.QueueConfig
	}{
		{"defaults", esmsim.QueueConfig{Name: "q"}},
		{"limits", esmsim.QueueConfig{Name: "q", Visibility: 12 * hour, Retention: 14 * day, Delay: 15 * time.Minute, DeadLetter: standard, MaxReceives: 1000}},
		{"fifo", esmsim.QueueConfig{Name: "q.fifo", DeadLetter: fifo, MaxReceives: 1}},
	}
	for _, tt := range ok {
		if err := tt.config.Check(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	refused := []struct {
		name   string
		config esmsim.QueueConfig
		want   string
	}{
		{"no name", esmsim.QueueConfig{}, "name"},
		{"visibility", esmsim.QueueConfig{Name: "q", Visibility: 12*hour + 1}, "visibility"},
		{"retention too long", esmsim.QueueConfig{Name: "q", Retention: 14*day + 1}, "retention"},
		{"retention too short", esmsim.QueueConfig{Name: "q", Retention: time.Second}, "retention"},
		{"delay", esmsim.QueueConfig{Name: "q", Delay: 16 * time.Minute}, "delay"},
		{"DLQ without count", esmsim.QueueConfig{Name: "q", DeadLetter: standard}, "receives"},
		{"count without DLQ", esmsim.QueueConfig{Name: "q", MaxReceives: 5}, "receives"},
		{"count", esmsim.QueueConfig{Name: "q", DeadLetter: standard, MaxReceives: 1001}, "receives"},
		{"standard DLQ of fifo", esmsim.QueueConfig{Name: "q.fifo", DeadLetter: standard, MaxReceives: 5}, "FIFO"},
		{"fifo DLQ of standard", esmsim.QueueConfig{Name: "q", DeadLetter: fifo, MaxReceives: 5}, "FIFO"},
		{"duplicates on fifo", esmsim.QueueConfig{Name: "q.fifo", Duplicates: 0.1}, "FIFO"},
	}
	for _, tt := range refused {
		if err := tt.config.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error about %q", tt.name, err, tt.want)
		}
	}
}
