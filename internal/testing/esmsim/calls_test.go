package esmsim_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/testing/esmsim"
)

// code is the code of an error of SQS, or "".
func code(err error) string {
	if e, ok := errors.AsType[*esmsim.Error](err); ok {
		return e.Code
	}
	return ""
}

// failures are the codes of a Failed list by entry id.
func failures(failed []esmsim.Failed) map[string]string {
	codes := map[string]string{}
	for _, f := range failed {
		codes[f.ID] = f.Code
	}
	return codes
}

func attributes(n int) map[string]esmsim.Attribute {
	all := map[string]esmsim.Attribute{}
	for _, name := range numbered("k", n) {
		all[name] = esmsim.Attribute{DataType: "String", StringValue: "v"}
	}
	return all
}

func TestSendRefusesPerEntry(t *testing.T) {
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
		{"1 MiB with attributes", "q", esmsim.Message{Body: strings.Repeat("a", mib-8), Attributes: attributes(1)}, "BatchRequestTooLong"},
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
			failed, err := queue.SendMessageBatch(t.Context(), []esmsim.SendEntry{{ID: "0", Message: tt.message}})
			got := code(err) + failures(failed)["0"]
			if got != tt.want {
				t.Errorf("code %q (%v, %v), want %q", got, failed, err, tt.want)
			}
			if stored := len(queue.Messages()) == 1; stored != (tt.want == "") {
				t.Errorf("stored: %v", stored)
			}
		})
	}
}

func TestBatchCallsRefuseAsAWhole(t *testing.T) {
	t.Parallel()
	entry := func(id, body string) esmsim.SendEntry {
		return esmsim.SendEntry{ID: id, Message: esmsim.Message{Body: body}}
	}
	var eleven []esmsim.SendEntry
	for _, id := range numbered("e", 11) {
		eleven = append(eleven, entry(id, "a"))
	}
	half := strings.Repeat("a", 1<<19)
	tests := []struct {
		name    string
		entries []esmsim.SendEntry
		want    string
	}{
		{"none", nil, "EmptyBatchRequest"},
		{"ten", eleven[:10], ""},
		{"eleven", eleven, "TooManyEntriesInBatchRequest"},
		{"1 MiB together", []esmsim.SendEntry{entry("0", half), entry("1", half)}, ""},
		{"over 1 MiB together", []esmsim.SendEntry{entry("0", half), entry("1", half+"a")}, "BatchRequestTooLong"},
		{"same id", []esmsim.SendEntry{entry("0", "a"), entry("0", "b")}, "BatchEntryIdsNotDistinct"},
		{"no id", []esmsim.SendEntry{entry("", "a")}, "InvalidBatchEntryId"},
		{"odd id", []esmsim.SendEntry{entry("a b", "a")}, "InvalidBatchEntryId"},
		{"id of 81", []esmsim.SendEntry{entry(strings.Repeat("a", 81), "a")}, "InvalidBatchEntryId"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			queue := esmsim.New(1).Queue(esmsim.QueueConfig{Name: "q"})
			failed, err := queue.SendMessageBatch(t.Context(), tt.entries)
			if code(err) != tt.want || failed != nil {
				t.Errorf("%v, %v, want code %q", failed, err, tt.want)
			}
			want := 0
			if tt.want == "" {
				want = len(tt.entries)
			}
			if got := len(queue.Messages()); got != want {
				t.Errorf("%d messages stored, want %d", got, want)
			}
		})
	}
}

func TestBatchCallsHeedTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	queue := esmsim.New(1).Queue(esmsim.QueueConfig{Name: "q"})
	_, err := queue.SendMessageBatch(ctx, []esmsim.SendEntry{{ID: "0", Message: esmsim.Message{Body: "a"}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want the context's", err)
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
			failed, err := queue.ChangeMessageVisibilityBatch(t.Context(), []esmsim.VisibilityEntry{{ID: "0", ReceiptHandle: handle, Timeout: tt.timeout}})
			if err != nil || failures(failed)["0"] != tt.want {
				t.Fatalf("%v, %v, want code %q", failed, err, tt.want)
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
			failed, err := queue.ChangeMessageVisibilityBatch(t.Context(), []esmsim.VisibilityEntry{{ID: "0", ReceiptHandle: handle, Timeout: time.Hour}})
			if err != nil || failures(failed)["0"] != tt.change {
				t.Errorf("change: %v, %v, want code %q", failed, err, tt.change)
			}
			for range 2 { // deleting twice is no error
				failed, err = queue.DeleteMessageBatch(t.Context(), []esmsim.DeleteEntry{{ID: "0", ReceiptHandle: handle}})
				if err != nil || failures(failed)["0"] != tt.remove {
					t.Errorf("delete: %v, %v, want code %q", failed, err, tt.remove)
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
	failed, err := queue.ChangeMessageVisibilityBatch(t.Context(), []esmsim.VisibilityEntry{{ID: "0", ReceiptHandle: older, Timeout: hour}})
	if err != nil || failed != nil {
		t.Fatalf("%v, %v", failed, err)
	}
	sim.Run(time.Minute)
	if got := queue.Messages()[0].State; got != esmsim.Visible {
		t.Errorf("%v when the visibility of the last receive ends, want visible", got)
	}
}

func TestInjectedFaults(t *testing.T) {
	t.Parallel()
	down := errors.New("connection refused")
	throttled := &esmsim.Error{Code: "RequestThrottled", Message: "slow down"}
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
	sendBoth := func() ([]esmsim.Failed, error) {
		return queue.SendMessageBatch(t.Context(), []esmsim.SendEntry{
			{ID: "0", Message: esmsim.Message{Body: "good"}}, {ID: "1", Message: esmsim.Message{Body: "bad"}},
		})
	}

	queue.Inject(esmsim.Faults{Call: func(op esmsim.Op) error {
		if op == esmsim.SendMessageBatch {
			return down
		}
		return nil
	}})
	if _, err := sendBoth(); !errors.Is(err, down) {
		t.Errorf("err = %v, want the injected one", err)
	}
	queue.Inject(esmsim.Faults{Entry: func(_ esmsim.Op, body string) error {
		if body == "bad" {
			return throttled
		}
		return nil
	}})
	failed, err := sendBoth()
	if diff := cmp.Diff(failed, []esmsim.Failed{{ID: "1", Error: *throttled}}); err != nil || diff != "" {
		t.Errorf("%v, Failed (-got +want):\n%s", err, diff)
	}
	if diff := cmp.Diff(bodies(queue.Messages()), []string{"good"}); diff != "" {
		t.Errorf("stored (-got +want):\n%s", diff)
	}
	queue.Inject(esmsim.Faults{Entry: func(esmsim.Op, string) error { return down }})
	handle := queue.Receive(1)[0].ReceiptHandle
	failed, err = queue.ChangeMessageVisibilityBatch(t.Context(), []esmsim.VisibilityEntry{{ID: "0", ReceiptHandle: handle, Timeout: time.Hour}})
	if err != nil || failures(failed)["0"] != "InternalError" {
		t.Errorf("%v, %v, want an InternalError", failed, err)
	}
	queue.Inject(esmsim.Faults{})
	if failed, err := sendBoth(); err != nil || failed != nil {
		t.Errorf("%v, %v after the repair", failed, err)
	}
}
