package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/sqsevent"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/models"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// canary is in every personal value of the test's messages.
const canary = "canary-203.0.113.7"

// deployment is the function as it is deployed, with an SQS in this process and a
// real Postgres.
type deployment struct {
	t       *testing.T
	sqs     *sqstest.Server
	source  *sqstest.Queue
	dead    *sqstest.Queue
	db      *pgtest.DB
	environ map[string]string
	output  strings.Builder // log and metrics
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	s := &deployment{t: t, sqs: sqstest.New(), db: pgtest.New(t, m.DDL()...)}
	t.Cleanup(s.sqs.Close)
	s.source = s.sqs.Queue("logins", map[string]string{"VisibilityTimeout": "180"})
	s.dead = s.sqs.Queue("logins-dead", nil)
	s.db.Exec(t, `ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx');
		CREATE FUNCTION chatty() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.locale = 'yy' THEN RAISE EXCEPTION 'refused: `+canary+`' USING DETAIL = '`+canary+`'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER chatty BEFORE INSERT ON user_logins FOR EACH ROW EXECUTE FUNCTION chatty()`)
	s.environ = map[string]string{
		"DATABASE_URL": s.db.URL, "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef",
		"DEAD_LETTER_QUEUE_URL": s.dead.URL, "SLUICE_BACKOFF": "true", "AWS_LAMBDA_FUNCTION_NAME": "logins-ingest",
		"AWS_ENDPOINT_URL": s.sqs.URL, "AWS_REGION": sqstest.Region, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
	}
	return s
}

func (s *deployment) function() *handler.Handler {
	h, stop := app.NewHandler(s.t.Context(), app.Options{Environ: s.environ, Log: slog.New(slog.NewJSONHandler(&s.output, &slog.HandlerOptions{Level: slog.LevelDebug}))}, &s.output)
	s.t.Cleanup(stop)
	return h
}

// receive takes the bodies through the queue, as the event source mapping does.
func (s *deployment) receive(bodies ...string) []byte {
	s.t.Helper()
	for _, b := range bodies {
		s.source.Put(sqstest.Message{Body: b})
	}
	return s.take(len(bodies))
}

// take makes an event of the n messages that there are.
func (s *deployment) take(n int) []byte {
	s.t.Helper()
	queue, err := sqs.Open(s.t.Context(), s.sqs.Client(), s.source.URL, "SQS_URL")
	if err != nil {
		s.t.Fatal(err)
	}
	received, err := queue.Receive(s.t.Context(), 10, 0)
	if err != nil || len(received) != n {
		s.t.Fatalf("received %d of %d: %v", len(received), n, err)
	}
	type record map[string]any
	var records []record
	for _, r := range received {
		records = append(records, record{
			"messageId": r.ID, "receiptHandle": r.ReceiptHandle, "body": string(r.Body), "eventSource": "aws:sqs", "eventSourceARN": s.source.ARN,
			"attributes": r.System,
		})
	}
	event, err := json.Marshal(record{"Records": records})
	if err != nil {
		s.t.Fatal(err)
	}
	return event
}

// bodies are a good message and one of each kind that is rejected.
func bodies() []string {
	return []string{
		`{"user_id":"u-1","ip":"203.0.113.7","device_id":"` + canary + `"}`,
		`not JSON ` + canary,
		`{"user_id":"u-2","ip":"` + canary + `"}`,
		`{"user_id":"u-3","` + canary + `":1,"` + canary + `":2}`,
		`{"user_id":"u-4","device_id":"` + canary + `","locale":"xx"}`,
		`{"user_id":"u-5","device_id":"` + canary + `","locale":"yy"}`,
	}
}

// quiet checks that no output has a personal value.
func (s *deployment) quiet(more ...string) {
	s.t.Helper()
	for _, text := range append(more, s.output.String()) {
		if strings.Contains(text, canary) || strings.Contains(text, "203.0.113.7") {
			s.t.Errorf("a personal value shows: %s", text)
		}
	}
}

func TestRejectedMessagesGoToTheDeadLetterQueue(t *testing.T) {
	s := newDeployment(t)
	answer, err := s.function().Invoke(t.Context(), s.receive(bodies()...))
	if err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Fatalf("got %s, %v; want all done", answer, err)
	}
	if n := s.db.Count(t, "SELECT count(*) FROM user_logins"); n != 1 {
		t.Errorf("got %d rows, want 1", n)
	}
	var reasons []string
	for _, m := range s.dead.Messages() {
		note := m.Attributes[sqs.NoteAttribute].StringValue
		s.quiet(note)
		var n sqs.Note
		if err := json.Unmarshal([]byte(note), &n); err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, strings.TrimSpace(string(n.Reason)+" "+n.Field+" "+n.SQLState+" "+n.Constraint))
		if !strings.Contains(m.Body, canary) {
			t.Errorf("the body was changed: %s", m.Body)
		}
	}
	want := "not_json|not_an_ip_address ip|duplicate_key|refused_by_database  23514 known_locale|refused_by_database  P0001"
	if got := strings.Join(reasons, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	s.quiet(string(answer))
	for _, want := range []string{`"Rejected":5`, `"Stored":1`, `"ColdStart":1`, `"FunctionName":"logins-ingest"`, `"RejectedByReason":{"duplicate_key":1,"not_an_ip_address":1,"not_json":1,"refused_by_database":2}`} {
		if !strings.Contains(s.output.String(), want) {
			t.Errorf("the metrics lack %s:\n%s", want, &s.output)
		}
	}
}

