package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/fault"
	"sluice/internal/message"
	"sluice/internal/sqs"
	"sluice/internal/testing/sqstest"
)

const sendBatch = "SendMessageBatch"

func TestSendSplits(t *testing.T) {
	big := func(n int) sqs.Outgoing { return sqs.Outgoing{Body: []byte(strings.Repeat("x", n))} }
	for _, tt := range []struct {
		name     string
		messages []sqs.Outgoing
		want     []int // entries of each call
	}{
		{"none", nil, nil},
		{"ten", outgoing(10), []int{10}},
		{"eleven", outgoing(11), []int{1, 10}},
		{"by bytes", []sqs.Outgoing{big(1 << 19), big(1 << 19), big(1), big(1<<20 - 1), big(1 << 20)}, []int{1, 2, 2}},
		{"by bytes of attributes", []sqs.Outgoing{
			big(1 << 19),
			{Body: []byte("x"), Attributes: []byte(`{"ab":{"dataType":"String","stringValue":"` + strings.Repeat("y", 1<<19-9) + `"}}`)},
			big(1 << 19),
			{Body: []byte("x"), Attributes: []byte(`{"ab":{"dataType":"String","stringValue":"` + strings.Repeat("y", 1<<19-8) + `"}}`)},
		}, []int{1, 1, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := server(t)
			q := s.Queue("q", nil)
			unsent, err := open(t, c.WithTimeout(5*time.Second), q).Send(t.Context(), tt.messages)
			if err != nil || unsent != nil {
				t.Fatalf("got %v, %v", unsent, err)
			}
			var got []int
			for _, call := range s.Calls(sendBatch) {
				got = append(got, len(call.Entries))
			}
			slices.Sort(got) // they are sent in parallel
			if diff := cmp.Diff(got, tt.want); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
			if len(q.Messages()) != len(tt.messages) {
				t.Errorf("got %d messages, want %d", len(q.Messages()), len(tt.messages))
			}
		})
	}
}

