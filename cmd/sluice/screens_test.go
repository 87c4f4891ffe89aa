package main_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// differs matches what no two machines print alike, and what the screens have instead.
var differs = []struct {
	found *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`Started .* for this demo`), "Started PostgreSQL 15.18 of this machine for this demo"},
	{regexp.MustCompile(`(the first connects\)) +\d+ +\d+`), "$1  52     2"},
	{regexp.MustCompile(`connected as \S+ to PostgreSQL [^)]*\)?`), "connected as postgres to PostgreSQL 15.18"},
}

// TestScreens compares what people see, at two widths of a terminal, with docs/screens.
// go test ./cmd/sluice -run Screens -update writes them.
func TestScreens(t *testing.T) {
	for name, screen := range map[string]func(*testing.T) (map[string]string, []string){
		"demo": func(*testing.T) (map[string]string, []string) { return nil, []string{"demo"} },
		"check": func(t *testing.T) (map[string]string, []string) {
			s := newAccountWith(t, pgtest.NewDatabase(t, ""))
			s.db.Exec(t, "ALTER TABLE user_logins ALTER COLUMN device_type TYPE varchar(4)")
			s.queue(map[string]string{"VisibilityTimeout": "30", "RedrivePolicy": `{"deadLetterTargetArn":"` + s.dead.ARN + `","maxReceiveCount":"5"}`})
			s.environ["SQS_URL"] = s.source.URL
			return s.environ, []string{"check"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			environ, args := screen(t)
			for _, columns := range []int{80, 140} {
				environ := maps.Clone(environ)
				if environ == nil {
					environ = map[string]string{}
				}
				environ["COLUMNS"] = strconv.Itoa(columns)
				_, stdout, stderr := run(t, environ, "", args...)
				compareScreen(t, name, columns, "$ sluice "+strings.Join(args, " ")+"\n"+stdout+stderr)
			}
		})
	}
}

// TestReadmeShowsTheScreen: what the README shows of the demo is a part of the screen.
func TestReadmeShowsTheScreen(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.ReadFile("../../docs/screens/demo-80.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(readme), "\n```\n") {
		if strings.HasPrefix(block, "What became of them") {
			if !strings.Contains(string(screen), block) {
				t.Errorf("docs/screens/demo-80.txt lacks what the README shows of it:\n%s", block)
			}
			return
		}
	}
	t.Error("the README shows nothing of the demo")
}

func compareScreen(t *testing.T, name string, columns int, got string) {
	t.Helper()
	for _, d := range differs {
		got = d.found.ReplaceAllString(got, d.shown)
	}
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	file := filepath.Join("..", "..", "docs", "screens", name+"-"+strconv.Itoa(columns)+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -update writes it anew:\n%s", file, diff)
	}
}
