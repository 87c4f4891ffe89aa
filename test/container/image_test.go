package container_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// image is what run.sh has built.
type image struct{ engine, name, version string }

// TestImage looks into an image and runs it, on a network where it reaches this process, which is
// the SQS.
func TestImage(t *testing.T) {
	im := image{os.Getenv("TEST_CONTAINER_ENGINE"), os.Getenv("TEST_CONTAINER_IMAGE"), os.Getenv("TEST_CONTAINER_VERSION")}
	if im.name == "" {
		t.Skip("SKIPPED: test/container/run.sh runs it")
	}
	t.Run("configuration", im.configuration)
	t.Run("files", im.files)
	t.Run("commands", im.commands)
	t.Run("consume forever", im.consumeForever)
	t.Run("consume until empty", im.consumeUntilEmpty)
	t.Run("no queue", im.withoutQueue)
	t.Run("no configuration", im.misconfigured)
}

func (im image) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, im.engine, args...)
}

// docker runs a command of the engine, which must succeed, and returns its output.
func (im image) docker(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := im.run(t, args...)
	if code != 0 {
		t.Fatalf("docker %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return strings.TrimSpace(stdout)
}

func (im image) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := im.command(t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			t.Fatal(err)
		}
		code = exit.ExitCode()
	}
	return code, out.String(), errs.String()
}

