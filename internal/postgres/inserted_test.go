package postgres_test

import (
	"context"
	"errors"
	"testing"

	"example.com/owner/sluice/internal/message"
)

// gate is the SQL of a table base and of a view of it, which takes rows and, once base has more
// than one, waits whenever somebody reads them: what an insert has committed cannot be looked up
// then.
func gate(view string) string {
	return `CREATE FUNCTION gate() RETURNS boolean LANGUAGE plpgsql AS $$
			BEGIN
				IF (SELECT count(*) FROM base) > 1 THEN PERFORM pg_advisory_xact_lock_shared(hashtext(current_schema())); END IF;
				RETURN true;
			END $$;
		CREATE VIEW ` + view + ` AS SELECT * FROM base WHERE gate();`
}

const shutGate = "SELECT pg_advisory_xact_lock(hashtext(current_schema()))"

// TestNothingIsInsertedThatIsNotStored ends the look-up of keys after an insert that has committed:
// what the answer does not confirm does not count as new either. Otherwise the number of duplicates
// would be negative.
func TestNothingIsInsertedThatIsNotStored(t *testing.T) {
	t.Parallel()
	const sql = "CREATE TABLE base (id bigint PRIMARY KEY, word text, n integer); INSERT INTO base VALUES (1);"
	for _, tt := range []struct {
		name  string
		ends  func(s *site, cancel, open func())
		check func(s *site, o *outcome)
	}{
		{
			name: "for good",
			ends: func(_ *site, cancel, _ func()) { cancel() },
			check: func(s *site, o *outcome) {
				if !errors.Is(o.err, context.Canceled) {
					s.Errorf("got error %v, want %v", o.err, context.Canceled)
				}
				o.verdicts(verdicts{unconfirmed: "1-4"}).inserts(0)
			},
		},
		{
			name: "and is tried again, which finds them all",
			ends: func(s *site, _, open func()) {
				s.signal("pg_terminate_backend", "wait_event = 'advisory'")
				open()
			},
			check: func(_ *site, o *outcome) { o.must().inserts(3) },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				s := newSite(t, setup{sql: sql + gate("events"), mode: mode})
				open := s.inTransaction(shutGate)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				s.whenItWaits(func() { tt.ends(s, cancel, open) })
				tt.check(s, s.insertBy(ctx, goods(1, 4)...))
				open()
				s.insert(goods(1, 4)...).must().inserts(0)
				if got := s.stored(); got != "1-4" {
					t.Errorf("stored %s, want 1-4", got)
				}
			})
		})
	}
}

// TestNothingOfAFIFOBatchIsInsertedThatIsNotStored is the same for rows that are stored once a
// refused one has been found.
func TestNothingOfAFIFOBatchIsInsertedThatIsNotStored(t *testing.T) {
	t.Parallel()
	l := newLedgered(t, "", noNowhere+"ALTER TABLE sluice_ledger RENAME TO base;"+gate("sluice_ledger"))
	all := records(1, 4)
	for i := range all {
		all[i].group = 1
	}
	all[3].locale = "xx"
	l.deliver(all[0]).must()
	open := l.inTransaction(shutGate)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.whenItWaits(cancel)
	l.deliverBy(ctx, all...).blames(message.CauseTransient).verdicts(verdicts{unconfirmed: "1-4"}).inserts(0)
	open()
	l.deliver(all...).want(verdicts{stored: "1-3", rejected(bySome): "4"}).inserts(0)
	l.holds("1-3")
}
