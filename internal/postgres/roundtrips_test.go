package postgres_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/postgres"
)

// delay is what the proxies of these tests take in each direction, so that the client waits for
// every round trip, however fast the server is.
const delay = 3 * time.Millisecond

// TestAWarmBatchCostsOneRoundTrip shows the promise of the happy path.
func TestAWarmBatchCostsOneRoundTrip(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{mode: mode})
		s.warm()
		s.proxy.SetDelay(delay)
		next := int64(1)
		for _, n := range []int{1, 10, 1000, 5000} {
			began := time.Now()
			s.insert(goods(next, n)...).must().inserts(n).costs(1)
			t.Logf("%d rows: 1 round trip of %v, in %v", n, 2*delay, time.Since(began).Round(time.Millisecond))
			next += int64(n)
		}
		if got := s.db.Count(t, "SELECT count(DISTINCT tx) FROM events"); got != 4 {
			t.Errorf("4 batches were stored by %d transactions, want one each", got)
		}
	})
}

// TestAColdBatchCostsTheConnectionAndOneRoundTrip shows that preparing costs none.
func TestAColdBatchCostsTheConnectionAndOneRoundTrip(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{mode: mode})
		conn, err := pgx.Connect(t.Context(), s.proxy.URL)
		if err != nil {
			t.Fatal(err)
		}
		connecting := s.proxy.RoundTrips()
		if err := conn.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.proxy.SetDelay(delay)
		cold := s.insert(goods(1, 100)...).must()
		if cold.RoundTrips != 1 || cold.trips != connecting+1 {
			t.Errorf("got %d round trips and %d on the wire, want 1 and %d to connect more", cold.RoundTrips, cold.trips, connecting)
		}
		s.insert(goods(101, 100)...).must().costs(1)
	})
}

// TestOnlyTheDefaultModeNamesItsStatement asks the sessions themselves: with a pooler, a name may
// belong to another client.
func TestOnlyTheDefaultModeNamesItsStatement(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]int64{"": 1, "exec": 0} {
		s := newSite(t, setup{mode: mode, sql: createEvents + noBadWord + `
			CREATE FUNCTION named() RETURNS bigint RETURN (SELECT count(*) FROM pg_prepared_statements);
			ALTER TABLE events ADD named bigint DEFAULT named()`})
		rows := goods(1, 3)
		badWord(&rows[1])
		s.insert(rows...)
		s.insert(goods(11, 3)...).must()
		if got := s.db.Count(t, "SELECT count(*) FROM events WHERE named = $1", want); got != 5 {
			t.Errorf("mode %q: %d of 5 rows saw %d prepared statements in their session", mode, got, want)
		}
	}
}

// TestABatchThatIsThereCostsTwoRoundTrips shows that redelivered rows are looked up: the second
// round trip confirms that they are stored.
func TestABatchThatIsThereCostsTwoRoundTrips(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{mode: mode})
		s.warm()
		s.proxy.SetDelay(delay)
		s.insert(goods(1, 500)...).must().inserts(500).costs(1)
		s.redeliver(goods(1, 500)...).must().inserts(0).costs(2)
		s.redeliver(goods(251, 500)...).must().inserts(250).costs(2) // half are new
		if got := s.stored(); got != "1-750" {
			t.Errorf("stored %s, want 1-750", got)
		}
	})
}

// refusal is a way in which the server refuses rows.
type refusal struct {
	name   string
	sql    string // makes the table dislike what spoil does
	spoil  func(*row)
	blame  string // SQLSTATE, and the constraint or column
	grants func(role string) []string
}

func badWord(r *row)  { r.word = fmt.Sprint(canary, "bad-", r.id) }
func sameWord(r *row) { r.word = canary + "taken" }
func two(r *row)      { r.n = 2 }
func noNumber(r *row) { r.n = nil }

// raising returns the SQL of a trigger that raises bad words with an SQLSTATE.
func raising(trigger, state string) string {
	return fmt.Sprintf(`CREATE FUNCTION dislike() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.word LIKE '%%bad%%' THEN RAISE EXCEPTION 'I dislike %%', NEW.word USING ERRCODE = '%s', DETAIL = NEW.word, HINT = NEW.word; END IF;
			RETURN NEW;
		END $$;
		CREATE %s FOR EACH ROW EXECUTE FUNCTION dislike()`, state, trigger)
}

const (
	beforeInsert = "TRIGGER dislike BEFORE INSERT ON events"
	atCommit     = "CONSTRAINT TRIGGER dislike AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED"
	taken        = "; INSERT INTO events VALUES (0, '" + canary + "taken')"
	parents      = "CREATE TABLE parents (n integer PRIMARY KEY); INSERT INTO parents VALUES (1);"
)

