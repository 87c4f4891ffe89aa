package sam_test

import (
	"bytes"
	"context"
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
	"strings"
	"testing"
	"time"

	"sluice/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

const localKeys = "k1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// localConstraint refuses one message of events/batch.json in the database.
const localConstraint = `ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')`

// TestLocal runs both built functions as Lambda would, against a real Postgres: in a container by `sam local invoke` when there is an
// engine (SLUICE_SAM_BRIDGE is where its containers reach this machine), else by the emulator that ships with SAM, on this machine. The
// answers must be those of `sluice invoke`.
func TestLocal(t *testing.T) {
	local := &local{
		sam: needs(t, "SLUICE_SAM"), build: needs(t, "SLUICE_SAM_BUILD"), bridge: os.Getenv("SLUICE_SAM_BRIDGE"),
		emulator: os.Getenv("SLUICE_SAM_EMULATOR"), overrides: "Architecture=" + needs(t, "SLUICE_SAM_ARCH"),
	}
	db := pgtest.New(t)
	databaseURL := local.reach(t, db.URL)

	for i, want := range []bool{true, false} {
		var answer struct {
			Model  string
			Tables []struct {
				Name    string
				Created bool
			}
		}
		out := local.invoke(t, "MigrateFunction", []byte("{}"), databaseURL)
		if err := json.Unmarshal(out, &answer); err != nil || len(answer.Tables) != 1 || answer.Model != "user_logins" || answer.Tables[0].Created != want {
			t.Fatalf("migrate, time %d: %v: %s", i+1, err, out)
		}
	}
	db.Exec(t, localConstraint)

	for _, name := range []string{"batch", "empty", "fifo", "pipes"} {
		event, err := os.ReadFile("../../events/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		before := db.Count(t, "SELECT count(*) FROM user_logins")
		got := local.invoke(t, "IngestFunction", event, databaseURL)
		after := db.Count(t, "SELECT count(*) FROM user_logins")
		want := sluiceInvoke(t, event, db.URL)
		equalJSON(t, name, got, want)
		if name == "batch" && (before != 0 || after != 4) {
			t.Errorf("%s: %d rows became %d, not 4", name, before, after)
		}
		if again := db.Count(t, "SELECT count(*) FROM user_logins"); again != after {
			t.Errorf("%s: the second delivery made %d rows of %d", name, again, after)
		}
		t.Logf("%s: %d new rows, answer %s", name, after-before, bytes.TrimSpace(got))
	}
	if masked := db.Count(t, "SELECT count(*) FROM user_logins WHERE masked_ip = 'b42adbf209538193ee85f7c6b4ccd8f607372f9f27ad6cf8f14eeba6648fc09d'"); masked == 0 {
		t.Error("no row has the pseudonym of 203.0.113.7")
	}

	foreign, err := os.ReadFile("../../events/foreign.json")
	if err != nil {
		t.Fatal(err)
	}
	var failure struct{ ErrorType, ErrorMessage string }
	if out := local.invoke(t, "IngestFunction", foreign, databaseURL); json.Unmarshal(out, &failure) != nil || failure.ErrorType == "" || failure.ErrorMessage == "" {
		t.Errorf("foreign: a foreign event is no error: %s", out)
	} else {
		t.Logf("foreign: %s: %s", failure.ErrorType, failure.ErrorMessage)
	}
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

func sluiceInvoke(t *testing.T, event []byte, databaseURL string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../bin/sluice", "invoke", "-e", "-")
	cmd.Env = []string{"DATABASE_URL=" + databaseURL, "SLUICE_MASK_KEYS=" + localKeys}
	cmd.Stdin = bytes.NewReader(event)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("sluice invoke: %v: %s", err, stderr.String())
	}
	return out
}

type local struct {
	sam, build, bridge, emulator, overrides string
}

// reach is the database's URL as the function sees it. Containers do not see loopback: a forwarder listens on the bridge for them.
func (l *local) reach(t *testing.T, databaseURL string) string {
	t.Helper()
	if l.bridge == "" {
		return databaseURL
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(l.bridge, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	target := u.Host
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go forward(c, target)
		}
	}()
	u.Host = net.JoinHostPort("host.docker.internal", fmt.Sprint(listener.Addr().(*net.TCPAddr).Port))
	q := u.Query()
	q.Set("sslmode", "disable") // it is loopback behind the forwarder
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	return u.String()
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

func (l *local) environ(databaseURL string) map[string]string {
	return map[string]string{
		"DATABASE_URL": databaseURL, "DATABASE_SECRET_ARN": "", "SLUICE_MASK_KEYS": localKeys, "SLUICE_MASK_SECRET_ARN": "",
		"SLUICE_BACKOFF": "false", "DEAD_LETTER_QUEUE_URL": "",
	}
}

func (l *local) invoke(t *testing.T, function string, event []byte, databaseURL string) []byte {
	t.Helper()
	if l.bridge == "" {
		return l.emulate(t, function, event, databaseURL)
	}
	dir := t.TempDir()
	environ := l.environ(databaseURL)
	if function == "MigrateFunction" { // sam sets only what the template declares
		environ = map[string]string{"DATABASE_URL": databaseURL, "DATABASE_SECRET_ARN": ""}
	}
	variables, err := json.Marshal(map[string]map[string]string{function: environ})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"env.json": variables, "event.json": event} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), l.sam, "local", "invoke", function, "--template", filepath.Join(l.build, "template.yaml"),
		"--event", filepath.Join(dir, "event.json"), "--env-vars", filepath.Join(dir, "env.json"), "--parameter-overrides", l.overrides,
		"--add-host", "host.docker.internal:"+l.bridge, "--skip-pull-image", "--region", region)
	cmd.Env = append(os.Environ(), "SAM_CLI_TELEMETRY=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || len(bytes.TrimSpace(out)) == 0 { // it exits 0 also when the function times out: then it prints nothing
		t.Fatalf("sam local invoke %s: %v: %s%s", function, err, out, stderr.String())
	}
	return out
}

// emulate runs the function under SAM's runtime interface emulator on this machine.
func (l *local) emulate(t *testing.T, function string, event []byte, databaseURL string) []byte {
	t.Helper()
	if l.emulator == "" {
		t.Fatal("neither SLUICE_SAM_BRIDGE nor SLUICE_SAM_EMULATOR is set")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at, api := freeAddress(t), freeAddress(t)
	task := filepath.Join(l.build, function)
	cmd := exec.CommandContext(ctx, l.emulator, "--log-level", "error", "--runtime-interface-emulator-address", at, "--runtime-api-address", api, filepath.Join(task, "bootstrap"))
	cmd.Env = []string{"PATH=/usr/bin:/bin", "AWS_LAMBDA_FUNCTION_NAME=" + function, "AWS_LAMBDA_FUNCTION_TIMEOUT=30", "AWS_REGION=" + region, "LAMBDA_TASK_ROOT=" + task}
	for name, value := range l.environ(databaseURL) {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at+"/2015-03-31/functions/function/invocations", bytes.NewReader(event))
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil { // not listening yet
			select {
			case <-ctx.Done():
				t.Fatalf("the emulator does not answer: %v: %s", err, output.String())
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
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