// TestSendFaults sends 25 messages (in parallel batches: 0-9, 10-19, 20-24) to
// a queue that fails in one way.
func TestSendFaults(t *testing.T) {
	str := func(s string) *string { return &s }
	has := func(call sqstest.Call, body string) bool { return slices.Contains(call.Entries, body+" "+canary) }
	var met sync.Map // the batches, by their fault and first body
	first := func(fault string, call sqstest.Call) bool {
		_, again := met.LoadOrStore(fault+call.Entries[0], true)
		return !again
	}
	for _, tt := range []struct {
		name   string
		fault  func(sqstest.Call) *sqstest.Fault
		unsent []int
		cause  message.Cause
		text   string
		calls  int // at most
	}{
		{
			name: "an entry is refused", calls: 3,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !has(c, "13") {
					return nil
				}
				return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{3: {Code: "InvalidMessageContents", Message: canary, SenderFault: true}}}
			},
			unsent: []int{13}, cause: message.CauseUnsent, text: "an entry is refused, InvalidMessageContents",
		},
		{
			name: "the server fails on entries, once", calls: 6,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !first("entries", c) {
					return nil
				}
				return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 4: {Code: "ServiceUnavailable"}}}
			},
		},
		{
			name: "the server fails on an entry for good", calls: 5,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !has(c, "20") {
					return nil
				}
				return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError", Message: canary}}}
			},
			unsent: []int{20}, cause: message.CauseTransient, text: "InternalError",
		},
		{
			name: "an entry makes SQS refuse its call", calls: 3 + 10,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !has(c, "7") {
					return nil
				}
				return &sqstest.Fault{Code: "InvalidMessageContents", Message: canary}
			},
			unsent: []int{7}, cause: message.CauseUnsent, text: "refused, InvalidMessageContents",
		},
		{
			name: "throttled once", calls: 6,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if c.Nth > 1 {
					return nil
				}
				return &sqstest.Fault{Code: "RequestThrottled", Message: canary}
			},
		},
		{
			name: "throttled", calls: 6,
			fault:  func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Code: "ThrottlingException", Message: canary} },
			unsent: upTo(25), cause: message.CauseTransient, text: "SQS throttles this queue, ThrottlingException",
		},
		{
			name: "down", calls: 6,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Code: "InternalFailure", Message: canary, Status: 500}
			},
			unsent: upTo(25), cause: message.CauseTransient, text: "SQS fails with HTTP 500, InternalFailure",
		},
		{
			name: "a gateway before SQS is down", calls: 6,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Answer: str("<html>" + canary), Status: 503}
			},
			unsent: upTo(25), cause: message.CauseTransient, text: "HTTP 503",
		},
		{
			name: "silent", calls: 6,
			fault:  func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Delay: time.Minute} },
			unsent: upTo(25), cause: message.CauseTransient, text: "no answer from 127.0.0.1", // and the port
		},
		{
			name: "connections break once", calls: 6,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !first("lost", c) {
					return nil
				}
				return &sqstest.Fault{Lost: true} // sent twice: a standard queue delivers more than once
			},
		},
		{
			name: "nothing is listed", calls: 3,
			fault:  func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Answer: str(`{}`)} },
			unsent: upTo(25), cause: message.CauseTransient, text: "the answer does not mention all entries",
		},
		{
			name: "an empty answer", calls: 3,
			fault:  func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Answer: str(``)} },
			unsent: upTo(25), cause: message.CauseTransient, text: "the answer does not mention all entries",
		},
		{
			name: "listed twice, or unknown", calls: 3,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !has(c, "20") {
					return nil
				}
				return &sqstest.Fault{Answer: str(`{"Successful":[{"Id":"0"},{"Id":"1"},{"Id":"5"},{"Id":"-1"},{"Id":"x"}],"Failed":[{"Id":"1","SenderFault":true,"Code":"` + canary + `"},{"Id":"77","Code":"x"}]}`)}
			},
			unsent: []int{21, 22, 23, 24}, cause: message.CauseTransient, text: "the answer does not mention all entries",
		},
		{
			name: "not an answer of SQS", calls: 3,
			fault:  func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Answer: str("<html>" + canary)} },
			unsent: upTo(25), cause: message.CauseTransient, text: "(HTTP 200) is not a response from SQS; check AWS_ENDPOINT_URL",
		},
		{
			name: "a page in place of SQS", calls: 3,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Answer: str("<html>" + canary), Status: 404}
			},
			unsent: upTo(25), cause: message.CauseTransient, text: "(HTTP 404) is not a response from SQS; check AWS_ENDPOINT_URL",
		},
		{
			name: "JSON of somebody else", calls: 3,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Answer: str(`{"error":"` + canary + `"}`), Status: 418}
			},
			unsent: upTo(25), cause: message.CauseTransient, text: "answered with HTTP 418, and not as SQS does; check that ",
		},
		{
			name: "another checksum", calls: 3,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !has(c, "20") {
					return nil
				}
				return &sqstest.Fault{Answer: str(`{"Successful":[{"Id":"0","MessageId":"` + canary + `","MD5OfMessageBody":"` + canary + `"}]}`)}
			},
			unsent: []int{20, 21, 22, 23, 24}, cause: message.CauseTransient, text: "checksum",
		},
		{
			name: "an answer that makes the SDK panic", calls: 3,
			fault: func(c sqstest.Call) *sqstest.Fault {
				if !has(c, "20") {
					return nil
				}
				return &sqstest.Fault{Answer: str(`{"Successful":[{"MessageId":"` + canary + `"}]}`)}
			},
			unsent: []int{20, 21, 22, 23, 24}, cause: message.CausePanic, text: "a panic: runtime error",
		},
		{
			name: "not allowed", calls: 3,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Code: "AccessDeniedException", Message: "User: arn:aws:iam::000000000000:role/x is not authorized to perform: sqs:sendmessage"}
			},
			unsent: upTo(25), cause: message.CauseConfiguration, text: "role/x is not authorized to perform: sqs:sendmessage; allow the role sqs:SendMessage",
		},
		{
			name: "not allowed, in other words", calls: 3,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Code: "AccessDenied", Message: canary, Status: 403}
			},
			unsent: upTo(25), cause: message.CauseConfiguration, text: "AccessDenied; allow the role sqs:SendMessage",
		},
		{
			name: "refused credentials", calls: 3,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Code: "SignatureDoesNotMatch", Message: "The Canonical String was " + canary, Status: 403}
			},
			unsent: upTo(25), cause: message.CauseConfiguration, text: "AWS refuses the credentials, SignatureDoesNotMatch; renew AWS_ACCESS_KEY_ID",
		},
		{
			name: "a key that is off", calls: 3,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Code: "KmsDisabled", Message: canary}
			},
			unsent: upTo(25), cause: message.CauseConfiguration, text: "KMS key cannot be used, KmsDisabled",
		},
		{
			name: "an unknown code that quotes", calls: 3 + 25,
			fault: func(sqstest.Call) *sqstest.Fault {
				return &sqstest.Fault{Code: "Bad " + canary, Message: canary}
			},
			unsent: upTo(25), cause: message.CauseUnsent, text: "an unknown error",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			if tt.name == "silent" {
				c = impatient(c)
			}
			q := s.Queue("q", nil)
			sending := open(t, c, q)
			s.Inject(tt.fault)
			unsent, err := sending.Send(answered(t), outgoing(25))
			if diff := cmp.Diff(unsent, tt.unsent); diff != "" {
				t.Errorf("got(-) want(+):\n%s", diff)
			}
			if text := silent(t, err); (err == nil) != (tt.unsent == nil) || !strings.Contains(text, tt.text) || causeOf(err) != tt.cause {
				t.Errorf("got %q by %q, want %q by %q", text, causeOf(err), tt.text, tt.cause)
			}
			if calls := len(s.Calls(sendBatch)); calls > tt.calls {
				t.Errorf("got %d calls, want %d at most", calls, tt.calls)
			}
			stored := bodies(q)
			for i := range 25 {
				if !slices.Contains(unsent, i) && !slices.Contains(stored, fmt.Sprint(i)) && tt.name != "listed twice, or unknown" {
					t.Errorf("message %d is reported as sent, and is not there", i)
				}
			}
		})
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// TestSendOnce sends 25 messages to a queue that fails in one way: what it may
// have taken is not sent again, and not called unsent.
func TestSendOnce(t *testing.T) {
	str := func(s string) *string { return &s }
	always := func(f sqstest.Fault) func(sqstest.Call) *sqstest.Fault {
		return func(sqstest.Call) *sqstest.Fault { return &f }
	}
	// each has a batch meet a first fault, and then another.
	each := func(first, then sqstest.Fault) func(sqstest.Call) *sqstest.Fault {
		var met sync.Map
		return func(c sqstest.Call) *sqstest.Fault {
			if _, again := met.LoadOrStore(c.Entries[0], true); again {
				return &then
			}
			return &first
		}
	}
	once := func(f sqstest.Fault) func(sqstest.Call) *sqstest.Fault { return each(f, sqstest.Fault{}) }
	for _, tt := range []struct {
		name            string
		fault           func(sqstest.Call) *sqstest.Fault
		unsent, unknown int
		calls           int
	}{
		{"nothing fails", always(sqstest.Fault{}), 0, 0, 3},
		{"connections break", always(sqstest.Fault{Lost: true}), 0, 25, 3},
		{"silent", always(sqstest.Fault{Delay: time.Minute}), 0, 25, 3},
		{"the server fails", always(sqstest.Fault{Code: "InternalError", Status: 500}), 0, 25, 3},
		{"a gateway before SQS gives up", always(sqstest.Fault{Answer: str("<html>"), Status: 504}), 0, 25, 3},
		{"nothing is listed", always(sqstest.Fault{Answer: str("{}")}), 0, 25, 3},
		{"not an answer of SQS", always(sqstest.Fault{Answer: str("<html>")}), 0, 25, 3},
		{"another checksum", always(sqstest.Fault{Answer: str(`{"Successful":[{"Id":"0","MD5OfMessageBody":"x"}]}`)}), 0, 25, 3},
		{"an answer that makes the SDK panic", always(sqstest.Fault{Answer: str(`{"Successful":[{"MessageId":"x"}]}`)}), 0, 25, 3},
		{"a page in place of SQS", always(sqstest.Fault{Answer: str("<html>"), Status: 404}), 25, 0, 3},
		{"not allowed", always(sqstest.Fault{Code: "AccessDenied", Status: 403}), 25, 0, 3},
		{"throttled once", once(sqstest.Fault{Code: "ThrottlingException"}), 0, 0, 6},
		{"throttled", always(sqstest.Fault{Code: "ThrottlingException"}), 25, 0, 6},
		{"not there once", once(sqstest.Fault{Code: "ServiceUnavailable", Status: 503}), 0, 0, 6},
		{"not there", always(sqstest.Fault{Code: "ServiceUnavailable", Status: 503}), 25, 0, 6},
		{"entries fail once", once(sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}}}), 0, 0, 6},
		{"entries fail once, and then connections break", each(
			sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 1: {Code: "InvalidMessageContents", SenderFault: true}}},
			sqstest.Fault{Lost: true},
		), 3, 3, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			if tt.name == "silent" {
				c = impatient(c)
			}
			q := s.Queue("q", nil)
			sending := open(t, c, q)
			s.Inject(tt.fault)
			unsent, unknown, err := sending.SendOnce(answered(t), outgoing(25))
			silent(t, err)
			if len(unsent) != tt.unsent || len(unknown) != tt.unknown || (err != nil) != (tt.unsent+tt.unknown > 0) {
				t.Errorf("got %v unsent, %v unknown, %v", unsent, unknown, err)
			}
			if err != nil && fault.Of(err) == nil {
				t.Errorf("got the error %T", err)
			}
			// What concerns every batch keeps those that have not begun from SQS.
			if calls := len(s.Calls(sendBatch)); calls > tt.calls || calls < tt.calls && tt.name != "not allowed" {
				t.Errorf("got %d calls, want %d", calls, tt.calls)
			}
			stored := bodies(q)
			if len(stored) != len(slices.Compact(slices.Sorted(slices.Values(stored)))) {
				t.Error("a message was sent twice")
			}
			for _, i := range unsent {
				if slices.Contains(stored, fmt.Sprint(i)) || slices.Contains(unknown, i) {
					t.Errorf("message %d is reported as not sent, and is there, or unknown", i)
				}
			}
		})
	}
}

