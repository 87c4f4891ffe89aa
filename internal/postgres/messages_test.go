package postgres_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// order is a message of several rows: one of orders, and its lines. In readings there are only lines.
type order struct {
	id    int64
	word  string
	lines []string
	group int
}

// kindOf is a kind of messages of several rows.
type kindOf struct {
	name  string
	table *batch.Table
	sql   string
}

const (
	goodWord    = "good"
	badWordOf   = "bad"
	discardWord = "discard"

	byBadOrder, byBadLine = "23514 constraint no_bad_order", "23514 constraint no_bad_line"
)

// kindsOf are the kinds of messages of several rows: with children, with a key that other messages may
// have, with a ledger, and with several rows in one table.
func kindsOf() []kindOf {
	columns := []batch.Column{idColumn, wordColumn}
	lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Columns: []batch.Column{idColumn, nColumn, wordColumn}}
	readings := *lines
	readings.Name, readings.Several, readings.KeyOfMessage = "readings", true, true
	orders := batch.Table{Name: "orders", Key: []int{0}, Columns: columns, Children: []*batch.Table{lines}, KeyOfMessage: true}
	natural, withLedger := orders, orders
	natural.KeyOfMessage = false
	withLedger.Ledger = "keys"
	withLedger.Columns = append(slices.Clone(columns), batch.Column{Name: "key", Kind: batch.Int8, Type: "bigint", NotNull: true, Ledger: true})
	withLedger.Key = []int{2}
	discard := func(table string) string {
		return "CREATE TRIGGER discard BEFORE INSERT ON " + table + " FOR EACH ROW WHEN (NEW.word LIKE 'discard%') EXECUTE FUNCTION discard();"
	}
	const function = "CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;"
	ofLines := function + "CREATE TABLE lines (id bigint NOT NULL, n integer NOT NULL, word text CONSTRAINT no_bad_line CHECK (word NOT LIKE 'bad%'), tx xid8 DEFAULT pg_current_xact_id(), PRIMARY KEY (id, n));" + discard("lines")
	ofOrders := ofLines + "CREATE TABLE orders (id bigint $key, word text CONSTRAINT no_bad_order CHECK (word NOT LIKE 'bad%'), tx xid8 DEFAULT pg_current_xact_id());" + discard("orders")
	keyed := strings.ReplaceAll(ofOrders, "$key", "PRIMARY KEY")
	return []kindOf{
		{"children", &orders, keyed + "ALTER TABLE lines ADD CONSTRAINT of_order FOREIGN KEY (id) REFERENCES orders;"},
		{"children of a natural key", &natural, keyed},
		{"children beside a ledger", &withLedger, strings.ReplaceAll(ofOrders, "$key", "NOT NULL") + "CREATE TABLE keys (key bigint PRIMARY KEY);"},
		{"several rows of a table", &readings, strings.NewReplacer("TABLE lines", "TABLE readings", "ON lines", "ON readings").Replace(ofLines)},
	}
}

// batchOf makes a batch of orders.
func (k *kindOf) batchOf(orders []order) *batch.Batch {
	b := batch.New(k.table)
	for i, o := range orders {
		if !k.table.Several {
			b.Begin(i, o.group)
			b.Int8(o.id)
			b.String(o.word)
			if k.table.Ledger != "" {
				b.Int8(o.id)
			}
			b.End()
		}
		for n, word := range o.lines {
			if k.table.Several {
				begin(b, n, i, o.group)
			} else {
				b.More(0)
			}
			b.Int8(o.id)
			b.Int4(int32(n + 1))
			b.String(word)
			b.End()
		}
	}
	b.Sort()
	return b
}

// lines is the name of the table that has the lines.
func (k *kindOf) lines() string {
	if k.table.Several {
		return k.table.Name
	}
	return "lines"
}

// newSite is a site for a kind.
func (k *kindOf) newSite(t testing.TB, mode string) *site {
	t.Helper()
	return newSite(t, setup{sql: k.sql, table: k.table, mode: mode})
}

func (k *kindOf) insert(s *site, redelivered bool, orders ...order) *outcome {
	s.Helper()
	b := k.batchOf(orders)
	b.SetRedelivered(redelivered)
	return s.insertBatch(s.Context(), b, byRow(b, orders, func(o order) int64 { return o.id }))
}

// contents are the rows of all tables of a kind.
func (k *kindOf) contents(s *site) (all []string) {
	s.Helper()
	if !k.table.Several {
		for _, r := range s.db.Rows(s, "SELECT id, word FROM orders") {
			all = append(all, r[0]+" "+r[1])
		}
	}
	for _, r := range s.db.Rows(s, "SELECT id, n, word FROM "+k.lines()) {
		all = append(all, r[0]+"."+r[1]+" "+r[2])
	}
	slices.Sort(all)
	return all
}

