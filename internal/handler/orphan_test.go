package handler_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/postgres"
)

// TestOrphans wait for the row that they refer to, by their own count of receives. A missing row is
// not a failure of the invocation, also if nothing is stored.
func TestOrphans(t *testing.T) {
	t.Parallel()
	plain := func(n, receives int, user string) string {
		return record(n, body("user_id", quote(user)), "attributes", attributes("ApproximateReceiveCount", fmt.Sprintf(`"%d"`, receives)))
	}
	grouped := func(n, receives int, user string) string {
		r := inGroup(n, "g", body("user_id", quote(user)))
		return strings.Replace(r, `"ApproximateReceiveCount":"1"`, fmt.Sprintf(`"ApproximateReceiveCount":"%d"`, receives), 1)
	}
	type step struct {
		sql              string // before the event
		event            []byte
		failed, returned []string
		sent             []string
		stored           []string // users, in all
	}
	const rejection = " refused_by_database SQLSTATE 23503 (foreign_key_violation) constraint of_user"
	for name, steps := range map[string][]step{
		"nothing is stored":   {{event: event(plain(1, 1, "late")), failed: ids(1), returned: ids(1)}},
		"the count is absent": {{event: event(record(1, body("user_id", `"late"`), "attributes", attributes("ApproximateReceiveCount", ""))), failed: ids(1), returned: ids(1)}},
		"the row comes later": {
			{event: event(plain(1, 1, "late"), plain(2, 1, "known")), failed: ids(1), returned: ids(1), stored: []string{"known"}},
			{event: event(plain(1, 2, "late")), failed: ids(1), returned: ids(1), stored: []string{"known"}},
			{sql: "INSERT INTO users VALUES ('late')", event: event(plain(1, 3, "late")), stored: []string{"known", "late"}},
			{event: event(plain(1, 20, "late")), stored: []string{"known", "late"}}, // a duplicate
		},
		"the last receive rejects": {
			{event: event(plain(1, 19, "late")), failed: ids(1), returned: ids(1)},
			{event: event(plain(1, 20, "late"), plain(2, 1, "known"), plain(3, 2, "late")), failed: ids(3), returned: ids(3), sent: []string{id(1) + rejection}, stored: []string{"known"}},
		},
		"FIFO": {
			{event: event(grouped(1, 1, "known"), grouped(2, 1, "late"), grouped(3, 1, "known")), failed: ids(2, 3), returned: ids(2, 3), stored: []string{"known"}},
			{event: event(grouped(2, 20, "late"), grouped(3, 20, "known")), failed: ids(3), sent: []string{id(2) + rejection}, stored: []string{"known"}},
			{event: event(grouped(3, 21, "known")), stored: []string{"known", "known"}},
		},
		"EventBridge Pipes": {{event: pipes(plain(1, 1, "late"), plain(2, 1, "known")), failed: ids(1), returned: ids(1), stored: []string{"known"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, model := range loginModels {
				s := newFixture(t, model)
				s.exec(t, "CREATE TABLE users (id varchar(128) PRIMARY KEY)")
				s.exec(t, "INSERT INTO users VALUES ('known')")
				s.exec(t, "ALTER TABLE user_logins ADD CONSTRAINT of_user FOREIGN KEY (user_id) REFERENCES users")
				s.model.ForeignKeyReceives = 20
				store, err := postgres.Open(s.db.URL, []*batch.Table{s.model.Table})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(store.Close)
				for i, step := range steps {
					h, log := handlerOf(s.model.Set(), store)
					back, dead := &backoff{}, &deadLetters{}
					h.Backoff, h.DeadLetters = back, dead
					if step.sql != "" {
						s.exec(t, step.sql)
					}
					failed := invoke(t, h, step.event)
					slices.Sort(failed)
					for what, diff := range map[string]string{
						"failed": cmp.Diff(failed, append([]string{}, step.failed...)), "backed off": cmp.Diff(back.returned, step.returned), "sent": cmp.Diff(dead.sent, step.sent),
						"stored": cmp.Diff(s.column(t, "user_id"), append([]string{}, step.stored...)),
					} {
						if diff != "" {
							t.Errorf("%s, event %d: %s got(-) want(+):\n%s", model, i, what, diff)
						}
					}
					if text := log.Take(); strings.Contains(text, `"level":"ERROR"`) || strings.Contains(text, `"fault"`) {
						t.Errorf("%s, event %d: the log has an error: %s", model, i, text)
					}
				}
			}
		})
	}
}

// TestSelfReferencesInABatch are as ever: a row whose parent is in the same batch is stored, in
// whatever order they come.
func TestSelfReferencesInABatch(t *testing.T) {
	t.Parallel()
	s := newFixture(t, "user_logins")
	s.exec(t, "ALTER TABLE user_logins ADD UNIQUE (user_id), ADD CONSTRAINT of_user FOREIGN KEY (locale) REFERENCES user_logins (user_id)")
	s.model.ForeignKeyReceives = 20
	store, err := postgres.Open(s.db.URL, []*batch.Table{s.model.Table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	refers := func(n int, user, to string) string {
		return record(n, body("user_id", quote(user), "locale", to))
	}
	h, _ := handlerOf(s.model.Set(), store)
	if failed := invoke(t, h, event(refers(1, "child", `"parent"`), refers(2, "parent", "null"), refers(3, "orphan", `"nobody"`))); !slices.Equal(failed, ids(3)) {
		t.Errorf("failed: %v", failed)
	}
	if diff := cmp.Diff(s.column(t, "user_id"), []string{"child", "parent"}); diff != "" {
		t.Errorf("rows got(-) want(+):\n%s", diff)
	}
}
