package drill_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/esmsim"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// blameless is a fault of a database for which no message is to blame. The function connects with
// its own role, which has all rights of a table's user. In SQL the role is :role and the schema
// :schema.
type blameless struct {
	name  string
	table func(columns string) string // the whole DDL of the table; nil for the model's own
	setup string                      // what the table is like when all is well
	// breaks makes the fault, repairs removes it.
	breaks, repairs string
	// least and most are how many of a thousand rows are there during the fault. One message has
	// the locale fr_FR.
	least, most int
	// says must be in the log or the error, never must not.
	says, never string
	// keyed cases have a table with a key, the others a table with a ledger.
	keyed bool
}

const (
	thousand = 1_000
	butOne   = thousand - 1
)

// gate is a trigger function that raises while the table closed has a row: for every row, or for
// the rows of one locale.
const gate = `CREATE TABLE closed (code text, locale text);
	CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE c record; BEGIN
		FOR c IN SELECT * FROM closed WHERE locale IS NULL OR locale = NEW.locale LOOP RAISE EXCEPTION '%', NEW.user_id USING ERRCODE = c.code; END LOOP;
		RETURN NEW; END $$;
	CREATE TRIGGER gate BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION gate()`

// faultsOfTheDatabase are the ways in which a database can be at fault, by the server's error. The
// codes are those that triggers raise.
func faultsOfTheDatabase(codes []string) []blameless {
	all := []blameless{
		// Constraints on columns that a default fills.
		{
			name: "a CHECK on a default", setup: "ALTER TABLE user_logins ADD tier int DEFAULT 1, ADD CONSTRAINT tier_known CHECK (tier > 0)",
			breaks: "ALTER TABLE user_logins ALTER tier SET DEFAULT 0", repairs: "ALTER TABLE user_logins ALTER tier SET DEFAULT 1", says: "tier_known",
		},
		{
			keyed: true, name: "a CHECK on a default of a partition", table: func(columns string) string {
				return columns + " PARTITION BY RANGE (sent_at); CREATE TABLE user_logins_all PARTITION OF user_logins DEFAULT"
			},
			setup:   "ALTER TABLE user_logins ADD tier int DEFAULT 1; ALTER TABLE user_logins_all ADD CONSTRAINT tier_known CHECK (tier > 0)",
			breaks:  "ALTER TABLE user_logins_all ALTER tier SET DEFAULT 0; ALTER TABLE user_logins ALTER tier SET DEFAULT 0",
			repairs: "ALTER TABLE user_logins ALTER tier SET DEFAULT 1; ALTER TABLE user_logins_all ALTER tier SET DEFAULT 1", says: "tier_known",
		},
		{
			name: "a CHECK over a default and what the model fills", setup: "ALTER TABLE user_logins ADD tier int DEFAULT 1, ADD CONSTRAINT tier_known CHECK (tier > length(user_id) - 40)",
			breaks: "ALTER TABLE user_logins ALTER tier SET DEFAULT -100", repairs: "ALTER TABLE user_logins ALTER tier SET DEFAULT 1", says: "tier_known",
		},
		{
			name: "a default that refers to a missing row", setup: "CREATE TABLE tenants (id int PRIMARY KEY); INSERT INTO tenants VALUES (1); ALTER TABLE user_logins ADD tenant_id int NOT NULL DEFAULT 1 REFERENCES tenants",
			breaks: "ALTER TABLE user_logins ALTER tenant_id SET DEFAULT 7", repairs: "ALTER TABLE user_logins ALTER tenant_id SET DEFAULT 1", says: "user_logins_tenant_id_fkey",
		},
		{
			name: "a foreign key over a default and what the model fills",
			setup: `CREATE TABLE known (locale varchar(32), tenant int, PRIMARY KEY (locale, tenant)); INSERT INTO known VALUES ('de', 1), ('fr_FR', 1);
				ALTER TABLE user_logins ADD tenant int NOT NULL DEFAULT 1, ADD CONSTRAINT known_there FOREIGN KEY (locale, tenant) REFERENCES known`,
			breaks: "ALTER TABLE user_logins ALTER tenant SET DEFAULT 2", repairs: "ALTER TABLE user_logins ALTER tenant SET DEFAULT 1", says: "known_there",
		},
		{
			name: "a deferred foreign key of a default", setup: "CREATE TABLE tenants (id int PRIMARY KEY); INSERT INTO tenants VALUES (1); ALTER TABLE user_logins ADD tenant_id int NOT NULL DEFAULT 1 REFERENCES tenants DEFERRABLE INITIALLY DEFERRED",
			breaks: "ALTER TABLE user_logins ALTER tenant_id SET DEFAULT 7", repairs: "ALTER TABLE user_logins ALTER tenant_id SET DEFAULT 1", says: "user_logins_tenant_id_fkey",
		},
		{
			name: "NOT NULL without a default", setup: "ALTER TABLE user_logins ADD must text NOT NULL DEFAULT 'x'",
			breaks: "ALTER TABLE user_logins ALTER must DROP DEFAULT", repairs: "ALTER TABLE user_logins ALTER must SET DEFAULT 'x'", says: "must",
		},
		{
			name: "a domain's NOT NULL", setup: "CREATE DOMAIN must AS int NOT NULL; ALTER TABLE user_logins ADD m must DEFAULT 1",
			breaks: "ALTER TABLE user_logins ALTER m DROP DEFAULT", repairs: "ALTER TABLE user_logins ALTER m SET DEFAULT 1",
		},
		{
			name: "a domain's CHECK", setup: "CREATE DOMAIN positive AS int CONSTRAINT is_positive CHECK (VALUE > 0); ALTER TABLE user_logins ADD score positive DEFAULT 1",
			breaks: "ALTER TABLE user_logins ALTER score SET DEFAULT 0", repairs: "ALTER TABLE user_logins ALTER score SET DEFAULT 1", says: "is_positive",
		},
		{
			name: "one value for a unique column", setup: "CREATE SEQUENCE slots; ALTER TABLE user_logins ADD slot bigint DEFAULT nextval('slots') UNIQUE",
			breaks: "ALTER TABLE user_logins ALTER slot SET DEFAULT -1", repairs: "ALTER TABLE user_logins ALTER slot SET DEFAULT nextval('slots'); UPDATE user_logins SET slot = nextval('slots') WHERE slot = -1",
			most: 1, says: "user_logins_slot_key",
		},
		{
			name: "one value for a unique expression", setup: "CREATE SEQUENCE slots; ALTER TABLE user_logins ADD slot bigint DEFAULT nextval('slots'); CREATE UNIQUE INDEX one_slot ON user_logins ((slot + 0))",
			breaks: "ALTER TABLE user_logins ALTER slot SET DEFAULT -1", repairs: "ALTER TABLE user_logins ALTER slot SET DEFAULT nextval('slots'); UPDATE user_logins SET slot = nextval('slots') WHERE slot = -1",
			most: 1, says: "one_slot",
		},
		{
			name: "one value for an exclusion", setup: "CREATE SEQUENCE slots; ALTER TABLE user_logins ADD slot bigint DEFAULT nextval('slots'), ADD CONSTRAINT one_slot EXCLUDE USING btree (slot WITH =)",
			breaks: "ALTER TABLE user_logins ALTER slot SET DEFAULT -1", repairs: "ALTER TABLE user_logins ALTER slot SET DEFAULT nextval('slots'); UPDATE user_logins SET slot = nextval('slots') WHERE slot = -1",
			most: 1, says: "one_slot",
		},
		{
			keyed: true, name: "no partition", table: func(columns string) string {
				return columns + " PARTITION BY RANGE (sent_at); CREATE TABLE user_logins_all PARTITION OF user_logins DEFAULT"
			},
			breaks: "ALTER TABLE user_logins DETACH PARTITION user_logins_all", repairs: "ALTER TABLE user_logins ATTACH PARTITION user_logins_all DEFAULT", says: "partition",
		},

		// Errors with a code and no name.
		{
			name: "an identity that is used up", setup: "ALTER TABLE user_logins ADD id integer GENERATED ALWAYS AS IDENTITY",
			breaks: "ALTER SEQUENCE user_logins_id_seq RESTART WITH 2147483647", repairs: "ALTER SEQUENCE user_logins_id_seq RESTART WITH 1", most: 1,
		},
		{
			keyed: true, name: "a sequence behind its column", // which goes round among the rows of a restore
			setup: `ALTER TABLE user_logins ADD id bigserial UNIQUE; INSERT INTO user_logins (user_id, create_date, mask_key, sent_at, message_id) SELECT 'old', '2020-01-01', 'k1', now() - i * interval '1 s', gen_random_uuid() FROM generate_series(1, 300) AS i;
				SELECT setval('user_logins_id_seq', 1000)`,
			breaks: "ALTER SEQUENCE user_logins_id_seq MAXVALUE 300 RESTART WITH 1 CYCLE", repairs: "ALTER SEQUENCE user_logins_id_seq NO MAXVALUE NO CYCLE RESTART WITH 2000000", says: "user_logins_id_key",
		},
		{
			name: "a sequence beyond its column's type", setup: "CREATE SEQUENCE numbers; ALTER TABLE user_logins ADD number smallint DEFAULT nextval('numbers')",
			breaks: "SELECT setval('numbers', 32767)", repairs: "SELECT setval('numbers', 1)",
		},
		{
			name: "a constant default that is too long", setup: "ALTER TABLE user_logins ADD source varchar(8) DEFAULT 'queue'",
			breaks: "ALTER TABLE user_logins ALTER source SET DEFAULT 'much too long a text'", repairs: "ALTER TABLE user_logins ALTER source SET DEFAULT 'queue'",
		},
		{
			name: "a default that is too long", setup: "ALTER TABLE user_logins ADD source varchar(8) DEFAULT 'queue'",
			breaks: "ALTER TABLE user_logins ALTER source SET DEFAULT md5(random()::text)", repairs: "ALTER TABLE user_logins ALTER source SET DEFAULT 'queue'",
		},
		{
			name: "a default that is no number", setup: "ALTER TABLE user_logins ADD tenant int DEFAULT 1",
			breaks: "ALTER TABLE user_logins ALTER tenant SET DEFAULT left(current_user::text, 1)::int", repairs: "ALTER TABLE user_logins ALTER tenant SET DEFAULT 1",
		},
		{
			name: "a generated column", setup: "ALTER TABLE user_logins ADD a int DEFAULT 1, ADD b int DEFAULT 1; ALTER TABLE user_logins ADD ratio int GENERATED ALWAYS AS (a / b) STORED",
			breaks: "ALTER TABLE user_logins ALTER b SET DEFAULT 0", repairs: "ALTER TABLE user_logins ALTER b SET DEFAULT 1",
		},
		{
			name: "an index's expression", setup: "ALTER TABLE user_logins ADD b int DEFAULT 1; CREATE INDEX ON user_logins ((1 / b))",
			breaks: "ALTER TABLE user_logins ALTER b SET DEFAULT 0", repairs: "ALTER TABLE user_logins ALTER b SET DEFAULT 1",
		},
		{
			name: "a CHECK's expression", setup: "ALTER TABLE user_logins ADD b int DEFAULT 1, ADD CHECK (1 / b > 0)",
			breaks: "ALTER TABLE user_logins ALTER b SET DEFAULT 0", repairs: "ALTER TABLE user_logins ALTER b SET DEFAULT 1",
		},
		{
			name: "a default that is too large for its index", setup: "ALTER TABLE user_logins ADD note text DEFAULT ''; CREATE INDEX notes ON user_logins (note)",
			breaks: "ALTER TABLE user_logins ALTER note SET DEFAULT " + incompressible(3_200), repairs: "ALTER TABLE user_logins ALTER note SET DEFAULT ''", says: "notes",
		},
		{
			name: "a default that is too large for any index", setup: "ALTER TABLE user_logins ADD note text DEFAULT ''; CREATE INDEX ON user_logins (note)",
			breaks: "ALTER TABLE user_logins ALTER note SET DEFAULT " + incompressible(9_600), repairs: "ALTER TABLE user_logins ALTER note SET DEFAULT ''",
		},

		// Triggers and functions.
		{
			name: "a trigger without its table",
			setup: `CREATE TABLE audit (user_id text);
				CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.user_id); RETURN NEW; END $$;
				CREATE TRIGGER audit AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION audit()`,
			breaks: "DROP TABLE audit", repairs: "CREATE TABLE audit (user_id text)", says: "audit", never: "create the table",
		},
		{
			name: "a trigger without its table for one row",
			setup: `CREATE TABLE audit_de (user_id text); CREATE TABLE audit_fr_fr (user_id text);
				CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('INSERT INTO %I VALUES ($1)', 'audit_' || lower(NEW.locale)) USING NEW.user_id; RETURN NEW; END $$;
				CREATE TRIGGER audit AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION audit()`,
			breaks: "DROP TABLE audit_fr_fr", repairs: "CREATE TABLE audit_fr_fr (user_id text)", least: butOne, most: butOne, says: "audit", never: "create the table",
		},
		{
			name: "a trigger whose own insert is refused",
			setup: `CREATE TABLE audit (user_id text, CONSTRAINT audit_open CHECK (true));
				CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.user_id); RETURN NEW; END $$;
				CREATE TRIGGER audit AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION audit()`,
			breaks: "ALTER TABLE audit DROP CONSTRAINT audit_open, ADD CONSTRAINT audit_open CHECK (user_id IS NULL) NOT VALID", repairs: "ALTER TABLE audit DROP CONSTRAINT audit_open, ADD CONSTRAINT audit_open CHECK (true)", says: "audit",
		},
		{
			name: "a trigger without its grant",
			setup: `CREATE TABLE audit (user_id text);
				CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit VALUES (NEW.user_id); RETURN NEW; END $$;
				CREATE TRIGGER audit AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION audit()`,
			breaks: "REVOKE INSERT ON audit FROM :role", repairs: "GRANT INSERT ON audit TO :role", says: "audit",
		},
		{
			name: "a notice that is too long",
			setup: `CREATE TABLE lengths (n int); INSERT INTO lengths VALUES (10);
				CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('logins', repeat('x', (SELECT n FROM lengths))); RETURN NEW; END $$;
				CREATE TRIGGER tell AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION tell()`,
			breaks: "UPDATE lengths SET n = 9000", repairs: "UPDATE lengths SET n = 10", says: "tell",
		},
		{
			name: "a statement-level trigger that takes few rows at once",
			setup: `CREATE TABLE fewest (n int); INSERT INTO fewest VALUES (10000);
				CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT count(*) FROM new_rows) > (SELECT n FROM fewest) THEN RAISE EXCEPTION 'too many at once'; END IF; RETURN NULL; END $$;
				CREATE TRIGGER few AFTER INSERT ON user_logins REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION few()`,
			breaks: "UPDATE fewest SET n = 2", repairs: "UPDATE fewest SET n = 10000", least: thousand, most: thousand,
		},
		{
			name: "a statement-level trigger that takes none",
			setup: `CREATE TABLE closed (code text);
				CREATE FUNCTION gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF EXISTS (SELECT FROM closed) THEN RAISE EXCEPTION 'closed'; END IF; RETURN NULL; END $$;
				CREATE TRIGGER gate BEFORE INSERT ON user_logins FOR EACH STATEMENT EXECUTE FUNCTION gate()`,
			breaks: "INSERT INTO closed VALUES ('now')", repairs: "DELETE FROM closed", says: "gate",
		},
		{
			name:   "a deferred trigger",
			setup:  strings.Replace(gate, "TRIGGER gate BEFORE INSERT ON user_logins", "CONSTRAINT TRIGGER gate AFTER INSERT ON user_logins DEFERRABLE INITIALLY DEFERRED", 1),
			breaks: "INSERT INTO closed VALUES ('P0001', NULL)", repairs: "DELETE FROM closed", says: "gate",
		},
		{
			name: "a default's function",
			setup: `CREATE FUNCTION tenant() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;
				ALTER TABLE user_logins ADD tenant int DEFAULT tenant()`,
			breaks:  "CREATE OR REPLACE FUNCTION tenant() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no tenant'; END $$",
			repairs: "CREATE OR REPLACE FUNCTION tenant() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$", says: "tenant",
		},
		{
			name: "a CHECK's function without its table",
			setup: `CREATE TABLE barred (user_id text);
				CREATE FUNCTION welcome(u text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RETURN NOT EXISTS (SELECT FROM barred WHERE user_id = u); END $$;
				ALTER TABLE user_logins ADD CHECK (welcome(user_id))`,
			breaks: "DROP TABLE barred", repairs: "CREATE TABLE barred (user_id text)", says: "welcome", never: "create the table",
		},

		// Row-level policies, grants, rules, and where the table is.
		{
			name:   "a policy by a setting",
			setup:  "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY; CREATE POLICY adding ON user_logins FOR INSERT TO :role WITH CHECK (true); CREATE POLICY seeing ON user_logins FOR SELECT TO :role USING (true)",
			breaks: "ALTER POLICY adding ON user_logins WITH CHECK (current_setting('app.tenant', true) = 'a')", repairs: "ALTER POLICY adding ON user_logins WITH CHECK (true)",
		},
		{
			name:   "a policy by a setting that is made for the role", // which sessions that are open do not see
			setup:  "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY; CREATE POLICY adding ON user_logins FOR INSERT TO :role WITH CHECK (coalesce(current_setting('app.closed', true), '') = coalesce((SELECT now FROM settings), '')); CREATE POLICY seeing ON user_logins FOR SELECT TO :role USING (true)",
			table:  func(columns string) string { return "CREATE TABLE settings (now text); " + columns },
			breaks: "DELETE FROM settings; INSERT INTO settings SELECT 'tenant ' || count(*) FROM user_logins", repairs: "DO $$ BEGIN EXECUTE format('ALTER ROLE :role SET app.closed = %L', (SELECT now FROM settings)); END $$",
		},
		{
			name:   "no policy at all",
			setup:  "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY; CREATE POLICY adding ON user_logins FOR ALL TO :role USING (true)",
			breaks: "DROP POLICY adding ON user_logins", repairs: "CREATE POLICY adding ON user_logins FOR ALL TO :role USING (true)",
		},
		{
			keyed: true, name: "no policy for SELECT",
			setup:  "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY; CREATE POLICY adding ON user_logins FOR INSERT TO :role WITH CHECK (true); CREATE POLICY seeing ON user_logins FOR SELECT TO :role USING (true)",
			breaks: "DROP POLICY seeing ON user_logins", repairs: "CREATE POLICY seeing ON user_logins FOR SELECT TO :role USING (true)", says: "SELECT",
		},
		{name: "no grant to insert", breaks: "REVOKE INSERT ON user_logins FROM :role", repairs: "GRANT INSERT ON user_logins TO :role", says: "grant"},
		{keyed: true, name: "no grant to select", breaks: "REVOKE SELECT ON user_logins FROM :role", repairs: "GRANT SELECT ON user_logins TO :role", says: "grant"},
		{
			name: "no grant on a sequence", setup: "ALTER TABLE user_logins ADD id bigserial",
			breaks: "REVOKE ALL ON SEQUENCE user_logins_id_seq FROM :role", repairs: "GRANT USAGE ON SEQUENCE user_logins_id_seq TO :role", says: "user_logins_id_seq",
		},
		{name: "a rule that discards rows", breaks: "CREATE RULE nothing AS ON INSERT TO user_logins DO INSTEAD NOTHING", repairs: "DROP RULE nothing ON user_logins"},
		{name: "no table", breaks: "ALTER TABLE user_logins RENAME TO other", repairs: "ALTER TABLE other RENAME TO user_logins", says: "user_logins"},
		{name: "a table in another schema", breaks: "ALTER TABLE user_logins SET SCHEMA :schema_elsewhere", repairs: "ALTER TABLE :schema_elsewhere.user_logins SET SCHEMA :schema", says: "user_logins"},
		{
			keyed: true, name: "a search_path that is made for the role", // which sessions that are open do not see
			breaks: `DO $$ DECLARE here text := (SELECT schemaname FROM pg_tables WHERE tablename = 'user_logins' AND schemaname IN (':schema', ':schema_elsewhere')); BEGIN
				EXECUTE format('ALTER TABLE %I.user_logins SET SCHEMA %I', here, CASE here WHEN ':schema' THEN ':schema_elsewhere' ELSE ':schema' END);
				EXECUTE format('ALTER ROLE :role SET search_path = %I', here); END $$`,
			repairs: `DO $$ BEGIN EXECUTE format('ALTER ROLE :role SET search_path = %I',
				(SELECT schemaname FROM pg_tables WHERE tablename = 'user_logins' AND schemaname IN (':schema', ':schema_elsewhere'))); END $$`,
			says: "user_logins",
		},
	}
	for _, code := range codes {
		all = append(all, blameless{name: "a trigger raises " + code, setup: gate, breaks: "INSERT INTO closed VALUES ('" + code + "', NULL)", repairs: "DELETE FROM closed", says: "gate", never: "create the table"})
		switch code[:2] {
		case "P0", "22", "23", "44", "SL", "XX": // a row's own when others pass
			continue
		}
		all = append(all, blameless{
			name: "a trigger raises " + code + " for one row", setup: gate, breaks: "INSERT INTO closed VALUES ('" + code + "', 'fr_FR')", repairs: "DELETE FROM closed",
			least: butOne, most: butOne, says: "gate", never: "create the table",
		})
	}
	return all
}

