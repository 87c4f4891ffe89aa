package sam_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const localKeys = "k1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// localConstraint makes the database refuse one message of events/batch.json.
const localConstraint = `ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')`

// localLines are what a function logs when it starts under sam local.
var localLines = []string{"sam local: skipped what is not here", "sam local: the database on this machine is host.docker.internal"}

// TestLocal runs the commands that users type, in a clone with what `sam build` built there, against a
// real Postgres. The environment has DATABASE_URL, with localhost in it, and SLUICE_MASK_KEYS. Answers
// and rows must be those of `sluice invoke`.
//
// TEST_SAM_BRIDGE is the address where containers reach this machine. Without it there is no Docker
// engine, and the emulator that ships with SAM runs the functions on this machine instead.
func TestLocal(t *testing.T) {
	db, reference := pgtest.NewDatabase(t, ""), pgtest.NewDatabase(t, "")
	l := &local{
		sam: needs(t, "TEST_SAM"), clone: needs(t, "TEST_SAM_CLONE"), bridge: os.Getenv("TEST_SAM_BRIDGE"),
		emulator: os.Getenv("TEST_SAM_EMULATOR"), databaseURL: plainURL(t, db.URL),
	}
	if l.bridge != "" {
		l.letContainersIn(t)
	}

	for i, want := range []bool{true, false} {
		var answer struct {
			Model  string
			Tables []struct {
				Name    string
				Created bool
			}
		}
		out, _ := l.invoke(t, "", "sam", "local", "invoke", "MigrateFunction")
		if err := json.Unmarshal(out, &answer); err != nil || len(answer.Tables) != 1 || answer.Model != "user_logins" || answer.Tables[0].Created != want {
			t.Fatalf("migrate, time %d: %v: %s", i+1, err, out)
		}
	}
	sluice(t, reference.URL, "migrate")
	db.Exec(t, localConstraint)
	reference.Exec(t, localConstraint)

	logged := map[string]int{}
	for _, tt := range []struct {
		event   string
		rows    int // new ones
		command []string
	}{
		{"batch", 4, []string{"sam", "local", "invoke", "-e", "events/batch.json"}},
		{"batch", 0, []string{"sam", "local", "invoke", "IngestFunction", "-e", "events/batch.json"}},
		{"empty", 0, []string{"sam", "local", "invoke", "--config-env", "dev", "-e", "events/empty.json"}},
		{"fifo", 2, []string{"sam", "local", "invoke", "--config-env", "staging", "-e", "events/fifo.json"}},
		{"pipes", 0, []string{"sam", "local", "invoke", "--config-env", "prod", "-e", "events/pipes.json"}},
	} {
		before := allRows(t, db)
		got, stderr := l.invoke(t, tt.event, tt.command...)
		want := sluice(t, reference.URL, "invoke", "-e", "events/"+tt.event+".json")
		equalJSON(t, tt.event, got, want)
		after := allRows(t, db)
		if len(after)-len(before) != tt.rows {
			t.Errorf("%s: %d rows became %d, not %d more", tt.event, len(before), len(after), tt.rows)
		}
		if rows := allRows(t, reference); !slices.Equal(after, rows) {
			t.Errorf("%s: the rows are\n%s\nafter sluice invoke\n%s", tt.event, strings.Join(after, "\n"), strings.Join(rows, "\n"))
		}
		for _, line := range localLines {
			n := strings.Count(stderr, line)
			logged[line] += n
			if n > 1 {
				t.Errorf("%s: the log has %d lines %q:\n%s", tt.event, n, line, stderr)
			}
		}
		by := "the emulator, not " + strings.Join(tt.command, " ")
		if l.bridge != "" {
			by = strings.Join(tt.command, " ")
		}
		t.Logf("%s: %d new rows, answer %s", by, len(after)-len(before), bytes.TrimSpace(got))
	}

	// On a busy machine SAM shows the log from a moment after the start on, and may miss a line.
	for _, line := range localLines {
		if l.bridge != "" && logged[line] == 0 {
			t.Errorf("no invocation logged %q", line)
		}
	}

	var failure struct{ ErrorType, ErrorMessage string }
	if out, _ := l.invoke(t, "foreign", "make", "--silent", "invoke", "EVENT=events/foreign.json"); json.Unmarshal(out, &failure) != nil || failure.ErrorType == "" || failure.ErrorMessage == "" {
		t.Errorf("foreign: a foreign event is no error: %s", out)
	} else {
		t.Logf("foreign: %s: %s", failure.ErrorType, failure.ErrorMessage)
	}
	if l.bridge != "" {
		l.startLambda(t)
	}
}

// allRows returns the rows of the table, a text each.
func allRows(t *testing.T, db *pgtest.DB) (all []string) {
	t.Helper()
	for _, row := range db.Rows(t, "SELECT user_logins::text FROM user_logins ORDER BY 1") {
		all = append(all, row[0])
	}
	return all
}

// plainURL returns the URL as a user would type it.
func plainURL(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = ""
	if u.Hostname() == "127.0.0.1" {
		u.Host = net.JoinHostPort("localhost", u.Port())
	}
	return u.String()
}

func equalJSON(t *testing.T, name string, got, want []byte) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v: %s", name, err, got)
	}
	if err := json.Unmarshal(want, &w); err != nil {
		t.Fatalf("%s: sluice invoke: %v: %s", name, err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s: got %s, want, as sluice invoke says, %s", name, got, want)
	}
}

