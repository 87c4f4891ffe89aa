package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TLS puts TLS in front of the server of a URL. It returns the URL with the address of the front
// and the given parameters (such as sslmode=require), and a file with the front's certificate,
// which is for loopback addresses.
func TLS(t testing.TB, databaseURL string) (with func(parameters url.Values) string, roots string) {
	t.Helper()
	u := parse(t, databaseURL)
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	front, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() { _ = front.Close() })
	go func() {
		for {
			c, err := front.Accept()
			if err != nil {
				return
			}
			go decrypt(c, certificates.TLS, u.Host)
		}
	}()
	roots = filepath.Join(t.TempDir(), "my roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificates.Certificate().Raw}), 0o600); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return func(parameters url.Values) string {
		there := *u
		there.Host = front.Addr().String()
		q := there.Query()
		maps.Copy(q, parameters)
		there.RawQuery = encodeQuery(q)
		return there.String()
	}, roots
}

// SelfSigned makes a certificate for hosts (names or addresses) that is valid on the day before
// until.
func SelfSigned(t testing.TB, until time.Time, hosts ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// decrypt speaks TLS with a client and plain text with the server.
func decrypt(c net.Conn, config *tls.Config, address string) {
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, 8)); err != nil { // SSLRequest
		return
	}
	if _, err := c.Write([]byte("S")); err != nil {
		return
	}
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	secured := tls.Server(c, config)
	go func() {
		_, _ = io.Copy(server, secured)
		_ = server.Close()
	}()
	_, _ = io.Copy(secured, server)
}
