package main_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/owner/sluice/events"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/runtimeapi"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// foreign are packages that the function must not link: what only the command
// line, tests or another store need.
var foreign = []string{
	"modernc.org/", "github.com/prometheus/", "github.com/alecthomas/kong", "github.com/olekukonko/", "github.com/schollz/", "github.com/fergusstrange/",
	"github.com/aws/aws-sdk-go-v2/config", "github.com/aws/aws-sdk-go-v2/service/sso", "github.com/aws/aws-sdk-go-v2/service/sts",
	"github.com/google/go-cmp", "github.com/rogpeppe/", "testing", "net/rpc",
	"example.com/owner/sluice/cmd/", "example.com/owner/sluice/internal/testing/localpg", "example.com/owner/sluice/internal/testing/pgtest", "example.com/owner/sluice/internal/testing/esmsim", "example.com/owner/sluice/internal/testing/runtimeapi", "example.com/owner/sluice/internal/sqlite", "example.com/owner/sluice/internal/testing/sqstest",
}

func TestLinksNothingForeign(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "lambda.norpc", "example.com/owner/sluice/functions/ingest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	list, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(string(list))
	if len(packages) < 50 {
		t.Fatalf("go list names only %d packages", len(packages))
	}
	for _, p := range packages {
		for _, f := range foreign {
			if p == f || strings.HasPrefix(p, f+"/") || strings.HasSuffix(f, "/") && strings.HasPrefix(p, f) {
				t.Errorf("the function links %s", p)
			}
		}
	}
}

