package check_test

import (
	"strings"
	"testing"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestStatementTimeout: the time is for each statement, and a large batch is several.
func TestStatementTimeout(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	for _, tt := range []struct {
		timeout string
		want    []string
		says    string
	}{
		{"0", nil, ""},
		{"30s", nil, "after 30 seconds; a batch of 10000 messages is 10 statements, and has 5 minutes"},
		{"1s", nil, "after 1 second"},
		{"999ms", []string{"warning statement_timeout"}, "statement_timeout is 0.999 seconds"},
	} {
		f := look(t, m, setParameter(t, db.URL, "statement_timeout", tt.timeout))
		want(t, f, tt.want...)
		said := ""
		for _, one := range f {
			if one.Rule == "statement_timeout" {
				said += one.What
			}
		}
		if tt.says == "" && said != "" || !strings.Contains(said, tt.says) {
			t.Errorf("%s: got %q, want %q", tt.timeout, said, tt.says)
		}
	}
}
