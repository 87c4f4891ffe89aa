//go:build awslocal

// Package awslocal_test runs the command line, as processes, on queues of LocalStack, with a real
// Postgres. `make awslocal_test` runs the tests.
package awslocal_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/test/localstack"
)

const root = "../.."

// shared is what all tests use.
var shared struct {
	sluice string // the command line
	local  *localstack.Server
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-awslocal-test-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary files
	if err := prepare(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer shared.local.Stop() //nolint:errcheck // temporary files
	return pgtest.Main(m)
}

func prepare(ctx context.Context, dir string) (err error) {
	shared.sluice = filepath.Join(dir, "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", shared.sluice, "./cmd/sluice")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	shared.local, err = startLocalStack(ctx, "awslocal-test.log")
	return err
}

func startLocalStack(ctx context.Context, log string) (*localstack.Server, error) {
	local := filepath.Join(root, ".local")
	if err := os.MkdirAll(local, 0o755); err != nil {
		return nil, err
	}
	return localstack.Start(ctx, localstack.Config{
		Dir: filepath.Join(local, "localstack"), Log: filepath.Join(local, log), Progress: os.Stderr,
	})
}

// ---------------------------------------------------------------- a queue and a table

// canary is in every message, in a field that is masked.
const canary = "canary-593-47-5928"

// fixture is a queue, its dead-letter queue and a table, with the settings of the command line for them.
type fixture struct {
	*localstack.Client
	db          *pgtest.DB
	queue, dead string // URLs
	settings    map[string]string
}

// newFixture makes the table and the queues, FIFO queues if the attributes say so.
func newFixture(t *testing.T, attributes map[string]string) *fixture {
	t.Helper()
	return newFixtureOn(t, shared.local, attributes)
}

func newFixtureOn(t *testing.T, local *localstack.Server, attributes map[string]string) *fixture {
	t.Helper()
	db := pgtest.New(t)
	s := &fixture{Client: local.Client, db: db}
	name, fifo := "logins-"+db.Schema, attributes["FifoQueue"] == "true"
	suffix := ""
	if fifo {
		suffix = ".fifo"
	}
	deadAttributes := map[string]string{"MessageRetentionPeriod": "1209600"}
	if fifo {
		deadAttributes["FifoQueue"] = "true"
	}
	s.dead = s.create(t, name+"-dead"+suffix, deadAttributes)
	all := map[string]string{
		"VisibilityTimeout": "30",
		"RedrivePolicy":     fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":200}`, s.attributes(t, s.dead)["QueueArn"]),
	}
	maps.Copy(all, attributes)
	s.queue = s.create(t, name+suffix, all)
	// What users of another consumer export, the dead-letter queue, and the masks that they had.
	s.settings = map[string]string{
		"PATH": os.Getenv("PATH"), "AWS_ENDPOINT_URL": s.Endpoint, "AWS_DEFAULT_REGION": localstack.Region,
		"AWS_ACCESS_KEY_ID": localstack.AccessKey, "AWS_SECRET_ACCESS_KEY": localstack.SecretKey,
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"SQS_URL": s.queue, "DEAD_LETTER_QUEUE_URL": s.dead, "PG_URL": db.URL, "SLUICE_MASK": "sha256",
	}
	s.sluice(t, "", "migrate")
	return s
}

func (s *fixture) create(t *testing.T, name string, attributes map[string]string) (url string) {
	t.Helper()
	var made struct {
		QueueUrl string //nolint:revive // as SQS spells it
	}
	s.call(t, "sqs", "CreateQueue", map[string]any{"QueueName": name, "Attributes": attributes}, &made)
	return made.QueueUrl
}

func (s *fixture) attributes(t *testing.T, queue string) map[string]string {
	t.Helper()
	var got struct{ Attributes map[string]string }
	s.call(t, "sqs", "GetQueueAttributes", map[string]any{"QueueUrl": queue, "AttributeNames": []string{"All"}}, &got)
	return got.Attributes
}

// count returns how many messages are visible, in flight and delayed.
func (s *fixture) count(t *testing.T, queue string) (counts [3]int) {
	t.Helper()
	attributes := s.attributes(t, queue)
	for i, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
		n, err := strconv.Atoi(attributes[name])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		counts[i] = n
	}
	return counts
}

// wantCount looks more than once, since the counts are approximate, but for less time than a message
// stays hidden.
func (s *fixture) wantCount(t *testing.T, queue string, want int) {
	t.Helper()
	eventually(t, 3*time.Second, func() string {
		if got := s.count(t, queue); got != [3]int{want} {
			return fmt.Sprintf("%s has %d messages visible, %d in flight, %d delayed; want %d, all visible", queue, got[0], got[1], got[2], want)
		}
		return ""
	})
}

