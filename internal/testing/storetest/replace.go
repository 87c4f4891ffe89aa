package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
)

// state is a row of states: the state of an account, as a message says it.
type state struct {
	n       int    // of its message
	account string // the key
	version string // as JSON
	text    string // "xx" is what a test makes a database refuse
	group   int
}

func (s state) message() *message.Message {
	return &message.Message{
		ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", s.n), HasSent: true, SentMillis: 1767225600000 + int64(s.n), HasBody: true,
		Body: fmt.Appendf(nil, `{"user_id": "canary-%s", "version": %s, "state": "%s canary"}`, s.account, s.version, s.text),
	}
}

func (s state) messageGroup() int { return s.group }

// states returns the model of accounts. Fields and columns have more of the version: its type.
func states(t testing.TB, onConflict batch.OnConflict, field, column string) *model.Model {
	t.Helper()
	const form = `{model: states, table: states, key: [user_id],
		fields: {user_id: {type: text, required: true}, version: {%s, required: true}, state: {type: text}},
		columns: {user_id: {type: text, from: user_id}, version: {type: "%s", from: version}, state: {type: text, from: state}, message_id: {type: uuid, meta: message_id}}}`
	m, err := model.Parse("states.yaml", fmt.Appendf(nil, form, field, column))
	if err != nil {
		t.Fatal(err)
	}
	m.Table.OnConflict = onConflict
	for i := range m.Table.Columns {
		c := &m.Table.Columns[i]
		switch c.Name {
		case "version":
			c.NewerBy, c.Compared = onConflict == batch.Replace, onConflict != batch.Replace
			c.NotNull = false // so that a test can store a NULL
		case "state":
			c.Compared = onConflict != batch.Replace
		case "message_id":
			c.MessageID, c.NotNull = true, false
		}
	}
	return m
}

// replacing is states whose newest row wins, by an integer.
func replacing(t testing.TB) *model.Model {
	t.Helper()
	return states(t, batch.Replace, "type: integer", "bigint")
}

// deliver inserts states, without an error.
func deliver(t testing.TB, s Store, m *model.Model, all ...state) outcome {
	t.Helper()
	o := insertAny(t.Context(), t, s, m, all)
	if o.err != nil {
		t.Fatalf("insert: %v", o.err)
	}
	return o
}

// says compares the outcome: a word for each row, and how many were inserted and replaced.
func (o outcome) says(t testing.TB, inserted, replaced int, words ...string) {
	t.Helper()
	if !slices.Equal(o.words, words) || o.inserted != inserted || o.replaced != replaced {
		t.Errorf("got %q, %d inserted, %d replaced; want %q, %d, %d", o.words, o.inserted, o.replaced, words, inserted, replaced)
	}
}

// wantStates compares the table: an account, its version, its state and the number of its message.
func wantStates(t testing.TB, h Harness, want ...string) {
	t.Helper()
	got := statesIn(t, h)
	if !slices.Equal(got, want) {
		t.Errorf("in the table: %q, want %q", got, want)
	}
}

func statesIn(t testing.TB, h Harness) (all []string) {
	t.Helper()
	for _, row := range h.Rows(t, "SELECT user_id, version, state, message_id FROM states ORDER BY user_id") {
		number := strings.TrimLeft(row[3][strings.LastIndex(row[3], "-")+1:], "0")
		all = append(all, strings.ReplaceAll(fmt.Sprint(strings.TrimPrefix(row[0], "canary-"), " ", row[1], " ", row[2], " ", number), " canary", ""))
	}
	return all
}

const (
	goodState   = "ALTER TABLE states ADD CONSTRAINT good_state CHECK (state NOT LIKE 'xx%')"
	isStateXX   = "NEW.state LIKE 'xx%'"
	twoVersions = "INSERT INTO states (user_id, version, state, message_id) VALUES "
)

