package benchmark_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

var (
	measure = flag.Bool("measure", false, "measure all ways: make bench")
	quick   = flag.Bool("quick", false, "measure so little that it only shows that all ways work")
	rows    = flag.Int("rows", 0, "measure inserts into a table of this size: make bench ROWS=10000000")
	docs    = flag.Bool("docs", false, "write the tables and the chart into docs/")
	out     = flag.String("out", "", "write bench.json and bench.svg into this folder")
	python3 = flag.String("python", "", "a Python, for the ways that use psycopg; by default python3, if it has psycopg")
)

// sizes are the batches of the tables, and how many of them a turn has: about a tenth of a second.
var sizes = []struct{ n, batches int }{{1, 200}, {10, 100}, {100, 40}, {1000, 10}, {6000, 3}}

// rounds is how often each way has its turn, for each size.
func rounds() int {
	if *quick {
		return 1
	}
	return 9
}

// turn is what one way did in one turn. What cannot be measured is 0.
type turn struct {
	Rate      float64 // rows per second
	ClientCPU float64 // seconds for a million rows
	ServerCPU float64
	WAL       float64 // bytes of write-ahead log for a row
}

// runner runs a way.
type runner struct {
	way

	name string
	db   *pgtest.DB
	sent int // messages so far
}

func newRunner(t testing.TB, s *setup, kind int) *runner {
	t.Helper()
	db := s.tables(t)
	return &runner{way: kinds[kind].open(t, s, db), name: kinds[kind].name, db: db}
}

// messages returns n that are new.
func (r *runner) messages(n int) []message.Message {
	r.sent += n
	return logins(n, r.sent-n)
}

// backend returns the number of the one server process that the way uses, 0 if it is not here.
func (r *runner) backend(t testing.TB, server *pgx.Conn) (process int) {
	t.Helper()
	found, err := server.Query(t.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND backend_type = 'client backend'", r.db.Schema)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(found, pgx.RowTo[int])
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || !isPostgres(all[0]) {
		return 0
	}
	return all[0]
}

// turn stores batches of n messages. server looks at the server. A profile of the test
// (-cpuprofile) tells the ways apart by their labels.
func (r *runner) turn(t testing.TB, server *pgx.Conn, n, batches int) turn {
	t.Helper()
	work := make([]func() error, batches) // all before the first: what makes them leaves garbage
	for i := range work {
		work[i] = r.prepare(r.messages(n))
	}
	runtime.GC()
	backend := r.backend(t, server)
	log, serverCPU, clientCPU, began := walBytes(t, server), cpu(backend), cpu(r.process), time.Now()
	pprof.Do(t.Context(), pprof.Labels("way", r.name, "batch", strconv.Itoa(n)), func(context.Context) {
		for i := range work {
			if err := work[i](); err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
		}
	})
	took := time.Since(began)
	clientCPU, serverCPU = cpu(r.process)-clientCPU, cpu(backend)-serverCPU
	stored := float64(n * batches)
	return turn{
		Rate: stored / took.Seconds(), WAL: float64(walBytes(t, server)-log) / stored,
		ClientCPU: clientCPU.Seconds() * 1e6 / stored, ServerCPU: serverCPU.Seconds() * 1e6 / stored,
	}
}

// counted fails the test unless every message that a way was given is a row.
func (r *runner) counted(t testing.TB) {
	t.Helper()
	if got := r.db.Count(t, "SELECT count(*) FROM user_logins"); got != int64(r.sent) {
		t.Errorf("%s: %d rows, want %d", r.name, got, r.sent)
	}
}

// checkpoint writes what is due to the disk, so that the server does not in the middle of a turn.
func checkpoint(t testing.TB, conn *pgx.Conn) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), "CHECKPOINT"); err != nil {
		t.Fatal(err)
	}
}

// walBytes returns how much log the server has written.
func walBytes(t testing.TB, conn *pgx.Conn) (n int64) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func median[T cmp.Ordered](all []T) (middle T) {
	if len(all) == 0 {
		return middle
	}
	return slices.Sorted(slices.Values(all))[(len(all)-1)/2]
}

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// TestWays measures all ways, turn by turn, and prints the tables of docs/performance.md.
func TestWays(t *testing.T) {
	if !*measure {
		t.Skip("make bench")
	}
	if *quick && *docs {
		t.Fatal("QUICK=1 measures too little for DOCS=1: leave one of them out")
	}
	s := newSetup(t, *python3)
	r := newReport(t, s)
	r.measure(t, s)
	r.delay(t, s)
	if !*quick {
		r.judge()
	}
	r.publish(t)
}