// Nobody can have taken what no server was reached with.
func TestSendOnceToNobody(t *testing.T) {
	t.Parallel()
	s := sqstest.New()
	q := open(t, s.Client(), s.Queue("q", nil))
	s.Close()
	_, _, _ = q.SendOnce(answered(t), outgoing(1)) // by a connection that is gone, perhaps
	unsent, unknown, err := q.SendOnce(answered(t), outgoing(25))
	if len(unsent) != 25 || unknown != nil || err == nil {
		t.Errorf("got %v unsent, %v unknown, %v", unsent, unknown, err)
	}
}

// To a FIFO queue what may have been sent is sent again: it is there once.
func TestSendOnceFIFO(t *testing.T) {
	t.Parallel()
	s, c := server(t)
	q := s.Queue("q.fifo", nil)
	sending := open(t, c, q)
	s.Inject(func(c sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Lost: c.Nth%2 == 1} })
	messages := outgoing(25)
	for i := range messages {
		messages[i].Group, messages[i].DeduplicationID = "g", fmt.Sprint("d", i)
	}
	if unsent, unknown, err := sending.SendOnce(answered(t), messages); err != nil || len(q.Messages()) != 25 {
		t.Errorf("got %v unsent, %v unknown, %v; %d are there", unsent, unknown, err, len(q.Messages()))
	}
}

