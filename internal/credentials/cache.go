package credentials

import (
	"context"
	"errors"
	"sync"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

const (
	// freshFor is how long a secret is served before it is read again.
	freshFor = 5 * time.Minute
	// retryAfter is how long the old one is served after that failed.
	retryAfter = 30 * time.Second
	// refreshPause is the least time between a read and the next forced one, and
	// how long a configuration error stands.
	refreshPause = 5 * time.Second
	// rereadTime limits how long a batch waits for a secret to be read again.
	rereadTime = 2 * time.Second
)

// cache is a value that one caller at a time fetches.
type cache[T any] struct {
	fetch func(context.Context) (T, error)
	// stale is told why the old value is still served.
	stale func(ctx context.Context, age time.Duration, err error)
	clock *clock
	// turn has room for one: who puts something in may fetch. A mutex cannot be
	// waited for with a context.
	turn chan struct{}

	mu    sync.Mutex
	entry entry[T]
}

// entry is the state of a cache; a copy of it is consistent.
type entry[T any] struct {
	value   T
	have    bool
	fetched time.Time
	// tries counts fetches; the last one ended at tried, with err.
	tries int
	tried time.Time
	err   error
}

func newCache[T any](c *clock, fetch func(context.Context) (T, error), stale func(context.Context, time.Duration, error)) *cache[T] {
	return &cache[T]{fetch: fetch, stale: stale, clock: c, turn: make(chan struct{}, 1)}
}

// get returns the value, fetched if there is none or if it is old. It fails
// only if there is none.
func (c *cache[T]) get(ctx context.Context) (T, error) {
	e := c.load()
	if e.have {
		return c.refresh(ctx, e), nil
	}
	tries := e.tries
	if err := c.acquire(ctx); err != nil {
		return e.value, err
	}
	defer c.release()
	switch e = c.load(); {
	case e.have:
		return e.value, nil
	case e.err != nil && e.tries > tries:
		return e.value, e.err // others waited for the same
	case isMisconfigured(e.err) && c.clock.since(e.tried) < refreshPause:
		return e.value, e.err
	}
	return c.try(ctx)
}

// refresh returns the value that is there, or a newer one if it is old.
func (c *cache[T]) refresh(ctx context.Context, e entry[T]) T {
	if !c.old(e) {
		return e.value
	}
	select {
	case c.turn <- struct{}{}:
	default:
		return e.value // another caller fetches
	}
	defer c.release()
	if e = c.load(); !c.old(e) {
		return e.value
	}
	limit := rereadTime
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline)/4)
	}
	limited, cancel := withLimit(ctx, limit)
	defer cancel()
	value, err := c.try(limited)
	if err != nil {
		c.stale(ctx, c.clock.since(e.fetched), err)
		return e.value
	}
	return value
}

func (c *cache[T]) old(e entry[T]) bool {
	return c.clock.since(e.fetched) >= freshFor && c.clock.since(e.tried) >= retryAfter
}

// replace returns a value that isRefused does not call refused. It fetches,
// unless the value is already such, or was fetched just now. ok is false when
// it found none.
func (c *cache[T]) replace(ctx context.Context, isRefused func(T) bool) (value T, ok bool, err error) {
	if err := c.acquire(ctx); err != nil {
		return value, false, err
	}
	defer c.release()
	e := c.load()
	switch {
	case e.have && !isRefused(e.value):
		return e.value, true, nil
	case c.clock.since(e.tried) < refreshPause:
		return e.value, false, e.err
	}
	value, err = c.try(ctx)
	return value, err == nil && !isRefused(value), err
}

// try fetches, and records the outcome, unless the caller ran out of time:
// that says nothing to the others.
func (c *cache[T]) try(ctx context.Context) (T, error) {
	value, err := c.fetch(ctx)
	if err != nil && callerErr(ctx) != nil {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.time()
	c.entry.tries++
	c.entry.tried, c.entry.err = now, err
	if err == nil {
		c.entry.value, c.entry.have, c.entry.fetched = value, true, now
	}
	return value, err
}

func (c *cache[T]) load() entry[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entry
}

// acquire waits for the turn to fetch.
func (c *cache[T]) acquire(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &fault.Error{
			Source: fault.Credentials, Cause: message.CauseTransient, Err: ctx.Err(),
			What: "wait for a secret: " + fault.Stopped(ctx.Err()),
		}
	}
}

func (c *cache[T]) release() { <-c.turn }

// errLimit is why a context ended that withLimit made.
var errLimit = errors.New("this package's time limit")

// withLimit limits ctx to d, so that callerErr can tell that limit from the caller's.
func withLimit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, errLimit)
}

// callerErr returns the context's error, unless a limit of withLimit ended it.
func callerErr(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errLimit) {
		return nil
	}
	return ctx.Err()
}
