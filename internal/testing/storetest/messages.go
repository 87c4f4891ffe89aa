package storetest

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// order is a message of several rows: an order with its lines, or in readings only these.
type order struct {
	n       int // of its message
	table   int // index in the tables of the store
	id      int
	version int
	word    string
	lines   []line
	group   int
}

type line struct {
	n    int
	word string
}

// lines returns lines with these words, which are numbered from 1.
func lines(words ...string) (all []line) {
	for i, word := range words {
		all = append(all, line{i + 1, word})
	}
	return all
}

// ordersTable is a table of orders that has lines as its child.
func ordersTable(onConflict batch.OnConflict) *batch.Table {
	lines := &batch.Table{Name: "lines", Key: []int{0, 1}, Parent: []int{0}, Columns: []batch.Column{
		{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true},
		{Name: "n", Kind: batch.Int4, Type: "integer", NotNull: true},
		{Name: "word", Kind: batch.Text, Type: "text"},
	}}
	return &batch.Table{Name: "orders", Key: []int{0}, OnConflict: onConflict, Children: []*batch.Table{lines}, Columns: []batch.Column{
		{Name: "id", Kind: batch.Int8, Type: "bigint", NotNull: true},
		{Name: "version", Kind: batch.Int8, Type: "bigint", NewerBy: onConflict == batch.Replace},
		{Name: "message_id", Kind: batch.UUID, Type: "uuid", MessageID: onConflict != batch.Keep},
		{Name: "word", Kind: batch.Text, Type: "text", Compared: onConflict == batch.Reject},
	}}
}

// readingsTable is a table that may have several rows of a message: an order without a row of its own.
func readingsTable(onConflict batch.OnConflict) *batch.Table {
	t := ordersTable(onConflict)
	t.Name, t.Several, t.Children, t.Key = "readings", true, nil, []int{0, 4}
	t.Columns = append(t.Columns, batch.Column{Name: "n", Kind: batch.Int4, Type: "integer", NotNull: true})
	return t
}

// withLedger returns a table whose key is in a ledger: the id of the message.
func withLedger(t *batch.Table) *batch.Table {
	t.Ledger, t.KeyOfMessage, t.Key = "ledger", true, []int{len(t.Columns)}
	t.Columns = append(t.Columns, batch.Column{Name: "sender", Kind: batch.UUID, Type: "uuid", NotNull: true, Ledger: true})
	return t
}

// kindsOf returns a table of each kind: for each OnConflict, and with a ledger.
func kindsOf(table func(batch.OnConflict) *batch.Table) []*batch.Table {
	return []*batch.Table{table(batch.Keep), withLedger(table(batch.Keep)), table(batch.Replace), table(batch.Reject)}
}

// append appends the rows of an order.
func (o order) append(b *batch.Batch, index int, t *batch.Table) {
	id := make([]byte, 16)
	id[15] = byte(o.n)
	row := func(t *batch.Table, n int, word string) {
		for _, c := range t.Columns {
			switch c.Name {
			case "id":
				b.Int8(int64(o.id))
			case "version":
				b.Int8(int64(o.version))
			case "n":
				b.Int4(int32(n))
			case "word":
				b.String(word + " " + canary)
			default:
				b.Bytes(id)
			}
		}
		b.End()
	}
	b.BeginIn(o.table, index, o.group)
	if !t.Several {
		row(t, 0, o.word)
	}
	for i, line := range o.lines {
		switch {
		case !t.Several:
			b.More(0)
			row(t.Children[0], line.n, line.word)
		case i > 0:
			b.More(-1)
			fallthrough
		default:
			row(t, line.n, line.word)
		}
	}
}

// shop is a store of tables like these.
type shop struct {
	t      *testing.T
	h      Harness
	tables []*batch.Table
	store  Store
}

// openShop creates tables, executes more SQL, and opens their store.
func openShop(t *testing.T, h Harness, tables []*batch.Table, more ...string) *shop {
	t.Helper()
	for _, table := range tables {
		more = append(h.DDL(table), more...)
	}
	for _, sql := range more {
		h.Exec(t, sql)
	}
	return &shop{t, h, tables, h.Open(t, tables...)}
}