// incompressible returns an expression for a text of n characters that compression does not make
// short enough for an index.
func incompressible(n int) string {
	var parts []string
	for i := range n / 32 {
		parts = append(parts, fmt.Sprintf("md5('%d')", i))
	}
	return strings.Join(parts, " || ")
}

// TestAFaultOfTheDatabaseCostsNoMessage breaks a database under batches of a thousand, for a
// function without a connection and for a warm one. No message is to blame, so none may reach the
// dead-letter queue: when the database is repaired, the same function stores them all.
func TestAFaultOfTheDatabaseCostsNoMessage(t *testing.T) {
	t.Parallel()
	codes := []string{"P0001", "23514", "42P01", "0A000", "40001", "57014"}
	if inFull(t) {
		codes = append(codes, "22023", "44000", "SL001", "XX000", "42883", "42703", "55000", "28000", "40P01", "55P03", "53100", "25006", "08006")
	}
	for i, c := range faultsOfTheDatabase(codes) {
		few := i%8 == 0 // a thousand messages twice take a second or two: each fault is for `make drill`
		if !few && !inFull(t) {
			continue
		}
		models := []string{"user_logins"}
		if few && inFull(t) && !c.keyed {
			models = append(models, "user_logins_plain")
		}
		for _, name := range models {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				newBlamelessSite(t, name, c).play()
			})
		}
	}
}

