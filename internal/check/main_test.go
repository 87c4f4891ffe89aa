package check_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
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
