package emf_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/emf"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/message"
)

func TestOneLineForEachInvocation(t *testing.T) {
	var out strings.Builder
	w := emf.NewWriter(&out, "logins-ingest", func() time.Time { return time.UnixMilli(1767225700000) })
	messages := []message.Message{
		{ID: "1", HasSent: true, SentMillis: 1767225690000}, {ID: "2", HasSent: true, SentMillis: 1767225600000}, {ID: "3"}, {ID: "1"}, {ID: "5"}, {ID: "6"},
	}
	report := &ingest.Report{
		Messages: messages,
		Verdicts: []message.Verdict{
			{Outcome: message.Stored},
			{Outcome: message.Stored},
			{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonNotJSON}},
			{Outcome: message.Repeated},
			{Cause: message.CauseTransient},
			{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonNotJSON}},
		},
		Inserted: 1, RoundTrips: 2, StoreTime: 1500 * time.Microsecond,
	}
	for range 2 {
		if err := w.Write(report); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2", len(lines))
	}
	const want = `{"_aws":{"Timestamp":1767225700000,"CloudWatchMetrics":[{"Namespace":"sluice","Dimensions":[["FunctionName"]],"Metrics":[{"Name":"Received","Unit":"Count"},{"Name":"Stored","Unit":"Count"},{"Name":"Duplicate","Unit":"Count"},{"Name":"Rejected","Unit":"Count"},{"Name":"Returned","Unit":"Count"},{"Name":"Waiting","Unit":"Count"},{"Name":"DatabaseMs","Unit":"Milliseconds"},{"Name":"RoundTrips","Unit":"Count"},{"Name":"OldestMessageAgeMs","Unit":"Milliseconds"},{"Name":"ColdStart","Unit":"Count"}]}]},"FunctionName":"logins-ingest","Received":6,"Stored":1,"Duplicate":2,"Rejected":2,"Returned":1,"Waiting":0,"DatabaseMs":1.5,"RoundTrips":2,"OldestMessageAgeMs":100000,"ColdStart":1,"RejectedByReason":{"not_json":2},"ReturnedByCause":{"moment":1}}`
	if lines[0] != want {
		t.Errorf("got  %s\nwant %s", lines[0], want)
	}
	if !strings.Contains(lines[1], `"ColdStart":0`) {
		t.Errorf("the second invocation is cold: %s", lines[1])
	}
}

// TestWaiting tells messages that wait for another one from those that met a fault: alarms ring for
// the latter.
func TestWaiting(t *testing.T) {
	var out strings.Builder
	causes := []message.Cause{message.CauseForeignKey, message.CauseMemory, message.CauseMemory, message.CauseGroup, message.CauseTransient, message.CauseDiscarded, message.CauseUnsent}
	report := &ingest.Report{Messages: make([]message.Message, len(causes)), Verdicts: make([]message.Verdict, len(causes))}
	for i, c := range causes {
		report.Verdicts[i].Cause = c
	}
	if err := emf.NewWriter(&out, "f", time.Now).Write(report); err != nil {
		t.Fatal(err)
	}
	if want := `"Returned":7,"Waiting":4,`; !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

// TestEveryMetricHasAValue reads the line as CloudWatch does.
func TestEveryMetricHasAValue(t *testing.T) {
	var out strings.Builder
	if err := emf.NewWriter(&out, "f", time.Now).Write(&ingest.Report{}); err != nil {
		t.Fatal(err)
	}
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Fatal(err)
	}
	for _, name := range emf.Metrics() {
		if _, ok := line[name].(float64); !ok {
			t.Errorf("the metric %s has the value %v", name, line[name])
		}
	}
	for _, name := range []string{"Returned", "Waiting"} {
		if !slices.Contains(emf.Metrics(), name) {
			t.Errorf("alarms need the metric %s", name)
		}
	}
}
