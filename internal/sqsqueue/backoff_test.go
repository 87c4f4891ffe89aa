package sqsqueue_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/message"
	"sluice/internal/sqsqueue"
	"sluice/internal/sqsqueue/sqstest"
)

const changeBatch = "ChangeMessageVisibilityBatch"

func TestDelay(t *testing.T) {
	const s, m = time.Second, time.Minute
	for _, tt := range []struct {
		name             string
		receives         int
		visibility       time.Duration
		least, mean, top time.Duration // for random 0, 0.5 and (almost) 1
	}{
		{"never received", 0, 30 * s, 30 * s, 30 * s, 30 * s},
		{"first", 1, 30 * s, 30 * s, 30 * s, 30 * s},
		{"second", 2, 30 * s, 30 * s, 45 * s, 60 * s},
		{"third", 3, 30 * s, 60 * s, 90 * s, 120 * s},
		{"fifth", 5, 30 * s, 240 * s, 360 * s, 480 * s},
		{"sixth, at the top", 6, 30 * s, 450 * s, 675 * s, 900 * s},
		{"hundredth", 100, 30 * s, 450 * s, 675 * s, 900 * s},
		{"as often as can be", 1<<31 - 1, 30 * s, 450 * s, 675 * s, 900 * s},
		{"first, of a function of a minute", 1, 6 * m, 6 * m, 6 * m, 6 * m},
		{"second, of a function of a minute", 2, 6 * m, 6 * m, 9 * m, 12 * m},
		{"third, of a function of a minute", 3, 6 * m, 450 * s, 675 * s, 900 * s},
		{"a visibility of more than half of the top", 9, 10 * m, 10 * m, 750 * s, 900 * s},
		{"a visibility over the top", 9, 90 * m, 90 * m, 90 * m, 90 * m},
		{"no visibility", 1, 0, s, s, s},
		{"no visibility, second", 2, 0, s, 1500 * time.Millisecond, 2 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for random, want := range map[float64]time.Duration{0: tt.least, 0.5: tt.mean, 1: tt.top} {
				got := sqsqueue.Delay(tt.receives, tt.visibility, func() float64 { return random })
				if got != want {
					t.Errorf("random %v: got %v, want %v", random, got, want)
				}
			}
		})
	}
}

// TestDelayInAnOutage holds how many receives an outage costs one message: the
// template's maxReceiveCount must allow them.
func TestDelayInAnOutage(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)).Float64
	for _, tt := range []struct {
		visibility  time.Duration
		least, most int
	}{
		{30 * time.Second, 30, 41},
		{3 * time.Minute, 30, 40},
		{6 * time.Minute, 29, 40},
		{15 * time.Minute, 24, 24},
	} {
		least, most := 1000, 0
		for range 1000 {
			receives := 0
			for at := time.Duration(0); at < 6*time.Hour; at += sqsqueue.Delay(receives, tt.visibility, random) {
				receives++
			}
			least, most = min(least, receives), max(most, receives)
		}
		t.Logf("6 hours with a visibility of %v: %d to %d receives", tt.visibility, least, most)
		if least < tt.least || most > tt.most {
			t.Errorf("visibility %v: got %d to %d receives, want %d to %d", tt.visibility, least, most, tt.least, tt.most)
		}
	}
}

// receive takes n messages from a queue, by calls.
func receive(t *testing.T, q *sqsqueue.Queue, n int) []sqsqueue.Received {
	t.Helper()
	var all []sqsqueue.Received
	for len(all) < n {
		got, err := q.Receive(t.Context(), 10, 0)
		if err != nil || len(got) == 0 {
			t.Fatalf("got %d messages, %v, want %d", len(all)+len(got), err, n)
		}
		all = append(all, got...)
	}
	return all
}

func returned(received []sqsqueue.Received) []sqsqueue.Returned {
	all := make([]sqsqueue.Returned, len(received))
	for i, r := range received {
		all[i] = sqsqueue.Returned{ReceiptHandle: r.ReceiptHandle, ReceiveCount: r.ReceiveCount}
	}
	return all
}

func fill(q *sqstest.Queue, n, receives int) {
	for i := range n {
		q.Put(sqstest.Message{Body: fmt.Sprintf("%d %s", i, canary), Receives: receives})
	}
}

