package credentials

import (
	"cmp"
	"context"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"

	"sluice/internal/credentials/login"
	"sluice/internal/region"
)

// tokenFor is how long a token is used. RDS takes it for 15 minutes, by its
// own clock.
const tokenFor = 10 * time.Minute

// iamLogin has a token of IAM for a password. Making one asks nobody, but
// for the credentials of AWS that sign it.
type iamLogin struct {
	account *account
	clock   *clock

	mu    sync.Mutex
	token token // the last one
}

type token struct {
	login   login.Login // what the server is given
	made    time.Time
	expires time.Time
}

func (i *iamLogin) fetch(ctx context.Context, url login.Login) (login.Login, error) {
	switch {
	case url.Several:
		return login.Login{}, operator("a token of IAM is signed for one host, and DATABASE_URL names several: leave one, as the endpoint of the cluster")
	case !url.Verified:
		return login.Login{}, operator("a token of IAM is a password for 15 minutes, and goes to nobody who is not verified: write sslmode=verify-full (or verify-ca) in DATABASE_URL, or nothing, which means that for every host but this machine")
	case url.Host == "" || url.User == "":
		return login.Login{}, operator("DATABASE_IAM_AUTH needs DATABASE_URL with user and host, as in postgres://user@host:5432/database")
	}
	if last := i.last(); last.serves(url) && i.clock.since(last.made) < tokenFor && i.clock.time().Before(last.expires) {
		return last.login, nil
	}
	return i.sign(ctx, url)
}

func (i *iamLogin) refresh(ctx context.Context, used login.Login) (login.Login, error) {
	last := i.last()
	switch {
	case !last.serves(used):
	case !last.login.Equal(used):
		return last.login, nil // somebody made a new one meanwhile
	case i.clock.since(last.made) < refreshPause:
		return login.Login{}, operator("the database refused a new token of IAM: GRANT rds_iam TO the user of DATABASE_URL there, turn IAM authentication on for the instance, "+
			"allow rds-db:connect on arn:aws:rds-db:<region>:<account>:dbuser:<resource id>/%s to this function's role, and name in DATABASE_URL the endpoint itself, no alias of it", used.User)
	}
	return i.sign(ctx, used)
}

func (i *iamLogin) last() token {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.token
}

// serves reports whether a token was made for a host and a user.
func (t token) serves(l login.Login) bool {
	return !t.made.IsZero() && t.login.Host == l.Host && t.login.Port == l.Port && t.login.User == l.User && t.login.Database == l.Database
}

func (i *iamLogin) sign(ctx context.Context, l login.Login) (login.Login, error) {
	ctx, cancel := within(ctx, callTime)
	defer cancel()
	cfg, keys, err := i.account.credentials(ctx)
	if err != nil {
		return login.Login{}, err
	}
	where := cmp.Or(regionOf(l.Host), cfg.Region)
	if where == "" {
		return login.Login{}, noRegion("DATABASE_IAM_AUTH")
	}
	endpoint := net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
	text, err := auth.BuildAuthToken(ctx, endpoint, where, l.User, credentials.StaticCredentialsProvider{Value: keys})
	if err != nil {
		return login.Login{}, operator("no token of IAM could be made for host and user of DATABASE_URL; check them") // not err: it may quote the token
	}
	l.Password = login.NewPassword(withPath(text))
	now := i.clock.time()
	made := token{login: l, made: now, expires: now.Add(tokenFor)}
	if keys.CanExpire && keys.Expires.Before(made.expires) {
		made.expires = keys.Expires
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.token = made
	return l, nil
}

// withPath mends host:port?Action=… to host:port/?Action=…, as every other
// SDK has it: some endpoints of Aurora refuse the form without the slash
// (aws/aws-sdk-go-v2 issue 3365). The signature is that of the path / in both.
func withPath(token string) string {
	address, query, found := strings.Cut(token, "?")
	if !found || strings.Contains(address, "/") {
		return token
	}
	return address + "/?" + query
}

var endpointRegion = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\.([a-z0-9-]+)\.rds\.amazonaws\.com(?:\.cn)?$`)
})

// regionOf reads the region from the name of an endpoint, which knows it
// better than the function does. It is empty for other names.
func regionOf(host string) string {
	if match := endpointRegion().FindStringSubmatch(strings.ToLower(host)); len(match) > 1 && region.Valid(match[1]) {
		return match[1]
	}
	return ""
}
