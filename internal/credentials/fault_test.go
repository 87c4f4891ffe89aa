package credentials_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/smithy-go"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/message"
)

func TestWhoseFault(t *testing.T) {
	t.Parallel()
	operator, moment := message.CauseConfiguration, message.CauseTransient
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
		{"an unknown code", answer{code: "NewException", status: 400}, operator, []string{"NewException"}},
		{"throttled", answer{code: "ThrottlingException", status: 400}, moment, []string{"ThrottlingException"}},
		{"too many", answer{code: "Whatever", status: 429}, moment, []string{"Whatever"}},
		{"broken", answer{code: "InternalServiceError", status: 500}, moment, []string{"InternalServiceError"}},
		{"unavailable", answer{code: "ServiceUnavailable", status: 503}, moment, nil},
		{"a gateway", answer{status: 502, body: "<html>" + canary}, moment, []string{"not from AWS (HTTP status 502)", "HTTPS_PROXY"}},
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
	checkFetch(t, i.Credentials, message.CauseTransient, "ThrottlingException")
	if n := i.count(); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

func TestNoWayToAWS(t *testing.T) {
	t.Parallel()
	const nobody = "127.0.0.1:1" // a port that was free a moment ago may be another test's by now
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
		{"refused", "http://" + nobody, message.CauseTransient, []string{"connection refused", nobody, "VPC endpoint"}},
		{"no such host", "http://sluice.invalid", message.CauseTransient, []string{"the host sluice.invalid does not resolve", "AWS_ENDPOINT_URL"}},
		{"a stranger's certificate", stranger.URL, message.CauseConfiguration, []string{"not trusted", "AWS_CA_BUNDLE"}},
		{"no TLS there", strings.Replace(m.URL, "http:", "https:", 1), message.CauseConfiguration, []string{"AWS_ENDPOINT_URL"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			checkFetch(t, configured(credentials.Options{DatabaseSecretARN: databaseARN, AWS: load(append(m.sdk(), config.WithBaseEndpoint(test.endpoint), impatient())...)}), test.cause, test.parts...)
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
		strings.Replace(databaseARN, "eu-central-1", "evil", 1),
		strings.Replace(databaseARN, "eu-central-1", "evil.example.com/", 1),
		strings.Replace(databaseARN, "eu-central-1", "", 1),
	} {
		checkFetch(t, configured(credentials.Options{DatabaseSecretARN: id}), message.CauseConfiguration, "DATABASE_SECRET_ARN is neither the ARN nor the name of a secret")
	}
	for _, id := range []string{"sluice/database", "rds!cluster-0a1b-AbCdEf", databaseARN, strings.Replace(databaseARN, "arn:aws:", "arn:aws-cn:", 1)} {
		m := newManager(t, secretOf("one"))
		c := configured(credentials.Options{DatabaseSecretARN: id, AWS: load(m.sdk()...)})
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
	checkFetch(t, configured(credentials.Options{DatabaseSecretARN: "sluice/database", AWS: load(append(m.sdk(), config.WithRegion(""))...)}), message.CauseConfiguration, "DATABASE_SECRET_ARN needs a region", "AWS_REGION")
}

// TestEnvironment: the AWS_… variables mean the same to the SDK's loader and to ours.
func TestEnvironment(t *testing.T) {
	m := newManager(t, secretOf("one"))
	environ := map[string]string{
		"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SECRETS_MANAGER": m.URL, "AWS_DEFAULT_REGION": "eu-north-1",
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": canary,
		"AWS_CONFIG_FILE": t.TempDir() + "/none", "AWS_SHARED_CREDENTIALS_FILE": t.TempDir() + "/none",
	}
	setEnvironment(t, environ)
	for name, loader := range map[string]credentials.Loader{"SDK": load(), "Lambda": credentials.Environment(environ)} {
		c := configured(credentials.Options{DatabaseSecretARN: "sluice/database", AWS: loader})
		if got := fetch(t, c).Host; got != "db.example" {
			t.Errorf("%s: host %s", name, got)
		}
		if n := len(m.scopes); m.scopes[n-1] != "eu-north-1/secretsmanager" {
			t.Errorf("%s: signed for %q", name, m.scopes)
		}
	}
}

// setEnvironment leaves nothing else in the environment for the SDK to find.
func setEnvironment(t *testing.T, environ map[string]string) {
	t.Helper()
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CA_BUNDLE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER"} {
		t.Setenv(name, "")
	}
	for name, value := range environ {
		t.Setenv(name, value)
	}
}

// TestBundle: AWS_CA_BUNDLE is what is trusted, and nothing else is.
func TestBundle(t *testing.T) {
	m := newManager(t, secretOf("one"))
	server := httptest.NewTLSServer(m)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	environ := map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_REGION": region, "AWS_CA_BUNDLE": path,
		"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": canary, "AWS_SESSION_TOKEN": canary,
	}
	fetch(t, configured(credentials.Options{DatabaseSecretARN: databaseARN, AWS: credentials.Environment(environ)}))
}

// TestBadEnvironment: what would be taken for something else is refused.
func TestBadEnvironment(t *testing.T) {
	t.Parallel()
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, value, want string }{
		{"AWS_PROFILE", "prod", "AWS_PROFILE is set, and a function has no profiles"},
		{"AWS_USE_FIPS_ENDPOINT", "on", `AWS_USE_FIPS_ENDPOINT "on" is neither true nor false`},
		{"AWS_USE_DUALSTACK_ENDPOINT", "1", `AWS_USE_DUALSTACK_ENDPOINT "1" is neither true nor false`},
		{"AWS_CA_BUNDLE", "/none/bundle.pem", "/none/bundle.pem"},
		{"AWS_CA_BUNDLE", empty, "no certificate in " + empty},
		{"AWS_REGION", region, "no AWS credentials"},
		{"AWS_ACCESS_KEY_ID", "half", "no AWS credentials"},
	} {
		checkFetch(t, configured(credentials.Options{DatabaseSecretARN: databaseARN, AWS: credentials.Environment(map[string]string{tt.name: tt.value})}), message.CauseConfiguration, tt.want)
	}
}

