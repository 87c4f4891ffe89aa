package credentials

import (
	"context"
	"errors"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// freshFor is how long a secret is served before it is read again.
	freshFor = 5 * time.Minute
	// retryAfter is how long the old one is served after that failed.
	retryAfter = 30 * time.Second
	// refreshPause is the least time between a read and the next one that is
	// forced, and how long an operator's fault stands.
	refreshPause = 5 * time.Second
	// rereadTime is the most that a batch waits for what is only read again.
	rereadTime = 2 * time.Second
)

// kept is a value that is fetched by one caller at a time and kept.
type kept[T any] struct {
	fetch func(context.Context) (T, error)
	// failed is told why the old value is served on.
	failed func(ctx context.Context, age time.Duration, err error)
	clock  *clock
	// turn has room for one: who puts something in may fetch. A mutex cannot
	// be waited for within a context.
	turn chan struct{}

	mu    sync.Mutex
	state state[T] // a copy of it is consistent
}

type state[T any] struct {
	value   T
	have    bool
	fetched time.Time
	// tries counts fetches; the last one ended at tried, with err.
	tries int
	tried time.Time
	err   error
}

func newKept[T any](c *clock, fetch func(context.Context) (T, error), failed func(context.Context, time.Duration, error)) *kept[T] {
	return &kept[T]{fetch: fetch, failed: failed, clock: c, turn: make(chan struct{}, 1)}
}

// get returns the value, fetched if there is none or if it is old. It fails
// only if there is none.
func (k *kept[T]) get(ctx context.Context) (T, error) {
	s := k.load()
	if s.have {
		return k.again(ctx, s), nil
	}
	tries := s.tries
	if err := k.wait(ctx); err != nil {
		return s.value, err
	}
	defer k.done()
	switch s = k.load(); {
	case s.have:
		return s.value, nil
	case s.err != nil && s.tries > tries:
		return s.value, s.err // others waited for the same
	case isOperator(s.err) && k.clock.since(s.tried) < refreshPause:
		return s.value, s.err
	}
	return k.try(ctx)
}

// again returns the value that is there, or a newer one if it is time.
func (k *kept[T]) again(ctx context.Context, s state[T]) T {
	if !k.old(s) {
		return s.value
	}
	select {
	case k.turn <- struct{}{}:
	default:
		return s.value // somebody else is at it
	}
	defer k.done()
	if s = k.load(); !k.old(s) {
		return s.value
	}
	most := rereadTime
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/4)
	}
	short, cancel := within(ctx, most)
	defer cancel()
	value, err := k.try(short)
	if err != nil {
		k.failed(ctx, k.clock.since(s.fetched), err)
		return s.value
	}
	return value
}

func (k *kept[T]) old(s state[T]) bool {
	return k.clock.since(s.fetched) >= freshFor && k.clock.since(s.tried) >= retryAfter
}

// refetch fetches the value unless it is already another than the refused
// one, or was fetched just now. It says whether it is another.
func (k *kept[T]) refetch(ctx context.Context, refused func(T) bool) (value T, another bool, err error) {
	if err := k.wait(ctx); err != nil {
		return value, false, err
	}
	defer k.done()
	s := k.load()
	switch {
	case s.have && !refused(s.value):
		return s.value, true, nil
	case k.clock.since(s.tried) < refreshPause:
		return s.value, false, s.err
	}
	value, err = k.try(ctx)
	return value, err == nil && !refused(value), err
}

// try fetches, and notes what came of it unless it was the caller who ran
// out of time: that says nothing to the others.
func (k *kept[T]) try(ctx context.Context) (T, error) {
	value, err := k.fetch(ctx)
	if err != nil && callersEnd(ctx) != nil {
		return value, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock.time()
	k.state.tries++
	k.state.tried, k.state.err = now, err
	if err == nil {
		k.state.value, k.state.have, k.state.fetched = value, true, now
	}
	return value, err
}

func (k *kept[T]) load() state[T] {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.state
}

func (k *kept[T]) wait(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return &CredentialsError{Cause: message.CauseTransient, text: "no time left to wait for a secret", err: ctx.Err()}
	}
}

func (k *kept[T]) done() { <-k.turn }

// errOurs is why a context ended that within has made.
var errOurs = errors.New("a time-out of ours")

// within bounds a context by a time-out of ours.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, errOurs)
}

// callersEnd returns the context's error if it is not a time-out of ours.
func callersEnd(ctx context.Context) error {
	if errors.Is(context.Cause(ctx), errOurs) {
		return nil
	}
	return ctx.Err()
}
