package postgres_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
)

// codes is a table whose key is a text to the model.
var codes = &batch.Table{
	Name:    "codes",
	Columns: []batch.Column{{Name: "code", Kind: batch.Text, Type: "text", NotNull: true}, {Name: "boss", Kind: batch.Text, Type: "text"}},
	Key:     []int{0},
}

// numbers is a table whose key is a numeric to the model.
var numbers = &batch.Table{
	Name:    "codes",
	Columns: []batch.Column{{Name: "code", Kind: batch.Text, Type: "numeric", NotNull: true}, {Name: "boss", Kind: batch.Text, Type: "text"}},
	Key:     []int{0},
}

// code is a row of codes.
type code struct {
	code, boss string // an empty boss is a NULL
	group      int
}

func codeBatch(t *batch.Table, rows []code) *batch.Batch {
	b := batch.New(t)
	for i, r := range rows {
		b.Begin(i, r.group)
		b.String(r.code)
		if r.boss == "" {
			b.Null()
		} else {
			b.String(r.boss)
		}
		b.End()
	}
	b.Sort()
	return b
}

// inOwnGroups returns the rows, each in a message group of its own.
func inOwnGroups(rows []code) []code {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].group = i + 1
	}
	return rows
}

// deliver inserts codes. The rows are called 1, 2, … as they are given.
func (s *site) deliver(t *batch.Table, rows ...code) *outcome {
	s.Helper()
	return s.insertByMessage(codeBatch(t, rows))
}

// insertByMessage inserts a batch whose rows are called 1, 2, … in the order of their messages.
func (s *site) insertByMessage(b *batch.Batch) *outcome {
	s.Helper()
	ids := make([]int64, b.Len())
	for i := range ids {
		ids[i] = int64(b.Message(i)) + 1
	}
	o := s.insertBatch(s.Context(), b, ids)
	// In the order of the messages, as the tests spell them.
	byMessage := make([]message.Verdict, b.Len())
	for i, v := range o.Verdicts {
		byMessage[ids[i]-1] = v
	}
	for i := range ids {
		o.ids[i] = int64(i) + 1
	}
	o.Verdicts = byMessage
	return o
}

// TestKeysCompareInTheColumnsOwnType has keys that differ in their bytes and are one key to the
// server: one row, and both messages are done, however the batch is stored.
func TestKeysCompareInTheColumnsOwnType(t *testing.T) {
	t.Parallel()
	const icu = "CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
	for _, tt := range []struct {
		name, sql string
		table     *batch.Table
		same      []string
		filler    func(int) string
	}{
		{name: "char(n)", sql: "CREATE TABLE codes (code char(8) PRIMARY KEY, boss text)", same: []string{"abc", "abc  "}},
		{name: "domain of char(n)", sql: "CREATE DOMAIN short AS char(8); CREATE TABLE codes (code short PRIMARY KEY, boss text)", same: []string{"abc", "abc  "}},
		{name: "collation", sql: icu + "CREATE TABLE codes (code text COLLATE any_case PRIMARY KEY, boss text)", same: []string{"Abc", "ABC", "abc"}},
		{name: "domain with a collation", sql: icu + "CREATE DOMAIN word AS text COLLATE any_case; CREATE TABLE codes (code word PRIMARY KEY, boss text)", same: []string{"Abc", "ABC"}},
		{name: "numeric", table: numbers, sql: "CREATE TABLE codes (code numeric PRIMARY KEY, boss text)", same: []string{"1.5", "1.50"}, filler: func(i int) string { return fmt.Sprint(i + 10) }},
		{name: "scale of a numeric", table: numbers, sql: "CREATE TABLE codes (code numeric(10,2) PRIMARY KEY, boss text)", same: []string{"1.501", "1.5"}, filler: func(i int) string { return fmt.Sprint(i + 10) }},
		{name: "partitions", sql: "CREATE TABLE codes (code char(8) PRIMARY KEY, boss text) PARTITION BY LIST (code); CREATE TABLE rest PARTITION OF codes DEFAULT", same: []string{"abc", "abc  "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			table := tt.table
			if table == nil {
				table = codes
			}
			if tt.filler == nil {
				tt.filler = func(i int) string { return fmt.Sprint("f", i) }
			}
			for _, others := range []int{0, 20, 200} {
				for _, fifo := range []bool{false, true} {
					if fifo && others > 20 {
						continue
					}
					s := newSite(t, setup{sql: tt.sql + "; ALTER TABLE codes ADD CONSTRAINT no_bad CHECK (boss <> 'canary-bad')", table: table})
					var rows []code
					for _, c := range tt.same {
						rows = append(rows, code{code: c})
					}
					for i := range others {
						rows = append(rows, code{code: tt.filler(i)})
					}
					want := verdicts{stored: fmt.Sprintf("1-%d", len(rows))}
					if others > 0 { // and a refused row, so that rows are searched
						rows = append(rows, code{code: tt.filler(others), boss: canary + "bad"})
						want[rejected("23514 constraint no_bad")] = fmt.Sprint(len(rows))
					}
					if fifo {
						rows = inOwnGroups(rows)
					}
					for range 2 { // and delivered again
						s.deliver(table, rows...).want(want)
						if got := s.db.Count(t, "SELECT count(*) FROM codes"); got != int64(others)+1 {
							t.Errorf("%d others, FIFO %v: got %d rows, want %d", others, fifo, got, others+1)
						}
					}
				}
			}
		})
	}
}

