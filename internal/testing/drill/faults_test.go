package drill_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

// function is the handler in front of a real server, with a proxy that can break the connection.
type function struct {
	t       *testing.T
	db      *pgtest.DB
	proxy   *pgtest.Proxy
	handler *handler.Handler
	log     *safeBuilder
}

// safeBuilder is a strings.Builder for several goroutines.
type safeBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *safeBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}

func newFunction(t *testing.T, options ...postgres.Option) *function {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	db := pgtest.New(t, m.DDL()...)
	f := &function{t: t, db: db, proxy: pgtest.NewProxy(t, db.URL), log: &safeBuilder{}}
	f.connect(f.proxy.URL, options...)
	return f
}

// connect makes a handler like that of a new environment.
func (f *function) connect(url string, options ...postgres.Option) {
	f.t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		f.t.Fatal(err)
	}
	options = append(options, postgres.WithNames(fault.Names{URL: "DATABASE_URL"}))
	store, err := postgres.Open(url, []*batch.Table{m.Table}, options...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(store.Close)
	log := slog.New(slog.NewJSONHandler(f.log, nil))
	f.handler = &handler.Handler{Pipeline: ingest.New(m.Set(), store, ingest.Static(mask.Unkeyed()), log), Log: log}
}

// record is one message of an event.
type record map[string]any

// records returns n new messages.
func records(n int) []record {
	all := make([]record, n)
	for i := range all {
		id := uuid.NewString()
		all[i] = record{
			"messageId": id, "body": fmt.Sprintf(`{"user_id":%q,"ip":"203.0.113.7"}`, id),
			"attributes": record{"SentTimestamp": fmt.Sprint(1767225600000 + i), "ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:logins",
		}
	}
	return all
}

// eventOf returns a batch of the messages.
func eventOf(records []record) []byte {
	return []byte(jsonOf(record{"Records": records}))
}

// event returns a batch of n new messages.
func event(n int) []byte { return eventOf(records(n)) }

// invoke sends an event to the function, with a limit of time, and returns how many messages it
// returned.
func (f *function) invoke(event []byte, timeout time.Duration) (failed int, err error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), timeout)
	defer cancel()
	answer, err := f.handler.Invoke(ctx, event)
	if ctx.Err() != nil {
		f.t.Errorf("the function was not done within %v", timeout)
	}
	if err != nil {
		return 0, err
	}
	var a struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		f.t.Fatal(err)
	}
	return len(a.BatchItemFailures), nil
}

// plenty is a time that no healthy invocation needs, even on a slow machine.
const plenty = time.Minute

// stores checks that the function stores a whole event.
func (f *function) stores(event []byte) {
	f.t.Helper()
	if failed, err := f.invoke(event, plenty); failed != 0 || err != nil {
		f.t.Fatalf("%d messages came back, %v; want all stored; log:\n%s", failed, err, f.log)
	}
}

// storesAfter checks that the function stores a whole event, after something has been seen and
// something else has been done about it.
func (f *function) storesAfter(event []byte, seen func() bool, do func()) {
	f.t.Helper()
	var watching sync.WaitGroup
	watching.Go(func() {
		defer do() // also when looking fails the test, which ends this goroutine
		f.eventually(seen)
	})
	defer watching.Wait()
	f.stores(event)
}

// eventually waits until something is seen. Any goroutine may call it.
func (f *function) eventually(seen func() bool) {
	f.t.Helper()
	for end := time.Now().Add(plenty); !seen(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Errorf("not seen within %v", plenty)
			return
		}
	}
}

