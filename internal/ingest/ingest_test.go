package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/ingest"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/models"
)

// store stands for Postgres. refuses and returns hold the user_ids of rows
// that are to be rejected and returned; the others are stored. As the real
// one, it stores nothing after a refused row of its group.
type store struct {
	refuses string
	returns string
	err     error
	verdict func(*batch.Batch) (message.Result, error) // instead of all of the above

	calls int
	rows  []string // user_ids, in the order in which they came
	again bool     // the last batch says that messages were received before
}

// Ping implements ingest.Store.
func (*store) Ping(context.Context) error { return nil }

// Insert implements ingest.Store.
func (s *store) Insert(_ context.Context, b *batch.Batch) (message.Result, error) {
	s.calls++
	s.again = b.Redelivered()
	if s.verdict != nil {
		return s.verdict(b)
	}
	result := message.Result{Verdicts: make([]message.Verdict, b.Len()), RoundTrips: 1}
	stopped := map[int]bool{}
	for i := range b.Len() {
		user := value(b, i, "user_id")
		s.rows = append(s.rows, user)
		group := b.Group(i)
		switch {
		case group != 0 && stopped[group]:
			result.Verdicts[i] = message.Verdict{Cause: message.CauseGroup}
		case strings.Contains(s.refuses, user):
			result.Verdicts[i] = message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused, SQLState: "23514"}}
		case strings.Contains(s.returns, user):
		default:
			result.Verdicts[i].Outcome = message.Stored
			result.Tallies.Of(0).Inserted++
		}
		stopped[group] = stopped[group] || result.Verdicts[i].Outcome != message.Stored
	}
	return result, s.err
}

func value(b *batch.Batch, row int, column string) (text string) {
	b.Row(row, func(c int, v []byte) {
		if b.Columns(0)[c].Name == column {
			text = string(v)
		}
	})
	return text
}

// failed is an error of the database.
func failed(cause message.Cause) error {
	return &fault.Error{Source: fault.Database, Cause: cause, What: "the store failed"}
}

// canary is a personal value of the messages that panic.
const canary = "canary-593-47-5928"

// logins is a model with a bug: it panics at a message that has a device_id,
// which nothing masks.
func logins(t *testing.T) *model.Model {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Columns {
		if m.Columns[i].Name == "masked_device_id" {
			m.Columns[i].Masked = false
		}
	}
	return m
}

type fixture struct {
	pipeline *ingest.Pipeline
	store    *store
	log      bytes.Buffer
}

