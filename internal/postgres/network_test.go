package postgres_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// listen opens a port of this machine. The system accepts connections, and nobody answers.
func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// serve answers those who connect, each by itself, until the listener is closed. The connection
// closes when handle returns.
func serve(l net.Listener, handle func(net.Conn)) net.Listener {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l
}

// join passes on what each side says, until one of them closes.
func join(from, to net.Conn) {
	go func() { _, _ = io.Copy(to, from); _ = to.Close() }()
	_, _ = io.Copy(from, to)
}

const checkFirewall = " in time; check host and port in DATABASE_URL, and that its firewall or security group lets this network in"

// TestAHostThatIsSilent wants an error that names the host and what to do, and is the deadline's
// only if the caller's time is up.
func TestAHostThatIsSilent(t *testing.T) {
	t.Parallel()
	port := func(l net.Listener) string { return fmt.Sprint(l.Addr().(*net.TCPAddr).Port) }
	const nobody = "127.0.0.1:1"
	a, b, called := listen(t), listen(t), listen(t)
	at, other := a.Addr().String(), b.Addr().String()
	for _, tt := range []struct {
		name, host, params string
		limit              time.Duration // of the caller
		want               string
		ended              error
	}{
		{name: "until the deadline", host: at, params: "sslmode=disable", limit: 2 * time.Second, want: "no answer from " + at + checkFirewall, ended: context.DeadlineExceeded},
		{name: "with TLS", host: at, params: "sslmode=require", limit: 2 * time.Second, want: "no answer from " + at + checkFirewall, ended: context.DeadlineExceeded},
		{name: "for longer than connect_timeout", host: at, params: "sslmode=disable&connect_timeout=1", limit: time.Minute, want: "no answer from " + at + checkFirewall},
		{name: "for longer than anybody waits", host: at, params: "sslmode=disable", limit: time.Minute, want: "no answer from " + at + checkFirewall},
		{name: "without a limit of its own", host: at, params: "sslmode=disable&connect_timeout=0", limit: 6 * time.Second, want: "no answer from " + at + checkFirewall, ended: context.DeadlineExceeded},
		{name: "a name", host: "localhost:" + port(a), params: "sslmode=disable&connect_timeout=1", limit: time.Minute, want: "no answer from localhost:" + port(a) + " (127.0.0.1) in time"},
		{name: "two hosts", host: at + "," + other, params: "sslmode=prefer&connect_timeout=1", limit: time.Minute, want: "no answer from " + at + " in time, no answer from " + other + checkFirewall},
		{
			name: "one of two, and nobody on the other", host: nobody + "," + other, params: "sslmode=disable&connect_timeout=1", limit: time.Minute,
			want: "cannot connect to " + nobody + ": connect: connection refused, no answer from " + other + " in time; check host and port in DATABASE_URL",
		},
		{name: "when we are stopped", host: called.Addr().String() + "," + other, params: "sslmode=disable", want: "stopped before " + called.Addr().String() + ", " + other + " answered", ended: context.Canceled},
		{name: "and the deadline had passed", host: at, limit: -time.Second, want: "no time left", ended: context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			store := openStore(t, "postgres://"+canary+"user:"+canary+"password@"+tt.host+"/app?"+tt.params, events)
			ctx, cancel := context.WithCancel(t.Context())
			if tt.limit != 0 {
				ctx, cancel = context.WithTimeout(t.Context(), tt.limit)
			} else {
				go func() {
					if c, err := called.Accept(); err == nil {
						cancel()
						_ = c.Close()
					}
				}()
			}
			defer cancel()
			_, err := store.Connect(ctx)
			f := fault.Of(err)
			if f == nil || !strings.HasPrefix(err.Error(), "connect to the database: ") || !strings.Contains(err.Error(), tt.want) || f.Cause != message.CauseTransient {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			for _, end := range []error{context.DeadlineExceeded, context.Canceled} {
				if is := errors.Is(err, end); is != errors.Is(tt.ended, end) {
					t.Errorf("the error is %v: %v; the caller's context says %v", end, is, ctx.Err())
				}
			}
			if strings.Contains(fmt.Sprint(err), canary) {
				t.Errorf("the error quotes the login: %v", err)
			}
		})
	}
}

