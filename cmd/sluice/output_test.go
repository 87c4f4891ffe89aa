package main_test

import (
	"bytes"
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	command "example.com/owner/sluice/cmd/sluice"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// fullDisk takes some bytes, and no more.
type fullDisk struct{ room int }

// Write implements io.Writer.
func (d *fullDisk) Write(text []byte) (int, error) {
	n := min(len(text), d.room)
	d.room -= n
	if n < len(text) {
		return n, &fs.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}
	}
	return n, nil
}

// TestLostOutput: no command, however it prints, succeeds when its output
// cannot be written, and each reports it once.
func TestLostOutput(t *testing.T) {
	_, _, source, environ := deadLetters(t)
	source.Put(sqstest.Message{Body: `{"user_id":"u-1"}`})
	environ["DATABASE_URL"] = "sqlite:" + filepath.Join(t.TempDir(), "logins.db")
	event, body := "../../events/batch.json", `{"user_id":"u-1","ip":"203.0.113.7"}`
	tried := map[string]bool{}
	for i, c := range []struct {
		stdin string
		args  []string
	}{
		{"", nil},
		{"", []string{"--help"}},
		{"", []string{"send", "--help"}},
		{"", []string{"version"}},
		{"", []string{"version", "--json"}},
		{"", []string{"--version"}},
		{"", []string{"help"}},
		{"", []string{"help", "send"}},
		{"", []string{"completion", "bash"}},
		{"", []string{"schema"}},
		{"", []string{"schema", "--json"}},
		{"", []string{"migrate"}},
		{"", []string{"migrate", "--json"}},
		{"", []string{"health", "--json", "--metrics-addr", "127.0.0.1:1"}},
		{body, []string{"infer", "-"}},
		{body, []string{"explain"}},
		{body, []string{"explain", "--json"}},
		{`{"ip":"x"}`, []string{"explain", "--json"}}, // rejected, and nothing on standard error says so
		{"203.0.113.7", []string{"mask", "ip"}},
		{"203.0.113.7", []string{"mask", "ip", "--json"}},
		{"", []string{"invoke", "-e", event}},
		{"{}\n", []string{"send", "-"}},
		{"{}\n", []string{"send", "-", "--json"}},
		{"\x01\n", []string{"send", "-", "--json"}},
		{"", []string{"peek"}},
		{"", []string{"peek", "--json"}},
		{"", []string{"redrive", "--dry-run"}},
		{"", []string{"redrive", "--json"}},
		{"", []string{"check"}},
		{"", []string{"check", "--json"}},
		{"", []string{"consume"}},
		{"", []string{"consume", "--json"}},
	} {
		tried[strings.Join(c.args[:min(1, len(c.args))], "")] = true
		t.Run(strings.Join(append([]string{"sluice"}, c.args...), " "), func(t *testing.T) {
			var stderr bytes.Buffer
			disk := &fullDisk{room: i % 2 * 10}
			code := command.Run(context.WithoutCancel(t.Context()), c.args, environ, strings.NewReader(c.stdin), disk, &stderr)
			if code != 1 || strings.Count(stderr.String(), "sluice: write the output: no space left on device\n") != 1 {
				t.Errorf("got the exit code %d, and %s", code, stderr.String())
			}
		})
	}
	for _, name := range command.Commands() {
		if name != "demo" && name != "health" && !tried[name] {
			t.Errorf("%s is not tried", name)
		}
	}
}
