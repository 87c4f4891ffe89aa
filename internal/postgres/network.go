package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"sluice/internal/fault"
	"sluice/internal/message"
)

// lost returns why a connection ended. If our context has ended, that is why, whatever the network
// says.
func lost(err, ended error) string {
	if ended != nil {
		return fault.Stopped(ended)
	}
	t, text := fault.Network(err), "the connection"
	if t.Addr != nil {
		text += " to " + t.Addr.String()
	}
	text += " broke"
	if t.Detail != nil {
		text += ": " + t.Detail.Error()
	}
	return text
}

// obstacle is why one attempt to connect failed.
type obstacle struct {
	what, remedy string
	cause        message.Cause
	code         string // the SQLSTATE, if it is an error of the server
}

// unconnected returns why there is no session. A URL can have several hosts and a host several
// addresses: the error names each that was tried and its result. One that somebody has to fix makes
// the whole a configuration error.
func (s *Store) unconnected(ctx context.Context, err *pgconn.ConnectError) error {
	ended, all := contextErr(ctx), hosts(err.Config)
	if errors.Is(err, context.Canceled) {
		return databaseError(fault.Error{Cause: message.CauseTransient, What: connecting + ": stopped before " + all + " answered", Err: ended})
	}
	tries := []error{err}
	if joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err); ok {
		tries = joined.Unwrap()
	}
	var came []string
	var decides obstacle // the first, or the first that somebody has to fix
	for _, try := range tries {
		if withoutTLS(try) && allowsClearText(err.Config, try) {
			continue // the attempt without TLS decides
		}
		o := s.obstacle(try, err.Config)
		if !slices.Contains(came, o.what) {
			came = append(came, o.what)
		}
		if decides.cause == message.CauseNone || o.cause == message.CauseConfiguration && decides.cause != o.cause {
			decides = o
		}
	}
	return databaseError(fault.Error{
		Cause: cmp.Or(decides.cause, message.CauseTransient), Code: decides.code, What: connecting + ": " + strings.Join(came, ", "), Remedy: decides.remedy, Err: ended,
	})
}

// obstacle returns why one attempt to connect failed. Errors that pgx finds without the network,
// such as a method of authentication that the URL forbids, do not pass by themselves.
func (s *Store) obstacle(err error, c *pgconn.Config) obstacle {
	url := s.names.URL
	host, _, _, _ := peer(err)
	at := place(err, hosts(c))
	reach := "check host and port in " + url + ", and that "
	configuration := func(what, remedy string) obstacle {
		return obstacle{what: what, remedy: remedy, cause: message.CauseConfiguration}
	}
	if server := asServer(err); server != nil {
		o := s.sessionRefused(server, c)
		if strings.Contains(hosts(c), ", ") {
			o.what = at + ": " + o.what
		}
		return o
	}
	switch {
	case withoutTLS(err) && loopback(host):
		return configuration(at+" does not speak TLS", fmt.Sprintf("turn TLS on there, or set sslmode=disable (%s): on this machine clear text is safe", s.target.url.source("sslmode")))
	case withoutTLS(err):
		return configuration(at+" does not speak TLS", "turn TLS on there (ssl = on); without it the password and all rows could be read on the way")
	case errors.Is(err, pgconn.ErrReadOnlyConnection), errors.Is(err, pgconn.ErrReadWriteConnection), errors.Is(err, pgconn.ErrPrimaryConnection), errors.Is(err, pgconn.ErrStandbyConnection):
		return obstacle{at + " is not what target_session_attrs asks for", "it passes when the fail-over is done; else check the hosts in " + url, message.CauseTransient, ""}
	}
	t := fault.Network(err)
	o := obstacle{cause: t.Cause()}
	switch t.Kind {
	case fault.NoSuchHost, fault.Unresolved:
		o.what, o.remedy = "the host "+t.Host+" does not resolve", "check the host in "+url+", and that this network can resolve it"
		if os.IsTimeout(t.Detail) {
			o.what += " in time"
		}
	case fault.UnknownAuthority:
		o.what, o.remedy = "the certificate of "+at+" is signed by an authority that is not trusted here", "name its root certificates in "+url+" with sslrootcert=<file>"
	case fault.WrongHost:
		o.what, o.remedy = "the certificate of "+at+" is for another host name", "use in "+url+" the name that the certificate has"
	case fault.InvalidCertificate:
		o.what, o.remedy = "the certificate of "+at+" is not valid", "check its dates and its use"
	case fault.Unverified:
		o.what, o.remedy = "the certificate of "+at+" cannot be verified: "+oneLine(t.Detail.Error()), "check the certificate"
	case fault.Alert:
		o.what, o.remedy = at+" ended the TLS handshake: "+t.Detail.Error(), "check what it wants: perhaps a client certificate (sslcert and sslkey in "+url+"), or a newer version of TLS"
	case fault.Timeout:
		o.what, o.remedy = "no answer from "+at+" in time", reach+"its firewall or security group lets this network in"
	case fault.Refused:
		o.what, o.remedy = fmt.Sprintf("cannot connect to %s: %v", at, t.Detail), reach+"the server runs and lets this network in"
	case fault.Broken:
		o.what, o.remedy = "the connection to "+at+" broke", reach+"the server runs"
		if t.Detail != nil {
			o.what += ": " + t.Detail.Error()
		}
	case fault.Unknown, fault.NoTLS: // withoutTLS has found NoTLS before
		_, why, found := strings.Cut(err.Error(), "): ")
		if !found {
			why = err.Error()
		}
		return configuration("no session with "+at+": "+oneLine(why), "check the parameters in "+url+", and that a Postgres answers there")
	}
	return o
}

