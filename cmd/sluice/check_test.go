package main_test

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/models"
)

// fakeLambda answers as the Lambda API does; what else is asked goes to SQS.
type fakeLambda struct {
	sqs      *sqstest.Server
	status   int
	mappings string
	one      string // the answer to a question about one mapping, "" for 403
	timeout  int
}

func (f *fakeLambda) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case !strings.HasPrefix(r.URL.Path, "/2015-03-31/"):
		f.sqs.ServeHTTP(w, r)
	case f.status != 0, strings.HasSuffix(r.URL.Path, "/"+mappingID) && f.one == "":
		w.Header().Set("X-Amzn-ErrorType", "AccessDeniedException")
		w.WriteHeader(max(f.status, http.StatusForbidden))
		fmt.Fprint(w, `{"Message":"canary"}`)
	case strings.HasSuffix(r.URL.Path, "/"+mappingID):
		fmt.Fprint(w, f.one)
	case strings.Contains(r.URL.Path, "event-source-mappings"):
		fmt.Fprintf(w, `{"EventSourceMappings":[%s]}`, f.mappings)
	default:
		fmt.Fprintf(w, `{"FunctionName":"logins-ingest","Timeout":%d,"Environment":{"Variables":{"SLUICE_MASK_KEYS":"canary"}}}`, f.timeout)
	}
}

const mappingID = "14e0db71-5d35-4eb5-b481-8945cf9d10c2"

const goodMapping = `{"UUID":"` + mappingID + `","FunctionArn":"arn:aws:lambda:eu-west-1:000000000000:function:logins-ingest","State":"Enabled","MaximumBatchingWindowInSeconds":5,"FunctionResponseTypes":["ReportBatchItemFailures"]}`

const (
	ownKey     = `"KMSKeyArn":"arn:aws:kms:eu-west-1:000000000000:key/k"`
	someFilter = `{"Filters":[{"Pattern":"{\"body\":{\"user_id\":[\"canary\"]}}"}]}`
)

// with is the good mapping with more to it.
func with(more string) string { return strings.TrimSuffix(goodMapping, "}") + "," + more + "}" }

// account is an installation in which nothing is wrong.
type account struct {
	t            *testing.T
	lambda       *fakeLambda
	db           *pgtest.DB
	source, dead *sqstest.Queue
	environ      map[string]string
}

func newAccount(t *testing.T) *account {
	t.Helper()
	return newAccountWith(t, pgtest.New(t))
}

func newAccountWith(t *testing.T, db *pgtest.DB) *account {
	t.Helper()
	s := &account{t: t, db: db, lambda: &fakeLambda{sqs: sqstest.New(), mappings: goodMapping, timeout: 29}}
	t.Cleanup(s.lambda.sqs.Close)
	front := httptest.NewServer(s.lambda)
	t.Cleanup(front.Close)
	useAWS(t, front.URL)
	s.dead = s.lambda.sqs.Queue("dead", map[string]string{"MessageRetentionPeriod": "1209600"})
	s.queue(map[string]string{})
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range m.DDL() {
		s.db.Exec(t, sql)
	}
	s.environ = map[string]string{
		// A server whose log is as it comes holds refused rows, and check warns of that.
		"DATABASE_URL": s.db.URL + "&log_error_verbosity=terse", "SQS_URL": s.source.URL, "DEAD_LETTER_QUEUE_URL": s.dead.URL, "SLUICE_BACKOFF": "true",
		"SLUICE_MASK_KEYS": "k1:canary-0123456789abcdef0123456789abcdef",
	}
	return s
}

func (s *account) queue(change map[string]string) {
	attributes := map[string]string{"VisibilityTimeout": "180", "RedrivePolicy": `{"deadLetterTargetArn":"` + s.dead.ARN + `","maxReceiveCount":"50"}`}
	maps.Copy(attributes, change)
	s.source = s.lambda.sqs.Queue("logins", attributes)
}

