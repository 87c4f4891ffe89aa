package check_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestSentTimes(t *testing.T) {
	const (
		sent    = "INSERT INTO user_logins (user_id, create_date, mask_key, sent_at, message_id) VALUES ('canary', '2026-01-01', 'k1', %s, gen_random_uuid()); "
		seconds = "to_timestamp(1767225.6)"
		micros  = "timestamptz '9999-12-31Z'"
		skipped = "skipped sent_time"
		warned  = "warning sent_time"
	)
	row := func(at string) string { return fmt.Sprintf(sent, at) }
	ledger := func(at string) string {
		return fmt.Sprintf("INSERT INTO sluice_ledger (sent_at, message_id) VALUES (%s, gen_random_uuid()); ", at)
	}
	const byID = "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey; ALTER TABLE user_logins ADD PRIMARY KEY (message_id, sent_at); "
	for _, tt := range []struct {
		name, model, sql string
		want             []string
		says, saysNot    string
	}{
		{"no row", "user_logins", "", nil, "no row of ", "January"},
		{"rows of today and of 2000", "user_logins", row("now()") + row("'2000-01-01Z'") + row("now() + interval '23 hours'"), nil, "no row of ", ""},
		{"in seconds", "user_logins", row("now()") + row(seconds), []string{warned}, "before the year 2000:", "more than a day"},
		{"in microseconds", "user_logins", row("now()") + row(micros), []string{warned}, "more than a day from now:", "before the year"},
		{"without end", "user_logins", row("'infinity'"), []string{warned}, "more than a day from now:", ""},
		{"of a clock that is ahead", "user_logins", row("now() + interval '25 hours'"), []string{warned}, "", ""},
		{"both", "user_logins", row(seconds) + row(micros), []string{warned}, "before the year 2000, and others more than a day from now", ""},
		{"in a partition", "user_logins", partitioned + "CREATE TABLE first PARTITION OF user_logins FOR VALUES FROM (MINVALUE) TO ('1980-01-01'); " + row("now()") + row(seconds), []string{warned}, "before the year", ""},
		{"in a ledger", "user_logins_plain", ledger("now()") + ledger(seconds), []string{warned}, "sluice_ledger has rows", ""},
		{"no index that begins with it", "user_logins", byID + row(seconds), nil, "", "sent time"},
		{"an index of its own", "user_logins", byID + "CREATE INDEX ON user_logins (sent_at DESC); " + row(seconds), []string{warned}, "", ""},
		{"an index of some rows", "user_logins", byID + "CREATE INDEX ON user_logins (sent_at) WHERE locale = 'x'; " + row(seconds), nil, "", "sent time"},
		{"an index that has no order", "user_logins", byID + "CREATE INDEX ON user_logins USING hash (sent_at); " + row(seconds), nil, "", "sent time"},
		{"no index at all", "orders", "INSERT INTO orders (order_id, total, currency, placed_at, mask_key, sent_at) VALUES (gen_random_uuid(), 1, 'EUR', now(), 'k1', to_timestamp(1))", nil, "", "sent time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, db := table(t, tt.model, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			text := fmt.Sprintf("%+v", f)
			if !strings.Contains(text, tt.says) || tt.saysNot != "" && strings.Contains(text, tt.saysNot) {
				t.Errorf("the findings do not say %q, or say %q: %s", tt.says, tt.saysNot, text)
			}
			if strings.Contains(text, "canary") || strings.Contains(text, "9999") || strings.Contains(text, "1970-") {
				t.Errorf("the findings quote a row: %s", text)
			}
		})
	}
	t.Run("a locked table", func(t *testing.T) {
		t.Parallel()
		m := load(t, "user_logins")
		db := pgtest.New(t, m.DDL()...)
		blocker := db.Conn(t)
		if _, err := blocker.Exec(t.Context(), "BEGIN; LOCK TABLE user_logins"); err != nil {
			t.Fatal(err)
		}
		want(t, look(t, m, db.URL), skipped)
		if _, err := blocker.Exec(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
		want(t, look(t, m, db.URL))
	})
	t.Run("no grant", func(t *testing.T) {
		t.Parallel()
		m := load(t, "user_logins")
		db := pgtest.New(t, m.DDL()...)
		role := db.Role(t, func(role string) []string {
			return []string{"GRANT INSERT, SELECT (message_id) ON user_logins TO " + role}
		})
		want(t, look(t, m, role.URL), "error grant_select")
	})
}
