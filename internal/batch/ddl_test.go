package batch_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
)

var dialect = batch.Dialect{
	Table:   batch.QuoteTable,
	Column:  func(c batch.Column) (sqlType, constraint string) { return c.Type, "" },
	Comment: func(_ *batch.Table, i int) string { return []string{"it's", `\d`, "", ""}[i] },
}

// indexes has two whose usual names are the same, and one whose name is too long.
func indexes(ledger string) *batch.Table {
	long := strings.Repeat("l", 60)
	return &batch.Table{
		Schema: "s", Name: "t", Key: []int{0}, Ledger: ledger,
		Columns: []batch.Column{{Name: "a", Type: "text", NotNull: true}, {Name: "b_c", Type: "text"}, {Name: "a_b", Type: "text"}, {Name: long, Type: "text"}},
		Indexes: [][]int{{0, 1}, {2, 0}, {3}, {0, 1, 2, 3}},
	}
}

func TestDDL(t *testing.T) {
	table := indexes("")
	table.Columns = append(table.Columns[:3:3], batch.Column{Name: "c", Type: "text"})
	table.Indexes = [][]int{{0, 1}, {2, 3}}
	want := `CREATE TABLE IF NOT EXISTS "s"."t" (
    "a"   text NOT NULL,
    "b_c" text,
    "a_b" text,
    "c"   text,
    PRIMARY KEY ("a")
);

CREATE INDEX IF NOT EXISTS "t_a_b_c_idx" ON "s"."t" ("a", "b_c");
CREATE INDEX IF NOT EXISTS "t_a_b_c_cc3bdea3_idx" ON "s"."t" ("a_b", "c");
COMMENT ON COLUMN "s"."t"."a" IS 'it''s';
COMMENT ON COLUMN "s"."t"."b_c" IS E'\\d';
COMMENT ON COLUMN "s"."t"."a_b" IS '';
COMMENT ON COLUMN "s"."t"."c" IS '';
`
	if diff := cmp.Diff(batch.Script(table.DDL(dialect)), want); diff != "" {
		t.Errorf("got(-) want(+):\n%s", diff)
	}
}

// TestDDLOfChildren wants a child after its parent, in its own schema, and a foreign key unless a ledger
// has the parent's key.
func TestDDLOfChildren(t *testing.T) {
	for ledger, want := range map[string]string{"": `CREATE TABLE IF NOT EXISTS "s"."orders" (
    "shop" text NOT NULL,
    "n"    bigint NOT NULL,
    PRIMARY KEY ("n", "shop")
);

CREATE INDEX IF NOT EXISTS "orders_shop_idx" ON "s"."orders" ("shop");

CREATE TABLE IF NOT EXISTS "more"."lines" (
    "line"  integer NOT NULL,
    "order" bigint NOT NULL,
    "shop"  text NOT NULL,
    PRIMARY KEY ("order", "shop", "line"),
    FOREIGN KEY ("order", "shop") REFERENCES "s"."orders" ("n", "shop")
);

CREATE INDEX IF NOT EXISTS "lines_line_idx" ON "more"."lines" ("line");
`, "keys": `CREATE TABLE IF NOT EXISTS "s"."orders" (
    "shop" text NOT NULL,
    "n"    bigint NOT NULL
);

CREATE INDEX IF NOT EXISTS "orders_shop_idx" ON "s"."orders" ("shop");

CREATE TABLE IF NOT EXISTS "s"."keys" (
    "key" bigint NOT NULL,
    PRIMARY KEY ("key")
);

CREATE TABLE IF NOT EXISTS "more"."lines" (
    "line"  integer NOT NULL,
    "order" bigint NOT NULL,
    "shop"  text NOT NULL,
    PRIMARY KEY ("order", "shop", "line")
);

CREATE INDEX IF NOT EXISTS "lines_line_idx" ON "more"."lines" ("line");
`} {
		lines := &batch.Table{Schema: "more", Name: "lines", Key: []int{1, 2, 0}, Parent: []int{1, 2}, Indexes: [][]int{{0}}, Columns: []batch.Column{
			{Name: "line", Type: "integer", NotNull: true}, {Name: "order", Type: "bigint", NotNull: true}, {Name: "shop", Type: "text", NotNull: true},
		}}
		orders := &batch.Table{Schema: "s", Name: "orders", Key: []int{1, 0}, Indexes: [][]int{{0}}, Ledger: ledger, Children: []*batch.Table{lines}, Columns: []batch.Column{
			{Name: "shop", Type: "text", NotNull: true}, {Name: "n", Type: "bigint", NotNull: true},
		}}
		if ledger != "" {
			orders.Columns = append(orders.Columns, batch.Column{Name: "key", Type: "bigint", NotNull: true, Ledger: true})
			orders.Key = []int{2}
		}
		d := dialect
		d.Comment = nil
		if diff := cmp.Diff(batch.Script(orders.DDL(d)), want); diff != "" {
			t.Errorf("got(-) want(+):\n%s", diff)
		}
	}
}

// TestIndexNames wants names that no server cuts off, and one for each index.
func TestIndexNames(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range indexes("").DDL(dialect) {
		name, ok := strings.CutPrefix(s, `CREATE INDEX IF NOT EXISTS "`)
		if !ok {
			continue
		}
		name, _, _ = strings.Cut(name, `"`)
		if len(name) > 63 || seen[name] || !strings.HasSuffix(name, "_idx") || !batch.OfNewTable(s) {
			t.Errorf("the index %q has %d bytes", name, len(name))
		}
		seen[name] = true
	}
	if len(seen) != 4 {
		t.Errorf("got %v", seen)
	}
}