type checked struct {
	Findings []struct{ Severity, About, Rule, What, Remedy string }
	Errors   int
	Skipped  int
}

func (s *account) check() (got checked, rules []string) {
	s.t.Helper()
	code, stdout, stderr := run(s.t, s.environ, "", "check", "--json")
	noCanary(s.t, stdout, stderr)
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		s.t.Fatalf("%v: %s %s", err, stdout, stderr)
	}
	if (code != 0) != (got.Errors > 0) || stderr != "" {
		s.t.Errorf("the exit code is %d, with %d errors; %s", code, got.Errors, stderr)
	}
	for _, f := range got.Findings {
		if f.Severity != "ok" {
			rules = append(rules, f.Severity+" "+f.Rule)
		}
		if f.Remedy == "" && (f.Severity == "error" || f.Severity == "warning") {
			s.t.Errorf("no remedy: %+v", f)
		}
	}
	slices.Sort(rules)
	return got, rules
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*account)
		want   []string
	}{
		{"nothing is wrong", func(*account) {}, nil},
		{"no configuration", func(s *account) { s.environ = nil }, []string{"error configuration", "error configuration", "skipped connect", "skipped queue"}},
		{"a model with two problems", func(s *account) {
			file := filepath.Join(s.t.TempDir(), "t.yaml")
			if err := os.WriteFile(file, []byte("model: t\ntable: t\nkey: [a]\nfields: {b: {type: txt}}\ncolumns: {b: {type: text, from: b}}\n"), 0o600); err != nil {
				s.t.Fatal(err)
			}
			s.environ["SLUICE_MODEL"] = file
		}, []string{"error configuration", "error configuration", "skipped connect"}},
		{"masks and no mask_key", func(s *account) {
			s.environ["SLUICE_MODEL"], s.environ["DATABASE_URL"] = "user_logins_plain", "sqlite::memory:"
		}, []string{"error connect", "warning mask_key"}},
		{"a queue's URL that is none", func(s *account) { s.environ["SQS_URL"] = "canary" }, []string{"error configuration", "skipped queue"}},
		{"unknown model", func(s *account) { s.environ["SLUICE_MODEL"] = "nosuch" }, []string{"error configuration", "skipped connect"}},
		{"unkeyed masks", func(s *account) {
			delete(s.environ, "SLUICE_MASK_KEYS")
			s.environ["SLUICE_MASK"] = "sha256"
		}, []string{"warning unkeyed"}},
		{"no table", func(s *account) { s.db.Exec(s.t, "DROP TABLE user_logins") }, []string{"error table_missing"}},
		{"no database", func(s *account) { s.environ["DATABASE_URL"] = "postgres://me:canary@127.0.0.1:1/x" }, []string{"error connect"}},
		{"a URL that is none", func(s *account) { s.environ["DATABASE_URL"] = "mysql://me:canary@db/x" }, []string{"error configuration"}},
		{"SQLite", func(s *account) {
			s.environ["DATABASE_URL"] = "sqlite:" + filepath.Join(s.t.TempDir(), "logins.db")
			ends(s.t, s.environ, 0, "migrate")
		}, nil},
		{"SQLite, without the table", func(s *account) { s.environ["DATABASE_URL"] = "sqlite::memory:" }, []string{"error connect"}},
		{"SQLite, without the file", func(s *account) { s.environ["DATABASE_URL"] = "sqlite:no-such-file.db" }, []string{"error connect"}},
		{"no queue", func(s *account) { s.environ["SQS_URL"] += "x" }, []string{"error queue"}},
		{"no dead-letter queue", func(s *account) { s.environ["DEAD_LETTER_QUEUE_URL"] += "x" }, []string{"error dead_letter_queue"}},
		{"the policy's queue is gone", func(s *account) {
			s.queue(map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + s.dead.ARN + `x","maxReceiveCount":50}`})
		}, []string{"error dead_letter_queue"}},
		{"three receives of half a minute", func(s *account) {
			s.queue(map[string]string{"VisibilityTimeout": "30", "RedrivePolicy": `{"deadLetterTargetArn":"` + s.dead.ARN + `","maxReceiveCount":3}`})
		}, []string{"error outage", "error visibility", "warning max_receive_count"}},
		{"no back-off", func(s *account) { delete(s.environ, "SLUICE_BACKOFF") }, []string{"warning outage"}},
		{"messages in the dead-letter queue", func(s *account) { s.dead.Put(sqstest.Message{Body: queueCanary}) }, []string{"warning messages"}},
		{"the answer is ignored", func(s *account) {
			s.lambda.mappings = strings.Replace(goodMapping, `"ReportBatchItemFailures"`, "", 1)
		}, []string{"error report_batch_item_failures"}},
		{"a filter", func(s *account) { s.lambda.mappings = with(`"FilterCriteria":` + someFilter) }, []string{"error filter_criteria"}},
		{"a filter that was removed", func(s *account) { s.lambda.mappings = with(`"FilterCriteria":{"Filters":[]}`) }, nil},
		{"a filter that is encrypted", func(s *account) {
			s.lambda.mappings, s.lambda.one = with(ownKey), with(ownKey+`,"FilterCriteria":`+someFilter)
		}, []string{"error filter_criteria"}},
		{"a key, and no filter", func(s *account) { s.lambda.mappings, s.lambda.one = with(ownKey), with(ownKey) }, nil},
		{"a key that may not be used", func(s *account) {
			s.lambda.mappings, s.lambda.one = with(ownKey), with(ownKey+`,"FilterCriteriaError":{"ErrorCode":"KMSAccessDenied","Message":"canary"}`)
		}, []string{"skipped filter_criteria"}},
		{"a mapping that may not be read", func(s *account) { s.lambda.mappings = with(ownKey) }, []string{"skipped filter_criteria"}},
		{"a slow function", func(s *account) { s.lambda.timeout = 60 }, []string{"warning visibility"}},
		{"a second function, disabled", func(s *account) {
			s.lambda.mappings += "," + strings.Replace(goodMapping, "Enabled", "Disabled", 1)
		}, []string{"error disabled"}},
		{"Lambda may not be asked", func(s *account) { s.lambda.status = 403 }, []string{"skipped mapping"}},
		{"no Lambda", func(s *account) { s.lambda.status = 404 }, []string{"skipped mapping"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newAccount(t)
			tt.change(s)
			if got, rules := s.check(); strings.Join(rules, ", ") != strings.Join(tt.want, ", ") {
				t.Errorf("got  %s\nwant %s\n%+v", strings.Join(rules, ", "), strings.Join(tt.want, ", "), got)
			}
			if n := len(s.lambda.sqs.Calls("ReceiveMessage")); n != 0 {
				t.Errorf("%d messages were received", n)
			}
		})
	}
}

func TestCheckTable(t *testing.T) {
	s := newAccount(t)
	ends(t, s.environ, 0, "check", "errors: 0, warnings: 0, skipped: 0", "messages survive a database outage of ")
	s.db.Exec(t, "ALTER TABLE user_logins ALTER locale TYPE varchar(5)")
	if code, stdout, stderr := run(t, s.environ, "", "check"); code != 1 || stderr != "" || !strings.Contains(stdout, "→ ALTER TABLE ") {
		t.Errorf("got %d, %s, %s", code, stdout, stderr)
	}
	ends(t, s.environ, 2, "check --timeout soon", "--timeout")
}

// An endpoint of a company's own, whose certificate only AWS_CA_BUNDLE vouches for.
func TestCheckByACompanysRoots(t *testing.T) {
	s := newAccount(t)
	front := httptest.NewTLSServer(s.lambda)
	t.Cleanup(front.Close)
	bundle := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_ENDPOINT_URL", front.URL)
	t.Setenv("AWS_CA_BUNDLE", bundle)
	if got, rules := s.check(); rules != nil {
		t.Errorf("got %v, %+v", rules, got)
	}
}
