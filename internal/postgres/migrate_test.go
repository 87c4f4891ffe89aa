package postgres_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestTheSchemaIsMissing wants migrate, and an insert before it, to name the SQL that creates the
// schema; after it both work. A name with upper case needs quotes.
func TestTheSchemaIsMissing(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "")
	table := *events
	table.Schema = `Billing"EU`
	create := []string{"CREATE TABLE IF NOT EXISTS " + batch.QuoteTable(table.Schema, table.Name) + " (id bigint PRIMARY KEY, word text, n integer)"}
	store := openStore(t, db.URL, &table)
	const remedy = `CREATE SCHEMA IF NOT EXISTS "Billing""EU"`
	_, migrated := store.Migrate(t.Context(), create)
	_, inserted := store.Insert(t.Context(), batchOf(goods(1, 3)))
	for doing, err := range map[string]error{"migrate": migrated, "insert": inserted} {
		f := fault.Of(err)
		if f == nil || f.Cause != message.CauseConfiguration || !strings.Contains(f.Remedy, `the schema "Billing""EU" must exist: `+remedy) {
			t.Errorf("%s: got %v, want the SQL that creates the schema", doing, err)
		}
	}
	if strings.Contains(migrated.Error(), "sluice migrate") {
		t.Errorf("migrate advises itself: %v", migrated)
	}
	db.Exec(t, remedy)
	_, migrated = store.Migrate(t.Context(), create)
	result, inserted := store.Insert(t.Context(), batchOf(goods(1, 3)))
	if migrated != nil || inserted != nil || result.Tallies.Sum().Inserted != 3 {
		t.Errorf("with the schema: migrate %v; %d of 3 rows, %v", migrated, result.Tallies.Sum().Inserted, inserted)
	}
}

// TestNoSchemaToCreateIn has a search_path that names no schema that exists.
func TestNoSchemaToCreateIn(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	_, err := openStore(t, db.URL+"&search_path=nowhere", events).Migrate(t.Context(), []string{"CREATE TABLE IF NOT EXISTS \"events\" (id bigint)"})
	if f := fault.Of(err); f == nil || f.Cause != message.CauseConfiguration || f.Code != "3F000" {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"no schema in the role's search_path exists", "CREATE SCHEMA public", "table: public.events"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

// TestMigrateNeedsGrants has a role that may not create tables.
func TestMigrateNeedsGrants(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	role := db.Role(t, nil)
	table := *events
	table.Schema = db.Schema
	_, err := openStore(t, role.URL, &table).Migrate(t.Context(), []string{"CREATE TABLE IF NOT EXISTS " + batch.QuoteTable(table.Schema, table.Name) + " (id bigint)"})
	if err == nil || !strings.Contains(err.Error(), "42501") || !strings.Contains(err.Error(), "grant the role CREATE and USAGE on the schema "+batch.Quote(db.Schema)+",") {
		t.Errorf("got %v", err)
	}
}

// TestMigrateAltersNothing wants indexes and comments for a table that it creates, and none for one
// that exists.
func TestMigrateAltersNothing(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	create := []string{
		`CREATE TABLE IF NOT EXISTS "old" ("a" int)`, `CREATE INDEX IF NOT EXISTS "old_a_idx" ON "old" ("a")`, `COMMENT ON COLUMN "old"."a" IS 'rule'`,
		`CREATE TABLE IF NOT EXISTS "new" ("a" int)`, `CREATE INDEX IF NOT EXISTS "new_a_idx" ON "new" ("a")`, `COMMENT ON COLUMN "new"."a" IS 'rule'`,
	}
	db.Exec(t, create[0])
	store := openStore(t, db.URL, events)
	const facts = `SELECT relname || coalesce(' ' || (SELECT string_agg(indexrelid::regclass::text, ',') FROM pg_index WHERE indrelid = c.oid), '') || coalesce(' ' || col_description(c.oid, 1), '')
		FROM pg_class c WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' ORDER BY relname`
	for _, want := range []bool{true, false} { // the second time nothing is left to do
		tables, err := store.Migrate(t.Context(), create)
		if err != nil || len(tables) != 2 || tables[0].Created || tables[1].Created != want {
			t.Errorf("got %+v, %v", tables, err)
		}
		if diff := cmp.Diff(db.Rows(t, facts), [][]string{{"new new_a_idx rule"}, {"old"}}); diff != "" {
			t.Error(diff)
		}
	}
	db.Exec(t, `DROP TABLE "new"`)
	db.Exec(t, `CREATE SEQUENCE new_a_idx`)
	_, err := store.Migrate(t.Context(), create)
	if f := fault.Of(err); f == nil || f.Cause != message.CauseConfiguration || !strings.Contains(f.What, `index "new_a_idx" is taken`) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(db.Rows(t, facts), [][]string{{"old"}}); diff != "" {
		t.Errorf("after an error: %s", diff)
	}
}

// TestMigrateLacksAnExtension has a type of an extension that nobody has created.
func TestMigrateLacksAnExtension(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDatabase(t, "")
	table := *events
	table.Columns = append([]batch.Column{{Name: "tag", Kind: batch.Text, Type: "citext"}}, table.Columns...)
	_, err := openStore(t, db.URL, &table).Migrate(t.Context(), []string{`CREATE TABLE IF NOT EXISTS "events" ("tag" citext)`})
	if f := fault.Of(err); f == nil || f.Code != "42704" || !strings.Contains(f.Remedy, "CREATE EXTENSION citext") {
		t.Errorf("got %v", err)
	}
}
