package credentials_test

import (
	"context"
	"fmt"
	"net/http"
	neturl "net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/credentials/login"
	"example.com/owner/sluice/internal/message"
)

const endpoint = "db.abc123.eu-west-3.rds.amazonaws.com"

var iamURL = login.Login{Host: endpoint, Port: 5432, User: "we@ird us%er", Database: "app", Verified: true}

// signer is a source of AWS credentials. No two that it gives are the same,
// so that no two tokens are (else they are within one second).
type signer struct {
	expires time.Duration // after it was asked, by the clock of the test; 0 is never
	hour    *hour
	calls   int
	keys    aws.Credentials // the last ones
	cache   *aws.CredentialsCache
}

func (s *signer) Retrieve(context.Context) (aws.Credentials, error) {
	s.calls++
	s.keys = aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: canary, SessionToken: fmt.Sprintf("session/token%d==", s.calls)}
	if s.expires != 0 {
		s.keys.CanExpire, s.keys.Expires = true, s.hour.now().Add(s.expires)
	}
	return s.keys, nil
}

// iamInstall is an installation with tokens of IAM, whose region is not the
// database's.
func iamInstall(options ...func(*config.LoadOptions) error) (*credentials.Credentials, *signer) {
	s := &signer{hour: newHour()}
	s.cache = aws.NewCredentialsCache(s)
	return configured(credentials.Options{
		DatabaseIAMAuth: true, Now: s.hour.now,
		AWS: load(append(append(noFiles(), config.WithRegion(region), config.WithCredentialsProvider(s.cache)), options...)...),
	}), s
}

func iamToken(t *testing.T, c *credentials.Credentials) string {
	t.Helper()
	l, err := c.Database.Fetch(t.Context(), iamURL)
	if err != nil {
		t.Fatal(err)
	}
	return l.Password.Reveal()
}

