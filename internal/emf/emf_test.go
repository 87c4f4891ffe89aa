package emf_test

import (
	"context"
	"encoding/json"
	"io"
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
	w := emf.NewWriter(&out, emf.Options{Function: "logins-ingest", RequestID: requestID, Now: func() time.Time { return time.UnixMilli(1767225700000) }})
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
		Tallies: message.Tallies{{Inserted: 1}}, RoundTrips: 2, StoreTime: 1500 * time.Microsecond,
	}
	for range 2 {
		if err := w.Write(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %d lines, want 2", len(lines))
	}
	const want = `{"_aws":{"Timestamp":1767225700000,"CloudWatchMetrics":[{"Namespace":"sluice","Dimensions":[["FunctionName"]],"Metrics":[{"Name":"Received","Unit":"Count"},{"Name":"Stored","Unit":"Count"},{"Name":"Duplicate","Unit":"Count"},{"Name":"Rejected","Unit":"Count"},{"Name":"Returned","Unit":"Count"},{"Name":"Waiting","Unit":"Count"},{"Name":"DatabaseMs","Unit":"Milliseconds"},{"Name":"RoundTrips","Unit":"Count"},{"Name":"OldestMessageAgeMs","Unit":"Milliseconds"},{"Name":"ColdStart","Unit":"Count"}]}]},"FunctionName":"logins-ingest","requestId":"00000000-0000-4000-8000-000000000001","Received":6,"Stored":1,"Duplicate":2,"Rejected":2,"Returned":1,"Waiting":0,"DatabaseMs":1.5,"RoundTrips":2,"OldestMessageAgeMs":100000,"ColdStart":1,"RejectedByReason":{"not_json":2},"ReturnedByCause":{"moment":1}}`
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
	if err := emf.NewWriter(&out, emf.Options{Function: "f", Now: time.Now}).Write(t.Context(), report); err != nil {
		t.Fatal(err)
	}
	if want := `"Returned":7,"Waiting":4,`; !strings.Contains(out.String(), want) {
		t.Errorf("got %s, want %s", out.String(), want)
	}
}

// line is the line as a struct; its fields named as metrics are their values.
type line struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []directive
	} `json:"_aws"`
	FunctionName       string
	RequestID          string `json:"requestId,omitempty"`
	Received           int
	Stored             int
	Duplicate          int
	Replaced           int `json:",omitempty"`
	Outdated           int `json:",omitempty"`
	Conflict           int `json:",omitempty"`
	Ignored            int `json:",omitempty"`
	Rejected           int
	Returned           int
	Waiting            int
	DatabaseMs         float64
	RoundTrips         int
	OldestMessageAgeMs int64
	ColdStart          int
	RejectedByReason   map[message.Reason]int `json:",omitempty"`
	ReturnedByCause    map[message.Cause]int  `json:",omitempty"`
	ByModel            *byModel               `json:",omitempty"`
}

// byModel has the models of the tests, in the order in which they are tried.
type byModel struct {
	Orders *modelLine `json:"orders,omitempty"`
	Logins *modelLine `json:"logins,omitempty"`
	Quiet  *modelLine `json:"quiet,omitempty"`
}

type modelLine struct {
	Received  int
	Stored    int `json:",omitempty"`
	Duplicate int `json:",omitempty"`
	Replaced  int `json:",omitempty"`
	Outdated  int `json:",omitempty"`
	Conflict  int `json:",omitempty"`
	Ignored   int `json:",omitempty"`
	Rejected  int `json:",omitempty"`
	Returned  int `json:",omitempty"`
}

type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []metric
}

type metric struct{ Name, Unit string }