var refusals = []refusal{
	{name: "check", sql: "ALTER TABLE events ADD CONSTRAINT no_bad_word CHECK (word NOT LIKE '%bad%')", spoil: badWord, blame: "23514 constraint no_bad_word"},
	{name: "narrower column", sql: "ALTER TABLE events ALTER word TYPE varchar(20)", spoil: func(r *row) { r.word = canary + "a word that is too long" }, blame: "22001"},
	{name: "not null", sql: "ALTER TABLE events ALTER n SET NOT NULL", spoil: noNumber, blame: "23502 column n"},
	{name: "foreign key", sql: parents + "ALTER TABLE events ADD CONSTRAINT parent FOREIGN KEY (n) REFERENCES parents", spoil: two, blame: "23503 constraint parent"},
	{name: "another unique key", sql: "ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word)" + taken, spoil: sameWord, blame: "23505 constraint one_word"},
	{name: "exclusion", sql: "ALTER TABLE events ADD CONSTRAINT no_twin EXCLUDE USING btree (word WITH =)" + taken, spoil: sameWord, blame: "23P01 constraint no_twin"},
	{name: "generated column", sql: "ALTER TABLE events ADD share integer GENERATED ALWAYS AS (6 / (2 - n)) STORED", spoil: two, blame: "22012"},
	{name: "domain", sql: "CREATE DOMAIN nice AS text CONSTRAINT nice_word CHECK (value NOT LIKE '%bad%'); ALTER TABLE events ALTER word TYPE nice", spoil: badWord, blame: "23514 constraint nice_word"},
	{name: "trigger", sql: raising(beforeInsert, "P0001"), spoil: badWord, blame: "P0001"},
	{name: "trigger with a code of its own", sql: raising(beforeInsert, "SL001"), spoil: badWord, blame: "SL001"},
	{name: "trigger with the code of the SQL manuals", sql: raising(beforeInsert, "45000"), spoil: badWord, blame: "45000"},
	{name: "trigger that calls it a check", sql: raising(beforeInsert, "23514"), spoil: badWord, blame: "23514"},
	{name: "trigger afterwards", sql: raising("TRIGGER dislike AFTER INSERT ON events", "P0001"), spoil: badWord, blame: "P0001"},
	{name: "deferred trigger", sql: raising(atCommit, "P0001"), spoil: badWord, blame: "P0001"},
	{name: "deferred unique key", sql: "ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word) DEFERRABLE INITIALLY DEFERRED" + taken, spoil: sameWord, blame: "23505 constraint one_word"},
	{name: "deferred foreign key", sql: parents + "ALTER TABLE events ADD CONSTRAINT parent FOREIGN KEY (n) REFERENCES parents DEFERRABLE INITIALLY DEFERRED", spoil: two, blame: "23503 constraint parent"},
	{
		name:  "row-level security",
		sql:   "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY see ON events FOR SELECT USING (true); CREATE POLICY nice ON events FOR INSERT WITH CHECK (word NOT LIKE '%bad%')",
		spoil: badWord, blame: "42501",
		grants: writes,
	},
}

// TestRefusedRowsCostOneOrTwoRoundTripsMore wants, for every kind of refusal, the right rows blamed
// and all others committed by one transaction: in 2 round trips for up to 64 rows, and in 3 above, or
// 4 if what refuses them may have been a second delivery, or that they are in several statements.
func TestRefusedRowsCostOneOrTwoRoundTripsMore(t *testing.T) {
	t.Parallel()
	sizes := []struct{ n, trips int }{{10, 2}, {64, 2}, {65, 3}, {300, 3}, {5000, 3}}
	for i, kind := range refusals {
		if i > 0 {
			sizes = sizes[:unlessThorough(4, 5)] // the first is enough for many rows
		}
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: createEvents + kind.sql, grants: kind.grants})
			s.warm()
			s.proxy.SetDelay(delay)
			next := int64(1)
			for _, size := range sizes {
				for _, refused := range []int{1, 5, size.n / 2} {
					rows := goods(next, size.n)
					next += int64(size.n)
					bad := map[int64]bool{}
					for i := range refused {
						at := (2*i + 1) * size.n / (2 * refused) // spread over the batch
						kind.spoil(&rows[at])
						bad[rows[at].id] = true
					}
					goodOnes, badOnes := split(rows, bad)
					o := s.insert(rows...)
					o.want(verdicts{stored: goodOnes, rejected(kind.blame): badOnes})
					trips := size.trips
					if size.n > 64 && strings.HasPrefix(kind.blame, "23505") && !strings.HasPrefix(kind.name, "deferred") {
						trips++
					}
					if size.n > postgres.StatementRows && strings.HasPrefix(kind.name, "trigger") {
						trips++
					}
					o.inserts(size.n - refused).costs(trips)
					s.storedAtOnce(rows, size.n-refused)
					if t.Failed() {
						t.Fatalf("that was with %d of %d rows refused", refused, size.n)
					}
				}
			}
		})
	}
}

// storedAtOnce checks that some of the rows are in the table, each once, and by one transaction.
func (s *site) storedAtOnce(rows []row, want int) {
	s.Helper()
	first, last := rows[0].id, rows[len(rows)-1].id
	got := s.db.Rows(s, "SELECT count(*), count(DISTINCT tx) FROM events WHERE id BETWEEN $1 AND $2", first, last)[0]
	if got[0] != fmt.Sprint(want) || got[1] != "1" {
		s.Errorf("got %s rows by %s transactions, want %d by 1", got[0], got[1], want)
	}
}

// TestAReaderSeesAllGoodRowsOrNone looks from outside while refused rows are searched for.
func TestAReaderSeesAllGoodRowsOrNone(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		const n, refused, rounds = 1000, 100, 5
		s := newSite(t, setup{mode: mode, sql: createEvents + noBadWord})
		reader := s.db.Conn(t)
		ended := make(chan struct{})
		var looking sync.WaitGroup
		looking.Go(func() {
			for looks := true; looks; {
				select {
				case <-ended:
					looks = false // once more
				default:
				}
				var count int
				if err := reader.QueryRow(t.Context(), "SELECT count(*) FROM events").Scan(&count); err != nil {
					t.Error(err)
					return
				}
				if count%(n-refused) != 0 {
					t.Errorf("a reader saw %d rows, want a multiple of %d", count, n-refused)
				}
			}
		})
		for round := range rounds {
			rows := goods(int64(round*n), n)
			for i := 0; i < n; i += n / refused {
				badWord(&rows[i])
			}
			s.insert(rows...).inserts(n - refused)
		}
		close(ended)
		looking.Wait()
	})
}