// TestFunction runs the real binary, as it is deployed, under a stand-in of
// the Lambda runtime API.
func TestFunction(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it builds the function: not with -short")
	}
	binary := filepath.Join(t.TempDir(), "bootstrap")
	if err := runtimeapi.Build(t.Context(), "example.com/owner/sluice/functions/ingest", binary); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the function has %.1f MB", float64(info.Size())/1e6)

	batch, err := events.FS.ReadFile("batch.json")
	if err != nil {
		t.Fatal(err)
	}
	start := func(t *testing.T, timeout time.Duration, env ...string) (*runtimeapi.Function, *output) {
		t.Helper()
		var out output
		f, err := runtimeapi.Start(t.Context(), binary, append(env, "AWS_LAMBDA_LOG_FORMAT=JSON"), timeout, &out)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.Kill)
		return f, &out
	}
	const (
		keys = "SLUICE_MASK_KEYS=k1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
		// of events/batch.json
		rejected = `{"batchItemFailures":[{"itemIdentifier":"e879fcb8-2aad-5245-8fcc-18ef32510dfb"},{"itemIdentifier":"b8564c10-95c4-5a4c-9034-47d3d2ab3fb5"},{"itemIdentifier":"8a5d9887-13e4-58a6-8201-de41da1c921c"},{"itemIdentifier":"f998a3ca-4b65-5fb3-874b-198a70b55bde"}]}`
		stored   = 5
	)

	t.Run("events", func(t *testing.T) {
		t.Parallel()
		db := tables(t)
		f, out := start(t, time.Minute, "DATABASE_URL="+db.URL, keys)
		for _, delivery := range []string{"cold", "warm"} {
			if a := invoke(t, f, batch); a.Failed || string(a.Body) != rejected {
				t.Errorf("%s: got %s\nwant %s", delivery, a.Body, rejected)
			}
			if got := db.Count(t, "SELECT count(*) FROM user_logins"); got != stored {
				t.Errorf("%s: got %d rows, want %d", delivery, got, stored)
			}
		}
		for _, foreign := range []string{`{"version":"2.0","body":"203.0.113.7"}`, `{"Records":null}`, `"203.0.113.7"`} {
			shown(t, invoke(t, f, []byte(foreign)), "EventError", "SQS event source mapping")
		}
		if a := invoke(t, f, []byte(`{"Records":[]}`)); a.Failed || string(a.Body) != `{"batchItemFailures":[]}` {
			t.Errorf("no records: got %s", a.Body)
		}
		if a := invoke(t, f, batch); a.Failed || string(a.Body) != rejected {
			t.Errorf("after errors: got %s", a.Body)
		}
		out.check(t, `"message":"message rejected"`, `"reason":"not_an_ip_address"`, `"requestId":"00000000-0000-4000-8000-000000000001"`, `"Stored":`, `"ColdStart":1`, `"ColdStart":0`)
	})

	t.Run("one line for a batch", func(t *testing.T) {
		t.Parallel()
		// Nobody knows this key, so no line warns of it.
		f, out := start(t, time.Minute, "DATABASE_URL="+tables(t).URL, "SLUICE_MASK_KEYS=k1:"+rand.Text()+rand.Text())
		invocations := 0
		for _, n := range []int{1, 10, 100, 1000} {
			for _, warm := range []bool{false, true} { // of the size
				invocations++
				if a := invoke(t, f, newEvent(t, n)); a.Failed || string(a.Body) != `{"batchItemFailures":[]}` {
					t.Fatalf("got %s", a.Body)
				}
				id := fmt.Sprintf(`"requestId":"00000000-0000-4000-8000-%012d"`, invocations)
				out.check(t, id, fmt.Sprintf(`"Received":%d,"Stored":%d,`, n, n))
				text := out.Take()
				if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, `{"_aws":`) || !strings.HasSuffix(text, "}\n") || !strings.Contains(text, id) {
					t.Errorf("%d messages: the output is not one line of metrics: %s", n, text)
				}
				if warm {
					t.Logf("an invocation with %d messages writes %d bytes", n, len(text))
				}
			}
		}
	})

	t.Run("misconfigured", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			name string
			env  []string
			want []string
		}{
			{"nothing is set", nil, []string{"DATABASE_URL is not set", "nothing says how to mask"}},
			{"no mask", []string{"DATABASE_URL=postgres://user:canary@localhost/logins"}, []string{"nothing says how to mask", "SLUICE_MASK_KEYS"}},
			{"a short key", []string{"DATABASE_URL=postgres://user:canary@localhost/logins", "SLUICE_MASK_KEYS=k1:canary"}, []string{"key k1 has 6 bytes, want at least 32"}},
			{"two masks", []string{"DATABASE_URL=postgres://user:canary@localhost/logins", keys, "SLUICE_MASK=sha256"}, []string{"SLUICE_MASK_KEYS and SLUICE_MASK are set together"}},
			{"an unknown model", []string{"DATABASE_URL=postgres://user:canary@localhost/logins", keys, "SLUICE_MODEL=nosuch"}, []string{`no model is named \"nosuch\"; there are orders, user_logins`}},
			{"a misspelt variable", []string{"DATABASE_URL=postgres://user:canary@localhost/logins", keys, "SLUICE_MDOEL=orders"}, []string{"unknown variable SLUICE_MDOEL; did you mean SLUICE_MODEL?"}},
			{"no URL", []string{"DATABASE_URL=user:canary@localhost", keys}, []string{"DATABASE_URL is not a valid URL; expected postgres://"}},
			{"no level", []string{"DATABASE_URL=postgres://user:canary@localhost/logins", keys, "LOG_LEVEL=loud"}, []string{`LOG_LEVEL \"loud\" is not a log level`}},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				f, out := start(t, time.Minute, tt.env...)
				for range 2 { // the process lives on: a failed init would say little, and start again and again
					shown(t, invoke(t, f, batch), "ConfigError", tt.want...)
				}
				shown(t, invoke(t, f, []byte(`{"Records":[]}`)), "ConfigError", tt.want...)
				out.times(t, 3, tt.want[0]) // once for each event
			})
		}
	})

	t.Run("no table", func(t *testing.T) {
		t.Parallel()
		db := pgtest.New(t)
		f, out := start(t, time.Minute, "DATABASE_URL="+db.URL, keys)
		shown(t, invoke(t, f, batch), "DatabaseError", "42P01", "sluice migrate")
		out.check(t, `"fault":"operator"`)
	})

	t.Run("no server", func(t *testing.T) {
		t.Parallel()
		f, out := start(t, time.Minute, "DATABASE_URL=postgres://user:canary@127.0.0.1:1/logins", keys)
		a := invoke(t, f, batch)
		if got := strings.Count(string(a.Body), "itemIdentifier"); a.Failed || got != 9 { // 10 records, one twice
			t.Errorf("got %d of 9: %s", got, a.Body)
		}
		out.check(t, `"fault":"moment"`, "cannot connect to 127.0.0.1:1")
	})

	t.Run("a silent server", func(t *testing.T) {
		t.Parallel()
		proxy := pgtest.NewProxy(t, tables(t).URL)
		proxy.Silence()
		const timeout = 6 * time.Second
		f, _ := start(t, timeout, "DATABASE_URL="+proxy.URL, keys)
		<-f.Polled()
		began := time.Now()
		a := invoke(t, f, batch)
		if took := time.Since(began); took >= timeout {
			t.Errorf("the answer took %v, and Lambda had ended the function after %v", took, timeout)
		}
		if got := strings.Count(string(a.Body), "itemIdentifier"); a.Failed || got != 9 {
			t.Errorf("got %d of 9: %s", got, a.Body)
		}
		proxy.Resume()
		if a := invoke(t, f, batch); a.Failed || string(a.Body) != rejected {
			t.Errorf("afterwards: got %s", a.Body)
		}
	})

	t.Run("shutdown", func(t *testing.T) {
		t.Parallel()
		db := tables(t)
		proxy := pgtest.NewProxy(t, db.URL)
		f, _ := start(t, time.Minute, "DATABASE_URL="+proxy.URL, keys)
		if a := invoke(t, f, batch); a.Failed {
			t.Fatalf("got %s", a.Body)
		}
		open := func() int64 {
			return db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND query LIKE '%INSERT INTO%user_logins%' AND query NOT LIKE '%pg_stat_activity%' AND application_name = $1", application(t, db))
		}
		if got := open(); got != 1 {
			t.Fatalf("the warm function has %d connections, want 1", got)
		}
		if err := f.Terminate(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); open() != 0; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("SIGTERM did not close the connection")
			}
		}
	})
}

