package postgres_test

import (
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestParametersInAContext has contexts in the server's languages, with
// log_parameter_max_length_on_error and without.
func TestParametersInAContext(t *testing.T) {
	t.Parallel()
	const (
		inside = "SQL statement \"SELECT 1/0 WHERE $1 = 'x'\"\nPL/pgSQL function f(text) line 1 at EXECUTE"
		list   = "$1 = '{1,2}', $2 = '{\"it''s\",\"\n\nf(x) $1 = ''y'', $2 = NULL\n\"}', $3 = NULL, $4 = '{1...'"
	)
	for _, words := range []string{
		"unnamed portal with parameters: %s", "extended query with parameters: %s", "unbenanntes Portal mit Parametern: %s", "パラメータを持つ無名ポータル: %s",
		"이름 없는 포탈의 매개 변수: %s", "portal sin nombre con parámetros: %s", "неименованный портал с параметрами: %s", "portail non nommé avec les paramètres : « %s »",
	} {
		entry := strings.ReplaceAll(words, "%s", list)
		for _, before := range []string{"", inside, "SQL function \"f\" statement 1", `SQL statement "SELECT $1 = NULL, '$1 = ''"` + "\nf"} {
			if got := postgres.WithoutParameters(strings.TrimPrefix(before+"\n"+entry, "\n")); got != before {
				t.Errorf("of %q before %q is left %q", before, entry, got)
			}
		}
	}
	for _, kept := range []string{
		"", inside, `SQL statement "SELECT 1 WHERE $1 = NULL"`, `SQL statement "SELECT $1 = 'x'"` + "\nPL/pgSQL function f() line 1 at EXECUTE", "unnamed portal parameter $1",
		`SQL statement "SELECT 1 FROM ONLY "s"."parents" x WHERE "n" OPERATOR(pg_catalog.=) $1 FOR KEY SHARE OF x"`, "$1 = ", "$1 = 'open", "a $1 = 1", "$1 = '', $3 = ''",
	} {
		if got := postgres.WithoutParameters(kept); got != kept {
			t.Errorf("of %q is left %q", kept, got)
		}
		if kept != "unnamed portal parameter $1" && postgres.AtBind(kept) {
			t.Errorf("%q is taken for that of a parameter", kept)
		}
	}
	for _, words := range []string{
		"unnamed portal parameter $2", "unbenanntes Portal Parameter $2", "無名ポータルパラメータ $2", "이름없는 포탈 $2 매개 변수", "portal sin nombre, parámetro 2",
		"неименованный портал, параметр $2", "paramètre de portail non nommé $2", "parametro portale senza nome $2", "ej namngiven portalparameter $12",
	} {
		if !postgres.AtBind(words) {
			t.Errorf("%q is not taken for that of a parameter", words)
		}
	}
}

// TestAValueInAContext has contexts of a value that its type does not take, in the server's
// languages, however much of the value is quoted.
func TestAValueInAContext(t *testing.T) {
	t.Parallel()
	for _, words := range []string{
		"unnamed portal parameter $12", "unbenanntes Portal Parameter $12", "portal sin nombre, parámetro 12", "paramètre de portail non nommé $12",
		"parametro portale senza nome $12", "無名ポータルパラメータ $12", "이름없는 포탈 $12 매개 변수", "неименованный портал, параметр $12", "ej namngiven portalparameter $12",
	} {
		for _, value := range []string{"'...'", "'{a,b...'", "'{\"it''s = ''\",\"\n$1 = ''x'', $2 = NULL\nparameter $3 = ''\"}'"} {
			for _, before := range []string{"", "JSON data, line 1: {...\n", "PL/pgSQL function f(text) line 1 at RAISE\n"} {
				got, n := postgres.WithoutValue(before + words + " = " + value)
				if want := before + words + " = ''"; got != want || n != 12 {
					t.Errorf("of %q with %q is left %q, parameter %d", words, value, got, n)
				}
			}
		}
	}
	for _, kept := range []string{
		"", "unnamed portal parameter $1", "unnamed portal with parameters: $1 = 'x'", "portal sin nombre con parámetros: $1 = 'x'", "SQL statement \"SELECT $1 = 'x'\"",
		"PL/pgSQL function f(text) line 1 at RAISE", "unnamed portal parameter $1 = 'open",
	} {
		if got, n := postgres.WithoutValue(kept); got != kept || n != 0 {
			t.Errorf("of %q is left %q, parameter %d", kept, got, n)
		}
	}
}

// quoting are the settings with which the server quotes the parameters of a statement in the
// context of its errors: not at all, a part of them, all of them.
var quoting = map[string]string{"nothing": "0", "a part": "12", "all": "-1"}

// quotes opens a store whose server quotes parameters.
func (s *site) quotes(much string, table *batch.Table) {
	s.Helper()
	s.store = openStore(s, withOption(s, s.proxy.URL, "-c log_parameter_max_length_on_error="+much), table)
}

// TestQuotedValuesAreNoEvidence has values that look like the functions of a context, in errors
// about something else.
func TestQuotedValuesAreNoEvidence(t *testing.T) {
	t.Parallel()
	looksInside := func(rows []row) []row {
		for i := range rows {
			rows[i].word = canary + "Safari(mobile)\n'nice(x)', $1 = 'nice(text)\n"
		}
		return rows
	}
	for name, much := range quoting {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				for _, n := range []int{3, 70} {
					s := newSite(t, setup{mode: mode, sql: `CREATE FUNCTION nice(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT length($1) > 0';
						CREATE TABLE events (id bigint PRIMARY KEY, word text CHECK (nice(word)), n integer) PARTITION BY RANGE (id);
						CREATE TABLE old PARTITION OF events FOR VALUES FROM (0) TO (1000)`})
					s.quotes(much, events)
					rows := looksInside(goods(1, n))
					rows[1].id = 2000
					o := s.insert(rows...).blames(message.CauseConfiguration, "23514", `no partition of "events"`)
					if o.Rejected() > 0 || o.Tallies.Sum().Inserted != n-1 || strings.Contains(o.err.Error(), "nice") {
						t.Errorf("got %d inserted of %d, %d rejected: %v", o.Tallies.Sum().Inserted, n, o.Rejected(), o.err)
					}
					s.insert(looksInside(goods(3001, 3))...).blames(message.CauseConfiguration, "23514", `no partition of "events"`)

					s = newSite(t, setup{mode: mode, sql: createEvents + "ALTER TABLE events ADD x text; ALTER TABLE events ALTER x SET DEFAULT convert_from(decode('ff', 'hex'), 'UTF8')"})
					s.quotes(much, events)
					if o := s.insert(looksInside(goods(1, n))...).blames(message.CauseConfiguration, "22021", `the column "x"`); o.Rejected() > 0 {
						t.Errorf("%d rows are rejected for a default", o.Rejected())
					}
				}
			})
		})
	}
}

