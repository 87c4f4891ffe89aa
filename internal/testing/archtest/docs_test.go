package archtest_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// repository has the repository's files.
var repository = os.DirFS("../../..")

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := fs.ReadFile(repository, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestArchitectureNamesEveryPackage: the map has all rooms, each once, and no other.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	text := read(t, "ARCHITECTURE.md")
	out, err := exec.CommandContext(t.Context(), "go", "list", "-tags", "awslocal localstack", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for imported := range strings.FieldsSeq(string(out)) {
		if name := strings.TrimPrefix(imported, module+"/"); !strings.Contains(text, "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md does not name %s", name)
		}
	}
	_, packages, _ := strings.Cut(text, "\n## Packages\n")
	packages, _, _ = strings.Cut(packages, "\n## ")
	rows := map[string]int{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(packages, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			if _, err := fs.Stat(repository, strings.Trim(name, "`")); err != nil {
				t.Errorf("ARCHITECTURE.md has %s, which does not exist", name)
			}
			if rows[name]++; rows[name] == 2 {
				t.Errorf("ARCHITECTURE.md has two rows for %s", name)
			}
		}
	}
}

var (
	codeBlock = regexp.MustCompile("(?s)(?:\n|^) *```.*?\n *```")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(document string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(document, ""), -1) {
		all = append(all, strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return all
}

// TestLinks: every link from one of the repository's documents to a file, a folder or a heading
// resolves.
func TestLinks(t *testing.T) {
	t.Parallel()
	documents, links := 0, 0
	err := fs.WalkDir(repository, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || len(name) > 1 && entry.Name()[0] == '.'):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		documents++
		text := read(t, name)
		prose := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(text, ""), "")
		for _, found := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			links++
			if problem := unresolved(name, text, found[1]); problem != "" {
				t.Errorf("%s: %s: %s", name, found[1], problem)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if documents < 15 || links < 50 {
		t.Errorf("only %d links in %d documents were found", links, documents)
	}
}

// unresolved returns what is wrong with a link of a document, "" if nothing is.
func unresolved(document, text, to string) string {
	file, anchor, _ := strings.Cut(to, "#")
	if file != "" {
		target := path.Join(path.Dir(document), file)
		if _, err := fs.Stat(repository, target); err != nil {
			return "there is no such file"
		}
		if anchor == "" {
			return ""
		}
		other, err := fs.ReadFile(repository, target)
		if err != nil {
			return err.Error()
		}
		text = string(other)
	}
	if !slices.Contains(anchors(text), anchor) {
		return "there is no such heading"
	}
	return ""
}

// TestCausesAreExplained: operate.md explains each cause that the page of metrics shows. That page is
// compared with the code.
func TestCausesAreExplained(t *testing.T) {
	t.Parallel()
	manual := read(t, "docs/operate.md")
	causes := regexp.MustCompile(`outcome="returned",reason="(\w+)"\} `).FindAllStringSubmatch(read(t, "docs/metrics.md"), -1)
	if len(causes) == 0 {
		t.Fatal("docs/metrics.md shows no cause")
	}
	for _, cause := range causes {
		if !strings.Contains(manual, "\n| `"+cause[1]+"` | ") {
			t.Errorf("docs/operate.md does not explain the cause %s", cause[1])
		}
	}
}

// TestCommandsAreDocumented: the first table of docs/commands.md has a row for each command of the
// command line, and no other.
func TestCommandsAreDocumented(t *testing.T) {
	t.Parallel()
	var want, got []string
	for _, command := range regexp.MustCompile("(?m)^\t(\\w+) +[\\w.]+ +`cmd:\"\"").FindAllStringSubmatch(read(t, "cmd/sluice/main.go"), -1) {
		want = append(want, strings.ToLower(command[1]))
	}
	page, _, _ := strings.Cut(read(t, "docs/commands.md"), "\n## ")
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(page, -1) {
		got = append(got, strings.Split(strings.ReplaceAll(row[1], "`", ""), ", ")...)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("docs/commands.md has %q, the command line %q", got, want)
	}
}
