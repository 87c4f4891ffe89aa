package consume_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// quick makes outages short for a test.
func quick(c *consume.Consumer) {
	c.FirstPause, c.LongestPause = 50*time.Millisecond, 400*time.Millisecond
}

// While the database is down nothing is received but what probes it, so that
// the outage does not spend the receives of the whole queue; and then all is
// stored.
func TestDatabaseDownAndBack(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "2"}})
	seen := &recorder{}
	const n = 800
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.Mode, c.BatchSize = consume.Forever, 100
		c.Observers = []consume.Observer{seen}
	}))
	s.put(0, 5)
	eventually(t, "the first are stored", func() bool { return s.rows(t) == 5 })
	s.proxy.Refuse(true)
	s.proxy.Cut()
	s.put(5, n)
	down := func() (down bool) { down, _ = seen.down(); return down }
	eventually(t, "the outage is seen", down)
	eventually(t, "it has returned what it held", func() bool {
		seen.mu.Lock()
		defer seen.mu.Unlock()
		return len(seen.transactions) >= 6
	})
	received := 0
	for _, m := range s.queue.Messages() {
		received += m.Receives
	}
	seen.mu.Lock()
	probes := len(seen.transactions) - 1
	seen.mu.Unlock()
	// What was in hand when it began, and ten messages for each probe.
	if most := 3*100 + 10*probes + 10; received > most {
		t.Errorf("%d receives were spent by %d probes, want %d at most", received, probes, most)
	}
	if !down() {
		t.Error("the outage is over though the database is down")
	}
	s.proxy.Refuse(false)
	eventually(t, "all are stored", func() bool { return s.rows(t) == n+5 })
	eventually(t, "all are deleted", func() bool { return len(s.queue.Messages()) == 0 })
	r.stop()
	got, err := r.wait()
	if err != nil || got.Causes[message.CauseTransient] == 0 || got.Rejected != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
	if down() {
		t.Error("the outage is not over")
	}
	lines := strings.Count(s.log.String(), "the database is out of reach")
	if lines == 0 || lines > probes+1 {
		t.Errorf("%d lines of the log are about it, of %d probes", lines, probes)
	}
	t.Logf("%d probes, %d receives spent in the outage, %d lines: %+v", probes, received, lines, got)
}

// What is returned in a blip comes back by its delay, and not when the queue's
// visibility timeout expires. On a FIFO queue that goes for all of a group:
// one message that stays invisible would hold up the others.
func TestABlipCostsSeconds(t *testing.T) {
	t.Parallel()
	for name, fifo := range map[string]bool{"standard": false, "fifo": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{fifo: fifo, attributes: map[string]string{"VisibilityTimeout": "43200"}})
			seen := &recorder{}
			r := start(t, s.consumer(t, func(c *consume.Consumer) {
				c.Mode, c.Observers = consume.Forever, []consume.Observer{seen}
			}))
			sent := 0
			put := func(n int) {
				for range n {
					m := sqstest.Message{Body: body("u-" + strconv.Itoa(sent))}
					if fifo {
						m.Group = "g" + strconv.Itoa(sent%3)
					}
					s.queue.Put(m)
					sent++
				}
			}
			put(5)
			eventually(t, "the first are stored", func() bool { return s.rows(t) == 5 })
			s.proxy.Refuse(true)
			s.proxy.Cut()
			put(30)
			eventually(t, "some are returned", func() bool {
				seen.mu.Lock()
				defer seen.mu.Unlock()
				for _, transaction := range seen.transactions {
					if transaction.Cause == message.CauseTransient {
						return true
					}
				}
				return false
			})
			s.proxy.Refuse(false)
			put(5)
			eventually(t, "all are stored", func() bool { return s.rows(t) == sent })
			r.stop()
			if got, err := r.wait(); err != nil || got.Causes[message.CauseTransient] == 0 || fifo != (got.Causes[message.CauseGroup] > 0) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

// Connections that break while batches are under way lose and double nothing.
func TestConnectionsThatBreak(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "1"}})
	const n = 4000
	s.put(0, n)
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.BatchSize = 50
	}))
	cuts := 0
	for ended := false; cuts < 20 && !ended; {
		select {
		case <-r.done:
			ended = true
		case <-time.After(50 * time.Millisecond):
			s.proxy.Cut()
			cuts++
		}
	}
	got, err := r.wait()
	if err != nil || got.Ended != consume.EndedEmpty {
		t.Errorf("got %+v, %v", got, err)
	}
	s.wantRows(t, n)
	s.wantEmpty(t)
	t.Logf("%d cuts: %+v", cuts, got)
}

