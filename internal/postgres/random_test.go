package postgres_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
)

// TestBatchesLikeTheirModel compares random batches with a simple model that stores one row after
// the other.
func TestBatchesLikeTheirModel(t *testing.T) {
	t.Parallel()
	rounds := unlessThorough(50, 200)
	refusedInAnyWay := []string{rejected(byNoBadWord), rejected(byOneWord), rejected("23503 constraint earlier")}
	for _, tt := range []struct {
		name   string
		tables int
		rounds int
		random func(r *rand.Rand) (old, rows []row)
		trips  func(n int) int // at most, with one to find out why a row was discarded
		must   []string        // verdicts that have to come up
	}{
		{name: "FIFO", tables: 1, rounds: rounds, random: fifoBatch, trips: func(n int) int { return n + 4 }, must: append(refusedInAnyWay, stored, discarded, afterStopped)},
		{name: "standard", tables: 1, rounds: rounds, random: smallBatch, trips: func(int) int { return 3 }, must: append(refusedInAnyWay, stored, discarded)},
		{name: "large", tables: 1, rounds: rounds / 4, random: largeBatch, trips: func(int) int { return 4 }, must: []string{stored, discarded, rejected(byNoBadWord), rejected("23503 constraint earlier")}},
		{name: "FIFO, three tables", tables: 3, rounds: rounds, random: fifoBatch, trips: func(n int) int { return n + 4 }, must: append(refusedInAnyWay, stored, discarded, afterStopped)},
		{name: "standard, three tables", tables: 3, rounds: rounds, random: smallBatch, trips: func(int) int { return 3 }, must: append(refusedInAnyWay, stored, discarded)},
		{name: "large, three tables", tables: 3, rounds: rounds / 4, random: largeBatch, trips: func(int) int { return 4 }, must: []string{stored, discarded, rejected(byNoBadWord), rejected("23503 constraint earlier")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				sql, tables := severalTables(steps, tt.tables)
				s := newSite(t, setup{sql: sql, more: tables[1:], mode: mode})
				past := s.db.Conn(t) // which stores what would be refused or discarded now
				do := func(sql string, args ...any) {
					if _, err := past.Exec(t.Context(), sql, args...); err != nil {
						t.Fatal(err)
					}
				}
				do("SET session_replication_role = replica") // no triggers
				kinds := map[string]int{}
				most := 0
				for seed := range tt.rounds {
					old, rows := tt.random(rand.New(rand.NewPCG(uint64(seed), 1)))
					m := reference{tables: tt.tables, words: map[string]bool{}, ids: map[int64]string{}}
					for _, table := range tables {
						do("ALTER TABLE " + table.Name + " DROP CONSTRAINT no_bad_word")
						do("DELETE FROM " + table.Name)
					}
					for _, r := range old {
						if m.store(r) {
							do("INSERT INTO "+tables[m.table(r.id)].Name+" (id, word, n) VALUES ($1, $2, $3)", r.id, r.word, r.n)
						}
					}
					for _, table := range tables {
						do(strings.ReplaceAll(noBadWord, "events", table.Name))
					}
					for i := range rows {
						rows[i].table = m.table(rows[i].id)
					}

					want := m.run(rows)
					if !strings.HasPrefix(tt.name, "FIFO") && seed%5 == 0 { // it takes as long as the insert
						s.rehearse(rows...).want(want)
					}
					deliver := s.insert // as most queues do: without a word of those that are stored
					if seed%2 == 0 {
						deliver = s.redeliver
					}
					o := deliver(rows...).want(want)
					if diff := gocmp.Diff(s.words(), m.contents()); diff != "" {
						t.Errorf("the table (-got +want):\n%s", diff)
					}
					if limit := tt.trips(len(rows)); o.RoundTrips > limit {
						t.Errorf("%d round trips for %d rows, want at most %d", o.RoundTrips, len(rows), limit)
					}
					if t.Failed() {
						t.Fatalf("that was seed %d: %+v, old %+v", seed, rows, old)
					}
					most = max(most, o.RoundTrips)
					for what := range want {
						kinds[strings.TrimRight(what, "23")]++
					}
				}
				t.Logf("batches with at least one such row: %v; most round trips: %d", kinds, most)
				for _, what := range tt.must {
					if kinds[what] == 0 {
						t.Errorf("no batch had a row that was %s: the test shows less than it should", what)
					}
				}
			})
		})
	}
}

// severalTables returns the SQL for n tables like events, and them.
func severalTables(sql string, n int) (all string, tables []*batch.Table) {
	for i := range n {
		one, suffix := *events, ""
		if i > 0 {
			suffix = fmt.Sprint(i + 1)
		}
		one.Name += suffix
		tables = append(tables, &one)
		all += strings.NewReplacer("events", one.Name, "one_word", "one_word"+suffix, "discard()", "discard"+suffix+"()").Replace(sql)
	}
	return all, tables
}

