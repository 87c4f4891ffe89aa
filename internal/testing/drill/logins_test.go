package drill_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/postgres"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// secret is a source of logins that a test rotates, like a secret of Secrets Manager.
// internal/credentials tests how the real one is read.
type secret struct {
	mu      sync.Mutex
	now     string // the password in the secret
	cached  string
	fetches int
}

func (s *secret) rotate(password string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = password
}

// Fetch implements postgres.Logins: it has read the secret once.
func (s *secret) Fetch(_ context.Context, l login.Login) (login.Login, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cached == "" {
		s.cached = s.now
		s.fetches++
	}
	l.Password = login.NewPassword(s.cached)
	return l, nil
}

// Refresh implements postgres.Logins: it reads the secret again.
func (s *secret) Refresh(_ context.Context, used login.Login) (login.Login, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetches++
	if s.now == used.Password.Reveal() {
		return used, errors.New("the secret has no other password")
	}
	s.cached = s.now
	used.Password = login.NewPassword(s.now)
	return used, nil
}

// TestThePasswordIsRotated has a gap in which neither password works: the
// database has the new one, the secret still the old.
func TestThePasswordIsRotated(t *testing.T) {
	t.Parallel()
	f := newFunction(t)
	var role string
	user := f.db.Role(t, func(r string) []string {
		role = r
		return []string{"GRANT INSERT, SELECT ON user_logins TO " + r}
	})
	u, err := url.Parse(user.URL)
	if err != nil {
		t.Fatal(err)
	}
	old, _ := u.User.Password()
	u.User = url.User(role)
	s := &secret{now: old}
	f.connect(u.String(), postgres.WithLogins(s))
	f.stores(event(10))

	f.db.Exec(t, "ALTER ROLE "+role+" PASSWORD 'the new one'")
	f.stores(event(10)) // a session that is open stays open
	f.db.Exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '"+role+"'")
	e := event(10)
	if failed, err := f.invoke(e, plenty); err == nil && failed != 10 {
		t.Errorf("%d messages came back, want all 10", failed)
	}
	f.rows(20)
	s.rotate("the new one")
	f.stores(e) // in the same environment
	f.rows(30)
	if s.fetches != 3 {
		t.Errorf("the secret was read %d times, want 3: at first, in the gap, and after it", s.fetches)
	}
	for _, password := range []string{old, "the new one"} {
		if strings.Contains(f.log.String(), password) {
			t.Errorf("a password is in the log: %s", f.log)
		}
	}
}

// secretsManager is a fake Secrets Manager with one secret, a login.
type secretsManager struct {
	*httptest.Server
	now func() time.Time

	mu    sync.Mutex
	login []byte
	reads []time.Time
}

// newSecretsManager makes one that runs on a simulation's clock.
func newSecretsManager(t *testing.T, now func() time.Time) *secretsManager {
	t.Helper()
	m := &secretsManager{now: now}
	m.Server = httptest.NewServer(m)
	t.Cleanup(m.Close)
	return m
}

// ServeHTTP answers GetSecretValue.
func (m *secretsManager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if target := r.Header.Get("X-Amz-Target"); target != "secretsmanager.GetSecretValue" {
		http.Error(w, target, http.StatusNotImplemented)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads = append(m.reads, m.now())
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(map[string]string{"SecretString": string(m.login)}) // who hangs up, asks again
}

// publish writes the secret.
func (m *secretsManager) publish(user, password string) {
	text, err := json.Marshal(map[string]string{"username": user, "password": password, "engine": "postgres"})
	if err != nil {
		panic(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.login = text
}

// takeLogin moves the login of a URL into the secret.
func (m *secretsManager) takeLogin(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	m.publish(u.User.Username(), password)
	u.User = nil
	return u.String()
}

// times returns when the secret was read.
func (m *secretsManager) times() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.reads)
}

// credentials returns those of an installation whose login is in the secret.
func (m *secretsManager) credentials() *credentials.Credentials {
	return credentials.New(credentials.Options{
		Names:             fault.Names{URL: "DATABASE_URL"},
		DatabaseSecretARN: "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sluice/database-AbCdEf", Now: m.now,
		AWS: credentials.Environment(map[string]string{
			"AWS_ENDPOINT_URL_SECRETS_MANAGER": m.URL, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
		}),
	})
}

// TestErrorsOfAConnectionNameTheSetting has the errors that a new user meets first.
func TestErrorsOfAConnectionNameTheSetting(t *testing.T) {
	t.Parallel()
	db := pgtest.New(t)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	change := func(host, query string, user *url.Userinfo, path string) string {
		c := *u
		if host != "" {
			c.Host = host
		}
		if user != nil {
			c.User = user
		}
		if path != "" {
			c.Path = path
		}
		q := c.Query()
		if query != "" {
			q.Set("sslmode", query)
		}
		c.RawQuery = q.Encode()
		return c.String()
	}
	for _, tt := range []struct{ name, url, want, remedy string }{
		{"a server without TLS", change("", "verify-full", nil, ""), "does not speak TLS", "sslmode=disable"},
		{"a host that does not resolve", change("nosuch.invalid:5432", "disable", nil, ""), "nosuch.invalid does not resolve", "DATABASE_URL"},
		{"an authority that is not trusted", change(selfSigned(t), "verify-full", nil, ""), "signed by an authority that is not trusted", "sslrootcert"},
		{"a closed port", change("127.0.0.1:1", "disable", nil, ""), "connection refused", "DATABASE_URL"},
		{"a wrong password", change("", "", url.UserPassword(db.User, "canary-password"), ""), "28P01 (invalid_password)", "DATABASE_URL"},
		{"no such database", change("", "", nil, "/nosuch"), "3D000", "DATABASE_URL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := &function{t: t, db: db, log: &safeBuilder{}}
			f.connect(tt.url)
			_, err := f.invoke(event(1), plenty)
			said := f.log.String()
			if err != nil {
				said += err.Error()
			}
			if !strings.Contains(said, tt.want) || !strings.Contains(said, tt.remedy) {
				t.Errorf("got %s, want %q and %q", said, tt.want, tt.remedy)
			}
			if password, _ := u.User.Password(); strings.Contains(said, password) || strings.Contains(said, "canary-password") {
				t.Error("a password shows")
			}
		})
	}
}

// selfSigned returns the address of a server that speaks Postgres's protocol up to its certificate.
func selfSigned(t *testing.T) string {
	t.Helper()
	certificates := httptest.NewTLSServer(nil)
	t.Cleanup(certificates.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
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
				_ = tls.Server(c, certificates.TLS).HandshakeContext(t.Context()) // the client refuses it
			}()
		}
	}()
	return l.Addr().String()
}
