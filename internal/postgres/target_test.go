package postgres_test

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	logins "example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/testlog"
)

// fixed is the login of a secret that does not change.
type fixed logins.Login

func (f fixed) Fetch(_ context.Context, url logins.Login) (logins.Login, error) {
	l := logins.Login(f)
	if l.Host == "" {
		l.Host, l.Port = url.Host, url.Port
	}
	return l, nil
}

func (f fixed) Refresh(context.Context, logins.Login) (logins.Login, error) {
	return logins.Login(f), nil
}

// recorder is a host without TLS that records what reaches it.
type recorder struct {
	net.Listener
	mu    sync.Mutex
	heard []string // by connection
}

const sslRequest = 80877103

// listenIn starts a recorder.
func listenIn(t testing.TB) *recorder {
	t.Helper()
	r := &recorder{Listener: listen(t)}
	serve(r, r.hear)
	return r
}

func (r *recorder) hear(c net.Conn) {
	r.mu.Lock()
	n := len(r.heard)
	r.heard = append(r.heard, "")
	r.mu.Unlock()
	buffer := make([]byte, 1024)
	for {
		read, err := c.Read(buffer)
		r.mu.Lock()
		r.heard[n] += string(buffer[:read])
		whole := r.heard[n]
		r.mu.Unlock()
		if err != nil {
			return
		}
		if len(whole) == 8 && binary.BigEndian.Uint32([]byte(whole[4:])) == sslRequest {
			_, _ = c.Write([]byte("N"))
			continue
		}
		if len(whole) > 8 {
			return
		}
	}
}

// said returns what reached the host, without the requests for TLS.
func (r *recorder) said() (plain string, connections int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wish := string(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, sslRequest))
	for _, heard := range r.heard {
		plain += strings.TrimPrefix(heard, wish)
	}
	return plain, len(r.heard)
}

func (r *recorder) port() string {
	_, port, _ := net.SplitHostPort(r.Addr().String())
	return port
}

// TestNothingGoesToARemoteHostInClearText wants each host of a URL judged alone, whatever hosts are
// beside it. 0.0.0.0 leads to this machine and is no loopback address.
func TestNothingGoesToARemoteHostInClearText(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.1:1"
	for _, tt := range []struct {
		name, url string
		login     fixed // a secret's, if it has a user
	}{
		{name: "alone", url: "postgres://$login@0.0.0.0:$port/app"},
		{name: "after localhost", url: "postgres://$login@localhost:1,0.0.0.0:$port/app"},
		{name: "after a loopback address", url: "postgres://$login@" + nobody + ",0.0.0.0:$port/app"},
		{name: "after a socket", url: "postgres://$login@/app?host=/nowhere,0.0.0.0&port=$port"},
		{name: "before localhost", url: "postgres://$login@0.0.0.0:$port," + nobody + "/app"},
		{name: "among others", url: "postgres://$login@localhost:1,0.0.0.0:$port,[::1]:1/app"},
		{name: "an empty sslmode", url: "postgres://$login@localhost:1,0.0.0.0:$port/app?sslmode="},
		{name: "an empty sslmode, alone", url: "postgres://$login@0.0.0.0:$port/app?sslmode="},
		{name: "an empty sslmode after another", url: "postgres://$login@0.0.0.0:$port/app?sslmode=verify-full&sslmode="},
		{name: "a blank sslmode", url: "postgres://$login@0.0.0.0:$port/app?sslmode= "},
		{name: "a blank sslmode after another", url: "postgres://$login@0.0.0.0:$port/app?sslmode=verify-full&sslmode= "},
		{name: "blanks around an empty sslmode", url: "postgres://$login@0.0.0.0:$port/app?sslmode=verify-full& sslmode =&"},
		{name: "a name in capitals", url: "postgres://$login@0.0.0.0:$port/app?SSLMODE=disable"},
		{name: "a question mark in the password", url: "postgres://user:canary?sslmode=disable@0.0.0.0:$port/app"},
		{name: "require", url: "postgres://$login@localhost:1,0.0.0.0:$port/app?sslmode=require"},
		{name: "verify-ca", url: "postgres://$login@localhost:1,0.0.0.0:$port/app?sslmode=verify-ca"},
		{name: "verify-full", url: "postgres://$login@localhost:1,0.0.0.0:$port/app?sslmode=verify-full"},
		{name: "a secret's host, no URL", login: fixed{Host: "0.0.0.0", User: "user"}},
		{name: "a secret's host, a URL without one", url: "postgres:///app", login: fixed{Host: "0.0.0.0", User: "user"}},
		{name: "a secret's host, a socket", url: "postgres:///app?host=/var/run/postgresql", login: fixed{Host: "0.0.0.0", User: "user"}},
		{name: "a secret's host, localhost", url: "postgres://localhost/app", login: fixed{Host: "0.0.0.0", User: "user"}},
		{name: "a secret's host, two others", url: "postgres://localhost:1,db.invalid:2/app", login: fixed{Host: "0.0.0.0", User: "user"}},
		{name: "a secret's host, and require", url: "postgres://?sslmode=require", login: fixed{Host: "0.0.0.0", User: "user"}},
		{name: "a secret without a host", url: "postgres://localhost:1,0.0.0.0:$port/app", login: fixed{User: "user"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := listenIn(t)
			options := []postgres.Option{hasty}
			if l := tt.login; l.User != "" {
				l.Password = logins.NewPassword(canary)
				if l.Host != "" {
					l.Port = uint16(r.Addr().(*net.TCPAddr).Port)
				}
				options = append(options, postgres.WithLogins(l))
			}
			store := openStore(t, strings.NewReplacer("$port", r.port(), "$login", "user:"+canary).Replace(tt.url), events, options...)
			_, err := store.Insert(t.Context(), batchOf(goods(1, 1)))
			if err == nil || strings.Contains(err.Error(), "disable") {
				t.Errorf("got %v, want an error that advises no clear text", err)
			}
			if plain, n := r.said(); plain != "" || n == 0 {
				t.Errorf("%d connections came, and %q in clear text; want some, and nothing", n, plain)
			}
		})
	}
}

