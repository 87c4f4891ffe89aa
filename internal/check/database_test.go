package check_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/storetest"
	"example.com/owner/sluice/models"
)

var names = fault.Names{URL: "DATABASE_URL", Migrate: "sluice migrate", Schema: "sluice schema", Check: "sluice check"}

// look checks the database of a URL.
func look(t *testing.T, m *model.Model, databaseURL string) check.Findings {
	t.Helper()
	store := open(t, m, databaseURL)
	defer store.Close()
	return check.Database(t.Context(), store, m.Set(), names)
}

// TestKeyOrLedger: the remedy for a missing key names the ledger only where the loader takes one.
func TestKeyOrLedger(t *testing.T) {
	keyed, replaced := load(t, "user_logins"), withLines(t, replaces)
	for _, tt := range []struct {
		name   string
		model  *model.Model
		sql    string
		ledger bool
	}{
		{"rows that are kept", keyed, "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey", true},
		{"the ledger's own key", load(t, "user_logins_plain"), "ALTER TABLE sluice_ledger DROP CONSTRAINT sluice_ledger_pkey", false},
		{"rows with children", withLines(t, keeps), "ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE", false},
		{"rows that are replaced", replaced, "ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE", false},
		{"children", replaced, "ALTER TABLE lines DROP CONSTRAINT lines_pkey", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := look(t, tt.model, pgtest.New(t, append(tt.model.DDL(), tt.sql)...).URL)
			i := slices.IndexFunc(f, func(found check.Finding) bool { return found.Rule == "key" && found.Severity == check.Error })
			if i < 0 || !strings.Contains(f[i].Remedy, "ADD UNIQUE (") || strings.Contains(f[i].Remedy, "ledger, as") != tt.ledger {
				t.Errorf("with a ledger: %v; %+v", tt.ledger, f)
			}
		})
	}
}

func TestATableAsTheModelMeansIt(t *testing.T) {
	files, err := models.FS.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := load(t, name)
			db := pgtest.New(t, m.DDL()...)
			f := look(t, m, db.URL)
			want(t, f)
			if f.Count(check.OK) < 5 {
				t.Errorf("too little was checked: %+v", f)
			}
			least := db.Role(t, func(role string) []string {
				grants := []string{"GRANT INSERT ON " + m.Table.Name + " TO " + role}
				var key []string
				for _, k := range m.Table.Key {
					key = append(key, m.Table.Columns[k].Name)
				}
				keyed := m.Table.Name
				if m.Table.Ledger != "" {
					keyed = m.Table.Ledger
					grants = append(grants, "GRANT INSERT ON "+keyed+" TO "+role)
				}
				return append(grants, fmt.Sprintf("GRANT SELECT (%s) ON %s TO %s", strings.Join(key, ", "), keyed, role))
			})
			want(t, look(t, m, least.URL))
		})
	}
}

// TestAFreshTableHasNoFinding checks a table for each type of columns, with and without it in the
// key, and with a trigger, for which trial rows are inserted.
func TestAFreshTableHasNoFinding(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext", "CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
	storetest.EveryType(t, func(t *testing.T, m *model.Model, _ string) {
		db.Exec(t, "DROP TABLE IF EXISTS t")
		db.Exec(t, m.DDL()[0]+"; CREATE TRIGGER same BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION same()")
		f := look(t, m, db.URL)
		want(t, f)
		says(t, f, "got the key")
	})
}