// try gives orders to the store.
func (s *shop) try(orders ...order) outcome {
	s.t.Helper()
	b := batch.New(s.tables...)
	for i, o := range orders {
		o.append(b, i, s.tables[o.table])
	}
	b.Sort()
	return insertBatch(s.t.Context(), s.t, s.store, b)
}

// insert is try that must not fail.
func (s *shop) insert(orders ...order) outcome {
	s.t.Helper()
	o := s.try(orders...)
	if o.err != nil {
		s.t.Fatalf("insert: %v", o.err)
	}
	return o
}

// has compares what is stored: the orders, and the lines or readings.
func (s *shop) has(want ...string) {
	s.t.Helper()
	if got := s.contents(); !slices.Equal(got, want) {
		s.t.Errorf("in the tables: %q, want %q", got, want)
	}
}

func (s *shop) contents() (all []string) {
	s.t.Helper()
	for _, t := range s.tables {
		if !t.Several {
			for _, row := range s.h.Rows(s.t, "SELECT id, word FROM orders ORDER BY id") {
				all = append(all, strings.TrimSuffix(fmt.Sprint(row[0], " ", row[1]), " "+canary))
			}
			t = t.Children[0]
		}
		for _, row := range s.h.Rows(s.t, "SELECT id, n, word FROM "+t.Name+" ORDER BY id, n") {
			all = append(all, strings.TrimSuffix(fmt.Sprint(row[0], ".", row[1], " ", row[2]), " "+canary))
		}
	}
	return all
}

// clear drops the tables.
func (s *shop) clear() {
	s.t.Helper()
	for _, t := range s.tables {
		for _, child := range t.Children {
			s.h.Exec(s.t, "DROP TABLE "+child.Name)
		}
		s.h.Exec(s.t, "DROP TABLE "+t.Name)
		if t.Ledger != "" {
			s.h.Exec(s.t, "DROP TABLE IF EXISTS "+t.Ledger)
		}
	}
}

// groupsOf runs a test without message groups, and with one for each message.
func groupsOf(test func(t *testing.T, h Harness, group func(int) int)) func(*testing.T, Harness) {
	return func(t *testing.T, h Harness) {
		test(t, h, func(int) int { return 0 })
		test(t, h, func(n int) int { return n })
	}
}

func good(table string) string {
	return fmt.Sprintf("ALTER TABLE %s ADD CONSTRAINT good_%[1]s CHECK (word NOT LIKE 'xx%%')", table)
}

const isDiscarded = "NEW.word LIKE 'discard%'"

