package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// eventsWithForm is events with a column that holds by which form of the insert the row came.
const eventsWithForm = createEvents + "ALTER TABLE events ADD form text DEFAULT CASE WHEN current_query() LIKE '%ON CONFLICT%' THEN 'skipping' ELSE 'first' END;"

// forms returns by which forms of the insert the rows of a range of ids came.
func (s *site) forms(first, last int64) (all string) {
	s.Helper()
	for _, r := range s.db.Rows(s, "SELECT DISTINCT form FROM events WHERE id BETWEEN $1 AND $2 ORDER BY form", first, last) {
		all += r[0] + " "
	}
	return all
}

// TestWhoIsInsertedWithoutALook wants ON CONFLICT where a row may be stored already, and where it has
// to prove that there is a key, and nowhere else.
func TestWhoIsInsertedWithoutALook(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		now := time.Now()
		s := newSite(t, setup{sql: eventsWithForm + noBadWord, mode: mode})
		clock := postgres.WithClock(func() time.Time { return now })
		s.store = openStore(t, withMode(s.proxy.URL, mode), events, clock)
		next := int64(1)
		want := func(what, form string, deliver func(...row) *outcome) {
			t.Helper()
			deliver(goods(next, 10)...).must().inserts(10).costs(1)
			if got := s.forms(next, next+9); got != form+" " {
				t.Errorf("%s: inserted by %s, want %s", what, got, form)
			}
			next += 10
		}
		s.insert(goods(next, 10)...).must() // it connects
		if got := s.forms(next, next+9); got != "skipping " {
			t.Errorf("the first batch of a connection: inserted by %s", got)
		}
		next += 10
		want("a first delivery", "first", s.insert)
		want("a redelivery", "skipping", s.redeliver)
		want("a first delivery after it", "first", s.insert)
		now = now.Add(61 * time.Second)
		want("after a minute", "skipping", s.insert)
		want("then", "first", s.insert)
		now = now.Add(59 * time.Second)
		s.redeliver(goods(next, 10)...).must()
		next += 10
		now = now.Add(59 * time.Second)
		want("a minute after the last redelivery", "skipping", func(rows ...row) *outcome {
			now = now.Add(2 * time.Second)
			return s.insert(rows...)
		})
		want("on FIFO", "first", func(rows ...row) *outcome { return s.insert(inGroups("aabbccddee", rows)...) })
		rows := goods(next, 10)
		badWord(&rows[3])
		s.insert(rows...).inserts(9)
		if got := s.forms(next, next+9); got != "skipping " {
			t.Errorf("beside a row that is refused: inserted by %s", got)
		}
		next += 10

		other := *events
		other.KeyOfMessage = false
		s.store = openStore(t, withMode(s.proxy.URL, mode), &other, clock)
		s.insert(goods(next, 10)...).must()
		next += 10
		want("a key that several messages can have", "skipping", s.insert)
	})
}

// TestTheAttemptAfterAFaultLooks breaks the connection once the rows are committed: the next attempt
// must find them.
func TestTheAttemptAfterAFaultLooks(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, n := range []int{10, 100, 2500} {
			s := newSite(t, setup{sql: eventsWithForm, mode: mode})
			s.warm()
			s.proxy.Plan(pgtest.Fault{At: pgtest.BeforeAnswer(1)}) // it is committed, and nobody knows
			s.insert(goods(1, n)...).must().inserts(0)
			if got, want := s.stored(), fmt.Sprintf("1-%d", n); got != want {
				t.Errorf("stored %s, want %s", got, want)
			}
			if got := s.forms(1, int64(n)); got != "first " {
				t.Errorf("%d rows: inserted by %s, want the first attempt", n, got)
			}
		}
	})
}

// TestTheProofOfAKeyGrowsOld drops the key below a connection that has proved it.
func TestTheProofOfAKeyGrowsOld(t *testing.T) {
	t.Parallel()
	now := time.Now()
	s := newSite(t, setup{})
	s.store = openStore(t, s.proxy.URL, events, postgres.WithClock(func() time.Time { return now }))
	s.warm()
	s.db.Exec(t, "ALTER TABLE events DROP CONSTRAINT events_pkey")
	s.insert(goods(1, 3)...).must()
	s.redeliver(goods(1, 3)...).blames(message.CauseConfiguration, "42P10")
	now = now.Add(61 * time.Second)
	s.insert(goods(11, 3)...).blames(message.CauseConfiguration, "42P10")
	s.insert(goods(21, 3)...).blames(message.CauseConfiguration, "42P10") // it stays old
	if got := s.stored(); got != "1-3" {
		t.Errorf("stored %s, want 1-3", got)
	}
}

