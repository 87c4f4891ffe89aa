package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/models"
)

func loadModel(t testing.TB, name string) *model.Model {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func maskKeys(t testing.TB) *mask.Keyring {
	t.Helper()
	keys, err := mask.ParseKeys("k1:0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// record is a message of user_logins, known by a number.
type record struct {
	number int64
	locale string
	group  int
}

func records(first int64, n int) []record {
	all := make([]record, n)
	for i := range all {
		all[i] = record{number: first + int64(i), locale: "nl"}
	}
	return all
}

// ledgered is a site with a table that has no key of its own, for people who have it already, and
// the ledger beside it.
type ledgered struct {
	*site
	m *model.Model
}

func newLedgered(t testing.TB, mode, sql string) ledgered {
	t.Helper()
	m := loadModel(t, "user_logins_plain")
	ddl := strings.Join(m.DDL(), ";\n") + "; ALTER TABLE user_logins ADD tx xid8 DEFAULT pg_current_xact_id();" + sql
	return ledgered{newSite(t, setup{sql: ddl, table: m.Table, mode: mode}), m}
}

// deliver inserts the messages as package ingest does, but for their repeats.
func (l ledgered) deliver(records ...record) *outcome {
	l.Helper()
	return l.deliverBy(l.Context(), records...)
}

func (l ledgered) deliverBy(ctx context.Context, records ...record) *outcome {
	l.Helper()
	b, ids := l.batchOf(records)
	return l.insertBatch(ctx, b, ids)
}

// redeliver is deliver for messages that were received before.
func (l ledgered) redeliver(records ...record) *outcome {
	l.Helper()
	b, ids := l.batchOf(records)
	b.SetRedelivered(true)
	return l.insertBatch(l.Context(), b, ids)
}

func (l ledgered) batchOf(records []record) (b *batch.Batch, ids []int64) {
	l.Helper()
	b = batch.New(l.m.Table)
	reader := l.m.Reader(maskKeys(l))
	for i, one := range records {
		bad := reader.Append(b, i, one.group, &message.Message{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", one.number), HasBody: true, HasSent: true, SentMillis: 1767225600000 + one.number,
			Body: fmt.Appendf(nil, `{"user_id": "%s%d", "locale": %q}`, canary, one.number, one.locale),
		})
		if !bad.IsZero() {
			l.Fatal(bad)
		}
	}
	b.Sort()
	return b, byRow(b, records, func(r record) int64 { return r.number })
}

// holds checks that the table has these numbers, each once, and the ledger as many.
func (l ledgered) holds(want string) {
	l.Helper()
	got := numbersIn(l, l.db, "SELECT substr(user_id, 8)::bigint FROM user_logins ORDER BY 1")
	if ranges(got) != want {
		l.Errorf("the table holds %s, want %s", ranges(got), want)
	}
	if n := l.db.Count(l, "SELECT count(*) FROM sluice_ledger"); n != int64(len(got)) {
		l.Errorf("the ledger holds %d messages and the table %d", n, len(got))
	}
}

const (
	noNowhere = "ALTER TABLE user_logins ADD CONSTRAINT somewhere CHECK (locale <> 'xx');"
	bySome    = "23514 constraint somewhere"
	forgetful = `CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF NEW.locale = 'zz' THEN RETURN NULL; END IF;
				RETURN NEW;
			END $$;
		CREATE TRIGGER forget BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION forget();`
)

// TestLedgerStoresEachMessageOnce has redeliveries, alone and mixed with new messages.
func TestLedgerStoresEachMessageOnce(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		l := newLedgered(t, mode, "")
		l.deliver(records(1, 100)...).must().inserts(100)
		l.proxy.SetDelay(delay)
		l.deliver(records(101, 1000)...).must().inserts(1000).costs(1)
		l.redeliver(records(1, 100)...).must().inserts(0).costs(2)
		l.redeliver(records(51, 1200)...).must().inserts(150).costs(2)
		l.redeliver(records(1, 1300)...).must().inserts(50).costs(2)
		l.holds("1-1300")
	})
}

// TestLedgerWithAMessageTwiceInABatch shows that the store does not rely on package ingest to drop
// the repeats.
func TestLedgerWithAMessageTwiceInABatch(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, n := range []int{10, 100} {
			l := newLedgered(t, mode, "")
			batch := append(records(1, n), records(3, 2)...)
			o := l.deliver(batch...).inserts(n)
			for i, v := range o.Verdicts {
				if v.Outcome != message.Stored {
					t.Errorf("message %d is %s", o.ids[i], spell(v))
				}
			}
			l.holds(fmt.Sprintf("1-%d", n))
		}
	})
}