// TestEndpoints: an invalid URL is found before anything is tried, unless it is not used.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL_LAMBDA"} {
		for _, value := range []string{"127.0.0.1:4566", "localhost:4566", "localhost", "/queue", "ftp://localhost", "http://", "http://localhost:port"} {
			environ := map[string]string{name: value, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": canary, "AWS_REGION": region}
			checkFetch(t, configured(credentials.Options{DatabaseSecretARN: databaseARN, AWS: credentials.Environment(environ)}), message.CauseConfiguration, fmt.Sprintf("%s %q is not a valid URL; expected http://host:port", name, value))
			environ["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
			if err := credentials.CheckEndpoints(environ); err != nil {
				t.Errorf("ignored: %v", err)
			}
		}
		for _, value := range []string{"", "http://127.0.0.1:4566", "https://sqs.eu-central-1.amazonaws.com", "http://[::1]:4566/path"} {
			if err := credentials.CheckEndpoints(map[string]string{name: value}); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestNoCredentials(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "",
		"AWS_WEB_IDENTITY_TOKEN_FILE": "", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "",
	} {
		t.Setenv(name, value)
	}
	loader := load(append(noFiles(), config.WithRegion(region))...)
	for _, o := range []credentials.Options{{DatabaseSecretARN: databaseARN, AWS: loader}, {DatabaseIAMAuth: true, AWS: loader}} {
		_, err := credentials.New(o).Database.Fetch(t.Context(), url)
		check(t, err, message.CauseConfiguration, "no AWS credentials", "AWS_PROFILE")
		t.Log(err)
	}
}

func TestBadProfile(t *testing.T) {
	t.Setenv("AWS_PROFILE", "nobody")
	checkFetch(t, configured(credentials.Options{DatabaseSecretARN: databaseARN, AWS: load(noFiles()...)}), message.CauseConfiguration, "AWS_PROFILE")
}
