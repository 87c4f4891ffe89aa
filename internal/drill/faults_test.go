package drill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"sluice/internal/handler"
	"sluice/internal/ingest"
	"sluice/internal/mask"
	"sluice/internal/model"
	"sluice/internal/pgtest"
	"sluice/internal/postgres"
	"sluice/models"
)

// function is the handler in front of a real server, by way of a proxy that
// can break the connection.
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

// connect makes a handler like a new environment's.
func (f *function) connect(url string, options ...postgres.Option) {
	f.t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		f.t.Fatal(err)
	}
	store, err := postgres.Open(url, m.Table, options...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(store.Close)
	log := slog.New(slog.NewJSONHandler(f.log, nil))
	f.handler = &handler.Handler{Pipeline: ingest.New(m, store, log), Keys: handler.Static(mask.Unkeyed()), Log: log}
}

// event is a batch of n messages that are new.
func event(n int) []byte {
	type record map[string]any
	records := make([]record, n)
	for i := range records {
		id := uuid.NewString()
		records[i] = record{
			"messageId": id, "body": fmt.Sprintf(`{"user_id":%q,"ip":"203.0.113.7"}`, id),
			"attributes": record{"SentTimestamp": fmt.Sprint(1767225600000 + i)}, "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:logins",
		}
	}
	text, err := json.Marshal(record{"Records": records})
	if err != nil {
		panic(err)
	}
	return text
}

// invoke gives an event to the function, which has so much time, and returns
// how many messages it gave back.
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

// plenty is time that no healthy invocation needs, also on a slow machine.
const plenty = time.Minute

// stores holds that an event is stored whole.
func (f *function) stores(event []byte) {
	f.t.Helper()
	if failed, err := f.invoke(event, plenty); failed != 0 || err != nil {
		f.t.Fatalf("%d messages came back, %v; want all stored; log:\n%s", failed, err, f.log)
	}
}

// storesAfter holds that an event is stored whole that cannot be until
// something has been seen and something else is done about it.
func (f *function) storesAfter(event []byte, seen func() bool, do func()) {
	f.t.Helper()
	var watching sync.WaitGroup
	watching.Go(func() {
		for end := time.Now().Add(plenty); !seen(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				f.t.Errorf("not seen within %v", plenty)
				break
			}
		}
		do()
	})
	defer watching.Wait()
	f.stores(event)
}

// rows holds how many rows there are.
func (f *function) rows(want int64) {
	f.t.Helper()
	if got := f.db.Count(f.t, "SELECT count(*) FROM user_logins"); got != want {
		f.t.Errorf("got %d rows, want %d", got, want)
	}
}

// terminate ends the sessions of the function that match a condition, and
// says how many there were.
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
	failed, err := f.invoke(e, 3*time.Second)
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
	failed, err := f.invoke(e, 3*time.Second)
	if failed != 10 || err != nil {
		t.Errorf("%d messages came back, %v; want all 10", failed, err)
	}
	if n := f.db.Count(t, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'user_logins'::regclass"); n != 0 {
		t.Errorf("%d statements of the function still wait on the server", n)
	}
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
	// As after a fail-over: the session is gone, and the next one meets a
	// server that only reads.
	f.db.Exec(t, "ALTER ROLE "+role+" SET default_transaction_read_only = on")
	f.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
	e := event(10)
	failed, err := f.invoke(e, 5*time.Second)
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
	failed, err := f.invoke(e, 5*time.Second)
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
	failed, err := f.invoke(e, 5*time.Second)
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
	fails := func(sqlstate string) {
		t.Helper()
		if _, err := f.invoke(event(10), plenty); err == nil || !strings.Contains(err.Error(), sqlstate) {
			t.Errorf("got %v, want an operator's fault with SQLSTATE %s", err, sqlstate)
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

// TestATriggerNamesValues has a trigger that gives values of the row for the
// names of a constraint, a column and a table.
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

// TestWorkersWithTheSameKeys has deliveries of the same messages to several
// workers at once, in unlike orders.
func TestWorkersWithTheSameKeys(t *testing.T) {
	t.Parallel()
	const workers, rounds, size = 4, 250, 20
	f := newFunction(t)
	all := make([][]byte, rounds)
	for i := range all {
		all[i] = event(size)
	}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				var e struct{ Records []json.RawMessage }
				if err := json.Unmarshal(all[i], &e); err != nil {
					t.Error(err)
					return
				}
				if w%2 == 1 {
					for a, b := 0, len(e.Records)-1; a < b; a, b = a+1, b-1 {
						e.Records[a], e.Records[b] = e.Records[b], e.Records[a]
					}
				}
				text, err := json.Marshal(e)
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := f.handler.Invoke(t.Context(), text)
				if err != nil || string(answer) != `{"batchItemFailures":[]}` {
					t.Errorf("round %d: got %s, %v", i, answer, err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.rows(rounds * size)
	if n := f.db.Count(t, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"); n != 0 {
		t.Logf("the server counts %d deadlocks, of all tests that share it", n)
	}
	if strings.Contains(f.log.String(), "40P01") {
		t.Errorf("a deadlock surfaced: %s", f.log)
	}
}

// TestTenThousandWithOneBadAtTheEnd states what the largest batch costs.
func TestTenThousandWithOneBadAtTheEnd(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	f.db.Exec(t, "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")
	e := string(event(10_000))
	at := strings.LastIndex(e, `\"ip\":\"203.0.113.7\"`)
	e = e[:at] + strings.Replace(e[at:], `\"ip\":\"203.0.113.7\"`, `\"locale\":\"xx\"`, 1)
	start := time.Now()
	failed, err := f.invoke([]byte(e), plenty)
	t.Logf("10,000 messages, the last one refused: %v", time.Since(start))
	if failed != 1 || err != nil {
		t.Errorf("%d messages came back, %v; want 1", failed, err)
	}
	f.rows(9_999)
}