// sluice runs the command line.
func sluice(t *testing.T, databaseURL string, arguments ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bin/sluice", arguments...)
	cmd.Dir = "../.."
	cmd.Env = []string{"DATABASE_URL=" + databaseURL, "SLUICE_MASK_KEYS=" + localKeys}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sluice %q: %v: %s", arguments, err, stderr.String())
	}
	return out
}

type local struct {
	sam, clone, bridge, emulator, databaseURL string
}

// letContainersIn makes a server on loopback reachable on the bridge, as docs/deploy.md asks of
// Postgres.
func (l *local) letContainersIn(t *testing.T) {
	t.Helper()
	u, err := url.Parse(l.databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(l.bridge, u.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(c, u.Host)
		}
	}()
}

func forward(c net.Conn, target string) {
	defer c.Close()
	d, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer d.Close()
	go func() {
		_, _ = io.Copy(d, c)
		_ = d.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(c, d)
}

// command returns a command that runs in the clone, with the two variables in the environment and
// nothing else of sluice or AWS.
func (l *local) command(t *testing.T, typed ...string) *exec.Cmd {
	t.Helper()
	path := filepath.Dir(l.sam) + string(os.PathListSeparator) + os.Getenv("PATH")
	name := typed[0]
	if name == "sam" {
		name = l.sam
	}
	cmd := exec.CommandContext(t.Context(), name, typed[1:]...)
	cmd.Dir = l.clone
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "AWS_") || strings.HasPrefix(pair, "SLUICE_") || strings.HasPrefix(pair, "MAKE") || strings.HasPrefix(pair, "PATH=")
	}), "PATH="+path, "SAM_CLI_TELEMETRY=0", "DATABASE_URL="+l.databaseURL, "SLUICE_MASK_KEYS="+localKeys)
	return cmd
}

// invoke runs a command that invokes a function. Without an engine it runs the function on the event.
func (l *local) invoke(t *testing.T, event string, typed ...string) (answer []byte, stderr string) {
	t.Helper()
	if l.bridge == "" {
		return l.emulate(t, slices.Contains(typed, "MigrateFunction"), event), ""
	}
	cmd := l.command(t, typed...)
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil || len(bytes.TrimSpace(out)) == 0 { // sam exits 0 also when the function times out: then it prints nothing
		t.Fatalf("%q: %v: %s%s", typed, err, out, log.String())
	}
	return out, log.String()
}

// startLambda checks that `sam local start-lambda` answers as Lambda does, at its default address.
func (l *local) startLambda(t *testing.T) {
	t.Helper()
	cmd := l.command(t, "sam", "local", "start-lambda")
	ended, log, stop := start(t, cmd)
	defer stop(os.Interrupt)
	event, err := os.ReadFile(filepath.Join(l.clone, "events", "batch.json"))
	if err != nil {
		t.Fatal(err)
	}
	got := post(t, "http://127.0.0.1:3001/2015-03-31/functions/IngestFunction/invocations", event, ended, log)
	equalJSON(t, "start-lambda", got, sluice(t, l.databaseURL, "invoke", "-e", "events/batch.json"))
	t.Logf("sam local start-lambda: answer %s", bytes.TrimSpace(got))
}

// start starts a command. Its output may be read when it has ended.
func start(t *testing.T, cmd *exec.Cmd) (ended <-chan struct{}, output *bytes.Buffer, stop func(os.Signal)) {
	t.Helper()
	output = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = output, output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(end)
	}()
	return end, output, func(s os.Signal) {
		_ = cmd.Process.Signal(s)
		<-end
	}
}

// post sends an event as soon as the command listens, and fails the test if the command has ended.
func post(t *testing.T, to string, event []byte, ended <-chan struct{}, log fmt.Stringer) []byte {
	t.Helper()
	for {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, bytes.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil { // not listening yet
			select {
			case <-ended:
				t.Fatalf("%s: %v: %s", to, err, log)
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s: %v: %s", to, response.Status, err, body)
		}
		return body
	}
}

// emulate runs a function under SAM's runtime interface emulator on this machine.
func (l *local) emulate(t *testing.T, migrate bool, event string) []byte {
	t.Helper()
	if l.emulator == "" {
		t.Fatal("neither TEST_SAM_BRIDGE nor TEST_SAM_EMULATOR is set")
	}
	function, payload := "IngestFunction", []byte("{}")
	if migrate {
		function = "MigrateFunction"
	} else {
		var err error
		if payload, err = os.ReadFile(filepath.Join(l.clone, "events", event+".json")); err != nil {
			t.Fatal(err)
		}
	}
	at, api := freeAddress(t), freeAddress(t)
	task := filepath.Join(l.clone, ".aws-sam", "build", function)
	cmd := exec.CommandContext(t.Context(), l.emulator, "--log-level", "error", "--runtime-interface-emulator-address", at, "--runtime-api-address", api, filepath.Join(task, "bootstrap"))
	cmd.Env = []string{
		"PATH=/usr/bin:/bin", "AWS_LAMBDA_FUNCTION_NAME=" + function, "AWS_LAMBDA_FUNCTION_TIMEOUT=30", "AWS_REGION=" + region, "LAMBDA_TASK_ROOT=" + task,
		"DATABASE_URL=" + l.databaseURL, "SLUICE_MASK_KEYS=" + localKeys,
	}
	ended, output, stop := start(t, cmd)
	defer stop(os.Kill)
	return post(t, "http://"+at+"/2015-03-31/functions/function/invocations", payload, ended, output)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