func newFixture(t *testing.T, st *store) *fixture {
	t.Helper()
	s := &fixture{store: st}
	s.pipeline = ingest.New(logins(t).Set(), st, ingest.Static(mask.Unkeyed()), slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return s
}

// messages reads a batch in short: words of "id", with "!" after it for a bad
// body and "~" for one that panics, and with "group/" before it on a FIFO
// queue. The message's user_id is its id.
func messages(words string) []message.Message {
	var all []message.Message
	for i, word := range strings.Fields(words) {
		group, id, fifo := strings.Cut(word, "/")
		if !fifo {
			group, id = "", word
		}
		name := strings.TrimRight(id, "!~")
		m := message.Message{ID: name, Group: group, FIFO: fifo, HasBody: true, HasSent: true, SentMillis: int64(1767225600000 + i), Body: []byte(`{"user_id":"` + name + `","ip":"203.0.113.7"}`)}
		if strings.HasSuffix(id, "!") {
			m.Body = []byte("bad")
		}
		if strings.HasSuffix(id, "~") {
			m.Body = []byte(`{"user_id":"panics","ip":"203.0.113.7","device_id":"` + canary + `","locale":"canary","canary-key@example.com":"canary"}`)
		}
		all = append(all, m)
	}
	return all
}

// words is a report in short: "id:outcome", with "(cause)" of a returned one
// and the reason of a rejected one.
func words(r ingest.Report) string {
	var out []string
	for i, v := range r.Verdicts {
		w := r.Messages[i].ID + ":" + v.Outcome.String()
		if v.Cause != "" || v.Rejection.Reason != "" {
			w += "(" + string(v.Cause) + string(v.Rejection.Reason) + ")"
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

// TestTheStoreIsToldOfRedeliveries, one batch after the other. What has no count may be one.
func TestTheStoreIsToldOfRedeliveries(t *testing.T) {
	t.Parallel()
	st := &store{}
	s := newFixture(t, st)
	for i, counts := range [][]int{{1, 1}, {1, 2}, {1, 1}, {3, 1}, {1, 1}, {0, 1}, {1, 1}, {0, 0}} {
		all := messages("a b")
		for k := range all {
			all[k].ReceiveCount = counts[k]
		}
		s.pipeline.Run(t.Context(), all)
		if want := i%2 == 1; st.calls != i+1 || st.again != want {
			t.Errorf("receive counts %v: the store is told %v, want %v", counts, st.again, want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	const (
		notJSON = ":rejected(not_json)"
		refused = ":rejected(refused_by_database)"
		ok      = ":stored"
		group   = ":returned(group)"
		back    = ":returned"
	)
	for _, tt := range []struct {
		name     string
		messages string
		store    store
		want     string
		rows     string // that the store got
	}{
		{"nothing", "", store{}, "", ""},
		{"all good", "a b c", store{}, "a" + ok + " b" + ok + " c" + ok, "a b c"},
		{"a bad one costs itself", "a b! c", store{}, "a" + ok + " b" + notJSON + " c" + ok, "a c"},
		{"all bad: no call of the store", "a! b!", store{}, "a" + notJSON + " b" + notJSON, ""},
		{"a refused one costs itself", "a b c", store{refuses: "b"}, "a" + ok + " b" + refused + " c" + ok, "a b c"},
		{"a returned one costs itself", "a b c", store{returns: "b"}, "a" + ok + " b" + back + " c" + ok, "a b c"},
		{"verdicts after gaps", "a! b c! d e! f", store{refuses: "d"}, "a" + notJSON + " b" + ok + " c" + notJSON + " d" + refused + " e" + notJSON + " f" + ok, "b d f"},

		{"a repeat shares the verdict", "a b a a", store{}, "a" + ok + " b" + ok + " a:repeated a:repeated", "a b"},
		{"a repeat of a bad one", "a! b a!", store{}, "a" + notJSON + " b" + ok + " a" + notJSON, "b"},
		{"a repeat of a refused one", "a b a", store{refuses: "a"}, "a" + refused + " b" + ok + " a" + refused, "a b"},
		{"a repeat of a returned one", "a b a", store{returns: "a"}, "a" + back + " b" + ok + " a" + back, "a b"},
		{"a repeat with another body is a repeat", "a a!", store{}, "a" + ok + " a:repeated", "a"},

		{"FIFO, all good", "g/a g/b h/c", store{}, "a" + ok + " b" + ok + " c" + ok, "a b c"},
		{"FIFO, a bad one stops its group", "g/a g/b! g/c h/d g/e", store{}, "a" + ok + " b" + notJSON + " c" + group + " d" + ok + " e" + group, "a d"},
		{"FIFO, a refused one stops its group", "g/a g/b g/c h/d", store{refuses: "b"}, "a" + ok + " b" + refused + " c" + group + " d" + ok, "a b c d"},
		{"FIFO, a returned one stops its group", "g/a g/b g/c h/d", store{returns: "b"}, "a" + ok + " b" + back + " c" + group + " d" + ok, "a b c d"},
		{"FIFO, a bad one after a bad one is returned", "g/a! g/b! h/c!", store{}, "a" + notJSON + " b" + group + " c" + notJSON, ""},
		{"FIFO, a bad one after a refused one is returned", "g/a g/b! g/c h/d", store{refuses: "a"}, "a" + refused + " b" + group + " c" + group + " d" + ok, "a d"},
		{"FIFO, a refused one after a refused one is returned", "g/a g/b", store{refuses: "ab"}, "a" + refused + " b" + group, "a b"},
		{"FIFO, a bad one after a returned one is returned", "g/a g/b!", store{returns: "a"}, "a" + back + " b" + group, "a"},
		{"FIFO, no group is one group", "/a! /b g/c", store{}, "a" + notJSON + " b" + group + " c" + ok, "c"},
		{"FIFO, a repeat does not stop its group", "g/a g/a g/b", store{}, "a" + ok + " a:repeated b" + ok, "a b"},
		{"FIFO, a repeat after a bad one is done", "g/a g/b! g/a g/c", store{}, "a" + ok + " b" + notJSON + " a:repeated c" + group, "a"},
		{"FIFO, a repeat of a bad one", "g/a! g/a! g/b", store{}, "a" + notJSON + " a" + notJSON + " b" + group, ""},
		{"FIFO, a repeat of a returned one", "g/a! g/b g/b", store{}, "a" + notJSON + " b" + group + " b" + group, ""},
		{"a standard queue beside it", "g/a! a2 g/b", store{}, "a" + notJSON + " a2" + ok + " b" + group, "a2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := tt.store
			s := newFixture(t, &st)
			all := messages(tt.messages)
			report := s.pipeline.Run(t.Context(), all)
			if got := words(report); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if got := strings.Join(st.rows, " "); got != tt.rows {
				t.Errorf("the store got %q, want %q", got, tt.rows)
			}
			if want := min(1, len(tt.rows)); st.calls != want {
				t.Errorf("the store was called %d times, want %d", st.calls, want)
			}
			if report.Err != nil || report.Cause != "" {
				t.Errorf("got the error %v of %q, want none", report.Err, report.Cause)
			}
		})
	}
}

// TestRowsAreSorted gives messages in another order than that of the key, by
// which rows are locked: each verdict must find its message.
func TestRowsAreSorted(t *testing.T) {
	t.Parallel()
	st := &store{refuses: "b d"}
	s := newFixture(t, st)
	all := messages("a b c d e")
	for i := range all {
		all[i].SentMillis = int64(1767225600000 - i)
	}
	got := words(s.pipeline.Run(t.Context(), all))
	const want = "a:stored b:rejected(refused_by_database) c:stored d:rejected(refused_by_database) e:stored"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := strings.Join(st.rows, ""); got != "edcba" {
		t.Errorf("the store got the rows in the order %s, want edcba", got)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	odd := errors.New("who knows")
	stored, rejected := message.Verdict{Outcome: message.Stored}, message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused}}
	for _, tt := range []struct {
		name   string
		result message.Result
		err    error
		want   string
		cause  message.Cause
	}{
		{"transient", message.Result{}, failed(message.CauseTransient), "a:returned(moment) b:rejected(not_json) c:returned(moment)", message.CauseTransient},
		{"configuration", message.Result{}, failed(message.CauseConfiguration), "a:returned(operator) b:rejected(not_json) c:returned(operator)", message.CauseConfiguration},
		{"wrapped", message.Result{}, fmt.Errorf("insert: %w", failed(message.CauseConfiguration)), "a:returned(operator) b:rejected(not_json) c:returned(operator)", message.CauseConfiguration},
		{"not said: transient", message.Result{}, odd, "a:returned(moment) b:rejected(not_json) c:returned(moment)", message.CauseTransient},
		{"the deadline", message.Result{}, fmt.Errorf("insert: %w", context.DeadlineExceeded), "a:returned(deadline) b:rejected(not_json) c:returned(deadline)", message.CauseDeadline},
		{"some are proven all the same", message.Result{Verdicts: []message.Verdict{stored, {}}, Tallies: message.Tallies{{Inserted: 1}}}, odd, "a:stored b:rejected(not_json) c:returned(moment)", message.CauseTransient},
		{"some are refused all the same", message.Result{Verdicts: []message.Verdict{{}, rejected}}, odd, "a:returned(moment) b:rejected(not_json) c:rejected(refused_by_database)", message.CauseTransient},
		{"a cause of its own", message.Result{Verdicts: []message.Verdict{{Cause: message.CauseDiscarded}, stored}}, nil, "a:returned(swallowed) b:rejected(not_json) c:stored", ""},
		{"too few verdicts prove nothing", message.Result{Verdicts: []message.Verdict{stored}}, nil, "a:stored b:rejected(not_json) c:returned", ""},
		{"no verdicts prove nothing", message.Result{}, nil, "a:returned b:rejected(not_json) c:returned", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := &store{verdict: func(*batch.Batch) (message.Result, error) { return tt.result, tt.err }}
			s := newFixture(t, st)
			all := messages("a b! c")
			report := s.pipeline.Run(t.Context(), all)
			if got := words(report); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if report.Cause != tt.cause || !errors.Is(report.Err, tt.err) {
				t.Errorf("got the error %v of %q, want %v of %q", report.Err, report.Cause, tt.err, tt.cause)
			}
		})
	}
}

func TestTooLittleTime(t *testing.T) {
	t.Parallel()
	for name, left := range map[string]time.Duration{"passed": -time.Second, "short": ingest.LeastTime / 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := &store{}
			s := newFixture(t, st)
			ctx, cancel := context.WithTimeout(t.Context(), left)
			defer cancel()
			all := messages("a b! g/c")
			report := s.pipeline.Run(ctx, all)
			if got, want := words(report), "a:returned(deadline) b:rejected(not_json) c:returned(deadline)"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if st.calls != 0 {
				t.Error("the store was called")
			}
			if report.Err == nil || report.Cause != message.CauseDeadline {
				t.Errorf("got the error %v of %q", report.Err, report.Cause)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		st := &store{}
		s := newFixture(t, st)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		all := messages("a")
		if got := words(s.pipeline.Run(ctx, all)); got != "a:returned(deadline)" || st.calls != 0 {
			t.Errorf("got %s and %d calls of the store", got, st.calls)
		}
	})
	t.Run("enough", func(t *testing.T) {
		t.Parallel()
		s := newFixture(t, &store{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		all := messages("a")
		if got := words(s.pipeline.Run(ctx, all)); got != "a:stored" {
			t.Errorf("got %s", got)
		}
	})
}

func TestPanics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, messages, want, rows string }{
		{"costs itself", "a b~ c", "a:stored b:returned(panic) c:stored", "a c"},
		{"the first", "a~ b", "a:returned(panic) b:stored", "b"},
		{"the last", "a b~", "a:stored b:returned(panic)", "a"},
		{"all", "a~ b~ c~", "a:returned(panic) b:returned(panic) c:returned(panic)", ""},
		{"two in a row", "a b~ c~ d", "a:stored b:returned(panic) c:returned(panic) d:stored", "a d"},
		{"beside a bad one", "a! b~ c! d", "a:rejected(not_json) b:returned(panic) c:rejected(not_json) d:stored", "d"},
		{"twice delivered", "a b~ b~ c", "a:stored b:returned(panic) b:returned(panic) c:stored", "a c"},
		{"stops its group", "g/a g/b~ g/c h/d g/e!", "a:stored b:returned(panic) c:returned(group) d:stored e:returned(group)", "a d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			st := &store{}
			s := newFixture(t, st)
			all := messages(tt.messages)
			for range 2 { // the second time with what the first one left
				st.rows = nil
				report := s.pipeline.Run(t.Context(), all)
				if got := words(report); got != tt.want {
					t.Errorf("got  %s\nwant %s", got, tt.want)
				}
				if got := strings.Join(st.rows, " "); got != tt.rows {
					t.Errorf("the store got %q, want %q", got, tt.rows)
				}
				s.pipeline.Log(t.Context(), &report, false)
			}
			log := s.log.String()
			for _, want := range []string{`"msg":"panic"`, `"message_id":"`, "nil pointer dereference", "model/row.go"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %s: %s", want, log)
				}
			}
			for _, raw := range []string{"canary", "203.0.113.7", "cb007107", fmt.Sprintf("%x", canary)} { // a stack shows words of memory in hexadecimal
				if strings.Contains(log, raw) {
					t.Errorf("the log holds %q of the message: %s", raw, log)
				}
			}
		})
	}
}

// TestStorePanics with all that a panic can have, which may quote a message.
func TestStorePanics(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]any{
		"an error": errors.New(canary), "a text": canary, "bytes": []byte(canary), "a struct": struct{ text string }{canary},
		"wrapped": fmt.Errorf("wrapped: %w", errors.New(canary)), "of the runtime": nil,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			st := &store{}
			st.verdict = func(b *batch.Batch) (message.Result, error) {
				stored := []message.Verdict{{Outcome: message.Stored}, {Outcome: message.Stored}}
				switch calls++; {
				case calls > 1:
				case cause != nil:
					panic(cause)
				default:
					_ = stored[b.Len()]
				}
				return message.Result{Verdicts: stored[:b.Len()]}, nil
			}
			s := newFixture(t, st)
			all := messages("a b! c")
			report := s.pipeline.Run(t.Context(), all)
			if got, want := words(report), "a:returned(moment) b:rejected(not_json) c:returned(moment)"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			s.pipeline.Log(t.Context(), &report, false)
			log := s.log.String()
			if report.Err == nil || strings.Contains(report.Err.Error(), canary) || strings.Contains(log, canary) || strings.Contains(log, fmt.Sprintf("%x", canary)) {
				t.Errorf("got the error %v and the log %s", report.Err, log)
			}
			if cause == nil && !strings.Contains(log, "index out of range") || !strings.Contains(log, "ingest_test.go") {
				t.Errorf("the log lacks what the runtime says, or the stack: %s", log)
			}
			if got, want := words(s.pipeline.Run(t.Context(), all)), "a:stored b:rejected(not_json) c:stored"; got != want {
				t.Errorf("afterwards: got %s, want %s", got, want)
			}
		})
	}
}

