package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/message"
)

// broken describes the end of a connection that was there. An error of ours,
// when the context has ended, goes before what the network said of it.
func broken(err, ended error) string {
	switch {
	case errors.Is(ended, context.DeadlineExceeded):
		return "no time left"
	case ended != nil:
		return "stopped"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		at := ""
		if op.Addr != nil {
			at = " to " + op.Addr.String()
		}
		return fmt.Sprintf("the connection%s broke: %v", at, op.Err)
	}
	return "the connection broke"
}

// obstacle is why one attempt to connect failed.
type obstacle struct {
	what, remedy  string
	configuration bool   // somebody has to fix something
	state         string // of the server's error, if it is one
}

// unconnected wraps an error of connecting: why there is no session. A URL can
// have several hosts and a host several addresses: each that was tried is
// named, with what came of it, and one that somebody has to fix makes the whole
// a configuration error.
func (s *Store) unconnected(ctx context.Context, err *pgconn.ConnectError) *DatabaseError {
	e := &DatabaseError{Cause: message.CauseTransient, err: over(ctx)}
	all := hosts(err.Config)
	if errors.Is(err, context.Canceled) {
		e.say(connecting, "stopped before "+all+" answered", "")
		return e
	}
	tries := []error{err}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		tries = joined.Unwrap()
	}
	var came []string
	remedy := ""
	for _, try := range tries {
		if withoutTLS(try) && allowsClearText(err.Config, try) {
			continue // the attempt without TLS decides
		}
		o := s.missed(try, err.Config)
		if !slices.Contains(came, o.what) {
			came = append(came, o.what)
		}
		if e.SQLState == "" || o.configuration && e.Cause != message.CauseConfiguration {
			e.SQLState = o.state
		}
		if remedy == "" || o.configuration && e.Cause != message.CauseConfiguration {
			remedy = o.remedy
		}
		if o.configuration {
			e.Cause = message.CauseConfiguration
		}
	}
	e.say(connecting, strings.Join(came, ", "), remedy)
	return e
}

// missed judges one attempt to connect. What pgx finds without an error of the
// network, as a method of authentication that the URL forbids, does not pass.
func (s *Store) missed(err error, c *pgconn.Config) obstacle {
	var (
		dns      *net.DNSError
		op       *net.OpError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		other    *tls.CertificateVerificationError
	)
	host, _, _, _ := peer(err)
	at := place(err, hosts(c))
	const where = "check host and port in DATABASE_URL, and that "
	if server := asServer(err); server != nil {
		o := s.sessionRefused(server, c)
		if strings.Contains(hosts(c), ", ") {
			o.what = at + ": " + o.what
		}
		return o
	}
	switch {
	case errors.As(err, &dns):
		o := obstacle{what: "the host " + dns.Name + " does not resolve", remedy: "check the host in DATABASE_URL, and that this network can resolve it", configuration: dns.IsNotFound}
		if dns.IsTimeout {
			o.what += " in time"
		}
		return o
	case errors.As(err, &unknown):
		return obstacle{what: "the certificate of " + at + " is signed by an authority that is not trusted here", remedy: "name its root certificates in DATABASE_URL with sslrootcert=<file>", configuration: true}
	case errors.As(err, &hostname):
		return obstacle{what: "the certificate of " + at + " is for another host name", remedy: "use in DATABASE_URL the name that the certificate has", configuration: true}
	case errors.As(err, &invalid):
		return obstacle{what: "the certificate of " + at + " is not valid", remedy: "check its dates and its use", configuration: true}
	case errors.As(err, &other):
		return obstacle{what: "the certificate of " + at + " cannot be verified: " + oneLine(other.Err.Error()), remedy: "check the certificate", configuration: true}
	case withoutTLS(err) && loopback(host):
		return obstacle{what: at + " does not speak TLS", remedy: fmt.Sprintf("turn TLS on there, or set sslmode=disable (%s): to this machine clear text will do", s.target.url.source("sslmode")), configuration: true}
	case withoutTLS(err):
		return obstacle{what: at + " does not speak TLS", remedy: "turn TLS on there (ssl = on); without it the password and all rows could be read on the way", configuration: true}
	case errors.As(err, &op) && op.Op == "remote error": // an alert of TLS
		return obstacle{what: at + " ended the TLS handshake: " + op.Err.Error(), remedy: "check what it wants: perhaps a client certificate (sslcert and sslkey in DATABASE_URL), or a newer version of TLS", configuration: true}
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		return obstacle{what: "no answer from " + at + " in time", remedy: where + "its firewall or security group lets this network in"}
	case errors.As(err, &op) && op.Op == "dial":
		return obstacle{what: fmt.Sprintf("cannot connect to %s: %v", at, op.Err), remedy: where + "the server runs and lets this network in"}
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection), errors.Is(err, pgconn.ErrPrimaryConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return obstacle{what: at + " is not what target_session_attrs asks for", remedy: "it passes when the fail-over is done; else check the hosts in DATABASE_URL"}
	case op != nil:
		return obstacle{what: "the connection to " + at + " broke: " + op.Err.Error(), remedy: where + "the server runs"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return obstacle{what: "the connection to " + at + " broke", remedy: where + "the server runs"}
	default:
		_, why, found := strings.Cut(err.Error(), "): ")
		if !found {
			why = err.Error()
		}
		return obstacle{what: "no session with " + at + ": " + oneLine(why), remedy: "check the parameters in DATABASE_URL, and that a Postgres answers there", configuration: true}
	}
}

// withoutTLS reports whether an attempt found that its host does not speak TLS.
func withoutTLS(attempt error) bool {
	var record tls.RecordHeaderError
	return errors.As(attempt, &record) || strings.Contains(attempt.Error(), "server refused TLS connection")
}

// allowsClearText reports whether a configuration has the host of an attempt
// tried without TLS too, as sslmode=prefer does.
func allowsClearText(c *pgconn.Config, attempt error) bool {
	host, _, port, ok := peer(attempt)
	return ok && slices.ContainsFunc(addressesOf(c), func(f *pgconn.FallbackConfig) bool {
		return f.TLSConfig == nil && f.Host == host && strconv.Itoa(int(f.Port)) == port
	})
}

// place is where an attempt to connect went, as people write it.
func place(attempt error, otherwise string) string {
	host, ip, port, ok := peer(attempt)
	switch {
	case !ok:
		return otherwise
	case host == ip:
		return net.JoinHostPort(ip, port)
	default:
		return net.JoinHostPort(host, port) + " (" + ip + ")"
	}
}

// peer is where an attempt to connect went. Only the beginning of pgx's text
// has it: "10.0.0.5:5432 (db.example.com): dial error".
func peer(attempt error) (host, ip, port string, ok bool) {
	address, rest, _ := strings.Cut(attempt.Error(), " (")
	host, _, ok = strings.Cut(rest, "): ")
	ip, port, err := net.SplitHostPort(address)
	return host, ip, port, ok && err == nil
}

// hosts are the hosts of a URL, each once: TLS and clear text are two entries.
func hosts(c *pgconn.Config) string {
	var all []string
	for _, a := range addressesOf(c) {
		if _, address := pgconn.NetworkAddress(a.Host, a.Port); !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return strings.Join(all, ", ")
}