// play breaks and repairs the database twice.
func (s *blamelessFixture) play() {
	t, c := s.t, s.fault
	for cycle, temperature := range []string{"cold", "warm"} {
		begin := time.Duration(cycle) * time.Hour
		s.exec(c.breaks)
		s.send()
		s.sim.Run(begin + 3*time.Minute)
		if got := s.rows() - int64(cycle*thousand); got < int64(c.least) || got > int64(c.most) {
			t.Errorf("%s: %d rows while it is broken, want %d to %d; log: %s", temperature, got, c.least, c.most, s.problem())
		}
		if said := s.said(); !strings.Contains(said, c.says) || c.never != "" && strings.Contains(said, c.never) {
			t.Errorf("%s: the log is to say %q and not %q: %s", temperature, c.says, c.never, s.problem())
		}
		s.exec(c.repairs)
		s.log.Reset()
		s.sim.Run(begin + 50*time.Minute)
		if got := s.rows() - int64(cycle*thousand); got != thousand {
			t.Errorf("%s: %d rows after it was fixed, want %d; log: %s", temperature, got, thousand, s.problem())
		}
		if n := len(s.dlq.Messages()); n > 0 {
			t.Errorf("%s: %d good messages are in the dead-letter queue", temperature, n)
		}
		if t.Failed() {
			return
		}
	}
}