// fifoBatch makes a FIFO batch in which rows block each other.
func fifoBatch(r *rand.Rand) (old, rows []row) {
	rows = randomRows(r, 1+r.IntN(20), 60, randomRow)
	groups := 1 + r.IntN(4)
	for i := range rows {
		rows[i].group = r.IntN(groups + 1)
	}
	rows[r.IntN(len(rows))].group = 1 // else it is none
	return randomRows(r, r.IntN(6), 60, randomRow), backwards(rows)
}

// smallBatch makes a batch that is searched row by row.
func smallBatch(r *rand.Rand) (old, rows []row) {
	rows = randomRows(r, 1+r.IntN(40), 60, randomRow)
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.id, b.id) })
	return randomRows(r, r.IntN(6), 60, randomRow), backwards(rows)
}

// largeBatch makes a batch that is searched in chunks. Its words differ: of two rows with the same
// one either may win.
func largeBatch(r *rand.Rand) (old, rows []row) {
	ownWord := func(r *rand.Rand, ids int) row {
		one := randomRow(r, ids)
		if word, _ := one.word.(string); !strings.Contains(word, "-bad-") && !strings.Contains(word, "-discard-") || r.IntN(10) > 0 {
			one.word = good(one.id).word
		}
		if r.IntN(10) > 0 {
			one.n = nil
		}
		return one
	}
	rows = randomRows(r, 65+r.IntN(200), 400, ownWord)
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.id, b.id) })
	return randomRows(r, r.IntN(40), 400, ownWord), backwards(rows)
}

// randomRows makes rows with different ids, as package ingest does.
func randomRows(r *rand.Rand, n, ids int, random func(*rand.Rand, int) row) []row {
	rows := make([]row, 0, n)
	for taken := map[int64]bool{}; len(rows) < n; {
		if one := random(r, ids); !taken[one.id] {
			taken[one.id] = true
			rows = append(rows, one)
		}
	}
	return rows
}

// randomRow makes a row whose values sometimes collide with those of others.
func randomRow(r *rand.Rand, ids int) row {
	one := row{id: 1 + r.Int64N(int64(ids)), word: fmt.Sprint(canary, r.IntN(ids))}
	switch r.IntN(12) {
	case 0:
		badWord(&one)
	case 1:
		toDiscard(&one)
	case 2, 3, 4:
		one.n = 1 + r.IntN(ids)
	}
	return one
}

// backwards makes rows refer to earlier ones only. One that refers to a later one passes only as
// long as nothing of its batch is refused.
func backwards(rows []row) []row {
	at := map[int64]int{}
	for i, r := range rows {
		at[r.id] = i
	}
	for i := range rows {
		if n, refers := rows[i].n.(int); refers && at[int64(n)] > i {
			rows[i].n = nil
		}
	}
	return rows
}

// reference is the table of steps, in the simplest form.
type reference struct {
	tables int
	ids    map[int64]string // id and word
	words  map[string]bool  // of each table
}

// table returns the index of the table of an id.
func (m *reference) table(id int64) int { return int(id) % m.tables }

// word is the word of a row with the table that it is for.
func (m *reference) word(r row) string { return fmt.Sprint(m.table(r.id), r.word) }

// store stores a row unless something other than the check refuses it.
func (m *reference) store(r row) bool {
	_, there := m.ids[r.id]
	if there || m.words[m.word(r)] || m.lacks(r) {
		return false
	}
	m.ids[r.id] = r.word.(string)
	m.words[m.word(r)] = true
	return true
}

// lacks reports whether the row refers to one that is missing.
func (m *reference) lacks(r row) bool {
	n, refers := r.n.(int)
	_, there := m.ids[int64(n)]
	there = there && m.table(int64(n)) == m.table(r.id)
	return refers && int64(n) != r.id && !there
}

// run stores rows in their order, and nothing of a group after the first one that is not stored.
func (m *reference) run(rows []row) verdicts {
	all := map[string][]int64{}
	stopped := map[int]bool{}
	for _, r := range rows {
		what := m.one(r)
		if stopped[r.group] {
			what = afterStopped
		} else if what == "new" {
			m.store(r)
			what = stored
		}
		stopped[r.group] = r.group != 0 && (stopped[r.group] || what != stored)
		all[what] = append(all[what], r.id)
	}
	return compress(all)
}

func (m *reference) one(r row) string {
	var none row
	word := r.word.(string)
	_, there := m.ids[r.id]
	bad, discard := none, none
	bad.id, discard.id = r.id, r.id
	badWord(&bad)
	toDiscard(&discard)
	switch {
	case there:
		return stored
	case word == discard.word:
		return discarded
	case word == bad.word:
		return rejected(byNoBadWord)
	case m.words[m.word(r)]:
		return rejected(byOneWord + []string{"", "2", "3"}[m.table(r.id)])
	case m.lacks(r):
		return rejected("23503 constraint earlier")
	default:
		return "new"
	}
}

func (m *reference) contents() []string {
	var all []string
	for _, id := range keysOf(m.ids) {
		all = append(all, fmt.Sprint(id, " ", m.ids[id]))
	}
	return all
}
