package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// kind is a kind of batch. Each has statements of its own, and none may report too early that a row
// is done.
type kind struct {
	name   string
	ledger bool
	fifo   bool
	n      int  // rows
	bad    bool // the database refuses one, so that its rows are searched
}

var kinds = []kind{
	{name: "plain", n: 10},
	{name: "plain, above 64 rows", n: 100},
	{name: "refused", n: 10, bad: true},
	{name: "refused, above 64 rows", n: 100, bad: true},
	{name: "fifo", n: 10, fifo: true},
	{name: "fifo, refused", n: 10, fifo: true, bad: true},
	{name: "ledger", n: 10, ledger: true},
	{name: "ledger, refused", n: 10, ledger: true, bad: true},
	{name: "ledger, refused, above 64 rows", n: 100, ledger: true, bad: true},
	{name: "ledger, fifo, refused", n: 10, ledger: true, fifo: true, bad: true},
}

// source delivers batches of a kind to a store with a table of its own.
type source struct {
	*site
	kind
	table *batch.Table
	plain *model.Model // of the ledger
}

// newSource makes the table, and a store that does not try again: each attempt would wait for the
// standby.
func newSource(t testing.TB, k kind, server *pgtest.Server, mode string) *source {
	t.Helper()
	s := &source{kind: k, table: events}
	ddl := createEvents + noBadWord
	if k.ledger {
		s.plain = loadModel(t, "user_logins_plain")
		s.table = s.plain.Table
		ddl = strings.Join(s.plain.DDL(), ";\n") + ";" + noNowhere
	}
	db := server.New(t, ddl)
	s.site = siteOf(t, db, s.table)
	s.store = openStore(t, withMode(s.proxy.URL, mode), s.table, impatient)
	return s
}

// asksFirst reports whether a batch of the kind waits for the standby before it stores anything: a
// search with message groups rehearses first, and looks the keys up.
func (k kind) asksFirst() bool { return k.fifo && k.bad }

// in returns the source in a subtest.
func (s *source) in(t testing.TB) *source {
	other := *s
	other.site = &site{TB: t, db: s.db, user: s.user, proxy: s.proxy, store: s.store}
	return &other
}

// refuses reports whether the database refuses the row with an id.
func (s *source) refuses(id int64) bool { return s.bad && id%10 == 6 }

// group returns the message group of a row. A refused row stops no other.
func (s *source) group(id int64) int {
	switch {
	case !s.fifo:
		return 0
	case s.refuses(id):
		return 9
	default:
		return 1 + int(id%3)
	}
}

// deliver inserts the batch that begins with an id.
func (s *source) deliver(ctx context.Context, first int64) *outcome {
	s.Helper()
	if s.ledger {
		all := records(first, s.n)
		for i := range all {
			all[i].group = s.group(all[i].number)
			if s.refuses(all[i].number) {
				all[i].locale = "xx"
			}
		}
		return ledgered{s.site, s.plain}.deliverBy(ctx, all...)
	}
	rows := goods(first, s.n)
	for i := range rows {
		rows[i].group = s.group(rows[i].id)
		if s.refuses(rows[i].id) {
			badWord(&rows[i])
		}
	}
	return s.insertBy(ctx, rows...)
}

// delivered wants all of a batch stored, except for the rows that are refused.
func (s *source) delivered(first int64) *outcome {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	kept, refused := s.split(first)
	want := verdicts{stored: kept}
	if s.bad {
		by := byNoBadWord
		if s.ledger {
			by = bySome
		}
		want[rejected(by)] = refused
	}
	return s.deliver(ctx, first).want(want)
}

// split returns the rows that the database takes, and those that it refuses, of the batches that
// begin with the given ids.
func (s *source) split(firsts ...int64) (kept, refused string) {
	in := map[int64]bool{}
	for _, first := range firsts {
		for id := first; id < first+int64(s.n); id++ {
			in[id] = true
		}
	}
	var good, bad []int64
	for _, id := range keysOf(in) {
		if s.refuses(id) {
			bad = append(bad, id)
		} else {
			good = append(good, id)
		}
	}
	return ranges(good), ranges(bad)
}

