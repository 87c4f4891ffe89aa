package main_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// permissions are the actions of SQS that a command needs, as a policy names
// them: in order, with commas.
type permissions struct{ queue, dead string }

// documented reads the table of docs/operate.md, by command.
func documented(t *testing.T) map[string]permissions {
	t.Helper()
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## What the commands need\n")
	if !ok {
		t.Fatal("docs/operate.md has no section What the commands need")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	rows := map[string]permissions{}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 5 || strings.Contains(line, "---") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows[cells[1]] = permissions{cells[2], cells[3]}
	}
	delete(rows, "command") // the heading
	return rows
}

// used are the actions of calls on one queue. A batch needs the permission
// for one ("sqs:SendMessage", says SQS's reference of SendMessageBatch).
func used(calls []sqstest.Call, queue string) string {
	actions := map[string]bool{}
	for _, c := range calls {
		if c.Queue == queue {
			actions[strings.TrimSuffix(c.Operation, "Batch")] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(actions)), ", ")
}

// TestPermissions runs each command so that it does all that it can, and holds
// the table of docs/operate.md to what it has called.
func TestPermissions(t *testing.T) {
	s := newAccount(t)
	fakeSQS := s.lambda.sqs
	got := map[string]permissions{}
	does := func(stdin, command string, args ...string) {
		t.Helper()
		before := len(fakeSQS.Calls(""))
		code, stdout, stderr := run(t, s.environ, stdin, append([]string{command}, args...)...)
		if code != 0 {
			t.Errorf("%s: got %d, %s, %s", command, code, stdout, stderr)
		}
		calls := fakeSQS.Calls("")[before:]
		for _, c := range calls {
			if c.Queue != s.source.Name && c.Queue != s.dead.Name {
				t.Errorf("%s: %s on the queue %s", command, c.Operation, c.Queue)
			}
		}
		got[command] = permissions{used(calls, s.source.Name), used(calls, s.dead.Name)}
	}
	does("", "check")
	s.queue(map[string]string{"VisibilityTimeout": "2"})
	does("{\"user_id\":\"u-1\"}\nmalformed\n", "send", "--raw", "-")
	// The dead-letter queue is slow enough for the visibility of what is in hand to be extended.
	extended := make(chan struct{})
	once := sync.OnceFunc(func() { close(extended) })
	t.Cleanup(once) // the server waits for its calls
	fakeSQS.Inject(func(c sqstest.Call) *sqstest.Fault {
		switch {
		case c.Operation == "ChangeMessageVisibilityBatch":
			once()
		case c.Operation == "SendMessageBatch" && c.Queue == s.dead.Name:
			<-extended
		}
		return nil
	})
	does("", "consume")
	fakeSQS.Inject(nil)
	s.dead.Put(rejectedMessage("{}", sqs.Note{Reason: message.ReasonMissing, Model: "orders"})) // which redrive returns
	does("", "peek")
	does("", "redrive")
	if n := len(s.source.Messages()); n != 1 {
		t.Errorf("%d messages were driven back", n)
	}
	if want := documented(t); !maps.Equal(got, want) {
		t.Errorf("docs/operate.md says\n%v\nand the commands use\n%v", want, got)
	}
}
