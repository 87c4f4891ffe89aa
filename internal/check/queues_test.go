package check_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
)

// queues is a pair of queues in which nothing is wrong, and what changes that.
func queues(t *testing.T, change func(q *check.Queues)) *check.Queues {
	t.Helper()
	const day = 24 * time.Hour
	dead := &sqs.Queue{Settings: sqs.Settings{ARN: "arn:dead", Retention: 14 * day, MaxBytes: 1 << 20, Visibility: 30 * time.Second}}
	q := &check.Queues{
		Source: &sqs.Queue{Settings: sqs.Settings{ARN: "arn:logins", Retention: 4 * day, MaxBytes: 1 << 20, Visibility: 3 * time.Minute, DeadLetterARN: "arn:dead", MaxReceives: 50}},
		Policy: dead, Rejects: dead, RejectsSet: true, Backoff: true,
	}
	change(q)
	return q
}

func TestQueues(t *testing.T) {
	t.Parallel()
	waiting := func(receives int) *model.Set {
		return parse(t, fmt.Sprintf(`
model: lines
table: lines
key: [id]
foreign_key: return
foreign_key_receives: %d
fields: {id: {type: text, required: true}}
columns: {id: {type: text, from: id}}
`, receives)).Set()
	}
	numbered := func(newerBy string) *model.Set {
		return parse(t, `
model: states
table: states
key: [id]
on_conflict: replace
newer_by: `+newerBy+`
fields:
  id: {type: text, required: true}
  version: {type: integer, required: true}
columns:
  id: {type: text, from: id}
  version: {type: integer, from: version}
  sequence_number: {type: numeric, meta: sequence_number}
`).Set()
	}
	for _, tt := range []struct {
		name   string
		change func(q *check.Queues)
		want   []string
	}{
		{"as the template has them", func(*check.Queues) {}, nil},
		{"three receives", func(q *check.Queues) { q.Source.Settings.MaxReceives = 3 }, []string{"warning max_receive_count", "error outage"}},
		{"fifteen receives of groups", func(q *check.Queues) {
			q.Source.FIFO, q.Policy.FIFO, q.Source.Settings.MaxReceives = true, true, 15
		}, []string{"warning max_receive_count", "warning outage"}},
		{"one receive", func(q *check.Queues) { q.Source.Settings.MaxReceives = 1 }, []string{"error max_receive_count", "error outage"}},
		{"no back-off", func(q *check.Queues) { q.Backoff = false }, []string{"warning outage"}},
		{"no back-off, and a short visibility", func(q *check.Queues) { q.Backoff, q.Source.Settings.Visibility = false, 30*time.Second }, []string{"error outage"}},
		{"a visibility of seconds", func(q *check.Queues) { q.Source.Settings.Visibility = 5 * time.Second }, nil},
		{"a shorter one", func(q *check.Queues) { q.Source.Settings.Visibility = 4 * time.Second }, []string{"warning visibility"}},
		{"none", func(q *check.Queues) { q.Source.Settings.Visibility = 0 }, []string{"warning visibility"}},
		{"short retention", func(q *check.Queues) { q.Source.Settings.Retention = 2 * time.Hour }, []string{"warning outage"}},
		{"no redrive policy", func(q *check.Queues) { q.Source.Settings.DeadLetterARN, q.Policy = "", nil }, []string{"warning no_redrive_policy"}},
		{"no dead-letter queue at all", func(q *check.Queues) {
			q.Source.Settings.DeadLetterARN, q.Policy, q.Rejects, q.RejectsSet = "", nil, nil, false
		}, []string{"error no_dead_letter_queue"}},
		{"equal retention", func(q *check.Queues) { q.Policy.Settings.Retention = q.Source.Settings.Retention }, []string{"warning retention"}},
		{"shorter retention", func(q *check.Queues) { q.Policy.Settings.Retention = time.Hour }, []string{"error retention"}},
		{"equal retention of FIFO queues", func(q *check.Queues) {
			q.Source.FIFO, q.Policy.FIFO, q.Policy.Settings.Retention = true, true, q.Source.Settings.Retention
		}, nil},
		{"shorter retention of FIFO queues", func(q *check.Queues) {
			q.Source.FIFO, q.Policy.FIFO, q.Policy.Settings.Retention = true, true, time.Hour
		}, []string{"warning retention"}},
		{"retentions that an emulator does not say", func(q *check.Queues) { q.Source.Settings.Retention, q.Policy.Settings.Retention = 0, 0 }, []string{"skipped retention"}},
		{"two kinds", func(q *check.Queues) { q.Source.FIFO = true }, []string{"warning kind"}},
		{"smaller messages", func(q *check.Queues) { q.Policy.Settings.MaxBytes = 1024 }, []string{"error size"}},
		{"a policy of its own", func(q *check.Queues) { q.Policy.Settings.DeadLetterARN = "arn:other" }, []string{"warning redrive_policy"}},
		{"messages in it", func(q *check.Queues) { q.Policy.Counts.Visible = 7 }, []string{"warning messages"}},
		{"rejects go to the queue itself", func(q *check.Queues) { q.Rejects = q.Source }, []string{"error same_queue"}},
		{"a model that waits as long as the queue", func(q *check.Queues) { q.Models = waiting(50) }, nil},
		{"a model that waits for longer", func(q *check.Queues) { q.Models = waiting(51) }, []string{"warning foreign_key_receives"}},
		{"sequence numbers of a standard queue", func(q *check.Queues) { q.Models = numbered("sequence_number") }, []string{"error sequence_number"}},
		{"sequence numbers of a FIFO queue", func(q *check.Queues) {
			q.Models, q.Source.FIFO, q.Policy.FIFO = numbered("sequence_number"), true, true
		}, nil},
		{"sequence numbers that no row needs", func(q *check.Queues) { q.Models = numbered("version") }, nil},
		{"two dead-letter queues, one wrong", func(q *check.Queues) {
			q.Rejects = &sqs.Queue{Settings: sqs.Settings{ARN: "arn:rejects", Retention: time.Hour}}
		}, []string{"error retention"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q := queues(t, tt.change)
			f := q.Check()
			want(t, f, tt.want...)
			if text := fmt.Sprintf("%+v", f); q.Source.FIFO && strings.Contains(text, "standard queue") {
				t.Errorf("of a FIFO queue: %s", text)
			}
		})
	}
}

