package ingest_test

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/consume"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/sqstest"
	"example.com/owner/sluice/models"
)

// What can become of a message in its queue.
const (
	done  = "done"  // deleted
	delay = "delay" // returned, to come again after a back-off
	leave = "leave" // left to the queue: it reappears when its visibility timeout expires
)

// settlements is the table of what becomes of messages: by their verdicts, in
// one batch, and by what the dead-letter queue does. A verdict is its outcome,
// or its cause when the message is returned; "none" is the cause of a store
// that does not say why.
var settlements = []struct {
	name        string
	verdicts    string // of the messages, in their order
	fifo        bool   // they are of one group
	deadLetters string // "" is none; "takes" and "fails" say what it does
	want        string
	consumer    string // what consume does, where that differs
}{
	{name: "stored", verdicts: "stored", want: done},
	{name: "rejected, and no dead-letter queue", verdicts: "rejected", want: leave},
	{name: "rejected", verdicts: "rejected", deadLetters: "takes", want: done},
	{name: "rejected, and the dead-letter queue fails", verdicts: "rejected", deadLetters: "fails", want: delay},
	{name: "no cause", verdicts: "none", want: delay},
	{name: "a cause that is not known", verdicts: "news", want: delay},
	{name: "transient", verdicts: "moment", want: delay},
	{name: "configuration", verdicts: "operator", want: delay},
	{name: "deadline", verdicts: "deadline", want: delay},
	{name: "discarded", verdicts: "swallowed", want: delay},
	{name: "foreign key", verdicts: "foreign_key", want: delay},
	{name: "memory", verdicts: "memory", want: delay},
	{name: "panic", verdicts: "panic", want: leave},
	{name: "each by itself", verdicts: "stored moment rejected panic stored", deadLetters: "takes", want: "done delay done leave done"},

	{name: "FIFO: after a message that is delayed", verdicts: "moment stored rejected", fifo: true, deadLetters: "takes", want: "delay delay delay"},
	{name: "FIFO: after one beyond the batch's memory", verdicts: "stored memory stored", fifo: true, want: "done delay delay"},
	{name: "FIFO: after a rejected one that is left", verdicts: "rejected stored", fifo: true, want: "leave leave"},
	{name: "FIFO: after a panic", verdicts: "stored panic stored", fifo: true, want: "done leave leave"},
	{name: "FIFO: after one that the dead-letter queue did not take", verdicts: "rejected stored", fifo: true, deadLetters: "fails", want: "delay delay"},
	// The function's answer returns what follows; the consumer still holds it, and goes on.
	{name: "FIFO: after one that is in the dead-letter queue", verdicts: "rejected stored", fifo: true, deadLetters: "takes", want: "done leave", consumer: "done done"},
}

// byUser is a store whose verdict on a row is its user_id.
type byUser struct{}

// Ping implements ingest.Store.
func (byUser) Ping(context.Context) error { return nil }

// Insert implements ingest.Store.
func (byUser) Insert(_ context.Context, b *batch.Batch) (message.Result, error) {
	result := message.Result{Verdicts: make([]message.Verdict, b.Len()), RoundTrips: 1}
	for row := range b.Len() {
		switch user := value(b, row, "user_id"); user {
		case "stored":
			result.Verdicts[row].Outcome = message.Stored
			result.Tallies.Of(0).Inserted++
		case "rejected":
			result.Verdicts[row] = message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused}}
		case "none":
		default:
			result.Verdicts[row].Cause = message.Cause(user)
		}
	}
	return result, nil
}

const visibility = time.Hour // of the queues below

// settling is a queue with a message for each verdict, and what takes its rejects.
func settling(t *testing.T, verdicts string, fifo bool, deadLetters string) (server *sqstest.Server, queue, dead *sqstest.Queue) {
	t.Helper()
	server = sqstest.New()
	t.Cleanup(server.Close)
	suffix := ""
	if fifo {
		suffix = ".fifo"
	}
	queue = server.Queue("logins"+suffix, map[string]string{"VisibilityTimeout": strconv.Itoa(int(visibility.Seconds()))})
	for i, user := range strings.Fields(verdicts) {
		m := sqstest.Message{ID: "m" + strconv.Itoa(i), Body: `{"user_id":"` + user + `","ip":"203.0.113.7"}`}
		if fifo {
			m.Group = "g"
		}
		queue.Put(m)
	}
	if deadLetters != "" {
		dead = server.Queue("dead"+suffix, nil)
	}
	if deadLetters == "fails" {
		server.Inject(func(c sqstest.Call) *sqstest.Fault {
			if c.Operation == "SendMessageBatch" {
				return &sqstest.Fault{Code: "AccessDenied", Status: 403}
			}
			return nil
		})
	}
	return server, queue, dead
}

