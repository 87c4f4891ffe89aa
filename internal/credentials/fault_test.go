package credentials_test

import (
	"errors"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"sluice/internal/credentials"
	"sluice/internal/message"
)

func TestWhoseFault(t *testing.T) {
	t.Parallel()
	operator, moment := message.CauseOperator, message.CauseMoment
	for _, test := range []struct {
		name  string
		given answer
		cause message.Cause
		parts []string
	}{
		{"denied", answer{code: "AccessDeniedException", status: 400}, operator, []string{"AccessDeniedException (request req-1)", "allow secretsmanager:GetSecretValue on " + databaseARN, "kms:Decrypt"}},
		{"not there", answer{code: "ResourceNotFoundException", status: 400}, operator, []string{"no secret " + databaseARN, "in eu-central-1", "check DATABASE_SECRET_ARN"}},
		{"KMS", answer{code: "DecryptionFailure", status: 400}, operator, []string{"KMS"}},
		{"marked for deletion", answer{code: "InvalidRequestException", status: 400}, operator, []string{"deletion"}},
		{"invalid", answer{code: "InvalidParameterException", status: 400}, operator, []string{"check DATABASE_SECRET_ARN"}},
		{"a wrong key", answer{code: "UnrecognizedClientException", status: 403}, operator, []string{"AWS_ACCESS_KEY_ID"}},
		{"an old token", answer{code: "ExpiredTokenException", status: 400}, operator, []string{"AWS_ACCESS_KEY_ID"}},
		{"a wrong signature", answer{code: "InvalidSignatureException", status: 400}, operator, []string{"clock"}},
		{"unknown, of ours", answer{code: "NewException", status: 400}, operator, []string{"NewException"}},
		{"throttled", answer{code: "ThrottlingException", status: 400}, moment, []string{"ThrottlingException"}},
		{"too many", answer{code: "Whatever", status: 429}, moment, []string{"Whatever"}},
		{"broken", answer{code: "InternalServiceError", status: 500}, moment, []string{"InternalServiceError"}},
		{"unavailable", answer{code: "ServiceUnavailable", status: 503}, moment, nil},
		{"a gateway", answer{status: 502, body: "<html>" + canary}, moment, []string{"not of AWS (HTTP status 502)", "HTTPS_PROXY"}},
		{"another service", answer{status: 200, body: "<html>" + canary}, moment, nil},
		{"a code that is none", answer{code: "see " + canary, status: 400}, operator, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i := install(t, "", impatient())
			i.set(test.given)
			_, err := i.Database.Fetch(t.Context(), url)
			check(t, err, test.cause, append(test.parts, "DATABASE_SECRET_ARN")...)
			if _, shown := errors.AsType[smithy.APIError](err); shown {
				t.Error("the error of the SDK can be unwrapped: its text is not ours to vouch for")
			}
			t.Log(err)
		})
	}
}

func TestThrottlingIsTriedTwice(t *testing.T) {
	t.Parallel()
	i := install(t, "")
	i.set(answer{code: "ThrottlingException", status: 400})
	_, err := i.Database.Fetch(t.Context(), url)
	check(t, err, message.CauseMoment, "ThrottlingException")
	if n := i.count(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestNoWayToAWS(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := listener.Addr().String()
	listener.Close()
	stranger := httptest.NewUnstartedServer(nil)
	stranger.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	m := newManager(t, "")
	for _, test := range []struct {
		name, endpoint string
		cause          message.Cause
		parts          []string
	}{
		{"refused", "http://" + gone, message.CauseMoment, []string{"connection refused", gone, "VPC endpoint"}},
		{"no such host", "http://sluice.invalid", message.CauseMoment, []string{"the host sluice.invalid does not resolve", "VPC endpoint"}},
		{"a stranger's certificate", stranger.URL, message.CauseOperator, []string{"not trusted", "AWS_CA_BUNDLE"}},
		{"no TLS there", strings.Replace(m.URL, "http:", "https:", 1), message.CauseOperator, []string{"AWS_ENDPOINT_URL"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := credentials.New(credentials.Options{DatabaseSecretARN: databaseARN, Load: append(m.sdk(), config.WithBaseEndpoint(test.endpoint), impatient())})
			_, err := c.Database.Fetch(t.Context(), url)
			check(t, err, test.cause, test.parts...)
			t.Log(err)
		})
	}
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		`{"username":"sluice","password":"` + canary + `"}`,
		"postgres://sluice:" + canary + "@db/app",
		databaseARN + ":password::" + canary,
		"arn:aws:ssm:eu-central-1:123456789012:parameter/" + canary,
		canary + " " + canary,
	} {
		c := credentials.New(credentials.Options{DatabaseSecretARN: id})
		_, err := c.Database.Fetch(t.Context(), url)
		check(t, err, message.CauseOperator, "DATABASE_SECRET_ARN is neither the ARN nor the name of a secret")
	}
	for _, id := range []string{"sluice/database", "rds!cluster-0a1b-AbCdEf", databaseARN, strings.Replace(databaseARN, "arn:aws:", "arn:aws-cn:", 1)} {
		m := newManager(t, secretOf("one"))
		c := credentials.New(credentials.Options{DatabaseSecretARN: id, Load: m.sdk()})
		fetch(t, c)
		if m.calls[0] != id {
			t.Errorf("asked for %s, want %s", m.calls[0], id)
		}
	}
}

func TestNoRegion(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	m := newManager(t, secretOf("one"))
	c := credentials.New(credentials.Options{DatabaseSecretARN: "sluice/database", Load: append(m.sdk(), config.WithRegion(""))})
	_, err := c.Database.Fetch(t.Context(), url)
	check(t, err, message.CauseOperator, "DATABASE_SECRET_ARN needs a region", "AWS_REGION")
}

// TestEnvironment: the SDK reads its variables, and nothing before it must.
func TestEnvironment(t *testing.T) {
	m := newManager(t, secretOf("one"))
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": m.URL, "AWS_DEFAULT_REGION": "eu-north-1", "AWS_REGION": "", "AWS_PROFILE": "",
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": canary,
		"AWS_CONFIG_FILE": t.TempDir() + "/none", "AWS_SHARED_CREDENTIALS_FILE": t.TempDir() + "/none",
	} {
		t.Setenv(name, value)
	}
	c := credentials.New(credentials.Options{DatabaseSecretARN: "sluice/database"})
	if got := fetch(t, c).Host; got != "db.example" {
		t.Errorf("host %s", got)
	}
	if len(m.scopes) != 1 || m.scopes[0] != "eu-north-1/secretsmanager" {
		t.Errorf("signed for %q", m.scopes)
	}
}

func TestNoCredentials(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
	load := append(noFiles(), config.WithRegion(region))
	for _, o := range []credentials.Options{{DatabaseSecretARN: databaseARN, Load: load}, {DatabaseIAMAuth: true, Load: load}} {
		_, err := credentials.New(o).Database.Fetch(t.Context(), url)
		check(t, err, message.CauseOperator, "no credentials of AWS", "AWS_PROFILE")
		t.Log(err)
	}
}

func TestBadProfile(t *testing.T) {
	t.Setenv("AWS_PROFILE", "nobody")
	c := credentials.New(credentials.Options{DatabaseSecretARN: databaseARN, Load: noFiles()})
	_, err := c.Database.Fetch(t.Context(), url)
	check(t, err, message.CauseOperator, "AWS_PROFILE")
	t.Log(err)
}
