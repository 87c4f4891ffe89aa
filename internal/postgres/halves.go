package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

const (
	// leastShare is the least time that a piece of a batch is tried with: it may have to connect
	// first.
	leastShare = 250 * time.Millisecond
	// maxSlowPieces is how many pieces may be too slow: each costs a login. So no piece gets less
	// than the time left, divided by it.
	maxSlowPieces = 32
	// leastDivided is the least time left for a batch that is divided when it has used half of
	// that.
	leastDivided = 4 * leastShare
)

// halves is the work on a batch that is too slow for its deadline: it is stored in pieces, each by
// a transaction of its own, and what is too slow again in halves of that. So a row that waits for
// something, in a trigger or for a lock, does not hold up the others forever.
type halves struct {
	*piece                     // the whole batch
	least        time.Duration // for any piece
	pace         time.Duration // for each row of it
	depthFirstAt time.Time     // from then on halves go before other pieces
	queue        [][]int       // the pieces that are still to be tried, as rows
	// stopped are the message groups with a row that is not stored: nothing that follows it may be.
	stopped map[int]bool
	late    int // rows that took too long
	rowsErr error
}

// halve stores a batch that was too slow as a whole, and completes its result.
//
// Perhaps all rows are a bit slow. Then the time left, which is about what was used, is enough for
// those rows that the whole had come to. So each row gets its part of twice that time, and the
// first pieces are so small that several can be tried.
func (p *piece) halve(ctx context.Context) error {
	deadline, _ := ctx.Deadline() // it has one, or nothing would be too slow for it
	left := time.Until(deadline)
	h := &halves{piece: p, least: max(leastShare, left/maxSlowPieces), pace: 2 * left / time.Duration(len(p.rows)), depthFirstAt: deadline.Add(-left / 2), stopped: map[int]bool{}}
	clear(h.result.Verdicts)
	h.queue = sixteenths(h.grouped(p.rows))
	if !h.batch.HasGroups() {
		// What is slow again and again must not come first each time.
		rand.Shuffle(len(h.queue), func(i, j int) { h.queue[i], h.queue[j] = h.queue[j], h.queue[i] }) //nolint:gosec // a shuffle
	}
	for len(h.queue) > 0 {
		rows := slices.DeleteFunc(slices.Clone(h.queue[0]), h.follows)
		share, ok := h.share(ctx, len(rows))
		h.queue = h.queue[1:]
		switch {
		case len(rows) == 0:
		case ok:
			h.try(ctx, rows, share)
		case errors.Is(ctx.Err(), context.Canceled):
			for _, row := range rows {
				h.record(row, message.Verdict{})
			}
		default:
			h.overdue(rows)
		}
	}
	h.confirm()
	return h.why(ctx)
}

// sixteenths halves rows four times.
func sixteenths(rows []int) [][]int {
	pieces := [][]int{rows}
	for range 4 {
		var next [][]int
		for _, piece := range pieces {
			next = append(next, halved(piece)...)
		}
		pieces = next
	}
	return pieces
}

// halved returns the two halves of a piece; a single row has one.
func halved(rows []int) [][]int {
	middle := len(rows) / 2
	if middle == 0 {
		return [][]int{rows}
	}
	return [][]int{rows[:middle:middle], rows[middle:]}
}

// grouped sorts rows with message groups group by group. The order of the groups is random, as that
// of pieces is where rows have no groups.
func (h *halves) grouped(rows []int) []int {
	if !h.batch.HasGroups() {
		return rows
	}
	place := map[int]int{}
	for _, i := range rows {
		if group := h.batch.Group(i); place[group] == 0 {
			place[group] = 1 + rand.Int() //nolint:gosec // a shuffle
		}
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b int) int { return cmp.Compare(place[h.batch.Group(a)], place[h.batch.Group(b)]) })
	return rows
}

