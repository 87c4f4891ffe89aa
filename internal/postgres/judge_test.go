package postgres_test

import (
	"cmp"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/testdoc"
)

// What becomes of the rows that the server refuses.
const (
	isRejected      = "rejected"
	isConfiguration = "returned: configuration"
	isTransient     = "returned: transient"
)

// judgement is one kind of error: what makes the server refuse rows, and what becomes of them. The
// table of these is the specification, and a table in docs/operate.md is made from it.
type judgement struct {
	group string // what the documentation calls the kind
	name  string
	sql   string
	spoil func(*row)
	state string
	// one is what becomes of a row that meets it while others of its batch pass; empty where every
	// row meets it.
	one string
	all string // when all rows of a batch meet it
	// shapes of the table where it is tried, all if empty.
	shapes string
	says   string // in the error, if there is one
	asRole bool   // the store does not connect as the owner
}

func raises(state string) string {
	return fmt.Sprintf(`CREATE FUNCTION dislike() RETURNS trigger LANGUAGE plpgsql AS $f$
		BEGIN
			IF NEW.word LIKE '%%bad%%' THEN RAISE EXCEPTION 'I dislike %%', NEW.word USING ERRCODE = '%s', DETAIL = NEW.word; END IF;
			RETURN NEW;
		END $f$;
		CREATE TRIGGER dislike BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION dislike()`, state)
}

// does is a trigger that executes a statement for bad rows.
func does(statement string) string {
	return fmt.Sprintf(`CREATE FUNCTION doing() RETURNS trigger LANGUAGE plpgsql AS $f$
		BEGIN
			IF NEW.word LIKE '%%bad%%' THEN %s; END IF;
			RETURN NEW;
		END $f$;
		CREATE TRIGGER doing BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION doing()`, statement)
}

// incompressible makes a word that no index takes.
func incompressible(r *row) {
	var all strings.Builder
	for i := range 100 {
		sum := sha512.Sum512(fmt.Append(nil, r.id, i))
		all.WriteString(hex.EncodeToString(sum[:]))
	}
	r.word = canary + all.String()
}

const (
	seeing   = "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY see ON events FOR SELECT USING (true); "
	unseeing = "ALTER TABLE events ENABLE ROW LEVEL SECURITY; "
)