// holds wants the rows of the batches that begin with the given ids to be in a database, each once,
// and no others.
func (s *source) holds(db *pgtest.DB, firsts ...int64) {
	s.Helper()
	kept, _ := s.split(firsts...)
	if got := s.ids(db); got != kept {
		s.Errorf("the table holds %s, want %s", got, kept)
	}
}

// ids returns the rows of the table, as ranges; a repeated one is a range of its own.
func (s *source) ids(db *pgtest.DB) string {
	s.Helper()
	query := "SELECT id FROM events ORDER BY 1"
	if s.ledger {
		query = "SELECT substr(user_id, 8)::bigint FROM user_logins ORDER BY 1"
	}
	return ranges(numbersIn(s, db, query))
}

// waiting are the sessions of the store whose COMMIT waits for the standby.
const waiting = ofStore + "wait_event = 'SyncRep'"

// cut repeats a query as long as insert runs, calls do whenever the query returns a number of
// sessions that wait for the standby, and returns how often that was.
func (s *source) cut(query string, do, insert func()) (times int) {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.db.URL)
	if err != nil {
		s.Fatal(err)
	}
	defer conn.Close(context.Background())
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		defer do() // also when asking fails: nothing waits forever
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
			}
			var sessions int
			if err := conn.QueryRow(s.Context(), query+waiting, s.db.Schema).Scan(&sessions); err != nil {
				s.Error(err)
				return
			}
			if sessions > 0 {
				do()
				times++
			}
		}
	})
	insert()
	close(done)
	watching.Wait()
	return times
}

// cuts are the ways in which the wait for a standby ends without it. Each delivers a batch and
// returns how often that was seen to wait.
var cuts = []struct {
	name    string
	deliver func(s *source, first int64) (o *outcome, waits int)
}{
	{"the caller gives up", func(s *source, first int64) (o *outcome, waits int) {
		ctx, cancel := context.WithCancel(s.Context())
		defer cancel()
		waits = s.cut("SELECT count(*)", cancel, func() { o = s.deliver(ctx, first) })
		return o, waits
	}},
	{"deadline", func(s *source, first int64) (o *outcome, waits int) {
		for limit := 250 * time.Millisecond; ; limit *= 2 { // the machine may be slow
			ctx, cancel := context.WithTimeout(s.Context(), limit)
			waits = s.cut("SELECT count(*)", func() {}, func() { o = s.deliver(ctx, first) })
			cancel()
			if waits > 0 || limit > time.Minute {
				return o, waits
			}
			o.unconfirmed()
		}
	}},
	{"an administrator cancels", func(s *source, first int64) (o *outcome, waits int) {
		return s.cutByAdministrator("pg_cancel_backend", first)
	}},
	{"an administrator ends the session", func(s *source, first int64) (o *outcome, waits int) {
		return s.cutByAdministrator("pg_terminate_backend", first)
	}},
}

func (s *source) cutByAdministrator(function string, first int64) (o *outcome, waits int) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), time.Minute)
	defer cancel()
	waits = s.cut("SELECT count("+function+"(pid))", func() {}, func() { o = s.deliver(ctx, first) })
	return o, waits
}

// unconfirmed wants no row of a batch stored, and a transient error.
func (o *outcome) unconfirmed() {
	o.Helper()
	if cause := causeOf(o.err); cause != message.CauseTransient {
		o.Errorf("got error %v with cause %q, want one with cause %q", o.err, cause, message.CauseTransient)
	}
	var stored []int64
	for i, v := range o.Verdicts {
		if v.Outcome == message.Stored {
			stored = append(stored, o.ids[i])
		}
	}
	if len(stored) > 0 {
		o.Errorf("without the standby, rows were said to be stored: %s", ranges(stored))
	}
	if o.Tallies.Sum().Inserted != 0 {
		o.Errorf("%d rows were counted as inserted, want none", o.Tallies.Sum().Inserted)
	}
}

