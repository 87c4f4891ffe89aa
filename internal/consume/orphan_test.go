package consume_test

import (
	"strings"
	"testing"

	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// newOrphans makes a fixture whose rows refer to rows of another table, which has one for "known".
func newOrphans(t *testing.T, receives int, o fixtureOptions) *fixture {
	t.Helper()
	s := newFixture(t, o)
	s.model.ForeignKeyReceives = receives
	s.db.Exec(t, "CREATE TABLE users (id varchar(128) PRIMARY KEY)")
	s.db.Exec(t, "INSERT INTO users VALUES ('known')")
	s.db.Exec(t, "ALTER TABLE user_logins ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES users")
	return s
}

// TestOrphansWait for the row that they refer to, and are stored by the first delivery after it.
func TestOrphansWait(t *testing.T) {
	t.Parallel()
	s := newOrphans(t, 1000, fixtureOptions{})
	s.queue.Put(sqstest.Message{Body: body("late")}, sqstest.Message{Body: body("known")})
	r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode = consume.Forever }))
	eventually(t, "one is stored, and the other was returned twice", func() bool {
		return s.rows(t) == 1 && strings.Count(s.log.String(), "its row refers to one that is not stored yet") >= 2
	})
	s.db.Exec(t, "INSERT INTO users VALUES ('late')")
	eventually(t, "both are stored", func() bool { return s.rows(t) == 2 })
	r.stop()
	got, err := r.wait()
	if err != nil || got.Stored != 2 || got.Rejected != 0 || got.Returned != got.Causes[message.CauseForeignKey] {
		t.Errorf("got %+v, %v", got, err)
	}
	s.wantEmpty(t)
	if text := s.log.String(); strings.Contains(text, "out of reach") || strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("a missing row is no fault of the database: %s", text)
	}
}

// TestOrphansAreRejectedInTheEnd, on a FIFO queue too, where they hold up their group until then.
func TestOrphansAreRejectedInTheEnd(t *testing.T) {
	t.Parallel()
	for name, fifo := range map[string]bool{"standard": false, "FIFO": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newOrphans(t, 3, fixtureOptions{fifo: fifo})
			group, other := "", ""
			if fifo {
				group, other = "g", "h"
			}
			s.queue.Put(sqstest.Message{Group: group, Body: body("never")}, sqstest.Message{Group: group, Body: body("known")})
			s.queue.Put(sqstest.Message{Group: other, Body: strings.Replace(body("known"), `"en"`, `"fr"`, 1)})
			r := start(t, s.consumer(t, func(c *consume.Consumer) { c.Mode = consume.Forever }))
			eventually(t, "all is settled", func() bool { return len(s.queue.Messages()) == 0 })
			r.stop()
			got, err := r.wait()
			if err != nil || got.Stored != 2 || got.Rejected != 1 || got.DeadLettered != 1 || got.Causes[message.CauseForeignKey] != 2 {
				t.Errorf("got %+v, %v; want 2 stored, and 1 returned twice and then rejected", got, err)
			}
			if fifo != (got.Causes[message.CauseGroup] > 0) {
				t.Errorf("%d waited for another one of their group", got.Causes[message.CauseGroup])
			}
			if notes := s.notes(t); len(notes) != 1 || notes[0].Reason != message.ReasonRefused || notes[0].SQLState != "23503" || notes[0].Constraint != "of_user" {
				t.Errorf("the dead letter says %+v", notes)
			}
			order := s.db.Rows(t, "SELECT locale FROM user_logins ORDER BY stored")
			if fifo && (order[0][0] != "fr" || order[1][0] != "en") {
				t.Errorf("got %v: a row of the group was stored before its turn", order)
			}
		})
	}
}

// TestUntilEmptyLeavesOrphans: nobody knows when the other row comes, and a run must end.
func TestUntilEmptyLeavesOrphans(t *testing.T) {
	t.Parallel()
	s := newOrphans(t, 20, fixtureOptions{attributes: map[string]string{"VisibilityTimeout": "4"}})
	s.queue.Put(sqstest.Message{Body: body("late")}, sqstest.Message{Body: body("known")})
	got, err := s.consumer(t, nil).Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "1 messages are back in the queue, and not for what they hold: some refer to rows that are not stored yet") {
		t.Errorf("got %v", err)
	}
	if got.Stored != 1 || got.Left != 1 || got.Causes[message.CauseForeignKey] != 1 {
		t.Errorf("got %+v", got)
	}
	s.db.Exec(t, "INSERT INTO users VALUES ('late')")
	if got := run(t, s.consumer(t, nil)); got.Stored != 1 || got.Ended != consume.EndedEmpty {
		t.Errorf("the next run: got %+v", got)
	}
	s.wantRows(t, 2)
	s.wantEmpty(t)
}