// Rejected returns how many rows are rejected.
func (o *outcome) Rejected() int {
	n := 0
	for _, v := range o.Verdicts {
		if v.Outcome == message.Rejected {
			n++
		}
	}
	return n
}

// TestTheFunctionIsKnownBesideQuotedValues has a failing function whose statement looks like a list
// of parameters.
func TestTheFunctionIsKnownBesideQuotedValues(t *testing.T) {
	t.Parallel()
	for name, much := range quoting {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{sql: createEvents + does("EXECUTE 'SELECT * FROM nowhere WHERE $1 = ''x''' USING NEW.word")})
			s.quotes(much, events)
			rows := goods(1, 4)
			badWord(&rows[1])
			s.insert(rows...).blames(message.CauseConfiguration, "42P01", `the function "doing"`).verdicts(verdicts{stored: "1 3-4", configuration: "2"})
		})
	}
}

// TestAParameterThatTheServerCannotRepresent has a character that the database's encoding lacks:
// the server refuses the parameter before it executes anything.
func TestAParameterThatTheServerCannotRepresent(t *testing.T) {
	t.Parallel()
	for name, much := range quoting {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.NewDatabase(t, "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0", createEvents+"ALTER TABLE events ADD x timestamptz DEFAULT clock_timestamp()")
			s := siteOf(t, db, events)
			s.store = openStore(t, withOption(t, s.proxy.URL, "-c client_encoding=UTF8 -c log_parameter_max_length_on_error="+much), events)
			rows := goods(1, 4)
			rows[1].word = canary + "10 €"
			s.insert(rows...).want(verdicts{stored: "1 3-4", rejected("22P05"): "2"})
			for i := range rows {
				rows[i] = row{id: int64(11 + i), word: canary + "10 €"}
			}
			s.insert(rows...).want(verdicts{rejected("22P05"): "11-14"})
		})
	}
}