// TestLedgerHasNoRefusedRows shows that a refused row leaves no trace in the ledger, so that it
// is stored once it may be.
func TestLedgerHasNoRefusedRows(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, tt := range []struct{ n, trips int }{{20, 2}, {64, 2}, {65, 3}, {1000, 3}} {
			l := newLedgered(t, mode, noNowhere)
			l.deliver(records(1, 5)...).must() // some are there
			l.proxy.SetDelay(delay)
			all := records(1, tt.n)
			all[9].locale, all[tt.n-1].locale = "xx", "xx"
			l.deliver(all...).want(verdicts{stored: fmt.Sprintf("1-9 11-%d", tt.n-1), rejected(bySome): fmt.Sprint("10 ", tt.n)}).inserts(tt.n - 7).costs(tt.trips)
			l.holds(fmt.Sprintf("1-9 11-%d", tt.n-1))
			if got := l.db.Count(t, "SELECT count(DISTINCT tx) FROM user_logins"); got != 2 {
				t.Errorf("two batches were stored by %d transactions", got)
			}
			l.db.Exec(t, "ALTER TABLE user_logins DROP CONSTRAINT somewhere")
			l.deliver(all...).must().inserts(2)
			l.holds(fmt.Sprintf("1-%d", tt.n))
		}
	})
}

// TestLedgerWithATriggerThatDiscards shows that nothing is half stored: what the table does not
// get, the ledger does not get either.
func TestLedgerWithATriggerThatDiscards(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, n := range []int{20, 300} {
			l := newLedgered(t, mode, noNowhere+forgetful)
			all := records(1, n)
			all[4].locale, all[5].locale = "zz", "zz"
			all[7].locale = "xx"
			kept := fmt.Sprintf("1-4 7 9-%d", n)
			l.deliver(all...).want(verdicts{stored: kept, discarded: "5-6", rejected(bySome): "8"}).inserts(n - 3)
			l.holds(kept)
			l.db.Exec(t, "DROP TRIGGER forget ON user_logins")
			l.deliver(all...).want(verdicts{stored: fmt.Sprintf("1-7 9-%d", n), rejected(bySome): "8"}).inserts(2)
			l.holds(fmt.Sprintf("1-7 9-%d", n))
		}
	})
}

// TestLedgerOfAFIFOQueue wants nothing stored after a message that is refused or discarded, and its
// group to go on with the next delivery.
func TestLedgerOfAFIFOQueue(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		l := newLedgered(t, mode, noNowhere+forgetful)
		all := records(1, 9)
		for i := range all {
			all[i].group = 1 + i%3 // 1 4 7, 2 5 8 and 3 6 9
		}
		all[3].locale = "xx" // 4
		all[1].locale = "zz" // 2
		l.deliver(all...).want(verdicts{stored: "1 3 6 9", rejected(bySome): "4", discarded: "2", afterStopped: "5 7-8"}).inserts(4)
		l.holds("1 3 6 9")
		l.db.Exec(t, "DROP TRIGGER forget ON user_logins")
		l.deliver(slices.Delete(all, 3, 4)...).must().inserts(4)
		l.holds("1-3 5-9")
	})
}

// TestLedgerUnderConcurrentDeliveries has many connections insert the same messages, of which some
// are refused.
func TestLedgerUnderConcurrentDeliveries(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		const workers, rounds = 6, 15
		l := newLedgered(t, mode, noNowhere)
		inserted := make([]int, workers)
		var working sync.WaitGroup
		for w := range workers {
			working.Go(func() {
				for round := range rounds {
					all := records(int64(1+round*20), 40)
					all[13].locale = "xx"
					all[33].locale = "xx" // the same message as 13 of the next round
					o := l.deliver(all...)
					if o.err != nil {
						t.Error(o.err)
					}
					inserted[w] += o.Tallies.Sum().Inserted
				}
			})
		}
		working.Wait()
		sum := 0
		for _, n := range inserted {
			sum += n
		}
		if got := l.db.Count(t, "SELECT count(*) FROM user_logins"); got != int64(sum) {
			t.Errorf("the table holds %d rows, and the results say that %d are new", got, sum)
		}
		var want []int64
		for n := range int64(rounds*20 + 20) {
			if n%20 != 13 {
				want = append(want, n+1)
			}
		}
		l.holds(ranges(want))
	})
}
