//go:build unix

package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/owner/sluice/test/services"
)

// TestStopUnsetsWhatStartExports lets a shell do both, and looks at what it still has.
func TestStopUnsetsWhatStartExports(t *testing.T) {
	t.Chdir(t.TempDir()) // nothing runs here
	var unset, said bytes.Buffer
	if code := main.Run(t.Context(), []string{"stop"}, "", &unset, &said); code != 0 {
		t.Fatalf("stop ends with %d: %s", code, said.String())
	}
	if got := said.String(); !strings.Contains(got, "nothing runs") || strings.Contains(got, "this line") { // eval takes the line, so nobody sees it
		t.Errorf("stop says\n%s", got)
	}
	seen, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()
	said.Reset()
	if main.Run(t.Context(), []string{"stop"}, "", seen, &said); !strings.Contains(said.String(), `eval "$(make -s stop)"`) {
		t.Errorf("stop says on a terminal\n%s", said.String())
	}
	exports := main.Exports("http://127.0.0.1:4566/it's", "postgres://u:p'w@h/d")
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", exports+`[ "$PG_URL" = "postgres://u:p'w@h/d" ] || exit 3`+"\n"+unset.String()+"export -p")
	cmd.Env = []string{"KEPT=yes"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var left []string
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "export "), "=")
		if name = strings.TrimSpace(name); name != "PWD" && name != "OLDPWD" && name != "SHLVL" && name != "_" {
			left = append(left, name)
		}
	}
	if strings.Join(left, " ") != "KEPT" || strings.Count(exports, "export ") < 8 {
		t.Errorf("after start and stop the shell has %q; start printed\n%s", left, exports)
	}
}
