package consume_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

func TestUntilEmpty(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 1234)
	seen := &recorder{}
	got := run(t, s.consumer(t, func(c *consume.Consumer) { c.Observers = []consume.Observer{seen} }))
	s.wantRows(t, 1234)
	s.wantEmpty(t)
	if got.Ended != consume.EndedEmpty || got.Received != 1234 || got.Stored != 1234 || got.Duplicate != 0 || got.Undeleted != 0 {
		t.Errorf("got %+v", got)
	}
	if largest := slices.Max(seen.sizes()); largest > 500 {
		t.Errorf("a transaction has %d messages, want 500 at most", largest)
	}
	if first := seen.sizes()[0]; first > 10 {
		t.Errorf("the first transaction, which tries the database, has %d messages", first)
	}
	if most := 3 * 500; seen.most > most {
		t.Errorf("%d messages were in hand, want %d at most", seen.most, most)
	}
	t.Logf("%d receives, transactions of %v messages, %d in hand at most, %v", seen.receives, seen.sizes(), seen.most, got.Took.Round(time.Millisecond))
}

func TestAnEmptyQueueEndsTheRun(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	if got := run(t, s.consumer(t, nil)); got.Ended != consume.EndedEmpty || got.Received != 0 || got.Passes != 0 {
		t.Errorf("got %+v", got)
	}
	if n := len(s.sqs.Calls("GetQueueAttributes")); n != 3 {
		t.Errorf("the queue was asked %d times, want 3: to open it, and twice whether it is empty", n)
	}
}

// A message that another consumer holds may come back, so the queue is not empty.
func TestUntilEmptyWaitsForWhatOthersHold(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 1)
	other := s.consumer(t, nil).Queue
	held, err := other.Receive(t.Context(), 1, 0)
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	r := start(t, s.consumer(t, nil))
	// Opened twice; then asked at least twice whether it is empty.
	eventually(t, "the queue was asked twice", func() bool { return len(s.sqs.Calls("GetQueueAttributes")) >= 4 })
	select {
	case <-r.done:
		t.Fatal("the run was over while another consumer held a message")
	default:
	}
	if _, err := other.ChangeVisibility(t.Context(), []string{held[0].ReceiptHandle}, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := r.wait(); err != nil || got.Stored != 1 || got.Ended != consume.EndedEmpty {
		t.Errorf("got %+v, %v", got, err)
	}
	s.wantEmpty(t)
}

// A message that is delayed will come, so the queue is not empty.
func TestUntilEmptyWaitsForWhatIsDelayed(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 1)
	delayed := s.queue.Messages()[0]
	s.queue.Clear()
	delayed.VisibleAt = time.Now().Add(3 * time.Second)
	s.queue.Put(delayed)
	if got := run(t, s.consumer(t, nil)); got.Stored != 1 || got.Ended != consume.EndedEmpty {
		t.Errorf("got %+v", got)
	}
}

func TestRejectedMessagesGoToTheDeadLetterQueue(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 300)
	s.queue.Put(sqstest.Message{Body: malformed}, sqstest.Message{Body: refused("x-1")}, sqstest.Message{Body: `{"ip":"203.0.113.7"}`})
	s.put(300, 300)
	got := run(t, s.consumer(t, nil))
	s.wantRows(t, 600)
	s.wantEmpty(t)
	if got.Stored != 600 || got.Rejected != 3 || got.DeadLettered != 3 || got.Left != 0 || got.Ended != consume.EndedEmpty {
		t.Errorf("got %+v", got)
	}
	reasons := map[message.Reason]int{}
	for _, n := range s.notes(t) {
		reasons[n.Reason]++
	}
	for _, want := range []message.Reason{message.ReasonNotJSON, message.ReasonMissing, message.ReasonRefused} {
		if reasons[want] != 1 || got.Reasons[want] != 1 {
			t.Errorf("%s: %d in the dead-letter queue, %d in the summary, want 1", want, reasons[want], got.Reasons[want])
		}
	}
}

// Without our own dead-letter queue, rejected messages are left to the
// queue, and a run is over when nothing else is there. One that becomes
// visible again while the run goes on is not tried twice.
func TestUntilEmptyLeavesWhatItHasRejected(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{noDeadLetters: true, attributes: map[string]string{"VisibilityTimeout": "4"}})
	s.put(0, 20)
	s.queue.Put(sqstest.Message{Body: malformed}, sqstest.Message{Body: refused("x-1")})
	// One more is held by someone else, so that the run goes on.
	held := sqstest.Message{Body: body("u-held"), VisibleAt: time.Now().Add(time.Hour)}
	s.queue.Put(held)
	r := start(t, s.consumer(t, nil))
	receives := func() (n int) {
		for _, m := range s.queue.Messages() {
			if m.Body == malformed {
				n = m.Receives
			}
		}
		return n
	}
	eventually(t, "the rejected message was received three times", func() bool { return receives() >= 3 })
	r.stop()
	got, err := r.wait()
	if err != nil || got.Ended != consume.EndedStopped {
		t.Fatalf("got %+v, %v", got, err)
	}
	if got.Rejected != 2 || got.Skipped < 3 || got.Stored != 20 {
		t.Errorf("got %+v, want 2 rejected and several skipped", got)
	}
	s.wantRows(t, 20)

	// And without the other consumer, a new run tries them once and is over.
	s2 := newFixture(t, fixtureOptions{noDeadLetters: true})
	s2.put(0, 20)
	s2.queue.Put(sqstest.Message{Body: malformed}, sqstest.Message{Body: refused("x-1")})
	got = run(t, s2.consumer(t, nil))
	if got.Rejected != 2 || got.Left != 2 || got.Stored != 20 || got.DeadLettered != 0 || got.Ended != consume.EndedEmpty {
		t.Errorf("got %+v", got)
	}
	if left := s2.queue.Messages(); len(left) != 2 || left[0].Receives != 1 || left[1].Receives != 1 {
		t.Errorf("left: %+v", left)
	}
}