func TestWhatTheDeadLetterQueueDoesNotTakeIsReturned(t *testing.T) {
	s := newDeployment(t)
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		failed := map[int]sqstest.EntryFault{}
		for i, body := range c.Entries {
			if c.Operation == "SendMessageBatch" && strings.Contains(body, "u-2") {
				failed[i] = sqstest.EntryFault{Code: "InternalError"}
			}
		}
		return &sqstest.Fault{Entries: failed}
	})
	answer, err := s.function().Invoke(t.Context(), s.receive(bodies()...))
	if err != nil || strings.Count(string(answer), "itemIdentifier") != 1 {
		t.Errorf("got %s, %v; want the one message that was not sent", answer, err)
	}
	if n := len(s.dead.Messages()); n != 4 {
		t.Errorf("got %d messages in the dead-letter queue, want 4", n)
	}
	if !strings.Contains(s.output.String(), `"ReturnedByCause":{"unsent":1}`) {
		t.Errorf("the metrics do not say so:\n%s", &s.output)
	}
	s.quiet(string(answer))
}

func TestAnOutageBacksOff(t *testing.T) {
	s := newDeployment(t)
	proxy := pgtest.NewProxy(t, s.db.URL)
	proxy.Refuse(true)
	s.environ["DATABASE_URL"] = proxy.URL
	answer, err := s.function().Invoke(t.Context(), s.receive(bodies()...))
	// Four are good as far as anybody knows; three of the six are rejected.
	if err != nil || strings.Count(string(answer), "itemIdentifier") != 3 {
		t.Errorf("got %s, %v; want the 3 messages that need the database", answer, err)
	}
	// By seconds, whatever the queue's visibility timeout is.
	if got := s.backedOff(); len(got) != 3 || slices.Min(got) < 7 || slices.Max(got) > 15 {
		t.Errorf("messages are backed off by %v seconds, want 3 by 7 to 15", got)
	}
	s.quiet(string(answer))
}

// TestAnOutageBacksOffGroups: SQS holds a group back as long as one of its
// messages is invisible, so they all come back together.
func TestAnOutageBacksOffGroups(t *testing.T) {
	s := newDeployment(t)
	s.source = s.sqs.Queue("logins.fifo", map[string]string{"VisibilityTimeout": "180"})
	proxy := pgtest.NewProxy(t, s.db.URL)
	proxy.Refuse(true)
	s.environ["DATABASE_URL"] = proxy.URL
	for i := range 4 {
		s.source.Put(sqstest.Message{Body: bodies()[0], Group: "g", Receives: 3 - i})
	}
	answer, err := s.function().Invoke(t.Context(), s.take(4))
	if err != nil || strings.Count(string(answer), "itemIdentifier") != 4 {
		t.Errorf("got %s, %v; want all messages back", answer, err)
	}
	got := s.backedOff()
	if len(got) != 4 || got[0] < 60 || got[0] > 120 || slices.Min(got) != slices.Max(got) {
		t.Errorf("the messages of the group are backed off by %v seconds, want all 4 by that of the first", got)
	}
	s.quiet(string(answer))
}

// backedOff lists by how many seconds messages are backed off, in one call.
func (s *deployment) backedOff() []int {
	s.t.Helper()
	calls := s.sqs.Calls("ChangeMessageVisibilityBatch")
	if len(calls) != 1 {
		s.t.Fatalf("got %d calls to back off, want 1", len(calls))
	}
	var in struct {
		Entries []struct{ VisibilityTimeout int }
	}
	if err := json.Unmarshal(calls[0].Input, &in); err != nil {
		s.t.Fatal(err)
	}
	var all []int
	for _, e := range in.Entries {
		all = append(all, e.VisibilityTimeout)
	}
	return all
}