// TestASilentHostDoesNotTakeAllTheTime has no connect_timeout: the URL's second host is tried in
// time, and so is the only one again.
func TestASilentHostDoesNotTakeAllTheTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	u := parsed(t, s.proxy.URL)
	database := u.Host
	for name, host := range map[string]string{
		"the second host":    listen(t).Addr().String() + "," + database,
		"the second attempt": silentOnce(t, database),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			there := *u
			there.Host = host
			store := openStore(t, there.String(), events)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if result, err := store.Insert(ctx, batchOf(goods(int64(len(name)), 1))); err != nil || result.Tallies.Sum().Inserted != 1 {
				t.Errorf("got %d rows inserted and error %v, want 1 and none", result.Tallies.Sum().Inserted, err)
			}
		})
	}
}

// silentOnce starts a host in front of another that leaves its first caller without an answer.
func silentOnce(t testing.TB, host string) string {
	t.Helper()
	var calls atomic.Int64
	return serve(listen(t), func(from net.Conn) {
		if calls.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, from)
			return
		}
		to, err := net.Dial("tcp", host)
		if err != nil {
			t.Error(err)
			return
		}
		join(from, to)
	}).Addr().String()
}

// TestHostsThatAnswerOtherwise wants them to be named too.
func TestHostsThatAnswerOtherwise(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	hangsUp := serve(listen(t), func(net.Conn) {})
	u := parsed(t, s.proxy.URL)
	for url, want := range map[string]string{
		"postgres://sluice@" + hangsUp.Addr().String() + "/app?sslmode=disable": "connect to the database: the connection to " + hangsUp.Addr().String() + " broke",
		s.proxy.URL + "&target_session_attrs=read-only":                         "connect to the database: " + u.Host + " is not what target_session_attrs asks for; ",
		strings.Replace(s.proxy.URL, "sslmode=disable", "sslmode=require", 1):   "connect to the database: " + u.Host + " does not speak TLS; ",
	} {
		if _, err := openStore(t, url, events).Connect(t.Context()); err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "; ") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestAResetIsNotARefusalOfTLS has hosts that refuse TLS, as many do. If the URL allows clear text,
// that is no error: the attempt without TLS decides.
func TestAResetIsNotARefusalOfTLS(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.1:1"
	for _, tt := range []struct {
		name, hosts, params string // $host refuses TLS, and hangs up on clear text
		fault               message.Cause
		says, saysNot       string
	}{
		{name: "nothing said, as on loopback", hosts: "$host", fault: message.CauseTransient, says: "the connection to $host broke", saysNot: "TLS"},
		{name: "prefer", hosts: "$host", params: "sslmode=prefer", fault: message.CauseTransient, says: "the connection to $host broke", saysNot: "TLS"},
		{name: "allow", hosts: "$host", params: "sslmode=allow", fault: message.CauseTransient, says: "the connection to $host broke", saysNot: "TLS"},
		{name: "prefer, a name", hosts: "localhost:$port", params: "sslmode=prefer", fault: message.CauseTransient, saysNot: "TLS"},
		{name: "prefer, and nobody on another host", hosts: "$host," + nobody, params: "sslmode=prefer", fault: message.CauseTransient, says: "the connection to $host broke", saysNot: "TLS"},
		{name: "prefer, and another one first", hosts: nobody + ",$host", params: "sslmode=prefer", fault: message.CauseTransient, says: "cannot connect to " + nobody, saysNot: "TLS"},
		{name: "prefer, two of them", hosts: "$host,$other", params: "sslmode=prefer", fault: message.CauseTransient, says: "the connection to $other broke", saysNot: "TLS"},
		{name: "require", hosts: "$host", params: "sslmode=require", fault: message.CauseConfiguration, says: "$host does not speak TLS"},
		{name: "verify-full", hosts: "$host", params: "sslmode=verify-full", fault: message.CauseConfiguration, says: "$host does not speak TLS"},
		{name: "require, two of them", hosts: "$host,$other", params: "sslmode=require", fault: message.CauseConfiguration, says: "$other does not speak TLS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host, other := refusesTLS(t, 1000, ""), refusesTLS(t, 1000, "")
			_, port, _ := net.SplitHostPort(host)
			fill := strings.NewReplacer("$host", host, "$other", other, "$port", port).Replace
			store := openStore(t, "postgres://sluice@"+fill(tt.hosts)+"/app?"+tt.params, events, hasty)
			for what, try := range map[string]func() error{
				"Connect": func() error { _, err := store.Connect(t.Context()); return err },
				"Insert":  func() error { _, err := store.Insert(t.Context(), batchOf(goods(1, 1))); return err },
			} {
				err := try()
				if cause := causeOf(err); cause != tt.fault || !strings.Contains(err.Error(), fill(tt.says)) || tt.saysNot != "" && strings.Contains(err.Error(), tt.saysNot) {
					t.Errorf("%s: got a fault of %q: %v", what, cause, err)
				}
			}
		})
	}
}