// sessionRefused returns why the server gives no session. At that time the text of its error has no
// values of rows, and it helps most.
func (s *Store) sessionRefused(err *pgconn.PgError, c *pgconn.Config) obstacle {
	cause := message.CauseTransient
	if judgeSession(err) == blameConfiguration {
		cause = message.CauseConfiguration
	}
	return obstacle{describeSession(err), s.sessionRemedy(err, c), cause, err.Code}
}

// oneLine makes a text of another program fit for an error.
func oneLine(text string) string {
	const most = 300
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > most {
		text = string(runes[:most]) + "…"
	}
	return text
}

// withoutTLS reports whether an attempt found that its host does not speak TLS.
func withoutTLS(attempt error) bool {
	return fault.Network(attempt).Kind == fault.NoTLS || strings.Contains(attempt.Error(), "server refused TLS connection")
}

// allowsClearText reports whether a configuration has the host of an attempt tried without TLS too,
// as sslmode=prefer does.
func allowsClearText(c *pgconn.Config, attempt error) bool {
	host, _, port, ok := peer(attempt)
	return ok && slices.ContainsFunc(addressesOf(c), func(f *pgconn.FallbackConfig) bool {
		return f.TLSConfig == nil && f.Host == host && strconv.Itoa(int(f.Port)) == port
	})
}

// place returns where an attempt to connect went, as people write it.
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

// peer returns where an attempt to connect went. Only the beginning of pgx's text has it:
// "10.0.0.5:5432 (db.example.com): dial error".
func peer(attempt error) (host, ip, port string, ok bool) {
	address, rest, _ := strings.Cut(attempt.Error(), " (")
	host, _, ok = strings.Cut(rest, "): ")
	ip, port, err := net.SplitHostPort(address)
	return host, ip, port, ok && err == nil
}

// hosts returns the hosts of a URL, each once: TLS and clear text are two entries.
func hosts(c *pgconn.Config) string {
	var all []string
	for _, a := range addressesOf(c) {
		if _, address := pgconn.NetworkAddress(a.Host, a.Port); !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return strings.Join(all, ", ")
}
