package check_test

import (
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
)

const (
	replaces = "on_conflict: replace\nnewer_by: version"
	keeps    = "on_conflict: keep"
)

// withLines returns a model of orders with their lines.
func withLines(t *testing.T, onConflict string) *model.Model {
	t.Helper()
	return parse(t, "model: orders\ntable: orders\nkey: [id]\n"+onConflict+`
fields:
  id: {type: text, required: true}
  version: {type: integer, required: true}
columns:
  id: {type: text, from: id}
  version: {type: integer, from: version}
  message_id: {type: uuid, meta: message_id}
also:
  lines:
    rows: "$.lines[*]"
    fields:
      sku: {type: text, required: true}
    columns:
      order_id: {type: text, from: id}
      line: {type: smallint, meta: row_number}
      sku: {type: varchar(8), from: sku}
`)
}

func TestWhatIsWrongWithAChild(t *testing.T) {
	const (
		security = "ALTER TABLE lines ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY i ON lines FOR INSERT WITH CHECK (true); "
		reads    = "CREATE POLICY s ON lines FOR SELECT USING (true); CREATE POLICY u ON lines FOR UPDATE USING (true); "
		noKey    = "ALTER TABLE lines DROP CONSTRAINT lines_pkey; "
	)
	for _, tt := range []struct {
		name, onConflict, sql string
		want                  []string
		says                  string
	}{
		{"nothing, kept", keeps, "", nil, "lines has the 3 columns"},
		{"nothing, replaced", replaces, "", nil, "lines has an index that begins with (order_id)"},
		{"no table", keeps, "DROP TABLE lines", []string{"error table_missing"}, "lines"},
		{"a narrower column", keeps, "ALTER TABLE lines ALTER sku TYPE varchar(7)", []string{"error column_narrower"}, "lines.sku"},
		{"UNLOGGED", keeps, "ALTER TABLE lines SET UNLOGGED", []string{"error unlogged"}, "lines"},
		{"a trigger that discards", keeps, "CREATE FUNCTION route() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER routed BEFORE INSERT ON lines FOR EACH ROW EXECUTE FUNCTION route()", []string{"warning trigger"}, "routed of "},
		{"no key, kept", keeps, noKey, nil, ""},
		{"no key, replaced", replaces, noKey, []string{"error key", "warning index_parent"}, "(order_id, line)"},
		{"another index", replaces, noKey + "CREATE UNIQUE INDEX ON lines (line, order_id); CREATE INDEX ON lines (order_id)", nil, ""},
		{"the key the other way round", replaces, noKey + "CREATE UNIQUE INDEX ON lines (line, order_id)", []string{"warning index_parent"}, "looked for in the whole table"},
		{"no policy for SELECT, kept", keeps, security, nil, ""},
		{"no policy for DELETE", replaces, security + reads, []string{"error row_security"}, "rows that a newer message no longer has stay"},
		{"policies", replaces, security + reads + "CREATE POLICY d ON lines FOR DELETE USING (true)", nil, ""},
		{"a rule for DELETE, kept", keeps, "CREATE RULE r AS ON DELETE TO lines DO INSTEAD NOTHING", nil, ""},
		{"a rule for DELETE", replaces, "CREATE RULE r AS ON DELETE TO lines DO INSTEAD NOTHING", []string{"error rule"}, "ON DELETE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := withLines(t, tt.onConflict)
			db := pgtest.New(t, append(m.DDL(), tt.sql)...)
			url := db.Role(t, func(role string) []string {
				return []string{"GRANT INSERT, SELECT, UPDATE ON orders TO " + role, "DO $$ BEGIN IF to_regclass('lines') IS NOT NULL THEN GRANT INSERT, SELECT, UPDATE, DELETE ON lines TO " + role + "; END IF; END $$"}
			}).URL
			f := look(t, m, url)
			want(t, f, tt.want...)
			says(t, f, tt.says)
		})
	}
}

// TestGrantsOfChildren: what the check asks for is what the store needs.
func TestGrantsOfChildren(t *testing.T) {
	for _, tt := range []struct {
		name, onConflict string
		grants           []string // on orders, and on lines
		lacks            map[string]string
		stored           string // of a message with two lines, a newer one with one, and the first again
	}{
		{
			"replace", replaces,
			[]string{
				"INSERT ON orders", "SELECT (id, version, message_id) ON orders", "UPDATE (version, message_id) ON orders",
				"INSERT ON lines", "SELECT (order_id, line, sku) ON lines", "UPDATE (sku) ON lines", "DELETE ON lines",
			},
			map[string]string{
				"INSERT ON lines": "error grant_insert", "SELECT (order_id, line, sku) ON lines": "error grant_select",
				"UPDATE (sku) ON lines": "error grant_update", "DELETE ON lines": "error grant_delete",
			},
			"2 1 c",
		},
		{
			"keep", keeps,
			[]string{"INSERT ON orders", "SELECT (id, version, message_id) ON orders", "INSERT ON lines"},
			map[string]string{"INSERT ON lines": "error grant_insert"},
			"1 1 a, 1 2 b",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := withLines(t, tt.onConflict)
			db := pgtest.New(t, m.DDL()...)
			const two, one = `{"id":"o","version":1,"lines":[{"sku":"a"},{"sku":"b"}]}`, `{"id":"o","version":2,"lines":[{"sku":"c"}]}`
			for grant, finding := range tt.lacks {
				url := without(t, db, grant, tt.grants)
				want(t, look(t, m, url), finding)
				if _, err := deliver(t, m, url, two, one, two); err == nil {
					t.Errorf("without %s all is stored", grant)
				}
				db.Exec(t, "TRUNCATE orders, lines")
			}
			url := without(t, db, "", tt.grants)
			want(t, look(t, m, url))
			if _, err := deliver(t, m, url, two, one, two); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, row := range db.Rows(t, "SELECT concat_ws(' ', version, line, sku) FROM orders JOIN lines ON order_id = id ORDER BY line") {
				got = append(got, row...)
			}
			if s := strings.Join(got, ", "); s != tt.stored {
				t.Errorf("stored are %s, want %s", s, tt.stored)
			}
		})
	}
}

// TestNeedsOfAChildThatIsOnlyAKey: an update writes the key then.
func TestNeedsOfAChildThatIsOnlyAKey(t *testing.T) {
	t.Parallel()
	m := withLines(t, replaces)
	child := *m.Table.Children[0]
	child.Columns = child.Columns[:2]
	if n := check.NeedsOfChild(m.Table, &child); !slices.Equal(n.Update, []int{0, 1}) {
		t.Errorf("got %+v", n)
	}
}

func TestAnyRow(t *testing.T) {
	for detail, want := range map[string]string{
		"row 12 of lines":                            "a row of lines",
		"row 2 of lines: expected a string":          "a row of lines: expected a string",
		"row 3 of lines has the key of row 1":        "a row of lines has the key of another",
		"expected at most 10,000 rows":               "expected at most 10,000 rows",
		"expected one of row 1 of a and row 2 of it": "expected one of row 1 of a and row 2 of it",
	} {
		if got := check.AnyRow(detail); got != want {
			t.Errorf("%q: got %q, want %q", detail, got, want)
		}
	}
}
