package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

// consumeCanary is in every message, in a field that is masked.
const consumeCanary = "canary-593-47-5928"

// installation is a queue and a database for the real command.
type installation struct {
	sqs         *sqstest.Server
	queue, dead *sqstest.Queue
	db          *pgtest.DB
	environ     []string
}

func install(t *testing.T, attributes map[string]string) *installation {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	s := &installation{sqs: sqstest.New(), db: pgtest.New(t, m.DDL()...)}
	t.Cleanup(s.sqs.Close)
	s.queue, s.dead = s.sqs.Queue("logins", attributes), s.sqs.Queue("dead", nil)
	// What those export who come from another consumer, and the one word that masks as theirs did.
	s.environ = append(os.Environ(), "SQS_URL="+s.queue.URL, "PG_URL="+s.db.URL, "SLUICE_MASK=sha256")
	for name, value := range awsEnviron(s.sqs.URL) {
		s.environ = append(s.environ, name+"="+value)
	}
	s.environ = append(s.environ, "AWS_REGION=", "AWS_DEFAULT_REGION="+sqstest.Region) // the SDK reads both
	return s
}

func (s *installation) put(n int) {
	messages := make([]sqstest.Message, n)
	for i := range messages {
		messages[i].Body = fmt.Sprintf(`{"user_id":"u-%d","app_version":"2.3.0","device_type":"android","ip":"203.0.113.7","locale":"en","device_id":%q}`, i, consumeCanary)
	}
	s.queue.Put(messages...)
}

func (s *installation) rows(t *testing.T) int {
	t.Helper()
	row := s.db.Rows(t, "SELECT count(*), count(DISTINCT user_id) FROM user_logins")[0]
	if row[0] != row[1] {
		t.Errorf("%s rows of %s users: some twice", row[0], row[1])
	}
	n, err := strconv.Atoi(row[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *installation) inFlight() (n int) {
	for _, m := range s.queue.Messages() {
		if m.VisibleAt.After(time.Now()) {
			n++
		}
	}
	return n
}

// consuming is a process of the command.
type consuming struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr testlog.Log
	done   chan struct{}
}

// consume starts the command as a process.
func (s *installation) consume(t *testing.T, args ...string) *consuming {
	t.Helper()
	c := &consuming{t: t, done: make(chan struct{})}
	c.start(s, exec.CommandContext(context.WithoutCancel(t.Context()), "sluice", append([]string{"consume"}, args...)...))
	return c
}

func (c *consuming) start(s *installation, cmd *exec.Cmd) {
	t := c.t
	t.Helper()
	c.cmd = cmd
	c.cmd.Env, c.cmd.Stdout = s.environ, &c.stdout
	if cmd.Stderr == nil {
		c.cmd.Stderr = &c.stderr
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait() // ProcessState has the code
		close(c.done)
	}()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // if it still runs
		<-c.done
		for _, text := range []string{c.stdout.String(), c.stderr.String()} {
			if strings.Contains(text, consumeCanary) || strings.Contains(text, "203.0.113.7") {
				t.Errorf("a raw personal value shows:\n%s", text)
			}
		}
	})
}

func (c *consuming) signal(sig os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Fatal(err)
	}
}

// exits waits for the end, and checks the exit code.
func (c *consuming) exits(code int) (stdout, stderr string) {
	c.t.Helper()
	<-c.done
	if got := c.cmd.ProcessState.ExitCode(); got != code {
		c.t.Fatalf("exit code %d (%s), want %d\n%s\n%s", got, c.cmd.ProcessState, code, c.stdout.String(), c.stderr.String())
	}
	return c.stdout.String(), c.stderr.String()
}