func TestGivesUpOnADatabaseThatIsDown(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 50)
	s.proxy.Refuse(true)
	got, err := s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.GiveUpAfter = 300 * time.Millisecond
	}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the database was out of reach for") || got.Ended != consume.EndedFailed {
		t.Errorf("got %+v, %v", got, err)
	}
}

// When an outage begins or ends while the queue is empty, nobody has to wait
// for the next message to see it.
func TestDatabaseBackWithoutMessages(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	seen := &recorder{}
	s.proxy.Refuse(true)
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.Mode, c.Observers = consume.Forever, []consume.Observer{seen}
	}))
	down := func() (down bool) { down, _ = seen.down(); return down }
	eventually(t, "the outage is seen", down)
	s.proxy.Refuse(false)
	eventually(t, "its end is seen", func() bool { return !down() })
	r.stop()
	if got, err := r.wait(); err != nil || got.Ended != consume.EndedStopped || got.Stored != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// diskFull makes a server that answers and takes no rows.
const diskFull = `CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no space' USING ERRCODE = 'disk_full'; END $$;
	CREATE TRIGGER t BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION full()`

// A database that answers and takes no rows is as far away as one that does not
// answer: a ping that is answered between two failures does not begin the
// outage anew.
func TestGivesUpOnADatabaseThatOnlyAnswers(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "1"}})
	s.db.Exec(t, diskFull)
	s.put(0, 5)
	seen := &recorder{}
	got, err := s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.GiveUpAfter = 6 * time.Second
		c.Observers = []consume.Observer{seen}
	}).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the database was out of reach for") || !strings.Contains(err.Error(), "53100") || got.Ended != consume.EndedFailed {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(seen.transactions) < 2 {
		t.Errorf("it ended after %d transactions: no ping was answered between two", len(seen.transactions))
	}
}

// missingTable is the SQLSTATE undefined_table.
const missingTable = "42P01"

// What is wrong with the database is noticed without a message.
func TestAMissingTableIsNoticedWithoutAMessage(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.db.Exec(t, "DROP TABLE user_logins")
	got, err := s.consumer(t, func(c *consume.Consumer) { c.Mode = consume.Forever }).Run(t.Context())
	if e := fault.Of(err); e == nil || e.Code != missingTable || got.Received != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A configuration error ends the run, and everything is returned.
func TestConfigurationErrorsEndTheRun(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]consume.Mode{"at the start": consume.Defaults().Mode, "at the start, forever": consume.Forever} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{})
			s.put(0, 500)
			s.db.Exec(t, "DROP TABLE user_logins")
			got, err := s.consumer(t, func(c *consume.Consumer) { c.Mode = mode }).Run(t.Context())
			if e := fault.Of(err); e == nil || e.Code != missingTable || got.Ended != consume.EndedFailed {
				t.Errorf("got %+v, %v", got, err)
			}
			received := 0
			for _, m := range s.queue.Messages() {
				received += m.Receives
			}
			// A supervisor starts a run forever again and again: that must not spend the receives of
			// the queue. The messages of another run are there for the next.
			kept := 0
			if mode == consume.Forever {
				kept = received
			}
			if received > 10 || s.inFlight() != kept {
				t.Errorf("%d receives were spent, want 10 at most; %d are kept back, want %d", received, s.inFlight(), kept)
			}
		})
	}
	t.Run("later", func(t *testing.T) {
		t.Parallel()
		s, r := changedUnder(t, func(c *consume.Consumer) { c.Patience = time.Second })
		got, err := r.wait()
		if err == nil || !strings.Contains(err.Error(), "lacks a column") || got.Ended != consume.EndedFailed {
			t.Errorf("got %+v, %v", got, err)
		}
		if n := len(s.queue.Messages()); n != 500 {
			t.Errorf("%d messages are left, want 500", n)
		}
	})
	// As when a password is rotated, or a column renamed, while messages flow.
	t.Run("later, and fixed", func(t *testing.T) {
		t.Parallel()
		s, r := changedUnder(t, nil)
		eventually(t, "it is noticed", func() bool { return strings.Contains(s.log.String(), "the database refuses the work") })
		s.db.Exec(t, "ALTER TABLE user_logins ADD COLUMN locale varchar(32)")
		eventually(t, "all are stored", func() bool { return s.rows(t) == 600 })
		r.stop()
		if got, err := r.wait(); err != nil || got.Ended != consume.EndedStopped {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("a role without rights", func(t *testing.T) {
		t.Parallel()
		s := newFixture(t, fixtureOptions{})
		s.put(0, 100)
		s.proxy = pgtest.NewProxy(t, s.db.Role(t, nil).URL)
		if got, err := s.consumer(t, nil).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the role lacks a grant: INSERT") {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("the keys", func(t *testing.T) {
		t.Parallel()
		s := newFixture(t, fixtureOptions{})
		s.put(0, 100)
		got, err := s.consumer(t, func(c *consume.Consumer) {
			c.Pipeline.Keys = func(context.Context) (*mask.Keyring, error) { return nil, noKeys(message.CauseConfiguration) }
		}).Run(t.Context())
		if e := fault.Of(err); e == nil || e.Source != fault.Credentials || got.Stored != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// changedUnder is a run forever that has stored 100 rows when its table loses
// a column, and has 500 messages more to store.
func changedUnder(t *testing.T, change func(*consume.Consumer)) (*fixture, *started) {
	t.Helper()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "1"}})
	s.put(0, 100)
	r := start(t, s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.Mode = consume.Forever
		if change != nil {
			change(c)
		}
	}))
	eventually(t, "all are stored, and deleted", func() bool { return s.rows(t) == 100 && len(s.queue.Messages()) == 0 })
	s.db.Exec(t, "ALTER TABLE user_logins DROP COLUMN locale CASCADE")
	s.put(100, 500)
	return s, r
}

