package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
)

// TestAWarmConnectionSeesTheFix has errors whose fix only new sessions see. The connection that met
// one is used for half a minute more, and then replaced.
func TestAWarmConnectionSeesTheFix(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sql   string
		fixes       string // $role is who inserts
		fault       message.Cause
		want        verdicts
		hasNoSchema bool
	}{
		{name: "a schema that is not in the search_path", hasNoSchema: true, fixes: "ALTER ROLE $role SET search_path = $schema", fault: message.CauseConfiguration, want: verdicts{unconfirmed: "11-13"}},
		{
			name: "a setting by which a trigger discards rows", fixes: "ALTER ROLE $role SET sluice.keeps = 'on'", want: verdicts{discarded: "11-13"},
			sql: `CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE current_setting('sluice.keeps', true) WHEN 'on' THEN NEW END; END $$;
				CREATE TRIGGER discard BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION discard()`,
		},
		{
			name: "a setting by which a policy lets nothing in", fixes: "ALTER ROLE $role SET sluice.tenant = 'ours'", fault: message.CauseConfiguration, want: verdicts{configuration: "11-13"},
			sql: `ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY see ON events FOR SELECT USING (true);
				CREATE POLICY ours ON events FOR INSERT WITH CHECK (current_setting('sluice.tenant', true) = 'ours')`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: createEvents + tt.sql, grants: writes})
			now := time.Now()
			at := s.proxy.URL
			if tt.hasNoSchema {
				at = withoutOptions(t, at)
			}
			s.store = openStore(t, at, events, postgres.WithClock(func() time.Time { return now }))
			fails := func() *outcome {
				o := s.insert(goods(11, 3)...).verdicts(tt.want)
				if tt.fault != "" {
					o.blames(tt.fault)
				}
				return o
			}
			fails()
			s.db.Exec(t, strings.NewReplacer("$role", s.user.User, "$schema", s.db.Schema).Replace(tt.fixes))
			for range 3 {
				now = now.Add(29 * time.Second / 3)
				if o := fails(); o.trips != o.RoundTrips {
					t.Errorf("%d round trips cost %d on the wire: the connection was replaced, and need not have been yet", o.RoundTrips, o.trips)
				}
			}
			now = now.Add(16 * time.Second)
			s.insert(goods(11, 3)...).must().inserts(3)
			now = now.Add(time.Hour)
			s.insert(goods(21, 3)...).must().costs(1) // the new one stays
		})
	}
}

// withoutOptions takes the options of the server from a URL.
func withoutOptions(t *testing.T, text string) string {
	t.Helper()
	u := parsed(t, text)
	q := u.Query()
	q.Del("options")
	u.RawQuery = q.Encode()
	return u.String()
}

// TestAConfigurationErrorCostsFewLogins has an invocation each second while it lasts. 0A000 alone
// can be due to what is prepared on a connection, so it is tried on a new one too.
func TestAConfigurationErrorCostsFewLogins(t *testing.T) {
	t.Parallel()
	for state, each := range map[string]int{"42P01": 1, "42703": 1, "42501": 1, "0A000": 2} {
		bubble(t, state, func(t *testing.T, f *fake) {
			store := f.open()
			f.warm(store, 1)
			f.traffic()
			f.refuse = func([]int64) string { return state }
			const minutes = 10
			for range minutes * 60 {
				_, err := store.Insert(t.Context(), batchOf(goods(1, 3)))
				if cause := causeOf(err); cause != message.CauseConfiguration {
					t.Fatalf("got %v", err)
				}
				time.Sleep(time.Second)
			}
			if got, most := len(f.traffic().dials), each*(minutes*2+1); got > most || got < minutes {
				t.Errorf("%d logins in %d minutes, want at most %d", got, minutes, most)
			}
			f.refuse = nil
			if result, err := store.Insert(t.Context(), batchOf(goods(1, 3))); err != nil || result.Tallies.Sum().Inserted != 3 {
				t.Errorf("after the fix: %d rows inserted and error %v", result.Tallies.Sum().Inserted, err)
			}
		})
	}
}

// TestFunctionsDoNotLogInTogether has a thousand functions that meet an error at once.
func TestFunctionsDoNotLogInTogether(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		f.refuse = func([]int64) string { return "42P01" }
		const many = 1000
		stores := make([]*postgres.Store, many)
		all := func() {
			for i := range stores {
				if stores[i] == nil {
					stores[i] = f.open()
				}
				if _, err := stores[i].Insert(t.Context(), batchOf(goods(1, 1))); err == nil {
					t.Error("no error")
				}
			}
		}
		all()
		time.Sleep(30 * time.Second)
		first := len(f.traffic().dials)
		again := 0
		for second := 1; second <= 15; second++ {
			time.Sleep(time.Second)
			all()
			n := len(f.traffic().dials)
			again += n
			if n > many/10 {
				t.Errorf("%d of %d log in within second %d", n, many, second)
			}
		}
		if first != many || again != many {
			t.Errorf("%d logins at first and %d later, want %d each", first, again, many)
		}
	})
}

// TestARemedyForPoolers has prepared statements that are missing, or exist already, because the
// session changes under a connection.
func TestARemedyForPoolers(t *testing.T) {
	t.Parallel()
	for state, says := range map[string]string{"26000": "", "42P05": "", "08P01": "prepared statement did not exist"} {
		bubble(t, state, func(t *testing.T, f *fake) {
			f.refuse, f.says = func([]int64) string { return state }, says
			_, err := f.open().Insert(t.Context(), batchOf(goods(1, 1)))
			if cause := causeOf(err); cause != message.CauseTransient || !strings.Contains(fmt.Sprint(err), "default_query_exec_mode=exec") {
				t.Errorf("got %v", err)
			}
		})
	}
	bubble(t, "08P01 of something else", func(t *testing.T, f *fake) {
		f.refuse, f.says = func([]int64) string { return "08P01" }, "invalid message format"
		if _, err := f.open().Insert(t.Context(), batchOf(goods(1, 1))); err == nil || strings.Contains(err.Error(), "default_query_exec_mode") {
			t.Errorf("got %v", err)
		}
	})
}