// TestNothingIsDoneWithoutTheStandby has a standby that is missing. A batch is not done if the
// standby does not confirm its COMMIT, nor is its redelivery, which finds the rows. Both are done
// once the standby is back.
func TestNothingIsDoneWithoutTheStandby(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	var sources []*source
	for i, k := range kinds {
		s := newSource(t, k, pair.Primary, "")
		if sources = append(sources, s); i%unlessThorough(2, 1) != 0 {
			continue
		}
		// It waits for the standby also where the sessions are set not to.
		off := newSource(t, k, pair.Primary, "")
		off.name += ", synchronous_commit=off"
		off.store = openStore(t, withOption(t, off.proxy.URL, "-csynchronous_commit=off"), off.table, impatient)
		sources = append(sources, off)
		if k.n < 64 && !k.fifo {
			exec := newSource(t, k, pair.Primary, "exec")
			exec.name += ", mode=exec"
			sources = append(sources, exec)
		}
	}
	for _, s := range sources {
		s.delivered(1) // so that a connection is warm
	}
	firstOf := func(cut int) int64 { return int64(1000*cut + 1001) }

	pair.StopStandby(t)
	t.Run("missing", func(t *testing.T) {
		for _, s := range sources {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s := s.in(t)
				for i, cut := range cuts {
					first := firstOf(i)
					o, waits := cut.deliver(s, first)
					o.unconfirmed()
					if waits == 0 {
						t.Error("no COMMIT was seen to wait for the standby: this shows nothing")
					}
					for _, again := range []int64{first, first + 5} { // the same, and one that is there in part
						o, _ := cut.deliver(s, again)
						o.unconfirmed()
					}
					if t.Failed() {
						t.Fatalf("where the wait is cut like this: %s", cut.name)
					}
				}
			})
		}
	})

	pair.ResumeStandby(t)
	t.Run("back", func(t *testing.T) {
		for _, s := range sources {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s := s.in(t)
				firsts := []int64{1}
				for i := range cuts {
					for _, first := range []int64{firstOf(i), firstOf(i) + 5} {
						s.delivered(first)
						s.delivered(first).inserts(0)
						firsts = append(firsts, first)
					}
				}
				s.holds(s.db, firsts...)
			})
		}
	})
}

// TestARedeliveryWaitsLikeTheFirst has two functions with one batch at once.
func TestARedeliveryWaitsLikeTheFirst(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	for _, k := range kinds {
		if k.asksFirst() {
			continue // nothing that another function could wait for
		}
		t.Run(k.name, func(t *testing.T) {
			s := newSource(t, k, pair.Primary, "")
			pair.StopStandby(t)
			first := s.begin(1)
			s.eventuallyWaits("SyncRep", first)
			second := s.begin(1)
			s.eventuallyWaits("transactionid", second) // for the end of the first
			first.end()
			s.eventuallyWaits("SyncRep", second)
			second.end()
			pair.ResumeStandby(t)
			s.delivered(1)
			s.holds(s.db, 1)
		})
	}
}

// pending is a delivery under way. None of its rows may be done.
type pending struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// begin delivers a batch by a store of its own.
func (s *source) begin(first int64) pending {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 2*time.Minute)
	s.Cleanup(cancel)
	other := s.in(s.TB)
	other.store = openStore(s, s.db.URL, s.table, impatient)
	p := pending{cancel, make(chan struct{})}
	go func() {
		defer close(p.done)
		other.deliver(ctx, first).unconfirmed()
	}()
	return p
}

// end cancels a delivery.
func (p pending) end() {
	p.cancel()
	<-p.done
}

// eventuallyWaits waits until a session of the source waits for something, or the delivery has
// ended, which it should not.
func (s *source) eventuallyWaits(what string, p pending) {
	s.Helper()
	eventually(s, "a session waits for "+what, func() bool {
		select {
		case <-p.done:
			s.Errorf("the delivery has not waited for %s", what)
			return true
		default:
			return s.sessions("wait_event = '"+what+"'") > 0
		}
	})
}

