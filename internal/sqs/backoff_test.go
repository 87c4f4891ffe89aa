package sqs_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

const changeBatch = "ChangeMessageVisibilityBatch"

func TestDelay(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		name             string
		receives         int
		least, mean, top time.Duration // for random 0, 0.5 and (almost) 1
	}{
		{"never received", 0, 7500 * time.Millisecond, 11250 * time.Millisecond, 15 * s},
		{"first", 1, 7500 * time.Millisecond, 11250 * time.Millisecond, 15 * s},
		{"second", 2, 15 * s, 22500 * time.Millisecond, 30 * s},
		{"third", 3, 30 * s, 45 * s, 60 * s},
		{"sixth", 6, 240 * s, 360 * s, 480 * s},
		{"seventh, at the top", 7, 450 * s, 675 * s, 900 * s},
		{"hundredth", 100, 450 * s, 675 * s, 900 * s},
		{"as often as can be", 1<<31 - 1, 450 * s, 675 * s, 900 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for random, want := range map[float64]time.Duration{0: tt.least, 0.5: tt.mean, 1: tt.top} {
				got := sqs.Delay(tt.receives, func() float64 { return random })
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
		outage      time.Duration
		least, most int
	}{
		{time.Minute, 3, 5},
		{time.Hour, 10, 15},
		{6 * time.Hour, 33, 44},
		{24 * time.Hour, 125, 145},
	} {
		least, most := 1000, 0
		for range 1000 {
			receives := 0
			for at := time.Duration(0); at < tt.outage; at += sqs.Delay(receives, random) {
				receives++
			}
			least, most = min(least, receives), max(most, receives)
		}
		t.Logf("%v: %d to %d receives", tt.outage, least, most)
		if least < tt.least || most > tt.most {
			t.Errorf("%v: got %d to %d receives, want %d to %d", tt.outage, least, most, tt.least, tt.most)
		}
	}
}

// TestDelaysOfGroups: the messages of a FIFO group come back together, after
// the delay of the first, however often the others were received.
func TestDelaysOfGroups(t *testing.T) {
	returned := []*message.Message{
		{ReceiveCount: 3, FIFO: true, Group: "a"},
		{ReceiveCount: 9, FIFO: true, Group: "a"},
		{ReceiveCount: 5, FIFO: true, Group: "b"},
		{ReceiveCount: 1, Group: "a"}, // of a standard queue
		{ReceiveCount: 2, Group: "a"},
		{ReceiveCount: 1, FIFO: true, Group: "a"},
		{ReceiveCount: 1, FIFO: true, Group: "b"},
	}
	calls := 0
	got := sqs.Delays(returned, func(receives int) time.Duration {
		calls++
		return time.Duration(receives) * time.Second
	})
	want := []time.Duration{3 * time.Second, 3 * time.Second, 5 * time.Second, time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second}
	if diff := cmp.Diff(got, want); diff != "" || calls != 4 {
		t.Errorf("after %d calls (-got +want):\n%s", calls, diff)
	}
}

// receive takes n messages from a queue, by calls.
func receive(t *testing.T, q *sqs.Queue, n int) []sqs.Received {
	t.Helper()
	var all []sqs.Received
	for len(all) < n {
		got, err := q.Receive(t.Context(), 10, 0)
		if err != nil || len(got) == 0 {
			t.Fatalf("got %d messages, %v, want %d", len(all)+len(got), err, n)
		}
		all = append(all, got...)
	}
	return all
}

func returned(received []sqs.Received) []*message.Message {
	all := make([]*message.Message, len(received))
	for i := range received {
		all[i] = &received[i].Message
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
	q := s.Queue("logins", map[string]string{"VisibilityTimeout": "200"})
	fill(q, 1, 0)
	fill(q, 1, 3)
	fill(q, 1, 50)
	received := receive(t, open(t, c, q), 3)
	backoff, err := c.Backoff(t.Context(), q.ARN)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	failed, err := backoff.Return(t.Context(), returned(received))
	if failed != 0 || err != nil {
		t.Fatalf("got %d, %v", failed, err)
	}
	for i, want := range [][2]time.Duration{{8 * time.Second, 15 * time.Second}, {60 * time.Second, 120 * time.Second}, {450 * time.Second, 900 * time.Second}} {
		if got := q.Messages()[i].VisibleAt.Sub(start); got < want[0] || got > want[1]+time.Since(start) {
			t.Errorf("message %d stays away for %v, want %v", i, got, want)
		}
	}
	// The queue is not asked for its settings: the delays do not depend on them.
	if n := len(s.Calls("GetQueueAttributes")); n != 1 { // by open
		t.Errorf("the settings were asked for %d times", n-1)
	}
}

// TestBackoffOfTenThousand: a thousand calls, 64 of them at the same time.
func TestBackoffOfTenThousand(t *testing.T) {
	s, c := server(t)
	q := s.Queue("logins", nil)
	messages := make([]*message.Message, 10_000)
	for i := range messages {
		messages[i] = &message.Message{ReceiptHandle: fmt.Sprintf("handle-%d-1", i+1), ReceiveCount: i % 40}
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
	failed, err := c.WithTimeout(time.Minute).BackoffTo(q.URL).Return(t.Context(), messages)
	if failed != 0 || err != nil {
		t.Fatalf("got %d, %v", failed, err)
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
	messages = append(messages, &message.Message{ReceiveCount: 1}, &message.Message{ReceiptHandle: canary, ReceiveCount: 1})
	failed, err := c.BackoffTo(q.URL).Return(t.Context(), messages)
	if failed != 2 || !strings.Contains(silent(t, err), "an entry is refused, ReceiptHandleIsInvalid") {
		t.Errorf("got %d, %v", failed, err)
	}
	failed, err = c.BackoffTo(q.URL).Return(t.Context(), messages[:4])
	if failed != 1 || !strings.Contains(silent(t, err), "without a receiptHandle") {
		t.Errorf("got %d, %v", failed, err)
	}
	s.Inject(func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Code: "AccessDenied"} })
	failed, err = c.BackoffTo(q.URL).Return(t.Context(), messages)
	if failed != 5 || causeOf(err) != message.CauseConfiguration || !strings.Contains(silent(t, err), "allow the role sqs:ChangeMessageVisibility") {
		t.Errorf("got %d, %v", failed, err)
	}
	if failed, err = c.BackoffTo(q.URL).Return(t.Context(), nil); failed != 0 || err != nil {
		t.Errorf("got %d, %v", failed, err)
	}
}

func TestURLFromARN(t *testing.T) {
	s, c := server(t)
	bare(t, nil)
	aws := elsewhere(t, nil)
	for _, tt := range []struct {
		name string
		c    *sqs.Client
		arn  string
		want string
	}{
		{"AWS", aws, "arn:aws:sqs:eu-west-1:123456789012:logins", "https://sqs.eu-west-1.amazonaws.com/123456789012/logins"},
		{"FIFO", aws, "arn:aws:sqs:us-east-1:123456789012:logins.fifo", "https://sqs.us-east-1.amazonaws.com/123456789012/logins.fifo"},
		{"China", aws, "arn:aws-cn:sqs:cn-north-1:123456789012:logins", "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/logins"},
		{"Europe of its own", aws, "arn:aws-eusc:sqs:eusc-de-east-1:123456789012:logins", "https://sqs.eusc-de-east-1.amazonaws.eu/123456789012/logins"},
		{"an emulator", c, "arn:aws:sqs:eu-west-1:000000000000:logins", s.URL + "/000000000000/logins"},
		{"an emulator's region", c, "arn:aws:sqs:elasticmq:000000000000:logins", s.URL + "/000000000000/logins"},
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
		if got != "" || causeOf(err) != message.CauseConfiguration {
			t.Errorf("%q: got %q, %v", arn, got, err)
		}
		silent(t, err)
		if _, err := aws.Backoff(t.Context(), arn); err == nil {
			t.Errorf("%q: a back-off", arn)
		}
	}
}

// TestNoHostFromAnEvent: whoever invokes the function writes eventSourceARN.
// None of it sends a request to another host than SQS's.
func TestNoHostFromAnEvent(t *testing.T) {
	bare(t, nil)
	ours := func(host string) bool {
		return strings.HasPrefix(host, "sqs.") && strings.HasSuffix(host, ".amazonaws.com")
	}
	for _, environment := range []map[string]string{
		{"AWS_REGION": "eu-west-1"}, {"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, {"AWS_REGION": "eu-west-1", "AWS_USE_FIPS_ENDPOINT": "true"},
	} {
		for _, region := range []string{
			"evil.example.com/x", "evil.example.com", "evil.example.com#", "evil.example.com?", "evil.example.com:443/", "@evil.example.com/", "eu-west-1.evil.example.com/", `evil.example.com\`, "..", "eu-west-1/../", "eu-west-1%2e", "EU-WEST-1", "evil", "",
		} {
			w := &wire{}
			c := inLambda(t, w, environment)
			backoff, err := c.Backoff(t.Context(), "arn:aws:sqs:"+region+":123456789012:logins")
			if err == nil {
				_, err = backoff.Return(t.Context(), []*message.Message{{ReceiptHandle: "handle-1-1"}})
				t.Errorf("%q: a back-off, %v", region, err)
			} else if causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), "eventSourceARN") || region != "" && strings.Contains(err.Error(), region) {
				t.Errorf("%q: %v", region, err)
			}
			for _, r := range w.requests {
				t.Errorf("%q: a request to %s", region, r.URL)
			}
		}
		for _, rest := range []string{"123456789012@evil.example.com:logins", "@evil.example.com:logins", "..:logins", "123456789012:..", "123456789012:logins?x", "123456789012:logins#x", "//evil.example.com:logins", `\\evil.example.com:logins`} {
			w := &wire{}
			c := inLambda(t, w, environment)
			if backoff, err := c.Backoff(t.Context(), "arn:aws:sqs:eu-west-1:"+rest); err == nil {
				_, _ = backoff.Return(t.Context(), []*message.Message{{ReceiptHandle: "handle-1-1"}})
			}
			for _, r := range w.requests {
				if !ours(r.URL.Hostname()) && !strings.HasPrefix(r.URL.Hostname(), "sqs-fips.eu-west-1.") && r.URL.Hostname() != "sqs.eu-west-1.api.aws" {
					t.Errorf("%q: a request to %s", rest, r.URL)
				}
			}
		}
	}
}

func TestBackoffSendsWholeSeconds(t *testing.T) {
	s, c := server(t)
	q := s.Queue("logins", nil)
	backoff := c.BackoffTo(q.URL)
	backoff.Delay = func(receiveCount int) time.Duration { return time.Duration(receiveCount) * 1500 * time.Millisecond }
	_, _ = backoff.Return(t.Context(), []*message.Message{{ReceiptHandle: "handle-1-1", ReceiveCount: 1}, {ReceiptHandle: "handle-2-1", ReceiveCount: 2}})
	var in struct {
		Entries []struct{ VisibilityTimeout int }
	}
	if err := json.Unmarshal(s.Calls(changeBatch)[0].Input, &in); err != nil {
		t.Fatal(err)
	}
	got := []int{in.Entries[0].VisibilityTimeout, in.Entries[1].VisibilityTimeout}
	if diff := cmp.Diff(got, []int{2, 3}); diff != "" {
		t.Errorf("seconds (-got +want):\n%s", diff)
	}
}
