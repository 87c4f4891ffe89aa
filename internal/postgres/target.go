package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5"

	"sluice/internal/credentials/login"
)

// target is what a connection URL means. When the URL does not say, TLS is
// verify-full for every host but loopback; and the host may come from a
// secret, so that is decided when connecting.
type target struct {
	remote *pgx.ConnConfig
	local  *pgx.ConnConfig
}

var errForm = errors.New("DATABASE_URL is no URL of the form postgres://user:password@host:5432/database (characters such as @ : / in the password are written as %40 %3A %2F)")

// parseURL reads a connection URL. An empty one leaves all to a secret.
func parseURL(text string) (*target, error) {
	if text == "" {
		text = "postgres://"
	}
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errForm // not err itself: it quotes the URL, which can hold a password
	}
	query := u.Query()
	if !query.Has("application_name") {
		query.Set("application_name", "sluice")
	}
	says := query.Has("sslmode")
	var t target
	for mode, config := range map[string]**pgx.ConnConfig{"verify-full": &t.remote, "prefer": &t.local} {
		if !says {
			query.Set("sslmode", mode)
		}
		u.RawQuery = query.Encode()
		if *config, err = pgx.ParseConfig(u.String()); err != nil {
			return nil, fmt.Errorf("DATABASE_URL: %s", parseProblem(err, u))
		}
	}
	return &t, nil
}

// parseProblem is pgx's complaint without what it quotes of the URL.
func parseProblem(err error, u *url.URL) string {
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
	c := t.remote
	if loopback(c.Host) {
		c = t.local
	}
	encrypted := c.TLSConfig != nil
	for _, f := range c.Fallbacks {
		encrypted = encrypted && f.TLSConfig != nil
	}
	return login.Login{Host: c.Host, Port: c.Port, User: c.User, Password: login.NewPassword(c.Password), Database: c.Database, TLS: encrypted}
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
