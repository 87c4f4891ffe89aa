package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"example.com/owner/sluice/internal/testing/sqstest"
)

// endless repeats a text forever.
type endless string

// Read implements io.Reader.
func (e endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// arrive waits until a queue has so many messages.
func arrive(t *testing.T, q *sqstest.Queue, n int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); len(q.Messages()) < n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d messages arrived, want %d", len(q.Messages()), n)
		}
	}
}

// TestSendFollows an input that pauses: what has come is sent, in its order.
func TestSendFollows(t *testing.T) {
	fakeSQS := useSQS(t)
	q := fakeSQS.Queue("logins.fifo", nil)
	in, feed := io.Pipe()
	r := start(t, map[string]string{"SQS_URL": q.URL}, in, "send", "-", "--group", "g")
	lines := strings.SplitAfter(strings.TrimSpace(bodyLines(7)), "\n")
	for i, part := range []string{lines[0] + lines[1], lines[2] + lines[3][:5], lines[3][5:] + lines[4], lines[5]} {
		if _, err := io.WriteString(feed, part); err != nil {
			t.Fatal(err)
		}
		arrive(t, q, []int{2, 3, 5, 6}[i])
	}
	feed.Close()
	if code := <-r.code; code != 0 || r.stderr.String() != "" || !strings.HasPrefix(r.stdout.String(), "6 of 6 lines") {
		t.Errorf("got %d, %s%s", code, r.stdout.String(), r.stderr.String())
	}
	for i, m := range q.Messages() {
		if m.Body != strings.TrimSpace(lines[i]) {
			t.Errorf("message %d is %s", i, m.Body)
		}
	}
}

// TestSendDecidesEarly: a first line that is cut off may begin a document of several lines, and an
// input that is followed is sent as soon as it is none.
func TestSendDecidesEarly(t *testing.T) {
	q := useSQS(t).Queue("logins", nil)
	in, feed := io.Pipe()
	r := start(t, map[string]string{"SQS_URL": q.URL}, in, "send", "-")
	if _, err := io.WriteString(feed, "{\"canary\n{\"n\":1}\n{\"n\":2}\n\n"); err != nil {
		t.Fatal(err)
	}
	arrive(t, q, 2)
	feed.Close()
	if code := <-r.code; code != 1 || !strings.Contains(r.stderr.String(), "line 1 is not JSON: at byte 8, it ends too early\n") || !strings.HasPrefix(r.stdout.String(), "2 of 4 lines sent") {
		t.Errorf("got %d, %s%s", code, r.stdout.String(), r.stderr.String())
	}
	noCanary(t, r.stderr.String())
}

