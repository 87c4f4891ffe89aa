package deadletters_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/deadletters"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// canary is in every body, attribute and group.
const canary = "canary-203.0.113.7"

type site struct {
	t          *testing.T
	sqs        *sqstest.Server
	from, to   *sqstest.Queue
	fromQ, toQ *sqs.Queue
}

func newSite(t *testing.T, suffix string, messages ...sqstest.Message) *site {
	t.Helper()
	t.Parallel()
	s := &site{t: t, sqs: sqstest.New()}
	t.Cleanup(s.sqs.Close)
	s.from, s.to = s.sqs.Queue("dead"+suffix, nil), s.sqs.Queue("logins"+suffix, nil)
	s.from.Put(messages...)
	s.open()
	return s
}

func (s *site) open() {
	s.t.Helper()
	var err error
	if s.fromQ, err = sqs.Open(s.t.Context(), s.sqs.Client(), s.from.URL, "DEAD_LETTER_QUEUE_URL"); err != nil {
		s.t.Fatal(err)
	}
	if s.toQ, err = sqs.Open(s.t.Context(), s.sqs.Client(), s.to.URL, "SQS_URL"); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) redrive() *deadletters.Redrive {
	return &deadletters.Redrive{From: s.fromQ, To: s.toQ, Models: []string{"user_logins"}}
}

// rejected is a message as a DeadLetter sends it.
func rejected(i int, reason message.Reason) sqstest.Message {
	return rejectedBy("user_logins", i, reason)
}

func rejectedBy(model string, i int, reason message.Reason) sqstest.Message {
	note, err := json.Marshal(sqs.Note{Reason: reason, Model: model, MessageID: fmt.Sprint("m-", i), SentTimestamp: time.Now().Add(-time.Hour).UnixMilli()})
	if err != nil {
		panic(err)
	}
	return sqstest.Message{
		Body: fmt.Sprintf(`{"n":%d,"ip":%q}`, i, canary), Sent: time.Now().Add(-time.Minute),
		Attributes: map[string]sqstest.Attribute{"sluice": {DataType: "String", StringValue: string(note)}, "own": {DataType: "String", StringValue: canary}},
	}
}

func many(n int, reason message.Reason) (all []sqstest.Message) {
	for i := range n {
		all = append(all, rejected(i, reason))
	}
	return all
}

// grouped puts the messages of a FIFO queue into groups in turn.
func grouped(groups int, messages []sqstest.Message) []sqstest.Message {
	for i := range messages {
		messages[i].Group = fmt.Sprint(canary, "-", i%groups)
		messages[i].DeduplicationID = fmt.Sprint("d-", i)
	}
	return messages
}

func bodies(q *sqstest.Queue) (all []string) {
	for _, m := range q.Messages() {
		all = append(all, m.Body)
	}
	return all
}

// nothingLost holds that each body is in one of the queues, and says how many are in both.
func (s *site) nothingLost(n int) (twice int) {
	s.t.Helper()
	seen := map[string]int{}
	for _, b := range append(bodies(s.from), bodies(s.to)...) {
		seen[b]++
	}
	if len(seen) != n {
		s.t.Errorf("%d messages are left of %d", len(seen), n)
	}
	for _, times := range seen {
		twice += times - 1
	}
	return twice
}

// allVisible holds that nothing is kept invisible.
func (s *site) allVisible() {
	s.t.Helper()
	for _, q := range []*sqstest.Queue{s.from, s.to} {
		for _, m := range q.Messages() {
			if m.VisibleAt.After(time.Now()) {
				s.t.Errorf("a message of %s is invisible for another %v", q.Name, time.Until(m.VisibleAt))
			}
		}
	}
}

func quiet(t *testing.T, s deadletters.Summary, err error) {
	t.Helper()
	text, jsonErr := json.Marshal(s)
	if all := fmt.Sprintf("%s %v %+v %v", text, err, s, jsonErr); strings.Contains(all, canary) {
		t.Errorf("a value shows: %s", all)
	}
}