// What SQS has moved to its own dead-letter queue is not waited for.
func TestRejectedMessagesThatSQSMoves(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{noDeadLetters: true})
	dead := s.sqs.Queue("moved", nil)
	s.queue = s.sqs.Queue("limited", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":2}`})
	s.queue.Put(sqstest.Message{Body: malformed})
	for len(dead.Messages()) == 0 {
		if got := run(t, s.consumer(t, nil)); got.Ended != consume.EndedEmpty || got.Rejected > 1 {
			t.Fatalf("got %+v", got)
		}
	}
	s.wantEmpty(t)
	if m := dead.Messages()[0]; m.Receives != 2 {
		t.Errorf("it was moved after %d receives", m.Receives)
	}
}

func TestBatches(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 100)
	seen := &recorder{}
	got := run(t, s.consumer(t, func(c *consume.Consumer) {
		c.Mode, c.Batches, c.BatchSize, c.Linger = consume.Batches, 3, 20, time.Hour
		c.Observers = []consume.Observer{seen}
	}))
	if got.Ended != consume.EndedBatches || got.Passes != 3 || got.Stored != 60 || got.GivenBack != 0 {
		t.Errorf("got %+v", got)
	}
	s.wantRows(t, 60)
	if n := s.inFlight(); n != 0 {
		t.Errorf("%d messages are in flight", n)
	}
	if left := len(s.queue.Messages()); left != 40 {
		t.Errorf("%d messages are left, want 40", left)
	}

	// The queue can be empty before.
	got = run(t, s.consumer(t, func(c *consume.Consumer) { c.Mode, c.Batches, c.BatchSize = consume.Batches, 30, 20 }))
	if got.Ended != consume.EndedEmpty || got.Stored != 40 {
		t.Errorf("got %+v", got)
	}
	s.wantEmpty(t)
}

// A message waits for others of its batch as long as it may linger, and a
// batch that is full begins at once.
func TestLinger(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	seen := &recorder{}
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		c.Mode, c.BatchSize, c.Linger = consume.Forever, 20, time.Hour
		c.Observers = []consume.Observer{seen}
	}))
	s.put(0, 5)
	eventually(t, "the first batch, which tries the database, has no company to wait for", func() bool { return s.rows(t) == 5 })
	s.put(5, 10)
	eventually(t, "they are received", func() bool { return s.inFlight() == 10 })
	s.put(15, 10)
	eventually(t, "the batch is full", func() bool { return s.rows(t) == 25 })
	r.stop()
	if _, err := r.wait(); err != nil {
		t.Fatal(err)
	}
	if got := seen.sizes(); !slices.Equal(got, []int{5, 20}) {
		t.Errorf("transactions of %v messages, want 5 and 20", got)
	}

	// With little to linger, a trickle is stored as it comes.
	s = newFixture(t, fixtureOptions{})
	r = start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode, c.Linger = consume.Forever, time.Millisecond }))
	for i := range 5 {
		s.put(i, 1)
		eventually(t, "it is stored", func() bool { return s.rows(t) == i+1 })
	}
	r.stop()
	if got, err := r.wait(); err != nil || got.Passes != 5 {
		t.Errorf("got %+v, %v, want 5 transactions", got, err)
	}
}

// Messages whose transaction takes longer than the queue's visibility are
// kept invisible.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits for a visibility to pass: not with -short")
	}
	const visibility = 5 * time.Second
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "5"}})
	s.put(0, 50)
	lock := s.db.Conn(t)
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE user_logins"); err != nil {
		t.Fatal(err)
	}
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		c.Mode, c.Batches, c.BatchSize, c.Linger = consume.Batches, 1, 50, time.Hour
	}))
	eventually(t, "all are received", func() bool { return s.inFlight() == 50 })
	time.Sleep(visibility * 3 / 2)
	if _, err := lock.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	got, err := r.wait()
	if err != nil || got.Stored != 50 || got.Received != 50 {
		t.Errorf("got %+v, %v", got, err)
	}
	s.wantEmpty(t)
	calls := s.sqs.Calls("ChangeMessageVisibilityBatch")
	if len(calls) == 0 || len(calls) > 50 {
		t.Errorf("%d calls kept 50 messages invisible for %v", len(calls), visibility*3/2)
	}
	t.Logf("%d calls", len(calls))
}

