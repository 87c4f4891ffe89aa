package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/postgres"
)

// tooSlow is the verdict on a row that had time of its own, and did not end.
const tooSlow = "returned: deadline"

// redeliver inserts rows of messages that were received before.
func redeliver(t *testing.T, store *postgres.Store, given time.Duration, rows []row) *outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), given)
	defer cancel()
	b := batchOf(rows)
	b.SetRedelivered(true)
	result, err := store.Insert(ctx, b)
	return &outcome{TB: t, Result: result, err: err, ids: idsOf(rows)}
}

// redeliver is that in time.
func (f *fake) redeliver(t *testing.T, store *postgres.Store, given time.Duration, rows []row) *outcome {
	t.Helper()
	began := time.Now()
	o := redeliver(t, store, given, rows)
	if late := time.Since(began) - given; late > graceFor(given) {
		t.Errorf("the answer is late by %v", late)
	}
	return o
}

// waitsFor makes statements with any of these rows take forever.
func (f *fake) waitsFor(slow ...int64) {
	f.hold = func(ids []int64) time.Duration {
		for _, id := range ids {
			if slices.Contains(slow, id) {
				return forever
			}
		}
		return 5 * time.Millisecond
	}
}

// TestARowThatTakesForever holds its batch up once: the next delivery stores all others, and costs
// a connection for each half that was too slow.
func TestARowThatTakesForever(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3, 10, 1000} {
		for _, slow := range []int64{1, int64(n+1) / 2, int64(n)} {
			for _, connections := range []int{0, 1} {
				bubble(t, fmt.Sprintf("row %d of %d, %d idle connections", slow, n, connections), func(t *testing.T, f *fake) {
					const given = 8 * time.Second
					rows := goods(1, n)
					store := f.open()
					f.warm(store, connections)
					f.waitsFor(slow)

					ctx, cancel := context.WithTimeout(t.Context(), given)
					defer cancel()
					result, err := store.Insert(ctx, batchOf(rows))
					first := &outcome{TB: t, Result: result, err: err, ids: idsOf(rows)}
					first.blames(message.CauseTransient).inserts(0)

					f.traffic()
					others, one := split(rows, map[int64]bool{slow: true})
					o := f.redeliver(t, store, given, rows).blames(message.CauseTransient, fmt.Sprintf("1 of %d rows took too long", n)).inserts(n - 1).verdicts(verdicts{stored: others, tooSlow: one})
					if !errors.Is(o.err, context.DeadlineExceeded) {
						t.Errorf("the error is not the deadline's: %v", o.err)
					}
					if most := 3 + len(fmt.Sprintf("%b", n)); len(f.traffic().dials) > most {
						t.Errorf("more than %d new connections", most)
					}
				})
			}
		}
	}
}

// TestRowsThatTakeForever are many: each delivery stores some of the others, until all are stored.
// Also where they come first, each in a group of its own.
func TestRowsThatTakeForever(t *testing.T) {
	t.Parallel()
	spread := func(n, many int) (slow []int64) {
		for i := range many {
			slow = append(slow, int64((2*i+1)*n/(2*many)))
		}
		return slow
	}
	for _, tt := range []struct {
		name       string
		n          int
		slow       []int64
		isOrdered  bool
		deliveries int
	}{
		{name: "2 of 1,000", n: 1000, slow: spread(1000, 2), deliveries: 2},
		{name: "5 of 1,000", n: 1000, slow: spread(1000, 5), deliveries: 10},
		{name: "20 of 1,000", n: 1000, slow: spread(1000, 20), deliveries: 100},
		{name: "the first 30 of 100, ordered", n: 100, slow: idsOf(goods(1, 30)), isOrdered: true, deliveries: 50},
	} {
		bubble(t, tt.name, func(t *testing.T, f *fake) {
			f.waitsFor(tt.slow...)
			store := f.open()
			left := goods(1, tt.n)
			if tt.isOrdered {
				ownGroups(left)
			}
			inserted := 0
			for delivery := 1; len(left) > len(tt.slow); delivery++ {
				if delivery > tt.deliveries {
					t.Fatalf("%d rows are left", len(left))
				}
				f.traffic()
				o := f.redeliver(t, store, 20*time.Second, left)
				inserted += o.Tallies.Sum().Inserted
				if cost := len(f.traffic().dials); cost > 40 {
					t.Errorf("delivery %d costs %d connections", delivery, cost)
				}
				left = notStored(left, o)
			}
			if want := tt.n - len(tt.slow); inserted != want {
				t.Errorf("%d rows inserted, want %d", inserted, want)
			}
		})
	}
}

// notStored are the rows that come again.
func notStored(rows []row, o *outcome) (again []row) {
	for i, v := range o.Verdicts {
		if v.Outcome != message.Stored {
			again = append(again, rows[i])
		}
	}
	return again
}

// TestABatchThatIsSlowAllOver would be in time on a new connection. On a warm one it has only half
// of the time, and must end all the same.
func TestABatchThatIsSlowAllOver(t *testing.T) {
	t.Parallel()
	const given = 20 * time.Second
	for _, n := range []int{10, 100, 1000} {
		for _, isOrdered := range []bool{false, true} {
			bubble(t, fmt.Sprintf("%d rows, ordered %v", n, isOrdered), func(t *testing.T, f *fake) {
				store := f.open()
				f.warm(store, 1)
				f.hold = func(ids []int64) time.Duration { return time.Duration(len(ids)) * given * 9 / 10 / time.Duration(n) }
				left := goods(1, n)
				if isOrdered {
					left = inGroups(strings.Repeat("ab", n/2), left)
				}
				for delivery := 1; len(left) > 0; delivery++ {
					if delivery > 5 {
						t.Fatalf("%d rows are left", len(left))
					}
					left = notStored(left, f.redeliver(t, store, given, left))
				}
			})
		}
	}
}

