package make_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSetModulePath checks that the script changes every file that git tracks, and takes only paths that
// Go can install a program named sluice from.
func TestSetModulePath(t *testing.T) {
	t.Parallel()
	c := newCheckout(t)
	now := strings.TrimPrefix(strings.SplitN(readFile(t, "go.mod"), "\n", 2)[0], "module ")
	c.write(t, ".ci/set-module-path", readFile(t, ".ci/set-module-path"))
	c.write(t, "cmd/sluice/main.go", `import "`+now+`/internal/app"`)
	c.write(t, "README.md", "go install "+now+"/cmd/sluice@latest")
	run := func(name string, arguments ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), name, arguments...)
		cmd.Dir = c.dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, arguments := range [][]string{{"init", "--quiet"}, {"add", "."}} {
		if out, err := run("git", arguments...); err != nil {
			t.Fatalf("git %v: %v: %s", arguments, err, out)
		}
	}
	for _, bad := range []string{"", "sluice", "localhost/acme/sluice", "github.com/acme/other", "github.com/acme/sluice/", "https://github.com/acme/sluice", "github.com/a|b/sluice"} {
		if out, err := run(".ci/set-module-path", bad); err == nil || !strings.HasPrefix(out, "usage: ") {
			t.Errorf("%q: %v: %s", bad, err, out)
		}
	}
	if out, err := run(".ci/set-module-path", "git.example.org/Acme/data/sluice"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for file, want := range map[string]string{
		"go.mod":             "module git.example.org/Acme/data/sluice\n",
		"cmd/sluice/main.go": `import "git.example.org/Acme/data/sluice/internal/app"`,
		"README.md":          "go install git.example.org/Acme/data/sluice/cmd/sluice@latest",
	} {
		got, err := os.ReadFile(filepath.Join(c.dir, file))
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("%s: %v: %.80s", file, err, got)
		}
	}
}
