package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

// story is one of testdata/stories.yaml.
type story struct {
	Story string `yaml:"story"`
	// Needs is a query that returns a row where the server has what the story takes.
	Needs string `yaml:"needs"`
	// Database asks for a database of the story's own, and not only a schema.
	Database bool `yaml:"database"`
	// On is what it is played on: keyed, ledger, FIFO or partitioned; keyed if
	// it does not say. All but the ledger are the model of Builtin or Model.
	On []string `yaml:"on"`
	// Builtin names a model that comes with sluice; user_logins if nothing does.
	Builtin string `yaml:"builtin"`
	// Model is a model file, whose tables Setup makes.
	Model string `yaml:"model"`
	// Setup is SQL of the table's owner, who is a superuser.
	Setup string `yaml:"setup"`
	// Grants, when there are some, are what the role :role gets that sluice
	// connects as; it is the owner otherwise. :schema is the schema.
	Grants string `yaml:"grants"`
	// Group is the message group of all messages on FIFO; each has its own if
	// it does not say.
	Group string `yaml:"group"`
	Steps []step `yaml:"steps"`
}

// step is one invocation, or one command.
type step struct {
	// SQL is executed first.
	SQL string `yaml:"sql"`
	// Deliver are bodies: JSON, or GOOD and GOOD LOCALE for a login. First is
	// the number of the first message; messages of one number are the same.
	Deliver []string `yaml:"deliver"`
	First   int      `yaml:"first"`
	// Failed are the places of those that must come back, when it says so. With
	// Error the invocation must fail, and say that.
	Failed *[]int `yaml:"failed"`
	Error  string `yaml:"error"`
	// Command are the arguments of sluice, and Exit its exit code.
	Command []string `yaml:"command"`
	Exit    int      `yaml:"exit"`
	// Says must be in what was printed, and Never must not; case does not count.
	Says  []string `yaml:"says"`
	Never []string `yaml:"never"`
	// Rows are a query, and the one row that it must return.
	Rows [2]string `yaml:"rows"`
}

