// Package drill_test runs whole days of faults: the simulator of SQS and the event source mapping
// calls the real handler, in front of a real Postgres that breaks and recovers in the middle. Each
// drill prints its table.
package drill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/esmsim"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// The settings of the template, with smaller batches.
const (
	functionTimeout = 30 * time.Second
	window          = 5 * time.Second
	visibility      = 200 * time.Second
	maxReceives     = 200
	batchSize       = 100
)

// fixture is what a drill needs: queues, a mapping to the handler, a database behind a proxy.
type fixture struct {
	t       *testing.T
	sim     *esmsim.Sim
	queue   *esmsim.Queue
	dlq     *esmsim.Queue
	mapping *esmsim.Mapping
	db      *pgtest.DB
	proxy   *pgtest.Proxy
	secrets *secretsManager // nil if the URL says who connects
	sent    []string        // user ids of the good messages
	poison  map[string]bool

	down []period       // when the database is, also for an invocation under way
	own  *pgtest.Server // shut down and started again for that; nil if connections are refused
	off  bool           // it is down
	took time.Duration  // what that has waited between its attempts
}

// period is a part of a drill.
type period struct{ from, to time.Duration }

// reach refuses connections, or accepts them, as the database does at this instant of the
// invocation. A change by sim.At waits for the end of the invocation, so that all its attempts meet
// the same database.
func (s *fixture) reach() {
	if len(s.down) == 0 {
		return
	}
	at, down := s.sim.Elapsed()+s.took, false
	for _, p := range s.down {
		down = down || p.from <= at && at < p.to
	}
	if down == s.off {
		return
	}
	s.off = down
	if !down && s.own != nil {
		s.own.Resume(s.t)
		s.db = s.own.Has(s.t, s.db)
		s.proxy.Redirect(s.t, s.db.URL)
	}
	s.proxy.Refuse(down)
	if down && s.own != nil {
		s.own.Shutdown(s.t)
	} else if down {
		s.proxy.Cut()
	}
}

// options configures a drill.
type options struct {
	name    string
	queue   esmsim.QueueConfig
	mapping esmsim.MappingConfig
	as      func(*pgtest.DB) *pgtest.DB // who connects; the owner if nil
	secret  bool                        // the login is in a secret, and not in the URL
	own     bool                        // a server of its own, which can go down
}

