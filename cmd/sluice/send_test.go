package main_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"example.com/owner/sluice/internal/testing/sqstest"
)

func TestSend(t *testing.T) {
	fakeSQS := useSQS(t)
	text := bodyLines(1203)
	for _, tt := range []struct {
		name, stdin string
		args        []string
		want        int
	}{
		{"a file", "", []string{write(t, text)}, 1203},
		{"standard input", text, []string{"-"}, 1203},
		{"gzip", "", []string{write(t, zipped(t, text))}, 1203},
		{"gzip on standard input", zipped(t, text), []string{"-"}, 1203},
		{"empty lines, Windows, and no end", "\n{\"a\":1}\r\n  \n\r\n{\"b\": 2 }", []string{"-"}, 2},
		{"nothing", "", []string{"-"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := fakeSQS.Queue("logins", nil)
			code, stdout, stderr := run(t, map[string]string{"SQS_URL": q.URL}, tt.stdin, append([]string{"send"}, tt.args...)...)
			if code != 0 || stderr != "" || !strings.HasPrefix(stdout, fmt.Sprint(tt.want, " of ")) {
				t.Errorf("got %d, %s, %s", code, stdout, stderr)
			}
			noCanary(t, stdout)
			sent := map[string]bool{}
			for _, m := range q.Messages() {
				sent[m.Body] = true
			}
			if len(q.Messages()) != tt.want || len(sent) != tt.want {
				t.Errorf("%d messages arrived, %d different ones", len(q.Messages()), len(sent))
			}
			if tt.want == 2 && (!sent[`{"a":1}`] || !sent[`{"b": 2 }`]) {
				t.Errorf("they were changed: %v", sent)
			}
		})
	}
}

// TestSendToFIFO: what is sent, and what the summary counts as repeated, is
// what the queue has.
func TestSendToFIFO(t *testing.T) {
	fakeSQS := useSQS(t)
	text := bodyLines(30) + bodyLines(3)         // the last three are there twice
	equal := strings.Repeat("{\"n\":3}\n", 1200) // more than two chunks
	for _, tt := range []struct {
		name, text string
		args       []string
		want       int
		// again is how many there are when it was sent once more.
		again    int
		groups   int
		repeated int
	}{
		{"one group", text, []string{"--group", "g"}, 33, 33, 1, 0},
		{"a field", text, []string{"--group-field", "user_id"}, 33, 33, 3, 0},
		{"a field of integers", "{\"n\":1}\n{\"n\":-2}\n{\"n\":1,\"x\":2}\n", []string{"--group-field", "n"}, 3, 3, 2, 0},
		{"each line", text, []string{"--group", "g", "--dedup", "line"}, 33, 33, 1, 0},
		{"by content", text, []string{"--group", "g", "--dedup", "content"}, 30, 30, 1, 3},
		{"by content in each group", text, []string{"--group-field", "user_id", "--dedup", "content"}, 30, 30, 3, 3},
		{"by content, over several chunks", equal, []string{"--group", "g", "--dedup", "content"}, 1, 1, 1, 1199},
		{"always", text, []string{"--group", "g", "--dedup", "unique"}, 33, 66, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := fakeSQS.Queue("logins.fifo", nil)
			args := append([]string{"send", "-", "--to", q.URL}, tt.args...)
			code, stdout, stderr := run(t, nil, tt.text, append(args, "--json")...)
			var sum struct{ Lines, Sent, Repeated int }
			if err := json.Unmarshal([]byte(stdout), &sum); err != nil || code != 0 || sum.Sent != sum.Lines || sum.Repeated != tt.repeated {
				t.Fatalf("got %d, %v: %s %s", code, err, stdout, stderr)
			}
			groups, last := map[string]int{}, map[string]int{}
			for _, m := range q.Messages() {
				groups[m.Group]++
				var body struct{ N int }
				if err := json.Unmarshal([]byte(m.Body), &body); err != nil {
					t.Fatal(err)
				}
				if body.N < last[m.Group] && body.N >= 3 {
					t.Errorf("%d came after %d", body.N, last[m.Group])
				}
				last[m.Group] = body.N
			}
			if len(q.Messages()) != tt.want || len(groups) != tt.groups {
				t.Errorf("%d messages in %d groups", len(q.Messages()), len(groups))
			}
			_, stdout, _ = run(t, nil, tt.text, args...)
			if n := len(q.Messages()); n != tt.again {
				t.Errorf("%d messages after a second time, want %d", n, tt.again)
			}
			if strings.Contains(stdout, "repeat an earlier line") != (tt.repeated > 0) {
				t.Errorf("the summary is %s", stdout)
			}
		})
	}
}