var messageCases = []struct {
	name string
	test func(*testing.T, Harness)
}{
	{"stores the rows of a message, in all kinds of tables", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, table := range kindsOf(ordersTable) {
			s := openShop(t, h, []*batch.Table{table})
			all := []order{
				{n: 1, group: group(1), id: 1, word: "a", lines: lines("a1", "a2")},
				{n: 2, group: group(2), id: 2, word: "b"},
				{n: 3, group: group(3), id: 3, word: "c", lines: lines("c1")},
			}
			s.insert(all[:2]...).says(t, 2, 0, stored, stored)
			s.insert(all...).says(t, 1, 0, stored, stored, stored)
			s.insert(all...).says(t, 0, 0, stored, stored, stored)
			s.has("1 a", "2 b", "3 c", "1.1 a1", "1.2 a2", "3.1 c1")
			s.clear()
		}
		for _, table := range kindsOf(readingsTable) {
			s := openShop(t, h, []*batch.Table{table})
			all := []order{
				{n: 1, group: group(1), id: 1, lines: lines("a1", "a2", "a3")},
				{n: 2, group: group(2), id: 2, lines: lines("b1")},
				{n: 3, group: group(3), id: 3, lines: lines("c1", "c2")},
			}
			s.insert(all[:2]...).says(t, 2, 0, stored, stored)
			s.insert(all...).says(t, 1, 0, stored, stored, stored)
			s.insert(all...).says(t, 0, 0, stored, stored, stored)
			s.has("1.1 a1", "1.2 a2", "1.3 a3", "2.1 b1", "3.1 c1", "3.2 c2")
			s.clear()
		}
	})},
	{"a refused row costs its message alone, which says which one it is", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, table := range kindsOf(ordersTable) {
			s := openShop(t, h, []*batch.Table{table}, good("orders"), good("lines"))
			o := s.insert(
				order{n: 1, group: group(1), id: 1, word: "a", lines: lines("a1", "xx", "xx")},
				order{n: 2, group: group(2), id: 2, word: "b", lines: lines("b1")},
				order{n: 3, group: group(3), id: 3, word: "xx", lines: lines("c1", "xx")},
				order{n: 4, group: group(4), id: 4, word: "xx"},
				order{n: 5, group: group(5), id: 5, word: "e", lines: lines("e1", "e2", "e3")},
			)
			o.says(t, 2, 0, "rejected row 2 of lines", stored, "rejected the row of orders", rejected, stored)
			for i, constraint := range []string{"good_lines", "", "good_orders", "good_orders", ""} {
				if got := o.verdicts[i].Rejection.Constraint; got != constraint {
					t.Errorf("message %d: constraint %q, want %q", i, got, constraint)
				}
			}
			s.has("2 b", "5 e", "2.1 b1", "5.1 e1", "5.2 e2", "5.3 e3")
			s.clear()
		}
		for _, table := range kindsOf(readingsTable) {
			s := openShop(t, h, []*batch.Table{table}, good("readings"))
			s.insert(
				order{n: 1, group: group(1), id: 1, lines: lines("a1", "a2", "xx")},
				order{n: 2, group: group(2), id: 2, lines: lines("b1", "b2")},
				order{n: 3, group: group(3), id: 3, lines: lines("xx", "c2")},
				order{n: 4, group: group(4), id: 4, lines: lines("xx")},
			).says(t, 1, 0, "rejected row 3 of readings", stored, "rejected row 1 of readings", rejected)
			s.has("2.1 b1", "2.2 b2")
			s.clear()
		}
	})},
	{"a row that is discarded leaves nothing of its message", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, table := range kindsOf(ordersTable) {
			s := openShop(t, h, []*batch.Table{table}, good("lines"), h.Discard("INSERT", "orders", isDiscarded), h.Discard("INSERT", "lines", isDiscarded))
			all := []order{
				{n: 1, group: group(1), id: 1, word: "a", lines: lines("a1", "discard", "a3")},
				{n: 2, group: group(2), id: 2, word: "b", lines: lines("b1")},
				{n: 3, group: group(3), id: 3, word: "discard", lines: lines("c1", "xx")},
				{n: 4, group: group(4), id: 4, word: "discard"},
				{n: 5, group: group(5), id: 5, word: "e", lines: lines("discard", "xx")},
			}
			s.insert(all...).says(t, 1, 0, discarded, stored, discarded, discarded, "rejected row 2 of lines")
			s.insert(all...).says(t, 0, 0, discarded, stored, discarded, discarded, "rejected row 2 of lines")
			s.has("2 b", "2.1 b1")
			s.clear()
		}
		for _, table := range kindsOf(readingsTable) {
			s := openShop(t, h, []*batch.Table{table}, h.Discard("INSERT", "readings", isDiscarded))
			s.insert(
				order{n: 1, group: group(1), id: 1, lines: lines("a1", "discard")},
				order{n: 2, group: group(2), id: 2, lines: lines("discard", "b2")},
				order{n: 3, group: group(3), id: 3, lines: lines("c1", "c2")},
				order{n: 4, group: group(4), id: 4, lines: lines("discard")},
			).says(t, 1, 0, discarded, discarded, stored, discarded)
			s.has("3.1 c1", "3.2 c2")
			s.clear()
		}
	})},
	{"children are stored only with a parent that is new", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		s := openShop(t, h, []*batch.Table{ordersTable(batch.Keep)}, good("lines"))
		s.insert(order{n: 1, group: group(1), id: 1, word: "a", lines: lines("a1")}).says(t, 1, 0, stored)
		s.insert(
			order{n: 2, group: group(1), id: 1, word: "a", lines: lines("other", "a2")},
			order{n: 3, group: group(2), id: 2, word: "b", lines: lines("b1")},
			order{n: 4, group: group(3), id: 2, word: "b", lines: lines("b1", "b2")},
			order{n: 5, group: group(4), id: 1, word: "a", lines: lines("xx")}, // what would be refused is not tried
		).says(t, 1, 0, stored, stored, stored, stored)
		// The parent of a refused message is not stored, so that of another one is new.
		s.insert(
			order{n: 6, group: group(1), id: 3, word: "c", lines: lines("c1", "xx")},
			order{n: 7, group: group(2), id: 3, word: "c", lines: lines("c1", "c2", "c3")},
		).says(t, 1, 0, "rejected row 2 of lines", stored)
		s.has("1 a", "2 b", "3 c", "1.1 a1", "2.1 b1", "3.1 c1", "3.2 c2", "3.3 c3")
		s.clear()
	})},
	{"rows that are there count as stored", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, onConflict := range []batch.OnConflict{batch.Keep, batch.Replace} {
			s := openShop(t, h, []*batch.Table{readingsTable(onConflict)}, good("readings"))
			s.insert(order{n: 3, group: group(1), id: 1, lines: lines("a1", "a2")}).says(t, 1, 0, stored)
			s.insert(
				order{n: 3, group: group(1), id: 1, lines: lines("a1", "a2", "a3")},       // a row is new
				order{n: 3, group: group(2), id: 1, lines: lines("a1", "a2", "a3", "xx")}, // not all are there
			).says(t, 1, 0, stored, "rejected row 4 of readings")
			s.insert(order{n: 3, group: group(1), id: 1, lines: lines("a1", "a2", "a3")}).says(t, 0, 0, stored)
			s.has("1.1 a1", "1.2 a2", "1.3 a3")
			s.clear()
		}
	})},
	{"a message is stored, even if a row of it is refused today", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, onConflict := range []batch.OnConflict{batch.Keep, batch.Replace, batch.Reject} {
			s := openShop(t, h, []*batch.Table{ordersTable(onConflict), readingsTable(onConflict)})
			all := []order{
				{n: 1, group: group(1), id: 1, word: "a", lines: lines("discard", "a2")},
				{n: 2, group: group(2), table: 1, id: 1, lines: lines("a1", "discard")},
			}
			s.insert(all...).says(t, 2, 0, stored, stored)
			for _, name := range []string{"orders", "lines", "readings"} {
				h.Exec(t, h.Discard("INSERT", name, isDiscarded))
			}
			s.insert(append(all, order{n: 3, group: group(3), table: 1, id: 3, lines: lines("c1", "discard")}, order{n: 4, group: group(4), id: 4, word: "d"})...).
				says(t, 1, 0, stored, stored, discarded, stored)
			s.has("1 a", "4 d", "1.1 discard", "1.2 a2", "1.1 a1", "1.2 discard")
			s.clear()
		}
	})},
	{"a foreign key of a child refuses its message", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		h.Exec(t, "CREATE TABLE words (word text PRIMARY KEY)")
		h.Exec(t, "INSERT INTO words VALUES ('a1 canary'), ('a2 canary')")
		for _, onConflict := range []batch.OnConflict{batch.Keep, batch.Replace} {
			for _, when := range []string{"", " DEFERRABLE INITIALLY DEFERRED"} {
				table := ordersTable(onConflict)
				for _, sql := range h.DDL(table) {
					h.Exec(t, strings.Replace(sql, "    FOREIGN KEY", "    FOREIGN KEY (word) REFERENCES words (word)"+when+",\n    FOREIGN KEY", 1))
				}
				s := &shop{t, h, []*batch.Table{table}, h.Open(t, table)}
				s.insert(
					order{n: 1, group: group(1), id: 1, word: "a", lines: lines("a1", "a2")},
					order{n: 2, group: group(2), id: 2, word: "b", lines: lines("a1", "unknown")},
					order{n: 3, group: group(3), id: 3, word: "c", lines: lines("a2")},
				).says(t, 2, 0, stored, "rejected row 2 of lines", stored)
				s.has("1 a", "3 c", "1.1 a1", "1.2 a2", "3.1 a2")
				s.clear()
			}
		}
		h.Exec(t, "DROP TABLE words")
	})},
	{"a message replaces an older one, with its children", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		s := openShop(t, h, []*batch.Table{ordersTable(batch.Replace)}, good("orders"), good("lines"))
		s.insert(order{n: 1, group: group(1), id: 1, version: 5, word: "a", lines: lines("a1", "a2", "a3")}).says(t, 1, 0, stored)
		s.insert(
			order{n: 2, group: group(1), id: 1, version: 7, word: "b", lines: []line{{2, "b2"}, {4, "b4"}}},
			order{n: 3, group: group(2), id: 2, version: 1, word: "c", lines: lines("c1")},
		).says(t, 1, 1, stored, stored)
		s.has("1 b", "2 c", "1.2 b2", "1.4 b4", "2.1 c1")
		s.insert(order{n: 4, group: group(1), id: 1, version: 6, word: "old", lines: []line{{1, "old"}, {9, "old"}}}).says(t, 0, 0, outdated)
		s.insert(order{n: 2, group: group(1), id: 1, version: 7, word: "b", lines: []line{{2, "b2"}, {4, "b4"}}}).says(t, 0, 0, stored)
		s.insert(order{n: 5, group: group(2), id: 2, version: 2, word: "without lines"}).says(t, 0, 1, stored)
		s.has("1 b", "2 without lines", "1.2 b2", "1.4 b4")
		// A newer one is refused: the stored one stays as it is, and an older one of the batch is tried.
		s.insert(
			order{n: 6, group: group(1), id: 1, version: 9, word: "d", lines: []line{{1, "d1"}, {2, "xx"}}},
			order{n: 7, group: group(2), id: 2, version: 3, word: "e", lines: lines("e1")},
			order{n: 8, group: group(3), id: 2, version: 4, word: "xx", lines: lines("f1")},
		).says(t, 0, 1, "rejected row 2 of lines", stored, "rejected the row of orders")
		s.has("1 b", "2 e", "1.2 b2", "1.4 b4", "2.1 e1")
		// No order of two lines with one key is the right one.
		o := s.insert(
			order{n: 9, group: group(1), id: 3, version: 1, word: "g", lines: []line{{7, "g7"}, {7, "h7"}}},
			order{n: 10, group: group(2), id: 4, version: 1, word: "i"},
		)
		if o.inserted != 1 || o.verdicts[0].Outcome != message.Rejected || o.words[1] != stored {
			t.Errorf("got %q, %d inserted", o.words, o.inserted)
		}
		s.has("1 b", "2 e", "4 i", "1.2 b2", "1.4 b4", "2.1 e1")
		s.clear()
	})},
	{"of messages with one parent in a batch, the newest replaces", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		s := openShop(t, h, []*batch.Table{ordersTable(batch.Replace)}, good("lines"))
		s.insert(
			order{n: 1, group: group(1), id: 1, version: 1, word: "a", lines: lines("a1", "a2", "a3")},
			order{n: 3, group: group(2), id: 1, version: 3, word: "c", lines: lines("c1")},
			order{n: 2, group: group(3), id: 1, version: 2, word: "b", lines: lines("b1", "b2")},
		).says(t, 1, 0, outdated, stored, outdated)
		s.has("1 c", "1.1 c1")
		s.insert(
			order{n: 4, group: group(1), id: 1, version: 4, word: "d", lines: lines("d1", "d2", "d3")},
			order{n: 5, group: group(2), id: 1, version: 5, word: "e", lines: lines("e1", "e2")},
			order{n: 6, group: group(3), id: 2, version: 6, word: "f", lines: lines("f1", "xx")},
		).says(t, 0, 1, outdated, stored, "rejected row 2 of lines")
		s.has("1 e", "1.1 e1", "1.2 e2")
		s.clear()
	})},
	{"children that are only a key", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, onConflict := range []batch.OnConflict{batch.Keep, batch.Replace} {
			table := ordersTable(onConflict)
			table.Children[0].Columns = table.Children[0].Columns[:2]
			s := openShop(t, h, []*batch.Table{table})
			s.insert(order{n: 1, group: group(1), id: 1, version: 1, word: "a", lines: lines("", "", "")}).says(t, 1, 0, stored)
			s.insert(order{n: 2, group: group(1), id: 1, version: 2, word: "a", lines: []line{{2, ""}, {5, ""}}})
			want := "[[1] [2] [3]]"
			if onConflict == batch.Replace {
				want = "[[2] [5]]"
			}
			if got := fmt.Sprint(h.Rows(t, "SELECT n FROM lines ORDER BY n")); got != want {
				t.Errorf("got the lines %s, want %s", got, want)
			}
			s.clear()
		}
	})},
	{"the newest of each row of a message wins", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		s := openShop(t, h, []*batch.Table{readingsTable(batch.Replace)}, good("readings"))
		s.insert(order{n: 1, group: group(1), id: 1, version: 5, lines: lines("a1", "a2")}).says(t, 1, 0, stored)
		s.insert(
			order{n: 2, group: group(1), id: 1, version: 6, lines: []line{{2, "b2"}, {3, "b3"}}}, // one is new
			order{n: 3, group: group(2), id: 1, version: 4, lines: lines("old", "old")},
		).says(t, 1, 0, stored, outdated)
		s.insert(order{n: 4, group: group(1), id: 1, version: 6, lines: []line{{1, "c1"}}}).says(t, 0, 1, stored)
		s.has("1.1 c1", "1.2 b2", "1.3 b3")
		s.insert(
			order{n: 5, group: group(1), id: 2, version: 1, lines: lines("d1", "d2")},
			order{n: 6, group: group(2), id: 2, version: 2, lines: lines("e1", "e2")},
			order{n: 7, group: group(3), id: 1, version: 9, lines: lines("f1", "xx")},
		).says(t, 1, 0, outdated, stored, "rejected row 2 of readings")
		s.has("1.1 c1", "1.2 b2", "1.3 b3", "2.1 e1", "2.2 e2")
		s.clear()
	})},
	{"a row of a message is in conflict", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		for _, rejects := range []bool{false, true} {
			table := readingsTable(batch.Reject)
			word := rejectedConflict
			if !rejects {
				table.OnConflict, word = batch.Keep, conflict
			}
			s := openShop(t, h, []*batch.Table{table}, good("readings"))
			s.insert(order{n: 1, group: group(1), id: 1, lines: lines("a", "b")}).says(t, 1, 0, stored)
			o := s.insert(
				order{n: 1, group: group(1), id: 1, lines: lines("a", "b")},
				order{n: 2, group: group(2), id: 1, lines: lines("a", "b")}, // a redrive renames a message
				order{n: 3, group: group(3), id: 1, lines: []line{{2, "c"}, {3, "d"}}},
				order{n: 4, group: group(4), id: 2, lines: lines("e")},
			)
			o.says(t, 1, 0, stored, stored, word, stored)
			if got, want := o.verdicts[2].Rejection.String(), message.ConflictWith("00000000-0000-0000-0000-000000000001").String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if rejects {
				s.has("1.1 a", "1.2 b", "2.1 e")
			} else {
				s.has("1.1 a", "1.2 b", "1.3 d", "2.1 e")
			}
			s.clear()
		}
	})},
	{"a parent is in conflict", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		s := openShop(t, h, []*batch.Table{ordersTable(batch.Reject)})
		s.insert(order{n: 1, group: group(1), id: 1, word: "a", lines: lines("a1")}).says(t, 1, 0, stored)
		s.insert(
			order{n: 2, group: group(1), id: 1, word: "b", lines: lines("b1", "b2")},
			order{n: 3, group: group(2), id: 1, word: "a", lines: lines("c1", "c2")},
			order{n: 4, group: group(3), id: 2, word: "d", lines: lines("d1")},
			order{n: 5, group: group(4), id: 2, word: "e", lines: lines("e1", "e2")},
		).says(t, 1, 0, rejectedConflict, stored, stored, rejectedConflict)
		s.has("1 a", "2 d", "1.1 a1", "2.1 d1")
		s.clear()
	})},
	{"a message that is not stored stops its group, whatever table it is for", func(t *testing.T, h Harness) {
		s := openShop(t, h, []*batch.Table{ordersTable(batch.Keep), readingsTable(batch.Keep)}, good("lines"), h.Discard("INSERT", "readings", isDiscarded))
		s.insert(
			order{n: 1, group: 1, id: 1, word: "a", lines: lines("a1")},
			order{n: 2, group: 2, id: 2, word: "b", lines: lines("b1", "xx")},
			order{n: 3, group: 1, table: 1, id: 1, lines: lines("c1", "c2")},
			order{n: 4, group: 2, table: 1, id: 2, lines: lines("d1")},
			order{n: 5, group: 3, table: 1, id: 3, lines: lines("e1", "discard")},
			order{n: 6, group: 3, id: 3, word: "f", lines: lines("f1")},
			order{n: 7, group: 1, id: 4, word: "g"},
		).says(t, 3, 0, stored, "rejected row 2 of lines", stored, stopped, discarded, stopped, stored)
		s.has("1 a", "4 g", "1.1 a1", "1.1 c1", "1.2 c2")
	}},
	{"each table has its tally", groupsOf(func(t *testing.T, h Harness, group func(int) int) {
		s := openShop(t, h, []*batch.Table{ordersTable(batch.Replace), readingsTable(batch.Keep)})
		for v, want := range []string{"[{2 0} {1 0}]", "[{1 1} {1 0}]"} {
			b := batch.New(s.tables...)
			for i, o := range []order{
				{n: 1 + v, group: group(1), table: 1, id: 1 + v, lines: lines("a1", "a2")},
				{n: 3 + v, group: group(2), id: 1, version: 1 + v, word: "b", lines: lines("b1", "b2", "b3")},
				{n: 5, group: group(3), id: 5 + v, word: "c"},
			} {
				o.append(b, i, s.tables[o.table])
			}
			b.Sort()
			result, err := s.store.Insert(t.Context(), b)
			if got := fmt.Sprint(result.Tallies); got != want || err != nil {
				t.Errorf("got %s, %v; want %s", got, err, want)
			}
		}
		s.clear()
	})},
	{"a table that takes no rows does not hold up the others", func(t *testing.T, h Harness) {
		for _, fix := range []string{"DROP TABLE lines", "ALTER TABLE lines DROP COLUMN word", "ALTER TABLE orders DROP COLUMN word"} {
			for _, fifo := range []bool{false, true} {
				s := openShop(t, h, []*batch.Table{ordersTable(batch.Keep), readingsTable(batch.Keep)}, fix)
				all := []order{
					{n: 1, table: 1, id: 1, lines: lines("a1", "a2")},
					{n: 2, id: 2, word: "b", lines: lines("b1")},
					{n: 3, table: 1, id: 3, lines: lines("c1")},
					{n: 4, table: 1, id: 4, lines: lines("d1")},
				}
				inserted, words := 3, []string{stored, operator, stored, stored}
				if fifo {
					all[0].group, all[1].group, all[2].group, all[3].group = 1, 1, 1, 2
					inserted, words[2] = 2, stopped
				}
				for range 2 {
					o := s.try(all...)
					if o.says(t, inserted, 0, words...); fault.Cause(o.err) != message.CauseConfiguration {
						t.Errorf("%s: error %v, want a configuration error", fix, o.err)
					}
					inserted = 0
				}
				if err := s.store.Ping(t.Context()); fault.Cause(err) != message.CauseConfiguration {
					t.Errorf("%s: a ping says %v", fix, err)
				}
				for _, name := range []string{"lines", "orders", "readings"} {
					h.Exec(t, "DROP TABLE IF EXISTS "+name)
				}
			}
		}
	}},
	{"random messages end as one after the other", func(t *testing.T, h Harness) {
		seen := map[string]bool{}
		for _, table := range []*batch.Table{ordersTable(batch.Keep), withLedger(ordersTable(batch.Keep)), ordersTable(batch.Replace), readingsTable(batch.Keep)} {
			name := "lines"
			if table.Several {
				name = table.Name
			}
			ddl := []string{good(name), h.Discard("INSERT", name, isDiscarded)}
			if !table.Several {
				ddl = append(ddl, good("orders"), h.Discard("INSERT", "orders", isDiscarded))
			}
			s := openShop(t, h, []*batch.Table{table}, ddl...)
			kept, r := reference{}, rand.New(rand.NewPCG(1, 2))
			for round := range 24 {
				orders := randomOrders(r, round, table)
				for range 2 { // and once more
					words, inserted, replaced := kept.run(orders, table, name)
					s.insert(orders...).says(t, inserted, replaced, words...)
					for _, word := range words {
						seen[word] = true
					}
				}
				if got, want := s.contents(), kept.contents(table); !slices.Equal(got, want) {
					t.Errorf("in the tables: %q, want %q", got, want)
				}
				if t.Failed() {
					t.Fatalf("that was round %d of %s, OnConflict %d: %+v", round, table.Name, table.OnConflict, orders)
				}
			}
			s.clear()
		}
		for _, word := range []string{stored, outdated, discarded, stopped, rejected, "rejected the row of orders", "rejected row 2 of lines", "rejected row 2 of readings"} {
			if !seen[word] {
				t.Errorf("no message was %q: the test shows less than it should", word)
			}
		}
	}},
}

