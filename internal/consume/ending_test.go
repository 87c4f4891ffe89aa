package consume_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/models"
)

// TestAFailedRunLeavesNothingInFlight: however a run until the queue is empty fails, what it received
// is visible when it is over, for the next run: also what it had returned with a back-off. A run
// forever leaves that hidden, because a supervisor starts it again and again.
func TestAFailedRunLeavesNothingInFlight(t *testing.T) {
	t.Parallel()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	type breaking = func(t *testing.T, s *fixture)
	does := func(statements string) breaking {
		return func(t *testing.T, s *fixture) { t.Helper(); s.db.Exec(t, statements) }
	}
	denied := func(operation string) breaking {
		return func(_ *testing.T, s *fixture) { s.failing(operation, sqstest.Fault{Code: "AccessDenied", Status: 403}) }
	}
	soon := func(c *consume.Consumer) {
		quick(c)
		c.GiveUpAfter, c.TransactionTime, c.Grace = 300*time.Millisecond, time.Second, 2*time.Second
	}
	noKeysFor := func(cause message.Cause) func(*consume.Consumer) {
		return func(c *consume.Consumer) {
			soon(c)
			c.Pipeline.Keys = func(context.Context) (*mask.Keyring, error) { return nil, noKeys(cause) }
		}
	}
	for name, tt := range map[string]struct {
		breaks  breaking
		change  func(c *consume.Consumer)
		options fixtureOptions
		want    string // in the error
		free    bool   // no message is received
	}{
		"no table":        {breaks: does("DROP TABLE user_logins"), want: "42P01", free: true},
		"no column":       {breaks: does("ALTER TABLE user_logins DROP COLUMN locale CASCADE"), want: "lacks a column", free: true},
		"no grant":        {breaks: func(t *testing.T, s *fixture) { t.Helper(); s.proxy = pgtest.NewProxy(t, s.db.Role(t, nil).URL) }, want: "lacks a grant", free: true},
		"no database":     {breaks: func(_ *testing.T, s *fixture) { s.proxy.Refuse(true) }, change: soon, want: "was out of reach"},
		"a full disk":     {breaks: does(diskFull), change: soon, want: "was out of reach"},
		"no keys":         {change: noKeysFor(message.CauseConfiguration), want: "no keys"},
		"no keys for now": {change: noKeysFor(message.CauseTransient), want: "was out of reach"},
		"a panic": {change: func(c *consume.Consumer) {
			soon(c)
			c.Pipeline = ingest.New(m.Set(), panicking{}, ingest.Static(mask.Unkeyed()), c.Log)
		}, want: "a panic in the store"},
		"discarded rows":  {breaks: does("CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER discard BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION discard()"), want: "discarded"},
		"no deletions":    {breaks: denied("DeleteMessageBatch"), want: "sqs:DeleteMessage"},
		"no receives":     {breaks: denied("ReceiveMessage"), change: soon, want: "sqs:ReceiveMessage", free: true},
		"no dead letters": {breaks: denied("SendMessageBatch"), want: "the dead-letter queue did not take some"},
		"stuck":           {options: fixtureOptions{fifo: true, noDeadLetters: true, attributes: map[string]string{"VisibilityTimeout": "5"}}, want: "hold up others"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, tt.options)
			for i := range 30 {
				s.queue.Put(sqstest.Message{Body: body("u-" + strconv.Itoa(i)), Group: "g"})
				if i == 3 {
					s.queue.Put(sqstest.Message{Body: malformed, Group: "g"})
				}
			}
			if tt.breaks != nil {
				tt.breaks(t, s)
			}
			got, err := s.consumer(t, func(c *consume.Consumer) {
				c.Delay = nil // the function's, of many seconds
				if tt.change != nil {
					tt.change(c)
				}
			}).Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) || got.Ended != consume.EndedFailed || tt.free != (got.Received == 0) {
				t.Errorf("got %+v, %v", got, err)
			}
			if n := s.inFlight(); n != 0 || len(s.queue.Messages()) == 0 {
				t.Errorf("%d of %d messages are in flight", n, len(s.queue.Messages()))
			}
		})
	}
}