func TestBackoffByReceiveCount(t *testing.T) {
	s, c := server(t)
	q := s.Queue("logins", map[string]string{"VisibilityTimeout": "60"})
	fill(q, 1, 0)
	fill(q, 1, 3)
	fill(q, 1, 50)
	received := receive(t, open(t, c, q), 3)
	backoff, err := c.Backoff(t.Context(), q.ARN)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	set, failed, err := backoff.Return(t.Context(), returned(received))
	if set != 3 || failed != 0 || err != nil {
		t.Fatalf("got %d, %d, %v", set, failed, err)
	}
	for i, want := range [][2]time.Duration{{60 * time.Second, 61 * time.Second}, {240 * time.Second, 481 * time.Second}, {450 * time.Second, 901 * time.Second}} {
		if got := q.Messages()[i].VisibleAt.Sub(start); got < want[0] || got > want[1]+time.Since(start) {
			t.Errorf("message %d stays away for %v, want %v", i, got, want)
		}
	}
	if again, err := c.Backoff(t.Context(), q.ARN); again != backoff || err != nil {
		t.Error("the second backoff of a queue is another one")
	}
	if _, _, err := backoff.Return(t.Context(), returned(received)); err != nil {
		t.Error(err)
	}
	if n := len(s.Calls("GetQueueAttributes")); n != 1+1 { // by open, and by the back-off
		t.Errorf("the visibility was asked for %d times", n-1)
	}
}

func TestBackoffWithoutTheVisibility(t *testing.T) {
	for name, injected := range map[string]sqstest.Fault{
		"not allowed": {Code: "AccessDenied", Message: canary, Status: 403},
		"silent":      {Delay: time.Hour},
		"nonsense":    {Answer: new(string)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			if name == "silent" {
				c = impatient(c)
			}
			q := s.Queue("logins", nil)
			fill(q, 1, 0)
			received := receive(t, open(t, c, q), 1)
			s.Inject(func(call sqstest.Call) *sqstest.Fault {
				if call.Operation == "GetQueueAttributes" {
					return &injected
				}
				return nil
			})
			backoff := c.BackoffFor(q.URL, 0)
			start := time.Now()
			for range 3 {
				if set, failed, err := backoff.Return(t.Context(), returned(received)); set != 1 || failed != 0 || err != nil {
					t.Fatalf("got %d, %d, %v", set, failed, err)
				}
			}
			if got := q.Messages()[0].VisibleAt.Sub(start); got < sqsqueue.DefaultVisibility || got > sqsqueue.DefaultVisibility+time.Since(start) {
				t.Errorf("got %v, want %v", got, sqsqueue.DefaultVisibility)
			}
			if n := len(s.Calls("GetQueueAttributes")); n != 1+1 {
				t.Errorf("the visibility was asked for %d times", n-1)
			}
		})
	}
}

// TestBackoffOfTenThousand: a thousand calls, 64 of them at the same time.
func TestBackoffOfTenThousand(t *testing.T) {
	s, c := server(t)
	q := s.Queue("logins", nil)
	messages := make([]sqsqueue.Returned, 10_000)
	for i := range messages {
		messages[i] = sqsqueue.Returned{ReceiptHandle: fmt.Sprintf("handle-%d-1", i+1), ReceiveCount: i % 40}
	}
	var underWay atomic.Int64
	all := make(chan struct{})
	s.Inject(func(call sqstest.Call) *sqstest.Fault {
		if underWay.Add(1) == 64 {
			close(all)
		}
		select { // until as many as may be are under way
		case <-all:
		case <-time.After(30 * time.Second):
			t.Error("the calls are made one after the other")
		}
		// The fake's own search through all messages is left out.
		ids := make([]string, len(call.Entries))
		for k := range ids {
			ids[k] = fmt.Sprintf(`{"Id":"%d"}`, k)
		}
		answer := `{"Successful":[` + strings.Join(ids, ",") + `],"Failed":[]}`
		return &sqstest.Fault{Answer: &answer}
	})
	set, failed, err := c.WithTimeout(time.Minute).BackoffFor(q.URL, time.Minute).Return(t.Context(), messages)
	if set != 10_000 || failed != 0 || err != nil {
		t.Fatalf("got %d, %d, %v", set, failed, err)
	}
	calls := s.Calls(changeBatch)
	if len(calls) != 1000 {
		t.Errorf("got %d calls", len(calls))
	}
	seen := map[string]bool{}
	for _, call := range calls {
		for _, handle := range call.Entries {
			seen[handle] = true
		}
	}
	if len(seen) != 10_000 {
		t.Errorf("got %d handles", len(seen))
	}
}

