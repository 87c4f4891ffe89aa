package check_test

import (
	"context"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/testing/pgtest"
)

// by connects to a URL by a network that is another than it seems.
type by struct {
	url     string
	network func(net.Conn) net.Conn
}

func (b by) Connect(ctx context.Context) (*pgconn.PgConn, error) {
	config, err := pgconn.ParseConfig(b.url)
	if err != nil {
		return nil, err
	}
	var dialer net.Dialer
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		return b.network(conn), err
	}
	return pgconn.ConnectConfig(ctx, config)
}

func (by) Unverified() string { return "" }

// elsewhere is a connection that says it goes to another address.
type elsewhere struct {
	net.Conn
	address string
}

func (e elsewhere) RemoteAddr() net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(e.address), Port: 5432}
}

func TestClearTextOverTheNetwork(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	to := func(address string) by {
		return by{u.String(), func(c net.Conn) net.Conn { return elsewhere{c, address} }}
	}
	want(t, check.Database(t.Context(), to("203.0.113.7"), m.Set(), names), "error tls")
	want(t, check.Database(t.Context(), to("::1"), m.Set(), names))
}

// TestWhoChecksTheServer: only verify-ca and verify-full do. 0.0.0.0 leads to
// this machine and is no loopback address.
func TestWhoChecksTheServer(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	with, roots := pgtest.TLS(t, pgtest.New(t, m.DDL()...).URL)
	for mode, finding := range map[string][]string{"require": {"warning tls"}, "prefer": {"warning tls"}, "verify-ca": nil} {
		parameters := url.Values{"sslmode": {mode}}
		if mode == "verify-ca" { // which require is too where roots are named
			parameters.Set("sslrootcert", roots)
		}
		store := open(t, m, strings.Replace(with(parameters), "127.0.0.1", "0.0.0.0", 1))
		want(t, check.Database(t.Context(), store, m.Set(), names), finding...)
	}
}

// parting is of a network that goes silent when the session is ended: the
// message for that gets nowhere until a deadline is set.
type parting struct {
	deadline chan struct{} // has one, once there was one
	hung     bool
}

type lastWords struct {
	net.Conn
	*parting
}

func (l lastWords) SetDeadline(t time.Time) error {
	if !t.IsZero() {
		select {
		case l.deadline <- struct{}{}:
		default:
		}
	}
	return l.Conn.SetDeadline(t)
}

func (l lastWords) Write(b []byte) (int, error) {
	if b[0] != 'X' { // Terminate
		return l.Conn.Write(b)
	}
	select {
	case <-l.deadline:
	case <-time.After(20 * time.Second):
		l.hung = true
	}
	return 0, os.ErrDeadlineExceeded
}

func TestNetworkGoesSilentAtTheEnd(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	u, err := url.Parse(pgtest.New(t, m.DDL()...).URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslmode", "disable")
	u.RawQuery = q.Encode()
	p := &parting{deadline: make(chan struct{}, 1)}
	want(t, check.Database(t.Context(), by{u.String(), func(c net.Conn) net.Conn { return lastWords{c, p} }}, m.Set(), names))
	if p.hung {
		t.Error("it waits without end for a server that does not answer")
	}
}

// The server's functions are shadowed, so that it seems to have another clock
// and another version.
func TestClockAndVersion(t *testing.T) {
	t.Parallel()
	m := load(t, "user_logins")
	db := pgtest.New(t, m.DDL()...)
	u, err := url.Parse(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", db.Schema+",pg_catalog")
	u.RawQuery = q.Encode()
	db.Exec(t, `CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() - interval '7 minutes' $$`)
	want(t, look(t, m, u.String()), "warning clock")
	db.Exec(t, `DROP FUNCTION `+db.Schema+`.clock_timestamp(); CREATE FUNCTION current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT CASE $1 WHEN 'server_version_num' THEN '130012' ELSE pg_catalog.current_setting($1) END $$`)
	want(t, look(t, m, u.String()), "warning version")
}