func newFixture(t *testing.T, o options) *fixture {
	t.Helper()
	if testing.Short() {
		t.Skip("a drill takes its time: not with -short")
	}
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	s := &fixture{t: t, sim: esmsim.New(1), poison: map[string]bool{}}
	if o.own {
		s.own = pgtest.NewServer(t, pgtest.ServerConfig{})
		s.db = s.own.New(t, m.DDL()...)
	} else {
		s.db = pgtest.New(t, m.DDL()...)
	}
	s.db.Exec(t, "ALTER TABLE user_logins ADD stored bigserial, ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")
	user := s.db
	if o.as != nil {
		user = o.as(s.db)
	}
	s.proxy = pgtest.NewProxy(t, user.URL)

	name := "logins" + o.name
	s.dlq = s.sim.Queue(esmsim.QueueConfig{Name: "dead-" + name, Retention: 14 * 24 * time.Hour})
	o.queue.Name, o.queue.Visibility, o.queue.DeadLetter, o.queue.MaxReceives = name, visibility, s.dlq, maxReceives
	s.queue = s.sim.Queue(o.queue)

	url, storeOptions := s.proxy.URL, []postgres.Option{postgres.WithSleep(func(ctx context.Context, d time.Duration) bool {
		esmsim.Spend(ctx, d)
		s.took += d
		s.reach()
		return true
	})}
	if o.secret {
		s.secrets = newSecretsManager(t, s.sim.Now)
		url = s.secrets.takeLogin(t, url)
		storeOptions = append(storeOptions, postgres.WithLogins(s.secrets.credentials().Database))
	}
	store, err := postgres.Open(url, []*batch.Table{m.Table}, storeOptions...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	keys, err := mask.ParseKeys("k1:0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	h := &handler.Handler{
		Pipeline: ingest.New(m.Set(), store, ingest.Static(keys), log), Log: log,
		DeadLetters: deadLetters{s.dlq, m.Name}, Backoff: backoff{s.queue, rand.New(rand.NewPCG(1, 2))},
	}
	if o.mapping.BatchSize == 0 {
		o.mapping.BatchSize, o.mapping.Window = batchSize, window
	}
	o.mapping.ReportBatchItemFailures, o.mapping.FunctionTimeout, o.mapping.RealTimeout = true, functionTimeout, time.Minute
	s.mapping = s.sim.Map(s.queue, func(ctx context.Context, event []byte) ([]byte, error) {
		s.took = 0
		s.reach()
		return h.Invoke(ctx, event)
	}, o.mapping)
	return s
}

// deadLetters is the simulated dead-letter queue.
type deadLetters struct {
	queue *esmsim.Queue
	model string
}

// Send implements ingest.DeadLetters.
func (d deadLetters) Send(_ context.Context, rejected []message.RejectedMessage) (unsent []int, err error) {
	for i, r := range rejected {
		m := r.Message
		note, err := json.Marshal(sqs.Note{Reason: r.Rejection.Reason, Field: r.Rejection.Field, Model: d.model, MessageID: m.ID})
		if err != nil {
			panic(err) // names of reasons and fields
		}
		out := esmsim.Message{Body: string(m.Body), Attributes: map[string]esmsim.Attribute{sqs.NoteAttribute: {DataType: "String", StringValue: string(note)}}}
		if m.FIFO {
			out.GroupID, out.DeduplicationID = m.Group, m.ID
		}
		if _, err := d.queue.SendMessage(out); err != nil {
			unsent = append(unsent, i)
		}
	}
	return unsent, nil
}

// backoff delays returned messages in the simulated queue.
type backoff struct {
	queue *esmsim.Queue
	rand  *rand.Rand
}

// Return implements ingest.Backoff.
func (b backoff) Return(_ context.Context, messages []*message.Message) error {
	delays := sqs.Delays(messages, func(receiveCount int) time.Duration { return sqs.Delay(receiveCount, b.rand.Float64) })
	for k, delay := range delays {
		whole := (delay + time.Second - 1).Truncate(time.Second)
		if err := b.queue.ChangeVisibility(messages[k].ReceiptHandle, whole); err != nil {
			return err
		}
	}
	return nil
}

// good sends a message that can be stored.
func (s *fixture) good(group string) {
	id := fmt.Sprintf("u-%06d", len(s.sent))
	s.sent = append(s.sent, id)
	m := esmsim.Message{Body: fmt.Sprintf(`{"user_id":%q,"ip":"203.0.113.7","device_id":%q,"app_version":"1.%d","device_type":%q}`, id, id, len(s.sent), group)}
	if group != "" {
		m.GroupID, m.DeduplicationID = group, id
	}
	s.queue.Send(m)
}

// bad sends a message that can never be stored: in turn an invalid one, and one that the database
// refuses.
func (s *fixture) bad() {
	body := "this is not JSON"
	if len(s.poison)%2 == 1 {
		body = `{"user_id":"poison","locale":"xx"}`
	}
	s.poison[s.queue.Send(esmsim.Message{Body: body})] = true
}

// check checks what every drill must show, and prints the drill's table.
func (s *fixture) check() {
	s.t.Helper()
	report := s.mapping.Report()
	rows := s.db.Count(s.t, "SELECT count(*) FROM user_logins")
	distinct := s.db.Count(s.t, "SELECT count(DISTINCT user_id) FROM user_logins")
	s.t.Logf("%s\n%d good messages sent, %d rows, %d of them distinct, %d poison messages, %d in the dead-letter queue",
		report, len(s.sent), rows, distinct, len(s.poison), report.InDLQ)
	if rows != int64(len(s.sent)) || distinct != rows {
		s.t.Errorf("got %d rows of %d messages, want %d of as many", rows, distinct, len(s.sent))
	}
	if report.DeadLettered != 0 || report.Expired != 0 {
		s.t.Errorf("the redrive policy moved %d messages and %d expired, want none", report.DeadLettered, report.Expired)
	}
	if report.Waiting != 0 {
		s.t.Errorf("%d messages are still waiting", report.Waiting)
	}
	reasons := map[string]int{}
	for _, r := range s.dlq.Messages() {
		var note sqs.Note
		if err := json.Unmarshal([]byte(r.Attributes[sqs.NoteAttribute].StringValue), &note); err != nil {
			s.t.Fatalf("a message in the dead-letter queue without a reason: %v", err)
		}
		if !s.poison[note.MessageID] {
			s.t.Errorf("a good message is in the dead-letter queue: %s", note.Reason)
		}
		reasons[string(note.Reason)]++
	}
	if len(s.dlq.Messages()) != len(s.poison) {
		s.t.Errorf("got %d messages in the dead-letter queue, want the %d poison ones", len(s.dlq.Messages()), len(s.poison))
	}
	if len(reasons) > 0 {
		s.t.Logf("reasons: %v", reasons)
	}
}

// When the faults of these drills begin and end.
const (
	outageBegins = time.Hour
	outageEnds   = 7 * time.Hour
	feedEnds     = 8 * time.Hour
	drillEnds    = 10 * time.Hour
)

// feed sends a good message in each period until the feed ends.
func (s *fixture) feed(period time.Duration) {
	stop := s.sim.Every(period, func() { s.good("") })
	s.sim.At(feedEnds, stop)
}

// recovered prints how long after the outage the last message was done that was sent before its
// end.
func (s *fixture) recovered() {
	s.t.Helper()
	start := s.sim.Now().Add(-s.sim.Elapsed())
	var last time.Duration
	for r := range s.queue.All() {
		if r.Sent.Before(start.Add(outageEnds)) {
			last = max(last, r.Ended.Sub(start))
		}
	}
	s.t.Logf("the backlog was gone %v after the end of the outage", last-outageEnds)
	if last <= outageEnds {
		s.t.Error("there was no backlog: the drill shows nothing")
	}
}

func TestSixHoursWithoutADatabase(t *testing.T) {
	t.Parallel()
	s := newFixture(t, options{name: "-outage"})
	s.feed(5 * time.Second)
	s.sim.At(outageBegins, func() { s.proxy.Refuse(true); s.proxy.Cut() })
	s.sim.At(outageEnds, func() { s.proxy.Refuse(false) })
	s.sim.Run(drillEnds)
	s.check()
	s.recovered()
}

// TestADayWithoutADatabase is what the template's maxReceiveCount is for. The simulation must agree
// with what `sluice check` computes for an outage.
func TestADayWithoutADatabase(t *testing.T) {
	t.Parallel()
	const begins, ends = time.Hour, 25 * time.Hour
	s := newFixture(t, options{name: "-day"})
	often := s.sim.Every(time.Minute, func() { s.good("") })
	seldom := s.sim.Every(time.Hour, func() { s.good("") })
	s.sim.At(begins, func() { s.proxy.Refuse(true); s.proxy.Cut() })
	s.sim.At(begins+10*time.Minute, often)
	s.sim.At(ends, func() { s.proxy.Refuse(false); seldom() })
	s.sim.Run(ends + time.Hour)
	s.check()

	start := s.sim.Now().Add(-s.sim.Elapsed())
	most := 0 // receives of a message that met the whole outage; the last one stored it
	for r := range s.queue.All() {
		if sent := r.Sent.Sub(start); sent >= begins && sent < begins+10*time.Minute {
			most = max(most, r.Receives)
		}
	}
	reckoned := check.Queues{Source: &sqs.Queue{Settings: sqs.Settings{DeadLetterARN: "arn", MaxReceives: most}}}
	survives, _ := reckoned.Outage(true)
	t.Logf("%d receives; check says that as many survive %v", most, survives)
	if survives < 23*time.Hour || survives > 26*time.Hour {
		t.Errorf("a day took %d receives, and check says that as many survive %v", most, survives)
	}
	if most > maxReceives*3/4 {
		t.Errorf("a day took %d receives of %d: too few are to spare", most, maxReceives)
	}
}

// TestABlipCostsSeconds restarts Postgres under steady traffic: nearly all messages that meet the
// restart are stored within half a minute after it.
func TestABlipCostsSeconds(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		mapping esmsim.MappingConfig
		groups  int
	}{
		{"-blip", esmsim.MappingConfig{BatchSize: 1000, Window: time.Second}, 0},
		{"-blip.fifo", esmsim.MappingConfig{BatchSize: 10}, 4}, // few, so that batches have several messages of one
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const restart, enough = 6 * time.Second, 30 * time.Second
			s := newFixture(t, options{name: tt.name, mapping: tt.mapping, own: true})
			n := 0
			for i := range 5 { // at other instants of the batching window, and with other jitter
				begins := time.Duration(i+1) * 10 * time.Minute
				at := begins + 10*time.Second + time.Duration(i)*217*time.Millisecond
				s.down = append(s.down, period{at, at + restart})
				s.sim.At(begins, func() {
					stop := s.sim.Every(time.Second/50, func() {
						group := ""
						if n++; tt.groups > 0 {
							group = fmt.Sprint("g", n%tt.groups)
						}
						s.good(group)
					})
					s.sim.At(at+restart+enough, stop)
				})
			}
			s.sim.Run(2 * time.Hour)
			s.check()

			start := s.sim.Now().Add(-s.sim.Elapsed())
			for _, p := range s.down {
				var met, soon int
				var last time.Duration
				for r := range s.queue.All() {
					sent, ended := r.Sent.Sub(start), r.Ended.Sub(start)
					if sent >= p.to || ended < p.from {
						continue
					}
					met++
					last = max(last, ended-p.to)
					if ended < p.to+enough {
						soon++
					}
				}
				t.Logf("the restart at %v met %d messages; %d were stored within %v after it, the last one after %v", p.from, met, soon, enough, last)
				if met < 200 {
					t.Errorf("the restart at %v met %d messages: the drill shows nothing", p.from, met)
				}
				if soon*100 < met*95 {
					t.Errorf("the restart at %v met %d messages, and %d of them were stored within %v after it, want 95 %%", p.from, met, soon, enough)
				}
			}
		})
	}
}

