package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
)

// graceFor returns how long after its context an Insert may take.
func graceFor(given time.Duration) time.Duration { return min(400*time.Millisecond, given/4) }

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, name string, test func(t *testing.T, f *fake)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { test(t, newFake(t)) })
	})
}

// TestTheAnswerComesBeforeTheDeadline has a network that falls silent at any moment: a third of the
// time, reserved for the answer, is enough.
func TestTheAnswerComesBeforeTheDeadline(t *testing.T) {
	t.Parallel()
	moments := map[string]func(f *fake, given time.Duration){
		"before": func(f *fake, _ time.Duration) { f.mute(true) },
		"while the statement runs": func(f *fake, _ time.Duration) {
			f.hold = func([]int64) time.Duration { f.mute(true); return 0 }
		},
		"when it is cancelled": func(f *fake, _ time.Duration) {
			f.hold = func([]int64) time.Duration { return forever }
			f.dialing = func(n int) error {
				if n == 0 {
					return errSilent
				}
				return nil
			}
		},
		"when it has been cancelled": func(f *fake, given time.Duration) {
			f.hold = func([]int64) time.Duration { return forever }
			time.AfterFunc(given, func() { f.mute(true) })
		},
	}
	for _, given := range []time.Duration{100 * time.Millisecond, 400 * time.Millisecond, 600 * time.Millisecond, time.Second, 1200 * time.Millisecond, 3 * time.Second, time.Minute} {
		for moment, falls := range moments {
			for _, connections := range []int{0, 1, 2} {
				for _, redelivered := range []bool{false, true} {
					bubble(t, fmt.Sprintf("%v, silent %s, %d idle connections, redelivered %v", given, moment, connections, redelivered), func(t *testing.T, f *fake) {
						store := f.open()
						f.warm(store, connections)
						falls(f, given)
						ctx, cancel := context.WithTimeout(t.Context(), given)
						defer cancel()
						deadline, _ := ctx.Deadline()
						b := batchOf(goods(10, 10))
						b.SetRedelivered(redelivered)
						result, err := store.Insert(ctx, b)
						late := time.Since(deadline)
						if late > graceFor(given) {
							t.Errorf("the answer is late by %v, want at most %v", late, graceFor(given))
						}
						if cause := causeOf(err); cause != message.CauseTransient || result.Tallies.Sum().Inserted != 0 {
							t.Errorf("got %d rows inserted and error %v, want none and a transient one", result.Tallies.Sum().Inserted, err)
						}
					})
				}
			}
		}
	}
}

// TestTheAnswerWaitsForNoRequestToCancel has a statement that ends by itself while the request to
// cancel it is under way to a silent host.
func TestTheAnswerWaitsForNoRequestToCancel(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		const given, after = time.Second, 10 * time.Millisecond
		f.hold = func([]int64) time.Duration { return given + after }
		f.dialing = func(n int) error {
			if n == 0 {
				return errSilent
			}
			return nil
		}
		store := f.open()
		ctx, cancel := context.WithTimeout(t.Context(), given)
		defer cancel()
		began := time.Now()
		_, _ = store.Insert(ctx, batchOf(goods(1, 1))) // whatever it says of the rows
		if took := time.Since(began); took != given+after {
			t.Errorf("the answer took %v, want %v", took, given+after)
		}
	})
}

