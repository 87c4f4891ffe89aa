package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestConflictsCompareAsTheColumnDoes has values of many types: the same one in another form, and
// another one.
func TestConflictsCompareAsTheColumnDoes(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE SCHEMA far", "CREATE EXTENSION citext SCHEMA far", "CREATE TYPE mood AS ENUM ('sad', 'glad')", "CREATE DOMAIN amount AS numeric(6,1)")
	text := func(typed string) batch.Column { return batch.Column{Kind: batch.Text, Type: typed} }
	asText := func(typed string) batch.Column { return batch.Column{Kind: batch.Text, Type: typed, AsText: true} }
	list := func(typed string) batch.Column { return batch.Column{Kind: batch.Text, Type: typed, List: true} }
	for i, tt := range []struct {
		column             batch.Column
		live               string
		first, same, other string // NULL is none
	}{
		{text("text"), "text", "a", "a", "A"},
		{text("text"), "text", "NULL", "NULL", "a"},
		{text("text"), "text", "a", "a", "NULL"},
		{text("varchar(3)"), "varchar(3)", "abc", "abc   ", "abd"},
		{text("char(3)"), "char(5)", "a", "a  ", "b"},
		{text("citext"), "far.citext", "a", "A", "b"},
		{text("numeric(6,2)"), "numeric(6,1)", "1.2", "1.21", "1.3"},
		{text("numeric"), "numeric", "1", "1.00", "1.01"},
		{text("numeric"), "amount", "1.04", "1", "1.1"},
		{text("jsonb"), "jsonb", `{"a": 1, "b": 2.0}`, `{"b":2.0,"a":1}`, `{"a": 1}`},
		{text("json"), "json", `{"a": 1}`, `{"a": 1}`, `{"a": 2}`},
		{text("jsonb"), "json", `{"a": 1, "b": 2}`, `{"b": 2, "a": 1}`, `{"a": 2}`},
		{text("inet"), "inet", "10.0.0.1", "10.0.0.1/32", "10.0.0.2"},
		{text("interval"), "interval", "P1M", "P30D", "P31D"},
		{asText("mood"), "mood", "sad", "sad", "glad"},
		{asText("point"), "point", "(1,2)", "(1.0,2.0)", "(2,1)"},
		{asText("int4range"), "int4range", "[1,3)", "[1,2]", "[1,3]"},
		{list("text[]"), "text[]", `{a,"b"}`, `{a,b}`, `{b,a}`},
		{list("numeric[]"), "numeric[]", `{1,2}`, `{1.0,2.00}`, `{1}`},
	} {
		c := tt.column
		c.Name, c.Compared = "v", true
		table := &batch.Table{Name: fmt.Sprint("things", i), Key: []int{0}, Columns: []batch.Column{
			idColumn, c, messageID,
		}}
		db.Exec(t, fmt.Sprintf("CREATE TABLE %s (id bigint PRIMARY KEY, v %s, message_id uuid)", table.Name, tt.live))
		s := siteOf(t, db, table)
		insert := func(value string, n int) message.Verdict {
			b := batch.New(table)
			b.Begin(0, 0)
			b.Int8(1)
			if value == "NULL" {
				b.Null()
			} else {
				b.String(value)
			}
			b.Bytes(fmt.Appendf(nil, "%016d", n))
			b.End()
			o := s.insertBatch(t.Context(), b, []int64{int64(n)})
			if o.err != nil {
				t.Errorf("%s in %s: %v", value, tt.live, o.err)
			}
			return o.Verdicts[0]
		}
		insert(tt.first, 1)
		if got := insert(tt.same, 2); got.Outcome != message.Stored || !got.Rejection.IsZero() {
			t.Errorf("%s: %s beside %s: %+v", tt.live, tt.same, tt.first, got)
		}
		if got := insert(tt.other, 3); got.Rejection.String() != message.ConflictWith(uuidOf(1)).String() {
			t.Errorf("%s: %s beside %s: %+v", tt.live, tt.other, tt.first, got)
		}
		if got := insert(tt.other, 1); !got.Rejection.IsZero() { // the same message
			t.Errorf("%s: the same message: %+v", tt.live, got)
		}
	}
}

// kept is a table that keeps the stored row and finds conflicts.
func kept(onConflict batch.OnConflict) *batch.Table {
	return &batch.Table{Name: "things", OnConflict: onConflict, Key: []int{0}, Columns: []batch.Column{
		idColumn,
		{Name: "mood", Kind: batch.Text, Type: "mood", AsText: true, Compared: true},
		messageID,
	}}
}