func TestRedriveTakesEverything(t *testing.T) {
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("logins"+suffix, func(t *testing.T) {
			s := newSite(t, suffix, grouped(7, many(155, message.ReasonMissing))...)
			ids := map[string]string{}
			for _, m := range s.from.Messages() {
				ids[m.Body] = m.ID
			}
			told := 0
			r := s.redrive()
			r.Progress = func(done, of int) { told = max(told, done*1000+of) }
			got, err := r.Run(t.Context())
			if err != nil || got.Err() != nil {
				t.Fatal(err, got.Err())
			}
			want := deadletters.Summary{There: 155, Looked: 155, Matched: 155, Sent: 155, Deleted: 155, Reasons: map[message.Reason]int{message.ReasonMissing: 155}}
			if diff := cmp.Diff(got, want); diff != "" {
				t.Error(diff)
			}
			if told != 155155 {
				t.Errorf("progress was told %d", told)
			}
			if n := s.nothingLost(155); n != 0 || len(s.from.Messages()) != 0 {
				t.Errorf("%d are in both queues, %d were left", n, len(s.from.Messages()))
			}
			order := map[string]int{}
			for _, m := range s.to.Messages() {
				if len(m.Attributes) != 1 || m.Attributes["own"].StringValue != canary {
					t.Errorf("got the attributes %v", slices.Collect(maps.Keys(m.Attributes)))
				}
				var n int
				if _, err := fmt.Sscanf(m.Body, `{"n":%d`, &n); err != nil {
					t.Fatal(err)
				}
				if want := fmt.Sprint(canary, "-", n%7); m.Group != want {
					t.Errorf("got the group %s, want %s", m.Group, want)
				}
				if suffix == "" {
					continue
				}
				if m.DeduplicationID != ids[m.Body] {
					t.Errorf("got the deduplication id %s, want %s", m.DeduplicationID, ids[m.Body])
				}
				if last, ok := order[m.Group]; ok && last > n {
					t.Errorf("in its group, %d came after %d", n, last)
				}
				order[m.Group] = n
			}
		})
	}
}

func TestRedriveChooses(t *testing.T) {
	mixed := func() []sqstest.Message {
		moved := sqstest.Message{Body: `{"n":100}`, SourceARN: "arn:aws:sqs:eu-west-1:000000000000:logins", Sent: time.Now().Add(-48 * time.Hour)}
		foreign := sqstest.Message{Body: `{"n":101}`, SourceARN: "arn:aws:sqs:eu-west-1:000000000000:orders", Sent: time.Now().Add(-48 * time.Hour)}
		return append(append(many(15, message.ReasonMissing), moved, foreign, sqstest.Message{Body: `{"n":102}`, Sent: time.Now().Add(-time.Minute)}), rejected(103, message.ReasonRefused), rejected(104, message.ReasonRefused))
	}
	for _, tt := range []struct {
		name                  string
		change                func(*deadletters.Redrive)
		matched, sent, others int
	}{
		{"all but another queue's", func(*deadletters.Redrive) {}, 19, 19, 1},
		{"any source", func(r *deadletters.Redrive) { r.AnySource = true }, 20, 20, 0},
		{"one reason", func(r *deadletters.Redrive) { r.Select.Reasons = []message.Reason{message.ReasonRefused} }, 2, 2, 0},
		{"moved by SQS", func(r *deadletters.Redrive) { r.Select.Reasons = []message.Reason{"too_many_receives"} }, 1, 1, 1},
		{"unknown, or refused", func(r *deadletters.Redrive) {
			r.Select.Reasons = []message.Reason{"unknown", message.ReasonRefused}
		}, 3, 3, 0},
		{"older than a day", func(r *deadletters.Redrive) { r.Select.OlderThan = 24 * time.Hour }, 1, 1, 1},
		{"newer than half an hour", func(r *deadletters.Redrive) { r.Select.NewerThan = 30 * time.Minute }, 1, 1, 0},
		{"at most three", func(r *deadletters.Redrive) { r.Max = 3 }, 3, 3, 1},
		{"dry run", func(r *deadletters.Redrive) { r.DryRun = true }, 19, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "", mixed()...)
			r := s.redrive()
			tt.change(r)
			got, err := r.Run(t.Context())
			if err != nil || got.Err() != nil {
				t.Fatal(err, got.Err())
			}
			if got.Matched != tt.matched || got.Sent != tt.sent || got.Deleted != tt.sent || got.OtherQueue != tt.others {
				t.Errorf("got %+v", got)
			}
			if len(s.to.Messages()) != tt.sent || len(s.from.Messages()) != 20-tt.sent || s.nothingLost(20) != 0 {
				t.Errorf("%d arrived and %d stayed", len(s.to.Messages()), len(s.from.Messages()))
			}
			s.allVisible()
		})
	}
}

