package esmsim_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/testing/esmsim"
)

// deadLettered is a DLQ with messages that the redrive policy moved there at 30 s.
func deadLettered(sim *esmsim.Sim, suffix string, sent ...string) (queue, dlq *esmsim.Queue) {
	dlq = sim.Queue(esmsim.QueueConfig{Name: "dlq" + suffix})
	queue = sim.Queue(esmsim.QueueConfig{Name: "q" + suffix, DeadLetter: dlq, MaxReceives: 1})
	send(queue, sent...)
	for n := 1; n > 0; n = len(queue.Receive(10)) {
	}
	sim.Run(30 * time.Second)
	queue.Receive(10)
	return queue, dlq
}

func TestMoveTaskMakesNewMessages(t *testing.T) {
	t.Parallel()
	for _, suffix := range []string{"", ".fifo"} {
		t.Run("queue"+suffix, func(t *testing.T) {
			t.Parallel()
			sim := esmsim.New(1)
			queue, dlq := deadLettered(sim, suffix, "a", "b")
			sim.Run(hour)
			task, err := dlq.StartMessageMoveTask(nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			sim.Run(hour + time.Second)
			if !task.Done || task.Err != nil || task.Moved != 2 {
				t.Errorf("task: done %v, moved %d, %v", task.Done, task.Moved, task.Err)
			}
			moved := queue.Messages()
			if diff := cmp.Diff(bodies(moved), []string{"a", "b"}); diff != "" {
				t.Fatalf("in the source queue (-got +want):\n%s", diff)
			}
			for i, old := range dlqAll(dlq) {
				if old.State != esmsim.Moved || moved[i].MessageID == old.MessageID {
					t.Errorf("%q is %v with id %s, then %s; want moved, with a new id", old.Body, old.State, old.MessageID, moved[i].MessageID)
				}
				if got := moved[i]; got.Receives != 0 || !got.Sent.Equal(sim.Now().Add(-time.Second)) || got.Source != "" {
					t.Errorf("moved: %+v, want no receives and sent when the task began", got)
				}
			}
			if got := bodies(queue.Receive(10)); len(got) != 2 {
				t.Errorf("received %q, want both: the receive count is a new one", got)
			}
		})
	}
}

func dlqAll(dlq *esmsim.Queue) (all []esmsim.Record) {
	for r := range dlq.All() {
		all = append(all, r)
	}
	return all
}

func TestMoveTaskRate(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	_, dlq := deadLettered(sim, "", numbered("m", 25)...)
	if got := len(dlq.Messages()); got != 25 {
		t.Fatalf("%d in the DLQ, want 25", got)
	}
	task, err := dlq.StartMessageMoveTask(nil, 10)
	if err != nil {
		t.Fatal(err)
	}
	start := sim.Elapsed()
	for i, want := range []int{10, 20, 25} {
		sim.Run(start + time.Duration(i)*time.Second)
		if task.Moved != want {
			t.Errorf("%d moved after %d s, want %d", task.Moved, i, want)
		}
	}
}

func TestMoveTaskLeavesWhatArrivesLater(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue, dlq := deadLettered(sim, "", "a", "b")
	if _, err := dlq.StartMessageMoveTask(queue, 1); err != nil {
		t.Fatal(err)
	}
	send(dlq, "later")
	sim.Run(hour)
	if diff := cmp.Diff(bodies(dlq.Messages()), []string{"later"}); diff != "" {
		t.Errorf("left in the DLQ (-got +want):\n%s", diff)
	}
}

func TestMoveTaskOfMessagesThatWereSent(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue, dlq := deadLettered(sim, "")
	other := sim.Queue(esmsim.QueueConfig{Name: "other"})
	send(dlq, "sent")

	task, err := dlq.StartMessageMoveTask(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	sim.Run(time.Minute)
	if !task.Done || task.Err == nil || len(dlq.Messages()) != 1 || len(queue.Messages()) != 0 {
		t.Errorf("done %v, %v, %d left; want an error for want of a source", task.Done, task.Err, len(dlq.Messages()))
	}
	if task, err = dlq.StartMessageMoveTask(other, 0); err != nil {
		t.Fatal(err)
	}
	sim.Run(2 * time.Minute)
	if task.Err != nil || len(other.Messages()) != 1 {
		t.Errorf("%v, %d at the custom destination, want 1", task.Err, len(other.Messages()))
	}
}

func TestMoveTaskRefusals(t *testing.T) {
	t.Parallel()
	sim := esmsim.New(1)
	queue, dlq := deadLettered(sim, "")
	fifo := sim.Queue(esmsim.QueueConfig{Name: "q.fifo"})
	if _, err := queue.StartMessageMoveTask(nil, 0); code(err) != "InvalidParameterValue" {
		t.Errorf("from a queue that is no DLQ: %v", err)
	}
	if _, err := dlq.StartMessageMoveTask(fifo, 0); code(err) != "InvalidParameterValue" {
		t.Errorf("to another type: %v", err)
	}
	if _, err := dlq.StartMessageMoveTask(nil, 501); code(err) != "InvalidParameterValue" {
		t.Errorf("at 501 a second: %v", err)
	}
	if _, err := dlq.StartMessageMoveTask(nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := dlq.StartMessageMoveTask(nil, 0); code(err) != "UnsupportedOperation" {
		t.Errorf("a second task at a time: %v", err)
	}
}
