package postgres_test

import "testing"

// TestLargeBatchesOfRowsThatReferToEachOther has rows that are valid as one statement, and more of
// them than one statement has otherwise.
func TestLargeBatchesOfRowsThatReferToEachOther(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		n     int
		to    func(i, n int) int // 0 for no other row
		trips int
	}{
		{"neighbours", 2500, func(i, _ int) int { return (i - 1) ^ 1 + 1 }, 1},
		{"one refers to another statement", 2500, func(i, n int) int { return i / 10 % 2 * n }, 2},
		{"halves refer to each other", 2500, func(i, n int) int { return (i+n/2-1)%n + 1 }, 2},
		{"a ring", 1200, func(i, n int) int { return i%n + 1 }, 2},
		{"a chain", 2500, func(i, n int) int { return min(i+1, n) }, 2},
	} {
		for _, groups := range []bool{false, true} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				s := newSite(t, setup{sql: createEvents + "ALTER TABLE events ADD CONSTRAINT earlier FOREIGN KEY (n) REFERENCES events (id)"})
				s.insert(row{id: 10_000}).must()
				rows := goods(1, tt.n)
				for i := range rows {
					rows[i].n = nil
					if to := tt.to(i+1, tt.n); to > 0 {
						rows[i].n = to
					}
					if groups {
						rows[i].group = 1 + i%3
					}
				}
				if o := s.insert(rows...).must().inserts(tt.n); o.RoundTrips > tt.trips {
					t.Errorf("%d round trips, want %d", o.RoundTrips, tt.trips)
				}
			})
		}
	}
}

// TestTriggersThatLookAtALargeBatch have rows that a trigger takes only together, far from each
// other.
func TestTriggersThatLookAtALargeBatch(t *testing.T) {
	t.Parallel()
	for name, trigger := range map[string]string{
		"row":                   "TRIGGER pairs AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION pairs()",
		"at once":               "CONSTRAINT TRIGGER pairs AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION pairs()",
		"at commit":             "CONSTRAINT TRIGGER pairs AFTER INSERT ON events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pairs()",
		"statement":             "TRIGGER pairs AFTER INSERT ON events REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION balance()",
		"once in a transaction": "TRIGGER runs AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION run()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: createEvents + `CREATE TABLE runs (tx xid8 PRIMARY KEY);
				CREATE FUNCTION run() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO runs VALUES (pg_current_xact_id()); RETURN NEW; END $$;
				CREATE FUNCTION pairs() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF NEW.n <> 0 AND NOT EXISTS (SELECT FROM events WHERE n = -NEW.n) THEN RAISE EXCEPTION 'alone'; END IF; RETURN NEW; END $$;
				CREATE FUNCTION balance() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF (SELECT sum(n) FROM fresh) <> 0 THEN RAISE EXCEPTION 'unequal'; END IF; RETURN NEW; END $$;
				CREATE ` + trigger})
			s.insert(row{id: 10_000}).must()
			for i, deliver := range []func(...row) *outcome{s.insert, s.redeliver} {
				rows := goods(int64(1+20_000*i), 1500)
				for k := range rows {
					rows[k].n = 0
				}
				rows[10].n, rows[1400].n = 7+i, -7-i
				deliver(rows...).must().inserts(len(rows))
			}
		})
	}
}