// Nothing but its note says whose a message is that sluice has sent here.
func TestRedriveKeepsToItsModel(t *testing.T) {
	mixed := append(many(15, message.ReasonMissing), rejectedBy("orders", 100, message.ReasonMissing), rejectedBy("orders", 101, message.ReasonRefused), rejectedBy("", 102, message.ReasonMissing), sqstest.Message{Body: `{"n":103}`, Sent: time.Now().Add(-time.Minute)})
	for _, tt := range []struct {
		name         string
		change       func(*deadletters.Redrive)
		sent, others int
	}{
		{"its own, and what says nothing", func(*deadletters.Redrive) {}, 17, 2},
		{"another model", func(r *deadletters.Redrive) { r.Models = []string{"orders"} }, 4, 15},
		{"any source", func(r *deadletters.Redrive) { r.AnySource = true }, 19, 0},
		{"both models", func(r *deadletters.Redrive) { r.Models = []string{"user_logins", "orders"} }, 19, 0},
		{"one of both models", func(r *deadletters.Redrive) {
			r.Models, r.Select.Models = []string{"user_logins", "orders"}, []string{"orders"}
		}, 2, 0},
		{"no model", func(r *deadletters.Redrive) { r.Models = nil }, 19, 0},
		{"of what is meant", func(r *deadletters.Redrive) { r.Select.Reasons = []message.Reason{message.ReasonRefused} }, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "", mixed...)
			r := s.redrive()
			tt.change(r)
			got, err := r.Run(t.Context())
			if err != nil || got.Err() != nil {
				t.Fatal(err, got.Err())
			}
			if got.Sent != tt.sent || got.Deleted != tt.sent || got.OtherModel != tt.others || got.OtherQueue != 0 {
				t.Errorf("got %+v", got)
			}
			if len(s.to.Messages()) != tt.sent || s.nothingLost(19) != 0 {
				t.Errorf("%d arrived", len(s.to.Messages()))
			}
			s.allVisible()
		})
	}
}

func TestRedriveRefusesItsOwnQueue(t *testing.T) {
	s := newSite(t, "", many(3, message.ReasonMissing)...)
	for name, change := range map[string]func(*deadletters.Redrive){
		"same URL": func(r *deadletters.Redrive) { r.To = r.From },
		"another host": func(r *deadletters.Redrive) {
			other, err := sqs.Open(t.Context(), s.sqs.Client(), strings.Replace(s.from.URL, "127.0.0.1", "localhost", 1), "SQS_URL")
			if err != nil {
				t.Fatal(err)
			}
			r.To = other
		},
	} {
		r := s.redrive()
		change(r)
		if _, err := r.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "same queue") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if len(s.sqs.Calls("ReceiveMessage")) != 0 {
		t.Error("messages were received")
	}
}

// What is redriven is rejected again at once, as a bad message is.
func TestRedriveEndsWithWhatWasThere(t *testing.T) {
	s := newSite(t, "", many(60, message.ReasonMissing)...)
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		if c.Operation == "DeleteMessageBatch" {
			for range c.Entries {
				s.from.Put(sqstest.Message{Body: `{"again":"` + canary + `"}`, Sent: time.Now().Add(time.Second)})
			}
		}
		return nil
	})
	got, err := s.redrive().Run(t.Context())
	if err != nil || got.Looked != 60 || got.Sent != 60 || got.Deleted != 60 {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(s.to.Messages()) != 60 || len(s.from.Messages()) != 60 {
		t.Errorf("%d arrived, %d are there again", len(s.to.Messages()), len(s.from.Messages()))
	}
	s.allVisible()
}