func (k *kindOf) clear(db *pgtest.DB, t testing.TB) {
	t.Helper()
	tables := []string{k.lines()}
	if !k.table.Several {
		tables = append(tables, "orders")
	}
	if k.table.Ledger != "" {
		tables = append(tables, k.table.Ledger)
	}
	db.Exec(t, "TRUNCATE "+strings.Join(tables, ", "))
}

// run stores orders one after the other, as the simplest reference.
func (k *kindOf) run(kept map[int64]order, orders []order) (all map[string][]int64, inserted int) {
	all = map[string][]int64{}
	stopped := map[int]bool{}
	for _, o := range orders {
		_, there := kept[o.id]
		what := stored
		n := slices.Index(o.lines, badWordOf) // a row that is refused ends the statement before it counts
		switch {
		case stopped[o.group]:
			what = afterStopped
		case there:
		case !k.table.Several && o.word == badWordOf && len(o.lines) == 0:
			what = rejected(byBadOrder)
		case !k.table.Several && o.word == badWordOf:
			what = rejectedRow("the row of orders", byBadOrder)
		case !k.table.Several && o.word == discardWord:
			what = discarded
		case n < 0 && slices.Contains(o.lines, discardWord):
			what = discarded
		case n >= 0 && k.table.Several && len(o.lines) == 1:
			what = rejected(byBadLine)
		case n >= 0:
			what = rejectedRow(fmt.Sprintf("row %d of %s", n+1, k.lines()), byBadLine)
		default:
			kept[o.id] = o
			inserted++
		}
		stopped[o.group] = o.group != 0 && (stopped[o.group] || what != stored)
		all[what] = append(all[what], o.id)
	}
	return all, inserted
}

// TestMessagesOfSeveralRows compares random batches with the reference: all rows of a message are
// stored, or none.
func TestMessagesOfSeveralRows(t *testing.T) {
	t.Parallel()
	for _, k := range kindsOf() {
		for _, fifo := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, fifo=%v", k.name, fifo), func(t *testing.T) {
				t.Parallel()
				inModes(t, func(t *testing.T, mode string) {
					s := k.newSite(t, mode)
					kinds := map[string]int{}
					for seed := range unlessThorough(40, 150) {
						r := rand.New(rand.NewPCG(uint64(seed), 7))
						k.clear(s.db, t)
						there := map[int64]order{}
						old := k.random(r, 3, false)
						for i := range old {
							old[i].word = goodWord
							for n := range old[i].lines {
								old[i].lines[n] = goodWord
							}
						}
						k.run(there, old)
						if len(old) > 0 {
							k.insert(s, false, old...).must()
						}
						size := 12
						if seed%8 == 0 && !fifo {
							size = 150 // searched in chunks
						}
						orders := k.random(r, size, fifo)
						for i := range orders {
							if was, ok := there[orders[i].id]; ok && k.table.Several { // the message comes again as it was
								orders[i].lines = was.lines
							}
						}
						if !fifo {
							slices.SortFunc(orders, func(a, b order) int { return cmp.Compare(a.id, b.id) })
						}
						want, inserted := k.run(there, orders)
						o := k.insert(s, seed%2 == 0, orders...).want(compress(want)).inserts(inserted)
						if diff := gocmp.Diff(k.contents(s), rowsOf(k, there)); diff != "" {
							t.Errorf("the tables (-got +want):\n%s", diff)
						}
						if limit := 6 + len(orders); fifo && o.RoundTrips > limit || !fifo && o.RoundTrips > 6 {
							t.Errorf("%d round trips", o.RoundTrips)
						}
						// Everything that is stored adds nothing when it comes again.
						again, _ := k.run(there, orders)
						k.insert(s, true, orders...).want(compress(again)).inserts(0)
						if diff := gocmp.Diff(k.contents(s), rowsOf(k, there)); diff != "" {
							t.Errorf("the tables after a redelivery (-got +want):\n%s", diff)
						}
						if t.Failed() {
							t.Fatalf("that was seed %d: %+v, old %+v", seed, orders, old)
						}
						for what := range want {
							kinds[what]++
						}
					}
					for _, must := range []string{stored, discarded, "rejected: refused_by_database row "} {
						if !slices.ContainsFunc(keysOf(kinds), func(what string) bool { return strings.HasPrefix(what, must) }) {
							t.Errorf("no batch had a message that was %s: the test shows less than it should", must)
						}
					}
				})
			})
		}
	}
}