func noKeys(cause message.Cause) error {
	return &fault.Error{Source: fault.Credentials, Cause: cause, What: "no keys"}
}

// Keys that cannot be had for the moment are an outage like the database's.
func TestKeysThatComeLater(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "1"}})
	s.put(0, 100)
	asked := 0
	got := run(t, s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		keys := c.Pipeline.Keys
		c.Concurrency = 1
		c.Pipeline.Keys = func(ctx context.Context) (*mask.Keyring, error) {
			if asked++; asked <= 3 {
				return nil, noKeys(message.CauseTransient)
			}
			return keys(ctx)
		}
	}))
	s.wantRows(t, 100)
	s.wantEmpty(t)
	if got.Causes[message.CauseTransient] == 0 {
		t.Errorf("got %+v", got)
	}
}

// injected makes calls fail, as long as it is on.
func (s *fixture) failing(operation string, f sqstest.Fault) {
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		if operation == "" || c.Operation == operation {
			return &f
		}
		return nil
	})
}

func TestQueueUnreachableAndBack(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]sqstest.Fault{
		"down":      {Code: "ServiceUnavailable", Status: 503},
		"throttled": {Code: "ThrottlingException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "2"}})
			seen := &recorder{}
			s.put(0, 200)
			r := start(t, s.consumer(t, func(c *consume.Consumer) {
				quick(c)
				c.BatchSize = 20
				c.Observers = []consume.Observer{seen}
			}))
			eventually(t, "it has begun", func() bool { return s.rows(t) > 0 })
			s.failing("", f)
			eventually(t, "the outage is seen", func() bool { _, queue := seen.down(); return queue })
			// Receives, or counts when a fast run has received everything before.
			before := len(s.sqs.Calls(""))
			eventually(t, "it was tried a few times", func() bool { return len(s.sqs.Calls("")) >= before+20 })
			s.sqs.Inject(nil)
			got, err := r.wait()
			if err != nil || got.Ended != consume.EndedEmpty {
				t.Errorf("got %+v, %v", got, err)
			}
			s.wantRows(t, 200)
			s.wantEmpty(t)
			if lines := strings.Count(s.log.String(), "the queue is out of reach"); lines == 0 || lines > 20 {
				t.Errorf("%d lines are about one outage", lines)
			}
			if !strings.Contains(s.log.String(), "the queue is back") {
				t.Error("nothing says that the queue is back")
			}
		})
	}
}

// resolver is a transport that does not find the queue's host for some attempts of an operation.
type resolver struct {
	mu        sync.Mutex
	operation string
	denies    int // so many more
}

// RoundTrip implements http.RoundTripper.
func (f *resolver) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	denied := f.denies > 0 && r.Header.Get("X-Amz-Target") == "AmazonSQS."+f.operation
	if denied {
		f.denies--
	}
	f.mu.Unlock()
	if denied {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Hostname(), IsNotFound: true}}
	}
	return http.DefaultTransport.RoundTrip(r)
}

func (f *resolver) deny(operation string, attempts int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.operation, f.denies = operation, attempts
}

func (f *resolver) left() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.denies
}

