package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
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

// unreachable describes why there is no connection, and says whether that is
// the operator's to mend. A URL can have several hosts and a host several
// addresses: each that was tried is named, with what came of it.
func unreachable(err *pgconn.ConnectError) (what, remedy string, operator bool) {
	all := hosts(err.Config)
	if errors.Is(err, context.Canceled) {
		return "stopped before " + all + " answered", "", false
	}
	tries := []error{err}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		tries = joined.Unwrap()
	}
	var came []string
	for _, try := range tries {
		if withoutTLS(try) && allowsClearText(err.Config, try) {
			continue // the attempt without TLS decides
		}
		one, next, theirs := missed(try, place(try, all))
		if !slices.Contains(came, one) {
			came = append(came, one)
		}
		if remedy == "" || theirs && !operator {
			remedy, operator = next, theirs
		}
	}
	return strings.Join(came, ", "), remedy, operator
}

// missed describes one attempt to connect.
func missed(err error, at string) (what, remedy string, operator bool) {
	var (
		dns      *net.DNSError
		op       *net.OpError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &dns):
		late := ""
		if dns.IsTimeout {
			late = " in time"
		}
		return fmt.Sprintf("the host %s does not resolve%s", dns.Name, late), "check the host in DATABASE_URL, and that this network can resolve it", false
	case errors.As(err, &unknown):
		return "the certificate of " + at + " is signed by an authority that is not trusted here", "name its root certificates in DATABASE_URL with sslrootcert=<file>", true
	case errors.As(err, &hostname):
		return "the certificate of " + at + " is for another host name", "use in DATABASE_URL the name that the certificate has", true
	case errors.As(err, &invalid):
		return "the certificate of " + at + " is not valid", "check its dates and its use", true
	case withoutTLS(err):
		return at + " does not speak TLS", "turn TLS on there, or allow clear text with ?sslmode=disable in DATABASE_URL", true
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		return "no answer from " + at + " in time", "check host and port in DATABASE_URL, and that its firewall or security group lets this network in", false
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("cannot connect to %s: %v", at, op.Err), "check host and port in DATABASE_URL, and that the server runs and lets this network in", false
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection), errors.Is(err, pgconn.ErrPrimaryConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return at + " is not what target_session_attrs asks for", "it passes when the fail-over is done; else check the hosts in DATABASE_URL", false
	default:
		why := ""
		if op != nil {
			why = ": " + op.Err.Error()
		}
		return "the connection to " + at + " broke" + why, "check host and port in DATABASE_URL, and that the server runs", false
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
	all := append([]*pgconn.FallbackConfig{{Host: c.Host, Port: c.Port, TLSConfig: c.TLSConfig}}, c.Fallbacks...)
	return ok && slices.ContainsFunc(all, func(f *pgconn.FallbackConfig) bool {
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
	_, first := pgconn.NetworkAddress(c.Host, c.Port)
	all := []string{first}
	for _, f := range c.Fallbacks {
		if _, next := pgconn.NetworkAddress(f.Host, f.Port); !slices.Contains(all, next) {
			all = append(all, next)
		}
	}
	return strings.Join(all, ", ")
}
