package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/credentials/login"
)

// target is what a connection URL means. When the URL does not say, TLS is
// verify-full for every host but loopback; and the host may come from a
// secret, so that is decided when connecting.
type target struct {
	remote *pgx.ConnConfig
	local  *pgx.ConnConfig
	// empty: there is no URL, and no host but the one of a secret.
	empty bool
}

// nowhere stands for the host of a URL that names none: pgx would take a Unix
// socket for it, which has no TLS, and a secret may name a host that needs it.
const nowhere = "host-is-in-the-secret.invalid"

// connectTimeout is how long an address may take to connect where nobody says.
// One that is silent would take the whole deadline: the URL's other hosts and
// the next attempt, which looks the host up anew, would never have their turn.
// It is shorter than retryBudget for that, and long enough for two packets in a
// row to be lost, which are sent again after 1 and 3 seconds.
const connectTimeout = 4 * time.Second

var errForm = errors.New("DATABASE_URL is no URL of the form postgres://user:password@host:5432/database (characters such as @ : / in the password are written as %40 %3A %2F)")

// parseURL reads a connection URL. An empty one leaves all to a secret. It
// asks for the roots only where pgx needs them at once, which verify-ca does.
func parseURL(text string, roots func() *x509.CertPool) (*target, error) {
	t := target{empty: text == ""}
	if t.empty {
		text = "postgres://"
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errForm // not err itself: it quotes the URL, which can hold a password
	}
	if u.Path == "" {
		u.Path = "/" // without it postgres://?x=y is written postgres:?x=y, which pgx takes for another form
	}
	// What is there stays as it is written: to pgx and libpq a plus is no space.
	given, query := u.Query(), u.RawQuery
	if !given.Has("application_name") {
		query += "&application_name=sluice"
	}
	parse := func(mode string) (*pgx.ConnConfig, error) {
		u.RawQuery = query
		if !given.Has("sslmode") {
			u.RawQuery += "&sslmode=" + mode
		}
		u.RawQuery = strings.TrimPrefix(u.RawQuery, "&")
		config, err := pgx.ParseConfig(u.String())
		if err != nil {
			return nil, fmt.Errorf("DATABASE_URL: %s", parseProblem(err, u))
		}
		if config.ConnectTimeout == 0 && !given.Has("connect_timeout") {
			config.ConnectTimeout = connectTimeout
		}
		// verify-ca: the check that pgx made looks at the roots of this very
		// configuration, not at those of a copy.
		for _, f := range append([]*pgconn.FallbackConfig{{TLSConfig: config.TLSConfig}}, config.Fallbacks...) {
			if c := f.TLSConfig; c != nil && c.VerifyPeerCertificate != nil && c.RootCAs == nil {
				c.RootCAs = roots()
			}
		}
		return config, nil
	}
	if t.local, err = parse("prefer"); err != nil {
		return nil, err
	}
	if strings.HasPrefix(t.local.Host, "/") {
		query += "&host=" + nowhere // of two the last counts
	}
	if t.remote, err = parse("verify-full"); err != nil {
		return nil, err
	}
	return &t, nil
}

// parseProblem is pgx's complaint without what it quotes of the URL: the
// parameters that it refuses, where these are the problem.
func parseProblem(err error, u *url.URL) string {
	var bad []string
	for name, values := range u.Query() {
		probe := url.URL{Scheme: "postgres", Host: "localhost", Path: "/", RawQuery: url.Values{name: values}.Encode()}
		if _, err := pgx.ParseConfig(probe.String()); err == nil || name == "sslrootcert" || name == "sslcert" || name == "sslkey" {
			continue // of files pgx says what is wrong with them
		}
		if name == "sslmode" {
			name += " (it can be disable, allow, prefer, require, verify-ca or verify-full)"
		}
		bad = append(bad, name)
	}
	if len(bad) > 0 {
		slices.Sort(bad)
		return "not valid: " + strings.Join(bad, ", ")
	}
	text := err.Error()
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		text = text[i+3:]
	}
	if password, ok := u.User.Password(); ok && password != "" && strings.Contains(text, password) {
		return "a parameter is not valid"
	}
	return text
}

// login is what the URL alone says.
func (t *target) login() login.Login {
	c := t.local
	if !loopback(c.Host) {
		c = t.remote
	}
	host := c.Host
	if t.empty {
		host = "" // what pgx takes in its place was nobody's wish
	}
	encrypted := c.TLSConfig != nil
	for _, f := range c.Fallbacks {
		encrypted = encrypted && f.TLSConfig != nil
	}
	return login.Login{Host: host, Port: c.Port, User: c.User, Password: login.NewPassword(c.Password), Database: c.Database, TLS: encrypted}
}

// needsRoots says whether the first connection will ask for the roots, as far
// as the URL says.
func (t *target) needsRoots() bool {
	c := t.remote.TLSConfig
	return c != nil && c.RootCAs == nil && !c.InsecureSkipVerify && (t.empty || !loopback(t.local.Host))
}

// config is a pgx configuration for a login.
func (t *target) config(l login.Login, roots func() *x509.CertPool) *pgx.ConnConfig {
	c := t.remote.Copy()
	if loopback(l.Host) {
		c = t.local.Copy()
	}
	moved := l.Host != c.Host || l.Port != c.Port
	c.Host, c.Port, c.User, c.Password, c.Database = l.Host, l.Port, l.User, l.Password.Reveal(), l.Database
	c.TLSConfig = trust(c.TLSConfig, l.Host, moved, roots)
	for _, f := range c.Fallbacks {
		if moved {
			f.Host, f.Port = l.Host, l.Port
		}
		f.TLSConfig = trust(f.TLSConfig, f.Host, moved, roots)
	}
	return c
}

// trust makes a TLS configuration follow the host, and trust the roots that
// come with sluice where the URL names none.
func trust(c *tls.Config, host string, moved bool, roots func() *x509.CertPool) *tls.Config {
	if c == nil {
		return nil
	}
	c = c.Clone()
	if moved && c.ServerName != "" {
		c.ServerName = host
	}
	if c.RootCAs == nil && !c.InsecureSkipVerify && roots != nil {
		c.RootCAs = roots()
	}
	return c
}

func loopback(host string) bool {
	if host == "" || host == "localhost" || strings.HasPrefix(host, "/") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
