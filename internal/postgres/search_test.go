package postgres_test

import (
	"context"
	"fmt"
	"testing"
)

// oneWord makes words unique, beside the key.
const oneWord = createEvents + "ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word);"

const (
	byOneWord   = "23505 constraint one_word"
	noBadWord   = "ALTER TABLE events ADD CONSTRAINT no_bad_word CHECK (word NOT LIKE '%bad%') NOT VALID;"
	byNoBadWord = "23514 constraint no_bad_word"
)

// TestRowsThatCollideWithEachOther wants the first one stored of the rows of a batch that exclude
// each other.
func TestRowsThatCollideWithEachOther(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, tt := range []struct {
			n, trips int
			same     []int64
		}{
			{n: 10, trips: 2, same: []int64{3, 7}},
			{n: 64, trips: 2, same: []int64{1, 2, 30, 64}},
			{n: 65, trips: 4, same: []int64{1, 65}},     // in different chunks
			{n: 1000, trips: 4, same: []int64{40, 41}},  // in one chunk
			{n: 1000, trips: 4, same: []int64{1, 1000}}, // in the first and the last
		} {
			t.Run(fmt.Sprint(tt.n, " rows, the same word in ", tt.same), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{sql: oneWord, mode: mode})
				s.warm()
				rows := goods(1, tt.n)
				later := map[int64]bool{}
				for i, id := range tt.same {
					rows[id-1].word = canary + "same"
					later[id] = i > 0
				}
				kept, refused := split(rows, later)
				s.insert(rows...).want(verdicts{stored: kept, rejected(byOneWord): refused}).costs(tt.trips)
				s.storedAtOnce(rows, tt.n-len(tt.same)+1)
			})
		}
	})
}

// TestTheFirstOfCollidingRowsIsStored has the first of them in a piece that is refused for another
// reason: it is tried before later ones all the same.
func TestTheFirstOfCollidingRowsIsStored(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{sql: oneWord + noBadWord})
	rows := goods(1, 1000)
	rows[2].word, rows[899].word = canary+"same", canary+"same" // ids 3 and 900
	badWord(&rows[0])
	s.insert(rows...).want(verdicts{stored: "2-899 901-1000", rejected(byOneWord): "900", rejected(byNoBadWord): "1"})
}

// TestRowsThatNeedEachOther wants a row that refers to an earlier one of its batch stored, also
// when others are refused, and refused itself if that one is.
func TestRowsThatNeedEachOther(t *testing.T) {
	t.Parallel()
	const references = createEvents + noBadWord + "ALTER TABLE events ADD u integer GENERATED ALWAYS AS (id) STORED UNIQUE, ADD CONSTRAINT earlier FOREIGN KEY (n) REFERENCES events (u);"
	for _, n := range []int{20, 500} {
		t.Run(fmt.Sprint(n, " rows"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: references})
			rows := goods(1, n)
			for i := range rows {
				rows[i].n = nil
			}
			rows[9].n = 3   // 10 refers to 3,
			rows[11].n = 10 // 12 to 10,
			rows[14].n = 7  // and 15 to 7, which is refused
			badWord(&rows[6])
			s.insert(rows...).want(verdicts{
				stored: fmt.Sprintf("1-6 8-14 16-%d", n), rejected(byNoBadWord): "7", rejected("23503 constraint earlier"): "15",
			})
		})
	}
}

// TestRedeliveredRowsAreStored mixes rows that are there with new ones and with such that are
// refused.
func TestRedeliveredRowsAreStored(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, tt := range []struct {
			n        int
			expected int
		}{{60, 2}, {600, 3}} {
			s := newSite(t, setup{sql: createEvents + noBadWord, mode: mode})
			s.warm()
			half := int64(tt.n / 2)
			s.insert(goods(1, tt.n/2)...).must()
			rows := goods(1, tt.n)
			badWord(&rows[tt.n-2])
			s.redeliver(rows...).want(verdicts{
				stored: fmt.Sprintf("1-%d %d", tt.n-2, tt.n), rejected(byNoBadWord): fmt.Sprint(tt.n - 1),
			}).inserts(tt.n/2 - 1).costs(tt.expected)
			if got, want := s.stored(), fmt.Sprintf("1-%d %d", tt.n-2, tt.n); got != want {
				t.Errorf("stored %s, want %s", got, want)
			}
			if got := s.db.Count(t, "SELECT count(DISTINCT tx) FROM events WHERE id <= $1", half); got != 1 {
				t.Errorf("rows that were there were stored by %d transactions, want 1", got)
			}
		}
	})
}

// TestARowThatIsThereIsNeverRejected has rows that were stored before a constraint came that refuses
// them now.
func TestARowThatIsThereIsNeverRejected(t *testing.T) {
	t.Parallel()
	for _, n := range []int{10, 100} {
		s := newSite(t, setup{})
		rows := goods(1, n)
		badWord(&rows[1])
		badWord(&rows[2])
		s.insert(rows[:2]...).must()
		s.db.Exec(t, noBadWord)
		s.insert(rows...).want(verdicts{stored: fmt.Sprintf("1-2 4-%d", n), rejected(byNoBadWord): "3"}).inserts(n - 3)
	}
}

