package handler_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqsevent"
	"example.com/owner/sluice/internal/testing/testlog"
	"example.com/owner/sluice/models"
)

// insertFunc is a store.
type insertFunc func(context.Context, *batch.Batch) (message.Result, error)

// Insert implements ingest.Store.
func (f insertFunc) Insert(ctx context.Context, b *batch.Batch) (message.Result, error) {
	return f(ctx, b)
}

// Ping implements ingest.Store.
func (insertFunc) Ping(context.Context) error { return nil }

// storeAll stores every row.
func storeAll(_ context.Context, b *batch.Batch) (message.Result, error) {
	return message.Result{Verdicts: slices.Repeat([]message.Verdict{{Outcome: message.Stored}}, b.Len()), Tallies: message.Tallies{{Inserted: b.Len()}}, RoundTrips: 1}, nil
}

// failed is an error of the database.
func failed(cause message.Cause) *fault.Error {
	return &fault.Error{Source: fault.Database, Cause: cause, What: "the store failed"}
}

func storeNone(cause message.Cause) insertFunc {
	return func(context.Context, *batch.Batch) (message.Result, error) {
		return message.Result{}, failed(cause)
	}
}

// deadLetters notes what it is sent, and sends what is not in unsent.
type deadLetters struct {
	sent   []string
	unsent []int
	err    error
}

// Send implements ingest.DeadLetters.
func (d *deadLetters) Send(_ context.Context, rejected []message.RejectedMessage) ([]int, error) {
	for _, r := range rejected {
		d.sent = append(d.sent, fmt.Sprintf("%s %s", r.Message.ID, r.Rejection))
	}
	return d.unsent, d.err
}

// backoff notes what is returned to it.
type backoff struct {
	returned []string
	err      error
}

// Return implements ingest.Backoff.
func (b *backoff) Return(_ context.Context, messages []*message.Message) error {
	for _, m := range messages {
		b.returned = append(b.returned, m.ID)
	}
	return b.err
}

func newHandler(t *testing.T, store insertFunc) (*handler.Handler, *testlog.Log) {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	return handlerOf(m.Set(), store)
}

func handlerOf(set *model.Set, store ingest.Store) (*handler.Handler, *testlog.Log) {
	log := &testlog.Log{}
	logger := slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &handler.Handler{Pipeline: ingest.New(set, store, ingest.Static(mask.Unkeyed()), logger), Log: logger}, log
}

// invoke returns the ids that failed.
func invoke(t *testing.T, h *handler.Handler, event []byte) []string {
	t.Helper()
	answer, err := h.Invoke(t.Context(), event)
	if err != nil {
		t.Fatal(err)
	}
	failed, err := readAnswer(answer)
	if err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return failed
}

func TestRejectedGoToTheDeadLetterQueue(t *testing.T) {
	t.Parallel()
	t.Run("sent", func(t *testing.T) {
		t.Parallel()
		h, _ := newHandler(t, storeAll)
		d := &deadLetters{}
		h.DeadLetters = d
		failed := invoke(t, h, event(record(1, "bad"), record(2, body()), record(3, body("ip", `"x"`)), record(1, "bad")))
		if diff := cmp.Diff(d.sent, []string{id(1) + " not_json at byte 1: a word without double quotes", id(3) + " not_an_ip_address ip"}); diff != "" {
			t.Errorf("sent got(-) want(+):\n%s", diff)
		}
		if len(failed) > 0 {
			t.Errorf("%v came back", failed)
		}
	})
	t.Run("not sent", func(t *testing.T) {
		t.Parallel()
		h, log := newHandler(t, storeAll)
		b := &backoff{}
		h.DeadLetters, h.Backoff = &deadLetters{unsent: []int{0}, err: errors.New("the queue is gone")}, b
		failed := invoke(t, h, event(record(1, "bad"), record(2, body()), record(3, "bad"), record(1, "bad")))
		if diff := cmp.Diff(failed, ids(1)); diff != "" {
			t.Errorf("failed got(-) want(+):\n%s", diff)
		}
		if !slices.Contains(b.returned, id(1)) || slices.Contains(b.returned, id(2)) || slices.Contains(b.returned, id(3)) {
			t.Errorf("backed off: %v", b.returned)
		}
		said := log.Take()
		if !strings.Contains(said, "the queue is gone") {
			t.Error("the log does not say why")
		}
		if strings.Count(said, `"message rejected"`) != 1 || !strings.Contains(said, `"msg":"batch","received":4,"stored":1,"duplicate":0,"rejected":1,"returned":2`) {
			t.Errorf("the log is about another end: %s", said)
		}
	})
	t.Run("nothing to send", func(t *testing.T) {
		t.Parallel()
		h, _ := newHandler(t, storeAll)
		d := &deadLetters{err: errors.New("called")}
		h.DeadLetters = d
		if failed := invoke(t, h, event(record(1, body()))); len(failed) > 0 || d.sent != nil {
			t.Errorf("failed %v, sent %v", failed, d.sent)
		}
	})
	t.Run("not while the invocation fails", func(t *testing.T) {
		t.Parallel()
		h, log := newHandler(t, storeNone(message.CauseConfiguration))
		d := &deadLetters{}
		h.DeadLetters = d
		if answer, err := h.Invoke(t.Context(), event(record(1, "bad"), record(2, body()))); err == nil {
			t.Errorf("got %s, want an error", answer)
		}
		if d.sent != nil {
			t.Errorf("sent %v, which the failed invocation delivers again", d.sent)
		}
		if said := log.Take(); strings.Contains(said, `"message rejected"`) || !strings.Contains(said, `"rejected":0,"returned":2`) {
			t.Errorf("the log is about another end: %s", said)
		}
	})
}

func TestReturnedAreBackedOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		store    insertFunc
		event    []byte
		failed   []string // nil: the invocation fails
		returned []string
	}{
		{"none", storeAll, event(record(1, body()), record(2, "bad")), ids(2), nil},
		{"a configuration error", storeNone(message.CauseConfiguration), event(record(1, body()), record(2, body())), nil, ids(1, 2)},
		{
			"after one of the group that is backed off", storeNone(message.CauseTransient),
			event(inGroup(1, "a", body()), inGroup(2, "b", "bad"), inGroup(3, "a", "bad"), inGroup(4, "b", body()), inGroup(5, "a", body())), ids(1, 2, 3, 4, 5), ids(1, 3, 5),
		},
		{"after a configuration error", storeNone(message.CauseConfiguration), event(inGroup(1, "g", body()), inGroup(2, "g", body())), nil, ids(1, 2)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, harmless := range []error{nil, errors.New("no visibility")} {
				h, _ := newHandler(t, tt.store)
				b := &backoff{err: harmless}
				h.Backoff = b
				answer, err := h.Invoke(t.Context(), tt.event)
				if (err != nil) != (tt.failed == nil) {
					t.Fatalf("got %s, %v", answer, err)
				}
				if err == nil {
					failed, err := readAnswer(answer)
					if diff := cmp.Diff(failed, tt.failed); err != nil || diff != "" {
						t.Errorf("%v, failed got(-) want(+):\n%s", err, diff)
					}
				}
				if diff := cmp.Diff(b.returned, tt.returned); diff != "" {
					t.Errorf("backed off got(-) want(+):\n%s", diff)
				}
			}
		})
	}
}

// TestAConfigurationErrorIsLoud but not when some messages are done: an error
// would deliver those again.
func TestAConfigurationErrorIsLoud(t *testing.T) {
	t.Parallel()
	h, log := newHandler(t, storeNone(message.CauseConfiguration))
	returned := -1
	h.Observe = func(_ context.Context, r *ingest.Report) { returned = r.Count(message.Returned) }
	answer, err := h.Invoke(t.Context(), event(record(1, body())))
	if fault.Cause(err) != message.CauseConfiguration || answer != nil {
		t.Errorf("got %s, %v", answer, err)
	}
	if returned != 1 {
		t.Errorf("the metrics saw %d returned messages, want 1", returned)
	}
	if !strings.Contains(log.Take(), `"fault":"operator"`) {
		t.Error("the log lacks the fault")
	}
	h, _ = newHandler(t, func(_ context.Context, b *batch.Batch) (message.Result, error) {
		return message.Result{Verdicts: slices.Concat([]message.Verdict{{Outcome: message.Stored}}, make([]message.Verdict, b.Len()-1))}, failed(message.CauseConfiguration)
	})
	if diff := cmp.Diff(invoke(t, h, event(record(1, body()), record(2, body()))), ids(2)); diff != "" {
		t.Errorf("failed got(-) want(+):\n%s", diff)
	}
}

