package drill_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// place is a kind of position at which a connection breaks.
type place struct {
	name string
	cold bool // in an environment without a connection
	// isolating means that only a batch with refused rows gets there.
	isolating bool
	at        func(size int, random *rand.Rand) pgtest.Position
}

const rowBytes = 220 // that a row takes on the wire, about

var places = []place{
	{"before the first byte", true, false, func(int, *rand.Rand) pgtest.Position { return pgtest.AfterClientBytes(0) }},
	{"while the session is set up", true, false, func(_ int, r *rand.Rand) pgtest.Position { return pgtest.AfterServerBytes(r.IntN(400)) }},
	{"before the first answer to a cold statement", true, false, func(int, *rand.Rand) pgtest.Position { return pgtest.AfterAnswer(1) }},
	{"within the first answer to a cold statement", true, false, func(int, *rand.Rand) pgtest.Position { return pgtest.BeforeAnswer(2) }},
	{"within what the client sends", false, false, func(size int, r *rand.Rand) pgtest.Position { return pgtest.AfterClientBytes(r.IntN(size * rowBytes)) }},
	{"within what the server sends", false, false, func(_ int, r *rand.Rand) pgtest.Position { return pgtest.AfterServerBytes(r.IntN(60)) }},
	{"before the end of the first answer", false, false, func(int, *rand.Rand) pgtest.Position { return pgtest.BeforeAnswer(1) }},
	{"after the first answer", false, true, func(int, *rand.Rand) pgtest.Position { return pgtest.AfterAnswer(1) }},
	{"within the isolating round trip's statements", false, true, func(size int, r *rand.Rand) pgtest.Position {
		return pgtest.AfterClientBytes(size*rowBytes + r.IntN(size*2*rowBytes))
	}},
	{"within the isolating round trip's answers", false, true, func(size int, r *rand.Rand) pgtest.Position {
		return pgtest.BeforeAnswer(2 + r.IntN(2*min(size, 12)))
	}},
	{"between the isolating round trip's answers", false, true, func(size int, r *rand.Rand) pgtest.Position {
		return pgtest.AfterAnswer(2 + r.IntN(2*min(size, 12)))
	}},
	{"before COMMIT", false, true, func(int, *rand.Rand) pgtest.Position { return pgtest.BeforeStatement("COMMIT") }},
	{"between COMMIT and its answer", false, true, func(int, *rand.Rand) pgtest.Position { return pgtest.BeforeTag("COMMIT") }},
}

// ways are how the network breaks. In a silent network an invocation has little time, since it may
// need all of it.
var ways = []way{
	{"closed", pgtest.Close, false, plenty},
	{"reset", pgtest.Abort, false, plenty},
	{"closed, and refused from then on", pgtest.Close, true, little},
	{"silent", pgtest.Lose, false, little},
	{"silent from then on", pgtest.Lose, true, little},
}

type way struct {
	name    string
	how     pgtest.How
	stays   bool
	timeout time.Duration
}

const little = 1500 * time.Millisecond

// TestTheNetworkBreaksAnywhere breaks connections in every way and at every kind of place, under
// several environments that get the same messages in different orders. Every invocation is answered
// in time; what the answer calls done is done; and after everything has been delivered again, every
// message has what it must have.
//
// A break that ends a connection and does not last costs a retry, and returns no message.
func TestTheNetworkBreaksAnywhere(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			next := chances(t)
			random := next()
			b := &breaks{fleet: newFleet(t, pgtest.New(t, k.ddl(t)...), builtin(t, k.model).Set()), kind: k, struck: map[string]bool{}}
			var rounds sync.WaitGroup
			atOnce := make(chan struct{}, 5)
			for _, p := range places {
				drawn := []way{ways[random.IntN(2)], ways[2+random.IntN(3)]} // the first has time to come to its place on any machine
				if inFull(t) {
					drawn = ways
				}
				for _, w := range drawn {
					random := next()
					atOnce <- struct{}{}
					rounds.Go(func() {
						defer func() { <-atOnce }()
						b.round(p, w, random)
					})
				}
			}
			rounds.Wait()
			b.fleet.check(b.sent)
			if k.fifo {
				b.fleet.inOrder()
			}
			for _, p := range places {
				if drawn := strings.HasPrefix(p.name, "within"); !b.struck[p.name] && !drawn && (!k.fifo || !strings.Contains(p.name, "COMMIT")) {
					t.Errorf("nothing broke %s: the drill shows nothing of it", p.name)
				}
			}
		})
	}
}