// TestConflictsCostNoRoundTrip: the look-up of duplicates compares them. Only a search compares by
// itself, row by row if the server cannot read some: what it cannot read is not what is stored.
func TestConflictsCostNoRoundTrip(t *testing.T) {
	t.Parallel()
	for onConflict, word := range map[batch.OnConflict]string{batch.Keep: "stored: ", batch.Reject: "rejected: "} {
		for _, group := range []int{0, 1} {
			table := kept(onConflict)
			s := newSite(t, setup{table: table, sql: "CREATE TYPE mood AS ENUM ('sad', 'glad', 'mad'); CREATE TABLE things (id bigint PRIMARY KEY, mood mood, message_id uuid);"})
			deliver := func(moods ...string) *outcome {
				b := batch.New(table)
				numbers := make([]int64, len(moods))
				for i, text := range moods {
					id, mood, _ := strings.Cut(text, " ")
					var key int64
					if _, err := fmt.Sscanf(id, "%d/%d", &key, &numbers[i]); err != nil {
						t.Fatal(err)
					}
					b.Begin(i, group*(i+1))
					b.Int8(key)
					b.String(mood)
					b.Bytes(fmt.Appendf(nil, "%016d", numbers[i]))
					b.End()
				}
				b.Sort()
				return s.insertBatch(t.Context(), b, byRow(b, numbers, func(n int64) int64 { return n }))
			}
			conflict := word + message.ConflictWith(uuidOf(1)).String()
			deliver("1/1 sad").must()
			trips := 2
			if onConflict == batch.Reject && group > 0 {
				trips = 5 // it stops its group, so all are tried
			}
			deliver("1/2 glad", "1/3 sad", "2/4 sad").want(verdicts{conflict: "2", stored: "3-4"}).costs(trips)
			s.db.Exec(t, "ALTER TYPE mood RENAME VALUE 'mad' TO 'angry'")
			deliver("1/5 mad", "1/1 mad", "3/6 glad").want(verdicts{conflict: "5", stored: "1 6"})
		}
	}
}

// TestConflictsOfABrokenAttempt breaks the connection before each answer in turn. A message whose row is in
// conflict is never done as if it were not, and neither is what follows it in its message group.
func TestConflictsOfABrokenAttempt(t *testing.T) {
	t.Parallel()
	for _, onConflict := range []batch.OnConflict{batch.Keep, batch.Reject} {
		for _, group := range []int{0, 1} {
			t.Run(fmt.Sprint(onConflict, group), func(t *testing.T) {
				t.Parallel()
				table := kept(onConflict)
				s := newSite(t, setup{table: table, sql: "CREATE TYPE mood AS ENUM ('sad', 'glad', 'mad'); CREATE TABLE things (id bigint PRIMARY KEY, mood mood CHECK (mood <> 'mad'), message_id uuid);"})
				s.db.Exec(t, fmt.Sprintf("INSERT INTO things VALUES (1, 'sad', '%s')", uuidOf(1)))
				conflict := message.ConflictWith(uuidOf(1)).String()
				for n, struck := 1, true; struck; n++ {
					b := batch.New(table)
					for i, mood := range []string{"glad", "sad", "mad"} { // in conflict, new the first time, and refused
						b.Begin(i, group*(1+i/2))
						b.Int8(int64(i + 1))
						b.String(mood)
						b.Bytes(fmt.Appendf(nil, "%016d", i+2))
						b.End()
					}
					s.store = openStore(t, s.proxy.URL, table, impatient)
					s.proxy.Plan(pgtest.Fault{At: pgtest.BeforeAnswer(n), How: pgtest.Close})
					o := s.insertBatch(t.Context(), b, []int64{2, 3, 4})
					struck = !s.proxy.Planned()
					s.proxy.Restore()
					inConflict, next := o.Verdicts[0], o.Verdicts[1]
					done := inConflict.Outcome != message.Returned
					if done && inConflict.Rejection.String() != conflict {
						t.Errorf("before answer %d: the row in conflict is %s %s", n, inConflict.Outcome, inConflict.Rejection)
					}
					if group > 0 && inConflict.Outcome != message.Stored && next.Outcome == message.Stored {
						t.Errorf("before answer %d: the next one of the group is stored", n)
					}
					if !struck && !done {
						t.Errorf("without a fault the row in conflict is %s", inConflict.Outcome)
					}
				}
			})
		}
	}
}

// TestConflictsWithoutTheirGrant: an installation whose role may only insert and read keys stores what it
// has always stored. A row with a stored key is a duplicate there, and no conflict.
func TestConflictsWithoutTheirGrant(t *testing.T) {
	t.Parallel()
	table := &batch.Table{Name: "things", Key: []int{0}, Columns: []batch.Column{
		idColumn,
		{Name: "v", Kind: batch.Text, Type: "text", Compared: true},
		messageID,
	}}
	for _, group := range []int{0, 1} {
		for grants, conflict := range map[string]message.Reason{
			"INSERT, SELECT (id)":                "",
			"INSERT, SELECT (id, v, message_id)": message.ReasonConflict,
		} {
			t.Run(fmt.Sprint(grants, group), func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{table: table, sql: "CREATE TABLE things (id bigint PRIMARY KEY, v text CHECK (v <> 'bad'), message_id uuid)", grants: func(role string) []string {
					return []string{"GRANT " + grants + " ON things TO " + role}
				}})
				insert := func(redelivered bool, values ...string) *outcome {
					b := batch.New(table)
					ids := make([]int64, len(values))
					for i, value := range values {
						ids[i] = int64(i)
						b.Begin(i, group*(i+1))
						b.Int8(int64(i))
						b.String(value)
						b.Bytes(fmt.Appendf(nil, "%016d", i+len(value)))
						b.End()
					}
					b.SetRedelivered(redelivered)
					return s.insertBatch(t.Context(), b, ids)
				}
				insert(false, "a", "b").must()
				insert(true, "a", "b").must().inserts(0)
				for _, values := range [][]string{{"a", "other"}, {"a", "other", "bad", "new"}} { // and in a search
					o := insert(true, values...)
					if o.err != nil || o.Verdicts[1].Outcome != message.Stored || o.Verdicts[1].Rejection.Reason != conflict {
						t.Errorf("got %+v and error %v, want reason %q", o.Verdicts[1], o.err, conflict)
					}
				}
			})
		}
	}
}
