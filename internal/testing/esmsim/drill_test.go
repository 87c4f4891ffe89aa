package esmsim_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

func TestDrillQuietTraffic(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "logins", Visibility: 3 * time.Minute})
	mapping := sim.Map(queue, acknowledge, esmsim.MappingConfig{ReportBatchItemFailures: true})
	sim.At(hour, sim.Every(time.Second, func() { queue.Send(login) }))
	sim.Run(2 * hour)

	r := mapping.Report()
	// The first at one second, and at one hour it has stopped.
	if r.Sent != 3_600-1 || r.Deleted != r.Sent || r.MaxReceives != 1 {
		t.Errorf("report:\n%v", r)
	}
}

// The outage that sends good messages to the dead-letter queue when nobody backs off, and does not
// when somebody does.
func TestDrillOutageOfSixHours(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name         string
		backOff      bool
		deadLettered bool
	}{
		{"without back-off", false, true},
		{"with back-off", true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			dlq := sim.Queue(esmsim.QueueConfig{Name: "logins-dlq", Retention: 14 * day})
			queue := sim.Queue(esmsim.QueueConfig{Name: "logins", Visibility: 3 * time.Minute, DeadLetter: dlq, MaxReceives: 50})
			f := newFunction(t, sim)
			down := false
			f.answer = func(_ context.Context, records []record) (string, error) {
				f.deliveries = nil
				if !down {
					return "", nil
				}
				if tt.backOff {
					for _, r := range records {
						wait := min(15*time.Minute, 15*time.Second<<min(r.receives()-1, 10))
						if err := queue.ChangeVisibility(r.ReceiptHandle, wait); err != nil {
							t.Errorf("back-off: %v", err)
						}
					}
				}
				return "", errors.New("database is down")
			}
			mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
			sim.At(9*hour, sim.Every(30*time.Second, func() { queue.Send(login) }))
			sim.At(1*hour, func() { down = true })
			sim.At(7*hour, func() { down = false })
			sim.Run(24 * hour)

			r := mapping.Report()
			if r.Waiting != 0 || r.Deleted+r.DeadLettered != r.Sent || r.InDLQ != r.DeadLettered || (r.DeadLettered > 0) != tt.deadLettered {
				t.Errorf("report:\n%v", r)
			}
			if r.BacklogGone < 7*hour || r.BacklogGone > 8*hour {
				t.Errorf("backlog gone at %v, want soon after 7 h", r.BacklogGone)
			}
		})
	}
}

// A store keyed by messageId holds each message once, and the rejected ones are in the DLQ,
// whatever SQS and Lambda do.
func TestDrillEverythingGoesWrong(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	dlq := sim.Queue(esmsim.QueueConfig{Name: "logins-dlq", Retention: 14 * day})
	queue := sim.Queue(esmsim.QueueConfig{
		Name: "logins", Visibility: time.Minute, DeadLetter: dlq, MaxReceives: 1000,
		Duplicates: 0.05, OutOfOrder: 0.1, LostDeletes: 0.05,
	})
	rows := map[string]int{} // stored by message id
	rejected := map[string]bool{}
	f := newFunction(t, sim)
	f.answer = func(_ context.Context, records []record) (string, error) {
		f.deliveries = nil
		for _, r := range records {
			switch {
			case r.Body != "poison":
				rows[r.MessageID] = 1
			case !rejected[r.MessageID]:
				rejected[r.MessageID] = true
				dlq.Send(esmsim.Message{Body: r.Body, Attributes: map[string]esmsim.Attribute{
					"reason": {DataType: "String", StringValue: r.MessageID + " at " + sim.Now().String()},
				}})
			}
		}
		return "", nil
	}
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true, LostAnswers: 0.1})
	good, poison := 0, 0
	sim.At(hour, sim.Every(time.Second, func() { send(queue, "good"); good++ }))
	sim.At(hour, sim.Every(time.Minute, func() { send(queue, "poison"); poison++ }))
	for _, at := range []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
		sim.At(at, func() { mapping.Throttle(true) })
		sim.At(at+5*time.Minute, func() { mapping.Throttle(false) })
	}
	sim.Run(3 * hour)

	r := mapping.Report()
	if len(rows) != good || r.Deleted != good+poison || r.DeadLettered != 0 || r.Waiting != 0 {
		t.Errorf("%d rows of %d good messages, report:\n%v", len(rows), good, r)
	}
	sent := dlq.Messages()
	if len(sent) != poison {
		t.Errorf("%d in the DLQ, want %d", len(sent), poison)
	}
	for _, m := range sent {
		if reason := m.Attributes["reason"].StringValue; !strings.HasSuffix(reason, " at "+m.Sent.String()) {
			t.Errorf("rejected %s, sent at %v: want the same instant", reason, m.Sent)
		}
	}
}