func TestRedriveLosesNone(t *testing.T) {
	nth := func(operation string, f *sqstest.Fault, which ...int) func(sqstest.Call) *sqstest.Fault {
		return func(c sqstest.Call) *sqstest.Fault {
			if c.Operation == operation && (len(which) == 0 || slices.Contains(which, c.Nth)) {
				return f
			}
			return nil
		}
	}
	refused := map[int]sqstest.EntryFault{0: {Code: "InvalidMessageContents", Message: canary, SenderFault: true}}
	broken := map[int]sqstest.EntryFault{0: {Code: "InternalError", Message: canary}}
	unlisted := "{}"
	const neither, standard, both = "neither", "", "both" // the standard queue's name has no suffix
	for _, tt := range []struct {
		name  string
		fault func(sqstest.Call) *sqstest.Fault
		// fails: to which kind of queue the run ends with an error, or its
		// summary has one.
		fails string
		// twice is how many may be in both queues, at most: of a standard
		// queue, one batch for each of the calls that go wrong.
		twice int
		// unknown is how many of a standard queue have no clear outcome.
		unknown int
	}{
		{"an entry is not sent", nth("SendMessageBatch", &sqstest.Fault{Entries: refused}, 1), both, 0, 0},
		{"an entry fails once", nth("SendMessageBatch", &sqstest.Fault{Entries: broken}, 1), neither, 0, 0},
		{"sending is throttled once", nth("SendMessageBatch", &sqstest.Fault{Code: "ThrottlingException"}, 1), neither, 0, 0},
		{"SQS is not there once", nth("SendMessageBatch", &sqstest.Fault{Code: "ServiceUnavailable", Status: 503}, 1), neither, 0, 0},
		{"no send works", nth("SendMessageBatch", &sqstest.Fault{Code: "InternalError", Status: 500}), both, 0, 20},
		{"sending is forbidden", nth("SendMessageBatch", &sqstest.Fault{Code: "AccessDenied", Message: canary}), both, 0, 0},
		{"the answer to a send is lost", nth("SendMessageBatch", &sqstest.Fault{Lost: true}, 1), standard, 10, 10},
		{"answers to sends are lost now and then", nth("SendMessageBatch", &sqstest.Fault{Lost: true}, 1, 3, 5), standard, 30, 30},
		{"all answers to sends are lost", nth("SendMessageBatch", &sqstest.Fault{Lost: true}), both, 20, 20},
		{"the answer to a send says nothing", nth("SendMessageBatch", &sqstest.Fault{Answer: &unlisted}, 2), both, 0, 10},
		{"an entry is not deleted", nth("DeleteMessageBatch", &sqstest.Fault{Entries: broken}), both, 10, 0},
		{"an entry is not deleted at first", nth("DeleteMessageBatch", &sqstest.Fault{Entries: broken}, 1), neither, 0, 0},
		{"no delete works", nth("DeleteMessageBatch", &sqstest.Fault{Code: "InternalError", Status: 500}), both, 10, 0},
		{"the answer to a delete is lost", nth("DeleteMessageBatch", &sqstest.Fault{Lost: true}, 1), neither, 0, 0},
		{"deleting is forbidden", nth("DeleteMessageBatch", &sqstest.Fault{Code: "AccessDenied", Message: canary}), both, 10, 0},
		{"a receive fails once", nth("ReceiveMessage", &sqstest.Fault{Code: "InternalError", Status: 500}, 3), neither, 0, 0},
		{"no receive works", nth("ReceiveMessage", &sqstest.Fault{Code: "InternalError", Status: 500}), both, 0, 0},
	} {
		for _, suffix := range []string{"", ".fifo"} {
			t.Run(tt.name+suffix, func(t *testing.T) {
				s := newSite(t, suffix, grouped(5, many(60, message.ReasonMissing))...)
				s.sqs.Inject(tt.fault)
				got, err := s.redrive().Run(t.Context())
				quiet(t, got, err)
				if (err != nil || got.Err() != nil) != (tt.fails == both || tt.fails == suffix) {
					t.Errorf("got %v, %v", err, got.Err())
				}
				s.sqs.Inject(nil)
				twice := s.nothingLost(60)
				if twice > tt.twice {
					t.Errorf("%d are there twice, want %d at most", twice, tt.twice)
				}
				if suffix != "" {
					if in := bodies(s.to); len(slices.Compact(slices.Sorted(slices.Values(in)))) != len(in) {
						t.Error("the FIFO queue has a message twice")
					}
					s.ordered()
				}
				if got.Sent != got.Deleted+len(got.Undeleted) || got.Matched != got.Sent+got.Unsent+got.Unknown || got.Unsent != len(got.NotSent) || got.Unknown != len(got.MaybeSent) {
					t.Errorf("the numbers do not add up: %+v", got)
				}
				if suffix == "" && got.Unknown != tt.unknown {
					t.Errorf("%d are not known to be sent, want %d", got.Unknown, tt.unknown)
				}
				s.named(got)
				s.held(got)
				s.again()
			})
		}
	}
}