func TestInvalidConfiguration(t *testing.T) {
	t.Parallel()
	h, _ := newHandler(t, func(context.Context, *batch.Batch) (message.Result, error) { panic("the store was called") })
	why := errors.New("the configuration is wrong")
	b := &backoff{}
	h.Pipeline, h.Invalid, h.Backoff, h.DeadLetters = nil, why, b, &deadLetters{err: errors.New("called")}
	for _, e := range [][]byte{event(record(1, body()), record(2, "bad")), event()} {
		if answer, err := h.Invoke(t.Context(), e); !errors.Is(err, why) || answer != nil {
			t.Errorf("got %s, %v, want the reason", answer, err)
		}
	}
	if diff := cmp.Diff(b.returned, ids(1, 2)); diff != "" {
		t.Errorf("backed off got(-) want(+):\n%s", diff)
	}
}

func TestNoKeys(t *testing.T) {
	t.Parallel()
	for cause, loud := range map[message.Cause]bool{message.CauseConfiguration: true, message.CauseTransient: false} {
		h, log := newHandler(t, func(context.Context, *batch.Batch) (message.Result, error) { panic("the store was called") })
		b := &backoff{}
		h.Backoff = b
		h.Pipeline.Keys = func(context.Context) (*mask.Keyring, error) { return nil, failed(cause) }
		answer, err := h.Invoke(t.Context(), event(record(1, body()), record(2, "bad")))
		if (err != nil) != loud || !loud && !strings.Contains(string(answer), id(2)) {
			t.Errorf("%s: got %s, %v", cause, answer, err)
		}
		if diff := cmp.Diff(b.returned, ids(1, 2)); diff != "" {
			t.Errorf("%s: backed off got(-) want(+):\n%s", cause, diff)
		}
		// The reason is shown once: in the log, or by whoever gets the error.
		if logged := strings.Count(log.Take(), failed(cause).Error()); logged != 1 && !loud || logged != 0 && loud {
			t.Errorf("%s: the reason is in the log %d times", cause, logged)
		}
	}
}

// TestForeignEvents fail with a type that Lambda shows, and quote nothing.
func TestForeignEvents(t *testing.T) {
	t.Parallel()
	h, _ := newHandler(t, storeAll)
	b := &backoff{}
	h.Backoff = b
	for _, e := range []string{`{"key":"203.0.113.7"}`, `{"Records":[{"203.0.113.7":1}]}`, `203.0.113.7`, `{"Records":[` + record(1, body()) + `,`} {
		answer, err := h.Invoke(t.Context(), []byte(e))
		foreign, ok := errors.AsType[*sqsevent.EventError](err)
		if !ok || answer != nil {
			t.Fatalf("%s: got %s, %v", e, answer, err)
		}
		if strings.Contains(foreign.Error(), "203.0.113.7") || !strings.Contains(foreign.Error(), `{"Records":[…]}`) {
			t.Errorf("%s: the error quotes the event or does not say what is wanted: %v", e, err)
		}
	}
	if b.returned != nil {
		t.Errorf("backed off: %v", b.returned)
	}
}

// TestPanicsFailTheInvocation where nothing else can be said of the messages.
func TestPanicsFailTheInvocation(t *testing.T) {
	t.Parallel()
	const canary = "canary-593-47-5928"
	for name, spoil := range map[string]func(*handler.Handler){
		"keys": func(h *handler.Handler) {
			h.Pipeline.Keys = func(context.Context) (*mask.Keyring, error) { panic(canary) }
		},
		"metrics": func(h *handler.Handler) {
			h.Metrics = func(context.Context, *ingest.Report) { panic(canary) }
		},
		"queue": func(h *handler.Handler) { h.DeadLetters = panicking{canary} },
		"backoff": func(h *handler.Handler) {
			h.Backoff = panicking{canary}
			h.Pipeline.Keys = func(context.Context) (*mask.Keyring, error) { return nil, failed(message.CauseTransient) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log := newHandler(t, storeAll)
			spoil(h)
			answer, err := h.Invoke(t.Context(), event(record(1, body()), record(2, "bad")))
			if err == nil || answer != nil || !strings.Contains(err.Error(), "panic") {
				t.Errorf("got %s, %v", answer, err)
			}
			logged := log.Take()
			if strings.Contains(fmt.Sprint(err), canary) || strings.Contains(logged, canary) {
				t.Errorf("the panic's value shows: %v, %s", err, logged)
			}
			if !strings.Contains(logged, `"stack":`) || !strings.Contains(logged, "handler_test.go") {
				t.Errorf("the log does not say where it was: %s", logged)
			}
		})
	}
}

type panicking struct{ text string }

