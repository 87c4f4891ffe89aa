package storetest_test

import (
	"fmt"
	"os"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/storetest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestPostgres(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		db := pgtest.NewDatabase(t, "", "CREATE EXTENSION citext")
		return storetest.Harness{
			Open: func(t testing.TB, tables ...*batch.Table) storetest.Store {
				t.Helper()
				s, err := postgres.Open(db.URL, tables, postgres.WithNames(fault.Names{URL: "DATABASE_URL", Migrate: "sluice migrate", Schema: "sluice schema", Check: "sluice check"}))
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(s.Close)
				return s
			},
			DDL: func(t *batch.Table) []string {
				column := func(c batch.Column) (sqlType, constraint string) { return c.Type, "" }
				return t.DDL(batch.Dialect{Table: batch.QuoteTable, Column: column})
			},
			Exec:     func(t testing.TB, sql string) { t.Helper(); db.Exec(t, sql) },
			Rows:     func(t testing.TB, query string) [][]string { t.Helper(); return db.Rows(t, query) },
			Elements: "SELECT unnest(v)::text FROM t",
			Discard: func(event, table, condition string) string {
				return trigger(event, table, condition, "RETURN NULL")
			},
			Raise: func(event, table, condition string) string {
				return trigger(event, table, condition, "RAISE EXCEPTION 'not %', NEW.user_id USING DETAIL = NEW.user_id")
			},
		}
	})
}

func trigger(event, table, condition, then string) string {
	return fmt.Sprintf(`CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF %s THEN %s; END IF; RETURN NEW; END $$;
		CREATE TRIGGER refuse BEFORE %s ON %s FOR EACH ROW EXECUTE FUNCTION refuse()`, condition, then, event, table)
}