// random makes orders with different ids.
func (k *kindOf) random(r *rand.Rand, most int, fifo bool) (all []order) {
	word := func() string {
		switch r.IntN(25) {
		case 0:
			return badWordOf
		case 1:
			return discardWord
		}
		return goodWord
	}
	for _, id := range r.Perm(200)[:1+r.IntN(most)] {
		o := order{id: int64(id), word: word()}
		n := r.IntN(5)
		if k.table.Several {
			n++
		}
		for range n {
			o.lines = append(o.lines, word())
		}
		if fifo {
			o.group = 1 + r.IntN(3)
		}
		all = append(all, o)
	}
	return all
}

func rowsOf(k kindOf, orders map[int64]order) (all []string) {
	for _, o := range orders {
		if !k.table.Several {
			all = append(all, fmt.Sprint(o.id, " ", o.word))
		}
		for n, word := range o.lines {
			all = append(all, fmt.Sprintf("%d.%d %s", o.id, n+1, word))
		}
	}
	slices.Sort(all)
	return all
}

// TestMessagesOfSeveralRowsCostOneRoundTrip has new messages, redeliveries, and both in one batch.
func TestMessagesOfSeveralRowsCostOneRoundTrip(t *testing.T) {
	t.Parallel()
	for _, k := range kindsOf() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				s := k.newSite(t, mode)
				orders := func(first, n int64) (all []order) {
					for id := first; id < first+n; id++ {
						all = append(all, order{id: id, word: goodWord, lines: slices.Repeat([]string{goodWord}, 1+int(id%7))})
					}
					return all
				}
				k.insert(s, false, orders(1, 3)...).must().inserts(3) // connects and prepares
				k.insert(s, false, orders(11, 20)...).must().inserts(20).costs(1)
				k.insert(s, true, orders(11, 20)...).must().inserts(0).costs(1)
				k.insert(s, true, orders(21, 20)...).must().inserts(10).costs(1)
				many := orders(1000, 1500) // more rows than one statement has
				if o := k.insert(s, false, many...).must().inserts(1500); o.RoundTrips != 1 {
					t.Errorf("%d round trips for many rows, want 1", o.RoundTrips)
				}
				// SQS delivers a message twice at once.
				k.insert(s, false, orders(25, 30)...).must().inserts(14)
			})
		})
	}
}

// TestAParentThatATriggerRenames must not lose its children: nothing of its message is stored, and the
// error says why.
func TestAParentThatATriggerRenames(t *testing.T) {
	t.Parallel()
	k := kindsOf()[1]
	s := newSite(t, setup{table: k.table, sql: k.sql + `
		CREATE FUNCTION rename() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 2 THEN NEW.id := 200; END IF; RETURN NEW; END $$;
		CREATE TRIGGER rename BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION rename();`})
	lines := []string{goodWord, goodWord}
	for range 2 {
		o := k.insert(s, false, order{id: 1, word: goodWord, lines: lines}, order{id: 2, word: goodWord, lines: lines}, order{id: 3, word: goodWord})
		o.verdicts(verdicts{stored: "1 3", discarded: "2"})
	}
	if diff := gocmp.Diff(k.contents(s), []string{"1 good", "1.1 good", "1.2 good", "3 good"}); diff != "" {
		t.Errorf("the tables (-got +want):\n%s", diff)
	}
}

// TestEqualParents: parents that are equal in the column's type are one, with the children of the stored
// one.
func TestEqualParents(t *testing.T) {
	t.Parallel()
	lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Columns: []batch.Column{
		{Name: "code", Kind: batch.Text, Type: "text", NotNull: true}, {Name: "n", Kind: batch.Int4, Type: "integer", NotNull: true},
	}}
	table := &batch.Table{Name: "orders", Key: []int{0}, Columns: []batch.Column{{Name: "code", Kind: batch.Text, Type: "text", NotNull: true}}, Children: []*batch.Table{lines}}
	s := newSite(t, setup{table: table, sql: "CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE orders (code citext PRIMARY KEY); CREATE TABLE lines (code citext REFERENCES orders, n integer, PRIMARY KEY (code, n));"})
	add := func(b *batch.Batch, message int, code string, n int32) {
		b.Begin(message, 0)
		b.String(code)
		b.End()
		for i := range n {
			b.More(0)
			b.String(code)
			b.Int4(i)
			b.End()
		}
	}
	b := batch.New(table)
	add(b, 0, "A", 1)
	add(b, 1, "a", 3)
	add(b, 2, "B", 2)
	b.Sort()
	s.insertBatch(t.Context(), b, []int64{1, 3, 2}).must().inserts(2)
	again := batch.New(table)
	add(again, 0, "b", 4)
	s.insertBatch(t.Context(), again, []int64{1}).must().inserts(0)
	got := s.db.Rows(t, "SELECT code::text, count(n)::text FROM orders JOIN lines USING (code) GROUP BY code ORDER BY code")
	if diff := gocmp.Diff(got, [][]string{{"A", "1"}, {"B", "2"}}); diff != "" {
		t.Errorf("lines of orders (-got +want):\n%s", diff)
	}
}