func (p panicking) Send(context.Context, []message.RejectedMessage) ([]int, error) { panic(p.text) }
func (p panicking) Return(context.Context, []*message.Message) error               { panic(p.text) }

// TestTimeIsLeft for the answer, and for the calls to SQS where there are any.
func TestTimeIsLeft(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		left          time.Duration
		queues        bool
		least, atMost time.Duration // that the store gets
		forSQS        time.Duration // that is left for SQS at least
	}{
		{"a minute", time.Minute, false, 58 * time.Second, 59500 * time.Millisecond, 0},
		{"a minute, with queues", time.Minute, true, 50 * time.Second, 57 * time.Second, 2 * time.Second},
		{"three seconds", 3 * time.Second, false, 1500 * time.Millisecond, 2500 * time.Millisecond, 0},
		{"three seconds, with queues", 3 * time.Second, true, time.Second, 1500 * time.Millisecond, 500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.left)
				defer cancel()
				var forStore, forSQS time.Time
				h, _ := newHandler(t, func(ctx context.Context, _ *batch.Batch) (message.Result, error) {
					forStore, _ = ctx.Deadline()
					return message.Result{}, failed(message.CauseTransient)
				})
				if tt.queues {
					h.Backoff = returnFunc(func(ctx context.Context) { forSQS, _ = ctx.Deadline() })
				}
				if _, err := h.Invoke(ctx, event(record(1, body()))); err != nil {
					t.Fatal(err)
				}
				if got := time.Until(forStore); got < tt.least || got > tt.atMost {
					t.Errorf("the store gets %v of %v, want %v to %v", got, tt.left, tt.least, tt.atMost)
				}
				if got := forSQS.Sub(forStore); tt.queues && got < tt.forSQS {
					t.Errorf("SQS gets %v, want %v", got, tt.forSQS)
				}
				if end, _ := ctx.Deadline(); tt.queues && !forSQS.Before(end) {
					t.Error("no time is left to answer")
				}
			})
		})
	}
}

// TestAStoreThatIsCutOffAnswersInTime has invocations of about a second: a
// store that ends with its context, after a grace of a quarter of its time as
// that of Postgres, leaves time for the calls to SQS and for the answer.
func TestAStoreThatIsCutOffAnswersInTime(t *testing.T) {
	t.Parallel()
	for left := 600 * time.Millisecond; left <= 1200*time.Millisecond; left += 100 * time.Millisecond {
		for _, queues := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, queues=%v", left, queues), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), left)
					defer cancel()
					end, _ := ctx.Deadline()
					var storeEnds, queuesEnd time.Time
					h, _ := newHandler(t, func(ctx context.Context, _ *batch.Batch) (message.Result, error) {
						deadline, _ := ctx.Deadline()
						storeEnds = deadline.Add(min(400*time.Millisecond, time.Until(deadline)/4))
						<-ctx.Done()
						return message.Result{}, ctx.Err()
					})
					if queues {
						h.Backoff = returnFunc(func(ctx context.Context) { queuesEnd, _ = ctx.Deadline() })
					}
					if _, err := h.Invoke(ctx, event(record(1, body()))); err != nil {
						t.Fatal(err)
					}
					switch slack := left / 10; {
					case storeEnds.IsZero():
						t.Error("the store was not asked")
					case end.Sub(storeEnds) < slack:
						t.Errorf("the store ends %v before the invocation's deadline, want %v", end.Sub(storeEnds), slack)
					case queues && (queuesEnd.Sub(storeEnds) < slack || end.Sub(queuesEnd) < slack):
						t.Errorf("the store leaves %v for the queues, and they %v for the answer, want %v each", queuesEnd.Sub(storeEnds), end.Sub(queuesEnd), slack)
					}
				})
			})
		}
	}
}

type returnFunc func(context.Context)

func (f returnFunc) Return(ctx context.Context, _ []*message.Message) error {
	f(ctx)
	return nil
}

func TestConcurrentInvocations(t *testing.T) {
	t.Parallel()
	h, _ := newHandler(t, storeAll)
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for round := range 50 {
				n := 1000*worker + 2*round
				answer, err := h.Invoke(t.Context(), event(record(n, body()), record(n+1, "bad"), record(n, body())))
				if want := `{"batchItemFailures":[{"itemIdentifier":"` + id(n+1) + `"}]}`; err != nil || string(answer) != want {
					t.Errorf("got %s, %v, want %s", answer, err, want)
				}
			}
		})
	}
	wg.Wait()
}
