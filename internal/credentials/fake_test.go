package credentials_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/testlog"
)

const (
	region      = "eu-central-1"
	databaseARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sluice/database-AbCdEf"
	maskARN     = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sluice/mask-AbCdEf"
	// canary is part of every secret here, and of no error, log or print.
	canary = "canary-Pa55-w0rd"
)

// manager is a fake Secrets Manager. It speaks the JSON protocol to the real
// client of the SDK.
type manager struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex
	answer answer
	calls  []string // the ids that were asked for
	scopes []string // region and service of the signatures
	hanged chan struct{}
}

// answer is what the next calls get.
type answer struct {
	secret string
	binary bool
	code   string // of an error
	status int
	body   string // instead of all that
	hang   bool
	pause  time.Duration
}

func newManager(t *testing.T, secret string) *manager {
	t.Helper()
	m := &manager{t: t, answer: answer{secret: secret}, hanged: make(chan struct{}, 100)}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

func (m *manager) set(a answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answer = a
}

func (m *manager) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.calls)
}

func (m *manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ SecretId, VersionStage string } //nolint:revive // as AWS spells it
	text, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if target := r.Header.Get("X-Amz-Target"); err != nil || r.Method != http.MethodPost || target != "secretsmanager.GetSecretValue" || in.VersionStage != "" {
		m.t.Errorf("an unexpected request: %s %s %s %v", r.Method, target, text, err)
	}
	scope := strings.Split(r.Header.Get("Authorization"), "/")
	m.mu.Lock()
	m.calls = append(m.calls, in.SecretId)
	if len(scope) > 3 {
		m.scopes = append(m.scopes, scope[2]+"/"+scope[3])
	}
	a := m.answer
	m.mu.Unlock()

	if a.hang {
		m.hanged <- struct{}{}
		<-r.Context().Done()
		return
	}
	time.Sleep(a.pause)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Requestid", "req-1")
	switch {
	case a.body != "":
		w.WriteHeader(a.status)
		fmt.Fprint(w, a.body)
	case a.code != "":
		w.WriteHeader(a.status)
		fmt.Fprintf(w, `{"__type":%q,"message":"about %s"}`, a.code, canary)
	case a.binary:
		m.write(w, map[string]any{"ARN": in.SecretId, "SecretBinary": []byte(a.secret), "VersionStages": []string{"AWSCURRENT"}})
	default:
		m.write(w, map[string]any{"ARN": in.SecretId, "SecretString": a.secret, "VersionStages": []string{"AWSCURRENT"}})
	}
}

func (m *manager) write(w io.Writer, v any) {
	if err := json.NewEncoder(w).Encode(v); err != nil {
		m.t.Error(err)
	}
}

// sdk configures the SDK for the fake, and for nothing of this machine.
func (m *manager) sdk() []func(*config.LoadOptions) error {
	return append(noFiles(),
		config.WithRegion(region),
		config.WithBaseEndpoint(m.URL),
		config.WithCredentialsProvider(awscredentials.NewStaticCredentialsProvider("AKIDEXAMPLE", canary, canary)),
	)
}

// load is the SDK's own loader, which reads the AWS_… variables of this process.
func load(options ...func(*config.LoadOptions) error) credentials.Loader {
	return func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx, options...) }
}

func noFiles() []func(*config.LoadOptions) error {
	return []func(*config.LoadOptions) error{
		config.WithSharedConfigFiles([]string{}),
		config.WithSharedCredentialsFiles([]string{}),
	}
}

// attempt sets how long one attempt of a call may take.
func attempt(d time.Duration) func(*config.LoadOptions) error {
	return config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(d))
}

// impatient has the SDK make one attempt, where a test is not about more.
func impatient() func(*config.LoadOptions) error {
	return config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} })
}

// hour is a clock that tests turn.
type hour struct {
	mu sync.Mutex
	at time.Time
}

func newHour() *hour { return &hour{at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (h *hour) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

func (h *hour) turn(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = h.at.Add(d)
}

// logs keeps what is logged.
type logs struct{ testlog.Log }

func (l *logs) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// installation is one with a secret for all, a clock and a log.
type installation struct {
	*credentials.Credentials
	*manager
	*hour
	log *logs
}

func install(t *testing.T, secret string, options ...func(*config.LoadOptions) error) *installation {
	t.Helper()
	i := &installation{manager: newManager(t, secret), hour: newHour(), log: &logs{}}
	i.Credentials = configured(credentials.Options{
		DatabaseSecretARN: databaseARN, MaskSecretARN: maskARN,
		Log: i.log.logger(), Now: i.now, AWS: load(append(i.sdk(), options...)...),
	})
	t.Cleanup(func() {
		if strings.Contains(i.log.String(), canary) {
			t.Errorf("a secret is in the log: %s", i.log.String())
		}
	})
	return i
}

// configured is an installation whose database's URL is in DATABASE_URL.
func configured(o credentials.Options) *credentials.Credentials {
	o.Names.URL = "DATABASE_URL"
	return credentials.New(o)
}

func fetch(t *testing.T, c *credentials.Credentials) login.Login {
	t.Helper()
	l, err := c.Database.Fetch(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// url is the login of postgres://from:url@url.example:5432/urldb.
var url = login.Login{Host: "url.example", Port: 5432, User: "from", Password: login.NewPassword("url-" + canary), Database: "urldb", Verified: true}

func secretOf(password string) string {
	return fmt.Sprintf(`{"username":"sluice","password":"%s-%s","engine":"postgres","host":"db.example","port":5433,"dbname":"app","dbInstanceIdentifier":"x"}`, password, canary)
}

// check looks at an error: whose fault, what it says, and that it holds no
// secret and no deadline of its own.
func check(t *testing.T, err error, cause message.Cause, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := causeOf(err); got != cause {
		t.Errorf("%q is the fault of %q, want %q", err, got, cause)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, err); strings.Contains(text, canary) {
			t.Errorf("%s shows a secret: %s", verb, text)
		}
	}
}

// checkFetch checks the error of fetching a login.
func checkFetch(t *testing.T, c *credentials.Credentials, cause message.Cause, parts ...string) {
	t.Helper()
	_, err := c.Database.Fetch(t.Context(), url)
	check(t, err, cause, parts...)
}

func causeOf(err error) message.Cause {
	if e := fault.Of(err); e != nil && e.Source == fault.Credentials {
		return e.Cause
	}
	return message.CauseNone
}
