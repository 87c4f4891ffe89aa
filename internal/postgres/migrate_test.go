package postgres_test

import (
	"strings"
	"testing"

	"sluice/internal/batch"
	"sluice/internal/fault"
	"sluice/internal/message"
	"sluice/internal/testing/pgtest"
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
	if migrated != nil || inserted != nil || result.Inserted != 3 {
		t.Errorf("with the schema: migrate %v; %d of 3 rows, %v", migrated, result.Inserted, inserted)
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