// named holds that what is in both queues is named, and that what is named as not sent is not in
// the other.
func (s *site) named(got deadletters.Summary) {
	s.t.Helper()
	arrived := map[string]bool{}
	for _, b := range bodies(s.to) {
		arrived[b] = true
	}
	for _, m := range s.from.Messages() {
		switch known := slices.Contains(got.MaybeSent, m.ID) || slices.Contains(got.Undeleted, m.ID); {
		case arrived[m.Body] && !known:
			s.t.Errorf("message %s is in both queues, and not named", m.ID)
		case arrived[m.Body] && slices.Contains(got.NotSent, m.ID):
			s.t.Errorf("message %s is named as not sent, and was", m.ID)
		}
	}
}

// A kill at any moment leaves what is in both queues at that moment there.
func TestRedriveIsKilled(t *testing.T) {
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("logins"+suffix, func(t *testing.T) {
			s := newSite(t, suffix, grouped(25, many(200, message.ReasonMissing))...)
			var mu sync.Mutex
			worst := 0
			s.sqs.Inject(func(sqstest.Call) *sqstest.Fault {
				mu.Lock()
				defer mu.Unlock()
				worst = max(worst, s.nothingLost(200))
				return nil
			})
			if got, err := s.redrive().Run(t.Context()); err != nil || got.Deleted != 200 {
				t.Fatalf("got %+v, %v", got, err)
			}
			s.sqs.Inject(nil)
			if worst == 0 || worst > 10 {
				t.Errorf("up to %d messages are in both queues at a time, want 1 to 10", worst)
			}
		})
	}
}

func TestRedriveSaysWhatIsInFlight(t *testing.T) {
	s := newSite(t, "", many(40, message.ReasonMissing)...)
	for range 3 { // somebody else
		if _, err := s.fromQ.Receive(t.Context(), 10, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.open()
	got, err := s.redrive().Run(t.Context())
	if err != nil || got.Err() != nil || got.There != 40 || got.InFlight != 30 || got.Sent != 10 {
		t.Errorf("got %+v, %v, %v", got, err, got.Err())
	}
}

// ordered holds that in each group what arrived is in order and no message is ahead of one that is
// left.
func (s *site) ordered() {
	s.t.Helper()
	last := map[string]int{}
	for _, m := range s.to.Messages() {
		var n int
		_, _ = fmt.Sscanf(m.Body, `{"n":%d`, &n)
		if n < last[m.Group] {
			s.t.Errorf("%d arrived after %d", n, last[m.Group])
		}
		last[m.Group] = n
	}
	arrived := map[string]bool{}
	for _, b := range bodies(s.to) {
		arrived[b] = true
	}
	for _, m := range s.from.Messages() {
		var n int
		_, _ = fmt.Sscanf(m.Body, `{"n":%d`, &n)
		if end, ok := last[m.Group]; ok && n < end && !arrived[m.Body] {
			s.t.Errorf("%d was left behind, and %d of its group was sent", n, end)
		}
	}
}

// held: only what is sent and not deleted may stay invisible.
func (s *site) held(got deadletters.Summary) {
	s.t.Helper()
	for _, m := range s.from.Messages() {
		if m.VisibleAt.After(time.Now()) && !slices.Contains(got.Undeleted, m.ID) {
			s.t.Errorf("message %s is invisible for another %v", m.ID, time.Until(m.VisibleAt))
		}
	}
}

// again: once the fault is over, another run takes what is left.
func (s *site) again() {
	s.t.Helper()
	s.open()
	got, err := s.redrive().Run(s.t.Context())
	if err != nil || got.Err() != nil {
		s.t.Errorf("another run: %v, %v", err, got.Err())
	}
	s.nothingLost(60)
}

func TestRedriveIsInterrupted(t *testing.T) {
	for _, operation := range []string{"ReceiveMessage", "SendMessageBatch", "DeleteMessageBatch"} {
		t.Run(operation, func(t *testing.T) {
			s := newSite(t, "", many(200, message.ReasonMissing)...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
				if c.Operation == operation && c.Nth == 2 {
					cancel()
				}
				return nil
			})
			got, err := s.redrive().Run(ctx)
			if err == nil || got.Sent != got.Deleted || got.Sent == 200 {
				t.Errorf("got %+v, %v", got, err)
			}
			if s.nothingLost(200) != 0 {
				t.Error("some are there twice")
			}
			s.allVisible()
		})
	}
}

// A group goes on behind up to nine messages that are not meant.
func TestRedriveOfAGroupThatIsMixed(t *testing.T) {
	all := many(40, message.ReasonMissing)
	for i := range 9 {
		all[i*3] = rejected(i*3, message.ReasonRefused)
	}
	s := newSite(t, ".fifo", grouped(1, all)...)
	r := s.redrive()
	r.Select.Reasons = []message.Reason{message.ReasonMissing}
	got, err := r.Run(t.Context())
	if err != nil || got.Sent != 31 || got.Looked != 40 {
		t.Errorf("got %+v, %v", got, err)
	}
	s.allVisible()
}

func TestPeekGivesEverythingBack(t *testing.T) {
	for _, tt := range []struct {
		name   string
		suffix string
		groups int
		limit  int
		want   int
	}{
		{"all", "", 1, 0, 95},
		{"some", "", 1, 12, 12},
		{"groups", ".fifo", 10, 0, 95},
		{"few groups", ".fifo", 3, 0, 30},
		{"one group", ".fifo", 1, 0, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, tt.suffix, grouped(tt.groups, many(95, message.ReasonMissing))...)
			seen, err := deadletters.Peek(t.Context(), s.fromQ, tt.limit, nil)
			if err != nil || len(seen.Messages) != tt.want || seen.Unreturned != 0 {
				t.Errorf("saw %d, %d not returned, %v", len(seen.Messages), seen.Unreturned, err)
			}
			ids := map[string]bool{}
			for _, m := range seen.Messages {
				ids[m.ID] = true
			}
			if len(ids) != len(seen.Messages) {
				t.Error("a message was seen twice")
			}
			s.allVisible()
			if n := s.nothingLost(95); n != 0 {
				t.Errorf("%d are there twice", n)
			}
		})
	}
}