// TestAConnectionThatWentSilent costs half of the time: the rest is for a new one, and no other
// idle connection is tried.
func TestAConnectionThatWentSilent(t *testing.T) {
	t.Parallel()
	for _, given := range []time.Duration{400 * time.Millisecond, time.Second, 30 * time.Second} {
		for name, try := range map[string]func(context.Context, *postgres.Store) error{
			"insert": func(ctx context.Context, s *postgres.Store) error {
				result, err := s.Insert(ctx, batchOf(goods(10, 10)))
				if err == nil && result.Tallies.Sum().Inserted != 10 {
					err = fmt.Errorf("%d rows inserted", result.Tallies.Sum().Inserted)
				}
				return err
			},
			"insert again": func(ctx context.Context, s *postgres.Store) error {
				b := batchOf(goods(10, 10))
				b.SetRedelivered(true)
				_, err := s.Insert(ctx, b)
				return err
			},
			"ping": func(ctx context.Context, s *postgres.Store) error { return s.Ping(ctx) },
		} {
			bubble(t, fmt.Sprintf("%s, %v", name, given), func(t *testing.T, f *fake) {
				const connections = 3
				store := f.open()
				f.warm(store, connections)
				f.mute(false)
				f.traffic()
				ctx, cancel := context.WithTimeout(t.Context(), given)
				defer cancel()
				if err := try(ctx, store); err != nil {
					t.Error(err)
				}
				if seen := f.traffic(); ctx.Err() != nil || len(seen.dials) != 1 || len(seen.inserted) > 1 {
					t.Errorf("%v; %d new connections and %d statements, want one of each", ctx.Err(), len(seen.dials), len(seen.inserted))
				}
				time.Sleep(time.Minute)
				f.traffic()
				f.warm(store, connections)
				if seen := f.traffic(); len(seen.dials) != connections-1 || seen.cancels != 0 {
					t.Errorf("of %d at once %d have new connections and %d are cancelled; want all but one, and none", connections, len(seen.dials), seen.cancels)
				}
			})
		}
	}
}

// TestAServerThatIsNotThereYet has the whole budget for new connections after one that went silent.
func TestAServerThatIsNotThereYet(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		const given = time.Minute
		store := f.open()
		f.warm(store, 1)
		f.mute(false)
		back := time.Now().Add(given/2 + 4*time.Second)
		f.dialing = func(n int) error {
			if n > 0 && time.Now().Before(back) {
				return syscall.ECONNREFUSED
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), given)
		defer cancel()
		if _, err := store.Insert(ctx, batchOf(goods(10, 10))); err != nil {
			t.Error(err)
		}
	})
}

// TestAStatementThatTakesLong has half of the time on a warm connection, unless the server sends
// something; then all of it, as on a new one.
func TestAStatementThatTakesLong(t *testing.T) {
	t.Parallel()
	const given = 10 * time.Second
	for _, tt := range []struct {
		name         string
		connections  int
		chatty       bool
		takes        time.Duration
		stored       bool
		newer, asked int // connections, and requests to cancel
	}{
		{name: "new connection", takes: 9 * time.Second, stored: true, newer: 1},
		{name: "warm connection, in time", connections: 1, takes: 4 * time.Second, stored: true},
		{name: "warm connection, and half of the time is enough", connections: 1, takes: 4900 * time.Millisecond, stored: true},
		{name: "warm connection, too long", connections: 1, takes: 6 * time.Second, newer: 1, asked: 2},
		{name: "warm connection that is heard", connections: 1, chatty: true, takes: 9 * time.Second, stored: true},
		{name: "warm connection, and a lock that is released", connections: 1, takes: -7 * time.Second, stored: true, newer: 1, asked: 1},
		{name: "warm connections, and a lock that is released", connections: 2, takes: -7 * time.Second, stored: true, newer: 1, asked: 1},
	} {
		bubble(t, tt.name, func(t *testing.T, f *fake) {
			store := f.open()
			f.warm(store, tt.connections)
			f.traffic()
			f.chatty = tt.chatty
			began := time.Now()
			f.hold = func([]int64) time.Duration {
				if tt.takes < 0 { // since the beginning, whoever waits
					return -tt.takes - time.Since(began)
				}
				return tt.takes
			}
			ctx, cancel := context.WithTimeout(t.Context(), given)
			defer cancel()
			_, err := store.Insert(ctx, batchOf(goods(10, 10)))
			if (err == nil) != tt.stored {
				t.Errorf("got %v after %v", err, time.Since(began))
			}
			if seen := f.traffic(); len(seen.dials) != tt.newer || seen.cancels < tt.asked || tt.asked == 0 && seen.cancels > 0 {
				t.Errorf("%d new connections and %d requests to cancel, want %d and %d", len(seen.dials), seen.cancels, tt.newer, tt.asked)
			}
		})
	}
}

