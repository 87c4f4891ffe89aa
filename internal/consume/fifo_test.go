package consume_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// Twenty groups with bad messages among the good ones, three consumers, and
// faults of the queue and of the database: what is stored of a group is stored
// in its order, once, and nothing is lost.
func TestFIFOOrder(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{fifo: true, attributes: map[string]string{"VisibilityTimeout": "2"}})
	const groups, each = 20, 40
	rng := rand.New(rand.NewPCG(3, 4))
	good, bad := 0, 0
	for i := range each {
		for g := range groups {
			m := sqstest.Message{Group: fmt.Sprintf("g%02d", g), Body: body(fmt.Sprintf("g%02d-%03d", g, i))}
			switch rng.IntN(20) {
			case 0:
				m.Body = malformed
				bad++
			case 1:
				m.Body = refused(fmt.Sprintf("g%02d-%03d", g, i))
				bad++
			default:
				good++
			}
			s.queue.Put(m)
		}
	}
	var mu sync.Mutex
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if c.Queue == s.dead.Name || rng.IntN(8) > 0 {
			return nil
		}
		switch c.Operation {
		case "ReceiveMessage":
			return &sqstest.Fault{Code: "ServiceUnavailable", Status: 503}
		case "DeleteMessageBatch":
			return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 1: {Code: "InternalError"}}}
		case "ChangeMessageVisibilityBatch":
			return &sqstest.Fault{Code: "ThrottlingException"}
		}
		return nil
	})
	var runs []*started
	for range 3 {
		runs = append(runs, start(t, s.consumer(t, func(c *consume.Consumer) {
			quick(c)
			c.BatchSize = 50
		})))
	}
	for range 5 {
		time.Sleep(100 * time.Millisecond)
		s.proxy.Cut()
	}
	stored := 0
	for _, r := range runs {
		got, err := r.wait()
		if err != nil {
			t.Errorf("got %+v, %v", got, err)
		}
		stored += got.Stored
	}
	s.wantRows(t, good)
	s.wantEmpty(t)
	// A connection that is lost at the COMMIT makes a row that nobody counts as new.
	if stored > good || stored < good-5*100 {
		t.Errorf("%d stored, want %d", stored, good)
	}
	last := map[string]string{}
	for _, row := range s.db.Rows(t, "SELECT user_id FROM user_logins ORDER BY stored") {
		group, _, _ := strings.Cut(row[0], "-")
		if row[0] <= last[group] {
			t.Errorf("%s was stored after %s", row[0], last[group])
		}
		last[group] = row[0]
	}
	var ids []string
	for _, n := range s.notes(t) {
		ids = append(ids, n.MessageID)
	}
	slices.Sort(ids)
	if once := len(slices.Compact(slices.Clone(ids))); once != bad || len(ids) != bad {
		t.Errorf("%d messages of %d are in the dead-letter queue, want %d", len(ids), once, bad)
	}
}

// What is after a bad message has its turn as soon as that one is in the
// dead-letter queue: it costs no further receive.
func TestFIFOGoesOnAfterBadMessages(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{fifo: true})
	for i := range 10 {
		m := sqstest.Message{Group: "g", Body: body(fmt.Sprint("u-", i))}
		if i%2 == 0 {
			m.Body = malformed
		}
		s.queue.Put(m)
	}
	seen := &recorder{}
	got := run(t, s.consumer(t, func(c *consume.Consumer) { c.Observers = []consume.Observer{seen} }))
	s.wantRows(t, 5)
	s.wantEmpty(t)
	if got.Received != 10 || got.Stored != 5 || got.DeadLettered != 5 || got.Returned != 0 {
		t.Errorf("got %+v", got)
	}
	last := ""
	for _, m := range s.dead.Messages() {
		if m.Group != "g" || m.DeduplicationID <= last {
			t.Errorf("message %s of group %s comes after %s", m.DeduplicationID, m.Group, last)
		}
		last = m.DeduplicationID
	}
}

// When the dead-letter queue does not take a message, nothing after it is stored.
func TestFIFOStopsAfterAnUnsentMessage(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{fifo: true})
	s.queue.Put(
		sqstest.Message{Group: "a", Body: body("a-1")}, sqstest.Message{Group: "a", Body: malformed}, sqstest.Message{Group: "a", Body: body("a-2")},
		sqstest.Message{Group: "b", Body: body("b-1")},
	)
	c := s.consumer(t, func(c *consume.Consumer) { c.Mode, c.Batches = consume.Batches, 1 })
	s.failing("SendMessageBatch", sqstest.Fault{Code: "InternalError", Status: 500})
	got, err := c.Run(t.Context())
	if err != nil || got.Stored != 2 || got.Causes[message.CauseUnsent] != 1 || got.Causes[message.CauseGroup] != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	if left := s.queue.Messages(); len(left) != 2 || left[1].Body != body("a-2") {
		t.Errorf("left: %+v", left)
	}
}

// Without any dead-letter queue a rejected message stops its group for good:
// the run ends, and says what to do.
func TestFIFOStuck(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{fifo: true, noDeadLetters: true, attributes: map[string]string{"VisibilityTimeout": "5"}})
	s.queue.Put(sqstest.Message{Group: "a", Body: malformed})
	for i := range 30 {
		s.queue.Put(sqstest.Message{Group: "a", Body: body(fmt.Sprint("a-", i))}, sqstest.Message{Group: "b", Body: body(fmt.Sprint("b-", i))})
	}
	got, err := s.consumer(t, nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "DEAD_LETTER_QUEUE_URL") || got.Left != 1 || got.Behind == 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	s.wantRows(t, 30)
}

// What waits behind an outage is not counted as after a refused message.
func TestFIFOInAnOutage(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{fifo: true})
	for i := range 3 {
		s.queue.Put(sqstest.Message{Group: "a", Body: body(fmt.Sprint("a-", i))})
	}
	s.db.Exec(t, diskFull)
	got, err := s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.GiveUpAfter = 300 * time.Millisecond
	}).Run(t.Context())
	if err == nil || got.Causes[message.CauseGroup] == 0 || got.Left != 0 || got.Behind != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// With a receive limit the queue moves it away, and the group goes on.
func TestFIFOGoesOnWhenTheQueueMovesTheBadMessage(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{fifo: true, noDeadLetters: true})
	dead := s.sqs.Queue("moved.fifo", nil)
	s.queue = s.sqs.Queue("limited.fifo", map[string]string{"VisibilityTimeout": "4", "RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":2}`})
	s.queue.Put(sqstest.Message{Group: "a", Body: malformed})
	r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode = consume.Forever }))
	// Only now is the other one there: both would be received as often.
	eventually(t, "it is received", func() bool { all := s.queue.Messages(); return len(all) == 0 || all[0].Receives > 0 })
	s.queue.Put(sqstest.Message{Group: "a", Body: body("a-1")})
	eventually(t, "the other one is stored", func() bool { return s.rows(t) == 1 })
	r.stop()
	if _, err := r.wait(); err != nil {
		t.Error(err)
	}
	s.wantEmpty(t)
	if moved := dead.Messages(); len(moved) != 1 || moved[0].Body != malformed {
		t.Errorf("moved: %+v", moved)
	}
}
