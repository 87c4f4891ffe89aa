package fault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"

	"example.com/owner/sluice/internal/message"
)

// Kind is one kind of network error.
type Kind uint8

// The kinds.
const (
	// Unknown is an error that is not one of a network.
	Unknown Kind = iota
	// NoSuchHost: the resolver says that the name does not exist.
	NoSuchHost
	// Unresolved: the resolver did not answer, or failed.
	Unresolved
	// Refused: the connection failed (refused, unreachable, no route).
	Refused
	// Timeout: no answer in time.
	Timeout
	// Broken: a connection ended before its time.
	Broken
	// NoTLS: the other side does not speak TLS.
	NoTLS
	// Alert: the other side ended the TLS handshake.
	Alert
	// UnknownAuthority: an authority that this machine does not trust has signed the certificate.
	UnknownAuthority
	// WrongHost: the certificate is for another host name.
	WrongHost
	// InvalidCertificate: the certificate has expired, or is not for a server.
	InvalidCertificate
	// Unverified: the certificate cannot be verified for another reason.
	Unverified
)

// Trouble is a classified network error.
type Trouble struct {
	Kind Kind
	// Host is the name that does not resolve.
	Host string
	// Addr is the address of the connection, nil where there is none.
	Addr net.Addr
	// Detail is the cause within the error of the network or of TLS, nil where Kind says it all.
	// Its text holds no value.
	Detail error
}

// Cause returns CauseConfiguration for trouble that somebody has to fix, such as a name that does
// not exist or a certificate that does not fit. All other trouble passes by itself.
func (t Trouble) Cause() message.Cause {
	switch t.Kind {
	case NoSuchHost, NoTLS, Alert, UnknownAuthority, WrongHost, InvalidCertificate, Unverified:
		return message.CauseConfiguration
	default:
		return message.CauseTransient
	}
}

// Network classifies an error of a network or of TLS. It does not look at contexts: the caller asks
// first whether its own time is up.
func Network(err error) Trouble {
	var (
		dns       *net.DNSError
		op        *net.OpError
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		other     *tls.CertificateVerificationError
		record    tls.RecordHeaderError
		timeout   net.Error
	)
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return Trouble{Kind: NoSuchHost, Host: dns.Name}
	case errors.As(err, &dns):
		return Trouble{Kind: Unresolved, Host: dns.Name, Detail: dns}
	case errors.As(err, &authority):
		return Trouble{Kind: UnknownAuthority}
	case errors.As(err, &host):
		return Trouble{Kind: WrongHost}
	case errors.As(err, &invalid):
		return Trouble{Kind: InvalidCertificate}
	case errors.As(err, &other):
		return Trouble{Kind: Unverified, Detail: other.Err}
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return Trouble{Kind: NoTLS}
	}
	t := Trouble{}
	if errors.As(err, &op) {
		t.Addr, t.Detail = op.Addr, op.Err
	}
	switch {
	case op != nil && op.Op == "remote error":
		t.Kind = Alert
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		t.Kind = Timeout
	case op != nil && op.Op == "dial":
		t.Kind = Refused
	case op != nil, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		t.Kind = Broken
	}
	return t
}
