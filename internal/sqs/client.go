package sqs

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/fault"
)

// defaultTimeout limits one attempt of a call. SQS answers within some tens of milliseconds; if an
// answer takes longer than this, the network lets nothing through.
const defaultTimeout = 2 * time.Second

// maxAttempts is the first attempt and one more. The SDK waits 50 ms in between, 1 s if SQS
// throttles.
const maxAttempts = 2

// maxInFlight is how many calls a client may make at once.
const maxInFlight = 64

// Client talks to SQS for any number of queues. It is safe for concurrent use.
type Client struct {
	api       *sqs.Client
	transport http.RoundTripper
	timeout   time.Duration
}

// NewClient makes a client from the configuration that load returns. It makes no call.
func NewClient(ctx context.Context, load func(context.Context) (aws.Config, error)) (*Client, error) {
	cfg, err := load(ctx)
	if err != nil {
		return nil, misconfigured("the AWS SDK cannot be set up: "+err.Error(), "")
	}
	return FromConfig(cfg), nil
}

// FromConfig makes a client from a configuration.
func FromConfig(cfg aws.Config) *Client {
	c := &Client{timeout: defaultTimeout}
	if own, ok := cfg.HTTPClient.(*http.Client); ok {
		c.transport = own.Transport
	} else {
		pool, ok := cfg.HTTPClient.(*awshttp.BuildableClient) // it has the roots of AWS_CA_BUNDLE
		if !ok {
			pool = awshttp.NewBuildableClient()
		}
		transport := pool.GetTransport()
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = maxInFlight, maxInFlight
		c.transport = transport
	}
	c.transport = plainBodies{c.transport}
	if cfg.Credentials != nil {
		cfg.Credentials = namedCredentials{cfg.Credentials}
	}
	c.api = sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.RetryMaxAttempts = maxAttempts })
	return c
}

// URLFromARN returns the URL of the queue that an event's eventSourceARN names. It makes no call:
// GetQueueUrl needs a permission that the managed policies for Lambda lack, and SQS reads account
// and name from the URL's path.
func (c *Client) URLFromARN(ctx context.Context, queueARN string) (string, error) {
	a, err := arn.Parse(queueARN)
	if err != nil || a.Service != "sqs" || a.AccountID == "" || a.Resource == "" || strings.ContainsAny(a.Resource, "/:") {
		return "", misconfigured("the event's eventSourceARN is not the ARN of an SQS queue", "")
	}
	if base := c.api.Options().BaseEndpoint; base != nil {
		return strings.TrimSuffix(*base, "/") + "/" + a.AccountID + "/" + a.Resource, nil
	}
	if !credentials.ValidRegion(a.Region) { // the invoker chooses it, and it becomes part of a host name
		return "", misconfigured("the event's eventSourceARN names no AWS region: its messages are not backed off", "")
	}
	endpoint, err := sqs.NewDefaultEndpointResolverV2().ResolveEndpoint(ctx, sqs.EndpointParameters{Region: &a.Region})
	if err != nil {
		return "", misconfigured("the event's eventSourceARN has no region that the AWS SDK knows", "")
	}
	return endpoint.URI.JoinPath(a.AccountID, a.Resource).String(), nil
}

// target is a queue, and where the calls for it go.
type target struct {
	client *Client
	url    string
	// setting is the variable that url comes from, "" if it comes from an event.
	setting string
	// fifo is decided by the queue's name, as AWS does.
	fifo bool
	// shown is url without user, password and query; host is where calls go.
	shown, host string
	// endpoint is the variable that host comes from.
	endpoint string
	region   string
	options  func(*sqs.Options)
	// invalid is why no call can be made, nil if calls can.
	invalid *fault.Error
}