// TestARequestToCancelGoesWhereTheConnectionGoes has a Unix socket: pgconn would send its requests
// to the URL's first host, in clear text.
func TestARequestToCancelGoesWhereTheConnectionGoes(t *testing.T) {
	t.Parallel()
	remote, folder := listenIn(t), t.TempDir()
	socket, err := net.Listen("unix", filepath.Join(folder, ".s.PGSQL."+remote.port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cancelled := make(chan struct{})
	var once sync.Once
	serve(socket, func(c net.Conn) {
		b := pgproto3.NewBackend(c, c)
		m, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		if _, ok := m.(*pgproto3.CancelRequest); ok {
			once.Do(func() { close(cancelled) })
			return
		}
		b.Send(&pgproto3.AuthenticationOk{})
		b.Send(&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: []byte("key!")})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
		if b.Flush() != nil {
			return
		}
		if _, err := b.Receive(); err == nil { // the statement
			cancel()
		}
		<-cancelled
	})
	store := openStore(t, "postgres://user:"+canary+"@/app?host=0.0.0.0,"+folder+"&port="+remote.port(), events)
	if _, err := store.Insert(ctx, batchOf(goods(1, 1))); err == nil {
		t.Error("inserted")
	}
	<-cancelled
	if plain, n := remote.said(); plain != "" || n == 0 {
		t.Errorf("%d connections came to the first host, and %q in clear text; want some, and nothing", n, plain)
	}
}

// TestThisMachineMayBeReachedInClearText if nothing asks for TLS.
func TestThisMachineMayBeReachedInClearText(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]bool{
		"postgres://user@127.0.0.1:$port/app":                     true,
		"postgres://user@localhost:$port/app":                     true,
		"postgres://user@LOCALHOST:$port/app":                     true,
		"postgres://user@db.invalid,127.0.0.1:$port/app":          true,
		"postgres://user@127.0.0.1:$port/app?sslmode=":            true,
		"postgres://user@127.0.0.1:$port/app?sslmode=prefer":      true,
		"postgres://user@127.0.0.1:$port/app?sslmode=require":     false,
		"postgres://user@127.0.0.1:$port/app?sslmode=verify-full": false,
		"postgres://user@127.0.0.1:$port/app?sslrootcert=system":  false,
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			r := listenIn(t)
			_, _ = openStore(t, strings.ReplaceAll(url, "$port", r.port()), events).Connect(t.Context()) // nobody answers
			if plain, n := r.said(); n == 0 || (plain != "") != want {
				t.Errorf("%d connections came, and %q in clear text", n, plain)
			}
		})
	}
}