// TestSettlements runs the table through both of those who settle: the function
// by its answer and its back-off, and the consumer by what its queue has in the end.
func TestSettlements(t *testing.T) {
	t.Parallel()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	pipeline := ingest.New(m.Set(), byUser{}, ingest.Static(mask.Unkeyed()), log)
	for _, tt := range settlements {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := function(t, &handler.Handler{Pipeline: pipeline, Log: log}, tt.verdicts, tt.fifo, tt.deadLetters); got != tt.want {
				t.Errorf("the function: got %s, want %s", got, tt.want)
			}
			want := tt.want
			if tt.consumer != "" {
				want = tt.consumer
			}
			server, queue, dead := settling(t, tt.verdicts, tt.fifo, tt.deadLetters)
			client := server.Client()
			q, err := sqs.Open(t.Context(), client, queue.URL, "SQS_URL")
			if err != nil {
				t.Fatal(err)
			}
			n := len(queue.Messages())
			c := &consume.Consumer{Queue: q, Pipeline: pipeline, Log: log, Options: consume.Defaults()}
			c.Mode, c.Batches, c.BatchSize, c.Linger = consume.Batches, 1, n, time.Hour
			c.Delay = func(int) time.Duration { return 5 * visibility }
			if dead != nil {
				c.DeadLetters = client.DeadLetter(dead.URL, "DEAD_LETTER_QUEUE_URL")
			}
			if summary, err := c.Run(t.Context()); err != nil || summary.Received != n {
				t.Fatalf("%+v, %v", summary, err)
			}
			got := strings.Split(strings.Repeat(done+" ", n-1)+done, " ")
			for _, left := range queue.Messages() {
				i, _ := strconv.Atoi(left.ID[1:])
				if got[i] = leave; time.Until(left.VisibleAt) > 2*visibility {
					got[i] = delay
				}
			}
			if diff := cmp.Diff(strings.Join(got, " "), want); diff != "" {
				t.Errorf("the consumer got(-) want(+):\n%s", diff)
			}
		})
	}
}

// rejects is a dead-letter queue that takes all or nothing.
type rejects struct{ fails bool }

// Send implements ingest.DeadLetters.
func (r rejects) Send(_ context.Context, rejected []message.RejectedMessage) (unsent []int, err error) {
	if r.fails {
		for i := range rejected {
			unsent = append(unsent, i)
		}
		return unsent, failed(message.CauseConfiguration)
	}
	return nil, nil
}

// delayed has the ids of what was backed off.
type delayed map[string]bool

// Return implements ingest.Backoff.
func (d delayed) Return(_ context.Context, messages []*message.Message) error {
	for _, m := range messages {
		d[m.ID] = true
	}
	return nil
}

// function says what the function does with the messages of these verdicts.
func function(t *testing.T, h *handler.Handler, verdicts string, fifo bool, deadLetters string) string {
	t.Helper()
	d := delayed{}
	h.Backoff = d
	if deadLetters != "" {
		h.DeadLetters = rejects{deadLetters == "fails"}
	}
	arn := "arn:aws:sqs:eu-west-1:000000000000:logins"
	if fifo {
		arn += ".fifo"
	}
	var records []string
	users := strings.Fields(verdicts)
	for i, user := range users {
		records = append(records, `{"messageId":"m`+strconv.Itoa(i)+`","receiptHandle":"r","body":"{\"user_id\":\"`+user+`\",\"ip\":\"203.0.113.7\"}",`+
			`"attributes":{"SentTimestamp":"1767225600000","ApproximateReceiveCount":"1","MessageGroupId":"g"},"eventSource":"aws:sqs","eventSourceARN":"`+arn+`"}`)
	}
	answer, err := h.Invoke(t.Context(), []byte(`{"Records":[`+strings.Join(records, ",")+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	got := make([]string, len(users))
	for i := range users {
		id := "m" + strconv.Itoa(i)
		switch back := strings.Contains(string(answer), `"`+id+`"`); {
		case !back:
			got[i] = done
		case d[id]:
			got[i] = delay
		default:
			got[i] = leave
		}
	}
	return strings.Join(got, " ")
}