// TestTheLineIsWhatEncodingJSONMakes of the same values: the writer has no marshaller.
func TestTheLineIsWhatEncodingJSONMakes(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1767225700000)
	metrics := func(c *message.Counts) (all []metric) {
		of := map[string]int{"Replaced": c.Replaced, "Outdated": c.Outdated, "Conflict": c.Conflict, "Ignored": c.Ignored}
		for _, name := range emf.Metrics() {
			unit := "Count"
			if strings.HasSuffix(name, "Ms") {
				unit = "Milliseconds"
			}
			if n, special := of[name]; !special || n > 0 {
				all = append(all, metric{name, unit})
			}
		}
		return all
	}
	for _, tt := range []struct {
		name, function, request string
		verdicts                []message.Verdict
		inserted, trips         int
		took                    time.Duration
		age                     int64
		models                  []string
		tallies                 message.Tallies // instead of inserted
		byModel                 *byModel
	}{
		{name: "nothing"},
		{name: "a happy batch", function: "sluice-ingest", request: "00000000-0000-4000-8000-000000000001", verdicts: slices.Repeat([]message.Verdict{{Outcome: message.Stored}}, 10), inserted: 7, trips: 1, took: 1234567, age: 1234},
		{name: "each outcome", function: "f", request: "r", verdicts: []message.Verdict{
			{Outcome: message.Stored},
			{Outcome: message.Repeated},
			{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused}},
			{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonMissing}},
			{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonMissing}},
			{Cause: message.CauseTransient},
			{Cause: message.CauseGroup},
			{Cause: message.CauseForeignKey},
			{Cause: message.CauseForeignKey},
		}, inserted: 1, trips: 3, took: 5 * time.Second, age: 86_400_000},
		{name: "outcomes that only some models have", function: "f", verdicts: []message.Verdict{
			{Outcome: message.Stored},
			{Outcome: message.Stored},
			{Outcome: message.Stored, Outdated: true},
			{Outcome: message.Stored, Rejection: message.Rejection{Reason: message.ReasonConflict}},
			{Outcome: message.Ignored},
			{Outcome: message.Ignored},
		}, tallies: message.Tallies{{Inserted: 1, Replaced: 1}}},
		{name: "an outcome that only some models have", function: "f", verdicts: []message.Verdict{{Outcome: message.Stored, Outdated: true}}},
		{name: "several models", function: "f", models: []string{"orders", "logins", "quiet"}, verdicts: []message.Verdict{
			{Model: 2, Outcome: message.Stored},
			{Model: 2, Outcome: message.Stored},
			{Model: 2, Outcome: message.Repeated},
			{Model: 1, Outcome: message.Stored},
			{Model: 1, Outcome: message.Stored},
			{Model: 1, Outcome: message.Stored, Outdated: true},
			{Model: 1, Outcome: message.Stored, Rejection: message.Rejection{Reason: message.ReasonConflict}},
			{Model: 1, Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonMissing}},
			{Model: 1, Cause: message.CauseTransient},
			{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonNotJSON}},
			{Cause: message.CauseGroup},
		}, tallies: message.Tallies{{Replaced: 2}, {Inserted: 2}}, byModel: &byModel{
			Orders: &modelLine{Received: 6, Replaced: 2, Outdated: 1, Conflict: 1, Rejected: 1, Returned: 1},
			Logins: &modelLine{Received: 3, Stored: 2, Duplicate: 1},
		}},
		{name: "several models without a message", function: "f", models: []string{"orders", "logins", "quiet"}, byModel: &byModel{}},
		{name: "a microsecond", took: time.Microsecond},
		{name: "less", took: time.Nanosecond},
		{name: "a day", took: 24*time.Hour - time.Microsecond},
		{name: "text that JSON escapes", function: "a \"name\" with \\ and é, \u2028, \x01", request: "\n"},
		{name: "text that is not UTF-8", function: "a\xffb", request: "\xff"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.tallies == nil && tt.models == nil {
				tt.tallies = message.Tallies{{Inserted: tt.inserted}}
			}
			report := &ingest.Report{Verdicts: tt.verdicts, Messages: make([]message.Message, len(tt.verdicts)), Models: tt.models, Tallies: tt.tallies, RoundTrips: tt.trips, StoreTime: tt.took}
			for i := range report.Messages {
				report.Messages[i].HasSent, report.Messages[i].SentMillis = true, now.UnixMilli()-tt.age
			}
			c := report.Counts()
			want := line{
				FunctionName: tt.function, RequestID: tt.request, Received: len(tt.verdicts), Stored: c.Stored, Duplicate: c.Duplicate, Rejected: c.Rejected, Returned: c.Returned,
				Waiting:    c.Causes[message.CauseForeignKey] + c.Causes[message.CauseMemory] + c.Causes[message.CauseGroup],
				DatabaseMs: float64(tt.took.Microseconds()) / 1000, RoundTrips: tt.trips, OldestMessageAgeMs: tt.age, RejectedByReason: c.Reasons, ReturnedByCause: c.Causes,
				Replaced: c.Replaced, Outdated: c.Outdated, Conflict: c.Conflict, Ignored: c.Ignored, ByModel: tt.byModel,
			}
			want.AWS.Timestamp = now.UnixMilli()
			want.AWS.CloudWatchMetrics = []directive{{emf.Namespace, [][]string{{"FunctionName"}}, metrics(&c)}}

			var got strings.Builder
			w := emf.NewWriter(&got, emf.Options{Function: tt.function, RequestID: func(context.Context) string { return tt.request }, Now: func() time.Time { return now }})
			for _, want.ColdStart = range []int{1, 0} {
				got.Reset()
				if err := w.Write(t.Context(), report); err != nil {
					t.Fatal(err)
				}
				if same := marshal(t, want); got.String() != same {
					t.Errorf("got  %swant %s", got.String(), same)
				}
			}
		})
	}
}

// marshal returns a value as a line of JSON, as the writer spells it: encoding/json alone escapes
// U+2028 and what replaces invalid UTF-8.
func marshal(t *testing.T, v any) string {
	t.Helper()
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(`\u2028`, "\u2028", `\ufffd`, "\ufffd").Replace(b.String())
}

// TestAHappyBatchAllocatesNothing, once the line's memory is there.
func TestAHappyBatchAllocatesNothing(t *testing.T) {
	w := emf.NewWriter(io.Discard, emf.Options{Function: "f", RequestID: requestID, Now: time.Now})
	report := &ingest.Report{Messages: make([]message.Message, 10), Verdicts: slices.Repeat([]message.Verdict{{Outcome: message.Stored}}, 10), Tallies: message.Tallies{{Inserted: 10}}, RoundTrips: 1}
	if n := testing.AllocsPerRun(100, func() {
		if err := w.Write(t.Context(), report); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("a line takes %v allocations", n)
	}
}

// TestEveryMetricHasAValue reads the line as CloudWatch does.
func TestEveryMetricHasAValue(t *testing.T) {
	var out strings.Builder
	report := &ingest.Report{
		Messages: make([]message.Message, 4), Tallies: message.Tallies{{Replaced: 1}},
		Verdicts: []message.Verdict{{Outcome: message.Stored}, {Outcome: message.Stored, Outdated: true}, {Outcome: message.Stored, Rejection: message.Rejection{Reason: message.ReasonConflict}}, {Outcome: message.Ignored}},
	}
	if err := emf.NewWriter(&out, emf.Options{Function: "f", Now: time.Now}).Write(t.Context(), report); err != nil {
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