func judgements() []judgement {
	filled := "a constraint on columns that the model fills"
	values := "a value that a type, an index or an expression refuses"
	unfilled := "a constraint on columns that the model does not fill"
	added := "what the database adds to a row fails by itself: a default, a sequence, an expression"
	expression := "a value that such an expression refuses: over several columns, in a trigger, or with a cast"
	mixed := "a constraint on columns of both kinds"
	purpose := "a trigger or function refuses the row (P0…, 22…, 23…, 44…, a class of its own)"
	broken := "a trigger or function fails otherwise (42…, 55…, 0A000, 28…, what is not known)"
	passing := "a trigger or function meets a transient fault (08…, 25006, 40…, 53…, 55P03, 57…, 58…)"
	partly := "a grant or a partition that only some rows need (42501, 0A000, 55000)"
	seldom := "a lock, a timeout, a file or a page (40…, 53…, 55P03, 57014, 58…, F0…, XX001)"
	policies := "a row-level policy that looks at nothing but such columns"
	context := "a row-level policy that looks at more (current_setting, roles, other tables)"
	all := []judgement{
		{group: filled, name: "check", sql: "ALTER TABLE events ADD CONSTRAINT no_bad_word CHECK (word NOT LIKE '%bad%')", spoil: badWord, state: "23514", one: isRejected, all: isRejected},
		{group: filled, name: "foreign key", sql: parents + "ALTER TABLE events ADD CONSTRAINT parent FOREIGN KEY (n) REFERENCES parents", spoil: two, state: "23503", one: isRejected, all: isRejected},
		{group: filled, name: "deferred foreign key", sql: parents + "ALTER TABLE events ADD CONSTRAINT parent FOREIGN KEY (n) REFERENCES parents DEFERRABLE INITIALLY DEFERRED", spoil: two, state: "23503", one: isRejected, all: isRejected},
		{group: filled, name: "unique", sql: "ALTER TABLE events ADD CONSTRAINT one_word UNIQUE (word)" + taken, spoil: sameWord, state: "23505", one: isRejected, all: isRejected, shapes: "plain ledger FIFO"},
		{group: filled, name: "unique index on an expression", sql: "CREATE UNIQUE INDEX one_upper ON events (upper(word))" + taken, spoil: sameWord, state: "23505", one: isRejected, all: isRejected, shapes: "plain ledger FIFO"},
		{group: filled, name: "partial unique index", sql: "CREATE UNIQUE INDEX one_word ON events (word) WHERE n < 100" + taken + "; UPDATE events SET n = 1", spoil: sameWord, state: "23505", one: isRejected, all: isRejected, shapes: "plain ledger FIFO"},
		{group: filled, name: "exclusion", sql: "ALTER TABLE events ADD CONSTRAINT no_twin EXCLUDE USING btree (word WITH =)" + taken, spoil: sameWord, state: "23P01", one: isRejected, all: isRejected, shapes: "plain ledger FIFO"},
		{group: filled, name: "not null", sql: "ALTER TABLE events ALTER n SET NOT NULL", spoil: noNumber, state: "23502", one: isRejected, all: isRejected},
		{group: filled, name: "domain's check", sql: "CREATE DOMAIN nice AS text CONSTRAINT nice_word CHECK (value NOT LIKE '%bad%'); ALTER TABLE events ALTER word TYPE nice", spoil: badWord, state: "23514", one: isRejected, all: isRejected},
		{group: filled, name: "domain of a domain", sql: "CREATE DOMAIN nice AS text CONSTRAINT nice_word CHECK (value NOT LIKE '%bad%'); CREATE DOMAIN nicer AS nice; ALTER TABLE events ALTER word TYPE nicer", spoil: badWord, state: "23514", one: isRejected, all: isRejected},
		{group: filled, name: "domain's not null", sql: "CREATE DOMAIN a_number AS integer NOT NULL; ALTER TABLE events ALTER n TYPE a_number", spoil: noNumber, state: "23502", one: isRejected, all: isRejected},
		{group: filled, name: "check of a generated column", sql: "ALTER TABLE events ADD g integer GENERATED ALWAYS AS (n * 2) STORED, ADD CONSTRAINT small CHECK (g < 4)", spoil: two, state: "23514", one: isRejected, all: isRejected},
		{group: filled, name: "generated column that is not null", sql: "ALTER TABLE events ADD g integer NOT NULL GENERATED ALWAYS AS (nullif(n, 2)) STORED", spoil: two, state: "23502", one: isRejected, all: isRejected},
		{group: filled, name: "check that calls a function", sql: "CREATE FUNCTION nice(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN RETURN $1 NOT LIKE '%bad%'; END $f$; ALTER TABLE events ADD CONSTRAINT nice CHECK (nice(word))", spoil: badWord, state: "23514", one: isRejected, all: isRejected},

		{group: values, name: "length", sql: "ALTER TABLE events ALTER word TYPE varchar(20)", spoil: func(r *row) { r.word = canary + "a word that is too long" }, state: "22001", one: isRejected, all: isRejected},
		{group: values, name: "length, beside a default that passes", sql: "ALTER TABLE events ADD added timestamptz DEFAULT clock_timestamp(), ALTER word TYPE varchar(20)", spoil: func(r *row) { r.word = canary + "a word that is too long" }, state: "22001", one: isRejected, all: isRejected},
		{group: values, name: "generated column", sql: "ALTER TABLE events ADD share integer GENERATED ALWAYS AS (6 / (2 - n)) STORED", spoil: two, state: "22012", one: isRejected, all: isRejected},
		{group: values, name: "expression of a check", sql: "ALTER TABLE events ADD CONSTRAINT share CHECK (6 / (2 - n) > 0)", spoil: two, state: "22012", one: isRejected, all: isRejected},
		{group: values, name: "expression of an index", sql: "CREATE INDEX ON events ((6 / (2 - n)))", spoil: two, state: "22012", one: isRejected, all: isRejected},
		{group: values, name: "index row", sql: "CREATE INDEX ON events (word)", spoil: incompressible, state: "54000", one: isRejected, all: isRejected},

		{group: policies, name: "policy", sql: seeing + "CREATE POLICY nice ON events FOR INSERT WITH CHECK (word NOT LIKE '%bad%')", spoil: badWord, state: "42501", one: isRejected, all: isRejected, asRole: true},

		{group: mixed, name: "check", sql: "ALTER TABLE events ADD tenant integer DEFAULT 1, ADD CONSTRAINT tenants CHECK (word NOT LIKE '%bad%' OR tenant > 1)", spoil: badWord, state: "23514", one: isRejected, all: isConfiguration, says: "tenants"},
		{group: mixed, name: "foreign key", sql: "CREATE TABLE parents (n integer, tenant integer, PRIMARY KEY (n, tenant)); INSERT INTO parents VALUES (1, 1); ALTER TABLE events ADD tenant integer DEFAULT 1, ADD CONSTRAINT parent FOREIGN KEY (n, tenant) REFERENCES parents", spoil: two, state: "23503", one: isRejected, all: isConfiguration, says: "parent"},
		{group: mixed, name: "unique", sql: "ALTER TABLE events ADD tenant integer DEFAULT 1, ADD CONSTRAINT one_word UNIQUE (word, tenant); INSERT INTO events (id, word) VALUES (0, 'canary-taken')", spoil: sameWord, state: "23505", one: isRejected, all: isConfiguration, shapes: "plain FIFO", says: "one_word"},

		{group: context, name: "policy with a setting", sql: seeing + "CREATE POLICY mine ON events FOR INSERT WITH CHECK (word LIKE current_setting('app.words', true))", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "policy with a role", sql: seeing + "CREATE POLICY mine ON events FOR INSERT WITH CHECK (word = current_user)", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "policy with another table", sql: "CREATE TABLE words (word text); " + seeing + "CREATE POLICY mine ON events FOR INSERT WITH CHECK (word IN (SELECT w.word FROM words w))", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "no policy", sql: unseeing, state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "no policy for SELECT", sql: unseeing + "CREATE POLICY every ON events FOR INSERT WITH CHECK (true)", state: "42501", all: isConfiguration, asRole: true, shapes: "plain partitioned FIFO", says: "FOR SELECT"},

		{group: context, name: "policy that is false", sql: seeing + "CREATE POLICY never ON events FOR INSERT WITH CHECK (false)", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "restrictive policy that is false", sql: seeing + "CREATE POLICY nice ON events FOR INSERT WITH CHECK (word NOT LIKE '%bad%'); CREATE POLICY never ON events AS RESTRICTIVE FOR INSERT WITH CHECK (false)", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "restrictive policy alone", sql: seeing + "CREATE POLICY nice ON events AS RESTRICTIVE FOR INSERT WITH CHECK (word NOT LIKE '%bad%')", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "policy with a clock", sql: seeing + "CREATE POLICY old ON events FOR INSERT WITH CHECK (age(to_timestamp(n)) < interval '-100 years')", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},
		{group: context, name: "policy with a setting that is no number", sql: "ALTER TABLE events ADD tenant integer DEFAULT 1; " + seeing + "CREATE POLICY mine ON events FOR INSERT WITH CHECK (tenant = (current_setting('app.tenant', true) || 'none')::integer OR tenant = ('' || coalesce(current_setting('app.tenant', true), ''))::integer)", state: "22P02", all: isConfiguration, asRole: true},

		{group: context, name: "policy with an operator whose function reads a setting", sql: `CREATE FUNCTION mine(text, text) RETURNS boolean STABLE LANGUAGE sql AS $f$ SELECT $1 = coalesce(current_setting('app.word', true), '') $f$;
			CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = mine);` + seeing + "CREATE POLICY mine ON events FOR INSERT WITH CHECK (word === 'x')", state: "42501", all: isConfiguration, asRole: true, says: "row-level security"},

		{group: unfilled, name: "check", sql: "ALTER TABLE events ADD tenant integer DEFAULT 1, ADD CONSTRAINT many CHECK (tenant > 1) NOT VALID", state: "23514", all: isConfiguration, says: "many"},
		{group: unfilled, name: "check without columns", sql: "ALTER TABLE events ADD CONSTRAINT never CHECK (coalesce(current_setting('app.open', true), '') = 'yes') NOT VALID", state: "23514", all: isConfiguration, says: "never"},
		{group: unfilled, name: "foreign key of a default", sql: parents + "ALTER TABLE events ADD tenant integer DEFAULT 7, ADD CONSTRAINT tenants FOREIGN KEY (tenant) REFERENCES parents", state: "23503", all: isConfiguration, says: "tenants"},
		{group: unfilled, name: "not null", sql: "ALTER TABLE events ADD tenant integer NOT NULL", state: "23502", all: isConfiguration, says: "tenant"},
		{group: unfilled, name: "domain's not null", sql: "CREATE DOMAIN a_number AS integer NOT NULL; ALTER TABLE events ADD tenant a_number", state: "23502", all: isConfiguration},
		{group: unfilled, name: "domain's check", sql: "CREATE DOMAIN small AS integer CONSTRAINT small CHECK (value < 10); ALTER TABLE events ADD tenant integer DEFAULT 12; ALTER TABLE events ALTER tenant TYPE small", state: "23514", all: isConfiguration},
		{group: unfilled, name: "unique", sql: "ALTER TABLE events ADD tenant integer DEFAULT 1, ADD CONSTRAINT tenants UNIQUE (tenant); INSERT INTO events (id) VALUES (0)", state: "23505", all: isConfiguration, shapes: "plain FIFO", says: "tenants"},
		{group: unfilled, name: "generated column that is not null", sql: "ALTER TABLE events ADD tenant integer, ADD g integer NOT NULL GENERATED ALWAYS AS (tenant + 1) STORED", state: "23502", all: isConfiguration, says: "g"},

		{group: added, name: "identity", sql: "ALTER TABLE events ADD number integer GENERATED ALWAYS AS IDENTITY; SELECT setval(pg_get_serial_sequence('events', 'number'), 2147483647)", state: "2200H", all: isConfiguration, says: "sequence", shapes: "plain ledger FIFO"},
		{group: added, name: "sequence larger than its column", sql: "CREATE SEQUENCE numbers START 3000000000; ALTER TABLE events ADD number integer; ALTER TABLE events ALTER number SET DEFAULT nextval('numbers')", state: "22003", all: isConfiguration, says: `"number"`},
		{group: added, name: "default longer than its column", sql: "ALTER TABLE events ADD tenant varchar(3); ALTER TABLE events ALTER tenant SET DEFAULT 'abcdef'", state: "22001", all: isConfiguration, says: `"tenant"`},
		{group: added, name: "default that divides", sql: "ALTER TABLE events ADD tenant integer; ALTER TABLE events ALTER tenant SET DEFAULT 1 / length(current_setting('app.tenant', true) || '')::numeric; ALTER TABLE events ALTER tenant SET DEFAULT 1 / (random() * 0)::integer", state: "22012", all: isConfiguration, says: `"tenant"`},
		{group: added, name: "generated column", sql: "ALTER TABLE events ADD zero integer; ALTER TABLE events ADD g integer GENERATED ALWAYS AS (1 / zero) STORED; ALTER TABLE events ALTER zero SET DEFAULT 0", state: "22012", all: isConfiguration, says: `"g"`},
		{group: added, name: "expression of a check", sql: "ALTER TABLE events ADD zero integer, ADD CONSTRAINT share CHECK (1 / zero > 0); ALTER TABLE events ALTER zero SET DEFAULT 0", state: "22012", all: isConfiguration, says: `"share"`},

		{group: added, name: "default of a domain", sql: "CREATE DOMAIN tenant AS integer DEFAULT length(repeat('x', 3)) / 0; ALTER TABLE events ADD tenant integer; ALTER TABLE events ALTER tenant TYPE tenant", state: "22012", all: isConfiguration, says: `"tenant"`},
		{group: added, name: "predicate of an index", sql: "ALTER TABLE events ADD zero integer; CREATE INDEX shares ON events (zero) WHERE 100 / zero > 1; ALTER TABLE events ALTER zero SET DEFAULT 0", state: "22012", all: isConfiguration, shapes: "plain ledger FIFO", says: `"shares"`},
		{group: added, name: "default that is no text", sql: `ALTER TABLE events ADD tenant text; ALTER TABLE events ALTER tenant SET DEFAULT convert_from(decode('ff', 'hex'), 'UTF8')`, state: "22021", all: isConfiguration, says: `"tenant"`},
		{group: added, name: "index of a partition", sql: "ALTER TABLE events ADD zero integer; CREATE INDEX shares ON events_1 ((100 / zero)); CREATE INDEX ON events_3 ((100 / zero)); ALTER TABLE events ALTER zero SET DEFAULT 0", state: "22012", all: isConfiguration, shapes: "partitioned"},

		{group: expression, name: "check", sql: "ALTER TABLE events ADD zero integer; ALTER TABLE events ADD CONSTRAINT share CHECK ((6 + zero) / (2 - n) > 0), ALTER zero SET DEFAULT 0", spoil: two, state: "22012", one: isRejected, all: isConfiguration},
		{group: expression, name: "generated column", sql: "ALTER TABLE events ADD zero integer DEFAULT 0, ADD g integer GENERATED ALWAYS AS ((6 + zero) / (2 - n)) STORED", spoil: two, state: "22012", one: isRejected, all: isConfiguration},
		{group: expression, name: "condition of a trigger", sql: "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER sometimes BEFORE INSERT ON events FOR EACH ROW WHEN (6 / (2 - NEW.n) > 0) EXECUTE FUNCTION nothing()", spoil: two, state: "22012", one: isRejected, all: isConfiguration},
		{group: expression, name: "cast of a generated column", sql: "ALTER TABLE events ADD q tsquery GENERATED ALWAYS AS (to_tsquery('simple', CASE WHEN word LIKE '%bad%' THEN 'a b' END)) STORED", spoil: badWord, state: "42601", one: isRejected, all: isConfiguration, says: "expression"},
		{group: expression, name: "cast of a check", sql: "ALTER TABLE events ADD CONSTRAINT config CHECK (CASE WHEN word LIKE '%bad%' THEN word ELSE 'simple' END::regconfig IS NOT NULL)", spoil: badWord, state: "42704", one: isRejected, all: isConfiguration, says: "expression"},

		{group: broken, name: "function that a function of SQL calls", sql: `CREATE FUNCTION inner_one(text) RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN IF $1 LIKE '%bad%' THEN PERFORM FROM nowhere; END IF; RETURN true; END $f$;
			CREATE FUNCTION nice(text) RETURNS boolean LANGUAGE sql AS $f$ SELECT inner_one($1) $f$; ALTER TABLE events ADD CONSTRAINT nice CHECK (nice(word))`, spoil: badWord, state: "42P01", one: isConfiguration, all: isConfiguration, says: "nice"},

		{group: broken, name: "function of an operator", sql: `CREATE FUNCTION near(text, text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN IF $1 LIKE '%bad%' THEN PERFORM * FROM nowhere; END IF; RETURN true; END $f$;
			CREATE OPERATOR ~~~ (FUNCTION = near, LEFTARG = text, RIGHTARG = text); ALTER TABLE events ADD CONSTRAINT nearby CHECK (word OPERATOR(~~~) 'x')`, spoil: badWord, state: "42P01", one: isConfiguration, all: isConfiguration, says: "near"},

		{group: seldom, name: "a file that is lost", sql: "ALTER TABLE events ADD CONSTRAINT reads CHECK (CASE WHEN word LIKE '%bad%' THEN pg_read_file('nowhere') END IS NULL)", spoil: badWord, state: "58P01", one: isTransient, all: isTransient},
		{group: partly, name: "trigger that moves a row to another partition", sql: `CREATE FUNCTION moves() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF NEW.word LIKE '%bad%' THEN NEW.id := 5 - NEW.id; END IF; RETURN NEW; END $f$;
			CREATE TRIGGER moves BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION moves()`, spoil: badWord, state: "0A000", one: isConfiguration, all: isConfiguration, says: "partition", shapes: "partitioned"},

		{group: purpose, name: "function of a check", sql: "CREATE FUNCTION nice(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN IF $1 LIKE '%bad%' THEN RAISE EXCEPTION 'no'; END IF; RETURN true; END $f$; ALTER TABLE events ADD CONSTRAINT nice CHECK (nice(word))", spoil: badWord, state: "P0001", one: isRejected, all: isConfiguration, says: "nice"},
		{group: purpose, name: "assertion", sql: does("ASSERT false, NEW.word"), spoil: badWord, state: "P0004", one: isRejected, all: isConfiguration, says: "doing"},
		{group: purpose, name: "constraint of another table", sql: "CREATE TABLE audit (word text CHECK (word NOT LIKE '%bad%')); " + does("INSERT INTO audit VALUES (NEW.word)"), spoil: badWord, state: "23514", one: isRejected, all: isConfiguration, says: "doing"},
		{group: purpose, name: "value", sql: does("PERFORM 1 / 0"), spoil: badWord, state: "22012", one: isRejected, all: isConfiguration, says: "doing"},
		{group: broken, name: "table that is missing", sql: does("INSERT INTO nowhere VALUES (NEW.word)"), spoil: badWord, state: "42P01", one: isConfiguration, all: isConfiguration, says: "doing"},
		{group: broken, name: "subquery with two rows", sql: does("PERFORM (SELECT * FROM generate_series(1, 2))"), spoil: badWord, state: "21000", one: isConfiguration, all: isConfiguration, says: "doing"},
		{group: broken, name: "payload of NOTIFY", sql: does("PERFORM pg_notify('words', repeat('x', 9000))"), spoil: badWord, state: "22023", one: isConfiguration, all: isConfiguration},
		{group: added, name: "function of a default", sql: "CREATE TABLE tenants (n integer); CREATE FUNCTION tenant_of() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT n FROM tenants'; ALTER TABLE events ADD tenant integer; ALTER TABLE events ALTER tenant SET DEFAULT tenant_of(); DROP TABLE tenants", state: "42P01", all: isConfiguration, says: "tenant_of"},
	}
	few := func(i int) string { // shapes for one more code of a kind
		if i == 0 {
			return ""
		}
		return "plain"
	}
	for i, state := range []string{"P0001", "22023", "23514", "44000", "SL001", "45000", "99999"} {
		all = append(all, judgement{group: purpose, name: "raise " + state, sql: raises(state), spoil: badWord, state: state, one: isRejected, all: isConfiguration, says: "dislike", shapes: few(i)})
	}
	for i, state := range []string{"0A000", "28000", "28P01", "3D000", "3F000", "42000", "42501", "42703", "42883", "42P01", "55000", "57P04", "20000", "2F000", "38000", "39000", "0B000", "24000", "54000", "54001", "F0000", "HV000", "XX000", "XX001"} {
		all = append(all, judgement{group: broken, name: "raise " + state, sql: raises(state), spoil: badWord, state: state, one: isConfiguration, all: isConfiguration, says: "dislike", shapes: few(i)})
	}
	for i, state := range []string{"08000", "08006", "25006", "40001", "40P01", "53000", "53100", "53300", "55006", "55P03", "57000", "57014", "57P01", "58000", "58030"} {
		all = append(all, judgement{group: passing, name: "raise " + state, sql: raises(state), spoil: badWord, state: state, one: isTransient, all: isTransient, says: "dislike", shapes: few(i)})
	}
	return all
}

