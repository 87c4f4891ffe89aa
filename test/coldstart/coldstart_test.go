// Package coldstart_test measures the cost of a new execution environment: from the start of the
// function's process to its first request for work, and to its first answer, with its own Postgres.
// The same run measures a hello-world function, turn by turn, since times of another machine or
// another minute mean little; and one that links the function's libraries and does nothing with
// them, which is as near to hello-world as the function can get.
//
//	make coldstart
//	go test -count=1 -v ./test/coldstart -args -runs 41 -warm 41 -limit 1.5
//
// As part of all tests it starts each function a few times and checks that the function does not
// use the network before its first event. It judges no time.
package coldstart_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/localpg"
	"example.com/owner/sluice/internal/testing/runtimeapi"
	"example.com/owner/sluice/models"
)

var (
	runs  = flag.Int("runs", 5, "how often each function is started")
	limit = flag.Float64("limit", 0, "fail above this ratio of the first request for work to hello-world's; 0 for none")
	warm  = flag.Int("warm", 0, "how many batches of each size to measure in a warm environment, as docs/cost.md does")
)

// keys masks the rows of the measurement.
const keys = "k1:0123456789abcdef0123456789abcdef"

// aim is the ratio of the function's first request for work to hello-world's that we aim for.
const aim = 1.5

// patience limits the time until a function asks for work.
const patience = 30 * time.Second

// subject is a function in one configuration.
type subject struct {
	name, binary string
	env          []string
	ingests      bool

	polled, answered []time.Duration
}

func TestColdStart(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds three functions and starts a server")
	}
	hello, linked, ingest := build(t, "testdata/hello"), build(t, "testdata/linked"), build(t, "../../functions/ingest")
	url := database(t) + "&connect_timeout=60" // a machine that is busy is no failure
	plain := []string{"DATABASE_URL=" + url, "SLUICE_MASK_KEYS=" + keys}
	deployed := append(slices.Clone(plain), "DEAD_LETTER_QUEUE_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/dead",
		"SLUICE_BACKOFF=true", "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none")
	subjects := []*subject{
		{name: "hello-world", binary: hello},
		{name: "hello-world, linked as ingest is", binary: linked},
		{name: "ingest", binary: ingest, env: plain, ingests: true},
		{name: "ingest, dead-letter queue and back-off on", binary: ingest, env: deployed, ingests: true},
	}
	for i := range *runs + 2 {
		for _, s := range subjects {
			s.start(t, i)
		}
	}
	report(t, subjects)
	if *warm > 0 {
		batches(t, ingest, plain)
	}
}

func build(t *testing.T, source string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "./"+source, binary); err != nil {
		t.Fatal(err)
	}
	return binary
}

func database(t *testing.T) string {
	t.Helper()
	server, err := localpg.Start(t.Context(), localpg.Config{Log: t.Output(), Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	loginAsUsual(t, server.URL())
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	store, err := postgres.Open(server.URL(), []*batch.Table{m.Table})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Migrate(t.Context(), m.DDL()); err != nil {
		t.Fatal(err)
	}
	return server.URL()
}

// loginAsUsual makes a login cost what it costs elsewhere: the server's own account has a password
// with one iteration, which is cheap.
func loginAsUsual(t *testing.T, url string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), fmt.Sprintf("ALTER ROLE CURRENT_USER PASSWORD '%s'", conn.Config().Password)); err != nil {
		t.Fatal(err)
	}
	var secret string
	if err := conn.QueryRow(t.Context(), "SELECT rolpassword FROM pg_authid WHERE rolname = current_user").Scan(&secret); err != nil || !strings.HasPrefix(secret, "SCRAM-SHA-256$4096:") {
		t.Fatalf("the password has another number of iterations than usual; %v", err)
	}
}

// begin starts a function and returns when it asks for work.
func begin(t *testing.T, binary string, env []string) *runtimeapi.Function {
	t.Helper()
	f, err := runtimeapi.Start(t.Context(), binary, env, 30*time.Second, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-f.Polled():
	case <-f.Exited():
		t.Fatal("the function ended before it asked for work")
	case <-time.After(patience):
		f.Kill()
		t.Fatal("the function does not ask for work")
	}
	return f
}

func invoke(t *testing.T, f *runtimeapi.Function, event []byte, want string) {
	t.Helper()
	answer, err := f.Invoke(event)
	if err != nil || answer.Failed || string(answer.Body) != want {
		t.Fatalf("answer %s, %v", answer.Body, err)
	}
}

// start starts the function once and stops it. The first two turns warm the machine's caches.
func (s *subject) start(t *testing.T, turn int) {
	t.Helper()
	event, want := []byte(`{}`), `"hello"`
	if s.ingests {
		event, want = newEvent(t, turn, 10), `{"batchItemFailures":[]}`
	}
	began := time.Now()
	f := begin(t, s.binary, s.env)
	defer f.Kill()
	polled := time.Since(began)
	invoke(t, f, event, want)
	if answered := time.Since(began); turn >= 2 {
		s.polled, s.answered = append(s.polled, polled), append(s.answered, answered)
	}
}

