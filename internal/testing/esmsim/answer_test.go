package esmsim_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

// The answers of §2, judged. "A" and "B" stand for the ids of a batch of two.
var answers = []struct {
	name, answer string
	failed       []string
	whole        bool // the whole batch is returned
}{
	{name: "empty", answer: ""},
	{name: "white space", answer: " \n"},
	{name: "null", answer: "null"},
	{name: "empty object", answer: "{}"},
	{name: "null list", answer: `{"batchItemFailures":null}`},
	{name: "empty list", answer: `{"batchItemFailures":[]}`},
	{name: "another object", answer: `{"statusCode":200,"body":"ok"}`},
	{name: "key in another case", answer: `{"BatchItemFailures":[{"itemIdentifier":"A"}]}`},
	{name: "one", answer: `{"batchItemFailures":[{"itemIdentifier":"A"}]}`, failed: []string{"A"}},
	{name: "both", answer: `{"batchItemFailures":[{"itemIdentifier":"A"},{"itemIdentifier":"B"}]}`, failed: []string{"A", "B"}},
	{name: "one twice", answer: `{"batchItemFailures":[{"itemIdentifier":"A"},{"itemIdentifier":"A"}]}`, failed: []string{"A", "A"}},
	{name: "with more keys", answer: `{"ok":1,"batchItemFailures":[{"itemIdentifier":"B","why":"x"}]}`, failed: []string{"B"}},
	{name: "not JSON", answer: `{"batchItemFailures":[`, whole: true},
	{name: "empty identifier", answer: `{"batchItemFailures":[{"itemIdentifier":""}]}`, whole: true},
	{name: "null identifier", answer: `{"batchItemFailures":[{"itemIdentifier":null}]}`, whole: true},
	{name: "wrongly keyed", answer: `{"batchItemFailures":[{"messageId":"A"}]}`, whole: true},
	{name: "keyed in another case", answer: `{"batchItemFailures":[{"ItemIdentifier":"A"}]}`, whole: true},
	{name: "unknown identifier", answer: `{"batchItemFailures":[{"itemIdentifier":"A"},{"itemIdentifier":"C"}]}`, whole: true},
	{name: "identifier in another case", answer: `{"batchItemFailures":[{"itemIdentifier":"a"}]}`, whole: true},
	{name: "number as identifier", answer: `{"batchItemFailures":[{"itemIdentifier":1}]}`, whole: true},
	{name: "null item", answer: `{"batchItemFailures":[null]}`, whole: true},
	{name: "undocumented: identifiers alone", answer: `{"batchItemFailures":["A"]}`, whole: true},
	{name: "undocumented: no list", answer: `{"batchItemFailures":"A"}`, whole: true},
	{name: "undocumented: string", answer: `"ok"`, whole: true},
	{name: "undocumented: list", answer: `[]`, whole: true},
	{name: "over 6 MB", answer: `{"x":"` + strings.Repeat("x", 6<<20) + `"}`, whole: true},
}

func TestAnswersDecideWhatIsDeleted(t *testing.T) {
	t.Parallel()
	for _, report := range []bool{true, false} {
		for _, tt := range answers {
			t.Run(tt.name+map[bool]string{true: ", reported", false: ", ignored"}[report], func(t *testing.T) {
				t.Parallel()
				sim := esmsim.New(1)
				queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
				f := newFunction(t, sim)
				f.answer = func(_ context.Context, records []record) (string, error) {
					return strings.NewReplacer(`"A"`, `"`+records[0].MessageID+`"`, `"B"`, `"`+records[1].MessageID+`"`).Replace(tt.answer), nil
				}
				sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: report})
				ids := send(queue, "A", "B")
				sim.Run(29 * time.Second)

				want := map[string]esmsim.State{"A": esmsim.Deleted, "B": esmsim.Deleted}
				for body := range want {
					if report && (tt.whole || strings.Contains(strings.Join(tt.failed, ""), body)) {
						want[body] = esmsim.InFlight // until its visibility ends
					}
				}
				got := map[string]esmsim.State{}
				for _, id := range ids {
					r, _ := queue.Find(id)
					got[r.Body] = r.State
				}
				if diff := cmp.Diff(got, want); diff != "" {
					t.Errorf("states (-got +want):\n%s", diff)
				}
			})
		}
	}
}

func TestFunctionErrorsReturnTheWholeBatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config esmsim.MappingConfig
		answer func(ctx context.Context, records []record) (string, error)
		want   string // of the last error
	}{
		{"error", esmsim.MappingConfig{}, func(context.Context, []record) (string, error) { return "", errors.New("no database") }, "no database"},
		{"error and answer", esmsim.MappingConfig{}, func(context.Context, []record) (string, error) { return "{}", errors.New("no database") }, "no database"},
		{"panic", esmsim.MappingConfig{}, func(context.Context, []record) (string, error) { panic("nil map") }, "nil map"},
		{"timeout by duration", esmsim.MappingConfig{Duration: func(n int) time.Duration { return time.Duration(n) * 2 * time.Second }}, nil, "timed out"},
		{"timeout by what it spent", esmsim.MappingConfig{}, func(ctx context.Context, _ []record) (string, error) {
			esmsim.Spend(ctx, time.Second)
			esmsim.Spend(ctx, 2*time.Second)
			return "{}", nil
		}, "timed out"},
		{"real timeout", esmsim.MappingConfig{RealTimeout: time.Millisecond}, func(ctx context.Context, _ []record) (string, error) {
			<-ctx.Done()
			return "", ctx.Err()
		}, "deadline exceeded"},
		{"lost answer", esmsim.MappingConfig{LostAnswers: 1}, nil, "lost"},
	}
	for _, tt := range tests {
		for _, report := range []bool{true, false} {
			t.Run(tt.name+map[bool]string{true: ", reported", false: ", ignored"}[report], func(t *testing.T) {
				t.Parallel()
				sim := esmsim.New(1)
				queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
				f := newFunction(t, sim)
				f.answer = tt.answer
				config := tt.config
				config.ReportBatchItemFailures = report
				mapping := sim.Map(queue, f.handle, config)
				send(queue, "a", "b")
				sim.Run(59 * time.Second)
				// Both come again when their visibility ends, 30 s after the receive, whenever the
				// function ended.
				f.wantTimes(0, 30*time.Second)
				r := mapping.Report()
				if r.Deleted != 0 || r.Waiting != 2 || r.Failures != 2 || !strings.Contains(r.LastError.Error(), tt.want) {
					t.Errorf("deleted %d, waiting %d, %d failures, last %v; want 0, 2, 2 and %q", r.Deleted, r.Waiting, r.Failures, r.LastError, tt.want)
				}
			})
		}
	}
}

func TestFunctionTimeoutFreesThePoller(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "q"})
	f := newFunction(t, sim)
	f.answer = func(ctx context.Context, _ []record) (string, error) {
		esmsim.Spend(ctx, 20*time.Second)
		return "", nil
	}
	sim.Map(queue, f.handle, esmsim.MappingConfig{BatchSize: 1, Concurrency: 1, FunctionTimeout: 10 * time.Second})
	send(queue, "a", "b")
	sim.Run(29 * time.Second)
	f.wantTimes(0, 10*time.Second)
}