// TestAFailOverLosesNothingThatIsDone kills a primary whose last batches the standby never got.
func TestAFailOverLosesNothingThatIsDone(t *testing.T) {
	t.Parallel()
	pair := pgtest.NewPair(t)
	var sources []*source
	for _, k := range kinds {
		s := newSource(t, k, pair.Primary, "")
		s.delivered(1)
		sources = append(sources, s)
	}
	pair.StopStandby(t)
	for _, s := range sources {
		t.Run(s.name+" on the primary", func(t *testing.T) {
			s := s.in(t)
			for range 2 { // a batch, and its redelivery
				o, _ := cuts[0].deliver(s, 1001)
				o.unconfirmed()
			}
			if !s.asksFirst() {
				s.holds(s.db, 1, 1001)
			}
		})
	}
	pair.FailOver(t)
	for _, s := range sources {
		t.Run(s.name+" on the promoted standby", func(t *testing.T) {
			s := s.in(t)
			promoted := pair.Standby.Has(t, s.db)
			s.holds(promoted, 1) // so it would have been wrong to say that 1001 was done
			s.proxy.Redirect(t, promoted.URL)
			s.delivered(1)
			s.delivered(1001)
			s.holds(promoted, 1, 1001)
		})
	}
}

// settingAtCommit returns the SQL of a table seen that gets, for each row of another table, the
// value of synchronous_commit at the COMMIT. SET CONSTRAINTS ALL IMMEDIATE would run the trigger
// sooner: so the first statement defers it again.
func settingAtCommit(table string) string {
	return fmt.Sprintf(`
	CREATE TABLE seen (setting text);
	CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			INSERT INTO seen VALUES (current_setting('synchronous_commit'));
			RETURN NULL;
		END $$;
	CREATE CONSTRAINT TRIGGER see AFTER INSERT ON %[1]s DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION see();
	CREATE FUNCTION see_last() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			SET CONSTRAINTS see DEFERRED;
			RETURN NULL;
		END $$;
	CREATE TRIGGER see_last BEFORE INSERT ON %[1]s FOR EACH STATEMENT EXECUTE FUNCTION see_last();`, table)
}

// TestNoTransactionCommitsAsynchronously sets synchronous_commit wherever it can be set. The
// store's transactions turn off into on; values that wait for more than on, or for less and still
// for the disk, stay as they are.
func TestNoTransactionCommitsAsynchronously(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.ServerConfig{})
	admin := server.New(t)
	var sources []*source
	for _, k := range kinds {
		s := newSource(t, k, server, "")
		s.db.Exec(t, settingAtCommit(s.table.Name))
		sources = append(sources, s)
	}
	role, database, system := "ROLE "+admin.User, "DATABASE postgres", "SYSTEM"
	for i, tt := range []struct{ where, set, want string }{
		{role, "off", "on"},
		{database, "off", "on"},
		{system, "off", "on"},
		{role, "on", "on"},
		{role, "local", "local"},
		{role, "remote_write", "remote_write"},
		{role, "remote_apply", "remote_apply"},
	} {
		admin.Exec(t, "ALTER "+tt.where+" SET synchronous_commit = "+tt.set)
		admin.Exec(t, "SELECT pg_reload_conf()")
		eventually(t, "a new session has synchronous_commit "+tt.set, func() bool { return setting(t, admin) == tt.set })
		t.Run(tt.where+" "+tt.set, func(t *testing.T) {
			for _, s := range sources {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					s := s.in(t)
					s.store = openStore(t, s.proxy.URL, s.table, impatient)
					first := int64(1000*i + 1)
					for _, first := range []int64{first, first + 500} { // the second one by a connection that is warm
						s.db.Exec(t, "TRUNCATE seen")
						s.delivered(first)
						if got := s.db.Rows(t, "SELECT DISTINCT setting FROM seen"); len(got) != 1 || got[0][0] != tt.want {
							t.Errorf("committed with synchronous_commit %v, want %s", got, tt.want)
						}
					}
				})
			}
		})
		admin.Exec(t, "ALTER "+tt.where+" RESET synchronous_commit")
		admin.Exec(t, "SELECT pg_reload_conf()")
	}
}

// setting returns synchronous_commit in a new session that does not set it.
func setting(t testing.TB, db *pgtest.DB) (value string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if err := conn.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}
