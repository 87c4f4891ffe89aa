//go:build awslocal

package awslocal_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
)

type peeked struct {
	Visible int
	Reasons []struct {
		Reason, Field, Constraint string
		Messages                  int
	}
}

func (p peeked) reasons() map[string]int {
	m := map[string]int{}
	for _, r := range p.Reasons {
		m[r.Reason] += r.Messages
	}
	return m
}

type redriven struct{ Sent, Deleted, Meant int }

// TestRejectedAndRedriven checks that invalid messages, and those that the database refuses, reach
// the dead-letter queue with their reason, and are stored when they are fixed and redriven.
func TestRejectedAndRedriven(t *testing.T) {
	t.Parallel()
	for _, fifo := range []bool{false, true} {
		name, attributes, send := "standard", map[string]string{}, []string{"send", "--raw", "-"}
		if fifo {
			name, attributes = "FIFO", map[string]string{"FifoQueue": "true"}
			send = append(send, "--group", canary) // a group is no less personal than a body
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rejectedAndRedriven(t, newFixture(t, attributes), send)
		})
	}
}

func rejectedAndRedriven(t *testing.T, s *fixture, send []string) {
	const good, refused = 60, 5
	var toasters strings.Builder
	for i := range refused {
		toasters.WriteString(login(fmt.Sprintf("toaster-%d", i), "toaster") + "\n")
	}
	s.db.Exec(t, "ALTER TABLE user_logins ADD CONSTRAINT not_here CHECK (device_type <> 'toaster')")
	s.sluice(t, logins(0, good/2)+malformedLines()+toasters.String()+logins(good/2, good/2), send...)
	got := decode[summary](t, s, "consume", "--json")
	if got.Stored != good || got.Rejected != len(malformed)+refused || got.DeadLettered != got.Rejected || got.Ended != "empty" {
		t.Errorf("got %+v", got)
	}
	s.wantRows(t, good)
	s.wantCount(t, s.queue, 0)

	want := map[string]int{"refused_by_database": refused}
	for reason := range malformed {
		want[reason] = 1
	}
	look := decode[peeked](t, s, "peek", "--json")
	if !maps.Equal(look.reasons(), want) {
		t.Errorf("the reasons are %v, want %v", look.reasons(), want)
	}
	s.wantCount(t, s.dead, len(malformed)+refused)
	if s.sluice(t, "", "peek"); t.Failed() {
		return
	}

	if dry := decode[redriven](t, s, "redrive", "--dry-run", "--json", "--reason", "refused_by_database"); dry.Sent != 0 {
		t.Errorf("a dry run sent %d", dry.Sent)
	}
	s.wantCount(t, s.queue, 0)
	s.db.Exec(t, "ALTER TABLE user_logins DROP CONSTRAINT not_here")
	if back := decode[redriven](t, s, "redrive", "--json", "--reason", "refused_by_database"); back.Sent != refused || back.Deleted != refused {
		t.Errorf("got %+v, want %d sent and deleted", back, refused)
	}
	if again := decode[summary](t, s, "consume", "--json"); again.Stored != refused {
		t.Errorf("got %+v", again)
	}
	s.wantRows(t, good+refused)

	// The invalid messages go around once more: a FIFO queue must not take them for duplicates.
	if back := decode[redriven](t, s, "redrive", "--json"); back.Sent != len(malformed) || back.Deleted != len(malformed) {
		t.Errorf("got %+v, want %d sent and deleted", back, len(malformed))
	}
	if again := decode[summary](t, s, "consume", "--json"); again.DeadLettered != len(malformed) {
		t.Errorf("got %+v", again)
	}
	s.wantCount(t, s.queue, 0)
	s.wantCount(t, s.dead, len(malformed))
	var checked struct {
		Errors   int
		Findings []struct{ Severity, About, Rule, What string }
	}
	if err := json.Unmarshal([]byte(s.sluice(t, "", "check", "--json")), &checked); err != nil || checked.Errors != 0 {
		t.Errorf("check: %v, %+v", err, checked)
	}
}