// nothingWaits checks that no statement of the function still waits on the server. Canceled
// statements may take a moment to end.
func (f *function) nothingWaits() {
	f.t.Helper()
	f.eventually(func() bool {
		return f.db.Count(f.t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'user_logins'::regclass") == 0
	})
}

// rows checks how many rows there are.
func (f *function) rows(want int64) {
	f.t.Helper()
	if got := f.db.Count(f.t, "SELECT count(*) FROM user_logins"); got != want {
		f.t.Errorf("got %d rows, want %d", got, want)
	}
}

// terminate ends the sessions of the function that match a condition, and returns how many there
// were.
func (f *function) terminate(condition string) int64 {
	return f.db.Count(f.t, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid() AND "+condition, f.db.Schema)
}

func TestBackendIsTerminatedBetweenInvocations(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.stores(event(10))
	if n := f.terminate("true"); n != 1 {
		t.Fatalf("terminated %d sessions, want 1", n)
	}
	f.stores(event(10))
	f.rows(20)
}

func TestBackendIsTerminatedInTheMiddleOfAStatement(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.db.Exec(t, `CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN PERFORM pg_advisory_xact_lock_shared(hashtext(current_schema())); RETURN NEW; END $$;
		CREATE TRIGGER gate BEFORE INSERT ON user_logins FOR EACH STATEMENT EXECUTE FUNCTION gate()`)
	f.stores(event(1))
	gate := f.db.Conn(t)
	if _, err := gate.Exec(t.Context(), "SELECT pg_advisory_lock(hashtext(current_schema()))"); err != nil {
		t.Fatal(err)
	}
	f.storesAfter(event(10), func() bool { return f.terminate("wait_event_type = 'Lock'") > 0 }, func() {
		if _, err := gate.Exec(t.Context(), "SELECT pg_advisory_unlock_all()"); err != nil {
			t.Error(err)
		}
	})
	f.rows(11)
}

func TestConnectionIsCutWhileTheStatementRuns(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.stores(event(1))
	for i := range 20 {
		e := event(50)
		f.proxy.CutAfterClientBytes(1 + i*500)
		f.stores(e)
		f.stores(e)
	}
	f.rows(1 + 20*50)
}

func TestTheCommitsAnswerIsLost(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.stores(event(1))
	f.proxy.DropServerBytes()
	f.storesAfter(event(10), func() bool { // the rows are there, the answer is not
		return f.db.Count(t, "SELECT count(*) FROM user_logins") == 11
	}, f.proxy.Cut)
	f.rows(11)
}

func TestThePeerGoesSilent(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.stores(event(1))
	f.proxy.Silence()
	e := event(10)
	failed, err := f.invoke(e, 8*time.Second)
	if failed != 10 || err != nil {
		t.Errorf("%d messages came back, %v; want all 10", failed, err)
	}
	f.proxy.Cut()
	f.proxy.Resume()
	f.stores(e)
	f.rows(11)
}

func TestALockIsHeldPastTheDeadline(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.stores(event(1))
	lock := f.db.Conn(t)
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE user_logins"); err != nil {
		t.Fatal(err)
	}
	e := event(10)
	failed, err := f.invoke(e, 8*time.Second)
	if failed != 10 || err != nil {
		t.Errorf("%d messages came back, %v; want all 10", failed, err)
	}
	f.nothingWaits()
	if _, err := lock.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	f.stores(e)
	f.rows(11)
}

func TestTheServerTurnsReadOnlyAndBack(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	var role string
	user := f.db.Role(t, func(r string) []string {
		role = r
		return []string{"GRANT INSERT, SELECT ON user_logins TO " + r}
	})
	f.connect(user.URL)
	f.stores(event(1))
	// As after a fail-over: the session is gone, and the next one meets a server that is read-only.
	f.db.Exec(t, "ALTER ROLE "+role+" SET default_transaction_read_only = on")
	f.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
	e := event(10)
	failed, err := f.invoke(e, plenty)
	if failed != 10 || err != nil {
		t.Errorf("%d messages came back, %v; want all 10", failed, err)
	}
	if !strings.Contains(f.log.String(), "25006") {
		t.Errorf("the log does not say why: %s", f.log)
	}
	f.db.Exec(t, "ALTER ROLE "+role+" RESET default_transaction_read_only")
	f.stores(e) // in the same environment
	f.rows(11)
}

func TestNoConnectionIsFree(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	limited := f.db.Role(t, func(role string) []string {
		return []string{"GRANT INSERT, SELECT ON user_logins TO " + role, "ALTER ROLE " + role + " CONNECTION LIMIT 1"}
	})
	taken := limited.Conn(t)
	f.connect(limited.URL)
	e := event(10)
	failed, err := f.invoke(e, plenty)
	if failed != 10 || err != nil || !strings.Contains(f.log.String(), "53300") {
		t.Errorf("%d messages came back, %v; want all 10 for 53300; log: %s", failed, err, f.log)
	}
	if err := taken.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.stores(e)
	f.rows(10)
}

func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.db.Exec(t, `CREATE TABLE full_disk (); CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF to_regclass('full_disk') IS NOT NULL THEN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER full_disk BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION full_disk()`)
	e := event(10)
	failed, err := f.invoke(e, plenty)
	if failed != 10 || err != nil || !strings.Contains(f.log.String(), "53100") {
		t.Errorf("%d messages came back, %v; want all 10 for 53100; log: %s", failed, err, f.log)
	}
	f.db.Exec(t, "DROP TABLE full_disk")
	f.stores(e)
	f.rows(10)
}

