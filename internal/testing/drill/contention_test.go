package drill_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestTheSameMessagesManyTimes delivers a thousand messages to each of five environments at once.
// Nearly all messages are the same, each environment has its own order, and the database refuses
// one in a hundred. All environments take their locks in the order of the keys: no two ever
// deadlock, and no good message is returned.
func TestTheSameMessagesManyTimes(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		if k.fifo { // SQS gives a message group to one at a time
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			random := chances(t)()
			d := newDeadlocks(t, k.ddl(t)...)
			f := newFleet(t, d.db, builtin(t, k.model).Set())
			f.contend(5, 1_000, 4, k, random, func(n int) []record {
				return batchOf(k, n, func(i int) bool { return i%100 == 20 })
			}, f.check)
			d.none()
		})
	}
}

// contend delivers messages to a number of environments at once, size to each in an order of its own,
// and then all of them, a tenth more, to one. No message may be returned. After each of the rounds, of
// which a full drill has 40, it checks what was sent so far. It returns all messages, once the
// environments are closed.
func (f *fleet) contend(environments, size, rounds int, k kind, random *rand.Rand, next func(n int) []record, check func(sent []record)) (sent []record) {
	t := f.t
	t.Helper()
	all := f.environments(environments, "the same messages")
	if inFull(t) {
		rounds = 40
	}
	for round := range rounds {
		messages := next(size + size/10)
		sent = append(sent, messages...)
		var deliveries sync.WaitGroup
		for _, e := range all {
			batch := shuffled(k, messages, random)[:size]
			deliveries.Go(func() {
				if back := e.deliver(batch, plenty); len(back) > 0 {
					t.Errorf("round %d: %d messages came back; log:\n%s", round, len(back), e.tail())
				}
			})
		}
		deliveries.Wait()
		if back := all[round%environments].deliver(messages, plenty); len(back) > 0 {
			t.Errorf("round %d: %d of all messages came back; log:\n%s", round, len(back), all[round%environments].tail())
		}
		check(sent)
		if t.Failed() {
			t.FailNow()
		}
	}
	for _, e := range all {
		e.close()
	}
	return sent
}

// deadlocks counts the deadlocks of a database.
type deadlocks struct {
	t  *testing.T
	db *pgtest.DB
}

// newDeadlocks makes a database that notices deadlocks soon.
func newDeadlocks(t *testing.T, statements ...string) *deadlocks {
	t.Helper()
	d := &deadlocks{t: t, db: pgtest.NewDatabase(t, "", statements...)}
	d.db.Exec(t, "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 50', current_database()); END $$")
	return d
}

// none checks that there was no deadlock in the function's sessions, which are closed. It makes one
// itself at the end, so that the server's count is known to be current.
func (d *deadlocks) none() {
	t := d.t
	t.Helper()
	d.sessionsEnd()
	d.deadlock()
	d.sessionsEnd()
	const count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
	for d.db.Count(t, count) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if n := d.db.Count(t, count) - 1; n != 0 {
		t.Errorf("there were %d deadlocks, want none", n)
	}
}

// sessionsEnd waits for the end of the test's sessions: then they have reported.
func (d *deadlocks) sessionsEnd() {
	d.t.Helper()
	for d.db.Count(d.t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = current_database()") > 0 {
		time.Sleep(time.Millisecond)
	}
}

// deadlock makes one.
func (d *deadlocks) deadlock() {
	t := d.t
	t.Helper()
	ours, theirs := d.db.Conn(t), d.db.Conn(t)
	lock := func(c *pgx.Conn, key int) error {
		_, err := c.Exec(t.Context(), "SELECT pg_advisory_lock($1)", key)
		return err
	}
	if err := errors.Join(lock(ours, 1), lock(theirs, 2)); err != nil {
		t.Fatal(err)
	}
	var waiting sync.WaitGroup
	var refusals [2]error
	cross := func(i int, c *pgx.Conn, key int) {
		refusals[i] = lock(c, key)
		_ = c.Close(context.WithoutCancel(t.Context())) // lets the other one go on
	}
	waiting.Go(func() { cross(0, ours, 2) })
	waiting.Go(func() { cross(1, theirs, 1) })
	waiting.Wait()
	if !strings.Contains(fmt.Sprint(refusals), "40P01") {
		t.Fatalf("no deadlock could be made: %v", refusals)
	}
}