// BenchmarkMessagesOfSeveralRows stores as many rows of messages that have one, and of messages that
// have ten.
func BenchmarkMessagesOfSeveralRows(b *testing.B) {
	k := kindsOf()[3]
	one := *k.table
	one.Several = false
	for _, lines := range []int{1, 10} {
		k := kindOf{table: k.table, sql: strings.ReplaceAll(k.sql, "CREATE TRIGGER", "-- CREATE TRIGGER")}
		if lines == 1 {
			k.table = &one
		}
		b.Run(fmt.Sprintf("lines=%d", lines), func(b *testing.B) {
			s := k.newSite(b, "")
			store := openStore(b, s.db.URL, k.table)
			const rows = 10_000
			batches := make([]*batch.Batch, b.N)
			for i := range batches {
				batches[i] = batch.New(k.table)
				for n := range rows {
					begin(batches[i], n%lines, n/lines, 0)
					batches[i].Int8(int64(i*rows + n/lines))
					batches[i].Int4(int32(n%lines + 1))
					batches[i].String(goodWord)
					batches[i].End()
				}
			}
			b.ResetTimer()
			for _, orders := range batches {
				if result, err := store.Insert(b.Context(), orders); err != nil || result.Tallies.Sum().Inserted != rows/lines {
					b.Fatal(result.Tallies, err)
				}
			}
			b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// TestParentsThatAreReplaced: of two messages about one order the newer stays, with its lines: those of the
// older that it has no more are deleted, in any order of arrival, by any worker, in any batch.
func TestParentsThatAreReplaced(t *testing.T) {
	t.Parallel()
	lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Parent: []int{0}, Columns: []batch.Column{idColumn, nColumn, wordColumn}}
	table := &batch.Table{Name: "orders", Key: []int{0}, OnConflict: batch.Replace, Children: []*batch.Table{lines}, Columns: []batch.Column{idColumn, versionColumn, senderColumn}}
	const sql = `CREATE TABLE orders (id bigint PRIMARY KEY, version bigint, message uuid NOT NULL);
		CREATE TABLE lines (id bigint NOT NULL REFERENCES orders, n integer NOT NULL, word text CONSTRAINT no_bad_line CHECK (word NOT LIKE 'bad%'), PRIMARY KEY (id, n));`
	type state struct {
		id, version, message int64
		lines                []int32
		bad                  bool
		group                int
	}
	batchOf := func(states []state) (*batch.Batch, []int64) {
		b := batch.New(table)
		for i, s := range states {
			b.Begin(i, s.group)
			b.Int8(s.id)
			b.Int8(s.version)
			b.Bytes([]byte(fmt.Sprintf("%016d", s.message)))
			b.End()
			for _, n := range s.lines {
				b.More(0)
				b.Int8(s.id)
				b.Int4(n)
				word := fmt.Sprint(goodWord, s.version)
				if s.bad {
					word = badWordOf
				}
				b.String(word)
				b.End()
			}
		}
		b.Sort()
		return b, byRow(b, states, func(s state) int64 { return s.message })
	}
	const contents = "SELECT o.id::text, version::text, coalesce(string_agg(n || ' ' || word, ', ' ORDER BY n), '') FROM orders o LEFT JOIN lines USING (id) GROUP BY o.id, version ORDER BY o.id"

	t.Run("fates", func(t *testing.T) {
		t.Parallel()
		inModes(t, func(t *testing.T, mode string) {
			s := newSite(t, setup{table: table, sql: sql, mode: mode})
			insert := func(states ...state) *outcome {
				b, ids := batchOf(states)
				return s.insertBatch(t.Context(), b, ids)
			}
			insert(state{id: 1, version: 5, message: 1, lines: []int32{1, 2, 3}}).must().inserts(1)
			o := insert(state{id: 1, version: 7, message: 2, lines: []int32{2, 4}}, state{id: 2, version: 1, message: 3, lines: []int32{1}}).must().inserts(1).costs(1)
			if got := o.Tallies.Sum().Replaced; got != 1 {
				t.Errorf("%d replaced, want 1", got)
			}
			insert(state{id: 1, version: 6, message: 4, lines: []int32{1, 9}}).want(verdicts{outdatedRow: "4"}).inserts(0).costs(1)
			insert(state{id: 1, version: 7, message: 2, lines: []int32{2, 4}}).must().inserts(0).costs(1)
			// A newer one is refused: the stored one stays as it is, and an older one of the batch is tried.
			insert(state{id: 2, version: 3, message: 5, lines: []int32{1, 2}, bad: true}, state{id: 2, version: 2, message: 6}, state{id: 1, version: 9, message: 7, lines: []int32{1}, bad: true}).want(verdicts{
				stored: "6", rejectedRow("row 1 of lines", byBadLine): "5 7",
			})
			if diff := gocmp.Diff(s.db.Rows(t, contents), [][]string{{"1", "7", "2 good7, 4 good7"}, {"2", "2", ""}}); diff != "" {
				t.Errorf("the tables (-got +want):\n%s", diff)
			}
			// The row that is named is not one that was there before.
			insert(state{id: 5, version: 1, message: 10}, state{id: 6, version: 1, message: 11, lines: []int32{1, 2}}).must()
			s.db.Exec(t, "CREATE UNIQUE INDEX one_word ON lines (word) WHERE n > 2; INSERT INTO lines VALUES (5, 3, 'good2')")
			insert(state{id: 6, version: 2, message: 12, lines: []int32{1, 2, 3}}, state{id: 4, version: 0, message: 13}).want(verdicts{
				stored: "13", rejectedRow("row 3 of lines", "23505 constraint one_word"): "12",
			})
			// A message that has a line twice is rejected: no order of its rows is the right one.
			insert(state{id: 3, version: 1, message: 8, lines: []int32{1, 1}}, state{id: 4, version: 1, message: 9}).want(verdicts{
				stored: "9", rejected("21000"): "8",
			})
		})
	})

	t.Run("two workers", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, setup{table: table, sql: sql})
		for seed := range unlessThorough(15, 60) {
			r := rand.New(rand.NewPCG(uint64(seed), 11))
			var states []state
			newest := map[int64]state{}
			for i := range 60 {
				one := state{id: 1 + r.Int64N(8), version: r.Int64N(40), message: int64(i + 1)}
				for n := range int32(6) {
					if r.IntN(2) == 0 {
						one.lines = append(one.lines, n)
					}
				}
				states = append(states, one)
				if was, ok := newest[one.id]; !ok || one.version > was.version || one.version == was.version && one.message > was.message {
					newest[one.id] = one
				}
			}
			var workers sync.WaitGroup
			for w := range 2 {
				mine := slices.Clone(states) // SQS may deliver each message to both
				rand.New(rand.NewPCG(uint64(seed), uint64(w))).Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
				workers.Go(func() {
					for part := range slices.Chunk(mine, 1+seed%9) {
						b, _ := batchOf(part)
						for {
							result, err := s.store.Insert(t.Context(), b)
							if err == nil && !slices.ContainsFunc(result.Verdicts, func(v message.Verdict) bool { return v.Outcome != message.Stored }) {
								break
							}
							if err != nil && causeOf(err) != message.CauseTransient {
								t.Errorf("got %v, %v", result.Verdicts, err)
								return
							}
						}
					}
				})
			}
			workers.Wait()
			var want [][]string
			for _, id := range keysOf(newest) {
				var words []string
				for _, n := range newest[id].lines {
					words = append(words, fmt.Sprintf("%d good%d", n, newest[id].version))
				}
				want = append(want, []string{fmt.Sprint(id), fmt.Sprint(newest[id].version), strings.Join(words, ", ")})
			}
			if diff := gocmp.Diff(s.db.Rows(t, contents), want); diff != "" {
				t.Fatalf("seed %d, the tables (-got +want):\n%s", seed, diff)
			}
			s.db.Exec(t, "TRUNCATE orders, lines")
		}
	})
}

// TestConflictsOfMessagesOfSeveralRows: a row that another message has stored with other content is found
// in a table that may have several rows of a message, and in one with children; where it rejects the
// message, nothing of that is stored.
func TestConflictsOfMessagesOfSeveralRows(t *testing.T) {
	t.Parallel()
	columns := []batch.Column{idColumn, senderColumn, {Name: "word", Kind: batch.Text, Type: "text", Compared: true}}
	const sql = "CREATE TABLE readings (id bigint PRIMARY KEY, message uuid, word text);"
	type message struct {
		name  int64
		first int64 // id of its first row
		words []string
	}
	for _, rejects := range []bool{false, true} {
		for _, fifo := range []bool{false, true} {
			t.Run(fmt.Sprintf("rejects=%v, fifo=%v", rejects, fifo), func(t *testing.T) {
				t.Parallel()
				table := &batch.Table{Name: "readings", Several: true, Key: []int{0}, Columns: columns}
				conflict := "stored"
				if rejects {
					table.OnConflict, conflict = batch.Reject, "rejected: conflict"
				}
				s := newSite(t, setup{table: table, sql: sql})
				insert := func(messages ...message) map[int64]string {
					b := batch.New(table)
					for i, m := range messages {
						group := 0
						if fifo {
							group = i + 1
						}
						for n, word := range m.words {
							begin(b, n, i, group)
							b.Int8(m.first + int64(n))
							b.Bytes([]byte(fmt.Sprintf("%016d", m.name)))
							b.String(word)
							b.End()
						}
					}
					b.Sort()
					result, err := s.store.Insert(t.Context(), b)
					if err != nil {
						t.Fatal(err)
					}
					got := map[int64]string{}
					for i, v := range result.Verdicts {
						what := v.Outcome.String()
						if v.Rejection.Reason != "" {
							what += ": " + string(v.Rejection.Reason)
						}
						got[messages[b.Message(i)].name] = what
					}
					return got
				}
				if conflict == "stored" {
					conflict = "stored: conflict"
				}
				insert(message{1, 10, []string{"a", "b"}})
				got := insert(message{1, 10, []string{"a", "b"}}, message{2, 10, []string{"a", "b"}}, message{3, 11, []string{"c", "d"}}, message{4, 20, []string{"e"}})
				if diff := gocmp.Diff(got, map[int64]string{1: stored, 2: stored, 3: conflict, 4: stored}); diff != "" {
					t.Errorf("(-got +want):\n%s", diff)
				}
				want := "10 a, 11 b, 12 d, 20 e"
				if rejects {
					want = "10 a, 11 b, 20 e"
				}
				if got := s.db.Rows(t, "SELECT string_agg(id || ' ' || word, ', ' ORDER BY id) FROM readings")[0][0]; got != want {
					t.Errorf("the table has %s, want %s", got, want)
				}
			})
		}
	}
}

// TestTheRefusedRowOfMany is named, however many rows its message has.
func TestTheRefusedRowOfMany(t *testing.T) {
	t.Parallel()
	for _, k := range kindsOf() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := k.newSite(t, "")
			for i, n := range []int{2, 64, 65, 1000, 10_000} {
				for _, at := range []int{0, n / 3, n - 1} {
					lines := slices.Repeat([]string{goodWord}, n)
					lines[at] = badWordOf
					id := int64(10*i + at%7)
					want := rejectedRow(fmt.Sprintf("row %d of %s", at+1, k.lines()), byBadLine)
					o := k.insert(s, false, order{id: id, word: goodWord, lines: lines}, order{id: id + 1000, word: goodWord, lines: []string{goodWord}})
					o.want(verdicts{want: fmt.Sprint(id), stored: fmt.Sprint(id + 1000)})
					k.clear(s.db, t)
				}
			}
		})
	}
}