// newEvent returns an event of n messages that no other event has.
func newEvent(t *testing.T, n int) []byte {
	t.Helper()
	type record struct {
		MessageID   string            `json:"messageId"`
		Body        string            `json:"body"`
		Attributes  map[string]string `json:"attributes"`
		EventSource string            `json:"eventSource"`
	}
	var all struct{ Records []record }
	for range n {
		all.Records = append(all.Records, record{
			MessageID: uuid.NewString(), EventSource: "aws:sqs",
			Body:       `{"user_id":"u-1","device_type":"web","ip":"203.0.113.7","device_id":"d-1","locale":"en","app_version":"1.2.3"}`,
			Attributes: map[string]string{"ApproximateReceiveCount": "1", "SentTimestamp": fmt.Sprint(time.Now().Add(-time.Second).UnixMilli())},
		})
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// tables makes the model's tables.
func tables(t *testing.T) *pgtest.DB {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return pgtest.New(t, m.DDL()...)
}

// application is the application_name of a database's URL.
func application(t *testing.T, db *pgtest.DB) string {
	t.Helper()
	return db.Conn(t).Config().RuntimeParams["application_name"]
}

func invoke(t *testing.T, f *runtimeapi.Function, event []byte) runtimeapi.Answer {
	t.Helper()
	a, err := f.Invoke(event)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shown holds that an invocation failed, and how Lambda shows it.
func shown(t *testing.T, a runtimeapi.Answer, errorType string, parts ...string) {
	t.Helper()
	if !a.Failed || !strings.Contains(string(a.Body), fmt.Sprintf(`"errorType":%q`, errorType)) {
		t.Errorf("got %s, want an error of type %s", a.Body, errorType)
	}
	for _, part := range parts {
		if !strings.Contains(string(a.Body), part) {
			t.Errorf("the error lacks %q: %s", part, a.Body)
		}
	}
	if strings.Contains(string(a.Body), "canary") || strings.Contains(string(a.Body), "203.0.113.7") {
		t.Errorf("the error holds a secret or a value: %s", a.Body)
	}
}

// output is what the function writes.
type output struct{ testlog.Log }

// times holds that a part is there n times.
func (o *output) times(t *testing.T, n int, part string) {
	t.Helper()
	count := func() int { return strings.Count(o.String(), part) }
	for deadline := time.Now().Add(10 * time.Second); count() < n && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	if got := count(); got != n {
		t.Errorf("the output has %q %d times, want %d: %s", part, got, n, o)
	}
	o.check(t)
}

// check holds that certain parts are there, and nothing personal or secret.
// The output may come some time behind the answer.
func (o *output) check(t *testing.T, parts ...string) {
	t.Helper()
	for _, part := range parts {
		for deadline := time.Now().Add(10 * time.Second); !strings.Contains(o.String(), part); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the output lacks %s: %s", part, o)
			}
		}
	}
	text := o.String()
	for _, raw := range []string{"203.0.113.", "2001:db8", "593-47-5928", "dev-8842", "canary", "0123456789abcdef"} {
		if strings.Contains(text, raw) {
			t.Errorf("the output holds %q: %s", raw, text)
		}
	}
}