// TestARefusedRowIsNoDuplicateOfALaterOne has messages with one key: the first is refused, and the
// second is good.
func TestARefusedRowIsNoDuplicateOfALaterOne(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 20, 200} {
		for _, fifo := range []bool{false, true} {
			if fifo && n > 20 {
				continue
			}
			s := newSite(t, setup{sql: "CREATE TABLE codes (code char(8) PRIMARY KEY, boss text CONSTRAINT no_bad CHECK (boss <> 'canary-bad'))", table: codes})
			rows := []code{{code: "b", boss: canary + "bad"}, {code: "b "}}
			for i := 2; i < n; i++ {
				rows = append(rows, code{code: fmt.Sprint("f", i)})
			}
			if fifo {
				rows = inOwnGroups(rows)
			}
			s.deliver(codes, rows...).want(verdicts{rejected("23514 constraint no_bad"): "1", stored: ranges(idsFrom(2, n))}).inserts(n - 1)
			// The key is there now, stored before: the first is done like any row that is there.
			s.deliver(codes, rows...).want(verdicts{stored: ranges(idsFrom(1, n))}).inserts(0)
		}
	}
}

func idsFrom(first, last int) []int64 { return idsOf(goods(int64(first), last-first+1)) }

// TestRowsThatAreValidOnlyTogether have references to other rows of their batch. They are stored,
// also beside rows that are refused for any reason.
func TestRowsThatAreValidOnlyTogether(t *testing.T) {
	t.Parallel()
	const by = "23503 constraint boss"
	for _, key := range []string{"", "DEFERRABLE INITIALLY DEFERRED"} {
		for _, tt := range []struct {
			name string
			rows []code
			want verdicts
			// trips for up to 64 rows.
			trips int
		}{
			{name: "child before parent", rows: []code{{code: "a", boss: "z"}, {code: "z"}}, want: verdicts{stored: "1-2"}, trips: 1},
			{name: "and a bad row", rows: []code{{code: "a", boss: "z"}, {code: "z"}, {code: "bad"}}, want: verdicts{stored: "1-2", rejected("23514 constraint no_bad"): "3"}, trips: 3},
			{name: "and a row that refers to nobody", rows: []code{{code: "a", boss: "z"}, {code: "z"}, {code: "b", boss: "nobody"}}, want: verdicts{stored: "1-2", rejected(by): "3"}, trips: 3},
			{name: "a chain", rows: []code{{code: "a", boss: "c"}, {code: "c", boss: "d"}, {code: "d", boss: "z"}, {code: "z"}, {code: "b", boss: "nobody"}}, want: verdicts{stored: "1-4", rejected(by): "5"}, trips: 3},
			{name: "a circle", rows: []code{{code: "a", boss: "d"}, {code: "d", boss: "a"}, {code: "b", boss: "nobody"}, {code: "bad"}}, want: verdicts{stored: "1-2", rejected(by): "3", rejected("23514 constraint no_bad"): "4"}, trips: 3},
			{name: "a chain to nobody", rows: []code{{code: "a", boss: "d"}, {code: "d", boss: "e"}, {code: "e", boss: "nobody"}, {code: "z"}}, want: verdicts{stored: "4", rejected(by): "1-3"}, trips: 3},
			{name: "the parent is bad", rows: []code{{code: "a", boss: "bad"}, {code: "bad"}, {code: "z"}}, want: verdicts{stored: "3", rejected(by): "1", rejected("23514 constraint no_bad"): "2"}, trips: 3},
			{name: "parents first", rows: []code{{code: "a"}, {code: "d", boss: "a"}, {code: "zbad", boss: "a"}}, want: verdicts{stored: "1-2", rejected("23514 constraint no_bad"): "3"}, trips: 2},
		} {
			for _, shape := range []string{"plain", "partitioned", "FIFO", "large"} {
				t.Run(tt.name+" "+key+" "+shape, func(t *testing.T) {
					t.Parallel()
					sql := "CREATE TABLE codes (code text PRIMARY KEY, boss text, tx xid8 DEFAULT pg_current_xact_id(), CONSTRAINT no_bad CHECK (code NOT LIKE '%bad%'))"
					if shape == "partitioned" {
						sql += " PARTITION BY RANGE (code); CREATE TABLE first PARTITION OF codes FOR VALUES FROM (MINVALUE) TO ('c'); CREATE TABLE rest PARTITION OF codes FOR VALUES FROM ('c') TO (MAXVALUE)"
					}
					s := newSite(t, setup{sql: sql + "; ALTER TABLE codes ADD CONSTRAINT boss FOREIGN KEY (boss) REFERENCES codes " + key, table: codes})
					s.deliver(codes, code{code: "warm"}).must()
					s.db.Exec(t, "DELETE FROM codes")
					rows, want := tt.rows, tt.want
					switch shape {
					case "FIFO":
						rows = inOwnGroups(rows)
					case "large":
						want = maps.Clone(tt.want)
						want[stored] += fmt.Sprintf(" %d-%d", len(rows)+1, len(rows)+200)
						for i := range 200 {
							rows = append(slices.Clip(rows), code{code: fmt.Sprint("k", i)})
						}
					}
					o := s.deliver(codes, rows...)
					o.want(want)
					if (shape == "plain" || shape == "partitioned") && o.RoundTrips != tt.trips {
						t.Errorf("got %d round trips, want %d", o.RoundTrips, tt.trips)
					}
					if shape != "FIFO" {
						if got := s.db.Count(t, "SELECT count(DISTINCT tx) FROM codes"); got != 1 {
							t.Errorf("%d transactions stored the rows, want one", got)
						}
					}
				})
			}
		}
	}
}

