package storetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// The words for outcomes.
const (
	stored    = "stored"
	rejected  = "rejected"
	outdated  = "outdated"
	stopped   = "returned group"
	discarded = "returned swallowed"
	operator  = "returned operator"
)

// SQL that makes a database refuse a login with the locale xx, or any row.
const (
	knownLocale  = "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale NOT LIKE 'xx%')"
	localeNeeded = "ALTER TABLE user_logins ALTER COLUMN locale SET NOT NULL"
	oneDevice    = "CREATE UNIQUE INDEX one_device ON user_logins (device_type)"
	isXX         = "NEW.locale LIKE 'xx%'"

	// tenant is a column that the model does not fill.
	tenant = "ALTER TABLE user_logins ADD COLUMN tenant text DEFAULT 'none'"
)

var cases = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"stores rows", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m)
		store(t, s, m, login{n: 1, locale: "de", device: "ios"}, login{n: 2}, login{n: 3, locale: `\"ü😀\\`}).want(t, 3, stored, stored, stored)
		got := h.Rows(t, "SELECT message_id, device_type, locale, app_version, create_date, app_version_full, mask_key, length(masked_ip) FROM user_logins ORDER BY message_id")
		want := [][]string{
			{"00000000-0000-4000-8000-000000000001", "ios canary", "de canary", "2", "2026-01-01", "2.3.0", "sha256", "64"},
			{"00000000-0000-4000-8000-000000000002", "NULL", "NULL", "2", "2026-01-01", "2.3.0", "sha256", "64"},
			{"00000000-0000-4000-8000-000000000003", "NULL", `"ü😀\ canary`, "2", "2026-01-01", "2.3.0", "sha256", "64"},
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}},
	{"keeps a value of every type", keepsEveryType},
	{"keeps what a type of its own reads", keepsOtherTypes},
	{"compares keys", comparesKeys},
	{"does nothing for no rows", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		result, err := h.Open(t, m.Table).Insert(t.Context(), batch.New(m.Table))
		if err != nil || len(result.Verdicts) != 0 || result.Tallies.Sum().Inserted != 0 {
			t.Errorf("got %+v, %v", result, err)
		}
	}},
	{"answers a ping when rows can be stored", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := h.Open(t, m.Table)
		if err := s.Ping(t.Context()); fault.Cause(err) != message.CauseConfiguration || !strings.Contains(err.Error(), "sluice migrate") {
			t.Errorf("without a table: %v", err)
		}
		h.Exec(t, h.DDL(m.Table)[0])
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		store(t, s, m, span(1, 2)...).want(t, 2, stored, stored)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Ping(ctx); err == nil {
			t.Error("no error when the context has ended")
		}
	}},
	{"stores a key once", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m)
		store(t, s, m, span(1, 2)...).want(t, 2, stored, stored)
		store(t, s, m, span(1, 2)...).want(t, 0, stored, stored)
		store(t, h.Open(t, m.Table), m, span(2, 3)...).want(t, 1, stored, stored)
		wantRows(t, h, 1, 2, 3)
	}},
	{"stores the first of a batch's rows with one key", func(t *testing.T, h Harness) {
		m := ByUser(t)
		s := create(t, h, m)
		store(t, s, m, login{n: 1, locale: "de"}, login{n: 2, locale: "fr"}, login{n: 1, locale: "it"}).want(t, 2, stored, stored, stored)
		wantRows(t, h, 1, 2)
		if got := fmt.Sprint(h.Rows(t, "SELECT locale FROM user_logins ORDER BY user_id")); got != "[[de canary] [fr canary]]" {
			t.Error(got)
		}
	}},
	{"a refused row is not done by another one with its key", func(t *testing.T, h Harness) {
		m := ByUser(t)
		for _, group := range []int{0, 1} { // a group of its own for each
			s := create(t, h, m, knownLocale)
			store(t, s, m, login{n: 1, group: group, locale: "xx"}, login{n: 1, group: 2 * group, locale: "de"}).want(t, 1, rejected, stored)
			store(t, s, m, login{n: 2, group: group, locale: "de"}, login{n: 2, group: 2 * group, locale: "xx"}).want(t, 1, stored, rejected)
			store(t, s, m, login{n: 1, group: group, locale: "xx"}, login{n: 2, group: 2 * group, locale: "xx"}, login{n: 3, group: 3 * group}).want(t, 1, stored, stored, stored) // they were there before
			wantRows(t, h, 1, 2, 3)
			h.Exec(t, "DROP TABLE user_logins")
		}
	}},
	{"stores rows that are valid only together", related(func(t *testing.T, h Harness, s Store, m *model.Model) {
		store(t, s, m, login{n: 1, parent: 2}, login{n: 2}).want(t, 2, stored, stored)
		store(t, s, m, login{n: 3, parent: 4}, login{n: 4}, login{n: 5, locale: "xx"}).want(t, 2, stored, stored, rejected)
		store(t, s, m, login{n: 6, parent: 7}, login{n: 7, parent: 6}, login{n: 8, locale: "xx"}, login{n: 9, parent: 9}).want(t, 3, stored, stored, rejected, stored)
		wantRows(t, h, 1, 2, 3, 4, 6, 7, 9)
	})},
	{"rejects rows without those that they need", related(func(t *testing.T, h Harness, s Store, m *model.Model) {
		store(t, s, m, login{n: 1, parent: 99}).want(t, 0, rejected)
		store(t, s, m, login{n: 2, parent: 3}, login{n: 3, parent: 99}, login{n: 4}).want(t, 1, rejected, rejected, stored)
		store(t, s, m, login{n: 5, parent: 6}, login{n: 6, locale: "xx"}, login{n: 7, parent: 8}, login{n: 8}, login{n: 9, parent: 4}).want(t, 3, rejected, rejected, stored, stored, stored)
		wantRows(t, h, 4, 7, 8, 9)
	})},
	{"stores rows of a group that are valid only together", related(func(t *testing.T, h Harness, s Store, m *model.Model) {
		store(t, s, m, login{n: 1, group: 1, parent: 2}, login{n: 2, group: 1}).want(t, 2, stored, stored)
		store(t, s, m, login{n: 3, group: 1, parent: 4}, login{n: 4, group: 1}, login{n: 5, group: 2, parent: 99}, login{n: 6, group: 2}).want(t, 2, stored, stored, rejected, stopped)
		wantRows(t, h, 1, 2, 3, 4)
	})},
	{"rejects nothing for a constraint of columns that the model does not fill", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, tenant, "ALTER TABLE user_logins ADD CONSTRAINT known_tenant CHECK (tenant <> 'none')")
		wantReturned(t, insert(t.Context(), t, s, m, span(1, 2)...))
		wantReturned(t, insert(t.Context(), t, s, m, login{n: 1, group: 1}, login{n: 2, group: 2}))
		wantRows(t, h)
	}},
	{"rejects for a constraint of some such columns only when another row passes", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, tenant, "ALTER TABLE user_logins ADD CONSTRAINT known_tenant CHECK (tenant <> 'none' OR locale NOT LIKE 'xx%')")
		store(t, s, m, login{n: 1, locale: "de"}).want(t, 1, stored)
		wantReturned(t, insert(t.Context(), t, s, m, login{n: 2, locale: "xx"}))
		o := insert(t.Context(), t, s, m, login{n: 1, locale: "de"}, login{n: 2, locale: "xx"}) // one that is there proves nothing
		if o.err == nil || o.words[0] != stored || !strings.HasPrefix(o.words[1], "returned") {
			t.Errorf("got %q, %v", o.words, o.err)
		}
		store(t, s, m, login{n: 2, locale: "xx"}, login{n: 3, locale: "de"}).want(t, 1, rejected, stored)
		wantRows(t, h, 1, 3)
	}},
	{"rejects nothing when a trigger refuses every row", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, h.Raise("INSERT", "user_logins", "NEW.user_id IS NOT NULL"))
		wantReturned(t, insert(t.Context(), t, s, m, span(1, 2)...))
		wantReturned(t, insert(t.Context(), t, s, m, login{n: 1, group: 1}, login{n: 2, group: 2}))
		wantRows(t, h)
	}},
	{"rejects what a CHECK refuses", refusal(knownLocale, login{n: 2, locale: "xx"}, func(r message.Rejection) bool { return r.Constraint == "known_locale" })},
	{"rejects what NOT NULL refuses", refusal(localeNeeded, login{n: 2}, func(r message.Rejection) bool { return r.Column == "locale" })},
	{"rejects what a unique index refuses", refusal(oneDevice, login{n: 2, device: "one"}, func(r message.Rejection) bool { return r.Constraint != "" })},
	{"rejects what a trigger refuses", func(t *testing.T, h Harness) {
		refusal(h.Raise("INSERT", "user_logins", isXX), login{n: 2, locale: "xx"}, func(message.Rejection) bool { return true })(t, h)
	}},
	{"rejects many of a large batch", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, knownLocale, localeNeeded)
		logins := span(1, 200)
		var want []string
		var rows []int
		for i := range logins {
			switch {
			case i%50 == 7:
				logins[i].locale = "xx"
			case i%70 == 3:
				logins[i].locale = ""
			default:
				want, rows = append(want, stored), append(rows, i+1)
				continue
			}
			want = append(want, rejected)
		}
		store(t, s, m, logins...).want(t, 193, want...)
		wantRows(t, h, rows...)
	}},
	{"rejects a whole batch", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, knownLocale)
		store(t, s, m, login{n: 1, locale: "xx"}, login{n: 2, locale: "xx"}).want(t, 0, rejected, rejected)
		wantRows(t, h)
	}},
	{"stored is stored, even if it is refused today", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m)
		store(t, s, m, login{n: 1, locale: "xx"}).want(t, 1, stored)
		h.Exec(t, h.Raise("INSERT", "user_logins", isXX))
		store(t, s, m, login{n: 1, locale: "xx"}, login{n: 2, locale: "xx"}, login{n: 3, locale: "de"}).want(t, 1, stored, rejected, stored)
		store(t, s, m, login{n: 1, group: 1, locale: "xx"}, login{n: 4, group: 1, locale: "de"}).want(t, 1, stored, stored)
		wantRows(t, h, 1, 3, 4)
	}},
	{"returns what a trigger discards", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, h.Discard("INSERT", "user_logins", isXX))
		store(t, s, m, login{n: 1}, login{n: 2, locale: "xx"}, login{n: 3}).want(t, 2, stored, discarded, stored)
		store(t, s, m, login{n: 1}, login{n: 2, locale: "xx"}, login{n: 4}).want(t, 1, stored, discarded, stored)
		wantRows(t, h, 1, 3, 4)
	}},
	{"returns what a trigger discards, and rejects", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, h.Discard("INSERT", "user_logins", isXX), localeNeeded)
		store(t, s, m, login{n: 1}, login{n: 2, locale: "xx"}, login{n: 3, locale: "de"}).want(t, 1, rejected, discarded, stored)
		wantRows(t, h, 3)
	}},
	{"stops a group at the first refusal", func(t *testing.T, h Harness) {
		for _, name := range []string{"user_logins", "user_logins_plain"} {
			m := named(t, name)
			s := create(t, h, m, knownLocale)
			store(t, s, m,
				login{n: 1, group: 1, locale: "de"},
				login{n: 2, group: 2, locale: "xx"},
				login{n: 3, group: 1, locale: "de"},
				login{n: 4, group: 2, locale: "de"},
				login{n: 5, group: 3, locale: "de"},
				login{n: 6, group: 1, locale: "xx"},
				login{n: 7, group: 1, locale: "xx"},
				login{n: 8, group: 3, locale: "de"},
			).want(t, 4, stored, rejected, stored, stopped, stored, rejected, stopped, stored)
			wantRows(t, h, 1, 3, 5, 8)
			h.Exec(t, "DROP TABLE user_logins")
		}
	}},
	{"stops a group at a row that is discarded", func(t *testing.T, h Harness) {
		for _, name := range []string{"user_logins", "user_logins_plain"} {
			m := named(t, name)
			s := create(t, h, m, h.Discard("INSERT", "user_logins", isXX), localeNeeded)
			want := func(o outcome) { o.want(t, 2, stored, discarded, stopped, stored) }
			want(store(t, s, m, login{n: 1, group: 1, locale: "de"}, login{n: 2, group: 1, locale: "xx"}, login{n: 3, group: 1, locale: "de"}, login{n: 4, group: 2, locale: "de"}))
			store(t, s, m, login{n: 5, group: 1, locale: "xx"}, login{n: 6, group: 1}, login{n: 7, group: 2}, login{n: 8, group: 2, locale: "de"}).want(t, 0, discarded, stopped, rejected, stopped)
			wantRows(t, h, 1, 4)
			h.Exec(t, "DROP TABLE user_logins")
		}
	}},
	{"what a group holds back is in nobody's way", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, knownLocale, oneDevice)
		store(t, s, m,
			login{n: 1, group: 1, locale: "xx"},
			login{n: 2, group: 1, locale: "de", device: "one"}, // goes back, so
			login{n: 3, group: 2, locale: "de", device: "one"}, // this one does not collide with it
			login{n: 4, group: 3, locale: "de", device: "one"},
			login{n: 5, group: 3, locale: "de"},
			login{n: 6, group: 2, locale: "de"},
		).want(t, 2, rejected, stopped, stored, rejected, stopped, stored)
		wantRows(t, h, 3, 6)
	}},
	{"a ledger says what is stored", func(t *testing.T, h Harness) {
		m := named(t, "user_logins_plain")
		s := create(t, h, m, knownLocale)
		store(t, s, m, span(1, 2)...).want(t, 2, stored, stored)
		store(t, s, m, append(span(2, 3), login{n: 4, locale: "xx"})...).want(t, 1, stored, stored, rejected)
		h.Exec(t, "ALTER TABLE user_logins DROP CONSTRAINT known_locale")
		wantRows(t, h, 1, 2, 3)
		store(t, s, m, login{n: 4, locale: "xx"}).want(t, 1, stored)
		store(t, s, m, login{n: 4, locale: "xx"}, login{n: 5}, login{n: 5}).want(t, 1, stored, stored, stored)
		wantRows(t, h, 1, 2, 3, 4, 5)
		if got := count(t, h, "sluice_ledger"); got != "5" {
			t.Errorf("%s rows in the ledger, want 5", got)
		}
	}},
	{"a ledger does not name what is discarded", func(t *testing.T, h Harness) {
		m := named(t, "user_logins_plain")
		s := create(t, h, m, h.Discard("INSERT", "user_logins", isXX))
		store(t, s, m, login{n: 1}, login{n: 2, locale: "xx"}, login{n: 3}).want(t, 2, stored, discarded, stored)
		wantRows(t, h, 1, 3)
		if got := count(t, h, "sluice_ledger"); got != "2" {
			t.Errorf("%s rows in the ledger, want 2", got)
		}
	}},
	{"a missing table is a configuration error", mismatch(func(t *testing.T, h Harness, m *model.Model) Store {
		return h.Open(t, m.Table)
	}, "sluice migrate")},
	{"a missing column is a configuration error", mismatch(func(t *testing.T, h Harness, m *model.Model) Store {
		return create(t, h, m, "ALTER TABLE user_logins DROP COLUMN locale")
	}, "sluice schema")},
	{"a missing key is a configuration error", mismatch(func(t *testing.T, h Harness, m *model.Model) Store {
		h.Exec(t, strings.Replace(h.DDL(m.Table)[0], ",\n    PRIMARY KEY (\"sent_at\", \"message_id\")", "", 1))
		return h.Open(t, m.Table)
	}, `no usable unique key on ("sent_at", "message_id")`)},
	{"a column that the model does not fill is a configuration error", mismatch(func(t *testing.T, h Harness, m *model.Model) Store {
		h.Exec(t, strings.Replace(h.DDL(m.Table)[0], "    PRIMARY KEY", "    tenant text NOT NULL,\n    PRIMARY KEY", 1))
		return h.Open(t, m.Table)
	}, `"tenant" that the model does not fill`)},
	{"does nothing when the context has ended", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o := insert(ctx, t, s, m, span(1, 2)...)
		if o.want(t, 0, "returned ", "returned "); o.err == nil {
			t.Error("no error")
		}
		ctx, cancel = context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		o = insert(ctx, t, s, m, span(1, 2)...)
		if o.want(t, 0, "returned ", "returned "); o.err == nil || fault.Cause(o.err) != message.CauseDeadline {
			t.Errorf("error %v, want the deadline's", o.err)
		}
		store(t, s, m, span(1, 2)...).want(t, 2, stored, stored) // the store has taken no harm
		wantRows(t, h, 1, 2)
	}},
	{"shows a reader all of a batch or nothing", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, knownLocale)
		var done atomic.Bool
		var reader sync.WaitGroup
		reader.Go(func() {
			for !done.Load() {
				if n, err := strconv.Atoi(count(t, h, "user_logins")); err != nil || n%198 != 0 {
					t.Errorf("a reader saw %d rows: a part of a batch", n)
				}
			}
		})
		for i := range 8 {
			logins := span(1+200*i, 200+200*i)
			logins[20].locale, logins[180].locale = "xx", "xx"
			if o := store(t, s, m, logins...); o.inserted != 198 {
				t.Errorf("batch %d: %d new rows", i, o.inserted)
			}
		}
		done.Store(true)
		reader.Wait()
	}},
	{"stores each row once for many at a time", func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		stores := []Store{create(t, h, m, knownLocale), h.Open(t, m.Table), h.Open(t, m.Table)}
		var inserted atomic.Int64
		var all sync.WaitGroup
		for i := range 6 {
			all.Go(func() {
				for k := range 5 { // windows of 60 rows that overlap those of the others
					logins := span(1+10*((i+k)%6), 60+10*((i+k)%6))
					for j := range logins {
						if logins[j].n%20 == 0 {
							logins[j].locale = "xx"
						}
					}
					o := insert(t.Context(), t, stores[i%len(stores)], m, logins...)
					for passes(o.err) { // SQLite's file can be locked for longer than it waits
						inserted.Add(int64(o.inserted))
						o = insert(t.Context(), t, stores[i%len(stores)], m, logins...)
					}
					for j, word := range o.words {
						want := stored
						if logins[j].n%20 == 0 {
							want = rejected
						}
						if word != want {
							t.Errorf("login %d is %s, want %s; %v", logins[j].n, word, want, o.err)
						}
					}
					inserted.Add(int64(o.inserted))
				}
			})
		}
		all.Wait()
		if got := count(t, h, "user_logins"); got != "105" || inserted.Load() != 105 { // 110 numbers, five of them refused
			t.Errorf("%s rows, %d called new; want 105", got, inserted.Load())
		}
	}},
}