// TestAMissingChild: a table that cannot take its children takes no rows, and others do.
func TestAMissingChild(t *testing.T) {
	t.Parallel()
	k := kindsOf()[0]
	s := newSite(t, setup{sql: createEvents + k.sql + "DROP TABLE lines", more: []*batch.Table{k.table}})
	for range 2 {
		b := batch.New(events, k.table)
		b.Begin(0, 0)
		b.Int8(1)
		good(1).end(b)
		b.BeginIn(1, 1, 0)
		b.Int8(2)
		b.String(goodWord)
		b.End()
		b.More(0)
		b.Int8(2)
		b.Int4(1)
		b.String(goodWord)
		b.End()
		b.Sort()
		o := s.insertBatch(t.Context(), b, []int64{1, 2}).verdicts(verdicts{stored: "1", configuration: "2"})
		if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), "lines") {
			t.Errorf("got error %v, want one about lines", o.err)
		}
	}
}

// TestRefusedMessagesAreNotOutdated: a newer row of the batch that is refused, too, makes no older one
// outdated; nor does a newer row of one key make a message outdated that has another row.
func TestRefusedMessagesAreNotOutdated(t *testing.T) {
	t.Parallel()
	columns := []batch.Column{idColumn, versionColumn, senderColumn, wordColumn}
	children := &batch.Table{Name: "none", Key: []int{0}, Parent: []int{0}, Columns: columns[:1]}
	type row struct {
		id, version int64
		word        string
	}
	insert := func(s *site, messages ...[]row) *outcome {
		b := batch.New(s.into...)
		for i, rows := range messages {
			for n, r := range rows {
				begin(b, n, i, 0)
				b.Int8(r.id)
				b.Int8(r.version)
				b.Bytes(fmt.Appendf(nil, "%016d", i))
				b.String(r.word)
				b.End()
			}
		}
		b.Sort()
		return s.insertByMessage(b)
	}
	const sql = `CREATE TABLE states (id bigint PRIMARY KEY, version bigint, message uuid, word text CONSTRAINT no_bad_word CHECK (word NOT LIKE 'bad%'));`

	t.Run("a newer one is refused at the commit", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, setup{table: &batch.Table{Name: "states", Key: []int{0}, OnConflict: batch.Replace, Columns: columns, Children: []*batch.Table{children}}, sql: sql + `
			CREATE TABLE none (id bigint PRIMARY KEY REFERENCES states);
			CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.word = 'late' THEN RAISE check_violation; END IF; RETURN NULL; END $$;
			CREATE CONSTRAINT TRIGGER late AFTER INSERT ON states DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late();`})
		insert(s, []row{{1, 1, badWordOf}}, []row{{1, 2, "late"}}, []row{{2, 1, goodWord}}).want(verdicts{
			stored: "3", rejected(byNoBadWord): "1", rejected("23514"): "2",
		})
	})
	t.Run("another row of the message", func(t *testing.T) {
		t.Parallel()
		s := newSite(t, setup{table: &batch.Table{Name: "states", Key: []int{0}, OnConflict: batch.Replace, Columns: columns, Several: true}, sql: sql})
		insert(s, []row{{1, 10, goodWord}}).must()
		ofMany := rejectedRow("row 2 of states", byNoBadWord)
		insert(s, []row{{1, 5, goodWord}, {2, 1, badWordOf}}, []row{{1, 4, goodWord}, {3, 1, goodWord}}, []row{{1, 3, goodWord}, {1, 2, goodWord}}).want(verdicts{
			ofMany: "1", stored: "2", outdatedRow: "3",
		}).inserts(1)
		// Each has the newest row of one key.
		insert(s, []row{{7, 5, goodWord}, {8, 1, goodWord}}, []row{{7, 1, goodWord}, {8, 5, badWordOf}}).want(verdicts{stored: "1", ofMany: "2"})
	})
}

