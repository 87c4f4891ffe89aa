package main_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// differs matches what no two machines print alike, and what the screens have instead.
var differs = []struct {
	found *regexp.Regexp
	shown string
}{
	{regexp.MustCompile(`http://127\.0\.0\.1:\d+/`), "http://127.0.0.1:45678/"},
	{regexp.MustCompile(`Started .* for this demo`), "Started PostgreSQL 15.18 of this machine for this demo"},
	{regexp.MustCompile(`(the first connects\)) +\d+ +\d+`), "$1  52     2"},
	{regexp.MustCompile(`connected as \S+ to PostgreSQL [^)]*\)?`), "connected as postgres to PostgreSQL 15.18"},
}

// TestScreens compares what people see, at two widths of a terminal, with docs/screens.
// go test ./cmd/sluice -run Screens -update writes them.
func TestScreens(t *testing.T) {
	for name, screen := range map[string]func(*testing.T) (map[string]string, []string){
		"demo": func(*testing.T) (map[string]string, []string) { return nil, []string{"demo"} },
		"peek": func(t *testing.T) (map[string]string, []string) {
			fakeSQS := useSQS(t)
			dead := fakeSQS.Queue("logins-dead", nil)
			dead.Put(
				screenMessage("this is not JSON", sqs.Note{Reason: message.ReasonNotJSON, Detail: "a word without double quotes", Byte: 2}),
				screenMessage(`{"user_id":"u-1005","app_version":"three","device_type":"ios","ip":"203.0.113.300","locale":"fr","device_id":"dev-7001"}`,
					sqs.Note{Reason: message.ReasonNotVersion, Field: "app_version", Problems: []sqs.Problem{
						{Reason: message.ReasonNotVersion, Field: "app_version"}, {Reason: message.ReasonNotIP, Field: "ip"},
					}}),
				screenMessage(`{"user_id":"u-1007","app_version":"1.2.3","device_type":"web","ip":"203.0.113.14","locale":"xx","device_id":"dev-7003"}`,
					sqs.Note{Reason: message.ReasonRefused, SQLState: "23514", Constraint: "known_locale"}),
			)
			return map[string]string{"DEAD_LETTER_QUEUE_URL": dead.URL, "SLUICE_MASK_KEYS": "k1:0123456789abcdef0123456789abcdef"}, []string{"peek"}
		},
		"check": func(t *testing.T) (map[string]string, []string) {
			s := newAccountWith(t, pgtest.NewDatabase(t, ""))
			s.db.Exec(t, "ALTER TABLE user_logins ALTER COLUMN device_type TYPE varchar(4)")
			s.queue(map[string]string{"VisibilityTimeout": "30", "RedrivePolicy": `{"deadLetterTargetArn":"` + s.dead.ARN + `","maxReceiveCount":"5"}`})
			s.environ["SQS_URL"] = s.source.URL
			return s.environ, []string{"check"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			environ, args := screen(t)
			for _, columns := range []int{80, 140} {
				environ := maps.Clone(environ)
				if environ == nil {
					environ = map[string]string{}
				}
				environ["COLUMNS"] = strconv.Itoa(columns)
				_, stdout, stderr := run(t, environ, "", args...)
				compareScreen(t, name, columns, "$ sluice "+strings.Join(args, " ")+"\n"+stdout+stderr)
			}
		})
	}
}

// screenMessage is a rejected message with fixed times and ids.
func screenMessage(body string, note sqs.Note) sqstest.Message {
	m := rejectedMessage(body, note)
	sent := regexp.MustCompile(`"sentTimestamp":\d+`)
	id := regexp.MustCompile(`"messageId":"m-1"`)
	text := sent.ReplaceAllString(m.Attributes["sluice"].StringValue, `"sentTimestamp":1767225601000`)
	m.Attributes["sluice"] = sqstest.Attribute{DataType: "String", StringValue: id.ReplaceAllString(text, `"messageId":"`+uuid.NewSHA1(uuid.NameSpaceOID, []byte(body)).String()+`"`)}
	return m
}

// TestReadmeShowsTheScreen: what the README shows of the demo is a part of the screen.
func TestReadmeShowsTheScreen(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	screen, err := os.ReadFile("../../docs/screens/demo-80.txt")
	if err != nil {
		t.Fatal(err)
	}
	for block := range strings.SplitSeq(string(readme), "\n```\n") {
		if strings.HasPrefix(block, "What became of them") {
			if !strings.Contains(string(screen), block) {
				t.Errorf("docs/screens/demo-80.txt lacks what the README shows of it:\n%s", block)
			}
			return
		}
	}
	t.Error("the README shows nothing of the demo")
}

func compareScreen(t *testing.T, name string, columns int, got string) {
	t.Helper()
	for _, d := range differs {
		got = d.found.ReplaceAllString(got, d.shown)
	}
	for line := range strings.Lines(got) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > columns {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	file := filepath.Join("..", "..", "docs", "screens", name+"-"+strconv.Itoa(columns)+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got); -update writes it anew:\n%s", file, diff)
	}
}