// blamelessFixture is an installation whose database is at fault.
type blamelessFixture struct {
	t          *testing.T
	sim        *esmsim.Sim
	queue, dlq *esmsim.Queue
	mapping    *esmsim.Mapping
	db         *pgtest.DB
	role       string
	log        *safeBuilder
	sent       int
	fault      blameless
}

func newBlamelessSite(t *testing.T, name string, c blameless) *blamelessFixture {
	t.Helper()
	m := builtin(t, name)
	s := &blamelessFixture{t: t, sim: esmsim.New(1), db: pgtest.New(t), log: &safeBuilder{}, fault: c}
	s.exec("CREATE SCHEMA :schema_elsewhere")
	t.Cleanup(func() { s.exec("DROP SCHEMA :schema_elsewhere CASCADE") })
	user := s.db.Role(t, func(role string) []string {
		s.role = role
		return []string{s.sql("GRANT USAGE ON SCHEMA :schema_elsewhere TO :role; ALTER ROLE :role SET search_path = :schema")}
	})
	ddl := strings.Join(m.DDL(), ";\n")
	if c.table != nil {
		ddl = c.table(ddl)
	}
	s.exec(ddl)
	s.exec("ALTER DEFAULT PRIVILEGES IN SCHEMA :schema GRANT ALL ON TABLES TO :role")
	s.exec(c.setup)
	s.exec("GRANT ALL ON ALL TABLES IN SCHEMA :schema TO :role; GRANT ALL ON ALL SEQUENCES IN SCHEMA :schema TO :role")

	s.dlq = s.sim.Queue(esmsim.QueueConfig{Name: "dead-logins", Retention: 14 * 24 * time.Hour})
	s.queue = s.sim.Queue(esmsim.QueueConfig{Name: "logins", Visibility: visibility, DeadLetter: s.dlq, MaxReceives: maxReceives})
	// Connections age by the simulation's clock.
	store, err := postgres.Open(s.url(user.URL), []*batch.Table{m.Table}, postgres.WithClock(s.sim.Now), postgres.WithSleep(func(ctx context.Context, d time.Duration) bool {
		esmsim.Spend(ctx, d)
		return true
	}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	h := &handler.Handler{
		Pipeline: ingest.New(m.Set(), store, ingest.Static(mask.Unkeyed()), log), Log: log,
		DeadLetters: deadLetters{s.dlq, m.Name}, Backoff: backoff{s.queue, rand.New(rand.NewPCG(1, 2))},
	}
	s.mapping = s.sim.Map(s.queue, h.Invoke, esmsim.MappingConfig{
		BatchSize: thousand, Window: window, ReportBatchItemFailures: true, FunctionTimeout: functionTimeout, RealTimeout: time.Minute,
	})
	return s
}

// url leaves the search_path to the role.
func (s *blamelessFixture) url(text string) string {
	s.t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		s.t.Fatal(err)
	}
	q := u.Query()
	q.Del("options")
	u.RawQuery = q.Encode()
	return u.String()
}

func (s *blamelessFixture) sql(text string) string {
	return strings.NewReplacer(":schema", s.db.Schema, ":role", s.role).Replace(text)
}

func (s *blamelessFixture) exec(sql string) {
	s.t.Helper()
	s.db.Exec(s.t, s.sql(sql))
}

// send sends a thousand good messages.
func (s *blamelessFixture) send() {
	for i := range thousand {
		locale := "de"
		if i == thousand/2 {
			locale = "fr_FR"
		}
		s.queue.Send(esmsim.Message{Body: fmt.Sprintf(`{"user_id":"u-%d","locale":%q,"ip":"203.0.113.7"}`, s.sent, locale)})
		s.sent++
	}
}

// rows returns the rows of messages; the table may be somewhere else.
func (s *blamelessFixture) rows() int64 {
	s.t.Helper()
	n := int64(0)
	for _, table := range s.db.Rows(s.t, s.sql(`SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname IN (':schema', ':schema_elsewhere') AND tablename IN ('user_logins', 'user_logins_all', 'other')`)) {
		n += s.db.Count(s.t, "SELECT count(DISTINCT user_id) FROM ONLY "+table[0]+" WHERE user_id LIKE 'u-%'")
	}
	return n
}

// said returns the log and the last error.
func (s *blamelessFixture) said() string {
	text := s.log.String()
	if err := s.mapping.Report().LastError; err != nil {
		text += err.Error()
	}
	return text
}

// problem returns the last error in the log that concerns more than one message.
func (s *blamelessFixture) problem() string {
	last := "nothing is wrong"
	for line := range strings.Lines(s.said()) {
		if !strings.Contains(line, `"message_id"`) && !strings.Contains(line, `"level":"INFO"`) {
			last = line
		}
	}
	return last
}