// TestChildrenThatStay: the rows of a replaced parent that are still in its message stay, however their
// keys compare in the table, and the others go.
func TestChildrenThatStay(t *testing.T) {
	t.Parallel()
	const anyCase = "text COLLATE any_case"
	for name, of := range map[string]struct {
		id, key       string // types in the table
		ids           [2]string
		first, second string // the key that stays, as two messages have it
		kind          batch.Kind
		modelled      string
	}{
		"children in any case": {"text", anyCase, [2]string{"a", "a"}, "abc", "ABC", batch.Text, "text"},
		"parents in any case":  {anyCase, "text", [2]string{"a", "A"}, "abc", "abc", batch.Text, "text"},
		"all in any case":      {anyCase, anyCase, [2]string{"a", "A"}, "abc", "ABC", batch.Text, "text"},
		"numbers":              {"text", "numeric(10)", [2]string{"a", "a"}, "1.2", "1.3", batch.Text, "numeric"},
		"times":                {"text", "timestamptz(0)", [2]string{"a", "a"}, "600000", "700000", batch.Timestamp, "timestamptz"},
		"blanks":               {"char(9)", "char(9)", [2]string{"a", "a"}, "1", "1", batch.Text, "char(9)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Parent: []int{0}, Columns: []batch.Column{
				{Name: "id", Kind: batch.Text, Type: "text", NotNull: true}, {Name: "k", Kind: of.kind, Type: of.modelled, NotNull: true}, {Name: "version", Kind: batch.Int8, Type: "bigint"},
			}}
			table := &batch.Table{Name: "orders", Key: []int{0}, OnConflict: batch.Replace, Children: []*batch.Table{lines}, Columns: []batch.Column{
				{Name: "id", Kind: batch.Text, Type: "text", NotNull: true},
				versionColumn, senderColumn,
			}}
			s := newSite(t, setup{table: table, sql: fmt.Sprintf(`CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
				CREATE TABLE orders (id %s PRIMARY KEY, version bigint, message uuid);
				CREATE TABLE lines (id %[1]s REFERENCES orders, k %s, version bigint, PRIMARY KEY (id, k));`, of.id, of.key)})
			insert := func(version int64, id string, keys ...string) {
				b := batch.New(table)
				b.Begin(0, 0)
				b.String(id)
				b.Int8(version)
				b.Bytes(fmt.Appendf(nil, "%016d", version))
				b.End()
				for _, key := range keys {
					b.More(0)
					b.String(id)
					if micros, err := strconv.ParseInt(key, 10, 64); err == nil && of.kind == batch.Timestamp {
						b.Int8(micros)
					} else {
						b.String(key)
					}
					b.Int8(version)
					b.End()
				}
				s.insertBatch(t.Context(), b, []int64{version}).must()
			}
			insert(1, of.ids[0], of.first, "5000000")
			for range 2 {
				insert(2, of.ids[1], of.second)
				if diff := gocmp.Diff(s.db.Rows(t, "SELECT version::text FROM lines"), [][]string{{"2"}}); diff != "" {
					t.Errorf("versions of the lines (-got +want):\n%s", diff)
				}
			}
		})
	}
}

