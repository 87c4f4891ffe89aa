package check_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"sluice/internal/check"
	"sluice/internal/model"
	"sluice/internal/pgtest"
	"sluice/internal/postgres"
	"sluice/models"
)

// look checks the database of a URL.
func look(t *testing.T, m *model.Model, databaseURL string) check.Findings {
	t.Helper()
	store, err := postgres.Open(databaseURL, m.Table)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	return check.Database(t.Context(), store, m)
}

func migrated(t *testing.T, m *model.Model) *pgtest.DB {
	t.Helper()
	db := pgtest.New(t)
	for _, sql := range m.DDL() {
		db.Exec(t, sql)
	}
	return db
}

func TestATableAsTheModelMeansIt(t *testing.T) {
	for _, name := range model.Names(models.FS) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := load(t, name)
			db := migrated(t, m)
			f := look(t, m, db.URL)
			want(t, f)
			if f.Count(check.OK) < 5 {
				t.Errorf("too little was looked at: %+v", f)
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
		{"numeric in place of integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE numeric", nil, ""},
		{"smaller integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE smallint", []string{"error column_narrower"}, "app_version"},
		{"text in place of integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE text", []string{"error column_type"}, "app_version"},
		{"float in place of integer", "user_logins", "ALTER TABLE user_logins ALTER app_version TYPE real", []string{"error column_type"}, ""},
		{"char", "user_logins", "ALTER TABLE user_logins ALTER locale TYPE char(32)", []string{"error column_type"}, "blanks"},
		{"name", "user_logins", "ALTER TABLE user_logins ALTER locale TYPE name", []string{"error column_type"}, ""},
		{"time without zone", "user_logins", "ALTER TABLE user_logins ALTER sent_at TYPE timestamp", []string{"error column_type"}, ""},
		{"rounded time", "user_logins", "ALTER TABLE user_logins ALTER sent_at TYPE timestamptz(0)", []string{"error column_narrower"}, ""},
		{"text in place of uuid", "user_logins", "ALTER TABLE user_logins ALTER message_id TYPE text", []string{"error column_type"}, ""},
		{"fewer decimals", "orders", "ALTER TABLE orders ALTER total TYPE numeric(18,2)", []string{"error column_narrower"}, "rounded"},
		{"fewer digits", "orders", "ALTER TABLE orders ALTER total TYPE numeric(17,4)", []string{"error column_narrower"}, "larger"},
		{"more digits", "orders", "ALTER TABLE orders ALTER total TYPE numeric(30,6)", nil, ""},
		{"float", "orders", "ALTER TABLE orders ALTER total TYPE float8", []string{"error column_type"}, "digits"},
		{"json", "orders", "ALTER TABLE orders ALTER lines TYPE json", nil, ""},
		{"a domain", "user_logins", "CREATE DOMAIN short AS varchar(8); ALTER TABLE user_logins ALTER locale TYPE short", []string{"error column_narrower"}, ""},
		{"a domain that is wide", "user_logins", "CREATE DOMAIN long AS text; ALTER TABLE user_logins ALTER locale TYPE long", nil, ""},
		{"NOT NULL that is not filled", "user_logins", "ALTER TABLE user_logins ADD tenant int NOT NULL", []string{"error column_unfilled"}, "tenant"},
		{"NOT NULL with a default", "user_logins", "ALTER TABLE user_logins ADD tenant int NOT NULL DEFAULT 1, ADD n int GENERATED ALWAYS AS IDENTITY", nil, ""},
		{"NOT NULL that is optional", "user_logins", "ALTER TABLE user_logins ALTER locale SET NOT NULL", []string{"error column_not_null"}, "locale"},
		{"generated", "user_logins", "ALTER TABLE user_logins DROP COLUMN locale; ALTER TABLE user_logins ADD locale varchar(32) GENERATED ALWAYS AS ('x') STORED", []string{"error column_generated"}, ""},
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
			m := load(t, tt.model)
			db := migrated(t, m)
			db.Exec(t, tt.sql)
			f := look(t, m, db.URL)
			want(t, f, tt.want...)
			if text := fmt.Sprintf("%+v", f); !strings.Contains(text, tt.says) {
				t.Errorf("the findings do not say %q: %s", tt.says, text)
			}
		})
	}
}

func TestGrants(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := migrated(t, m)
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
	db.Exec(t, "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY")
	all := func(role string) []string { return []string{"GRANT ALL ON user_logins TO " + role} }
	t.Run("row-level security", func(t *testing.T) { want(t, look(t, m, db.Role(t, all).URL), "warning row_security") })
}

func TestTheServer(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := migrated(t, m)
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
	db := migrated(t, m)
	store, err := postgres.Open(db.URL, m.Table)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := check.Database(ctx, store, m); len(f) != 1 || f[0].Severity != check.Error {
		t.Errorf("got %+v", f)
	}
}
