package postgres_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	logins "sluice/internal/credentials/login"
	"sluice/internal/postgres"
)

// fixed are logins of a secret that does not change.
type fixed logins.Login

func (f fixed) Fetch(context.Context, logins.Login) (logins.Login, error) {
	return logins.Login(f), nil
}

func (f fixed) Refresh(context.Context, logins.Login) (logins.Login, error) {
	return logins.Login(f), nil
}

// TestASecretsHostGetsTLS: whatever the URL says of a host, or does not, the
// first thing that a host of a secret hears is the wish for TLS.
func TestASecretsHostGetsTLS(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "postgres://", "postgres://?sslmode=require", "postgres:///app", "postgres:///app?sslmode=verify-full",
		"postgres:///app?host=/var/run/postgresql", "postgres://localhost/app", "postgres://127.0.0.1:1/app", "postgres://db.invalid/app",
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			listener, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer listener.Close()
			heard := make(chan uint32, 1)
			go func() {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				var head [8]byte
				_, _ = io.ReadFull(c, head[:])
				heard <- binary.BigEndian.Uint32(head[4:])
			}()
			// 0.0.0.0 leads to this machine and is no loopback address.
			port := listener.Addr().(*net.TCPAddr).Port
			store, err := postgres.Open(url, events, postgres.WithLogins(fixed{Host: "0.0.0.0", Port: uint16(port), User: "sluice", Password: logins.NewPassword("secret")}))
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if _, err := store.Migrate(ctx, nil); err == nil {
				t.Fatal("connected")
			}
			const sslRequest = 80877103
			if got := <-heard; got != sslRequest {
				t.Errorf("the host heard %d first, want %d: it was sent clear text", got, sslRequest)
			}
		})
	}
}