// shape is a form of the table.
type shape struct {
	name, sql string
	ledger    bool
	grouped   bool
}

var shapes = []shape{
	{name: "plain", sql: createEvents},
	{name: "partitioned", sql: `CREATE TABLE events (id bigint PRIMARY KEY, word text, n integer, tx xid8 DEFAULT pg_current_xact_id()) PARTITION BY RANGE (id);
		CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (MINVALUE) TO (3);
		CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (3) TO (MAXVALUE) PARTITION BY RANGE (id);
		CREATE TABLE events_3 PARTITION OF events_2 DEFAULT;`},
	{name: "ledger", ledger: true, sql: `CREATE TABLE events (id bigint, word text, n integer, tx xid8 DEFAULT pg_current_xact_id());
		CREATE TABLE keys (key bigint PRIMARY KEY);`},
	{name: "FIFO", grouped: true, sql: createEvents},
}

// withLedger is events with a ledger.
var withLedger = &batch.Table{
	Name: "events", Ledger: "keys", Key: []int{0}, KeyOfMessage: true,
	Columns: append([]batch.Column{{Name: "key", Kind: batch.Int8, Type: "bigint", NotNull: true, Ledger: true}}, events.Columns...),
}

// table is what the store writes to.
func (s shape) table() *batch.Table {
	if s.ledger {
		return withLedger
	}
	return events
}

