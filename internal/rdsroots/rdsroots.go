// Package rdsroots knows whose signature a database at AWS has under its
// certificate: the roots of this system, of Amazon RDS (which no system has)
// and of Amazon's public authority, which RDS Proxy uses.
//
// README.md says where the bundle is from and how to replace it. The package
// is a leaf; internal/postgres imports it.
package rdsroots

import (
	"crypto/x509"
	_ "embed"
)

// The bundle is in clear, so that a review sees what changes: as a string it
// costs the binary its 170 KB, and no memory until it is read.
//
//go:embed rds-global-bundle.pem
var bundle string

// Bundle returns the certificates as PEM.
func Bundle() string { return bundle }

// Pool returns a new pool of all these roots. It reads some 250 certificates,
// which takes a few milliseconds: call it once, and only where TLS is used.
func Pool() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without any
	}
	pool.AppendCertsFromPEM([]byte(bundle))
	return pool
}