var replaceCases = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"the newest row wins", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m)
		deliver(t, s, m, state{n: 1, account: "a", version: "5", text: "first"}, state{n: 2, account: "b", version: "-5", text: "first"}).says(t, 2, 0, stored, stored)
		deliver(t, s, m, state{n: 3, account: "a", version: "4", text: "older"}, state{n: 4, account: "b", version: "-4", text: "newer"}, state{n: 5, account: "c", version: "0", text: "new"}).
			says(t, 1, 1, outdated, stored, stored)
		deliver(t, s, m, state{n: 4, account: "b", version: "-4", text: "newer"}, state{n: 2, account: "b", version: "-5", text: "first"}).says(t, 0, 0, stored, outdated) // redelivered
		wantStates(t, h, "a 5 first 1", "b -4 newer 4", "c 0 new 5")
	}},
	{"of rows that are as new, the one of the greater message wins", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m)
		deliver(t, s, m, state{n: 2, account: "a", version: "1", text: "two"}).says(t, 1, 0, stored)
		deliver(t, s, m, state{n: 1, account: "a", version: "1", text: "one"}).says(t, 0, 0, outdated)
		deliver(t, s, m, state{n: 3, account: "a", version: "1", text: "three"}).says(t, 0, 1, stored)
		deliver(t, s, m, state{n: 5, account: "b", version: "1", text: "five"}, state{n: 4, account: "b", version: "1", text: "four"}).says(t, 1, 0, stored, outdated)
		wantStates(t, h, "a 1 three 3", "b 1 five 5")
	}},
	{"of rows that are as new, the first stays if no message's id is stored", func(t *testing.T, h Harness) {
		m := replacing(t)
		for i := range m.Table.Columns {
			m.Table.Columns[i].MessageID = false
		}
		s := create(t, h, m)
		deliver(t, s, m, state{n: 2, account: "a", version: "1", text: "two"}, state{n: 3, account: "a", version: "1", text: "three"}).says(t, 1, 0, stored, stored)
		deliver(t, s, m, state{n: 4, account: "a", version: "1", text: "four"}).says(t, 0, 0, stored)
		wantStates(t, h, "a 1 two 2")
	}},
	{"a stored NULL is older than all", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m, twoVersions+"('canary-a', NULL, 'by hand', '00000000-0000-4000-8000-000000000009'), ('canary-b', 7, 'by hand', NULL)")
		deliver(t, s, m, state{n: 1, account: "a", version: "-9", text: "one"}, state{n: 2, account: "b", version: "7", text: "two"}).says(t, 0, 1, stored, stored)
		wantStates(t, h, "a -9 one 1", "b 7 by hand NULL")
	}},
	{"repeated keys of a batch", func(t *testing.T, h Harness) {
		for _, groups := range [][]int{{0, 0, 0, 0}, {1, 1, 1, 1}, {1, 2, 3, 4}} {
			m := replacing(t)
			s := create(t, h, m)
			all := []state{{n: 1, account: "a", version: "2"}, {n: 2, account: "a", version: "10", text: "newest"}, {n: 3, account: "b", version: "1", text: "b"}, {n: 4, account: "a", version: "9"}}
			for i := range all {
				all[i].group = groups[i]
			}
			deliver(t, s, m, all...).says(t, 2, 0, outdated, stored, stored, outdated)
			deliver(t, s, m, all...).says(t, 0, 0, outdated, stored, stored, outdated)
			for i := range all {
				all[i].n, all[i].version = all[i].n+10, all[i].version+"0"
			}
			deliver(t, s, m, all...).says(t, 0, 2, outdated, stored, stored, outdated)
			wantStates(t, h, "a 100 newest 12", "b 10 b 13")
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"an older row of the batch is stored if the newest is refused", func(t *testing.T, h Harness) {
		for _, group := range []int{0, 1} { // a group of its own for each
			m := replacing(t)
			s := create(t, h, m, goodState)
			deliver(t, s, m,
				state{n: 1, group: group, account: "a", version: "1", text: "older"},
				state{n: 2, group: 2 * group, account: "a", version: "2", text: "old"},
				state{n: 3, group: 3 * group, account: "a", version: "3", text: "xx"},
				state{n: 4, group: 4 * group, account: "b", version: "1", text: "xx"},
			).says(t, 1, 0, outdated, stored, rejected, rejected)
			wantStates(t, h, "a 2 old 2")
			deliver(t, s, m, // and so it replaces
				state{n: 5, group: group, account: "a", version: "5", text: "newer"},
				state{n: 6, group: 2 * group, account: "a", version: "6", text: "xx"},
			).says(t, 0, 1, stored, rejected)
			deliver(t, s, m, state{n: 7, group: group, account: "a", version: "7", text: "xx"}, state{n: 8, group: 2 * group, account: "c", version: "1", text: "c"}).says(t, 1, 0, rejected, stored)
			wantStates(t, h, "a 5 newer 5", "c 1 c 8")
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"many rows of many accounts, some refused", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m, goodState)
		var all []state
		var words []string
		for i := range 300 { // each account three times, and each tenth has only refused ones
			one := state{n: i + 1, account: fmt.Sprintf("%03d", i%100), version: fmt.Sprint(i / 100), text: "good"}
			word := outdated
			switch {
			case i%100%10 == 3 || i >= 200 && i%10 == 4:
				one.text, word = "xx", rejected
			case i >= 200 || i >= 100 && i%10 == 4:
				word = stored
			}
			all, words = append(all, one), append(words, word)
		}
		deliver(t, s, m, all...).says(t, 90, 0, words...)
		if got := count(t, h, "states WHERE version = 2"); got != "80" {
			t.Errorf("%s accounts have the newest version, want 80", got)
		}
	}},
	{"what is stored is not refused today", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m)
		deliver(t, s, m, state{n: 1, account: "a", version: "3", text: "xx"}).says(t, 1, 0, stored)
		h.Exec(t, h.Raise("INSERT", "states", isStateXX))
		deliver(t, s, m, state{n: 1, account: "a", version: "3", text: "xx"}, state{n: 2, account: "a", version: "2", text: "xx"}, state{n: 3, account: "b", version: "1", text: "b"}).
			says(t, 1, 0, stored, outdated, stored)
		deliver(t, s, m, state{n: 4, account: "a", version: "4", text: "xx"}, state{n: 5, account: "c", version: "1", text: "c"}).says(t, 1, 0, rejected, stored)
		wantStates(t, h, "a 3 xx 1", "b 1 b 3", "c 1 c 5")
	}},
	{"a trigger refuses what would replace", func(t *testing.T, h Harness) {
		for _, group := range []int{0, 1} {
			m := replacing(t)
			s := create(t, h, m, h.Raise("UPDATE", "states", isStateXX))
			deliver(t, s, m, state{n: 1, group: group, account: "a", version: "1", text: "xx"}, state{n: 2, group: 2 * group, account: "b", version: "1", text: "b"}).says(t, 2, 0, stored, stored)
			deliver(t, s, m, state{n: 3, group: group, account: "a", version: "2", text: "a"}, state{n: 4, group: 2 * group, account: "b", version: "2", text: "xx"}).says(t, 0, 1, stored, rejected)
			wantStates(t, h, "a 2 a 3", "b 1 b 2")
			wantReturned(t, insertAny(t.Context(), t, s, m, []state{{n: 5, account: "b", version: "3", text: "xx"}})) // another would have to pass
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"a trigger discards what would replace", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m, h.Discard("UPDATE", "states", isStateXX))
		deliver(t, s, m, state{n: 1, account: "a", version: "1", text: "a"}).says(t, 1, 0, stored)
		deliver(t, s, m, state{n: 2, account: "a", version: "2", text: "old"}, state{n: 3, account: "a", version: "3", text: "xx"}, state{n: 4, account: "b", version: "1", text: "b"}).
			says(t, 1, 1, stored, discarded, stored)
		deliver(t, s, m, state{n: 5, group: 1, account: "a", version: "5", text: "xx"}, state{n: 6, group: 1, account: "b", version: "2", text: "b"}, state{n: 7, group: 2, account: "a", version: "4", text: "a"}).
			says(t, 0, 1, discarded, stopped, stored)
		wantStates(t, h, "a 4 a 7", "b 1 b 4")
	}},
	{"a group stops at the first refusal, and not at what is outdated", func(t *testing.T, h Harness) {
		m := replacing(t)
		s := create(t, h, m, goodState, twoVersions+"('canary-a', 5, 'a', NULL)")
		deliver(t, s, m,
			state{n: 1, group: 1, account: "a", version: "4", text: "old"},
			state{n: 2, group: 1, account: "b", version: "1", text: "b"},
			state{n: 3, group: 1, account: "a", version: "7", text: "a"},
			state{n: 4, group: 2, account: "c", version: "1", text: "xx"},
			state{n: 5, group: 2, account: "a", version: "9", text: "late"}, // goes back, so
			state{n: 6, group: 3, account: "a", version: "6", text: "mid"},  // it is not in the way of others
		).says(t, 1, 1, outdated, stored, stored, rejected, stopped, outdated)
		wantStates(t, h, "a 7 a 3", "b 1 b 2")
	}},
	{"versions compare as their type does", func(t *testing.T, h Harness) {
		for _, tt := range []struct {
			field, column string
			ascending     []string
		}{
			{"type: integer", "integer", []string{"-10", "-9", "0", "10"}},
			{"type: integer", "smallint", []string{"-10", "9"}},
			{"type: numeric", "numeric", []string{"-1e3", "-999.5", "-0.5", "0", "0.05", "9", "10", "1.5e2", "18446744073709551616"}},
			{"type: numeric", "numeric(20,2)", []string{"-9.99", "9.99", "10", "100"}},
			{"type: timestamp", "timestamptz", []string{`"1969-12-31T23:59:59.999999Z"`, `"1999-12-31T23:59:59Z"`, `"2026-01-01T00:00:00+01:00"`, `"2025-12-31T23:00:00.000001Z"`}},
			{"type: timestamp", "timestamp", []string{`"1999-12-31T23:59:59Z"`, `"2026-01-01T00:00:00Z"`}},
			{"type: date", "date", []string{`"1969-12-31"`, `"1999-12-31"`, `"2026-01-01"`}},
			{"type: uuid", "uuid", []string{`"00000000-0000-7000-8000-000000000001"`, `"A0000000-0000-7000-8000-000000000000"`, `"f0000000-0000-7000-8000-000000000000"`}},
		} {
			m := states(t, batch.Replace, tt.field, tt.column)
			s := create(t, h, m)
			var all []state
			var words []string
			for i, version := range tt.ascending {
				all = append(all, state{n: 100 - i, account: "a", version: version, text: fmt.Sprint("v", i)})
				words = append(words, outdated)
			}
			last := len(all) - 1
			words[last] = stored
			for i := range all { // one by one, each is newer
				if o := deliver(t, s, m, all[i]); o.inserted+o.replaced != 1 {
					t.Errorf("%s: %s is not newer than %s", tt.column, all[i].version, all[max(0, i-1)].version)
				}
			}
			slices.Reverse(all)
			for i := range all { // and older
				if word := deliver(t, s, m, all[i]).words[0]; word != outdated && i > 0 {
					t.Errorf("%s: %s is %s after a newer one", tt.column, all[i].version, word)
				}
				all[i].account = "b"
			}
			slices.Reverse(all)
			deliver(t, s, m, all...).says(t, 1, 0, words...)
			if got := fmt.Sprint(h.Rows(t, "SELECT state FROM states ORDER BY user_id")); got != fmt.Sprintf("[[v%d canary] [v%[1]d canary]]", last) {
				t.Errorf("%s: in the table: %s", tt.column, got)
			}
			h.Exec(t, "DROP TABLE states")
		}
	}},
	{"any order, any batches and two workers end alike", func(t *testing.T, h Harness) {
		m := replacing(t)
		stores := []Store{create(t, h, m, goodState), h.Open(t, m.Table)}
		r := rand.New(rand.NewPCG(1, 1))
		var all []state
		newest := map[string]state{}
		for n := range 200 {
			one := state{n: n + 1, account: fmt.Sprintf("%02d", r.IntN(20)), version: fmt.Sprint(r.IntN(10)), text: fmt.Sprint("by ", n+1)}
			if r.IntN(8) == 0 {
				one.text = "xx"
			}
			all = append(all, one)
			if before, ok := newest[one.account]; one.text != "xx" && (!ok || before.version < one.version || before.version == one.version && before.n < one.n) {
				newest[one.account] = one
			}
		}
		deliveries := slices.Concat(all, all) // each twice
		r.Shuffle(len(deliveries), func(i, j int) { deliveries[i], deliveries[j] = deliveries[j], deliveries[i] })
		var workers sync.WaitGroup
		for w, part := range [][]state{deliveries[:200], deliveries[200:]} {
			workers.Go(func() {
				for len(part) > 0 {
					n := min(len(part), 1+(len(part)*7+w)%30)
					o := insertAny(t.Context(), t, stores[w], m, part[:n])
					for passes(o.err) {
						o = insertAny(t.Context(), t, stores[w], m, part[:n])
					}
					for i, word := range o.words {
						good := []string{stored, outdated}
						if part[i].text == "xx" {
							good = []string{rejected, outdated}
						}
						if !slices.Contains(good, word) {
							t.Errorf("%+v is %s; %v", part[i], word, o.err)
						}
					}
					part = part[n:]
				}
			})
		}
		workers.Wait()
		var want []string
		for _, one := range newest {
			want = append(want, fmt.Sprint(one.account, " ", one.version, " ", one.text, " ", one.n))
		}
		slices.Sort(want)
		wantStates(t, h, want...)
	}},
}