// TestReferencesOfManyKinds have a child that is tried before its parent, and another row that is
// refused.
func TestReferencesOfManyKinds(t *testing.T) {
	t.Parallel()
	const noBad = " ALTER TABLE codes ADD CONSTRAINT no_bad CHECK (code <> '99');"
	for _, tt := range []struct {
		name, sql string
		table     *batch.Table
		child     string
		bad       string // the boss of the row 99
		by        string
	}{
		{name: "with a column that has a default", sql: "CREATE TABLE codes (code text PRIMARY KEY, boss text, tenant integer DEFAULT 1, UNIQUE (tenant, code), FOREIGN KEY (tenant, boss) REFERENCES codes (tenant, code));" + noBad},
		{name: "between generated columns", sql: "CREATE TABLE codes (code text PRIMARY KEY, boss text, small text GENERATED ALWAYS AS (lower(code)) STORED UNIQUE, lboss text GENERATED ALWAYS AS (lower(boss)) STORED REFERENCES codes (small));" + noBad},
		{name: "between partitions", sql: "CREATE TABLE codes (code text PRIMARY KEY, boss text) PARTITION BY RANGE (code); CREATE TABLE one PARTITION OF codes FOR VALUES FROM (MINVALUE) TO ('5'); CREATE TABLE two PARTITION OF codes FOR VALUES FROM ('5') TO (MAXVALUE); ALTER TABLE one ADD FOREIGN KEY (boss) REFERENCES two;" + noBad},
		{name: "below a view", sql: "CREATE TABLE base (code text PRIMARY KEY CONSTRAINT no_bad CHECK (code <> '99'), boss text REFERENCES base); CREATE VIEW codes AS SELECT * FROM base"},
		{name: "char", sql: "CREATE TABLE codes (code char(4) PRIMARY KEY, boss char(4) REFERENCES codes);" + noBad, child: "7  "},
		{name: "numeric", table: numbers, sql: "CREATE TABLE codes (code numeric PRIMARY KEY, boss numeric REFERENCES codes);" + noBad, child: "7.0"},
		{name: "beside another foreign key", sql: "CREATE TABLE sites (s text PRIMARY KEY); INSERT INTO sites VALUES ('1'), ('7'); CREATE TABLE codes (code text PRIMARY KEY, boss text REFERENCES codes, CONSTRAINT no_bad FOREIGN KEY (code) REFERENCES sites)", by: "23503 constraint no_bad"},
		{name: "MATCH FULL", sql: "CREATE TABLE codes (code text PRIMARY KEY, boss text, part text GENERATED ALWAYS AS (CASE boss WHEN 'half' THEN NULL WHEN NULL THEN NULL ELSE boss END) STORED, both_code text GENERATED ALWAYS AS (code) STORED, UNIQUE (code, both_code), CONSTRAINT no_bad FOREIGN KEY (boss, part) REFERENCES codes (code, both_code) MATCH FULL)", bad: "half", by: "23503 constraint no_bad"},
	} {
		for _, fifo := range []bool{false, true} {
			t.Run(fmt.Sprint(tt.name, " FIFO ", fifo), func(t *testing.T) {
				t.Parallel()
				table := codes
				if tt.table != nil {
					table = tt.table
					if tt.name == "numeric" {
						table = &batch.Table{Name: "codes", Key: []int{0}, Columns: []batch.Column{numbers.Columns[0], {Name: "boss", Kind: batch.Text, Type: "numeric"}}}
					}
				}
				s := newSite(t, setup{sql: tt.sql, table: table})
				rows := []code{{code: "1", boss: cmp.Or(tt.child, "7")}, {code: "7"}, {code: "99", boss: tt.bad}}
				if fifo {
					rows = inOwnGroups(rows)
				}
				o := s.deliver(table, rows...)
				by := cmp.Or(tt.by, "23514 constraint no_bad")
				o.want(verdicts{stored: "1-2", rejected(by): "3"})
			})
		}
	}
}