// target finds where the calls for a queue go. The SDK itself ignores the host in a queue's URL: it
// sends every call to the configured endpoint or region, and a queue elsewhere then "does not
// exist".
//
//   - AWS_ENDPOINT_URL (or AWS_ENDPOINT_URL_SQS), if set, wins: an emulator's queue URLs may name a
//     host that exists only inside its container.
//   - Otherwise the URL's own host is the endpoint: it may be an emulator's, a VPC endpoint's or
//     another region's.
//   - The region is the one in the URL's host, otherwise the configured one.
func (c *Client) target(queueURL, setting string) *target {
	t := &target{client: c, url: queueURL, setting: setting, endpoint: setting}
	u, err := url.Parse(queueURL)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || strings.Trim(u.Path, "/") == "" {
		t.invalid = t.misconfigured("not the URL of a queue", "expected https://sqs.<region>.amazonaws.com/<account>/<name>")
		return t
	}
	t.shown, t.host = u.Scheme+"://"+u.Host+u.Path, u.Host
	t.fifo = strings.HasSuffix(u.Path, ".fifo")
	configured := c.api.Options()
	name, legacy := regionOf(u.Hostname())
	if name == "" {
		name = configured.Region
	}
	if name == "" {
		t.invalid = t.misconfigured("its region is not known", "set AWS_REGION, or AWS_DEFAULT_REGION, to the region of the queue")
		return t
	}
	t.region = name
	base := configured.BaseEndpoint
	// The SDK refuses an endpoint together with these two, which choose one of their own.
	chosen := configured.EndpointOptions.UseFIPSEndpoint == aws.FIPSEndpointStateEnabled ||
		configured.EndpointOptions.UseDualStackEndpoint == aws.DualStackEndpointStateEnabled
	switch {
	case base != nil:
		t.endpoint = "AWS_ENDPOINT_URL"
		if at, err := url.Parse(*base); err == nil {
			t.host = at.Host
		}
	case (legacy || chosen) && !credentials.ValidRegion(name):
		t.invalid = t.misconfigured("its region is not an AWS region", "set AWS_REGION, or AWS_DEFAULT_REGION, to the region of the queue")
		return t
	case legacy || chosen:
		t.host = "sqs." + name
	default:
		base = aws.String(u.Scheme + "://" + u.Host)
	}
	t.options = func(o *sqs.Options) {
		o.Region, o.BaseEndpoint = name, base
		o.HTTPClient = c.httpClient(c.timeout)
	}
	return t
}

// IsQueue reports whether an ARN is that of the queue with a URL. It makes no call.
func (c *Client) IsQueue(queueURL, queueARN string) bool {
	return c.target(queueURL, "").isQueue(queueARN)
}

// isQueue reports whether an ARN is the queue's. Every form of its URL has a path that ends in
// account and name.
func (t *target) isQueue(queueARN string) bool {
	a, err := arn.Parse(queueARN)
	if err != nil || a.Region != t.region {
		return false
	}
	u, err := url.Parse(t.url)
	return err == nil && strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), "/"+a.AccountID+"/"+a.Resource)
}

// regionOf returns the region in a queue URL's host. legacy: the host is one of the old ones, which
// newer clients should not use.
func regionOf(host string) (name string, legacy bool) {
	labels := strings.Split(host, ".")
	for i, label := range labels[1:] {
		before := labels[i]
		switch {
		case (before == "sqs" || before == "sqs-fips") && credentials.ValidRegion(label):
			return label, false
		case label == "queue" && credentials.ValidRegion(before) && strings.HasSuffix(host, ".amazonaws.com"):
			return before, true
		}
	}
	if host == "queue.amazonaws.com" {
		return "us-east-1", true
	}
	return "", false
}

// httpClient returns an HTTP client that limits one attempt to d. A context's timeout would not do:
// the SDK takes it for its caller's, and does not try again.
func (c *Client) httpClient(d time.Duration) *http.Client {
	return &http.Client{
		Transport:     c.transport,
		Timeout:       d,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// waiting returns the options of a call whose answer may take d.
func (t *target) waiting(d time.Duration) func(*sqs.Options) {
	return func(o *sqs.Options) {
		t.options(o)
		o.HTTPClient = t.client.httpClient(d + t.client.timeout)
	}
}

// namedCredentials mark their errors, to tell them from errors of SQS.
type namedCredentials struct{ aws.CredentialsProvider }

// credentialsError is why there are no credentials.
type credentialsError struct{ err error }

func (e *credentialsError) Error() string { return fmt.Sprintf("credentials: %v", e.err) }
func (e *credentialsError) Unwrap() error { return e.err }

// Retrieve implements aws.CredentialsProvider.
func (c namedCredentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	credentials, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return credentials, &credentialsError{err}
	}
	return credentials, nil
}

// plainBodies hides the WriteTo of a request's body. The SDK closes a body as soon as the answer
// has begun, and WriteTo of its closed body returns io.EOF. net/http, which looks after the last
// byte whether there is more, takes that for a broken request: it closes the connection, and the
// rest of the answer is lost. (smithy-go: safeWriteToReadCloser; net/http:
// transferWriter.writeBody.) Read of a closed body returns the same without harm.
type plainBodies struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (p plainBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r = r.WithContext(r.Context()) // a copy: RoundTrip must not change a request
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return p.next.RoundTrip(r)
}
