package esmsim_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

func TestClockRunsWhatIsDueInOrder(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	var story []string
	note := func(what string) func() {
		return func() { story = append(story, sim.Elapsed().String()+" "+what) }
	}
	sim.At(3*time.Second, note("third"))
	sim.At(time.Second, note("first"))
	sim.At(time.Second, note("second"))
	sim.At(time.Second, func() { sim.At(0, note("late")) })
	stop := sim.Every(2*time.Second, note("tick"))
	sim.At(5*time.Second, stop)
	sim.At(9*time.Second, note("beyond"))

	sim.Run(8 * time.Second)

	want := []string{"1s first", "1s second", "1s late", "2s tick", "3s third", "4s tick"}
	if diff := cmp.Diff(story, want); diff != "" {
		t.Errorf("story (-got +want):\n%s", diff)
	}
	if got, want := sim.Now(), time.Date(2026, 1, 1, 0, 0, 8, 0, time.UTC); !got.Equal(want) {
		t.Errorf("Now() = %v after the run, want %v", got, want)
	}
}

func TestClockSameSeedSameRun(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) (ids []string, report esmsim.Report) {
		sim := esmsim.New(seed)
		queue := sim.Queue(esmsim.QueueConfig{Name: "q", Duplicates: 0.1, OutOfOrder: 0.1, LostDeletes: 0.1})
		f := newFunction(t, sim)
		mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true, LostAnswers: 0.1})
		sim.Every(100*time.Millisecond, func() { send(queue, "x") })
		sim.Run(time.Minute)
		for _, d := range f.deliveries {
			for _, r := range d.records {
				ids = append(ids, d.at.String()+r.ReceiptHandle)
			}
		}
		report = mapping.Report()
		report.LastError = nil
		return ids, report
	}
	ids, report := run(7)
	sameIDs, sameReport := run(7)
	otherIDs, _ := run(8)
	if diff := cmp.Diff(ids, sameIDs); diff != "" {
		t.Errorf("deliveries differ between runs of one seed:\n%s", diff)
	}
	if diff := cmp.Diff(report, sameReport); diff != "" {
		t.Errorf("reports differ between runs of one seed:\n%s", diff)
	}
	if cmp.Equal(ids, otherIDs) {
		t.Error("another seed gave the same run")
	}
}

func TestSpendOutsideAnInvocationDoesNothing(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	esmsim.Spend(t.Context(), hour)
	if got := sim.Elapsed(); got != 0 {
		t.Errorf("Elapsed() = %v, want 0", got)
	}
}