// newEvent returns an event of good messages that no other event has.
func newEvent(t *testing.T, turn, size int) []byte {
	t.Helper()
	type record struct {
		MessageID      string            `json:"messageId"`
		ReceiptHandle  string            `json:"receiptHandle"`
		Body           string            `json:"body"`
		Attributes     map[string]string `json:"attributes"`
		EventSource    string            `json:"eventSource"`
		EventSourceARN string            `json:"eventSourceARN"`
		AWSRegion      string            `json:"awsRegion"`
	}
	var all struct{ Records []record }
	for i := range size {
		all.Records = append(all.Records, record{
			MessageID: uuid.NewString(), ReceiptHandle: "r",
			Body:        `{"user_id":"u-1","device_type":"web","ip":"203.0.113.7","device_id":"d-1","locale":"en","app_version":"1.2.3"}`,
			Attributes:  map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": fmt.Sprint(1767225600000 + turn*100_000 + i)},
			EventSource: "aws:sqs", EventSourceARN: "arn:aws:sqs:eu-central-1:123456789012:logins", AWSRegion: "eu-central-1",
		})
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestQuietBeforeTheFirstEvent checks that the function, with a database, secrets and a queue
// configured, calls none of them before its first event.
func TestQuietBeforeTheFirstEvent(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the function")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var calls atomic.Int32
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			calls.Add(1)
			_ = c.Close()
		}
	}()
	address := listener.Addr().String()
	const secret = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-AbCdEf"
	f := begin(t, build(t, "../../functions/ingest"), []string{
		"DATABASE_URL=postgres://nobody@" + address + "/none", "DATABASE_SECRET_ARN=" + secret, "SLUICE_MASK_SECRET_ARN=" + secret,
		"DEAD_LETTER_QUEUE_URL=http://" + address + "/123456789012/dead", "SLUICE_BACKOFF=true", "AWS_ENDPOINT_URL=http://" + address,
		"AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=none", "AWS_SECRET_ACCESS_KEY=none",
	})
	defer f.Kill()
	time.Sleep(200 * time.Millisecond)
	if n := calls.Load(); n > 0 {
		t.Fatalf("%d connections before the first event", n)
	}
	if _, err := f.Invoke(newEvent(t, 0, 1)); err != nil {
		t.Fatal(err)
	}
	if calls.Load() == 0 {
		t.Error("no connection with the first event either: this test looks in the wrong place")
	}
}

func report(t *testing.T, subjects []*subject) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "medians of %d starts (90th percentile), turn by turn\n\n", len(subjects[0].polled))
	fmt.Fprintf(&b, "%-42s %-22s %-22s %-9s %s\n", "", "to the first request", "to the first answer", "binary", "zip")
	for _, s := range subjects {
		binary, zipped := 0, 0
		if testing.Verbose() { // only then somebody reads it
			binary, zipped = sizes(t, s.binary)
		}
		fmt.Fprintf(&b, "%-42s %-22s %-22s %-9s %s\n", s.name, times(s.polled), times(s.answered), megabytes(binary), megabytes(zipped))
	}
	b.WriteString("\n")
	base := median(subjects[0].polled)
	for _, s := range subjects[1:] {
		ratio := float64(median(s.polled)) / float64(base)
		fmt.Fprintf(&b, "%s: %.2f times hello-world to the first request (aim: %.1f)\n", s.name, ratio, aim)
		if s.ingests && *limit > 0 && ratio > *limit {
			t.Errorf("%s: %.2f times hello-world to the first request, over the limit of %.2f", s.name, ratio, *limit)
		}
	}
	t.Logf("\n%s", b.String())
}

// batches measures whole invocations of a warm function by size, turn by turn.
func batches(t *testing.T, binary string, env []string) {
	t.Helper()
	f := begin(t, binary, env)
	defer f.Kill()
	sizes := []int{1, 10, 100, 500, 1000, 2000, 5000, 10000}
	took := map[int][]time.Duration{}
	for turn := range *warm + 2 {
		for _, n := range sizes {
			event := newEvent(t, 1000+turn, n)
			began := time.Now()
			invoke(t, f, event, `{"batchItemFailures":[]}`)
			if turn >= 2 {
				took[n] = append(took[n], time.Since(began))
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "a warm environment, medians of %d batches of each size (90th percentile), turn by turn\n\n", *warm)
	fmt.Fprintf(&b, "%10s  %-22s %s\n", "messages", "an invocation", "a message")
	for _, n := range sizes {
		fmt.Fprintf(&b, "%10d  %-22s %.1f µs\n", n, times(took[n]), float64(median(took[n]).Nanoseconds())/1000/float64(n))
	}
	t.Logf("\n%s", b.String())
}

func times(d []time.Duration) string {
	return fmt.Sprintf("%s (%s)", milliseconds(median(d)), milliseconds(percentile(d, 90)))
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func megabytes(n int) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

func median(d []time.Duration) time.Duration { return percentile(d, 50) }

func percentile(d []time.Duration, p int) time.Duration {
	if len(d) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(d))
	return sorted[(len(sorted)-1)*p/100]
}

// sizes returns the sizes of the binary and of its zip file.
func sizes(t *testing.T, binary string) (plain, zipped int) {
	t.Helper()
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("bootstrap")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return len(text), b.Len()
}