// TestFIFOGroupsKeepTheirOrder has 20 groups with bad messages, connections that break, and two
// consumers: the rows of every group come in its order.
func TestFIFOGroupsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const groups, each = 20, 24
	s := newFixture(t, map[string]string{"FifoQueue": "true", "VisibilityTimeout": "5"})
	s.db.Exec(t, "ALTER TABLE user_logins ADD COLUMN seq bigserial")
	var lines strings.Builder
	for i := range each {
		for g := range groups {
			if i == g%each {
				fmt.Fprintf(&lines, `{"user_id":"g-%d","ip":%q}`+"\n", g, canary)
			} else {
				lines.WriteString(login(fmt.Sprintf("g-%d", g), strconv.Itoa(i)) + "\n")
			}
		}
	}
	s.sluice(t, lines.String(), "send", "-", "--group-field", "user_id", "--dedup", "line")

	proxy := pgtest.NewProxy(t, s.db.URL)
	s.settings["PG_URL"] = proxy.URL
	consumers := []*process{s.start(t, "", "consume", "--forever"), s.start(t, "", "consume", "--forever")}
	rng := rand.New(rand.NewPCG(1, 2))
	eventually(t, 3*time.Minute, func() string {
		if n := s.rows(t); n < groups*(each-1) {
			time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
			proxy.Cut()
			return fmt.Sprintf("%d rows", n)
		}
		return ""
	})
	eventually(t, time.Minute, func() string {
		queue, dead := s.count(t, s.queue), s.count(t, s.dead)
		if queue != [3]int{} || dead != [3]int{groups} {
			return fmt.Sprintf("the queue has %v, the dead-letter queue %v", queue, dead)
		}
		return ""
	})
	for _, c := range consumers {
		c.signal(syscall.SIGTERM)
		c.exits(0)
	}
	for _, row := range s.db.Rows(t, "SELECT user_id, array_agg(device_type::int ORDER BY seq)::text FROM user_logins GROUP BY user_id") {
		order := strings.Split(strings.Trim(row[1], "{}"), ",")
		if len(order) != each-1 || !slices.IsSortedFunc(order, func(a, b string) int {
			x, _ := strconv.Atoi(a) // integers, as the query says
			y, _ := strconv.Atoi(b)
			return x - y
		}) {
			t.Errorf("group %s: %v", row[0], order)
		}
	}
	s.wantCount(t, s.dead, groups)
}

func TestManyConsumers(t *testing.T) {
	t.Parallel()
	for _, consumers := range []int{2, 10} {
		t.Run(strconv.Itoa(consumers), func(t *testing.T) {
			const n = 2000
			s := newFixture(t, nil)
			s.sluice(t, logins(0, n), "send", "-")
			var wg sync.WaitGroup
			stored := make([]int, consumers)
			for i := range consumers {
				wg.Go(func() {
					p := s.start(t, "", "consume", "--json")
					<-p.done
					var got summary
					if err := json.Unmarshal(p.stdout.Bytes(), &got); err != nil || got.Ended != "empty" {
						t.Errorf("%v, %s%s", err, p.stdout.String(), p.stderr.String())
					}
					if strings.Contains(p.stderr.String(), "deadlock") {
						t.Errorf("a deadlock shows: %s", p.stderr.String())
					}
					stored[i] = got.Stored
				})
			}
			wg.Wait()
			s.wantRows(t, n)
			s.wantCount(t, s.queue, 0)
			t.Logf("stored by each: %v", stored)
		})
	}
}

// TestStopped sends SIGTERM at random: nothing is in flight when the process has ended, and nothing
// is lost.
func TestStopped(t *testing.T) {
	t.Parallel()
	const n, stops = 3000, 8
	s := newFixture(t, map[string]string{"VisibilityTimeout": "600"})
	s.sluice(t, logins(0, n), "send", "-")
	for range stops {
		p := s.start(t, "", "consume", "--forever", "--batch-size", "100")
		p.says(`"msg":"consuming"`) // before that a signal just kills it
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
		p.signal(syscall.SIGTERM)
		p.exits(0)
		// An emulator may hand out a message to a client that has gone; it stays in flight, since
		// nobody reads the response.
		if counts := s.count(t, s.queue); counts[1] != 0 {
			t.Errorf("%d messages are in flight", counts[1])
		}
	}
	before := s.rows(t)
	s.sluice(t, "", "consume")
	s.wantRows(t, n)
	t.Logf("stopped %d times; %d of %d rows were there then", stops, before, n)
}
