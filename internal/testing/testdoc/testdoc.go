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
	before, has, after := cut(t, file, name)
	switch {
	case has == want:
	case *update:
		write(t, file, before+want+after)
	default:
		t.Errorf("%s has another table; `go test -run Documentation -update` in this package writes it:\n%s", file, want)
	}
}

// Write writes what a file has between these comments.
func Write(t testing.TB, file, name, text string) {
	t.Helper()
	before, _, after := cut(t, file, name)
	write(t, file, before+text+after)
}

// cut returns what a file has before, between and after the comments, which belong to the outer two.
func cut(t testing.TB, file, name string) (before, between, after string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
	before, rest, found := strings.Cut(string(text), begin)
	between, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table: %s … %s", file, begin, end)
	}
	return before + begin, between, end + after
}

func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