// settle returns when send is done with the lines so far: a pipe's write ends
// when the reader has read it, and the reader goes on when send has taken a line.
func settle(t *testing.T, feed io.Writer) {
	t.Helper()
	for range 2 {
		if _, err := io.WriteString(feed, "\n"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSendIsInterrupted wherever it waits for its input, and where it never waits.
func TestSendIsInterrupted(t *testing.T) {
	fakeSQS := useSQS(t)
	for _, tt := range []struct {
		name, lines, rest string
		sent              int
	}{
		{"before anything came", "", "", 0},
		{"in the first line", "", "{", 0},
		{"in what looks like gzip", "", "\x1f\x8b", 0},
		{"between lines", "{\"n\":1}\n\n{\"n\":2}\n", "", 2},
		{"in a later line", "{\"n\":1}\n", "{", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := fakeSQS.Queue("logins", nil)
			in, feed := io.Pipe()
			defer feed.Close()
			r := start(t, map[string]string{"SQS_URL": q.URL}, in, "send", "-")
			if _, err := io.WriteString(feed, tt.lines); err != nil {
				t.Fatal(err)
			}
			if tt.sent > 0 {
				arrive(t, q, tt.sent)
				settle(t, feed)
			}
			if _, err := io.WriteString(feed, tt.rest); err != nil {
				t.Fatal(err)
			}
			r.stop()
			r.fails(fmt.Sprint(tt.sent, " of "), ": stopped; what follows was not sent\n")
		})
	}
	for name, in := range map[string]io.Reader{"empty lines without end": endless("\n"), "lines without end": endless("{}\n")} {
		t.Run(name, func(t *testing.T) {
			q := fakeSQS.Queue("logins", nil)
			before := len(fakeSQS.Calls(""))
			r := start(t, map[string]string{"SQS_URL": q.URL}, in, "send", "-")
			for len(fakeSQS.Calls("")) == before {
				time.Sleep(5 * time.Millisecond)
			}
			r.stop()
			r.fails("stopped")
		})
	}
}

// TestSendSaysWhatWasNotSent of the lines that it has read when it is interrupted.
func TestSendSaysWhatWasNotSent(t *testing.T) {
	fakeSQS := useSQS(t)
	q := fakeSQS.Queue("logins", nil)
	called := make(chan struct{}, 100)
	fakeSQS.Inject(func(c sqstest.Call) *sqstest.Fault {
		if c.Operation == "SendMessageBatch" {
			called <- struct{}{}
			return &sqstest.Fault{Code: "InternalError", Status: 500, Delay: time.Second}
		}
		return nil
	})
	for _, name := range []string{"that wait", "on their way"} {
		t.Run(name, func(t *testing.T) {
			in, feed := io.Pipe()
			defer feed.Close()
			r := start(t, map[string]string{"SQS_URL": q.URL}, in, "send", "-")
			if _, err := io.WriteString(feed, "{\"n\":1}\n{\"n\":2}\n"); err != nil {
				t.Fatal(err)
			}
			settle(t, feed)
			if name == "on their way" {
				<-called
			}
			r.stop()
			r.fails("0 of ", "not sent: line 1, 2\n", ": stopped")
		})
	}
}

// TestSendEndlessLine ends by itself, after what came before it is sent.
func TestSendEndlessLine(t *testing.T) {
	fakeSQS := useSQS(t)
	zeros := endless("\x00")
	for name, in := range map[string]io.Reader{
		"plain":   io.MultiReader(strings.NewReader("{}\n"), zeros),
		"gzipped": strings.NewReader(zipped(t, "{}\n"+strings.Repeat("\x00", 40<<20))),
	} {
		t.Run(name, func(t *testing.T) {
			q := fakeSQS.Queue("logins", nil)
			start(t, map[string]string{"SQS_URL": q.URL}, in, "send", "-").fails("1 of 1 lines", "after line 1: ", "no end within 16777216 bytes")
			if n := len(q.Messages()); n != 1 {
				t.Errorf("%d messages arrived", n)
			}
		})
	}
}

// TestSendBrokenInput: what was read is sent, and an error explains the rest.
func TestSendBrokenInput(t *testing.T) {
	fakeSQS := useSQS(t)
	whole := zipped(t, bodyLines(5000))
	damaged := []byte(whole)
	damaged[len(damaged)-6] ^= 1 // in the checksum
	for _, tt := range []struct {
		name string
		in   io.Reader
		says string
	}{
		{"gzip that is cut off", strings.NewReader(whole[:len(whole)/2]), ": the gzip file is cut off\n"},
		{"gzip that is cut off in its header", strings.NewReader(whole[:5]), "standard input: the gzip file is cut off\n"},
		{"gzip that is damaged", bytes.NewReader(damaged), "after line 5000: standard input: the gzip file is damaged\n"},
		{"not gzip after all", strings.NewReader("\x1f\x8b then text of some length"), "standard input: the gzip file is damaged\n"},
		{"a file that breaks", io.MultiReader(strings.NewReader("{}\n{"), iotest.ErrReader(errors.New("input/output error"))), "after line 1: standard input: input/output error\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := fakeSQS.Queue("logins", nil)
			r := start(t, map[string]string{"SQS_URL": q.URL}, tt.in, "send", "-")
			r.fails(tt.says)
			noCanary(t, r.stdout.String(), r.stderr.String())
		})
	}
	q := fakeSQS.Queue("logins", nil)
	folder := t.TempDir()
	start(t, map[string]string{"SQS_URL": q.URL}, nil, "send", folder).fails(folder + ": is a directory\n")
	f, err := os.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	start(t, map[string]string{"SQS_URL": q.URL}, f, "send", "-").fails("standard input: is a directory\n")
}

// TestReadIsInterrupted: one signal ends the commands that read a single value, too.
func TestReadIsInterrupted(t *testing.T) {
	environ := map[string]string{"SLUICE_MASK": "sha256", "DATABASE_URL": "sqlite::memory:"}
	for _, args := range [][]string{{"explain"}, {"explain", "-"}, {"mask", "ip"}, {"invoke", "-e", "-"}} {
		in, feed := io.Pipe()
		r := start(t, environ, in, args...)
		if _, err := io.WriteString(feed, "{"); err != nil {
			t.Fatal(err)
		}
		r.stop()
		r.fails(": stopped\n")
		feed.Close()
	}
	if runtime.GOOS == "windows" {
		return
	}
	// A FIFO blocks already while it is opened. What reads it goes with this process.
	useSQS(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := exec.CommandContext(t.Context(), "mkfifo", fifo).Run(); err != nil {
		t.Skip(err)
	}
	for _, args := range [][]string{{"explain", fifo}, {"invoke", "-e", fifo}} {
		r := start(t, environ, nil, args...)
		r.stop()
		r.fails(": stopped\n")
	}
}

// TestSendObeysTheFirstSignal of a real process, that waits for its input.
func TestSendObeysTheFirstSignal(t *testing.T) {
	fakeSQS := useSQS(t)
	q := fakeSQS.Queue("logins", nil)
	for i, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), "sluice", "send", "-", "--to", q.URL)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		feed, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for line := range 2 { // when the second arrives, the first is confirmed
			if _, err := io.WriteString(feed, "{}\n"); err != nil {
				t.Fatal(err)
			}
			arrive(t, q, 2*i+line+1)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // below
		if code := cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(stdout.String(), " of 2 lines sent") || strings.HasPrefix(stdout.String(), "0") || !strings.Contains(stderr.String(), "after line 2: stopped") {
			t.Errorf("%v: got %v, %s%s", signal, cmd.ProcessState, stdout.String(), stderr.String())
		}
	}
}
