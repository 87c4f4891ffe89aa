package postgres_test

import (
	"fmt"
	"testing"

	"example.com/owner/sluice/internal/message"
)

// TestWhatARowMeetsInCompany has a refused row in each batch, in databases where the rows of a
// batch decide on each other: no good row is refused because of the others, and the refused one is
// never done because of them.
func TestWhatARowMeetsInCompany(t *testing.T) {
	t.Parallel()
	text := func(word string) string { return canary + word }
	// The trigger sorts after those of foreign keys, whose names begin with RI.
	const makesParent = `CREATE TABLE parents (n integer PRIMARY KEY);
		ALTER TABLE events ADD CONSTRAINT parent FOREIGN KEY (n) REFERENCES parents DEFERRABLE INITIALLY DEFERRED;
		CREATE FUNCTION makes() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO parents VALUES (NEW.n) ON CONFLICT DO NOTHING; RETURN NULL; END $$;
		CREATE TRIGGER makes AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION makes()`
	const balanced = `CREATE FUNCTION balanced() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF (SELECT sum(n) FROM events WHERE word = NEW.word) <> 0 THEN RAISE EXCEPTION 'not balanced' USING ERRCODE = 'check_violation'; END IF; RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER balanced AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION balanced()`
	for _, tt := range []struct {
		name, sql string
		rows      []row
		want      verdicts
		large     bool   // also among rows with other numbers
		ordered   bool   // also with message groups
		says      string // in an error
	}{
		{
			name: "a trigger puts a row with its key there",
			sql: `CREATE FUNCTION stubs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n > 0 THEN INSERT INTO events (id) VALUES (NEW.n) ON CONFLICT DO NOTHING; END IF; RETURN NEW; END $$;
				CREATE TRIGGER stubs BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION stubs()`,
			rows:  []row{{id: 1, word: text("one"), n: 3}, {id: 2, word: text("two")}, {id: 3, word: text("bad")}},
			want:  verdicts{stored: "1-2", rejected(byNoBadWord): "3"},
			large: true, ordered: true,
		},
		{
			name: "a deferred foreign key, and a trigger that makes the parent afterwards", sql: makesParent,
			rows:  []row{{id: 1, word: text("one"), n: 7}, {id: 2, word: text("two"), n: 8}, {id: 3, word: text("bad"), n: 9}},
			want:  verdicts{stored: "1-2", rejected(byNoBadWord): "3"},
			large: true, ordered: true,
		},
		{
			name: "a deferred trigger that looks at sets of rows", sql: balanced,
			rows:  []row{{id: 1, word: text("a"), n: 5}, {id: 2, word: text("b"), n: 0}, {id: 3, word: text("a"), n: -5}, {id: 4, word: text("bad")}},
			want:  verdicts{stored: "1-3", rejected(byNoBadWord): "4"},
			large: true,
		},
		{
			name: "and a set that it refuses", sql: balanced,
			rows: []row{{id: 1, word: text("a"), n: 5}, {id: 2, word: text("b"), n: 0}, {id: 4, word: text("bad")}},
			want: verdicts{stored: "2", rejected("23514"): "1", rejected(byNoBadWord): "4"},
		},
		{
			name: "a set that it refuses for one more row", sql: balanced, // which of them it is nobody knows
			rows: []row{{id: 1, word: text("a"), n: 5}, {id: 2, word: text("b"), n: 0}, {id: 3, word: text("a"), n: -5}, {id: 4, word: text("c"), n: 1}, {id: 5, word: text("bad")}},
			want: verdicts{stored: "2", transient: "1 3-4", rejected(byNoBadWord): "5"},
			says: "23514",
		},
		{
			name: "a row that it refuses, and one with its key", sql: balanced,
			rows: []row{{id: 1, word: text("a"), n: 5}, {id: 1, word: text("b"), n: 0}, {id: 3, word: text("bad")}},
			want: verdicts{stored: "1", rejected("23514"): "1", rejected(byNoBadWord): "3"},
		},
		{
			name: "a trigger that changes the search_path",
			sql: `DO $$ BEGIN EXECUTE format('CREATE SCHEMA %1$I; CREATE TABLE %1$I.events (LIKE events)', current_schema() || '_2'); END $$;
				CREATE FUNCTION leads() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', TG_TABLE_SCHEMA || '_2', true); RETURN NEW; END $$;
				CREATE TRIGGER leads BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION leads()`,
			rows:  []row{{id: 1, word: text("one")}, {id: 2, word: text("bad")}, {id: 3, word: text("three")}, {id: 4, word: text("bad")}},
			want:  verdicts{stored: "1 3", rejected(byNoBadWord): "2 4"},
			large: true,
		},
	} {
		for _, n := range []int{0, 200} {
			for _, ordered := range []bool{false, true} {
				if n > 0 && (!tt.large || ordered) || ordered && !tt.ordered {
					continue
				}
				t.Run(fmt.Sprintf("%s, %d more, ordered %v", tt.name, n, ordered), func(t *testing.T) {
					t.Parallel()
					s := newSite(t, setup{sql: createEvents + noBadWord + "; " + tt.sql})
					t.Cleanup(func() { s.db.Exec(t, "DROP SCHEMA IF EXISTS "+s.db.Schema+"_2 CASCADE") })
					rows := append([]row{}, tt.rows...)
					for i := range n {
						rows = append(rows, row{id: int64(1001 + i), word: text(fmt.Sprint(i)), n: 0})
					}
					if ordered {
						ownGroups(rows)
					}
					want := verdicts{}
					for verdict, ids := range tt.want {
						if want[verdict] = ids; verdict == stored && n > 0 {
							want[verdict] += fmt.Sprintf(" 1001-%d", 1000+n)
						}
					}
					if o := s.insert(rows...).verdicts(want); tt.says != "" {
						o.blames(message.CauseTransient, tt.says)
					} else if o.err != nil {
						t.Errorf("got error %v, want none", o.err)
					}
					if got := s.stored(); got != want[stored] && tt.name != "a trigger puts a row with its key there" {
						t.Errorf("the table holds %s, want %s", got, want[stored])
					}
				})
			}
		}
	}
}

// TestATriggerTakesAValueAway has a NULL where the message has a value: no message is to blame.
func TestATriggerTakesAValueAway(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{sql: createEvents + `ALTER TABLE events ALTER word SET NOT NULL;
		CREATE FUNCTION empties() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n = 2 THEN NEW.word := NULL; END IF; RETURN NEW; END $$;
		CREATE TRIGGER empties BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION empties()`})
	rows := goods(1, 4)
	two(&rows[1])
	rows[2].word = nil
	s.insert(rows...).blames(message.CauseConfiguration, "23502 (not_null_violation), column word", "a trigger sets it to NULL").
		verdicts(verdicts{stored: "1 4", configuration: "2", rejected("23502 column word"): "3"})
}