func TestTheSchemaDriftsUnderAWarmConnection(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	total := int64(0)
	stores := func() { f.stores(event(10)); total += 10; f.rows(total) }
	// A first delivery notices a key that is gone within a minute, a redelivery at once.
	redelivered := func() []byte {
		return bytes.ReplaceAll(event(10), []byte(`"ApproximateReceiveCount":"1"`), []byte(`"ApproximateReceiveCount":"2"`))
	}
	fails := func(sqlstate string) {
		t.Helper()
		if _, err := f.invoke(redelivered(), plenty); err == nil || !strings.Contains(err.Error(), sqlstate) {
			t.Errorf("got %v, want a configuration error with SQLSTATE %s", err, sqlstate)
		}
		f.rows(total)
	}
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins ADD note text")
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins ALTER locale TYPE text, ALTER user_id TYPE varchar(200)")
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins RENAME locale TO language")
	fails("42703")
	f.db.Exec(t, "ALTER TABLE user_logins RENAME language TO locale")
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey")
	fails("42P10")
	f.db.Exec(t, "ALTER TABLE user_logins ADD PRIMARY KEY (sent_at, message_id)")
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins RENAME TO elsewhere")
	if _, err := f.invoke(event(10), plenty); err == nil || !strings.Contains(err.Error(), "42P01") {
		t.Errorf("got %v, want SQLSTATE 42P01", err)
	}
	f.db.Exec(t, "ALTER TABLE elsewhere RENAME TO user_logins")
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins ADD must text NOT NULL DEFAULT 'x'")
	stores()
	f.db.Exec(t, "ALTER TABLE user_logins ALTER must DROP DEFAULT")
	fails("23502")
}

func TestATriggerFailsAtCommit(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.db.Exec(t, `CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.locale = 'xx' THEN RAISE EXCEPTION '%', NEW.user_id; END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER late AFTER INSERT ON user_logins DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late()`)
	e := strings.Replace(string(event(10)), `\"ip\":\"203.0.113.7\"`, `\"locale\":\"xx\"`, 1)
	failed, err := f.invoke([]byte(e), plenty)
	if failed != 1 || err != nil {
		t.Errorf("%d messages came back, %v; want 1", failed, err)
	}
	f.rows(9)
}

// TestATriggerNamesValues has a trigger that returns values of the row as the names of a
// constraint, a column and a table.
func TestATriggerNamesValues(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.db.Exec(t, `CREATE FUNCTION naming() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = NEW.device_type, CONSTRAINT = NEW.locale, COLUMN = NEW.locale, TABLE = NEW.locale; END $$;
		CREATE TRIGGER naming BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION naming()`)
	for _, code := range []string{"P0001", "23514", "SL001", "53100", "42P01"} {
		e := strings.ReplaceAll(string(event(2)), `\"ip\":\"203.0.113.7\"`, `\"locale\":\"canary\",\"device_type\":\"`+code+`\"`)
		_, err := f.invoke([]byte(e), plenty)
		said := f.log.String()
		if err != nil {
			said += err.Error()
		}
		if strings.Contains(said, "canary") {
			t.Errorf("SQLSTATE %s: a value shows: %s", code, said)
		}
		if !strings.Contains(said, code) {
			t.Errorf("SQLSTATE %s does not show: %s", code, said)
		}
	}
}

