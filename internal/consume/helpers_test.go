package consume_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// canary is in every message, in a field that is masked. No log may have it.
const canary = "canary-593-47-5928"

// shortened is how many times shorter delays are in these tests: a second for
// the first two.
const shortened = 15

// fixture is a queue, a database and what consumes the one into the other.
type fixture struct {
	sqs   *sqstest.Server
	queue *sqstest.Queue
	dead  *sqstest.Queue // nil for none
	db    *pgtest.DB
	proxy *pgtest.Proxy
	model *model.Model
	log   *testlog.Log
}

type fixtureOptions struct {
	fifo bool
	// attributes of the queue; its visibility is a minute if they do not say.
	attributes map[string]string
	// noDeadLetters: rejected messages are left to the queue.
	noDeadLetters bool
	// model is the text of a model, user_logins if it is empty.
	model string
}

func newFixture(t testing.TB, o fixtureOptions) *fixture {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if o.model != "" {
		m, err = model.Parse("model.yaml", []byte(o.model))
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &fixture{sqs: sqstest.New(), db: pgtest.New(t, m.DDL()...), model: m, log: &testlog.Log{}}
	t.Cleanup(s.sqs.Close)
	suffix := ""
	if o.fifo {
		suffix = ".fifo"
	}
	attributes := map[string]string{"VisibilityTimeout": "60"}
	maps.Copy(attributes, o.attributes)
	s.queue = s.sqs.Queue("logins"+suffix, attributes)
	if !o.noDeadLetters {
		s.dead = s.sqs.Queue("dead"+suffix, nil)
	}
	if o.model == "" {
		s.db.Exec(t, "ALTER TABLE user_logins ADD stored bigserial, ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")
	}
	s.proxy = pgtest.NewProxy(t, s.db.URL)
	t.Cleanup(func() {
		if text := s.log.String(); strings.Contains(text, canary) {
			t.Errorf("the log has a raw personal value:\n%s", text)
		}
	})
	return s
}

// consumer makes one that works on the fixture, with its own client and store.
func (s *fixture) consumer(t testing.TB, change func(*consume.Consumer)) *consume.Consumer {
	t.Helper()
	store, err := postgres.Open(s.proxy.URL, []*batch.Table{s.model.Table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	client := s.sqs.Client()
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	q, err := consume.Open(t.Context(), client, s.queue.URL, "SQS_URL", consume.Defaults(), log)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := mask.ParseKeys("k1:0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	c := &consume.Consumer{
		Queue: q, Pipeline: ingest.New(s.model.Set(), store, ingest.Static(keys), log), Log: log, Options: consume.Defaults(),
	}
	c.Delay = func(receiveCount int) time.Duration {
		return sqs.Delay(receiveCount, rand.Float64) / shortened
	}
	if s.dead != nil {
		c.DeadLetters = client.DeadLetter(s.dead.URL, "DEAD_LETTER_QUEUE_URL")
	}
	if change != nil {
		change(c)
	}
	return c
}

// started is a run under way.
type started struct {
	stop    context.CancelFunc
	done    chan struct{}
	summary consume.Summary
	err     error
}

func start(t testing.TB, c *consume.Consumer) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &started{stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.summary, s.err = c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-s.done
	})
	return s
}

func (s *started) wait() (consume.Summary, error) {
	<-s.done
	return s.summary, s.err
}

// run consumes to the end, which must come without an error.
func run(t testing.TB, c *consume.Consumer) consume.Summary {
	t.Helper()
	summary, err := c.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

// body is a good message's.
func body(user string) string {
	return fmt.Sprintf(`{"user_id":%q,"app_version":"2.3.0","device_type":"android","ip":"203.0.113.7","locale":"en","device_id":%q}`, user, canary)
}

// refused is a body that passes all checks and that the database refuses.
func refused(user string) string { return strings.Replace(body(user), `"en"`, `"xx"`, 1) }

// malformed is a body that the model rejects.
const malformed = `{"user_id":"` + canary

// put puts n good messages into the queue, of users that count from first.
func (s *fixture) put(first, n int) {
	messages := make([]sqstest.Message, n)
	for i := range messages {
		messages[i] = sqstest.Message{Body: body("u-" + strconv.Itoa(first+i))}
	}
	s.queue.Put(messages...)
}

// rows is how many rows there are, which must be of as many users.
func (s *fixture) rows(t testing.TB) int {
	t.Helper()
	row := s.db.Rows(t, "SELECT count(*), count(DISTINCT user_id) FROM user_logins")[0]
	if row[0] != row[1] {
		t.Errorf("%s rows of %s users: some twice", row[0], row[1])
	}
	rows, err := strconv.Atoi(row[0])
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func (s *fixture) wantRows(t testing.TB, want int) {
	t.Helper()
	if got := s.rows(t); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

func (s *fixture) wantEmpty(t testing.TB) {
	t.Helper()
	if left := s.queue.Messages(); len(left) > 0 {
		t.Errorf("%d messages are left in the queue", len(left))
	}
}

// inFlight is how many messages of the queue are invisible.
func (s *fixture) inFlight() int {
	n := 0
	for _, m := range s.queue.Messages() {
		if m.VisibleAt.After(time.Now()) {
			n++
		}
	}
	return n
}

// notes are what the dead-letter queue's messages say of themselves.
func (s *fixture) notes(t testing.TB) []sqs.Note {
	t.Helper()
	var all []sqs.Note
	for _, m := range s.dead.Messages() {
		var n sqs.Note
		if err := json.Unmarshal([]byte(m.Attributes[sqs.NoteAttribute].StringValue), &n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

// eventually waits for something that must come, however slow the machine is.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("three minutes have passed, and still not: %s", what)
		}
	}
}

// recorder is an observer that keeps what it is told.
type recorder struct {
	mu           sync.Mutex
	transactions []consume.Transaction
	receives     int
	settled      time.Time
	most         int // in hand
	counts       []sqs.Counts
	database     time.Time
	queue        time.Time
	waits        []consume.Waits
}

func (r *recorder) Received(int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.receives++
}

func (r *recorder) Transacted(t *consume.Transaction) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.transactions, r.settled = append(r.transactions, *t), time.Now()
}

func (r *recorder) Holds(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.most = max(r.most, n)
}

func (r *recorder) Counted(c sqs.Counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts = append(r.counts, c)
}

func (r *recorder) Unreachable(database, queue time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.database, r.queue = database, queue
}

func (r *recorder) Waits(w consume.Waits) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waits = append(r.waits, w)
}

func (r *recorder) sizes() []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []int
	for _, t := range r.transactions {
		all = append(all, len(t.Messages))
	}
	return all
}

func (r *recorder) down() (database, queue bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.database.IsZero(), !r.queue.IsZero()
}

// last is when the last transaction was settled.
func (r *recorder) last() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.settled
}
