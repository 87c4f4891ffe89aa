package check_test

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func load(t *testing.T, name string) *model.Model {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// parse reads the text of a model.
func parse(t *testing.T, text string) *model.Model {
	t.Helper()
	m, err := model.Parse("model.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// open opens a store for a model.
func open(t *testing.T, m *model.Model, databaseURL string) *postgres.Store {
	t.Helper()
	store, err := postgres.Open(databaseURL, []*batch.Table{m.Table})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	return store
}

// deliver gives messages to the real store, one by one, and returns what became of them. It ends at the
// first error.
func deliver(t *testing.T, m *model.Model, databaseURL string, bodies ...string) (counts message.Counts, err error) {
	t.Helper()
	store := open(t, m, databaseURL)
	defer store.Close()
	p := ingest.New(m.Set(), store, ingest.Static(mask.Unkeyed()), slog.New(slog.DiscardHandler))
	for i, body := range bodies {
		r := p.Run(t.Context(), []message.Message{{
			ID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), HasBody: true, HasSent: true, SentMillis: 1767225600000, ReceiveCount: 1, Body: []byte(body),
		}})
		counts.Add(r.Verdicts, r.Tallies.Sum())
		if r.Err != nil {
			return counts, r.Err
		}
	}
	return counts, nil
}

// without returns the URL of a role that has all of the grants but one.
func without(t *testing.T, db *pgtest.DB, grant string, grants []string) string {
	t.Helper()
	return db.Role(t, func(role string) (all []string) {
		for _, g := range grants {
			if g != grant {
				all = append(all, "GRANT "+g+" TO "+role)
			}
		}
		return all
	}).URL
}

// table makes the table of a model, and what is different about it.
func table(t *testing.T, name, different string) (*model.Model, *pgtest.DB) {
	t.Helper()
	m := load(t, name)
	return m, pgtest.New(t, append(m.DDL(), different)...)
}

// says holds that the findings have a text.
func says(t *testing.T, f check.Findings, text string) {
	t.Helper()
	if all := fmt.Sprintf("%+v", f); !strings.Contains(all, text) {
		t.Errorf("the findings do not say %q: %s", text, all)
	}
}

// rules lists the findings that are not OK, as "severity rule", but for the one that every server
// gives whose log is as it comes: TestTheServersLog has that.
func rules(f check.Findings) (all []string) {
	for i := range f {
		if f[i].Severity != check.OK && f[i].Rule != "log_refused_rows" {
			all = append(all, string(f[i].Severity)+" "+f[i].Rule)
		}
	}
	return all
}

// want holds that the findings which are not OK are exactly these, and that
// each but what was skipped has a remedy.
func want(t *testing.T, f check.Findings, expected ...string) {
	t.Helper()
	if got, want := strings.Join(rules(f), ", "), strings.Join(expected, ", "); got != want {
		t.Errorf("got  %s\nwant %s\n%+v", got, want, f)
	}
	for i := range f {
		if f[i].Remedy == "" && (f[i].Severity == check.Error || f[i].Severity == check.Warning) {
			t.Errorf("no remedy: %+v", f[i])
		}
	}
}
