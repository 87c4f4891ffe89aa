package main_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/internal/testing/testlog"
)

// terminal opens a pseudo-terminal of 120 columns, and collects what is
// written to it until the last who has it open closes it; sofar does not wait for that.
func terminal(t *testing.T) (tty *os.File, shown, sofar func() string) {
	t.Helper()
	return terminalOf(t, 120)
}

// terminalOf is terminal with other columns.
func terminalOf(t *testing.T, columns uint16) (tty *os.File, shown, sofar func() string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	var unlock, number int32
	size := [4]uint16{24, columns}
	ioctl := func(f *os.File, request uintptr, argument unsafe.Pointer) {
		t.Helper()
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(argument)); errno != 0 {
			t.Fatal(errno)
		}
	}
	ioctl(master, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock)) //nolint:gosec // the kernel's interface
	ioctl(master, syscall.TIOCGPTN, unsafe.Pointer(&number))   //nolint:gosec // the same
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	ioctl(tty, syscall.TIOCSWINSZ, unsafe.Pointer(&size)) //nolint:gosec // the same
	var log testlog.Log
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		buffer := make([]byte, 4096)
		for {
			n, err := master.Read(buffer)
			_, _ = log.Write(buffer[:n]) // it takes everything
			if err != nil {              // EIO: nobody has it open
				return
			}
		}
	}()
	return tty, func() string {
		_ = tty.Close() // ours; the command has ended
		<-ended
		return log.String()
	}, log.String
}

// TestProgressOnATerminal: the bar counts what there is, and is drawn only
// where it can be drawn over.
func TestProgressOnATerminal(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"xterm", "dumb"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := install(t, nil)
			s.put(5)
			tty, shown, _ := terminal(t)
			cmd := exec.CommandContext(t.Context(), "sluice", "consume")
			cmd.Env, cmd.Stderr = slices.Concat(s.environ, []string{"TERM=" + kind}), tty
			if err := cmd.Run(); err != nil {
				t.Errorf("%v: %s", err, shown())
			}
			text := shown()
			if kind == "dumb" {
				if strings.Contains(text, "5 stored") || strings.Contains(text, "█") || !strings.Contains(text, `"msg":"consuming"`) {
					t.Errorf("got %q", text)
				}
				return
			}
			for _, want := range []string{"0 of 5: 0 stored", "5 of 5: 5 stored, 0 rejected"} {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q: %q", want, text)
				}
			}
			if strings.Contains(text, "/6") || strings.Contains(text, "of 6") {
				t.Errorf("one too many: %q", text)
			}
		})
	}
}

// TestScreenOfConsume compares the last picture of the bar, and the summary, with docs/screens. How
// fast it was is a fixed number there, and so is the bar's length.
func TestScreenOfConsume(t *testing.T) {
	t.Parallel()
	rate, took, bar := regexp.MustCompile(`[\d,]+(/s| a second)`), regexp.MustCompile(` in \S+,`), regexp.MustCompile(`\|█* *\|`)
	for _, columns := range []int{80, 140} {
		s := install(t, nil)
		s.put(5)
		s.queue.Put(sqstest.Message{Body: "this is not JSON"}, sqstest.Message{Body: "neither is this"})
		tty, shown, _ := terminalOf(t, uint16(columns))
		cmd := exec.CommandContext(t.Context(), "sluice", "consume")
		cmd.Env, cmd.Stderr = slices.Concat(s.environ, []string{
			"TERM=xterm", "DEAD_LETTER_QUEUE_URL=" + s.dead.URL, "SLUICE_MASK=", "SLUICE_MASK_KEYS=k1:0123456789abcdef0123456789abcdef",
		}), tty
		stdout, err := cmd.Output()
		if err != nil {
			t.Errorf("%v: %s", err, shown())
		}
		var last string
		for picture := range strings.SplitSeq(shown(), "\r") {
			if strings.TrimSpace(picture) != "" {
				last = strings.TrimRight(picture, " ")
			}
		}
		last = rate.ReplaceAllString(last, "1,202$1")
		free := columns - 2 - len([]rune(bar.ReplaceAllString(last, "||")))
		last = bar.ReplaceAllString(last, "|"+strings.Repeat("█", free-1)+" |")
		text := took.ReplaceAllString(rate.ReplaceAllString(string(stdout), "1,202$1"), " in 2s,")
		compareScreen(t, "consume", columns, "$ sluice consume\n"+last+"\n"+text)
	}
}

// TestOutageOnATerminal: the bar says that there is one, and a line above it when it is over.
func TestOutageOnATerminal(t *testing.T) {
	t.Parallel()
	s := install(t, nil)
	s.put(5)
	proxy := pgtest.NewProxy(t, s.db.URL)
	proxy.Refuse(true)
	s.environ = append(s.environ, "TERM=xterm", "PG_URL="+proxy.URL)
	tty, shown, sofar := terminal(t)
	c := s.consumeOn(t, tty)
	c.until("it shows the outage", func() bool { return strings.Contains(sofar(), "the database is out of reach since ") })
	proxy.Refuse(false)
	c.exits(0)
	if text := shown(); s.rows(t) != 5 || !strings.Contains(text, "\rthe database is back after ") {
		t.Errorf("%d rows: %q", s.rows(t), text)
	}
}