func (s *fixture) call(t *testing.T, service, action string, in, out any) {
	t.Helper()
	if err := s.JSON(t.Context(), service, action, in, out); err != nil {
		t.Fatal(err)
	}
}

// wantRows checks that every user has one row.
func (s *fixture) wantRows(t *testing.T, want int) {
	t.Helper()
	got := s.db.Rows(t, "SELECT count(*)::text, count(DISTINCT user_id)::text FROM user_logins")[0]
	if n := strconv.Itoa(want); got[0] != n || got[1] != n {
		t.Errorf("%s rows of %s users, want %d of %d", got[0], got[1], want, want)
	}
}

func (s *fixture) rows(t *testing.T) int {
	return int(s.db.Count(t, "SELECT count(*) FROM user_logins"))
}

// ---------------------------------------------------------------- the command

func (s *fixture) environ() (environ []string) {
	for name, value := range s.settings {
		environ = append(environ, name+"="+value)
	}
	return environ
}

// sluice runs a command to its end, and returns what it prints.
func (s *fixture) sluice(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	p := s.start(t, stdin, args...)
	return p.exits(0)
}

// decode runs a command that prints JSON.
func decode[T any](t *testing.T, s *fixture, args ...string) (v T) {
	t.Helper()
	text := s.sluice(t, "", args...)
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("sluice %s: %v: %s", strings.Join(args, " "), err, text)
	}
	return v
}

// process is a running command.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer // to be read when it has ended
	stderr testlog.Log
	done   chan struct{}
}

func (s *fixture) start(t *testing.T, stdin string, args ...string) *process {
	t.Helper()
	p := &process{t: t, done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), shared.sluice, args...)
	p.cmd.Env, p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = s.environ(), strings.NewReader(stdin), &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // ProcessState has the code
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // if it still runs
		<-p.done
		for _, text := range []string{p.stdout.String(), p.stderr.String()} {
			if strings.Contains(text, canary) || strings.Contains(text, address) {
				t.Errorf("the output has a personal value:\n%s", text)
			}
		}
	})
	return p
}

func (p *process) signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("%v\n%s", err, p.stderr.String())
	}
}

// says waits until the process has written something to standard error.
func (p *process) says(what string) {
	p.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(p.stderr.String(), what); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("no %s within a minute:\n%s", what, p.stderr.String())
		}
	}
}

// exits waits for the end, checks the exit code, and returns the standard output.
func (p *process) exits(code int) string {
	p.t.Helper()
	<-p.done
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("%s: exit code %d (%s), want %d\n%s%s", strings.Join(p.cmd.Args[1:], " "), got, p.cmd.ProcessState, code, p.stdout.String(), p.stderr.String())
	}
	return p.stdout.String()
}

// eventually waits until nothing is missing.
func eventually(t *testing.T, most time.Duration, missing func() string) {
	t.Helper()
	for deadline := time.Now().Add(most); ; time.Sleep(50 * time.Millisecond) {
		what := missing()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", most, what)
		}
	}
}

// summary is what consume --json prints.
type summary struct {
	Received, Stored, Duplicate, Rejected, Returned, Transactions, Undeleted int

	DeadLettered int `json:"dead_lettered"`
	PerSecond    int `json:"per_second"`
	Reasons      map[string]int
	Ended        string
}

// ---------------------------------------------------------------- messages

// address is in every message.
const address = "203.0.113.7"

// login is the body of a good message.
func login(user, device string) string {
	return fmt.Sprintf(`{"user_id":%q,"app_version":"2.3.0","device_type":%q,"ip":%q,"locale":"en","device_id":%q}`, user, device, address, canary)
}

// logins returns n of them, a line each.
func logins(first, n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(login(fmt.Sprintf("u-%06d", first+i), "android"))
		b.WriteByte('\n')
	}
	return b.String()
}

// malformed has invalid messages by reason.
var malformed = map[string]string{
	"not_json":          `{"user_id":"` + canary,
	"missing":           `{"ip":"` + address + `"}`,
	"not_an_ip_address": `{"user_id":"bad","ip":"` + canary + `"}`,
	"wrong_type":        `{"user_id":"bad","ip":7}`,
}

func malformedLines() string {
	var lines []string
	for _, line := range malformed {
		lines = append(lines, line+"\n")
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