func TestSixHoursOfTheOperatorsFault(t *testing.T) {
	t.Parallel()
	const secretWrong = "secret wrong"
	for _, tt := range []struct {
		name         string
		breakIt, fix func(s *fixture, role string)
	}{
		{"grant revoked", func(s *fixture, role string) { s.db.Exec(s.t, "REVOKE INSERT ON user_logins FROM "+role) }, func(s *fixture, role string) { s.db.Exec(s.t, "GRANT INSERT ON user_logins TO "+role) }},
		{"table renamed", func(s *fixture, _ string) { s.db.Exec(s.t, "ALTER TABLE user_logins RENAME TO other") }, func(s *fixture, _ string) { s.db.Exec(s.t, "ALTER TABLE other RENAME TO user_logins") }},
		{"column dropped", func(s *fixture, _ string) { s.db.Exec(s.t, "ALTER TABLE user_logins DROP locale CASCADE") }, func(s *fixture, _ string) { s.db.Exec(s.t, "ALTER TABLE user_logins ADD locale varchar(32)") }},
		{secretWrong, func(s *fixture, role string) {
			s.db.Exec(s.t, "ALTER ROLE "+role+" PASSWORD 'another'")
			s.proxy.Cut()
		}, func(s *fixture, role string) { s.secrets.publish(role, "another") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var role string
			period, mapping, secret := 90*time.Second, esmsim.MappingConfig{}, tt.name == secretWrong
			if secret { // logins that are refused soon after each other, and no more of them in all: each takes its time
				period, mapping = 4*time.Minute, esmsim.MappingConfig{BatchSize: 10}
			}
			s := newFixture(t, options{name: "-operator", mapping: mapping, secret: secret, as: func(db *pgtest.DB) *pgtest.DB {
				user := db.Role(t, func(r string) []string {
					role = r
					return []string{"GRANT INSERT, SELECT ON user_logins TO " + r, "GRANT USAGE ON ALL SEQUENCES IN SCHEMA " + db.Schema + " TO " + r}
				})
				return user
			}})
			s.feed(period)
			s.sim.At(outageBegins, func() { tt.breakIt(s, role) })
			s.sim.At(outageEnds, func() { tt.fix(s, role) })
			s.sim.Run(drillEnds)
			s.check()
			s.recovered()
			if r := s.mapping.Report(); r.Failures == 0 || r.LastError == nil {
				t.Error("no invocation failed: a configuration error must be loud")
			} else if !strings.Contains(r.LastError.Error(), "; ") {
				t.Errorf("the error names no remedy: %v", r.LastError)
			}
			if s.secrets != nil {
				s.readSparingly()
			}
		})
	}
}

