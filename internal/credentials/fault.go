package credentials

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"sluice/internal/message"
)

// CredentialsError is why there is no login or no key. Its text holds ids of
// secrets and requests, and nothing of a secret; of an error of AWS it shows
// the code.
//
//nolint:revive // Lambda shows the bare name as the errorType
type CredentialsError struct {
	// Cause is message.CauseTransient or message.CauseConfiguration.
	Cause message.Cause
	text  string
	err   error
}

// Error says what happened and what to do next.
func (e *CredentialsError) Error() string { return e.text }

// Unwrap gives the error of the caller's context, so that a deadline can be
// told. A time-out of ours is none.
func (e *CredentialsError) Unwrap() error { return e.err }

// Fault is Cause, for those who do not import this package.
func (e *CredentialsError) Fault() message.Cause { return e.Cause }

func operator(format string, args ...any) *CredentialsError {
	return &CredentialsError{Cause: message.CauseConfiguration, text: fmt.Sprintf(format, args...)}
}

func isOperator(err error) bool {
	ours, ok := errors.AsType[*CredentialsError](err)
	return ok && ours.Cause == message.CauseConfiguration
}

func noRegion(variable string) *CredentialsError {
	return operator("%s needs a region of AWS; set AWS_REGION (Lambda does)", variable)
}

// unusable is a secret whose text is not what it should be. The error must
// hold nothing of it.
func (s *secret) unusable(err error) *CredentialsError {
	return operator("%s cannot be used: %v", s, err)
}

// badConfig is a configuration that the SDK does not load.
func badConfig(err error) *CredentialsError {
	return operator("the AWS SDK cannot be set up: %v; check AWS_PROFILE and the other AWS_ variables", err) // it names variables, profiles and files
}

// noCredentials is a process that may not even ask.
func noCredentials(ctx context.Context, err error) *CredentialsError {
	e := operator("no credentials of AWS")
	if err != nil {
		what, cause := explain(ctx, err)
		code, status := answer(err)
		if e.err = callersEnd(ctx); e.err != nil || code != "" || status != 0 {
			e.text += ": " + what
			e.Cause = cause
		}
		// Else there was nobody to answer, as where no role is: the
		// operator's, although a connection failed.
	}
	if e.Cause == message.CauseConfiguration {
		e.text += "; give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
	}
	return e
}

// unread is a secret that could not be fetched.
func (s *secret) unread(ctx context.Context, region string, err error) *CredentialsError {
	what, cause := explain(ctx, err)
	e := &CredentialsError{Cause: cause, text: fmt.Sprintf("%s was not read: %s", s, what), err: callersEnd(ctx)}
	if e.err == nil {
		if remedy := s.remedy(region, cause, err); remedy != "" {
			e.text += "; " + remedy
		}
	}
	return e
}

// explain says what an error of the SDK is, and whose fault. It never shows
// the error's own text, which can quote the answer.
func explain(ctx context.Context, err error) (what string, cause message.Cause) {
	code, status := answer(err)
	var (
		dns       *net.DNSError
		op        *net.OpError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		timeout   interface{ Timeout() bool }
	)
	cause = message.CauseTransient
	switch {
	case callersEnd(ctx) != nil:
		return "no time left", cause
	case code != "" || status != 0:
		what = code
		if code == "" {
			what = fmt.Sprintf("an answer that is not of AWS (HTTP status %d)", status)
		}
		if id := requestID(err); id != "" {
			what += " (request " + id + ")"
		}
		if status >= 400 && !passes(code, status) {
			cause = message.CauseConfiguration
		}
		return what, cause
	case errors.As(err, &dns):
		return fmt.Sprintf("the host %s does not resolve", dns.Name), cause
	case errors.As(err, &authority):
		return "the certificate at the other end is signed by an authority that is not trusted here", message.CauseConfiguration
	case errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the other end is not AWS, or its certificate is not valid", message.CauseConfiguration
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time", cause
	case errors.As(err, &op):
		if op.Addr != nil {
			return fmt.Sprintf("no connection to %s: %v", op.Addr, op.Err), cause
		}
		return fmt.Sprintf("no connection: %v", op.Err), cause
	default:
		return "the request failed", cause
	}
}

// word is what is shown of an answer; what is not one may be anything.
var word = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9._-]{1,80}$`) })

// answer returns what AWS answered, "" and 0 when it did not.
func answer(err error) (code string, status int) {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if code = api.ErrorCode(); !word().MatchString(code) {
			code = "UnknownError"
		}
	}
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		status = response.HTTPStatusCode()
	}
	return code, status
}

func requestID(err error) string {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok && word().MatchString(response.ServiceRequestID()) {
		return response.ServiceRequestID()
	}
	return ""
}

// passes says whether an answer of AWS is the moment's: throttling, and what
// is broken at its end. All else has to be mended by somebody.
func passes(code string, status int) bool {
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	_, again := retry.DefaultRetryableErrorCodes[code]
	return throttled || again || status >= 500 || status == http.StatusTooManyRequests || code == "InternalServiceError"
}

// remedy says what to do about a secret that was not read.
func (s *secret) remedy(region string, cause message.Cause, err error) string {
	code, status := answer(err)
	switch code {
	case "AccessDeniedException", "AccessDenied":
		return fmt.Sprintf("allow secretsmanager:GetSecretValue on %s to the function's role, and kms:Decrypt on its key if that is one of your own", s.id)
	case "ResourceNotFoundException":
		return fmt.Sprintf("there is no secret %s with a value in %s: check %s", s.id, region, s.variable)
	case "DecryptionFailure":
		return "its KMS key cannot decrypt it: check that the key is enabled, and allow kms:Decrypt on it to the function's role"
	case "InvalidRequestException":
		return fmt.Sprintf("it is perhaps marked for deletion: restore it, or name another one in %s", s.variable)
	case "InvalidParameterException", "ValidationException":
		return "check " + s.variable
	}
	signing := status == http.StatusUnauthorized || status == http.StatusForbidden || strings.Contains(code, "Token") || strings.Contains(code, "Signature")
	switch {
	case code != "" && cause == message.CauseConfiguration && signing:
		return "AWS does not take the credentials of this process: check AWS_ACCESS_KEY_ID and the others like it, and this machine's clock"
	case code != "":
		return ""
	case status != 0:
		return "check AWS_ENDPOINT_URL and HTTPS_PROXY if they are set"
	case cause == message.CauseConfiguration:
		return "check AWS_ENDPOINT_URL; AWS_CA_BUNDLE=<file> names a certificate of your own"
	default:
		return "a function in a VPC needs a VPC endpoint for secretsmanager in " + region + ", or a NAT gateway"
	}
}
