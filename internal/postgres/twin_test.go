package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestBothFormsOfTheInsertAgree delivers the same random batches to two tables: to one as first
// deliveries, some of whose rows are stored all the same, and to the other as redeliveries.
func TestBothFormsOfTheInsertAgree(t *testing.T) {
	t.Parallel()
	doing := func(body string) string {
		return "; CREATE FUNCTION doing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body + " RETURN NEW; END $$; CREATE "
	}
	const (
		before  = "TRIGGER doing BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION doing()"
		after   = "TRIGGER doing AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION doing()"
		each    = "TRIGGER doing AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION doing()"
		atEnd   = "CONSTRAINT TRIGGER doing AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION doing()"
		oneWord = "; ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word)"
		refers  = "; ALTER TABLE events ADD CONSTRAINT earlier FOREIGN KEY (n) REFERENCES events (id)"
	)
	kinds := append([]shape{{name: "numeric", sql: strings.Replace(createEvents, "id bigint", "id numeric", 1)}}, shapes...)
	for i, tt := range []struct{ name, sql, not string }{
		{name: "nothing else"},
		{name: "check", sql: noBadWord},
		{name: "another key", sql: oneWord, not: "partitioned"},
		{name: "another key, deferred", sql: oneWord + " DEFERRABLE INITIALLY DEFERRED", not: "partitioned"},
		{name: "exclusion", sql: "; ALTER TABLE events ADD CONSTRAINT no_twin EXCLUDE USING btree (word WITH =)", not: "partitioned"},
		{name: "foreign key", sql: refers, not: "ledger numeric"},
		{name: "foreign key, deferred", sql: refers + " DEFERRABLE INITIALLY DEFERRED", not: "ledger numeric"},
		{name: "many", sql: discarding + noBadWord + oneWord[1:] + refers, not: "partitioned ledger numeric"},
		{name: "a trigger discards", sql: discarding},
		{name: "a trigger refuses", sql: doing("IF NEW.word LIKE '%bad%' THEN RAISE EXCEPTION 'no'; END IF;") + before},
		{name: "a trigger refuses with the state of a key", sql: doing("IF NEW.word LIKE '%bad%' THEN RAISE unique_violation; END IF;") + before},
		{name: "a trigger refuses at the end", sql: raising(atCommit, "P0001")},
		{name: "a trigger looks for the key", sql: doing("IF EXISTS (SELECT FROM events WHERE id = NEW.id) THEN RETURN NULL; END IF;") + before},
		{name: "a trigger refuses the key", sql: doing("IF EXISTS (SELECT FROM events WHERE id = NEW.id) THEN RAISE unique_violation; END IF;") + before},
		{name: "a trigger stores the row itself", sql: doing("IF pg_trigger_depth() = 1 AND NEW.word LIKE '%bad%' THEN INSERT INTO events SELECT NEW.*; END IF;") + before},
		{name: "a trigger stores others", sql: doing("IF pg_trigger_depth() = 1 AND NEW.word LIKE '%bad%' THEN INSERT INTO events VALUES (NEW.id + 1, 'copy') ON CONFLICT DO NOTHING; END IF;") + after, not: "ledger"},
		{name: "a trigger keeps a key elsewhere", sql: "; CREATE TABLE words (word text PRIMARY KEY)" + doing("INSERT INTO words VALUES (NEW.word);") + before},
		{name: "a trigger looks at siblings at the end", sql: doing("IF NEW.word LIKE '%bad%' AND NOT EXISTS (SELECT FROM events WHERE id <> NEW.id AND word LIKE '%bad%') THEN RAISE EXCEPTION 'alone'; END IF;") + atEnd},
		{name: "a trigger refuses a statement", sql: doing("IF (SELECT count(*) FROM events WHERE word LIKE '%bad%') > 2 THEN RAISE EXCEPTION 'many'; END IF;") + each},
	} {
		for k, shape := range kinds {
			if strings.Contains(tt.not, shape.name) || (i+k)%unlessThorough(3, 1) != 0 {
				continue
			}
			t.Run(tt.name+"/"+shape.name, func(t *testing.T) {
				t.Parallel()
				first, again := shaped(t, shape, tt.sql, nil, hasty), shaped(t, shape, tt.sql, nil, hasty)
				for seed := range unlessThorough(4, 20) {
					rows, old := twinRows(rand.New(rand.NewPCG(uint64(seed), 7)), seed)
					deliver := func(s *site, redelivered bool) (o *outcome, all verdicts) {
						s.db.Exec(t, "TRUNCATE "+s.tables())
						b := shape.batch(old)
						b.SetRedelivered(true)
						s.insertBatch(t.Context(), b, idsIn(b, old))
						if b = shape.batch(rows); shape.grouped {
							for i := range rows {
								rows[i].group = 1 + i%5
							}
							b = batchOf(rows)
						}
						b.SetRedelivered(redelivered)
						o = s.insertBatch(t.Context(), b, idsIn(b, rows))
						got := map[string][]int64{}
						for i, v := range o.Verdicts {
							got[spell(v)] = append(got[spell(v)], o.ids[i])
						}
						return o, compress(got)
					}
					o, got := deliver(first, false)
					other, want := deliver(again, true)
					if diff := gocmp.Diff(got, want); diff != "" {
						t.Errorf("verdicts (-first +again):\n%s", diff)
					}
					if diff := gocmp.Diff(first.words(), again.words()); diff != "" {
						t.Errorf("tables (-first +again):\n%s", diff)
					}
					if o.Tallies.Sum().Inserted != other.Tallies.Sum().Inserted || fmt.Sprint(o.err) != fmt.Sprint(other.err) {
						t.Errorf("%d rows inserted and the error %v, the other way %d and %v", o.Tallies.Sum().Inserted, o.err, other.Tallies.Sum().Inserted, other.err)
					}
					if t.Failed() {
						t.Fatalf("that was seed %d: %+v, old %+v", seed, rows, old)
					}
				}
			})
		}
	}
}

// tables are the tables of the site, as a list.
func (s *site) tables() string {
	return s.db.Rows(s, "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class WHERE relnamespace = current_schema::regnamespace AND relkind IN ('r', 'p')")[0][0]
}

// twinRows makes a batch and some of its rows that are stored before. Most rows are good.
func twinRows(r *rand.Rand, seed int) (rows, old []row) {
	n := []int{1 + r.IntN(5), 1 + r.IntN(64), 65 + r.IntN(100), 20}[seed%4]
	if seed == 6 {
		n = 1300 // several statements
	}
	rows = randomRows(r, n, 2*n+20, randomRow)
	for i := range rows {
		if r.IntN(2) == 0 {
			rows[i].word = good(rows[i].id).word
		}
		if r.IntN(3) > 0 {
			rows[i].n = nil
		}
	}
	old = []row{{id: 100_000, word: canary + "old"}} // it shows the connection that there is a key
	for i := range r.IntN(3) {
		one := rows[(r.IntN(n)+i)%n]
		one.n = nil
		if len(old) < 2 || old[1].id != one.id {
			old = append(old, one)
		}
	}
	return rows, old
}