var login = esmsim.Message{Body: `{"user_id":"424cdd21-063a-43a7-b91b-7ca1a833afae","app_version":"2.3.0","device_type":"android","ip":"199.172.111.135","locale":"RU","device_id":"593-47-5928"}`}

func acknowledge(context.Context, []byte) ([]byte, error) {
	return []byte(`{"batchItemFailures":[]}`), nil
}

func TestReport(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	dlq := sim.Queue(esmsim.QueueConfig{Name: "logins-dlq"})
	queue := sim.Queue(esmsim.QueueConfig{Name: "logins", DeadLetter: dlq, MaxReceives: 2})
	f := newFunction(t, sim)
	f.answer = failing("poison")
	mapping := sim.Map(queue, f.handle, esmsim.MappingConfig{ReportBatchItemFailures: true})
	send(queue, "a", "poison", "b")
	send(dlq, "rejected")
	sim.Run(90 * time.Second)
	want := esmsim.Report{
		Queue: "logins", InDLQ: 2, MeanReceives: 4.0 / 3, Runs: esmsim.Runs{Invocations: 2, Partial: 2},
		Traffic: esmsim.Traffic{Sent: 3, Receives: 4, Deleted: 2, DeadLettered: 1, MaxReceives: 2, OldestAge: time.Minute, PeakBacklog: 3, BacklogGone: time.Minute},
	}
	if diff := cmp.Diff(mapping.Report(), want); diff != "" {
		t.Errorf("report (-got +want):\n%s", diff)
	}
}

func TestReportOfABacklog(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue := sim.Queue(esmsim.QueueConfig{Name: "logins"})
	mapping := sim.Map(queue, acknowledge, esmsim.MappingConfig{})
	mapping.Throttle(true)
	send(queue, "a")
	sim.Run(hour)
	r := mapping.Report()
	if r.Waiting != 1 || r.OldestAge != hour || r.BacklogGone != 0 || !strings.Contains(r.String(), "backlog gone  never\n") {
		t.Errorf("report:\n%v", r)
	}
}

func ExampleMapping_Report() {
	sim := esmsim.New(1)
	dlq := sim.Queue(esmsim.QueueConfig{Name: "logins-dlq"})
	queue := sim.Queue(esmsim.QueueConfig{Name: "logins", DeadLetter: dlq, MaxReceives: 100})

	down := false
	handler := func(context.Context, []byte) ([]byte, error) {
		if down {
			return nil, errors.New("database is down")
		}
		return []byte(`{"batchItemFailures":[]}`), nil
	}
	mapping := sim.Map(queue, handler, esmsim.MappingConfig{ReportBatchItemFailures: true})

	sim.At(2*time.Hour, sim.Every(time.Second, func() { queue.Send(esmsim.Message{Body: "{}"}) }))
	sim.At(30*time.Minute, func() { down = true })
	sim.At(45*time.Minute, func() { down = false })
	sim.Run(3 * time.Hour)
	fmt.Println(mapping.Report())
	// Output:
	// queue         logins
	// sent          7199        0 deduplicated
	// receives      21149       2.94 a message, 31 at most
	// invocations   8189        1800 failed (0 timed out, 0 answers lost), 0 in part, 0 throttles
	// deleted       7199
	// in the DLQ    0           0 moved there by the redrive policy
	// expired       0
	// waiting       0           901 at the peak
	// oldest        15m0.1s
	// backlog gone  45m29.1s
	// last error    database is down
}

func BenchmarkSixHours(b *testing.B) {
	for b.Loop() {
		sim := esmsim.New(1)
		queue := sim.Queue(esmsim.QueueConfig{Name: "logins", Visibility: 3 * time.Minute})
		sim.Map(queue, acknowledge, esmsim.MappingConfig{ReportBatchItemFailures: true})
		sim.At(6*hour, sim.Every(100*time.Millisecond, func() { queue.Send(login) }))
		sim.Run(7 * hour)
	}
}

// An outage with 10 messages a second and no back-off: 216,000 messages, received every three
// minutes.
func BenchmarkOutage(b *testing.B) {
	for b.Loop() {
		sim := esmsim.New(1)
		queue := sim.Queue(esmsim.QueueConfig{Name: "logins", Visibility: 3 * time.Minute})
		down := true
		handler := func(context.Context, []byte) ([]byte, error) {
			if down {
				return nil, errors.New("down")
			}
			return nil, nil
		}
		mapping := sim.Map(queue, handler, esmsim.MappingConfig{ReportBatchItemFailures: true, Concurrency: 50})
		sim.At(6*hour, sim.Every(100*time.Millisecond, func() { queue.Send(login) }))
		sim.At(6*hour, func() { down = false })
		sim.Run(8 * hour)
		b.ReportMetric(float64(mapping.Report().Receives), "receives")
	}
}