// TestAReferenceToAGeneratedColumn cannot be followed by the client; the rows are tried together
// all the same.
func TestAReferenceToAGeneratedColumn(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{table: codes, sql: `CREATE TABLE codes (code text PRIMARY KEY, boss text, small text GENERATED ALWAYS AS (lower(code)) STORED UNIQUE, CONSTRAINT no_bad CHECK (code <> 'bad'));
		ALTER TABLE codes ADD CONSTRAINT boss FOREIGN KEY (boss) REFERENCES codes (small)`})
	s.deliver(codes, code{code: "A", boss: "z"}, code{code: "Z"}, code{code: "bad"}).want(verdicts{stored: "1-2", rejected("23514 constraint no_bad"): "3"})
}

// TestAKeyThatATriggerChanges is stored, and its next delivery is not recognised: the error says
// why, once a minute.
func TestAKeyThatATriggerChanges(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 5, 200} {
		s := newSite(t, setup{table: codes, sql: `CREATE TABLE codes (code text PRIMARY KEY, boss text);
			CREATE FUNCTION norm() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.code := lower(NEW.code); RETURN NEW; END$$;
			CREATE TRIGGER "Norm it" BEFORE INSERT ON codes FOR EACH ROW EXECUTE FUNCTION norm()`})
		now := time.Now()
		s.store = openStore(t, s.proxy.URL, codes, postgres.WithClock(func() time.Time { return now }))
		var rows []code
		for i := range n {
			rows = append(rows, code{code: fmt.Sprint("A", i)})
		}
		s.deliver(codes, rows...).must()
		s.deliver(codes, rows...).verdicts(verdicts{discarded: ranges(idsFrom(1, n))}).blames(message.CauseConfiguration, "changes the key", "Norm it")
		s.deliver(codes, rows...).want(verdicts{discarded: ranges(idsFrom(1, n))}) // said once
		now = now.Add(2 * time.Minute)
		s.deliver(codes, rows...).blames(message.CauseConfiguration, "changes the key")
	}
}