// TestAChildThatATriggerRenames would be taken for one that is no longer in its message.
func TestAChildThatATriggerRenames(t *testing.T) {
	t.Parallel()
	lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Parent: []int{0}, Columns: []batch.Column{
		idColumn, {Name: "k", Kind: batch.Text, Type: "text", NotNull: true},
	}}
	table := &batch.Table{Name: "orders", Key: []int{0}, OnConflict: batch.Replace, Children: []*batch.Table{lines}, Columns: []batch.Column{
		idColumn,
		{Name: "message", Kind: batch.UUID, Type: "uuid", NotNull: true, MessageID: true, NewerBy: true},
	}}
	s := newSite(t, setup{table: table, sql: `CREATE TABLE orders (id bigint PRIMARY KEY, message uuid);
		CREATE TABLE lines (id bigint REFERENCES orders, k text, PRIMARY KEY (id, k));
		CREATE FUNCTION rename() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.k := upper(NEW.k); RETURN NEW; END $$;
		CREATE TRIGGER rename BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION rename();`})
	b := batch.New(table)
	for i, key := range []string{"a", "B"} {
		b.Begin(i, 0)
		b.Int8(int64(i))
		b.Bytes(fmt.Appendf(nil, "%016d", i))
		b.End()
		b.More(0)
		b.Int8(int64(i))
		b.String(key)
		b.End()
	}
	for range 2 {
		s.insertBatch(t.Context(), b, []int64{0, 1}).verdicts(verdicts{discarded: "0", stored: "1"})
		if diff := gocmp.Diff(s.db.Rows(t, "SELECT o.id::text, k FROM orders o LEFT JOIN lines USING (id)"), [][]string{{"1", "B"}}); diff != "" {
			t.Errorf("the tables (-got +want):\n%s", diff)
		}
	}
}

