package postgres_test

import (
	"context"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/postgres"
)

// raisingState is a table whose rows are refused with the SQLSTATE that their word
// ends in, if it is "canary-raise " and five characters.
const raisingState = createEvents + `
	CREATE FUNCTION raising() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF NEW.word LIKE 'canary-raise %' THEN RAISE EXCEPTION 'no %', NEW.word USING ERRCODE = right(NEW.word, 5), DETAIL = NEW.word; END IF;
			RETURN NEW;
		END $$;
	CREATE TRIGGER raising BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION raising()`

// TestWhoseFaultAnSQLSTATEIs raises one of each class, and those that are
// unlike their class: for one row of three, and for all three.
func TestWhoseFaultAnSQLSTATEIs(t *testing.T) {
	t.Parallel()
	const byRow = message.Cause("row") // no error: the rows that raise it are rejected, and only they
	for _, tt := range []struct {
		states   []string
		one, all message.Cause
	}{
		{[]string{"20000", "21000", "22000", "22001", "22P02", "23000", "23502", "23505", "23514", "2F000", "38000", "39000", "44000", "54000", "P0001", "P0002"}, byRow, byRow},
		{[]string{"SL001", "99999"}, byRow, byRow}, // of no class of Postgres's: somebody raised it on purpose
		{
			[]string{"08000", "08006", "25000", "25006", "26000", "40001", "40P01", "42P05", "53000", "53100", "53200", "53300", "55006", "55P03", "57000", "57014", "57P01", "57P03", "58000", "58030"},
			message.CauseMoment, message.CauseMoment,
		},
		{[]string{"0A000", "28000", "28P01", "3D000", "3F000", "42000", "42703", "42P01", "42P10", "55000", "57P04"}, message.CauseOperator, message.CauseOperator},
		{[]string{"42501"}, byRow, message.CauseOperator}, // row-level security, or a missing grant
		// Of those that are not listed nobody knows: a row's own when others pass, else the moment's.
		{[]string{"0B000", "24000", "2D000", "34000", "54001", "72000", "F0000", "HV000", "XX000", "XX001"}, byRow, message.CauseMoment},
	} {
		for _, state := range tt.states {
			t.Run(state, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{sql: raisingState})
				s.store = openStore(t, s.proxy.URL, events, postgres.WithSleep(func(context.Context, time.Duration) bool { return true })) // moments are tried again
				raise := func(id int64) row { return row{id: id, word: canary + "raise " + state, n: 1} }
				refused := rejected(state)
				o := s.insert(good(1), raise(2), good(3))
				if tt.one == byRow {
					o.want(verdicts{stored: "1 3", refused: "2"})
				} else {
					o.blames(tt.one, "SQLSTATE "+state).inserts(0)
				}
				o = s.insert(raise(4), raise(5), raise(6))
				if tt.all == byRow {
					o.want(verdicts{refused: "4-6"})
				} else {
					o.blames(tt.all, "SQLSTATE "+state).inserts(0)
				}
			})
		}
	}
}

// TestTheServersOwnTimeouts are faults of the moment: what held it up passes.
func TestTheServersOwnTimeouts(t *testing.T) {
	t.Parallel()
	for option, state := range map[string]string{"-c lock_timeout=50ms": "55P03", "-c statement_timeout=200ms": "57014"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{})
			release := s.hold(2)
			s.store = openStore(t, withOption(t, s.proxy.URL, option), events)
			s.insert(goods(1, 3)...).blames(message.CauseMoment, "SQLSTATE "+state).verdicts(verdicts{unproven: "1-3"})
			release()
			s.insert(goods(1, 3)...).must()
		})
	}
}
