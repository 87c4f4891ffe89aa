//go:build pgbouncer

package drill_test

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/owner/sluice/internal/testing/pgtest"
)

// bounced starts PgBouncer in transaction mode in front of a database and returns the URL through
// it. PgBouncer knows no options of a session, so it sets the search_path of the test's schema
// itself. Changes are pairs: text of its configuration, and the replacement.
func bounced(t *testing.T, db *pgtest.DB, changes ...string) string {
	t.Helper()
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir, err := os.MkdirTemp("", "pgbouncer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := fmt.Sprintf(`[databases]
sluice = host=%s port=%s dbname=%s user=%s password=%s connect_query='SET search_path = %s'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits,options
`, u.Hostname(), u.Port(), strings.TrimPrefix(u.Path, "/"), u.User.Username(), password, db.Schema, port)
	path := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(changes...).Replace(config)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	args := []string{path}
	if os.Geteuid() == 0 {
		args = append([]string{"-u", "nobody"}, args...) // it refuses to run as root
	}
	cmd := exec.Command("pgbouncer", args...)
	var output safeBuilder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatalf("start PgBouncer (a package of most systems): %v", err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("PgBouncer said:\n%s", output.String())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for range 100 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return "postgres://anyone@" + address + "/sluice?sslmode=disable&default_query_exec_mode=exec"
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("PgBouncer does not listen: %s", output.String())
	return ""
}

// TestBehindPgBouncer runs the happy path, the probe and faults behind a pooler that gives a
// session's next statement to another backend.
func TestBehindPgBouncer(t *testing.T) {
	f := newFunction(t)
	f.db.Exec(t, "ALTER TABLE user_logins ADD CONSTRAINT known_locale CHECK (locale <> 'xx')")
	f.connect(bounced(t, f.db))
	f.stores(event(10))
	f.stores(event(1000))
	e := event(20)
	f.stores(e)
	f.stores(e)
	f.rows(1030)
	for _, n := range []int{10, 64, 65, 1000} {
		before := f.db.Count(t, "SELECT count(*) FROM user_logins")
		bad := strings.Replace(string(event(n)), `\"ip\":\"203.0.113.7\"`, `\"locale\":\"xx\"`, 3)
		if failed, err := f.invoke([]byte(bad), plenty); failed != 3 || err != nil {
			t.Errorf("of %d: %d messages came back, %v; want 3; log:\n%s", n, failed, err, f.log)
		}
		f.rows(before + int64(n) - 3)
	}
	total := f.db.Count(t, "SELECT count(*) FROM user_logins")

	// Its backends die between invocations.
	f.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND application_name = 'sluice'")
	f.stores(event(10))
	f.rows(total + 10)

	// A lock past the deadline.
	lock := f.db.Conn(t)
	if _, err := lock.Exec(t.Context(), "BEGIN; LOCK TABLE user_logins"); err != nil {
		t.Fatal(err)
	}
	if failed, err := f.invoke(e, 8*time.Second); failed != 20 || err != nil {
		t.Errorf("%d messages came back, %v; want all 20", failed, err)
	}
	f.nothingWaits()
	if _, err := lock.Exec(t.Context(), "COMMIT"); err != nil {
		t.Fatal(err)
	}
	f.stores(event(10))
	f.rows(total + 20)
	if n := f.db.Count(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sluice' AND state LIKE 'idle in transaction%'"); n != 0 {
		t.Errorf("%d transactions were left open in the pool", n)
	}
}

// TestFaultsOfPgBouncer has PgBouncer's own errors: all have the code 08P01, and not all are
// transient.
func TestFaultsOfPgBouncer(t *testing.T) {
	for _, tt := range []struct {
		name    string
		changes []string
		url     string // what becomes of the URL
		says    string
		fails   bool
	}{
		{name: "no such database", url: "/nowhere?", says: "the pooler refuses it", fails: true},
		{name: "a parameter that it does not know", url: "/sluice?pool_max_conns=2&", says: "take it out of DATABASE_URL", fails: true},
		{name: "it wants TLS", changes: []string{"auth_type = any", "auth_type = any\nclient_tls_sslmode = require\nclient_tls_key_file = $key\nclient_tls_cert_file = $cert"}, says: "wants TLS", fails: true},
		{name: "its own password is wrong", changes: []string{"password=", "password=wrong"}, says: "SQLSTATE 08P01", fails: true},
		{name: "its server does not answer", changes: []string{"host=127.0.0.1 ", "host=127.0.0.2 "}, says: " in time"},
		{name: "it takes no more clients", changes: []string{"pool_mode", "max_client_conn = 0\npool_mode"}, says: "raise the limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFunction(t)
			key, cert := certificate(t)
			for i := range tt.changes {
				tt.changes[i] = strings.NewReplacer("$key", key, "$cert", cert).Replace(tt.changes[i])
			}
			url := bounced(t, f.db, tt.changes...)
			if tt.url != "" {
				url = strings.Replace(url, "/sluice?", tt.url, 1)
			}
			f.connect(url)
			failed, err := f.invoke(event(1), plenty)
			said := f.log.String()
			if err != nil {
				said += err.Error()
			}
			if tt.fails != (err != nil) || err == nil && failed != 1 || !strings.Contains(said, tt.says) {
				t.Errorf("%d came back, the invocation ended with %v: %s", failed, err, said)
			}
		})
	}
}

// certificate returns a certificate for tests, as two files in PEM.
func certificate(t *testing.T) (keyFile, certFile string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "certificate") // t.TempDir is nobody's else
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	keyFile, certFile = filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	for file, block := range map[string]*pem.Block{keyFile: {Type: "PRIVATE KEY", Bytes: key}, certFile: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return keyFile, certFile
}