func TestUnable(t *testing.T) {
	t.Parallel()
	all := messages("a b! g/c")
	err := errors.New("no keys")
	report := ingest.Unable(all, err, message.CauseConfiguration)
	if got, want := words(report), "a:returned(operator) b:returned(operator) c:returned(operator)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(report.Err, err) || report.Cause != message.CauseConfiguration || report.Count(message.Returned) != 3 {
		t.Errorf("got %+v", report)
	}
}

// TestConcurrency runs many batches at once, under two keyrings, as a
// rotation has it: no batch may see another one's rows, keys or verdicts.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	keyed, err := mask.ParseKeys("k1:0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	rings := map[string]*mask.Keyring{"sha256": mask.Unkeyed(), "k1": keyed}
	type name struct{} // of the keyring, in the context
	p := ingest.New(logins(t).Set(), echo{}, func(ctx context.Context) (*mask.Keyring, error) { return rings[ctx.Value(name{}).(string)], nil }, slog.New(slog.DiscardHandler))
	var wg sync.WaitGroup
	for worker := range 16 {
		wg.Go(func() {
			for round := range 50 {
				ring := []string{"sha256", "k1"}[(worker+round)%2]
				all := messages(fmt.Sprintf("ok-%[1]s-%[2]d-a refuse-%[1]s-%[2]d-b bad! ok-%[1]s-%[2]d-c x~ ok-%[1]s-%[2]d-a", ring, worker*1000+round))
				got := words(p.Run(context.WithValue(t.Context(), name{}, ring), all))
				want := fmt.Sprintf("ok-%[1]s-%[2]d-a:stored refuse-%[1]s-%[2]d-b:rejected(refused_by_database) bad:rejected(not_json) ok-%[1]s-%[2]d-c:stored x:returned(panic) ok-%[1]s-%[2]d-a:repeated", ring, worker*1000+round)
				if got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		})
	}
	wg.Wait()
}