// writes are the grants that a role needs.
func (s shape) writes(role string) []string {
	if s.ledger {
		return append(writes(role), "GRANT INSERT, SELECT ON keys TO "+role)
	}
	return writes(role)
}

// shaped is a site of a shape.
func shaped(t *testing.T, of shape, sql string, grants func(role string) []string, options ...postgres.Option) *site {
	t.Helper()
	s := newSite(t, setup{sql: of.sql + sql, table: of.table(), grants: grants})
	s.store = openStore(t, s.proxy.URL, of.table(), options...)
	return s
}

// insertShaped inserts rows into a table of a shape.
func (s *site) insertShaped(of shape, rows []row) *outcome {
	s.Helper()
	return s.insertBatch(s.Context(), of.batch(rows), idsOf(rows))
}

// batch makes a batch of rows in the table's shape.
func (s shape) batch(rows []row) *batch.Batch {
	if !s.ledger {
		if s.grouped {
			ownGroups(rows)
		}
		return batchOf(rows)
	}
	b := batch.New(withLedger)
	for i, r := range rows {
		b.Begin(i, 0)
		b.Int8(r.id)
		b.Int8(r.id)
		r.end(b)
	}
	b.Sort()
	return b
}

// TestWhoseFaultAnErrorIs tries every kind of error in every shape of table (thoroughly): one row of
// three meets it, and all of them do. A rehearsal before that has the same verdicts.
func TestWhoseFaultAnErrorIs(t *testing.T) {
	t.Parallel()
	for i, tt := range judgements() {
		for k, shape := range shapes {
			if !strings.Contains(cmp.Or(tt.shapes, shape.name), shape.name) {
				continue
			}
			if k > 0 && (i+k)%unlessThorough(3, 1) != 0 { // each kind in the plain shape and in one more
				continue
			}
			t.Run(tt.group+"/"+tt.name+"/"+shape.name, func(t *testing.T) {
				t.Parallel()
				var grants func(role string) []string
				if tt.asRole {
					grants = func(role string) []string {
						all := shape.writes(role)
						if strings.Contains(tt.sql, "TABLE words") {
							all = append(all, "GRANT SELECT ON words TO "+role)
						}
						return all
					}
				}
				s := shaped(t, shape, tt.sql, grants, hasty)
				if tt.one != "" {
					rows := goods(1, 3)
					tt.spoil(&rows[1])
					if !shape.grouped && k < unlessThorough(1, len(shapes)) {
						tt.check(s.rehearseBatch(shape.batch(rows), idsOf(rows)), "1 3", "2", tt.one)
					}
					tt.check(s.insertShaped(shape, rows), "1 3", "2", tt.one)
				}
				rows := goods(4, 3)
				if tt.spoil != nil {
					for i := range rows {
						tt.spoil(&rows[i])
					}
				}
				tt.check(s.insertShaped(shape, rows), "", "4-6", tt.all)
			})
		}
	}
}