// TestRowLevelSecurityOfALedger has ledgers that let nothing in: the error names the ledger, and no
// row is to blame, whatever the policies of the table are.
func TestRowLevelSecurityOfALedger(t *testing.T) {
	t.Parallel()
	const (
		open   = "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY every ON events FOR INSERT WITH CHECK (true);"
		nice   = "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY nice ON events FOR INSERT WITH CHECK (word LIKE 'canary%');"
		closed = "ALTER TABLE keys ENABLE ROW LEVEL SECURITY;"
		unseen = closed + "CREATE POLICY every ON keys FOR INSERT WITH CHECK (true);"
	)
	for name, tt := range map[string]struct{ sql, says string }{
		"the ledger's alone":       {closed, `row-level security of the ledger "keys" refuses`},
		"the table's alone":        {"ALTER TABLE events ENABLE ROW LEVEL SECURITY;", `row-level security of "events" refuses`},
		"beside the table's":       {open + closed, `of "events" or of its ledger "keys" refuses`},
		"beside one for the words": {nice + closed, `of "events" or of its ledger "keys" refuses`},
		"no policy for SELECT":     {unseen, `row-level security of "keys" lets the role insert the row and not see it`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shaped(t, shapes[2], tt.sql, shapes[2].writes)
			s.insertShaped(shapes[2], goods(1, 3)).blames(message.CauseConfiguration, "42501", tt.says).verdicts(verdicts{configuration: "1-3"})
		})
	}
}

// TestAPartitionOfTheLedgerIsMissing wants the ledger to be named.
func TestAPartitionOfTheLedgerIsMissing(t *testing.T) {
	t.Parallel()
	ledger := shape{ledger: true, sql: `CREATE TABLE events (id bigint, word text, n integer);
		CREATE TABLE keys (key bigint PRIMARY KEY) PARTITION BY RANGE (key); CREATE TABLE keys_1 PARTITION OF keys FOR VALUES FROM (0) TO (3);`}
	s := shaped(t, ledger, "", nil)
	s.insertShaped(ledger, goods(1, 3)).blames(message.CauseConfiguration, "23514", `no partition of the ledger "keys" takes the row`).verdicts(verdicts{stored: "1-2", configuration: "3"})
}

// TestNoGrantOfAFunction has an error whose fields look like those of one about the table.
func TestNoGrantOfAFunction(t *testing.T) {
	t.Parallel()
	sql := "CREATE FUNCTION one() RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'; REVOKE EXECUTE ON FUNCTION one FROM PUBLIC; ALTER TABLE events ADD x integer; ALTER TABLE events ALTER x SET DEFAULT one()"
	for _, of := range []shape{shapes[0], shapes[2]} {
		s := shaped(t, of, sql, of.writes)
		s.insertShaped(of, goods(1, 3)).blames(message.CauseConfiguration, "42501", "lacks a grant", `INSERT on "events"`, "EXECUTE on a function")
	}
}

// TestRowSecurityIsOff has a role with row_security = off: each of its queries fails that a policy
// would filter.
func TestRowSecurityIsOff(t *testing.T) {
	t.Parallel()
	for of, tt := range map[int]struct{ table, says string }{0: {"events", `"events" is in force`}, 2: {"keys", `its ledger "keys" is in force`}} {
		s := shaped(t, shapes[of], "ALTER TABLE "+tt.table+" ENABLE ROW LEVEL SECURITY; CREATE POLICY every ON "+tt.table+" USING (true)", func(role string) []string {
			return append(shapes[of].writes(role), "ALTER ROLE "+role+" SET row_security = off")
		})
		o := s.insertShaped(shapes[of], goods(1, 3)).blames(message.CauseConfiguration, "42501", tt.says, "row_security = off")
		if strings.Contains(o.err.Error(), "grant") {
			t.Errorf("no grant is missing: %v", o.err)
		}
	}
}

// TestARootIsNoDiscardedRow has generated columns that fail with the code of sqrt and power. The
// row is to blame, with a ledger and in message groups too, beside rows that are discarded.
func TestARootIsNoDiscardedRow(t *testing.T) {
	t.Parallel()
	for _, root := range []string{"sqrt(n - 2)", "power(n - 2, 0.5)"} {
		for _, of := range shapes {
			t.Run(root+"/"+of.name, func(t *testing.T) {
				t.Parallel()
				s := shaped(t, of, "ALTER TABLE events ADD root float8 GENERATED ALWAYS AS ("+root+") STORED;"+
					`CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.word LIKE '%zz' THEN RETURN NULL; END IF; RETURN NEW; END $$;
					CREATE TRIGGER forget BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION forget()`, nil)
				for _, n := range []int{4, 70} {
					rows := goods(int64(100*n), n)
					for i := range rows {
						rows[i].n = 3
					}
					rows[1].n = 1
					rows[3].word = canary + "zz"
					ids := idsOf(rows)
					o := s.insertShaped(of, rows)
					good := append([]int64{ids[0], ids[2]}, ids[4:]...)
					o.want(verdicts{stored: ranges(good), rejected("2201F"): ranges(ids[1:2]), discarded: ranges(ids[3:4])}).inserts(n - 2)
				}
			})
		}
	}
}
