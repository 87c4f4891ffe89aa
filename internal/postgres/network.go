package postgres

import (
	"cmp"
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
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
	var decides fault.Error // the first, or the first that somebody has to fix
	for _, try := range tries {
		if withoutTLS(try) && allowsClearText(err.Config, try) {
			continue // the attempt without TLS decides
		}
		o := s.obstacle(try, err.Config)
		if !slices.Contains(came, o.What) {
			came = append(came, o.What)
		}
		if decides.Cause == message.CauseNone || o.Cause == message.CauseConfiguration && decides.Cause != o.Cause {
			decides = o
		}
	}
	decides.Cause = cmp.Or(decides.Cause, message.CauseTransient)
	decides.What, decides.Err = connecting+": "+strings.Join(came, ", "), ended
	return databaseError(decides)
}

// obstacle returns why one attempt to connect failed. Errors that pgx finds without the network,
// such as a method of authentication that the URL forbids, do not pass by themselves.
func (s *Store) obstacle(err error, c *pgconn.Config) fault.Error {
	url, at := s.names.URL, place(err, hosts(c))
	if server := asServer(err); server != nil {
		// At this time the text of the server's error has no values of rows, and it helps most.
		o := fault.Error{Cause: judgeSession(server), Code: server.Code, What: describeSession(server), Remedy: s.sessionRemedy(server, c)}
		if strings.Contains(hosts(c), ", ") {
			o.What = at + ": " + o.What
		}
		return o
	}
	if errors.Is(err, pgconn.ErrReadOnlyConnection) || errors.Is(err, pgconn.ErrReadWriteConnection) || errors.Is(err, pgconn.ErrPrimaryConnection) || errors.Is(err, pgconn.ErrStandbyConnection) {
		return fault.Error{Cause: message.CauseTransient, What: at + " is not what target_session_attrs asks for", Remedy: "it passes when the fail-over is done; else check the hosts in " + url}
	}
	t := fault.Network(err)
	if withoutTLS(err) {
		t.Kind = fault.NoTLS
	}
	o, why := fault.Error{Cause: t.Cause()}, ""
	if t.Detail != nil {
		why = ": " + oneLine(t.Detail.Error())
	}
	texts := obstacles[t.Kind]
	switch t.Kind {
	case fault.NoTLS:
		if host, _, _, _ := peer(err); loopback(host) {
			texts.remedy = "turn TLS on there, or set sslmode=disable ($sslmode): on this machine clear text is safe"
		}
	case fault.Unresolved:
		if os.IsTimeout(t.Detail) {
			texts.what += " in time"
		}
	case fault.Unknown:
		o.Cause = message.CauseConfiguration
		_, text, found := strings.Cut(err.Error(), "): ")
		if !found {
			text = err.Error()
		}
		why = ": " + oneLine(text)
	default:
	}
	fill := strings.NewReplacer("$at", at, "$host", t.Host, "$why", why, "$url", url, "$sslmode", s.target.url.source("sslmode"))
	o.What, o.Remedy = fill.Replace(texts.what), fill.Replace(texts.remedy)
	return o
}

// obstacles are what happened and what to do, by the kind of trouble.
var obstacles = map[fault.Kind]struct{ what, remedy string }{
	fault.Unknown:            {"no session with $at$why", "check the parameters in $url, and that a Postgres answers there"},
	fault.NoSuchHost:         {"the host $host does not resolve", resolves},
	fault.Unresolved:         {"the host $host does not resolve", resolves},
	fault.Refused:            {"cannot connect to $at$why", reach + "the server runs and lets this network in"},
	fault.Timeout:            {"no answer from $at in time", reach + "its firewall or security group lets this network in"},
	fault.Broken:             {"the connection to $at broke$why", reach + "the server runs"},
	fault.NoTLS:              {"$at does not speak TLS", "turn TLS on there (ssl = on); without it the password and all rows could be read on the way"},
	fault.Alert:              {"$at ended the TLS handshake$why", "check what it wants: perhaps a client certificate (sslcert and sslkey in $url), or a newer version of TLS"},
	fault.UnknownAuthority:   {"the certificate of $at is signed by an authority that is not trusted here", "name its root certificates in $url with sslrootcert=<file>"},
	fault.WrongHost:          {"the certificate of $at is for another host name", "use in $url the name that the certificate has"},
	fault.InvalidCertificate: {"the certificate of $at is not valid", "check its dates and its use"},
	fault.Unverified:         {"the certificate of $at cannot be verified$why", "check the certificate"},
}

const (
	resolves = "check the host in $url, and that this network can resolve it"
	reach    = "check host and port in $url, and that "
)

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