func (j judgement) check(o *outcome, good, bad, becomes string) {
	o.Helper()
	got := map[string][]int64{}
	for i, v := range o.Verdicts {
		what := spell(v)
		switch {
		case strings.HasPrefix(what, "rejected: refused_by_database SQLSTATE "+j.state):
			what = isRejected
		case v.Outcome == message.Returned && v.Cause == message.CauseConfiguration, v.Outcome == message.Returned && v.Cause == "" && causeOf(o.err) == message.CauseConfiguration:
			what = isConfiguration
		case v.Outcome == message.Returned && v.Cause == message.CauseTransient, v.Outcome == message.Returned && v.Cause == "" && causeOf(o.err) == message.CauseTransient:
			what = isTransient
		}
		got[what] = append(got[what], o.ids[i])
	}
	want := verdicts{becomes: bad}
	if good != "" {
		want[stored] = good
	}
	if diff := gocmp.Diff(compress(got), want); diff != "" {
		o.Errorf("%s (-got +want):\n%s\nerror: %v", bad, diff, o.err)
	}
	if becomes == isRejected {
		if o.err != nil {
			o.Errorf("got error %v, want none", o.err)
		}
		return
	}
	if text := fmt.Sprint(o.err); !strings.Contains(text, j.state) || !strings.Contains(text, j.says) {
		o.Errorf("the error does not say %q and %q: %v", j.state, j.says, o.err)
	}
}