// A resolver that denies the queue's host in the middle of a run does not end it. The attempts are
// more than those after which a queue that does not exist would.
func TestAHostThatIsNotFoundForAWhile(t *testing.T) {
	t.Parallel()
	for operation, attempts := range map[string]int{"ReceiveMessage": 10, "DeleteMessageBatch": 7} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "1"}})
			host := &resolver{}
			client := sqs.FromConfig(aws.Config{
				Region: sqstest.Region, BaseEndpoint: &s.sqs.URL, HTTPClient: &http.Client{Transport: host},
				Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			})
			r := start(t, s.consumer(t, func(c *consume.Consumer) {
				c.Mode, c.FirstPause, c.LongestPause = consume.Forever, time.Millisecond, time.Millisecond
				var err error
				if c.Queue, err = consume.Open(t.Context(), client, s.queue.URL, "SQS_URL", c.Options, c.Log); err != nil {
					t.Fatal(err)
				}
			}))
			goesOn := func(what string, is func() bool) {
				t.Helper()
				eventually(t, what, func() bool {
					select {
					case <-r.done:
						t.Fatalf("the run ended: %v", r.err)
					default:
					}
					return is()
				})
			}
			empty := func() bool { return len(s.queue.Messages()) == 0 }
			s.put(0, 1)
			goesOn("it has begun", empty)
			host.deny(operation, attempts)
			s.put(1, 1)
			goesOn("the host was not found", func() bool { return host.left() == 0 })
			s.put(2, 1)
			goesOn("the queue is empty again", empty)
			r.stop()
			if _, err := r.wait(); err != nil {
				t.Error(err)
			}
			s.wantRows(t, 3)
		})
	}
}

func TestGivesUpOnAQueueThatIsDown(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	c := s.consumer(t, func(c *consume.Consumer) {
		quick(c)
		c.GiveUpAfter = 200 * time.Millisecond
	})
	s.failing("", sqstest.Fault{Code: "ServiceUnavailable", Status: 503})
	if got, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "the queue was out of reach for") {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := consume.Open(t.Context(), s.sqs.Client(), s.queue.URL, "SQS_URL", c.Options, c.Log); err == nil || !strings.Contains(err.Error(), "the queue was out of reach for") || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v", err)
	}
}

func TestOpenWaitsForTheQueue(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	c := s.consumer(t, quick)
	s.failing("", sqstest.Fault{Code: "ServiceUnavailable", Status: 503})
	before := len(s.sqs.Calls(""))
	go func() {
		for len(s.sqs.Calls("")) < before+5 {
			time.Sleep(time.Millisecond)
		}
		s.sqs.Inject(nil)
	}()
	if _, err := consume.Open(t.Context(), s.sqs.Client(), s.queue.URL, "SQS_URL", c.Options, c.Log); err != nil {
		t.Error(err)
	}
}

// A queue that is not there, and access that is denied, end the run with an
// error that says what to do, after a few tries.
func TestRefusedForGood(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault sqstest.Fault
		want  string
	}{
		"missing": {sqstest.Fault{Code: "QueueDoesNotExist"}, "there is no such queue"},
		"denied":  {sqstest.Fault{Code: "AccessDenied", Status: 403}, "allow the role sqs:ReceiveMessage"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, fixtureOptions{})
			s.put(0, 100)
			c := s.consumer(t, func(c *consume.Consumer) {
				quick(c)
				c.Mode = consume.Forever
			})
			s.failing("ReceiveMessage", test.fault)
			got, err := c.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "SQS_URL") && name == "missing" {
				t.Errorf("got %+v, %v", got, err)
			}
			if n := len(s.sqs.Calls("ReceiveMessage")); n < 2 || n > 8 {
				t.Errorf("it was tried %d times", n)
			}
			s.failing("", test.fault)
			before := len(s.sqs.Calls(""))
			if _, err := consume.Open(t.Context(), s.sqs.Client(), s.queue.URL, "SQS_URL", c.Options, c.Log); err == nil {
				t.Error("no error")
			}
			if n := len(s.sqs.Calls("")) - before; n < 2 || n > 8 {
				t.Errorf("opening was tried %d times", n)
			}
		})
	}
	t.Run("no URL", func(t *testing.T) {
		t.Parallel()
		s := sqstest.New()
		defer s.Close()
		if _, err := consume.Open(t.Context(), s.Client(), "not a URL", "SQS_URL", consume.Defaults(), nil); err == nil || !strings.Contains(err.Error(), "SQS_URL") {
			t.Errorf("got %v", err)
		}
	})
}

