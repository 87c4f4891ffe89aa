package credentials

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"

	"example.com/owner/sluice/internal/credentials/login"
)

// tokenFor is how long a token is used. RDS accepts it for 15 minutes by its own
// clock.
const tokenFor = 10 * time.Minute

// iamLogin uses an IAM token as the password. Signing one takes AWS credentials
// and no call.
type iamLogin struct {
	account *account
	clock   *clock
	url     string // the setting of the database's URL

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
		return login.Login{}, misconfigured("an IAM token is signed for one host, and "+i.url+" names several", "keep one, such as the cluster's endpoint")
	case !url.Verified:
		return login.Login{}, misconfigured("an IAM token is a password for 15 minutes, and is sent only to a verified server",
			"write sslmode=verify-full (or verify-ca) in "+i.url+", or no sslmode, which means verify-full for every host except this machine")
	case url.Host == "" || url.User == "":
		return login.Login{}, misconfigured("DATABASE_IAM_AUTH needs a user and a host in "+i.url, "write postgres://user@host:5432/database")
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
		return last.login, nil // another caller has signed a new one
	case i.clock.since(last.made) < refreshPause:
		return login.Login{}, misconfigured("the database refused a new IAM token", fmt.Sprintf("there, GRANT rds_iam TO the user of %[1]s; turn on IAM authentication for the instance; "+
			"allow this function's role rds-db:connect on arn:aws:rds-db:<region>:<account>:dbuser:<resource id>/%[2]s; name in %[1]s the endpoint itself, not an alias", i.url, used.User))
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
	ctx, cancel := withLimit(ctx, callTime)
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
		return login.Login{}, misconfigured("no IAM token could be signed for the host and the user of "+i.url, "check them") // not err: it may quote the token
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

// withPath turns host:port?Action=… into host:port/?Action=…, as every other SDK
// writes it: some endpoints of Aurora refuse the form without the slash
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

// regionOf returns the region in an endpoint's name, "" for other names. It goes
// before the function's own region.
func regionOf(host string) string {
	if match := endpointRegion().FindStringSubmatch(strings.ToLower(host)); len(match) > 1 && ValidRegion(match[1]) {
		return match[1]
	}
	return ""
}