// until waits for something that the process must do.
func (c *consuming) until(what string, is func() bool) {
	c.t.Helper()
	for !is() {
		select {
		case <-c.done:
			if is() {
				return
			}
			c.t.Fatalf("it ended (%s) before %s\n%s\n%s", c.cmd.ProcessState, what, c.stdout.String(), c.stderr.String())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

func TestConsumeUntilEmpty(t *testing.T) {
	t.Parallel()
	s := install(t, nil)
	s.put(1200)
	s.queue.Put(sqstest.Message{Body: `{"user_id":"` + consumeCanary}, sqstest.Message{Body: `{"ip":"203.0.113.7"}`})
	s.environ = append(s.environ, "DEAD_LETTER_QUEUE_URL="+s.dead.URL)
	stdout, stderr := s.consume(t).exits(0)
	for _, want := range []string{
		"^The queue is empty.\n", `\n  received  1,202 in \d+(?:\.\d)?s, \d+ transactions, [0-9,]+ a second\n`, `\n  stored    1,200 new, 0 duplicates\n`,
		`\n  rejected  2 \(1 missing, 1 not_json\); 2 sent to the dead-letter queue\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(stdout) {
			t.Errorf("the summary lacks %q:\n%s", want, stdout)
		}
	}
	if n := s.rows(t); n != 1200 {
		t.Errorf("%d rows, want 1200", n)
	}
	if n := len(s.dead.Messages()); n != 2 {
		t.Errorf("%d messages are in the dead-letter queue, want 2", n)
	}
	for line := range strings.Lines(stderr) {
		if !json.Valid([]byte(line)) {
			t.Errorf("the log has a line that is not JSON: %s", line)
		}
	}
	if lines := strings.Count(stderr, "\n"); lines > 10 {
		t.Errorf("%d lines of log are not quiet:\n%s", lines, stderr)
	}

	// Once more, for a script, with nothing to do.
	stdout, _ = s.consume(t, "--json").exits(0)
	var summary struct {
		Ended    string
		Received int
		Seconds  float64
		Reasons  map[string]int
	}
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil || summary.Ended != "empty" || summary.Received != 0 || summary.Seconds <= 0 {
		t.Errorf("got %s, %v", stdout, err)
	}
}

func TestConsumeIntoSQLite(t *testing.T) {
	t.Parallel()
	s := install(t, nil)
	s.put(300)
	s.environ = append(s.environ, "PG_URL=", "DATABASE_URL=sqlite:"+filepath.Join(t.TempDir(), "logins.db"))
	migrate := exec.CommandContext(t.Context(), "sluice", "migrate")
	migrate.Env = s.environ
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if stdout, _ := s.consume(t).exits(0); !strings.Contains(stdout, "300 new") {
		t.Errorf("got %s", stdout)
	}
	if n := len(s.queue.Messages()); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

func TestConsumeFailsWithARemedy(t *testing.T) {
	t.Parallel()
	s := install(t, nil)
	s.put(50)
	s.db.Exec(t, "DROP TABLE user_logins")
	stdout, stderr := s.consume(t).exits(1)
	if !strings.Contains(stderr, "sluice: ") || !strings.Contains(stderr, "sluice migrate") || !strings.HasPrefix(stdout, "Stopped by an error.\n") {
		t.Errorf("got %s\n%s", stdout, stderr)
	}
	stdout, _ = s.consume(t, "--json").exits(1)
	var summary struct{ Ended, Error string }
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil || summary.Ended != "failed" || !strings.Contains(summary.Error, "sluice migrate") {
		t.Errorf("got %s, %v", stdout, err)
	}
	s.environ = append(s.environ, "SQS_URL="+s.sqs.URL+"/000000000000/missing")
	if _, stderr := s.consume(t).exits(1); !strings.Contains(stderr, "there is no such queue") {
		t.Errorf("got %s", stderr)
	}
}

// The first SIGTERM finishes or returns the messages in hand, and exits with 0.
func TestConsumeStops(t *testing.T) {
	t.Parallel()
	s := install(t, map[string]string{"VisibilityTimeout": "600"})
	const n = 3000
	s.put(n)
	c := s.consume(t, "--forever", "--batch-size", "100")
	c.until("some are stored", func() bool { return s.rows(t) > 0 })
	c.signal(syscall.SIGTERM)
	stdout, _ := c.exits(0)
	if !strings.HasPrefix(stdout, "Stopped.\n") {
		t.Errorf("got %s", stdout)
	}
	if k := s.inFlight(); k != 0 {
		t.Errorf("%d messages are in flight", k)
	}
	if rows, left := s.rows(t), len(s.queue.Messages()); rows+left != n {
		t.Errorf("%d rows and %d messages, want %d together", rows, left, n)
	}
}

// TestConsumeHangsUp: SIGHUP stops it as SIGTERM does, except where it is ignored, as under nohup.
func TestConsumeHangsUp(t *testing.T) {
	t.Parallel()
	for name, ignored := range map[string]bool{"hung up": false, "nohup": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := install(t, nil)
			c := &consuming{t: t, done: make(chan struct{})}
			shell := "exec sluice consume --forever"
			if ignored {
				shell = "trap '' HUP; " + shell
			}
			c.start(s, exec.CommandContext(context.WithoutCancel(t.Context()), "sh", "-c", shell))
			s.put(1)
			c.until("one is stored", func() bool { return s.rows(t) == 1 })
			c.signal(syscall.SIGHUP)
			if ignored {
				s.put(2) // of which one has the user of the first
				c.until("it goes on", func() bool {
					return len(s.queue.Messages()) == 0 && s.db.Count(t, "SELECT count(*) FROM user_logins") == 3
				})
				c.signal(syscall.SIGTERM)
			}
			if stdout, _ := c.exits(0); !strings.HasPrefix(stdout, "Stopped.\n") {
				t.Errorf("got %s", stdout)
			}
		})
	}
}

// The second one ends the process at once.
func TestConsumeStopsNow(t *testing.T) {
	t.Parallel()
	s := install(t, nil)
	s.put(10)
	lock := s.db.Conn(t)
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE user_logins"); err != nil {
		t.Fatal(err)
	}
	c := s.consume(t, "--forever", "--grace", "1h")
	c.until("a batch waits for the lock, and not only the first ping", func() bool {
		return s.inFlight() > 0 && s.db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", s.db.Schema) > 0
	})
	c.signal(syscall.SIGINT)
	c.until("it has seen the first", func() bool { return strings.Contains(c.stderr.String(), `"msg":"stopping"`) })
	for ended := false; !ended; { // it says so a moment before it lets go of the signal
		c.signal(syscall.SIGINT)
		select {
		case <-c.done:
			ended = true
		case <-time.After(100 * time.Millisecond):
		}
	}
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("it ended with %s", c.cmd.ProcessState)
	}
	if _, err := lock.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
}

// A consumer that is killed (kill -9) at random while messages flow: every
// row is there once. test/awslocal kills it 50 times.
func TestConsumeKilled(t *testing.T) {
	t.Parallel()
	const n = 4000
	kills := 8
	if testing.Short() {
		kills = 2
	}
	s := install(t, map[string]string{"VisibilityTimeout": "2"})
	s.put(n)
	rng := rand.New(rand.NewPCG(5, 6))
	inFlight := 0
	for range kills {
		c := s.consume(t, "--forever", "--batch-size", "100")
		calls := len(s.sqs.Calls("")) + 5 + rng.IntN(60)
		c.until("it has made some calls", func() bool { return len(s.sqs.Calls("")) >= calls || len(s.queue.Messages()) == 0 })
		c.signal(syscall.SIGKILL)
		<-c.done
		inFlight += s.inFlight()
	}
	if inFlight == 0 {
		t.Error("no kill met a message in flight: this shows nothing")
	}
	before := s.rows(t)
	s.consume(t).exits(0)
	if got := s.rows(t); got != n {
		t.Errorf("%d rows, want %d", got, n)
	}
	if left := len(s.queue.Messages()); left != 0 {
		t.Errorf("%d messages are left", left)
	}
	t.Logf("killed %d times with %d messages in flight altogether, %d of %d rows were there then", kills, inFlight, before, n)
}

func TestConsumeServesMetrics(t *testing.T) {
	t.Parallel()
	s := install(t, nil)
	s.put(40)
	s.queue.Put(sqstest.Message{Body: consumeCanary})
	s.environ = append(s.environ, "DEAD_LETTER_QUEUE_URL="+s.dead.URL)
	c := s.consume(t, "--forever", "--metrics-addr", "127.0.0.1:0")
	address := regexp.MustCompile(`"metrics":"(http://[^"]*)"`)
	c.until("it serves", func() bool { return address.MatchString(c.stderr.String()) })
	page := address.FindStringSubmatch(c.stderr.String())[1]
	get := func(url string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(text)
	}
	for _, want := range []string{
		`sluice_messages_total{outcome="stored",reason=""} 40`, `sluice_messages_total{outcome="rejected",reason="not_json"} 1`, "sluice_dead_lettered_total 1",
		"sluice_end_to_end_seconds_count 40", `sluice_queue_messages{state="visible"} `, "go_goroutines ",
	} {
		c.until("the page has "+want, func() bool {
			status, text := get(page)
			return status == http.StatusOK && strings.Contains(text, want)
		})
	}
	if _, text := get(page); strings.Contains(text, consumeCanary) {
		t.Error("the page has a raw value")
	}
	if status, text := get(strings.Replace(page, "/metrics", "/healthz", 1)); status != http.StatusOK || text != "ok\n" {
		t.Errorf("/healthz: %d, %s", status, text)
	}
	c.signal(os.Interrupt)
	c.exits(0)
	s.environ = append(s.environ, "LOG_LEVEL=error")
	if _, stderr := s.consume(t, "--metrics-addr", "nowhere").exits(1); !strings.Contains(stderr, `sluice: --metrics-addr: the value is not an address`) {
		t.Errorf("got %s", stderr)
	}
	s.environ = append(s.environ, "SLUICE_METRICS_ADDR=http://127.0.0.1:9464")
	if _, stderr := s.consume(t).exits(1); !strings.Contains(stderr, `sluice: SLUICE_METRICS_ADDR: the value is not an address`) {
		t.Errorf("got %s", stderr)
	}
}
