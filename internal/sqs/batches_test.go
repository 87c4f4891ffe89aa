package sqs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
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
	failed := func(entries map[int]sqstest.EntryFault) sqstest.Fault { return sqstest.Fault{Entries: entries} }
	answer := func(text string, status int) sqstest.Fault {
		return sqstest.Fault{Answer: &text, Status: status}
	}
	const transient, configuration = message.CauseTransient, message.CauseConfiguration
	for _, tt := range []struct {
		name   string
		fault  func(sqstest.Call) *sqstest.Fault
		unsent []int
		cause  message.Cause
		text   string
		calls  int // at most
	}{
		{
			"an entry is refused", with("13", failed(map[int]sqstest.EntryFault{3: {Code: "InvalidMessageContents", Message: canary, SenderFault: true}})),
			[]int{13},
			message.CauseUnsent, "an entry is refused, InvalidMessageContents", 3,
		},
		{"the server fails on entries, once", once(failed(map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 4: {Code: "ServiceUnavailable"}})), nil, "", "", 6},
		{
			"the server fails on an entry for good", with("20", failed(map[int]sqstest.EntryFault{0: {Code: "InternalError", Message: canary}})),
			[]int{20},
			transient, "InternalError", 5,
		},
		{
			"an entry makes SQS refuse its call", with("7", sqstest.Fault{Code: "InvalidMessageContents", Message: canary}),
			[]int{7},
			message.CauseUnsent, "refused, InvalidMessageContents", 3 + 10,
		},
		{"throttled once", once(sqstest.Fault{Code: "RequestThrottled", Message: canary}), nil, "", "", 6},
		{
			"throttled", always(sqstest.Fault{Code: "ThrottlingException", Message: canary}),
			upTo(25), transient, "SQS throttles this queue, ThrottlingException", 6,
		},
		{
			"down", always(sqstest.Fault{Code: "InternalFailure", Message: canary, Status: 500}),
			upTo(25), transient, "SQS fails with HTTP 500, InternalFailure", 6,
		},
		{"a gateway before SQS is down", always(answer("<html>"+canary, 503)), upTo(25), transient, "HTTP 503", 6},
		{"silent", always(sqstest.Fault{Delay: time.Minute}), upTo(25), transient, "no answer from 127.0.0.1", 6}, // and the port
		{"connections break once", once(sqstest.Fault{Lost: true}), nil, "", "", 6},                               // sent twice: a standard queue delivers more than once
		{"nothing is listed", always(answer(`{}`, 0)), upTo(25), transient, "the answer does not mention all entries", 3},
		{"an empty answer", always(answer(``, 0)), upTo(25), transient, "the answer does not mention all entries", 3},
		{
			"listed twice, or unknown", with("20", answer(`{"Successful":[{"Id":"0"},{"Id":"1"},{"Id":"5"},{"Id":"-1"},{"Id":"x"}],"Failed":[{"Id":"1","SenderFault":true,"Code":"`+canary+`"},{"Id":"77","Code":"x"}]}`, 0)),
			[]int{21, 22, 23, 24},
			transient, "the answer does not mention all entries", 3,
		},
		{
			"not an answer of SQS", always(answer("<html>"+canary, 0)),
			upTo(25), transient, "(HTTP 200) is not a response from SQS; check AWS_ENDPOINT_URL", 3,
		},
		{
			"a page instead of SQS", always(answer("<html>"+canary, 404)),
			upTo(25), transient, "(HTTP 404) is not a response from SQS; check AWS_ENDPOINT_URL", 3,
		},
		{
			"JSON of somebody else", always(answer(`{"error":"`+canary+`"}`, 418)),
			upTo(25), transient, "answered with HTTP 418, and not as SQS does; check that ", 3,
		},
		{
			"another checksum", with("20", answer(`{"Successful":[{"Id":"0","MessageId":"`+canary+`","MD5OfMessageBody":"`+canary+`"}]}`, 0)),
			[]int{20, 21, 22, 23, 24},
			transient, "checksum", 3,
		},
		{
			"an answer that makes the SDK panic", with("20", answer(`{"Successful":[{"MessageId":"`+canary+`"}]}`, 0)),
			[]int{20, 21, 22, 23, 24},
			message.CausePanic, "a panic: runtime error", 3,
		},
		{
			"not allowed", always(sqstest.Fault{Code: "AccessDeniedException", Message: "User: arn:aws:iam::000000000000:role/x is not authorized to perform: sqs:sendmessage"}),
			upTo(25), configuration, "role/x is not authorized to perform: sqs:sendmessage; allow the role sqs:SendMessage", 3,
		},
		{
			"not allowed, in other words", always(sqstest.Fault{Code: "AccessDenied", Message: canary, Status: 403}),
			upTo(25), configuration, "AccessDenied; allow the role sqs:SendMessage", 3,
		},
		{
			"refused credentials", always(sqstest.Fault{Code: "SignatureDoesNotMatch", Message: "The Canonical String was " + canary, Status: 403}),
			upTo(25), configuration, "AWS refuses the credentials, SignatureDoesNotMatch; renew AWS_ACCESS_KEY_ID", 3,
		},
		{"a key that is off", always(sqstest.Fault{Code: "KmsDisabled", Message: canary}), upTo(25), configuration, "KMS key cannot be used, KmsDisabled", 3},
		{"an unknown code that quotes", always(sqstest.Fault{Code: "Bad " + canary, Message: canary}), upTo(25), message.CauseUnsent, "an unknown error", 3 + 25},
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
		{"a gateway before SQS gives up", always(sqstest.Fault{Answer: new("<html>"), Status: 504}), 0, 25, 3},
		{"nothing is listed", always(sqstest.Fault{Answer: new("{}")}), 0, 25, 3},
		{"not an answer of SQS", always(sqstest.Fault{Answer: new("<html>")}), 0, 25, 3},
		{"another checksum", always(sqstest.Fault{Answer: new(`{"Successful":[{"Id":"0","MD5OfMessageBody":"x"}]}`)}), 0, 25, 3},
		{"an answer that makes the SDK panic", always(sqstest.Fault{Answer: new(`{"Successful":[{"MessageId":"x"}]}`)}), 0, 25, 3},
		{"a page instead of SQS", always(sqstest.Fault{Answer: new("<html>"), Status: 404}), 25, 0, 3},
		{"not allowed", always(sqstest.Fault{Code: "AccessDenied", Status: 403}), 25, 0, 3},
		{"throttled once", once(sqstest.Fault{Code: "ThrottlingException"}), 0, 0, 6},
		{"throttled", always(sqstest.Fault{Code: "ThrottlingException"}), 25, 0, 6},
		{"not there once", once(sqstest.Fault{Code: "ServiceUnavailable", Status: 503}), 0, 0, 6},
		{"not there", always(sqstest.Fault{Code: "ServiceUnavailable", Status: 503}), 25, 0, 6},
		{"entries fail once", once(sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}}}), 0, 0, 6},
		{"entries fail once, and then connections break", first(
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
