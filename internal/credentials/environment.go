package credentials

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/logging"
)

// Loader returns how this process uses AWS. It makes no call.
type Loader func(context.Context) (aws.Config, error)

// Environment loads what Lambda sets in the environment, and nothing else:
//
//	AWS_REGION, AWS_DEFAULT_REGION
//	AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
//	AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_<SERVICE>, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS
//	AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT, AWS_CA_BUNDLE
//
// The SDK's own loader (aws-sdk-go-v2/config) also knows profiles, SSO, roles to assume and the
// metadata of machines. No function has them, and each cold start would pay for them:
// docs/adr/0005. The command line uses it.
func Environment(environ map[string]string) Loader {
	return func(context.Context) (aws.Config, error) { return environment(environ).load() }
}

// environment also answers the SDK's clients, by the methods Get….
type environment map[string]string

func (e environment) load() (aws.Config, error) {
	if e["AWS_PROFILE"] != "" {
		return aws.Config{}, errors.New("AWS_PROFILE is set, and a function has no profiles, only its role; unset it")
	}
	for _, name := range []string{"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"} {
		if value := e[name]; value != "" && !e.yes(name) && !strings.EqualFold(value, "false") {
			return aws.Config{}, fmt.Errorf("%s %q is neither true nor false", name, value)
		}
	}
	if err := CheckEndpoints(e); err != nil {
		return aws.Config{}, err
	}
	client, err := e.client()
	if err != nil {
		return aws.Config{}, err
	}
	cfg := aws.Config{
		Region: cmp.Or(e["AWS_REGION"], e["AWS_DEFAULT_REGION"]), HTTPClient: client, ConfigSources: []any{e},
		Credentials: credentials.StaticCredentialsProvider{Value: aws.Credentials{
			AccessKeyID: e["AWS_ACCESS_KEY_ID"], SecretAccessKey: e["AWS_SECRET_ACCESS_KEY"], SessionToken: e["AWS_SESSION_TOKEN"],
		}},
		Logger: logging.Nop{}, // the SDK's own writes to stderr in another form, past sluice's logger
	}
	if endpoint := e["AWS_ENDPOINT_URL"]; endpoint != "" && !e.yes("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
		cfg.BaseEndpoint = &endpoint
	}
	return cfg, nil
}

// CheckEndpoints finds an invalid endpoint of AWS or of a service that sluice uses. The SDK accepts
// any text, and then keeps trying to connect.
func CheckEndpoints(environ map[string]string) error {
	if environment(environ).yes("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
		return nil
	}
	for _, service := range []string{"", "_SQS", "_SECRETS_MANAGER", "_LAMBDA", "_STS"} {
		name := "AWS_ENDPOINT_URL" + service
		if value := environ[name]; value != "" {
			if err := CheckEndpoint(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckEndpoint checks the endpoint in one setting.
func CheckEndpoint(setting, value string) error {
	if u, err := url.Parse(value); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%s %q is not a valid URL; expected http://host:port, as in http://localhost:4566", setting, value)
	}
	return nil
}

// client returns an HTTP client that trusts the roots of AWS_CA_BUNDLE, if it is set, instead of
// the system's.
func (e environment) client() (*awshttp.BuildableClient, error) {
	client := awshttp.NewBuildableClient()
	path := e["AWS_CA_BUNDLE"]
	if path == "" {
		return client, nil
	}
	text, err := os.ReadFile(path) //nolint:gosec // the user names it
	if err != nil {
		return nil, fmt.Errorf("AWS_CA_BUNDLE: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("AWS_CA_BUNDLE: there is no certificate in %s", path)
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}), nil
}

func (e environment) yes(name string) bool { return strings.EqualFold(e[name], "true") }

// GetIgnoreConfiguredEndpoints is asked by the SDK's clients.
func (e environment) GetIgnoreConfiguredEndpoints(context.Context) (value, found bool, err error) {
	return e.yes("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), true, nil
}

// GetServiceBaseEndpoint is asked by the SDK's clients.
func (e environment) GetServiceBaseEndpoint(_ context.Context, service string) (endpoint string, found bool, err error) {
	endpoint = e["AWS_ENDPOINT_URL_"+strings.ReplaceAll(strings.ToUpper(service), " ", "_")]
	return endpoint, endpoint != "", nil
}

// GetUseFIPSEndpoint is asked by the SDK's clients.
func (e environment) GetUseFIPSEndpoint(context.Context) (state aws.FIPSEndpointState, found bool, err error) {
	if e.yes("AWS_USE_FIPS_ENDPOINT") {
		return aws.FIPSEndpointStateEnabled, true, nil
	}
	return aws.FIPSEndpointStateUnset, false, nil
}

// GetUseDualStackEndpoint is asked by the SDK's clients.
func (e environment) GetUseDualStackEndpoint(context.Context) (state aws.DualStackEndpointState, found bool, err error) {
	if e.yes("AWS_USE_DUALSTACK_ENDPOINT") {
		return aws.DualStackEndpointStateEnabled, true, nil
	}
	return aws.DualStackEndpointStateUnset, false, nil
}