// TestAServerThatIsNotVerified wants one warning, whether the server answers or not.
func TestAServerThatIsNotVerified(t *testing.T) {
	t.Parallel()
	const inClear, encrypted = "in clear text", "is not verified"
	for _, tt := range []struct {
		url, want string
		login     fixed
	}{
		{url: "postgres://user@0.0.0.0:1/app?sslmode=disable", want: inClear},
		{url: "postgres://user@0.0.0.0:1/app?sslmode=allow", want: inClear},
		{url: "postgres://user@0.0.0.0:1/app?sslmode=prefer", want: inClear},
		{url: "postgres://user@0.0.0.0:1/app?sslmode=require", want: encrypted},
		{url: "postgres://user@localhost:1,0.0.0.0:2/app?sslmode=require", want: encrypted},
		{url: "postgres://user@localhost:1/app?sslmode=require", want: encrypted, login: fixed{Host: "0.0.0.0", Port: 1, User: "user"}},
		{url: "postgres://?sslmode=require", want: encrypted, login: fixed{Host: "0.0.0.0", Port: 1, User: "user"}},
		{url: "postgres://user@0.0.0.0:1/app"},
		{url: "postgres://user@0.0.0.0:1/app?sslmode="},
		{url: "postgres://user@0.0.0.0:1/app?sslmode=verify-ca"},
		{url: "postgres://user@0.0.0.0:1/app?sslmode=verify-full"},
		{url: "postgres://user@localhost:1/app"},
		{url: "postgres://user@127.0.0.1:1/app?sslmode=disable"},
		{url: "postgres://user@/app?host=/nowhere&sslmode=require"},
		{url: "", login: fixed{Host: "0.0.0.0", Port: 1, User: "user"}},
	} {
		t.Run(tt.url, func(t *testing.T) {
			t.Parallel()
			var said testlog.Log
			options := []postgres.Option{postgres.WithLog(slog.New(slog.NewTextHandler(&said, nil)))}
			if tt.login.User != "" {
				options = append(options, postgres.WithLogins(tt.login))
			}
			store := openStore(t, tt.url, events, options...)
			for range 2 {
				if _, err := store.Connect(t.Context()); err == nil {
					t.Fatal("connected")
				}
			}
			text := said.String()
			switch {
			case tt.want == "" && text != "", tt.want != "" && strings.Count(text, "level=WARN") != 1:
				t.Errorf("warned by %s", text)
			case tt.want != "" && (!strings.Contains(text, tt.want) || !strings.Contains(text, "0.0.0.0:") || strings.Contains(text, "localhost") || !strings.Contains(text, "set sslmode=verify-full (DATABASE_URL)")):
				t.Errorf("warned by %s, want %q, the host and what to do", text, tt.want)
			}
		})
	}
}

// TestPGSSLMODE counts if the URL has no sslmode, as in libpq.
func TestPGSSLMODE(t *testing.T) { //nolint:paralleltest // a variable of the process
	for mode, clear := range map[string]bool{"disable": true, "verify-full": false, "": false} {
		t.Run(mode, func(t *testing.T) {
			t.Setenv("PGSSLMODE", mode)
			r := listenIn(t)
			var said testlog.Log
			store := openStore(t, "postgres://user@0.0.0.0:"+r.port()+"/app", events, postgres.WithLog(slog.New(slog.NewTextHandler(&said, nil))))
			_, _ = store.Connect(t.Context()) // nobody answers
			if got, n := r.said(); n == 0 || (got != "") != clear {
				t.Errorf("%d connections came, and %q in clear text", n, got)
			}
			if warned := strings.Contains(said.String(), "(PGSSLMODE)"); warned != clear {
				t.Errorf("warned by %s", &said)
			}
		})
	}
}

// TestPGSSLMODEWinsOverAServiceFile, as a parameter of the URL does.
func TestPGSSLMODEWinsOverAServiceFile(t *testing.T) { //nolint:paralleltest // variables of the process
	r := listenIn(t)
	file := filepath.Join(t.TempDir(), "services")
	if err := os.WriteFile(file, []byte("[app]\nhost=0.0.0.0\nport="+r.port()+"\nsslmode=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PGSERVICEFILE", file)
	t.Setenv("PGSERVICE", "app")
	for _, mode := range []string{"", "verify-full"} {
		t.Setenv("PGSSLMODE", mode)
		_, _ = openStore(t, "postgres://user@/app", events).Connect(t.Context()) // nobody answers
	}
	if plain, n := r.said(); plain != "" || n != 2 {
		t.Errorf("%d connections came, and %q in clear text; want 2, and nothing", n, plain)
	}
}