// divide queues the halves of a piece. They come after the other pieces, so that these wait for one
// share of time only. With slow rows everywhere that would store nothing: so halves come first when
// half of the time is up. Where rows have an order they always do: none may overtake.
func (h *halves) divide(rows []int) {
	if h.batch.HasGroups() || time.Now().After(h.depthFirstAt) {
		h.queue = slices.Concat(halved(rows), h.queue)
	} else {
		h.queue = append(h.queue, halved(rows)...)
	}
}

// follows reports whether a row follows one of its message group that is not stored, and returns it
// then.
func (h *halves) follows(row int) bool {
	stopped := h.stopped[h.batch.Group(row)]
	if stopped {
		h.result.Verdicts[row] = message.Verdict{Cause: message.CauseGroup}
	}
	return stopped
}

// share returns the time for the first piece in the queue, of n rows: what its rows get, and at
// most half of what is left; or, if that is more, an equal part of what is left for each piece and
// each halving on its way to a single row. It reports whether that is enough to begin.
func (h *halves) share(ctx context.Context, n int) (time.Duration, bool) {
	deadline, _ := ctx.Deadline()
	left := time.Until(deadline)
	parts := 0
	for _, rows := range h.queue {
		parts += 1 + bits.Len(uint(len(rows)-1))
	}
	share := max(left/time.Duration(parts), min(time.Duration(n)*h.pace, left/2), h.least)
	return share, left >= h.least && ctx.Err() == nil
}

// try stores a piece, or puts its halves into the queue.
func (h *halves) try(ctx context.Context, rows []int, share time.Duration) {
	limited, stop := context.WithTimeout(ctx, share)
	defer stop()
	p := h.store.piece(h.batch, rows, h.grace.forPart(share))
	p.part = true
	_, err := p.persist(limited)
	h.result.RoundTrips += p.result.RoundTrips
	h.fresh.Add(p.fresh)
	h.lastErr = cmp.Or(p.lastErr, h.lastErr)
	inTime := err == nil || limited.Err() == nil
	switch {
	case !inTime && ctx.Err() == nil && len(rows) > 1:
		h.divide(rows)
	case !inTime && !errors.Is(ctx.Err(), context.Canceled):
		h.overdue(rows)
	default:
		cause := causeOf(err)
		for _, row := range rows {
			v := p.result.Verdicts[row]
			if v.Outcome == message.Returned {
				v.Cause = cmp.Or(v.Cause, cause)
			}
			h.record(row, v)
		}
		if h.rowsErr == nil || cause == message.CauseConfiguration {
			h.rowsErr = err
		}
	}
}

// overdue returns rows that took too long.
func (h *halves) overdue(rows []int) {
	h.late += len(rows)
	for _, row := range rows {
		h.record(row, message.Verdict{Cause: message.CauseDeadline})
	}
}

// record keeps the verdict on a row, and stops its message group if it is not stored.
func (h *halves) record(row int, v message.Verdict) {
	h.result.Verdicts[row] = v
	if group := h.batch.Group(row); group != 0 && v.Outcome != message.Stored {
		h.stopped[group] = true
	}
}

// why returns why rows are returned.
func (h *halves) why(ctx context.Context) error {
	switch {
	case h.rowsErr != nil:
		return h.rowsErr
	case errors.Is(ctx.Err(), context.Canceled):
		return h.store.whyEnded(ctx, h.store.inserting(h.batch, h.rows), ctx.Err())
	case h.late == 0:
		return nil
	}
	return outOfTime(databaseError(fault.Error{
		Cause:  message.CauseTransient,
		What:   fmt.Sprintf("%s: %d of %d rows took too long, in ever smaller pieces", h.store.inserting(h.batch, h.rows), h.late, h.batch.Len()),
		Remedy: "look for a trigger that waits, or in pg_locks for a lock; else give the function more time or smaller batches",
		Err:    context.DeadlineExceeded,
	}), h.lastErr)
}