func TestPeekGivesBackWhatHappensToo(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(cancel func(), c sqstest.Call) *sqstest.Fault
		fails bool
		held  bool
	}{
		{"receiving fails", func(_ func(), c sqstest.Call) *sqstest.Fault {
			if c.Operation == "ReceiveMessage" && c.Nth > 20 {
				return &sqstest.Fault{Code: "AccessDenied", Message: canary}
			}
			return nil
		}, true, false},
		{"interrupted", func(cancel func(), c sqstest.Call) *sqstest.Fault {
			if c.Operation == "ReceiveMessage" && c.Nth == 3 {
				cancel()
			}
			return nil
		}, true, false},
		{"not taken back", func(_ func(), c sqstest.Call) *sqstest.Fault {
			if c.Operation == "ChangeMessageVisibilityBatch" {
				return &sqstest.Fault{Code: "AccessDenied", Message: canary}
			}
			return nil
		}, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, "", many(300, message.ReasonMissing)...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault { return tt.fault(cancel, c) })
			seen, err := deadletters.Peek(ctx, s.fromQ, 0, nil)
			if (err != nil) != tt.fails || len(seen.Messages) == 0 || strings.Contains(fmt.Sprint(err), canary) {
				t.Errorf("saw %d, %v", len(seen.Messages), err)
			}
			if (seen.Unreturned > 0) != tt.held {
				t.Errorf("%d were not taken back", seen.Unreturned)
			}
			if !tt.held {
				s.allVisible()
			}
			s.nothingLost(300)
		})
	}
}

// A queue whose messages are visible again at once must not be walked forever.
func TestAQueueWithoutVisibility(t *testing.T) {
	t.Parallel()
	fakeSQS := sqstest.New()
	t.Cleanup(fakeSQS.Close)
	dead := fakeSQS.Queue("dead", map[string]string{"VisibilityTimeout": "0"})
	dead.Put(many(25, message.ReasonMissing)...)
	q, err := sqs.Open(t.Context(), fakeSQS.Client(), dead.URL, "DEAD_LETTER_QUEUE_URL")
	if err != nil {
		t.Fatal(err)
	}
	seen, err := deadletters.Peek(t.Context(), q, 0, nil)
	if err != nil || len(seen.Messages) < 10 {
		t.Errorf("saw %d, %v", len(seen.Messages), err)
	}
}
