package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/runtimeapi"
	"example.com/owner/sluice/internal/testing/testlog"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestMigrate runs the function as Lambda does.
func TestMigrate(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the function: not with -short")
	}
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "example.com/owner/sluice/functions/migrate", binary); err != nil {
		t.Fatal(err)
	}
	db := pgtest.NewDatabase(t, "")
	model := filepath.Join(t.TempDir(), "bills.yaml")
	if err := os.WriteFile(model, []byte("model: bills\ntable: billing.bills\nkey: [id]\nfields:\n  id: {type: text, required: true}\ncolumns:\n  id: {type: varchar(40), from: id}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	several := t.TempDir()
	for name, text := range map[string]string{
		"1-tests.yaml": "model: tests\nwhen: {path: $.Event, one_of: [\"s3:TestEvent\"]}\nignore: true\n",
		"2-bills.yaml": "model: bills\ntable: bills\nkey: [id]\nwhen: {path: $.type, one_of: [bill]}\nfields: {id: {type: text, required: true}}\ncolumns: {id: {type: text, from: id}}\n",
		"3-rest.yaml":  "model: rest\ntable: rest\nledger: sluice_ledger\nfields: {id: {type: text}}\ncolumns: {id: {type: text, from: id}}\n",
	} {
		if err := os.WriteFile(filepath.Join(several, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url := "DATABASE_URL=" + db.URL
	for _, tt := range []struct {
		name   string
		env    []string
		failed bool
		want   string
	}{
		{"nothing is set", nil, true, `"errorMessage":"configuration: DATABASE_URL is not set`},
		{"a misspelt variable", []string{url, "SLUICE_MDOEL=orders"}, true, `"errorMessage":"configuration: unknown variable SLUICE_MDOEL; did you mean SLUICE_MODEL?"`},
		{"a key with a quote", []string{url, `SLUICE_MASK_KEYS=k1:"canary-secret-canary-secret-canary"`}, true, "SLUICE_MASK_KEYS: key k1 begins with a quote"},
		{"no schema", []string{url, "SLUICE_MODEL=" + model}, true, `CREATE SCHEMA IF NOT EXISTS \"billing\"`},
		{"several models", []string{url, "SLUICE_MODEL=" + several}, false, `{"models":["tests","bills","rest"],"tables":[{"name":"public.bills","created":true},{"name":"public.rest","created":true},{"name":"public.sluice_ledger","created":true}]}`},
		{"no key is needed", []string{url}, false, `"tables":[{"name":"public.user_logins","created":true}]`},
	} {
		var log testlog.Log
		f, err := runtimeapi.Start(t.Context(), binary, tt.env, time.Minute, &log)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Kill)
		a, err := f.Invoke([]byte(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		if body := string(a.Body); a.Failed != tt.failed || strings.Count(body, tt.want) != 1 || strings.Contains(body+log.String(), "canary") {
			t.Errorf("%s: failed %v, %s, want %s", tt.name, a.Failed, body, tt.want)
		}
	}
}
