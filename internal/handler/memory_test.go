package handler_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/handler"
	"example.com/owner/sluice/internal/message"
)

// TestInvokeAllocatesNothingPerMessage: once there is memory, an event of 1,000 messages takes as many
// allocations as one of 100.
func TestInvokeAllocatesNothingPerMessage(t *testing.T) {
	h := &handler.Handler{Pipeline: loginPipeline(t), Log: slog.New(slog.DiscardHandler)}
	allocated := map[int]float64{}
	for _, n := range []int{100, 1000} {
		event := loginEvent(t, n)
		one := func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if answer, err := h.Invoke(ctx, event); err != nil || string(answer) != `{"batchItemFailures":[]}` {
				t.Fatal(string(answer), err)
			}
		}
		one()
		one() // by now all of it has its size
		allocated[n] = testing.AllocsPerRun(5, one)
	}
	if allocated[100] != allocated[1000] || allocated[1000] > 30 {
		t.Errorf("got %v allocations for events of 100 and of 1,000 messages, want equally many, at most 30", allocated)
	}
}

// TestALargeEventDoesNotStay: after an event of 6 MB, of one large message or of many, the handler has
// nothing of it, nor the memory that it took.
func TestALargeEventDoesNotStay(t *testing.T) {
	const least = 1 << 20
	for _, tt := range []struct {
		name  string
		make  func() []byte
		fails bool
	}{
		{name: "one large message", make: func() []byte {
			return bytes.Replace(event(record(1, body("more", `"HERE"`)), record(2, body())), []byte("HERE"), bytes.Repeat([]byte("é"), 2_900_000), 1)
		}},
		{name: "many messages", make: func() []byte { return loginEvent(t, 6000) }},
		{name: "records of fewer strings than the first", make: func() []byte {
			return bytes.Replace(loginEvent(t, 6000), []byte(`"attributes":{`), []byte(`"attributes":{"a":"1","b":"2","c":"3","d":"4",`), 1)
		}},
		{name: "cut off", make: func() []byte { return bytes.TrimSuffix(loginEvent(t, 6000), []byte("}")) }, fails: true},
		{name: "a record of many strings", make: func() []byte {
			return bytes.Replace(event(record(1, body())), []byte(`"attributes"`), []byte(`"x":["`+strings.Repeat(`","`, 1_800_000)+`"],"attributes"`), 1)
		}},
		{name: "a body of many names", make: func() []byte {
			var names strings.Builder
			for i := range 500_000 {
				fmt.Fprintf(&names, `"n%d":1,`, i)
			}
			return event(record(1, body("more", "{"+names.String()+`"last":1}`)), record(2, body()))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &handler.Handler{Pipeline: loginPipeline(t), Log: slog.New(slog.DiscardHandler)}
			small := loginEvent(t, 10)
			one := func(event []byte, fails bool) {
				if _, err := h.Invoke(t.Context(), event); (err != nil) != fails {
					t.Fatal(err)
				}
			}
			one(small, false)
			before := heap()
			large := tt.make()
			if len(large) < 5*least {
				t.Fatalf("the event has only %d bytes", len(large))
			}
			first := weak.Make(&large[0])
			one(large, tt.fails)
			one(small, false)
			after := heap()
			if first.Value() != nil {
				t.Error("the event is still in use")
			}
			if grown := after - before; grown > 4*least {
				t.Errorf("the handler has %d bytes more than before", grown)
			}
			one(small, false)
		})
	}
}

// heap returns how many bytes are in use.
func heap() int {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int(s.HeapAlloc)
}

// TestEventsDoNotShareMemory: what an invocation answers and stores is its own event's, whatever events
// come before, after and at the same time. Lambda's runtime puts each event into the memory of the one
// before.
func TestEventsDoNotShareMemory(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	stored := map[string]string{} // the version of each user
	h, _ := newHandler(t, func(_ context.Context, b *batch.Batch) (message.Result, error) {
		result := message.Result{Tallies: message.Tallies{{Inserted: b.Len()}}, RoundTrips: 1}
		for i := range b.Len() {
			result.Verdicts = append(result.Verdicts, message.Verdict{Outcome: message.Stored})
			var user, version string
			b.Row(i, func(c int, v []byte) {
				switch b.Columns(0)[c].Name {
				case "user_id":
					user = string(v)
				case "app_version_full":
					version = string(v)
				}
			})
			mu.Lock()
			stored[user] = version
			mu.Unlock()
		}
		return result, nil
	})
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			var memory []byte
			var answers [][]byte
			for k := range 50 {
				var records []string
				n := 1 + (w+k)%7
				for i := range n {
					user := fmt.Sprintf("u-%d-%d-%d", w, k, i)
					records = append(records, record(1000*(100*w+k)+i, body("user_id", `"`+user+`"`, "app_version", fmt.Sprintf(`"%d.%d.%d"`, w, k, i))))
				}
				records = append(records, record(1000*(100*w+k)+n, "bad"))
				memory = append(memory[:0], event(records...)...)
				answer, err := h.Invoke(t.Context(), memory)
				if err != nil {
					t.Error(err)
					return
				}
				clear(memory)
				answers = append(answers, answer)
			}
			for k, answer := range answers {
				n := 1 + (w+k)%7
				failed, err := readAnswer(answer)
				if diff := cmp.Diff(failed, ids(1000*(100*w+k)+n)); diff != "" || err != nil {
					t.Errorf("%v, failed got(-) want(+):\n%s", err, diff)
				}
				mu.Lock()
				for i := range n {
					if got, want := stored[fmt.Sprintf("u-%d-%d-%d", w, k, i)], fmt.Sprintf("%d.%d.%d", w, k, i); got != want {
						t.Errorf("got the version %q, want %q", got, want)
					}
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
}
