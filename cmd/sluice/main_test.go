package main_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	command "example.com/owner/sluice/cmd/sluice"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// update rewrites what the scripts compare with: go test ./cmd/sluice -update.
var update = flag.Bool("update", false, "rewrite the golden parts of the scripts")

func TestMain(m *testing.M) {
	testscript.Main(withPostgres{m}, map[string]func(){"sluice": command.Main})
}

// withPostgres stops the server that tests have started. What the shell has set
// for sluice is not meant for its tests.
type withPostgres struct{ m *testing.M }

// Run implements testscript.TestingM.
func (w withPostgres) Run() int {
	for _, name := range config.Variables() {
		_ = os.Unsetenv(name) // it fails for names that are none
	}
	return pgtest.Main(w.m)
}

// TestScripts runs the scripts of testdata/script, each with the commands
//
//	database            makes an empty schema, and DATABASE_URL the URL of it;
//	                    WRONG_PASSWORD is that URL with another password
//	queues [.fifo]      starts an SQS with the queue SQS_URL and its dead-letter
//	                    queue DEAD_LETTER_QUEUE_URL, as the template has them
//	denies [CALL]       has SQS deny a call from now on, as in ReceiveMessage, or
//	                    none without one
//	sql QUERY           prints the rows of a query, with | between the values
//	exits CODE COMMAND  runs a command and checks its exit code
//	once TEXT COMMAND   runs a command of sluice that fails, and holds that what
//	                    it prints for people has TEXT, a regular expression, once
//	secret TEXT         holds that TEXT was in no output of exits so far
func TestScripts(t *testing.T) {
	t.Parallel()
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("EVENTS", filepath.Join(repository, "events"))
			env.Setenv("MODELS", filepath.Join(repository, "models"))
			env.Setenv("SHAPES", filepath.Join(repository, "test", "shapes"))
			// A server of the command's own is run by another account, which must be able to go there.
			env.Setenv("TMPDIR", os.TempDir()) //nolint:usetesting // t.TempDir is closed to others
			env.Values[stateKey{}] = &state{t: env.T()}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"database": database, "queues": queues, "denies": denies, "sql": sql, "exits": exits, "once": once, "secret": secret,
		},
	})
}

// state is what a script's commands share.
type state struct {
	t      testscript.T
	db     *pgtest.DB
	sqs    *sqstest.Server
	dead   *sqstest.Queue
	output bytes.Buffer
}

type stateKey struct{}

func stateOf(ts *testscript.TestScript, neg bool, args []string, want int, usage string) *state {
	if neg || len(args) < want {
		ts.Fatalf("usage: %s", usage)
	}
	s, ok := ts.Value(stateKey{}).(*state)
	if !ok {
		ts.Fatalf("the script has no state")
	}
	return s
}

func database(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts, neg, args, 0, "database")
	t, ok := s.t.(testing.TB)
	if !ok {
		ts.Fatalf("not run by go test")
	}
	s.db = pgtest.New(t)
	u, err := url.Parse(s.db.URL)
	ts.Check(err)
	ts.Setenv("DATABASE_URL", s.db.URL)
	u.User = url.UserPassword(u.User.Username(), "canary-password")
	ts.Setenv("WRONG_PASSWORD", u.String())
}

func queues(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts, neg, args, 0, "queues [.fifo]")
	fakeSQS := sqstest.New()
	ts.Defer(fakeSQS.Close)
	suffix := strings.Join(args, "")
	if s.dead != nil {
		ts.Fatalf("there are queues already")
	}
	s.sqs = fakeSQS
	s.dead = fakeSQS.Queue("logins-dead"+suffix, map[string]string{"MessageRetentionPeriod": "1209600"})
	source := fakeSQS.Queue("logins"+suffix, map[string]string{
		"VisibilityTimeout": "180", "RedrivePolicy": `{"deadLetterTargetArn":"` + s.dead.ARN + `","maxReceiveCount":200}`,
	})
	ts.Setenv("SQS_URL", source.URL)
	ts.Setenv("DEAD_LETTER_QUEUE_URL", s.dead.URL)
	for name, value := range awsEnviron(fakeSQS.URL) {
		ts.Setenv(name, value)
	}
}

func denies(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts, neg, args, 0, "denies [CALL]")
	s.sqs.Inject(func(c sqstest.Call) *sqstest.Fault {
		if !slices.Contains(args, c.Operation) {
			return nil
		}
		return &sqstest.Fault{
			Code: "AccessDenied", Status: 403,
			Message: "User: arn:aws:sts::123456789012:assumed-role/reader/me is not authorized to perform: sqs:" + strings.ToLower(c.Operation) + " on resource: " + s.dead.ARN,
		}
	})
}

func sql(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts, neg, args, 1, "sql QUERY")
	t, ok := s.t.(testing.TB)
	if !ok || s.db == nil {
		ts.Fatalf("sql needs the command database before it")
	}
	for _, row := range s.db.Rows(t, args[0]) {
		fmt.Fprintln(ts.Stdout(), strings.Join(row, "|"))
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts, neg, args, 2, "exits CODE COMMAND [ARGUMENT …]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	s.output.WriteString(ts.ReadFile("stdout") + ts.ReadFile("stderr"))
	got := 0
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		got = failed.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("the exit code is %d, want %d", got, want)
	}
}

func once(ts *testscript.TestScript, neg bool, args []string) {
	stateOf(ts, neg, args, 2, "once TEXT COMMAND [ARGUMENT …]")
	exits(ts, false, append([]string{"1", "sluice"}, args[1:]...))
	text := ts.ReadFile("stderr")
	if args[1] == "check" { // its findings are its output
		text += ts.ReadFile("stdout")
	}
	if n := len(regexp.MustCompile(args[0]).FindAllString(text, -1)); n != 1 {
		ts.Fatalf("%q is there %d times, want once", args[0], n)
	}
}

func secret(ts *testscript.TestScript, neg bool, args []string) {
	s := stateOf(ts, neg, args, 1, "secret TEXT …")
	for _, text := range args {
		if i := strings.Index(s.output.String(), text); i >= 0 {
			ts.Fatalf("%q shows: …%s…", text, s.output.String()[max(0, i-200):i+len(text)])
		}
	}
}

// TestHelp asks every command for help.
func TestHelp(t *testing.T) {
	t.Parallel()
	code, overview, _ := run(t, nil, "", "--help")
	if code != 0 {
		t.Errorf("--help: exit code %d", code)
	}
	if code, text, _ := run(t, nil, ""); code != 0 || text != overview {
		t.Errorf("no arguments: exit code %d, and not the help", code)
	}
	commands := command.Commands()
	if len(commands) == 0 {
		t.Fatal("there are no commands")
	}
	for _, name := range commands {
		if !strings.Contains(overview, "\n  "+name+" ") {
			t.Errorf("--help lacks the command %s", name)
		}
		for _, flag := range []string{"--help", "-h"} {
			code, stdout, stderr := run(t, nil, "", name, flag)
			if code != 0 || stderr != "" {
				t.Errorf("%s %s: exit code %d, stderr %q", name, flag, code, stderr)
			}
			if !strings.HasPrefix(stdout, "Usage: sluice "+name) || !strings.Contains(stdout, "--help") || len(strings.Split(stdout, "\n")) < 4 {
				t.Errorf("%s %s: %s", name, flag, stdout)
			}
		}
	}
}
