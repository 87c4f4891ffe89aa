package postgres_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A file beside the function has the roots of a server that none of ours vouches for.
func TestRootsOfAFile(t *testing.T) {
	t.Parallel()
	is := newSite(t, setup{})
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	u, err := url.Parse(is.db.URL)
	if err != nil {
		t.Fatal(err)
	}
	front := listen(t)
	go terminate(front, certificates.TLS, u.Host)
	u.Host = front.Addr().String()
	file := filepath.Join(t.TempDir(), "my roots.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificates.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"verify-full", "verify-ca"} {
		ping := func(roots string) error {
			q := u.Query()
			q.Set("sslmode", mode)
			if q.Del("sslrootcert"); roots != "" {
				q.Set("sslrootcert", roots)
			}
			with := *u
			with.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
			return openStore(t, with.String(), events).Ping(t.Context())
		}
		if err := ping(file); err != nil {
			t.Errorf("%s with the file: %v", mode, err)
		}
		if err := ping(""); err == nil || !strings.Contains(err.Error(), "sslrootcert=") {
			t.Errorf("%s without it: got %v, want an error that names sslrootcert", mode, err)
		}
	}
}

// terminate speaks TLS to clients, and clear text to the server at an address.
func terminate(l net.Listener, config *tls.Config, address string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			if _, err := io.ReadFull(c, make([]byte, 8)); err != nil { // SSLRequest
				return
			}
			if _, err := c.Write([]byte("S")); err != nil {
				return
			}
			secured := tls.Server(c, config)
			server, err := net.Dial("tcp", address)
			if err != nil {
				return
			}
			defer server.Close()
			go func() {
				_, _ = io.Copy(server, secured)
				server.Close()
			}()
			_, _ = io.Copy(secured, server)
		}()
	}
}