// echo stores rows whose user_id begins with ok, and checks that the key that
// masked them is the one that the user_id names.
type echo struct{}

// Ping implements ingest.Store.
func (echo) Ping(context.Context) error { return nil }

// Insert implements ingest.Store.
func (echo) Insert(_ context.Context, b *batch.Batch) (message.Result, error) {
	r := message.Result{Verdicts: make([]message.Verdict, b.Len())}
	for i := range b.Len() {
		user := value(b, i, "user_id")
		switch {
		case !strings.Contains(user, "-"+value(b, i, "mask_key")+"-"):
		case strings.HasPrefix(user, "ok-"):
			r.Verdicts[i].Outcome = message.Stored
		default:
			r.Verdicts[i] = message.Verdict{Outcome: message.Rejected, Rejection: message.Rejection{Reason: message.ReasonRefused}}
		}
	}
	return r, nil
}

// TestWhatAPanicCosts states it, for one record of a hundred. Nothing runs
// beside it, so that what is allocated is the pipeline's.
func TestWhatAPanicCosts(t *testing.T) {
	s := newFixture(t, &store{})
	all := messages(strings.Repeat("a b c d ", 12) + "e~ f g h")
	s.pipeline.Run(t.Context(), all) // the first one makes the memory that is kept
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	report := s.pipeline.Run(t.Context(), all)
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	allocated := float64(after.TotalAlloc-before.TotalAlloc) / 1e3
	t.Logf("%v, %.0f kB allocated, the verdict on it %+v", took, allocated, report.Verdicts[48])
	if c := report.Counts(); c.Returned != 1 || report.Verdicts[48].Cause != message.CausePanic || allocated > 500 {
		t.Errorf("got %+v, %.0f kB allocated", c, allocated)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	s := newFixture(t, &store{})
	const bad = 3 * ingest.MaxLines
	var short strings.Builder
	for i := range bad {
		fmt.Fprintf(&short, "m%d! ", i)
	}
	all := messages(short.String() + "good")
	report := s.pipeline.Run(t.Context(), all)
	report.Err, report.Cause = errors.New("what went wrong"), message.CauseTransient
	s.pipeline.Log(t.Context(), &report, false)
	if strings.Contains(s.log.String(), `"msg":"batch"`) {
		t.Error("the batch's line is among those of its problems")
	}
	s.pipeline.LogBatch(t.Context(), &report)
	log := s.log.String()
	if got := strings.Count(log, `"msg":"message rejected"`); got != ingest.MaxLines {
		t.Errorf("got %d lines of rejected messages, want %d", got, ingest.MaxLines)
	}
	for _, want := range []string{
		`"message_id":"m0","reason":"not_json","detail":"a word without double quotes","byte":1}`,
		fmt.Sprintf(`"msg":"more messages rejected","count":%d}`, bad-ingest.MaxLines),
		`"msg":"messages returned","fault":"moment","error":"what went wrong"}`,
		fmt.Sprintf(`"msg":"batch","received":%d,"stored":1,"duplicate":0,"rejected":%d,"returned":0,"round_trips":1,`, bad+1, bad),
	} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %s: %s", want, log)
		}
	}
	if strings.Contains(log, "203.0.113.7") {
		t.Errorf("the log holds a value: %s", log)
	}
}

