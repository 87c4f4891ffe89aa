package credentials

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

	"example.com/owner/sluice/internal/credentials/login"
)

// secretLogin is the login in a secret of the form that RDS uses.
type secretLogin struct {
	secret *secret
	cache  *cache[login.Login] // only what the secret says; it knows nothing of TLS
	url    string              // the setting of the database's URL
}

func newSecretLogin(s *secret, c *clock, o Options) *secretLogin {
	l := &secretLogin{secret: s, url: o.Names.URL}
	l.cache = newCache(c, l.read, s.warn(o.Log))
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
	said, err := s.cache.get(ctx)
	if err != nil {
		return login.Login{}, err
	}
	l := merge(url, said)
	if l.Host == "" {
		return login.Login{}, misconfigured(fmt.Sprintf("neither %s nor %s names a host", s.url, s.secret), fmt.Sprintf(`add "host" to the secret, or set %s=postgres://host:5432/database`, s.url))
	}
	return l, nil
}

func (s *secretLogin) refresh(ctx context.Context, used login.Login) (login.Login, error) {
	said, ok, err := s.cache.replace(ctx, func(said login.Login) bool { return merge(used, said).Equal(used) })
	switch {
	case err != nil:
		return login.Login{}, err
	case !ok:
		return login.Login{}, misconfigured(s.secret.String()+" has no other user and password than those that the database refused", "correct them, or wait until a rotation in progress has ended")
	}
	return merge(used, said), nil
}

// merge returns the URL's login with the secret's values in it.
func merge(url, said login.Login) login.Login {
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

// parseLogin reads {"username":…,"password":…,"host":…,"port":…,"dbname":…,"engine":…}. The first
// two are required; a port may be a number or a string; other names are ignored. Errors hold
// nothing of the text.
func parseLogin(text []byte) (said login.Login, err error) {
	invalid := func(what string) error {
		return misconfigured(what, `it must look like {"username":"…","password":"…","host":"…","port":5432,"dbname":"…"}`)
	}
	var in struct {
		User     string         `json:"username"`
		Password string         `json:"password"`
		Host     string         `json:"host"`
		Port     jsontext.Value `json:"port"`
		Database string         `json:"dbname"`
		Engine   string         `json:"engine"`
	}
	dec := jsontext.NewDecoder(bytes.NewReader(text))
	if dec.PeekKind() != '{' {
		return said, invalid("it is not a JSON object")
	}
	if err := json.UnmarshalDecode(dec, &in); err != nil {
		if wrong, ok := errors.AsType[*json.SemanticError](err); ok {
			return said, errors.New("its " + strconv.Quote(wrong.JSONPointer.LastToken()) + " is not a string") // one of the names above
		}
		return said, invalid("it is not valid JSON")
	}
	if _, err := dec.ReadToken(); !errors.Is(err, io.EOF) {
		return said, invalid("text follows its JSON object")
	}
	port, err := readPort(in.Port)
	switch {
	case err != nil:
		return said, err
	case in.User == "":
		return said, invalid(`it has no "username"`)
	case in.Password == "":
		return said, invalid(`it has no "password"`)
	case in.Engine != "" && !strings.Contains(in.Engine, "postgres"):
		return said, misconfigured(`its "engine" is not postgres`, "it is the secret of another database: name the right one")
	}
	if err := checkHost(in.Host); err != nil {
		return said, err
	}
	return login.Login{User: in.User, Password: login.NewPassword(in.Password), Host: in.Host, Port: port, Database: in.Database}, nil
}

// checkHost finds a host that is not one. As a name it would not resolve.
func checkHost(host string) error {
	if _, err := netip.ParseAddr(host); err == nil || strings.HasPrefix(host, "/") { // an address, a socket's folder
		return nil
	}
	switch _, port, err := net.SplitHostPort(host); {
	case err == nil && strings.Trim(port, "0123456789") == "":
		return misconfigured(`its "host" has a port in it`, `write "host":"db.example.com","port":5432`)
	case strings.Contains(host, ","):
		return misconfigured(`its "host" names several hosts`, "write one, such as the cluster's endpoint")
	case strings.ContainsAny(host, ":/@?#[]%\\\"'") || strings.ContainsFunc(host, unicode.IsSpace) || strings.ContainsFunc(host, unicode.IsControl):
		return misconfigured(`its "host" is not a host name`, `write "host":"db.example.com"`)
	}
	return nil
}

// readPort reads a number or a string; null and "" mean no port.
func readPort(v jsontext.Value) (uint16, error) {
	text := strings.TrimSpace(strings.Trim(string(v), `"`))
	if text == "" || v.Kind() == 'n' {
		return 0, nil
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, errors.New(`its "port" is not a number from 1 to 65535`) // not err: it quotes the text
	}
	return uint16(port), nil
}

// warn returns a function that logs that a secret could not be read again.
func (s *secret) warn(log *slog.Logger) func(context.Context, time.Duration, error) {
	return func(ctx context.Context, age time.Duration, err error) {
		log.WarnContext(ctx, "a secret could not be read again; what it said before is used on",
			"variable", s.setting, "age_seconds", int64(age/time.Second), "error", err.Error())
	}
}