// TestWhoAsksForTLS wants the setting to be named that asks for TLS on this machine.
func TestWhoAsksForTLS(t *testing.T) { //nolint:paralleltest // a variable of the process
	t.Setenv("PGSSLMODE", "verify-full")
	for mode, want := range map[string]string{"": "set sslmode=disable (PGSSLMODE)", "?sslmode=require": "set sslmode=disable (DATABASE_URL)"} {
		_, err := openStore(t, "postgres://sluice@"+refusesTLS(t, 1000, "")+"/app"+mode, events).Insert(t.Context(), batchOf(goods(1, 1)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// TestOneReset has the attempt without TLS tried again, like any other.
func TestOneReset(t *testing.T) {
	t.Parallel()
	s := newSite(t, setup{})
	u := parsed(t, strings.Replace(s.proxy.URL, "sslmode=disable", "sslmode=prefer", 1))
	u.Host = refusesTLS(t, 2, u.Host)
	s.store = openStore(t, u.String(), events)
	s.insert(goods(1, 3)...).must().inserts(3)
}

// refusesTLS starts a host that hangs up on its first callers without TLS, and passes the others
// on.
func refusesTLS(t testing.TB, hangsUp int, next string) string {
	t.Helper()
	var calls atomic.Int64
	return serve(listen(t), func(from net.Conn) {
		first := make([]byte, 8)
		if _, err := io.ReadFull(from, first); err != nil {
			return
		}
		if code := binary.BigEndian.Uint32(first[4:]); code == 80877103 { // a request for TLS
			_, _ = from.Write([]byte{'N'})
			return
		}
		if calls.Add(1) <= int64(hangsUp) {
			return
		}
		to, err := net.Dial("tcp", next)
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = to.Write(first)
		join(from, to)
	}).Addr().String()
}

// TestWhatTheResolverSays has a name that does not exist, which somebody has to correct, and
// resolvers that fail, which passes.
func TestWhatTheResolverSays(t *testing.T) { //nolint:paralleltest // the resolver of the process
	for name, tt := range map[string]struct {
		code  byte
		fault message.Cause
	}{"no such name": {3, message.CauseConfiguration}, "server failure": {2, message.CauseTransient}, "refused": {5, message.CauseTransient}} {
		t.Run(name, func(t *testing.T) {
			server, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = server.Close() }()
			go func() {
				question := make([]byte, 512)
				for {
					n, from, err := server.ReadFrom(question)
					if err != nil {
						return
					}
					answer := append([]byte(nil), question[:n]...)
					answer[2], answer[3] = answer[2]|0x80, answer[3]&0xf0|tt.code // an answer, and how it ended
					_, _ = server.WriteTo(answer, from)
				}
			}()
			before := net.DefaultResolver
			defer func() { net.DefaultResolver = before }()
			net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "udp4", server.LocalAddr().String())
			}}
			_, err = openStore(t, "postgres://user@db.example.com/app", events).Connect(t.Context())
			if cause := causeOf(err); cause != tt.fault || !strings.Contains(err.Error(), "the host db.example.com does not resolve") {
				t.Errorf("got a fault of %q: %v", cause, err)
			}
		})
	}
}