// consumeOn starts the command with its standard error on a terminal.
func (s *installation) consumeOn(t *testing.T, tty *os.File, args ...string) *consuming {
	t.Helper()
	c := &consuming{t: t, done: make(chan struct{})}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "sluice", append([]string{"consume"}, args...)...)
	cmd.Stderr = tty
	c.start(s, cmd)
	return c
}

// TestOutputToATerminal is printed as to a terminal: the help is as wide.
func TestOutputToATerminal(t *testing.T) {
	t.Parallel()
	tty, shown, _ := terminal(t)
	cmd := exec.CommandContext(t.Context(), "sluice", "--help")
	cmd.Stdout = tty
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
	widest := 0
	for line := range strings.Lines(shown()) {
		widest = max(widest, len(strings.TrimRight(line, "\r\n")))
	}
	if widest <= 80 || widest > 120 {
		t.Errorf("the widest line has %d columns, of 120", widest)
	}
}

// TestInputOfATerminal: a command that waits for somebody to type says so.
func TestInputOfATerminal(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"explain"}, {"mask", "ip"}, {"infer", "-"}, {"invoke", "-e", "-"}} {
		tty, _, _ := terminal(t)
		cmd := exec.CommandContext(t.Context(), "sluice", args...)
		cmd.Env, cmd.Stdin = []string{"PATH=" + os.Getenv("PATH"), "SLUICE_MASK=sha256"}, tty
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(stderr).ReadString('\n')
		if line != "sluice: reading standard input; Ctrl-D ends it\n" || err != nil {
			t.Errorf("%v: got %q, %v", args, line, err)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = tty.Close()
	}
}

// TestOutputThatNobodyReads ends a command as it ends others: `sluice schema | head -1`.
func TestOutputThatNobodyReads(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // nobody reads
	cmd := exec.CommandContext(t.Context(), "sluice", "schema")
	cmd.Stdout = w
	_ = cmd.Run() // below
	_ = w.Close() // as above
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGPIPE {
		t.Errorf("it ended with %v, want SIGPIPE", cmd.ProcessState)
	}
}

// TestConsumeOnATerminal: what the bar says beside how much is done.
func TestConsumeOnATerminal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		args        []string
		put         func(*installation)
		then        func(*installation) // when it shows the first that it should
		want, never []string
	}{
		"rejected": {
			put: func(s *installation) {
				s.put(5)
				s.queue.Put(sqstest.Message{Body: consumeCanary}, sqstest.Message{Body: consumeCanary}, sqstest.Message{Body: `{"ip":"203.0.113.7"}`})
			},
			want: []string{"5 stored, 3 rejected (2 not_json, 1 missing), "}, never: []string{"message rejected"},
		},
		"held elsewhere": {
			put: func(s *installation) {
				s.put(1)
				held := s.queue.Messages()[0]
				s.queue.Clear()
				held.VisibleAt, held.Receives = time.Now().Add(time.Hour), 1
				s.queue.Put(held)
			},
			then: func(s *installation) {
				s.queue.Clear()
				s.put(1)
			},
			want: []string{"waiting: 1 in flight elsewhere, up to 30 s; 0 of 1: 0 stored", "1 of 1: 1 stored"},
		},
		"forever": {args: []string{"--forever"}, put: func(s *installation) { s.put(5) }, want: []string{"0 in the queue: 5 stored, 0 rejected, "}, never: []string{"%", "5 of "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, nil)
			s.environ = append(s.environ, "TERM=xterm", "COLUMNS=60", "DEAD_LETTER_QUEUE_URL="+s.dead.URL)
			tt.put(s)
			const columns = 90 // some of the texts are longer
			tty, shown, sofar := terminalOf(t, columns)
			c := s.consumeOn(t, tty, tt.args...)
			c.until("it shows "+tt.want[0], func() bool { return strings.Contains(sofar(), tt.want[0]) })
			if tt.then != nil {
				tt.then(s)
			}
			if tt.args != nil {
				c.signal(syscall.SIGHUP)
			}
			stdout, _ := c.exits(0)
			for line := range strings.Lines(stdout) {
				if len(line) > 61 {
					t.Errorf("a line of the summary is wider than 60 columns: %s", line)
				}
			}
			text := shown()
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("it lacks %q: %q", want, text)
				}
			}
			for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\r' || r == '\n' }) {
				if n := utf8.RuneCountInString(line); n > columns && !strings.HasPrefix(line, "time=") {
					t.Errorf("the bar takes %d of %d columns: %q", n, columns, line)
				}
			}
			for _, never := range tt.never {
				if strings.Contains(text, never) {
					t.Errorf("it has %q: %q", never, text)
				}
			}
		})
	}
}

// TestDemoThatNobodyReads leaves nothing behind: `sluice demo | head -3`.
func TestDemoThatNobodyReads(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it starts a server")
	}
	dir, err := os.MkdirTemp("", "sluice-demo-*") //nolint:usetesting // t.TempDir is closed to others, and the server's account is one
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // it is empty, or the test has failed
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close() // nobody reads
	cmd := exec.CommandContext(t.Context(), "sluice", "demo")
	cmd.Env, cmd.Stdout = append(os.Environ(), "TMPDIR="+dir), w
	err = cmd.Run()
	_ = w.Close() // the command has ended
	if cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
