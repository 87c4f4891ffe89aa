package postgres_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// TestRootsOfAFile has a file with the roots of a server that the bundle does not cover.
func TestRootsOfAFile(t *testing.T) {
	t.Parallel()
	is := newSite(t, setup{})
	with, file := pgtest.TLS(t, is.db.URL)
	for _, mode := range []string{"verify-full", "verify-ca"} {
		ping := func(roots string) error {
			q := url.Values{"sslmode": {mode}}
			if roots != "" {
				q.Set("sslrootcert", roots)
			}
			return openStore(t, with(q), events).Ping(t.Context())
		}
		if err := ping(file); err != nil {
			t.Errorf("%s with the file: %v", mode, err)
		}
		if err := ping(""); err == nil || !strings.Contains(err.Error(), "sslrootcert=") {
			t.Errorf("%s without it: got %v, want an error that names sslrootcert", mode, err)
		}
	}
}

// TestTheLoginIsBoundToTheConnection has channel_binding=require: nobody in between can log in as
// us, not even with a certificate that we trust.
func TestTheLoginIsBoundToTheConnection(t *testing.T) {
	t.Parallel()
	server := pgtest.NewServer(t, pgtest.ServerConfig{})
	db := server.New(t, createEvents)
	until := time.Now().Add(time.Hour)
	own, others := pgtest.SelfSigned(t, until, "127.0.0.1"), pgtest.SelfSigned(t, until, "127.0.0.1")
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: own.Certificate[0]})
	// The server's own user must have written the key.
	for name, text := range map[string][]byte{"server.crt": certificate, "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		db.Exec(t, "COPY (SELECT '"+base64.StdEncoding.EncodeToString(text)+"') TO PROGRAM 'umask 077; base64 -d >"+name+"'")
	}
	db.Exec(t, "ALTER SYSTEM SET ssl = on")
	db.Exec(t, "SELECT pg_reload_conf()")
	for db.Rows(t, "SHOW ssl")[0][0] != "on" { // by a new session each time
		if t.Context().Err() != nil {
			t.Fatal("TLS is not turned on")
		}
	}
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	between := serve(listen(t), intercept(&tls.Config{Certificates: []tls.Certificate{others}, MinVersion: tls.VersionTLS12}, u.Host))
	file := filepath.Join(t.TempDir(), "roots.pem")
	trusted := append(slices.Clone(certificate), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: others.Certificate[0]})...)
	if err := os.WriteFile(file, trusted, 0o600); err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslmode", "verify-full")
	q.Set("sslrootcert", file)
	for host, want := range map[string]map[string]string{
		u.Host:                  {"prefer": "", "require": ""},
		between.Addr().String(): {"disable": "", "require": "channel binding"},
	} {
		for binding, says := range want {
			q.Set("channel_binding", binding)
			q.Set("require_auth", "scram-sha-256")
			u.Host, u.RawQuery = host, q.Encode()
			if err := openStore(t, u.String(), events).Ping(t.Context()); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
				t.Errorf("%s at %s: got %v, want %q", binding, host, err, says)
			}
		}
	}
}

// intercept speaks TLS to clients, and TLS to the server at an address.
func intercept(config *tls.Config, address string) func(net.Conn) {
	return func(c net.Conn) {
		request := make([]byte, 8)
		server, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer server.Close()
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		_, _ = server.Write(request)
		if _, err := io.ReadFull(server, request[:1]); err != nil {
			return
		}
		_, _ = c.Write(request[:1])
		join(tls.Server(c, config), tls.Client(server, &tls.Config{InsecureSkipVerify: true})) //nolint:gosec // it does not care
	}
}