func TestWhatIsWrongWithATable(t *testing.T) {
	for _, tt := range []struct {
		name, model string
		// sql is executed after the model's own.
		sql  string
		want []string
		says string
	}{
		{"no table", "user_logins", "DROP TABLE user_logins", []string{"error table_missing"}, "sluice migrate"},
		{"a view", "user_logins", "ALTER TABLE user_logins RENAME TO other; CREATE VIEW user_logins AS SELECT * FROM other", []string{"error table_kind"}, ""},
		{"no column", "user_logins", "ALTER TABLE user_logins DROP COLUMN locale", []string{"error column_missing"}, "locale"},
		{"narrower", "user_logins", "ALTER TABLE user_logins ALTER masked_ip TYPE varchar(63)", []string{"error column_narrower"}, "masked_ip is character varying(63), and varchar(256) in the model"},
		{"wider", "user_logins", "ALTER TABLE user_logins ALTER masked_ip TYPE text, ALTER locale TYPE varchar(33), ALTER device_type TYPE varchar, ALTER app_version TYPE bigint", nil, ""},
		{"numeric instead of integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE numeric", nil, ""},
		{"smaller integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE smallint", []string{"error column_narrower"}, "app_version"},
		{"text instead of integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE text", []string{"error column_type"}, "app_version"},
		{"float instead of integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE real", []string{"error column_type"}, ""},
		{"char", "user_logins", "ALTER TABLE user_logins ALTER locale TYPE char(32)", []string{"warning column_type"}, "blanks"},
		{"shorter char", "user_logins", "ALTER TABLE user_logins ALTER locale TYPE char(31)", []string{"error column_narrower"}, ""},
		{"name", "user_logins", "ALTER TABLE user_logins ALTER locale TYPE name", []string{"error column_type"}, ""},
		{"time without zone", "user_logins", "ALTER TABLE user_logins ALTER sent_at TYPE timestamp", []string{"error column_type"}, ""},
		{"rounded time", "user_logins", "ALTER TABLE user_logins ALTER sent_at TYPE timestamptz(2)", []string{"error column_narrower"}, "rounded"},
		{"time in milliseconds", "user_logins", "ALTER TABLE user_logins ALTER sent_at TYPE timestamptz(3)", nil, ""},
		{"rounded time of a field", "orders", "ALTER TABLE orders ALTER placed_at TYPE timestamptz(3)", []string{"error column_narrower"}, "placed_at"},
		{"text instead of uuid", "user_logins", "ALTER TABLE user_logins ALTER message_id TYPE text", []string{"error column_type"}, ""},
		{"fewer decimals", "orders", "ALTER TABLE orders ALTER total TYPE numeric(18,2)", []string{"error column_narrower"}, "rounded"},
		{"fewer digits", "orders", "ALTER TABLE orders ALTER total TYPE numeric(17,4)", []string{"error column_narrower"}, "larger"},
		{"more digits", "orders", "ALTER TABLE orders ALTER total TYPE numeric(30,6)", nil, ""},
		{"float", "orders", "ALTER TABLE orders ALTER total TYPE float8", []string{"error column_type"}, "digits"},
		{"json", "orders", "ALTER TABLE orders ALTER lines TYPE json", nil, ""},
		{"masks of just their length", "user_logins", "ALTER TABLE user_logins ALTER masked_ip TYPE varchar(64), ALTER masked_device_id TYPE char(64)", nil, ""},
		{"masks in a longer char", "user_logins", "ALTER TABLE user_logins ALTER masked_ip TYPE char(65)", []string{"warning column_type"}, "blanks"},
		{"masks in a shorter char", "user_logins", "ALTER TABLE user_logins ALTER masked_ip TYPE char(63)", []string{"error column_narrower"}, "64 characters"},
		{"masks in a domain of their length", "user_logins", "CREATE DOMAIN hex AS char(64); CREATE DOMAIN mask AS hex CHECK (value ~ '^[0-9a-f]+$'); ALTER TABLE user_logins ALTER masked_ip TYPE mask", nil, ""},
		{"a domain over a domain", "user_logins", "CREATE DOMAIN a AS varchar(128); CREATE DOMAIN b AS a NOT NULL; CREATE DOMAIN c AS b CHECK (value <> 'x'); ALTER TABLE user_logins ALTER user_id TYPE c", nil, ""},
		{"a domain over one that is narrower", "user_logins", "CREATE DOMAIN a AS varchar(31); CREATE DOMAIN b AS a; ALTER TABLE user_logins ALTER locale TYPE b", []string{"error column_narrower"}, "locale is b"},
		{"a domain over one of another kind", "user_logins", "CREATE DOMAIN a AS text; CREATE DOMAIN b AS a; ALTER TABLE user_logins ALTER app_version TYPE b", []string{"error column_type"}, ""},
		{"domains of every type", "orders", "CREATE DOMAIN d1 AS numeric(18,4); CREATE DOMAIN d2 AS d1; CREATE DOMAIN t1 AS timestamptz; CREATE DOMAIN t2 AS t1; CREATE DOMAIN j1 AS jsonb; CREATE DOMAIN j2 AS j1; ALTER TABLE orders ALTER total TYPE d2, ALTER placed_at TYPE t2, ALTER lines TYPE j2", nil, ""},
		{"a domain over one with fewer digits", "orders", "CREATE DOMAIN a AS numeric(18,2); CREATE DOMAIN b AS a; ALTER TABLE orders ALTER total TYPE b", []string{"error column_narrower"}, "rounded"},
		{"a domain over one that is NOT NULL, of a column that is not filled", "user_logins", "CREATE DOMAIN a AS int NOT NULL; CREATE DOMAIN b AS a; ALTER TABLE user_logins ADD tenant b", []string{"error column_unfilled"}, "tenant"},
		{"the same with a default", "user_logins", "CREATE DOMAIN a AS int NOT NULL DEFAULT 1; CREATE DOMAIN b AS a; ALTER TABLE user_logins ADD tenant b", nil, ""},
		{"a domain over one that is NOT NULL, of a field that is optional", "user_logins", "CREATE DOMAIN a AS varchar(32) NOT NULL; CREATE DOMAIN b AS a; ALTER TABLE user_logins ALTER locale TYPE b", []string{"error column_not_null"}, "let its domain b allow NULL"},
		{"a domain", "user_logins", "CREATE DOMAIN short AS varchar(8); ALTER TABLE user_logins ALTER locale TYPE short", []string{"error column_narrower"}, ""},
		{"a domain that is wide", "user_logins", "CREATE DOMAIN long AS text; ALTER TABLE user_logins ALTER locale TYPE long", nil, ""},
		{"NOT NULL that is not filled", "user_logins", "ALTER TABLE user_logins ADD tenant int NOT NULL", []string{"error column_unfilled"}, "tenant"},
		{"NOT NULL with a default", "user_logins", "ALTER TABLE user_logins ADD tenant int NOT NULL DEFAULT 1, ADD n int GENERATED ALWAYS AS IDENTITY", nil, ""},
		{"NOT NULL that is optional", "user_logins", "ALTER TABLE user_logins ALTER locale SET NOT NULL", []string{"error column_not_null"}, "locale"},
		{"generated", "user_logins", "ALTER TABLE user_logins DROP COLUMN locale; ALTER TABLE user_logins ADD locale varchar(32) GENERATED ALWAYS AS ('x') STORED", []string{"error column_generated"}, "take the column out of the model, as `sluice infer --table` does"},
		{"no key", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey", []string{"error key"}, "no unique key on (sent_at, message_id)"},
		{"another key", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey; CREATE UNIQUE INDEX ON user_logins (message_id)", []string{"error key"}, ""},
		{"the key the other way round", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey; CREATE UNIQUE INDEX ON user_logins (message_id, sent_at) INCLUDE (user_id)", nil, ""},
		{"deferrable key", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey, ADD PRIMARY KEY (sent_at, message_id) DEFERRABLE", []string{"error key"}, "deferrable"},
		{"partial key", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey; CREATE UNIQUE INDEX ON user_logins (sent_at, message_id) WHERE locale = 'x'", []string{"error key"}, "partial"},
		{"key of an expression", "user_logins", "ALTER TABLE user_logins DROP CONSTRAINT user_logins_pkey; CREATE UNIQUE INDEX ON user_logins (sent_at, message_id, lower(locale))", []string{"error key"}, ""},
		{"no ledger", "user_logins_plain", "DROP TABLE sluice_ledger", []string{"error table_missing"}, "sluice_ledger"},
		{"ledger without a key", "user_logins_plain", "ALTER TABLE sluice_ledger DROP CONSTRAINT sluice_ledger_pkey", []string{"error key"}, "sluice_ledger"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, db := table(t, tt.model, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			says(t, f, tt.says)
		})
	}
}

const (
	returnsNew  = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.locale := 'x'; RETURN NEW ; END $$; "
	returnsNull = "CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF to_jsonb(NEW) ->> 'locale' = 'x' THEN RETURN NULL; END IF; return new; END $$; "
	onlyRaises  = "CREATE FUNCTION closed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$; "
)

// before is a trigger that calls a function.
func before(function string) string {
	return fmt.Sprintf(`CREATE TRIGGER "The %s" BEFORE INSERT OR UPDATE ON user_logins FOR EACH ROW EXECUTE FUNCTION %s()`, function, function)
}

func TestWhatStandsBeforeATable(t *testing.T) {
	for _, tt := range []struct {
		name, model string
		// sql is executed after the model's own.
		sql  string
		want []string
		says string
	}{
		{"a rule in its place", "user_logins", "CREATE RULE nowhere AS ON INSERT TO user_logins DO INSTEAD NOTHING", []string{"error rule"}, "the rule nowhere of "},
		{"a rule for some rows", "user_logins", `CREATE RULE "No Where" AS ON INSERT TO user_logins WHERE NEW.locale = 'x' DO INSTEAD NOTHING`, []string{"error rule"}, `DROP RULE \"No Where\" ON`},
		{"a rule beside", "user_logins", "CREATE TABLE audit (); CREATE RULE audited AS ON INSERT TO user_logins DO ALSO INSERT INTO audit DEFAULT VALUES", []string{"error rule"}, "audited"},
		{"a rule that is off", "user_logins", "CREATE RULE nowhere AS ON INSERT TO user_logins DO INSTEAD NOTHING; ALTER TABLE user_logins DISABLE RULE nowhere", nil, ""},
		{"a rule for updates, which is off", "user_logins", "CREATE RULE kept AS ON UPDATE TO user_logins DO INSTEAD NOTHING; ALTER TABLE user_logins DISABLE RULE kept", []string{"error rule"}, "ON CONFLICT"},
		{"a rule for updates of a table with a ledger", "user_logins_plain", "CREATE RULE kept AS ON UPDATE TO user_logins DO INSTEAD NOTHING", nil, ""},
		{"a rule for updates of the ledger", "user_logins_plain", "CREATE RULE kept AS ON UPDATE TO sluice_ledger DO INSTEAD NOTHING", []string{"error rule"}, "sluice_ledger"},
		{"a rule for deletes", "user_logins", "CREATE RULE kept AS ON DELETE TO user_logins DO INSTEAD NOTHING", nil, ""},
		{"a trigger that sets a column", "user_logins", returnsNew + before("touch"), nil, `The touch\" of `},
		{"a trigger that discards some rows", "user_logins", returnsNull + before("route"), nil, `The route\" of `},
		{"a trigger that only raises", "user_logins", onlyRaises + before("closed"), []string{"warning key_untried"}, "SQLSTATE P0001"},
		{"a trigger that is off", "user_logins", returnsNull + before("route") + `; ALTER TABLE user_logins DISABLE TRIGGER "The route"`, nil, ""},
		{"a trigger for replicas", "user_logins", returnsNull + before("route") + `; ALTER TABLE user_logins ENABLE REPLICA TRIGGER "The route"`, nil, ""},
		{"a trigger in another language", "user_logins", before("suppress_redundant_updates_trigger"), []string{"warning key_untried"}, "written in internal"},
		{"a trigger afterwards", "user_logins", returnsNull + "CREATE TRIGGER late AFTER INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION route()", nil, ""},
		{"a trigger for updates", "user_logins", returnsNull + "CREATE TRIGGER other BEFORE UPDATE ON user_logins FOR EACH ROW EXECUTE FUNCTION route()", nil, ""},
		{"a trigger for statements", "user_logins", returnsNull + "CREATE TRIGGER once BEFORE INSERT ON user_logins FOR EACH STATEMENT EXECUTE FUNCTION route()", nil, ""},
		{"a trigger of the ledger", "user_logins_plain", returnsNull + "CREATE TRIGGER kept BEFORE INSERT ON sluice_ledger FOR EACH ROW EXECUTE FUNCTION route()", nil, "the trigger kept of "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, db := table(t, tt.model, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			if text := fmt.Sprintf("%q", f); !strings.Contains(text, tt.says) {
				t.Errorf("the findings do not say %q: %s", tt.says, text)
			}
		})
	}
}

func TestPartitions(t *testing.T) {
	const (
		past    = "CREATE TABLE past PARTITION OF user_logins FOR VALUES FROM (MINVALUE) TO ('2026-01-01'); "
		now     = "DO $$ BEGIN EXECUTE format('CREATE TABLE now PARTITION OF user_logins FOR VALUES FROM (%L) TO (%L)', now() - interval '1 day', now() + interval '3 days'); END $$; "
		later   = "DO $$ BEGIN EXECUTE format('CREATE TABLE later PARTITION OF user_logins FOR VALUES FROM (%L) TO (%L)', now() + interval '3 days', now() + interval '9 days'); END $$; "
		days    = "DO $$ BEGIN FOR i IN -1..9 LOOP EXECUTE format('CREATE TABLE d%s PARTITION OF user_logins FOR VALUES IN (%L)', i + 1, (now() AT TIME ZONE 'UTC')::date + i); END LOOP; END $$; "
		sentAt  = "RANGE (sent_at)"
		rest    = "CREATE TABLE rest PARTITION OF user_logins DEFAULT; "
		byUser  = "CREATE TABLE now PARTITION OF user_logins FOR VALUES FROM (MINVALUE) TO (MAXVALUE) PARTITION BY HASH (message_id); "
		noKey   = "error key"
		none    = "error partition_none"
		notNow  = "error partition_now"
		notSoon = "warning partition_soon"
	)
	for _, tt := range []struct {
		name, by string
		sql      string
		want     []string
		// unsure: the bounds are of something that is not known, so nothing is said of them.
		unsure bool
	}{
		{"none", sentAt, "", []string{none}, false},
		{"none below", sentAt, byUser, []string{none}, false},
		{"of the past", sentAt, past, []string{notNow}, false},
		{"of now", sentAt, past + now, []string{notSoon}, false},
		{"of now and later", sentAt, past + now + later, nil, false},
		{"of later", sentAt, past + later, []string{notNow}, false},
		{"a default alone", sentAt, rest, nil, false},
		{"a default beside", sentAt, past + rest, nil, false},
		{"one for all, by something else below", sentAt, byUser + "CREATE TABLE half PARTITION OF now FOR VALUES WITH (MODULUS 2, REMAINDER 0)", nil, true},
		{"by something else", "HASH (message_id)", "CREATE TABLE half PARTITION OF user_logins FOR VALUES WITH (MODULUS 2, REMAINDER 0)", nil, true},
		{"by days", "LIST (create_date)", days, []string{noKey}, false},
		{"by days, without some", "LIST (create_date)", days + "DROP TABLE d8", []string{noKey, notSoon}, false},
		{"by days, without today", "LIST (create_date)", days + "DROP TABLE d1", []string{noKey, notNow}, false},
		{"by an expression", "RANGE (date_trunc('day', sent_at AT TIME ZONE 'UTC'))", past, []string{noKey, notNow}, false},
		{"by a field of the body", "LIST (user_id)", "CREATE TABLE one PARTITION OF user_logins FOR VALUES IN ('u-1')", []string{noKey}, true},
		{"by two columns", "RANGE (sent_at, user_id)", "CREATE TABLE old PARTITION OF user_logins FOR VALUES FROM (MINVALUE, MINVALUE) TO ('2026-01-01', MINVALUE)", []string{noKey}, true},
		{"one detached", sentAt, past + now + later + "ALTER TABLE user_logins DETACH PARTITION now", []string{notNow}, false},
		{"many", sentAt, "DO $$ BEGIN FOR i IN 0..600 LOOP EXECUTE format('CREATE TABLE d%s PARTITION OF user_logins FOR VALUES FROM (%L) TO (%L)', i, '2024-01-01'::date + i, '2024-01-01'::date + i + 1); END LOOP; END $$; " + now, []string{notSoon}, false},
		{"a trigger of all", sentAt, rest + returnsNull + before("route"), nil, false},
		{"a trigger of one", sentAt, rest + returnsNull + "CREATE TRIGGER own BEFORE INSERT ON rest FOR EACH ROW EXECUTE FUNCTION route()", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m, db := table(t, "user_logins", "ALTER TABLE user_logins RENAME TO plain; CREATE TABLE user_logins (LIKE plain INCLUDING DEFAULTS) PARTITION BY "+tt.by)
			if !slices.Contains(tt.want, noKey) {
				db.Exec(t, "ALTER TABLE user_logins ADD PRIMARY KEY (sent_at, message_id)")
			}
			db.Exec(t, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			listed := 0 // once, and not again for each partition
			for _, x := range f {
				if x.Rule == "trigger" {
					listed++
				}
			}
			if triggers := strings.Count(tt.sql, "CREATE TRIGGER"); listed != triggers {
				t.Errorf("%d triggers are listed, want %d: %+v", listed, triggers, f)
			}
			said := slices.ContainsFunc(f, func(x check.Finding) bool { return strings.HasPrefix(x.Rule, "partition") })
			if said == tt.unsure {
				t.Errorf("of partitions it says %v: %+v", said, f)
			}
		})
	}
}

// The model may name one partition, by mistake or on purpose.
func TestAPartition(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	db.Exec(t, `ALTER TABLE user_logins RENAME TO plain; CREATE TABLE whole (LIKE plain, PRIMARY KEY (sent_at, message_id)) PARTITION BY RANGE (sent_at);
		CREATE TABLE user_logins PARTITION OF whole FOR VALUES FROM (MINVALUE) TO ('2026-01-01')`)
	want(t, look(t, m, db.URL), "error partition_now")
}

func TestGrants(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	for _, tt := range []struct {
		name   string
		grants []string
		want   []string
	}{
		{"none", nil, []string{"error grant_insert", "error grant_select"}},
		{"INSERT alone", []string{"GRANT INSERT ON user_logins TO %s"}, []string{"error grant_select"}},
		{"half of the key", []string{"GRANT INSERT ON user_logins TO %s", "GRANT SELECT (sent_at) ON user_logins TO %s"}, []string{"error grant_select"}},
		{"one column", []string{"GRANT INSERT (user_id) ON user_logins TO %s", "GRANT SELECT ON user_logins TO %s"}, []string{"error grant_insert"}},
	} {
		role := db.Role(t, func(role string) (all []string) {
			for _, g := range tt.grants {
				all = append(all, fmt.Sprintf(g, role))
			}
			return all
		})
		t.Run(tt.name, func(t *testing.T) { want(t, look(t, m, role.URL), tt.want...) })
	}
}

// TestGrantsOfReplacedAndComparedRows: what the check asks for is what the store needs.
func TestGrantsOfReplacedAndComparedRows(t *testing.T) {
	t.Parallel()
	const fields = `
fields:
  id: {type: text, required: true}
  version: {type: integer, required: true}
  ip: {type: ip, personal: true}
columns:
  id: {type: text, from: id}
  version: {type: integer, from: version}
  masked_ip: {type: varchar(64), from: ip, masked: true}
  message_id: {type: uuid, meta: message_id}
`
	for _, tt := range []struct {
		name, settings string
		grants         []string
		stored         string            // of two versions
		lacks          map[string]string // what is found without one of the grants
		counts         func(message.Counts) []int
		want           []int
	}{
		{
			"replace", "on_conflict: replace\nnewer_by: version",
			[]string{"INSERT ON t", "SELECT (id, version, masked_ip, message_id) ON t", "UPDATE (version, masked_ip, message_id) ON t"},
			"2",
			map[string]string{"INSERT ON t": "error grant_insert", "SELECT (id, version, masked_ip, message_id) ON t": "error grant_select", "UPDATE (version, masked_ip, message_id) ON t": "error grant_update"},
			func(c message.Counts) []int { return []int{c.Stored, c.Replaced, c.Outdated} },
			[]int{1, 1, 1},
		},
		{
			"keep", "on_conflict: keep",
			[]string{"INSERT ON t", "SELECT (id, version, message_id) ON t"},
			"1",
			map[string]string{"INSERT ON t": "error grant_insert", "SELECT (id, version, message_id) ON t": "error grant_select"},
			func(c message.Counts) []int { return []int{c.Stored, c.Conflict, c.Duplicate} },
			[]int{1, 1, 1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := parse(t, "model: t\ntable: t\nkey: [id]\n"+tt.settings+fields)
			db := pgtest.New(t, m.DDL()...)
			for grant, finding := range tt.lacks {
				want(t, look(t, m, without(t, db, grant, tt.grants)), finding)
			}
			url := without(t, db, "", tt.grants)
			want(t, look(t, m, url))
			counts, err := deliver(t, m, url, `{"id":"a","version":1}`, `{"id":"a","version":2}`, `{"id":"a","version":1}`)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.counts(counts); !slices.Equal(got, tt.want) {
				t.Errorf("got %v (%+v), want %v", got, counts, tt.want)
			}
			if got := db.Rows(t, "SELECT version FROM t")[0][0]; got != tt.stored {
				t.Errorf("the version %s is stored, want %s", got, tt.stored)
			}
		})
	}
}

func TestTheServer(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	with := func(change func(*url.URL)) string {
		u, err := url.Parse(db.URL)
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		return u.String()
	}
	proxy := pgtest.NewProxy(t, db.URL)
	proxy.Refuse(true)
	role := db.Role(t, nil)
	for _, tt := range []struct {
		name, url string
		want      string
	}{
		{"read only", with(func(u *url.URL) {
			q := u.Query()
			q.Set("default_transaction_read_only", "on")
			u.RawQuery = q.Encode()
		}), "error read_only"},
		{"nobody there", proxy.URL, "error connect"},
		{"no such database", with(func(u *url.URL) { u.Path = "/nosuch" }), "error connect"},
		{"wrong password", strings.Replace(role.URL, role.User+":", role.User+":canary", 1), "error connect"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := look(t, m, tt.url)
			if got := strings.Join(rules(f), ", "); got != tt.want {
				t.Errorf("got %s, want %s: %+v", got, tt.want, f)
			}
			if strings.Contains(fmt.Sprintf("%+v", f), "canary") {
				t.Errorf("the password shows: %+v", f)
			}
		})
	}
}

func TestNoTimeForTheDatabase(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	store := open(t, m, db.URL)
	defer store.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := check.Database(ctx, store, m.Set(), names); len(f) != 1 || f[0].Severity != check.Error {
		t.Errorf("got %+v", f)
	}
}