// Discarded rows are in no error: the log names them.
func TestDiscardedInTheLog(t *testing.T) {
	t.Parallel()
	s := newFixture(t, &store{})
	const n = 3 * ingest.MaxLines
	all := messages(strings.TrimSpace(strings.Repeat("m ", n)))
	report := ingest.Report{Messages: all, Verdicts: slices.Repeat([]message.Verdict{{Cause: message.CauseDiscarded}}, n)}
	s.pipeline.Log(t.Context(), &report, false)
	log := s.log.String()
	if got := strings.Count(log, `"message_id":"m","cause":"swallowed"}`); got != ingest.MaxLines {
		t.Errorf("got %d lines of messages, want %d: %s", got, ingest.MaxLines, log)
	}
	if want := fmt.Sprintf(`"msg":"more messages returned","count":%d,"cause":"swallowed"}`, n-ingest.MaxLines); !strings.Contains(log, want) {
		t.Errorf("the log lacks %s: %s", want, log)
	}
}

func TestRejectionsInTheLog(t *testing.T) {
	t.Parallel()
	s := newFixture(t, &store{})
	report := ingest.Report{Messages: messages("a"), Verdicts: []message.Verdict{{Outcome: message.Rejected, Rejection: message.Rejection{
		Reason: message.ReasonRefused, Field: "f", SQLState: "23514", Constraint: "c", Column: "col",
	}}}}
	s.pipeline.Log(t.Context(), &report, false)
	const want = `"message_id":"a","reason":"refused_by_database","field":"f","sqlstate":"23514","condition":"check_violation","constraint":"c","column":"col"}`
	if got := s.log.String(); !strings.Contains(got, want) {
		t.Errorf("the log lacks %s: %s", want, got)
	}
}