// measure fills the tables of rates, CPU and log.
func (r *report) measure(t *testing.T, s *setup) {
	t.Helper()
	server := s.schema(t).Conn(t)
	var runners []*runner
	for kind := range kinds {
		if !r.Ways[kind].NotRun {
			runners = append(runners, newRunner(t, s, kind))
		} else {
			runners = append(runners, nil)
		}
	}
	for at, size := range sizes {
		progress("batches of %d", size.n)
		checkpoint(t, server)
		batches := size.batches
		if *quick {
			batches = 1
		}
		all := make([][]turn, len(kinds))
		for round := -1; round < rounds(); round++ { // the first one warms
			for k := range kinds {
				kind := (k + round + len(kinds)) % len(kinds)
				if runners[kind] == nil || size.n > kinds[kind].most {
					continue
				}
				n := batches
				if kinds[kind].most < sizes[len(sizes)-1].n || round < 0 {
					n = max(1, batches/10) // the slow ones
				}
				got := runners[kind].turn(t, server, size.n, n)
				if round >= 0 {
					all[kind] = append(all[kind], got)
				}
			}
		}
		for kind := range kinds {
			r.Ways[kind].Points[at] = summary(all[kind])
		}
		for i, pair := range pairs {
			r.Ratios[i].Values[at] = ratio(all[kindOf(pair.of)], all[kindOf(pair.to)])
		}
	}
	for _, runner := range runners {
		if runner != nil {
			runner.counted(t)
		}
	}
}

// summary returns the medians of turns.
func summary(turns []turn) turn {
	of := func(value func(turn) float64) float64 {
		var all []float64
		for _, t := range turns {
			all = append(all, value(t))
		}
		return median(all)
	}
	return turn{
		of(func(t turn) float64 { return t.Rate }), of(func(t turn) float64 { return t.ClientCPU }),
		of(func(t turn) float64 { return t.ServerCPU }), of(func(t turn) float64 { return t.WAL }),
	}
}

// ratio returns the median of the rates' ratios, round by round; 0 if one was not measured.
func ratio(of, to []turn) float64 {
	var all []float64
	for i := range min(len(of), len(to)) {
		all = append(all, of[i].Rate/to[i].Rate)
	}
	return median(all)
}

// delays are the times that a round trip takes longer, in the second table.
var delays = []time.Duration{0, time.Millisecond, 5 * time.Millisecond}

// delay fills the tables of round trips: batches through a proxy that delays.
func (r *report) delay(t *testing.T, s *setup) {
	t.Helper()
	progress("batches with a delay")
	times := 20
	if *quick {
		times = 1
	}
	ping := newPing(t, s)
	type through struct {
		*runner
		proxy *pgtest.Proxy
	}
	ways := make([]*through, len(kinds))
	for kind := range kinds {
		if r.Ways[kind].NotRun {
			continue
		}
		db := s.tables(t)
		proxy := pgtest.NewProxy(t, db.URL)
		throughProxy := *db
		throughProxy.URL = proxy.URL
		ways[kind] = &through{&runner{way: kinds[kind].open(t, s, &throughProxy), name: kinds[kind].name, db: db}, proxy}
	}
	for at, n := range delayed {
		took := make([][][]time.Duration, len(kinds)) // by way and delay
		pings := make([][]time.Duration, len(delays))
		for kind := range kinds {
			took[kind] = make([][]time.Duration, len(delays))
		}
		for round := -1; round < times; round++ { // the first one warms
			for i, d := range delays {
				if took := ping(t, d); round >= 0 {
					pings[i] = append(pings[i], took)
				}
			}
			for kind, w := range ways {
				if w == nil || n > 10 && kinds[kind].most == 1000 {
					continue // a batch would take seconds
				}
				for i, d := range delays {
					w.proxy.SetDelay(d / 2) // of each direction
					work := w.prepare(w.messages(n))
					w.proxy.Reset()
					began := time.Now()
					if err := work(); err != nil {
						t.Fatalf("%s: %v", w.name, err)
					}
					if round >= 0 {
						took[kind][i] = append(took[kind][i], time.Since(began))
						r.Delays[at].Ways[kind].RoundTrips = w.proxy.RoundTrips()
					}
				}
			}
		}
		for i := range delays {
			ofPing := longer(pings, i)
			r.Delays[at].Longer[i] = ofPing.Seconds() * 1000
			for kind := range kinds {
				result := &r.Delays[at].Ways[kind]
				result.Millis[i] = median(took[kind][i]).Seconds() * 1000
				if i > 0 {
					result.Delays[i] = float64(longer(took[kind], i)) / float64(ofPing)
				}
			}
		}
	}
	for _, w := range ways {
		if w != nil {
			w.counted(t)
		}
	}
}

// longer returns how much longer batches took with a delay than without, round by round.
func longer(took [][]time.Duration, delay int) time.Duration {
	var all []time.Duration
	for round := range took[delay] {
		all = append(all, took[delay][round]-took[0][round])
	}
	return median(all)
}

// newPing returns what measures one round trip with a delay.
func newPing(t testing.TB, s *setup) func(testing.TB, time.Duration) time.Duration {
	t.Helper()
	db := *s.schema(t)
	proxy := pgtest.NewProxy(t, db.URL)
	db.URL = proxy.URL
	conn := db.Conn(t).PgConn()
	return func(t testing.TB, d time.Duration) time.Duration {
		t.Helper()
		proxy.SetDelay(d / 2)
		began := time.Now()
		if err := conn.Exec(t.Context(), "SELECT 1").Close(); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
}
