package postgres

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/credentials/login"
)

// target is where a connection URL leads. If nothing sets sslmode, TLS is verify-full for each host
// that is not this machine.
type target struct {
	url    connURL
	roots  func() *x509.CertPool // what TLS trusts where the URL names none
	parsed *pgx.ConnConfig
}

// connectTimeout limits the attempt to connect to one address if nothing sets connect_timeout.
// Without it, a silent address would use up the whole deadline, and neither the URL's other hosts
// nor the next attempt, which looks the host up again, would be tried. So it is shorter than
// retryBudget, and long enough for two packets in a row to be lost, which are sent again after 1
// and 3 seconds.
const connectTimeout = 4 * time.Second

// parseURL reads a connection URL; errors call it by the name of its setting. An empty one leaves
// all to a secret. It asks for the roots only if pgx needs them at once, as for verify-ca.
func parseURL(text, name string, roots func() *x509.CertPool) (*target, error) {
	u, err := splitURL(text, name)
	if err != nil {
		return nil, err
	}
	t := &target{url: u, roots: roots}
	t.parsed, err = t.parse("")
	return t, err
}

// parse reads the URL with more parameters, which override those it has.
func (t *target) parse(parameters string) (*pgx.ConnConfig, error) {
	mode, said := "", t.url.setting("sslmode")
	if !t.url.has("sslmode") { // in the URL, it overrides a service file too
		mode = "&sslmode=" + url.QueryEscape(cmp.Or(said, "verify-full"))
	}
	config, err := t.url.read(mode + parameters)
	if err != nil {
		return nil, t.url.problem(mode + parameters)
	}
	if config.ConnectTimeout == 0 && t.url.setting("connect_timeout") == "" {
		config.ConnectTimeout = connectTimeout
	}
	params := config.RuntimeParams
	params["application_name"] = cmp.Or(params["application_name"], "sluice")
	// Text is sent in UTF-8, whatever the role, the database or the URL sets. The server converts
	// it, and refuses what its own encoding cannot represent.
	maps.DeleteFunc(params, func(name, _ string) bool { return strings.EqualFold(name, "client_encoding") })
	params["client_encoding"] = "UTF8"
	setAddresses(config, t.addresses(config, said == ""))
	return config, nil
}

// addresses returns the hosts of a configuration, each with its TLS. This machine may be reached in
// clear text if nothing asks for TLS.
func (t *target) addresses(config *pgx.ConnConfig, unsaid bool) []*pgconn.FallbackConfig {
	var all []*pgconn.FallbackConfig
	for _, a := range addressesOf(&config.Config) {
		// verify-ca: the check that pgx makes looks at the roots of this very configuration, not at
		// those of a copy.
		if c := a.TLSConfig; c != nil && c.VerifyPeerCertificate != nil && c.RootCAs == nil {
			c.RootCAs = t.roots()
		}
		// sslrootcert=system asks for verify-full, to pgx as to libpq.
		if unsaid && a.TLSConfig != nil && loopback(a.Host) && t.url.setting("sslrootcert") != "system" {
			c := a.TLSConfig.Clone()
			c.InsecureSkipVerify = true // what sslmode=prefer means
			all = append(all, &pgconn.FallbackConfig{Host: a.Host, Port: a.Port, TLSConfig: c})
			if config.SSLNegotiation == "direct" {
				continue // it has no clear text
			}
			a.TLSConfig = nil
		}
		all = append(all, a)
	}
	return all
}

// addressesOf returns what pgx will try, in its order.
func addressesOf(c *pgconn.Config) []*pgconn.FallbackConfig {
	return append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
}

func setAddresses(c *pgx.ConnConfig, all []*pgconn.FallbackConfig) {
	c.Host, c.Port, c.TLSConfig, c.Fallbacks = all[0].Host, all[0].Port, all[0].TLSConfig, all[1:]
}

// verified reports whether TLS proves who the server is.
func verified(c *tls.Config) bool {
	return c != nil && (!c.InsecureSkipVerify || c.VerifyPeerCertificate != nil)
}

// login returns the login that the URL alone has.
func (t *target) login() login.Login {
	c := t.parsed
	all := addressesOf(&c.Config)
	host := c.Host
	if t.url.text == "" {
		host = "" // nobody asked for the host that pgx takes instead
	}
	return login.Login{
		Host: host, Port: c.Port, User: c.User, Password: login.NewPassword(c.Password), Database: c.Database,
		Verified: !slices.ContainsFunc(all, func(a *pgconn.FallbackConfig) bool { return !verified(a.TLSConfig) }),
		Several:  slices.ContainsFunc(all, func(a *pgconn.FallbackConfig) bool { return a.Host != c.Host || a.Port != c.Port }),
	}
}

// needsRoots reports whether the first connection will ask for the roots, as far as the URL says.
func (t *target) needsRoots() bool {
	return t.url.text == "" || slices.ContainsFunc(addressesOf(&t.parsed.Config), func(a *pgconn.FallbackConfig) bool {
		return verified(a.TLSConfig) && a.TLSConfig.RootCAs == nil
	})
}

// config returns a pgx configuration for a login. A secret can name another host than the URL; then
// its TLS is decided for that host.
func (t *target) config(l login.Login) (*pgx.ConnConfig, error) {
	c := t.parsed.Copy()
	if l.Host != c.Host || l.Port != c.Port {
		host := strings.ReplaceAll(url.QueryEscape(l.Host), "+", "%20") // to pgx a plus is no space
		var err error
		if c, err = t.parse("&host=" + host + "&port=" + strconv.Itoa(int(l.Port))); err != nil {
			return nil, err
		}
	}
	c.User, c.Password, c.Database = l.User, l.Password.Reveal(), l.Database
	all := addressesOf(&c.Config)
	for _, a := range all {
		if verified(a.TLSConfig) && a.TLSConfig.RootCAs == nil {
			a.TLSConfig = a.TLSConfig.Clone()
			a.TLSConfig.RootCAs = t.roots()
		}
	}
	setAddresses(c, all)
	return c, nil
}

// unverified returns what an attacker on the way could do. It is empty if TLS keeps them out, and
// for this machine, where there is no way.
func unverified(c *pgx.ConnConfig) string {
	var plain, encrypted []string
	for _, a := range addressesOf(&c.Config) {
		_, address := pgconn.NetworkAddress(a.Host, a.Port)
		switch {
		case loopback(a.Host) || verified(a.TLSConfig):
		case a.TLSConfig == nil && !slices.Contains(plain, address):
			plain = append(plain, address)
		case a.TLSConfig != nil && !slices.Contains(encrypted, address):
			encrypted = append(encrypted, address)
		}
	}
	encrypted = slices.DeleteFunc(encrypted, func(a string) bool { return slices.Contains(plain, a) })
	var all []string
	if len(plain) > 0 {
		all = append(all, "the connection to "+strings.Join(plain, ", ")+" can be in clear text: whoever is in between reads all rows, and the password unless it is hashed")
	}
	if len(encrypted) > 0 {
		all = append(all, "the connection to "+strings.Join(encrypted, ", ")+" is encrypted, and the server is not verified: whoever is in between can answer in its place, and read all rows")
	}
	return strings.Join(all, ", and ")
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	if host == "" || strings.EqualFold(host, "localhost") || strings.HasPrefix(host, "/") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