// TestAConcurrentDeliveryWinsTheRace stores the same rows from another connection in the one moment
// in which ON CONFLICT does not help: after the look into the key's index, and before the rows get
// into the index of another unique constraint. That one refuses them, and yet they are stored.
func TestAConcurrentDeliveryWinsTheRace(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 100} {
		t.Run(fmt.Sprint(n, " rows"), func(t *testing.T) {
			t.Parallel()
			// Indexes are filled in the order of their creation. The first one waits for a lock in
			// the session that is set to.
			s := newSite(t, setup{sql: `CREATE TABLE events (id bigint NOT NULL, word text, n integer, tx xid8 DEFAULT pg_current_xact_id());
				CREATE FUNCTION waiting(word text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
					BEGIN
						IF current_setting('sluice.waits', true) = 'yes' THEN PERFORM pg_advisory_xact_lock_shared(hashtext(current_schema())); END IF;
						RETURN word;
					END $$;
				CREATE INDEX ON events (waiting(word));
				ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word);
				ALTER TABLE events ADD PRIMARY KEY (id)`})
			first := openStore(t, s.db.URL, events)
			second := openStore(t, withOption(t, s.db.URL, "-csluice.waits=yes"), events)
			gate := s.db.Conn(t)
			if _, err := gate.Exec(t.Context(), "SELECT pg_advisory_lock(hashtext(current_schema()))"); err != nil {
				t.Fatal(err)
			}
			waited := make(chan *outcome)
			go func() {
				waited <- insertInto(t, second, goods(1, n)...)
			}()
			eventually(t, "the second delivery waits at the gate", func() bool {
				return s.sessions("wait_event = 'advisory'") == 1
			})
			if _, err := first.Insert(t.Context(), batchOf(goods(1, n))); err != nil {
				t.Fatal(err)
			}
			if _, err := gate.Exec(t.Context(), "SELECT pg_advisory_unlock_all()"); err != nil {
				t.Fatal(err)
			}
			o := <-waited
			o.must().inserts(0)
			if o.RoundTrips < 2 {
				t.Errorf("got %d round trips: nothing was refused, and the test shows nothing", o.RoundTrips)
			}
			if got, want := s.stored(), fmt.Sprintf("1-%d", n); got != want {
				t.Errorf("stored %s, want %s", got, want)
			}
		})
	}
}

func idsOf(rows []row) []int64 {
	ids := make([]int64, len(rows))
	for i, r := range rows {
		ids[i] = r.id
	}
	return ids
}

// discarding is the SQL of a trigger that discards rows.
const discarding = `CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.word LIKE '%discard%' THEN RETURN NULL; END IF;
			RETURN NEW;
		END $$;
	CREATE TRIGGER discard BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION discard();`

func toDiscard(r *row) { r.word = fmt.Sprint(canary, "discard-", r.id) }

// TestDiscardedRowsAreReturned wants a row stored only if that is confirmed: a trigger discards it
// without an error, alone and beside refused ones.
func TestDiscardedRowsAreReturned(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		for _, n := range []int{20, 300} {
			s := newSite(t, setup{sql: createEvents + noBadWord + discarding, mode: mode})
			s.warm()
			rows := goods(1, n)
			toDiscard(&rows[4])
			toDiscard(&rows[n-1])
			s.insert(rows...).want(verdicts{stored: fmt.Sprintf("1-4 6-%d", n-1), discarded: fmt.Sprint("5 ", n)}).inserts(n - 2).costs(3) // one to find out why

			rows = goods(1001, n)
			toDiscard(&rows[4])
			badWord(&rows[6])
			s.insert(rows...).want(verdicts{stored: fmt.Sprintf("1001-1004 1006 1008-%d", 1000+n), discarded: "1005", rejected(byNoBadWord): "1007"}).inserts(n - 2)

			rows = goods(2001, n)
			for i := range rows {
				toDiscard(&rows[i])
			}
			s.insert(rows...).want(verdicts{discarded: fmt.Sprintf("2001-%d", 2000+n)}).inserts(0)
		}
	})
}

// TestNothingIsStoredUntilItIsCommitted breaks the search of a large batch when chunks of it
// have been stored that are not committed.
func TestNothingIsStoredUntilItIsCommitted(t *testing.T) {
	t.Parallel()
	const n = 400 // in 20 chunks
	rows := goods(1, n)
	badWord(&rows[0])
	for when, held := range map[string]int64{
		"while chunks are tried":          n - 10,
		"while rows of a chunk are tried": 5,
	} {
		for reason, breaks := range map[string]func(s *site, cancel func()){
			"stopped": func(_ *site, cancel func()) { cancel() },
			"connection lost": func(s *site, _ func()) {
				s.proxy.Refuse(true)
				s.proxy.Cut()
			},
			"session terminated": func(s *site, _ func()) {
				s.proxy.Refuse(true)
				s.signal("pg_terminate_backend", "wait_event_type = 'Lock'")
			},
		} {
			t.Run(when+", "+reason, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{sql: createEvents + noBadWord})
				s.warm()
				release := s.hold(held)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s.whenItWaits(func() { breaks(s, cancel) })
				o := s.insertBy(ctx, rows...)
				if o.err == nil {
					t.Error("got no error")
				}
				o.verdicts(verdicts{unconfirmed: fmt.Sprintf("1-%d", n)}).inserts(0)
				release()
			})
		}
	}
}
