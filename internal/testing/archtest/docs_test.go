package archtest_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's, from here.
const root = "../../.."

// TestArchitectureNamesEveryPackage: the map has all rooms.
func TestArchitectureNamesEveryPackage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-tags", "awslocal localstack", module+"/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if name := strings.TrimPrefix(path, module+"/"); !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("ARCHITECTURE.md does not name %s", name)
		}
	}
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan  = regexp.MustCompile("`[^`\n]*`")
	link      = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading   = regexp.MustCompile(`(?m)^#+ (.+)$`)
	noAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the anchors of a document's headings, as GitHub makes them.
func anchors(document string) (all []string) {
	for _, h := range heading.FindAllStringSubmatch(codeBlock.ReplaceAllString(document, ""), -1) {
		all = append(all, strings.ReplaceAll(noAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-"))
	}
	return all
}

// TestLinks: every link from one of the repository's documents to a file, a
// folder or a heading resolves.
func TestLinks(t *testing.T) {
	t.Parallel()
	documents, links := 0, 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (name == "testdata" || len(name) > 2 && name[0] == '.'):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		documents++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		prose := codeSpan.ReplaceAllString(codeBlock.ReplaceAllString(string(text), ""), "")
		for _, found := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(found[1], "://") {
				continue
			}
			links++
			if problem := unresolved(path, string(text), found[1]); problem != "" {
				t.Errorf("%s: %s: %s", path, found[1], problem)
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

// unresolved says what is wrong with a link of a document, if anything is.
func unresolved(document, text, to string) string {
	file, anchor, _ := strings.Cut(to, "#")
	target := filepath.Join(filepath.Dir(document), file)
	if file == "" {
		target = document
	} else if _, err := os.Stat(target); err != nil {
		return "there is no such file"
	}
	if anchor == "" {
		return ""
	}
	if file != "" {
		other, err := os.ReadFile(target)
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

// TestCausesAreExplained: operate.md explains each cause that the page of
// metrics, which is compared with the code, shows.
func TestCausesAreExplained(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(root, "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile(filepath.Join(root, "docs", "operate.md"))
	if err != nil {
		t.Fatal(err)
	}
	causes := regexp.MustCompile(`outcome="returned",reason="(\w+)"\} `).FindAllStringSubmatch(string(page), -1)
	if len(causes) == 0 {
		t.Fatal("docs/metrics.md shows no cause")
	}
	for _, cause := range causes {
		if !strings.Contains(string(manual), "\n| `"+cause[1]+"` | ") {
			t.Errorf("docs/operate.md does not explain the cause %s", cause[1])
		}
	}
}
