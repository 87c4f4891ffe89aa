package check_test

import (
	"strings"
	"testing"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestReplacedRows: what an UPDATE meets on its way is looked at too, where newer rows replace older
// ones. Policies decide as the real store finds.
func TestReplacedRows(t *testing.T) {
	t.Parallel()
	m := parse(t, `
model: states
table: states
key: [id]
on_conflict: replace
newer_by: version
fields:
  id: {type: text, required: true}
  version: {type: integer, required: true}
columns:
  id: {type: text, from: id}
  version: {type: integer, from: version}
`)
	const (
		policies = "ALTER TABLE states ENABLE ROW LEVEL SECURITY; CREATE POLICY i ON states FOR INSERT WITH CHECK (true); CREATE POLICY s ON states FOR SELECT USING (true); "
		touch    = "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER touched BEFORE UPDATE ON states FOR EACH ROW EXECUTE FUNCTION touch()"
	)
	for _, tt := range []struct {
		name, sql string
		want      []string
		says      string
		replaces  bool
	}{
		{"no policy for UPDATE", policies, []string{"error row_security"}, "no policy lets the role UPDATE: no row replaces an older one", false},
		{"a policy for UPDATE", policies + "CREATE POLICY u ON states FOR UPDATE USING (true)", nil, "lets the role store every row", true},
		{"a trigger for UPDATE", touch, nil, "touched of ", true},
		{"a rule for UPDATE", "CREATE RULE r AS ON UPDATE TO states DO ALSO NOTHING", []string{"error rule"}, "Postgres then refuses every INSERT with ON CONFLICT", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := pgtest.New(t, append(m.DDL(), tt.sql)...)
			url := db.Role(t, func(role string) []string { return []string{"GRANT INSERT, SELECT, UPDATE ON states TO " + role} }).URL
			f := look(t, m, url)
			want(t, f, tt.want...)
			said := false
			for _, finding := range f {
				said = said || strings.Contains(finding.What, tt.says)
			}
			if !said {
				t.Errorf("no finding says %q: %+v", tt.says, f)
			}
			counts, err := deliver(t, m, url, `{"id":"a","version":1}`, `{"id":"a","version":2}`)
			if (counts.Replaced == 1) != tt.replaces || (err == nil) != tt.replaces {
				t.Errorf("got %+v, %v", counts, err)
			}
		})
	}
}