// TestProblemsInTheLog: a line has all problems of a body, and each in bounded length.
func TestProblemsInTheLog(t *testing.T) {
	t.Parallel()
	s := newFixture(t, &store{})
	report := ingest.Report{Messages: messages("a b"), Verdicts: []message.Verdict{
		{Outcome: message.Rejected, Rejection: message.Rejection{
			Reason: message.ReasonWrongType, Field: "amount", Detail: "expected a number, found a string",
			More: []message.Rejection{{Reason: message.ReasonMissing, Field: "currency"}, {Reason: message.ReasonNotOneOf, Field: "kind", Detail: "expected a, b"}},
		}},
		{Outcome: message.Rejected, Rejection: message.Rejection{
			Reason: message.ReasonNotOneOf, Field: "kind", Detail: strings.Repeat("é", 1000),
			More: []message.Rejection{{Reason: message.ReasonNotOneOf, Field: "kind2", Detail: strings.Repeat("é", 1000)}},
		}},
	}}
	s.pipeline.Log(t.Context(), &report, false)
	for _, want := range []string{
		`"message_id":"a","reason":"wrong_type","field":"amount","detail":"expected a number, found a string","more":2,` +
			`"problems":["wrong_type amount: expected a number, found a string","missing currency","not_one_of kind: expected a, b"]}`,
		`"message_id":"b","reason":"not_one_of","field":"kind","detail":"` + strings.Repeat("é", 128) + `…","more":1,"problems":["not_one_of kind: ` + strings.Repeat("é", 119) + `…","not_one_of kind2: `,
	} {
		if got := s.log.String(); !strings.Contains(got, want) {
			t.Errorf("the log lacks %s: %s", want, got)
		}
	}
}

