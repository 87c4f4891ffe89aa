package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	command "example.com/owner/sluice/cmd/sluice"
)

// TestArgumentsAreNotQuoted gives every command, in every place of an argument, what must not show:
// a URL with a password, a body, and an address. The name of a file does show.
func TestArgumentsAreNotQuoted(t *testing.T) {
	t.Parallel()
	environ := map[string]string{"SLUICE_MASK": "sha256", "DATABASE_URL": "sqlite:" + filepath.Join(t.TempDir(), "x.db")}
	for _, secret := range []string{"https://user:canary-password@127.0.0.1:1/000000000000/logins", `{"ip":"canary"}`, "ann.canary@example.com", "canary, did you mean \"canary\"?", "canary but got canary"} {
		lines := [][]string{{secret}, {"--" + secret}, {"-" + secret}, {"--help=" + secret}, {"--" + secret + "=1"}, {"help", secret}, {"help", "send", secret}, {"completion", secret}}
		for _, c := range command.Grammar() {
			line := append([]string{c.Name}, slices.Repeat([]string{"-"}, c.Positional)...)
			lines = append(lines, append(line, secret), append(line, "--"+secret), append(line, "-"+secret), append(line, "--json="+secret))
			if c.Positional > 0 && (!c.File || secret != "ann.canary@example.com" && !strings.HasPrefix(secret, "canary")) {
				lines = append(lines, append(slices.Clone(line[:len(line)-1]), secret))
			}
			for _, f := range c.Flags {
				if f.Name == "name" { // the draft has it
					continue
				}
				if !f.File || strings.Contains(secret, "://") {
					lines = append(lines, append(line, "--"+f.Name+"="+secret), append(line, "--"+f.Name, secret), append(line, "--"+f.Name+"=a,"+secret))
				}
			}
		}
		for _, line := range lines {
			if line[0] == "demo" && len(line) == 1 {
				continue
			}
			code, stdout, stderr := run(t, environ, `{"user_id":"u"}`, line...)
			if strings.Contains(stdout+stderr, "canary") {
				t.Errorf("sluice %q: a value shows: %s%s", line, stdout, stderr)
			}
			if code == 2 && !strings.Contains(stderr, " --help` shows how\n") {
				t.Errorf("sluice %q: it names no help: %s", line, stderr)
			}
		}
	}
}

// TestJSONIsDocumented: docs/commands.md has the members of the JSON of every command, and no others,
// and which commands have no --json.
func TestJSONIsDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## JSON\n")
	section, _, _ = strings.Cut(section, "\n## ")
	word := regexp.MustCompile("`([a-zA-Z_]+)`")
	names := func(text string) (all []string) {
		for _, found := range word.FindAllStringSubmatch(text, -1) {
			all = append(all, found[1])
		}
		slices.Sort(all)
		return slices.Compact(all)
	}
	documented := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		documented[row[1]] = true
		want := command.JSONMembers(row[1])
		if got := names(row[2]); !slices.Equal(got, want) {
			t.Errorf("docs/commands.md has of %s\n%q, the code\n%q", row[1], got, want)
		}
	}
	_, none, _ := strings.Cut(section, "\n\n`demo`")
	without := append(names(none), "demo")
	for _, c := range command.Grammar() {
		takes := slices.ContainsFunc(c.Flags, func(f command.FlagGrammar) bool { return f.Name == "json" })
		if takes != documented[c.Name] && c.Name != "invoke" || !takes && c.Name != "invoke" && !slices.Contains(without, c.Name) {
			t.Errorf("%s: it takes --json: %v; documented: %v, and without: %q", c.Name, takes, documented[c.Name], without)
		}
	}
}