// TestSendToAStandardQueue: it keeps equal lines, whatever --dedup says.
func TestSendToAStandardQueue(t *testing.T) {
	q := useSQS(t).Queue("logins", nil)
	code, stdout, stderr := run(t, nil, strings.Repeat("{}\n", 10), "send", "-", "--to", q.URL, "--dedup", "content", "--json")
	if code != 0 || !strings.Contains(stdout, `"sent":10,`) || strings.Contains(stdout, "repeated") || len(q.Messages()) != 10 {
		t.Errorf("got %d, %s, %s; %d messages arrived", code, stdout, stderr, len(q.Messages()))
	}
}

func TestSendNamesLines(t *testing.T) {
	fakeSQS := useSQS(t)
	fifo := fakeSQS.Queue("logins.fifo", nil)
	standard := fakeSQS.Queue("logins", nil)
	long := `{"canary":"` + strings.Repeat("x", 1<<20) + `"}`
	for _, tt := range []struct {
		name, stdin string
		args        []string
		says        []string
		sent        int
	}{
		{"a character", "{\"n\":1}\n{\"canary\":\"\x01\"}\n{\"n\":3}\n", []string{"--to", standard.URL}, []string{"not sent: line 2\n", "not valid UTF-8, or has characters that SQS does not take"}, 2},
		{"not UTF-8", "{\"n\":1}\n{\"canary\":\"\xff\"}\n{\"n\":3}\n", []string{"--to", standard.URL}, []string{"not sent: line 2\n", "not valid UTF-8, or has characters that SQS does not take"}, 2},
		{"too long", "{\"n\":1}\n" + long + "\n{\"n\":3}\n", []string{"--to", standard.URL}, []string{"not sent: line 2\n", "1048576"}, 2},
		{"too long, at the end", "{\"n\":1}\n" + long, []string{"--to", standard.URL}, []string{"not sent: line 2\n"}, 1},
		{"UTF-16", "{\"n\":1}\n\xff\xfe{\x00c\x00a\x00n\x00a\x00r\x00y\x00\n{\"n\":3}\n", []string{"--to", standard.URL}, []string{"not sent: line 2\n", "not valid UTF-8"}, 2},
		{"a character, and no group", "{\"u\":\"n\"}\n{\"canary\":\"\x01\"}\n", []string{"--to", fifo.URL, "--group-field", "u"}, []string{"not sent: line 2\n", "not valid UTF-8"}, 1},
		{"its group ends", "{\"u\":\"a\"}\n{\"u\":\"a\",\"canary\":\"\uFFFE\"}\n{\"u\":\"b\"}\n{\"u\":\"a\",\"n\":4}\n", []string{"--to", fifo.URL, "--group-field", "u"}, []string{"not sent: line 2, 4\n"}, 2},
		{"no group", "{\"u\":\"c\"}\n{\"canary\":1}\n{\"u\":5.5}\n7\n", []string{"--to", fifo.URL, "--group-field", "u"}, []string{"not sent: line 2, 3, 4\n", "--group-field"}, 1},
		{"not JSON", "{\"n\":1}\n{\"canary\" 1}\n{\"n\":3}\n", []string{"--to", standard.URL}, []string{"not sent: line 2\n", "line 2 is not JSON: at byte 11, a colon is missing\n", "--raw sends lines"}, 2},
		{"not JSON, and a group", "{\"u\":\"j\"}\n{\"u\":\"j\",}\n", []string{"--to", fifo.URL, "--group-field", "u"}, []string{"line 2 is not JSON: at byte 10, a name"}, 1},
		{"two bodies in a line", "{\"n\":1} {\"n\":2}\n{\"n\":3}\n", []string{"--to", standard.URL}, []string{"line 1 is not JSON: at byte 9, more text"}, 1},
		{"events", "{\"n\":1}\n{\"Records\":[{\"messageId\":\"1\",\"eventSource\":\"aws:sqs\",\"body\":\"canary\"}]}\n", []string{"--to", standard.URL}, []string{"line 2 is an event of a Lambda function, with 1 message; `sluice invoke -e -` runs it"}, 1},
		{"many", strings.Repeat("\x01\n", 30), []string{"--to", standard.URL}, []string{"and 10 more"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(fifo.Messages()) + len(standard.Messages())
			code, stdout, stderr := run(t, nil, tt.stdin, append([]string{"send", "-", "--json"}, tt.args...)...)
			if code != 1 {
				t.Errorf("got the exit code %d", code)
			}
			noCanary(t, stdout, stderr)
			for _, say := range tt.says {
				if !strings.Contains(stderr, say) {
					t.Errorf("stderr lacks %q: %s", say, stderr)
				}
			}
			var sum struct {
				Sent     int
				Unsent   int
				Complete bool
				Lines    []int `json:"unsent_lines"`
			}
			if err := json.Unmarshal([]byte(stdout), &sum); err != nil || sum.Sent != tt.sent || !sum.Complete || sum.Unsent == 0 || len(sum.Lines) == 0 {
				t.Errorf("got %s, %v", stdout, err)
			}
			if n := len(fifo.Messages()) + len(standard.Messages()) - before; n != tt.sent {
				t.Errorf("%d arrived, want %d", n, tt.sent)
			}
		})
	}
}