// TestWorkersWithTheSameKeys delivers the same new messages to two workers at once, in opposite
// orders. Both lock the rows in the order of their keys, so one stores them in one round trip, and
// the other waits for it and finds them in a second one. A deadlock, which the server ends by
// refusing one of them, would cost more round trips, even where the retry hides it. In every tenth
// round each pauses in the middle of its rows, where in their own orders both would hold what the
// other needs next, also on a machine that is too busy to run two sessions at once.
func TestWorkersWithTheSameKeys(t *testing.T) {
	t.Parallel()
	const size = 20
	rounds := 1_000
	if kills(t) >= 200 { // 10,000 take most of a minute under -race: for CI and `make drill`
		rounds = 10_000
	}
	f := newFunction(t)
	f.db.Exec(t, `CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.001); RETURN NEW; END $$;
		CREATE TRIGGER pause BEFORE INSERT ON user_logins FOR EACH ROW WHEN (NEW.locale = 'pause') EXECUTE FUNCTION pause()`)
	f.connect(f.db.URL)
	var trips atomic.Int64
	f.handler.Observe = func(_ context.Context, r *ingest.Report) { trips.Add(int64(r.RoundTrips)) }
	for round := range rounds {
		messages := records(size)
		if round%10 == 0 {
			messages[size/2]["body"] = `{"user_id":"u","locale":"pause"}`
		}
		there := eventOf(messages)
		slices.Reverse(messages)
		back := eventOf(messages)
		var workers sync.WaitGroup
		start := make(chan struct{})
		for _, e := range [][]byte{there, back} {
			workers.Go(func() {
				<-start
				if answer, err := f.handler.Invoke(t.Context(), e); err != nil || string(answer) != `{"batchItemFailures":[]}` {
					t.Errorf("round %d: got %s, %v", round, answer, err)
				}
			})
		}
		close(start)
		workers.Wait()
		if n := trips.Swap(0); n != 3 {
			t.Fatalf("round %d: the two took %d round trips, want 3; log:\n%s", round, n, f.log)
		}
	}
	f.rows(int64(rounds * size))
}

// TestTheWorstBatches states the cost of batches that are made to cost much: one row of the largest
// is refused; a body is all brackets. (internal/ingest states the cost of a record that panics.)
// Nothing else runs, so that all allocations are the function's.
func TestTheWorstBatches(t *testing.T) {
	f := newFunction(t)
	f.connect(f.db.URL) // not by the proxy, which allocates too
	f.db.Exec(t, "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")
	var seen *ingest.Report
	f.handler.Observe = func(_ context.Context, r *ingest.Report) { seen = r }
	f.stores(event(1)) // by now it has a connection
	total := int64(1)

	const megabyte = 1 << 20 // the largest message of SQS
	brackets := strings.Repeat("[", megabyte)
	const head, tail = `{"user_id":"u","x":`, `}`
	half := (megabyte - len(head+tail)) / 2
	for _, tt := range []struct {
		name   string
		n, odd int // messages, and which one of them is another
		body   string
		want   message.Verdict
		atMost float64 // megabytes that it allocates, twice what was measured
	}{
		{"10,000 messages, the last one refused", 10_000, 9_999, `{"user_id":"u","locale":"xx"}`, rejected(message.ReasonRefused), 100},
		{"a megabyte of brackets", 10, 4, brackets, rejected(message.ReasonNotJSON), 5},
		{"a megabyte of brackets that match", 10, 4, head + brackets[:half] + strings.Repeat("]", half) + tail, rejected(message.ReasonNotJSON), 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			messages := records(tt.n)
			messages[tt.odd]["body"] = tt.body
			e := eventOf(messages)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			answer, err := f.handler.Invoke(t.Context(), e)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if want := fmt.Sprintf(`{"batchItemFailures":[{"itemIdentifier":%q}]}`, messages[tt.odd]["messageId"]); err != nil || string(answer) != want {
				t.Fatalf("got %s, %v, want %s", answer, err, want)
			}
			allocated := float64(after.TotalAlloc-before.TotalAlloc) / 1e6
			t.Logf("%v, %.1f MB allocated for an event of %.1f MB: %d messages stored, the verdict on the other one %+v",
				took, allocated, float64(len(e))/1e6, seen.Count(message.Stored), seen.Verdicts[tt.odd])
			if allocated > tt.atMost {
				t.Errorf("it allocates %.1f MB, want %.1f at most", allocated, tt.atMost)
			}
			if got := seen.Verdicts[tt.odd]; got.Outcome != tt.want.Outcome || got.Rejection.Reason != tt.want.Rejection.Reason {
				t.Errorf("got the verdict %+v, want %+v", got, tt.want)
			}
			total += int64(tt.n) - 1
			f.rows(total)
		})
	}
}

// rejected is the verdict on a message that can never be stored.
func rejected(reason message.Reason) message.Verdict {
	return message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: reason}}
}