// TestAShortTimeIsNotDivided: there is not enough of it for two attempts.
func TestAShortTimeIsNotDivided(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		f.hold = func([]int64) time.Duration { return 600 * time.Millisecond }
		f.redeliver(t, f.open(), 900*time.Millisecond, goods(1, 100)).must().inserts(100)
	})
}

// TestALockThatIsReleasedLate ends in time for the pieces that come after.
func TestALockThatIsReleasedLate(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		released := time.Now().Add(20 * time.Second)
		f.hold = func([]int64) time.Duration { return time.Until(released) }
		f.redeliver(t, f.open(), 30*time.Second, goods(1, 100)).must().inserts(100)
	})
}

// TestABatchInTimeIsNotDivided, also when its messages were received before.
func TestABatchInTimeIsNotDivided(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		const given = 10 * time.Second
		store := f.open()
		for _, connections := range []int{1, 0} { // new ones
			f.hold = func([]int64) time.Duration { return given/2 - time.Millisecond }
			f.redeliver(t, store, given, goods(1, 100)).must().inserts(100)
			if seen := f.traffic(); len(seen.inserted) != 1 || len(seen.dials) != connections {
				t.Errorf("%d statements on %d new connections, want 1 on %d", len(seen.inserted), len(seen.dials), connections)
			}
		}
	})
}

// TestAFaultOfOnePiece is one of its rows, and the others are stored.
func TestAFaultOfOnePiece(t *testing.T) {
	t.Parallel()
	bubble(t, "", func(t *testing.T, f *fake) {
		f.hold = func(ids []int64) time.Duration {
			if len(ids) > 2 {
				return forever
			}
			return 0
		}
		f.refuse = func(ids []int64) string {
			if slices.Contains(ids, 3) {
				return "42P01"
			}
			return ""
		}
		f.redeliver(t, f.open(), 10*time.Second, goods(1, 32)).blames(message.CauseConfiguration, "42P01").inserts(30).
			verdicts(verdicts{configuration: "3-4", stored: "1-2 5-32"})
	})
}

// TestARedeliveredBatchCostsOneRoundTrip as any other does.
func TestARedeliveredBatchCostsOneRoundTrip(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	s.warm()
	b := batchOf(goods(1, 100))
	b.SetRedelivered(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	s.insertBatch(ctx, b, idsOf(goods(1, 100))).must().inserts(100).costs(1)
}

// TestHalvesOfAnOrderedBatch has groups and slow rows at random: nothing is stored that follows a
// row of its group which is not, and nothing before it.
func TestHalvesOfAnOrderedBatch(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T, f *fake) {
			r := rand.New(rand.NewPCG(seed, 1))
			n := 2 + r.IntN(60)
			groups := make([]byte, n)
			for i := range groups {
				groups[i] = byte('a' + r.IntN(1+n/4))
			}
			rows := inGroups(string(groups), goods(1, n))
			var slow []int64
			for range 1 + r.IntN(3) {
				slow = append(slow, rows[r.IntN(n)].id)
			}
			f.waitsFor(slow...)
			o := f.redeliver(t, f.open(), 30*time.Second, rows)

			stopped := map[int]bool{}
			want := verdicts{}
			kinds := map[string][]int64{}
			for _, row := range rows {
				kind := stored
				switch {
				case stopped[row.group]:
					kind = afterStopped
				case slices.Contains(slow, row.id):
					kind = tooSlow
					stopped[row.group] = true
				}
				kinds[kind] = append(kinds[kind], row.id)
			}
			for kind, ids := range kinds {
				want[kind] = ranges(ids)
			}
			o.verdicts(want).inserts(len(kinds[stored]))
			group := map[int64]int{}
			for _, row := range rows {
				group[row.id] = row.group
			}
			last := map[int]int64{}
			for _, id := range slices.Concat(f.traffic().inserted...) { // ids are in order
				if id <= last[group[id]] {
					t.Errorf("row %d of a group is inserted after row %d", id, last[group[id]])
				}
				last[group[id]] = id
			}
			if strings.Contains(fmt.Sprint(o.err), canary) {
				t.Errorf("the error quotes a row: %v", o.err)
			}
		})
	}
}

// TestATriggerThatSleepsOnOneRow is the same on a real server, however slow: messages are delivered
// until only those are left that have to be.
func TestATriggerThatSleepsOnOneRow(t *testing.T) {
	t.Parallel()
	for name, groups := range map[string]string{"unordered": "", "ordered": "bcbacabcbc"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inModes(t, func(t *testing.T, mode string) {
				s := newSite(t, setup{mode: mode, sql: createEvents + `
					CREATE FUNCTION doze() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.n = 2 THEN PERFORM pg_sleep(1000); END IF; RETURN NEW; END $$;
					CREATE TRIGGER doze BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION doze()`})
				left, want := goods(1, 10), "1-3 5-10"
				if groups != "" {
					left, want = inGroups(groups, left), "1-3 5 7-10"
				}
				two(&left[3])
				inserted := 0
				for deliveries := 0; s.stored() != want && deliveries < 20; deliveries++ {
					o := redeliver(t, s.store, 4*time.Second, left)
					inserted += o.Tallies.Sum().Inserted
					left = notStored(left, o)
				}
				// A row that is committed when the time is up, and not confirmed any more, is a duplicate
				// to the next delivery.
				if got := s.stored(); got != want || inserted > 10-len(left) {
					t.Errorf("stored %s and counted %d rows, want %s; %d are left", got, inserted, want, len(left))
				}
				eventually(t, "no statement sleeps", func() bool {
					return s.sessions("wait_event = 'PgSleep'") == 0
				})
			})
		})
	}
}
