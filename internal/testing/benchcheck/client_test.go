package benchcheck_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The two sizes of batches whose difference is what a message costs. What remains is what an
// invocation costs.
const (
	small = 100
	large = 1000
)

// linear returns the cost of a message and of an invocation, from what invocations of both sizes cost.
func linear(ofSmall, ofLarge float64) (perMessage, perInvocation float64) {
	perMessage = (ofLarge - ofSmall) / (large - small)
	return perMessage, ofSmall - perMessage*small
}

// Each part of the check has numbers of messages of its own.
const (
	firstOfAllocations  = 1_000_000
	firstOfInstructions = 2_000_000
	ofOneChild          = 100_000
)

// allocations measures what handler.Invoke allocates, the driver's part with it: how often, and how
// many bytes.
func (s *server) allocations(t *testing.T) []measured {
	t.Helper()
	h, last, stop := newHandler(t.Context(), "user_logins", s.dbs["keyed"].URL)
	t.Cleanup(stop)
	next := firstOfAllocations
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would empty pools at some time or other
	invocation := func(n int) (count, bytes float64) {
		count, bytes = math.Inf(1), math.Inf(1)
		for range 5 { // the first of them make the memory that is kept
			event, err := span{next, n}.event(1, -1)
			if err != nil {
				t.Fatal(err)
			}
			next += n
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			answer, err := h.Invoke(t.Context(), event)
			runtime.ReadMemStats(&after)
			if got := of(last); err != nil || got.inserted != n {
				t.Fatalf("got %+v, %s, %v", got, answer, err)
			}
			count, bytes = min(count, float64(after.Mallocs-before.Mallocs)), min(bytes, float64(after.TotalAlloc-before.TotalAlloc))
		}
		return count, bytes
	}
	smallCount, smallBytes := invocation(small)
	largeCount, largeBytes := invocation(large)
	perMessage, perInvocation := linear(smallCount, largeCount)
	return []measured{
		{"allocations/per-message", perMessage},
		{"allocations/per-invocation", perInvocation},
		{fmt.Sprintf("allocated-bytes-per-message/n=%d", small), smallBytes / small},
		{fmt.Sprintf("allocated-bytes-per-message/n=%d", large), largeBytes / large},
	}
}

// childVariable tells this program that it is the child whose instructions are counted: the first
// message's number, how many messages an event has, how many events it makes and how many it invokes
// the function with.
const childVariable = "BENCHCHECK_CHILD"

// counted is what the child does: it makes events, and invokes the function with some or with all of
// them.
var counted = []struct {
	name         string
	n            int // messages of an event
	events, some int
	of           float64 // what an event's instructions are divided by
}{
	{"instructions-per-invocation/n=1", 1, 400, 20, 1},
	{"instructions-per-message/n=1000", large, 3, 1, large},
}

// instructions counts what handler.Invoke executes, the driver's part with it, by cachegrind: it
// needs no counter of the processor, which virtual machines lack, and it shows every processor of an
// architecture as the same one. Two runs that differ in how many events they invoke give what an
// invocation takes.
func (s *server) instructions(t *testing.T) (values []measured) {
	t.Helper()
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		t.Log("instructions are not counted: valgrind is not installed")
		return nil
	}
	var counts [2][2]float64 // by what is counted; of some and of all events
	var errs [2][2]error
	var running sync.WaitGroup
	for i, c := range counted {
		for j, invoked := range []int{c.some, c.events} {
			running.Go(func() {
				first := firstOfInstructions + (2*i+j)*ofOneChild
				counts[i][j], errs[i][j] = s.count(t, valgrind, fmt.Sprintf("%d %d %d %d", first, c.n, c.events, invoked))
			})
		}
	}
	running.Wait()
	for i, c := range counted {
		if err := errors.Join(errs[i][:]...); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		values = append(values, measured{c.name, (counts[i][1] - counts[i][0]) / float64(c.events-c.some) / c.of})
	}
	return values
}

// count returns how many instructions a child executes.
func (s *server) count(t *testing.T, valgrind, does string) (float64, error) {
	cmd := exec.CommandContext(t.Context(), valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+does, "BENCHCHECK_URL="+s.dbs["keyed"].URL+"&connect_timeout=60", "GOMAXPROCS=1", "GOGC=off")
	out, err := cmd.CombinedOutput()
	found := instructionsLine.FindSubmatch(out)
	if err != nil || found == nil {
		return 0, fmt.Errorf("valgrind: %w: %s", err, out)
	}
	return strconv.ParseFloat(strings.ReplaceAll(string(found[1]), ",", ""), 64)
}

// instructionsLine is where cachegrind says how many instructions were executed.
var instructionsLine = regexp.MustCompile(`I\s+refs:\s+([\d,]+)`)

// child makes events and invokes the function with some of them.
func child() int {
	if err := invokeSome(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func invokeSome() error {
	var first, n, events, invoked int
	if _, err := fmt.Sscan(os.Getenv(childVariable), &first, &n, &events, &invoked); err != nil {
		return err
	}
	ctx := context.Background()
	h, last, stop := newHandler(ctx, "user_logins", os.Getenv("BENCHCHECK_URL"))
	defer stop()
	for i := range events {
		event, err := span{first + i*n, n}.event(1, -1)
		if err != nil {
			return err
		}
		if i >= invoked {
			continue
		}
		answer, err := h.Invoke(ctx, event)
		if got := of(last); err != nil || got.inserted != n {
			return fmt.Errorf("got %+v and the answer %s: %w", got, answer, errors.Join(err, last.Err))
		}
	}
	return nil
}
