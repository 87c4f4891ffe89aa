package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// inTables gives rows the table at their place: "0120" has the tables 0, 1, 2 and 0.
func inTables(tables string, rows []row) []row {
	for i := range rows {
		rows[i].n, rows[i].table = nil, int(tables[i%len(tables)]-'0')
	}
	return rows
}

// newTables is a site with three tables like events.
func newTables(t *testing.T, sql, mode string, grants func(role string) []string) *site {
	t.Helper()
	all, tables := severalTables(sql, 3)
	return newSite(t, setup{sql: all, more: tables[1:], mode: mode, grants: grants})
}

// TestSeveralTablesCostOneRoundTrip has batches for one, two and three tables on one connection.
func TestSeveralTablesCostOneRoundTrip(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newTables(t, createEvents, mode, nil)
		s.insert(inTables("012", goods(1, 3))...).must().inserts(3) // connects and prepares
		next := int64(4)
		for _, tables := range []string{"012", "0", "2", "11", "20", "012012", "2222222221", "012"} {
			n := len(tables)
			if tables == "012" {
				n = 3000 // each table has less than one statement may have
			}
			o := s.insert(inTables(tables, goods(next, n))...).must().inserts(n)
			if n < 100 {
				o.costs(1)
			}
			if o.RoundTrips != 1 {
				t.Errorf("%s: %d round trips, want 1", tables, o.RoundTrips)
			}
			o = s.redeliver(inTables(tables, goods(next, n))...).must().inserts(0) // which are found by a look
			if o.RoundTrips != 2 {
				t.Errorf("%s again: %d round trips, want 2", tables, o.RoundTrips)
			}
			next += int64(n)
		}
		for i := range s.into {
			// One transaction writes all tables of a batch.
			for _, other := range s.into[:i] {
				if n := s.db.Count(t, "SELECT count(*) FROM "+s.into[i].Name+" a WHERE id <= 3 AND NOT EXISTS (SELECT FROM "+other.Name+" b WHERE b.tx = a.tx)"); n > 0 {
					t.Errorf("%d rows of %s were stored by another transaction than those of %s", n, s.into[i].Name, other.Name)
				}
			}
		}
	})
}

// TestATableThatTakesNoRows has a table that somebody must fix. Its messages wait, and those of the
// others do not; nothing of it is rejected because rows of other tables pass.
func TestATableThatTakesNoRows(t *testing.T) {
	t.Parallel()
	grants := func(role string) []string {
		return []string{"GRANT INSERT, SELECT ON events, events2, events3 TO " + role}
	}
	for name, fault := range map[string]string{
		"missing":            "DROP TABLE events2",
		"a missing column":   "ALTER TABLE events2 DROP COLUMN word",
		"a column that cuts": "ALTER TABLE events2 ALTER word TYPE name",
		"without its key":    "ALTER TABLE events2 DROP CONSTRAINT events2_pkey",
		"no grant":           "REVOKE INSERT ON events2 FROM $role",
		"a wrong trigger":    raising(strings.ReplaceAll(beforeInsert, "events", "events2"), "P0001") + "; CREATE OR REPLACE FUNCTION dislike() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'never'; END $$",
		"a default":          "ALTER TABLE events2 ADD share integer; ALTER TABLE events2 ALTER share SET DEFAULT 1 / (length(current_user) - length(current_user))",
		"NOT NULL":           "ALTER TABLE events2 ADD more integer NOT NULL",
	} {
		for _, groups := range []string{"------", "aabbcc"} {
			t.Run(name+" "+groups, func(t *testing.T) {
				t.Parallel()
				s := newTables(t, createEvents, "", grants)
				s.db.Exec(t, strings.ReplaceAll(fault, "$role", s.user.User))
				for round := range 3 { // on a new connection, on one that was used, and twice
					first := int64(1 + 10*(round%2))
					rows := inGroups(groups, goods(first, 6))
					inTables("012012", rows)
					o := s.insert(rows...)
					want := verdicts{stored: ids(first, 0, 2, 3, 5), configuration: ids(first, 1, 4)}
					if groups == "aabbcc" { // b: 2 (table 2), 3 (0); a: 0, 1; c: 4, 5
						want = verdicts{stored: ids(first, 0, 2, 3), configuration: ids(first, 1, 4), afterStopped: ids(first, 5)}
					}
					o.verdicts(want)
					if causeOf(o.err) != message.CauseConfiguration || !strings.Contains(o.err.Error(), "events2") {
						t.Errorf("got error %v, want one about events2", o.err)
					}
				}
			})
		}
	}
}