// readSparingly checks that a login which is refused for hours makes the secret be read again, but
// never more often than internal/credentials promises.
func (s *fixture) readSparingly() {
	s.t.Helper()
	const pause = 5 * time.Second // refreshPause there
	reads, refused := s.secrets.times(), s.mapping.Report().Failures
	least := drillEnds
	for i := range reads[1:] {
		least = min(least, reads[i+1].Sub(reads[i]))
	}
	s.t.Logf("of %d invocations whose login was refused %d read the secret again, %v after the last time at the least", refused, len(reads)-1, least)
	if least < pause {
		s.t.Errorf("the secret was read again after %v, want %v at the least", least, pause)
	}
	if len(reads) >= refused {
		s.t.Errorf("the secret was read %d times for %d refused logins: the drill shows nothing", len(reads), refused)
	}
}

func TestADayWithPoisonInEveryBatch(t *testing.T) {
	t.Parallel()
	const day, window = 24 * time.Hour, 10 * time.Second
	s := newFixture(t, options{name: "-poison", mapping: esmsim.MappingConfig{BatchSize: batchSize, Window: window}})
	stopGood := s.sim.Every(window*4/5, func() { s.good("") })
	stopBad := s.sim.Every(window, s.bad)
	s.sim.At(day, func() { stopGood(); stopBad() })
	s.sim.Run(day + time.Hour)
	s.check()
	for r := range s.queue.All() {
		if r.Receives != 1 {
			t.Fatalf("a message was received %d times, want 1: poison must cost only itself", r.Receives)
		}
	}
}