// TestKeysThatDifferInTheirSpelling has two environments store messages whose keys are equal in the
// column's type, and whose spellings sort in opposite orders.
func TestKeysThatDifferInTheirSpelling(t *testing.T) {
	t.Parallel()
	type spellings [2]string
	const text, numeric = "{type: text, required: true}", "{type: numeric, required: true}"
	for _, tt := range []struct {
		name        string
		field       string // of the model
		sql         string // the column's type in the table
		setup       string
		needs       string // a query that returns a row where the server has what that takes
		here, there spellings
	}{
		{
			"citext", text, "citext", "CREATE EXTENSION citext", "SELECT FROM pg_available_extensions WHERE name = 'citext'",
			spellings{`"B-%d"`, `"abc-%d"`},
			spellings{`"b-%d"`, `"ABC-%d"`},
		},
		{
			"a collation that ignores case", text, "text COLLATE ignoring_case",
			"CREATE COLLATION ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)", "SELECT FROM pg_collation WHERE collprovider = 'i'",
			spellings{`"B-%d"`, `"abc-%d"`},
			spellings{`"b-%d"`, `"ABC-%d"`},
		},
		{
			"char(n)", text, "char(40)", "", "SELECT",
			spellings{`"a-%d"`, `"a-%d\t"`},
			spellings{`"a-%d "`, `"a-%d\t"`}, // a space sorts after a tab, and is nothing at the end
		},
		{
			"a domain", text, "code", "CREATE DOMAIN code AS char(40)", "SELECT",
			spellings{`"a-%d"`, `"a-%d\t"`},
			spellings{`"a-%d "`, `"a-%d\t"`},
		},
		{
			"numeric", numeric, "numeric(20,2)", "", "SELECT",
			spellings{`5%06d`, `105%06d`},
			spellings{`0.5%06de7`, `105%06d.0`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDeadlocks(t)
			if len(d.db.Rows(t, tt.needs)) == 0 {
				t.Skipf("this server has no %s: the keys of the other types stand for it", tt.name)
			}
			d.db.Exec(t, tt.setup)
			d.db.Exec(t, `CREATE TABLE coupons (code `+tt.sql+` PRIMARY KEY, note text);
				CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.002); RETURN NEW; END $$;
				CREATE TRIGGER pause BEFORE INSERT ON coupons FOR EACH ROW WHEN (NEW.note = 'pause') EXECUTE FUNCTION pause()`)
			column := "varchar(40)"
			if tt.field == numeric {
				column = "numeric(20,2)"
			}
			m, err := model.Parse("coupons.yaml", fmt.Appendf(nil, "model: coupons\ntable: coupons\nkey: [code]\nfields:\n  code: %s\n  note: {type: text}\ncolumns:\n  code: {type: %q, from: code}\n  note: {type: text, from: note}\n", tt.field, column))
			if err != nil {
				t.Fatal(err)
			}
			random := chances(t)()
			f := newFleet(t, d.db, m.Set())
			all := f.environments(2, tt.name)
			const pairs = 50
			rounds := 3
			if inFull(t) {
				rounds = 40
			}
			for round := range rounds {
				var deliveries sync.WaitGroup
				for i, side := range []spellings{tt.here, tt.there} {
					var messages []record
					for n := range pairs {
						for _, spelling := range side {
							messages = append(messages, coupon(fmt.Sprintf(spelling, round*pairs+n), n%10 == 0))
						}
					}
					batch := shuffled(kind{}, messages, random)
					deliveries.Go(func() {
						if back := all[i].deliver(batch, plenty); len(back) > 0 {
							t.Errorf("round %d: %d messages came back, want all done; log:\n%s", round, len(back), all[i].tail())
						}
					})
				}
				deliveries.Wait()
				if t.Failed() {
					return
				}
			}
			if got, want := d.db.Count(t, "SELECT count(*) FROM coupons"), int64(rounds*pairs*2); got != want {
				t.Errorf("got %d rows, want %d", got, want)
			}
			if len(f.rejected) > 0 {
				t.Errorf("%d messages were rejected, want none", len(f.rejected))
			}
			for _, e := range all {
				e.close()
			}
			d.none()
		})
	}
}

// coupon returns a new message with a code, which is JSON.
func coupon(code string, pause bool) record {
	note := "go on"
	if pause {
		note = "pause"
	}
	return record{
		"messageId": uuid.NewString(), "attributes": record{"SentTimestamp": "1767225600000"},
		"eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:coupons",
		"body": fmt.Sprintf(`{"code":%s,"note":%q}`, code, note),
	}
}
