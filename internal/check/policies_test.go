package check_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// stores reports whether a login is stored by the real store.
func stores(t *testing.T, m *model.Model, databaseURL string) bool {
	t.Helper()
	store := open(t, m, databaseURL)
	defer store.Close()
	b := batch.New(m.Table)
	bad := m.Reader(mask.Unkeyed()).Append(b, 0, 0, &message.Message{
		ID: uuid.NewString(), HasBody: true, Body: []byte(`{"user_id": "canary", "locale": "en"}`), HasSent: true, SentMillis: time.Now().UnixMilli(),
	})
	if !bad.IsZero() {
		t.Fatal(bad)
	}
	result, _ := store.Insert(t.Context(), b)
	return result.Verdicts[0].Outcome == message.Stored
}

func TestRowSecurity(t *testing.T) {
	const (
		forInsert = "CREATE POLICY i ON user_logins FOR INSERT TO :role WITH CHECK (true); "
		forSelect = "CREATE POLICY s ON user_logins FOR SELECT TO :role USING (true); "
		forAll    = "CREATE POLICY a ON user_logins TO :role USING (true); "
		tenants   = "ALTER TABLE user_logins ADD tenant text DEFAULT 't1'; "
		byTenant  = tenants + "CREATE POLICY own ON user_logins USING (tenant = current_setting('app.tenant')); "
		refused   = "error row_security"
		warned    = "warning row_security"
	)
	for _, tt := range []struct {
		name, model string
		// sql is executed by the owner, :role being who connects.
		sql    string
		want   []string
		says   string
		stores bool
	}{
		{"no policy", "user_logins", "", []string{refused, refused}, "no policy lets the role INSERT", false},
		{"for INSERT alone", "user_logins", forInsert, []string{refused}, "FOR SELECT TO", false},
		{"for SELECT alone", "user_logins", forSelect, []string{refused}, "FOR INSERT TO", false},
		{"for both", "user_logins", forInsert + forSelect, nil, "lets the role store every row", true},
		{"for all", "user_logins", forAll, nil, "lets the role store every row", true},
		{"of PUBLIC", "user_logins", strings.ReplaceAll(forAll, ":role", "PUBLIC"), nil, "", true},
		{"of somebody else", "user_logins", strings.ReplaceAll(forAll, ":role", "pg_monitor"), []string{refused, refused}, "", false},
		{"of a role that it is a member of", "user_logins", strings.ReplaceAll(forAll, ":role", "pg_monitor") + "GRANT pg_monitor TO :role", nil, "", true},
		{"of a role that it can only become", "user_logins", strings.ReplaceAll(forAll, ":role", "pg_monitor") + "ALTER ROLE :role NOINHERIT; GRANT pg_monitor TO :role", []string{refused, refused}, "", false},
		{"without a condition", "user_logins", "CREATE POLICY i ON user_logins FOR INSERT; " + forSelect, []string{refused}, "", false},
		{"for UPDATE beside", "user_logins", forInsert + "CREATE POLICY u ON user_logins FOR UPDATE USING (true)", []string{refused}, "", false},
		{"restrictive alone", "user_logins", "CREATE POLICY r ON user_logins AS RESTRICTIVE USING (true)", []string{refused, refused}, "", false},
		{"restrictive beside", "user_logins", forAll + "CREATE POLICY r ON user_logins AS RESTRICTIVE USING (locale = 'en')", []string{warned}, "let its policies allow", true},
		{"with conditions", "user_logins", forInsert + "CREATE POLICY s ON user_logins FOR SELECT USING (locale = 'en')", []string{warned}, "", true},
		{"one that takes all beside one that does not", "user_logins", forAll + "CREATE POLICY s ON user_logins FOR SELECT USING (locale = 'en')", nil, "", true},
		{"a setting that is absent", "user_logins", byTenant, []string{warned, "skipped sent_time"}, "the setting app.tenant, which this session lacks", false},
		{"a setting that may be absent, and is", "user_logins", tenants + "CREATE POLICY own ON user_logins USING (tenant = current_setting('app.tenant', true))", []string{warned}, "the setting app.tenant, which this session lacks", false},
		{"a setting that is there", "user_logins", byTenant + "ALTER ROLE :role SET app.tenant = 't1'", []string{warned}, "a setting of the session", true},
		{"a setting that a function reads", "user_logins", tenants + `CREATE FUNCTION mine() RETURNS text LANGUAGE sql STABLE AS $$ SELECT current_setting('app.tenant', true) $$;
			CREATE POLICY own ON user_logins USING (tenant = mine())`, []string{warned}, "a setting of the session", false},
		{"a setting for updates alone", "user_logins", forInsert + forSelect + tenants + "CREATE POLICY u ON user_logins FOR UPDATE USING (tenant = current_setting('app.tenant'))", nil, "", true},
		{"off for the role", "user_logins", forAll + "ALTER ROLE :role SET row_security = off; CREATE POLICY o ON user_logins FOR SELECT USING (locale = 'en')", []string{refused, "skipped sent_time"}, "row_security is off", false},
		{"no row security", "user_logins", "ALTER TABLE user_logins DISABLE ROW LEVEL SECURITY", nil, "", true},
		{"for who bypasses it", "user_logins", "ALTER ROLE :role BYPASSRLS", nil, "", true},
		{"for the owner", "user_logins", "ALTER TABLE user_logins OWNER TO :role", nil, "", true},
		{"for the owner too", "user_logins", "ALTER TABLE user_logins OWNER TO :role; ALTER TABLE user_logins FORCE ROW LEVEL SECURITY", []string{refused, refused}, "", false},
		{"a partition's own", "user_logins", partitioned + "GRANT ALL ON user_logins TO :role; ALTER TABLE rest ENABLE ROW LEVEL SECURITY", nil, "", true},
		{"a partitioned table's", "user_logins", partitioned + "GRANT ALL ON user_logins TO :role; ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY; " + forInsert, []string{refused}, "FOR SELECT", false},
		{"of a table with a ledger", "user_logins_plain", forInsert, nil, "lets the role store every row", true},
		{"of a table with a ledger, none", "user_logins_plain", "", []string{refused}, "INSERT", false},
		{"of a ledger", "user_logins_plain", forInsert + "ALTER TABLE sluice_ledger ENABLE ROW LEVEL SECURITY; CREATE POLICY l ON sluice_ledger FOR INSERT WITH CHECK (true)", []string{refused}, "sluice_ledger FOR SELECT", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := load(t, tt.model)
			db := pgtest.New(t, m.DDL()...)
			role := db.Role(t, func(role string) []string {
				return []string{fmt.Sprintf("GRANT ALL ON ALL TABLES IN SCHEMA %s TO %s", db.Schema, role), "GRANT ALL ON SCHEMA " + db.Schema + " TO " + role, "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY"}
			})
			db.Exec(t, strings.ReplaceAll(tt.sql, ":role", role.User))
			f := look(t, m, role.URL)
			want(t, f, tt.want...)
			says(t, f, tt.says)
			// The findings are no theory: the store meets what they say.
			if got := stores(t, m, role.URL); got != tt.stores {
				t.Errorf("a row is stored: %v, want %v", got, tt.stores)
			}
		})
	}
}

// The remedies are SQL that ends the findings.
func TestPoliciesThatAreMissing(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	role := db.Role(t, func(role string) []string {
		return []string{"GRANT ALL ON user_logins TO " + role, "ALTER TABLE user_logins ENABLE ROW LEVEL SECURITY"}
	})
	for _, f := range look(t, m, role.URL) {
		if f.Rule == "row_security" {
			sql, _, _ := strings.Cut(f.Remedy, ", or with")
			db.Exec(t, sql)
		}
	}
	want(t, look(t, m, role.URL))
}
