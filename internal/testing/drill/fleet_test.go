package drill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

// kinds are the kinds of table that a store supports, as people have them. All refuse the locale
// xx, and the column stored is the order in which rows came.
var kinds = []kind{
	{name: "keyed", model: "user_logins"},
	{name: "ledger", model: "user_logins_plain"},
	{name: "FIFO", model: "user_logins", fifo: true},
	{name: "partitioned", model: "user_logins", partitioned: true},
}

type kind struct {
	name, model       string
	fifo, partitioned bool
}

// ddl makes the tables.
func (k kind) ddl(t *testing.T) []string {
	t.Helper()
	ddl := builtin(t, k.model).DDL()
	if k.partitioned {
		ddl[0] += " PARTITION BY HASH (message_id)"
		for i := range 3 {
			ddl = append(ddl, fmt.Sprintf("CREATE TABLE user_logins_%d PARTITION OF user_logins FOR VALUES WITH (MODULUS 3, REMAINDER %d)", i, i))
		}
	}
	return append(ddl, "ALTER TABLE user_logins ADD stored bigserial, ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")
}

func builtin(t *testing.T, name string) *model.Model {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fleet is the environments of a function that write to the same tables, and what they have rejected.
type fleet struct {
	t   *testing.T
	db  *pgtest.DB
	set *model.Set

	mu       sync.Mutex
	rejected map[string]bool
}

func newFleet(t *testing.T, db *pgtest.DB, set *model.Set) *fleet {
	t.Helper()
	return &fleet{t: t, db: db, set: set, rejected: map[string]bool{}}
}

// environment is one environment of the function, with its own network.
type environment struct {
	fleet   *fleet
	doing   string // for errors
	proxy   *pgtest.Proxy
	handler *handler.Handler
	close   func()
	log     safeBuilder
}

// environments makes n environments without a connection. Any goroutine may use them.
func (f *fleet) environments(n int, doing string) []*environment {
	f.t.Helper()
	all := make([]*environment, n)
	for i := range all {
		e := &environment{fleet: f, doing: doing, proxy: pgtest.NewProxy(f.t, f.db.URL)}
		store, err := postgres.Open(e.proxy.URL, f.set.Tables())
		if err != nil {
			f.t.Fatal(err)
		}
		f.t.Cleanup(store.Close)
		log := slog.New(slog.NewJSONHandler(&e.log, nil))
		e.close = store.Close
		e.handler = &handler.Handler{Pipeline: ingest.New(f.set, store, ingest.Static(mask.Unkeyed()), log), Log: log, DeadLetters: f}
		all[i] = e
	}
	return all
}

// tail returns the end of the environment's log.
func (e *environment) tail() string {
	text := e.log.String()
	return text[max(0, len(text)-1_000):]
}

// Send implements ingest.DeadLetters: it accepts everything.
func (f *fleet) Send(_ context.Context, rejected []message.RejectedMessage) (unsent []int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range rejected {
		f.rejected[r.Message.ID] = true
	}
	return nil, nil
}

// refused reports which of the messages the database never accepts.
func refused(r record) bool { return r["refused"] == true }

// deliver sends messages to an environment, with a limit of time, and checks the answer: what is
// not returned must be stored or rejected by then. It returns the returned messages.
func (e *environment) deliver(messages []record, timeout time.Duration) (returned []record) {
	t := e.fleet.t
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	answer, err := e.handler.Invoke(ctx, eventOf(messages))
	if ctx.Err() != nil {
		t.Errorf("%s: an invocation was not answered within its %v; log:\n%s", e.doing, timeout, e.tail())
	}
	if err != nil {
		t.Errorf("%s: an invocation failed: %v", e.doing, err)
		return messages
	}
	var a struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		t.Errorf("%s: the answer %s: %v", e.doing, answer, err)
	}
	failed := map[string]bool{}
	for _, f := range a.BatchItemFailures {
		failed[f.ItemIdentifier] = true
	}
	var done []string
	for _, m := range messages {
		id := m.id()
		switch {
		case failed[id]:
			returned = append(returned, m)
		case !e.fleet.wasRejected(id):
			done = append(done, id)
		}
	}
	if e.fleet.set.Tables()[0].Name != "user_logins" {
		return returned // the caller knows what must be there
	}
	if got := e.fleet.db.Count(t, "SELECT count(*) FROM user_logins WHERE user_id = ANY($1)", done); got != int64(len(done)) {
		t.Errorf("%s: %d messages are said to be done, and %d of them have a row; log:\n%s", e.doing, len(done), got, e.tail())
	}
	return returned
}

