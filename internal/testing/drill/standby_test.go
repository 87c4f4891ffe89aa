package drill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/testing/pgtest"
	"example.com/owner/sluice/models"
)

// replicated is several functions on the same queue, and a primary whose standby is stopped,
// resumed and promoted.
type replicated struct {
	t         *testing.T
	pair      *pgtest.Pair
	db        *pgtest.DB // on the primary; on the promoted server after the fail-over
	proxy     *pgtest.Proxy
	functions []*function
	good      []record
	refused   []record

	mu   sync.Mutex
	done map[string]bool // the ids of the messages that a function has reported as done
}

func newReplicated(t *testing.T, functions, good, refused int) *replicated {
	t.Helper()
	m, err := model.Load("user_logins", models.FS)
	if err != nil {
		t.Fatal(err)
	}
	r := &replicated{t: t, pair: pgtest.NewPair(t), done: map[string]bool{}}
	r.db = r.pair.Primary.New(t, append(m.DDL(), "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")...)
	r.proxy = pgtest.NewProxy(t, r.db.URL)
	for range functions {
		f := &function{t: t, db: r.db, proxy: r.proxy, log: &safeBuilder{}}
		f.connect(r.proxy.URL)
		r.functions = append(r.functions, f)
	}
	r.good, r.refused = records(good), records(refused)
	for _, message := range r.refused {
		message["body"] = strings.Replace(fmt.Sprint(message["body"]), `"ip"`, `"locale":"xx","ip"`, 1)
	}
	return r
}

// deliver sends a batch to a function as SQS might: messages that are not done, in any order, some
// of which other functions have at the same time, and a few that are done.
func (r *replicated) deliver(f *function, size int, timeout time.Duration) {
	r.mu.Lock()
	var open, over []record
	for _, message := range append(slices.Clone(r.good), r.refused...) {
		if r.done[fmt.Sprint(message["messageId"])] {
			over = append(over, message)
		} else {
			open = append(open, message)
		}
	}
	r.mu.Unlock()
	batch := append(sample(open, size), sample(over, size/10)...)
	rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })

	ctx, cancel := context.WithTimeout(r.t.Context(), timeout)
	defer cancel()
	answer, err := f.handler.Invoke(ctx, eventOf(batch))
	if err != nil {
		return // all of them come back
	}
	var a struct {
		BatchItemFailures []struct{ ItemIdentifier string }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		r.t.Error(err)
		return
	}
	failed := map[string]bool{}
	for _, failure := range a.BatchItemFailures {
		failed[failure.ItemIdentifier] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, message := range batch {
		if id := fmt.Sprint(message["messageId"]); !failed[id] {
			r.done[id] = true
		}
	}
}

// sample returns n of the messages, or all if there are fewer.
func sample(messages []record, n int) []record {
	all := slices.Clone(messages)
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(n, len(all))]
}

// run makes all functions deliver batches, each until goOn, called with the number of its batches,
// returns false.
func (r *replicated) run(timeout time.Duration, goOn func(batches int) bool) (wait func()) {
	var working sync.WaitGroup
	for _, f := range r.functions {
		working.Go(func() {
			for n := 0; goOn(n); n++ {
				r.deliver(f, 50, timeout)
			}
		})
	}
	return working.Wait
}

// until returns a condition for run: that so many messages are done.
func (r *replicated) until(done int) func(int) bool {
	limit := time.Now().Add(2 * plenty)
	return func(int) bool { return r.count() < done && time.Now().Before(limit) }
}

func (r *replicated) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.done)
}

// holds checks that each message that is done has one row, and no message has two.
func (r *replicated) holds(db *pgtest.DB) {
	r.t.Helper()
	rows := map[string]int{}
	for _, row := range db.Rows(r.t, "SELECT message_id FROM user_logins") {
		rows[row[0]]++
	}
	lost, twice := 0, 0
	for id := range r.done {
		if rows[id] == 0 {
			lost++
		}
	}
	for _, n := range rows {
		if n > 1 {
			twice++
		}
	}
	r.t.Logf("%d messages are done, %d have rows", len(r.done), len(rows))
	if lost > 0 || twice > 0 {
		r.t.Errorf("%d messages that were reported as done have no row, and %d have more than one", lost, twice)
	}
}

// TestAStandbyIsStoppedResumedAndPromoted is a maintenance of the standby that ends in the loss of
// the primary.
func TestAStandbyIsStoppedResumedAndPromoted(t *testing.T) {
	t.Parallel()
	const (
		good, refused = 2000, 20
		short         = 3 * time.Second // an invocation whose COMMIT waits for the standby costs all of it
	)
	r := newReplicated(t, 5, good, refused)
	r.run(plenty, r.until(good/5))()

	// Without the standby nothing is done, although the primary has the rows.
	r.pair.StopStandby(t)
	before := r.count()
	r.run(short, func(batches int) bool { return batches < 2 })()
	if n := r.count() - before; n != 0 {
		t.Fatalf("%d messages were reported as done while the standby was missing", n)
	}
	if rows := r.db.Count(t, "SELECT count(*) FROM user_logins"); rows <= int64(before) {
		t.Fatalf("the primary has %d rows for %d messages that are done: this shows nothing", rows, before)
	}

	// It is back while functions wait for it.
	wait := r.run(plenty, r.until(r.count()+1))
	r.functions[0].eventually(func() bool { return r.waiting() > 0 })
	r.pair.ResumeStandby(t)
	wait()
	r.holds(r.db)

	// It is gone again while they work, and then the primary is.
	var stop sync.Once
	stopped := make(chan struct{})
	defer stop.Do(func() { close(stopped) })
	wait = r.run(short, func(int) bool {
		select {
		case <-stopped:
			return false
		default:
			return true
		}
	})
	r.pair.StopStandby(t)
	r.functions[0].eventually(func() bool { return r.waiting() > 0 })
	r.pair.FailOver(t)
	stop.Do(func() { close(stopped) })
	wait()
	r.db = r.pair.Standby.Has(t, r.db)
	r.holds(r.db)

	// The functions find the new primary, and what was not done comes again.
	r.proxy.Redirect(t, r.db.URL)
	r.proxy.Cut()
	r.run(plenty, r.until(good))()
	r.holds(r.db)
	if got := r.db.Count(t, "SELECT count(*) FROM user_logins"); got != good {
		t.Errorf("got %d rows, want %d", got, good)
	}
	for _, message := range r.refused {
		if r.done[fmt.Sprint(message["messageId"])] {
			t.Error("a message that the database refuses was reported as done")
		}
	}
	if t.Failed() {
		t.Logf("the log of one function:\n%s", r.functions[0].log)
	}
}

// waiting returns the number of sessions whose COMMIT waits for the standby.
func (r *replicated) waiting() int64 {
	return r.db.Count(r.t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event = 'SyncRep'", r.db.Schema)
}