func TestAnswersAreLost(t *testing.T) {
	t.Parallel()
	s := newFixture(t, options{name: "-lost", queue: esmsim.QueueConfig{Duplicates: 0.05, OutOfOrder: 0.05, LostDeletes: 0.01}, mapping: esmsim.MappingConfig{BatchSize: 50, Window: window, LostAnswers: 0.1}})
	stop := s.sim.Every(time.Second/2, func() { s.good("") })
	s.sim.At(2*time.Hour, stop)
	s.sim.Run(6 * time.Hour)
	s.check()
	if s.mapping.Report().LostAnswers == 0 {
		t.Error("no answer was lost: the drill shows nothing")
	}
}

func TestThrottled(t *testing.T) {
	t.Parallel()
	s := newFixture(t, options{name: "-throttle"})
	stop := s.sim.Every(time.Second, func() { s.good("") })
	for i := range 6 {
		at := time.Duration(i) * 20 * time.Minute
		s.sim.At(at+5*time.Minute, func() { s.mapping.Throttle(true) })
		s.sim.At(at+15*time.Minute, func() { s.mapping.Throttle(false) })
	}
	s.sim.At(2*time.Hour, stop)
	s.sim.Run(4 * time.Hour)
	s.check()
	if s.mapping.Report().Throttles == 0 {
		t.Error("nothing was throttled: the drill shows nothing")
	}
}

// TestFIFOKeepsItsOrder has outages, lost answers and rejected messages, and
// reads the order in which the rows of each group were stored.
func TestFIFOKeepsItsOrder(t *testing.T) {
	t.Parallel()
	s := newFixture(t, options{name: ".fifo", mapping: esmsim.MappingConfig{BatchSize: 10, LostAnswers: 0.05}})
	n := 0
	stop := s.sim.Every(2*time.Second, func() {
		group := fmt.Sprintf("g%02d", n%20)
		if n++; n%37 == 0 {
			id := s.queue.Send(esmsim.Message{Body: "not JSON", GroupID: group, DeduplicationID: fmt.Sprint("bad-", n)})
			s.poison[id] = true
			return
		}
		s.good(group)
	})
	for i := range 3 {
		at := time.Duration(i+1) * 30 * time.Minute
		s.sim.At(at, func() { s.proxy.Refuse(true); s.proxy.Cut() })
		s.sim.At(at+5*time.Minute, func() { s.proxy.Refuse(false) })
	}
	s.sim.At(2*time.Hour, stop)
	s.sim.Run(8 * time.Hour)
	s.check()
	// device_type is the group; user_id grows in the order of sending.
	if n := s.db.Count(t, `SELECT count(*) FROM (SELECT user_id, lag(user_id) OVER (PARTITION BY device_type ORDER BY stored) AS before FROM user_logins) AS o WHERE before > user_id`); n != 0 {
		t.Errorf("%d rows were stored behind a later one of their group", n)
	}
}