// passes reports whether an error is transient.
func passes(err error) bool { return err != nil && fault.Cause(err) == message.CauseTransient }

// refusal is the case of one refused row among two good ones.
func refusal(ddl string, bad login, rightly func(message.Rejection) bool) func(*testing.T, Harness) {
	return func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := create(t, h, m, ddl)
		o := store(t, s, m, login{n: 1, locale: "de", device: "one"}, bad, login{n: 3, locale: "de"})
		o.want(t, 2, stored, rejected, stored)
		wantRows(t, h, 1, 3)
		if r := o.verdicts[1].Rejection; r.Reason != message.ReasonRefused || !rightly(r) {
			t.Errorf("the rejection is %+v", r)
		}
	}
}

// wantReturned checks for an error and that every row is returned.
func wantReturned(t testing.TB, o outcome) {
	t.Helper()
	if o.err == nil || o.inserted != 0 || slices.ContainsFunc(o.words, func(word string) bool { return !strings.HasPrefix(word, "returned") }) {
		t.Errorf("got %q, %d of them new, %v; want all returned", o.words, o.inserted, o.err)
	}
}

// related is the case of a table whose device_type refers to a user_id of the same table, in every
// possible way.
func related(test func(*testing.T, Harness, Store, *model.Model)) func(*testing.T, Harness) {
	return func(t *testing.T, h Harness) {
		const keys = ",\n    CONSTRAINT one_user UNIQUE (user_id), CONSTRAINT known_parent FOREIGN KEY (device_type) REFERENCES user_logins (user_id)"
		for _, name := range []string{"user_logins", "user_logins_plain"} {
			for _, when := range []string{"", " DEFERRABLE INITIALLY DEFERRED"} {
				m := named(t, name)
				for i, sql := range append(h.DDL(m.Table), knownLocale) {
					if i == 0 {
						sql = strings.Replace(sql, "\n)", keys+when+"\n)", 1)
					}
					h.Exec(t, sql)
				}
				test(t, h, h.Open(t, m.Table), m)
				h.Exec(t, "DROP TABLE user_logins")
				h.Exec(t, "DROP TABLE IF EXISTS sluice_ledger")
			}
		}
	}
}

// mismatch is the case of a table that differs from the model: no row can be stored until the table is
// fixed, and the error says how.
func mismatch(open func(*testing.T, Harness, *model.Model) Store, remedy string) func(*testing.T, Harness) {
	return func(t *testing.T, h Harness) {
		m := named(t, "user_logins")
		s := open(t, h, m)
		for _, logins := range [][]login{span(1, 3), {{n: 1, group: 1}, {n: 2, group: 2}}} {
			o := insert(t.Context(), t, s, m, logins...)
			if o.err == nil || fault.Cause(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), remedy) {
				t.Errorf("error %v, want a configuration error with %q", o.err, remedy)
			}
			for _, word := range o.words {
				if o.inserted != 0 || word != operator && word != "returned " {
					t.Errorf("got %q, %d of them new", o.words, o.inserted)
				}
			}
		}
	}
}