// TestTheDocumentationHasTheJudgements compares docs/operate.md with the table above.
func TestTheDocumentationHasTheJudgements(t *testing.T) {
	t.Parallel()
	type verdict struct{ one, all string }
	groups := map[string]verdict{}
	var order []string
	for _, j := range judgements() {
		v := verdict{cmp.Or(j.one, "—"), j.all}
		switch before, ok := groups[j.group]; {
		case !ok:
			groups[j.group] = v
			order = append(order, j.group)
		case before != v:
			t.Errorf("%s: two kinds of one group have other verdicts: %s", j.group, j.name)
		}
	}
	var table strings.Builder
	table.WriteString("| the error is about | one row meets it, others pass | every row meets it |\n|---|---|---|\n")
	for _, name := range order {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", name, groups[name].one, groups[name].all)
	}
	testdoc.Section(t, "../../docs/operate.md", "judgements", table.String())
}

// TestTheServersOwnTimeouts are faults of the moment: what held it up passes.
func TestTheServersOwnTimeouts(t *testing.T) {
	t.Parallel()
	for option, state := range map[string]string{"-c lock_timeout=50ms": "55P03", "-c statement_timeout=200ms": "57014"} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, setup{})
			release := s.hold(2)
			s.store = openStore(t, withOption(t, s.proxy.URL, option), events)
			s.insert(goods(1, 3)...).blames(message.CauseTransient, "SQLSTATE "+state).verdicts(verdicts{stored: "1 3", transient: "2"})
			release()
			s.insert(goods(1, 3)...).must()
		})
	}
}
