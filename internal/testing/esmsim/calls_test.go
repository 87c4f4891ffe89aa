package esmsim_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/esmsim"
)

// code is the code of an error of SQS, or "".
func code(err error) string {
	if e, ok := errors.AsType[*esmsim.Error](err); ok {
		return e.Code
	}
	return ""
}

func attributes(n int) map[string]esmsim.Attribute {
	all := map[string]esmsim.Attribute{}
	for _, name := range numbered("k", n) {
		all[name] = esmsim.Attribute{DataType: "String", StringValue: "v"}
	}
	return all
}

func TestSendRefuses(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	tests := []struct {
		name, queue string
		message     esmsim.Message
		want        string // code, or "" for accepted
	}{
		{"plain", "q", esmsim.Message{Body: "a"}, ""},
		{"fair queue", "q", esmsim.Message{Body: "a", GroupID: "tenant"}, ""},
		{"ten attributes", "q", esmsim.Message{Body: "a", Attributes: attributes(10)}, ""},
		{"eleven attributes", "q", esmsim.Message{Body: "a", Attributes: attributes(11)}, "InvalidParameterValue"},
		{"no body", "q", esmsim.Message{}, "MissingParameter"},
		{"1 MiB", "q", esmsim.Message{Body: strings.Repeat("a", mib)}, ""},
		{"1 MiB with attributes", "q", esmsim.Message{Body: strings.Repeat("a", mib-8), Attributes: attributes(1)}, "InvalidParameterValue"},
		{"control character", "q", esmsim.Message{Body: "a\x00"}, "InvalidMessageContents"},
		{"tab and new lines", "q", esmsim.Message{Body: "a\t\r\n"}, ""},
		{"not a character", "q", esmsim.Message{Body: "\uffff"}, "InvalidMessageContents"},
		{"invalid UTF-8", "q", esmsim.Message{Body: "\xff"}, "InvalidMessageContents"},
		{"replacement character", "q", esmsim.Message{Body: "\ufffd"}, ""},
		{"delay of 15 min", "q", esmsim.Message{Body: "a", Delay: 15 * time.Minute}, ""},
		{"delay of more", "q", esmsim.Message{Body: "a", Delay: 15*time.Minute + time.Second}, "InvalidParameterValue"},
		{"deduplication on standard", "q", esmsim.Message{Body: "a", DeduplicationID: "d"}, "InvalidParameterValue"},
		{"fifo", "q.fifo", esmsim.Message{Body: "a", GroupID: "g", DeduplicationID: "d"}, ""},
		{"fifo without group", "q.fifo", esmsim.Message{Body: "a", DeduplicationID: "d"}, "MissingParameter"},
		{"fifo without deduplication", "q.fifo", esmsim.Message{Body: "a", GroupID: "g"}, "InvalidParameterValue"},
		{"fifo with delay", "q.fifo", esmsim.Message{Body: "a", GroupID: "g", DeduplicationID: "d", Delay: time.Second}, "InvalidParameterValue"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			queue := esmsim.New(1).Queue(esmsim.QueueConfig{Name: tt.queue})
			if _, err := queue.SendMessage(tt.message); code(err) != tt.want {
				t.Errorf("got %v, want code %q", err, tt.want)
			}
			if stored := len(queue.Messages()) == 1; stored != (tt.want == "") {
				t.Errorf("stored: %v", stored)
			}
		})
	}
}

func TestBatchesAreRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	eleven := numbered("e", 11)
	for _, tt := range []struct {
		name string
		ids  []string
		want string
	}{
		{"none", nil, "EmptyBatchRequest"},
		{"ten", eleven[:10], ""},
		{"eleven", eleven, "TooManyEntriesInBatchRequest"},
		{"same id", []string{"0", "0"}, "BatchEntryIdsNotDistinct"},
		{"no id", []string{""}, "InvalidBatchEntryId"},
		{"odd id", []string{"a b"}, "InvalidBatchEntryId"},
		{"id of 81", []string{strings.Repeat("a", 81)}, "InvalidBatchEntryId"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := esmsim.CheckIDs(tt.ids); code(err) != tt.want {
				t.Errorf("got %v, want code %q", err, tt.want)
			}
		})
	}
	half := strings.Repeat("a", 1<<19)
	for _, tt := range []struct{ name, queue, second, want string }{
		{"1 MiB together", "q", half, ""},
		{"over 1 MiB together", "q", half + "a", "BatchRequestTooLong"},
		{"one without a body", "q", "", "MissingParameter"},
		{"one with a bad character", "q", "\x00", ""}, // costs only itself
		{"fifo, without groups", "q.fifo", half, "MissingParameter"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			queue := esmsim.New(1).Queue(esmsim.QueueConfig{Name: tt.queue})
			if err := queue.CheckBatch([]esmsim.Message{{Body: half}, {Body: tt.second}}); code(err) != tt.want {
				t.Errorf("got %v, want code %q", err, tt.want)
			}
		})
	}
}

