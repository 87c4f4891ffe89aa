//go:build unix

package localstack

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Region and the keys are those that clients use. The emulator accepts any.
const (
	Region    = "us-east-1"
	AccessKey = "test"
	SecretKey = "test"
)

// callTimeout limits a call; CloudFormation and Lambda take seconds.
const callTimeout = time.Minute

// Client calls the services of AWS that the emulator offers. It does not use the SDK, so that tests do
// not depend on what they test, and does not sign, since the emulator does not check signatures.
type Client struct {
	// Endpoint is the URL of all services, without a slash at the end.
	Endpoint string

	http *http.Client
}

// NewClient makes a client for the emulator at the endpoint.
func NewClient(endpoint string) *Client {
	return &Client{Endpoint: endpoint, http: &http.Client{Timeout: callTimeout}}
}

// CallError is a response that is not a success.
type CallError struct {
	Call   string
	Status int
	Answer string
}

// Error returns a text with the response, which may quote the request.
func (e *CallError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", e.Call, e.Status, strings.TrimSpace(e.Answer))
}

// JSON calls SQS, Secrets Manager or CloudWatch Logs. out may be nil.
func (c *Client) JSON(ctx context.Context, service, action string, in, out any) error {
	prefix, version := map[string]string{"secretsmanager": "secretsmanager.", "logs": "Logs_20140328."}[service], "1.1"
	if service == "sqs" {
		prefix, version = "AmazonSQS.", "1.0"
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	answer, err := c.call(ctx, service, http.MethodPost, "/", body, http.Header{
		"X-Amz-Target": {prefix + action},
		"Content-Type": {"application/x-amz-json-" + version},
	})
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// CloudFormation calls CloudFormation. out receives the XML of the response, and may be nil.
func (c *Client) CloudFormation(ctx context.Context, action string, in map[string]string, out any) error {
	form := url.Values{"Action": {action}, "Version": {"2010-05-15"}}
	for name, value := range in {
		form.Set(name, value)
	}
	answer, err := c.call(ctx, "cloudformation", http.MethodPost, "/", []byte(form.Encode()),
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
	if err != nil {
		return fmt.Errorf("%s: %w", action, err)
	}
	if out == nil {
		return nil
	}
	return xml.Unmarshal(answer, out)
}

// REST calls Lambda or S3 with a body (nil for none) and returns the body of the response.
func (c *Client) REST(ctx context.Context, service, method, path string, body []byte) (answer []byte, err error) {
	return c.call(ctx, service, method, path, body, nil)
}

// CreateSecret makes a secret with the JSON of a value.
func (c *Client) CreateSecret(ctx context.Context, name string, value any) (arn string, err error) {
	var secret struct{ ARN string }
	err = c.secret(ctx, "CreateSecret", map[string]string{"Name": name}, value, &secret)
	return secret.ARN, err
}

// PutSecret replaces the value of a secret.
func (c *Client) PutSecret(ctx context.Context, arn string, value any) error {
	return c.secret(ctx, "PutSecretValue", map[string]string{"SecretId": arn}, value, nil)
}

func (c *Client) secret(ctx context.Context, action string, in map[string]string, value, out any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	in["SecretString"] = string(text)
	in["ClientRequestToken"] = rand.Text() + rand.Text() // 32 characters at least, as the SDK makes
	return c.JSON(ctx, "secretsmanager", action, in, out)
}

// Healthy returns an error if LocalStack does not answer.
func (c *Client) Healthy(ctx context.Context) error {
	_, err := c.call(ctx, "", http.MethodGet, "/_localstack/health", nil, nil)
	return err
}

// ErrFunction means that Lambda ran the function, and the function failed.
var ErrFunction = errors.New("the function failed")

func (c *Client) call(ctx context.Context, service, method, path string, body []byte, header http.Header) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	// The emulator takes service and region from the scope of the signature.
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/20260101/%s/%s/aws4_request, SignedHeaders=host, Signature=none",
		AccessKey, Region, service))
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return nil, &CallError{Call: method + " " + service + " " + path, Status: response.StatusCode, Answer: string(answer)}
	}
	if response.Header.Get("X-Amz-Function-Error") != "" {
		return answer, ErrFunction
	}
	return answer, nil
}