func (im image) configuration(t *testing.T) {
	type health struct {
		Test                           []string
		Interval, Timeout, StartPeriod time.Duration
		Retries                        int
	}
	type config struct {
		User            string
		Entrypoint, Cmd []string
		Env             []string
		ExposedPorts    map[string]struct{}
		Volumes         map[string]struct{}
		StopSignal      string
		Healthcheck     *health
		Labels          map[string]string
	}
	var got []struct{ Config config }
	if err := json.Unmarshal([]byte(im.docker(t, "image", "inspect", im.name)), &got); err != nil || len(got) != 1 {
		t.Fatalf("%v: %+v", err, got)
	}
	const program, label = "/usr/local/bin/sluice", "org.opencontainers.image."
	want := config{
		User: "65532:65532", Entrypoint: []string{program}, Cmd: []string{"consume", "--forever"},
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SLUICE_METRICS_ADDR=:9464"},
		ExposedPorts: map[string]struct{}{"9464/tcp": {}},
		Healthcheck:  &health{[]string{"CMD", program, "health"}, 30 * time.Second, 5 * time.Second, 15 * time.Second, 3},
		Labels: map[string]string{
			label + "title": "sluice", label + "description": "Moves JSON messages from an SQS queue into a Postgres table: checked, masked, each exactly once",
			label + "licenses": "Apache-2.0", label + "source": "https://example.com/sluice", label + "version": im.version, label + "revision": "0123456789abcdef",
		},
	}
	if diff := cmp.Diff(got[0].Config, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
	if im.docker(t, "image", "inspect", "--format", "{{.Id}}", im.name+":"+im.version) != im.docker(t, "image", "inspect", "--format", "{{.Id}}", im.name+":latest") {
		t.Errorf("the tags %s and latest differ", im.version)
	}
}

// files checks what is in the image's layers, file by file.
func (im image) files(t *testing.T) {
	content := map[string][]byte{}
	layer := func(data []byte) {
		eachFile(t, bytes.NewReader(data), func(h *tar.Header, r io.Reader) {
			switch {
			case h.Typeflag == tar.TypeDir:
			case h.Typeflag != tar.TypeReg || h.Mode&0o6022 != 0:
				t.Errorf("%s: type %c, mode %o", h.Name, h.Typeflag, h.Mode)
			default:
				content["/"+strings.TrimPrefix(h.Name, "./")] = readAll(t, r)
			}
		})
	}
	// A layer is a tar within the tar of the image, which some engines compress; the rest is JSON.
	eachFile(t, strings.NewReader(im.docker(t, "image", "save", im.name)), func(h *tar.Header, r io.Reader) {
		if h.Typeflag != tar.TypeReg {
			return
		}
		data := readAll(t, r)
		if plain, err := gzip.NewReader(bytes.NewReader(data)); err == nil {
			data = readAll(t, plain)
		}
		if len(data) > 262 && string(data[257:262]) == "ustar" {
			layer(data)
		}
	})
	const certificates, program = "/etc/ssl/certs/ca-certificates.crt", "/usr/local/bin/sluice"
	var names []string
	for name := range content {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{certificates, program}; !slices.Equal(names, want) {
		t.Fatalf("it holds %q, want %q", names, want)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(content[certificates]) {
		t.Error("there is no CA certificate")
	}
	checkBinary(t, content[program], im.version)
	t.Logf("%d bytes", len(content[certificates])+len(content[program]))
}

func eachFile(t *testing.T, r io.Reader, do func(*tar.Header, io.Reader)) {
	t.Helper()
	for files := tar.NewReader(r); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(h, files)
	}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// hardened has the options of a container with few rights.
var hardened = []string{"--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "host"}

func (im image) commands(t *testing.T) {
	sluice := func(args ...string) (int, string, string) {
		return im.run(t, slices.Concat([]string{"run", "--rm"}, hardened, []string{im.name}, args)...)
	}
	if code, stdout, stderr := sluice("version"); code != 0 || !strings.HasPrefix(stdout, "sluice "+im.version+" go") || stderr != "" {
		t.Errorf("version: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, stdout, stderr := sluice("--help"); code != 0 || !strings.HasPrefix(stdout, "Usage: sluice <command>") || stderr != "" {
		t.Errorf("--help: exit code %d, %q, %q", code, stdout, stderr)
	}
	if code, _, stderr := sluice("nosuch"); code != 2 {
		t.Errorf("nosuch: exit code %d, %q", code, stderr)
	}
	if code, stdout, stderr := sluice("health", "--metrics-addr", "127.0.0.1:1"); code != 1 || !strings.Contains(stderr, "nobody listens at 127.0.0.1:1") {
		t.Errorf("health: exit code %d, %q, %q", code, stdout, stderr)
	}
}

// fixture is a queue, and a database whose table a container made.
type fixture struct {
	im    image
	queue *sqstest.Queue
	db    *pgtest.DB
	flags []string
}

func newFixture(t *testing.T, im image) *fixture {
	t.Helper()
	sqs := sqstest.New()
	t.Cleanup(sqs.Close)
	s := &fixture{im: im, queue: sqs.Queue("logins", nil), db: pgtest.New(t)}
	s.flags = slices.Concat(hardened, []string{
		"--env", "SQS_URL=" + s.queue.URL, "--env", "PG_URL=" + s.db.URL, "--env", "SLUICE_MASK=sha256", "--env", "AWS_ENDPOINT_URL=" + sqs.URL,
		"--env", "AWS_REGION=" + sqstest.Region, "--env", "AWS_ACCESS_KEY_ID=test", "--env", "AWS_SECRET_ACCESS_KEY=test",
		"--env", "SLUICE_METRICS_ADDR=" + freeAddress(t),
	})
	im.docker(t, slices.Concat([]string{"run", "--rm"}, s.flags, []string{im.name, "migrate"})...)
	return s
}

// freeAddress returns an address where nobody listens yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (s *fixture) put(n int) {
	for i := range n {
		s.queue.Put(sqstest.Message{Body: fmt.Sprintf(`{"user_id":"u-%d","app_version":"2.3.0","device_type":"android","ip":"203.0.113.7","locale":"en","device_id":"593"}`, i)})
	}
}

func (s *fixture) wantStored(t *testing.T, n int) {
	t.Helper()
	if rows := s.db.Count(t, "SELECT count(*) FROM user_logins"); rows != int64(n) || len(s.queue.Messages()) != 0 {
		t.Errorf("%d rows, want %d; %d messages in the queue, want none", rows, n, len(s.queue.Messages()))
	}
}

// service is a container in the background.
type service struct {
	im image
	id string
}

func (im image) start(t *testing.T, flags ...string) service {
	t.Helper()
	c := service{im, im.docker(t, slices.Concat([]string{"run", "--detach", "--health-interval", "1s"}, flags, []string{im.name})...)}
	t.Cleanup(func() { _ = im.command(context.Background(), "rm", "--force", c.id).Run() })
	return c
}

func (c service) state(t *testing.T, field string) string {
	t.Helper()
	return c.im.docker(t, "container", "inspect", "--format", "{{.State."+field+"}}", c.id)
}

func (c service) logs(t *testing.T) string {
	t.Helper()
	_, stdout, stderr := c.im.run(t, "logs", c.id)
	return stdout + stderr
}

// stop stops the container as engines do, and checks that it ends by itself.
func (c service) stop(t *testing.T) {
	t.Helper()
	began := time.Now()
	c.im.docker(t, "stop", "-t", "30", c.id)
	took := time.Since(began)
	if code := c.state(t, "ExitCode"); code != "0" { // one that was killed has another
		t.Errorf("exit code %s after %v\n%s", code, took, c.logs(t))
	}
	t.Logf("stopped within %v", took.Round(time.Millisecond))
}

func (c service) eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not %s within a minute\n%s", what, c.logs(t))
		}
	}
}

// consumeForever starts the container as users do, and stops it as engines do.
func (im image) consumeForever(t *testing.T) {
	s := newFixture(t, im)
	s.put(100)
	c := im.start(t, s.flags...)
	c.eventually(t, "healthy", func() bool { return c.state(t, "Health.Status") == "healthy" })
	c.eventually(t, "done with the queue", func() bool { return len(s.queue.Messages()) == 0 })
	s.wantStored(t, 100)
	if got := im.docker(t, "exec", c.id, "sluice", "health"); got != "ok" {
		t.Errorf("sluice health in the container: %q", got)
	}
	if pid, err := strconv.Atoi(c.state(t, "Pid")); err == nil {
		// On this machine the process can be looked at; an engine of another one numbers its own.
		if status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)); err == nil {
			for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "Gid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"} {
				if !strings.Contains(string(status), want+"\n") {
					t.Errorf("the process lacks %q", want)
				}
			}
		}
	}
	c.stop(t)
	if text := c.logs(t); !strings.Contains(text, "Stopped.\n") || !strings.Contains(text, "100 new, 0 duplicates") {
		t.Errorf("no summary in\n%s", text)
	}
}

func (im image) consumeUntilEmpty(t *testing.T) {
	s := newFixture(t, im)
	s.put(30)
	if got := im.docker(t, slices.Concat([]string{"run", "--rm"}, s.flags, []string{im.name, "consume"})...); !strings.HasPrefix(got, "The queue is empty.\n") {
		t.Errorf("got %q", got)
	}
	s.wantStored(t, 30)
}

// withoutQueue checks that a consumer which never reached its queue is unhealthy, and stops when
// told to.
func (im image) withoutQueue(t *testing.T) {
	c := im.start(t, slices.Concat(newFixture(t, im).flags, []string{
		"--env", "AWS_ENDPOINT_URL=http://127.0.0.1:1", "--health-start-period", "1s", "--health-retries", "2",
	})...)
	c.eventually(t, "unhealthy", func() bool { return c.state(t, "Health.Status") == "unhealthy" })
	c.stop(t)
}

func (im image) misconfigured(t *testing.T) {
	code, stdout, stderr := im.run(t, slices.Concat([]string{"run", "--rm"}, hardened, []string{im.name})...)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "SQS_URL is not set") {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}