// Deletions that fail, as entries and as calls, are tried again; and what
// comes again for it is not stored twice.
func TestDeletionsThatFail(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "4"}})
	const n = 600
	s.put(0, n)
	s.queue.Put(sqstest.Message{Body: malformed})
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		if c.Operation != "DeleteMessageBatch" || c.Nth > 120 {
			return nil
		}
		switch c.Nth % 6 {
		case 0:
			return &sqstest.Fault{Lost: true} // deleted, but nobody knows
		case 1:
			return &sqstest.Fault{Code: "ThrottlingException"}
		case 2, 3:
			return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}, 7: {Code: "ReceiptHandleIsInvalid", SenderFault: true}}}
		}
		return nil
	})
	got := run(t, s.consumer(t, func(c *consume.Consumer) { c.BatchSize = 50 }))
	s.wantRows(t, n)
	s.wantEmpty(t)
	if got.Stored != n || got.Rejected != 1 || len(s.dead.Messages()) != 1 {
		t.Errorf("got %+v, %d in the dead-letter queue", got, len(s.dead.Messages()))
	}
	t.Logf("%+v", got)
}

// A dead-lettered message whose deletion fails comes again, and is not sent again.
func TestDeadLetteredOnce(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "4"}})
	s.queue.Put(sqstest.Message{Body: malformed})
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		if c.Operation == "DeleteMessageBatch" && c.Nth <= 9 {
			return &sqstest.Fault{Entries: map[int]sqstest.EntryFault{0: {Code: "InternalError"}}}
		}
		return nil
	})
	got := run(t, s.consumer(t, nil))
	if got.Undeleted != 1 || got.DeadLettered != 1 || got.Duplicate != 1 || len(s.dead.Messages()) != 1 {
		t.Errorf("got %+v, %d in the dead-letter queue", got, len(s.dead.Messages()))
	}
	s.wantEmpty(t)
}

func TestDeletionDenied(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 100)
	c := s.consumer(t, func(c *consume.Consumer) { c.Mode = consume.Forever })
	s.failing("DeleteMessageBatch", sqstest.Fault{Code: "AccessDenied", Status: 403})
	if got, err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "allow the role sqs:DeleteMessage") {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A dead-letter queue that takes nothing loses nothing, and the run says so.
func TestDeadLetterQueueRefuses(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.put(0, 100)
	s.queue.Put(sqstest.Message{Body: malformed})
	c := s.consumer(t, nil)
	s.failing("SendMessageBatch", sqstest.Fault{Code: "AccessDenied", Status: 403})
	got, err := c.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "dead-letter queue did not take") || got.Causes[message.CauseUnsent] != 1 || got.Left != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	s.wantRows(t, 100)
	if left := s.queue.Messages(); len(left) != 1 {
		t.Errorf("%d messages are left, want the rejected one", len(left))
	}
	if !strings.Contains(s.log.String(), "allow the role sqs:SendMessage") {
		t.Errorf("the log does not say what to do:\n%s", s.log)
	}
}

// A row that a trigger discards is returned, and a run does not go on forever.
func TestDiscardedRows(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.db.Exec(t, `CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.user_id = 'u-7' THEN RETURN NULL; END IF; RETURN NEW; END $$;
		CREATE TRIGGER discard BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION discard()`)
	s.put(0, 20)
	got, err := s.consumer(t, nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "look for a trigger") || got.Stored != 19 || got.Causes[message.CauseDiscarded] != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A row that a broken trigger refuses is returned. The others are stored, and the
// run goes on: that is no outage. Once it is fixed the row is stored too.
func TestARowThatABrokenTriggerRefuses(t *testing.T) {
	t.Parallel()
	s := newFixture(t, fixtureOptions{})
	s.db.Exec(t, `CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.user_id = 'u-7' THEN INSERT INTO audit VALUES (NEW.user_id); END IF; RETURN NEW; END $$;
		CREATE TRIGGER broken AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION broken()`)
	s.put(0, 20)
	r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode = consume.Forever }))
	stored := func() int { return int(s.db.Count(t, "SELECT count(*) FROM user_logins")) }
	eventually(t, "the others are stored", func() bool { return stored() == 19 })
	eventually(t, "the log names the function", func() bool { return strings.Contains(s.log.String(), `it arose in the function \"broken\"`) })
	s.put(20, 20)
	eventually(t, "later messages are stored", func() bool { return stored() == 39 })
	s.db.Exec(t, "CREATE TABLE audit (user_id text)")
	eventually(t, "all are stored", func() bool { return stored() == 40 })
	r.stop()
	if got, err := r.wait(); err != nil || got.Stored != 40 || got.Rejected != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}