func (f *fleet) wasRejected(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rejected[id]
}

// check checks that every message has what it must have in the end: a good one its one row, a
// refused one its place in the dead-letter queue, and none anything else.
func (f *fleet) check(messages []record) {
	f.t.Helper()
	rows := map[string]string{}
	for _, row := range f.db.Rows(f.t, "SELECT user_id, count(*) FROM user_logins GROUP BY user_id") {
		rows[row[0]] = row[1]
	}
	lost, twice, wrongly, never := 0, 0, 0, 0
	for _, m := range messages {
		got, rejected := rows[m.id()], f.rejected[m.id()]
		delete(rows, m.id())
		switch {
		case refused(m) && (got != "" || !rejected):
			never++
		case !refused(m) && rejected:
			wrongly++
		case !refused(m) && got == "":
			lost++
		case !refused(m) && got != "1":
			twice++
		}
	}
	if lost+twice+wrongly+never+len(rows) > 0 {
		f.t.Errorf("of %d messages %d are lost, %d stored twice, %d wrongly rejected, %d wrongly not rejected; %d rows are of no message", len(messages), lost, twice, wrongly, never, len(rows))
	}
}

func (r record) id() string {
	id, _ := r["messageId"].(string)
	return id
}

// batchOf makes n new messages. The database refuses those for which the function returns true. On
// FIFO they are in a few groups, and app_version is their place.
func batchOf(k kind, n int, refuse func(i int) bool) []record {
	groups := make([]string, 1+n/8)
	for i := range groups {
		groups[i] = "g-" + uuid.NewString()[:8]
	}
	all := make([]record, n)
	for i := range all {
		id := uuid.NewString()
		group := groups[i%len(groups)]
		locale, refused := "de", refuse(i)
		if refused {
			locale = "xx"
		}
		attributes := record{"SentTimestamp": strconv.Itoa(1767225600000 + i)}
		arn := "arn:aws:sqs:eu-central-1:123456789012:logins"
		if k.fifo {
			attributes["MessageGroupId"], arn = group, arn+".fifo"
		}
		all[i] = record{
			"messageId": id, "attributes": attributes, "eventSource": "aws:sqs", "eventSourceARN": arn, "refused": refused,
			"body": fmt.Sprintf(`{"user_id":%q,"ip":"203.0.113.7","locale":%q,"device_type":%q,"app_version":"%d.0"}`, id, locale, group, i),
		}
	}
	return all
}

// shuffled returns the messages in another order. On FIFO it mixes the groups in another way, and
// each keeps its own order.
func shuffled(k kind, messages []record, random *rand.Rand) []record {
	all := slices.Clone(messages)
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	if !k.fifo {
		return all
	}
	inOrder := map[any][]record{}
	for _, m := range messages {
		inOrder[m.group()] = append(inOrder[m.group()], m)
	}
	for i, m := range all {
		g := m.group()
		all[i], inOrder[g] = inOrder[g][0], inOrder[g][1:]
	}
	return all
}

func (r record) group() any {
	attributes, _ := r["attributes"].(record)
	return attributes["MessageGroupId"]
}

// inOrder checks that the rows of each group came in the order of its messages.
func (f *fleet) inOrder() {
	f.t.Helper()
	if n := f.db.Count(f.t, `SELECT count(*) FROM (SELECT app_version, lag(app_version) OVER (PARTITION BY device_type ORDER BY stored) AS before FROM user_logins) AS o WHERE before > app_version`); n != 0 {
		f.t.Errorf("%d rows were stored after a later one of their group", n)
	}
}

// chances returns random sources from a seed that a failed test prints, and that TEST_SEED sets.
func chances(t *testing.T) func() *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("TEST_SEED"); text != "" {
		n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if err != nil {
			t.Fatalf("TEST_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("again with TEST_SEED=%d", seed)
	n := uint64(0)
	return func() *rand.Rand {
		n++
		return rand.New(rand.NewPCG(seed, n))
	}
}