// A run that is stopped at any moment leaves nothing in flight, and no
// message is gone without its row.
func TestStoppedAtRandom(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	const n = 3000
	s.put(0, n)
	rng := rand.New(rand.NewPCG(1, 2))
	stops := 12
	if testing.Short() {
		stops = 3
	}
	for i := range stops {
		r := start(t, s.consumer(t, func(c *consume.Consumer) {
			c.Mode, c.BatchSize = consume.Forever, 100
			c.Linger = time.Duration(rng.IntN(50)) * time.Millisecond
		}))
		// It stops after some call to SQS, so that slow machines stop anywhere too.
		calls := len(s.sqs.Calls("")) + rng.IntN(60)
		eventually(t, "so many calls were made", func() bool { return len(s.sqs.Calls("")) >= calls || len(s.queue.Messages()) == 0 })
		r.stop()
		got, err := r.wait()
		if err != nil || got.Ended != consume.EndedStopped {
			t.Fatalf("stop %d: %+v, %v", i, got, err)
		}
		if k := s.inFlight(); k != 0 {
			t.Fatalf("stop %d: %d messages are in flight", i, k)
		}
		if rows, left := s.rows(t), len(s.queue.Messages()); rows+left < n {
			t.Fatalf("stop %d: %d rows and %d messages, want %d together at least", i, rows, left, n)
		}
		t.Logf("stopped after %v: received %d, stored %d, returned early %d, returned %d", got.Took.Round(time.Millisecond), got.Received, got.Stored, got.GivenBack, got.Returned)
	}
	run(t, s.consumer(t, nil))
	s.wantRows(t, n)
	s.wantEmpty(t)
}

// A transaction that does not end within the grace period is cancelled, and
// its messages are returned.
func TestGrace(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 30)
	lock := s.db.Conn(t)
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE user_logins"); err != nil {
		t.Fatal(err)
	}
	r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode, c.Grace = consume.Forever, 12*time.Second }))
	eventually(t, "a transaction waits for the lock, beside the ping", func() bool {
		return s.db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%user_logins%'") > 1
	})
	r.stop()
	got, err := r.wait()
	if err != nil || got.Ended != consume.EndedStopped || got.Stored != 0 || got.Returned == 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := s.inFlight(); n != 0 {
		t.Errorf("%d messages are in flight", n)
	}
	if _, err := lock.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	s.wantRows(t, 0)
}

func TestManyConsumersOfOneQueue(t *testing.T) {
	t.Parallel()
	for _, consumers := range []int{2, 10} {
		t.Run(plural(consumers), func(t *testing.T) {
			t.Parallel()
			// An answer that a slow machine takes too long for leaves messages in flight that
			// nobody has.
			s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "10"}})
			const n = 4000
			s.put(0, n)
			// Every second message comes twice, as SQS may do it.
			for i, m := range s.queue.Messages() {
				if i%2 == 0 {
					s.queue.Put(sqstest.Message{ID: m.ID, Body: m.Body, Sent: m.Sent})
				}
			}
			s.queue.Put(sqstest.Message{Body: malformed})
			var runs []*started
			for range consumers {
				runs = append(runs, start(t, s.consumer(t, func(c *consume.Consumer) { c.BatchSize = 100 })))
			}
			stored, rejected := 0, 0
			for _, r := range runs {
				got, err := r.wait()
				if err != nil || got.Returned != 0 || got.Ended != consume.EndedEmpty {
					t.Errorf("got %+v, %v", got, err)
				}
				stored, rejected = stored+got.Stored, rejected+got.Rejected
			}
			s.wantRows(t, n)
			s.wantEmpty(t)
			if stored != n || rejected != 1 {
				t.Errorf("%d stored and %d rejected, want %d and 1", stored, rejected, n)
			}
			if text := s.log.String(); strings.Contains(text, "deadlock") || strings.Contains(text, "40P01") {
				t.Error("a deadlock surfaced")
			}
		})
	}
}

func plural(n int) string {
	return map[int]string{2: "two", 10: "ten"}[n]
}

// Observers that ask for counts get them.
func TestCounts(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.queue.Put(sqstest.Message{Body: body("later"), VisibleAt: time.Now().Add(time.Hour)})
	seen := &recorder{}
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		c.Mode, c.CountEvery = consume.Forever, 10*time.Millisecond
		c.Observers = []consume.Observer{seen}
	}))
	eventually(t, "counts came twice", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return len(seen.counts) >= 2 && seen.counts[1] == sqs.Counts{Delayed: 1}
	})
	r.stop()
	if _, err := r.wait(); err != nil {
		t.Fatal(err)
	}
}

// A context that has ended already ends the run before it touches anything.
func TestStoppedBeforeItBegins(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 10)
	ctx, cancel := context.WithCancel(t.Context())
	c := s.consumer(t, nil)
	cancel()
	got, err := c.Run(ctx)
	if err != nil || got.Ended != consume.EndedStopped || got.Stored != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if n := s.inFlight(); n != 0 {
		t.Errorf("%d messages are in flight", n)
	}
}