// reference has the orders that are stored, by their ids.
type reference map[int]order

// randomOrders makes orders with different ids, in groups in every second round. Some ids come again in
// later rounds.
func randomOrders(r *rand.Rand, round int, t *batch.Table) (all []order) {
	word := func() string {
		switch r.IntN(12) {
		case 0:
			return "xx"
		case 1:
			return "discard"
		}
		return fmt.Sprint("good", round)
	}
	for i, id := range r.Perm(40)[:1+r.IntN(8)] {
		o := order{n: 1 + (8*round+i)%255, id: id, version: r.IntN(10), word: word(), group: round % 2 * (1 + r.IntN(3))}
		n := r.IntN(4)
		if t.Several {
			n++
		}
		for range n {
			o.lines = append(o.lines, line{len(o.lines) + 1, word()})
		}
		if t.Several || t.Ledger != "" { // only the message itself comes again
			o.id += 40 * (1 + round)
		}
		all = append(all, o)
	}
	return all
}

// run stores orders one after the other.
func (kept reference) run(orders []order, t *batch.Table, lines string) (words []string, inserted, replaced int) {
	stops := map[int]bool{}
	for _, o := range orders {
		was, there := kept[o.id]
		newer := cmp.Or(cmp.Compare(o.version, was.version), cmp.Compare(o.n, was.n))
		bad := slices.IndexFunc(o.lines, func(l line) bool { return l.word == "xx" })
		word := stored
		switch {
		case stops[o.group]:
			word = stopped
		case there && (t.OnConflict == batch.Keep || newer == 0):
		case there && newer < 0:
			word = outdated
		case !t.Several && o.word == "xx" && len(o.lines) > 0:
			word = "rejected the row of orders"
		case !t.Several && o.word == "xx":
			word = rejected
		case !t.Several && o.word == "discard":
			word = discarded
		case bad >= 0 && t.Several && len(o.lines) == 1:
			word = rejected
		case bad >= 0:
			word = fmt.Sprintf("rejected row %d of %s", bad+1, lines)
		case slices.ContainsFunc(o.lines, func(l line) bool { return l.word == "discard" }):
			word = discarded
		case there:
			replaced++
			kept[o.id] = o
		default:
			inserted++
			kept[o.id] = o
		}
		stops[o.group] = o.group != 0 && (stops[o.group] || word != stored && word != outdated)
		words = append(words, word)
	}
	return words, inserted, replaced
}

// contents are the rows of the tables, as those of a shop.
func (kept reference) contents(t *batch.Table) (all []string) {
	ids := slices.Sorted(maps.Keys(kept))
	for _, id := range ids {
		if !t.Several {
			all = append(all, fmt.Sprint(id, " ", kept[id].word))
		}
	}
	for _, id := range ids {
		for _, l := range kept[id].lines {
			all = append(all, fmt.Sprint(id, ".", l.n, " ", l.word))
		}
	}
	return all
}
