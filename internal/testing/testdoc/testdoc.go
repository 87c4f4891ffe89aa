// Package testdoc compares tables in docs/ with what a test knows, so that the docs show what the
// tests check.
package testdoc

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of this package's tests into docs/")

// Section compares what a file has between <!-- name --> and <!-- end of name --> with want. With
// -update it writes it.
func Section(t testing.TB, file, name, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
	before, rest, found := strings.Cut(string(text), begin)
	has, after, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Fatalf("%s has no place for the table: %s … %s", file, begin, end)
	case has == want:
	case *update:
		if err := os.WriteFile(file, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s has another table; `go test -run Documentation -update` in this package writes it:\n%s", file, want)
	}
}
