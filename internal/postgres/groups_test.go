package postgres_test

import (
	"context"
	"errors"
	"testing"
)

// steps is a table in which rows of a batch can block each other: a word is unique, and n refers to
// the id of another row.
const steps = createEvents + noBadWord + discarding + `
	ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word),
		ADD CONSTRAINT earlier FOREIGN KEY (n) REFERENCES events (id);`

// inGroups gives each row the group at its place: "aab-" are two rows of one group, one of another,
// and one of none.
func inGroups(groups string, rows []row) []row {
	for i := range rows {
		rows[i].n = nil
		if g := groups[i]; g != '-' {
			rows[i].group = int(g-'a') + 1
		}
	}
	return rows
}

// TestOrderedBatches has one case for each way in which a row of a FIFO batch can fail, with the
// verdicts on its group and on the others.
func TestOrderedBatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		groups string // of rows 1, 2, …
		spoil  func(rows []row)
		want   verdicts
		trips  int
	}{
		{
			name: "all good", groups: "abab", spoil: func([]row) {},
			want: verdicts{stored: "1-4"}, trips: 1,
		},
		{
			name: "the first is refused", groups: "aabab", spoil: func(rows []row) { badWord(&rows[0]) },
			want: verdicts{stored: "3 5", rejected(byNoBadWord): "1", afterStopped: "2 4"}, trips: 4,
		},
		{
			name: "the last is refused", groups: "aaaa", spoil: func(rows []row) { badWord(&rows[3]) },
			want: verdicts{stored: "1-3", rejected(byNoBadWord): "4"}, trips: 3,
		},
		{
			name: "all of a group are refused, the first one counts", groups: "aaab", spoil: func(rows []row) { badWord(&rows[0]); badWord(&rows[1]); badWord(&rows[2]) },
			want: verdicts{stored: "4", rejected(byNoBadWord): "1", afterStopped: "2-3"}, trips: 3,
		},
		{
			name: "without a group nothing is held back", groups: "-a-a-", spoil: func(rows []row) { badWord(&rows[0]); badWord(&rows[1]) },
			want: verdicts{stored: "3 5", rejected(byNoBadWord): "1-2", afterStopped: "4"}, trips: 4,
		},
		{
			name: "nothing is left", groups: "ab", spoil: func(rows []row) { badWord(&rows[0]); badWord(&rows[1]) },
			want: verdicts{rejected(byNoBadWord): "1-2"}, trips: 2,
		},
		{
			// 2 goes, so 3 may have its word after all.
			name: "what is held back is in nobody's way", groups: "aabb",
			spoil: func(rows []row) { badWord(&rows[0]); rows[2].word = rows[1].word },
			want:  verdicts{stored: "3-4", rejected(byNoBadWord): "1", afterStopped: "2"}, trips: 4,
		},
		{
			// 2 goes, so 3 refers to nothing, and 4 goes with it.
			name: "what is held back is missed", groups: "aabbc",
			spoil: func(rows []row) { badWord(&rows[0]); rows[2].n = 2 },
			want:  verdicts{stored: "5", rejected(byNoBadWord): "1", afterStopped: "2 4", rejected("23503 constraint earlier"): "3"}, trips: 5,
		},
		{
			name: "a chain of groups", groups: "aabbccdd",
			spoil: func(rows []row) { badWord(&rows[0]); rows[2].n, rows[4].n, rows[6].n = 2, 4, 6 },
			want: verdicts{
				rejected(byNoBadWord): "1", rejected("23503 constraint earlier"): "3 5 7", afterStopped: "2 4 6 8",
			}, trips: 5,
		},
		{
			name: "a discarded row holds its group back", groups: "aaabb", spoil: func(rows []row) { toDiscard(&rows[1]) },
			want: verdicts{stored: "1 4-5", discarded: "2", afterStopped: "3"}, trips: 5, // one to find out why
		},
		{
			name: "a discarded row and a refused one", groups: "aabb", spoil: func(rows []row) { toDiscard(&rows[0]); badWord(&rows[2]) },
			want: verdicts{discarded: "1", rejected(byNoBadWord): "3", afterStopped: "2 4"}, trips: 4, // as before
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				s := newSite(t, setup{sql: steps, mode: mode})
				s.warm()
				s.proxy.SetDelay(delay)
				rows := inGroups(tt.groups, goods(1, len(tt.groups)))
				tt.spoil(rows)
				s.insert(rows...).want(tt.want).costs(tt.trips)
				if got := s.stored(); got != tt.want[stored] {
					t.Errorf("in the table are %q, want %q", got, tt.want[stored])
				}
				if got := s.db.Count(t, "SELECT count(DISTINCT tx) FROM events"); got > 1 {
					t.Errorf("%d transactions stored the batch, want one", got)
				}
			})
		})
	}
}

// TestOrderedRedelivery has a batch twice: what is there is stored, also when it would be refused
// now, and does not hold its group back.
func TestOrderedRedelivery(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	rows := inGroups("aaab", goods(1, 4))
	badWord(&rows[1])
	s.insert(rows[:2]...).must()
	s.db.Exec(t, noBadWord)
	s.insert(rows...).must().inserts(2)
	s.insert(rows...).must().inserts(0)
}

// TestOrderedRefusalsCountOnceTheRestIsStored stops a FIFO batch when its good rows are about to be
// stored: a row may have been refused because of one of those, so it is not rejected either.
func TestOrderedRefusalsCountOnceTheRestIsStored(t *testing.T) {
	t.Parallel()
	// The trigger sees 4 rows of the batch as a whole, 4 of the rehearsal, and waits at the next.
	s := newSite(t, setup{sql: oneWord + `CREATE SEQUENCE seen;
		CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				IF nextval('seen') > 8 THEN PERFORM pg_advisory_xact_lock_shared(hashtext(current_schema())); END IF;
				RETURN NEW;
			END $$;
		CREATE TRIGGER gate BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION gate()`})
	release := s.inTransaction("SELECT pg_advisory_xact_lock(hashtext(current_schema()))")
	rows := inGroups("aabb", goods(1, 4))
	rows[3].word = rows[0].word
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.whenItWaits(cancel)
	o := s.insertBy(ctx, rows...).verdicts(verdicts{unconfirmed: "1-4"}).inserts(0)
	if !errors.Is(o.err, context.Canceled) {
		t.Errorf("got error %v, want %v", o.err, context.Canceled)
	}
	release()
	s.insert(rows...).want(verdicts{stored: "1-3", rejected(byOneWord): "4"}).inserts(3)
}
