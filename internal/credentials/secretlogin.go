package credentials

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"sluice/internal/credentials/login"
)

// secretLogin is the login in a secret of the form that RDS gives them.
type secretLogin struct {
	secret *secret
	kept   *kept[login.Login] // only what the secret says; it knows nothing of TLS
}

func newSecretLogin(s *secret, c *clock, log *slog.Logger) *secretLogin {
	l := &secretLogin{secret: s}
	l.kept = newKept(c, l.read, s.warn(log))
	return l
}

func (s *secretLogin) read(ctx context.Context) (login.Login, error) {
	text, err := s.secret.read(ctx)
	if err != nil {
		return login.Login{}, err
	}
	said, err := parseLogin(text)
	if err != nil {
		return login.Login{}, s.secret.unusable(err)
	}
	return said, nil
}

func (s *secretLogin) fetch(ctx context.Context, url login.Login) (login.Login, error) {
	said, err := s.kept.get(ctx)
	if err != nil {
		return login.Login{}, err
	}
	l := over(url, said)
	if l.Host == "" {
		return login.Login{}, operator(`neither DATABASE_URL nor %s names a host; add "host" to the secret, or set DATABASE_URL=postgres://host:5432/database`, s.secret)
	}
	return l, nil
}

func (s *secretLogin) refresh(ctx context.Context, used login.Login) (login.Login, error) {
	said, another, err := s.kept.refetch(ctx, func(said login.Login) bool { return over(used, said).Equal(used) })
	switch {
	case err != nil:
		return login.Login{}, err
	case !another:
		return login.Login{}, operator("%s has no other user and password than those that the database refused; correct them, or if a rotation is under way wait for its end", s.secret)
	}
	return over(used, said), nil
}

// over puts what a secret says over what a URL says.
func over(url, said login.Login) login.Login {
	if said.Host != "" {
		url.Host = said.Host
	}
	if said.Port != 0 {
		url.Port = said.Port
	}
	if said.Database != "" {
		url.Database = said.Database
	}
	url.User, url.Password = said.User, said.Password
	return url
}

// parseLogin reads {"username":…,"password":…,"host":…,"port":…,"dbname":…,
// "engine":…}. The first two must be there; a port may be a number or a
// string; other names are skipped. Errors hold nothing of the text.
func parseLogin(text []byte) (said login.Login, err error) {
	const form = `it must look like {"username":"…","password":"…","host":"…","port":5432,"dbname":"…"}`
	dec := jsontext.NewDecoder(strings.NewReader(string(text)))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return said, errors.New("it is no JSON object; " + form)
	}
	var password, engine string
	fields := map[string]*string{"username": &said.User, "password": &password, "host": &said.Host, "dbname": &said.Database, "engine": &engine}
	for dec.PeekKind() != '}' {
		var name string
		if json.UnmarshalDecode(dec, &name) != nil {
			return said, errors.New("it is no valid JSON; " + form)
		}
		switch field := fields[name]; {
		case name == "port":
			said.Port, err = readPort(dec)
		case field != nil:
			err = readText(dec, field, name) // name is one of those above
		default:
			if dec.SkipValue() != nil {
				err = errors.New("it is no valid JSON; " + form)
			}
		}
		if err != nil {
			return login.Login{}, err
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return login.Login{}, errors.New("it is no valid JSON; " + form)
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return login.Login{}, errors.New("something follows its JSON object")
	}
	switch {
	case said.User == "":
		return login.Login{}, errors.New(`it has no "username"; ` + form)
	case password == "":
		return login.Login{}, errors.New(`it has no "password"; ` + form)
	case engine != "" && !strings.Contains(engine, "postgres"):
		return login.Login{}, errors.New(`its "engine" is not postgres: it is the secret of another database`)
	}
	if err := checkHost(said.Host); err != nil {
		return login.Login{}, err
	}
	said.Password = login.NewPassword(password)
	return said, nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// checkHost finds a host that is none. As a name it would not resolve, which
// looks like an outage.
func checkHost(host string) error {
	switch _, port, err := net.SplitHostPort(host); {
	case strings.HasPrefix(host, "/") || isAddress(host): // a socket's folder, an address
		return nil
	case err == nil && strings.Trim(port, "0123456789") == "":
		return errors.New(`its "host" has a port in it: write "host":"db.example.com","port":5432`)
	case strings.Contains(host, ","):
		return errors.New(`its "host" names several hosts: write one, as the endpoint of the cluster`)
	case strings.ContainsAny(host, ":/@?#[]%\\\"'") || strings.ContainsFunc(host, unicode.IsSpace) || strings.ContainsFunc(host, unicode.IsControl):
		return errors.New(`its "host" is not a host name: write "host":"db.example.com"`)
	}
	return nil
}

// readText reads a string; null is an empty one.
func readText(dec *jsontext.Decoder, field *string, name string) error {
	if kind := dec.PeekKind(); kind != '"' && kind != 'n' || json.UnmarshalDecode(dec, field) != nil {
		return errors.New("its " + strconv.Quote(name) + " is no string")
	}
	return nil
}

// readPort reads a number or a string; null and "" are no port.
func readPort(dec *jsontext.Decoder) (uint16, error) {
	bad := errors.New(`its "port" is no number from 1 to 65535`)
	t, err := dec.ReadToken()
	if err != nil {
		return 0, bad
	}
	switch t.Kind() {
	case 'n':
		return 0, nil
	case '0', '"':
		text := strings.TrimSpace(t.String())
		if text == "" {
			return 0, nil
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return 0, bad // not err: it quotes the text
		}
		return uint16(n), nil
	default:
		return 0, bad
	}
}

// warn returns what logs that a secret could not be read again.
func (s *secret) warn(log *slog.Logger) func(context.Context, time.Duration, error) {
	return func(ctx context.Context, age time.Duration, err error) {
		log.WarnContext(ctx, "a secret could not be read again; what it said before is used on",
			"variable", s.variable, "age_seconds", int64(age/time.Second), "error", err.Error())
	}
}