func TestBackoffFailureIsHarmless(t *testing.T) {
	s, c := server(t)
	q := s.Queue("logins", nil)
	fill(q, 3, 0)
	received := receive(t, open(t, c, q), 3)
	messages := returned(received)
	messages = append(messages, sqsqueue.Returned{ReceiveCount: 1}, sqsqueue.Returned{ReceiptHandle: canary, ReceiveCount: 1})
	set, failed, err := c.BackoffFor(q.URL, time.Minute).Return(t.Context(), messages)
	if set != 3 || failed != 2 || !strings.Contains(silent(t, err), "an entry is refused, ReceiptHandleIsInvalid") {
		t.Errorf("got %d, %d, %v", set, failed, err)
	}
	set, failed, err = c.BackoffFor(q.URL, time.Minute).Return(t.Context(), messages[:4])
	if set != 3 || failed != 1 || !strings.Contains(silent(t, err), "without a receiptHandle") {
		t.Errorf("got %d, %d, %v", set, failed, err)
	}
	s.Inject(func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Code: "AccessDenied"} })
	set, failed, err = c.BackoffFor(q.URL, time.Minute).Return(t.Context(), messages)
	if set != 0 || failed != 5 || fault(err) != message.CauseOperator || !strings.Contains(silent(t, err), "allow the role sqs:ChangeMessageVisibility") {
		t.Errorf("got %d, %d, %v", set, failed, err)
	}
	if set, failed, err = c.BackoffFor(q.URL, time.Minute).Return(t.Context(), nil); set != 0 || failed != 0 || err != nil {
		t.Errorf("got %d, %d, %v", set, failed, err)
	}
}

func TestURLFromARN(t *testing.T) {
	s, c := server(t)
	bare(t, nil)
	aws := elsewhere(t, nil)
	for _, tt := range []struct {
		name string
		c    *sqsqueue.Client
		arn  string
		want string
	}{
		{"AWS", aws, "arn:aws:sqs:eu-west-1:123456789012:logins", "https://sqs.eu-west-1.amazonaws.com/123456789012/logins"},
		{"FIFO", aws, "arn:aws:sqs:us-east-1:123456789012:logins.fifo", "https://sqs.us-east-1.amazonaws.com/123456789012/logins.fifo"},
		{"China", aws, "arn:aws-cn:sqs:cn-north-1:123456789012:logins", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/logins"},
		{"an emulator", c, "arn:aws:sqs:eu-west-1:000000000000:logins", s.URL + "/000000000000/logins"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.c.URLFromARN(t.Context(), tt.arn)
			if got != tt.want || err != nil {
				t.Errorf("got %s, %v, want %s", got, err, tt.want)
			}
		})
	}
	for _, arn := range []string{"", canary, "arn:aws:sns:eu-west-1:123456789012:logins", "arn:aws:sqs:eu-west-1::logins", "arn:aws:sqs:eu-west-1:123456789012:", "arn:aws:sqs:eu-west-1:123456789012:a/b", "arn:aws:sqs:no region:123456789012:a"} {
		got, err := aws.URLFromARN(t.Context(), arn)
		if got != "" || fault(err) != message.CauseOperator {
			t.Errorf("%q: got %q, %v", arn, got, err)
		}
		silent(t, err)
		if _, err := aws.Backoff(t.Context(), arn); err == nil {
			t.Errorf("%q: a back-off", arn)
		}
	}
}

func TestBackoffSendsWholeSeconds(t *testing.T) {
	s, c := server(t)
	q := s.Queue("logins", nil)
	_, _, _ = c.BackoffFor(q.URL, 1500*time.Millisecond).Return(t.Context(), []sqsqueue.Returned{{"handle-1-1", 1}, {"handle-2-1", 900}})
	var in struct {
		Entries []struct{ VisibilityTimeout int }
	}
	if err := json.Unmarshal(s.Calls(changeBatch)[0].Input, &in); err != nil {
		t.Fatal(err)
	}
	got := []int{in.Entries[0].VisibilityTimeout, in.Entries[1].VisibilityTimeout}
	if got[0] != 2 || got[1] < 450 || got[1] > 900 {
		t.Errorf("got %v seconds", got)
	}
	if diff := cmp.Diff(slices.Contains(got, 0), false); diff != "" {
		t.Error(diff)
	}
}