// TestTheServerBoundsASearch looks at the settings of the transaction that searches for refused
// rows, and at those of the session afterwards.
func TestTheServerBoundsASearch(t *testing.T) {
	t.Parallel()
	names := []string{"idle_in_transaction_session_timeout", "tcp_user_timeout", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"}
	columns := ""
	for _, name := range names {
		columns += fmt.Sprintf(", ADD %s text DEFAULT current_setting('%s')", name, name)
	}
	s := newSite(t, setup{sql: createEvents + noBadWord + "ALTER TABLE events ADD dummy integer" + columns})
	s.insert(goods(1, 3)...).must()
	rows := goods(11, 3)
	badWord(&rows[1])
	s.insert(rows...).want(verdicts{stored: "11 13", rejected(byNoBadWord): "12"})
	s.insert(goods(21, 3)...).must()
	settings := func(id int64) []string {
		return s.db.Rows(t, "SELECT "+strings.Join(names, ", ")+" FROM events WHERE id = $1", id)[0]
	}
	before, search, after := settings(1), settings(11), settings(21)
	for i, name := range names {
		if before[i] == search[i] {
			t.Errorf("%s is %s, as without one", name, search[i])
		}
		if before[i] != after[i] {
			t.Errorf("%s is %s afterwards, and was %s", name, after[i], before[i])
		}
	}
}

// TestADoubtfulSearchStops has the server cancel one row of a search: all of it is tried
// again.
func TestADoubtfulSearchStops(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{sql: createEvents + noBadWord})
	release := s.hold(idsFrom(11, 64)...)
	s.whenItWaits(func() {
		s.signal("pg_cancel_backend", "wait_event_type = 'Lock'")
		release()
	})
	rows := goods(5, 60)
	badWord(&rows[0]) // refused before any row waits
	// If it went on, the row whose wait was cancelled would be returned.
	s.insert(rows...).want(verdicts{rejected(byNoBadWord): "5", stored: "6-64"})
}

// TestAColdBatchWithAnotherTypeOfKey learns how keys compare beside its insert, which changes the
// statements that follow.
func TestAColdBatchWithAnotherTypeOfKey(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, mode string) {
		s := newSite(t, setup{mode: mode, sql: strings.Replace(createEvents, "id bigint", "id numeric", 1) + noBadWord})
		rows := goods(1, 4)
		badWord(&rows[1])
		s.insert(rows...).want(verdicts{stored: "1 3-4", rejected(byNoBadWord): "2"}).inserts(3)
		s.insert(rows...).want(verdicts{stored: "1 3-4", rejected(byNoBadWord): "2"}).inserts(0)
	})
}