// inFull reports whether a drill does everything that it can, as in `make drill`.
func inFull(t *testing.T) bool {
	t.Helper()
	return kills(t) >= 1000
}

// breaks holds what TestTheNetworkBreaksAnywhere does to one table.
type breaks struct {
	fleet *fleet
	kind  kind

	mu     sync.Mutex
	sent   []record
	struck map[string]bool // places
}

func (b *breaks) send(messages []record) []record {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent = append(b.sent, messages...)
	return messages
}

// round breaks the networks of new environments once, at one kind of place.
func (b *breaks) round(p place, w way, random *rand.Rand) {
	t, k := b.fleet.t, b.kind
	size := []int{1, 12, 64, 150}[random.IntN(4)]
	if p.isolating {
		size = max(2, size)
	}
	messages := b.send(batchOf(k, size, func(n int) bool { return p.isolating && (n == size/2 || random.IntN(30) == 0) }))
	n := 3
	if k.fifo { // SQS gives a message group to one at a time
		n = 1
	}
	environments := b.fleet.environments(n, fmt.Sprintf("%s, %s, %d messages", w.name, p.name, size))
	returned := make([][]record, n)
	defer func() {
		for _, e := range environments {
			e.close()
		}
	}()
	var deliveries sync.WaitGroup
	for i, e := range environments {
		if !p.cold {
			warm := b.send(batchOf(k, 1, func(int) bool { return false }))
			if back := e.deliver(warm, plenty); len(back) > 0 {
				t.Errorf("%s: on a sound network %d messages came back; log:\n%s", e.doing, len(back), e.tail())
			}
		}
		batch := shuffled(k, messages, random)
		e.proxy.Plan(pgtest.Fault{At: p.at(size, random), How: w.how, Stays: w.stays})
		deliveries.Go(func() { returned[i] = e.deliver(batch, w.timeout) })
	}
	deliveries.Wait()
	for i, e := range environments {
		if !e.proxy.Planned() {
			b.mu.Lock()
			b.struck[p.name] = true
			b.mu.Unlock()
		}
		e.proxy.Restore()
		if w.timeout == plenty && len(returned[i]) > 0 && !k.fifo {
			t.Errorf("%s: %d messages came back, want none for one break; log:\n%s", e.doing, len(returned[i]), e.tail())
		}
	}
	if k.fifo {
		environments[0].redeliverInOrder(messages, returned[0], random)
		return
	}
	for _, e := range environments {
		batch := shuffled(k, messages, random)
		deliveries.Go(func() {
			if back := e.deliver(batch, plenty); len(back) > 0 {
				t.Errorf("%s: delivered again over a sound network %d of %d messages came back; log:\n%s", e.doing, len(back), len(batch), e.tail())
			}
		})
	}
	deliveries.Wait()
}

// redeliverInOrder delivers the returned messages of a batch on FIFO until none is returned.
func (e *environment) redeliverInOrder(messages, returned []record, random *rand.Rand) {
	place := map[string]int{}
	for i, m := range messages {
		place[m.id()] = i
	}
	for deliveries := 0; len(returned) > 0; deliveries++ {
		if deliveries > len(messages) {
			e.fleet.t.Errorf("%s: %d messages still come back; log:\n%s", e.doing, len(returned), e.tail())
			return
		}
		slices.SortFunc(returned, func(a, b record) int { return place[a.id()] - place[b.id()] })
		returned = e.deliver(shuffled(kind{fifo: true}, returned, random), plenty)
	}
}
