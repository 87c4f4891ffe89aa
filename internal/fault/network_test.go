package fault_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestNetwork tells apart the errors of real networks, resolvers and handshakes.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const host = "db.example.com"
	valid, expired := pgtest.SelfSigned(t, time.Now().Add(time.Hour), host), pgtest.SelfSigned(t, time.Now().Add(-time.Hour), host)
	const transient, configuration = message.CauseTransient, message.CauseConfiguration
	for _, tt := range []struct {
		name   string
		err    error
		kind   fault.Kind
		cause  message.Cause
		detail string // a part of it, and empty where Kind says it all
		addr   bool
	}{
		{name: "no such host", err: resolve(t, 3), kind: fault.NoSuchHost, cause: configuration},
		{name: "a resolver that fails", err: resolve(t, 2), kind: fault.Unresolved, cause: transient, detail: "server misbehaving"},
		{name: "refused", err: dial(t, "127.0.0.1:1"), kind: fault.Refused, cause: transient, detail: "refused", addr: true},
		{name: "no answer", err: late(t), kind: fault.Timeout, cause: transient, detail: "timeout", addr: true},
		{name: "no answer before the context ended", err: context.DeadlineExceeded, kind: fault.Timeout, cause: transient},
		{name: "reset", err: hear(t, func(c *net.TCPConn) { _ = c.SetLinger(0) }), kind: fault.Broken, cause: transient, detail: "reset", addr: true},
		{name: "closed by the other side", err: hear(t, func(*net.TCPConn) {}), kind: fault.Broken, cause: transient},
		{name: "closed in the middle", err: io.ErrUnexpectedEOF, kind: fault.Broken, cause: transient},
		{name: "closed by us", err: net.ErrClosed, kind: fault.Broken, cause: transient},
		{name: "clear text", err: hello(t, nil, &tls.Config{ServerName: host}), kind: fault.NoTLS, cause: configuration},
		{name: "HTTP instead of HTTPS", err: get(t), kind: fault.NoTLS, cause: configuration},
		{
			name: "another version of TLS", err: hello(t, &tls.Config{Certificates: []tls.Certificate{valid}, MinVersion: tls.VersionTLS13}, &tls.Config{ServerName: host, MaxVersion: tls.VersionTLS12}), //nolint:gosec // an old client
			kind: fault.Alert, cause: configuration, detail: "protocol version",
		},
		{name: "a stranger's certificate", err: handshake(t, valid, host), kind: fault.UnknownAuthority, cause: configuration},
		{name: "another host's certificate", err: handshake(t, valid, "other.example.com", valid), kind: fault.WrongHost, cause: configuration},
		{name: "an expired certificate", err: handshake(t, expired, host, expired), kind: fault.InvalidCertificate, cause: configuration},
		{
			name: "a certificate that nobody understands", err: &tls.CertificateVerificationError{Err: x509.UnhandledCriticalExtension{}},
			kind: fault.Unverified, cause: configuration, detail: "unhandled critical extension",
		},
		{name: "no network", err: errors.New("dial"), kind: fault.Unknown, cause: transient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := fault.Network(fmt.Errorf("connect: %w", tt.err))
			if got.Kind != tt.kind || got.Cause() != tt.cause {
				t.Errorf("%v is of kind %d and %q, want %d and %q", tt.err, got.Kind, got.Cause(), tt.kind, tt.cause)
			}
			if tt.detail == "" && got.Detail != nil && got.Kind != fault.Broken || tt.detail != "" && !strings.Contains(fmt.Sprint(got.Detail), tt.detail) {
				t.Errorf("the detail is %v, want %q", got.Detail, tt.detail)
			}
			if tt.addr && got.Addr == nil {
				t.Error("there is no address")
			}
			if named := tt.kind == fault.NoSuchHost || tt.kind == fault.Unresolved; named != (got.Host == host) {
				t.Errorf("the host is %q", got.Host)
			}
		})
	}
}

// resolve looks a host up at a server that answers with a code and no address.
func resolve(t *testing.T, code byte) error {
	t.Helper()
	resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe() // to a stream DNS writes the length first
		go func() {
			defer there.Close()
			for {
				var size [2]byte
				if _, err := io.ReadFull(there, size[:]); err != nil {
					return
				}
				query := make([]byte, binary.BigEndian.Uint16(size[:]))
				if _, err := io.ReadFull(there, query); err != nil {
					return
				}
				query[2], query[3] = query[2]|0x80, code // an answer
				_, _ = there.Write(append(size[:], query...))
			}
		}()
		return here, nil
	}}
	_, err := resolver.LookupHost(t.Context(), "db.example.com.")
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		dns.Name = strings.TrimSuffix(dns.Name, ".") // no search list was wanted
	}
	return err
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func dial(t *testing.T, address string) error {
	t.Helper()
	_, err := net.Dial("tcp", address)
	return err
}

// late reads when the time for it is up.
func late(t *testing.T) error {
	t.Helper()
	c, err := net.Dial("tcp", listen(t).Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(-time.Second))
	_, err = c.Read(make([]byte, 1))
	return err
}

// hear says something to a server that closes the connection, and listens.
func hear(t *testing.T, before func(*net.TCPConn)) error {
	t.Helper()
	l := listen(t)
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = c.Read(make([]byte, 1))
			before(c.(*net.TCPConn)) //nolint:forcetypeassert // the listener is of TCP
			_ = c.Close()
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = c.Write([]byte{0})
	_, err = c.Read(make([]byte, 1))
	return err
}

// hello begins TLS with a server, which speaks clear text without a configuration.
func hello(t *testing.T, server, client *tls.Config) error {
	t.Helper()
	l := listen(t)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		if server == nil {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		} else {
			c = tls.Server(c, server)
		}
		_, _ = io.Copy(io.Discard, c)
	}()
	c, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", l.Addr().String())
	if err == nil {
		_ = c.Close()
	}
	return err
}

// handshake meets a server with a certificate, and trusts others.
func handshake(t *testing.T, certificate tls.Certificate, host string, trusted ...tls.Certificate) error {
	t.Helper()
	roots := x509.NewCertPool()
	for _, c := range trusted {
		root, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		roots.AddCert(root)
	}
	return hello(t, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, &tls.Config{ServerName: host, RootCAs: roots})
}

// get asks a server of HTTP for HTTPS.
func get(t *testing.T) error {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https"+strings.TrimPrefix(s.URL, "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err == nil {
		_ = response.Body.Close()
	}
	return err
}