// Two ways to the same hours: the formula by hand.
func TestOutage(t *testing.T) {
	t.Parallel()
	q := queues(t, func(*check.Queues) {})
	// On average three quarters of 15, 30, 60, 120, 240 and 480 s, then of 900 s for each of the 43
	// left.
	with := time.Duration(945*3/4.0*float64(time.Second)) + 43*675*time.Second
	if got, limited := q.Outage(true); !limited || got != with {
		t.Errorf("with back-off: got %v, want %v", got, with)
	}
	if got, _ := q.Outage(false); got != 49*3*time.Minute {
		t.Errorf("without: got %v, want %v", got, 49*3*time.Minute)
	}
	// The fewest receives that survive an hour, and six, and one less.
	for receives, outage := range map[int]check.Severity{11: check.Error, 12: check.Warning, 37: check.Warning, 38: check.OK} {
		q.Source.Settings.MaxReceives = receives
		for _, finding := range q.Check() {
			if finding.Rule == "outage" && finding.Severity != outage {
				t.Errorf("%d receives: %s (%s), want %s", receives, finding.Severity, finding.What, outage)
			}
		}
	}
	q.Source.Settings.MaxReceives = 1000
	if got, _ := q.Outage(true); got != q.Source.Settings.Retention {
		t.Errorf("got %v, want the retention", got)
	}
}

func TestSettingsOfALiveQueue(t *testing.T) {
	t.Parallel()
	fakeSQS := sqstest.New()
	t.Cleanup(fakeSQS.Close)
	dead := fakeSQS.Queue("dead", map[string]string{"MessageRetentionPeriod": "1209600"})
	source := fakeSQS.Queue("logins", map[string]string{
		"VisibilityTimeout": "180", "RedrivePolicy": `{"deadLetterTargetArn":"` + dead.ARN + `","maxReceiveCount":"4"}`,
	})
	var q check.Queues
	for _, o := range []struct {
		into **sqs.Queue
		url  string
	}{{&q.Source, source.URL}, {&q.Policy, dead.URL}} {
		var err error
		if *o.into, err = sqs.Open(t.Context(), fakeSQS.Client(), o.url, "SQS_URL"); err != nil {
			t.Fatal(err)
		}
	}
	q.Backoff = true
	want(t, q.Check(), "warning max_receive_count", "error outage")
}

func TestFunctions(t *testing.T) {
	t.Parallel()
	good := check.Function{Name: "logins-ingest", State: "Enabled", ReportsFailures: true, Window: 5 * time.Second, Timeout: 29 * time.Second}
	for _, tt := range []struct {
		name   string
		change func(f *check.Function)
		want   []string
	}{
		{"good", func(*check.Function) {}, nil},
		{"the answer is ignored", func(f *check.Function) { f.ReportsFailures = false }, []string{"error report_batch_item_failures"}},
		{"a filter", func(f *check.Function) { f.Filter = check.Filtered }, []string{"error filter_criteria"}},
		{"a filter that is encrypted", func(f *check.Function) { f.Filter = check.FilterUnread }, []string{"skipped filter_criteria"}},
		{"disabled", func(f *check.Function) { f.State = "Disabled" }, []string{"error disabled"}},
		{"less than six times", func(f *check.Function) { f.Timeout = 30 * time.Second }, []string{"warning visibility"}},
		{"less than once", func(f *check.Function) { f.Timeout = 200 * time.Second }, []string{"error visibility"}},
		{"unknown timeout", func(f *check.Function) { f.Timeout = 0 }, []string{"skipped visibility"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := good
			tt.change(&f)
			want(t, check.Functions([]check.Function{f}, 3*time.Minute), tt.want...)
		})
	}
	want(t, check.Functions(nil, time.Minute), "skipped mapping")
}
