package postgres

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/credentials/login"
)

// target is where a connection URL leads. Where nobody says which TLS, it is
// verify-full for each host that is not this machine.
type target struct {
	url    connURL
	roots  func() *x509.CertPool // what TLS trusts where the URL names none
	parsed *pgx.ConnConfig
}

// connectTimeout is how long an address may take to connect where nobody says.
// One that is silent would take the whole deadline: the URL's other hosts and
// the next attempt, which looks the host up anew, would never have their turn.
// It is shorter than retryBudget for that, and long enough for two packets in a
// row to be lost, which are sent again after 1 and 3 seconds.
const connectTimeout = 4 * time.Second

// parseURL reads a connection URL, which errors call by the name of its setting. An empty one
// leaves all to a secret. It asks for the roots only where pgx needs them at once, which verify-ca
// does.
func parseURL(text, name string, roots func() *x509.CertPool) (*target, error) {
	u, err := splitURL(text, name)
	if err != nil {
		return nil, err
	}
	t := &target{url: u, roots: roots}
	t.parsed, err = t.parse("")
	return t, err
}

// parse reads the URL with more parameters, which win over those it has.
func (t *target) parse(parameters string) (*pgx.ConnConfig, error) {
	mode, said := "", t.url.setting("sslmode")
	if !t.url.has("sslmode") { // written out, it wins over a service file too
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
	// Text is sent in UTF-8, whatever the role, the database or the URL has set.
	// The server converts it, and refuses what its own encoding cannot represent.
	for name := range params {
		if strings.EqualFold(name, "client_encoding") {
			delete(params, name)
		}
	}
	params["client_encoding"] = "UTF8"
	setAddresses(config, t.addresses(config, said == ""))
	return config, nil
}

// addresses are the hosts of a configuration, each with its TLS. This machine
// may be reached in clear text where nobody asks for TLS.
func (t *target) addresses(config *pgx.ConnConfig, unsaid bool) []*pgconn.FallbackConfig {
	var all []*pgconn.FallbackConfig
	for _, a := range addressesOf(&config.Config) {
		// verify-ca: the check that pgx made looks at the roots of this very
		// configuration, not at those of a copy.
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

// addressesOf lists what pgx will try, in its order.
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

// login is what the URL alone says.
func (t *target) login() login.Login {
	c := t.parsed
	all := addressesOf(&c.Config)
	host := c.Host
	if t.url.text == "" {
		host = "" // what pgx takes instead was nobody's wish
	}
	return login.Login{
		Host: host, Port: c.Port, User: c.User, Password: login.NewPassword(c.Password), Database: c.Database,
		Verified: !slices.ContainsFunc(all, func(a *pgconn.FallbackConfig) bool { return !verified(a.TLSConfig) }),
		Several:  slices.ContainsFunc(all, func(a *pgconn.FallbackConfig) bool { return a.Host != c.Host || a.Port != c.Port }),
	}
}

// needsRoots reports whether the first connection will ask for the roots, as
// far as the URL says.
func (t *target) needsRoots() bool {
	return t.url.text == "" || slices.ContainsFunc(addressesOf(&t.parsed.Config), func(a *pgconn.FallbackConfig) bool {
		return verified(a.TLSConfig) && a.TLSConfig.RootCAs == nil
	})
}

// config is a pgx configuration for a login. A secret can name another host
// than the URL; the TLS of that one is decided anew.
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

// unverified says what somebody in between could do, and is empty where TLS
// keeps them out, and for this machine, which has nobody in between.
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
	var says []string
	if len(plain) > 0 {
		says = append(says, "the connection to "+strings.Join(plain, ", ")+" can be in clear text: whoever is in between reads all rows, and the password unless it is hashed")
	}
	if len(encrypted) > 0 {
		says = append(says, "the connection to "+strings.Join(encrypted, ", ")+" is encrypted, and the server is not verified: whoever is in between can answer in its place, and read all rows")
	}
	return strings.Join(says, ", and ")
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	if host == "" || strings.EqualFold(host, "localhost") || strings.HasPrefix(host, "/") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