// TestErrorsOfChildren name the child, or the family if the server does not tell which table it is.
func TestErrorsOfChildren(t *testing.T) {
	t.Parallel()
	for _, replaces := range []bool{false, true} {
		for name, of := range map[string]struct {
			sql    string
			grants string
			want   [2]string // where the stored row stays, and where the newer one does
		}{
			"no grant": {"", "SELECT", [2]string{
				"SELECT on the columns of its key, INSERT on its child \"lines\"", "INSERT, UPDATE and DELETE on its child \"lines\" and SELECT on the columns of its key",
			}},
			"no grant to delete": {"", "INSERT, SELECT, UPDATE", [2]string{"", "INSERT, UPDATE and DELETE on \"lines\""}},
			"a trigger": {
				"CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$; CREATE TRIGGER never BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION never();", "ALL",
				[2]string{"insert into \"lines\": SQLSTATE P0001 (raise_exception); it arose in the function \"never\"", "insert into \"lines\": SQLSTATE P0001 (raise_exception); it arose in the function \"never\""},
			},
			"a policy": {"ALTER TABLE lines ENABLE ROW LEVEL SECURITY;", "ALL", [2]string{"row-level security of \"orders\" or of its child \"lines\"", "row-level security of \"orders\" or of its child \"lines\""}},
		} {
			t.Run(fmt.Sprintf("%s, replaces=%v", name, replaces), func(t *testing.T) {
				t.Parallel()
				lines := &batch.Table{Name: "lines", Key: []int{0}, Parent: []int{0}, Columns: []batch.Column{idColumn}}
				table := &batch.Table{Name: "orders", Key: []int{0}, Children: []*batch.Table{lines}, Columns: []batch.Column{idColumn, {Name: "message", Kind: batch.UUID, Type: "uuid", NotNull: true}}}
				want := of.want[0]
				if replaces {
					table.OnConflict, want = batch.Replace, of.want[1]
					table.Columns[1].NewerBy, table.Columns[1].MessageID = true, true
				}
				s := newSite(t, setup{table: table, sql: "CREATE TABLE orders (id bigint PRIMARY KEY, message uuid); CREATE TABLE lines (id bigint PRIMARY KEY);" + of.sql, grants: func(role string) []string {
					return []string{"GRANT ALL ON orders TO " + role, "GRANT " + of.grants + " ON lines TO " + role}
				}})
				b := batch.New(table)
				b.Begin(0, 0)
				b.Int8(1)
				b.Bytes(fmt.Appendf(nil, "%016d", 1))
				b.End()
				b.More(0)
				b.Int8(1)
				b.End()
				if o := s.insertBatch(t.Context(), b, []int64{1}); want == "" {
					o.must()
				} else if o.verdicts(verdicts{configuration: "1"}); o.err == nil || !strings.Contains(o.err.Error(), want) {
					t.Errorf("got error %v\nwant one with %s", o.err, want)
				}
			})
		}
	}
}