func TestAConfigurationErrorBacksOffAndFailsTheInvocation(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		breakIt    func(*deployment)
	}{
		{"table missing", "sluice migrate", func(s *deployment) { s.db.Exec(s.t, "DROP TABLE user_logins") }},
		{"no mask keys", "SLUICE_MASK_KEYS", func(s *deployment) { delete(s.environ, "SLUICE_MASK_KEYS") }},
		{"unknown model", "orders, user_logins", func(s *deployment) { s.environ["SLUICE_MODEL"] = "nosuch" }},
		{"database URL", "DATABASE_URL", func(s *deployment) { s.environ["DATABASE_URL"] = "localhost:5432" }},
		{"database URL, by its other name", "PG_URL is not a valid URL", func(s *deployment) { s.environ["DATABASE_URL"], s.environ["PG_URL"] = "", "localhost:5432" }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newDeployment(t)
			tt.breakIt(s)
			answer, err := s.function().Invoke(t.Context(), s.receive(bodies()...))
			if err == nil {
				t.Fatalf("got %s, want an error", answer)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q in it", err, tt.want)
			}
			if calls := s.sqs.Calls("ChangeMessageVisibilityBatch"); len(calls) != 1 || len(calls[0].Entries) != 6 {
				t.Errorf("got %d calls to back off, want 1 with all 6 messages", len(calls))
			}
			if strings.Contains(s.output.String(), `"Rejected":`) && !strings.Contains(s.output.String(), `"Rejected":0`) {
				t.Errorf("messages that come back are counted as rejected:\n%s", &s.output)
			}
			if n := len(s.dead.Messages()); n != 0 {
				t.Errorf("%d messages went to the dead-letter queue of an installation that does not work", n)
			}
			s.quiet(err.Error())
		})
	}
}

func TestBackoffThatFailsIsHarmless(t *testing.T) {
	s := newDeployment(t)
	proxy := pgtest.NewProxy(t, s.db.URL)
	proxy.Refuse(true)
	s.environ["DATABASE_URL"] = proxy.URL
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		if c.Operation == "ChangeMessageVisibilityBatch" {
			return &sqstest.Fault{Code: "AccessDenied", Status: 403}
		}
		return nil
	})
	answer, err := s.function().Invoke(t.Context(), s.receive(bodies()[0]))
	if err != nil || strings.Count(string(answer), "itemIdentifier") != 1 {
		t.Errorf("got %s, %v; want the message back", answer, err)
	}
	if !strings.Contains(s.output.String(), "without back-off") {
		t.Errorf("the log does not say so:\n%s", &s.output)
	}
}

// TestNoQueueNoClient: an installation without either setting asks nothing of
// AWS, also where no region and no credentials are to be had.
func TestNoQueueNoClient(t *testing.T) {
	s := newDeployment(t)
	delete(s.environ, "DEAD_LETTER_QUEUE_URL")
	delete(s.environ, "SLUICE_BACKOFF")
	event := s.receive(bodies()...)
	before := len(s.sqs.Calls(""))
	answer, err := s.function().Invoke(t.Context(), event)
	if err != nil || strings.Count(string(answer), "itemIdentifier") != 5 {
		t.Errorf("got %s, %v; want the 5 rejected messages back", answer, err)
	}
	if n := len(s.sqs.Calls("")); n != before {
		t.Errorf("%d calls to SQS, want none", n-before)
	}
}

// TestLookup finds the database where the options say.
func TestLookup(t *testing.T) {
	s := newDeployment(t)
	u, err := url.Parse(s.environ["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	address := u.Hostname()
	u.Host = net.JoinHostPort("nowhere.invalid", u.Port())
	parts, err := app.Load(app.Options{
		Environ: map[string]string{"DATABASE_URL": u.String()}, Log: slog.New(slog.DiscardHandler),
		Lookup: func(_ context.Context, host string) ([]string, error) {
			if host != "nowhere.invalid" {
				t.Errorf("looked up %s", host)
			}
			return []string{address}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parts.Migrate(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestEveryInvocationHasItsLineOfMetrics, also one that can do nothing.
func TestEveryInvocationHasItsLineOfMetrics(t *testing.T) {
	s := newDeployment(t)
	event := s.receive(bodies()...)
	line := func(event []byte, want string) {
		t.Helper()
		s.output.Reset()
		_, _ = s.function().Invoke(t.Context(), event)
		if got := s.output.String(); strings.Count(got, `"_aws":`) != 1 || !strings.Contains(got, want) {
			t.Errorf("want one line of metrics with %s:\n%s", want, got)
		}
	}
	line(event, `"Received":6,`)
	line([]byte(`{"Records":[]}`), `"Received":0,`)
	line([]byte(`{"source":"aws.events"}`), `"Received":0,`)
	s.environ["SLUICE_MODEL"] = "nosuch"
	line(event, `"Returned":6,`)
}

// TestErrorType: operators search for these words.
func TestErrorType(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"DatabaseError":    &fault.Error{Source: fault.Database},
		"QueueError":       &fault.Error{Source: fault.Queue},
		"CredentialsError": fmt.Errorf("connect: %w", &fault.Error{Source: fault.Credentials}),
		"ConfigError":      &config.ConfigError{},
		"EventError":       &sqsevent.EventError{},
	} {
		if got := app.ErrorType(err); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
