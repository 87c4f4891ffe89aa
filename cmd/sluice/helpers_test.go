package main_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	command "example.com/owner/sluice/cmd/sluice"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// queueCanary is in every body that these tests send.
const queueCanary = "canary-203.0.113.7"

// useSQS starts an SQS in this process, and points the SDK there.
func useSQS(t *testing.T) *sqstest.Server {
	t.Helper()
	fakeSQS := sqstest.New()
	t.Cleanup(fakeSQS.Close)
	useAWS(t, fakeSQS.URL)
	return fakeSQS
}

// useAWS points the SDK to an endpoint.
func useAWS(t *testing.T, endpoint string) {
	t.Helper()
	for name, value := range awsEnviron(endpoint) {
		t.Setenv(name, value)
	}
}

// awsEnviron are the variables of an account at an endpoint, and of nothing of this machine.
func awsEnviron(endpoint string) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": sqstest.Region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "canary-secret-key",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_PROFILE": "",
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bodies.jsonl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func bodyLines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `{"user_id":"u-%d","n":%d,"ip":%q}`+"\n", i%3, i, queueCanary)
	}
	return b.String()
}

func zipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return out.String()
}

func noCanary(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(text, "canary") {
			t.Errorf("a value shows: %s", text)
		}
	}
}

// run runs a command in this process.
func run(t *testing.T, environ map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = command.Run(context.WithoutCancel(t.Context()), args, environ, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// ends runs a line of arguments without input, and checks the exit code and what is printed. The
// texts are of standard output if the command succeeds, and of standard error if not. A command
// that succeeds has nothing for standard error, and one that is used wrongly has nothing for
// standard output.
func ends(t *testing.T, environ map[string]string, want int, line string, says ...string) (stdout string) {
	t.Helper()
	code, stdout, stderr := run(t, environ, "", strings.Fields(line)...)
	if code != want || want == 0 && stderr != "" || want == 2 && stdout != "" {
		t.Errorf("%s: got %d, %s%s", line, code, stdout, stderr)
	}
	where := stdout
	if want != 0 {
		where = stderr
	}
	for _, say := range says {
		if !strings.Contains(where, say) {
			t.Errorf("%s: it lacks %q: %s%s", line, say, stdout, stderr)
		}
	}
	noCanary(t, stdout, stderr)
	return stdout
}

// reading is a command that runs in this process, with its own input.
type reading struct {
	t              *testing.T
	stdout, stderr bytes.Buffer
	code           chan int
	stop           context.CancelFunc
}

func start(t *testing.T, environ map[string]string, stdin io.Reader, args ...string) *reading {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &reading{t: t, code: make(chan int, 1), stop: stop}
	go func() { r.code <- command.Run(ctx, args, environ, stdin, &r.stdout, &r.stderr) }()
	return r
}

// fails waits for the end, and compares what was written.
func (r *reading) fails(says ...string) {
	r.t.Helper()
	code := <-r.code
	text := r.stdout.String() + r.stderr.String()
	for _, say := range says {
		if code != 1 || !strings.Contains(text, say) {
			r.t.Errorf("got %d, without %q: %s", code, say, text)
		}
	}
}