// TestMemoryInTheLog: one line says why messages are returned that the batch has no memory for.
func TestMemoryInTheLog(t *testing.T) {
	t.Parallel()
	s := newFixture(t, &store{})
	report := ingest.Report{Messages: messages("a b c"), Verdicts: []message.Verdict{{Outcome: message.Stored}, {Cause: message.CauseMemory}, {Cause: message.CauseMemory}}}
	s.pipeline.Log(t.Context(), &report, false)
	const want = `"level":"WARN","msg":"messages returned: the bodies of the batch unwrap to more than 64 MiB","count":2,"cause":"memory","remedy":"`
	if got := s.log.String(); strings.Count(got, want) != 1 {
		t.Errorf("the log lacks %s: %s", want, got)
	}
}

// TestWrongSentTimes are stored, with one warning.
func TestWrongSentTimes(t *testing.T) {
	t.Parallel()
	const (
		seconds = 1767225600
		day     = 24 * time.Hour
	)
	ahead := func(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }
	for _, tt := range []struct {
		name string
		sent []int64 // of the messages, -1 for none
		want string  // in the warning
	}{
		{"right", []int64{946684800000, 1767225600000, ahead(-day), ahead(day - time.Hour)}, ""},
		{"absent", []int64{-1}, ""},
		{"seconds", []int64{1767225600000, seconds, seconds + 1}, `"count":2,"problem":"SentTimestamp looks like seconds, not milliseconds (2)","message_id":"m1",`},
		{"the first and the last such", []int64{0, 946684799999}, `"count":2,"problem":"SentTimestamp looks like seconds, not milliseconds (2)","message_id":"m0",`},
		{"future", []int64{ahead(0), ahead(day + time.Hour), message.MaxSentMillis}, `"count":2,"problem":"SentTimestamp is in the future (2)","message_id":"m1",`},
		{"both", []int64{message.MaxSentMillis, seconds}, `"count":2,"problem":"SentTimestamp looks like seconds, not milliseconds (1); SentTimestamp is in the future (1)","message_id":"m0",`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newFixture(t, &store{})
			var ids []string
			for i := range tt.sent {
				ids = append(ids, fmt.Sprintf("m%d", i))
			}
			all := messages(strings.Join(append(ids, ids...), " ")) // repeats do not count
			for i := range all {
				all[i].SentMillis = tt.sent[i%len(ids)]
				all[i].HasSent = all[i].SentMillis >= 0
			}
			report := s.pipeline.Run(t.Context(), all)
			s.pipeline.Log(t.Context(), &report, false)
			if c := report.Counts(); c.Stored != len(ids) && tt.sent[0] >= 0 {
				t.Errorf("got %+v, want all stored", c)
			}
			log, warnings := s.log.String(), 0
			if tt.want != "" {
				warnings = 1
			}
			if strings.Count(log, "wrong SentTimestamp") != warnings || !strings.Contains(log, tt.want) || warnings == 1 && !strings.Contains(log, `"level":"WARN"`) {
				t.Errorf("got the log %s, want %d warning with %s", log, warnings, tt.want)
			}
			if strings.Contains(log, "203.0.113.7") {
				t.Errorf("the log holds a value: %s", log)
			}
		})
	}
}