// TestAMessageThatSQSDeliversTwiceAtOnce has rows in the table that nobody has announced. Each is
// stored once, and the others are not held up.
func TestAMessageThatSQSDeliversTwiceAtOnce(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, tt := range []struct {
			n, trips int
			groups   bool
		}{{n: 1, trips: 2}, {n: 10, trips: 2}, {n: 64, trips: 2}, {n: 65, trips: 2}, {n: 2500, trips: 2}, {n: 10, trips: 2, groups: true}} {
			s := newSite(t, setup{sql: eventsWithForm, mode: mode})
			s.warm()
			last := int64(tt.n)
			s.insert(good(last)).must()
			s.proxy.SetDelay(delay)
			rows := goods(1, tt.n)
			if tt.groups {
				rows = inGroups("aaaaabbbbb", rows)
			}
			s.insert(rows...).must().inserts(tt.n - 1).costs(tt.trips)
			if got, want := s.stored(), fmt.Sprintf("1-%d", tt.n); got != want && tt.n > 1 {
				t.Errorf("stored %s, want %s", got, want)
			}
		}
	})
}

// TestALargeBatchIsOneTransaction has batches that are sent in several statements.
func TestALargeBatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	const n = 3500
	inModes(t, func(t *testing.T, mode string) {
		for _, tt := range []struct {
			name, sql string
			spoil     func(*row)
			blame     string
			trips     int
		}{
			{"nothing refused", "", nil, "", 1},
			{"a check", noBadWord, badWord, rejected(byNoBadWord), 3},
			{"another key", "ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word)" + taken, sameWord, rejected("23505 constraint one_word"), 3},
			{"a key that is checked at the end", "ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word) DEFERRABLE INITIALLY DEFERRED" + taken, sameWord, rejected("23505 constraint one_word"), 3},
			{"a trigger at the end", raising(atCommit, "P0001"), badWord, rejected("P0001"), 3},
			{"a row that is discarded", discarding, toDiscard, discarded, 3},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{sql: createEvents + tt.sql, mode: mode})
				s.warm()
				s.proxy.SetDelay(delay)
				for i, deliver := range []func(...row) *outcome{s.redeliver, s.insert} {
					for _, at := range []int{0, 1000, n - 1} { // in the first part, at the beginning of the second, and in the last
						first := int64(10_000*i + 100_000*at + 1)
						rows := goods(first, n)
						want, trips, kept := verdicts{}, tt.trips, n
						if tt.spoil != nil {
							tt.spoil(&rows[at])
							want[tt.blame], kept = fmt.Sprint(rows[at].id), n-1
						}
						goodOnes, _ := split(rows, map[int64]bool{rows[at].id: tt.spoil != nil})
						want[stored] = goodOnes
						if tt.blame == rejected("23505 constraint one_word") && i == 1 {
							trips++ // it may have been a second delivery
						}
						o := deliver(rows...).want(want).inserts(kept)
						if o.RoundTrips > trips {
							t.Errorf("row %d: %d round trips, want %d", at, o.RoundTrips, trips)
						}
						s.storedAtOnce(rows, kept)
					}
				}
			})
		}
	})
}

// TestRowsOfABatchKeepTheOrderOfItsKeys inserts overlapping large batches at once: were their parts
// in different orders, they would lock each other out.
func TestRowsOfABatchKeepTheOrderOfItsKeys(t *testing.T) {
	t.Parallel()
	b := batch.New(events)
	for id := range int64(3000) {
		b.Begin(int(id), 0)
		b.Int8(3000 - id)
		good(1).end(b)
	}
	b.Sort()
	s := newSite(t, setup{sql: createEvents + "ALTER TABLE events ADD place serial"})
	result, err := s.store.Insert(t.Context(), b)
	if err != nil || result.Tallies.Sum().Inserted != 3000 {
		t.Fatal(result.Tallies.Sum().Inserted, err)
	}
	if got := s.db.Count(t, "SELECT count(*) FROM events WHERE place <> id"); got != 0 {
		t.Errorf("%d rows are not in the order of their keys", got)
	}
}

// TestRowsThatTheRoleMayNotSee has a policy that shows some rows. Each delivery of another one is
// returned, the first one too: later ones could not see that it is stored.
func TestRowsThatTheRoleMayNotSee(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{
		sql:    createEvents + "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY see ON events FOR SELECT USING (n = 1); CREATE POLICY every ON events FOR INSERT WITH CHECK (true)",
		grants: writes,
	})
	s.insert(good(1)).must()
	hidden := good(2)
	two(&hidden)
	for _, deliver := range []func(...row) *outcome{s.insert, s.redeliver} {
		deliver(hidden, good(3)).blames(message.CauseConfiguration, "FOR SELECT").verdicts(verdicts{stored: "3", configuration: "2"})
	}
	if got := s.stored(); got != "1 3" {
		t.Errorf("stored %s, want 1 3", got)
	}
}