// panicking is a store with a bug.
type panicking struct{}

func (panicking) Insert(context.Context, *batch.Batch) (message.Result, error) { panic("a bug") }
func (panicking) Ping(context.Context) error                                   { return nil }

// TestAStoppedRunLeavesNothingInFlight: nor does one that a signal ends in an outage.
func TestAStoppedRunLeavesNothingInFlight(t *testing.T) {
	t.Parallel()
	for mode, want := range map[consume.Mode]bool{consume.Defaults().Mode: false, consume.Forever: true} {
		t.Run(strconv.Itoa(int(mode)), func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{})
			s.put(0, 5)
			s.db.Exec(t, diskFull)
			r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Delay, c.Mode, c.TransactionTime = nil, mode, time.Second }))
			eventually(t, "it was returned", func() bool { return len(s.sqs.Calls("ChangeMessageVisibilityBatch")) > 0 })
			r.stop()
			if got, err := r.wait(); err != nil || got.Ended != consume.EndedStopped {
				t.Errorf("got %+v, %v", got, err)
			}
			if n := s.inFlight(); (n > 0) != want {
				t.Errorf("%d messages are in flight", n)
			}
		})
	}
}

// TestWaits: a run says what it waits for when the queue gives out nothing, once.
func TestWaits(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "30"}})
	s.put(0, 6)
	held, err := s.consumer(t, nil).Queue.Receive(t.Context(), 10, 0)
	if err != nil || len(held) != 6 {
		t.Fatal(held, err)
	}
	s.queue.Put(sqstest.Message{Body: body("late"), VisibleAt: time.Now().Add(time.Hour)})
	seen := &recorder{}
	r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Observers, c.Grace = []consume.Observer{seen}, 2*time.Second }))
	waits := func() []consume.Waits {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return slices.Clone(seen.waits)
	}
	eventually(t, "it says so", func() bool { return len(waits()) > 0 })
	if got, want := waits()[0].String(), "6 in flight elsewhere, 1 delayed, up to 15 min"; got != want {
		t.Errorf("it waits for %q, want %q", got, want)
	}
	s.put(6, 1)
	eventually(t, "it does not wait any more", func() bool { return slices.Contains(waits(), consume.Waits{}) })
	eventually(t, "it waits again", func() bool { return len(waits()) > 2 })
	r.stop()
	if got, err := r.wait(); err != nil || got.Stored != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := strings.Count(s.log.String(), "waiting for messages that cannot be received yet"); n != 2 {
		t.Errorf("the log says %d times that it waits, want once for each time:\n%s", n, s.log)
	}
	if all := waits(); all[len(all)-1] != (consume.Waits{}) {
		t.Errorf("at its end it waits for %v", all[len(all)-1])
	}
}

func TestWaitsString(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]consume.Waits{
		"":                                  {},
		"6 in flight elsewhere, up to 30 s": {Elsewhere: 6, AtMost: 30 * time.Second},
		"2 that come again after an error, up to 90 s": {Returned: 2, AtMost: 90*time.Second + time.Millisecond},
		"1 in flight elsewhere, 3 delayed, up to 12 h": {Elsewhere: 1, Delayed: 3, AtMost: 12 * time.Hour},
		"4 not given out yet":                          {Unseen: 4},
	} {
		if got := w.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestBusy: the time in which the queue is empty is not part of the rate.
func TestBusy(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 20)
	r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode, c.Grace = consume.Forever, 2*time.Second })) // a receive waits a second
	eventually(t, "the first are stored", func() bool { return s.rows(t) == 20 })
	empty := len(s.sqs.Calls("ReceiveMessage")) + 3
	eventually(t, "some receives bring nothing", func() bool { return len(s.sqs.Calls("ReceiveMessage")) >= empty })
	s.put(20, 20)
	eventually(t, "all are stored", func() bool { return s.rows(t) == 40 && len(s.queue.Messages()) == 0 })
	r.stop()
	got, err := r.wait()
	if err != nil || got.Busy <= 0 || got.Took-got.Busy < 2*time.Second {
		t.Errorf("busy for %v of %v, with two receives of a second that brought nothing; %v", got.Busy, got.Took, err)
	}
}