func TestTokenOfIAM(t *testing.T) {
	t.Parallel()
	c, s := iamInstall()
	got, err := c.Database.Fetch(t.Context(), iamURL)
	if err != nil {
		t.Fatal(err)
	}
	token := got.Password.Reveal()
	got.Password = login.Password{}
	if !got.Equal(iamURL) {
		t.Errorf("the rest of the login is %+v, want the URL's", got)
	}
	// The slash is what the pinned version of feature/rds/auth forgets.
	if want := endpoint + ":5432/?Action=connect&"; !strings.HasPrefix(token, want) {
		t.Errorf("the token begins with %.80s, want %s", token, want)
	}
	u, err := neturl.Parse("https://" + token)
	if err != nil {
		t.Fatal(err)
	}
	query := u.Query()
	for name, want := range map[string]string{
		"Action": "connect", "DBUser": iamURL.User, "X-Amz-Expires": "900", "X-Amz-Security-Token": "session/token1==",
		"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-SignedHeaders": "host",
	} {
		if got := query.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	scope := strings.SplitN(query.Get("X-Amz-Credential"), "/", 3)
	if want := "eu-west-3/rds-db/aws4_request"; len(scope) != 3 || scope[0] != "AKIDEXAMPLE" || scope[2] != want {
		t.Errorf("signed for %q, want %s, the region of the endpoint", scope, want)
	}
	if got, want := query.Get("X-Amz-Signature"), signature(t, u, s.keys); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

// signature signs a token's URL, slash included, once more.
func signature(t *testing.T, u *neturl.URL, keys aws.Credentials) string {
	t.Helper()
	at, err := time.Parse("20060102T150405Z", u.Query().Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	bare := neturl.Values{}
	for _, name := range []string{"Action", "DBUser", "X-Amz-Expires"} {
		bare.Set(name, u.Query().Get(name))
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+u.Host+"/?"+bare.Encode(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	const ofNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	signed, _, err := v4.NewSigner().PresignHTTP(t.Context(), keys, r, ofNothing, "rds-db", "eu-west-3", at)
	if err != nil {
		t.Fatal(err)
	}
	again, err := neturl.Parse(signed)
	if err != nil {
		t.Fatal(err)
	}
	return again.Query().Get("X-Amz-Signature")
}

// TestTokenIsUsedForMinutes counts how often AWS credentials are asked for,
// which the SDK must not have cached for that.
func TestTokenIsUsedForMinutes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		expires time.Duration // of the credentials
		turns   []time.Duration
		want    []int // calls after each turn
	}{
		{"for 10", 0, []time.Duration{0, 10*time.Minute - time.Second, time.Second, time.Minute}, []int{1, 1, 2, 2}},
		{"not longer for a clock that is set back", 0, []time.Duration{0, -time.Hour}, []int{1, 2}},
		{"not longer than what signed it", 2 * time.Minute, []time.Duration{0, time.Minute, time.Minute}, []int{1, 1, 2}},
		{"not longer for lasting credentials", 5 * time.Hour, []time.Duration{0, 9 * time.Minute, time.Minute}, []int{1, 1, 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, s := iamInstall()
			s.expires = test.expires
			last := map[int]string{}
			for i, turn := range test.turns {
				s.hour.turn(turn)
				s.cache.Invalidate()
				token := iamToken(t, c)
				if s.calls != test.want[i] {
					t.Errorf("signed %d times after turn %d, want %d", s.calls, i, test.want[i])
				}
				if old, ok := last[s.calls]; ok && old != token {
					t.Errorf("another token after turn %d", i)
				}
				last[s.calls] = token
			}
		})
	}
}

func TestTokenIsOfOneUser(t *testing.T) {
	t.Parallel()
	c, _ := iamInstall()
	iamToken(t, c)
	other := iamURL
	other.User = "other"
	l, err := c.Database.Fetch(t.Context(), other)
	if err != nil || !strings.Contains(l.Password.Reveal(), "DBUser=other&") {
		t.Errorf("got %+v, %v", l, err)
	}
}

func TestRefusedToken(t *testing.T) {
	t.Parallel()
	c, s := iamInstall()
	used, err := c.Database.Fetch(t.Context(), iamURL)
	if err != nil {
		t.Fatal(err)
	}
	s.cache.Invalidate()
	s.hour.turn(4 * time.Second)
	_, err = c.Database.Refresh(t.Context(), used)
	check(t, err, message.CauseConfiguration, "rds_iam", "rds-db:connect", iamURL.User)
	if s.calls != 1 {
		t.Errorf("a token that was made just now was made %d times", s.calls)
	}
	s.hour.turn(time.Second)
	next, err := c.Database.Refresh(t.Context(), used)
	if err != nil {
		t.Fatal(err)
	}
	if next.Equal(used) || next.Host != used.Host || next.User != used.User {
		t.Errorf("got %+v", next)
	}
	s.cache.Invalidate()
	if got, err := c.Database.Refresh(t.Context(), used); err != nil || !got.Equal(next) || s.calls != 2 {
		t.Errorf("a straggler got %+v, %v; signed %d times, want 2", got, err, s.calls)
	}
	if got, err := c.Database.Fetch(t.Context(), iamURL); err != nil || !got.Equal(next) {
		t.Errorf("the next connection got %+v, %v", got, err)
	}
}

func TestTokenThatCannotBe(t *testing.T) {
	t.Parallel()
	unverified, nobody, nowhere, several := iamURL, iamURL, iamURL, iamURL
	unverified.Verified, nobody.User, nowhere.Host, several.Several = false, "", "", true
	for _, test := range []struct {
		name string
		url  login.Login
		want string
	}{
		{"to whoever answers", unverified, "sslmode=verify-full"},
		{"for several hosts", several, "signed for one host"},
		{"without a user", nobody, "needs a user and a host"},
		{"without a host", nowhere, "needs a user and a host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, _ := iamInstall()
			_, err := c.Database.Fetch(t.Context(), test.url)
			check(t, err, message.CauseConfiguration, test.want)
		})
	}
}

func TestRegionOfAToken(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"db.abc123.us-gov-west-1.rds.amazonaws.com":             "us-gov-west-1",
		"db.cluster-ro-abc123.ap-southeast-2.rds.amazonaws.com": "ap-southeast-2",
		"P.PROXY-abc123.EU-WEST-1.RDS.AMAZONAWS.COM":            "eu-west-1",
		"db.abc123.rds.cn-north-1.amazonaws.com.cn":             region, // another form: the function's own region
		"db.abc123.cn-north-1.rds.amazonaws.com.cn":             "cn-north-1",
		"db.abc123.europe.rds.amazonaws.com":                    region, // no region
		"db.example.com":                                        region,
		"2001:db8::1":                                           region,
	} {
		c, _ := iamInstall()
		u := iamURL
		u.Host = host
		l, err := c.Database.Fetch(t.Context(), u)
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if !strings.Contains(l.Password.Reveal(), "%2F"+want+"%2Frds-db%2F") {
			t.Errorf("%s is not signed for %s: %s", host, want, l.Password.Reveal())
		}
	}
	c, _ := iamInstall(config.WithRegion(""))
	_, err := c.Database.Fetch(t.Context(), login.Login{Host: "db.example.com", Port: 5432, User: "u", Verified: true})
	check(t, err, message.CauseConfiguration, "AWS_REGION")
}