// TestSendGivesUp: where no call is answered, the others are not tried.
func TestSendGivesUp(t *testing.T) {
	for name, injected := range map[string]*sqstest.Fault{
		"silent":      {Delay: time.Minute},
		"not allowed": {Code: "AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			q := open(t, impatient(c), s.Queue("q", nil))
			s.Inject(func(sqstest.Call) *sqstest.Fault { return injected })
			unsent, err := q.Send(answered(t), outgoing(3000))
			if len(unsent) != 3000 || err == nil {
				t.Errorf("got %d unsent, %v", len(unsent), err)
			}
			if calls := len(s.Calls(sendBatch)); calls > 2*32 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}

func TestSendWithinDeadline(t *testing.T) {
	s, c := server(t)
	q := open(t, c.WithTimeout(time.Minute), s.Queue("q", nil))
	s.Inject(func(sqstest.Call) *sqstest.Fault { return &sqstest.Fault{Delay: time.Hour} })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	unsent, err := q.Send(ctx, outgoing(300))
	if len(unsent) != 300 || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no time left") {
		t.Errorf("got %d unsent, %v", len(unsent), err)
	}
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestSendFIFOInOrder: whatever fails, the messages of a group in the queue
// are the first ones of it, in order.
func TestSendFIFOInOrder(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(sqstest.Call) *sqstest.Fault
	}{
		{"nothing fails", func(sqstest.Call) *sqstest.Fault { return nil }},
		{"an entry is refused", func(c sqstest.Call) *sqstest.Fault {
			return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{c.Nth % 7: {Code: "InvalidParameterValue", SenderFault: true}}}
		}},
		{"the server fails on entries", func(c sqstest.Call) *sqstest.Fault {
			return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 1: {Code: "InternalError"}, c.Nth % 3: {Code: "InternalError"}}}
		}},
		{"calls are refused", func(c sqstest.Call) *sqstest.Fault {
			if c.Nth%3 == 0 {
				return &sqstest.Fault{Code: "InvalidParameterValue"}
			}
			return nil
		}},
		{"answers are lost", func(c sqstest.Call) *sqstest.Fault {
			return &sqstest.Fault{Lost: c.Nth%4 == 1}
		}},
		{"SQS goes down", func(c sqstest.Call) *sqstest.Fault {
			if c.Nth > 8 {
				return &sqstest.Fault{Code: "InternalError", Status: 500}
			}
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := server(t)
			q := s.Queue("q.fifo", nil)
			sending := open(t, c, q)
			s.Inject(tt.fault)
			messages := outgoing(150)
			group := func(i int) string { return fmt.Sprintf("g%d", i*i%11) }
			for i := range messages {
				messages[i].Group, messages[i].DeduplicationID = group(i), fmt.Sprintf("d%d", i)
			}
			unsent, err := sending.Send(answered(t), messages)
			silent(t, err)
			if (err == nil) != (unsent == nil) {
				t.Errorf("got %v, %v", unsent, err)
			}
			want := map[string][]string{}
			stopped := map[string]bool{}
			for i := range messages {
				switch {
				case slices.Contains(unsent, i):
					stopped[group(i)] = true
				case stopped[group(i)]:
					t.Errorf("message %d was sent behind one of its group that was not", i)
				default:
					want[group(i)] = append(want[group(i)], fmt.Sprint(i))
				}
			}
			got := map[string][]string{}
			for i, m := range q.Messages() {
				got[m.Group] = append(got[m.Group], bodies(q)[i])
			}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Errorf("in the queue(-) as reported(+):\n%s", diff)
			}
			if tt.name == "nothing fails" && unsent != nil {
				t.Errorf("got %v unsent", unsent)
			}
		})
	}
}
