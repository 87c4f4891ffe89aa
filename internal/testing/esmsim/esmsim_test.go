package esmsim_test

import (
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/testing/esmsim"
)

// record is what a test reads of an event's record.
type record struct {
	MessageID         string            `json:"messageId"`
	ReceiptHandle     string            `json:"receiptHandle"`
	Body              string            `json:"body"`
	Attributes        map[string]string `json:"attributes"`
	MessageAttributes map[string]any    `json:"messageAttributes"`
	MD5OfBody         string            `json:"md5OfBody"`
	EventSource       string            `json:"eventSource"`
	EventSourceARN    string            `json:"eventSourceARN"`
	AWSRegion         string            `json:"awsRegion"`
}

func (r record) receives() int {
	n, _ := strconv.Atoi(r.Attributes["ApproximateReceiveCount"])
	return n
}

// delivery is one invocation as a test's function saw it.
type delivery struct {
	at      time.Duration
	bytes   int
	records []record
}

func (d delivery) bodies() []string {
	bodies := make([]string, len(d.records))
	for i, r := range d.records {
		bodies[i] = r.Body
	}
	return bodies
}

// function is a handler that notes what it gets.
type function struct {
	t          *testing.T
	sim        *esmsim.Sim
	deliveries []delivery
	answer     func(ctx context.Context, records []record) (string, error) // nil acknowledges all
}

func (f *function) handle(ctx context.Context, event []byte) ([]byte, error) {
	var e struct{ Records []record }
	if err := json.Unmarshal(event, &e); err != nil {
		f.t.Errorf("event is not JSON: %v", err)
	}
	f.deliveries = append(f.deliveries, delivery{f.sim.Elapsed(), len(event), e.Records})
	if f.answer == nil {
		return []byte(`{"batchItemFailures":[]}`), nil
	}
	answer, err := f.answer(ctx, e.Records)
	return []byte(answer), err
}

// wantTimes checks when the invocations began.
func (f *function) wantTimes(want ...time.Duration) {
	f.t.Helper()
	if diff := cmp.Diff(f.times(), want); diff != "" {
		f.t.Errorf("invoked at (-got +want):\n%s", diff)
	}
}

// wantBodies checks the bodies of every invocation.
func (f *function) wantBodies(want [][]string) {
	f.t.Helper()
	if diff := cmp.Diff(f.bodies(), want); diff != "" {
		f.t.Errorf("batches (-got +want):\n%s", diff)
	}
}

// bodies lists the bodies of every invocation.
func (f *function) bodies() [][]string {
	var all [][]string
	for _, d := range f.deliveries {
		all = append(all, d.bodies())
	}
	return all
}

// times lists when the invocations began.
func (f *function) times() []time.Duration {
	var all []time.Duration
	for _, d := range f.deliveries {
		all = append(all, d.at)
	}
	return all
}

// failing answers with the records whose bodies are listed.
func failing(bodies ...string) func(context.Context, []record) (string, error) {
	return func(_ context.Context, records []record) (string, error) {
		type item struct {
			ItemIdentifier string `json:"itemIdentifier"`
		}
		items := []item{}
		for _, r := range records {
			if slices.Contains(bodies, r.Body) {
				items = append(items, item{r.MessageID})
			}
		}
		answer, err := json.Marshal(map[string]any{"batchItemFailures": items})
		return string(answer), err
	}
}

func newFunction(t *testing.T, sim *esmsim.Sim) *function { return &function{t: t, sim: sim} }

// send sends one message for each body, all of group "g" on a FIFO queue, and returns their ids.
func send(q *esmsim.Queue, bodies ...string) []string {
	var ids []string
	for _, body := range bodies {
		msg := esmsim.Message{Body: body}
		if fifo(q) {
			msg.GroupID, msg.DeduplicationID = "g", body
		}
		ids = append(ids, q.Send(msg))
	}
	return ids
}

func fifo(q *esmsim.Queue) bool { return len(q.ARN()) > 5 && q.ARN()[len(q.ARN())-5:] == ".fifo" }

func bodies(records []esmsim.Record) []string {
	var all []string
	for _, r := range records {
		all = append(all, r.Body)
	}
	return all
}

func numbered(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = prefix + strconv.Itoa(i)
	}
	return all
}
