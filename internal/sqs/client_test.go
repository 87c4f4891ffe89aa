package sqs_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"

	lambda "example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/message"
	"example.com/owner/sluice/internal/sqs"
)

// wire stands for the network: it keeps the requests, and answers them all.
type wire struct{ requests []*http.Request }

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests = append(w.requests, r)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"Attributes":{}}`)), Request: r}, nil
}

// sdk loads what the SDK finds in the environment and in its files.
func sdk(options ...func(*config.LoadOptions) error) func(context.Context) (aws.Config, error) {
	return func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx, options...) }
}

// inLambda is a client of AWS on a wire of the test's, as the function makes it.
func inLambda(t *testing.T, w *wire, environment map[string]string) *sqs.Client {
	t.Helper()
	c, err := sqs.NewClient(t.Context(), func(ctx context.Context) (aws.Config, error) {
		environment = maps.Clone(environment)
		if environment == nil {
			environment = map[string]string{}
		}
		environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"] = "test", "test"
		cfg, err := lambda.Environment(environment)(ctx)
		cfg.HTTPClient = &http.Client{Transport: w}
		return cfg, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// elsewhere is a client of AWS on a wire of the test's.
func elsewhere(t *testing.T, w *wire, options ...func(*config.LoadOptions) error) *sqs.Client {
	t.Helper()
	options = append([]func(*config.LoadOptions) error{
		config.WithHTTPClient(&http.Client{Transport: w}),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider("test", "test", "")),
	}, options...)
	c, err := sqs.NewClient(t.Context(), sdk(options...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bare leaves nothing in the environment or in files for the SDK to find.
func bare(t *testing.T, set map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			if err := os.Unsetenv(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, value := range set {
		t.Setenv(name, value)
	}
}

// TestEndpoint: where a call for a queue goes, and which region it is signed for.
func TestEndpoint(t *testing.T) {
	const emulator, own = "http://localhost:4566/000000000000/q", "https://sqs.eu-west-1.amazonaws.com/123456789012/q"
	for _, tt := range []struct {
		name         string
		environment  map[string]string
		url          string
		want, region string
	}{
		{"AWS", map[string]string{"AWS_REGION": "eu-west-1"}, own, "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		{"AWS, no region set", nil, own, "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		{"AWS, another region set", map[string]string{"AWS_REGION": "us-east-1"}, own, "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		{"the old name", map[string]string{"AWS_REGION": "us-east-1"}, "https://eu-west-1.queue.amazonaws.com/123456789012/q", "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		{"the oldest name", nil, "https://queue.amazonaws.com/123456789012/q", "https://sqs.us-east-1.amazonaws.com", "us-east-1"},
		{"China", nil, "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"},
		{"a government's", nil, "https://sqs.us-gov-west-1.amazonaws.com/123456789012/q", "https://sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"},
		{"FIPS by its name", nil, "https://sqs-fips.us-east-1.amazonaws.com/123456789012/q", "https://sqs-fips.us-east-1.amazonaws.com", "us-east-1"},
		{"FIPS by the environment", map[string]string{"AWS_USE_FIPS_ENDPOINT": "true"}, own, "https://sqs-fips.eu-west-1.amazonaws.com", "eu-west-1"},
		{"dual stack by its name", nil, "https://sqs.eu-west-1.api.aws/123456789012/q", "https://sqs.eu-west-1.api.aws", "eu-west-1"},
		{"a VPC endpoint", nil, "https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q", "https://vpce-1-2.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1"},
		{"an emulator's URL alone", map[string]string{"AWS_DEFAULT_REGION": "eu-central-1"}, emulator, "http://localhost:4566", "eu-central-1"},
		{"an emulator by its domain", nil, "http://sqs.eu-west-2.localhost.localstack.cloud:4566/000000000000/q", "http://sqs.eu-west-2.localhost.localstack.cloud:4566", "eu-west-2"},
		{"AWS_ENDPOINT_URL wins", map[string]string{"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1234"}, emulator, "http://127.0.0.1:1234", "eu-central-1"},
		{"AWS_ENDPOINT_URL with AWS's URL", map[string]string{"AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1234"}, own, "http://127.0.0.1:1234", "eu-west-1"},
		{"AWS_ENDPOINT_URL_SQS wins", map[string]string{"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1234"}, emulator, "http://127.0.0.1:1234", "eu-central-1"},
		{"endpoints are ignored", map[string]string{"AWS_REGION": "eu-central-1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_SQS": "http://127.0.0.1:1"}, own, "https://sqs.eu-west-1.amazonaws.com", "eu-west-1"},
		{"dual stack by the environment", map[string]string{"AWS_USE_DUALSTACK_ENDPOINT": "true"}, own, "https://sqs.eu-west-1.api.aws", "eu-west-1"},
		{"an empty AWS_ENDPOINT_URL", map[string]string{"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": ""}, emulator, "http://localhost:4566", "eu-central-1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bare(t, tt.environment)
			w := &wire{}
			for _, client := range []*sqs.Client{elsewhere(t, w), inLambda(t, w, tt.environment)} {
				q, err := sqs.Open(t.Context(), client, tt.url, "SQS_URL")
				if err != nil {
					t.Fatal(err)
				}
				if q.URL != tt.url {
					t.Errorf("the URL became %s", q.URL)
				}
				r := w.requests[len(w.requests)-1]
				if got := r.URL.Scheme + "://" + r.URL.Host; got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if scope := r.Header.Get("Authorization"); !strings.Contains(scope, "/"+tt.region+"/sqs/aws4_request") {
					t.Errorf("signed as %s, want %s", scope, tt.region)
				}
			}
		})
	}
}

func TestNewClientErrors(t *testing.T) {
	for _, tt := range []struct {
		name        string
		environment map[string]string
		want        string
	}{
		{"no region", map[string]string{"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}, "http://127.0.0.1:1/0/q (SQS_URL): its region is not known; set AWS_REGION, or AWS_DEFAULT_REGION"},
		{"no credentials", map[string]string{"AWS_REGION": "eu-west-1"}, "no AWS credentials are found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"},
		{"half of the credentials", map[string]string{"AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "x"}, "no AWS credentials are found"},
		{"a profile that is not there", map[string]string{"AWS_REGION": "eu-west-1", "AWS_PROFILE": "nobody"}, "nobody"},
		{"a bundle that is not there", map[string]string{"AWS_REGION": "eu-west-1", "AWS_CA_BUNDLE": "/none/bundle.pem"}, "/none/bundle.pem"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bare(t, tt.environment)
			c, err := sqs.NewClient(t.Context(), sdk())
			if err == nil {
				_, err = sqs.Open(t.Context(), c, "http://127.0.0.1:1/0/q", "SQS_URL")
			}
			if causeOf(err) != message.CauseConfiguration || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v by %q, want %q", err, causeOf(err), tt.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	const nobody = "127.0.0.1:1" // a port that was free a moment ago may be another test's by now
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serving := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = serving.Serve(plain) }()
	t.Cleanup(func() { _ = serving.Close() })
	for _, tt := range []struct {
		name, url, want string
		cause           message.Cause
	}{
		{"nobody listens", "http://" + nobody + "/0/q", "cannot connect to " + nobody + ": connect: connection refused; check SQS_URL, and that the service runs", message.CauseTransient},
		{"a port that is none", "http://127.0.0.1:99999/0/q", "invalid port; check SQS_URL", message.CauseTransient},
		{"no such host", "http://nowhere.invalid/0/q", "the host nowhere.invalid does not resolve; check SQS_URL", message.CauseTransient},
		{"no TLS", "https://" + plain.Addr().String() + "/0/q", "does not speak TLS; write http:// in SQS_URL", message.CauseConfiguration},
		{"not SQS", "http://" + plain.Addr().String() + "/0/q", "(HTTP 404) is not a response from SQS; check SQS_URL", message.CauseTransient},
		{"a password in the URL", "http://user:" + canary + "@" + nobody + "/0/q?" + canary, "read the settings of the queue http://" + nobody + "/0/q (SQS_URL): cannot connect", message.CauseTransient},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := sqs.FromConfig(aws.Config{Region: "eu-west-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", "")}).WithTimeout(15 * time.Second)
			_, err := sqs.Open(answered(t), c, tt.url, "SQS_URL")
			if text := silent(t, err); !strings.Contains(text, tt.want) || causeOf(err) != tt.cause {
				t.Errorf("got %s by %q, want %q by %q", text, causeOf(err), tt.want, tt.cause)
			}
		})
	}
}

func TestStopped(t *testing.T) {
	_, c := server(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sqs.Open(ctx, c, "http://127.0.0.1:1/0/q", "SQS_URL")
	if !errors.Is(err, context.Canceled) || causeOf(err) != message.CauseTransient {
		t.Errorf("got %v by %q", err, causeOf(err))
	}
}

// TestCredentialsAreAskedFor: credentials that fail for the moment are the
// user's to fix, and the error quotes nothing of their source.
func TestCredentialsAreAskedFor(t *testing.T) {
	bare(t, nil)
	c := elsewhere(t, &wire{}, config.WithRegion("eu-west-1"), config.WithCredentialsProvider(
		aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, &url.Error{Op: "Get", URL: canary, Err: io.ErrUnexpectedEOF}
		})))
	_, err := sqs.Open(t.Context(), c, "https://sqs.eu-west-1.amazonaws.com/1/q", "SQS_URL")
	if text := silent(t, err); !strings.Contains(text, "no AWS credentials are found") {
		t.Errorf("got %s", text)
	}
}