func ids(first int64, at ...int64) string {
	all := make([]int64, len(at))
	for i := range at {
		all[i] = first + at[i]
	}
	return ranges(all)
}

// TestARefusedRowOfOneTable is rejected if another row of its table passes, however few that are.
func TestARefusedRowOfOneTable(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newTables(t, createEvents+noBadWord, mode, nil)
		for _, n := range []int{6, 64, 65, 600} {
			rows := inTables("012", goods(int64(n*1000), n))
			badWord(&rows[1])
			badWord(&rows[n-1])
			bad := map[int64]bool{rows[1].id: true, rows[n-1].id: true}
			goodOnes, badOnes := split(rows, bad)
			o := s.insert(rows...).want(verdicts{stored: goodOnes, rejected(byNoBadWord): badOnes}).inserts(n - 2)
			if limit := 3; o.RoundTrips > limit {
				t.Errorf("%d rows: %d round trips, want at most %d", n, o.RoundTrips, limit)
			}
		}
	})
}

// TestRowsOfTablesThatReferToEachOther: a table that refers to another comes after it.
func TestRowsOfTablesThatReferToEachOther(t *testing.T) {
	t.Parallel()
	sql, tables := severalTables(createEvents, 2)
	s := newSite(t, setup{sql: sql + "ALTER TABLE events2 ADD CONSTRAINT of_event FOREIGN KEY (n) REFERENCES events (id);" + noBadWord, more: tables[1:]})
	line := func(id int64, of int) row { r := good(id); r.table, r.n = 1, of; return r }
	s.insert(line(101, 1), line(102, 2), good(2), good(1)).must().inserts(4)
	// A parent that is refused takes its own lines with it, and no others.
	parent := good(3)
	badWord(&parent)
	s.insert(line(103, 3), line(104, 4), parent, good(4)).want(verdicts{stored: "4 104", rejected(byNoBadWord): "3", rejected("23503 constraint of_event"): "103"})
}

// BenchmarkTables stores the same rows in one table and in three.
func BenchmarkTables(b *testing.B) {
	sql, tables := severalTables(createEvents, 3)
	for _, n := range []int{10, 1000, 3000} {
		for _, names := range []string{"0", "012"} {
			b.Run(fmt.Sprintf("rows=%d/tables=%d", n, len(names)), func(b *testing.B) {
				s := newSite(b, setup{sql: sql, more: tables[1:]})
				store := openStoreOf(b, s.db.URL, s.into)
				batches := make([]*batch.Batch, b.N)
				for i := range batches {
					batches[i] = batchIn(s.into, inTables(names, goods(int64(i*n+1), n)))
				}
				b.ResetTimer()
				for _, rows := range batches {
					if result, err := store.Insert(b.Context(), rows); err != nil || result.Tallies.Sum().Inserted != n {
						b.Fatal(result.Tallies, err)
					}
				}
				b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

// TestTwoModelsOfOneTable: a row that the batch stores for one model proves nothing about a refused one of
// the other with the same key.
func TestTwoModelsOfOneTable(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{sql: createEvents + noBadWord, more: []*batch.Table{events}})
	first, second := good(1), good(1)
	first.table, second.table = 0, 1
	badWord(&second)
	other := good(2)
	other.table = 1
	s.insert(first, second, other).want(verdicts{stored: "1-2", rejected(byNoBadWord): "1"})
	s.redeliver(first, second, other).want(verdicts{stored: "1 1-2"}).inserts(0) // it is there before the batch
}

// TestABrokenAttemptKeepsTheOrderOfGroups breaks the connection before each answer in turn. Rows of one
// table are stored then, and it is not known of those of another: no message of a group is done before
// the one ahead of it.
func TestABrokenAttemptKeepsTheOrderOfGroups(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newTables(t, createEvents, mode, nil)
		s.insert(good(1)).must()
		for n, struck := 1, true; struck; n++ {
			s.store = openStoreOf(t, withMode(s.proxy.URL, mode), s.into, impatient)
			s.proxy.Plan(pgtest.Fault{At: pgtest.BeforeAnswer(n), How: pgtest.Close})
			o := s.insert(inTables("01", inGroups("aa", []row{good(1), good(int64(n + 1))}))...)
			struck = !s.proxy.Planned()
			s.proxy.Restore()
			if first, next := o.Verdicts[0].Outcome, o.Verdicts[1].Outcome; first != message.Stored && next == message.Stored || !struck && next != message.Stored {
				t.Errorf("before answer %d: the first is %s, and the next one of its group %s", n, first, next)
			}
		}
	})
}