// Over several chunks, too, nothing of a group overtakes what was not sent.
func TestSendEndsAGroupForGood(t *testing.T) {
	fakeSQS := useSQS(t)
	q := fakeSQS.Queue("logins.fifo", nil)
	lines := strings.Split(bodyLines(1500), "\n")
	lines[100] = strings.ReplaceAll(lines[100], "ip", "i\uFFFEp")
	code, _, stderr := run(t, nil, strings.Join(lines, "\n"), "send", "-", "--to", q.URL, "--group-field", "user_id")
	stopped := 0
	for _, m := range q.Messages() {
		if m.Group == "u-1" { // line 100 is one of it
			stopped++
		}
	}
	if code != 1 || stopped != 33 || len(q.Messages()) != 1033 {
		t.Errorf("got %d; %d of the group, %d in all: %s", code, stopped, len(q.Messages()), stderr)
	}
}

func TestSendStops(t *testing.T) {
	fakeSQS := useSQS(t)
	q := fakeSQS.Queue("logins", nil)
	for name, fault := range map[string]sqstest.Fault{
		"forbidden": {Code: "AccessDenied", Message: queueCanary}, "broken": {Code: "InternalError", Status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			fakeSQS.Inject(func(c sqstest.Call) *sqstest.Fault {
				if c.Operation == "SendMessageBatch" {
					return &fault
				}
				return nil
			})
			code, stdout, stderr := run(t, map[string]string{"SQS_URL": q.URL}, bodyLines(2000), "send", "-", "--json")
			if code != 1 || !strings.Contains(stderr, "after line 500") || !strings.Contains(stdout, `"complete":false`) || !strings.Contains(stdout, `"sent":0`) {
				t.Errorf("got %d, %s, %s", code, stdout, stderr)
			}
			noCanary(t, stdout, stderr)
		})
	}
}
