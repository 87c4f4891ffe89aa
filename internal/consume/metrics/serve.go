package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// unhealthyAfter is how long something may be out of reach before /healthz says so: a supervisor
// that restarts unhealthy processes should not do it in a fail-over.
const unhealthyAfter = 2 * time.Minute

// Handler serves /metrics, and /healthz: 503 when the database or the queue has been out of reach
// for two minutes.
func (m *Metrics) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		status, text := m.health()
		w.WriteHeader(status)
		_, _ = fmt.Fprintln(w, text) // the client has gone
	})
	return mux
}

func (m *Metrics) health() (status int, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	status, text = http.StatusOK, "ok"
	for i, since := range m.down {
		if since.IsZero() {
			continue
		}
		down := m.now().Sub(since)
		text = fmt.Sprintf("the %s is out of reach for %v", parts[i], down.Round(time.Second))
		if down >= unhealthyAfter {
			return http.StatusServiceUnavailable, text
		}
	}
	return status, text
}

// Serve serves the pages on an address, as in 127.0.0.1:9464, until stop is called. When it
// returns, it listens on the address that it returns.
func (m *Metrics) Serve(ctx context.Context, address string) (at string, stop func(), err error) {
	listener, err := listen(ctx, address)
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{
		Handler: m.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // its error is that of Close
	}()
	return listener.Addr().String(), func() {
		_ = server.Close() // nobody needs the pages that are being read
		<-done
	}, nil
}

// CheckAddress returns why Serve cannot listen on an address.
func CheckAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if _, numeric := strconv.ParseUint(port, 10, 16); err != nil || numeric != nil {
		return errors.New("the value is not an address to serve metrics on; expected host:port, as in 127.0.0.1:9464, or :9464 for every address of this machine")
	}
	return nil
}

func listen(ctx context.Context, address string) (net.Listener, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil {
		return listener, nil
	}
	why := err
	if op, ok := errors.AsType[*net.OpError](err); ok {
		why = op.Err // the rest is the address again
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		why = errors.New("another process listens there; use another port")
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		why = errors.New("the host is not an address of this machine; leave it out to listen on all of them")
	}
	return nil, fmt.Errorf("cannot serve metrics on %s: %w", address, why)
}