func TestChangeVisibility(t *testing.T) {
	t.Parallel()
	// Received at 0 with a visibility of 30 s; the call is made at `at`.
	tests := []struct {
		name    string
		at      time.Duration
		timeout time.Duration
		want    string
		visible time.Duration
	}{
		{"longer", 10 * time.Second, 10 * time.Minute, "", 10*time.Minute + 10*time.Second},
		{"shorter", 10 * time.Second, time.Second, "", 11 * time.Second},
		{"zero", 10 * time.Second, 0, "", 10 * time.Second},
		{"negative", 10 * time.Second, -1, "InvalidParameterValue", 30 * time.Second},
		{"12 h at once", 0, 12 * hour, "", 12 * hour},
		{"over 12 h", 0, 12*hour + time.Second, "InvalidParameterValue", 30 * time.Second},
		{"over 12 h from the receive", 10 * time.Second, 12 * hour, "InvalidParameterValue", 30 * time.Second},
		{"up to 12 h from the receive", 10 * time.Second, 12*hour - 10*time.Second, "", 12 * hour},
		{"no longer in flight", 30 * time.Second, time.Minute, "MessageNotInflight", 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
			send(queue, "a")
			handle := queue.Receive(1)[0].ReceiptHandle
			sim.Run(tt.at)
			if err := queue.ChangeVisibility(handle, tt.timeout); code(err) != tt.want {
				t.Fatalf("got %v, want code %q", err, tt.want)
			}
			if tt.visible > tt.at {
				sim.Run(tt.visible - time.Millisecond)
				if got := queue.Messages()[0].State; got != esmsim.InFlight {
					t.Errorf("%v just before %v, want in flight", got, tt.visible)
				}
			}
			sim.Run(tt.visible)
			if got := queue.Messages()[0].State; got != esmsim.Visible {
				t.Errorf("%v at %v, want visible", got, tt.visible)
			}
		})
	}
}

func TestReceiptHandles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, queue, handle string // handle: which one is used
		change, remove      string // codes
		gone                bool   // after the deletion
	}{
		{"last", "q", "last", "", "", true},
		{"last, fifo", "q.fifo", "last", "", "", true},
		{"older succeeds and does nothing", "q", "older", "", "", false},
		{"older is expired on fifo", "q.fifo", "older", "InvalidParameterValue", "InvalidParameterValue", false},
		{"another queue's", "q", "foreign", "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", false},
		{"not one", "q", "garbage", "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue, other := sim.Queue(esmsim.QueueConfig{Name: tt.queue}), sim.Queue(esmsim.QueueConfig{Name: "other"})
			send(queue, "a")
			send(other, "a")
			older := queue.Receive(1)[0].ReceiptHandle
			sim.Run(time.Minute)
			handles := map[string]string{
				"older": older, "last": queue.Receive(1)[0].ReceiptHandle, "foreign": other.Receive(1)[0].ReceiptHandle, "garbage": "x",
			}
			if len(slices.Collect(maps.Keys(handles))) != 4 || older == handles["last"] {
				t.Fatal("receipt handles repeat")
			}
			handle := handles[tt.handle]
			if err := queue.ChangeVisibility(handle, time.Hour); code(err) != tt.change {
				t.Errorf("change: %v, want code %q", err, tt.change)
			}
			for range 2 { // deleting twice is not an error
				if err := queue.Delete(handle); code(err) != tt.remove {
					t.Errorf("delete: %v, want code %q", err, tt.remove)
				}
			}
			if gone := len(queue.Messages()) == 0; gone != tt.gone {
				t.Errorf("gone: %v, want %v", gone, tt.gone)
			}
		})
	}
}

func TestOlderHandleLeavesTheVisibilityAlone(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
	send(queue, "a")
	older := queue.Receive(1)[0].ReceiptHandle
	sim.Run(30 * time.Second)
	queue.Receive(1)
	if err := queue.ChangeVisibility(older, hour); err != nil {
		t.Fatal(err)
	}
	sim.Run(time.Minute)
	if got := queue.Messages()[0].State; got != esmsim.Visible {
		t.Errorf("%v when the visibility of the last receive ends, want visible", got)
	}
}
