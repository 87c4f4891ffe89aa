package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/message"
)

// TestAServerThatDoesNotReactIsAskedSeldom has a server that takes requests to cancel and goes on,
// as if its disk hangs. Each request costs it a connection and a process, so in two seconds there
// may not be hundreds.
func TestAServerThatDoesNotReactIsAskedSeldom(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{sql: createEvents + `
		CREATE FUNCTION hang() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN
				LOOP
					BEGIN
						PERFORM pg_advisory_xact_lock_shared(hashtext(current_schema()));
						RETURN NEW;
					EXCEPTION WHEN query_canceled THEN NULL;
					END;
				END LOOP;
			END $$;
		CREATE TRIGGER hang BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION hang()`})
	release := s.inTransaction(shutGate)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.whenItWaits(cancel)
	s.insertBy(ctx, goods(1, 1)...).blames(message.CauseTransient).verdicts(verdicts{unconfirmed: "1"})
	time.Sleep(2 * time.Second)
	// 8 pauses of 5 ms, 10 ms and so on are 1.3 seconds; pgx asks once more.
	if got := s.proxy.Cancels(); got < 2 || got > 40 {
		t.Errorf("%d requests to cancel in two seconds, want about 10", got)
	}
	release()
	eventually(t, "the insert has ended", func() bool { return !s.waits() })
}

// TestAServerThatReactsIsAskedAtOnce has a round trip of statements that all wait for locks of
// another session. It takes a request to end each of them, and with a pause of a second between two
// they would lock out others for minutes.
func TestAServerThatReactsIsAskedAtOnce(t *testing.T) {
	t.Parallel()
	const n = 80
	s := newSite(t, setup{sql: createEvents + noBadWord})
	s.warm()
	rows := inGroups(strings.Repeat("a", n), goods(1, n))
	badWord(&rows[0])
	release := s.hold(idsFrom(2, n)...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var session string
	s.whenItWaits(func() {
		session = s.db.Rows(t, "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", s.db.Schema)[0][0]
		cancel()
	})
	s.insertBy(ctx, rows...).verdicts(verdicts{unconfirmed: fmt.Sprintf("1-%d", n)})
	eventually(t, "the session has come to the end of the round trip", func() bool {
		return s.db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE pid = $1::text::integer", session) == 0
	})
	release()
}
