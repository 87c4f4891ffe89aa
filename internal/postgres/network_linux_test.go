package postgres_test

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestAFirewallThatDropsPackets has a port whose queue of connections is full: Linux drops what
// comes to it, as a security group does.
func TestAFirewallThatDropsPackets(t *testing.T) {
	t.Parallel()
	listener := listen(t)
	raw, err := listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().String()
	for full := false; !full; {
		c, err := net.DialTimeout("tcp", at, 500*time.Millisecond)
		if full = err != nil; !full {
			t.Cleanup(func() { _ = c.Close() })
		}
	}
	for _, tt := range []struct {
		name, params string
		limit        time.Duration
		late         bool // the context itself never says that its time is over
		deadline     bool
	}{
		{name: "connect_timeout", params: "connect_timeout=1", limit: time.Minute},
		{name: "deadline", limit: 2 * time.Second, deadline: true},
		{name: "deadline, and the network's clock is first", limit: 2 * time.Second, late: true, deadline: true},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), tt.limit)
		if tt.late {
			ctx = late{t.Context(), time.Now().Add(tt.limit)}
		}
		_, err := openStore(t, "postgres://sluice@"+at+"/app?"+tt.params, events).Connect(ctx)
		cancel()
		if err == nil || err.Error() != "connect to the database: no answer from "+at+checkFirewall {
			t.Errorf("%s: got %v", tt.name, err)
		}
		if is := errors.Is(err, context.DeadlineExceeded); is != tt.deadline {
			t.Errorf("%s: the error is the deadline's: %v", tt.name, is)
		}
	}
}

// late is a context whose deadline passes unnoticed.
type late struct {
	context.Context
	deadline time.Time
}

// Deadline implements context.Context.
func (l late) Deadline() (time.Time, bool) { return l.deadline, true }
