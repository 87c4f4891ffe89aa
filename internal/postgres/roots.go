package postgres

import (
	"crypto/x509"
	_ "embed"
)

// bundle has the roots of Amazon RDS, which no system has, and those of Amazon's public authority,
// which RDS Proxy uses. roots.md says where it is from and how to replace it. It is not compressed,
// so that a review sees what changes: as a string it costs the binary its 170 KB, and no memory
// until it is read.
//
//go:embed rds-global-bundle.pem
var bundle string

// readRoots returns a new pool of this system's roots and of the bundle. It reads some 250
// certificates, which takes a few milliseconds: call it once, and only where TLS is used.
func readRoots() *x509.CertPool {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a container without one
	}
	pool.AppendCertsFromPEM([]byte(bundle))
	return pool
}