// TestTheBudgetIsSpent has errors at once: the pauses between the attempts grow, and the last
// attempt is at the end of the time for it.
func TestTheBudgetIsSpent(t *testing.T) {
	t.Parallel()
	faults := map[string]func(f *fake, until time.Time){
		"connection refused": func(f *fake, until time.Time) {
			f.dialing = func(int) error {
				if time.Now().Before(until) {
					return syscall.ECONNREFUSED
				}
				return nil
			}
		},
	}
	for _, state := range []string{"53300", "57P03"} {
		faults[state] = func(f *fake, until time.Time) {
			f.login = func(int) string {
				if time.Now().Before(until) {
					return state
				}
				return ""
			}
		}
	}
	for name, fails := range faults {
		for given, last := range map[time.Duration]time.Duration{
			0:                      5 * time.Second, // no deadline
			time.Minute:            5 * time.Second,
			3 * time.Second:        2750 * time.Millisecond,
			400 * time.Millisecond: 300 * time.Millisecond,
		} {
			begin := func(t *testing.T) (context.Context, context.CancelFunc) {
				if given == 0 {
					return context.WithCancel(t.Context())
				}
				return context.WithTimeout(t.Context(), given)
			}
			bubble(t, fmt.Sprintf("%s to the end, in %v", name, given), func(t *testing.T, f *fake) {
				store := f.open()
				began := time.Now()
				fails(f, began.Add(forever))
				ctx, cancel := begin(t)
				defer cancel()
				_, err := store.Insert(ctx, batchOf(goods(1, 3)))
				if cause := causeOf(err); cause != message.CauseTransient || ctx.Err() != nil {
					t.Errorf("got %v, and %v", err, ctx.Err())
				}
				dials := f.traffic().dials
				if at := dials[len(dials)-1].Sub(began); at != last {
					t.Errorf("the last attempt is at %v, want %v", at, last)
				}
				for i, at := range dials[1:] {
					if pause := at.Sub(dials[i]); pause > 1500*time.Millisecond || i < 4 && pause > 3*(50<<i)*time.Millisecond/2 {
						t.Errorf("pause %d is %v", i+1, pause)
					}
				}
				if n := len(dials); n > 25 {
					t.Errorf("%d attempts", n)
				}
			})
			bubble(t, fmt.Sprintf("%s and then no more, in %v", name, given), func(t *testing.T, f *fake) {
				store := f.open()
				fails(f, time.Now().Add(last-time.Millisecond))
				ctx, cancel := begin(t)
				defer cancel()
				if result, err := store.Insert(ctx, batchOf(goods(1, 3))); err != nil || result.Tallies.Sum().Inserted != 3 {
					t.Errorf("got %d rows inserted and error %v", result.Tallies.Sum().Inserted, err)
				}
			})
		}
	}
}

// TestWhatTheTimeWentTo has attempts that meet a full disk, and a last one that its deadline ends:
// the error has both.
func TestWhatTheTimeWentTo(t *testing.T) {
	t.Parallel()
	for name, redelivered := range map[string]bool{"once": false, "again": true} {
		bubble(t, name, func(t *testing.T, f *fake) {
			var began time.Time
			f.refuse = func([]int64) string { return "53100" }
			f.hold = func([]int64) time.Duration {
				if time.Since(began) < 700*time.Millisecond {
					return 5 * time.Millisecond
				}
				return forever
			}
			store := f.open()
			began = time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			b := batchOf(goods(1, 3))
			b.SetRedelivered(redelivered)
			_, err := store.Insert(ctx, b)
			if cause := causeOf(err); cause != message.CauseTransient || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "53100 (disk_full)") {
				t.Errorf("got %v, want the deadline and the full disk", err)
			}
		})
	}
}

// TestASimulationSpendsTheBudgetToo waits without taking time.
func TestASimulationSpendsTheBudgetToo(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		var waited time.Duration
		f.dialing = func(int) error { return syscall.ECONNREFUSED }
		store := f.open(postgres.WithSleep(func(_ context.Context, d time.Duration) bool { waited += d; return true }))
		if _, err := store.Insert(t.Context(), batchOf(goods(1, 3))); err == nil {
			t.Error("no error")
		}
		if waited != 5*time.Second {
			t.Errorf("waited %v in all, want 5 seconds", waited)
		}
	})
}