// TestStories plays testdata/stories.yaml through the command line.
func TestStories(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/stories.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var stories []story
	if err := yaml.UnmarshalWithOptions(text, &stories, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for _, s := range stories {
		if len(s.On) == 0 {
			s.On = []string{"keyed"}
		}
		for _, on := range s.On {
			t.Run(s.Story+"/"+on, func(t *testing.T) {
				t.Parallel()
				s.play(t, on)
			})
		}
	}
}

func (s *story) play(t *testing.T, on string) {
	t.Helper()
	var db *pgtest.DB
	if s.Database {
		db = pgtest.NewDatabase(t, "")
	} else {
		db = pgtest.New(t)
	}
	if s.Needs != "" && len(db.Rows(t, s.Needs)) == 0 {
		t.Skipf("this server lacks what the story takes: %s", s.Needs)
	}
	named := s.Builtin
	switch {
	case s.Model != "":
		named = filepath.Join(t.TempDir(), "model.yaml")
		if err := os.WriteFile(named, []byte(s.Model), 0o600); err != nil {
			t.Fatal(err)
		}
	case named == "" && on == "ledger":
		named = "user_logins_plain"
	case named == "":
		named = "user_logins"
	}
	if s.Model == "" {
		s.makeTables(t, db, named, on == "partitioned")
	}
	db.Exec(t, s.Setup)
	user, role := db, db.User
	if s.Grants != "" {
		user = db.Role(t, func(name string) []string {
			role = name
			return []string{strings.NewReplacer(":role", name, ":schema", db.Schema).Replace(s.Grants)}
		})
	}
	environ := map[string]string{"DATABASE_URL": user.URL, "SLUICE_MODEL": named, "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef"}
	for i, step := range s.Steps {
		if step.SQL != "" {
			db.Exec(t, strings.ReplaceAll(step.SQL, ":role", role))
		}
		var problems []string
		var said string
		if step.Command == nil {
			code, stdout, stderr := run(t, environ, s.event(t, step, on), "invoke", "-e", "-")
			said, problems = stdout+stderr, step.judge(code, stdout)
		} else {
			code, stdout, stderr := run(t, environ, "", step.Command...)
			said = stdout + stderr
			if code != step.Exit {
				problems = append(problems, fmt.Sprintf("the exit code is %d, want %d", code, step.Exit))
			}
		}
		for _, text := range step.Says {
			if !strings.Contains(strings.ToLower(said), strings.ToLower(text)) {
				problems = append(problems, fmt.Sprintf("it does not say %q", text))
			}
		}
		for _, text := range step.Never {
			if strings.Contains(strings.ToLower(said), strings.ToLower(text)) {
				problems = append(problems, fmt.Sprintf("it says %q", text))
			}
		}
		if sql, want := step.Rows[0], step.Rows[1]; sql != "" {
			if got := strings.Join(db.Rows(t, sql)[0], "|"); got != want {
				problems = append(problems, fmt.Sprintf("%s: got %s, want %s", sql, got, want))
			}
		}
		if len(problems) > 0 {
			t.Errorf("step %d: %s\nit said: %.3000s", i+1, strings.Join(problems, "; "), said)
		}
	}
}

// makeTables makes those of a model that comes with sluice.
func (s *story) makeTables(t *testing.T, db *pgtest.DB, name string, partitioned bool) {
	t.Helper()
	m, err := model.Load(name, models.FS)
	if err != nil {
		t.Fatal(err)
	}
	ddl := m.DDL()
	if partitioned {
		ddl[0] += " PARTITION BY HASH (message_id)"
		for i := range 3 {
			ddl = append(ddl, fmt.Sprintf("CREATE TABLE %s_%d PARTITION OF %[1]s FOR VALUES WITH (MODULUS 3, REMAINDER %[2]d)", m.Table.Name, i))
		}
	}
	for _, sql := range ddl {
		db.Exec(t, sql)
	}
}

// number is that of a step's message.
func (s step) number(i int) int { return max(s.First, 1) + i }

// messageID is the id of a message by its number.
func messageID(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// event is the event of a step.
func (s *story) event(t *testing.T, step step, on string) string {
	t.Helper()
	type object = map[string]any
	var records []object
	for i, body := range step.Deliver {
		n := step.number(i)
		attributes := object{"ApproximateReceiveCount": "1", "SentTimestamp": strconv.Itoa(1767225600000 + n*1000)}
		arn := "arn:aws:sqs:us-east-1:000000000000:queue"
		if on == "FIFO" {
			arn += ".fifo"
			attributes["MessageGroupId"] = s.Group + strconv.Itoa(n)
			if s.Group != "" {
				attributes["MessageGroupId"] = s.Group
			}
		}
		if word, locale, _ := strings.Cut(body, " "); word == "GOOD" {
			if locale == "" {
				locale = "en_US"
			}
			body = fmt.Sprintf(`{"user_id":"u-%d","device_type":"android","ip":"203.0.113.7","device_id":"d-%[1]d","locale":%q,"app_version":"2.3.0"}`, n, locale)
		}
		records = append(records, object{
			"messageId": messageID(n), "receiptHandle": "r", "body": body, "attributes": attributes, "messageAttributes": object{},
			"eventSource": "aws:sqs", "eventSourceARN": arn, "awsRegion": "us-east-1",
		})
	}
	text, err := json.Marshal(object{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// judge compares an answer with what the step wants.
func (s step) judge(code int, stdout string) []string {
	var answer struct {
		ErrorMessage      *string `json:"errorMessage"`
		BatchItemFailures []struct {
			ItemIdentifier string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil {
		return []string{fmt.Sprintf("exit code %d, and the answer is not JSON: %v", code, err)}
	}
	switch {
	case s.Error != "" && answer.ErrorMessage == nil:
		return []string{"the invocation must fail"}
	case s.Error != "":
		if !strings.Contains(strings.ToLower(*answer.ErrorMessage), strings.ToLower(s.Error)) {
			return []string{fmt.Sprintf("its error does not say %q", s.Error)}
		}
		return nil
	case s.Failed == nil:
		return nil
	case answer.ErrorMessage != nil:
		return []string{"the invocation failed"}
	}
	var got, want []string
	for _, f := range answer.BatchItemFailures {
		got = append(got, f.ItemIdentifier)
	}
	for _, i := range *s.Failed {
		want = append(want, messageID(s.number(i)))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return []string{fmt.Sprintf("failed: got %v, want %v", got, want)}
	}
	return nil
}
